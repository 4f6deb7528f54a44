"""Decomposed operators put together again: linear layers, GELU, layer normalisation, attention, Conv with BatchNorm.

Exporters spell these out, and running the pieces one by one is slower than the original module. Layers that run faster
in another form get it, and what is calculated from shapes is remembered (``remembered``). Only parts of a graph are
fused (``plan.cut``), and only where nothing but the next piece reads a tensor in between: what is tapped stays.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .cuts import elements, slices
from .dtypes import to_tensor
from .fused import Attention, Dense, LayerNorm, Patches, Swapped
from .operators.linear import linear_layer
from .remembered import remember
from .view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .node import Node

_CLOSE = 1e-4  # constants are stored in 32 bits, some exporters round them to 16
_LARGE_PATCH = 8  # smaller windows gain nothing
_ANY = "any"


def fuse(module: fx.GraphModule, sources: dict[str, Node], names: Collection[str] | None = None) -> None:
    """Fuse what can be fused in a module; ``sources`` gives the ONNX node of each fx node that calls a module.

    ``names`` are those of the patterns that are looked for: all of them, or some of ``PATTERNS``.
    """
    view = View(module, sources)
    for name, (op_type, match) in PATTERNS.items():
        if names is not None and name not in names:
            continue
        for node in list(module.graph.nodes):
            if node.users and (op_type == _ANY or view.op_type(node) == op_type):
                match(view, node)
    if names is None:
        remember(view)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()


def _linear(view: View, node: fx.Node) -> None:
    """``x W`` and a constant row added: one linear layer."""
    found = view.with_constant(node, "Add")
    product = found[1] if found is not None else None
    if found is None or product is None or not view.inputs(product, "MatMul", 1) or not view.alone(product):
        return
    part = view.part(product)
    plain = isinstance(part, nn.Linear) and "bias" not in dict(part.named_parameters())
    if isinstance(part, nn.Linear) and plain and found[0].shape == (part.out_features,):
        fused = linear_layer(part.weight.detach(), to_tensor(found[0]).to(part.weight))
        view.replace(node, fused, tuple(view.inputs(product, "MatMul", 1)))


def _gelu(view: View, node: fx.Node) -> None:
    """``0.5 x (1 + erf(x / sqrt 2))``, the products in any order."""
    (inner,) = view.inputs(node, "Erf", 1) or (None,)
    scaled = view.scalar(inner, "Div") or view.scalar(inner, "Mul")
    wanted = math.sqrt(2) if view.op_type(inner) == "Div" else math.sqrt(0.5)
    plus = view.only_user(node, "Add")
    one = view.scalar(plus, "Add")
    if scaled is None or one is None or plus is None or inner is None or not view.alone(inner):
        return
    if abs(scaled[0] - wanted) > _CLOSE or one[0] != 1:
        return
    x, last, factor, met = scaled[1], plus, 1.0, False
    while not (met and abs(factor - 0.5) < _CLOSE):
        product = view.only_user(last, "Mul")
        if product is None:
            return
        number = view.scalar(product, "Mul")
        if number is not None:
            factor *= number[0]
        else:
            other = next((a for a in view.inputs(product, "Mul", 2) if a is not last), None)
            half = view.scalar(other, "Mul")
            if met or (other is not x and (half is None or half[1] is not x)):
                return
            met, factor = True, factor * (1.0 if other is x or half is None else half[0])
        last = product
    view.replace(last, nn.GELU(), (x,))


def _layer_norm(view: View, node: fx.Node) -> None:
    """``(x - mean) / sqrt(mean((x - mean)^2) + epsilon)`` over the last axis, and weights."""
    centred, root = view.inputs(node, "Div", 2) or (None, None)
    x, mean = view.inputs(centred, "Sub", 2) or (None, None)
    (shifted,) = view.inputs(root, "Sqrt", 1) or (None,)
    found = view.scalar(shifted, "Add")
    if centred is None or root is None or x is None or mean is None or shifted is None or found is None:
        return
    epsilon, variance = found
    squared = _of_last_mean(view, variance)
    if squared is None or _of_last_mean(view, mean) is not x:
        return
    power = view.scalar(squared, "Pow")
    if power != (2.0, centred) and view.inputs(squared, "Mul", 2) != [centred, centred]:
        return
    if not view.alone(mean, squared, variance, shifted, root) or not set(centred.users) <= {node, squared}:
        return
    last, weights = node, []
    for op_type in ("Mul", "Add"):
        user = view.only_user(last, op_type)
        weight = view.with_constant(user, op_type)
        if user is None or weight is None or weight[0].ndim != 1 or weight[0].size < 2:
            break
        weights.append(to_tensor(weight[0]))
        last = user
    scale, bias = (*weights, None, None)[:2]
    if scale is None or bias is None or scale.shape == bias.shape:
        view.replace(last, LayerNorm(epsilon, scale, bias), (x,))


def _of_last_mean(view: View, node: fx.Node) -> fx.Node | None:
    """Return what a node is the mean of, over the last axis, which is kept."""
    inputs = view.inputs(node, "ReduceMean", 1)
    if not inputs:
        return None
    kept = bool(view.sources[node.name].attributes.get("keepdims", 1))
    return inputs[0] if kept and view.axes(node) == [-1] else None


def _attention(view: View, node: fx.Node) -> None:
    """``softmax(scale q k + mask) v``."""
    source = view.sources[node.name]
    product = view.only_user(node, "MatMul")
    mixed = view.inputs(product, "MatMul", 2)
    if source.version < 13 or source.attributes["axis"] != -1 or product is None or not mixed or mixed[0] is not node:
        return
    (scores,) = view.inputs(node, "Softmax", 1) or (node,)
    masks: tuple[fx.Node, ...] = ()
    added = view.inputs(scores, "Add", 2)
    if added and view.alone(scores):
        scores, mask = added if view.op_type(added[0]) in {"Mul", "Div", "MatMul"} else reversed(added)
        masks = (mask,)
    scores, scale, factors = _unscaled(view, scores)
    sides = view.inputs(scores, "MatMul", 2)
    if not sides or not view.alone(scores):
        return
    (q, by_q, more), (k, by_k, most) = (_unscaled(view, side) for side in sides)
    factors = [*factors, *more, *most]
    part = Attention(scale * by_q * by_k, tuple(power for _, power in factors), masked=bool(masks))
    view.replace(product, part, (q, k, mixed[1], *masks, *(factor for factor, _ in factors)))


def _unscaled(view: View, node: fx.Node) -> tuple[fx.Node, float, list[tuple[fx.Node, int]]]:
    """Return a tensor without the numbers that scale it, those that are known, and nodes of others and their powers."""
    scale, factors = 1.0, []
    for _ in range(2):
        for op_type, power in (("Mul", 1), ("Div", -1)):
            number = view.scalar(node, op_type)
            pair = view.inputs(node, op_type, 2)
            if not view.alone(node):
                continue
            if number is not None:
                scale, node = scale * number[0] ** power, number[1]
            elif pair and pair[1] in view.of_shapes:  # a number such as the root of the width
                factors.append((pair[1], power))
                node = pair[0]
    return node, scale, factors


def _swapped(view: View, node: fx.Node) -> None:
    """Reshape to three axes, swap the last two, reshape to four: what exporters make of a transposed key."""
    swap = node.args[0]
    inputs = view.inputs(swap, "Transpose", 1)
    down = inputs[0] if inputs else None
    if not isinstance(swap, fx.Node) or down is None or view.op_type(down) != "Reshape" or not view.alone(swap, down):
        return
    if view.sources[swap.name].attributes.get("perm") != [0, 2, 1]:
        return
    known = (view.sources[down.name].constants.get(1), view.sources[node.name].constants.get(1))
    part = Swapped(view.part(down), view.part(swap), view.part(node), known)
    view.replace(node, part, (*down.all_input_nodes, *node.all_input_nodes[1:]))


def _convolution(view: View, node: fx.Node) -> None:
    """Convolution and batch normalisation with stored statistics."""
    (before,) = view.inputs(node, "BatchNormalization", 1) or (None,)
    if before is None or not view.inputs(before, "Conv", 1) or not view.alone(before):
        return
    layer, norm = view.part(before), view.part(node)
    padding = layer[0] if isinstance(layer, nn.Sequential) and len(layer) == 2 else None
    conv = layer if padding is None else layer[1]  # type: ignore[index]
    if isinstance(conv, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and isinstance(norm, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001  # the base of all ranks has no public name
        merged: nn.Module = fuse_conv_bn_eval(conv, norm).requires_grad_(requires_grad=False)
        merged = merged if padding is None else nn.Sequential(padding, merged)
        view.replace(node, merged, tuple(view.inputs(before, "Conv", 1)))


def _patches(view: View, node: fx.Node) -> None:
    """Convolution whose windows are as far apart as they are large: patches, each times one matrix."""
    conv = view.part(node)
    if type(conv) is nn.Conv2d and conv.stride == conv.kernel_size and min(conv.kernel_size) >= _LARGE_PATCH:
        plain = conv.groups == 1 and set(conv.dilation) == {1} and conv.padding in {(0, 0), "valid"}
        if plain and conv.padding_mode == "zeros":
            view.replace(node, Patches(conv), tuple(view.inputs(node, "Conv", 1)))


def _dense(view: View, node: fx.Node) -> None:
    """Linear layers with a bias."""
    layer = view.part(node) if node.op == "call_module" else None
    if type(layer) is nn.Linear and layer.bias is not None:
        view.replace(node, Dense(layer), tuple(node.all_input_nodes))


PATTERNS: dict[str, tuple[str, Callable[[View, fx.Node], None]]] = {
    "swapped": ("Reshape", _swapped),
    "elements": (_ANY, elements),
    "slices": (_ANY, slices),
    "linear": ("Add", _linear),
    "gelu": ("Erf", _gelu),
    "layer-norm": ("Div", _layer_norm),
    "attention": ("Softmax", _attention),
    "convolution": ("BatchNormalization", _convolution),
    "patches": ("Conv", _patches),
    "dense": (_ANY, _dense),
}
