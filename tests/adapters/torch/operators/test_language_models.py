import numpy as np
import pytest
import torch
from onnx import helper

from onnxplain.adapters.torch import convert
from onnxplain.engine.errors import CapabilityError
from single_nodes import by_runtime, by_twin, single_node

rng = np.random.default_rng(12)
ROWS, HEADS, GROUPS, SIZE = 2, 4, 2, 16
SETTINGS = {"num_heads": HEADS, "kv_num_heads": GROUPS}


def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)


def microsoft(op_type, inputs, **rest):
    model = single_node(op_type, inputs, opset=17, domain="com.microsoft", **rest)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def assert_same(model, inputs):
    for found, wanted in zip(by_twin(model, inputs), by_runtime(model, inputs), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


def grouped(tokens, past=0, *, packed=False, extra=()):
    q, k, v = (normal(ROWS, tokens, n * SIZE) for n in (HEADS, GROUPS, GROUPS))
    projections = [np.concatenate((q, k, v), -1), None, None] if packed else [q, k, v]
    cache = [normal(ROWS, GROUPS, past, SIZE) for _ in range(2)]
    last, total = np.full(ROWS, past + tokens - 1, np.int32), np.array(past + tokens, np.int32)
    return [*projections, *cache, last, total, *extra]


ANGLES = [normal(9, SIZE // 2) for _ in range(2)]
CASES = {
    "prompt": (grouped(3), {}),
    "next token": (grouped(1, 4), {}),
    "next token in a window": (grouped(1, 6), {"local_window_size": 3}),
    "packed": (grouped(3, packed=True), {}),
    "rotated": (grouped(3, extra=ANGLES), {"do_rotary": 1}),
    "rotated pairs": (grouped(3, extra=ANGLES), {"do_rotary": 1, "rotary_interleaved": 1}),
    "next token rotated": (grouped(1, 4, extra=ANGLES), {"do_rotary": 1}),
    "rotated by position": (grouped(3, extra=[*ANGLES, np.array([[0, 1, 2], [0, 1, 2]])]), {"do_rotary": 1}),
    "softcap and window": (grouped(3), {"softcap": 1.5, "local_window_size": 2}),
    "scale": (grouped(3), {"scale": 0.3}),
    "smooth softmax": (grouped(3), {"smooth_softmax": 1}),
    "bias": (grouped(3, extra=[None, None, None, normal(ROWS, HEADS, 3, 3)]), {}),
    "sink": (grouped(3, extra=[None, None, None, None, normal(HEADS)]), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_grouped_attention_equals_onnx_runtime(name):
    inputs, attributes = CASES[name]
    assert_same(microsoft("GroupQueryAttention", inputs, outputs=3, **SETTINGS, **attributes), inputs)


def test_a_token_has_no_gradient_from_those_before_it():
    inputs = grouped(3)
    module = convert(microsoft("GroupQueryAttention", inputs, constant=(3, 4, 5, 6), outputs=3, **SETTINGS))
    q, k, v = (torch.tensor(value, requires_grad=True) for value in inputs[:3])
    module(q, k, v)[0][:, 1].square().sum().backward()
    for tensor in (k, v):
        assert (tensor.grad[:, 2] == 0).all()
        assert (tensor.grad[:, 0] != 0).any()


def test_rows_of_different_lengths_are_refused():
    inputs = grouped(3)
    inputs[5] = np.array([2, 1], np.int32)
    with pytest.raises(CapabilityError, match=r"seqlens_k = \[2, 1\] for 3 tokens"):
        by_twin(microsoft("GroupQueryAttention", inputs, outputs=3, **SETTINGS), inputs)


def test_positions_out_of_order_are_refused():
    inputs = grouped(3, extra=[*ANGLES, np.array([[0, 1, 2], [3, 4, 5]])])
    with pytest.raises(CapabilityError, match="position_ids"):
        by_twin(microsoft("GroupQueryAttention", inputs, outputs=3, do_rotary=1, **SETTINGS), inputs)


def blocks(bits, columns, block, rows=6):
    count = -(-columns // block)
    packed = rng.integers(0, 256, (rows, count, block * bits // 8)).astype(np.uint8)
    scales = rng.uniform(0, 0.1, (rows, count)).astype(np.float32)
    zeros = rng.integers(0, 256, (rows, -(-count * bits // 8))).astype(np.uint8)
    return [normal(2, 3, columns), packed, scales], zeros, {"bits": bits, "K": columns, "N": rows, "block_size": block}


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("columns", "block"), [(32, 16), (40, 16)])
def test_weights_of_few_bits_equal_onnx_runtimes(bits, columns, block):
    inputs, zeros, settings = blocks(bits, columns, block)
    for given in (inputs, [*inputs, zeros], [*inputs, None, None, normal(6)]):
        stored = [k for k in range(1, len(given)) if given[k] is not None]
        model = microsoft("MatMulNBits", given, constant=stored, **settings)
        np.testing.assert_allclose(by_twin(model, given)[0], by_runtime(model, given)[0], rtol=1e-4, atol=1e-4)


def test_weights_of_few_bits_become_a_linear_layer():
    inputs, _, settings = blocks(4, 32, 16)
    module = convert(microsoft("MatMulNBits", inputs, constant=(1, 2), **settings))
    (linear,) = (m for m in module.modules() if isinstance(m, torch.nn.Linear))
    assert linear.weight.shape == (6, 32)


def test_computed_weights_of_few_bits_are_refused():
    inputs, _, settings = blocks(4, 32, 16)
    with pytest.raises(CapabilityError, match="MatMulNBits with weights = computed"):
        convert(microsoft("MatMulNBits", inputs, **settings))
