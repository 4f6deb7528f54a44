"""Groups of columns: named by the user or the spec, or found as blocks of one-hot columns."""

import numpy as np
import pytest

from onnxplain.engine.errors import SettingError
from onnxplain.engine.masking.choose import resolve_features
from onnxplain.engine.masking.groups import one_hot_blocks
from onnxplain.engine.masking.layout import masked_inputs

NAMES = (
    "age",
    "colour_red",
    "colour_blue",
    "home_type_flat",
    "home_type_house",
    "home_size_s",
    "home_size_m",
    "plan=a",
)
HOT = np.array(
    [[40, 1, 0, 0, 1, 1, 0, 1], [31, 0, 1, 1, 0, 1, 0, 1], [22, 0, 1, 0, 1, 0, 1, 0], [1, 1, 0, 1, 0, 0, 1, 0]],
    np.float32,
)


def table(make, names=NAMES, feed=HOT[:1], **spec):
    return make(("x", feed), spec={"x": {"modality": "table", "columns": names, **spec}})


def groups_of(features):
    return {name: np.flatnonzero(features.labels["x"].ravel() == k).tolist() for k, name in enumerate(features.names)}


def test_columns_of_a_group_are_one_feature_and_the_others_one_each(make):
    features = resolve_features({"home": ["home_size_m", "age"], "colours": ("colour_blue",)}, *table(make))
    assert groups_of(features) == {
        "home": [0, 6],
        "colour_red": [1],
        "colours": [2],
        "home_type_flat": [3],
        "home_type_house": [4],
        "home_size_s": [5],
        "plan=a": [7],
    }
    assert features.kind == "groups"


def test_groups_may_span_inputs(make):
    model, sample = make(
        ("width", np.ones((1, 1))), ("name", np.array([["a"]], dtype=object)), ("height", np.ones((1, 1)))
    )
    features = resolve_features({"size": ["height", "width"]}, model, sample)
    assert features.names == ("size", "name")
    assert {name: labels.tolist() for name, labels in features.labels.items()} == {
        "width": [[0]],
        "name": [[1]],
        "height": [[0]],
    }


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"g": ["agee"]}, "names a column 'agee', which does not exist"),
        ({"g": ["age"], "h": ["age"]}, "column 'age' is named twice: in group 'g' and in group 'h'"),
        ({"g": ["age", "age"]}, "named twice"),
    ],
)
def test_wrong_members_are_named(make, groups, words):
    with pytest.raises(SettingError, match=words):
        resolve_features(groups, *table(make))


def test_one_hot_blocks_are_found_by_their_names_and_by_their_ones(make):
    inputs = masked_inputs(*table(make))
    assert one_hot_blocks(inputs, {"x": HOT}) == {
        "colour": ("colour_red", "colour_blue"),
        "home_type": ("home_type_flat", "home_type_house"),
        "home_size": ("home_size_s", "home_size_m"),
    }


@pytest.mark.parametrize(
    ("row", "lost"),
    [
        ([1, 1, 1, 0, 1, 1, 0, 1], "colour"),
        ([1, 1, 0, 0, 0, 1, 0, 1], "home_type"),
        ([1, 1, 0, 0, 1, 2, -1, 1], "home_size"),
    ],
)
def test_one_row_without_exactly_one_1_is_enough_to_be_no_block(make, row, lost):
    inputs = masked_inputs(*table(make))
    found = one_hot_blocks(inputs, {"x": np.concatenate([HOT, [row]])})
    assert lost not in found
    assert len(found) == 2
    inputs = masked_inputs(*table(make, feed=np.array([row], np.float32)))
    assert lost not in one_hot_blocks(inputs, {"x": HOT})


def test_equals_signs_separate_too_and_inputs_of_one_column_make_blocks(make):
    arrays = [("colour=red", np.array([[1]])), ("colour=blue", np.array([[0]])), ("age", np.array([[3.5]]))]
    inputs = masked_inputs(*make(*arrays))
    rows = {"colour=red": np.array([[0], [1]]), "colour=blue": np.array([[1], [0]]), "age": np.ones((2, 1))}
    assert one_hot_blocks(inputs, rows) == {"colour": ("colour=red", "colour=blue")}


def test_word_groups_takes_those_of_the_spec_and_finds_the_others(make, tmp_path):
    np.save(tmp_path / "bg.npy", HOT)
    case = make(
        ("x", HOT[:1]),
        spec={"x": {"modality": "table", "columns": NAMES, "groups": {"dwelling": ("home_size_s", "home_size_m")}}},
        background="bg.npy",
        source=tmp_path / "spec.toml",
    )
    features = resolve_features("groups", *case)
    assert groups_of(features) == {"age": [0], "colour": [1, 2], "home_type": [3, 4], "dwelling": [5, 6], "plan=a": [7]}


def test_word_groups_says_where_none_are_found(make, tmp_path):
    with pytest.raises(SettingError, match="the spec names none, and no background data") as caught:
        resolve_features("groups", *table(make))
    assert "features={'size'" in caught.value.tip
    np.save(tmp_path / "bg.npy", np.full((3, 8), 0.5, np.float32))
    case = make(
        ("x", HOT[:1]),
        spec={"x": {"modality": "table", "columns": NAMES}},
        background="bg.npy",
        source=tmp_path / "spec.toml",
    )
    with pytest.raises(SettingError, match="no one-hot columns were found"):
        resolve_features("groups", *case)


def test_groups_of_an_image_are_refused(make):
    with pytest.raises(SettingError, match="need a table"):
        resolve_features({"g": ["a"]}, *make(("x", np.zeros((1, 3, 8, 8), np.float32))))
