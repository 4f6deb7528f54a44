"""A small convolutional network on scikit-learn's handwritten digits: training in NumPy, and its ONNX graph.

The files ``data/digits-*`` are what ``build("digits-cnn")`` writes; they are committed so that one model is there
at once. Training takes seconds on one core. The draws are fixed, but sums in the matrix products depend on the machine,
so a rebuilt network may differ in the last digits of its weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..engine.errors import ModelError
from .folder import Spec, write_model
from .training import Adam, cross_entropy, initial_weights, kernel_gradients

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .training import Weights

NAME = "digits-cnn"
CLASSES = 10
IMAGE_SIZE = 8
BRIGHTEST = 16  # scikit-learn's digits are drawn in 0..16
HELD_OUT = 360
EPOCHS = 30
BATCH = 64
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-4
SEED = 0
IR_VERSION = 10
OPSET = 17
LEAST_ACCURACY = 0.97
SAMPLES = (0, 2, 3, 5, 8)
SPEC = Spec(
    input="image",
    top={
        "task": "classification",
        "target": "top",
        "output": "probabilities",
        "labels": [str(digit) for digit in range(CLASSES)],
    },
    fields={"modality": "image", "layout": "NCHW"},
    preprocessing={
        "size": [IMAGE_SIZE, IMAGE_SIZE],
        "resize": 0,
        "interpolation": "bilinear",
        "crop": False,
        "colour": "L",
        "scale": 1 / 255,
        "mean": [0.0],
        "std": [1.0],
    },
)

SHAPES = {"conv1": (16, 1, 3, 3), "conv2": (32, 16, 3, 3), "dense1": (64, 512), "dense2": (CLASSES, 64)}


class Digits(NamedTuple):
    """Images (n, 1, 8, 8) in 0..1 and their digits."""

    images: np.ndarray
    digits: np.ndarray


def data() -> tuple[Digits, Digits]:
    """Return the training images and the 360 held out, shuffled with a fixed seed."""
    from sklearn.datasets import load_digits

    raw, digits = load_digits(return_X_y=True)
    images = (raw / BRIGHTEST).astype(np.float32).reshape(-1, 1, IMAGE_SIZE, IMAGE_SIZE)
    order = np.random.default_rng(SEED).permutation(len(images))
    train, held_out = order[:-HELD_OUT], order[-HELD_OUT:]
    return Digits(images[train], digits[train]), Digits(images[held_out], digits[held_out])


def patches(x: np.ndarray) -> np.ndarray:
    """Return the 3x3 neighbourhood of every pixel, zeros outside: (n, c, h, w) -> (n, h, w, c * 9)."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), axis=(2, 3))
    n, channels, height, width = x.shape
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n, height, width, channels * 9)


