import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onnxplain
from onnxplain import InputSpec, ModelSpec, SettingError
from onnxplain.engine.perturbation.lime import Lime
from onnxplain.engine.perturbation.table_rows import Column, TableRows
from onnxplain.engine.problem import Problem
from onnxplain.engine.target import Target
from oracles.graphs import linear
from small_graphs import affine

COLUMNS = ("age", "income", "sex", "flag")
HERE = [40.0, 2.5, 1.0, 0.0]
WEIGHTS = (0.5, -2.0, 3.0, 1.0)


@pytest.fixture
def background():
    """Ages even from 0 to 99, incomes normal, sexes three to one, a flag that is always 0."""
    rng = np.random.default_rng(0)
    columns = [np.arange(100), rng.normal(3, 2, 100), np.arange(100) % 4 == 0, np.zeros(100)]
    return np.column_stack(columns).astype(np.float32).astype(float)


@pytest.fixture
def model(tmp_path, background):
    """A linear model of four columns, with background data in its spec."""
    path = tmp_path / "linear.onnx"
    path.write_bytes(linear(WEIGHTS, 10.0))
    rows = "\n".join(",".join(f"{v:.9g}" for v in row) for row in background)
    (tmp_path / "rows.csv").write_text(",".join(COLUMNS) + "\n" + rows + "\n")
    path.with_suffix(".toml").write_text(
        f'background = "rows.csv"\n[inputs.x]\nmodality = "table"\ncolumns = {list(COLUMNS)}\n'
        'categories = { sex = ["male", "female"] }\n'.replace("'", '"')
    )
    return onnxplain.load(path)


def rows_around(model, way, row=HERE):
    sample = onnxplain.Sample({"x": np.array([row], np.float32)}, "table", columns=COLUMNS)
    return TableRows.around(Problem(model, sample, Target("y", "y", (0,)), method="lime"), way)


def test_ranges_and_categories_are_named(model):
    quartiles = np.quantile(np.arange(100), [0.25, 0.5, 0.75])
    assert quartiles.tolist() == [24.75, 49.5, 74.25]
    names = rows_around(model, "quartiles").names
    assert names[0] == "24.75 < age <= 49.5"
    assert names[2:] == ("sex = female", "flag = 0")
    assert rows_around(model, "quartiles", [10, 99, 0, 0]).names[0] == "age <= 24.75"
    assert rows_around(model, "quartiles", [80, 99, 0, 0]).names[0] == "age > 74.25"
    assert rows_around(model, "quartiles", [80, 99, 0, 0]).names[1].startswith("income > ")


def test_drawn_values_are_the_backgrounds_and_regressors_tell_where_they_lie(model, background):
    around = rows_around(model, "quartiles")
    x, feeds = around.draw(np.random.default_rng(1), 4000)
    rows = feeds["x"]
    assert rows.shape == (4000, 4)
    for k in range(4):
        values = np.append(background[:, k].astype(np.float32), np.float32(HERE[k]))
        assert np.isin(rows[:, k], values).all()
    np.testing.assert_array_equal(x[:, 0], (rows[:, 0] > 24.75) & (rows[:, 0] <= 49.5))
    edges = np.quantile(background[:, 1].astype(np.float32), [0.25, 0.5, 0.75])
    np.testing.assert_array_equal(x[:, 1], np.searchsorted(edges, rows[:, 1]) == np.searchsorted(edges, 2.5))
    np.testing.assert_array_equal(x[:, 2], rows[:, 2] == 1)
    assert x[:, 3].all()
    assert x[:, 0].mean() == pytest.approx(0.25, abs=0.03)
    assert x[:, 2].mean() == pytest.approx(0.25, abs=0.03)
    assert abs(np.corrcoef(x[:, 0], x[:, 1])[0, 1]) < 0.05  # columns are drawn independently


