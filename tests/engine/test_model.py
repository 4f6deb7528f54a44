"""Opening models: rows of any number through graphs of any batch, taps, digests, devices."""

import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain import CapabilityError, InputError, ModelError, SettingError
from onnxplain.engine import runtime
from small_graphs import affine, model_of

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(0)
W, B = RNG.normal(size=(3, 4)).astype(np.float32), np.array([1.0, -1.0, 0.5], np.float32)


def load(proto, **options):
    return onnxplain.load(proto.SerializeToString(), device="cpu", **options)


def flattening(batch):
    """A convolution, a Reshape to ``batch`` rows as exporters write it, and a dense layer."""
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["c", "shape"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["y"]),
    ]
    constants = {
        "k": RNG.normal(size=(2, 1, 3, 3)).astype(np.float32),
        "shape": np.array([batch, 32], np.int64),
        "w": RNG.normal(size=(32, 5)).astype(np.float32),
    }
    return model_of(nodes, {"x": (FLOAT, [batch, 1, 4, 4])}, {"y": (FLOAT, [batch, 5])}, constants)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_axis_is_freed_and_rows_agree_with_the_file_as_it_is(batch):
    proto, x = flattening(batch), RNG.normal(size=(7, 1, 4, 4)).astype(np.float32)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = [session.run(None, {"x": np.repeat(row[None], batch, axis=0)})[0][0] for row in x]
    model = load(proto)
    assert np.allclose(model.predict(x)["y"], expected, atol=1e-5)
    assert model.batching == "freed"


def mixing(batch):
    """A graph whose rows cannot be told apart: a softmax over the batch axis."""
    nodes = [helper.make_node("Softmax", ["x"], ["y"], axis=0)]
    return model_of(nodes, {"x": (FLOAT, [batch, 3])}, {"y": (FLOAT, [batch, 3])})


def test_rows_that_influence_each_other_are_looped():
    model = load(mixing("batch"))
    assert np.allclose(model.predict(RNG.normal(size=(4, 3)).astype(np.float32))["y"], 1.0)
    assert model.batching == "looped"


def test_a_declared_free_axis_with_a_baked_reshape_still_takes_any_number_of_rows():
    proto = flattening(1)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    x = RNG.normal(size=(3, 1, 4, 4)).astype(np.float32)
    model, one = load(proto), load(flattening_like(proto))
    singles = np.concatenate([one.predict(row[None])["y"] for row in x])
    assert np.allclose(model.predict(x)["y"], singles, atol=1e-5)
    assert model.batching in {"freed", "looped"}


def flattening_like(proto):
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    fixed.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    return fixed


def test_a_model_without_a_batch_axis_takes_one_instance_as_it_is():
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)]
    proto = model_of(nodes, {"x": (FLOAT, [3, 2, 2])}, {"y": (FLOAT, [2])}, {"axes": np.array([0, 1], np.int64)})
    model, x = load(proto), np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    assert np.allclose(model.predict(x)["y"], [30, 36])
    assert model.batching == "looped"
    result = onnxplain.explain(model, x, "occlusion", target="y[1]", window=(1, 1, 1), stride=1, baseline=0)
    assert result.values["x"].shape == (3, 2, 2)
    assert np.allclose(result.values["x"], x * [0, 1])


def test_states_of_recurrent_models_have_their_batch_axis_in_the_middle():
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r", "", "", "h0", "c0"], ["", "hn", "cn"], hidden_size=4),
        helper.make_node("Squeeze", ["hn", "zero"], ["h"]),
    ]
    constants = {
        "w": RNG.normal(size=(1, 16, 2)).astype(np.float32),
        "r": RNG.normal(size=(1, 16, 4)).astype(np.float32),
        "zero": np.array([0], np.int64),
    }
    proto = model_of(
        nodes,
        {"x": (FLOAT, [5, "batch", 2]), "h0": (FLOAT, [1, "batch", 4]), "c0": (FLOAT, [1, "batch", 4])},
        {"h": (FLOAT, ["batch", 4])},
        constants,
    )
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 5
    model = load(proto)
    feeds = {
        "x": RNG.normal(size=(5, 3, 2)).astype(np.float32),
        "h0": RNG.normal(size=(1, 3, 4)).astype(np.float32),
        "c0": RNG.normal(size=(1, 3, 4)).astype(np.float32),
    }
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, feeds)[0]
    assert np.allclose(model.predict(feeds)["h"], expected, atol=1e-6)
    assert {i.name: i.batch_axis for i in model.inputs} == {"x": 1, "h0": 1, "c0": 1}


