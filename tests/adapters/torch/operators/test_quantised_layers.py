import numpy as np
import pytest
import torch
from onnx import helper

from onnxplain.adapters.torch import convert
from onnxplain.engine.errors import CapabilityError
from single_nodes import by_runtime, by_twin, single_node

rng = np.random.default_rng(10)
STEPS, ROWS, WIDTH, HIDDEN = 4, 2, 3, 5


def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)


def small(*shape):
    return rng.integers(-128, 128, shape).astype(np.int8)


def microsoft(op_type, inputs, **rest):
    model = single_node(op_type, inputs, opset=17, domain="com.microsoft", **rest)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def assert_same(model, inputs):
    for found, wanted in zip(by_twin(model, inputs), by_runtime(model, inputs), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def lstm_inputs(directions, *, by_row):
    scale = rng.uniform(0.005, 0.015, (directions, 4 * HIDDEN) if by_row else (directions,)).astype(np.float32)
    states = [normal(directions, ROWS, HIDDEN) for _ in range(2)]
    weights = small(directions, WIDTH, 4 * HIDDEN), small(directions, HIDDEN, 4 * HIDDEN)
    zero = np.zeros(scale.shape, np.int8)
    bias = normal(directions, 8 * HIDDEN)
    return [normal(STEPS, ROWS, WIDTH), *weights, bias, None, *states, None, scale, zero, scale[:, ::-1].copy(), zero]


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_dynamically_quantised_lstm_equals_onnx_runtime(direction):
    inputs = lstm_inputs(2 if direction == "bidirectional" else 1, by_row=True)
    for constant in ((), range(1, len(inputs))):
        stored = [k for k in constant if inputs[k] is not None]
        settings = {"outputs": 3, "hidden_size": HIDDEN, "direction": direction}
        assert_same(microsoft("DynamicQuantizeLSTM", inputs, constant=stored, **settings), inputs)


def test_gradient_of_the_quantised_lstm_is_near_that_of_the_real_one():
    inputs = lstm_inputs(1, by_row=True)
    stored = [k for k in range(1, len(inputs)) if inputs[k] is not None]
    quantised = convert(microsoft("DynamicQuantizeLSTM", inputs, constant=stored, hidden_size=HIDDEN))
    w, r = ((inputs[k] * inputs[scale][:, None]).swapaxes(1, 2) for k, scale in ((1, 8), (2, 10)))
    real = [inputs[0], w, r, inputs[3], None, inputs[5], inputs[6]]
    plain = convert(single_node("LSTM", real, opset=14, constant=(1, 2, 3, 5, 6), hidden_size=HIDDEN))
    gradients = []
    for module in (quantised, plain):
        x = torch.tensor(inputs[0], requires_grad=True)
        module(x).sum().backward()
        gradients.append(x.grad)
    scale = gradients[1].abs().max()
    assert (gradients[0] - gradients[1]).abs().max() < 0.02 * scale


@pytest.mark.parametrize("mask", [None, np.array([2, 3], np.int32), np.array([[1, 1, 0], [0, 1, 1]], np.int32)])
@pytest.mark.parametrize("unidirectional", [0, 1])
def test_quantised_attention_equals_onnx_runtime(mask, unidirectional):
    x = rng.integers(0, 256, (2, 3, 8)).astype(np.uint8)
    scales = [np.array(s, np.float32) for s in (0.02, 0.01)]
    inputs = [x, small(8, 24), normal(24), *scales, mask, np.array(120, np.uint8), np.array(0, np.int8)]
    assert_same(microsoft("QAttention", inputs, num_heads=2, unidirectional=unidirectional), inputs)


def test_rotated_quantised_attention_is_refused():
    scales = [np.array(s, np.float32) for s in (0.02, 0.01)]
    inputs = [np.zeros((2, 3, 8), np.uint8), small(8, 24), normal(24), *scales]
    with pytest.raises(CapabilityError, match="QAttention with do_rotary = 1"):
        convert(microsoft("QAttention", inputs, num_heads=2, do_rotary=1))
