import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from sklearn.inspection import partial_dependence
from sklearn.linear_model import LogisticRegression

import onnxplain
from effect_models import COLUMNS, TOWNS, classifier, opened, products
from onnxplain import InputError, InputSpec, ModelSpec, SettingError
from oracles.graphs import linear, model, random_dense, relu_of
from small_graphs import model_of

NAME = "partial-dependence"
ROW_224 = np.array([(5, 1, 0), (6, 2, 0), (7, 4, 0)], np.float32)


def row_224():
    """f(x) = x1 x2 + x1 + x2."""
    return opened(products((1, 1, 0), [(0, 1)]), task="regression")


def row_225():
    """f(x) = relu(x1 - x2)."""
    return opened(relu_of((1, -1, 0), 0, (0, 0, 0)), task="regression")


def test_row_224_mean_and_spread():
    grid = {"columns": "age", "values": [0, 1, 2]}
    found = onnxplain.analyse(row_224(), ROW_224, NAME, **grid)
    np.testing.assert_allclose(found.arrays["mean/0"], [[2.33333, 5.66667, 9]], atol=1e-5)
    np.testing.assert_allclose(found.arrays["single/0"], [[1, 3, 5], [2, 5, 8], [4, 9, 14]])
    counted = onnxplain.analyse(row_224(), ROW_224, NAME, centre="first", **grid)
    np.testing.assert_allclose(counted.arrays["mean/0"], [[0, 3.33333, 6.66667]], atol=1e-5)
    np.testing.assert_allclose(counted.arrays["spread/0"], [[0, 1.24722, 2.49444]], atol=1e-5)
    assert found.evaluations == 9
    assert found.rows[0][:1] == ("age",)
    assert found.rows[0][3:] == ("0", "2")


def test_row_225_kink():
    rows = np.array([(0, -1, 0), (0, 1, 0), (0, 3, 0)], np.float32)
    found = onnxplain.analyse(row_225(), rows, NAME, columns="age", values=[0, 2, 4])
    np.testing.assert_allclose(found.arrays["mean/0"], [[1 / 3, 4 / 3, 3]], rtol=1e-6)


@pytest.mark.parametrize("points", [4, 30])
def test_scikit_learn_agrees(points):
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=(120, 2)), rng.integers(0, 3, 120)]).astype(np.float32)
    fitted = LogisticRegression().fit(rows, rng.integers(0, 3, 120) + (rows[:, 0] > 0))
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"], transB=1),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    weights = {"w": fitted.coef_.astype(np.float32), "b": fitted.intercept_.astype(np.float32)}
    mine = opened(model(nodes, {"x": ["batch", 3]}, {"y": ["batch", 4]}, weights))
    found = onnxplain.analyse(
        mine, rows, NAME, target="probability:all", grid="even", percentiles=(5, 95), points=points
    )
    assert found.arrays["series"].tolist() == ["0", "1", "2", "3"]
    for place, name in enumerate(found.arrays["panels"].tolist()):
        column = COLUMNS.index(name)
        grid = found.arrays[f"grid/{place}"]
        theirs = partial_dependence(fitted, rows, [column], method="brute", custom_values={column: grid})
        np.testing.assert_allclose(found.arrays[f"mean/{place}"], theirs["average"], atol=1e-5)
        assert len(grid) == (3 if column == 2 else points)  # all values where they are few
    both = onnxplain.analyse(
        mine, rows, NAME, target="probability:2", columns="age,town", pair=True, grid="even", points=5
    )
    grids = {0: both.arrays["grid/0"], 2: both.arrays["grid/1"]}
    theirs = partial_dependence(fitted, rows, [0, 2], method="brute", custom_values=grids)
    np.testing.assert_allclose(both.arrays["mean"], theirs["average"][2], atol=1e-5)


@settings(max_examples=8)
@given(st.integers(0, 1000), st.integers(2, 9))
def test_curves_are_the_means_of_rows_set_one_by_one(seed, points):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(7, 3)).astype(np.float32)
    weights = rng.random(7)
    mine = opened(random_dense(seed, 3))
    found = onnxplain.analyse(mine, rows, NAME, points=points, target="y[1]", weights=weights, percentiles=(0, 100))
    for place, name in enumerate(found.arrays["panels"].tolist()):
        k = COLUMNS.index(name)
        grid = np.unique(rows[:, k]) if points >= 7 else np.percentile(rows[:, k], np.linspace(0, 100, points))
        np.testing.assert_allclose(found.arrays[f"grid/{place}"], grid, rtol=1e-5, atol=1e-6)
        for g, value in enumerate(found.arrays[f"grid/{place}"]):
            changed = rows.copy()
            changed[:, k] = value
            expected = np.average(mine.predict(changed)["y"][:, 1].astype(float), weights=weights)
            assert found.arrays[f"mean/{place}"][0, g] == pytest.approx(expected, abs=1e-4)
    strength = [row[1] for row in found.rows]
    assert strength == sorted(strength, reverse=True)


