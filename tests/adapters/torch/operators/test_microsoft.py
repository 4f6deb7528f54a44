import numpy as np
import pytest
from onnx import helper

from onnxplain.adapters.torch import convert
from onnxplain.engine.errors import CapabilityError
from single_nodes import by_runtime, by_twin, single_node

rng = np.random.default_rng(5)


def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)


def microsoft(op_type, inputs, **rest):
    model = single_node(op_type, inputs, opset=17, domain="com.microsoft", **rest)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


X, VECTOR = normal(2, 3, 8), [normal(8) for _ in range(3)]
IDS, KINDS = rng.integers(0, 9, (2, 3)).astype(np.int32), rng.integers(0, 2, (2, 3)).astype(np.int32)
TABLES = [normal(9, 8), normal(5, 8), normal(2, 8), *VECTOR[:2]]
IMAGE, KERNEL, BIAS = normal(1, 2, 5, 5), normal(4, 2, 3, 3), normal(4)
CASES = {
    "Gelu": ("Gelu", [X], {}),
    "FastGelu": ("FastGelu", [X], {}),
    "FastGelu with bias": ("FastGelu", [X, VECTOR[0]], {}),
    "BiasGelu": ("BiasGelu", [X, VECTOR[0]], {}),
    "QuickGelu": ("QuickGelu", [X], {"alpha": 1.3}),
    "product": ("FusedMatMul", [normal(2, 5, 3), normal(2, 3, 4)], {"alpha": 0.5}),
    "product of transposes": ("FusedMatMul", [normal(2, 3, 5), normal(2, 4, 3)], {"transA": 1, "transB": 1}),
    "product with the batch inside": ("FusedMatMul", [normal(5, 2, 7, 3), normal(2, 7, 3, 4)], {"transBatchA": 1}),
    "both": ("FusedMatMul", [normal(3, 2, 5), normal(2, 3, 4)], {"transBatchA": 1, "transA": 1}),
    "skip": ("SkipLayerNormalization", [X, X[::-1], *VECTOR], {"outputs": 4, "epsilon": 0.01}),
    "skip without beta": ("SkipLayerNormalization", [X, X[:1], VECTOR[0], None, VECTOR[1]], {}),
    "skip RMS": ("SkipSimplifiedLayerNormalization", [X, X[::-1], *VECTOR[:2]], {"epsilon": 0.01}),
    "embedding": (
        "EmbedLayerNormalization",
        [IDS, KINDS, *TABLES, np.array([[1, 1, 0], [1, 1, 1]], np.int32)],
        {"outputs": 3},
    ),
    "embedding of one segment": ("EmbedLayerNormalization", [IDS, None, *TABLES], {"outputs": 2}),
    "embedding by position": (
        "EmbedLayerNormalization",
        [IDS, None, *TABLES[:2], None, *TABLES[3:], None, IDS[::-1] % 5],
        {"outputs": 2},
    ),
    "conv": ("FusedConv", [IMAGE, KERNEL, BIAS], {"activation": "Relu", "pads": [1, 1, 1, 1]}),
    "conv and sum": ("FusedConv", [IMAGE, KERNEL, BIAS, normal(1, 4, 3, 3)], {"activation": "Relu"}),
    "conv and clip": ("FusedConv", [IMAGE, KERNEL, BIAS], {"activation": "Clip", "activation_params": [-0.5, 0.5]}),
    "gemm": (
        "FusedGemm",
        [normal(3, 4), normal(4, 5), normal(5)],
        {"activation": "LeakyRelu", "activation_alpha": 0.1, "alpha": 0.5, "beta": 0.3},
    ),
}


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_operator_equals_onnx_runtime(name, stored):
    op_type, inputs, rest = CASES[name]
    given = [k for k, value in enumerate(inputs) if value is not None]
    model = microsoft(op_type, inputs, constant=given[1:] if stored else (), **rest)
    for found, wanted in zip(by_twin(model, inputs), by_runtime(model, inputs), strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


def test_operators_that_onnx_runtime_has_on_gpus_only_follow_their_formula():
    bias, skip = normal(8), X[::-1]
    inputs = [X, bias, skip]
    assert by_twin(microsoft("BiasAdd", inputs), inputs)[0] == pytest.approx(X + bias + skip)
    value, gate = np.split(X + bias, 2, axis=-1)
    gelu = by_twin(single_node("Gelu", [gate], opset=20), [gate])[0]
    assert by_twin(microsoft("BiasSplitGelu", [X, bias]), [X, bias])[0] == pytest.approx(value * gelu, abs=1e-6)


@pytest.mark.parametrize(("op_type", "outputs"), [("SimplifiedLayerNormalization", 2), ("LayerNormalization", 3)])
def test_layers_that_onnx_runtime_defines_in_the_domain_of_onnx(op_type, outputs):
    inputs = [X, VECTOR[0]]
    model = single_node(op_type, inputs, opset=14, outputs=outputs, epsilon=0.01)
    for found, wanted in zip(by_twin(model, inputs), by_runtime(model, inputs), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


def test_an_unknown_activation_is_refused():
    with pytest.raises(CapabilityError, match="FusedConv with activation = Swirl"):
        convert(microsoft("FusedConv", [IMAGE, KERNEL, BIAS], constant=(1, 2), activation="Swirl"))
