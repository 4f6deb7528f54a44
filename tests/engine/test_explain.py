"""explain: from whatever is given as inputs to explanations, and the settings, targets and seeds on the way."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

import onnxplain
from onnxplain import (
    Explanation,
    InputError,
    InputSpec,
    ModelSpec,
    Problem,
    Range,
    Sample,
    SettingError,
    explain,
    register,
)
from onnxplain.engine import registry
from onnxplain.engine.results.findings import of_features
from small_graphs import affine, model_of

FLOAT = TensorProto.FLOAT
W = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]], np.float32)
ROWS = np.array([[1, 2, 3], [-1, 0.5, 2], [4, 0, -1]], np.float32)
ABLATION = {"target": 1, "features": "elements", "baseline": 0}


@pytest.fixture(scope="module")
def model():
    return onnxplain.load(affine(W, np.zeros(2)).SerializeToString(), device="cpu")


def two_inputs():
    """y = 2 sum(a) + sum(b b), from rows a (2) and b (2, 2)."""
    nodes = [
        helper.make_node("ReduceSum", ["a", "one"], ["sa"], keepdims=1),
        helper.make_node("Mul", ["b", "b"], ["bb"]),
        helper.make_node("ReduceSum", ["bb", "two"], ["sb"], keepdims=0),
        helper.make_node("Unsqueeze", ["sb", "one"], ["column"]),
        helper.make_node("Add", ["sa", "sa"], ["aa"]),
        helper.make_node("Add", ["aa", "column"], ["y"]),
    ]
    constants = {"one": np.array([1], np.int64), "two": np.array([1, 2], np.int64)}
    return model_of(nodes, {"a": (FLOAT, ["n", 2]), "b": (FLOAT, ["n", 2, 2])}, {"y": (FLOAT, ["n", 1])}, constants)


TWO = {"a": np.array([[1, 2], [3, 4], [5, 6]], np.float32), "b": np.arange(12, dtype=np.float32).reshape(3, 2, 2)}


@pytest.fixture(scope="module")
def pair():
    return onnxplain.load(two_inputs().SerializeToString(), device="cpu")


def is_right(found, row):
    """Taking away element k of a linear model costs w_k x_k."""
    return isinstance(found, Explanation) and np.allclose(found.values["x"], W[1] * row, atol=1e-5)


@pytest.mark.parametrize("one", [ROWS[1], ROWS[1:2], ROWS[1].tolist(), {"x": ROWS[1]}, Sample({"x": ROWS[1:2]})])
def test_one_row_with_or_without_its_batch_axis_gives_one_explanation(model, one):
    assert is_right(explain(model, one, "ablation", **ABLATION), ROWS[1])


def test_several_rows_give_a_list_with_the_numbers_of_one_at_a_time(model):
    singles = [explain(model, row, "ablation", **ABLATION) for row in ROWS]
    several = [ROWS, {"x": ROWS}, list(ROWS), tuple(ROWS), ROWS.tolist(), [ROWS[:2], ROWS[2]]]
    several += [[{"x": row} for row in ROWS], [Sample({"x": row[None]}) for row in ROWS]]
    for given in several:
        assert explain(model, given, "ablation", **ABLATION) == singles
    assert all(is_right(one, row) for one, row in zip(singles, ROWS, strict=True))


def test_a_list_of_one_gives_a_list_of_one(model):
    for given in ([ROWS[0]], (ROWS[:1],), [{"x": ROWS[0]}], [ROWS[0].tolist()]):
        (found,) = explain(model, given, "ablation", **ABLATION)
        assert is_right(found, ROWS[0])


def test_files_and_lists_of_files(model, tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", ROWS)
    np.savez(tmp_path / "rows.npz", x=ROWS)
    (tmp_path / "rows.csv").write_text("a,b,c\n1,2,3\n-1,0.5,2\n4,0,-1\n")
    monkeypatch.chdir(tmp_path)
    for name in ("rows.npy", "rows.npz", "rows.csv"):
        for given in (name, tmp_path / name):
            assert all(
                is_right(*pair) for pair in zip(explain(model, given, "ablation", **ABLATION), ROWS, strict=True)
            )
        one = explain(model, f"{name}:1", "ablation", **ABLATION)
        assert is_right(one, ROWS[1])
        assert one.sample.source.endswith(f"{name}:1")
    for given in (["rows.npy:2", "rows.csv:0"], [Path("rows.npy:2"), "rows.csv:0"]):
        found = explain(model, given, "ablation", **ABLATION)
        assert is_right(found[0], ROWS[2])
        assert is_right(found[1], ROWS[0])
    with pytest.raises(InputError, match="no such file"):
        explain(model, ["rows.npz:0", "none.npz"], "ablation")


def test_folders_and_patterns_are_the_files_in_them(model, tmp_path):
    for k, row in enumerate(ROWS):
        np.save(tmp_path / f"{k}.npy", row)
    for given in (tmp_path, str(tmp_path / "*.npy")):
        found = explain(model, given, "ablation", **ABLATION)
        assert [e.sample.source for e in found] == [f"{tmp_path}{os.sep}{k}.npy:0" for k in range(3)]
        assert all(map(is_right, found, ROWS))
    (tmp_path / "1.npy").write_bytes(b"damaged")
    told = []
    found = explain(model, tmp_path, "ablation", refused=lambda source, _: told.append(Path(source).name), **ABLATION)
    assert (len(found), told) == (2, ["1.npy"])


def test_lists_in_lists_are_one_array():
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)]
    axes = {"axes": np.array([2, 3], np.int64)}
    cube = model_of(nodes, {"x": (FLOAT, ["n", 1, 4, 5])}, {"y": (FLOAT, ["n", 1])}, axes)
    rows = np.arange(40.0).reshape(2, 1, 4, 5)
    one, two = (explain(cube.SerializeToString(), given.tolist(), "ablation") for given in (rows[0], rows))
    assert one.score == rows[0].sum()
    assert [e.score for e in two] == [rows[0].sum(), rows[1].sum()]


class Tracked:
    """A tensor of torch that has a gradient."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (iter(ROWS), "is no array: it is of type"),
        (b"123", "is no array: it is of type bytes"),
        (Image.new("RGB", (3, 3)), "image that is not prepared"),
        (np.ma.masked_greater(ROWS[0], 1), "masks values"),
        (Tracked(), "requires grad"),
    ],
    ids=["iterator", "bytes", "image", "masked", "tracked"],
)
def test_what_numpy_would_take_for_an_array_is_refused(model, given, said):
    with pytest.raises(InputError, match=said):
        explain(model, given, "ablation")