@pytest.mark.parametrize("dtype", ["f2", "f8", "i4", "i8", "u1"])
def test_inputs_of_any_number_type(dtype):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=FLOAT),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = np.array([[1.0], [2.0], [4.0]], np.float32)
    model = load(model_of(nodes, {"x": (kind, ["batch", 3])}, {"y": (FLOAT, ["batch", 1])}, {"w": weights}))
    x = np.array([[3, 2, 1], [0, 1, 5]]).astype(dtype)
    assert np.allclose(model.predict(x)["y"], [[11], [22]])
    result = onnxplain.explain(model, x[:1], "ablation", target=0, baseline=0, features="elements")
    assert np.allclose(result.values["x"], [[3, 4, 4]])


def test_names_with_colons_dots_and_slashes():
    nodes = [helper.make_node("Gemm", ["serving/x:0", "W.1"], ["model/dense.out:0"], transB=1)]
    proto = model_of(
        nodes,
        {"serving/x:0": (FLOAT, ["batch", 4])},
        {"model/dense.out:0": (FLOAT, ["batch", 3])},
        {"W.1": W},
    )
    model, x = load(proto), RNG.normal(size=(1, 4)).astype(np.float32)
    result = onnxplain.explain(model, x, "ablation", target="model/dense.out:0:2", baseline=0, features="elements")
    assert np.allclose(result.values["serving/x:0"], x * W[2], atol=1e-5)
    assert result.score == pytest.approx(float((x @ W.T)[0, 2]), rel=1e-5)


def test_activations_tap_inner_tensors():
    model, x = load(affine(W, B, activation="Softmax")), RNG.normal(size=(2, 4)).astype(np.float32)
    assert [t.name for t in model.tensors()] == ["z", "y"]
    tapped = model.activations(x, ["z", "y"])
    assert np.allclose(tapped["z"], x @ W.T + B, atol=1e-5)
    assert np.allclose(tapped["y"].sum(axis=1), 1, atol=1e-6)


def test_unknown_tensors_are_answered_with_the_nearest():
    with pytest.raises(SettingError, match="no tensor 'zz'"):
        load(affine(W, B)).activations(np.zeros((1, 4), np.float32), ["zz"])


