"""Optional values: what may be there or not is the value itself, or None."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from ..node import Node


@converter("Optional")
def optional(node: Node) -> Converted:
    """Hand the input on; nothing where there is none."""
    return Converted(nn.Identity(), (0,)) if node.given(0) else function_module(lambda: None, node, ())


@converter("OptionalGetElement")
def get_element(node: Node) -> Converted:
    """Hand on what is there."""

    def apply(value: Any) -> Any:
        if value is None:
            raise ValueError("OptionalGetElement of nothing")
        return value

    return function_module(apply, node)


@converter("OptionalHasElement")
def has_element(node: Node) -> Converted:
    """Say whether something is there; a tensor or a sequence, even an empty one, is."""
    return function_module(lambda value=None: torch.tensor(value is not None), node)
