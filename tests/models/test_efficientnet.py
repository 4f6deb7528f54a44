"""The graph of EfficientNet-Lite0, with random weights: shapes, names, and blocks against slow NumPy."""

import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from onnxplain.engine.errors import ModelError
from onnxplain.models.efficientnet import build_graph, same_padding

# As the authors write it: repeats, kernel, stride, expansion, channels in, channels out.
STAGES = (
    "r1_k3_s1_e1_i32_o16 r2_k3_s2_e6_i16_o24 r2_k5_s2_e6_i24_o40 r3_k3_s2_e6_i40_o80 "
    "r3_k5_s1_e6_i80_o112 r4_k5_s2_e6_i112_o192 r1_k3_s1_e6_i192_o320"
)
PARAMETERS = 4_652_008
TAPS = ("blocks.0.project/bn", "blocks.1.project/bn", "blocks.2.add", "blocks.3.project/bn", "blocks.15.project/bn")


def block_settings():
    for stage in STAGES.split():
        repeats, kernel, stride, expansion, channels_in, channels_out = map(int, re.findall(r"\d+", stage))
        for n in range(repeats):
            yield kernel, stride if n == 0 else 1, expansion, channels_in if n == 0 else channels_out, channels_out


def random_weights():
    rng = np.random.default_rng(0)
    weights = {}

    def convolution(name, *shape):
        scale = np.sqrt(2 / np.prod(shape[1:]))
        weights[f"{name}.weight"] = (rng.standard_normal(shape) * scale).astype(np.float32)

    def normalisation(name, channels):
        for part, low, high in (("weight", 0.5, 2), ("bias", -1, 1), ("running_mean", -1, 1), ("running_var", 0.5, 2)):
            weights[f"{name}.{part}"] = rng.uniform(low, high, channels).astype(np.float32)

    convolution("_conv_stem", 32, 3, 3, 3)
    normalisation("_bn0", 32)
    for i, (kernel, _, expansion, channels_in, channels_out) in enumerate(block_settings()):
        wide = channels_in * expansion
        if expansion != 1:
            convolution(f"_blocks.{i}._expand_conv", wide, channels_in, 1, 1)
            normalisation(f"_blocks.{i}._bn0", wide)
        convolution(f"_blocks.{i}._depthwise_conv", wide, 1, kernel, kernel)
        normalisation(f"_blocks.{i}._bn1", wide)
        convolution(f"_blocks.{i}._project_conv", channels_out, wide, 1, 1)
        normalisation(f"_blocks.{i}._bn2", channels_out)
    convolution("_conv_head", 1280, 320, 1, 1)
    normalisation("_bn1", 1280)
    convolution("_fc", 1000, 1280)
    weights["_fc.bias"] = rng.standard_normal(1000).astype(np.float32)
    return weights


@pytest.fixture(scope="module")
def weights():
    return random_weights()


@pytest.fixture(scope="module")
def model(weights):
    return build_graph(weights)


