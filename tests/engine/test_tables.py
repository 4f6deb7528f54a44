"""Tables from end to end: mixed columns, missing values, background rows and their weights, groups, through the API."""

import math
from itertools import combinations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain import InputError, SettingError
from onnxplain.engine.masking.baselines import Baseline
from onnxplain.engine.spec import ModelSpec
from onnxplain.engine.specs.reading import read_spec
from onnxplain.engine.specs.toml import to_toml
from small_graphs import affine, model_of
from table_graphs import KINDS, contributions, pipeline, probabilities, xgboost_like

FLOAT = TensorProto.FLOAT
HEADER = "age,visits,colour,city\n"
ROWS = [(50.0, 6, "red", "Oslo"), (31.0, 1, "blue", ""), (np.nan, 9, "green", "Lima")]
BACKGROUND = [(20.0 + k, k % 7, ("blue", "green", "red")[k % 3], ("", "Lima", "Oslo")[k % 3 - 1]) for k in range(12)]
BACKGROUND[5] = (np.nan, *BACKGROUND[5][1:])
SPEC = 'task = "regression"\nlabels = ["price"]\nunit = "EUR"\nbackground = "bg.csv"\n'


def text(rows):
    return HEADER + "".join(",".join("" if str(v) == "nan" else str(v) for v in row) + "\n" for row in rows)


@pytest.fixture
def shop(tmp_path):
    """A model with an input per column, a file of rows beside it, and a file of background rows."""
    onnx.save(pipeline(), tmp_path / "shop.onnx")
    (tmp_path / "shop.toml").write_text(SPEC)
    (tmp_path / "rows.csv").write_text(text(ROWS))
    (tmp_path / "bg.csv").write_text(text(BACKGROUND))
    return tmp_path


def expected(row, background):
    """The price is a sum over columns, so every method that compares with a background gives this."""
    return contributions(*row) - np.mean([contributions(*other) for other in background], axis=0)


@pytest.mark.parametrize("method", ["occlusion", "ablation", "kernel-shap", "exact-shapley", "shapley"])
def test_each_method_finds_what_columns_of_mixed_types_add(shop, method):
    found = onnxplain.explain(shop / "shop.onnx", str(shop / "rows.csv"), method)
    for one, row in zip(found, ROWS, strict=True):
        assert one.feature_names == ("age", "visits", "colour", "city")
        np.testing.assert_allclose(one.feature_values, expected(row, BACKGROUND), atol=2e-6)
        assert one.score == pytest.approx(10 + contributions(*row).sum(), abs=1e-5)
        assert one.label == "price"
        assert {n: v.shape for n, v in one.values.items()} == dict.fromkeys(one.feature_names, (1, 1))


def test_rise_ranks_columns_and_names_them(shop):
    found = onnxplain.explain(shop / "shop.onnx", f"{shop}/rows.csv:0", "rise", masks=2000)
    assert found.feature_names == ("age", "visits", "colour", "city")
    truth = expected(ROWS[0], BACKGROUND)
    assert (found.feature_values.argmax(), found.feature_values.argmin()) == (truth.argmax(), truth.argmin())
    assert (found.feature_errors > 0).all()


def test_several_rows_equal_rows_one_by_one(shop):
    model = onnxplain.load(shop / "shop.onnx")
    together = onnxplain.explain(model, f"{shop}/rows.csv:1-2", "exact-shapley")
    for k, one in enumerate(together, 1):
        assert one == onnxplain.explain(model, f"{shop}/rows.csv:{k}", "exact-shapley")


def test_rows_of_a_file_are_a_baseline(shop):
    found = onnxplain.explain(shop / "shop.onnx", f"{shop}/rows.csv:0", "ablation", baseline=f"{shop}/bg.csv:2-6")
    np.testing.assert_allclose(found.feature_values, expected(ROWS[0], BACKGROUND[2:7]), atol=2e-6)
    one = onnxplain.explain(shop / "shop.onnx", f"{shop}/rows.csv:0", "ablation", baseline=f"{shop}/bg.csv:3")
    np.testing.assert_allclose(one.feature_values, expected(ROWS[0], BACKGROUND[3:4]), atol=2e-6)
    rest = onnxplain.explain(shop / "shop.onnx", f"{shop}/rows.csv:0", "ablation", baseline=f"{shop}/bg.csv:9-")
    np.testing.assert_allclose(rest.feature_values, expected(ROWS[0], BACKGROUND[9:]), atol=2e-6)
    for rows in ("9-12", "12-"):
        with pytest.raises(InputError, match="there is no row 12: this file has 12"):
            onnxplain.explain(shop / "shop.onnx", f"{shop}/rows.csv:0", "ablation", baseline=f"{shop}/bg.csv:{rows}")


