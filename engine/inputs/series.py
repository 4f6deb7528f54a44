"""From CSV and WAV files to what a model of series takes: channels, sample rate and length are checked on the way."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, SettingError, nearest, printable
from ..files import excerpt
from ..layout import describe, sizes_by_letter
from .array import check_feeds
from .audio import read_wav
from .filling import completed
from .rows import Rows, split_seconds, split_source
from .sample import Sample
from .table_file import TableFile, open_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ..layout import InputInfo
    from ..spec import InputSpec, ModelSpec

AUDIO_SUFFIXES = (".wav", ".wave")
MOST_STEPS = 50_000_000  # numbers of a series after resampling
UNEVEN = 0.01  # of a step, by which times may be off an even grid
LARGEST_FACTOR = 100_000  # of resampling


@dataclass(frozen=True)
class Series:
    """Values (steps, channels) in float64, a name per channel, and how many steps a second has (0: not known)."""

    values: NDArray[np.float64]
    channels: tuple[str, ...]
    rate: float
    done: dict[str, Any] = field(default_factory=dict)  # what was done to the file, for the manifest


def takes_series(inputs: Sequence[InputInfo], spec: ModelSpec) -> bool:
    """Say whether a CSV file holds the steps of a series for this model, rather than rows of a table."""
    kinds = {spec.inputs[info.name].modality for info in inputs}
    return "series" in kinds and "table" not in kinds


def load_series(source: str, inputs: Sequence[InputInfo], spec: ModelSpec) -> Sample:
    """Return the Sample in a CSV file (a header with the names of the channels, one row a time step) or a WAV file.

    ``speech.wav:1.5-2`` is half a second of sound. The series goes into the model's only input of modality ``series``;
    states and inputs with a ``fill`` in the spec are filled. A file of another sample rate than the spec's is resampled
    (polyphase filter), a sound of several channels is mixed down to one where the model takes one; last, the
    spec's ``scaling`` is done to it. InputError says what does not fit.
    """
    path, rows = split_source(source)
    where = printable(path)
    if rows != Rows():
        raise InputError("a file of a series holds one sample, not rows", where=where, tip="leave out the colon")
    info = _series_input(inputs, spec, where)
    entry = spec.inputs[info.name]
    is_sound = path.suffix.lower() in AUDIO_SUFFIXES
    series = _sound(source, path, info, entry) if is_sound else _columns(path, info, entry)
    series = _resampled(series, entry, where)
    _check_length(series, info, entry, where)
    series = _scaled(series, entry, spec)
    array = series.values
    if is_sound and info.dtype.kind == "i":
        limits = np.iinfo(info.dtype)
        array = np.clip(np.rint(array * -float(limits.min)), limits.min, limits.max)
    try:
        feeds = check_feeds(completed({info.name: _laid_out(array, entry.layout)}, inputs, spec, series.rate), inputs)
    except InputError as problem:
        at = f"{where}, {problem.where}" if problem.where else where
        raise InputError(problem.message, where=at, tip=problem.tip) from None
    return Sample(
        feeds,
        modality="series",
        source=source,
        rate=series.rate,
        channels=series.channels,
        series_input=info.name,
        preprocessing={"layout": entry.layout, **series.done},
    )


def _series_input(inputs: Sequence[InputInfo], spec: ModelSpec, where: str) -> InputInfo:
    found = [info for info in inputs if spec.inputs[info.name].modality == "series"]
    takes = "the model takes " + ", ".join(describe(info) for info in inputs[:4])
    if not found:
        raise InputError(
            "this is a series, but no input of the model is known to take one",
            where=f"{where}; {takes}",
            tip='if one does, say so in a spec: [inputs."NAME"] with modality = "series" and layout = "NCT"',
        )
    if len(found) > 1:
        raise InputError(
            "a series fills one input, and this model has more", where=f"{where}; {takes}", tip="give an .npz file"
        )
    layout = spec.inputs[found[0].name].layout
    if "T" not in layout or not set(layout) <= set("NCT") or len(layout) != len(found[0].shape):
        raise InputError(
            f"the layout '{excerpt(layout)}' does not say how a series goes into {describe(found[0])}",
            where=printable(spec.source),
            tip='give its axes in the spec, such as layout = "NCT"',
        )
    return found[0]


def _channels_of(info: InputInfo, entry: InputSpec) -> int | None:
    """Return how many channels the model takes, None if it leaves that open."""
    if "C" not in entry.layout:
        return 1
    return sizes_by_letter(entry.layout, info.shape).get("C") or len(entry.channels) or None


def _sound(source: str, path: Path, info: InputInfo, entry: InputSpec) -> Series:
    named, seconds = split_seconds(source)
    recording = read_wav(path, None if named is None else seconds)
    samples, given, wanted = recording.samples, recording.samples.shape[1], _channels_of(info, entry)
    done: dict[str, Any] = {"file_rate": recording.rate, "file_channels": given}
    done |= {} if named is None else {"seconds": list(seconds)}
    if wanted == 1 and given > 1:
        samples = samples.mean(axis=1, keepdims=True)
    elif wanted is not None and given != wanted:
        raise InputError(
            f"this recording has {given} channel{'s' if given > 1 else ''}, the model takes {wanted}",
            where=f"{printable(path)}; {describe(info)}",
            tip=f"write it with {wanted} channels: ffmpeg -i FILE -ac {wanted} out.wav",
        )
    count = samples.shape[1]
    names = entry.channels if len(entry.channels) == count else ("left", "right") if count == 2 else ()
    return Series(samples, names, float(recording.rate), done)


def _columns(path: Path, info: InputInfo, entry: InputSpec) -> Series:
    where = printable(path)
    with open_table(path) as file:
        table = TableFile(file, where, {*entry.channels, *([entry.time] if entry.time else [])})
        names = _channel_names(table.header, info, entry, where)
        position = {name: number for number, name in enumerate(table.header)}
        places = [position[name] for name in names]
        timed = position.get(entry.time) if entry.time else None
        wanted = [*places, *([] if timed is None else [timed])]
        rows = [
            [_number(cells[place], number, table.header[place], where) for place in wanted]
            for number, cells in table.rows(None)
        ]
    if not rows:
        raise InputError("this series has no time steps: there is only a header", where=where)
    values = np.array(rows, dtype=np.float64)
    rate = 0.0 if timed is None else _rate_of(values[:, -1], entry.time, where)
    done = {} if timed is None else {"file_rate": rate}
    return Series(values[:, : len(places)], names, rate, done)


def _channel_names(header: list[str], info: InputInfo, entry: InputSpec, where: str) -> tuple[str, ...]:
    """Return the columns of the channels, in the model's order."""
    for name in (*entry.channels, entry.time):
        if name and name not in header:
            raise InputError(
                f"this file lacks the column '{excerpt(name)}'", where=where, tip=nearest(name[:200], header[:1000])
            )
    left = [name for name in header if name != entry.time]
    wanted = _channels_of(info, entry)
    names = entry.channels or tuple(left)
    extra = [name for name in left if name not in names]
    if extra or (wanted is not None and len(names) != wanted):
        shown = ", ".join(excerpt(name, 30) for name in left[:6]) + (", ..." if len(left) > 6 else "")
        timed = next((name for name in left if name.lower() in {"t", "time", "seconds", "timestamp"}), "")
        raise InputError(
            f"this file has {len(left)} channel{'s' if len(left) > 1 else ''} ({shown}), the model takes "
            f"{wanted if wanted is not None else len(names)}",
            where=f"{where}; {describe(info)}",
            tip=f'if a column is no channel, say so in the spec: time = "{excerpt(timed)}"'
            if timed and not entry.time
            else "leave only the model's channels in the file",
        )
    return names


