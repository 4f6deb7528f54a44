"""Spectrogram: how much of each frequency a sound holds at each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPECTROGRAM = 1.3  # inches
LEAST_RATE = 4000  # samples per second from which a series is drawn as sound
LEAST_STEPS = 1024
WINDOW = 0.025  # seconds
MOST_FRAMES = 1080
RANGE = 70.0  # decibels below the loudest that are told apart


def is_sound(rate: float, steps: int) -> bool:
    """Say whether a series is one that a person could hear, and long enough for a spectrogram."""
    return rate >= LEAST_RATE and steps >= LEAST_STEPS


def draw_spectrogram(axes: Axes, signal: np.ndarray, rate: float) -> None:
    """Draw the level in decibels in grey, dark for loud, over steps and kilohertz."""
    levels = decibels(signal, rate)
    top = rate / 2000
    axes.imshow(
        levels,
        cmap="gray_r",
        vmin=-RANGE,
        vmax=0,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(-0.5, signal.size - 0.5, 0, top),
    )
    axes.set_xlim(-0.5, signal.size - 0.5)
    axes.set_ylim(0, top)


def decibels(signal: np.ndarray, rate: float) -> np.ndarray:
    """Return levels (frequencies, frames) in decibels below the loudest, at least -70.

    The frames are Hann windows of 25 ms, zero beyond the ends, their centres evenly spaced over the signal: at most a
    thousand or so, half a window apart or less in short signals.
    """
    length = max(64, round(WINDOW * rate))
    frames = int(np.clip(2 * signal.size // length, 2, MOST_FRAMES))
    centres = ((np.arange(frames) + 0.5) * signal.size / frames).astype(np.intp)
    padded = np.pad(signal, (length // 2, length))
    window = np.hanning(length + 1)[:-1]
    power = np.abs(np.fft.rfft(padded[centres[:, None] + np.arange(length)] * window, axis=1).T) ** 2
    loudest = float(power.max())
    if loudest == 0:
        return np.full(power.shape, -RANGE)
    return np.asarray(np.maximum(10 * np.log10(np.maximum(power / loudest, 1e-30)), -RANGE))