def test_normal_draws_spread_like_the_background_around_the_row(model, background):
    around = rows_around(model, "normal")
    spread = background[:, :2].std(axis=0)
    assert around.names[0] == f"age per {spread[0]:.3g}"
    assert around.names[2] == "sex = female"
    assert around.first().tolist() == [[0, 0, 1, 1]]
    x, feeds = around.draw(np.random.default_rng(1), 6000)
    rows = feeds["x"].astype(float)
    np.testing.assert_allclose(rows[:, :2], np.array(HERE[:2]) + x[:, :2] * spread, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(x[:, :2].mean(axis=0), 0, atol=0.06)
    np.testing.assert_allclose(x[:, :2].std(axis=0), 1, atol=0.04)
    kurtosis = (x[:, :2] ** 4).mean(axis=0)
    np.testing.assert_allclose(kurtosis, 3, atol=0.4)
    np.testing.assert_array_equal(around.changed(x)[:, 2], 1 - x[:, 2])


@given(st.integers(1, 40))
def test_draws_do_not_depend_on_how_many_are_drawn_at_a_time(length):
    sample = onnxplain.Sample({"x": np.array([HERE], np.float32)}, "table", columns=COLUMNS)
    spec = ModelSpec(inputs={"x": InputSpec("x", "table", columns=COLUMNS)})
    opened = onnxplain.load(linear(WEIGHTS), spec=spec)
    references = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    problem = Problem(opened, sample, Target("y", "y", (0,)), baseline_setting=references)
    around = TableRows.around(problem, "normal")
    rng, whole = np.random.default_rng(3), np.random.default_rng(3)
    parts = [around.draw(rng, min(length, 40 - k)) for k in range(0, 40, length)]
    x, feeds = around.draw(whole, 40)
    np.testing.assert_array_equal(np.concatenate([p[0] for p in parts]), x)
    np.testing.assert_array_equal(np.concatenate([p[1]["x"] for p in parts]), feeds["x"])


def test_linear_model_gives_its_slopes_per_standard_deviation(model, background):
    found = onnxplain.explain(
        model, np.array([HERE], np.float32), "lime", table="normal", penalty=0, samples=500, target=0
    )
    spread = background.std(axis=0)
    np.testing.assert_allclose(found.feature_values[:2], np.array(WEIGHTS[:2]) * spread[:2], rtol=1e-3)
    assert found.feature_values[2] == pytest.approx(3.0, rel=1e-3)  # from male to female
    assert found.extras["local_r2"] == pytest.approx(1, abs=1e-6)
    assert found.score == pytest.approx(np.dot(WEIGHTS, HERE) + 10)
    assert found.extras["local_prediction"] == pytest.approx(found.score, rel=1e-4)
    assert found.baseline_score is None
    assert found.evaluations == 500


def test_quarters_of_a_linear_model_are_worth_the_difference_of_their_means(model, background):
    """In: the mean of the row's quarter; out: the mean of the other rows. The kernel is flat for so wide a width."""
    found = onnxplain.explain(
        model, np.array([HERE], np.float32), "lime", penalty=0, samples=20_000, width=1e3, target=0
    )
    inside = (background[:, 0] > 24.75) & (background[:, 0] <= 49.5)
    expected = 0.5 * (background[inside, 0].mean() - background[~inside, 0].mean())
    assert abs(found.feature_values[0] - expected) < 3 * found.feature_errors[0] + 0.15
    assert found.feature_values[2] == pytest.approx(3, abs=3 * found.feature_errors[2] + 0.1)
    assert found.feature_values[3] == pytest.approx(0, abs=1e-9)
    assert found.feature_names[0] == "24.75 < age <= 49.5"


def test_a_baseline_that_is_asked_for_masks_columns(model):
    x = np.array([HERE], np.float32)
    masked = onnxplain.explain(model, x, "lime", baseline=0, penalty=0, target=0)
    assert masked.feature_names == COLUMNS
    np.testing.assert_allclose(masked.feature_values, np.multiply(WEIGHTS, HERE), atol=1e-4)
    assert onnxplain.explain(model, x, "lime", samples=50, target=0).feature_names != COLUMNS
    assert onnxplain.explain(model, x, "lime", table="on-off", samples=50, target=0).feature_names == COLUMNS


def test_groups_of_columns_are_drawn_together():
    spec = ModelSpec(inputs={"x": InputSpec("x", "table", columns=COLUMNS, groups={"person": ("age", "sex")})})
    references = np.column_stack([np.arange(8), np.arange(8) * 10, np.arange(8) % 2, np.arange(8)]).astype(np.float32)
    opened = onnxplain.load(linear(WEIGHTS), spec=spec)
    sample = onnxplain.Sample({"x": references[:1]}, "table", columns=COLUMNS)
    problem = Problem(opened, sample, Target("y", "y", (0,)), features_setting="columns", baseline_setting=references)
    around = TableRows.around(problem, "normal")
    person = next(k for k, name in enumerate(around.names) if name.startswith("person"))
    x, feeds = around.draw(np.random.default_rng(0), 500)
    rows = feeds["x"]
    np.testing.assert_array_equal(rows[:, 0] % 2, rows[:, 2])
    np.testing.assert_array_equal(x[:, person], (rows[:, 0] <= np.quantile(np.arange(8), 0.25)) & (rows[:, 2] == 0))


def test_missing_values_and_texts_are_places_of_their_own():
    values = np.array([1, 2, np.nan, 4, 5, 6, np.nan, 8, 9], np.float32)
    same, name = Column("x", 0, "age", float("nan"), values).same()
    assert (same.tolist(), name) == (np.isnan(values).tolist(), "age is missing")
    same, name = Column("x", 0, "age", 1.0, values).same()
    assert name == "age <= 3"  # the lower quartile of those that are known
    assert same.tolist() == [True, True, *[False] * 7]
    towns = np.array(["Bonn", "Rome", "", "Bonn"], dtype=object)
    same, name = Column("x", 0, "town", "Bonn", towns).same()
    assert (same.tolist(), name) == ([True, False, False, True], "town = Bonn")
    assert Column("x", 0, "town", "", towns).same()[0].tolist() == [False, False, True, False]


def test_a_value_that_the_background_lacks_is_still_drawn():
    values = np.array([0, 0, 0, 1], np.float32)
    spec = ModelSpec(inputs={"x": InputSpec("x", "table", columns=("a",))})
    opened = onnxplain.load(linear((1.0,)), spec=spec)
    sample = onnxplain.Sample({"x": np.full((1, 1), 7, np.float32)}, "table", columns=("a",))
    problem = Problem(opened, sample, Target("y", "y", (0,)), baseline_setting=values[:, None])
    around = TableRows.around(problem, "quartiles")
    x, feeds = around.draw(np.random.default_rng(0), 400)
    assert around.names == ("a = 7",)
    np.testing.assert_array_equal(x[:, 0] == 1, feeds["x"][:, 0] == 7)
    assert 0 < x.mean() < 0.4


def test_whole_numbers_stay_whole():
    graph = affine(np.ones((1, 2)), np.zeros(1))
    graph.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    graph.graph.node.insert(0, onnx.helper.make_node("Cast", ["x"], ["xf"], to=onnx.TensorProto.FLOAT))
    graph.graph.node[1].input[0] = "xf"
    opened = onnxplain.load(
        graph.SerializeToString(), spec=ModelSpec(inputs={"x": InputSpec("x", "table", columns=("a", "b"))})
    )
    references = np.random.default_rng(0).integers(0, 50, size=(40, 2))
    row = np.array([[20, 30]])
    found = onnxplain.explain(opened, row, "lime", table="normal", baseline=references, penalty=0, samples=300)
    np.testing.assert_allclose(found.feature_values, references.std(axis=0), rtol=1e-5)


def test_one_background_row_is_too_few(model):
    with pytest.raises(SettingError, match="background data of 4 rows or more"):
        onnxplain.explain(model, np.array([HERE], np.float32), "lime", table="quartiles", baseline=1.0, target=0)
    with pytest.raises(SettingError, match="cosine is for masked features"):
        onnxplain.explain(model, np.array([HERE], np.float32), "lime", distance="cosine", target=0)


def test_lime_package_finds_the_same_quarters(model, background):
    """Values within a quarter differ (a truncated normal there, the background's own here), not what they say."""
    lime_tabular = pytest.importorskip("lime.lime_tabular")
    peer = lime_tabular.LimeTabularExplainer(
        background, feature_names=list(COLUMNS), categorical_features=[2, 3], mode="regression", random_state=0
    )
    found = onnxplain.explain(model, np.array([HERE], np.float32), "lime", target=0, samples=5000)
    theirs = peer.explain_instance(
        np.array(HERE), lambda rows: rows @ np.array(WEIGHTS) + 10, num_features=4, num_samples=5000
    )
    names = {name.replace(".00", ""): value for name, value in theirs.as_list()}
    assert "24.75 < age <= 49.50" in names
    mine = dict(zip(found.feature_names, found.feature_values.tolist(), strict=True))
    assert mine["24.75 < age <= 49.5"] == pytest.approx(names["24.75 < age <= 49.50"], abs=0.8)
    assert mine["sex = female"] == pytest.approx(names["sex=1"], abs=0.8)
    assert Lime().penalty is None


def test_drawn_rows_are_replayed_bit_for_bit(model, tmp_path):
    found = onnxplain.explain(model, np.array([HERE], np.float32), "lime", target=0, samples=300, select=2, seed=4)
    again = onnxplain.replay(onnxplain.Explanation.load(found.save(tmp_path / "lime.npz")))
    assert again == found
    assert "2 of 4 features chosen; the others are set to 0" in found.notes
    assert (found.feature_errors == 0).sum() == 2


def test_one_hot_columns_are_named_by_their_category():
    names = ("age", "town_bonn", "town_rome")
    spec = ModelSpec(inputs={"x": InputSpec("x", "table", columns=names, groups={"town": ("town_bonn", "town_rome")})})
    references = np.array([(k, k % 2, 1 - k % 2) for k in range(12)], np.float32)
    opened = onnxplain.load(linear((1, 2, 5)), spec=spec)
    found = onnxplain.explain(
        opened, references[:1], "lime", target=0, baseline=references, features="columns", table="quartiles", penalty=0
    )
    assert found.feature_names[1] == "town = rome"
    assert found.feature_values[1] == pytest.approx(3, abs=3 * found.feature_errors[1])
    assert "town = rome" in [t.get_text() for t in found.plot().texts]