def _number(text: str, row: int, column: str, where: str) -> float:
    try:
        value = float(text) if "_" not in text else None
    except ValueError:
        value = None
    if value is None or not np.isfinite(value):
        said = "missing value" if not text.strip() else f"'{excerpt(text)}' is not a finite number"
        raise InputError(said, where=f"{where}, row {row}, column '{excerpt(column)}'", tip=_hint(text))
    return value


def _hint(text: str) -> str:
    return (
        "decimals need a point, not a comma" if text.count(",") == 1 else "every step needs a number: fill gaps first"
    )


def _rate_of(times: NDArray[np.float64], column: str, where: str) -> float:
    """Return the steps per second of evenly spaced times in seconds."""
    if len(times) < 2:
        return 0.0
    steps = np.diff(times)
    step = float(times[-1] - times[0]) / (len(times) - 1)
    off = np.abs(steps - step) > UNEVEN * abs(step)
    if step <= 0 or off.any():
        row = int(np.argmax(steps <= 0 if step <= 0 else off)) + 1
        raise InputError(
            f"the times are not evenly spaced: {times[row]:g} follows {times[row - 1]:g}, the mean step is {step:g}",
            where=f"{where}, row {row}, column '{excerpt(column)}'",
            tip="put the series on an even grid first",
        )
    return float(f"{1 / step:.9g}")


