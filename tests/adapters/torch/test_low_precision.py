"""Models of 16-bit floats and quantised ones, explained as any other: against the same network in 32 bits."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from gradient_problems import loaded
from onnxplain.engine.errors import SettingError
from small_graphs import model_of

torch = pytest.importorskip("torch")

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
RNG = np.random.default_rng(6)
KERNEL = RNG.normal(size=(4, 1, 3, 3)).astype(np.float32)
HEAD = RNG.normal(size=(4, 3)).astype(np.float32)
IMAGE = RNG.random((1, 1, 6, 6)).astype(np.float32)
METHODS = {"saliency": "y[1]", "integrated-gradients": "y[1]", "input-x-gradient": "y[1]", "grad-cam": "y[0]"}
node = helper.make_node


def network(dtype=np.float32, source="x", result="y"):
    nodes = [
        node("Conv", [source, "K"], ["layer"]),
        node("Relu", ["layer"], ["positive"]),
        node("GlobalAveragePool", ["positive"], ["mean"]),
        node("Flatten", ["mean"], ["flat"]),
        node("MatMul", ["flat", "W"], [result]),
    ]
    return nodes, {"K": KERNEL.astype(dtype), "W": HEAD.astype(dtype)}


def full():
    nodes, constants = network()
    return loaded(model_of(nodes, {"x": (FLOAT, ["b", 1, 6, 6])}, {"y": (FLOAT, ["b", 3])}, constants))


def half():
    nodes, constants = network(np.float16)
    return loaded(model_of(nodes, {"x": (HALF, ["b", 1, 6, 6])}, {"y": (HALF, ["b", 3])}, constants))


def half_inside():
    """As ONNX Runtime's tool writes it: inputs and outputs of 32 bits, and the casts behind all other nodes."""
    nodes, constants = network(np.float16, "x_half", "y_half")
    nodes += [node("Cast", ["x"], ["x_half"], to=HALF), node("Cast", ["y_half"], ["y"], to=FLOAT)]
    return loaded(model_of(nodes, {"x": (FLOAT, ["b", 1, 6, 6])}, {"y": (FLOAT, ["b", 3])}, constants))


def through_integers():
    """Every activation quantised to 8 bits and restored, the output too."""
    nodes, constants = network()
    scales = {"x": 1 / 255, "layer": 0.05, "positive": 0.05, "mean": 0.02, "y": 0.04}
    constants |= {f"s_{n}": np.float32(s) for n, s in scales.items()}
    constants |= {f"z_{n}": np.uint8(128 if n in {"layer", "y"} else 0) for n in scales}
    listed = []
    for one in nodes:
        one.input[0] = f"{one.input[0]}_dq" if one.input[0] in scales else one.input[0]
        listed.append(one)
    listed[-1].output[0] = "raw"
    made = {"x": "x", "layer": "layer", "positive": "positive", "mean": "mean", "y": "raw"}
    for name, source in made.items():
        restored = "y" if name == "y" else f"{name}_dq"
        pair = [
            node("QuantizeLinear", [source, f"s_{name}", f"z_{name}"], [f"{name}_q"]),
            node("DequantizeLinear", [f"{name}_q", f"s_{name}", f"z_{name}"], [restored]),
        ]
        place = next((k + 1 for k, n in enumerate(listed) if source in n.output), 0)
        listed[place:place] = pair
    return loaded(model_of(listed, {"x": (FLOAT, ["b", 1, 6, 6])}, {"y": (FLOAT, ["b", 3])}, constants))


def in_integers(*, flat=False):
    """Convolution on integers, restored and summed over positions, or flattened and then restored."""
    constants = {
        "s": np.float32(1 / 255),
        "z": np.uint8(0),
        "K": np.round(KERNEL / 0.02).astype(np.int8),
        "sk": np.float32(0.02),
        "zk": np.int8(0),
        "so": np.float32(0.05),
        "zo": np.uint8(128),
        "axes": np.array([2, 3]),
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["x_q"]),
        node("QLinearConv", ["x_q", "s", "z", "K", "sk", "zk", "so", "zo"], ["layer"]),
    ]
    if flat:
        nodes += [node("Flatten", ["layer"], ["f"]), node("DequantizeLinear", ["f", "so", "zo"], ["y"])]
        del constants["axes"]
    else:
        nodes += [node("DequantizeLinear", ["layer", "so", "zo"], ["back"])]
        nodes += [node("ReduceSum", ["back", "axes"], ["y"], keepdims=0)]
    return loaded(model_of(nodes, {"x": (FLOAT, ["b", 1, 6, 6])}, {"y": (FLOAT, ["b", None])}, constants))


def apart(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("build", "share"), [(half, 5e-3), (half_inside, 5e-3), (through_integers, 5e-2)])
def test_the_values_are_those_of_32_bits_but_for_rounding(build, share, method):
    model = build()
    image = IMAGE.astype(model.inputs[0].dtype)
    found = onnxplain.explain(model, image, method, target=METHODS[method])
    expected = onnxplain.explain(full(), IMAGE, method, target=METHODS[method])
    assert apart(found.values["x"], expected.values["x"]) < share
    assert found.score == pytest.approx(expected.score, rel=share, abs=share)
    if method == "integrated-gradients":
        assert abs(found.gap) < 0.05


def test_a_score_beyond_what_8_bits_hold_has_no_gradient():
    """The score of class 2 is 6.4; the steps of the output end at 5.08."""
    found = onnxplain.explain(through_integers(), IMAGE, "saliency", target="y[2]")
    assert found.score == pytest.approx(127 * 0.04)
    assert not found.values["x"].any()


def test_the_gradient_passes_quantised_convolutions():
    model = in_integers()
    found = onnxplain.explain(model, IMAGE, "saliency", target="y[2]").values["x"]
    image = torch.tensor(IMAGE, requires_grad=True)
    total = torch.conv2d(image, torch.tensor(np.round(KERNEL / 0.02) * 0.02))[0, 2].sum()
    (expected,) = torch.autograd.grad(total, image)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-6)


def test_a_map_of_quantised_numbers_is_refused():
    with pytest.raises(SettingError, match="there is no map to make") as refusal:
        onnxplain.explain(in_integers(flat=True), IMAGE, "grad-cam", target="y[2]")
    assert refusal.value.where.endswith("hold uint8: this graph computes in quantised numbers")
    assert "QDQ" in refusal.value.tip