def test_arrays_of_background_rows_can_be_chosen_too(tmp_path):
    np.save(tmp_path / "bg.npy", np.arange(30.0).reshape(10, 3))
    model = onnxplain.load(affine(np.array([[1.0, 2.0, 3.0]]), np.zeros(1)).SerializeToString())
    found = onnxplain.explain(model, np.ones((1, 3)), "ablation", baseline=f"{tmp_path}/bg.npy:1-2")
    np.testing.assert_allclose(found.feature_values, [1 - 4.5, 2 * (1 - 5.5), 3 * (1 - 6.5)], rtol=1e-5)
    rest = onnxplain.explain(model, np.ones((1, 3)), "ablation", baseline=f"{tmp_path}/bg.npy:8-")
    np.testing.assert_allclose(rest.feature_values, [1 - 25.5, 2 * (1 - 26.5), 3 * (1 - 27.5)], rtol=1e-5)
    for rows in ("10", "10-"):
        with pytest.raises(InputError, match="there is no row 10"):
            onnxplain.explain(model, np.ones((1, 3)), "ablation", baseline=f"{tmp_path}/bg.npy:{rows}")


def test_long_background_file_is_read_and_drawn_from_with_a_note(shop):
    many = [BACKGROUND[k % 12] for k in range(10_500)]
    (shop / "bg.csv").write_text(text(many))
    model = onnxplain.load(shop / "shop.onnx")
    drawn = onnxplain.explain(model, f"{shop}/rows.csv:0", "ablation", baseline="background:50")
    assert drawn.notes == ("baseline: 50 of 10,500 background rows, drawn by the seed",)
    assert drawn.evaluations == 1 + 4 * 50 + 50
    other = onnxplain.explain(model, f"{shop}/rows.csv:0", "ablation", baseline="background:50", seed=1)
    assert not np.array_equal(drawn.feature_values, other.feature_values)
    file = onnxplain.explain(model, f"{shop}/rows.csv:0", "ablation", baseline=f"{shop}/bg.csv")
    assert file.notes == ("baseline: 100 of 10,500 background rows, drawn by the seed",)


def test_background_file_is_read_anew_when_it_changes(shop):
    model = onnxplain.load(shop / "shop.onnx")
    onnxplain.explain(model, f"{shop}/rows.csv:0", "ablation")
    (shop / "bg.csv").write_text(text(BACKGROUND[:3]))
    found = onnxplain.explain(model, f"{shop}/rows.csv:0", "ablation")
    np.testing.assert_allclose(found.feature_values, expected(ROWS[0], BACKGROUND[:3]), atol=2e-6)


def test_most_frequent_text_stands_beside_the_median_of_numbers(shop):
    found = onnxplain.explain(shop / "shop.onnx", f"{shop}/rows.csv:0", "ablation", baseline="median")
    ages = [row[0] for row in BACKGROUND if not math.isnan(row[0])]
    visits = round(float(np.median([row[1] for row in BACKGROUND])))
    reference = (float(np.median(ages)), visits, "blue", "")
    np.testing.assert_allclose(found.feature_values, expected(ROWS[0], [reference]), atol=2e-6)


def test_kmeans_needs_numbers(shop):
    with pytest.raises(SettingError, match="baseline 'kmeans' needs numbers; input 'colour'") as caught:
        onnxplain.explain(shop / "shop.onnx", f"{shop}/rows.csv:0", "ablation", baseline="kmeans:3")
    assert "background:10" in caught.value.tip


