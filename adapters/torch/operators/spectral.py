"""Frequencies: Fourier transforms, windows, mel filters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from ..dtypes import torch_dtype
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from ..node import Node

HALF = {torch.float16, torch.bfloat16}


@converter("DFT")
def fourier_transform(node: Node) -> Converted:
    """Discrete Fourier transform along an axis; real and imaginary part are the last axis, which has length 1 or 2."""
    inverse = bool(node.attributes.get("inverse", 0))
    onesided = bool(node.attributes.get("onesided", 0))
    fixed_axis = node.attributes.get("axis", -2)

    def transform(x: torch.Tensor, length: torch.Tensor | None, axis: torch.Tensor | None) -> torch.Tensor:
        count = None if length is None else int(length)
        place = (fixed_axis if axis is None else int(axis)) % x.ndim
        signal = _numbers(x)
        if inverse and onesided:
            real: torch.Tensor = torch.fft.irfft(signal, count, place)
            return real.unsqueeze(-1).to(x.dtype)
        if inverse:
            return torch.view_as_real(torch.fft.ifft(signal, count, place).resolve_conj()).to(x.dtype)
        return torch.view_as_real(_spectrum(signal, count, place, onesided=onesided)).to(x.dtype)

    return function_module(transform, node, takes=(0, 1, 2))


def _numbers(x: torch.Tensor) -> torch.Tensor:
    """Return the complex numbers whose two parts are the last axis, or the real ones where it has length 1."""
    wide = x.float() if x.dtype in HALF else x
    return torch.view_as_complex(wide.contiguous()) if x.shape[-1] == 2 else wide[..., 0]


def _spectrum(signal: torch.Tensor, count: int | None, axis: int, *, onesided: bool) -> torch.Tensor:
    """Return the transform along an axis, ``count`` numbers of it; with ``onesided`` frequencies 0 to the half."""
    if onesided and not signal.is_complex():
        half: torch.Tensor = torch.fft.rfft(signal, count, axis)
        return half
    whole: torch.Tensor = torch.fft.fft(signal, count, axis)
    return whole.narrow(axis, 0, whole.shape[axis] // 2 + 1) if onesided else whole


@converter("STFT")
def short_time_fourier_transform(node: Node) -> Converted:
    """Fourier transforms of windows ``frame_step`` apart: (batch, frames, frequencies, 2)."""
    onesided = bool(node.attributes["onesided"])

    def transform(
        signal: torch.Tensor,
        step: torch.Tensor,
        window: torch.Tensor | None = None,
        length: torch.Tensor | None = None,
    ) -> torch.Tensor:
        numbers = _numbers(signal.unsqueeze(-1) if signal.ndim == 2 else signal)
        whole = numbers.shape[-1] if window is None else window.shape[0]
        size = whole if length is None else int(length)
        frames = numbers.unfold(-1, size, int(step))
        if window is not None:
            missing = size - window.shape[0]  # a shorter window stands at the start of the frame, as in the reference
            frames = frames * functional.pad(window, (0, missing)).to(frames.real.dtype)
        return torch.view_as_real(_spectrum(frames, None, -1, onesided=onesided)).to(signal.dtype)

    return function_module(transform, node)


# Coefficients of the cosines of 0, 1 and 2 turns.
WINDOWS = {
    "BlackmanWindow": (0.42, -0.5, 0.08),
    "HammingWindow": (25 / 46, -21 / 46, 0.0),
    "HannWindow": (0.5, -0.5, 0.0),
}


@converter(*WINDOWS)
def window(node: Node) -> Converted:
    """``a0 + a1 cos(2 pi n / N) + a2 cos(4 pi n / N)`` with N the size, or one less if not periodic."""
    constant, once, twice = WINDOWS[node.op_type]
    periodic = bool(node.attributes["periodic"])
    dtype = torch_dtype(node.attributes["output_datatype"])

    def build(size: torch.Tensor) -> torch.Tensor:
        count = int(size)
        places = torch.arange(count, dtype=torch.float64, device=size.device)
        turns = 2 * math.pi * places / max(count if periodic else count - 1, 1)
        return (constant + once * torch.cos(turns) + twice * torch.cos(2 * turns)).to(dtype)

    return function_module(build, node)


@converter("MelWeightMatrix")
def mel_weights(node: Node) -> Converted:
    """Triangles that collect the bins of a spectrum in mel bands: (dft_length // 2 + 1, num_mel_bins)."""
    dtype = torch_dtype(node.attributes["output_datatype"])

    def build(
        bands: torch.Tensor, length: torch.Tensor, rate: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor
    ) -> torch.Tensor:
        count, size = int(bands), int(length)
        low, high = (2595 * math.log10(1 + float(edge) / 700) for edge in (lower, upper))
        mels = low + torch.arange(count + 2, dtype=torch.float64, device=bands.device) * (high - low) / (count + 2)
        hertz = 700 * (10 ** (mels / 2595) - 1)
        corners = torch.floor((size + 1) * hertz / int(rate))
        left, centre, right = corners[:-2], corners[1:-1], corners[2:]
        bins = torch.arange(size // 2 + 1, dtype=torch.float64, device=bands.device).unsqueeze(1)
        rising = torch.where(bins <= centre, (bins - left) / (centre - left).clamp(min=1), 0.0).clamp(min=0)
        rising = torch.where((centre == left) & (bins == centre), 1.0, rising)
        falling = torch.where(bins >= centre, (right - bins) / (right - centre).clamp(min=1), 0.0).clamp(min=0)
        has_fall = (right > centre) & (bins >= centre)
        return torch.where(has_fall, falling, rising).to(dtype)

    return function_module(build, node)
