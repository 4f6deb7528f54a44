"""GroupQueryAttention in plain operators: what ONNX Runtime's own operator makes, its cache included."""

import numpy as np
import pytest
from onnx import helper

from onnxplain.engine.graph.attention import AttentionGraph
from onnxplain.engine.graph.expose import exposed
from single_nodes import by_runtime, single_node

HEADS, GROUPS, SIZE = 4, 2, 32
rng = np.random.default_rng(21)


def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)


ANGLES = [normal(9, SIZE // 2) for _ in range(2)]
HALF_OF_THEM = [a[:, : SIZE // 4] for a in ANGLES]


def given(tokens, past=None, *, rows=2, last=None, packed=False, extra=()):
    """The inputs for some new tokens, behind those of a cache if ``past`` says how many."""
    q, k, v = (normal(rows, tokens, n * SIZE) for n in (HEADS, GROUPS, GROUPS))
    cache = [None, None] if past is None else [normal(rows, GROUPS, past, SIZE) for _ in range(2)]
    count = tokens + (past or 0)
    lengths = np.array(last or [count - 1] * rows, np.int32), np.array(count, np.int32)
    return [*([np.concatenate((q, k, v), -1), None, None] if packed else [q, k, v]), *cache, *lengths, *extra]


def model(inputs, **attributes):
    attributes = {"outputs": 3, "num_heads": HEADS, "kv_num_heads": GROUPS, "opset": 17} | attributes
    made = single_node("GroupQueryAttention", inputs, domain="com.microsoft", **attributes)
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return made


CASES = {
    "prompt": (given(3), {}),
    "prompt and an empty cache": (given(3, 0), {}),
    "padded prompts": (given(4, last=[3, 1]), {}),
    "next token": (given(1, 4), {}),
    "next tokens": (given(3, 4, rows=1), {}),
    "next token in a window": (given(1, 6), {"local_window_size": 3}),
    "packed": (given(3, packed=True), {}),
    "rotated": (given(3, extra=ANGLES), {"do_rotary": 1}),
    "rotated pairs": (given(3, extra=ANGLES), {"do_rotary": 1, "rotary_interleaved": 1}),
    "half of them rotated": (given(3, extra=HALF_OF_THEM), {"do_rotary": 1}),
    "half of them rotated in pairs": (given(3, extra=HALF_OF_THEM), {"do_rotary": 1, "rotary_interleaved": 1}),
    "next tokens rotated": (given(2, 4, rows=1, extra=ANGLES), {"do_rotary": 1}),
    "softcap and window": (given(3), {"softcap": 1.5, "local_window_size": 2}),
    "scale": (given(3), {"scale": 0.3}),
    "bias": (given(3, extra=[None, None, None, normal(2, HEADS, 3, 3)]), {}),
    "first operators": (given(1, 4, extra=ANGLES), {"do_rotary": 1, "opset": 13}),
    "latest operators": (given(1, 4, extra=ANGLES), {"do_rotary": 1, "opset": 23}),
}


@pytest.mark.parametrize("name", CASES)
def test_it_gives_what_onnx_runtime_does(name):
    inputs, attributes = CASES[name]
    proto = model(inputs, **attributes)
    found = exposed(proto)
    assert found.closed == ()
    assert {node.domain for node in found.proto.graph.node} == {""}
    for one, other in zip(by_runtime(found.proto, inputs), by_runtime(proto, inputs), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)
    (layer,) = AttentionGraph(found.proto).layers
    assert layer.query
    assert layer.key


def test_rows_with_fewer_tokens_than_the_cache_holds_have_no_result():
    """ONNX Runtime writes the new token among them then; never a number that is not its own."""
    inputs = given(1, 4, last=[4, 2])
    y = by_runtime(exposed(model(inputs)).proto, inputs)[0]
    np.testing.assert_allclose(y[0], by_runtime(model(inputs), inputs)[0][0], rtol=2e-5, atol=2e-5)
    assert np.isnan(y[1]).all()


@pytest.mark.parametrize(
    ("inputs", "attributes", "reason"),
    [
        (given(3), {"smooth_softmax": 1}, "its softmax has a sink"),
        (given(3, extra=[None, None, None, None, normal(HEADS)]), {}, "its softmax has a sink"),
        (given(3, extra=[*ANGLES, np.array([[0, 1, 2]] * 2)]), {"do_rotary": 1}, "it takes positions of tokens"),
        (given(3), {"do_rotary": 1}, "the angles of its positions are not given"),
        (given(3), {"outputs": 4}, "its product of queries and keys is asked for"),
        (given(3), {"causal": 0}, "it is not causal"),
    ],
)
def test_forms_that_are_not_known_are_told(inputs, attributes, reason):
    proto = model(inputs, **attributes)
    assert exposed(proto).proto is proto
    assert reason in exposed(proto).closed[0]
