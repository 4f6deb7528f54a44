"""Parts of one axis that several nodes take: cut in one go, so that the way back lays their gradients side by side.

One by one, each part's gradient would fill a tensor of zeros as large as the whole, and these would be added up.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from .fused import Elements, Parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import fx, nn

    from .view import View

_OPEN = 1 << 31  # an end this far away means the end of the axis


def elements(view: View, node: fx.Node) -> None:
    """Elements 0, 1, 2, ... of an axis, each taken by itself: queries, keys and values of one product.

    Where they are taken of a Transpose that nothing else reads, they are taken before it, and transposed one by one:
    then the gradients are laid side by side where they belong, and need not be laid out anew.
    """
    taken: dict[int, dict[int, tuple[fx.Node, fx.Node]]] = {}
    for user in list(node.users):
        found = _element(view, user)
        if found is not None:
            axis, place, last = found
            taken.setdefault(axis, {})[place] = user, last
    for axis, pairs in taken.items():
        if len(pairs) < 2 or set(pairs) != set(range(len(pairs))):
            continue
        users, lasts = zip(*(pairs[k] for k in range(len(pairs))), strict=True)
        order = _order(view, node) if set(node.users) <= set(users) else None
        if order is None:
            _cut(view, node, Elements(axis, len(pairs)), lasts)
        else:
            turned = order.pop(axis)
            rest = [k - (k > turned) for k in order]
            _cut(view, node.all_input_nodes[0], Elements(turned, len(pairs), rest), lasts)


def _element(view: View, node: fx.Node) -> tuple[int, int, fx.Node] | None:
    """Return axis, place and the last node where nodes take one element: a Gather, or a Slice and a Squeeze."""
    cut = _slice(view, node)
    if cut is not None:
        axis, start, stop = cut
        squeeze = view.only_user(node, "Squeeze")
        axes = view.axes(squeeze) if squeeze is not None and stop == start + 1 else None
        return (axis, start, squeeze) if squeeze is not None and axes == [axis] else None
    index = view.sources[node.name].constants.get(1) if view.inputs(node, "Gather", 1) else None
    if index is None or index.ndim or int(index) < 0:
        return None
    return int(view.sources[node.name].attributes["axis"]), int(index), node


def _order(view: View, node: fx.Node) -> list[int] | None:
    """Return the order of axes that a Transpose makes; None for other nodes, and where it is not told."""
    if not view.inputs(node, "Transpose", 1):
        return None
    order = view.sources[node.name].attributes.get("perm")
    return list(order) if order is not None else None


def slices(view: View, node: fx.Node) -> None:
    """Slices that cut an axis into consecutive parts: one split."""
    cuts = [(user, cut) for user in node.users if (cut := _slice(view, user)) is not None]
    for axis in {cut[0] for _, cut in cuts}:
        found = {cut[1]: (cut[2], user) for user, cut in cuts if cut[0] == axis}
        lengths: list[int | None] = []
        users = []
        start = 0
        while start in found:
            stop, user = found[start]
            lengths.append(None if stop >= _OPEN else stop - start)
            users.append(user)
            start = stop
        if len(users) > 1 and len(users) == len(found):
            _cut(view, node, Parts(axis, lengths), users)


def _slice(view: View, node: fx.Node) -> tuple[int, int, int] | None:
    """Return axis, beginning and end of a Slice of one axis by constants, in steps of one."""
    if not view.inputs(node, "Slice", 1):
        return None
    constants = [view.sources[node.name].constants.get(k) for k in range(1, 5)]
    numbers = [int(c[0]) for c in constants if c is not None and c.shape == (1,)]
    if len(numbers) < 3 or any(c is None for c in constants[:3]) or numbers[3:] not in ([], [1]):
        return None
    start, stop, axis = numbers[:3]
    return (axis, start, stop) if 0 <= start < stop else None


def _cut(view: View, node: fx.Node, part: nn.Module, users: Sequence[fx.Node]) -> None:
    """Let one module make what the users of a node make, in their order."""
    graph = view.module.graph
    first = min(users, key=list(graph.nodes).index)
    target = view.added(f"Parts_{node.name}", part)
    with graph.inserting_before(first):
        made = graph.call_module(target, (node,))
        pieces = [graph.call_function(operator.getitem, (made, k)) for k in range(len(users))]
    view.sources[made.name] = view.sources[first.name]
    for piece, user in zip(pieces, users, strict=True):
        user.replace_all_uses_with(piece)
        _erase(user)


def _erase(node: fx.Node) -> None:
    """Take out a node that nothing reads, and what it alone has read."""
    before = node.all_input_nodes
    node.graph.erase_node(node)
    for one in before:
        if one.op == "call_module" and not one.users:
            _erase(one)
