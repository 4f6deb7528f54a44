import numpy as np
import pytest

from onnxplain.engine.errors import InputError, SettingError
from onnxplain.engine.masking.baselines import Baseline
from onnxplain.engine.masking.choose import resolve_baseline

IMAGE = np.array([[[[1, 2], [3, 6]], [[10, 10], [20, 40]]]], np.float32)
NCHW = {"x": {"modality": "image", "layout": "NCHW"}}


def resolve(setting, case, seed=0):
    return resolve_baseline(setting, *case, seed=seed)


@pytest.fixture
def image(make):
    return make(("x", IMAGE), spec=NCHW)


@pytest.fixture
def table(make, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"{n},{n * n}\n" for n in range(201)))
    spec = {"x": {"modality": "table", "columns": ("a", "b")}}
    array = np.zeros((1, 2), np.float32)
    return make(("x", array), spec=spec, background="rows.csv", source=tmp_path / "model.toml")


@pytest.fixture
def bare(make):
    return make(("x", np.zeros((1, 3), np.float32)))


def test_auto_is_zero_without_background_data(image, bare):
    for case in (image, bare):
        baseline = resolve("auto", case)
        assert (baseline.name, baseline.count, baseline.reduce) == ("zero", 1, "mean")
        assert not baseline.references["x"].any()
        assert baseline.references["x"].shape == case[1].feeds["x"].shape


def test_auto_is_the_background_of_a_table(table):
    baseline = resolve("auto", table)
    assert baseline.name == "background:100"
    assert baseline.references["x"].shape == (100, 2)
    assert np.array_equal(baseline.references["x"][:, 0] ** 2, baseline.references["x"][:, 1])


