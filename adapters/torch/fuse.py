"""Decomposed operators put together again: linear layers, GELU, layer normalisation, attention, Conv with BatchNorm.

Exporters spell these out, and running the pieces one by one is slower than the original module. Only parts of a graph
are fused (``plan.cut``), and only where nothing but the next piece reads a tensor in between: what is tapped stays.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .dtypes import to_tensor
from .operators.linear import frozen, linear_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .node import Node

_OPEN = 1 << 31  # an end this far away means the end of the axis
_CLOSE = 1e-4  # constants are stored in 32 bits, some exporters round them to 16


def fuse(module: fx.GraphModule, sources: dict[str, Node]) -> None:
    """Fuse what can be fused in a module; ``sources`` gives the ONNX node of each fx node that calls a module."""
    view = _View(module, sources)
    for name, match in _PATTERNS:
        for node in list(module.graph.nodes):
            if name in {view.operator(node), "any"} and node.users:
                match(view, node)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis, with weights of any kind that broadcast over it."""

    def __init__(self, epsilon: float, weight: torch.Tensor | None, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = frozen(weight) if weight is not None else None
        self.bias = frozen(bias) if bias is not None else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (..., width)."""
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.epsilon)


class Attention(nn.Module):
    """``softmax(scale q k + mask) v``, where ``k`` comes transposed."""

    def __init__(self, scale: float, factors: int, *, masked: bool) -> None:
        """``factors`` is how many further arguments scale the product."""
        super().__init__()
        self.scale, self.factors, self.masked = scale, factors, masked

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        """``q`` is (..., L, d), ``k`` (..., d, S), ``v`` (..., S, e); then a mask, broadcast to (..., L, S), and factors."""
        scale = self.scale
        for factor in others[len(others) - self.factors :]:
            if factor.numel() > 1 or factor.requires_grad:
                q = q * factor
            else:
                scale *= float(factor)
        mask = others[0] if self.masked else None
        batch = q.shape[:-2]
        if k.shape[:-2] != batch or v.shape[:-2] != batch or (mask is not None and not _fits(mask, batch)):
            scores = scale * (q @ k)
            return torch.softmax(scores if mask is None else scores + mask, -1) @ v
        return F.scaled_dot_product_attention(q, k.transpose(-2, -1), v, attn_mask=mask, scale=scale)


def _fits(mask: torch.Tensor, batch: Sequence[int]) -> bool:
    """Whether a mask of at least two axes broadcasts to (*batch, L, S)."""
    given = mask.shape[:-2]
    return 2 <= mask.dim() <= len(batch) + 2 and all(
        n in {1, m} for n, m in zip(given[::-1], batch[::-1], strict=False)
    )


class Parts(nn.Module):
    """Consecutive parts of an axis; what is left over at its end is left out."""

    def __init__(self, axis: int, lengths: Sequence[int | None]) -> None:
        """``lengths`` may end in None: all that is left."""
        super().__init__()
        self.axis, self.lengths = axis, list(lengths)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Cut the axis."""
        left, sizes = x.shape[self.axis], []
        for length in self.lengths:
            sizes.append(left if length is None else min(length, left))
            left -= sizes[-1]
        return torch.split(x, [*sizes, left], self.axis)


class Swapped(nn.Module):
    """The last two axes of (batch, heads, length, width) swapped by way of three axes; as a view where that is all."""

    def __init__(self, down: nn.Module, swap: nn.Module, up: nn.Module, known: tuple[Any, Any]) -> None:
        """``known`` are the shapes of the two reshapings, None where they come as arguments."""
        super().__init__()
        self.down, self.swap, self.up, self.known = down, swap, up, known

    def forward(self, x: torch.Tensor, *shapes: torch.Tensor) -> torch.Tensor:
        """Swap the axes, or run the three steps where the shapes say otherwise."""
        given = iter(shapes)
        inner, outer = ([next(given)] if known is None else [] for known in self.known)
        first, last = (
            [int(n) for n in (known if known is not None else extra[0])]
            for known, extra in zip(self.known, (inner, outer), strict=True)
        )
        plain = first[1:] == list(x.shape[2:]) and last == [*x.shape[:2], x.shape[-1], x.shape[-2]]
        if x.dim() == 4 and len(first) == 3 and plain:
            return x.transpose(-2, -1)
        return self.up(self.swap(self.down(x, *inner)), *outer)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _View:
    """An fx graph read as ONNX operators."""

    module: fx.GraphModule
    sources: dict[str, Node]

    def operator(self, node: Any) -> str:
        """Return the ONNX operator that an fx node runs; empty for others and for other domains than the default."""
        if not isinstance(node, fx.Node) or node.op != "call_module":
            return ""
        source = self.sources.get(node.name)
        return source.op_type if source is not None and not source.domain else ""

    def part(self, node: fx.Node) -> nn.Module:
        """Return the module that an fx node calls."""
        return self.module.get_submodule(str(node.target))

    def constant(self, node: fx.Node) -> tuple[np.ndarray, fx.Node] | None:
        """Return the constant operand and the other one of an operator on two, or None."""
        source = self.sources[node.name]
        if len(source.constants) != 1 or len(source.inputs) != 2 or len(node.args) != 1:
            return None
        return next(iter(source.constants.values())), node.args[0]  # type: ignore[return-value]

    def scalar(self, node: Any, operator: str) -> tuple[float, fx.Node] | None:
        """Return c and x where a node is ``x operator c`` with one number c (for Div and Sub: on the right)."""
        if self.operator(node) != operator:
            return None
        found = self.constant(node)
        if found is None or found[0].size != 1 or found[0].dtype.kind != "f":
            return None
        if operator in {"Div", "Sub", "Pow"} and 1 not in self.sources[node.name].constants:
            return None
        return float(found[0].reshape(-1)[0]), found[1]

    def only_user(self, node: fx.Node, operator: str = "") -> fx.Node | None:
        """Return the one node that reads a tensor, where there is one and it is of this operator."""
        if len(node.users) != 1:
            return None
        user = next(iter(node.users))
        return user if not operator or self.operator(user) == operator else None

    def replace(self, node: fx.Node, part: nn.Module, arguments: tuple[fx.Node, ...]) -> None:
        """Put a module in the place of a node and of what it alone reads."""
        target = self.added(f"Fused_{node.name}", part)
        with self.module.graph.inserting_before(node):
            made = self.module.graph.call_module(target, arguments)
        node.replace_all_uses_with(made)
        self.sources[made.name] = self.sources[node.name]

    def added(self, stem: str, part: nn.Module) -> str:
        """Add a module under a name that is free, and return the name."""
        target, count = stem, 0
        while hasattr(self.module, target):
            count += 1
            target = f"{stem}_{count}"
        self.module.add_module(target, part.eval())
        return target


def _linear(view: _View, node: fx.Node) -> None:
    """``x W`` and a constant row added: one linear layer."""
    found = view.constant(node)
    if found is None:
        return
    bias, product = found
    part = view.part(product) if product.op == "call_module" else None
    fits = isinstance(part, nn.Linear) and part.bias is None and bias.shape == (part.out_features,)
    if fits and isinstance(part, nn.Linear) and view.only_user(product) is node:
        fused = linear_layer(part.weight.detach(), to_tensor(bias).to(part.weight))
        view.replace(node, fused, product.args)  # type: ignore[arg-type]


def _gelu(view: _View, node: fx.Node) -> None:
    """``0.5 x (1 + erf(x / sqrt 2))``, the products in any order."""
    inner = node.args[0]
    halved = view.scalar(inner, "Div") or view.scalar(inner, "Mul")
    wanted = math.sqrt(2) if view.operator(inner) == "Div" else math.sqrt(0.5)
    plus = view.only_user(node, "Add")
    one = view.scalar(plus, "Add")
    if halved is None or one is None or plus is None or not isinstance(inner, fx.Node):
        return
    if abs(halved[0] - wanted) > _CLOSE or one[0] != 1 or len(inner.users) != 1:
        return
    x, last, factor, met = halved[1], plus, 1.0, False
    while not (met and abs(factor - 0.5) < _CLOSE):
        product = view.only_user(last, "Mul")
        if product is None:
            return
        number = view.scalar(product, "Mul")
        if number is not None:
            factor *= number[0]
        else:
            other = next((a for a in product.args if a is not last), None)
            scaled = view.scalar(other, "Mul")
            if met or (other is not x and (scaled is None or scaled[1] is not x)):
                return
            met, factor = True, factor * (1.0 if other is x or scaled is None else scaled[0])
        last = product
    view.replace(last, nn.GELU(), (x,))


def _layer_norm(view: _View, node: fx.Node) -> None:
    """``(x - mean) / sqrt(mean((x - mean)^2) + epsilon)`` over the last axis, and weights."""
    if len(node.args) != 2:
        return
    centred, root = node.args
    if view.operator(centred) != "Sub" or view.operator(root) != "Sqrt" or not isinstance(centred, fx.Node):
        return
    shifted = view.scalar(root.args[0], "Add")  # type: ignore[union-attr]
    if shifted is None or len(centred.args) != 2 or not _last_mean(view, shifted[1]):
        return
    x, mean = centred.args
    squared = shifted[1].args[0]
    power = view.scalar(squared, "Pow")
    is_square = (power is not None and power == (2.0, centred)) or (
        view.operator(squared) == "Mul" and squared.args == (centred, centred)  # type: ignore[union-attr]
    )
    if not is_square or not _last_mean(view, mean) or mean.args[0] is not x or len(mean.users) != 1:  # type: ignore[union-attr]
        return
    inside = {node, squared}
    if not set(centred.users) <= inside or any(len(n.users) != 1 for n in (squared, root, shifted[1])):  # type: ignore[union-attr]
        return
    last, weights = node, []
    for operator in ("Mul", "Add"):
        user = view.only_user(last, operator)
        found = view.constant(user) if user is not None else None
        if user is None or found is None or found[0].ndim != 1:
            break
        weights.append(to_tensor(found[0]))
        last = user
    scale, bias = (*weights, None, None)[:2]
    same = scale is None or bias is None or scale.shape == bias.shape
    if same and (scale is None or len(scale) > 1):
        view.replace(last, LayerNorm(shifted[0], scale, bias), (x,))  # type: ignore[arg-type]


def _last_mean(view: _View, node: Any) -> bool:
    """Whether a node is the mean over the last axis, which is kept."""
    if view.operator(node) != "ReduceMean":
        return False
    source = view.sources[node.name]
    axes = source.attributes.get("axes")
    axes = axes if axes is not None else source.constants.get(1)
    return axes is not None and [int(a) for a in axes] == [-1] and bool(source.attributes.get("keepdims", 1))


def _attention(view: _View, node: fx.Node) -> None:
    """``softmax(scale q k + mask) v``."""
    source = view.sources[node.name]
    product = view.only_user(node, "MatMul")
    if source.version < 13 or source.attributes["axis"] != -1 or product is None or len(product.args) != 2:
        return
    if product.args[0] is not node:
        return
    scores, masks = node.args[0], ()
    if view.operator(scores) == "Add" and len(scores.args) == 2 and len(scores.users) == 1:  # type: ignore[union-attr]
        masked = scores.args  # type: ignore[union-attr]
        scores, mask = masked if view.operator(masked[0]) in {"Mul", "Div", "MatMul"} else masked[::-1]  # type: ignore[assignment]
        masks = (mask,)
    scale = 1.0
    for operator, power in (("Mul", 1), ("Div", -1)):
        found = view.scalar(scores, operator)
        if found is not None and len(scores.users) == 1:  # type: ignore[union-attr]
            scale, scores = scale * found[0] ** power, found[1]
    if view.operator(scores) != "MatMul" or len(scores.args) != 2 or len(scores.users) != 1:  # type: ignore[union-attr]
        return
    (q, by_q), (k, by_k) = (_unscaled(view, side) for side in scores.args)  # type: ignore[union-attr]
    numbers = [f for f in (by_q, by_k) if isinstance(f, float)]
    factors = tuple(f for f in (by_q, by_k) if isinstance(f, fx.Node))
    part = Attention(scale * math.prod(numbers), len(factors), masked=bool(masks))
    view.replace(product, part, (q, k, product.args[1], *masks, *factors))  # type: ignore[arg-type]


def _unscaled(view: _View, side: Any) -> tuple[fx.Node, float | fx.Node | None]:
    """Return a factor of a product without the number that it was multiplied by, and that number or its node.

    A node counts as a number if it comes from shapes alone; it is looked at again when it is run.
    """
    if view.operator(side) != "Mul" or len(side.users) != 1:
        return side, None
    number = view.scalar(side, "Mul")
    if number is not None:
        return number[1], number[0]
    if len(side.args) == 2 and view.operator(side.args[1]) == "Sqrt":
        return side.args[0], side.args[1]
    return side, None


def _slices(view: _View, node: fx.Node) -> None:
    """Slices that cut an axis into consecutive parts: one split, which is faster on the way back."""
    for axis in (0, -1, 1, 2, 3):
        found = {}
        for user in node.users:
            cut = _cut(view, user)
            if cut is not None and cut[0] == axis:
                found[cut[1]] = (cut[2], user)
        parts, start = [], 0
        while start in found and (not parts or found[start][0] > start):
            stop, user = found[start]
            parts.append((None if stop >= _OPEN else stop - start, user))
            start = stop
        if len(parts) > 1 and len(parts) == len(found):
            _split(view, node, axis, parts)


def _cut(view: _View, node: fx.Node) -> tuple[int, int, int] | None:
    """Return axis, beginning and end of a Slice of one axis by constants, in steps of one."""
    source = view.sources.get(node.name)
    if view.operator(node) != "Slice" or source is None or len(node.args) != 1:
        return None
    constants = [source.constants.get(k) for k in range(1, 5)]
    steps = constants[3] is None or (constants[3].size == 1 and int(constants[3][0]) == 1)
    if any(c is None or c.size != 1 for c in constants[:3]) or not steps:
        return None
    start, stop, axis = (int(c[0]) for c in constants[:3] if c is not None)
    return (axis, start, stop) if start >= 0 and stop > start else None


def _split(view: _View, node: fx.Node, axis: int, parts: list[tuple[int | None, fx.Node]]) -> None:
    first = min((user for _, user in parts), key=list(view.module.graph.nodes).index)
    target = view.added(f"Parts_{node.name}", Parts(axis, [length for length, _ in parts]))
    with view.module.graph.inserting_before(first):
        made = view.module.graph.call_module(target, (node,))
        pieces = [view.module.graph.call_function(operator.getitem, (made, k)) for k in range(len(parts))]
    view.sources[made.name] = view.sources[first.name]
    for piece, (_, user) in zip(pieces, parts, strict=True):
        user.replace_all_uses_with(piece)


def _swapped(view: _View, node: fx.Node) -> None:
    """Reshape to three axes, swap the last two, reshape to four: what exporters make of a transposed key."""
    swap = node.args[0]
    down = swap.args[0] if view.operator(swap) == "Transpose" else None  # type: ignore[union-attr]
    if view.operator(down) != "Reshape" or len(swap.users) != 1 or len(down.users) != 1:  # type: ignore[union-attr]
        return
    if view.sources[swap.name].attributes.get("perm") != [0, 2, 1]:  # type: ignore[union-attr]
        return
    known = tuple(view.sources[n.name].constants.get(1) for n in (down, node))  # type: ignore[union-attr]
    parts = (view.part(n) for n in (down, swap, node))  # type: ignore[arg-type]
    view.replace(node, Swapped(*parts, known), (*down.args, *node.args[1:]))  # type: ignore[union-attr, arg-type]


def _convolution(view: _View, node: fx.Node) -> None:
    """Convolution and batch normalisation with stored statistics."""
    before = node.args[0]
    if not isinstance(before, fx.Node) or before.op != "call_module" or view.only_user(before) is not node:
        return
    conv, norm = view.part(before), view.part(node)
    if isinstance(conv, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and isinstance(norm, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
        view.replace(node, fuse_conv_bn_eval(conv, norm).requires_grad_(requires_grad=False), before.args)  # type: ignore[arg-type]


_PATTERNS: tuple[tuple[str, Callable[[_View, fx.Node], None]], ...] = (
    ("Reshape", _swapped),
    ("any", _slices),
    ("Add", _linear),
    ("Erf", _gelu),
    ("Div", _layer_norm),
    ("Softmax", _attention),
    ("BatchNormalization", _convolution),
)
