import ml_dtypes
import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from onnxplain.adapters.torch import convert
from onnxplain.adapters.torch.operators.quantised import rounded
from single_nodes import by_runtime, by_twin, single_node

rng = np.random.default_rng(8)
X = (rng.normal(size=(3, 4, 6)) * 3).astype(np.float32)
BYTES = rng.integers(0, 256, (3, 4, 6)).astype(np.uint8)


def assert_same(model, inputs):
    """Quantised values are carried in floats: equal as numbers."""
    for found, wanted in zip(by_twin(model, inputs), by_runtime(model, inputs), strict=True):
        np.testing.assert_allclose(found, wanted.astype(np.float64), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
@pytest.mark.parametrize("stored", [(), (1, 2)])
def test_quantisation_rounds_half_to_even_and_saturates(dtype, stored):
    x = np.array([-1e9, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 1e9], np.float32)
    inputs = [x, np.array(1, np.float32), np.array(3, dtype)]
    model = single_node("QuantizeLinear", inputs, opset=21, constant=stored)
    assert_same(model, inputs)
    bounds = np.iinfo(dtype)
    middle = [max(bounds.min, v) for v in (1, 1, 3, 3, 5, 5)]
    assert by_twin(model, inputs)[0].tolist() == [bounds.min, *middle, bounds.max]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_scales_along_an_axis(axis):
    length = X.shape[axis]
    scale = rng.uniform(0.02, 0.1, length).astype(np.float32)
    zero = rng.integers(0, 256, length).astype(np.uint8)
    for op_type, x in (("QuantizeLinear", X), ("DequantizeLinear", BYTES)):
        inputs = [x, scale, zero]
        assert_same(single_node(op_type, inputs, opset=21, constant=(1, 2), axis=axis), inputs)


def test_scales_of_blocks():
    scale, zero = rng.uniform(0.1, 1, (3, 4, 2)).astype(np.float32), rng.integers(0, 256, (3, 4, 2)).astype(np.uint8)
    for op_type, x in (("QuantizeLinear", X), ("DequantizeLinear", BYTES)):
        inputs = [x, scale, zero]
        assert_same(single_node(op_type, inputs, opset=21, axis=2, block_size=3), inputs)


def test_without_a_zero_point_the_type_is_uint8_or_as_named():
    x = np.array([-300, 300], np.float32)
    inputs = [x, np.array(1, np.float32)]
    assert by_twin(single_node("QuantizeLinear", inputs, opset=13), inputs)[0].tolist() == [0, 255]
    named = single_node("QuantizeLinear", inputs, opset=21, output_dtype=TensorProto.INT8)
    assert by_twin(named, inputs)[0].tolist() == [-128, 127]


@pytest.mark.parametrize("name", ["int2", "uint2", "int4", "uint4", "float4_e2m1fn"])
def test_weights_of_few_bits_are_restored(name):
    """As the weights of a language model are stored: two steps per number and row, and a zero point where whole."""
    dtype = np.dtype(getattr(ml_dtypes, name))
    levels = [0, 0.5, 1, 2, -3, 6] if "float" in name else [0, 1, -2, 1] if name == "int2" else [0, 1, 3, 2]
    weights = np.array([levels, levels[::-1]], np.float32)
    scale = np.array([0.5, 3.0], np.float32)
    inputs = [weights.astype(dtype), scale] + ([] if "float" in name else [np.ones(2, dtype)])
    model = single_node("DequantizeLinear", inputs, opset=25, constant=range(len(inputs)), axis=0)
    expected = (weights - (0 if "float" in name else 1)) * scale[:, None]
    assert by_twin(model, inputs)[0].tolist() == expected.tolist()


@pytest.mark.parametrize(("name", "high"), [("float8_e4m3fn", 448), ("float8_e5m2", 57344)])
def test_float8_saturates(name, high):
    dtype = np.dtype(getattr(ml_dtypes, name))
    x = np.array([-1e9, 0.5, 0.3, 1e9], np.float32)
    inputs = [x, np.array(1, np.float32), np.zeros((), dtype)]
    model = single_node("QuantizeLinear", inputs, opset=21, constant=(1, 2))
    assert by_twin(model, inputs)[0].tolist() == [-high, 0.5, float(np.float32(0.3).astype(dtype)), high]


def test_four_bit_weights_are_restored():
    weights = np.array([[-8, 7], [3, -1]]).astype(ml_dtypes.int4)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["real"]),
        helper.make_node("MatMul", ["x", "real"], ["y"]),
    ]
    stored = [
        helper.make_tensor("w", TensorProto.INT4, weights.shape, weights.astype(int).ravel().tolist()),
        numpy_helper.from_array(np.float32(0.5), "s"),
    ]
    graph = helper.make_graph(
        nodes,
        "four bits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        stored,
    )
    module = convert(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    assert module(torch.tensor([[1.0, 2.0]])).tolist() == [[-1.0, 2.5]]


@pytest.mark.parametrize("x", [X, np.abs(X), -np.abs(X), 0 * X], ids=["both signs", "positive", "negative", "zero"])
def test_dynamic_quantisation_equals_onnx_runtime(x):
    assert_same(single_node("DynamicQuantizeLinear", [x], opset=11, outputs=3), [x])


def test_rounding_has_the_gradient_of_the_identity():
    x = torch.tensor([0.4, 1.5, -2.6], requires_grad=True)
    y = rounded(x)
    assert y.tolist() == [0, 2, -3]
    (y * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [1, 2, 3]


def test_gradient_passes_through_a_quantised_layer_but_not_where_it_saturates():
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Mul", ["d", "k"], ["y"]),
    ]
    stored = {"s": np.float32(0.1), "z": np.uint8(128), "k": np.float32(3)}
    graph = helper.make_graph(
        nodes,
        "fake quantisation",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    module = convert(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))
    x = torch.tensor([0.33, -1.27, 99.0], requires_grad=True)
    y = module(x)
    assert y.tolist() == pytest.approx([0.9, -3.9, 38.1])
    y.sum().backward()
    assert x.grad.tolist() == pytest.approx([3, 3, 0])


def test_dynamic_quantisation_of_a_product_has_the_gradient_of_the_product():
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "s"], ["y"]),
    ]
    weight = rng.integers(-127, 128, (6, 2)).astype(np.int8)
    graph = helper.make_graph(
        nodes,
        "dynamic",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 2])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    x = torch.tensor(X[0], requires_grad=True)
    module = convert(model)
    y = module(x)
    exact = X[0] @ weight.astype(np.float32)
    assert y.detach().numpy() == pytest.approx(exact, abs=0.02 * float(np.abs(exact).max()))
    y[:, 0].sum().backward()
    assert x.grad.numpy() == pytest.approx(np.tile(weight[:, 0], (4, 1)).astype(np.float32), rel=1e-5)
