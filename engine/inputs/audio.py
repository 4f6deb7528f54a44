"""Reading WAV files that come from outside: every size in the header is checked against what is really there."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from ..errors import InputError, printable
from ..files import existing_file, looks_like

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MOST_SAMPLES = 50_000_000  # of all channels together
MOST_CHANNELS = 64
RATES = (1, 10_000_000)  # samples per second
INTEGER, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
CODECS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 49: "GSM", 80: "MPEG", 85: "MP3"}


@dataclass(frozen=True)
class Recording:
    """Samples (steps, channels) in float64, from -1 to 1 where they were whole numbers; ``rate`` of them a second."""

    samples: NDArray[np.float64]
    rate: int


@dataclass(frozen=True)
class _Format:
    """What the chunk ``fmt`` says of the samples."""

    kind: int
    channels: int
    rate: int
    bits: int

    @property
    def frame(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.bits // 8


def read_wav(path: Path, seconds: tuple[float, float] | None = None) -> Recording:
    """Return the sound in a WAV file: whole numbers of 8, 16, 24 or 32 bits, or floats of 32 or 64.

    ``seconds`` are begin and end of the part that is read.

    InputError says what is wrong: another kind of file, a compressed one, a header that contradicts itself, data that
    is cut off or not finite.
    """
    where = printable(path)
    with existing_file(path, InputError).open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            found = looks_like(path)
            raise InputError(
                f"this is {found}, not a WAV file" if found else "this is not a WAV file",
                where=where,
                tip="convert it: ffmpeg -i FILE speech.wav",
            )
        return _read_chunks(file, path.stat().st_size, seconds, where)


def _read_chunks(file: IO[bytes], size: int, seconds: tuple[float, float] | None, where: str) -> Recording:
    found: _Format | None = None
    while len(head := file.read(8)) == 8:
        name, declared = struct.unpack("<4sI", head)
        present = size - file.tell()
        if name == b"data":
            if found is None:
                raise InputError("this WAV file has no format before its data", where=where)
            if declared > present:
                raise InputError(
                    f"this WAV file declares {declared:,} bytes of sound, but {present:,} are there",
                    where=where,
                    tip="it may be cut off, or written by a program that could not fill in its size: write it again",
                )
            begin, end = _part(declared // found.frame, found, seconds, where)
            file.seek(begin * found.frame, 1)
            return Recording(_samples(file.read((end - begin) * found.frame), found, where), found.rate)
        if declared > present:
            break
        if name == b"fmt ":
            found = _format(file.read(min(declared, 64)), where)
            file.seek(max(0, declared - 64), 1)
        else:
            file.seek(declared, 1)
        file.seek(declared % 2, 1)  # chunks begin at even places
    raise InputError("this WAV file holds no sound: it is damaged or cut off", where=where, tip="write it again")


def _part(count: int, form: _Format, seconds: tuple[float, float] | None, where: str) -> tuple[int, int]:
    """Return the first of ``count`` samples that is wanted, and the first after them that is not."""
    if count == 0:
        raise InputError("this WAV file holds no samples", where=where)
    begin, end = (0, count) if seconds is None else (round(second * form.rate) for second in seconds)
    if seconds is not None and (end > count or begin >= end):
        raise InputError(
            f"this recording has no seconds {seconds[0]:g}-{seconds[1]:g}: it is {count / form.rate:.6g} s long",
            where=where,
        )
    if (end - begin) * form.channels > MOST_SAMPLES:
        raise InputError(
            f"this recording has {count:,} samples, more than can be taken at once",
            where=where,
            tip="name some seconds of it: FILE.wav:0-60",
        )
    return begin, end


def _format(fields: bytes, where: str) -> _Format:
    if len(fields) < 16:
        raise InputError("the format of this WAV file is cut off", where=where)
    kind, channels, rate, _, block, bits = struct.unpack("<HHIIHH", fields[:16])
    if kind == EXTENSIBLE and len(fields) >= 26:
        kind = struct.unpack("<H", fields[24:26])[0]
    known = {INTEGER: (8, 16, 24, 32), FLOAT: (32, 64)}
    if kind not in known:
        name = CODECS.get(kind, f"a kind of number {kind}")
        raise InputError(
            f"the sound in this WAV file is compressed ({name})",
            where=where,
            tip="ffmpeg -i FILE -c:a pcm_s16le out.wav",
        )
    if bits not in known[kind]:
        raise InputError(f"this WAV file has samples of {bits} bits", where=where, tip="8, 16, 24 or 32 bits are read")
    if not 1 <= channels <= MOST_CHANNELS or not RATES[0] <= rate <= RATES[1] or block != channels * bits // 8:
        raise InputError(
            f"the header of this WAV file makes no sense: {channels} channels, {rate} samples per second, "
            f"{block} bytes for {bits} bits of each channel",
            where=where,
        )
    return _Format(kind, channels, rate, bits)


def _samples(data: bytes, form: _Format, where: str) -> NDArray[np.float64]:
    if form.kind == FLOAT:
        samples = np.frombuffer(data, f"<f{form.bits // 8}").astype(np.float64)
        if not np.isfinite(samples).all():
            raise InputError("this WAV file holds samples that are not finite", where=where)
    elif form.bits == 8:
        samples = (np.frombuffer(data, np.uint8).astype(np.float64) - 128) / 128
    elif form.bits == 24:
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(parts), 4), np.uint8)
        wide[:, 1:] = parts
        samples = wide.view("<i4")[:, 0].astype(np.float64) / (1 << 31)
    else:
        samples = np.frombuffer(data, f"<i{form.bits // 8}").astype(np.float64) / (1 << (form.bits - 1))
    return samples.reshape(-1, form.channels)
