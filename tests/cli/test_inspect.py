"""``onnxplain inspect``: what is said of a model, and the spec that it writes."""

import importlib.util
import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain.engine.capabilities import GRADIENTS
from onnxplain.engine.specs.reading import read_spec
from onnxplain.models import catalogue
from small_graphs import affine, model_of
from table_graphs import pipeline, xgboost_like
from text_models import string_model


def inspected(run, *args):
    result = run("inspect", *args, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_json_of_the_digit_network(run):
    found = inspected(run, "digits-cnn")
    assert found["schema_version"] == 1
    assert found["model"]["opset"] == {"ai.onnx": 17}
    assert found["model"]["digest"] == catalogue.find("digits-cnn").digest
    assert found["model"]["inputs"] == [
        {"name": "image", "dtype": "float32", "shape": ["batch", 1, 8, 8], "batch_axis": 0}
    ]
    target = found["default_target"]
    assert (target["output"], target["tensor"], target["cut"].lower()) == ("probabilities", "logits", "softmax")
    assert (found["batching"], found["labels"], found["task"]) == ("any", 10, "classification")
    assert found["preprocessing"]["image"]["assumed"] is False
    hindrances = {m["why"] for m in found["methods"] if not m["can_run"]}
    assert {text for text in hindrances if "cam" not in text} - {GRADIENTS} == {
        "no attention was found in this model",
        "'logits' is not a linear layer over globally averaged channels: Relu 'relu3' stands between",
    }
    assert (GRADIENTS in hindrances) == (importlib.util.find_spec("torch") is None)
    assert "tensors" not in found


def test_text_says_the_same(run):
    shown = run("inspect", "digits-cnn").stdout
    assert "the predicted class of 'probabilities', before its final" in shown
    assert "any number of rows a run" in shown
    assert "(batch, 1, 8, 8)" in shown
    assert "occlusion" in shown


def test_tensors_are_listed_in_graph_order(run):
    names = [t["name"] for t in inspected(run, "digits-cnn", "--tensors")["tensors"]]
    assert names[0] == "conv1"
    assert names[-2:] == ["logits", "probabilities"]
    assert "relu1          Relu     float32  (batch, 16, 8, 8)" in run("inspect", "digits-cnn", "--tensors").stdout


@pytest.mark.parametrize(("axes", "batching"), [(("batch",), "any"), ((1,), "freed")])
def test_batching_is_found_by_running(run, tmp_path, axes, batching):
    onnx.save(affine(np.eye(3), np.zeros(3), axes=axes), tmp_path / "m.onnx")
    assert inspected(run, "m.onnx")["batching"] == batching


def test_model_that_does_not_run_on_made_up_numbers_is_not_established(run, tmp_path):
    nodes = [helper.make_node("Gather", ["table", "i"], ["y"], axis=0)]
    proto = model_of(
        nodes,
        {"i": (TensorProto.INT64, ["batch", 1])},
        {"y": (TensorProto.FLOAT, None)},
        {"table": np.zeros((0, 2), np.float32)},
    )
    onnx.save(proto, tmp_path / "m.onnx")
    found = inspected(run, "m.onnx")
    assert found["batching"] is None
    assert found["batching_reason"]
    assert "not established" in run("inspect", "m.onnx").stdout


@pytest.mark.parametrize("shape", [["n", 3, 100_000, 100_000], ["n", 10**10]])
def test_inputs_of_gigabytes_are_not_made_up(run, tmp_path, shape):
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("ReduceMean", ["flat"], ["y"], axes=[1])]
    inputs, outputs = {"x": (TensorProto.FLOAT, shape)}, {"y": (TensorProto.FLOAT, ["n", 1])}
    onnx.save(model_of(nodes, inputs, outputs), tmp_path / "m.onnx")
    found = inspected(run, "m.onnx")
    assert found["batching"] is None
    assert "0,000,000 numbers, more than are made up" in found["batching_reason"]


