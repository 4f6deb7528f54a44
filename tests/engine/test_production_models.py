"""Models as production has them: each opens, predicts what ONNX Runtime does, and is explained by all five methods."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn, to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import onnxplain
from small_graphs import model_of

node = helper.make_node
FLOAT, HALF, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT64
RNG = np.random.default_rng(5)
MODELS = {}


def production(build):
    """Add a function that returns a model, one instance, and the target: an output and an index without the batch."""
    MODELS[build.__name__] = build
    return build


def normal(*shape, dtype=np.float32):
    return RNG.normal(size=shape).astype(dtype)


def ints(*values):
    return np.array(values, np.int64)


@production
def image_of_fixed_batch():
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("Reshape", ["r", "flat"], ["f"]),
        node("MatMul", ["f", "v"], ["z"]),
        node("Softmax", ["z"], ["p"]),
    ]
    constants = {"w": normal(4, 3, 1, 1), "flat": ints(1, 12), "v": normal(12, 3)}
    inputs = {"x": (FLOAT, [1, 3, 1, 3])}
    return model_of(nodes, inputs, {"p": (FLOAT, [1, 3])}, constants), {"x": normal(1, 3, 1, 3)}, ("p", (0,))


@production
def batch_of_eight():
    nodes = [node("MatMul", ["x", "v"], ["y"])]
    model = model_of(nodes, {"x": (FLOAT, [8, 5])}, {"y": (FLOAT, [8, 3])}, {"v": normal(5, 3)})
    return model, {"x": np.repeat(normal(1, 5), 8, axis=0)}, ("y", (1,))


@production
def bytes_of_an_image_with_channels_last():
    nodes = [
        node("Cast", ["x"], ["f"], to=FLOAT),
        node("Transpose", ["f"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"], ["c"]),
        node("GlobalAveragePool", ["c"], ["g"]),
        node("Flatten", ["g"], ["y"]),
    ]
    inputs, outputs = {"x": (TensorProto.UINT8, ["N", 3, 1, 3])}, {"y": (FLOAT, ["N", 2])}
    feeds = {"x": RNG.integers(1, 255, (1, 3, 1, 3)).astype(np.uint8)}
    return model_of(nodes, inputs, outputs, {"w": normal(2, 3, 1, 1)}), feeds, ("y", (0,))


def typed(kind, dtype):
    nodes = [node("Cast", ["x"], ["f"], to=FLOAT), node("MatMul", ["f", "v"], ["y"])]
    model = model_of(nodes, {"x": (kind, ["n", 4])}, {"y": (FLOAT, ["n", 2])}, {"v": normal(4, 2)})
    return model, {"x": np.array([[1, 0, 1, 1]]).astype(dtype)}, ("y", (1,))


@production
def whole_numbers():
    return typed(TensorProto.INT32, np.int32)


@production
def long_whole_numbers():
    return typed(INT64, np.int64)


@production
def flags():
    return typed(TensorProto.BOOL, np.bool_)


@production
def halves_throughout():
    nodes = [node("MatMul", ["x", "v"], ["z"]), node("Sigmoid", ["z"], ["y"])]
    constants = {"v": normal(4, 2, dtype=np.float16)}
    model = model_of(nodes, {"x": (HALF, ["n", 4])}, {"y": (HALF, ["n", 2])}, constants)
    return model, {"x": normal(1, 4, dtype=np.float16)}, ("y", (0,))


@production
def doubles_throughout():
    nodes = [node("MatMul", ["x", "v"], ["z"]), node("LogSoftmax", ["z"], ["y"])]
    constants = {"v": normal(4, 2, dtype=np.float64)}
    model = model_of(nodes, {"x": (DOUBLE, ["n", 4])}, {"y": (DOUBLE, ["n", 2])}, constants)
    return model, {"x": normal(1, 4, dtype=np.float64)}, ("y", (0,))


@production
def several_inputs_and_outputs_with_awkward_names():
    nodes = [
        node("MatMul", ["in/a:0", "u"], ["p"]),
        node("MatMul", ["in.b:0", "v"], ["q"]),
        node("Add", ["p", "q"], ["sum:0"]),
        node("Mul", ["p", "q"], ["head/y:0"]),
    ]
    inputs = {"in/a:0": (FLOAT, ["n", 3]), "in.b:0": (FLOAT, ["n", 2])}
    outputs = {"sum:0": (FLOAT, ["n", 2]), "head/y:0": (FLOAT, ["n", 2])}
    model = model_of(nodes, inputs, outputs, {"u": normal(3, 2), "v": normal(2, 2)})
    return model, {"in/a:0": normal(1, 3), "in.b:0": normal(1, 2)}, ("head/y:0", (1,))


@production
def old_file_with_weights_among_its_inputs():
    nodes = [node("MatMul", ["x", "v"], ["m"]), node("Add", ["m", "b"], ["y"])]
    inputs = {"x": (FLOAT, ["n", 3]), "v": (FLOAT, [3, 2]), "b": (FLOAT, [2])}
    model = model_of(nodes, inputs, {"y": (FLOAT, ["n", 2])}, {"v": normal(3, 2), "b": normal(2)}, opset=7)
    model.ir_version = 3
    return model, {"x": normal(1, 3)}, ("y", (0,))


@production
def weights_in_constant_nodes():
    nodes = [
        node("Constant", [], ["v"], value=numpy_helper.from_array(normal(3, 2))),
        node("Constant", [], ["shape"], value_ints=[1, 2]),
        node("MatMul", ["x", "v"], ["m"]),
        node("Reshape", ["m", "shape"], ["y"]),
    ]
    return model_of(nodes, {"x": (FLOAT, [1, 3])}, {"y": (FLOAT, [1, 2])}), {"x": normal(1, 3)}, ("y", (1,))


@production
def functions_of_its_own():
    nodes = [node("Dense", ["x", "v"], ["h"], domain="own"), node("Dense", ["h", "u"], ["y"], domain="own")]
    constants = {"v": normal(3, 4), "u": normal(4, 2)}
    model = model_of(nodes, {"x": (FLOAT, [1, 3])}, {"y": (FLOAT, [1, 2])}, constants, domains={"own": 1})
    inner = [node("MatMul", ["a", "w"], ["t"]), node("Tanh", ["t"], ["o"])]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Dense", ["a", "w"], ["o"], inner, opsets))
    return model, {"x": normal(1, 3)}, ("y", (0,))


@production
def operators_of_microsoft():
    nodes = [
        node("FusedMatMul", ["x", "v"], ["m"], domain="com.microsoft", transB=1),
        node("BiasGelu", ["m", "b"], ["y"], domain="com.microsoft"),
    ]
    constants = {"v": normal(4, 3), "b": normal(4)}
    model = model_of(nodes, {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, ["n", 4])}, constants, domains={"com.microsoft": 1})
    return model, {"x": normal(1, 3)}, ("y", (2,))


@production
def recurrent_with_states_and_a_fixed_length():
    nodes = [
        node("LSTM", ["x", "w", "r", "b", "", "h0", "c0"], ["steps", "h1", "c1"], hidden_size=2),
        node("Squeeze", ["h1", "first"], ["s"]),
        node("MatMul", ["s", "v"], ["y"]),
    ]
    constants = {"w": normal(1, 8, 1), "r": normal(1, 8, 2), "b": normal(1, 16), "first": ints(0), "v": normal(2, 2)}
    inputs = {"x": (FLOAT, [2, 1, 1]), "h0": (FLOAT, [1, 1, 2]), "c0": (FLOAT, [1, 1, 2])}
    outputs = {"y": (FLOAT, [1, 2]), "h1": (FLOAT, [1, 1, 2]), "c1": (FLOAT, [1, 1, 2])}
    feeds = {"x": normal(2, 1, 1), "h0": normal(1, 1, 2), "c0": normal(1, 1, 2)}
    return model_of(nodes, inputs, outputs, constants), feeds, ("y", (0, 0))


@production
def recurrent_with_time_first():
    nodes = [
        node("GRU", ["x", "w", "r", "", "", "h0"], ["steps", "h1"], hidden_size=2),
        node("Squeeze", ["h1", "first"], ["s"]),
        node("MatMul", ["s", "v"], ["y"]),
    ]
    constants = {"w": normal(1, 6, 2), "r": normal(1, 6, 2), "first": ints(0), "v": normal(2, 2)}
    inputs = {"x": (FLOAT, ["steps", "batch", 2]), "h0": (FLOAT, [1, "batch", 2])}
    outputs = {"y": (FLOAT, ["batch", 2]), "h1": (FLOAT, [1, "batch", 2])}
    return model_of(nodes, inputs, outputs, constants), {"x": normal(3, 1, 2), "h0": normal(1, 1, 2)}, ("y", (1,))


@production
def one_instance_without_a_batch_axis():
    nodes = [node("MatMul", ["x", "v"], ["y"])]
    model = model_of(nodes, {"x": (FLOAT, [5])}, {"y": (FLOAT, [3])}, {"v": normal(5, 3)})
    return model, {"x": normal(5)}, ("y", (2,))


@production
def input_of_unknown_rank():
    nodes = [node("MatMul", ["x", "v"], ["y"])]
    model = model_of(nodes, {"x": (FLOAT, None)}, {"y": (FLOAT, None)}, {"v": normal(4, 3)})
    return model, {"x": normal(1, 4)}, ("y", (0, 1))


@production
def scalar_beside_the_rows():
    nodes = [node("MatMul", ["x", "v"], ["m"]), node("Mul", ["m", "scale"], ["y"])]
    inputs = {"x": (FLOAT, ["n", 3]), "scale": (FLOAT, [])}
    model = model_of(nodes, inputs, {"y": (FLOAT, None)}, {"v": normal(3, 2)})
    return model, {"x": normal(1, 3), "scale": np.array(2.0, np.float32)}, ("y", (0,))


@production
def branch_that_depends_on_the_input():
    def branch(weights, name):
        return helper.make_graph(
            [node("MatMul", ["x", weights], [name])], name, [], [helper.make_tensor_value_info(name, FLOAT, None)]
        )

    nodes = [
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Greater", ["s", "zero"], ["c"]),
        node("If", ["c"], ["y"], then_branch=branch("u", "then"), else_branch=branch("v", "else")),
    ]
    constants = {"zero": np.array(0.0, np.float32), "u": normal(3, 2), "v": normal(3, 2)}
    return model_of(nodes, {"x": (FLOAT, [1, 3])}, {"y": (FLOAT, [1, 2])}, constants), {"x": normal(1, 3)}, ("y", (0,))


def flowers():
    x = normal(60, 3)
    return x, np.where(x[:, 0] > 0.3, "a", np.where(x[:, 1] > 0, "b", "c"))


def converted(estimator, x, y, **options):
    return to_onnx(estimator.fit(x, y), x[:1], target_opset={"": 17, "ai.onnx.ml": 3}, options=options or None)


@production
def forest_with_a_zipmap():
    x, y = flowers()
    forest = RandomForestClassifier(5, max_depth=3, random_state=0)
    return converted(forest, x, y), {"X": x[:1]}, ("output_probability", (1,))


@production
def pipeline_with_a_tensor_of_probabilities():
    x, y = flowers()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    return converted(pipeline, x, y, zipmap=False), {"X": x[:1]}, ("probabilities", (2,))


@production
def boosted_regression():
    x, _ = flowers()
    model = converted(GradientBoostingRegressor(n_estimators=5), x, x @ [1.0, 2.0, -1.0])
    return model, {"X": x[:1]}, ("variable", (0,))


def opened(model):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def as_array(value):
    """What a ZipMap gives is a list of dicts."""
    return np.array([list(row.values()) for row in value]) if isinstance(value, list) else value


def element(session, feeds, target):
    """The explained number, from the file as it is."""
    output, index = target
    names = [o.name for o in session.get_outputs()]
    rows = as_array(session.run(None, feeds)[names.index(output)])
    return float(rows[index] if rows.ndim == len(index) else rows[(0, *index)])


@pytest.mark.parametrize("name", MODELS)
def test_production_model(name):
    proto, feeds, (output, index) = MODELS[name]()
    session, model = opened(proto), onnxplain.load(proto.SerializeToString())
    expected = {o.name: as_array(v) for o, v in zip(session.get_outputs(), session.run(None, feeds), strict=True)}
    found = model.predict(feeds)
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].shape == value.shape
        if value.dtype.kind == "f":
            np.testing.assert_allclose(found[key], value, rtol=2e-3 if value.dtype == np.float16 else 1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(found[key], value)
    check_methods(model, session, feeds, (output, index))


def check_methods(model, session, feeds, target):
    """Ablation against the file itself; Shapley values by their sum and each other; the others by their ends."""
    one = {name: feed[:1] if feed.shape[:1] == (8,) else feed for name, feed in feeds.items()}
    text = f"{target[0]}[{','.join(map(str, target[1]))}]"
    close = 2e-2 if any(feed.dtype == np.float16 for feed in feeds.values()) else 1e-4

    def explained(method, **settings):
        result = onnxplain.explain(model, one, method, target=text, baseline=0.0, **settings)
        assert result.score == pytest.approx(element(session, feeds, target), rel=close, abs=close)
        shapes = {n: f.shape for n, f in one.items() if f.shape}
        found = {n: v.shape for n, v in result.values.items() if v.shape}
        assert {**shapes, **found} == shapes
        assert shapes.keys() - found.keys() <= states
        return result

    states = {name for name, entry in model.spec.inputs.items() if entry.modality == "state"}
    ablation = explained("ablation", features="elements")
    assert not any(ablation.values[name].any() for name in states)  # they stay as they are
    for name in one.keys() - states:
        feed = one[name]
        for place in np.ndindex(feed.shape) if feed.shape else ():  # a scalar beside the rows is always present
            without = {n: f.copy() for n, f in feeds.items()}
            without[name][place if feeds[name].shape == feed.shape else (slice(None), *place[1:])] = 0
            drop = ablation.score - element(session, without, target)
            assert ablation.values[name][place] == pytest.approx(drop, rel=close, abs=close)
    exact = explained("exact-shapley", features="elements")
    total = sum(float(v.sum()) for v in exact.values.values())
    assert total == pytest.approx(exact.score - exact.baseline_score, rel=close, abs=close)
    sampled = explained("kernel-shap", features="elements", budget=1 << 13)
    for name, values in exact.values.items():
        np.testing.assert_allclose(sampled.values[name], values, rtol=close, atol=close)
    assert all(np.isfinite(v).all() for v in explained("occlusion").values.values())
    assert explained("rise", masks=20).evaluations <= 21


def test_classifier_with_an_output_for_each_class_predicts_the_best_of_them():
    x, y = flowers()
    forest = RandomForestClassifier(5, max_depth=3, random_state=0)
    proto = converted(forest, x, y, zipmap="columns")
    model = onnxplain.load(proto.SerializeToString())
    for row in x[:5, None]:
        labels, *scores = opened(proto).run(None, {"X": row})
        result = onnxplain.explain(model, row, "ablation")
        assert result.label == labels[0]
        assert result.score == pytest.approx(float(np.max(scores)), abs=1e-6)


def test_single_score_is_no_class():
    proto, feeds, _ = boosted_regression()
    result = onnxplain.explain(onnxplain.load(proto.SerializeToString()), feeds, "ablation")
    assert result.manifest["target_tensor"] == "variable"
    assert result.manifest["target_index"] == []


def test_weights_in_another_file(tmp_path):
    proto, feeds, target = batch_of_eight()
    copied = onnx.ModelProto.FromString(proto.SerializeToString())  # saving with external data changes the model
    onnx.save_model(copied, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="w.bin")
    model = onnxplain.load(tmp_path / "m.onnx")
    assert [path.name for path in model.external] == ["w.bin"]
    check_methods(model, opened(proto), feeds, target)


def test_pipeline_with_an_input_for_each_column_one_of_them_text():
    ages, incomes, colours = RNG.integers(18, 80, 60), RNG.normal(3, 1, 60), RNG.choice(["red", "green", "blue"], 60)
    rows = np.array([ages, incomes, colours], dtype=object).T
    columns = ColumnTransformer([("numbers", StandardScaler(), [0, 1]), ("names", OneHotEncoder(), [2])])
    pipeline = make_pipeline(columns, LogisticRegression()).fit(rows, (ages > 40) ^ (colours == "red"))
    types = [
        ("age", FloatTensorType([None, 1])),
        ("income", FloatTensorType([None, 1])),
        ("colour", StringTensorType([None, 1])),
    ]
    proto = convert_sklearn(pipeline, initial_types=types, target_opset={"": 17, "ai.onnx.ml": 3})
    model, session = onnxplain.load(proto.SerializeToString()), opened(proto)
    row = {
        "age": np.array([[44]], np.float32),
        "income": np.array([[2.5]], np.float32),
        "colour": np.array([["red"]], dtype=object),
    }
    absent = {"age": 30.0, "income": 3.0, "colour": "green"}
    target = ("output_probability", (1,))
    with pytest.raises(onnxplain.SettingError, match="takes text, for which no number can stand in"):
        onnxplain.explain(model, row, "ablation")
    for method in ("ablation", "occlusion", "exact-shapley", "kernel-shap", "rise"):
        settings = {"masks": 20} if method == "rise" else {}
        result = onnxplain.explain(model, row, method, target="output_probability[1]", baseline=absent, **settings)
        assert result.score == pytest.approx(element(session, row, target), abs=1e-6)
        assert {n: v.shape for n, v in result.values.items()} == dict.fromkeys(row, (1, 1))
    ablation = onnxplain.explain(model, row, "ablation", target="output_probability[1]", baseline=absent)
    for name, value in absent.items():
        without = row | {name: np.array([[value]], dtype=row[name].dtype)}
        drop = ablation.score - element(session, without, target)
        assert float(ablation.values[name].item()) == pytest.approx(drop, abs=1e-6)
