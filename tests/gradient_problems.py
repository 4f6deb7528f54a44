"""Models and problems for tests of gradient methods."""

import math

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import onnxplain
import whole_models
from onnxplain.engine.problem import Problem
from onnxplain.engine.target import resolve
from small_graphs import model_of

FLOAT, DOUBLE, INT = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64


def loaded(proto, spec=None):
    return onnxplain.load(proto.SerializeToString(), spec=spec, device="cpu", threads=1)


def problem_of(model, feeds, target="0", **asked):
    sample = onnxplain.Sample({n: np.asarray(a) for n, a in feeds.items()})
    return Problem(model, sample, resolve(target, model, sample.feeds), "a method", **asked)


def smooth_network(seed, rank=2, spec=None):
    """A random smooth graph in float64 over 5 columns, or with ``rank`` 4 over (2, 5, 4): products, tanh, sigmoid."""
    rng = np.random.default_rng(seed)
    shape = [5] if rank == 2 else [2, 5, 4]
    nodes = [
        helper.make_node("MatMul", ["x", "W1"], ["a"]),
        helper.make_node("Tanh", ["a"], ["h"]),
        helper.make_node("MatMul", ["h", "W2"], ["b"]),
        helper.make_node("Sigmoid", ["b"], ["s"]),
        helper.make_node("Mul", ["b", "s"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "W3"], ["y"]),
    ]
    widths = [(shape[-1], 6), (6, 6), (6 * math.prod(shape[:-1]), 3)]
    constants = {f"W{k + 1}": rng.normal(size=width) for k, width in enumerate(widths)}
    proto = model_of(nodes, {"x": (DOUBLE, ["b", *shape])}, {"y": (DOUBLE, ["b", 3])}, constants)
    return loaded(proto, spec)


def weights_of(model, name):
    return next(numpy_helper.to_array(t) for t in model.proto.graph.initializer if t.name == name)


def score_of(model, target, feeds):
    """The target as ONNX Runtime computes it."""
    (rows,) = model.rows(feeds, (target.tensor,))
    return target.scores(rows)


def finite_differences(function, x, step=1e-5):
    """Central differences of a scalar function of rows (B, ...) at x (1, ...)."""
    steps = step * np.eye(x.size).reshape(x.size, *x.shape[1:])
    return ((function(x + steps) - function(x - steps)) / (2 * step)).reshape(x.shape)


def words_and_mask(rows=1):
    """A small BERT and token numbers with their mask."""
    module = whole_models.network("bert")
    model = loaded(whole_models.exported("bert", "legacy", 17, module))
    ids, mask = whole_models.MODELS["bert"].draw(rows)
    return module, model, {"in0": ids.numpy(), "in1": mask.numpy()}


def tree():
    """A regressor made of a tree."""
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[0.5, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        nodes_hitrates=[1.0, 1.0, 1.0],
        nodes_missing_value_tracks_true=[0, 0, 0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[1.0, 2.0],
    )
    return loaded(model_of([node], {"x": (FLOAT, ["b", 3])}, {"y": (FLOAT, ["b", 1])}, domains={"ai.onnx.ml": 3}))