def _resampled(series: Series, entry: InputSpec, where: str) -> Series:
    """Bring a series to the spec's rate; one of unknown rate is taken to have it."""
    have, want = series.rate, entry.rate
    if not want or not have or abs(have - want) <= 1e-6 * want:
        return Series(series.values, series.channels, want or have, series.done)
    from scipy.signal import resample_poly

    ratio = Fraction(want).limit_denominator(1000) / Fraction(have).limit_denominator(1000)
    count = int(series.values.size * ratio)
    if max(ratio.numerator, ratio.denominator) > LARGEST_FACTOR or count > MOST_STEPS:
        raise InputError(
            f"a series of {have:g} samples per second cannot be resampled to {want:g}", where=where, tip="resample it"
        )
    values = resample_poly(series.values, ratio.numerator, ratio.denominator, axis=0, padtype="line")
    return Series(values, series.channels, want, series.done | {"resampled": f"{ratio}"})


def _scaled(series: Series, entry: InputSpec, spec: ModelSpec) -> Series:
    """Bring a series to the numbers that the model was trained on."""
    scaling, channels = entry.scaling, series.values.shape[1]
    if scaling is None:
        return series
    if scaling.channels not in {1, channels}:
        raise SettingError(
            f"mean and std are for {scaling.channels} channels, this series has {channels}",
            where=f"{printable(spec.source)}, inputs.{excerpt(entry.name)}.preprocessing",
        )
    done = series.done | {"scaling": dataclasses.asdict(scaling)}
    return Series(scaling.applied(series.values), series.channels, series.rate, done)


def _check_length(series: Series, info: InputInfo, entry: InputSpec, where: str) -> None:
    steps, wanted = len(series.values), sizes_by_letter(entry.layout, info.shape).get("T")
    if wanted is None or steps == wanted:
        return
    rate = f" at {series.rate:g} a second" if series.rate else ""
    raise InputError(
        f"this series has {steps:,} steps{rate}, the model takes {wanted:,}",
        where=f"{where}; {describe(info)}",
        tip="cut it to that length" if steps > wanted else "the model was made for longer ones",
    )


def _laid_out(values: NDArray[np.float64], layout: str) -> NDArray[np.float64]:
    """Bring (steps, channels) into the order of the layout, with an axis of one row."""
    whole = values[None]
    if "C" not in layout:
        whole, letters = whole[..., 0], "NT"
    else:
        letters = "NTC"
    absent = tuple(axis for axis, letter in enumerate(letters) if letter not in layout)
    present = "".join(letter for letter in letters if letter in layout)
    return np.ascontiguousarray(whole.squeeze(absent).transpose([present.index(letter) for letter in layout]))
