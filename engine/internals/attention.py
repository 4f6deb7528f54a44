"""The attention of a model for one target: layers in order, their weights, and which tokens are explained."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CapabilityError, ModelError, SettingError, printable
from ..graph.attention import Attention, AttentionGraph
from ..graph.expose import exposed
from ..graph.rebuild import read_in, rebuilt
from ..model import Model
from .activation import joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from onnx import ModelProto

    from ..explanation import Explanation
    from ..problem import Problem

METHODS = frozenset({
    "attention-flow", "attention-map", "attention-rollout", "generic-attention", "transformer-attribution",
})  # fmt: skip
AT_ONCE = 4  # samples whose weights are in memory together
SAME = 1e-3  # relative to the largest number: how far the spelled-out graph may be from the original one
LOOKED_FOR = (
    "looked for a Softmax over the last axis whose result is multiplied with activations (MatMul, Einsum), and for "
    "Attention and MultiHeadAttention nodes; bodies of Loop, Scan and If are not looked into"
)
Tokens = frozenset[str]  # a kind of tokens, by the inputs that they come from


@dataclass(frozen=True)
class AttentionLayers:
    """The attention layers that a target depends on, in the order of the graph, numbered from 0.

    ``model`` is the model in which the weights of all of them are tensors: the given one, or one in which attention
    nodes are spelled out. ``last`` are the layers whose tokens the target is made from.
    """

    model: Model
    layers: tuple[Attention, ...]
    last: tuple[Attention, ...]

    def __getitem__(self, place: int) -> Attention:
        """Return a layer by its number, from the end if negative; ``SettingError`` where there is none."""
        if not -len(self.layers) <= place < len(self.layers):
            raise SettingError(
                f"there is no attention layer {place}",
                tip=f"the layers are 0 to {len(self.layers) - 1}, or -1 the last",
            )
        return self.layers[place]

    def number(self, layer: Attention) -> int:
        """Return the number of a layer."""
        return self.layers.index(layer)

    def weights(self, problems: Sequence[Problem], layers: Sequence[Attention]) -> Iterator[dict[str, np.ndarray]]:
        """Yield for each sample the weights (heads, queries, keys) of layers in float64, by the tensor's name."""
        names = tuple(dict.fromkeys(layer.weights for layer in layers))
        for start in range(0, len(problems), AT_ONCE):
            part = [p.sample.feeds for p in problems[start : start + AT_ONCE]]
            together = joined(self.model, part)
            runs = part if together is None else [together]
            for feeds in runs:
                rows = self.model.rows(feeds, names)
                for k in range(len(rows[0])):
                    yield {name: in_heads(row[k : k + 1], name)[0] for name, row in zip(names, rows, strict=True)}


def in_heads(rows: np.ndarray, name: str) -> np.ndarray:
    """Return attention weights (P, ...), or their gradients, as (P, heads, queries, keys) in float64.

    Without an axis of heads there is one head. Raises ``CapabilityError`` where there are more axes, as where tokens
    attend within windows, and where weights are not finite ``ModelError``.
    """
    if rows.ndim == 3:
        rows = rows[:, None]
    if rows.ndim != 4:
        raise CapabilityError(
            f"the attention weights '{printable(name)}' have the shape {list(rows.shape)} for one sample: not heads, "
            "queries and keys",
            where="tokens that attend within windows or along axes have no matrix of tokens to tokens",
            tip="use a gradient or perturbation method for this model",
        )
    if not np.isfinite(rows).all():
        raise ModelError(f"the attention weights '{printable(name)}', or their gradients, are not finite")
    return rows.astype(np.float64)


