import numpy as np
import pytest
from PIL import Image

import onnxplain
from onnxplain.engine.errors import SettingError
from onnxplain.engine.masking.choose import resolve_baseline, resolve_features
from onnxplain.engine.masking.features import Features

NOISE = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
PHOTO = np.zeros((1, 3, 20, 30), np.float32)
TABLE = {"modality": "table", "columns": ("age", "fare")}


@pytest.fixture
def photo(make):
    return make(("x", PHOTO), image=NOISE, image_input="x")


@pytest.fixture
def row(make):
    return make(("x", np.zeros((1, 3))))


@pytest.fixture
def mixed(make):
    return make(("picture", PHOTO), ("person", np.zeros((1, 2))), spec={"person": TABLE})


def test_auto_cuts_a_picture_into_superpixels(photo):
    features = resolve_features("auto", *photo)
    assert features.kind == "superpixels"
    assert features.labels["x"].shape == (1, 1, 20, 30)
    assert features.names[:2] == ("superpixel 0", "superpixel 1")
    assert 25 <= features.size <= 75


def test_auto_cuts_an_image_without_picture_into_a_grid(make):
    features = resolve_features("auto", *make(("x", PHOTO)))
    assert (features.kind, features.size) == ("grid", 49)
    small = resolve_features("auto", *make(("x", np.zeros((1, 3, 5, 9), np.float32))))
    assert small.names[-1] == "row 4, column 6"


def test_auto_takes_the_columns_of_a_table_and_the_elements_of_everything_else(make, row):
    assert resolve_features("auto", *row).kind == "columns"
    numbers = {"x": {"modality": "array"}}
    features = resolve_features("auto", *make(("x", np.zeros((1, 2, 3))), ("y", np.zeros((1, 2, 2, 2))), spec=numbers))
    assert (features.kind, features.size) == ("elements", 14)
    assert features.names[5:7] == ("x[1,2]", "y[0,0,0]")


def test_auto_cuts_each_input_by_its_kind(mixed):
    features = resolve_features("auto", *mixed)
    assert (features.kind, features.size) == ("labels", 51)
    assert features.names[-3:] == ("row 6, column 6", "age", "fare")
    assert features.labels["person"].tolist() == [[49, 50]]


def test_words_for_images_leave_other_inputs_alone(mixed):
    for word, count in (("grid:2x3", 6), ("pixels", 600), ("channels", 3)):
        features = resolve_features(word, *mixed)
        assert (list(features.labels), features.size) == (["picture"], count)
    assert resolve_features("inputs", *mixed).names == ("picture", "person")
    assert resolve_features("elements", *mixed).size == 1802
    assert list(resolve_features("columns", *mixed).labels) == ["person"]


def test_superpixels_lie_on_the_axes_of_the_input(make):
    first = resolve_features("slic:9", *make(("x", PHOTO), image=NOISE, image_input="x"))
    array = np.zeros((1, 20, 30, 3), np.float32)
    last = resolve_features("slic:9", *make(("x", array), image=NOISE, image_input="x"))
    assert last.labels["x"].shape == (1, 20, 30, 1)
    assert np.array_equal(first.labels["x"].ravel(), last.labels["x"].ravel())


def test_superpixels_need_a_picture_of_the_right_size(make):
    with pytest.raises(SettingError, match="need the picture in input 'x', which only an array was given for"):
        resolve_features("slic", *make(("x", PHOTO)))
    with pytest.raises(SettingError, match=r"picture has the shape \(20, 30, 3\), input 'x' has the grid \(20, 31\)"):
        resolve_features("slic", *make(("x", np.zeros((1, 3, 20, 31), np.float32)), image=NOISE, image_input="x"))


@pytest.mark.parametrize("word", ["quickshift", "quickshift:2", "felzenszwalb", "felzenszwalb:10"])
def test_other_superpixels(photo, word):
    features = resolve_features(word, *photo)
    assert features.kind == "superpixels"
    assert features.names[0] == "superpixel 0"


@pytest.mark.parametrize(
    ("word", "wanted"), [("pixels", "an image or a series"), ("grid", "an image"), ("channels", "an input with chan")]
)
def test_words_that_do_not_fit_a_table_say_what_they_need(row, word, wanted):
    with pytest.raises(SettingError, match=f"features '{word}' need {wanted}") as caught:
        resolve_features(word, *row)
    assert caught.value.where == "'x': float64 (1, 3) (F)"


def test_columns_need_a_table(photo):
    with pytest.raises(SettingError, match="features 'columns' need a table"):
        resolve_features("columns", *photo)


@pytest.mark.parametrize(
    "labels", [[0, 0, 1], (0, 0, 1), [[0, 0, 1]], np.array([5.0, 5.0, 7.0]), np.array([[4, 4, 9]], np.uint8)]
)
def test_label_map_of_a_table(row, labels):
    features = resolve_features(labels, *row)
    assert features.labels["x"].tolist() == [[0, 0, 1]]
    assert features.kind == "labels"


def test_label_map_of_an_image_in_all_its_shapes(make):
    case = make(("x", np.zeros((1, 3, 2, 2), np.float32)))
    grid = np.array([[0, 1], [1, -1]])
    for labels in (grid, grid.tolist(), grid[None], grid[None, None]):
        assert resolve_features(labels, *case).labels["x"].tolist() == [[[[0, 1], [1, -1]]]]
    channels = resolve_features(np.array([0, 1, 1]).reshape(3, 1, 1), *case)
    assert channels.labels["x"].tolist() == [[[[0]], [[1]], [[1]]]]
    assert resolve_features(np.arange(12).reshape(3, 2, 2), *case).size == 12


