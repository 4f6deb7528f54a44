"""Doors to other frameworks (torch, tree ensembles, Ray); each is optional and reached through the plug-in registry."""

from __future__ import annotations

import importlib
from typing import Any

_DOORS = ("torch",)


def __getattr__(name: str) -> Any:
    """Load a door when it is first used: ``onnxplain.adapters.torch``."""
    if name in _DOORS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
