"""Settings of a plug-in: one description per dataclass field, used for validation, CLI options, help and docs."""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import SettingError, nearest, printable


@dataclass(frozen=True)
class Range:
    """Bounds of a numeric setting, both included unless ``open_low``; ``None`` is no bound."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False

    def __str__(self) -> str:
        """Bounds as a person writes them."""
        if self.low is not None and self.high is not None:
            return f"{'above ' if self.open_low else ''}{self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        return f"at most {self.high:g}" if self.high is not None else "any number"

    def holds(self, value: float) -> bool:
        """Say whether ``value`` is finite and within the bounds."""
        above = self.low is None or (value > self.low if self.open_low else value >= self.low)
        return math.isfinite(value) and above and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Setting:
    """One field of a plug-in: name, type, default, help text and bounds."""

    name: str
    annotation: Any
    default: Any
    help: str
    bounds: Range | None
    choices: tuple[Any, ...]

    @property
    def type_name(self) -> str:
        """The type as a person reads it."""
        return _spell(self.annotation)

    def to_json(self) -> dict[str, Any]:
        """Return what ``methods --json`` lists."""
        return {
            "name": self.name,
            "type": self.type_name,
            "default": plain(self.default),
            "help": self.help,
            "bounds": str(self.bounds) if self.bounds else None,
            "choices": list(self.choices) or None,
        }


def settings_of(plugin: type) -> tuple[Setting, ...]:
    """Describe the fields of a plug-in's dataclass.

    A field is annotated ``Annotated[type, "help text"]``, with a ``Range`` after the text where it has bounds;
    ``Literal`` types list choices.
    """
    hints = typing.get_type_hints(plugin, include_extras=True)
    return tuple(_describe(f, hints[f.name]) for f in dataclasses.fields(plugin) if f.init)


def build(plugin: type, given: dict[str, Any], method: str) -> Any:
    """Make the plug-in from settings after checking names, types and bounds.

    Raises ``SettingError`` that names the method, the setting, what was given and what is taken.
    """
    known = {s.name: s for s in settings_of(plugin)}
    for name in given:
        if name not in known:
            raise SettingError(
                f"{method} has no setting '{printable(name)}'", tip=nearest(name, known) or f"{method} has no settings"
            )
    checked = {name: checked_value(known[name], value, f"{method}.{name}") for name, value in given.items()}
    return plugin(**checked)


def checked_value(setting: Setting, value: Any, where: str) -> Any:
    """Return ``value`` in the setting's type, or raise ``SettingError``."""
    try:
        result = _convert(value, setting.annotation)
    except (TypeError, ValueError):
        wanted = f"one of {', '.join(map(str, setting.choices))}" if setting.choices else setting.type_name
        shown = printable(repr(value)) if not isinstance(value, np.ndarray) else f"an array {value.shape}"
        tip = nearest(str(value), map(str, setting.choices)) if setting.choices else setting.help
        raise SettingError(f"{where} takes {wanted}, not {shown[:80]}", tip=tip) from None
    if setting.bounds is not None:
        numbers = result.values() if isinstance(result, dict) else result if isinstance(result, tuple) else (result,)
        for number in numbers:
            if isinstance(number, int | float) and not setting.bounds.holds(number):
                raise SettingError(f"{where} must be {setting.bounds}, not {number}", tip=setting.help)
    return result


def parse_value(text: str) -> Any:
    """Read a setting from the command line: a number, true/false, a list such as ``2,3``, or else text.

    >>> parse_value("2,3"), parse_value("0.5"), parse_value("blur:10"), parse_value("true")
    ((2, 3), 0.5, 'blur:10', True)
    """
    stripped = text.strip()
    listed = stripped.strip("()[]") if "," in stripped or stripped[:1] in "([" else None
    source = f"[{listed}]" if listed is not None else stripped
    if stripped.lower() in {"none", "null"}:
        return None
    if stripped.startswith(("{", '"', "'")) or "\n" in stripped:
        return text
    try:
        value = tomllib.loads(f"value = {source}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return tuple(value) if isinstance(value, list) else value if isinstance(value, bool | int | float) else text


def plain(value: Any) -> Any:
    """Return ``value`` as JSON holds it; arrays become nested lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    return value


def _describe(field: dataclasses.Field[Any], hint: Any) -> Setting:
    text, bounds, annotation = "", None, hint
    if typing.get_origin(hint) is typing.Annotated:
        annotation, *notes = typing.get_args(hint)
        text = next((n for n in notes if isinstance(n, str)), "")
        bounds = next((n for n in notes if isinstance(n, Range)), None)
    choices = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()
    default = field.default if field.default is not dataclasses.MISSING else None
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return Setting(field.name, annotation, default, text, bounds, choices)


def _convert(value: Any, annotation: Any) -> Any:  # noqa: PLR0911, C901 - a case per kind of type
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        for option in _narrowest_first(arguments, value):
            try:
                return _convert(value, option)
            except (TypeError, ValueError):
                continue
        raise TypeError
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise ValueError
    if annotation is type(None) or annotation is None:
        if value is None:
            return None
        raise TypeError
    if origin is tuple:
        items = value.tolist() if isinstance(value, np.ndarray) else value
        if not isinstance(items, list | tuple):
            raise TypeError
        return tuple(_convert(item, arguments[0]) for item in items)
    if origin is dict:
        if not isinstance(value, dict):
            raise TypeError
        return {str(k): _convert(v, arguments[1]) for k, v in value.items()}
    return _convert_scalar(value, annotation)


def _convert_scalar(value: Any, annotation: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if annotation is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if annotation is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if annotation is np.ndarray and isinstance(value, list):
        return np.asarray(value)
    if not isinstance(value, annotation) or (annotation is int and isinstance(value, bool)):
        raise TypeError
    return value


def _narrowest_first(options: tuple[Any, ...], value: Any) -> list[Any]:
    """Try an exact type before one that would convert (so that 1 stays an int where both are taken)."""
    return sorted(options, key=lambda option: option is not type(value))


def _spell(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_spell(a) for a in arguments)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple:
        return f"list of {_spell(arguments[0])}"
    if origin is dict:
        return f"dict of {_spell(arguments[1])} by input name"
    names = {int: "integer", float: "number", str: "text", bool: "true/false", np.ndarray: "array", type(None): "none"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))
