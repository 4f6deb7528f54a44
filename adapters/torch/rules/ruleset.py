"""RuleSet: which rule each kind of node has, and the twin's graph with these rules in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, NoReturn

from ....engine.errors import CapabilityError, SettingError, nearest, printable
from ..remembered import remember
from ..view import View
from .kinds import ATTENTION, EXACT, FORMS, KINDS, LINEAR, PAIR
from .linear import Unbiased
from .patterns import simplify
from .ruled import Ruled
from .signs import rectified
from .sites import Site, sites_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import fx

    from ..node import Node
    from .rule import Rule
    from .ruled import Back, Moment

PLACES = ("first", "last")
THIRDS = ("lower", "middle", "upper")
REST, ANY = "rest", "any"
KEYS = (*PLACES, *THIRDS, *FORMS, *KINDS, REST, ANY)
UNUSED = "unused"  # part.meta[UNUSED]: keys of a RuleSet that no node of the part has
NODES = "rules"  # part.meta[NODES]: for each node: the tensor that it makes, its kind and form, and the rule's name


@dataclass(frozen=True)
class Missing:
    """Stands for a rule that a set does not have: an error that names the node, as soon as something comes back to it.

    Not before: nodes that only work on integers, such as token numbers, need no rule.
    """

    of: str

    def back(self, site: Site) -> Back:
        """Raise ``CapabilityError``."""
        key = site.kind if site.kind in KEYS else printable(site.tensor)
        return _refused(
            CapabilityError(
                f"{self.of} has no rule for nodes of the kind '{site.kind}'",
                where=site.node.label,
                tip=f'use lrp with a rule for it (--set lrp.rules="{key}=RULE"), or explain a tensor behind this node '
                "(--wrt), or use another method",
            )
        )

    def __str__(self) -> str:
        """Name."""
        return "none"


@dataclass(frozen=True)
class RuleSet:
    """A rule for each kind of node: another way back through a graph. Hashable, as it is what parts are kept by.

    ``rules`` are pairs of a key and a rule. For a node, the first of these that is there counts: a pattern
    (``relu3``, ``layer1*``) that its tensor or its ONNX node's name matches, or, where nodes were put together (a
    convolution and its batch normalisation), those of any of them; ``first`` and ``last``, for layers with no
    layer before or behind them; ``lower``, ``middle`` and ``upper``, for layers by thirds of their depth; the form of a
    linear node (``conv``, ``dense``, ``pool``, ``batch-norm``, ``scale``); its kind; ``rest``, for layers; ``any``.
    Layers are convolutions and dense ones. Shape operations, concatenation and embeddings are exact and take no rule.
    A node that no key fits is an error that names it, as soon as something comes back to it.

    ``flow`` says what goes back: relevance, which starts as the score's share of each element of the target's tensor
    (or with ``seed="one"`` as 1), or gradients, which start as the gradient of the score. ``merge`` puts batch
    normalisation into the layer before it. Without ``bias``, biases of linear nodes are left out of the sums that
    relevance is shared of: they keep none. Decomposed attention is one node where there is a rule for ``attention``.

    >>> from onnxplain.adapters.torch.rules import Epsilon, Pass
    >>> RuleSet("mine", (("linear", Epsilon()), ("sum", Epsilon()), ("activation", Pass()))).name
    'mine'
    """

    name: str
    rules: tuple[tuple[str, Rule], ...]
    flow: Literal["relevance", "gradient"] = "relevance"
    seed: Literal["score", "one"] = "score"
    merge: bool = True
    bias: bool = True
    own: frozenset[str] = field(default=frozenset())  # keys that a person asked for: told where nothing has them

    def rewrite(self, part: fx.GraphModule, sources: dict[str, Node]) -> None:
        """Give the nodes of a part their rules (see ``plan.Rules``)."""
        keys = {key for key, _ in self.rules}
        simplify(part, sources, merge=self.merge, attention=ATTENTION in keys, pairs=PAIR in keys)
        sites = sites_of(part, sources)
        chosen = {node: self.of(site) for node, site in sites.items() if site.kind not in EXACT}
        used = {key for key, _ in chosen.values()}
        self._check_patterns(list(sites.values()), used)
        scored = self.flow == "relevance" and self.seed == "score"
        quiet = rectified(part, sites, {node: rule for node, (_, rule) in chosen.items()}, scored=scored)
        for node, (_, rule) in chosen.items():
            linear = sites[node].linear
            linear = linear if linear is None or self.bias else Unbiased(linear)
            site = replace(sites[node], linear=linear, rectified=node in quiet)
            try:
                back = rule.back(site)
            except CapabilityError as error:
                back = _refused(error)
            if back is not None:
                part.set_submodule(site.target, Ruled(site.module, back, site))
        part.meta[UNUSED] = tuple(key for key, _ in self.rules if key in self.own and key not in used)
        part.meta[NODES] = tuple((s.tensor, s.kind, s.form, str(chosen[n][1])) for n, s in sites.items() if n in chosen)
        remember(View(part, sources))
        part.graph.eliminate_dead_code()
        part.delete_all_unused_submodules()
        part.recompile()

    def of(self, site: Site) -> tuple[str, Rule]:
        """Return the key and the rule of a node; where it has none, one that says so when something comes to it."""
        known = dict(self.rules)
        for key in self._keys(site):
            if key in known:
                return key, known[key]
        return "", Missing(self.name)

    def _keys(self, site: Site) -> list[str]:
        """Return the keys that fit a node, the closest first."""
        keys = [key for key, _ in self.rules if key not in KEYS and _names_one(key, site.names)]
        if site.depth:
            keys += [key for key, holds in (("first", site.first), ("last", site.last)) if holds]
            keys.append(site.third)
        keys += [site.form] if site.kind == LINEAR else []
        keys.append(site.kind)
        return [*keys, *([REST] if site.depth else []), ANY]

    def _check_patterns(self, sites: list[Site], used: set[str]) -> None:
        names = [n for site in sites for n in site.names]
        for key, _ in self.rules:
            if key in KEYS or key in used or _names_one(key, names):
                continue
            raise SettingError(
                f"no layer or tensor is called '{printable(key)}'",
                where=f"rules of {self.name}",
                tip=_nearest_layer(key, sites),
            )

    def start(self, made: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """Return what goes back from the target's tensor; ``slope`` is the gradient of the score there."""
        if self.flow == "gradient" or self.seed == "one":
            return slope
        return made.detach() * slope


def _names_one(key: str, names: Iterable[str]) -> bool:
    """Whether a key is one of some names, which may hold brackets, or a pattern that one matches."""
    return any(n == key or fnmatchcase(n, key) for n in names)


def _refused(error: CapabilityError) -> Back:
    """Return a way back that raises an error as soon as something comes to its node, and not before."""

    def refused(_: Moment) -> NoReturn:
        raise error

    return refused


def _nearest_layer(key: str, sites: list[Site]) -> str:
    layers = [n for site in sites if site.depth for n in site.names]
    tip = nearest(key, (*KEYS, *layers))
    return nearest(key, layers) or tip if tip.startswith("known") else tip
