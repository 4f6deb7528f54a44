import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxplain.engine.errors import SettingError
from onnxplain.engine.masking.features import ElementNames, Features, elements, from_labels, join


def test_masks_repeat_a_feature_over_its_elements():
    features = Features(("a", "b"), {"x": np.array([[0, 1, 0, -1]])})
    masks = features.expand(np.array([[True, False], [False, True]]))
    assert masks["x"].tolist() == [[True, False, True, True], [False, True, False, True]]


def test_one_feature_may_span_two_inputs():
    features = Features(("a", "b"), {"x": np.array([[0, 1]]), "y": np.array([[1]])})
    masks = features.expand(np.array([[0.25, 0.75]]))
    assert masks["x"].tolist() == [[0.25, 0.75]]
    assert masks["y"].tolist() == [[0.75]]


def test_masks_of_consecutive_labels_are_views_of_the_coalitions():
    coalitions = np.ones((3, 6), dtype=bool)
    features = elements({"x": (1, 2, 3)})
    mask = features.expand(coalitions)["x"]
    assert mask.shape == (3, 2, 3)
    assert np.shares_memory(mask, coalitions)


def test_values_are_spread_over_the_elements_of_their_feature():
    features = Features(("a", "b"), {"x": np.array([[[0, 1]], [[1, -1]]]).reshape(1, 2, 2)})
    values = features.scatter(np.array([2.0, 5.0]), {"x": (1, 2, 2), "y": (1, 3)})
    assert values["x"].tolist() == [[[2.0, 5.0], [5.0, 0.0]]]
    assert values["y"].tolist() == [[0.0, 0.0, 0.0]]


def test_gaps_and_labels_out_of_range_are_refused():
    with pytest.raises(SettingError, match="feature 1 covers no element"):
        Features(("a", "b", "c"), {"x": np.array([[0, 2]])})
    with pytest.raises(SettingError, match="run from 0 to 3"):
        Features(("a", "b"), {"x": np.array([[0, 3]])})
    with pytest.raises(SettingError, match="run from -2 to 1"):
        Features(("a", "b"), {"x": np.array([[0, 1, -2]])})
    with pytest.raises(SettingError, match="float64"):
        Features(("a",), {"x": np.array([[0.0]])})


def test_any_labels_are_renumbered_in_order():
    features = from_labels({"x": np.array([[30, 7, 7, -5]]), "y": np.array([[7, 10**12]])})
    assert features.names == ("feature 7", "feature 30", f"feature {10**12}")
    assert features.labels["x"].tolist() == [[1, 0, 0, -1]]
    assert features.labels["y"].tolist() == [[0, 2]]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.array([[0.5, 1.0]]), "0.5 is a feature label of input 'x'"),
        (np.array([[np.nan, 1.0]]), "nan is a feature label"),
        (np.array([[0.0, np.inf]]), "inf is a feature label"),
        (np.array([[0.0, 2.0**63]]), "is a feature label"),
        (np.array([[2**63]], dtype=np.uint64), "9223372036854775808 is a feature label"),
        (np.array([["a"]]), "are <U1"),
        (np.array([[1j]]), "are complex128"),
        (np.array([[-1, -3]]), "every label is negative"),
        (np.zeros((1, 0)), "every label is negative"),
    ],
)
def test_labels_that_are_no_whole_numbers_are_refused(labels, said):
    with pytest.raises(SettingError, match=said):
        from_labels({"x": labels})


def test_whole_floats_and_booleans_are_labels():
    assert from_labels({"x": np.array([[2.0, -1.0, 4.0]])}).labels["x"].tolist() == [[0, -1, 1]]
    assert from_labels({"x": np.array([[True, False]])}).labels["x"].tolist() == [[1, 0]]


def test_elements_are_numbered_over_all_inputs():
    features = elements({"x": (1, 2, 2), "y": (1, 3)})
    assert features.labels["x"].tolist() == [[[0, 1], [2, 3]]]
    assert features.labels["y"].tolist() == [[4, 5, 6]]
    assert features.names == ("x[0,0]", "x[0,1]", "x[1,0]", "x[1,1]", "y[0]", "y[1]", "y[2]")
    assert features.kind == "elements"


def test_shared_axis_makes_positions_the_features():
    features = elements({"x": (1, 3, 2, 2)}, {"x": 1})
    assert features.labels["x"].shape == (1, 1, 2, 2)
    assert features.names == ("[0,0]", "[0,1]", "[1,0]", "[1,1]")
    assert features.kind == "pixels"


def test_element_of_an_input_with_rows_alone_has_a_name():
    assert elements({"x": (1,), "y": (1,)}).names == ("x[0]", "y[0]")


shapes = st.dictionaries(
    st.text("ab{}[]", max_size=3), st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=3
)


@given(shapes, st.integers(-200, 200), st.slices(20))
def test_names_spelled_on_demand_behave_like_a_tuple(shapes, index, part):
    names = ElementNames(shapes)
    spelled = tuple(names)
    assert names == spelled
    assert spelled == names
    assert hash(names) == hash(spelled)
    assert len(names) == len(spelled) == sum(int(np.prod(s)) for s in shapes.values())
    assert names[part] == spelled[part]
    if -len(spelled) <= index < len(spelled):
        assert names[index] == spelled[index]
    else:
        with pytest.raises(IndexError):
            names[index]
    assert names != (*spelled, "more")
    assert names != list(spelled)


def test_names_of_an_image_cost_nothing_until_they_are_looked_at():
    names = elements({"x": (1, 3, 224, 224)}).names
    assert len(names) == 150_528
    assert names[150_527] == "[2,223,223]"
    assert repr(names) == "('[0,0,0]', '[0,0,1]', '[0,0,2]', ... 150528 names)"


def test_parts_are_numbered_one_after_the_other():
    first = Features(("a", "b"), {"x": np.array([[0, 1, -1]])}, "columns")
    second = Features(("c",), {"y": np.array([[0, -1]])}, "columns")
    joined = join([first, second])
    assert joined.names == ("a", "b", "c")
    assert joined.labels["x"].tolist() == [[0, 1, -1]]
    assert joined.labels["y"].tolist() == [[2, -1]]
    assert joined.kind == "columns"


def test_equal_names_of_two_inputs_are_told_apart():
    parts = [Features(("row 0",), {name: np.array([[0]])}, "grid") for name in ("left", "right")]
    assert join(parts).names == ("left: row 0", "right: row 0")
    assert join([elements({"x": (1, 1)}), elements({"y": (1, 1)})]).names == ("x[0]", "y[0]")


def test_joint_kind_says_whether_names_are_worth_showing():
    grid = Features(("cell",), {"x": np.array([[0]])}, "grid")
    columns = Features(("age",), {"y": np.array([[0]])}, "columns")
    assert join([grid, columns]).kind == "labels"
    assert join([grid, elements({"y": (1, 2)})]).kind == "elements"