def test_texts_are_data_where_the_model_takes_texts():
    encoder = helper.make_node(
        "LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", keys_strings=["red", "big"], values_floats=[2.0, 5.0]
    )
    inputs, outputs = {"x": (TensorProto.STRING, ["n", 2])}, {"y": (FLOAT, ["n", 2])}
    proto = model_of([encoder], inputs, outputs, domains={"ai.onnx.ml": 2})
    model = onnxplain.load(proto.SerializeToString(), device="cpu")
    found = explain(model, ["red", "big"], "ablation", target="y", features="elements", baseline={"x": "?"})
    assert np.allclose(found.values["x"], [[1.0, 2.5]])


def test_samples_are_checked_like_arrays(model):
    found = explain(model, Sample({"x": ROWS[:1].astype(np.float64)}), "ablation", **ABLATION)
    assert is_right(found, ROWS[0])
    for odd in ({"x": ROWS[:1, :2]}, {"z": ROWS[:1]}, {}, {"x": np.full((1, 3), np.nan)}, {"x": ROWS}):
        with pytest.raises(InputError):
            explain(model, Sample(odd), "ablation")


@pytest.mark.parametrize("odd", [[], (), np.zeros((0, 3)), np.zeros((1, 4)), None, {}, {"y": ROWS}, 3.0, object()])
def test_what_is_no_input_is_refused(model, odd):
    with pytest.raises(InputError):
        explain(model, odd, "ablation")


