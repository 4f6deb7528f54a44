import numpy as np
import pytest

from onnxplain.engine.errors import SettingError
from onnxplain.engine.masking.layout import masked_inputs
from onnxplain.engine.specs.inference import complete_spec


def test_axes_follow_the_feed_whose_batch_axis_is_first(make):
    spec = {"x": {"modality": "series", "layout": "TNC"}}
    model, sample = make(("x", np.zeros((1, 5, 2))), axes=1, spec=spec)
    entry = masked_inputs(model, sample)["x"]
    assert entry.letters == ".TC"
    assert entry.is_series
    assert entry.axes("TC") == (1, 2)


def test_model_without_batch_axis_has_one_more_axis_in_the_engine(make):
    model, sample = make(("x", np.zeros((1, 1, 3, 4, 5), np.float32)), axes=None)
    entry = masked_inputs(model, sample)["x"]
    assert entry.letters == "..CHW"
    assert entry.grid == (4, 5)
    assert entry.place(np.zeros((1, 3, 4, 5))).shape == (1, 1, 3, 4, 5)
    assert entry.place(np.zeros((7, 1, 3, 4, 5))).shape == (7, 1, 3, 4, 5)


def test_array_of_the_models_own_shape_is_moved_to_the_feed(make):
    model, sample = make(("x", np.zeros((1, 5, 2))), axes=1)
    entry = masked_inputs(model, sample)["x"]
    array = np.arange(30.0).reshape(5, 3, 2)
    assert np.array_equal(entry.place(array), array.transpose(1, 0, 2))
    assert entry.place(np.zeros((5, 2))).shape == (1, 5, 2)
    assert entry.wanted == "(5, 2) or (5, 1, 2)"


@pytest.mark.parametrize(
    ("layout", "shape", "wanted"),
    [
        ("NCHW", (1, 3, 2, 4), (1, 1, 2, 4)),
        ("NHWC", (1, 2, 4, 3), (1, 2, 4, 1)),
        ("NHW", (1, 2, 4), (1, 2, 4)),
        ("NWHC", (1, 4, 2, 3), (1, 4, 2, 1)),
    ],
)
def test_height_and_width_are_enough_for_an_image(make, layout, shape, wanted):
    model, sample = make(("x", np.zeros(shape, np.float32)), spec={"x": {"modality": "image", "layout": layout}})
    entry = masked_inputs(model, sample)["x"]
    grid = np.arange(8).reshape(2, 4)
    placed = entry.place(grid)
    assert placed.shape == wanted
    assert np.array_equal(placed.squeeze(), grid.T if layout == "NWHC" else grid)


@pytest.mark.parametrize("shape", [(3, 2), (4, 2), (2, 3, 2, 2), (1, 1, 1, 1, 1), (0, 3, 2, 2), (1, 3, 2, 3)])
def test_other_shapes_do_not_fit(make, shape):
    model, sample = make(("x", np.zeros((1, 3, 2, 2), np.float32)))
    placed = masked_inputs(model, sample)["x"].place(np.zeros(shape))
    assert placed is None or shape == (2, 3, 2, 2)


def test_scalars_and_inputs_that_are_the_same_for_all_rows_are_left_out(make):
    model, sample = make(("x", np.zeros((1, 2))), ("scale", np.float64(2.0)))
    assert list(masked_inputs(model, sample)) == ["x"]
    fixed = type(model.inputs[0])("anchors", np.dtype(float), (4,), None)
    model = type(model)((*model.inputs, fixed), complete_spec(model.spec, (*model.inputs, fixed)))
    sample.feeds["anchors"] = np.zeros(4)
    assert list(masked_inputs(model, sample)) == ["x"]


def test_model_of_scalars_has_nothing_to_mask(make):
    model, sample = make(("scale", np.float64(2.0)))
    with pytest.raises(SettingError, match="no input of this model can be masked"):
        masked_inputs(model, sample)


def test_layout_of_another_rank_is_refused(make):
    model, sample = make(("x", np.zeros((1, 3, 2))), spec={"x": {"modality": "image", "layout": "NCHW"}})
    with pytest.raises(SettingError, match="layout 'NCHW' of input 'x' has 4 axes, the input has 3"):
        masked_inputs(model, sample)


def test_the_shorter_axis_of_a_series_holds_its_channels_unless_the_spec_says_otherwise(make):
    array = np.zeros((1, 3, 100), np.float32)
    assert masked_inputs(*make(("x", array)))["x"].letters == ".CT"
    described = make(("x", array), spec={"x": {"modality": "series", "layout": "NTC"}})
    assert masked_inputs(*described)["x"].letters == ".TC"
