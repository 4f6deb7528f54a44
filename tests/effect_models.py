"""Models of three named columns, for the tests of analyses."""

import numpy as np
from onnx import helper

import onnxplain
from onnxplain import InputSpec, ModelSpec
from oracles.graphs import model as graph

COLUMNS = ("age", "income", "town")
TOWNS = ("Bonn", "Rome", "Paris")


def opened(data, columns=3, task="", labels=(), categories=None, target="top"):
    """Open a graph with one input x of named columns."""
    names = COLUMNS[:columns] if columns <= 3 else tuple(f"c{k}" for k in range(columns))
    entry = InputSpec("x", "table", columns=names, categories=categories or {})
    return onnxplain.load(data, spec=ModelSpec(task=task, labels=labels, target=target, inputs={"x": entry}))


def products(linear, pairs, columns=3):
    """Sum of w_i x_i plus sum of x_i x_j over pairs."""
    square = np.zeros((columns, columns), np.float32)
    for i, j in pairs:
        square[j, i] = 1
    nodes = [
        helper.make_node("MatMul", ["x", "Q"], ["half"]),
        helper.make_node("Mul", ["x", "half"], ["terms"]),
        helper.make_node("ReduceSum", ["terms", "last"], ["squares"], keepdims=1),
        helper.make_node("Gemm", ["x", "w", "squares"], ["y"], transB=1),
    ]
    weights = {"Q": square, "last": np.array([1]), "w": np.array([linear], np.float32)}
    return graph(nodes, {"x": ["batch", columns]}, {"y": ["batch", 1]}, weights)


def row_222():
    """f(x) = 2 x1 + x2 x3."""
    return opened(products((2, 0, 0), [(1, 2)]), task="regression")


def classifier():
    """A linear model of three columns and three classes with a Softmax."""
    rng = np.random.default_rng(4)
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"], transB=1),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    weights = {"w": rng.normal(size=(3, 3)).astype(np.float32) * 2, "b": np.array([0.1, -0.2, 0.3], np.float32)}
    return opened(graph(nodes, {"x": ["batch", 3]}, {"y": ["batch", 3]}, weights), labels=("cat", "dog", "owl"))
