"""What adds up: DeepLIFT on language models, the default preset of lrp, and relevance that no longer can."""

import numpy as np
import pytest
from onnx import helper

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402  # after the check that torch is there
from gradient_problems import problem_of, words_and_mask  # noqa: E402
from onnxplain.adapters.torch import kept  # noqa: E402
from onnxplain.adapters.torch.gradient import places  # noqa: E402
from onnxplain.adapters.torch.gradient.slopes import Slopes  # noqa: E402
from onnxplain.adapters.torch.relevance.lrp import Lrp  # noqa: E402
from onnxplain.adapters.torch.rules import Flow  # noqa: E402
from onnxplain.models import home  # noqa: E402
from relevance_problems import dense, gemm, network  # noqa: E402

MINILM = home() / "minilm-sentiment" / "minilm-sentiment.onnx"  # the user's own: asked for before tests have theirs


def test_deeplift_keeps_the_difference_on_a_language_model():
    _, model, feeds = words_and_mask()
    found = onnxplain.explain(model, feeds, "deeplift", target="out[1]", baseline=0.0)
    assert abs(found.gap) <= 1e-4 * abs(found.score - found.baseline_score)


def test_deeplift_keeps_the_difference_on_minilm():
    if not MINILM.is_file():
        pytest.skip("minilm-sentiment is not built (onnxplain models build minilm-sentiment)")
    model = onnxplain.load(MINILM, device="cpu", threads=1)
    found = onnxplain.explain(model, onnxplain.Text("a wonderful, moving film"), "deeplift", baseline=0.0)
    assert abs(found.gap) <= 1e-4 * abs(found.score - found.baseline_score)


def of_shapes(*nodes):
    """Three numbers, and 3 as a tensor that is made from their shape."""
    made = [helper.make_node("Size", ["x"], ["size"]), helper.make_node("Cast", ["size"], ["three"], to=1)]
    return network([*made, *nodes, gemm("z", "W", "y")], {"x": [3]}, {"y": [1]}, {"W": np.ones((1, 3))})


def test_what_goes_to_numbers_that_are_made_from_shapes_is_told_and_a_factor_takes_nothing():
    x = np.float32([[1, 2, 3]])
    factor = onnxplain.explain(of_shapes(helper.make_node("Mul", ["x", "three"], ["z"])), x, "attn-lrp", target=0)
    np.testing.assert_allclose(factor.values["x"], [[3, 6, 9]], rtol=1e-5)
    assert factor.extras["lost_at"].tolist() == []
    summand = onnxplain.explain(of_shapes(helper.make_node("Add", ["x", "three"], ["z"])), x, "attn-lrp", target=0)
    np.testing.assert_allclose(summand.values["x"], x, rtol=1e-5)
    assert summand.extras["lost_at"].tolist() == ["z"]
    assert summand.extras["lost"] == pytest.approx([9], rel=1e-5)


def biased_cnn(rng):
    nodes = [
        helper.make_node("Conv", ["x", "K1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["a1"]),
        helper.make_node("Conv", ["a1", "K2", "b2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["a2"]),
        helper.make_node("GlobalAveragePool", ["a2"], ["m"]),
        helper.make_node("Flatten", ["m"], ["f"]),
        gemm("f", "W", "y", "b3"),
    ]
    shapes = {"K1": (6, 2, 3, 3), "K2": (8, 6, 3, 3), "W": (3, 8), "b1": 6, "b2": 8, "b3": 3}
    return network(nodes, {"x": [2, 8, 8]}, {"y": [3]}, {n: rng.normal(size=s) for n, s in shapes.items()})


def test_by_default_biases_of_convolutions_keep_nothing_and_those_of_dense_layers_their_share():
    rng = np.random.default_rng(0)
    model = biased_cnn(rng)
    x = rng.uniform(0.5, 1, size=(1, 2, 8, 8)).astype(np.float32)
    found = onnxplain.explain(model, x, "lrp", target=1)
    assert found.extras["lost_at"].tolist() == ["y"]
    assert found.gap == pytest.approx(-weight_of(model, "b3")[1], rel=1e-4)
    same = onnxplain.explain(model, x, "lrp", target=1, preset="epsilon-plus-unbiased")
    np.testing.assert_array_equal(found.values["x"], same.values["x"])
    biased = onnxplain.explain(model, x, "lrp", target=1, preset="epsilon-plus")
    assert {"c1", "c2"} <= set(biased.extras["lost_at"].tolist())


def weight_of(model, name):
    from gradient_problems import weights_of

    return weights_of(model, name)


def test_without_convolutions_the_default_is_the_epsilon_rule():
    rng = np.random.default_rng(0)
    model = dense([rng.normal(size=(5, 4)), rng.normal(size=(3, 5))])
    x = rng.normal(size=(1, 4)).astype(np.float32)
    default, uniform = (
        onnxplain.explain(model, x, "lrp", target=1, **s).values["x"] for s in ({}, {"rules": "epsilon"})
    )
    np.testing.assert_array_equal(default, uniform)


def test_relevance_that_grows_without_bound_is_an_error_that_names_the_tensor():
    """Without their bias, layers make 1/1024 of 1 and 1/1024 - 1: shares grow a thousand times, layer by layer."""
    small = 2.0**-10
    model = dense(
        [*[np.array([[1.0, -1], [0, 1]])] * 14, np.array([[1.0, 0]])],
        [*[np.array([1 - small, 0])] * 14, np.zeros(1)],
        activation=("Relu", {}),
    )
    x = np.float32([[1, 1 - small]])
    assert onnxplain.explain(model, x, "lrp", target=0, rules="zero").gap == pytest.approx(14 * (small - 1))
    with pytest.raises(onnxplain.OnnxplainError, match=r"the relevance of 'z\d' has grown beyond") as caught:
        onnxplain.explain(model, x, "lrp", target=0, rules="zero", bias=False)
    assert "epsilon" in caught.value.tip


def test_only_the_parts_of_the_last_rules_are_kept():
    model = dense([np.array([[1.0, 2], [3, 4]]), np.ones((1, 2))])
    problem = problem_of(model, {"x": np.float32([[1, 2]])})
    for k in range(kept.MOST_RULED + 3):
        slopes = Slopes.of([problem], rules=Lrp(rules=f"epsilon:{k + 1}").rule_set(problem))
        Flow(slopes).at_samples()
    held = places._parts[slopes.twin.module]
    assert sum(key[-1] is not None for key in held) == kept.MOST_RULED
    assert next(reversed(held))[-1] == slopes.rules
