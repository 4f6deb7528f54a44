"""Parts of axes where ONNX Runtime and Python read beginnings and ends differently."""

import numpy as np
import pytest

from single_nodes import by_runtime, by_twin, has_true_gradients, single_node

torch = pytest.importorskip("torch")
X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    ("start", "end", "step", "expected"),
    [
        (-9, -9, -1, [0]),  # a beginning before the first element is the first element
        (-5, -9, -2, [0]),
        (9, -9, -2, [3, 1]),
        (2, LARGEST, -1, [2, 1, 0]),  # the largest integer leaves the end open
        (2, 2**31 - 1, -2, [2, 0]),
        (1, LARGEST, 2, [1, 3]),
        (-9, -9, 1, []),
        (3, 0, -1, [3, 2, 1]),
    ],
)
@pytest.mark.parametrize("constant", [[], [1, 2, 3, 4]])
def test_slices_count_as_in_onnx_runtime(start, end, step, expected, constant):
    inputs = [X, *(np.array([n]) for n in (start, end, -1, step))]
    model = single_node("Slice", inputs, opset=13, constant=constant)
    found = by_twin(model, inputs)[0]
    np.testing.assert_array_equal(found, X[..., expected])
    np.testing.assert_array_equal(found, by_runtime(model, inputs)[0])


def test_the_gradient_passes_slices_that_count_down():
    inputs = [X, np.array([-9, 9]), np.array([-9, -9]), np.array([1, 2]), np.array([-1, -2])]
    assert has_true_gradients("Slice", inputs, opset=13, constant=[1, 2, 3, 4])


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes"),
    [
        ("Gather", [np.float32([1, 2]), np.array(1)], {}),
        ("GatherND", [np.float32([[1, 2], [3, 4]]), np.array([1, 0])], {}),
        ("Transpose", [np.array(3, np.float32)], {}),
    ],
)
def test_results_without_an_axis_are_numbers(op_type, inputs, attributes):
    model = single_node(op_type, inputs, opset=17, **attributes)
    found, wanted = by_twin(model, inputs)[0], by_runtime(model, inputs)[0]
    assert (found.shape, float(found)) == ((), float(wanted))
