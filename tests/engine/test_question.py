"""Many samples of one question: what cannot be used or explained is told, and the others come back."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain import InputError, ModelError, register
from onnxplain.engine.registry import unregister
from onnxplain.engine.results.findings import of_features
from small_graphs import model_of

FLOAT = TensorProto.FLOAT


@pytest.fixture
def logarithm():
    """y = log(x): rows with a column of 0 have no finite score."""
    nodes = [helper.make_node("Log", ["x"], ["z"]), helper.make_node("ReduceSum", ["z", "axes"], ["y"])]
    axes = {"axes": np.array([1], np.int64)}
    proto = model_of(nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 1])}, axes)
    return onnxplain.load(proto.SerializeToString(), device="cpu")


@pytest.fixture
def told():
    class Told(list):
        def __call__(self, source, error):
            self.append((source, type(error), error.message))

    return Told()


def test_rows_of_a_file_that_cannot_be_read_or_explained_are_told(logarithm, told, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n1,x\n3,0\n4,5\n")
    path = f"{tmp_path}/rows.csv"
    found = onnxplain.explain(logarithm, path, "ablation", baseline=1.0, refused=told)
    assert [one.score for one in found] == pytest.approx([np.log(2), np.log(20)])
    assert [one.sample.line for one in found] == [2, 5]
    assert [(source, kind) for source, kind, _ in told] == [(f"{path}:1", InputError), (f"{path}:2", ModelError)]
    with pytest.raises(InputError, match="'x' is not a number"):
        onnxplain.explain(logarithm, path, "ablation", baseline=1.0)


def test_a_list_comes_back_also_where_one_row_is_left(logarithm, told, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n1,x\n")
    (one,) = onnxplain.explain(logarithm, f"{tmp_path}/rows.csv", "ablation", baseline=1.0, refused=told)
    assert one.score == pytest.approx(np.log(2))
    assert len(told) == 1


def test_files_of_a_list_that_cannot_be_read_are_told(logarithm, told, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    files = [tmp_path / "none.csv", tmp_path / "rows.csv"]
    assert len(onnxplain.explain(logarithm, files, "ablation", baseline=1.0, refused=told)) == 1
    assert [(source, message) for source, _, message in told] == [(str(files[0]), "there is no such file")]
    with pytest.raises(InputError, match="there is no such file"):
        onnxplain.explain(logarithm, str(files[0]), "ablation", refused=told)


def test_rows_of_an_array_that_lack_a_value_are_told(told):
    """A sum takes no missing values: its score would be none."""
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"])]
    proto = model_of(nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 1])}, {"axes": np.array([1], np.int64)})
    model = onnxplain.load(proto.SerializeToString(), device="cpu")
    rows = np.array([[1, 2], [np.nan, 1], [3, 4]], np.float32)
    assert [e.score for e in onnxplain.explain(model, rows, "ablation", baseline=0, refused=told)] == [3, 7]
    ((source, kind, message),) = told
    assert (source, kind) == ("row 1", InputError)
    assert "NaN at [0]" in message


def test_one_bad_sample_does_not_spoil_those_that_are_explained_with_it(logarithm, told):
    @register("explainer", "all-at-once", source="a test")
    @dataclass(frozen=True)
    class AllAtOnce:
        """Explains any number of samples, if their scores are finite."""

        baseline: Annotated[Any, "what stands in"] = 1.0

        def explain(self, problem):
            return self.explain_many([problem])[0]

        def explain_many(self, problems):
            games = [problem.game() for problem in problems]
            return [of_features(p, g, np.full(g.size, g.full)) for p, g in zip(problems, games, strict=True)]

    rows = np.array([[1, 2], [0, 1], [3, 4], [1, 1]], np.float32)
    try:
        found = onnxplain.explain(logarithm, rows, "all-at-once", refused=told)
    finally:
        unregister("all-at-once")
    assert [one.score for one in found] == pytest.approx([np.log(2), np.log(12), 0])
    assert [kind for _, kind, _ in told] == [ModelError]


def test_several_rows_give_the_bits_of_one_at_a_time(logarithm):
    rows = np.random.default_rng(0).uniform(0.5, 2, (5, 2)).astype(np.float32)
    for method, settings in (("kernel-shap", {}), ("shapley-sampling", {"budget": 40}), ("lime", {"samples": 50})):
        together = onnxplain.explain(logarithm, rows, method, baseline=1.0, **settings)
        assert together == [onnxplain.explain(logarithm, row, method, baseline=1.0, **settings) for row in rows]
