"""Transposed convolutions in the forms of padding that onnx's own tests leave out."""

import numpy as np
import pytest

from single_nodes import by_runtime, by_twin, has_true_gradients, single_node

torch = pytest.importorskip("torch")
RANDOM = np.random.default_rng(3)

FORMS = {
    "a stride wider than the kernel": {"strides": [3, 2], "auto_pad": "SAME_UPPER"},
    "the odd element before": {"strides": [1, 3], "auto_pad": "SAME_LOWER"},
    "dilated": {"dilations": [1, 2], "auto_pad": "SAME_LOWER"},
    "a length": {"strides": [2, 2], "output_shape": [6, 8], "auto_pad": "SAME_UPPER"},
    "a length and an addition": {"strides": [2, 2], "output_shape": [7, 8], "output_padding": [1, 1]},
    "uneven pads": {"strides": [2, 1], "pads": [0, 1, 1, 0], "output_padding": [1, 0]},
}


@pytest.mark.parametrize("constant", [[], [1, 2]])
@pytest.mark.parametrize("form", FORMS)
def test_padding_of_transposed_convolutions(form, constant):
    inputs = [RANDOM.normal(size=size).astype(np.float32) for size in ((2, 4, 3, 4), (4, 1, 2, 2), (2,))]
    model = single_node("ConvTranspose", inputs, opset=11, group=2, constant=constant, **FORMS[form])
    np.testing.assert_allclose(by_twin(model, inputs)[0], by_runtime(model, inputs)[0], rtol=1e-4, atol=1e-5)


def test_the_gradient_passes_what_is_padded():
    inputs = [RANDOM.normal(size=size) for size in ((1, 2, 3, 2), (2, 1, 1, 2), (1,))]
    assert has_true_gradients("ConvTranspose", inputs, opset=11, strides=[2, 3], auto_pad="SAME_UPPER")
