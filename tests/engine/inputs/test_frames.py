"""Data frames: their columns are found by name, whatever order they are in."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain import InputError, InputSpec, ModelSpec
from small_graphs import model_of

FLOAT = TensorProto.FLOAT
COLUMNS = ("age", "height", "weight")


class Frame:
    """What pandas and polars share: columns by name, a shape, and a way to become an array."""

    def __init__(self, columns, rows):
        self.columns, self._rows = columns, np.array(rows, np.float64)
        self.shape = self._rows.shape

    def __array__(self, dtype=None, copy=None):
        return self._rows

    def __getitem__(self, name):
        return self._rows[:, self.columns.index(name)]


def digits(**inputs):
    """A model whose output has the inputs' numbers in the places of its digits."""
    weights = helper.make_tensor("w", FLOAT, [3, 1], [1, 10, 100])
    names = list(inputs)
    joined = [helper.make_node("Concat", names, ["x"], axis=1)] if len(names) > 1 else []
    whole = "x" if joined else names[0]
    nodes = [*joined, helper.make_node("MatMul", [whole, "w"], ["y"])]
    proto = model_of(nodes, {n: (FLOAT, ["n", size]) for n, size in inputs.items()}, {"y": (FLOAT, ["n", 1])})
    proto.graph.initializer.append(weights)
    return proto.SerializeToString()


def score(model, given):
    found = onnxplain.explain(model, given, "ablation")
    return [e.score for e in (found if isinstance(found, list) else [found])]


@pytest.fixture
def listed():
    spec = ModelSpec(inputs={"row": InputSpec("row", "table", "NF", columns=COLUMNS)})
    return onnxplain.load(digits(row=3), spec=spec)


@pytest.fixture
def apart():
    return onnxplain.load(digits(age=1, height=1, weight=1))


def test_columns_are_found_by_name(listed, apart):
    for model in (listed, apart):
        assert score(model, Frame(["weight", "age", "height"], [[3, 1, 2], [6, 4, 5]])) == [321, 654]
        assert score(model, Frame(list(COLUMNS), [[1, 2, 3]])) == [321]


def test_missing_and_further_columns_are_refused_by_name(listed, apart):
    for model in (listed, apart):
        with pytest.raises(InputError, match=r"no column 'height'(.|\n)*'heigth'"):
            score(model, Frame(["age", "heigth", "weight"], [[1, 2, 3]]))
        with pytest.raises(InputError, match="column 'id', which the model does not take"):
            score(model, Frame([*COLUMNS, "id"], [[1, 2, 3, 4]]))
        with pytest.raises(InputError, match="the same column twice"):
            score(model, Frame([*COLUMNS, "age"], [[1, 2, 3, 4]]))


def test_numbered_columns_and_models_without_names_take_what_is_there(listed):
    assert score(listed, Frame([0, 1, 2], [[1, 2, 3]])) == [321]
    assert score(onnxplain.load(digits(row=3)), Frame(["c", "b", "a"], [[1, 2, 3]])) == [321]


def test_frames_and_rows_of_pandas(listed, apart):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"weight": [3, 6], "age": [1, 4], "height": [2.0, 5.0]})
    for model in (listed, apart):
        assert score(model, frame) == [321, 654]
        assert score(model, frame.iloc[1]) == [654]
