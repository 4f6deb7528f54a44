"""Targets: what a text means for real graphs, and the number that it stands for."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain import ModelError, ModelSpec, SettingError, Target
from onnxplain.engine.target import class_of, resolve
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


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (2, 2),
        ("2", 2),
        (" 0 ", 0),
        (np.int64(1), 1),
        ("tabby, tabby cat", 0),
        ("tabby cat", 0),
        ("TABBY", 0),
        ("tiger", 1),
        ("n01: fish", 2),
        ("top", 0),
        ("", 0),
    ],
)
def test_a_class_by_number_or_by_any_form_of_its_label(text, place):
    target, value = score(opened(affine(W, B), labels=LABELS), text)
    assert (target.tensor, target.index, target.label) == ("y", (place,), LABELS[place])
    assert value == pytest.approx(LOGITS[place])


@pytest.mark.parametrize("text", ["3", "-1", 10**11, "9" * 5000])
def test_a_class_that_is_not_there_is_refused(text):
    with pytest.raises(SettingError, match=r"no class|no labels are known"):
        resolve(text, opened(affine(W, B)), X)


def test_of_classes_with_equal_scores_the_first_is_the_top():
    target, _ = score(opened(affine(np.ones((3, 2)), np.array([0, 1, 1]))), "top")
    assert target.index == (1,)


def test_labels_that_several_classes_have_are_refused_but_for_an_exact_one():
    labels = ("crane", "Crane", "drake", "drake")
    assert class_of("Crane", labels) == 1
    with pytest.raises(SettingError, match="2 classes are called 'CRANE': 0, 1"):
        class_of("CRANE", labels)
    with pytest.raises(SettingError, match="2 classes are called 'drake': 2, 3"):
        class_of("drake", labels)
    with pytest.raises(SettingError, match="did you mean 'drake'"):
        class_of("drak", labels)
    with pytest.raises(SettingError, match="did you mean 'tabby'"):
        class_of("taby", LABELS)


def test_the_default_target_of_the_spec_stands_for_top():
    target, value = score(opened(affine(W, B), labels=LABELS, target="Tiger"), "top")
    assert (target.text, target.index, value) == ("Tiger", (1,), 2.0)


@pytest.mark.parametrize(
    ("activation", "space", "after"),
    [
        ("Softmax", "probability", np.exp(LOGITS) / np.exp(LOGITS).sum()),
        ("LogSoftmax", "log-probability", np.log(np.exp(LOGITS) / np.exp(LOGITS).sum())),
        ("Sigmoid", "probability", 1 / (1 + np.exp(-np.array(LOGITS)))),
    ],
)
def test_classes_are_explained_before_the_final_activation_unless_the_probability_is_asked_for(
    activation, space, after
):
    model = opened(affine(W, B, activation=activation), labels=LABELS)
    for text, place in {"top": 0, "1": 1, "tiger": 1, "n01: fish": 2}.items():
        before, value = score(model, text)
        assert (before.tensor, before.space, before.index) == ("z", "logit", (place,))
        assert value == pytest.approx(LOGITS[place])
        kept, value = score(model, f"probability:{text}")
        assert (kept.tensor, kept.space, kept.index, kept.label) == ("y", space, (place,), LABELS[place])
        assert value == pytest.approx(after[place], rel=1e-5)


def test_scores_have_no_probability():
    with pytest.raises(SettingError, match="no final Softmax or Sigmoid"):
        resolve("probability:1", opened(affine(W, B)), X)


@pytest.mark.parametrize("axes", [["n"], ["n", 1]])
def test_a_single_number_per_row_is_class_0(axes):
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=len(axes) - 1)]
    proto = model_of(nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, axes)}, {"axes": np.array([1], np.int64)})
    model = opened(proto, task="regression")
    assert [score(model, text)[1] for text in ("top", "0", 0, "y", "y:0", "")] == [3.0] * 6
    with pytest.raises(SettingError, match="a single one, number 0"):
        resolve("1", model, X)


@pytest.mark.parametrize("shape", [(1, 2), (2,)])
def test_the_only_score_of_a_two_class_model_is_that_of_the_second_class(shape):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Sigmoid", ["z"], ["p"])]
    out = ["n", 1] if len(shape) == 2 else ["n"]
    proto = model_of(nodes, {"x": (FLOAT, ["n", 2])}, {"p": (FLOAT, out)}, {"w": np.ones(shape[::-1], np.float32)})
    model = opened(proto, labels=("no", "yes"))
    for text in ("top", "yes", 0):
        target, value = score(model, text)
        assert (target.label, target.space, value) == ("yes", "logit", 3.0)
    assert score(model, "probability:yes")[1] == pytest.approx(1 / (1 + np.exp(-3)))
    with pytest.raises(SettingError, match="a single score, that of class 'yes'"):
        resolve("no", model, X)


def test_labels_that_do_not_fit_the_output_are_not_guessed_with():
    model = opened(affine(W, B), labels=("a", "b"))
    assert score(model, 1)[0].label == ""
    with pytest.raises(SettingError, match="one of 2 labels, but the output has 3 classes"):
        resolve("b", model, X)


def as_skl2onnx_writes_it(labels):
    """A logistic regression: the label as text, and the probabilities by label in a ZipMap."""
    ml, kind = "ai.onnx.ml", "classlabels_strings" if isinstance(labels[0], str) else "classlabels_int64s"
    options = {"coefficients": W.ravel().tolist(), "intercepts": B.tolist(), "post_transform": "SOFTMAX"}
    options["classlabels_strings" if kind.endswith("strings") else "classlabels_ints"] = labels
    nodes = [
        helper.make_node("LinearClassifier", ["x"], ["label", "p"], domain=ml, multi_class=1, **options),
        helper.make_node("Normalizer", ["p"], ["probabilities"], domain=ml, norm="L1"),
        helper.make_node("ZipMap", ["probabilities"], ["output_probability"], domain=ml, **{kind: labels}),
    ]
    text = TensorProto.STRING if kind.endswith("strings") else INT
    outputs = {"label": (text, [None]), "output_probability": (FLOAT, None)}
    proto = model_of(nodes, {"x": (FLOAT, [None, 2])}, outputs, domains={ml: 3})
    by_label = helper.make_map_type_proto(text, helper.make_tensor_type_proto(FLOAT, []))
    proto.graph.output[1].type.CopyFrom(helper.make_sequence_type_proto(by_label))
    return proto


@pytest.mark.parametrize("labels", [["setosa", "versicolor", "virginica"], [10, 20, 30]])
def test_scikit_learn_classifiers_have_labels_and_probabilities(labels):
    model = opened(as_skl2onnx_writes_it(labels))
    expected = np.exp(LOGITS) / np.exp(LOGITS).sum()
    assert score(model, "top")[0].label == str(labels[0])
    assert score(model, "2")[1] == pytest.approx(LOGITS[2], abs=1e-6)
    for text in ("probability:2", "output_probability:2", "probabilities[2]", "p[2]"):
        assert score(model, text)[1] == pytest.approx(expected[2], abs=1e-6)
    named = {"virginica": LOGITS[2], "Virginica": LOGITS[2], "probabilities:virginica": expected[2]}
    for text, wanted in named.items() if isinstance(labels[0], str) else ():
        target, value = score(model, text)
        assert (target.index, target.label, value) == ((2,), "virginica", pytest.approx(wanted, abs=1e-6))
    with pytest.raises(SettingError, match="no class 30" if labels[0] == 10 else "no class 'setosas'"):
        resolve("30" if labels[0] == 10 else "setosas", model, X)


@pytest.mark.parametrize(
    ("text", "message", "tip"),
    [
        ("zz[0]", "no tensor 'zz'", "known: "),
        ("lgits:2", "no tensor 'lgits'", "did you mean 'logits'"),
        ("tigr", "no class 'tigr'", "did you mean 'Tiger'"),
        ("probabilty:1", "no tensor 'probabilty'", "did you mean 'probability'"),
        ("\x1b[2Jcat", r"no class '\x1b[2Jcat'", ""),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(text, message, tip):
    nodes = [helper.make_node("Gemm", ["x", "w"], ["logits"], transB=1)]
    proto = model_of(nodes, {"x": (FLOAT, ["n", 2])}, {"logits": (FLOAT, ["n", 3])}, {"w": W})
    with pytest.raises(SettingError) as caught:
        resolve(text, opened(proto, labels=LABELS), X)
    assert message in str(caught.value)
    assert tip in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 6


def test_a_model_that_gives_nothing_but_nan_has_no_top_class():
    model = opened(
        model_of([helper.make_node("Log", ["x"], ["y"])], {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 2])})
    )
    with pytest.raises(ModelError, match="no finite number"):
        resolve("top", model, {"x": -np.ones((1, 2), np.float32)})


def test_a_resolved_target_stays_as_it_is():
    target = Target("tabby", "y", (2,), "tabby")
    assert resolve(target, opened(affine(W, B)), X) is target
    assert str(target) == "tabby"
    assert str(Target("2", "y", (2,), "tabby")) == "2 (tabby)"