def test_several_inputs_and_settings_by_input(pair):
    found = explain(pair, TWO, "ablation", features="elements", baseline={"a": 0.0, "b": 1.0})
    assert [f.values["a"].tolist() for f in found] == [[[2, 4]], [[6, 8]], [[10, 12]]]
    for k, one in enumerate(found):
        assert np.allclose(one.values["b"], TWO["b"][k] ** 2 - 1)
        assert one.score == pytest.approx(2 * TWO["a"][k].sum() + (TWO["b"][k] ** 2).sum())
    labels = {"a": np.array([0, 1]), "b": np.array([[1, 2], [-1, -1]])}
    grouped = explain(pair, {n: a[1] for n, a in TWO.items()}, "ablation", features=labels, baseline=0)
    assert grouped.feature_values.tolist() == [6, 8 + 16, 25]
    assert grouped.values["b"].tolist() == [[[24, 25], [0, 0]]]
    windows = explain(
        pair, {n: a[:1] for n, a in TWO.items()}, "occlusion", window={"a": 2, "b": (1, 2)}, stride=1, baseline=0
    )
    assert windows.values["a"].tolist() == [[6, 6]]
    assert windows.values["b"].tolist() == [[[1, 1], [13, 13]]]
    with pytest.raises(InputError, match="different numbers of rows"):
        explain(pair, {"a": TWO["a"], "b": TWO["b"][:2]}, "ablation")
    with pytest.raises(SettingError, match="'c'"):
        explain(pair, {n: a[:1] for n, a in TWO.items()}, "ablation", baseline={"a": 0, "c": 1})


def test_values_have_the_shape_that_the_model_takes():
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)]
    axes = {"axes": np.array([0, 2], np.int64)}
    whole = onnxplain.load(
        model_of(nodes, {"x": (FLOAT, [3, 2, 2])}, {"y": (FLOAT, [2])}, axes).SerializeToString(), device="cpu"
    )
    x = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    found = explain(whole, x, "ablation", target="y[1]", features="elements", baseline=0)
    assert np.allclose(found.values["x"], x * [[0], [1]])
    labelled = explain(whole, x, "ablation", target="y[1]", features=np.arange(3)[:, None, None], baseline=0)
    assert labelled.feature_labels["x"].shape == (3, 1, 1)
    assert labelled.feature_values.tolist() == [2 + 3, 6 + 7, 10 + 11]
    middle = model_of(
        [helper.make_node("Relu", ["x"], ["y"])], {"x": (FLOAT, [2, "batch"])}, {"y": (FLOAT, [2, "batch"])}
    )
    many = onnxplain.load(middle.SerializeToString(), device="cpu")
    found = explain(many, np.array([[1, 2, 3], [4, 5, 6]], np.float32), "ablation", target=1, baseline=0)
    assert [f.values["x"].shape for f in found] == [(2, 1)] * 3
    assert [f.values["x"][1, 0] for f in found] == [4, 5, 6]


@pytest.mark.parametrize("seed", [-1, 1.5, "3", None, True])
def test_seeds_are_whole_numbers_from_0(model, seed):
    with pytest.raises(SettingError, match="seed must be"):
        explain(model, ROWS[0], "rise", seed=seed, masks=10)


def test_seeds_decide_what_is_drawn(model):
    first, again, other = (explain(model, ROWS[0], "rise", seed=s, masks=50) for s in (2**40, np.int64(2**40), 7))
    assert first == again
    assert json.dumps(again.manifest["seed"]) == str(2**40)
    assert first != other


def test_with_respect_to(pair):
    one = {n: a[:1] for n, a in TWO.items()}
    with pytest.raises(SettingError, match=r"no tensor 'aaa' in this model\n.*did you mean 'aa'"):
        explain(pair, one, "ablation", wrt="aaa")
    found = explain(pair, one, "ablation", wrt="bb", features="elements")
    assert found.values.keys() == {"bb"}
    assert found.values["bb"].tolist() == (one["b"] ** 2).tolist()


