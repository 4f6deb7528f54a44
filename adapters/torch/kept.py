"""Parts of a graph that are kept: all without rules, and the last few with rules, which hold weights of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import fx

    from .plan import Rules

MOST_RULED = 8  # rules split weights by sign: each part may weigh as much as the model several times over


def kept(
    parts: dict[tuple[Any, ...], fx.GraphModule], what: tuple[Any, ...], rules: Rules | None, make: Callable[[], Any]
) -> fx.GraphModule:
    """Return a part under rules from ``parts``, made if it is not there; the rules used last stay."""
    key = (*what, rules)
    part: fx.GraphModule | None = parts.pop(key, None) if rules is not None else parts.get(key)
    if part is None:
        part = make()
    parts[key] = part
    ruled = [k for k in list(parts) if k[-1] is not None] if rules is not None else []
    for old in ruled[:-MOST_RULED]:
        parts.pop(old, None)
    return part
