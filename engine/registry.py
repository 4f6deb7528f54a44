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
import math
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
OWN = "onnxplain"
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
            **self._goodness(),
        }

    def _goodness(self) -> dict[str, Any]:
        """Return what a metric's numbers mean; nothing for other kinds, and for metrics that do not say."""
        facts = {name: getattr(self.factory, name, None) for name in ("better", "range", "meaning", "cost")}
        if self.kind != "metric" or facts["range"] is None:
            return {}
        limits = [end if math.isfinite(end) else None for end in facts["range"]]
        return {**facts, "range": limits}


@dataclass(frozen=True)
class Broken:
    """A plug-in that could not be imported, and why."""

    name: str
    package: str
    reason: str


_registered: dict[str, Plugin] = {}
_broken: dict[tuple[str, str], Broken] = {}  # by name and place in the entry point


def register(
    kind: str,
    name: str,
    *,
    needs: Needs = PREDICT,
    modalities: tuple[str, ...] = MODALITIES,
    source: str = "",
) -> Callable[[_Plugin], _Plugin]:
    """Register a frozen dataclass as a plug-in; a name that is taken, also by an entry point, is refused.

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
    for modality in modalities:
        if modality not in MODALITIES:
            raise SettingError(f"'{printable(modality)}' is not a modality", tip=nearest(modality, MODALITIES))

    def wrap(factory: _Plugin) -> _Plugin:
        if not dataclasses.is_dataclass(factory) or not factory.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise SettingError(f"plug-in '{name}' must be a frozen dataclass of its settings")
        try:
            settings_of(factory)
        except (NameError, TypeError, AttributeError) as error:
            raise SettingError(
                f"the settings of plug-in '{name}' cannot be read: {printable(error)}",
                tip="import the types in its annotations at run time, not under TYPE_CHECKING",
            ) from None
        plugin = Plugin(kind, name, needs, modalities, source, factory, factory.__module__.split(".", 1)[0])
        owner = _owner(name, plugin.package)
        if owner:
            raise SettingError(
                f"the plug-in name '{name}' is taken by {owner}", where=f"{plugin.package}: {factory.__qualname__}"
            )
        _registered[name] = plugin
        return factory

    return wrap


def unregister(name: str) -> None:
    """Forget a plug-in that this process registered."""
    _registered.pop(name, None)


def find(name: str, kind: str = "") -> Plugin:
    """Return the plug-in called ``name``; an unknown name or another kind is a ``SettingError`` with the nearest."""
    if not isinstance(name, str):
        raise SettingError(f"a plug-in is asked for by its name, not by what is of type {type(name).__name__}")
    entries = _entry_points() if name not in _registered else []
    for entry in sorted(entries, key=lambda e: e.name != name):
        if entry.name == name or (name not in _registered and not _place(entry)[1]):
            _load(entry)
    plugin = _registered.get(name)
    if plugin is not None and kind in {"", plugin.kind}:
        return plugin
    if plugin is not None:
        article = "an" if plugin.kind[0] in "ae" else "a"
        raise SettingError(f"'{name}' is {article} {plugin.kind}, not {'an' if kind[0] in 'ae' else 'a'} {kind}")
    for found in broken():
        if found.name == name:
            raise SettingError(f"plug-in '{printable(name)}' does not load: {found.reason}", where=found.package)
    announced = [e.name for e in _entry_points() if _place(e)[1]]
    names = [p.name for p in plugins(kind)] if kind else [*announced, *_registered]
    words = name.replace("-", " ").casefold()
    described = [p.name for p in plugins(kind) if words in p.summary.casefold()] if " " in words else []
    tip = f"did you mean '{described[0]}'?" if len(described) == 1 else nearest(name, names)
    raise SettingError(f"there is no {kind or 'plug-in'} called '{printable(name)}'", tip=tip)


def plugins(kind: str = "") -> list[Plugin]:
    """Import and list all plug-ins, by name; those that fail to import are left to ``broken()``.

    Raises ``SettingError`` for an unknown kind.
    """
    if kind not in {"", *KINDS}:
        raise SettingError(f"'{printable(kind)}' is not a kind of plug-in", tip=nearest(str(kind), KINDS))
    for entry in _entry_points():
        _load(entry)
    return sorted((p for p in _registered.values() if kind in {"", p.kind}), key=lambda p: p.name)


def broken() -> list[Broken]:
    """List the plug-ins whose import failed so far."""
    return sorted(_broken.values(), key=lambda b: (b.name, b.package))


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    """Entry points of the group; ``ONNXPLAIN_PLUGINS=a,b`` keeps only those packages beside the built-in ones."""
    allowed = os.environ.get("ONNXPLAIN_PLUGINS")
    found = {(e.name, e.value): e for e in importlib.metadata.entry_points(group=GROUP)}
    if allowed is None:
        return list(found.values())
    names = {OWN, *(name.strip().replace("-", "_") for name in allowed.split(","))}
    return [e for e in found.values() if _package(e) in names]


def _place(entry: importlib.metadata.EntryPoint) -> tuple[str, str]:
    """Return module and class; the class is empty where a module announces all that it registers."""
    module, _, attribute = entry.value.partition("[")[0].partition(":")
    return module.strip(), attribute.strip()


def _package(entry: importlib.metadata.EntryPoint) -> str:
    return _place(entry)[0].split(".", 1)[0]


def _owner(name: str, package: str) -> str:
    """Return the package that has ``name``, or announces it and is not ``package``; built-in names are ours."""
    if name in _registered:
        return _registered[name].package
    others = (_package(e) for e in _entry_points() if e.name == name and _place(e)[1])
    return "" if package == OWN else next((other for other in others if other != package), "")


def _load(entry: importlib.metadata.EntryPoint) -> None:
    """Import what an entry point names; note why, where that fails or gives no plug-in of the name."""
    module, attribute = _place(entry)
    package, known = _package(entry), _registered.get(entry.name) if attribute else None
    if (entry.name, entry.value) in _broken or (known is not None and known.package == package):
        return
    reason = ""
    try:
        if known is not None:
            reason = f"the name is taken by {known.package}"
        else:
            importlib.import_module(module)
            if attribute and entry.name not in _registered:
                reason = f"{printable(entry.value)} registers no plug-in of this name"
    except OnnxplainError as error:
        reason = error.message
    except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code may raise anything; one bad plug-in must not end the rest
        reason = f"{type(error).__name__}: {printable(error)[:200]}"
    if reason:
        _broken[entry.name, entry.value] = Broken(entry.name, package, reason)
