"""Small models that the numbers of gradient methods are for."""

import numpy as np
from onnx import helper

from oracles.graphs import MODELS as SHARED
from oracles.graphs import model


def _columns(count):
    """Nodes that part x (batch, count) into columns x1, x2, ..."""
    return [helper.make_node("Split", ["x", "ones"], [f"x{k + 1}" for k in range(count)], axis=1)]


def _of_columns(count, nodes, constants):
    return model(
        [*_columns(count), *nodes],
        {"x": ["batch", count]},
        {"y": ["batch", 1]},
        {"ones": np.ones(count, np.int64)} | {n: np.float32(v) for n, v in constants.items()},
    )


def m2():
    """relu(relu(x1) - 1 - relu(x2))."""
    nodes = [
        helper.make_node("Relu", ["x1"], ["r1"]),
        helper.make_node("Relu", ["x2"], ["r2"]),
        helper.make_node("Sub", ["r1", "one"], ["a"]),
        helper.make_node("Sub", ["a", "r2"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    return _of_columns(2, nodes, {"one": 1})


def m3():
    """relu(relu(x1 - 1) - relu(x2))."""
    nodes = [
        helper.make_node("Sub", ["x1", "one"], ["a"]),
        helper.make_node("Relu", ["a"], ["r1"]),
        helper.make_node("Relu", ["x2"], ["r2"]),
        helper.make_node("Sub", ["r1", "r2"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    return _of_columns(2, nodes, {"one": 1})


def mixed():
    """5 x1 + x2^2 + sin x3."""
    nodes = [
        helper.make_node("Mul", ["five", "x1"], ["a"]),
        helper.make_node("Mul", ["x2", "x2"], ["b"]),
        helper.make_node("Sin", ["x3"], ["c"]),
        helper.make_node("Sum", ["a", "b", "c"], ["y"]),
    ]
    return _of_columns(3, nodes, {"five": 5})


def square():
    """(2 x1 + x2)^2."""
    nodes = [
        helper.make_node("Add", ["x1", "x1"], ["a"]),
        helper.make_node("Add", ["a", "x2"], ["s"]),
        helper.make_node("Mul", ["s", "s"], ["y"]),
    ]
    return _of_columns(2, nodes, {})


MODELS = {
    **SHARED,
    "M2": m2,
    "M3": m3,
    "5 x1 + x2^2 + sin x3": mixed,
    "(2 x1 + x2)^2": square,
}
