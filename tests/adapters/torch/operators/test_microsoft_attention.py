import numpy as np
import pytest
from onnx import helper

from onnxplain.adapters.torch import convert
from onnxplain.engine.errors import CapabilityError
from single_nodes import by_runtime, by_twin, single_node

rng = np.random.default_rng(6)


def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)


def microsoft(op_type, inputs, **rest):
    model = single_node(op_type, inputs, opset=17, domain="com.microsoft", **rest)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def assert_same(op_type, inputs, **rest):
    model = microsoft(op_type, inputs, **rest)
    for found, wanted in zip(by_twin(model, inputs), by_runtime(model, inputs), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


# 2 rows, 3 queries, 2 heads of 4
X, W, B = normal(2, 3, 8), normal(8, 24), normal(24)
MASKS = {
    "none": None,
    "lengths": np.array([2, 3], np.int32),
    "ends and starts": np.array([2, 3, 0, 1], np.int32),
    "by key": np.array([[1, 1, 0], [0, 1, 1]], np.int32),
    "by query and key": rng.integers(0, 2, (2, 3, 3)).astype(np.int32),
    "all masked": np.zeros((2, 3), np.int32),
}


@pytest.mark.parametrize("unidirectional", [0, 1])
@pytest.mark.parametrize("mask", MASKS)
def test_masked_attention_equals_onnx_runtime(mask, unidirectional):
    for bias in (None, normal(2, 2, 3, 3)):
        inputs = [X, W, B, MASKS[mask], None, bias]
        while inputs[-1] is None:
            inputs.pop()
        assert_same("Attention", inputs, constant=(1, 2), num_heads=2, unidirectional=unidirectional)


def test_attention_with_a_cache_returns_it_grown():
    past, mask = normal(2, 2, 2, 5, 4), rng.integers(0, 2, (2, 8)).astype(np.int32)
    inputs = [X, W, B, mask, past]
    assert_same("Attention", inputs, num_heads=2, outputs=2, unidirectional=1, mask_filter_value=-5.0)


def test_attention_with_values_of_another_size_and_a_scale():
    inputs = [X, normal(8, 28), normal(28)]
    assert_same("Attention", inputs, num_heads=2, qkv_hidden_sizes=[8, 8, 12], scale=0.3)


K, V = normal(2, 5, 8), normal(2, 5, 12)
CROSS = {
    "plain": [X, K, V],
    "bias": [X, K, V, normal(28)],
    "lengths": [X, K, V, None, np.array([2, 5], np.int32)],
    "by key": [X, K, V, None, rng.integers(0, 2, (2, 5)).astype(np.int32)],
    "by query and key": [X, K, V, None, rng.integers(0, 2, (2, 3, 5)).astype(np.int32)],
    "attention bias": [X, K, V, None, None, normal(1, 1, 3, 5)],
    "heads apart": [X, normal(2, 2, 5, 4), normal(2, 2, 5, 4)],
    "heads apart with bias": [X, normal(2, 2, 5, 4), normal(2, 2, 5, 4), normal(24)],
}


@pytest.mark.parametrize("name", CROSS)
def test_multi_head_attention_equals_onnx_runtime(name):
    assert_same("MultiHeadAttention", CROSS[name], num_heads=2)


@pytest.mark.parametrize("unidirectional", [0, 1])
def test_multi_head_attention_with_a_cache_returns_it_grown(unidirectional):
    inputs = [X, normal(2, 3, 8), normal(2, 3, 8), B, None, None, normal(2, 2, 4, 4), normal(2, 2, 4, 4)]
    if unidirectional:
        inputs = inputs[:4]
    assert_same("MultiHeadAttention", inputs, num_heads=2, outputs=3, unidirectional=unidirectional)


def test_packed_queries_keys_and_values_are_what_they_are_apart():
    q, k, v = (normal(2, 3, 2, 4) for _ in range(3))
    apart = [t.reshape(2, 3, 8) for t in (q, k, v)]
    wanted = by_twin(microsoft("MultiHeadAttention", apart, num_heads=2), apart)[0]
    for packed in ([np.stack((q, k, v), 3)], [apart[0], np.stack((k, v), 3)]):
        found = by_twin(microsoft("MultiHeadAttention", packed, num_heads=2), packed)[0]
        assert found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize(
    ("inputs", "attributes"),
    [
        ([X, np.array([[0, 2, 1], [3, 4, 5]]), normal(9, 2), normal(9, 2)], {}),
        ([X, np.array([2]), normal(9, 2), normal(9, 2)], {}),
        ([normal(2, 2, 3, 4), np.array([[0, 2, 1], [3, 4, 5]]), normal(9, 2), normal(9, 2)], {}),
        (
            [X, np.array([[0, 2, 1], [3, 4, 5]]), normal(9, 1), normal(9, 1)],
            {"num_heads": 2, "rotary_embedding_dim": 2},
        ),
    ],
    ids=["by token", "by first token", "heads apart", "partial"],
)
def test_rotary_embedding_equals_onnx_runtime(inputs, attributes, interleaved):
    assert_same("RotaryEmbedding", inputs, interleaved=interleaved, **attributes)


def test_what_the_twin_cannot_express_is_refused():
    with pytest.raises(CapabilityError, match="do_rotary = 1"):
        convert(microsoft("Attention", [X, W, B], num_heads=2, do_rotary=1))
    crossed = microsoft("MultiHeadAttention", CROSS["plain"], num_heads=2, unidirectional=1)
    with pytest.raises(CapabilityError, match="unidirectional = 1 and keys of another length"):
        by_twin(crossed, CROSS["plain"])
    cumulated = [X, K, V, None, np.array([2, 5, 0, 3, 6, 0, 5, 10], np.int32)]
    with pytest.raises(CapabilityError, match=r"mask of shape = \(8,\)"):
        by_twin(microsoft("MultiHeadAttention", cumulated, num_heads=2), cumulated)