def test_linear_models_have_straight_lines_and_no_interaction():
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    found = onnxplain.analyse(opened(linear((3, -1, 0.5)), task="regression"), rows, NAME)
    for place, name in enumerate(found.arrays["panels"].tolist()):
        slope = np.diff(found.arrays[f"mean/{place}"][0]) / np.diff(found.arrays[f"grid/{place}"])
        np.testing.assert_allclose(slope, dict(zip(COLUMNS, (3, -1, 0.5), strict=True))[name], atol=1e-3)
        np.testing.assert_allclose(np.ptp(found.arrays[f"spread/{place}"]), 0, atol=1e-5)
    assert found.arrays["panels"].tolist() == ["age", "income", "town"]
    pair = onnxplain.analyse(
        opened(linear((3, -1, 0.5)), task="regression"), rows, NAME, columns=["income", "age"], pair=True, points=4
    )
    np.testing.assert_allclose(pair.arrays["interaction"], 0, atol=1e-5)
    assert pair.arrays["panels"].tolist() == ["income", "age"]
    assert pair.arrays["mean"].shape == (4, 4)


def test_a_product_is_all_interaction():
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    mine = opened(products((0, 0, 0), [(0, 1)]), task="regression")
    found = onnxplain.analyse(mine, rows, NAME, columns="age,income", pair=True, points=5)
    a, b = found.arrays["grid/0"], found.arrays["grid/1"]
    np.testing.assert_allclose(found.arrays["mean"], np.outer(a, b), atol=1e-4)
    np.testing.assert_allclose(found.arrays["interaction"], np.outer(a - a.mean(), b - b.mean()), atol=1e-4)


def test_categories_are_their_own_grid_by_name():
    rows = np.column_stack([np.zeros((9, 2)), np.arange(9) % 3]).astype(np.float32)
    rows[:, 0] = np.arange(9)
    found = onnxplain.analyse(
        opened(linear((1, 1, 10)), task="regression", categories={"town": TOWNS}), rows, NAME, columns="town"
    )
    assert found.arrays["grid/0"].tolist() == list(TOWNS)
    np.testing.assert_allclose(found.arrays["mean/0"], [[4, 14, 24]])
    assert found.rows[0][3:] == ("Bonn", "Paris")
    assert "data/0" not in found.arrays


def test_texts_are_categories():
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["town"],
            ["code"],
            domain="ai.onnx.ml",
            keys_strings=list(TOWNS),
            values_floats=[1.0, 2.0, 3.0],
        ),
        helper.make_node("Add", ["code", "age"], ["y"]),
    ]
    graph = model_of(
        nodes,
        {"town": (TensorProto.STRING, ["n", 1]), "age": (TensorProto.FLOAT, ["n", 1])},
        {"y": (TensorProto.FLOAT, ["n", 1])},
        domains={"ai.onnx.ml": 3},
    )
    entries = {n: InputSpec(n, "table", columns=(n,)) for n in ("town", "age")}
    mine = onnxplain.load(graph.SerializeToString(), spec=ModelSpec(task="regression", inputs=entries))
    data = {"town": np.array([["Bonn"], ["Rome"], ["Bonn"]]), "age": np.array([[10.0], [20], [30]], np.float32)}
    found = onnxplain.analyse(mine, data, NAME, columns="town")
    assert found.arrays["grid/0"].tolist() == ["Bonn", "Rome"]
    np.testing.assert_allclose(found.arrays["mean/0"], [[21, 22]])


def test_the_second_of_two_classes_is_shown_unless_one_is_named():
    nodes = [helper.make_node("Gemm", ["x", "w"], ["z"], transB=1), helper.make_node("Softmax", ["z"], ["y"], axis=1)]
    graph = model(nodes, {"x": ["batch", 3]}, {"y": ["batch", 2]}, {"w": np.array([[1, 0, 0], [0, 2, 0]], np.float32)})
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    mine = opened(graph, labels=("no", "yes"))
    found = onnxplain.analyse(mine, rows, NAME)
    assert found.arrays["series"].tolist() == ["yes"]
    assert found.words["value"] == "mean logit of yes"
    assert found.arrays["panels"][0] == "income"
    every = onnxplain.analyse(mine, rows, NAME, target="all")
    assert every.arrays["series"].tolist() == ["no", "yes"]
    assert every.columns[-1] == "class"
    first = onnxplain.analyse(mine, rows, NAME, target="probability:no")
    assert first.words["value"] == "mean probability of no"
    named = opened(graph, labels=("no", "yes"), target="no")
    assert onnxplain.analyse(named, rows, NAME).arrays["series"].tolist() == ["no"]