def test_label_map_with_the_models_own_batch_axis(make):
    case = make(("x", np.zeros((1, 3, 2))), axes=1)
    expected = [[[0, 1], [0, 1], [2, 2]]]
    assert resolve_features([[[0, 1]], [[0, 1]], [[2, 2]]], *case).labels["x"].tolist() == expected
    assert resolve_features([[0, 1], [0, 1], [2, 2]], *case).labels["x"].tolist() == expected


@pytest.mark.parametrize("labels", [[0, 1], [[0, 1, 2], [0, 1, 2]], np.zeros((1, 1, 3), int), np.zeros((0, 3), int)])
def test_label_map_of_another_shape_is_refused_with_the_wanted_one(row, labels):
    with pytest.raises(SettingError, match="does not fit input 'x'") as caught:
        resolve_features(labels, *row)
    assert "it takes (3,) or (1, 3)" in caught.value.tip


@pytest.mark.parametrize(
    "setting", [None, True, b"grid", object(), {1, 2}, [[1], [2, 3]], {}, ["a", "b", "c"], 1j, 50, 0.5]
)
def test_what_is_no_label_map_is_refused(row, setting):
    with pytest.raises(SettingError):
        resolve_features(setting, *row)


def test_label_map_from_files(make, tmp_path):
    case = make(("x", np.zeros((1, 3, 2, 2), np.float32)))
    labels = np.array([[7, 7], [9, 9]], np.uint8)
    np.save(tmp_path / "map.npy", labels)
    Image.fromarray(labels).save(tmp_path / "map.PNG")
    for path in (tmp_path / "map.npy", str(tmp_path / "map.npy"), str(tmp_path / "map.PNG")):
        assert resolve_features(path, *case).labels["x"].tolist() == [[[[0, 0], [1, 1]]]]
    np.save(tmp_path / "map.npy", np.zeros((3, 3), int))
    with pytest.raises(SettingError, match=r"a label map of shape \(3, 3\) does not fit") as caught:
        resolve_features(str(tmp_path / "map.npy"), *case)
    assert caught.value.where.endswith("map.npy")


def test_same_label_in_two_inputs_is_the_same_feature(make):
    case = make(("x", np.zeros((1, 2))), ("y", np.zeros((1, 3))))
    features = resolve_features({"x": [4, 5], "y": [5, 5, -1]}, *case)
    assert features.labels["x"].tolist() == [[0, 1]]
    assert features.labels["y"].tolist() == [[1, 1, -1]]


def test_words_in_a_dict_make_features_of_their_own(mixed):
    features = resolve_features({"picture": "grid:1x2", "person": [3, 3]}, *mixed)
    assert features.names == ("row 0, column 0", "row 0, column 1", "feature 3")
    assert features.labels["person"].tolist() == [[2, 2]]


def test_input_that_a_dict_leaves_out_is_always_present(mixed):
    assert list(resolve_features({"person": "columns"}, *mixed).labels) == ["person"]


def test_unknown_input_of_a_dict_is_refused(mixed):
    with pytest.raises(SettingError, match="the model has no input 'persona'") as caught:
        resolve_features({"persona": "columns"}, *mixed)
    assert caught.value.tip == "did you mean 'person'?"


def test_lone_label_map_goes_to_the_only_input_that_it_fits(mixed, make):
    assert list(resolve_features([0, 1], *mixed).labels) == ["person"]
    assert list(resolve_features(np.zeros((20, 30), int), *mixed).labels) == ["picture"]
    twins = make(("x", np.zeros((1, 2))), ("y", np.zeros((1, 2))))
    with pytest.raises(SettingError, match=r"shape \(2,\) fits 2 of the inputs 'x', 'y'") as caught:
        resolve_features([0, 1], *twins)
    assert caught.value.tip == "give a dict of arrays by input name"


def test_features_are_taken_as_they_are_once_they_fit(row):
    features = Features(("a",), {"x": np.array([[0, 0, -1]])})
    assert resolve_features(features, *row) is features
    with pytest.raises(SettingError, match=r"labels of shape \(1, 2\) do not fit input 'x'"):
        resolve_features(Features(("a",), {"x": np.array([[0, 0]])}), *row)
    with pytest.raises(SettingError, match="no input 'y'"):
        resolve_features(Features(("a",), {"y": np.array([[0]])}), *row)


def test_scalar_inputs_cannot_be_masked(make):
    case = make(("x", np.zeros((1, 2))), ("scale", np.float64(2.0)))
    assert list(resolve_features("elements", *case).labels) == ["x"]
    with pytest.raises(SettingError, match="input 'scale' cannot be masked"):
        resolve_features({"scale": "elements"}, *case)


def test_real_model_scores_the_chosen_features():
    from onnxplain.engine.game import Game
    from onnxplain.engine.target import resolve

    model = onnxplain.load(onnxplain.models.path("digits-cnn"))
    array = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
    sample = onnxplain.Sample({"image": array})
    features = resolve_features("grid:2", model, sample)
    baseline = resolve_baseline("mean", model, sample, seed=0)
    game = Game(model, sample, resolve("logits:3", model, sample.feeds), features, baseline)
    coalitions = np.array([[True, False, False, True], [False] * 4])
    masked = np.full((2, 1, 8, 8), array.mean(dtype=np.float64), np.float32)
    masked[0, :, :4, :4] = array[0, :, :4, :4]
    masked[0, :, 4:, 4:] = array[0, :, 4:, 4:]
    expected = model.activations({"image": masked}, ["logits"])["logits"][:, 3]
    assert game(coalitions) == pytest.approx(expected, rel=1e-5)
