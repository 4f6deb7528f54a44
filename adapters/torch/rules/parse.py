"""Rules as text: ``first=box, conv=gamma:0.25, dense=epsilon``, the same as a dict, or a small TOML file."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ....engine.errors import InputError, SettingError, nearest, printable
from .first_layer import Box, Flat, WSquared
from .lrp import Z_PLUS, ZERO, AlphaBeta, Epsilon, Gamma
from .mixing import Detached, Gate, Half, Proportional
from .recurrent import Cells
from .rule import Exact, Pass, Stop, Taylor
from .ruleset import REST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .rule import Rule

LARGEST_FILE = 1 << 20
_PLAIN: dict[str, Rule] = {
    "zero": ZERO,
    "z-plus": Z_PLUS,
    "w-squared": WSquared(),
    "flat": Flat(),
    "identity": Pass(),
    "pass": Pass(),
    "half": Half(),
    "gate": Gate(),
    "winner": Exact(),
    "proportional": Proportional(),
    "taylor": Taylor(),
    "detached": Detached(),
    "stop": Stop(),
    "cells": Cells(),
}
NUMBERED = ("epsilon", "gamma", "literal-gamma", "alpha-beta")
NAMES = (*_PLAIN, *NUMBERED, "box")


@dataclass(frozen=True)
class Numbers:
    """What rules take where their text gives no number; ``low`` and ``high`` bound the input for ``box``."""

    epsilon: float = 1e-6
    gamma: float = 0.25
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def parse_rules(text: str | Mapping[str, str], numbers: Numbers) -> tuple[tuple[str, Rule], ...]:
    """Return keys and rules from one name for all layers, ``key=rule`` pairs, a dict of them, or a TOML file's path.

    Raises ``SettingError`` for an unknown rule or a number out of range, ``InputError`` for a file that is none.

    >>> [(key, str(rule)) for key, rule in parse_rules("first=w-squared, conv=gamma:0.5", Numbers())]
    [('first', 'w-squared'), ('conv', 'gamma:0.5')]
    """
    if not isinstance(text, str):
        return _rules(text, numbers)
    if text.strip().endswith(".toml"):
        return _of_file(Path(text.strip()), numbers)
    pairs: dict[str, str] = {}
    for part in (p.strip() for p in text.split(",")):
        key, equals, name = (s.strip() for s in part.partition("="))
        if not part:
            continue
        if not equals:
            key, name = REST, key
        if not key or not name:
            raise SettingError(f"'{printable(part)}' is no rule", tip="write KEY=RULE, such as first=box, conv=gamma")
        if key in pairs:
            raise SettingError(f"two rules for '{printable(key)}'")
        pairs[key] = name
    return _rules(pairs, numbers)


def parse_rule(text: str, numbers: Numbers) -> Rule:
    """Return one rule from its name, with a number after a colon where it takes one."""
    name, colon, rest = (s.strip() for s in text.partition(":"))
    if name in _PLAIN and not colon:
        return _PLAIN[name]
    if name == "box":
        return _box(rest, numbers)
    if name not in NUMBERED:
        if name in _PLAIN:
            raise SettingError(f"the rule '{name}' takes no number, not '{printable(rest)[:40]}'")
        raise SettingError(f"there is no rule '{printable(name)}'", tip=nearest(name, NAMES))
    given = [_number(part, text) for part in rest.replace("/", ";").split(";")] if colon else []
    if len(given) > 1 + (name == "alpha-beta"):
        raise SettingError(f"the rule '{printable(text)}' has too many numbers")
    if name == "epsilon":
        return Epsilon(*given or (numbers.epsilon,))
    if name == "alpha-beta":
        alpha = given[0] if given else 2.0
        return AlphaBeta(alpha, given[1] if len(given) > 1 else alpha - 1)
    return Gamma(given[0] if given else numbers.gamma, signed=name == "gamma")


def _box(rest: str, numbers: Numbers) -> Box:
    if rest:
        low, dots, high = rest.partition("..")
        if not dots:
            raise SettingError(
                f"'box:{printable(rest)}' has no two bounds", tip="write box:LOW..HIGH, such as box:0..1"
            )
        return Box((_number(low, rest),), (_number(high, rest),))
    if not numbers.low or not numbers.high:
        raise SettingError(
            "the rule box needs the bounds of the input",
            tip="write box:LOW..HIGH, or set low and high (numbers, or one per channel); they are known without for "
            "images whose preprocessing is known",
        )
    size = max(len(numbers.low), len(numbers.high))
    low_, high_ = (b * size if len(b) == 1 else b for b in (numbers.low, numbers.high))
    return Box(low_, high_)


def _number(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SettingError(f"'{printable(text)[:40]}' in '{printable(whole)[:80]}' is not a number")
    return value


def _of_file(path: Path, numbers: Numbers) -> tuple[tuple[str, Rule], ...]:
    """Read a TOML file: a table ``rules`` of texts by key, and ``epsilon``, ``gamma``, ``low`` and ``high``."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError("a file of rules is at most 1 MiB long", where=str(path))
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"the file of rules cannot be read: {error.strerror or error}", where=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the file of rules is no TOML: {printable(error)}", where=str(path)) from None
    known = ("rules", "epsilon", "gamma", "low", "high")
    for key in document:
        if key not in known:
            raise SettingError(f"'{printable(key)}' is not known here", where=str(path), tip=nearest(key, known))
    rules = document.get("rules")
    if not isinstance(rules, dict) or not rules or not all(isinstance(v, str) for v in rules.values()):
        raise SettingError('a file of rules has a table [rules] of texts: first = "box"', where=str(path))
    given = {k: _listed(k, document[k], path) for k in known[1:] if k in document}
    for key in ("epsilon", "gamma"):
        if len(given.get(key, (0.0,))) != 1:
            raise SettingError(f"{key} is one number", where=str(path))
    return _rules(
        rules,
        Numbers(
            given.get("epsilon", (numbers.epsilon,))[0],
            given.get("gamma", (numbers.gamma,))[0],
            given.get("low", numbers.low),
            given.get("high", numbers.high),
        ),
    )


def _listed(key: str, value: object, path: Path) -> tuple[float, ...]:
    items = value if isinstance(value, list) else [value]
    numbers = [float(v) for v in items if isinstance(v, int | float) and not isinstance(v, bool)]
    if not numbers or len(numbers) < len(items):
        raise SettingError(f"{key} is a number or a list of numbers", where=str(path))
    return tuple(numbers)


def _rules(pairs: Mapping[str, str], numbers: Numbers) -> tuple[tuple[str, Rule], ...]:
    return tuple((key, parse_rule(name, numbers)) for key, name in pairs.items())