@pytest.fixture
def clustered(tmp_path):
    """A model of three columns that is not linear, and background rows in clusters of 30, 10 and 20."""
    onnx.save(affine(np.array([[1.0, -2.0, 0.5]]), np.zeros(1), activation="Sigmoid"), tmp_path / "m.onnx")
    (tmp_path / "m.toml").write_text('background = "bg.npy"\n')
    rng = np.random.default_rng(0)
    centres = np.repeat([[0, 0, 0], [9, 0, 4], [0, 8, -5]], [30, 10, 20], axis=0)
    np.save(tmp_path / "bg.npy", (centres + rng.normal(0, 0.3, centres.shape)).astype(np.float32))
    return tmp_path


def weighted_shapley(value, size):
    """Shapley values by the definition."""
    phi = np.zeros(size)
    for i in range(size):
        rest = [j for j in range(size) if j != i]
        for s in range(size):
            for members in combinations(rest, s):
                weight = math.factorial(s) * math.factorial(size - s - 1) / math.factorial(size)
                phi[i] += weight * (value({*members, i}) - value(set(members)))
    return phi


def test_kmeans_averages_centres_by_the_sizes_of_their_clusters(clustered):
    x = np.array([[1.0, 2.0, 3.0]], np.float32)
    found = onnxplain.explain(clustered / "m.onnx", x, "exact-shapley", target="y[0]", baseline="kmeans:3")
    rows = np.load(clustered / "bg.npy").astype(np.float64)
    parts = [rows[:30], rows[30:40], rows[40:]]
    nearest = [[rows[np.abs(rows - part.mean(0)).argmin(0)[k], k] for k in range(3)] for part in parts]

    def value(members):
        score = 0.0
        for reference, part in zip(nearest, parts, strict=True):
            z = sum(w * (x[0, k] if k in members else reference[k]) for k, w in enumerate((1.0, -2.0, 0.5)))
            score += len(part) / 60 / (1 + math.exp(-z))
        return score

    np.testing.assert_allclose(found.feature_values, weighted_shapley(value, 3), atol=1e-6)
    assert found.baseline_score == pytest.approx(value(set()), abs=1e-6)
    assert found.notes[-1] == "baseline: 60 background rows, summarised by 3 weighted centres (k-means)"
    assert found.evaluations == 1 + 7 * 3


def test_kmeans_is_shaps(clustered):
    shap = pytest.importorskip("shap")
    rows = np.load(clustered / "bg.npy")
    theirs = shap.kmeans(rows, 4)
    model = onnxplain.load(clustered / "m.onnx")
    (sample,) = onnxplain.engine.explain.samples_of(model, rows[:1])
    ours = onnxplain.engine.masking.choose.resolve_baseline("kmeans:4", model, sample, seed=0)
    order, other = np.lexsort(ours.references["x"].T), np.lexsort(theirs.data.T)
    np.testing.assert_allclose(ours.references["x"][order], theirs.data[other], rtol=1e-6)
    np.testing.assert_allclose(ours.weights[order], theirs.weights[other], rtol=1e-6)


def test_weights_survive_saving_and_replay(clustered):
    weights = np.array([1.0, 3.0])
    baseline = Baseline("mine", {"x": np.array([[0, 0, 0], [1, 1, 1]], np.float32)}, weights=weights)
    x = np.array([[1.0, 2.0, 3.0]], np.float32)
    found = onnxplain.explain(clustered / "m.onnx", x, "ablation", target="y[0]", baseline=baseline)
    alone = [
        onnxplain.explain(clustered / "m.onnx", x, "ablation", target="y[0]", baseline=[[v, v, v]]).feature_values
        for v in (0.0, 1.0)
    ]
    np.testing.assert_allclose(found.feature_values, 0.25 * alone[0] + 0.75 * alone[1], atol=1e-7)
    loaded = onnxplain.Explanation.load(found.save(clustered / "e.npz"))
    assert loaded == found
    assert onnxplain.replay(loaded) == found


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [np.nan, 1.0], [[1.0, 1.0]]])
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(SettingError, match="weights of the baseline 'mine' must be 2 numbers from 0 on"):
        Baseline("mine", {"x": np.zeros((2, 3))}, weights=np.array(weights))


def test_weights_are_for_averages():
    with pytest.raises(SettingError, match="not for 'largest-effect'"):
        Baseline("mine", {"x": np.zeros((2, 3))}, "largest-effect", weights=np.ones(2))


