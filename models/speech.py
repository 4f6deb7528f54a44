"""The Silero network that hears speech, wrapped so that it takes a whole recording; and a recording made by formula.

The published file takes frames: 576 samples each, 512 new ones after the last 64 of the frame before, and the state of
its recurrent layer. Here the frames are cut inside the graph, and the mean of their probabilities is an output of its
own. The recording is synthetic: two phrases of vowels from a source of pulses and three resonators, and a tone, in
noise.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from ..engine.errors import ModelError
from .folder import Spec, write_model
from .packages import digest, read_member

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "silero-vad"
MEMBER = "silero_vad/data/silero_vad_16k_sequence.onnx"
MEMBER_DIGEST = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"
RATE = 16_000
HOP = 512  # new samples of a frame
CONTEXT = 64  # samples of the frame before that go in front
SECONDS = 3.0
PHRASES = ((0.5, 1.2), (1.6, 2.2))  # seconds of the recording in which a voice is heard
TONE = (2.5, 2.8, 660.0)  # seconds, and hertz
PITCH = 115.0  # hertz
SYLLABLE = 0.14  # seconds
# Formants in hertz of the vowels a, e, i, o, u, spoken by men (Peterson and Barney 1952), and their bandwidths.
VOWELS = ((730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240))
BANDWIDTHS = (80.0, 100.0, 140.0)
SPEC = Spec(
    input="audio",
    top={"target": "top", "output": "speech", "labels": ["speech"]},
    fields={"modality": "series", "layout": "NT", "rate": float(RATE)},
)


def framing() -> onnx.GraphProto:
    """Return the graph that cuts ``audio`` (1, samples) into ``frames`` (count, 576); what is left over is dropped."""
    numbers = {
        "framing.flat": [-1],
        "framing.column": [1],
        "framing.before": [0, CONTEXT, 0, 0],
        "framing.hop": HOP,
        "framing.zero": 0,
        "framing.one": 1,
        "framing.offsets": [list(range(HOP + CONTEXT))],
    }
    nodes = [
        helper.make_node("Shape", ["audio"], ["framing.sizes"]),
        helper.make_node("Gather", ["framing.sizes", "framing.one"], ["framing.samples"]),
        helper.make_node("Div", ["framing.samples", "framing.hop"], ["framing.count"]),
        helper.make_node("Range", ["framing.zero", "framing.count", "framing.one"], ["framing.numbers"]),
        helper.make_node("Mul", ["framing.numbers", "framing.hop"], ["framing.starts"]),
        helper.make_node("Unsqueeze", ["framing.starts", "framing.column"], ["framing.rows"]),
        helper.make_node("Add", ["framing.rows", "framing.offsets"], ["framing.places"]),
        helper.make_node("Pad", ["audio", "framing.before"], ["framing.padded"], mode="constant"),
        helper.make_node("Reshape", ["framing.padded", "framing.flat"], ["framing.row"]),
        helper.make_node("Gather", ["framing.row", "framing.places"], ["frames"]),
    ]
    return helper.make_graph(
        nodes,
        "framing",
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, [1, "samples"])],
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["count", HOP + CONTEXT])],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in numbers.items()],
    )


def averaging() -> onnx.GraphProto:
    """Return the graph from the probabilities of the frames to ``frame_speech`` (1, count) and ``speech`` (1, 1)."""
    row = numpy_helper.from_array(np.array([1, -1], np.int64), "averaging.row")
    axis = numpy_helper.from_array(np.array([1], np.int64), "averaging.axis")
    return helper.make_graph(
        [
            helper.make_node("Reshape", ["probabilities", "averaging.row"], ["frame_speech"]),
            helper.make_node("ReduceMean", ["frame_speech"], ["speech"], axes=[1], keepdims=1),
        ],
        "averaging",
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["count"])],
        [
            helper.make_tensor_value_info("speech", TensorProto.FLOAT, [1, 1]),
            helper.make_tensor_value_info("frame_speech", TensorProto.FLOAT, [1, "count"]),
        ],
        [row, axis],
    )


def wrapped(published: onnx.ModelProto) -> onnx.ModelProto:
    """Return the published network with frames cut before it and averaged after it.

    Inputs ``audio`` (1, samples), ``h`` and ``c`` (1, 1, 128); outputs ``speech`` (1, 1), ``frame_speech``, ``hn`` and
    ``cn``.
    """
    ends = {
        "ir_version": published.ir_version,
        "opset_imports": published.opset_import,
        "producer_name": "onnxplain",
    }
    first = helper.make_model(framing(), **ends)
    last = helper.make_model(averaging(), **ends)
    begun = compose.merge_models(first, published, io_map=[("frames", "input")])
    outputs = ["speech", "frame_speech", "hn", "cn"]
    whole = compose.merge_models(begun, last, io_map=[("speech_probs", "probabilities")], outputs=outputs)
    by_name = {value.name: value for value in whole.graph.output}
    del whole.graph.output[:]
    whole.graph.output.extend(by_name[name] for name in outputs)
    whole.producer_name, whole.producer_version = "onnxplain", ""
    return whole


def phrase(seconds: float, seed: int) -> np.ndarray:
    """Return a voice that glides through random vowels, at most 1 loud: pulses through three moving resonators."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    glides = 1 + 0.12 * np.sin(2 * np.pi * 1.3 * time + seed) + 0.02 * np.sin(2 * np.pi * 5 * time)
    cycles = np.cumsum(PITCH * glides) / RATE
    pulses = (np.diff(np.floor(cycles), prepend=0) > 0).astype(np.float64)
    sound = lfilter([1], [1, -0.96], pulses) + 0.003 * rng.standard_normal(time.size)
    syllables = time / SYLLABLE
    vowels = np.array(VOWELS)[rng.integers(0, len(VOWELS), int(syllables[-1]) + 3)]
    for number, bandwidth in enumerate(BANDWIDTHS):
        formant = np.interp(syllables, np.arange(len(vowels)), vowels[:, number])
        sound = _resonator(sound, formant, bandwidth)
    sound = np.diff(sound * (0.35 + 0.65 * np.abs(np.sin(np.pi * syllables))), prepend=0)
    faded: np.ndarray = sound / np.abs(sound).max() * np.hanning(sound.size) ** 0.3
    return faded


