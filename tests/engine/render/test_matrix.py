"""Matrices of tokens: their numbers, names and marks, and what is said of them."""

import numpy as np
import pytest

from onnxplain.engine.errors import SettingError
from onnxplain.engine.explanation import Explanation
from onnxplain.engine.inputs.sample import Sample, SplitText
from onnxplain.engine.render import figure, png

WORDS = ("[CLS]", "a", "$cat$", "sits")
MATRIX = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.0, 0.5, 0.5, 0.0], [0.25, 0.25, 0.25, 0.25]])


def explanation(method="attention-rollout", tokens=WORDS, **extras):
    values = {"ids": MATRIX[:1]}
    text = SplitText("ids", "", tokens, ((0, 0),) * len(tokens))
    sample = Sample({"ids": np.arange(4)[None]}, modality="text", texts=(text,))
    given = extras or {"matrix": MATRIX, "rows": np.array([2]), "tokens": MATRIX[2]}
    return Explanation(values, method, {}, "0", 1.5, evaluations=1, extras=given, sample=sample)


def drawn(found, **options):
    made = figure(found, mode="matrix", **options)
    axes = next(a for a in made.axes if a.images)
    return made, axes


def test_rows_are_queries_and_columns_are_keys():
    _, axes = drawn(explanation())
    assert np.array_equal(axes.images[0].get_array(), MATRIX)
    assert axes.images[0].get_extent()[2] > axes.images[0].get_extent()[3]  # the first row is at the top


def test_tokens_have_their_names_on_both_sides():
    _, axes = drawn(explanation())
    for axis in (axes.xaxis, axes.yaxis):
        assert tuple(label.get_text() for label in axis.get_ticklabels()) == WORDS


def test_explained_rows_are_marked():
    _, axes = drawn(explanation())
    (mark,) = axes.texts
    assert mark.xyann[1] == 2
    _, axes = drawn(explanation(matrix=MATRIX, rows=np.arange(4)))
    assert not axes.texts  # all of them: none stands out


def test_attention_is_not_said_to_raise_the_score():
    made, _ = drawn(explanation())
    told = " ".join(text.get_text() for text in made.texts)
    assert "Attention tells what is read, not whether it raises the score." in told
    assert "raises the score, blue" not in told


def test_an_input_is_chosen_by_name():
    wide = np.tile(MATRIX, (1, 2))
    found = explanation(**{"matrix of ids": MATRIX, "matrix of image": wide, "rows of image": np.array([0])})
    assert drawn(found)[1].images[0].get_array().shape == (4, 4)
    made, axes = drawn(found, input_name="image")
    assert axes.images[0].get_array().shape == (4, 8)
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(k) for k in range(8)]
    assert any("columns: tokens of image that are read" in text.get_text() for text in made.texts)
    with pytest.raises(SettingError, match="no matrix of tokens of 'imagf'"):
        drawn(found, input_name="imagf")


def test_many_tokens_are_numbered_now_and_then():
    large = np.random.default_rng(0).uniform(size=(197, 197))
    _, axes = drawn(explanation(matrix=large, rows=np.array([0])))
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:3] == ["0", "17", "34"]
    assert len(labels) < 15


def test_what_has_no_other_picture_gets_its_matrix():
    made = figure(explanation(tokens=()))
    assert any(a.images and a.images[0].get_array().shape == (4, 4) for a in made.axes)


def test_the_same_explanation_gives_the_same_bytes():
    assert png(explanation(), mode="matrix") == png(explanation(), mode="matrix")


def test_methods_without_a_matrix_say_so():
    with pytest.raises(SettingError, match="'rise' gives no matrix of tokens"):
        drawn(explanation("rise", other=MATRIX))
    with pytest.raises(SettingError, match="too small for a matrix"):
        drawn(explanation(), size=(2, 1.5))
