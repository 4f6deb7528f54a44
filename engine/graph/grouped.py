"""GroupQueryAttention of com.microsoft, the attention of decoders that onnxruntime-genai exports, in plain operators.

Causal attention of N query heads to fewer key heads, with rotary position embedding and a cache of earlier tokens.
Shapes: B rows, S new tokens, P tokens in the cache, T = P + S, N or G heads of size D.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from ..errors import CapabilityError

if TYPE_CHECKING:
    from .spelling import Spelling

CACHE, LAST, COS, POSITIONS, BIAS, SINK = 3, 5, 7, 9, 10, 11  # places of inputs
_END = 1 << 31  # beyond any axis


def write_grouped(s: Spelling) -> None:
    """Write the node. Raises ``CapabilityError`` for forms that are not known.

    Keys behind a row's last token are hidden, as padding on the right is. With tokens in the cache, no row may have
    fewer than the others: its result is NaN then, where ONNX Runtime would look for its tokens elsewhere.
    """
    _refuse(s)
    heads, shared = int(s.given("num_heads", 1)), int(s.given("kv_num_heads", 1))
    q, k, v = _by_head(s, heads, shared)
    new, past = s.length(q, 2), s.length(s.input(CACHE), 2) if s.input(CACHE) else s.whole([0])
    total = s.add("Add", past, new)
    if s.given("do_rotary", 0):
        q, k = (_rotated(s, x, past, total) for x in (q, k))
    if s.input(CACHE):
        k, v = (s.add("Concat", s.input(CACHE + n), x, axis=2) for n, x in enumerate((k, v)))
    for name, made in zip(s.node.output[1:3], (k, v), strict=False):
        if name:
            s.nodes.append(helper.make_node("Identity", [made], [name]))
    k, v = (_repeated(s, x, shared, heads // shared) for x in (k, v))
    logits = s.add("Mul", s.add("MatMul", q, s.add("Transpose", k, perm=[0, 1, 3, 2])), _scale(s, q))
    softcap = float(s.given("softcap", 0.0))
    if softcap:
        logits = s.add("Mul", s.add("Tanh", s.add("Div", logits, s.number(softcap))), s.number(softcap))
    logits = s.add("Add", logits, s.input(BIAS)) if s.input(BIAS) else logits
    logits = _masked(s, logits, past, total)
    s.merged(s.add("MatMul", s.add("Softmax", logits, axis=-1), v))


def _refuse(s: Spelling) -> None:
    if len(s.node.output) > 3 and s.node.output[3]:
        raise CapabilityError("its product of queries and keys is asked for")
    if s.given("smooth_softmax", 0) or s.input(SINK):
        raise CapabilityError("its softmax has a sink")
    if any(s.node.input[SINK + 1 :]):
        raise CapabilityError("it has a quantised cache, or norms of queries and keys")
    if not s.given("causal", 1):
        raise CapabilityError("it is not causal")
    if s.input(POSITIONS):
        raise CapabilityError("it takes positions of tokens")
    if s.given("do_rotary", 0) and not (s.input(COS) and s.input(COS + 1)):
        raise CapabilityError("the angles of its positions are not given")


def _by_head(s: Spelling, heads: int, shared: int) -> list[str]:
    """Return Q (B, N, S, D), K and V (B, G, S, D); where keys are left out all three are packed in the queries."""
    if s.input(1):
        return [s.in_heads(s.input(n), count) for n, count in enumerate((heads, shared, shared))]
    return s.cut(s.in_heads(s.input(0), heads + 2 * shared), [heads, shared, shared], 1)


def _rotated(s: Spelling, x: str, past: str, total: str) -> str:
    """Turn pairs of numbers of (B, heads, S, D) by the angles of positions P to T; what is beyond their width stays."""
    half = s.last_axis(s.input(COS))
    if half is None:
        raise CapabilityError("the width of its angles is not known")
    cos, sin = (s.add("Slice", s.input(COS + n), past, total, s.whole([0])) for n in (0, 1))
    if s.given("rotary_interleaved", 0):
        a, b = (_part(s, x, start, 2 * half, 2) for start in (0, 1))
    else:
        a, b = _part(s, x, 0, half), _part(s, x, half, 2 * half)
    turned = [
        s.add("Sub", s.add("Mul", a, cos), s.add("Mul", b, sin)),
        s.add("Add", s.add("Mul", b, cos), s.add("Mul", a, sin)),
    ]
    if s.given("rotary_interleaved", 0):
        pairs = [s.add("Reshape", part, s.whole([0, 0, 0, -1, 1])) for part in turned]
        turned = [s.add("Reshape", s.add("Concat", *pairs, axis=-1), s.whole([0, 0, 0, 2 * half]))]
    return s.add("Concat", *turned, _part(s, x, 2 * half, _END), axis=-1)


def _part(s: Spelling, x: str, start: int, stop: int, step: int = 1) -> str:
    """Return numbers of the last axis of (B, heads, S, D)."""
    return s.add("Slice", x, s.whole([start]), s.whole([stop]), s.whole([3]), s.whole([step]))


def _repeated(s: Spelling, x: str, count: int, times: int) -> str:
    """Return (B, count, T, D) with each head so many times, side by side."""
    if times == 1:
        return x
    return s.add("Gather", x, s.whole([head for head in range(count) for _ in range(times)]), axis=1)


def _scale(s: Spelling, q: str) -> str:
    scale = float(s.given("scale", 0.0) or 0.0)
    if scale:
        return s.number(scale)
    return s.add("Reciprocal", s.add("Sqrt", s.add("Cast", s.length(q, 3), to=s.kind)))


def _masked(s: Spelling, logits: str, past: str, total: str) -> str:
    """Hide later tokens, those outside the window, and those behind a row's last one from logits (B, N, S, T)."""
    ends = [s.add("Reshape", n, s.whole([])) for n in (past, total)]
    own = s.add("Reshape", s.add("Range", *ends, s.scalar(1)), s.whole([-1, 1]))
    keys = s.add("Range", s.scalar(0), ends[1], s.scalar(1))
    last = s.add("Reshape", s.add("Cast", s.input(LAST), to=TensorProto.INT64), s.whole([-1, 1, 1, 1]))
    hidden = s.add("Or", s.add("Greater", keys, own), s.add("Greater", keys, last))
    window = int(s.given("local_window_size", -1))
    if window >= 0:
        behind = s.add("Greater", s.add("Sub", own, keys), s.whole([window - 1]))
        hidden = s.add("Or", hidden, behind)
    lowest = float(np.finfo(helper.tensor_dtype_to_np_dtype(s.kind)).min)
    logits = s.add("Where", hidden, s.number(lowest), logits)
    if not s.input(CACHE):
        return logits
    short = s.add("Less", last, s.add("Sub", total, s.whole([1])))
    lost = s.add("And", short, s.add("Greater", past, s.whole([0])))
    return s.add("Where", lost, s.number(float("nan")), logits)