def _resonator(sound: np.ndarray, formant: np.ndarray, bandwidth: float) -> np.ndarray:
    """Filter by two poles whose frequency in hertz moves: y(t) = (1 - r) x(t) + 2 r cos(w) y(t - 1) - r^2 y(t - 2)."""
    radius = float(np.exp(-np.pi * bandwidth / RATE))
    turns = (2 * radius * np.cos(2 * np.pi * formant / RATE)).tolist()
    found, last, before = [], 0.0, 0.0
    for value, turn in zip(sound.tolist(), turns, strict=True):
        last, before = (1 - radius) * value + turn * last - radius * radius * before, last
        found.append(last)
    return np.array(found)


def recording() -> np.ndarray:
    """Return three seconds of sound, -1 to 1: noise, two phrases and a tone."""
    sound = 0.002 * np.random.default_rng(1).standard_normal(round(SECONDS * RATE))
    for seed, (begin, end) in zip((0, 3), PHRASES, strict=True):
        voice = 0.5 * phrase(end - begin, seed)
        start = round(begin * RATE)
        sound[start : start + voice.size] += voice
    begin, end, frequency = TONE
    time = np.arange(round((end - begin) * RATE)) / RATE
    start = round(begin * RATE)
    sound[start : start + time.size] += 0.3 * np.sin(2 * np.pi * frequency * time)
    return sound


def wav(sound: np.ndarray, rate: int = RATE) -> bytes:
    """Return a WAV file of one channel of 16-bit samples."""
    data = np.clip(np.rint(sound * 32767), -32768, 32767).astype("<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    chunks = form + struct.pack("<4sI", b"data", len(data)) + data
    whole: bytes = struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WAVE") + chunks
    return whole


def write(folder: Path, wheels: Mapping[str, Path]) -> None:
    """Write the wrapped network and the recording as ``samples/phrases.wav``."""
    published = read_member(wheels["silero-vad"], MEMBER)
    if digest(published) != MEMBER_DIGEST:
        raise ModelError("the network in the package is not the expected one", where=MEMBER)
    write_model(folder, NAME, wrapped(onnx.load_from_string(published)), SPEC)
    samples = folder / "samples"
    samples.mkdir()
    (samples / "phrases.wav").write_bytes(wav(recording()))
