import numpy as np
import pytest

from onnxplain.adapters.torch import convert
from onnxplain.engine.errors import CapabilityError
from single_nodes import by_reference, by_twin, has_true_gradients, single_node

rng = np.random.default_rng(4)


def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)


QUERY, KEY, VALUE = normal(2, 3, 8), normal(2, 3, 4), normal(2, 3, 6)  # 4 query heads of 2, 2 of keys and values
PAST, DECAY, BETA = normal(2, 2, 2, 3), -np.abs(normal(2, 3, 4)), rng.random((2, 3, 2)).astype(np.float32)
RULES = {
    "linear": [QUERY, KEY, VALUE, PAST],
    "gated": [QUERY, KEY, VALUE, None, DECAY],
    "delta": [QUERY, KEY, VALUE, PAST, None, BETA],
    "gated_delta": [QUERY, KEY, VALUE, PAST, DECAY, BETA],
}
HEADS = {"q_num_heads": 4, "kv_num_heads": 2}


@pytest.mark.parametrize("rule", RULES)
def test_linear_attention_equals_the_reference(rule):
    inputs = RULES[rule]
    model = single_node("LinearAttention", inputs, opset=27, outputs=2, update_rule=rule, **HEADS)
    for found, wanted in zip(by_twin(model, inputs), by_reference(model, inputs), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_gradient_of_linear_attention_equals_finite_differences():
    assert has_true_gradients("LinearAttention", RULES["gated_delta"], opset=27, outputs=2, **HEADS)


@pytest.mark.parametrize("activation", ["none", "silu"])
@pytest.mark.parametrize("past", [None, normal(2, 3, 2)])
def test_causal_convolution_equals_the_reference(activation, past):
    inputs = [normal(2, 3, 5), normal(3, 1, 3), normal(3), past]
    settings = {"opset": 27, "outputs": 2, "activation": activation}
    model = single_node("CausalConvWithState", inputs, **settings)
    for found, wanted in zip(by_twin(model, inputs), by_reference(model, inputs), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert has_true_gradients("CausalConvWithState", inputs, **settings)


def test_a_sequence_in_two_parts_gives_what_it_gives_whole():
    x, kernel = normal(1, 2, 6), normal(2, 1, 4)
    whole = by_twin(single_node("CausalConvWithState", [x, kernel], opset=27), [x, kernel])[0]
    start = [x[:, :, :2], kernel]
    first, state = by_twin(single_node("CausalConvWithState", start, opset=27, outputs=2), start)
    rest = [x[:, :, 2:], kernel, None, state]
    second = by_twin(single_node("CausalConvWithState", rest, opset=27), rest)[0]
    assert np.concatenate((first, second), 2) == pytest.approx(whole, abs=1e-6)


def test_unknown_settings_are_refused():
    with pytest.raises(CapabilityError, match="update_rule = newton"):
        convert(single_node("LinearAttention", RULES["linear"], opset=27, update_rule="newton", **HEADS))
    inputs = [normal(1, 2, 6), normal(2, 1, 4)]
    with pytest.raises(CapabilityError, match="activation = tanh"):
        convert(single_node("CausalConvWithState", inputs, opset=27, activation="tanh"))