def test_the_digest_covers_the_file_and_its_external_data(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save_model(
        affine(np.ones((64, 64)), np.ones(64)), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    expected = hashlib.sha256(path.read_bytes() + (tmp_path / "w.bin").read_bytes()).hexdigest()
    model = onnxplain.load(path)
    assert model.digest == expected
    assert np.allclose(model.predict(np.ones((2, 64), np.float32))["y"], 65)


def test_cuda_is_refused_where_there_is_none_and_auto_is_silent(capfd):
    if not runtime.cuda_missing():
        pytest.skip("this machine has a GPU")
    with pytest.raises(CapabilityError, match="CUDA cannot be used here"):
        onnxplain.load(affine(W, B).SerializeToString(), device="cuda")
    model = onnxplain.load(affine(W, B).SerializeToString(), device="auto")
    assert model.predict(np.zeros((1, 4), np.float32))["y"].shape == (1, 3)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("provider", ["CUDAExecutionProvider", "TensorrtExecutionProvider"])
def test_a_provider_that_falls_back_is_an_error(provider, capfd):
    if provider not in onnxruntime.get_available_providers() or not runtime.cuda_missing():
        pytest.skip("needs the GPU wheel on a machine without a GPU")
    model = onnxplain.load(affine(W, B).SerializeToString(), providers=[provider])
    with pytest.raises(CapabilityError, match=f"{provider} does not start here"):
        model.predict(np.zeros((1, 4), np.float32))
    captured = capfd.readouterr()  # ONNX Runtime prints why: on stdout, where results belong
    assert captured.out == captured.err == ""


def test_what_a_provider_says_of_itself_is_the_reason(monkeypatch):
    def refuses(*_, **__):
        raise ValueError("Invalid EP option: blah")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuses)
    model = onnxplain.load(affine(W, B).SerializeToString(), providers=[("CPUExecutionProvider", {"blah": "1"})])
    with pytest.raises(CapabilityError, match=r"CPUExecutionProvider does not start here\n.*Invalid EP option: blah"):
        model.predict(np.zeros((1, 4), np.float32))


def test_what_a_provider_cannot_open_is_told_without_its_source_code(monkeypatch):
    """As OpenVINO 2025 says it, with two places in the source and a template's arguments."""
    said = (
        "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /a/backends/basic_backend.cc:136 "
        "ep::Backend::Backend(std::unique_ptr<onnx::ModelProto>&, const ep::Context&) /a/ov_interface.cc:28 "
        "auto ep::Boundary(Func&&, std::format_string<Args ...>&&) [with Func = Core::Compile(bool)::<lambda()>] "
        "[EP] Exception while Loading Network: Exception from src/core.cpp:114:\n"
        "Exception from src/plugin.cpp:53:\nCheck '!rank.is_dynamic()' failed at src/node.cpp:106:\nno rank\n"
    )

    def fails(*_, **__):
        raise runtime._ort_errors.Fail(said)

    monkeypatch.setattr(onnxruntime, "InferenceSession", fails)
    elsewhere = runtime.Device("Elsewhere", ("ElsewhereExecutionProvider",))
    model = onnxplain.Model(affine(W, B).SerializeToString(), None, elsewhere, 1)
    with pytest.raises(onnxplain.ModelError) as caught:
        model.predict(np.zeros((1, 4), np.float32))
    assert caught.value.message == "ONNX Runtime cannot open the model on ElsewhereExecutionProvider"
    told = "[EP] Exception while Loading Network: Check '!rank.is_dynamic()' failed at src/node.cpp:106: no rank"
    assert caught.value.where == told


def test_unknown_devices_and_providers_are_named():
    proto = affine(W, B).SerializeToString()
    with pytest.raises(SettingError, match="unknown device 'gpu'"):
        onnxplain.load(proto, device="gpu")
    with pytest.raises(CapabilityError, match="CPUExecutionProvider"):
        onnxplain.load(proto, providers=["CPUExecutionProvder"])


def test_binding_to_device_memory_gives_the_same_numbers():
    proto = affine(W, B).SerializeToString()
    session = runtime.Session(proto, None, runtime.Device("cpu", ("CPUExecutionProvider",)), 1)
    x = {"x": RNG.normal(size=(2, 4)).astype(np.float32)}
    assert np.array_equal(session.run_bound(x)[0], session.run(x)[0])


def test_an_operator_that_the_runtime_lacks_is_named():
    nodes = [helper.make_node("FancyNewOp", ["x"], ["y"], domain="com.microsoft")]
    proto = model_of(nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 2])}, domains={"com.microsoft": 1})
    with pytest.raises(ModelError) as caught:
        load(proto).predict(np.zeros((1, 2), np.float32))
    assert "FancyNewOp" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 6


def test_a_model_says_what_it_takes_and_gives(tmp_path):
    proto = affine(W, B)
    assert repr(load(proto)) == "<Model from bytes: x: float32 (batch, 4) -> y: float32 (batch, 3); on cpu>"
    onnx.save(proto, tmp_path / "m.onnx")
    assert repr(onnxplain.load(tmp_path / "m.onnx")).startswith("<Model m.onnx: x")


