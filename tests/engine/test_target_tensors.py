"""Targets that name a tensor: channels, neurons, elements, and classes of any output."""

import re

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain import ModelError, ModelSpec, SettingError, Target
from onnxplain.engine.target import resolve
from small_graphs import affine, model_of

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
W = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 3.0]], np.float32)
B = np.array([0.5, 0.0, 0.0], np.float32)
X = {"x": np.array([[2.0, 1.0]], np.float32)}
LOGITS = [2.5, 2.0, 1.0]
LABELS = ("tabby, tabby cat", "Tiger", "n01: fish")


def opened(proto, **spec):
    return onnxplain.load(proto.SerializeToString(), ModelSpec(**spec), device="cpu")


def score(model, text, feeds=X):
    """The number that a target stands for, as the loop over rows takes it."""
    rows = model.check(feeds)
    target = resolve(text, model, rows)
    return target, float(target.scores(model.rows(rows, (target.tensor,))[0])[0])


def test_a_class_of_a_named_tensor():
    model = opened(affine(W, B, activation="Softmax"), labels=LABELS)
    for text in ("z:2", "z:n01: fish", "z[2]", "z[-1]"):
        assert score(model, text)[1] == pytest.approx(1.0)
    assert score(model, "z:top")[0].index == (0,)
    assert score(model, "z")[1] == pytest.approx(np.mean(LOGITS))
    assert score(model, "x[1]")[1] == 1.0


HOSTILE = [
    "a:0",
    "a",
    "model/b.c:0",
    "d[1]",
    "d",
    "285",
    "top",
    "gelb",
    "Größe 猫",
    "\x1b[31mred",
    "'; rm -rf /",
    "x" * 500,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_with_colons_dots_slashes_brackets_and_worse(name):
    others = [other for other in HOSTILE if other != name]
    nodes = [helper.make_node("Identity", ["x"], [other]) for other in others]
    nodes += [helper.make_node("Neg", ["x"], [name]), helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)]
    model = opened(model_of(nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 3])}, {"w": W}))
    for text in {f"{name}[0]", f"{name}:0"} - set(others):
        target, value = score(model, text)
        assert (target.tensor, target.index, value) == (name, (0,), -2.0)
    if name not in {"285", "top"}:
        assert score(model, name)[1] == -1.5


def test_a_number_and_top_mean_a_class_also_where_a_tensor_is_called_so():
    nodes = [
        helper.make_node("Neg", ["x"], ["1"]),
        helper.make_node("Neg", ["x"], ["top"]),
        helper.make_node("Gemm", ["x", "w"], ["y"], transB=1),
    ]
    model = opened(model_of(nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 3])}, {"w": W}))
    assert score(model, 1)[0].tensor == score(model, "top")[0].tensor == "y"


POOLED = model_of(
    [helper.make_node("GlobalAveragePool", ["x"], ["y"])],
    {"x": (FLOAT, ["n", 2, 2, 2])},
    {"y": (FLOAT, ["n", 2, 1, 1])},
)


def test_channels_and_neurons_average_over_the_axes_without_an_index():
    model, x = opened(POOLED), np.array([0, 1, 2, 3, 8, 9, 12, 15], np.float32).reshape(1, 2, 2, 2)
    means = {"x[1]": 11, "x[1,0]": 8.5, "x[1,1,0]": 12, "x[-1, -1, -1]": 15, "x[:,0,1]": 5, "x[:,:,0]": 5.5, "x": 6.25}
    assert {text: score(model, text, x)[1] for text in means} == means


@pytest.mark.parametrize("index", ["2", "-3", "0,2", "0,0,0,0", f"{10**11}"])
def test_an_index_outside_the_tensor_is_refused_with_its_shape(index):
    with pytest.raises(SettingError, match=r"outside tensor 'x'(?s:.)*\[2, 2, 2\]"):
        resolve(f"x[{index}]", opened(POOLED), {"x": np.zeros((1, 2, 2, 2), np.float32)})


@pytest.mark.parametrize(
    ("axis", "shape", "labels"),
    [(-1, [2, 2, 3], ()), (3, [2, 2, 3], ()), (None, [1, 1, 3], ()), (None, [2, 2, 3], LABELS), (1, [3, 2, 2], ())],
)
def test_classes_are_found_on_the_axis_where_they_are(axis, shape, labels):
    nodes = [helper.make_node("Neg", ["x"], ["z"])]
    nodes += [
        helper.make_node("Identity", ["z"], ["y"])
        if axis is None
        else helper.make_node("Softmax", ["z"], ["y"], axis=axis)
    ]
    model = opened(model_of(nodes, {"x": (FLOAT, ["n", *shape])}, {"y": (FLOAT, ["n", *shape])}), labels=labels)
    x = np.zeros((1, *shape), np.float32)
    classes = 1 + shape.index(3)
    np.moveaxis(x, classes, 0)[2] = -1.0
    assert score(model, "top", x)[0].index == (*[None] * (classes - 1), 2)
    assert [score(model, k, x)[1] for k in range(3)] == [0.0, 0.0, 1.0]


def test_a_tensor_without_a_batch_axis_is_indexed_whole():
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)]
    proto = model_of(nodes, {"x": (FLOAT, [3, 2, 2])}, {"y": (FLOAT, [2])}, {"axes": np.array([0, 2], np.int64)})
    model, x = opened(proto), np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    assert [score(model, text, x)[1] for text in ("y[1]", "x[2,0,1]", "x[2]", "0", "top")] == [39, 9, 9.5, 27, 39]
    with pytest.raises(SettingError, match=r"outside tensor 'x'"):
        resolve("x[0,0,0,0]", model, model.check(x))


def test_integers_can_be_explained_and_text_cannot():
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=INT),
        helper.make_node("Cast", ["x"], ["s"], to=TensorProto.STRING),
    ]
    model = opened(
        model_of(nodes, {"x": (FLOAT, ["n", 2])}, {"i": (INT, ["n", 2]), "s": (TensorProto.STRING, ["n", 2])})
    )
    assert score(model, "i:top")[1] == 2.0
    for text in ("s[0]", "s", "s:1"):
        with pytest.raises(SettingError, match="tensor 's' holds text, not numbers"):
            resolve(text, model, X)
    with pytest.raises(ModelError, match="no output of this model holds floating-point scores"):
        resolve("top", model, X)


def test_elements_of_detections_that_another_input_lacks():
    nodes = [helper.make_node("NonZero", ["x"], ["found"]), helper.make_node("Cast", ["found"], ["boxes"], to=FLOAT)]
    model = opened(model_of(nodes, {"x": (FLOAT, [1, 2])}, {"boxes": (FLOAT, [2, "found"])}))
    target, value = score(model, "boxes[1,1]", np.ones((1, 2), np.float32))
    assert value == 1
    with pytest.raises(ModelError, match=re.escape("'boxes' has no element [1, 1] for this input")):
        target.scores(np.zeros((1, 2, 0)))
    with pytest.raises(ModelError, match=re.escape("'boxes' has no element [1] for this input")):
        Target("boxes[1]", "boxes", (1,)).scores(np.zeros((1, 2, 0)))


def test_scores_are_means_in_double_precision():
    rows = np.full((2, 3, 100, 100), 0.1, np.float32)
    assert Target("", "t", (1,)).scores(rows).dtype == np.float64
    assert np.array_equal(Target("", "t", (1,)).scores(rows), np.full(2, np.float64(np.float32(0.1))))
