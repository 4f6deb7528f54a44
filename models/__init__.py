"""The catalogue of demonstration models: ``path``, ``build``, ``samples`` by name, and ``photograph``."""

from __future__ import annotations

from .catalogue import Recipe, build, find, home, path, recipes, samples
from .photographs import PHOTOGRAPHS, photograph

__all__ = ["PHOTOGRAPHS", "Recipe", "build", "find", "home", "path", "photograph", "recipes", "samples"]
