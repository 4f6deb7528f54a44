"""Axes of an input: what they mean, and how a setting such as ``window`` gives a size for each."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import SettingError, nearest, printable
from ..masking.choose import resolve_features
from ..masking.layout import masked_inputs

if TYPE_CHECKING:
    from ..masking.features import Features
    from ..masking.layout import MaskedInput
    from ..problem import Problem

Sizes = int | tuple[int, ...] | dict[str, Any] | None


@dataclass(frozen=True)
class Axes:
    """The axes of one input without the batch axis; ``channel`` is the axis that a region covers whole, if any."""

    entry: MaskedInput
    channel: int | None = None

    @property
    def name(self) -> str:
        """The input's name."""
        return self.entry.name

    @property
    def sizes(self) -> tuple[int, ...]:
        """Elements along each axis."""
        return self.entry.inner

    @property
    def spatial(self) -> tuple[int, ...]:
        """Places of all axes but the channels'."""
        return tuple(k for k in range(len(self.sizes)) if k != self.channel)

    def __str__(self) -> str:
        """Name and sizes, as errors show them."""
        return f"'{printable(self.name)}' {list(self.sizes)}"


def maskable(problem: Problem) -> dict[str, Axes]:
    """Return the axes of every input that the baseline can stand in for (only that of ``wrt``, where it is given).

    Channels are the axis C of an image or series. Raises ``SettingError`` where no input is left.
    """
    found = {}
    for name, entry in masked_inputs(problem.model, problem.sample).items():
        if name not in problem.baseline.references or problem.wrt not in {None, name} or not entry.feed.size:
            continue
        is_series = entry.spec.modality == "series"
        channel = entry.letters.find("C") - 1 if entry.is_image or is_series else -1
        found[name] = Axes(entry, channel if channel >= 0 else None)
    if not found:
        name = problem.baseline.name
        raise SettingError(f"the baseline '{printable(name)}' stands in for no input", tip="give another baseline")
    return found


def words_of(problem: Problem) -> Features | None:
    """Return the words of the texts that are explained; None where there is no text, or ``wrt`` names another input.

    Other inputs beside the texts are cut as ``auto`` cuts them, into columns or superpixels: neighbours in one row.
    """
    names = [n for n in problem.baseline.references if problem.wrt in {None, n}]
    if not any(problem.sample.text_in(name) for name in names):
        return None
    return resolve_features(dict.fromkeys(names, "auto"), problem.model, problem.sample)


def size_setting(setting: Sizes, axes: Axes, where: str) -> int | tuple[int, ...] | None:
    """Return what a setting says of one input: a whole number, one per axis, or None where it says nothing.

    A dict holds settings by input name. Raises ``SettingError`` unless all numbers are whole and at least 1.
    """
    value: Any = setting.get(axes.name) if isinstance(setting, dict) else setting
    if value is None:
        return None
    many = isinstance(value, tuple | list)
    try:
        sizes = tuple(operator.index(v) for v in (value if many else (value,)))
    except TypeError:
        raise SettingError(f"{where} of input {axes} takes whole numbers, not {printable(value)[:60]}") from None
    if not sizes or min(sizes) < 1:
        raise SettingError(f"{where} of input {axes} must be at least 1, not {printable(value)[:60]}")
    return sizes if many else sizes[0]


def check_input_names(setting: Sizes, known: dict[str, Axes], where: str) -> None:
    """Raise ``SettingError`` where a setting by input name names an input that is not there."""
    for name in setting if isinstance(setting, dict) else ():
        if name not in known:
            raise SettingError(
                f"{where} names an input '{printable(name)}', which is not explained", tip=nearest(name, known)
            )
