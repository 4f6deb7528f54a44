import numpy as np
import pytest
from onnx import helper

from onnxplain.adapters.torch import convert
from single_nodes import by_runtime, by_twin, single_node


def whole(dtype, *shape):
    bounds = np.iinfo(dtype)
    rng = np.random.default_rng(sum(shape))  # the same numbers in whatever order the tests run
    return rng.integers(bounds.min, bounds.max + 1, shape).astype(dtype)


def zero(dtype, value):
    """A zero point ``value`` above the lowest number."""
    return np.array(value + np.iinfo(dtype).min, dtype)


def microsoft(op_type, inputs, *, attributes=None, **rest):
    model = single_node(op_type, inputs, opset=17, domain="com.microsoft", **rest)
    for name, value in (attributes or {}).items():  # one is called opset
        model.graph.node[0].attribute.append(helper.make_attribute(name, value))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


S = [np.array(s, np.float32) for s in (0.03, 0.05, 0.07)]
PERCENT = np.array(1 / 256, np.float32)


def cases(d):
    """Operator, inputs, attributes."""
    a, b = whole(d, 2, 3, 4), whole(d, 2, 3, 4)[::-1]
    b = np.ascontiguousarray(b)
    binary = [a, S[0], zero(d, 120), b, S[1], zero(d, 100), S[2], zero(d, 128)]
    unary = [S[0], zero(d, 120), S[1], zero(d, 128)]
    image, table = whole(d, 1, 2, 5, 5), whole(d, 2, 3, 4, 5)
    pool = {"kernel_shape": [2, 2]}
    condition = np.random.default_rng(0).random((2, 3, 4)) > 0.5
    return {
        "sum": ("QLinearAdd", binary, {}),
        "product": ("QLinearMul", binary, {}),
        "sigmoid": ("QLinearSigmoid", [a, *unary], {}),
        "leaky relu": ("QLinearLeakyRelu", [a, *unary], {"alpha": 0.2}),
        "softmax": ("QLinearSoftmax", [a, S[0], zero(d, 120), PERCENT, zero(d, 0)], {"axis": 2, "opset": 13}),
        "old softmax": ("QLinearSoftmax", [a, S[0], zero(d, 120), PERCENT, zero(d, 0)], {"axis": 1, "opset": 12}),
        "mean of an image": ("QLinearGlobalAveragePool", [table, *unary], {}),
        "mean with channels last": ("QLinearGlobalAveragePool", [table, *unary], {"channels_last": 1}),
        "pool": ("QLinearAveragePool", [image, *unary], pool | {"pads": [1, 1, 1, 1]}),
        "pool counting its padding": (
            "QLinearAveragePool",
            [image, *unary],
            pool | {"pads": [1, 1, 1, 1], "count_include_pad": 1},
        ),
        "pool with channels last": ("QLinearAveragePool", [image, *unary], pool | {"channels_last": 1}),
        "concatenation": (
            "QLinearConcat",
            [S[2], zero(d, 128), a, S[0], zero(d, 120), b, S[1], zero(d, 130)],
            {"axis": 1},
        ),
        "choice": ("QLinearWhere", [condition, *binary[:6], S[2], zero(d, 128)], {}),
    }


@pytest.mark.parametrize("name", list(cases(np.uint8)))
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_operator_equals_onnx_runtime_within_a_step(name, dtype):
    op_type, inputs, attributes = cases(dtype)[name]
    for constant in ((), range(1, len(inputs))):
        model = microsoft(op_type, inputs, constant=constant, attributes=attributes)
        found, wanted = by_twin(model, inputs)[0], by_runtime(model, inputs)[0].astype(np.float64)
        assert np.abs(found - wanted).max() <= 1  # its sums are rounded otherwise
        assert (found == wanted).mean() >= 0.9


def test_mean_over_axes_follows_its_formula():
    x = np.array([[0, 10], [20, 31]], np.uint8)
    inputs = [x, S[0], zero(np.uint8, 0), S[0], zero(np.uint8, 3)]
    kept = by_twin(microsoft("QLinearReduceMean", inputs, axes=[1]), inputs)[0]
    assert kept.tolist() == [[8], [29]]
    everything = by_twin(microsoft("QLinearReduceMean", inputs, keepdims=0), inputs)[0]
    assert everything.item() == round(61 / 4) + 3


def test_gradient_passes_through():
    import torch

    inputs = [np.zeros(3, np.uint8), S[0], zero(np.uint8, 100), S[1], zero(np.uint8, 128)]
    module = convert(microsoft("QLinearLeakyRelu", inputs, constant=range(1, 5), alpha=0.5))
    x = torch.tensor([50.0, 150.0, 255.0], requires_grad=True)
    module(x).sum().backward()
    assert x.grad.tolist() == pytest.approx([0.5 * 0.6, 0.6, 0.6])
