"""The derivative, averaged on the way from the reference: DeepLIFT for nodes that are no function of each element."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from .deeplift import way
from .kinds import NORMALISATION, PRODUCT
from .norms import Norm, norm_of
from .rule import unfit
from .transposes import to_matrices, transposed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .ruled import Back, Moment
    from .sites import Site

POINTS = 32  # on the way from the reference
ACCURACY = 1e-7  # of averages over softmax: as many points are taken as this needs, and no more than POINTS


@dataclass(frozen=True)
class Averaged:
    """``m_x = int_0^1 J(x0 + t (x - x0))^T m_y dt``: the node's derivative, averaged on the way from the reference.

    For functions of each element this is the rescale rule; for ``a b`` it is ``m_a = m_y (b + b0) / 2``, the average
    over both orders, exactly; and for nodes such as softmax and layer normalisation it shares their difference
    completely: for two classes, softmax is rescaled as a sigmoid of the difference of its inputs. The integral is taken
    by Gauss-Legendre at ``points`` points, and what it misses is made up for in proportion to ``(x - x0)^2``.
    DeepLIFT's paper has no rule for such nodes.
    """

    points: int = POINTS

    def back(self, site: Site) -> Back:
        """Average the derivative."""
        known = self._known(site)
        points = 1 if site.kind == PRODUCT and site.form in {"Mul", "MatMul", "Einsum", "Conv"} else self.points

        def averaged(m: Moment) -> Sequence[torch.Tensor]:
            if not m.xs0:
                raise unfit(self, site, "there is no reference")
            found = known(m) if known is not None and len(m.ys) == 1 else None
            return _by_points(site, m, points) if found is None else found

        return averaged

    def _known(self, site: Site) -> Callable[[Moment], Sequence[torch.Tensor] | None] | None:
        """Return a way that needs no run of the node at each point; it may find that it does not suit."""
        if site.kind == PRODUCT and site.form in {"Mul", "MatMul"}:
            return _of_factors if site.form == "Mul" else _of_matrices
        if isinstance(site.module, nn.Softmax) and site.module.dim is not None:
            return partial(_of_softmax, site.module.dim, self.points)
        norm = norm_of(site) if site.kind == NORMALISATION else None
        return partial(_of_norm, norm, self.points) if norm is not None and norm.epsilon else None

    def __str__(self) -> str:
        """Name."""
        return "averaged"


def _of_factors(m: Moment) -> Sequence[torch.Tensor] | None:
    """``y = a b``: the mean over both orders."""
    if len(m.xs) != 2:
        return None
    (a, b), (a0, b0) = m.xs, m.xs0
    pairs = ((a, b + b0), (b, a + a0))
    return [(m.R[0] * other).mul_(0.5).sum_to_size(x.shape) for x, other in pairs]


def _of_matrices(m: Moment) -> Sequence[torch.Tensor] | None:
    """``y = A B`` of as many matrices each: the mean over both orders."""
    if len(m.xs) != 2:
        return None
    a, b = (x + x0 for x, x0 in zip(m.xs, m.xs0, strict=True))
    return to_matrices(a, b, m.R[0] / 2)


def _of_norm(norm: Norm, points: int, m: Moment) -> Sequence[torch.Tensor]:
    """``y = w u / sigma`` with ``u = x - mean(x)``: on a straight way, ``sigma^2`` is a polynomial in t for each row.

    With ``v = w m_y`` the average is ``I v - u0 (a J0 + b J1) / n - du (a J1 + b J2) / n`` (v centred as x is), where
    ``a = u0 . v``, ``b = du . v``, ``I = int 1/sigma dt`` and ``Jk = int t^k / sigma^3 dt``: integrals of one number
    for each row.
    """
    over = norm.over(m.x)
    x, x0, v = (norm.rows(t) for t in (m.x, m.xs0[0], norm.weighed(m.R[0])))
    u0, du = x0, x - x0
    if norm.centred:
        u0, du, v = (t - t.mean(over, keepdim=True) for t in (u0, du, v))

    def dot(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        return (p * q).sum(over, keepdim=True).double()

    n = math.prod(x.shape[k] for k in over)
    first, mixed, last = dot(u0, u0) / n + norm.epsilon, dot(u0, du) / n, dot(du, du) / n
    a, b = dot(u0, v), dot(du, v)
    t, weights = (first.new_tensor(p).reshape(-1, *[1] * x.dim()) for p in _gauss_legendre(points))
    inverse = (first + 2 * t * mixed + t * t * last).clamp_min_(torch.finfo(x.dtype).tiny).rsqrt_()
    once, cubes = (weights * inverse).sum(0), weights * inverse**3
    j0, j1, j2 = cubes.sum(0), (cubes * t).sum(0), (cubes * t * t).sum(0)
    by_start, by_way = a * j0 + b * j1, a * j1 + b * j2
    change = (a + b) * (first + 2 * mixed + last).rsqrt() - a * first.rsqrt()
    missing = change - (once * b - mixed * by_start - last * by_way)
    by_way = by_way - torch.where(last == 0, 0.0, missing / last)
    found = once.to(v) * v
    found.addcmul_(by_start.to(v), u0, value=-1 / n).addcmul_(by_way.to(v), du, value=-1 / n)
    return [found.reshape(m.x.shape)]


def _of_softmax(axis: int, points: int, m: Moment) -> Sequence[torch.Tensor] | None:
    """``J^T v = p v - p (p . v)`` at each point: the nearer reference and sample are, the fewer points it takes.

    As functions of t, probabilities are analytic up to ``2 pi / spread`` from the way, where the spread is that of the
    differences of the logits: Gauss-Legendre converges accordingly.
    """
    x, x0, v = m.x, m.xs0[0], m.R[0]
    delta = way(x, x0)
    spread = float((delta.amax(axis) - delta.amin(axis)).max()) if delta.numel() else 0.0
    if not math.isfinite(spread):
        return None
    reach = 2 * math.pi / max(spread, ACCURACY)
    needed = max(2, math.ceil(-math.log(ACCURACY) / (2 * math.log(reach + math.hypot(1, reach)))))
    found = torch.zeros_like(v)
    for t, weight in zip(*_gauss_legendre(min(points, needed)), strict=True):
        p = torch.softmax(torch.add(x0, delta, alpha=t), axis)
        found.add_(torch.ops.aten._softmax_backward_data(v, p, axis, p.dtype), alpha=weight)  # noqa: SLF001  # J^T v
    return [found] if needed <= points else _completed([found], [delta], m)


def _by_points(site: Site, m: Moment, points: int) -> list[torch.Tensor]:
    """Run the node at each point."""
    ways = [way(x, x0) if x.is_floating_point() else None for x, x0 in zip(m.xs, m.xs0, strict=True)]
    found = [torch.zeros_like(x) for x in m.xs]
    for t, weight in zip(*_gauss_legendre(points), strict=True):
        at = [x if w is None else x0 + t * w for x, x0, w in zip(m.xs, m.xs0, ways, strict=True)]
        for total, slope in zip(found, transposed(site.module, at, m.R if len(m.R) > 1 else m.R[0]), strict=True):
            if total.is_floating_point():
                total.add_(slope, alpha=weight)
    return _completed(found, ways, m) if points > 1 else found


def _completed(found: list[torch.Tensor], ways: Sequence[torch.Tensor | None], m: Moment) -> list[torch.Tensor]:
    """Make up for what the quadrature misses, apart for each element of the first axis, where all tensors have it."""
    pairs = [(f, w) for f, w in zip(found, ways, strict=True) if w is not None]
    rows = {t.shape[:1] for t in (*(f for f, _ in pairs), *m.ys)}
    if len(rows) != 1 or () in rows:
        return found

    def by_row(products: list[torch.Tensor]) -> torch.Tensor:
        return sum((p.flatten(1).sum(1) if p.dim() > 1 else p for p in products), start=torch.zeros(()).to(products[0]))

    wanted = by_row([R * (y - y0) for R, y, y0 in zip(m.R, m.ys, m.ys0, strict=True)])
    missing = wanted - by_row([f * w for f, w in pairs])
    length = by_row([w.square() for _, w in pairs])
    step = torch.where(length == 0, torch.zeros_like(length), missing / torch.where(length == 0, 1.0, length))
    return [
        f if w is None else f + step.reshape(-1, *[1] * (w.dim() - 1)) * w for f, w in zip(found, ways, strict=True)
    ]


@lru_cache(maxsize=64)
def _gauss_legendre(count: int) -> tuple[list[float], list[float]]:
    places, weights = np.polynomial.legendre.leggauss(count)
    return ((places + 1) / 2).tolist(), (weights / 2).tolist()