def test_background_rows_are_drawn_by_the_seed(table):
    first, again, other = (resolve("background:20", table, seed).references["x"] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.all(np.diff(first[:, 0]) > 0)
    assert resolve("background:5000", table).count == 201


def test_statistics_of_a_table_are_those_of_all_its_background(table):
    assert resolve("mean", table).references["x"].tolist() == [[100, np.float32(2_686_700 / 201)]]
    assert resolve("median", table).references["x"].tolist() == [[100, 10_000]]
    quantiles = resolve("quantiles", table)
    assert quantiles.references["x"].tolist() == [[50, 2500], [100, 10_000], [150, 22_500]]
    assert quantiles.reduce == "largest-effect"


@pytest.mark.parametrize("word", ["mean", "median", "quantiles", "noise", "noise:0.1"])
def test_statistics_of_a_table_need_background_data(bare, word):
    with pytest.raises(SettingError, match=f"baseline '{word}' of the table in input 'x' needs background data"):
        resolve(word, bare)


def test_background_needs_a_file(bare):
    with pytest.raises(SettingError, match="this model has no background data") as caught:
        resolve("background", bare)
    assert 'background = "rows.csv"' in caught.value.tip


@pytest.mark.parametrize("number", [0.5, 10, np.float32(0.5), np.array(-3.0), np.int64(4)])
def test_number_is_in_the_models_units(image, number):
    baseline = resolve(number, image)
    assert np.all(baseline.references["x"] == number)
    assert baseline.references["x"].dtype == np.float32
    assert baseline.name == f"constant {float(number):g}"


def test_number_for_whole_numbers_must_be_whole(make):
    case = make(("ids", np.array([[5, 6, 7]])))
    assert resolve(3.0, case).references["ids"].tolist() == [[3, 3, 3]]
    with pytest.raises(SettingError, match=r"input 'ids': int64 \(1, 3\) \(F\) cannot hold the baseline 0.5"):
        resolve(0.5, case)


def test_words_for_images(image):
    assert resolve("mean", image).references["x"][0, :, 0, 0].tolist() == [3, 20]
    assert resolve("median", image).references["x"][0, :, 0, 0].tolist() == [2.5, 15]
    assert resolve("quantiles", image).references["x"][:, :, 0, 0].tolist() == [[1.75, 10], [2.5, 15], [3.75, 25]]
    assert resolve("blur:1", image).name == "blur:1"
    assert resolve("blur", image).references["x"][0, 0] == pytest.approx(np.full((2, 2), 3), abs=1e-4)
    assert resolve("inpaint", image).references["x"].shape == IMAGE.shape


@pytest.mark.parametrize("word", ["blur", "blur:3", "inpaint"])
def test_words_for_images_say_what_works_for_tables(table, word):
    with pytest.raises(SettingError, match=f"baseline '{word}' needs an image") as caught:
        resolve(word, table)
    assert caught.value.tip == "for tables use 'background', 'quantiles', 'mean', a number or an array"


def test_noise_has_the_mean_and_deviation_of_each_channel(make):
    array = np.random.default_rng(0).normal(size=(1, 2, 100, 100))
    array[:, 1] = 5 + 3 * array[:, 1]
    case = make(("x", array), spec=NCHW)
    noise = resolve("noise", case).references["x"]
    assert noise.mean(axis=(2, 3)) == pytest.approx(np.array([[0, 5]]), abs=0.1)
    assert noise.std(axis=(2, 3)) == pytest.approx(np.array([[1, 3]]), rel=0.05)
    assert np.array_equal(noise, resolve("noise", case).references["x"])
    assert not np.array_equal(noise, resolve("noise", case, seed=1).references["x"])
    narrow = resolve("noise:0.1", case).references["x"]
    assert narrow.std(axis=(2, 3)) == pytest.approx(np.array([[0.1, 0.1]]), rel=0.05)


def test_noise_is_the_same_in_every_dtype(make):
    array = np.arange(48.0).reshape(1, 3, 4, 4)
    double, single = (resolve("noise", make(("x", array.astype(t)))).references["x"] for t in (np.float64, np.float32))
    assert np.array_equal(double.astype(np.float32), single)


def test_words_for_bytes_give_bytes(make):
    case = make(("x", np.array([[[[0, 5], [250, 255]]]], np.uint8)), spec=NCHW)
    assert resolve("mean", case).references["x"].ravel().tolist() == [128] * 4
    for word in ("noise", "noise:1000", "blur:1", "inpaint", "quantiles"):
        assert resolve(word, case).references["x"].dtype == np.uint8


def test_arrays(bare):
    assert resolve([1, 2, 3], bare).references["x"].tolist() == [[1, 2, 3]]
    assert resolve(np.zeros((4, 3)), bare).count == 4
    with pytest.raises(InputError, match=r"input 'x' holds inf at \[0, 1\]"):
        resolve([1, np.inf, 3], bare)
    with pytest.raises(SettingError, match=r"shape \(2,\) does not fit input 'x'"):
        resolve([1, 2], bare)


def test_file_of_rows(bare, tmp_path):
    np.save(tmp_path / "rows.npy", np.arange(900.0).reshape(300, 3))
    baseline = resolve(str(tmp_path / "rows.npy"), bare)
    assert (baseline.name, baseline.count) == ("rows.npy", 100)
    assert np.all(np.diff(baseline.references["x"][:, 0]) > 0)
    (tmp_path / "rows.csv").write_text("a,b,c\n1,2,3\n")
    assert resolve(tmp_path / "rows.csv", bare).references["x"].tolist() == [[1, 2, 3]]


def test_dict_repeats_single_references(make):
    case = make(("x", np.zeros((1, 2))), ("y", np.zeros((1, 1))))
    baseline = resolve({"x": [[1, 2], [3, 4]], "y": 9}, case)
    assert baseline.references["x"].tolist() == [[1, 2], [3, 4]]
    assert baseline.references["y"].tolist() == [[9], [9]]
    assert baseline.name == "x: array, y: constant 9"
    with pytest.raises(SettingError, match="different numbers of references") as caught:
        resolve({"x": np.zeros((2, 2)), "y": np.zeros((3, 1))}, case)
    assert caught.value.where == "'x' 2, 'y' 3"


def test_input_that_a_dict_leaves_out_has_no_stand_in(make):
    case = make(("x", np.zeros((1, 2))), ("y", np.zeros((1, 1))))
    assert list(resolve({"y": 1}, case).references) == ["y"]
    assert list(resolve("zero", case).references) == ["x", "y"]


def test_two_ways_of_using_references_cannot_be_mixed(make):
    case = make(("x", IMAGE), ("y", np.zeros((1, 1))), spec=NCHW)
    assert resolve({"x": "quantiles", "y": 1}, case).reduce == "largest-effect"
    with pytest.raises(SettingError, match="some references are to be averaged"):
        resolve({"x": "quantiles", "y": np.zeros((3, 1))}, case)


def test_same_background_rows_stand_in_for_all_inputs(make, tmp_path):
    (tmp_path / "rows.csv").write_text("age,fare\n" + "".join(f"{n},{-n}\n" for n in range(50)))
    case = make(
        ("age", np.zeros((1, 1))), ("fare", np.zeros((1, 1))), background="rows.csv", source=tmp_path / "model.toml"
    )
    for setting in ("background:7", {"age": "background:7", "fare": "background:7"}):
        references = resolve(setting, case).references
        assert len(references["age"]) == 7
        assert np.array_equal(references["age"], -references["fare"])


@pytest.fixture
def text(make):
    return make(("sex", np.array([["f"]], dtype=object)), ("age", np.zeros((1, 1))))


@pytest.mark.parametrize("setting", ["auto", "zero", 0])
def test_text_needs_text(text, setting):
    with pytest.raises(SettingError, match=r"input 'sex': string \(1, 1\) \(F\) takes text") as caught:
        resolve(setting, text)
    assert "a dict by input name with a text" in caught.value.tip


def test_text_stands_for_itself_in_a_dict(text):
    baseline = resolve({"sex": "unknown", "age": 30}, text)
    assert baseline.references["sex"].tolist() == [["unknown"]]
    assert resolve({"sex": ""}, text).references["sex"].tolist() == [[""]]
    for word in ("zero", "mean"):
        with pytest.raises(SettingError, match="text"):
            resolve({"sex": word}, text)
    assert resolve({"sex": [["mean"], ["f"]]}, text).references["sex"].tolist() == [["mean"], ["f"]]


def test_averages_of_token_codes_are_refused(make):
    with pytest.raises(SettingError, match="baseline 'mean' needs numbers that can be averaged"):
        resolve("mean", make(("input_ids", np.array([[5, 6, 7]]))))


@pytest.mark.parametrize(
    "setting", [None, True, b"0", object(), {}, float("nan"), 10**400, "meen", "zero:1", [[1], []]]
)
def test_what_is_no_baseline_is_refused(bare, setting):
    with pytest.raises(SettingError):
        resolve(setting, bare)


def test_baseline_is_taken_once_it_fits(bare):
    given = Baseline("mine", {"x": np.ones((4, 3))}, "largest-effect")
    baseline = resolve(given, bare)
    assert (baseline.name, baseline.count, baseline.reduce) == ("mine", 4, "largest-effect")
    assert baseline.references["x"].dtype == np.float32
    with pytest.raises(SettingError, match=r"references of shape \(4, 2\) do not fit input 'x'"):
        resolve(Baseline("mine", {"x": np.ones((4, 2))}), bare)
    with pytest.raises(InputError, match="inf"):
        resolve(Baseline("mine", {"x": np.full((1, 3), np.inf)}), bare)


def test_baselines_of_different_lengths_are_refused(make):
    case = make(("x", np.zeros((1, 2))), ("y", np.zeros((1, 1))))
    with pytest.raises(SettingError, match="different numbers of references"):
        resolve(Baseline("mine", {"x": np.zeros((2, 2)), "y": np.zeros((1, 1))}), case)
