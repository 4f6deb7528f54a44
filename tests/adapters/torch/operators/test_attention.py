import numpy as np
import pytest
import torch

from onnxplain.adapters.torch import convert
from onnxplain.engine.errors import CapabilityError
from single_nodes import by_reference, by_twin, has_true_gradients, single_node

rng = np.random.default_rng(3)


def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)


Q, K, V = normal(2, 4, 3, 8), normal(2, 4, 5, 8), normal(2, 4, 5, 6)
PACKED = [normal(2, 3, 24), normal(2, 5, 8), normal(2, 5, 12)]  # 6 query heads of 4, 2 of keys of 4, of values of 6
HEADS = {"q_num_heads": 6, "kv_num_heads": 2}
MASK = rng.random((3, 5)) < 0.7
MASK[:, 0] = True
PAST = [normal(2, 4, 2, 8), normal(2, 4, 2, 6)]
CASES = {
    "plain": ([Q, K, V], {}),
    "scale": ([Q, K, V], {"scale": 0.2}),
    "boolean mask": ([Q, K, V, MASK], {}),
    "float mask": ([Q, K, V, normal(2, 1, 3, 5)], {}),
    "short mask": ([Q, K, V, MASK[:, :4]], {}),
    "causal": ([Q, K, V], {"is_causal": 1}),
    "causal with mask": ([Q, K, V, MASK], {"is_causal": 1}),
    "softcap": ([Q, K, V, MASK], {"softcap": 1.5}),
    "cache": ([Q, K, V, None, *PAST], {"is_causal": 1}),
    "padding": ([Q, K, V, None, None, None, np.array([3, 5])], {}),
    "causal padding": ([Q, K, V, None, None, None, np.array([3, 5])], {"is_causal": 1}),
    "packed, grouped heads": (PACKED, HEADS),
    "packed, grouped heads, causal": (PACKED, HEADS | {"is_causal": 1}),
    "double softmax": ([Q, K, V], {"softmax_precision": 11}),
}


@pytest.mark.parametrize(("inputs", "attributes"), list(CASES.values()), ids=CASES)
@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_attention_equals_the_reference(inputs, attributes, mode):
    has_cache = len(inputs) == 6
    outputs = 4 if has_cache or len(inputs) < 7 else 1
    settings = {"opset": 24, "outputs": outputs, "qk_matmul_output_mode": mode}
    model = single_node("Attention", inputs, **settings, **attributes)
    wanteds = by_reference(model, inputs)
    if mode == 0 and "softcap" in attributes:  # the reference gives the capped product; the definition asks for this
        wanteds[3] = Q @ K.swapaxes(-1, -2) / np.sqrt(8, dtype=np.float32)
    for found, wanted in zip(by_twin(model, inputs), wanteds, strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [{"left_window_size": 1}, {"left_window_size": 0, "right_window_size": 1}])
def test_a_window_keeps_distant_keys_out(window):
    inputs = [Q, K, V]
    model = single_node("Attention", inputs, opset=25, **window)
    np.testing.assert_allclose(by_twin(model, inputs)[0], by_reference(model, inputs)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["plain", "causal with mask", "softcap", "cache", "packed, grouped heads"])
def test_gradient_equals_finite_differences(name):
    inputs, attributes = CASES[name]
    assert has_true_gradients("Attention", inputs, opset=24, **attributes)


def test_a_query_without_keys_attends_to_nothing_and_has_no_gradient():
    mask = np.ones((3, 5), np.bool_)
    mask[1] = False
    module = convert(single_node("Attention", [Q, K, V, mask], opset=24, constant=(3,)))
    q, k, v = (torch.tensor(value, requires_grad=True) for value in (Q, K, V))
    y = module(q, k, v)
    assert (y[:, :, 1] == 0).all()
    y.square().sum().backward()
    assert (q.grad[:, :, 1] == 0).all()
    assert all(torch.isfinite(t.grad).all() for t in (q, k, v))
    assert (q.grad[:, :, 0] != 0).any()


def test_half_precision_attention_is_computed_in_single_precision():
    halves = [value.astype(np.float16) for value in (Q, K, V)]
    found = by_twin(single_node("Attention", halves, opset=24), halves)[0]
    wide = [value.astype(np.float32) for value in halves]
    wanted = by_twin(single_node("Attention", wide, opset=24), wide)[0].astype(np.float16)
    assert found.dtype == np.float16
    assert (found == wanted).all()


def test_an_unknown_output_mode_is_refused():
    with pytest.raises(CapabilityError, match="qk_matmul_output_mode = 4"):
        convert(single_node("Attention", [Q, K, V], opset=24, qk_matmul_output_mode=4))


CACHE, POSITIONS = [normal(9, 4), normal(9, 4)], np.array([[0, 3, 1], [8, 2, 5]])


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize(
    ("inputs", "attributes"),
    [
        ([Q, *CACHE, POSITIONS], {}),
        ([normal(2, 3, 16), *CACHE, POSITIONS], {"num_heads": 2}),
        ([Q, normal(9, 2), normal(9, 2), POSITIONS], {"rotary_embedding_dim": 4}),
        ([Q, normal(2, 3, 4), normal(2, 3, 4)], {}),
    ],
    ids=["heads apart", "heads packed", "partial", "angles by token"],
)
def test_rotary_embedding_equals_the_reference(inputs, attributes, interleaved):
    attributes = attributes | {"interleaved": interleaved}
    model = single_node("RotaryEmbedding", inputs, opset=23, **attributes)
    np.testing.assert_allclose(by_twin(model, inputs)[0], by_reference(model, inputs)[0], rtol=1e-5, atol=1e-6)
    assert has_true_gradients("RotaryEmbedding", inputs, opset=23, **attributes)