def refused(mine, rows=ROW_224, name=NAME, **settings):
    with pytest.raises((InputError, SettingError)) as caught:
        onnxplain.analyse(mine, rows, name, **settings)
    assert len(str(caught.value).splitlines()) <= 6
    return str(caught.value)


def test_what_makes_no_sense_is_refused():
    mine = row_224()
    assert "did you mean 'income'" in refused(mine, columns="incom")
    assert "numbered from 0 to 2" in refused(mine, columns=3)
    assert "named twice" in refused(mine, columns="age,age")
    assert "a grid of one point is no curve" in refused(mine, columns="town")
    assert "has one value only, 0" in refused(mine, columns="town")
    assert "no column varies" in refused(mine, rows=ROW_224[:1])
    assert "points must be 2 to 1000" in refused(mine, points=1)
    assert "percentiles must rise" in refused(mine, percentiles=(90, 10))
    assert "values must be two numbers or more" in refused(mine, columns="age", values=[1.0])
    assert "a surface is of two columns" in refused(mine, columns="age", pair=True)
    assert "a surface is of two columns, and none was named" in refused(mine, pair=True)
    assert "'top' is another class for each row" in refused(classifier(), target="top")
    assert "did you mean 'dog'" in refused(classifier(), target="dogg")
    assert "a surface is of one class" in refused(classifier(), columns="age,income", pair=True)
    assert "there is no array 'w' in the data" in refused(mine, rows={"x": ROW_224}, weights="w")
    assert "weights must be 0 or more" in refused(mine, weights=[1, -1, 1])
    assert "weights have the shape (2,), for 3 rows" in refused(mine, weights=[1, 1])
    wide = opened(random_dense(0, 300), columns=300)
    assert "more than the 200 whose curves are drawn unasked" in refused(wide, rows=np.eye(300, dtype=np.float32))


def test_columns_that_never_change_are_left_out_and_told():
    found = onnxplain.analyse(row_224(), ROW_224, NAME)
    assert sorted(found.arrays["panels"].tolist()) == ["age", "income"]
    assert "the same in all rows, so left out: town" in found.notes


def test_rows_are_drawn_with_the_seed():
    rows = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    one, two, three = (onnxplain.analyse(row_224(), rows, NAME, rows=10, seed=s) for s in (0, 0, 1))
    assert one == two
    assert one != three
    assert "10 of 60 rows were drawn" in one.notes


def test_rare_categories_are_left_out_and_told():
    rows = np.zeros((40, 3), np.float32)
    rows[:, 2] = [k % 4 for k in range(34)] + list(range(4, 10))
    names = tuple(f"town {k}" for k in range(10))
    mine = opened(linear((1, 1, 10)), task="regression", categories={"town": names})
    found = onnxplain.analyse(mine, rows, NAME, columns="town", points=4)
    assert found.arrays["grid/0"].tolist() == list(names[:4])
    assert "6 rarer categories of town are left out" in found.notes


def test_one_hot_columns_are_set_together():
    names = ("age", "town_bonn", "town_rome", "town_paris")
    entry = InputSpec("x", "table", columns=names)
    mine = onnxplain.load(linear((1, 10, 20, 30)), spec=ModelSpec(task="regression", inputs={"x": entry}))
    rows = np.concatenate([np.arange(6.0)[:, None], np.eye(3)[np.arange(6) % 3]], axis=1).astype(np.float32)
    found = onnxplain.analyse(mine, rows, NAME)
    assert found.arrays["panels"].tolist() == ["town", "age"]
    assert found.arrays["grid/0"].tolist() == ["bonn", "rome", "paris"]
    np.testing.assert_allclose(found.arrays["mean/0"], [[12.5, 22.5, 32.5]])
    assert found.rows[0][3:] == ("bonn", "paris")
    alone = onnxplain.analyse(mine, rows, NAME, columns="town_rome")
    np.testing.assert_allclose(np.diff(alone.arrays["mean/0"]), [[20]])
    assert onnxplain.analyse(mine, rows, "ice", columns="town").rows[0][:2] == ("town", pytest.approx(0, abs=1e-6))
    assert "did you mean 'town" in refused(mine, rows=rows, columns="towm")
    assert "holds categories" in refused(mine, rows=rows, columns="town", values=[0.0, 1.0])


def test_blocks_of_the_spec_may_hold_none():
    names = ("age", "a", "b")
    entry = InputSpec("x", "table", columns=names, groups={"kind": ("a", "b")})
    mine = onnxplain.load(linear((1, 10, 20)), spec=ModelSpec(task="regression", inputs={"x": entry}))
    rows = np.array([(1, 0, 0), (2, 1, 0), (3, 0, 1), (4, 0, 0)], np.float32)
    found = onnxplain.analyse(mine, rows, NAME, columns="kind")
    assert found.arrays["grid/0"].tolist() == ["none", "a", "b"]
    np.testing.assert_allclose(found.arrays["mean/0"], [[2.5, 12.5, 22.5]])
