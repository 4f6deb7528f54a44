"""Every rule beside a second, slower and plainer implementation: dense matrices and loops over elements."""

import numpy as np
import pytest
from onnx import helper

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402  # after the check that torch is there
from relevance_problems import gemm, network  # noqa: E402

SHAPE = (2, 4, 3)


def pooled(kind, **attributes):
    return lambda _: ([helper.make_node(kind, ["x"], ["z"], **attributes)], {})


def conv(rng):
    constants = {"W": rng.normal(size=(3, 2, 3, 2)), "b": rng.normal(size=3)}
    return [helper.make_node("Conv", ["x", "W", "b"], ["z"], strides=[2, 1], pads=[1, 1, 1, 1])], constants


def uneven_conv(rng):
    constants = {"W": rng.normal(size=(4, 1, 2, 2)), "b": rng.normal(size=4)}
    return [helper.make_node("Conv", ["x", "W", "b"], ["z"], pads=[0, 1, 1, 0], group=2)], constants


def transposed(rng):
    constants = {"W": rng.normal(size=(2, 2, 2, 3)), "b": rng.normal(size=2)}
    return [helper.make_node("ConvTranspose", ["x", "W", "b"], ["z"], strides=[2, 1])], constants


def dense(rng):
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), gemm("f", "W", "z", "b")]
    return nodes, {"W": rng.normal(size=(5, 24)), "b": rng.normal(size=5)}


def matrix(rng):
    nodes = [helper.make_node("MatMul", ["x", "W"], ["m"]), helper.make_node("Add", ["m", "b"], ["z"])]
    return nodes, {"W": rng.normal(size=(3, 5)), "b": rng.normal(size=5)}


def matrix_left(rng):
    return [helper.make_node("MatMul", ["W", "x"], ["z"])], {"W": rng.normal(size=(6, 4))}


def einsum(rng):
    return [helper.make_node("Einsum", ["x", "W"], ["z"], equation="bchw,cwk->bhk")], {"W": rng.normal(size=(2, 3, 2))}


def normalised(rng):
    """A convolution and batch normalisation."""
    nodes, constants = conv(rng)
    nodes[0].output[0] = "u"
    names = ["scale", "shift", "mean", "var"]
    nodes.append(helper.make_node("BatchNormalization", ["u", *names], ["z"]))
    values = (rng.normal(size=3), rng.normal(size=3), rng.normal(size=3), rng.uniform(0.5, 2, 3))
    return nodes, constants | dict(zip(names, values, strict=True))