@pytest.fixture(scope="module")
def tensors(model):
    """What ONNX Runtime computes at the places that the tests look at, for two random images."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    for name in TAPS:
        tapped.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(tapped.SerializeToString(), options, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(1).standard_normal((2, 3, 224, 224)).astype(np.float32)
    names = ["logits", *TAPS]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


def slow_convolution(x, kernel, stride):
    """Convolve (channels, height, width) with SAME padding; a kernel with one input channel is depthwise."""
    size, width = x.shape[1], kernel.shape[2]
    length = int(np.ceil(size / stride))
    total = max((length - 1) * stride + width - size, 0)
    padded = np.pad(x, ((0, 0), (total // 2, total - total // 2), (total // 2, total - total // 2)))
    result = np.zeros((len(kernel), length, length))
    for row in range(width):
        for column in range(width):
            stop = (length - 1) * stride + 1
            part = padded[:, row : row + stop : stride, column : column + stop : stride]
            weight = kernel[:, :, row, column].astype(np.float64)
            result += weight[:, 0, None, None] * part if kernel.shape[1] == 1 else np.tensordot(weight, part, 1)
    return result


def slow_normalisation(x, weights, name):
    scale, bias, mean, variance = (
        weights[f"{name}.{part}"].astype(np.float64)[:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + 0.001) * scale + bias


def slow_block(x, weights, index, stride):
    name = f"_blocks.{index}"
    y = slow_convolution(x, weights[f"{name}._expand_conv.weight"], 1)
    y = np.clip(slow_normalisation(y, weights, f"{name}._bn0"), 0, 6)
    y = slow_convolution(y, weights[f"{name}._depthwise_conv.weight"], stride)
    y = np.clip(slow_normalisation(y, weights, f"{name}._bn1"), 0, 6)
    return slow_normalisation(slow_convolution(y, weights[f"{name}._project_conv.weight"], 1), weights, f"{name}._bn2")


@pytest.mark.parametrize(
    ("index", "source", "result", "stride"),
    [
        (1, "blocks.0.project/bn", "blocks.1.project/bn", 2),
        (2, "blocks.1.project/bn", "blocks.2.add", 1),
        (3, "blocks.2.add", "blocks.3.project/bn", 2),
    ],
)
def test_block_equals_slow_numpy(index, source, result, stride, weights, tensors):
    x = tensors[source][0].astype(np.float64)
    expected = slow_block(x, weights, index, stride) + (x if result.endswith("add") else 0)
    np.testing.assert_allclose(tensors[result][0], expected, rtol=1e-4, atol=1e-4)  # float32 sums of 144 products


def test_images_give_a_thousand_logits_each(model, tensors):
    onnx.checker.check_model(model, full_check=True)
    assert tensors["logits"].shape == (2, 1000)
    assert tensors["blocks.15.project/bn"].shape == (2, 320, 7, 7)
    assert not np.allclose(tensors["logits"][0], tensors["logits"][1])


def test_network_has_the_published_number_of_parameters(model):
    sizes = {t.name: int(np.prod(t.dims)) for t in model.graph.initializer}
    statistics = {name: n for name, n in sizes.items() if name.endswith((".mean", ".var"))}
    bounds = {name for name in sizes if name.startswith("relu6.")}
    assert sum(n for name, n in sizes.items() if name not in statistics and name not in bounds) == PARAMETERS
    assert len(statistics) == 2 * 49
    assert sum(statistics.values()) == 2 * 21_008


def test_batch_normalisations_are_nodes_and_names_are_readable(model):
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("BatchNormalization") == operators.count("Conv") == 49
    assert operators.count("Add") == 9
    assert operators[-3:] == ["GlobalAveragePool", "Flatten", "Gemm"]
    names = [node.name for node in model.graph.node]
    assert names == [node.output[0] for node in model.graph.node]
    assert {"stem/conv", "blocks.3.expand/conv", "blocks.3.depthwise/bn", "blocks.15.project/bn", "head/relu6"} <= set(
        names
    )
    assert [i.name for i in model.graph.input] == ["images"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert (model.ir_version, model.opset_import[0].version) == (10, 17)


def test_same_weights_give_the_same_bytes(weights, model):
    again = build_graph(dict(reversed(weights.items())))
    assert again.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)


def test_padding_of_an_odd_pixel_goes_after():
    assert same_padding(224, 3, 2) == (0, 1)
    assert same_padding(56, 5, 2) == (1, 2)
    assert same_padding(14, 5, 1) == (2, 2)
    assert same_padding(112, 1, 1) == (0, 0)


def test_missing_or_misshapen_tensor_is_named(weights):
    with pytest.raises(ModelError, match=r"lacks the tensor '_blocks\.4\._bn1\.bias'"):
        build_graph({name: w for name, w in weights.items() if name != "_blocks.4._bn1.bias"})
    with pytest.raises(ModelError, match=r"'_fc\.weight' has shape \(1280, 1000\), not \(1000, 1280\)"):
        build_graph(weights | {"_fc.weight": weights["_fc.weight"].T})
