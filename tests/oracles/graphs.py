"""The small models that the oracles' numbers are for, built with onnx.helper. Names as in the tables of numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper

from small_graphs import model_of

Shape = Sequence[int | str]


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    weights: Mapping[str, np.ndarray] | None = None,
) -> bytes:
    """Return a model of float32 tensors, serialised; shapes hold the batch axis."""
    floats = [{name: (TensorProto.FLOAT, axes) for name, axes in ends.items()} for ends in (inputs, outputs)]
    return model_of(nodes, *floats, dict(weights or {})).SerializeToString()


def _ml(x: str) -> list[NodeProto]:
    return [
        helper.make_node("Gemm", [x, "identity"], ["linear0"], transB=1),
        helper.make_node("Gemm", ["linear0", "W1", "b1"], ["linear1"], transB=1),
        helper.make_node("Relu", ["linear1"], ["relu"]),
        helper.make_node("Gemm", ["relu", "W2", "b2"], ["linear2"], transB=1),
    ]


ML_WEIGHTS = {
    "identity": np.eye(3, dtype=np.float32),
    "W1": np.ones((4, 3)),
    "b1": [-10, 1, 1, 1],
    "W2": np.ones((2, 4)),
    "b2": [-1, 1],
}


def ml() -> bytes:
    """Identity, Linear of ones 3 -> 4 with bias (-10, 1, 1, 1), ReLU, Linear of ones 4 -> 2 with bias (-1, 1)."""
    return model(_ml("x"), {"x": ["batch", 3]}, {"linear2": ["batch", 2]}, _floats(ML_WEIGHTS))


def ml3() -> bytes:
    """ML of the sum of three inputs."""
    return model(
        [helper.make_node("Sum", ["x1", "x2", "x3"], ["x"]), *_ml("x")],
        {name: ["batch", 3] for name in ("x1", "x2", "x3")},
        {"linear2": ["batch", 2]},
        _floats(ML_WEIGHTS),
    )


def _cv(image: str) -> list[NodeProto]:
    return [
        helper.make_node("Conv", [image, "kernel", "bias"], ["conv1"]),
        helper.make_node("Relu", ["conv1"], ["relu1"]),
        helper.make_node("Flatten", ["relu1"], ["flat"]),
        helper.make_node("Gemm", ["flat", "W"], ["linear1"], transB=1),
        helper.make_node("Relu", ["linear1"], ["relu2"]),
    ]


CV_WEIGHTS = {
    "kernel": np.ones((2, 1, 3, 3)),
    "bias": [-50, -75],
    "W": np.tile([1, 1, 1, 1, 1, -1, -1, -1], (4, 1)),
}


def cv() -> bytes:
    """Conv 3x3 of ones to two channels with bias (-50, -75), ReLU, Linear 8 -> 4, ReLU, over a 4x4 image."""
    return model(_cv("image"), {"image": ["batch", 1, 4, 4]}, {"relu2": ["batch", 4]}, _floats(CV_WEIGHTS))


def cv_of_two() -> bytes:
    """CV of the sum of two images."""
    return model(
        [helper.make_node("Add", ["image", "second"], ["sum"]), *_cv("sum")],
        {name: ["batch", 1, 4, 4] for name in ("image", "second")},
        {"relu2": ["batch", 4]},
        _floats(CV_WEIGHTS),
    )


def linear(weights: Sequence[float], bias: float = 0.0) -> bytes:
    """Weights times x, plus the bias, as one output."""
    return model(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)],
        {"x": ["batch", len(weights)]},
        {"y": ["batch", 1]},
        _floats({"w": [list(weights)], "b": [bias]}),
    )


def linear_classes(*rows):
    """Return linear scores, one for each of the rows of weights."""
    nodes = [helper.make_node("Gemm", ["x", "W"], ["y"], transB=1)]
    weights = np.array(rows, dtype=np.float32)
    return model(nodes, {"x": ["batch", weights.shape[1]]}, {"y": ["batch", len(rows)]}, {"W": weights})


def triple_sum() -> bytes:
    """Three times the sum of a 5x5 image (PAIR's saliency, occlusion test)."""
    return model(
        [
            helper.make_node("ReduceSum", ["image", "axes"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "three"], ["tripled"]),
            helper.make_node("Unsqueeze", ["tripled", "last"], ["y"]),
        ],
        {"image": ["batch", 1, 5, 5]},
        {"y": ["batch", 1]},
        {"axes": np.array([1, 2, 3]), "last": np.array([1])} | _floats({"three": [3]}),
    )


def quadratic(
    size: int, linear_terms: Mapping[int, float], products: Mapping[tuple[int, int], float], shape: Shape = ()
) -> bytes:
    """Sum of w_i x_i plus sum of q_ij x_i x_j over inputs of ``shape`` (flattened), as one output."""
    square = np.zeros((size, size))
    for (i, j), q in products.items():
        square[i, j] = q
    weights = np.zeros((1, size))
    for i, w in linear_terms.items():
        weights[0, i] = w
    return model(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "Q"], ["half"]),
            helper.make_node("Mul", ["flat", "half"], ["terms"]),
            helper.make_node("ReduceSum", ["terms", "last"], ["squares"], keepdims=1),
            helper.make_node("Gemm", ["flat", "w", "squares"], ["y"], transB=1),
        ],
        {"x": ["batch", *(shape or (size,))]},
        {"y": ["batch", 1]},
        {"last": np.array([1])} | _floats({"Q": square.T, "w": weights}),
    )


