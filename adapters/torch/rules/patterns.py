"""Patterns that rules see as one node: batch normalisation in its neighbour, decomposed activations and norms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from ..dtypes import to_tensor
from ..fuse import fuse
from ..operators.linear import BatchNorm, frozen
from ..operators.registry import Function
from ..view import View
from .kinds import UNARY

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from ..node import Node

_ELEMENTWISE = (
    nn.modules.activation.Threshold,
    nn.GELU,
    nn.ReLU,
    nn.LeakyReLU,
    nn.Sigmoid,
    nn.Tanh,
    nn.ELU,
    nn.CELU,
    nn.Mish,
    nn.SiLU,
    nn.Hardswish,
    nn.Softplus,
    nn.Softsign,
    nn.Hardtanh,
)
_BINARY = frozenset({"Add", "Sub", "Mul", "Div", "Pow"})
_SUMS = frozenset({"Add", "Sub", "Sum"})


class Region(nn.Module):
    """Several nodes that together are one function of each element of one tensor, such as ``x sigmoid(x)``."""

    def __init__(self, steps: Sequence[tuple[nn.Module, tuple[int, ...]]]) -> None:
        """Each step is a module and what it reads: 0 is the tensor itself, k the result of step k."""
        super().__init__()
        self.parts = nn.ModuleList(module for module, _ in steps)
        self.reads = [reads for _, reads in steps]

    def forward(self, x: torch.Tensor) -> Any:
        """Run the steps."""
        values = [x]
        for part, reads in zip(self.parts, self.reads, strict=True):
            values.append(part(*(values[k] for k in reads)))
        return values[-1]


class Pair(nn.Module):
    """A linear map, or a sum of signals, and the activation that alone reads it, as one node (see ``RevealCancel``)."""

    def __init__(self, linear: nn.Module, activation: nn.Module, source: Node) -> None:
        """``source`` is the node that the linear map came from."""
        super().__init__()
        self.linear, self.activation, self.source = linear, activation, source

    def forward(self, *xs: torch.Tensor) -> torch.Tensor:
        """Run both."""
        return self.activation(self.linear(*xs))  # type: ignore[no-any-return]


def simplify(
    part: fx.GraphModule, sources: dict[str, Node], *, merge: bool, attention: bool, pairs: bool = False
) -> None:
    """Put together what several operators spell; with ``merge`` also batch normalisation and the layer before it.

    With ``attention``, decomposed attention becomes one node too; with ``pairs``, layers and their activations.
    """
    names = {"swapped", "linear", "gelu", "layer-norm", "patches"}
    names |= {"convolution"} if merge else set()
    names |= {"attention"} if attention else set()
    fuse(part, sources, names)
    view = View(part, sources)
    for node in list(part.graph.nodes):
        if merge and view.op_type(node) == "BatchNormalization":
            _dense_with_norm(view, node)
    for node in list(part.graph.nodes):
        _rms_norm(view, node)
    _gates(view)
    for node in list(part.graph.nodes) if pairs else ():
        _pair(view, node)
    part.graph.eliminate_dead_code()
    part.delete_all_unused_submodules()
    part.recompile()


def _dense_with_norm(view: View, node: fx.Node) -> None:
    """Put a dense layer and batch normalisation of its columns together."""
    before, norm = node.args[0], view.part(node)
    if not isinstance(before, fx.Node) or before.op != "call_module" or not view.alone(before):
        return
    layer = view.part(before)
    source = view.sources.get(before.name)
    plain = source is not None and source.op_type == "Gemm"  # two axes: the columns are the channels
    if type(layer) is nn.Linear and isinstance(norm, BatchNorm) and plain:
        fused_layer = fuse_linear_bn_eval(layer, norm).requires_grad_(requires_grad=False)
        view.replace(node, fused_layer, tuple(before.all_input_nodes))


def _pair(view: View, node: fx.Node) -> None:
    """Put a layer, or a sum of several signals, and the activation that alone reads it together."""
    before = node.args[0] if node.args else None
    if view.op_type(node) not in UNARY or len(node.args) != 1 or not isinstance(before, fx.Node):
        return
    if before.op != "call_module" or not view.alone(before):
        return
    layer = view.part(before)
    inner = layer[-1] if isinstance(layer, nn.Sequential) else layer
    reads = tuple(a for a in before.args if isinstance(a, fx.Node))
    is_layer = isinstance(inner, (nn.Linear, nn.modules.conv._ConvNd)) and len(before.args) == 1  # noqa: SLF001  # the base of all ranks has no public name
    if is_layer or (view.op_type(before) in _SUMS and len(reads) == len(before.args) > 1):
        view.replace(node, Pair(layer, view.part(node), view.sources[before.name]), reads)


class RmsNorm(nn.Module):
    """``x / sqrt(mean(x^2) + epsilon) weight`` over the last axis."""

    def __init__(self, epsilon: float, weight: torch.Tensor | None) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = None if weight is None else frozen(weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (..., width)."""
        y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon)
        return y if self.weight is None else y * self.weight