@pytest.mark.parametrize("given", [None, 3, affine(W, B), bytearray(b"x")], ids=["none", "number", "proto", "bytes"])
def test_what_is_neither_a_path_nor_bytes_is_refused(given):
    with pytest.raises(ModelError, match=f"not of type {type(given).__name__}"):
        onnxplain.load(given)


def test_a_lone_provider_may_be_named_without_a_list():
    assert onnxplain.load(affine(W, B).SerializeToString(), providers="CPUExecutionProvider").device.is_cpu


def test_nan_in_the_input_is_refused():
    with pytest.raises(InputError, match=r"(?i)nan"):
        load(affine(W, B)).predict(np.array([[1, np.nan, 0, 0]], np.float32))


def test_nan_in_the_scores_stops_the_method():
    nodes = [helper.make_node("Log", ["x"], ["y"])]
    model = load(model_of(nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 2])}))
    with pytest.raises(ModelError, match="is -inf"):
        onnxplain.explain(model, np.array([[1.0, 2.0]], np.float32), "ablation", target=0, baseline=0)


def test_threads_below_one_are_refused():
    with pytest.raises(SettingError, match="at least 1"):
        load(affine(W, B), threads=0)


def test_inputs_without_rows_stay_as_they_are_for_every_row():
    nodes = [helper.make_node("Mul", ["x", "scale"], ["s"]), helper.make_node("ReduceSum", ["s", "one"], ["y"])]
    proto = model_of(
        nodes,
        {"x": (FLOAT, ["batch", 3]), "scale": (FLOAT, [3])},
        {"y": (FLOAT, ["batch", 1])},
        {"one": np.array([1], np.int64)},
    )
    model, scale = load(proto), np.array([1.0, 10.0, 100.0], np.float32)
    rows = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    assert np.allclose(model.predict({"x": rows, "scale": scale})["y"], [[321], [654]])
    result = onnxplain.explain(model, {"x": rows[:1], "scale": scale}, "exact-shapley", baseline=0)
    assert np.allclose(result.values["x"], [[1, 20, 300]])


@pytest.mark.parametrize("change", ["written to", "replaced", "removed"])
def test_weights_that_change_after_the_digest_was_made_are_refused(tmp_path, change):
    onnx.save_model(affine(W, B), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="w.bin")
    model = onnxplain.load(tmp_path / "m.onnx", device="cpu")
    assert model.predict(np.ones((1, 4), np.float32))["y"].shape == (1, 3)
    weights = tmp_path / "w.bin"
    if change == "written to":
        weights.write_bytes(bytes(weights.stat().st_size))
    elif change == "replaced":
        (tmp_path / "other.bin").write_bytes(bytes(weights.stat().st_size))
        (tmp_path / "other.bin").replace(weights)
    else:
        weights.unlink()
    for _ in range(2):
        with pytest.raises(ModelError, match="have changed since it was opened"):
            model.activations(np.ones((1, 4), np.float32), ["y", "x"])


def test_text_that_is_not_utf_8_and_unknown_element_types_are_refused():
    labels = helper.make_node("Constant", [], ["y"], value=helper.make_tensor("t", TensorProto.STRING, [1], [b"\xff!"]))
    scores = helper.make_node("Identity", ["x"], ["z"])
    proto = model_of(
        [labels, scores], {"x": (FLOAT, ["n", 1])}, {"y": (TensorProto.STRING, [1]), "z": (FLOAT, ["n", 1])}
    )
    with pytest.raises(ModelError, match=r"text that is not UTF-8: b'\\xff!'"):
        load(proto).predict(np.ones((1, 1), np.float32))
    proto.graph.output[1].type.tensor_type.elem_type = 65
    with pytest.raises(ModelError, match="'z' has the unknown element type 65"):
        load(proto)
