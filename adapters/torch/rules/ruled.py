"""A node that has a rule: forward it is the node's module, on the way back the rule takes the gradient's place."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .ledger import Ledger
    from .sites import Site

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Moment:
    """What a rule sees of a node on the way back.

    ``xs`` are the tensors that the node read while running (constants of the graph are not among them), ``ys`` what it
    made, ``R`` what has come back to each of ``ys``: relevance, or a gradient where the set of rules lets gradients
    flow. ``xs0`` and ``ys0`` are the node's tensors at the reference, where there is one (``referring``).
    """

    xs: Tensors
    ys: Tensors
    R: Tensors
    xs0: Tensors = ()
    ys0: Tensors = ()

    @property
    def x(self) -> torch.Tensor:
        """The only tensor that is read, or the first one."""
        return self.xs[0]

    @property
    def y(self) -> torch.Tensor:
        """The only tensor that is made, or the first one."""
        return self.ys[0]


if TYPE_CHECKING:
    Back = Callable[[Moment], Sequence[torch.Tensor | None]]  # of a moment: what goes back to each of its xs


@dataclass
class Passage:
    """One run: where losses are noted, and what the nodes read and made at the reference."""

    ledger: Ledger | None = None
    recording: bool = False
    reference: dict[Ruled, tuple[Tensors, Tensors]] = field(default_factory=dict)


_passage: ContextVar[Passage] = ContextVar("passage")


@contextlib.contextmanager
def passing(ledger: Ledger | None = None) -> Iterator[Passage]:
    """Let the nodes that run inside note what they lose in a ledger; each run has a passage of its own."""
    passage = Passage(ledger)
    token = _passage.set(passage)
    try:
        yield passage
    finally:
        _passage.reset(token)


@contextlib.contextmanager
def referring(passage: Passage) -> Iterator[None]:
    """Let the nodes that run inside keep what they read and make, as the reference of the run that follows."""
    passage.recording = True
    try:
        yield
    finally:
        passage.recording = False


class Ruled(nn.Module):
    """A module with another way back: ``back`` of a moment returns what goes to each tensor that the module reads."""

    def __init__(self, inner: nn.Module, back: Back, site: Site) -> None:
        super().__init__()
        self.inner, self.back, self.site = inner, back, site

    def forward(self, *xs: torch.Tensor) -> Any:
        """Run the module."""
        passage = _passage.get(None)
        if passage is not None and passage.recording:
            made = self.inner(*xs)
            passage.reference[self] = xs, made if isinstance(made, tuple) else (made,)
            return made
        if not torch.is_grad_enabled():
            return self.inner(*xs)
        return _Way.apply(self, passage, *xs)  # type: ignore[no-untyped-call]

    def extra_repr(self) -> str:
        """Name the node."""
        return str(self.site)


class _Way(torch.autograd.Function):
    """The module forward, its rule back."""

    @staticmethod
    def forward(ctx: Any, ruled: Ruled, passage: Passage | None, *xs: torch.Tensor) -> Any:
        """Run the module; ``passage`` is kept, as the way back may run in another thread."""
        made = ruled.inner(*xs)
        ys = made if isinstance(made, tuple) else (made,)
        ys = tuple(y.view_as(y) if any(y is x for x in xs) else y for y in ys)
        ctx.mark_non_differentiable(*(y for y in ys if not (y.is_floating_point() or y.is_complex())))
        ctx.save_for_backward(*xs, *ys)
        ctx.ruled, ctx.passage, ctx.count = ruled, passage, len(xs)
        return ys if isinstance(made, tuple) else ys[0]

    @staticmethod
    def backward(ctx: Any, *R: torch.Tensor) -> Any:
        """Apply the rule."""
        tensors, ruled, passage = ctx.saved_tensors, ctx.ruled, ctx.passage
        reference = passage.reference.get(ruled, ((), ())) if passage is not None else ((), ())
        moment = Moment(tensors[: ctx.count], tensors[ctx.count :], R, *reference)
        parts = tuple(ruled.back(moment))
        if passage is not None and passage.ledger is not None:
            passage.ledger.note(ruled.site, moment, parts)
        return None, None, *parts