def attention_of(problem: Problem) -> AttentionLayers:
    """Return the attention layers before a problem's target, and after ``wrt`` if it names a tensor.

    Raises ``CapabilityError`` where the model has none, or where a node hides its weights, and ``SettingError`` where
    there is none between ``wrt`` and the target.
    """
    model = spelled_out(problem.model, problem.sample.feeds, problem.target.tensor)
    inner = problem.wrt if problem.wrt and all(i.name != problem.wrt for i in model.inputs) else ""
    graph = AttentionGraph(model.proto, start=inner)
    if not graph.layers:
        raise CapabilityError(
            "no attention was found in this model",
            where=LOOKED_FOR,
            tip="onnxplain methods lists methods for any model",
        )
    layers = graph.leading_to(problem.target.tensor)
    if not layers:
        between = f"between tensor '{printable(inner)}' and" if inner else "before"
        raise SettingError(
            f"there is no attention {between} the target '{printable(problem.target.tensor)}'",
            where=f"the model has {len(graph.layers)} attention layers, the first makes "
            f"'{printable(graph.layers[0].output)}'",
            tip="choose a later target" + (" or leave out --wrt" if inner else ""),
        )
    last = tuple(layer for layer in graph.read_by(problem.target.tensor) if layer in layers)
    return AttentionLayers(model, layers, last or layers[-1:])


def by_target(
    problems: Sequence[Problem], method: Callable[[list[Problem], AttentionLayers], Iterator[Explanation]]
) -> list[Explanation]:
    """Return the explanations of problems of one model; those with one target tensor go to ``method`` at once."""
    groups: dict[str, list[int]] = {}
    for place, problem in enumerate(problems):
        groups.setdefault(problem.target.tensor, []).append(place)
    made: dict[int, Explanation] = {}
    for places in groups.values():
        own = [problems[k] for k in places]
        made |= dict(zip(places, method(own, attention_of(own[0])), strict=True))
    return [made[k] for k in range(len(problems))]


def count(proto: ModelProto) -> tuple[int, int, tuple[str, ...]]:
    """Return how many layers of self-attention and cross-attention a graph has, and nodes that hide their weights."""
    found = exposed(proto)
    layers = AttentionGraph(found.proto).layers
    own = sum(layer.is_self for layer in layers)
    return own, len(layers) - own, found.closed


# The model with its attention spelled out, None where that is the model itself: it would never be let go.
_known: weakref.WeakKeyDictionary[Model, tuple[Model | None, set[str]]] = weakref.WeakKeyDictionary()


def spelled_out(model: Model, feeds: Mapping[str, np.ndarray], target: str) -> Model:
    """Return the model with attention nodes spelled out, made once; each target is compared with the original's."""
    if model not in _known:
        found = exposed(model.proto)
        if found.closed:
            raise CapabilityError(
                "the weights of an attention node cannot be had",
                where=found.closed[0],
                tip="export the model without fused operators, or use a gradient or perturbation method",
            )
        _known[model] = (None if found.proto is model.proto else _opened(found.proto, model), set())
    spelled, checked = _known[model]
    if spelled is None:
        return model
    if target not in checked:
        (one,), (other,) = (m.rows(feeds, (target,)) for m in (model, spelled))
        apart = np.abs(one.astype(np.float64) - other).max(initial=0.0)
        if not apart <= SAME * max(1e-6, float(np.abs(one).max(initial=0.0))):
            raise CapabilityError(
                f"attention cannot be spelled out: '{printable(target)}' then differs from the model's by {apart:.3g}",
                tip="please report it with the model's file; gradient and perturbation methods still work",
            )
        checked.add(target)
    return spelled


def _opened(proto: ModelProto, model: Model) -> Model:
    """Open a rewritten graph; weights that lie in other files are read into it."""
    whole = read_in(rebuilt(proto), model.folder)
    try:
        data = whole.SerializeToString()
    except ValueError:
        raise ModelError(
            "with its attention spelled out the model is larger than the 2 GiB that a single ONNX message holds",
            tip="use a gradient or perturbation method",
        ) from None
    return Model(data, model.spec, model.device, model.threads)


def explained_rows(problem: Problem, found: AttentionLayers, layer: Attention, queries: int) -> np.ndarray:
    """Return which query tokens of a last layer the target is made from, by changing them one after the other.

    A class token shows up as one, a mean over tokens as all of them. Only the model behind the layer is run.
    """
    from .reading import read_tokens

    return read_tokens(problem, found, layer, queries)


def chosen_rows(token: int | None, queries: int, method: str) -> np.ndarray | None:
    """Return the row that a ``token`` setting names; None where it leaves the choice open."""
    if token is None:
        return None
    if not -queries <= token < queries:
        raise SettingError(
            f"{method}.token must be a token from 0 to {queries - 1}, not {token}",
            tip=f"there are {queries} tokens; -1 is the last one",
        )
    return np.array([token % queries])