@pytest.mark.parametrize("method", ["ablation", "occlusion", "kernel-shap", "exact-shapley", "shapley", "lime"])
def test_with_respect_to_one_of_several_inputs_the_others_stay_as_they_are(pair, method):
    one = {n: a[:1] for n, a in TWO.items()}
    features = {} if method == "occlusion" else {"features": "elements"}
    found = explain(pair, one, method, wrt="b", baseline=0, **features)
    assert found.values.keys() == {"b"}
    assert found.values["b"].ravel() == pytest.approx(one["b"].ravel() ** 2, abs=0.1 if method == "lime" else 1e-5)
    assert found.manifest["wrt"] == "b"


def test_what_is_asked_for_is_checked_before_any_work(model, monkeypatch):
    monkeypatch.setattr(onnxplain.Model, "rows", lambda *_: pytest.fail("the model was run"))
    for name, settings in {"ablatin": {}, "ablation": {"fetures": 1}, "rise": {"masks": "many"}}.items():
        with pytest.raises(SettingError):
            explain(model, ROWS[0], name, **settings)


def test_a_plugin_of_the_users_own(model, monkeypatch):
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    @register("explainer", "halves", source="nobody")
    @dataclass(frozen=True)
    class Halves:
        """The score of the part before a column, and of the rest."""

        column: Annotated[int, "where to cut", Range(1)] = 1

        def explain(self, problem: Problem) -> Explanation:
            game = problem.game()
            before = (np.arange(game.size) < self.column)[None]
            scores = game(np.concatenate([before, ~before]))
            return of_features(problem, game, np.where(before[0], *scores))

    steps = []

    class Told:
        def start(self, description, total):
            steps.append((description, total))

        def advance(self, done):
            steps.append(done)

    spec = ModelSpec(inputs={"x": InputSpec("x", "table", columns=("a", "b", "c"))})
    tabular = onnxplain.load(affine(W, np.zeros(2)).SerializeToString(), spec, device="cpu")
    found = explain(tabular, ROWS[0], "halves", target=0, column=2, progress=Told())
    assert found.values["x"] == pytest.approx(np.array([[-3, -3, 1.5]]))
    assert found.feature_names == ("a", "b", "c")
    assert (found.method, found.settings, found.manifest["settings_given"]) == ("halves", {"column": 2}, {"column": 2})
    assert found.manifest["plugin"].endswith("Halves")
    assert steps[0] == ("halves", 0)
    assert sum(steps[1:]) == 3
    with pytest.raises(SettingError, match=r"halves.column must be at least 1, not 0"):
        explain(tabular, ROWS[0], "halves", column=0)


def test_models_by_path_and_by_bytes(tmp_path):
    onnx.save(affine(W, np.zeros(2)), tmp_path / "m.onnx")
    for given in (tmp_path / "m.onnx", os.fspath(tmp_path / "m.onnx"), (tmp_path / "m.onnx").read_bytes()):
        assert is_right(explain(given, ROWS[0], "ablation", **ABLATION), ROWS[0])


def test_methods_that_can_are_handed_samples_of_equal_shapes_at_once(model):
    handed = []

    @register("explainer", "many-at-once")
    @dataclass(frozen=True)
    class Many:
        def explain(self, problem):
            return self.explain_many([problem])[0]

        def explain_many(self, problems):
            handed.append(len(problems))
            return [
                Explanation(values=dict(p.sample.feeds), method=p.method, settings={}, target=p.target.text, score=0.0)
                for p in problems
            ]

    try:
        found = explain(model, ROWS, "many-at-once", target=0)
    finally:
        registry.unregister("many-at-once")
    assert handed == [3]
    assert np.array_equal(np.concatenate([e.values["x"] for e in found]), ROWS)
    assert all(e.manifest["plugin"].endswith("Many") and e.settings == {} for e in found)