def test_no_method_can_run_where_the_runtime_does_not_open_the_model(run, tmp_path):
    proto = affine(np.eye(2), np.zeros(2))
    proto.graph.node[0].input[1] = "gone"
    onnx.save(proto, tmp_path / "dangling.onnx")
    result = run("inspect", "dangling.onnx", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert "'gone'" in found["batching_reason"]
    assert {m["why"] for m in found["methods"]} == {"ONNX Runtime does not open this model"}


def test_model_without_scores_says_that_a_target_is_needed(run, tmp_path):
    nodes = [helper.make_node("ArgMax", ["x"], ["y"], axis=1)]
    onnx.save(
        model_of(nodes, {"x": (TensorProto.FLOAT, ["batch", 3])}, {"y": (TensorProto.INT64, ["batch", 1])}),
        tmp_path / "m.onnx",
    )
    found = inspected(run, "m.onnx")
    assert found["default_target"]["output"] is None
    assert not any(m["can_run"] for m in found["methods"])
    assert all("--target" in m["why"] for m in found["methods"])


def test_external_files_are_named(run, tmp_path):
    proto = affine(np.ones((64, 64)), np.zeros(64))
    onnx.save(
        proto,
        tmp_path / "m.onnx",
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location="m.weights",
        size_threshold=0,
    )
    found = inspected(run, "m.onnx")
    assert found["model"]["external_files"] == ["m.weights"]
    assert found["model"]["size"] == sum((tmp_path / n).stat().st_size for n in ("m.onnx", "m.weights"))


def test_written_spec_is_read_back_and_never_overwritten_unasked(run, tmp_path):
    shutil.copy(catalogue.path("digits-cnn"), tmp_path / "bare.onnx")
    assert inspected(run, "bare.onnx")["preprocessing"]["image"]["assumed"] is True
    found = inspected(run, "bare.onnx", "--write-spec")
    assert found["written"] == str(tmp_path / "bare.toml")
    spec = read_spec(tmp_path / "bare.toml")
    assert (spec.inputs["image"].modality, spec.inputs["image"].layout) == ("image", "NCHW")
    assert spec.inputs["image"].preprocessing.size == (8, 8)
    assert inspected(run, "bare.onnx")["preprocessing"]["image"]["assumed"] is False
    (tmp_path / "bare.toml").write_text('task = "classification"\n')
    refused = run("inspect", "bare.onnx", "--write-spec")
    assert refused.exit_code == 3
    assert "exists" in refused.stderr
    assert (tmp_path / "bare.toml").read_text() == 'task = "classification"\n'
    assert run("inspect", "bare.onnx", "--write-spec", "--force").exit_code == 0
    assert read_spec(tmp_path / "bare.toml").inputs["image"].preprocessing is not None


def test_spec_goes_where_it_is_told(run, linear, tmp_path):
    result = run("inspect", linear, "--write-spec", "other.toml")
    assert result.exit_code == 0
    assert result.stderr.startswith("note: wrote other.toml")
    spec = read_spec(tmp_path / "other.toml")
    assert spec.labels == ("small", "large")
    assert spec.inputs["x"].columns == ("length", "width", "weight")


def test_preparation_is_said_in_a_line(run, tmp_path):
    shutil.copy(catalogue.path("digits-cnn"), tmp_path / "m.onnx")
    (tmp_path / "m.toml").write_text(
        '[inputs."image".preprocessing]\nsize = 8\nresize = 12\ncolour = "L"\nscale = 0.5\nmean = 3\nstd = 2\n'
    )
    shown = run("inspect", "m.onnx").stdout
    assert "L, short side to 12, centre crop 8 x 8; (pixels * 0.5 - 3) / 2; as the spec says" in shown


def test_wrong_spec_is_refused(run, linear, tmp_path):
    (tmp_path / "s.toml").write_text("labls = []\n")
    result = run("inspect", linear, "--spec", "s.toml")
    assert result.exit_code == 3
    assert "did you mean 'labels'?" in result.stderr


def codes() -> onnx.ModelProto:
    """Worths of whole numbers, added up: no tensor has positions, and there is a gradient at the worths."""
    nodes = [
        helper.make_node("Gather", ["worths", "codes"], ["found"], axis=0),
        helper.make_node("ReduceSum", ["found", "axis"], ["y"], keepdims=0),
    ]
    worths = np.arange(12, dtype=np.float32).reshape(4, 3)
    inputs, outputs = {"codes": (TensorProto.INT64, ["n", 5])}, {"y": (TensorProto.FLOAT, ["n", 3])}
    return model_of(nodes, inputs, outputs, {"worths": worths, "axis": np.array([1])})


@pytest.mark.parametrize(
    ("made", "given"),
    [
        (string_model, "a wonderful film"),
        (xgboost_like, np.array([[1.0, 5.0, 2.0]], np.float32)),
        (pipeline, {"age": 30.0, "visits": 2, "colour": "red", "city": "Oslo"}),
        (codes, np.array([[1, 2, 3, 0, 1]])),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_method_that_can_run_runs_and_one_that_cannot_does_not(made, given, run, tmp_path):
    """Asked of the methods themselves, on an input of the model's own."""
    onnx.save(made(), tmp_path / "m.onnx")
    if made is pipeline:
        (tmp_path / "rows.csv").write_text("age,visits,colour,city\n40,4,blue,Lima\n50,3,green,Oslo\n")
        (tmp_path / "m.toml").write_text('background = "rows.csv"\n')
    model = onnxplain.load(tmp_path / "m.onnx")
    if isinstance(given, str):
        given = onnxplain.Text(given)
    elif isinstance(given, dict):
        kinds = {info.name: info.dtype for info in model.inputs}
        given = {name: np.array([[value]], kinds[name]) for name, value in given.items()}
    told = {m["name"]: m for m in inspected(run, "m.onnx")["methods"]}
    for name, method in told.items():
        reason = refusal(model, given, name)
        if method["with"] == "--wrt TENSOR":
            assert "--wrt TENSOR" in reason
        else:
            assert method["can_run"] == (not reason), f"{name}: {reason}"


def refusal(model, given, method):
    """Return why a method explains nothing; empty where it does."""
    try:
        onnxplain.explain(model, given, method)
    except onnxplain.OnnxplainError as error:
        return str(error)
    return ""


def test_methods_that_need_a_tensor_are_said_to(run):
    lines = run("inspect", "digits-cnn").stdout.splitlines()
    named = {line.split()[0] for line in lines if line.endswith("can run with --wrt TENSOR")}
    gradients = {"conductance", "gradient-x-activation", "internal-influence"}
    assert named - gradients == {"activation"}
    assert named >= gradients or importlib.util.find_spec("torch") is None
    assert "  exact-shapley                can run with at most 20 features" in lines


def test_a_model_of_one_string_is_written_down_as_one_of_texts(run, tmp_path):
    onnx.save(string_model(), tmp_path / "m.onnx")
    before = inspected(run, "m.onnx", "--write-spec")
    assert (before["preprocessing"]["text"]["modality"], before["preprocessing"]["text"]["layout"]) == ("text", "")
    assert read_spec(tmp_path / "m.toml").inputs["text"].modality == "text"
    after = inspected(run, "m.onnx")
    assert after["methods"] == before["methods"]
    made = onnxplain.explain(tmp_path / "m.onnx", onnxplain.Text("a wonderful film"), "exact-shapley", target=1)
    np.testing.assert_allclose(made.feature_values, [0, 2, 0.25])


def test_a_column_of_categories_stays_one_of_a_table(run, tmp_path):
    nodes = [
        helper.make_node("OneHotEncoder", ["city"], ["hot"], domain="ai.onnx.ml", cats_strings=["Lima", "Oslo"]),
        helper.make_node("Flatten", ["hot"], ["y"]),
    ]
    inputs, outputs = {"city": (TensorProto.STRING, ["n", 1])}, {"y": (TensorProto.FLOAT, ["n", 2])}
    onnx.save(model_of(nodes, inputs, outputs, domains={"ai.onnx.ml": 1}), tmp_path / "m.onnx")
    assert inspected(run, "m.onnx", "--write-spec")["preprocessing"]["city"]["modality"] == "table"
    entry = read_spec(tmp_path / "m.toml").inputs["city"]
    assert (entry.modality, entry.categories) == ("table", {"city": ("Lima", "Oslo")})