LAYERS = {
    "conv": conv,
    "uneven conv": uneven_conv,
    "transposed": transposed,
    "dense": dense,
    "matrix": matrix,
    "matrix left": matrix_left,
    "einsum": einsum,
    "conv and norm": normalised,
}
POOLS = {
    "mean": pooled("AveragePool", kernel_shape=[2, 2]),
    "uneven mean": pooled("AveragePool", kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
    "global mean": pooled("GlobalAveragePool"),
    "reduced": pooled("ReduceMean", axes=[2], keepdims=0),
}


def part(z, sign):
    return np.maximum(z, 0) if sign > 0 else np.minimum(z, 0)


def share(R, z, total):
    """Relevance of each input (I,) from contributions z (J, I) to outputs whose sums are total (J,)."""
    found = np.zeros(z.shape[1])
    for j in range(len(total)):
        for i in range(z.shape[1]):
            if total[j] != 0:
                found[i] += z[j, i] / total[j] * R[j]
    return found


def plain(rule, a, W, b, R):
    """The rules as they are written, on a dense matrix W (J, I)."""
    name, _, number = rule.partition(":")
    by_contributions = {"zero": epsilon, "epsilon": epsilon, "gamma": signed_gamma}
    if name in by_contributions:
        return by_contributions[name](a * W, b, R, float(number or 0))
    if name == "literal-gamma":
        raised, bias = (v + float(number) * part(v, 1) for v in (W, b))
        return share(R, a * raised, raised @ a + bias)
    if name in {"alpha-beta", "z-plus"}:
        alpha, up, down = float(number or 1), part(a * W, 1), part(a * W, -1)
        return alpha * share(R, up, up.sum(1) + part(b, 1)) - (alpha - 1) * share(R, down, down.sum(1) + part(b, -1))
    low, high = (float(v) for v in number.split("..")) if number else (0, 0)
    parts = {"w-squared": W**2, "flat": (W != 0) * 1.0, "box": a * W - low * part(W, 1) - high * part(W, -1)}[name]
    return share(R, parts, parts.sum(1))


def epsilon(z, b, R, number):
    end = z.sum(1) + b
    return share(R, z, end + number * np.where(end < 0, -1, 1))


def signed_gamma(z, b, R, number):
    signs = np.where(z.sum(1) + b > 0, 1, -1)
    raised = z + number * np.stack([part(row, s) for row, s in zip(z, signs, strict=True)])
    return share(R, raised, raised.sum(1) + b + number * np.array([part(v, s) for v, s in zip(b, signs, strict=True)]))


def as_matrix(model, x):
    """The layer as a dense matrix (J, I) and a bias (J,), found by running it on unit vectors."""
    size = x[0].size
    runs = np.concatenate([np.zeros((1, size)), np.eye(size)]).reshape(size + 1, *x.shape[1:]).astype(np.float32)
    made = model.rows({"x": runs}, ("z",))[0].reshape(size + 1, -1).astype(float)
    return (made[1:] - made[0]).T, made[0]


RULES = ["zero", "epsilon:0.3", "gamma:0.5", "literal-gamma:0.5", "alpha-beta:2", "alpha-beta:1.5", "z-plus"]
FIRST = ["w-squared", "flat", "box:-4..4"]


def compared(build, rule, rows, key, seed, *, rectified=False):
    """Compare relevance at the input of a layer; ``rectified``: behind a ReLU nothing comes back to values below 0."""
    rng = np.random.default_rng(seed)
    layer, constants = build(rng)
    behind = [helper.make_node("Relu", ["z"], ["a"])] if rectified else []
    flat = helper.make_node("Flatten", ["a" if rectified else "z"], ["f1"])
    nodes = [*layer, *behind, flat, helper.make_node("MatMul", ["f1", "top"], ["y"])]
    x = np.clip(rng.normal(size=(rows, *SHAPE)), -3.9, 3.9).astype(np.float32)
    x[0] = np.abs(x[0])
    bare = network(layer, {"x": SHAPE}, {"z": [None] * 3}, constants)
    width = bare.rows({"x": x[:1]}, ("z",))[0].size
    model = network(nodes, {"x": SHAPE}, {"y": [2]}, constants | {"top": rng.normal(size=(width, 2))})
    found = onnxplain.explain(model, x, "lrp", target="y[1]", rules=f"last=zero, {key}={rule}")
    found = found if isinstance(found, list) else [found]
    top = constants_of(model, "top")[:, 1]
    for row, one in zip(x, found, strict=True):
        W, b = as_matrix(bare, row[None])
        z = W @ row.ravel().astype(float) + b
        z = np.maximum(z, 0) if rectified else z
        expected = plain(rule, row.ravel().astype(float), W, b, z * top)
        np.testing.assert_allclose(one.values["x"].ravel(), expected, rtol=2e-4, atol=1e-4 * abs(expected).max())
        lost = dict(zip(one.extras["lost_at"].tolist(), one.extras["lost"].tolist(), strict=True))
        assert lost.get("z", 0) == pytest.approx((z * top).sum() - expected.sum(), abs=1e-3)


def constants_of(model, name):
    from gradient_problems import weights_of

    return weights_of(model, name)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("rule", [*RULES, *FIRST])
@pytest.mark.parametrize("layer", LAYERS)
def test_rules_of_layers_are_what_a_dense_matrix_gives(layer, rule, rows):
    compared(LAYERS[layer], rule, rows, "first", len(layer) + len(rule))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("rule", ["gamma:0.5", "alpha-beta:2", "z-plus", "epsilon:0.3"])
@pytest.mark.parametrize("layer", ["conv", "uneven conv", "dense", "conv and norm"])
def test_rules_of_layers_behind_which_a_relu_is_are_the_same(layer, rule, rows):
    compared(LAYERS[layer], rule, rows, "first", len(layer), rectified=True)


@pytest.mark.parametrize("rule", ["zero", "epsilon:0.3", "alpha-beta:2", "z-plus", "flat"])
@pytest.mark.parametrize("layer", POOLS)
def test_rules_of_means_are_what_a_dense_matrix_gives(layer, rule):
    compared(POOLS[layer], rule, 3, "pool", len(layer))