def test_labels_of_another_number_than_the_classes_are_noted():
    spec = ModelSpec(labels=("a", "b", "c"))
    model = onnxplain.load(affine(np.eye(4), np.zeros(4)).SerializeToString(), spec=spec)
    found = onnxplain.explain(model, np.array([[1.0, 5.0, 0.0, 0.0]]), "ablation")
    assert (found.label, found.manifest["target_index"]) == ("", [1])
    assert found.notes == ("the spec names 3 classes, which is not how many the output has: they have numbers only",)
    fine = ModelSpec(labels=("a", "b", "c", "d"))
    model = onnxplain.load(affine(np.eye(4), np.zeros(4)).SerializeToString(), spec=fine)
    assert onnxplain.explain(model, np.array([[1.0, 5.0, 0.0, 0.0]]), "ablation").notes == ()
    assert onnxplain.explain(model, np.array([[1.0, 5.0, 0.0, 0.0]]), "ablation", target="y[0]").notes == ()


def test_the_same_tensor_twice_is_given_twice():
    model = onnxplain.load(xgboost_like().SerializeToString())
    x = np.array([[1.0, 2.0, 3.0]], np.float32)
    one, label, two = model.rows({"x": x}, ("probabilities", "label", "probabilities"))
    assert np.array_equal(one, two)
    assert label.shape == (1,)
    assert list(model.activations(x, ["label", "label"])) == ["label"]


def test_tip_for_an_unknown_tensor_names_probability_only_where_that_is_meant():
    model = onnxplain.load(affine(np.eye(2), np.zeros(2)).SerializeToString())
    with pytest.raises(SettingError) as caught:
        onnxplain.explain(model, np.zeros((1, 2)), "ablation", target="nothing:1")
    assert "probability" not in caught.value.tip
    with pytest.raises(SettingError) as caught:
        onnxplain.explain(model, np.zeros((1, 2)), "ablation", target="probabilty:1")
    assert "did you mean 'probability'" in caught.value.tip


def test_absent_may_mean_missing_where_the_model_knows_missing_values():
    model = onnxplain.load(xgboost_like().SerializeToString())
    x = np.array([[3.0, 2.0, 5.0]], np.float32)
    found = onnxplain.explain(model, x, "exact-shapley", target="probability:2", baseline="missing")

    def value(members):
        row = np.where(np.isin(np.arange(3), list(members)), x, np.nan)
        return float(probabilities(row)[0, 2])

    np.testing.assert_allclose(found.feature_values, weighted_shapley(value, 3), atol=1e-6)
    linear = onnxplain.load(affine(np.eye(3), np.zeros(3)).SerializeToString())
    with pytest.raises(InputError, match="the model gives no score without it"):
        onnxplain.explain(linear, x, "ablation", baseline="missing")
    with pytest.raises(SettingError, match="needs columns that can lack a value; input 'visits'"):
        onnxplain.explain(
            onnxplain.load(pipeline().SerializeToString()),
            dict(zip(KINDS, map(column, ROWS[0]), strict=True)),
            "ablation",
            baseline="missing",
        )


def column(value):
    kinds = {str: object, int: np.int64, float: np.float32}
    return np.array([[value]], dtype=kinds[type(value)])


def test_unit_of_a_regression_is_read_from_the_spec_and_written_back(tmp_path):
    spec = ModelSpec(task="regression", labels=("price",), unit='a "unit"')
    (tmp_path / "spec.toml").write_text(to_toml(spec))
    assert read_spec(tmp_path / "spec.toml") == spec


def test_columns_of_the_same_name_in_two_tables_carry_the_name_of_their_input():
    nodes = [helper.make_node("Concat", ["a", "b"], ["both"], axis=1), helper.make_node("Identity", ["both"], ["y"])]
    pair = {"a": (FLOAT, ["n", 3]), "b": (FLOAT, ["n", 2])}
    model = onnxplain.load(model_of(nodes, pair, {"y": (FLOAT, ["n", 5])}).SerializeToString())
    row = {"a": np.ones((1, 3), np.float32), "b": np.ones((1, 2), np.float32)}
    for method in ("ablation", "occlusion"):
        found = onnxplain.explain(model, row, method, target=0)
        assert found.feature_names == (*(f"a: column {k}" for k in range(3)), "b: column 0", "b: column 1")