def add_patches(gradient: np.ndarray) -> np.ndarray:
    """Add every neighbourhood back to its pixels, the adjoint of ``patches``: (n, h, w, c * 9) -> (n, c, h, w)."""
    n, height, width, length = gradient.shape
    windows = gradient.reshape(n, height, width, length // 9, 3, 3).transpose(0, 3, 1, 2, 4, 5)
    padded = np.zeros((n, length // 9, height + 2, width + 2), gradient.dtype)
    for row in range(3):
        for column in range(3):
            padded[:, :, row : row + height, column : column + width] += windows[..., row, column]
    return padded[:, :, 1:-1, 1:-1]


class _Trace(NamedTuple):
    """What the backward pass needs of the forward pass."""

    patches1: np.ndarray
    relu1: np.ndarray
    patches2: np.ndarray
    relu2: np.ndarray
    pooled: np.ndarray
    relu3: np.ndarray
    logits: np.ndarray


def _convolve(neighbours: np.ndarray, weights: Weights, layer: str) -> np.ndarray:
    kernel = weights[f"{layer}.weight"]
    return (neighbours @ kernel.reshape(len(kernel), -1).T + weights[f"{layer}.bias"]).transpose(0, 3, 1, 2)


def _quarters(x: np.ndarray) -> np.ndarray:
    """View (n, c, h, w) as (n, c, h/2, w/2, 2, 2), the cells of a 2x2 pooling."""
    n, channels, height, width = x.shape
    return x.reshape(n, channels, height // 2, 2, width // 2, 2).transpose(0, 1, 2, 4, 3, 5)


def _forward(images: np.ndarray, weights: Weights) -> _Trace:
    patches1 = patches(images)
    relu1 = np.maximum(_convolve(patches1, weights, "conv1"), 0)
    patches2 = patches(relu1)
    relu2 = np.maximum(_convolve(patches2, weights, "conv2"), 0)
    pooled = _quarters(relu2).max(axis=(4, 5)).reshape(len(images), -1)
    relu3 = np.maximum(pooled @ weights["dense1.weight"].T + weights["dense1.bias"], 0)
    return _Trace(
        patches1, relu1, patches2, relu2, pooled, relu3, relu3 @ weights["dense2.weight"].T + weights["dense2.bias"]
    )


def logits(images: np.ndarray, weights: Weights) -> np.ndarray:
    """Return the network's logits (n, 10) for images (n, 1, 8, 8)."""
    return _forward(images, weights).logits


def loss_and_gradients(images: np.ndarray, digits: np.ndarray, weights: Weights) -> tuple[float, Weights]:
    """Return the mean cross-entropy and its gradient for every weight."""
    trace = _forward(images, weights)
    loss, gradient = cross_entropy(trace.logits, digits)
    gradients = {"dense2.weight": gradient.T @ trace.relu3, "dense2.bias": gradient.sum(axis=0)}
    gradient = gradient @ weights["dense2.weight"] * (trace.relu3 > 0)
    gradients |= {"dense1.weight": gradient.T @ trace.pooled, "dense1.bias": gradient.sum(axis=0)}
    gradient = _unpool(gradient @ weights["dense1.weight"], trace.relu2) * (trace.relu2 > 0)
    gradient = gradient.transpose(0, 2, 3, 1)
    gradients |= kernel_gradients("conv2", gradient, trace.patches2, weights)
    kernel = weights["conv2.weight"]
    gradient = add_patches(gradient @ kernel.reshape(len(kernel), -1)) * (trace.relu1 > 0)
    gradients |= kernel_gradients("conv1", gradient.transpose(0, 2, 3, 1), trace.patches1, weights)
    return loss, gradients


def _unpool(gradient: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Send the gradient of a 2x2 maximum to the pixels that attain it, in equal parts."""
    cells = _quarters(before)
    winners = cells == cells.max(axis=(4, 5), keepdims=True)
    shares: np.ndarray = winners / winners.sum(axis=(4, 5), keepdims=True, dtype=before.dtype)
    spread: np.ndarray = shares * gradient.reshape(cells.shape[:4])[..., None, None]
    return spread.transpose(0, 1, 2, 4, 3, 5).reshape(before.shape)


def train(examples: Digits, epochs: int = EPOCHS) -> Weights:
    """Return weights after ``epochs`` over the examples, in shuffled batches."""
    rng = np.random.default_rng(SEED)
    weights = initial_weights(SHAPES, rng)
    adam = Adam(weights, WEIGHT_DECAY)
    for _ in range(epochs):
        order = rng.permutation(len(examples.images))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            _, gradients = loss_and_gradients(examples.images[rows], examples.digits[rows], weights)
            adam.step(gradients, LEARNING_RATE)
    return weights


def build_graph(weights: Weights) -> onnx.ModelProto:
    """Return the network: ``image`` (batch, 1, 8, 8) in 0..1 -> ``logits`` -> ``probabilities`` (batch, 10)."""
    layers = [
        _convolution("image", "conv1"),
        helper.make_node("Relu", ["conv1"], ["relu1"], name="relu1"),
        _convolution("relu1", "conv2"),
        helper.make_node("Relu", ["conv2"], ["relu2"], name="relu2"),
        helper.make_node("MaxPool", ["relu2"], ["pool"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["features"], name="features"),
        _dense("features", "dense1", "dense1"),
        helper.make_node("Relu", ["dense1"], ["relu3"], name="relu3"),
        _dense("relu3", "dense2", "logits"),
        helper.make_node("Softmax", ["logits"], ["probabilities"], name="probabilities", axis=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, IMAGE_SIZE, IMAGE_SIZE])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", CLASSES])
    initializers = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    return helper.make_model(
        helper.make_graph(layers, "digits-cnn", [image], [probabilities], initializers),
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="onnxplain",
    )


def _convolution(x: str, layer: str) -> onnx.NodeProto:
    inputs = [x, f"{layer}.weight", f"{layer}.bias"]
    return helper.make_node("Conv", inputs, [layer], name=layer, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def _dense(x: str, layer: str, output: str) -> onnx.NodeProto:
    inputs = [x, f"{layer}.weight", f"{layer}.bias"]
    return helper.make_node("Gemm", inputs, [output], name=output, transB=1)


def write(folder: Path, _: Mapping[str, Path]) -> None:
    """Train, and write the model's folder with five held-out digits as 8x8 grey PNG files, ``samples/digits-3.png``.

    ModelError if the network gets fewer than 97 % of the held-out digits right.
    """
    from PIL import Image

    training, held_out = data()
    weights = train(training)
    right = logits(held_out.images, weights).argmax(axis=1) == held_out.digits
    if right.mean() < LEAST_ACCURACY:
        raise ModelError(f"the trained network gets only {right.mean():.1%} of the held-out digits right")
    write_model(folder, NAME, build_graph(weights), SPEC)
    samples = folder / "samples"
    samples.mkdir()
    for digit in SAMPLES:
        image = held_out.images[np.flatnonzero(right & (held_out.digits == digit))[0], 0]
        Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(samples / f"digits-{digit}.png")
