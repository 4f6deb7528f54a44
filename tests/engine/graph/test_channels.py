"""Channels of hidden layers: which there are, and that a shut gate makes them zero and nothing else."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxplain
from onnxplain.engine import graph
from small_graphs import model_of

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(3)


def node(op_type, inputs, output, **attributes):
    return helper.make_node(op_type, inputs.split(), [output], name=f"n_{output}", **attributes)


def drawn(**shapes):
    return {name: RNG.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


CONSTANTS = drawn(W1=(4, 2, 3, 3), b1=(4,), W2=(4, 1, 3, 3), W3=(4, 3, 2, 2), W4=(5, 12), w5=(5, 3)) | {
    "scale": np.array([1.5, -1, 0.5, 2], np.float32),
    "shift": np.array([0.5, 1, -2, 3], np.float32),
    "mean": np.zeros(4, np.float32),
    "var": np.ones(4, np.float32),
    "bias": np.arange(5, dtype=np.float32),
    "column": np.ones((4, 1, 1), np.float32),
}


@pytest.fixture(scope="module")
def proto():
    """Convolution with batch norm and sigmoid; grouped, then added to it; transposed; dense with a bias beside it."""
    nodes = [
        node("Conv", "x W1 b1", "c1", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c1 scale shift mean var", "n1"),
        node("Sigmoid", "n1", "s1"),
        node("Conv", "s1 W2", "c2", pads=[1, 1, 1, 1], group=4),
        node("Add", "column c2", "a2"),
        node("Add", "s1 a2", "sum"),
        node("ConvTranspose", "sum W3", "c3", group=2, strides=[2, 2]),
        node("GlobalAveragePool", "c3", "p"),
        node("Concat", "p p", "wide", axis=1),
        node("Flatten", "wide", "flat"),
        node("Gemm", "flat W4", "d4", transB=1),
        node("Add", "d4 bias", "a4"),
        node("Tanh", "a4", "t4"),
        node("MatMul", "t4 w5", "y"),
    ]
    return model_of(nodes, {"x": (FLOAT, ["b", 2, 6, 5])}, {"y": (FLOAT, ["b", 3])}, CONSTANTS)


@pytest.fixture(scope="module")
def x():
    return RNG.normal(size=(2, 2, 6, 5)).astype(np.float32)


def test_layers_end_behind_what_is_theirs_alone(proto):
    found = graph.hidden_channels(proto, "y")
    assert [(c.layer, c.tensor, c.count) for c in found] == [
        ("n_c1", "s1", 4),
        ("n_c2", "a2", 4),  # the sum of two layers is neither's
        ("n_c3", "c3", 6),
        ("n_d4", "t4", 5),
    ]
    assert [c.layer for c in graph.hidden_channels(proto, "c3")] == ["n_c1", "n_c2"]
    assert graph.hidden_channels(proto, "s1") == ()


def test_norms_are_those_of_each_channels_weights(proto):
    found = {c.made: c.norms(CONSTANTS[c.weight]) for c in graph.hidden_channels(proto, "y")}
    np.testing.assert_allclose(found["c1"], [np.sqrt((CONSTANTS["W1"][k] ** 2).sum()) for k in range(4)], rtol=1e-6)
    by_group = [np.sqrt((CONSTANTS["W3"][2 * (k // 3) : 2 * (k // 3) + 2, k % 3] ** 2).sum()) for k in range(6)]
    np.testing.assert_allclose(found["c3"], by_group, rtol=1e-6)
    np.testing.assert_allclose(found["d4"], np.linalg.norm(CONSTANTS["W4"], axis=1), rtol=1e-6)


def test_open_gates_change_nothing_and_shut_ones_make_zeros(proto, x):
    layers = graph.hidden_channels(proto, "y")
    made, name, length = graph.gated(proto, layers)
    assert (name, length) == ("kept", 19)
    onnx.checker.check_model(made)
    before = onnxplain.load(proto.SerializeToString(), device="cpu", threads=1)
    after = onnxplain.load(made.SerializeToString(), device="cpu", threads=1)
    tensors = ["s1", "a2", "c3", "t4", "y"]
    kept = np.ones(length, np.float32)
    whole = before.activations(x, tensors)
    for tensor, values in after.activations({"x": x, name: kept}, tensors).items():
        np.testing.assert_allclose(values, whole[tensor], rtol=1e-5, atol=1e-6, err_msg=tensor)
    kept[[1, 4 + 2, 8 + 5, 14]] = 0
    found = after.activations({"x": x, name: kept}, tensors)
    assert not found["s1"][:, 1].any()  # sigmoid(batch norm of zero) would be 0.73
    np.testing.assert_allclose(found["s1"][:, [0, 2, 3]], whole["s1"][:, [0, 2, 3]], rtol=1e-5, atol=1e-6)
    assert not found["a2"][:, 2].any()
    assert not found["c3"][:, 5].any()
    assert not found["t4"][:, 0].any()
    assert found["t4"][:, 1:].all()


def test_a_shut_channel_is_one_that_no_layer_reads(proto, x):
    layers = graph.hidden_channels(proto, "y")
    made, name, length = graph.gated(proto, layers)
    kept = np.ones(length, np.float32)
    kept[8 + 4] = 0  # channel 4 of c3, which the dense layer reads as columns 4 and 10
    unread = CONSTANTS["W4"].copy()
    unread[:, [4, 10]] = 0
    other = onnx.ModelProto.FromString(proto.SerializeToString())
    (weight,) = (t for t in other.graph.initializer if t.name == "W4")
    weight.CopyFrom(numpy_helper.from_array(unread, "W4"))
    models = [onnxplain.load(p.SerializeToString(), device="cpu", threads=1) for p in (made, other)]
    one, two = models[0].predict({"x": x, name: kept})["y"], models[1].predict(x)["y"]
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_half_precision_keeps_its_type(x):
    constants = {n: a.astype(np.float16) for n, a in CONSTANTS.items() if n in {"W1", "b1", "W3"}}
    nodes = [node("Conv", "x W1 b1", "c1"), node("Relu", "c1", "r1"), node("ConvTranspose", "r1 W3", "y")]
    half = TensorProto.FLOAT16
    proto = model_of(nodes, {"x": (half, ["b", 2, 6, 5])}, {"y": (half, ["b", 3, 5, 4])}, constants)
    made, name, length = graph.gated(proto, graph.hidden_channels(proto, "y"))
    model = onnxplain.load(made.SerializeToString(), device="cpu", threads=1)
    kept = np.array([1, 0, 1, 1], np.float32)
    assert length == 4
    found = model.activations({"x": x.astype(np.float16), name: kept}, ["r1"])["r1"]
    assert found.dtype == np.float16
    assert not found[:, 1].any()
    assert found[:, 0].any()


def test_the_new_input_is_never_taken_for_a_batch():
    weights = drawn(W=(4, 3), V=(2, 4))
    nodes = [node("Gemm", "x W", "h", transB=1), node("Relu", "h", "r"), node("Gemm", "r V", "y", transB=1)]
    proto = model_of(nodes, {"x": (FLOAT, [4, 3])}, {"y": (FLOAT, [4, 2])}, weights)  # a batch of four, four channels
    made, name, length = graph.gated(proto, graph.hidden_channels(proto, "y"), batches=[4])
    assert length == 5
    model = onnxplain.load(made.SerializeToString(), device="cpu", threads=1)
    assert [i.batch_axis for i in model.inputs] == [0, None]
    assert model.predict({"x": np.ones((4, 3), np.float32), name: np.ones(5, np.float32)})["y"].shape == (4, 2)
