"""Activation: values of inner tensors, on ONNX Runtime alone."""

import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain.engine.errors import CapabilityError, SettingError
from onnxplain.engine.internals.activation import Activation
from onnxplain.engine.problem import Problem
from onnxplain.engine.target import resolve
from oracles.graphs import ml, ml3
from small_graphs import model_of

ROWS = np.array([[0, 100, 0], [1, 2, 3]], np.float32)


def problem_of(model, feeds, wrt, target=0):
    return Problem(model, onnxplain.Sample(feeds), resolve(target, model, feeds), "activation", wrt)


def test_values_are_those_of_the_tensor_and_the_score_is_the_targets():
    found = onnxplain.explain(ml(), ROWS[:1], "activation", target=1, wrt="relu")
    assert found.values["relu"].tolist() == [[90, 101, 101, 101]]
    assert found.values["relu"].dtype == np.float64
    assert (found.score, found.evaluations, found.gap) == (394, 1, None)


def test_several_inputs_give_what_each_alone_gives():
    model = onnxplain.load(ml())
    problems = [
        problem_of(model, {"x": row[None]}, "linear1", target) for row, target in zip(ROWS, (0, 1), strict=True)
    ]
    both = Activation().explain_many(problems)
    alone = [Activation().explain(problem) for problem in problems]
    assert [found.values["linear1"].tolist() for found in both] == [[[90, 101, 101, 101]], [[-4, 7, 7, 7]]]
    assert [found.score for found in both] == [found.score for found in alone] == [392, 22]
    assert [found.values["linear1"].tolist() for found in alone] == [found.values["linear1"].tolist() for found in both]


def test_several_inputs_of_the_front_door():
    found = onnxplain.explain(onnxplain.load(ml3()), dict.fromkeys(("x1", "x2", "x3"), ROWS), "activation", 0, wrt="x2")
    assert [one.values["x2"].tolist() for one in found] == [[[0, 100, 0]], [[1, 2, 3]]]


def test_whole_numbers_and_truth_values_become_floats():
    nodes = [
        helper.make_node("Greater", ["x", "zero"], ["is_positive"]),
        helper.make_node("Cast", ["is_positive"], ["y"], to=TensorProto.FLOAT),
    ]
    ends = [{name: (TensorProto.FLOAT, ["batch", 3])} for name in ("x", "y")]
    model = onnxplain.load(model_of(nodes, *ends, {"zero": np.zeros(1, np.float32)}).SerializeToString())
    found = Activation().explain(problem_of(model, {"x": ROWS[:1]}, "is_positive"))
    assert found.values["is_positive"].tolist() == [[0.0, 1.0, 0.0]]


def test_inputs_without_rows_that_differ_are_run_apart():
    nodes = [helper.make_node("Mul", ["x", "scale"], ["y"])]
    inputs = {"x": (TensorProto.FLOAT, ["batch", 3]), "scale": (TensorProto.FLOAT, [])}
    model = onnxplain.load(model_of(nodes, inputs, {"y": (TensorProto.FLOAT, ["batch", 3])}).SerializeToString())
    feeds = [{"x": ROWS[1:], "scale": np.array(scale, np.float32)} for scale in (2, 5)]
    both = Activation().explain_many([problem_of(model, feed, "y") for feed in feeds])
    assert [found.values["y"].tolist() for found in both] == [[[2, 4, 6]], [[5, 10, 15]]]


def test_a_tensor_must_be_named():
    with pytest.raises(SettingError) as caught:
        onnxplain.explain(ml(), ROWS[:1], "activation", target=0)
    assert "activation needs the name of a tensor (--wrt TENSOR)" in str(caught.value)
    assert "onnxplain inspect MODEL --tensors" in caught.value.tip


def test_text_is_refused():
    nodes = [helper.make_node("Identity", ["text"], ["copy"]), helper.make_node("Identity", ["x"], ["y"])]
    inputs = {"text": (TensorProto.STRING, ["batch", 1]), "x": (TensorProto.FLOAT, ["batch", 3])}
    outputs = {"y": (TensorProto.FLOAT, ["batch", 3]), "copy": (TensorProto.STRING, ["batch", 1])}
    model = onnxplain.load(model_of(nodes, inputs, outputs).SerializeToString())
    feeds = {"text": np.array([["word"]], object), "x": ROWS[:1]}
    with pytest.raises(CapabilityError, match="tensor 'copy' holds text"):
        Activation().explain(problem_of(model, feeds, "copy"))


def test_torch_is_not_needed():
    code = "import sys, onnxplain.engine.internals.activation; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
