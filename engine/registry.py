"""The plug-in registry: explainers, metrics, attacks and analyses, built in or from other packages, by one door.

A plug-in is a frozen dataclass of its settings, registered under a kind and a kebab-case name. Packages announce theirs
in the entry-point group ``onnxplain.plugins``, as ``name = "package.module:Class"`` or, for several at once,
``anything = "package.module"``. A plug-in is imported when it is used or listed, and not before.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import inspect
import os
import re
from dataclasses import dataclass
from enum import Flag, auto
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import OnnxplainError, SettingError, nearest, printable
from .settings import Setting, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

GROUP = "onnxplain.plugins"
KINDS = ("explainer", "metric", "attack", "analysis")
MODALITIES = ("image", "table", "text", "series", "array")

_Plugin = TypeVar("_Plugin", bound=type)


class Needs(Flag):
    """What a plug-in needs of the model or of the user."""

    PREDICT = auto()
    ACTIVATIONS = auto()
    GRADIENT = auto()
    DATA = auto()


PREDICT, ACTIVATIONS, GRADIENT, DATA = Needs.PREDICT, Needs.ACTIVATIONS, Needs.GRADIENT, Needs.DATA


@dataclass(frozen=True)
class Plugin:
    """What the registry knows of one plug-in."""

    kind: str
    name: str
    needs: Needs
    modalities: tuple[str, ...]
    source: str
    factory: type
    package: str

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.factory) or "").split("\n", 1)[0]

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The plug-in's settings, from its dataclass fields."""
        return settings_of(self.factory)

    def to_json(self) -> dict[str, Any]:
        """Return what ``methods --json`` lists."""
        return {
            "name": self.name,
            "kind": self.kind,
            "needs": [str(n.name).lower() for n in self.needs],
            "modalities": list(self.modalities),
            "source": self.source,
            "summary": self.summary,
            "package": self.package,
            "settings": [s.to_json() for s in self.settings],
        }


@dataclass(frozen=True)
class Broken:
    """A plug-in that could not be imported, and why."""

    name: str
    package: str
    reason: str


_registered: dict[str, Plugin] = {}
_broken: dict[str, Broken] = {}


def register(
    kind: str,
    name: str,
    *,
    needs: Needs = PREDICT,
    modalities: tuple[str, ...] = MODALITIES,
    source: str = "",
) -> Callable[[_Plugin], _Plugin]:
    """Register a frozen dataclass as a plug-in; a name that is taken is refused.

    >>> from dataclasses import dataclass
    >>> @register("explainer", "nothing-at-all", source="an example")
    ... @dataclass(frozen=True)
    ... class Nothing:
    ...     '''Explains nothing.'''
    >>> find("nothing-at-all").summary
    'Explains nothing.'
    >>> unregister("nothing-at-all")
    """
    if kind not in KINDS:
        raise SettingError(f"'{printable(kind)}' is not a kind of plug-in", tip=nearest(kind, KINDS))
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9+]+)*\+*", name):
        raise SettingError(f"'{printable(name)}' is not a plug-in name", tip="use kebab case, such as 'my-method'")

    def wrap(factory: _Plugin) -> _Plugin:
        if not dataclasses.is_dataclass(factory) or not factory.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise SettingError(f"plug-in '{name}' must be a frozen dataclass of its settings")
        plugin = Plugin(kind, name, needs, modalities, source, factory, factory.__module__.split(".", 1)[0])
        taken = _registered.get(name) or _announced_elsewhere(name, factory)
        if taken is not None:
            raise SettingError(f"the plug-in name '{name}' is taken", where=f"{taken.package} and {plugin.package}")
        _registered[name] = plugin
        return factory

    return wrap


def unregister(name: str) -> None:
    """Forget a plug-in that this process registered."""
    _registered.pop(name, None)


def find(name: str, kind: str = "") -> Plugin:
    """Return the plug-in called ``name``; an unknown name or another kind is a ``SettingError`` with the nearest."""
    if name not in _registered:
        for entry in _entry_points():
            if entry.name == name or ":" not in entry.value:
                _load(entry)
    plugin = _registered.get(name)
    if plugin is not None and kind in {"", plugin.kind}:
        return plugin
    if plugin is not None:
        article = "an" if plugin.kind[0] in "ae" else "a"
        raise SettingError(f"'{name}' is {article} {plugin.kind}, not {'an' if kind[0] in 'ae' else 'a'} {kind}")
    if name in _broken:
        raise SettingError(f"plug-in '{name}' does not load: {_broken[name].reason}", where=_broken[name].package)
    names = [e.name for e in _entry_points()] if not kind else [p.name for p in plugins(kind)]
    raise SettingError(f"there is no {kind or 'plug-in'} called '{printable(name)}'", tip=nearest(name, names))


def plugins(kind: str = "") -> list[Plugin]:
    """Import and list all plug-ins, by name; those that fail to import are left to ``broken()``."""
    for entry in _entry_points():
        _load(entry)
    return sorted((p for p in _registered.values() if kind in {"", p.kind}), key=lambda p: p.name)


def broken() -> list[Broken]:
    """List the plug-ins whose import failed so far."""
    return sorted(_broken.values(), key=lambda b: b.name)


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    """Entry points of the group; ``ONNXPLAIN_PLUGINS=a,b`` keeps only those packages beside the built-in ones."""
    allowed = os.environ.get("ONNXPLAIN_PLUGINS")
    found = {(e.name, e.value): e for e in importlib.metadata.entry_points(group=GROUP)}
    names = None if allowed is None else {"onnxplain", *filter(None, (a.strip() for a in allowed.split(",")))}
    return [e for e in found.values() if names is None or e.value.split(":")[0].split(".")[0] in names]


def _announced_elsewhere(name: str, factory: type) -> Plugin | Broken | None:
    """Find an entry point that gives ``name`` to another class than ``factory``."""
    for entry in _entry_points():
        module, _, attribute = entry.value.partition(":")
        if entry.name == name and attribute and (module, attribute) != (factory.__module__, factory.__qualname__):
            return Broken(name, module.split(".", 1)[0], "")
    return None


def _load(entry: importlib.metadata.EntryPoint) -> None:
    module, _, attribute = entry.value.partition(":")
    package = module.split(".", 1)[0]
    if entry.name in _broken or any(p.name == entry.name for p in _registered.values() if attribute):
        return
    try:
        loaded = importlib.import_module(module)
        if attribute and not hasattr(loaded, attribute):
            _broken[entry.name] = Broken(entry.name, package, f"{module} has no '{attribute}'")
    except OnnxplainError as error:
        _broken[entry.name] = Broken(entry.name, package, error.message)
    except Exception as error:  # noqa: BLE001 - foreign code may raise anything; one bad plug-in must not end the rest
        _broken[entry.name] = Broken(entry.name, package, f"{type(error).__name__}: {printable(error)[:200]}")