def _rms_norm(view: View, node: fx.Node) -> None:
    """``x`` divided by, or times the reciprocal of, the root of the mean of its squares."""
    divided = view.inputs(node, "Div", 2)
    times = view.inputs(node, "Mul", 2)
    if divided:
        x, root = divided
    elif times:
        x, inverse = times if view.op_type(times[1]) in {"Reciprocal", "Div"} else reversed(times)
        found = _inverted(view, inverse)
        if found is None or not view.alone(inverse):
            return
        root = found
    else:
        return
    inner = view.inputs(root, "Sqrt", 1)
    if not inner or not view.alone(root):
        return
    shifted = view.scalar(inner[0], "Add")
    if shifted is None or not view.alone(inner[0]):
        return
    epsilon, mean = shifted
    reads = view.inputs(mean, "ReduceMean", 1)
    if not reads or not view.alone(mean, reads[0]) or not _over_last(view, mean):
        return
    square, last, weight = reads[0], node, None
    before, user = view.with_constant(x, "Mul"), view.only_user(node, "Mul")
    behind = view.with_constant(user, "Mul")
    if before is not None and _is_row(before[0]) and _is_square(view, square, before[1]) and view.alone(x):
        x, weight = before[1], to_tensor(before[0])
    elif user is not None and behind is not None and _is_row(behind[0]):
        last, weight = user, to_tensor(behind[0])
    if _is_square(view, square, x):
        view.replace(last, RmsNorm(epsilon, weight), (x,))


def _is_square(view: View, node: fx.Node, x: fx.Node) -> bool:
    return view.scalar(node, "Pow") == (2.0, x) or view.inputs(node, "Mul", 2) == [x, x]


def _is_row(array: np.ndarray) -> bool:
    return array.ndim == 1 and array.size > 1


def _inverted(view: View, node: fx.Node) -> fx.Node | None:
    """Return r where a node is ``1 / r``."""
    inputs = view.inputs(node, "Reciprocal", 1)
    if inputs:
        return inputs[0]
    found = view.with_constant(node, "Div")
    if found is not None and 0 in view.sources[node.name].constants and found[0].size == 1:
        return found[1] if float(found[0].reshape(-1)[0]) == 1 else None
    return None


def _over_last(view: View, node: fx.Node) -> bool:
    return bool(view.sources[node.name].attributes.get("keepdims", 1)) and view.axes(node) == [-1]


def _gates(view: View) -> None:
    """Products of functions of the same tensor, element by element: SiLU, GELU with tanh, hard swish, Mish."""
    roots: dict[fx.Node, fx.Node] = {}
    for node in view.module.graph.nodes:
        roots[node] = _root(view, node, roots)
    for node in reversed(list(view.module.graph.nodes)):
        if node.users and view.inputs(node, "Mul", 2) and roots[node] is not node:
            _gate(view, node, roots[node])


def _root(view: View, node: fx.Node, roots: dict[fx.Node, fx.Node]) -> fx.Node:
    """Return the tensor that a node is a function of, element by element; the node itself where there is none."""
    op_type = view.op_type(node)
    reads = [a for a in node.args if isinstance(a, fx.Node)]
    if op_type and not isinstance(view.part(node), (Function, *_ELEMENTWISE)):
        return node  # several operators that were put together
    if op_type in UNARY and len(reads) == 1:
        return roots[reads[0]]
    if op_type not in _BINARY or not reads:
        return node
    numbers = all(c.size == 1 and c.ndim <= 1 for c in view.sources[node.name].constants.values())
    first = roots[reads[0]]
    return first if numbers and all(roots[r] is first for r in reads) else node


def _gate(view: View, node: fx.Node, x: fx.Node) -> None:
    """Put the nodes between a tensor and a product of its functions together, where nothing else reads them."""
    inside: list[fx.Node] = []
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one is x or one in inside:
            continue
        inside.append(one)
        waiting += [a for a in one.args if isinstance(a, fx.Node)]
    order = [n for n in view.module.graph.nodes if n in inside]
    if len(order) < 2 or any(not set(n.users) <= set(inside) for n in order if n is not node):
        return
    places = {x: 0} | {n: k + 1 for k, n in enumerate(order)}
    steps = [(view.part(n), tuple(places[a] for a in n.args if isinstance(a, fx.Node))) for n in order]
    view.replace(node, Region(steps), (x,))
