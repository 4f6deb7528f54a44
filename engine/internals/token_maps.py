"""From relevance of tokens to relevance of inputs: which tokens are which patches, words or steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError, SettingError, printable
from ..explanation import Explanation
from .layer import EXTRA_TOKENS, patches
from .view import view_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..problem import Problem
    from .attention import Tokens
    from .view import View

FEWEST_EXTRA = 1  # tokens, such as a class token, that may stand before those of a series


@dataclass(frozen=True)
class TokenRelevance:
    """How relevant tokens are for some explained tokens.

    ``tokens`` (S,) holds a value per token; ``matrix`` (explained kind's tokens, S) that of each for each, and ``rows``
    which of its rows are explained: ``tokens`` is their mean, in some methods without what each token has of itself.
    ``tensor`` is where the tokens meet the attention. ``kind`` are the inputs that these tokens come from, ``readers``
    those of the explained ones.
    """

    kind: Tokens
    tokens: np.ndarray
    matrix: np.ndarray
    rows: np.ndarray
    tensor: str
    readers: Tokens


@dataclass
class _Placed:
    """Values by name of input or tensor, and what a reader should know of them."""

    values: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def explanation_of_tokens(
    problem: Problem,
    found: Sequence[TokenRelevance],
    *,
    score: float,
    evaluations: int = 1,
    notes: tuple[str, ...] = (),
    **fields: Any,
) -> Explanation:
    """Make an Explanation of the relevance of tokens.

    Tokens of patches are enlarged to the picture, the same in all channels; tokens of a sequence stand at its elements;
    tokens that have no place at an input stand at the tensor, as (1, tokens); learned queries are in ``extras`` only.
    ``extras`` hold, for each kind of tokens, ``tokens``, ``matrix``, ``rows`` (see ``TokenRelevance``) and ``inputs``
    (those that the rows of the matrix come from, and those that its columns come from), followed by the name of the
    input where there are several kinds.
    """
    placed = _Placed()
    extras: dict[str, np.ndarray] = {}
    for one in found:
        if not np.isfinite(one.matrix).all():
            raise ModelError(f"the relevance of the tokens of {named(one.kind)} is not finite")
        if one.kind or len(found) == 1:
            _place(problem, one, placed)
        suffix = f" of {named(one.kind)}" if len(found) > 1 else ""
        extras |= {f"tokens{suffix}": one.tokens, f"matrix{suffix}": one.matrix, f"rows{suffix}": one.rows}
        extras[f"inputs{suffix}"] = np.array([named(one.readers), named(one.kind)])
    if not any(np.any(v) for v in placed.values.values()):
        placed.notes.append("the relevance is zero everywhere")
    return Explanation(
        values=placed.values,
        method=problem.method,
        settings={},
        target=problem.target.text,
        label=problem.target.label,
        score=score,
        evaluations=evaluations,
        sample=problem.sample,
        notes=(*_told_rows(found), *placed.notes, *notes),
        extras=extras,
        **fields,
    )


def named(kind: Tokens) -> str:
    """Return a name for a kind of tokens: the inputs that they come from."""
    return " and ".join(printable(n) for n in sorted(kind)) or "learned queries"


def _told_rows(found: Sequence[TokenRelevance]) -> list[str]:
    notes = []
    for rows, queries in dict.fromkeys((tuple(one.rows.tolist()), len(one.matrix)) for one in found):
        if len(rows) == queries > 1:
            notes.append(f"explained: the mean over all {queries} tokens, which the target is made from")
        elif len(rows) == 1:
            notes.append(f"explained: token {rows[0]} of {queries}")
        else:
            shown = ", ".join(map(str, rows[:6])) + (", ..." if len(rows) > 6 else "")
            notes.append(f"explained: the mean over tokens {shown} of {queries}")
    return notes


def _place(problem: Problem, one: TokenRelevance, placed: _Placed) -> None:
    if problem.wrt in one.kind and all(i.name != problem.wrt for i in problem.model.inputs):
        placed.values[str(problem.wrt)] = _at_tensor(problem, str(problem.wrt), one.tokens)
        return
    sample = problem.sample
    inputs = [i.name for i in problem.model.inputs if i.name in one.kind]
    first = [n for n in (sample.image_input, *(text.input for text in sample.texts)) if n in inputs]
    view = view_of(problem)
    for name in dict.fromkeys((*first, *inputs)):
        laid = view if view is not None and view.name == name else None
        if laid is not None and len(laid.size) == 2:
            values = _at_patches(laid, one, placed)
        else:
            values = _at_sequence(sample.feeds[name], one, placed)
            values = _at_patches(laid, one, placed) if values is None and laid is not None else values
        if values is not None:
            placed.values[name] = values
            return
    if inputs:
        placed.notes.append(
            f"the {len(one.tokens)} tokens of {named(one.kind)} have no place in it: their values stand at "
            f"'{printable(one.tensor)}'"
        )
    if one.tensor not in placed.values:
        placed.values[one.tensor] = one.tokens[None]


def _at_tensor(problem: Problem, name: str, tokens: np.ndarray) -> np.ndarray:
    """Return values at a tensor with one axis of so many tokens, the same along all other axes."""
    (row,) = problem.model.rows(problem.sample.feeds, (name,))
    axes = [k for k in range(1, row.ndim) if row.shape[k] == len(tokens)]
    if not axes:
        raise SettingError(
            f"tensor '{printable(name)}' of shape {list(row.shape)} has no axis of {len(tokens)} tokens",
            tip="name a tensor between two layers, of shape (rows, tokens, channels)",
        )
    shape = [len(tokens) if k == axes[0] else 1 for k in range(row.ndim)]
    return np.broadcast_to(tokens.reshape(shape), row.shape).copy()


def _at_sequence(feed: np.ndarray, one: TokenRelevance, placed: _Placed) -> np.ndarray | None:
    """Return values shaped like a sequence (1, L) or (1, L, C), whose elements are the tokens; None if they are not."""
    if feed.ndim not in {2, 3}:
        return None
    tokens, axes = one.tokens, [k for k in range(1, feed.ndim) if feed.shape[k] == len(one.tokens)]
    if not axes and len(one.rows) == 1 and one.rows[0] in {0, len(one.matrix) - 1}:
        tokens = tokens[1:] if one.rows[0] == 0 else tokens[:-1]
        axes = [k for k in range(1, feed.ndim) if feed.shape[k] == len(tokens)]
        if axes:
            placed.notes.append(f"token {one.rows[0]} stands for no element of the input and is left out of its values")
    if not axes:
        return None
    shape = [len(tokens) if k == axes[0] else 1 for k in range(feed.ndim)]
    return np.broadcast_to(tokens.reshape(shape), feed.shape).astype(np.float64)


def _at_patches(view: View, one: TokenRelevance, placed: _Placed) -> np.ndarray | None:
    """Return values of patches enlarged to an image or a series; None where the tokens make up no grid of patches."""
    count = len(one.tokens)
    found: tuple[int, tuple[int, ...]] | None
    if len(view.size) == 2:
        found = patches(count, view.size)
    else:
        divisors = (e for e in EXTRA_TOKENS[: FEWEST_EXTRA + 1] if count - e > 1 and view.size[0] % (count - e) == 0)
        found = next(((e, (count - e,)) for e in divisors), None)
    if found is None:
        return None
    extra, grid = found
    small = one.tokens[extra:].reshape(grid)
    size, before = " x ".join(map(str, grid)), f", behind {extra} other tokens" if extra else ""
    placed.notes.append(f"map of {size} patches{before}, enlarged to the input")
    return view.spread(view.enlarged(small[None])[0])
