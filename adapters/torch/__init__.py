"""The differentiable twin: any ONNX graph as a torch module, checked against ONNX Runtime.

Torch is loaded when ``convert``, ``twin``, ``Twin`` or ``Run`` is first used: the methods on the twin are listed
without it.
"""

# ruff: noqa: TC004 - the imports below are for type checkers; at run time the properties of _Door give these names
from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ...engine.errors import CapabilityError

if TYPE_CHECKING:
    from .convert import convert as convert
    from .twin import Run as Run
    from .twin import Twin as Twin
    from .twin import twin as twin

__all__ = ["Run", "Twin", "convert", "twin"]


def _given(name: str, room: str) -> property:
    """Return a property for a public name of ``room``.

    Importing a room called as its function would put the room in the function's place; the setter keeps it out.
    """

    def get(_: ModuleType) -> Any:
        try:
            return getattr(importlib.import_module(f".{room}", __name__), name)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise CapabilityError(
                f"{name} needs torch, which is not installed", tip='pip install "onnxplain[torch]"'
            ) from None

    def keep(_: ModuleType, value: Any) -> None:
        del value

    return property(get, keep)


class _Door(ModuleType):
    """This package, with its public names loaded when they are used."""

    convert = _given("convert", "convert")
    twin = _given("twin", "twin")
    Twin = _given("Twin", "twin")
    Run = _given("Run", "twin")


if not TYPE_CHECKING:
    sys.modules[__name__].__class__ = _Door
