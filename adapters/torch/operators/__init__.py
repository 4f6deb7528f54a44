"""Operator converters, one family of operators per file; every file of this folder is read when the table is used."""

from __future__ import annotations

import importlib
import pkgutil

from .registry import CONVERTERS, Converted, converter, find, function_module

__all__ = ["CONVERTERS", "Converted", "converter", "find", "function_module"]

for _family in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_family.name}")
