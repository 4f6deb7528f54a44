"""Signs: which tensors hold nothing below zero, and where nothing comes back to what is, as far as the graph tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import fx

from .kinds import (
    ACTIVATION,
    CONCATENATION,
    EXACT,
    LINEAR,
    MAX_POOL,
    MOVED,
    NEVER_BELOW,
    SCALE,
    SUM,
    ZERO_AT_ZERO,
)
from .linear import Average, Sum, Unbiased, Weighted
from .rule import Exact, Pass, Stop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..node import Node
    from .rule import Rule
    from .sites import Site


def without_negatives(part: fx.GraphModule, sites: Mapping[fx.Node, Site]) -> set[fx.Node]:
    """Return the fx nodes whose values are never below zero, whatever the inputs are.

    Tapped tensors are not among them: other values may be put in their place.
    """
    found: set[fx.Node] = set()
    for node in part.graph.nodes:
        reads = node.all_input_nodes
        site = sites.get(node)
        if site is not None:
            signals = [n for n, s in zip(_tensors(node), site.signals, strict=True) if s]
            if _never_below(site) or (_keeps_sign(site) and all(n in found for n in signals)):
                found.add(node)
        elif _is_item(node) and reads[0] in found:
            found.add(node)
    return found


def _never_below(site: Site) -> bool:
    return site.form in NEVER_BELOW or (site.form == "Clip" and _lower_bound(site.node) >= 0)


def _keeps_sign(site: Site) -> bool:
    """Whether what a node makes of values that are not below zero is not below zero either."""
    if site.kind == LINEAR:
        return isinstance(site.linear, Average)
    if site.kind == SUM and isinstance(site.linear, Sum):
        constant = site.linear.constant
        return min(site.linear.factors) >= 0 and (constant is None or bool((constant >= 0).all()))
    if site.kind == MAX_POOL:
        return site.form in {"MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin"}
    if site.kind == CONCATENATION:
        return not site.node.constants
    return site.form in MOVED


def _lower_bound(node: Node) -> float:
    """Return the constant below which a Clip lets nothing be; minus infinity where there is none."""
    if "min" in node.attributes:
        return float(node.attributes["min"])
    bound = node.constants.get(1)
    return -float("inf") if bound is None else float(bound.reshape(()))


def rectified(
    part: fx.GraphModule, sites: Mapping[fx.Node, Site], rules: Mapping[fx.Node, Rule], *, scored: bool
) -> set[fx.Node]:
    """Return the fx nodes to whose values at or below zero nothing comes back.

    That is so where only ReLUs read them that pass relevance on, and what comes back to these is in proportion to what
    they make. ``scored``: what comes back to the target is in proportion to its value.
    """
    proportional: set[fx.Node] = set()
    found: set[fx.Node] = set()

    def fades(user: fx.Node) -> bool:
        """Whether a reader hands nothing back to a value of zero."""
        site, rule = sites.get(user), rules.get(user)
        if user.op == "output":
            return scored
        if _is_tap(user) or _is_item(user) or (site is not None and site.kind in EXACT):
            return user in proportional
        if site is None or rule is None:
            return False
        if isinstance(rule, Stop) or getattr(rule, "proportional", False):
            return True
        if isinstance(rule, Exact):
            return site.kind == MAX_POOL and user in proportional
        return isinstance(rule, Pass) and _zero_at_zero(site) and user in proportional

    for node in reversed(list(part.graph.nodes)):
        if node.users and all(fades(user) for user in node.users):
            proportional.add(node)
        if node.users and all(_stops(user, sites, rules, proportional, found) for user in node.users):
            found.add(node)
    return found


def _stops(
    user: fx.Node,
    sites: Mapping[fx.Node, Site],
    rules: Mapping[fx.Node, Rule],
    proportional: set[fx.Node],
    found: set[fx.Node],
) -> bool:
    """Whether a reader hands nothing back to values at or below zero."""
    if _is_tap(user):
        return user in found
    site = sites.get(user)
    cuts = site is not None and (site.form == "Relu" or (site.form == "Clip" and _lower_bound(site.node) == 0))
    return cuts and isinstance(rules.get(user), Pass) and user in proportional


def _zero_at_zero(site: Site) -> bool:
    if site.form == SCALE:
        layer = site.linear.inner if isinstance(site.linear, Unbiased) else site.linear
        return isinstance(layer, Weighted) and layer.added is None
    clipped = site.form == "Clip" and _lower_bound(site.node) == 0
    return site.kind == ACTIVATION and (clipped or site.form in ZERO_AT_ZERO)


def _tensors(node: fx.Node) -> list[fx.Node]:
    return [a for a in node.args if isinstance(a, fx.Node)]


def _is_tap(node: fx.Node) -> bool:
    return node.op == "call_function" and "tapped" in str(node.target)


def _is_item(node: fx.Node) -> bool:
    return node.op == "call_function" and "getitem" in str(node.target)
