import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxplain.engine.errors import SettingError
from onnxplain.engine.masking import partitions
from onnxplain.engine.masking.layout import masked_inputs
from onnxplain.engine.spec import PRESETS


def only(case):
    (entry,) = masked_inputs(*case).values()
    return entry


sides = st.integers(1, 40)


@given(st.data(), sides, sides)
def test_grid_is_a_partition_into_cells_as_equal_as_possible(make, data, height, width):
    rows, columns = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    image = {"x": {"modality": "image", "layout": "NCHW"}}
    entry = only(make(("x", np.zeros((1, 3, height, width), np.float32)), spec=image))
    features = partitions.grid(entry, rows, columns)
    labels = features.labels["x"][0, 0]
    assert labels.shape == (height, width)
    assert np.array_equal(np.unique(labels), np.arange(rows * columns))
    heights = np.bincount(labels[:, 0] // columns)
    widths = np.bincount(labels[0] % columns)
    assert np.ptp(heights) <= 1
    assert np.ptp(widths) <= 1
    assert np.array_equal(labels, labels[:, :1] + labels[:1] - labels[0, 0])
    assert len(features.names) == rows * columns
    assert features.names[-1] == f"row {rows - 1}, column {columns - 1}"


def test_grid_by_hand(make):
    entry = only(make(("x", np.zeros((1, 3, 3, 5), np.float32))))
    assert partitions.grid(entry, 2, 3).labels["x"][0, 0].tolist() == [
        [0, 0, 1, 1, 2],
        [0, 0, 1, 1, 2],
        [3, 3, 4, 4, 5],
    ]


def test_grid_with_more_cells_than_pixels_is_refused(make):
    entry = only(make(("x", np.zeros((1, 3, 3, 5), np.float32))))
    with pytest.raises(SettingError, match="4 x 4 cells has more cells") as caught:
        partitions.grid(entry, 4, 4)
    assert "'grid:3x4' would do" in caught.value.tip


def test_pixels_share_their_channels_wherever_these_are(make):
    last = make(("x", np.zeros((1, 2, 2, 3), np.float32)), spec={"x": {"modality": "image", "layout": "NHWC"}})
    features = partitions.pixels(only(last))
    assert features.labels["x"].shape == (1, 2, 2, 1)
    assert features.labels["x"].ravel().tolist() == [0, 1, 2, 3]
    grey = make(("x", np.zeros((1, 2, 2), np.float32)), spec={"x": {"modality": "image", "layout": "NHW"}})
    features = partitions.pixels(only(grey))
    assert features.labels["x"].tolist() == [[[0, 1], [2, 3]]]
    assert features.kind == "pixels"


def test_channels_are_named_by_the_colours_of_the_spec(make):
    array = np.zeros((1, 2, 2, 3), np.float32)
    named = {"x": {"modality": "image", "layout": "NHWC", "preprocessing": PRESETS["imagenet"]}}
    features = partitions.channels(only(make(("x", array), spec=named)))
    assert features.names == ("channel R", "channel G", "channel B")
    assert features.labels["x"].tolist() == [[[[0, 1, 2]]]]
    assert partitions.channels(only(make(("x", array)))).names == ("channel 0", "channel 1", "channel 2")


def test_columns_of_a_group_are_one_feature(make):
    spec = {"x": {"modality": "table", "columns": ("age", "lat", "fare", "lon"), "groups": {"place": ("lat", "lon")}}}
    features = partitions.columns(only(make(("x", np.zeros((1, 4))), spec=spec)))
    assert features.names == ("age", "place", "fare")
    assert features.labels["x"].tolist() == [[0, 1, 2, 1]]


def test_group_with_the_name_of_another_column_stays_apart_from_it(make):
    spec = {"x": {"modality": "table", "columns": ("a", "b", "c"), "groups": {"a": ("b", "c")}}}
    features = partitions.columns(only(make(("x", np.zeros((1, 3))), spec=spec)))
    assert features.labels["x"].tolist() == [[0, 1, 1]]


def test_columns_without_names_are_numbered(make):
    assert partitions.columns(only(make(("x", np.zeros((1, 2)))))).names == ("column 0", "column 1")


def test_columns_take_the_names_in_the_sample(make):
    model, sample = make(("b", np.zeros((1, 1))), ("a", np.zeros((1, 2))), columns=("age", "fare", "sex"))
    inputs = masked_inputs(model, sample)
    assert partitions.columns(inputs["b"]).names == ("age",)
    assert partitions.columns(inputs["a"]).names == ("fare", "sex")


def test_inputs_of_one_value_each_are_columns_by_their_own_names(make):
    inputs = masked_inputs(*make(("age", np.zeros((1, 1))), ("fare", np.zeros((1,)))))
    assert partitions.columns(inputs["age"]).names == ("age",)
    assert partitions.columns(inputs["fare"]).labels["fare"].tolist() == [0]


def test_wrong_columns_and_groups_of_a_spec_are_refused(make):
    too_few = {"x": {"modality": "table", "columns": ("age",)}}
    with pytest.raises(SettingError, match="lists 1 columns for input 'x', which takes 2"):
        partitions.columns(only(make(("x", np.zeros((1, 2))), spec=too_few)))
    unknown = {"x": {"modality": "table", "groups": {"place": ("column 7",)}}}
    with pytest.raises(SettingError, match="group 'place' names a column 'column 7'") as caught:
        partitions.columns(only(make(("x", np.zeros((1, 2))), spec=unknown)))
    assert "column" in caught.value.tip


def test_array_is_no_row_of_columns(make):
    with pytest.raises(SettingError, match="not a row of columns"):
        partitions.columns(only(make(("x", np.zeros((1, 2, 3))))))
