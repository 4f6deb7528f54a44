"""What a picture says in words: numbers, targets, titles and units, with names from outside made harmless."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..explanation import Explanation

LONGEST_NAME = 44
ROUNDING = 1e-9  # of the scores
UNITS = {"logit": "logit", "probability": "probability"}
ATTENTION = {
    "attention-flow": "flow of attention",
    "attention-map": "attention weight",
    "attention-rollout": "share by attention rollout",
}


def number(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """Write a number to be read: significant digits, a true minus sign, commas from a thousand on.

    >>> number(-0.012345), number(12345.6), number(9.414, sign=True), number(-1.5e-07)
    ('−0.0123', '12,346', '+9.41', '−1.5e−7')
    """
    value = float(value)
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.{digits}g}"
    if text in {"0", "-0"}:
        return "0"
    mantissa, power, exponent = text.partition("e")
    if power:
        text = f"{mantissa}e{int(exponent)}"
    return ("+" if sign and value > 0 else "") + text.replace("-", "−")


def aligned(values: Sequence[float], *, sign: bool = False) -> list[str]:
    """Write numbers that are compared with each other: as many decimals for all as the largest needs for three digits.

    A number that would be written as 0 keeps a digit of its own.

    >>> aligned([1.8, -0.9, 0.0, 0.0004], sign=True)
    ['+1.80', '−0.90', '0', '+0.0004']
    """
    largest = max((abs(v) for v in values), default=0.0)
    if not 1e-4 <= largest < 1e4:
        return [number(v, sign=sign) for v in values]
    decimals = max(0, 2 - math.floor(math.log10(largest)))
    return [_decimal(float(v), decimals, sign=sign) for v in values]


def tick_labels(places: Sequence[float]) -> list[str]:
    """Write evenly spaced round numbers with as few decimals as tell them all exactly.

    >>> tick_labels([-0.25, 0.0, 0.25, 0.5])
    ['−0.25', '0', '0.25', '0.50']
    """
    largest = max((abs(p) for p in places), default=0.0)
    if not 1e-4 <= largest < 1e6:
        return [number(p) for p in places]
    decimals = next((d for d in range(7) if all(abs(round(p, d) - p) < 1e-6 * largest for p in places)), 7)
    return [_decimal(float(p), decimals, sign=False) if p else "0" for p in places]


def _decimal(value: float, decimals: int, *, sign: bool) -> str:
    if round(value, decimals) == 0:
        return number(value, 1, sign=sign)
    return f"{value:{'+' if sign else ''},.{decimals}f}".replace("-", "−")


def short(text: object, longest: int = LONGEST_NAME) -> str:
    """Return a name from outside on one line, printable and at most ``longest`` characters, cut in its middle."""
    whole = printable(" ".join(str(text)[: longest * 100].split()))
    return whole if len(whole) <= longest else cut(whole, longest - 1)


def cut(text: str, kept: int) -> str:
    """Return a text without its middle: two thirds of the characters that are kept come from its beginning."""
    tail = kept // 3
    return text[: kept - tail].rstrip() + "…" + (text[-tail:].lstrip() if tail else "")


def target_name(explanation: Explanation) -> str:
    """Return the target as a person knows it: 'Egyptian cat (285)', 'class 3', 'boxes[0,4]'."""
    text = explanation.target
    index = explanation.manifest.get("target_index") or []
    place = (
        text if text.isdigit() else ",".join(str(k) for k in index if k is not None) if isinstance(index, list) else ""
    )
    if explanation.label:
        name = short(explanation.label)
        name = f"class {name}" if name.isdigit() else name
        return f"{name} ({place})" if place and place != explanation.label else name
    asked = text.removeprefix("probability:")
    if place and (asked.isdigit() or asked in {"top", ""}):
        return f"class {place}"
    return "the output" if asked in {"top", ""} else short(asked)


def unit(explanation: Explanation) -> str:
    """Return what kind of number the score is: logit, probability or score."""
    if explanation.target.startswith("probability:"):
        return "probability"
    space: Any = explanation.manifest.get("target_space")
    return UNITS.get(space, "score") if isinstance(space, str) else "score"


def is_regression(explanation: Explanation) -> bool:
    """Say whether the target is a number that the model predicts, rather than the score of a class."""
    spec: Any = explanation.manifest.get("spec")
    return isinstance(spec, dict) and spec.get("task") == "regression" and unit(explanation) == "score"


def amount(explanation: Explanation) -> str:
    """Return the unit of what a regression predicts, with a space before it; empty where it is not known."""
    spec: Any = explanation.manifest.get("spec")
    known = spec.get("unit") if isinstance(spec, dict) and is_regression(explanation) else ""
    return f" {short(known, 20)}" if known and isinstance(known, str) else ""


def scale_of(explanation: Explanation) -> str:
    """Return what the score is: 'logit of tabby (281)', 'predicted price, EUR'."""
    if is_regression(explanation):
        known = amount(explanation).strip()
        return f"predicted {target_name(explanation)}" + (f", {known}" if known else "")
    return f"{unit(explanation)} of {target_name(explanation)}"


def quantity(explanation: Explanation) -> str:
    """Return what the values are, in the unit of the score."""
    of_target = scale_of(explanation)
    if explanation.method == "rise":
        return f"mean {of_target} while kept"
    return ATTENTION.get(explanation.method, f"effect on the {of_target}")


def heading(explanation: Explanation) -> str:
    """Return the title: 'occlusion: Egyptian cat (285), score 9.41'."""
    return f"{short(explanation.method)}: {outcome(explanation)}"


def outcome(explanation: Explanation) -> str:
    """Return the target and its score: 'Egyptian cat (285), score 9.41'."""
    if is_regression(explanation):
        return f"{target_name(explanation)}, predicted {number(explanation.score)}{amount(explanation)}"
    kind = "probability" if unit(explanation) == "probability" else "score"
    return f"{target_name(explanation)}, {kind} {number(explanation.score)}"


def evaluations(explanation: Explanation) -> str:
    """Return how often the model was run: '4,000 evaluations'."""
    return f"{explanation.evaluations:,} evaluation{'' if explanation.evaluations == 1 else 's'}"


def subheading(explanation: Explanation) -> str:
    """Return the line below the title: what the method compared with, and at what expense."""
    parts = []
    if explanation.baseline_score is not None:
        parts.append(f"baseline score {number(explanation.baseline_score)}")
    if explanation.gap is not None:
        parts.append(_gap(explanation, explanation.gap))
    if explanation.evaluations:
        parts.append(evaluations(explanation))
    return "  ·  ".join(parts)


def _gap(explanation: Explanation, gap: float) -> str:
    """Say how far the values miss score minus baseline score; rounding is no gap."""
    size = max(abs(explanation.score), abs(explanation.baseline_score or 0.0))
    return "the values add up" if abs(gap) <= ROUNDING * size else f"completeness gap {number(gap, 2)}"
