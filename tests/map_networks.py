"""Small networks with positions, for tests of class activation maps: convolutions in both layouts, tokens, a series."""

import numpy as np
from onnx import TensorProto, helper

from small_graphs import model_of

FLOAT = TensorProto.FLOAT


def floats(**arrays):
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}


def convolutions(*, channels_last=False, side=(12, 8), pool=True, batch="batch"):
    """Two convolutions, pooling and a linear layer; ``conv``, ``relu``, ``conv2`` and ``features`` have positions."""
    rng = np.random.default_rng(11)
    first = [helper.make_node("Transpose", ["image"], ["nchw"], perm=[0, 3, 1, 2])] if channels_last else []
    nodes = [
        *first,
        helper.make_node("Conv", ["nchw" if first else "image", "K1"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Conv", ["relu", "K2", "b2"], ["conv2"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["conv2"], ["features"]),
        *([helper.make_node("GlobalAveragePool", ["features"], ["pooled"])] if pool else []),
        helper.make_node("Flatten", ["pooled" if pool else "features"], ["flat"]),
        helper.make_node("Gemm", ["flat", "W", "b"], ["y"], transB=1),
    ]
    height, width = side
    shape = [height, width, 3] if channels_last else [3, height, width]
    inner = 5 if pool else 5 * (height // 2) * (width // 2)
    weights = floats(
        K1=rng.normal(size=(4, 3, 3, 3)) / 3,
        K2=rng.normal(size=(5, 4, 3, 3)) / 3,
        b2=rng.normal(size=5) / 3,
        W=rng.normal(size=(3, inner)),
        b=rng.normal(size=3),
    )
    return model_of(nodes, {"image": (FLOAT, [batch, *shape])}, {"y": (FLOAT, [batch, 3])}, weights)


def channels_last_features():
    """A convolution whose output is turned to (N, H, W, C) and worked on there, as in networks from TensorFlow."""
    rng = np.random.default_rng(12)
    nodes = [
        helper.make_node("Transpose", ["image"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "K"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["conv"], ["nhwc"], perm=[0, 2, 3, 1]),
        helper.make_node("Relu", ["nhwc"], ["features"]),
        helper.make_node("ReduceMean", ["features"], ["pooled"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["pooled", "W"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["y"]),
    ]
    weights = floats(K=rng.normal(size=(4, 3, 3, 3)) / 3, W=rng.normal(size=(4, 2)), b=[0.1, 0.2])
    return model_of(nodes, {"image": (FLOAT, ["batch", 6, 10, 3])}, {"y": (FLOAT, ["batch", 2])}, weights)


def vision_transformer(*, class_token=True, blocks=2, size=(8, 12), width=6):
    """Patches of 4, blocks of attention and a dense layer, and a linear layer on the class token or on the mean.

    ``stream0`` is what enters the first block, ``stream1`` the second, and so on.
    """
    rng = np.random.default_rng(13)
    grid = (size[0] // 4, size[1] // 4)
    count = grid[0] * grid[1]
    drawn = {
        "K": rng.normal(size=(width, 3, 4, 4)) / 7,
        "W": rng.normal(size=(width, 3)),
        "class": rng.normal(size=width),
    }
    shapes = {"tokens": np.array([0, width, count]), "one_row": np.array([1, 1, width]), "first": np.array(0)}
    nodes = [
        helper.make_node("Conv", ["image", "K"], ["patches"], strides=[4, 4]),
        helper.make_node("Reshape", ["patches", "tokens"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["embedded"], perm=[0, 2, 1]),
    ]
    stream = "embedded"
    if class_token:
        nodes += [
            helper.make_node("ReduceMean", ["embedded"], ["mean"], axes=[1], keepdims=1),
            helper.make_node("Mul", ["mean", "nothing"], ["none"]),
            helper.make_node("Add", ["none", "class"], ["token"]),
            helper.make_node("Concat", ["token", "embedded"], ["joined"], axis=1),
        ]
        drawn["nothing"] = np.zeros(1)
        stream = "joined"
    drawn["position"] = rng.normal(size=(count + class_token, width)) / 3
    nodes.append(helper.make_node("Add", [stream, "position"], ["stream0"]))
    for k in range(blocks):
        nodes += _block(k, drawn, rng, width)
    last = f"stream{blocks}"
    pooling = (
        helper.make_node("Gather", [last, "first"], ["pooled"], axis=1)
        if class_token
        else helper.make_node("ReduceMean", [last], ["pooled"], axes=[1], keepdims=0)
    )
    nodes += [pooling, helper.make_node("MatMul", ["pooled", "W"], ["y"])]
    constants = floats(**drawn) | shapes
    ends = {"image": (FLOAT, ["batch", 3, *size])}, {"y": (FLOAT, ["batch", 3])}
    return model_of(nodes, *ends, constants)


def _block(k, drawn, rng, width):
    for name in ("q", "k", "v", "m"):
        drawn[f"{name}{k}"] = rng.normal(size=(width, width)) / 4
    return [
        helper.make_node("MatMul", [f"stream{k}", f"q{k}"], [f"query{k}"]),
        helper.make_node("MatMul", [f"stream{k}", f"k{k}"], [f"key{k}"]),
        helper.make_node("MatMul", [f"stream{k}", f"v{k}"], [f"value{k}"]),
        helper.make_node("Transpose", [f"key{k}"], [f"turned{k}"], perm=[0, 2, 1]),
        helper.make_node("MatMul", [f"query{k}", f"turned{k}"], [f"likeness{k}"]),
        helper.make_node("Softmax", [f"likeness{k}"], [f"attention{k}"], axis=-1),
        helper.make_node("MatMul", [f"attention{k}", f"value{k}"], [f"mixed{k}"]),
        helper.make_node("MatMul", [f"mixed{k}", f"m{k}"], [f"dense{k}"]),
        helper.make_node("Add", [f"stream{k}", f"dense{k}"], [f"stream{k + 1}"]),
    ]


def series():
    """A convolution along time, its mean, and two scores."""
    rng = np.random.default_rng(14)
    nodes = [
        helper.make_node("Conv", ["x", "K"], ["conv"], strides=[2], pads=[1, 1]),
        helper.make_node("Relu", ["conv"], ["features"]),
        helper.make_node("ReduceMean", ["features"], ["pooled"], axes=[2], keepdims=0),
        helper.make_node("Gemm", ["pooled", "W"], ["y"], transB=1),
    ]
    weights = floats(K=rng.normal(size=(4, 2, 3)), W=rng.normal(size=(2, 4)))
    return model_of(nodes, {"x": (FLOAT, ["batch", 2, 16])}, {"y": (FLOAT, ["batch", 2])}, weights)


def picture(*shape, seed=5):
    return np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