def relu_of(weights: Sequence[float], bias: float, beside: Sequence[float]) -> bytes:
    """ReLU of a linear function, plus another linear function."""
    return model(
        [
            helper.make_node("Gemm", ["x", "w", "b"], ["z"], transB=1),
            helper.make_node("Relu", ["z"], ["r"]),
            helper.make_node("Gemm", ["x", "beside", "r"], ["y"], transB=1),
        ],
        {"x": ["batch", len(weights)]},
        {"y": ["batch", 1]},
        _floats({"w": [list(weights)], "b": [bias], "beside": [list(beside)]}),
    )


def sigmoid_of(weights: Sequence[float]) -> bytes:
    """Sigmoid of a linear function."""
    return model(
        [helper.make_node("Gemm", ["x", "w"], ["z"], transB=1), helper.make_node("Sigmoid", ["z"], ["y"])],
        {"x": ["batch", len(weights)]},
        {"y": ["batch", 1]},
        _floats({"w": [list(weights)]}),
    )


def random_convolutions(seed: int, side: int = 9, channels: int = 3) -> bytes:
    """Two convolutions of 3x3 with random weights and a dense layer to three scores, over (channels, side, side)."""
    rng = np.random.default_rng(seed)
    inner = side - 4
    weights = {
        "k1": rng.normal(size=(4, channels, 3, 3)),
        "k2": rng.normal(size=(4, 4, 3, 3)) / 4,
        "W": rng.normal(size=(3, 4 * inner * inner)) / 8,
        "b": rng.normal(size=3),
    }
    return model(
        [
            helper.make_node("Conv", ["image", "k1"], ["c1"]),
            helper.make_node("Relu", ["c1"], ["r1"]),
            helper.make_node("Conv", ["r1", "k2"], ["c2"]),
            helper.make_node("Tanh", ["c2"], ["r2"]),
            helper.make_node("Flatten", ["r2"], ["flat"]),
            helper.make_node("Gemm", ["flat", "W", "b"], ["y"], transB=1),
        ],
        {"image": ["batch", channels, side, side]},
        {"y": ["batch", 3]},
        _floats(weights),
    )


def random_dense(seed: int, columns: int) -> bytes:
    """Two dense layers with random weights, to two scores."""
    rng = np.random.default_rng(seed)
    weights = {
        "W1": rng.normal(size=(16, columns)),
        "b1": rng.normal(size=16),
        "W2": rng.normal(size=(2, 16)),
        "b2": rng.normal(size=2),
    }
    return model(
        [
            helper.make_node("Gemm", ["x", "W1", "b1"], ["h"], transB=1),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Gemm", ["r", "W2", "b2"], ["y"], transB=1),
        ],
        {"x": ["batch", columns]},
        {"y": ["batch", 2]},
        _floats(weights),
    )


def token_sums(seed: int, words: int, length: int) -> bytes:
    """Two scores of ``length`` token numbers (int64): ReLU of the sum of random embeddings."""
    return model_of(
        [
            helper.make_node("Gather", ["table", "tokens"], ["embedded"]),
            helper.make_node("ReduceSum", ["embedded", "axis"], ["sum"], keepdims=0),
            helper.make_node("Relu", ["sum"], ["y"]),
        ],
        {"tokens": (TensorProto.INT64, ["batch", length])},
        {"y": (TensorProto.FLOAT, ["batch", 2])},
        {"axis": np.array([1])} | _floats({"table": np.random.default_rng(seed).normal(size=(words, 2)) + 0.5}),
    ).SerializeToString()


def _floats(weights: Mapping[str, object]) -> dict[str, np.ndarray]:
    return {name: np.asarray(array, dtype=np.float32) for name, array in weights.items()}


MODELS = {
    "ML": ml,
    "ML3": ml3,
    "CV": cv,
    "CV(A+B)": cv_of_two,
    "3 sum x": triple_sum,
    "x1 + 2 x2 + 3 x3 + 4 x4 + 7": lambda: linear((1, 2, 3, 4), 7),
    "x11 x22 + 2 x12 - x21": lambda: quadratic(4, {1: 2, 2: -1}, {(0, 3): 1}, shape=(1, 2, 2)),
    "sigmoid(x1 + 2 x2 - x3)": lambda: sigmoid_of((1, 2, -1)),
    "relu(x1 + 2 x2 - x3 - 1)": lambda: relu_of((1, 2, -1), -1, (0, 0, 0)),
    "x1 x2 + x2 x3 + x3": lambda: quadratic(3, {2: 1}, {(0, 1): 1, (1, 2): 1}),
    "x0 x2 + x1 + x2 + x2 x3": lambda: quadratic(5, {1: 1, 2: 1}, {(0, 2): 1, (2, 3): 1}),
    "|S| / 5 + 1[1, 2 in S]": lambda: relu_of((0, 1, 1, 0, 0), -1, (0.2,) * 5),
}
