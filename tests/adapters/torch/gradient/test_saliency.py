"""Saliency, input times gradient and the Taylor expansion: finite differences, parts, channels."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402
from gradient_problems import (  # noqa: E402
    finite_differences,
    problem_of,
    score_of,
    smooth_network,
    words_and_mask,
)
from onnxplain.adapters.torch.gradient.input_x_gradient import InputXGradient  # noqa: E402
from onnxplain.adapters.torch.gradient.saliency import Saliency  # noqa: E402
from onnxplain.adapters.torch.gradient.taylor import Taylor  # noqa: E402
from onnxplain.engine.errors import SettingError  # noqa: E402

RNG = np.random.default_rng(3)
TARGETS = ["2", "h[1]", "h", "y"]


def image_problem(**asked):
    model = onnxplain.load(onnxplain.models.path("digits-cnn"), device="cpu", threads=1)
    return problem_of(model, {"image": RNG.random((1, 1, 8, 8)).astype(np.float32)}, "3", **asked)


@pytest.mark.parametrize("rank", [2, 4])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("target", TARGETS)
def test_the_gradient_is_that_of_finite_differences(rank, seed, target):
    model = smooth_network(seed, rank)
    x = RNG.normal(size=(1, 5) if rank == 2 else (1, 2, 5, 4))
    problem = problem_of(model, {"x": x}, target)
    expected = finite_differences(lambda rows: score_of(model, problem.target, {"x": rows}), x)
    found = Saliency().explain(problem)
    assert found.values["x"].dtype == np.float64
    np.testing.assert_allclose(found.values["x"], expected, rtol=1e-6, atol=1e-9)
    assert found.score == pytest.approx(score_of(model, problem.target, {"x": x})[0], rel=1e-12)
    product = InputXGradient().explain(problem).values["x"]
    np.testing.assert_allclose(product, x * expected, rtol=1e-6, atol=1e-9)


def test_parts_of_the_gradient():
    problem = problem_of(smooth_network(0, 4), {"x": RNG.normal(size=(1, 2, 5, 4))}, "1")
    signed = Saliency().explain(problem).values["x"]
    assert signed.min() < 0 < signed.max()
    assert np.array_equal(Saliency("absolute").explain(problem).values["x"], np.abs(signed))
    assert np.array_equal(Saliency("positive").explain(problem).values["x"], np.maximum(signed, 0))
    assert np.array_equal(Saliency("negative").explain(problem).values["x"], np.minimum(signed, 0))


def test_channels_of_an_image_become_one_value_at_each_of_them():
    entry = onnxplain.InputSpec(name="x", modality="image", layout="NCHW")
    model = smooth_network(1, 4, onnxplain.ModelSpec(inputs={"x": entry}))
    problem = problem_of(model, {"x": RNG.normal(size=(1, 2, 5, 4))})
    signed = Saliency().explain(problem).values["x"]
    first, second = signed[:, 0], signed[:, 1]
    largest = np.where(np.abs(first) >= np.abs(second), first, second)
    for how, expected in (("sum", first + second), ("l2", np.hypot(first, second)), ("maximum", largest)):
        found = Saliency(channels=how).explain(problem).values["x"]
        assert found.shape == signed.shape
        np.testing.assert_allclose(found, np.stack([expected, expected], axis=1), rtol=1e-12)
    paper = Saliency("absolute", "maximum").explain(problem).values["x"]
    np.testing.assert_allclose(paper[:, 0], np.abs(signed).max(1), rtol=1e-12)


def test_channels_of_an_inner_layer_and_of_embeddings_become_one_value():
    at_layer = image_problem(wrt="relu1")
    signed = Saliency().explain(at_layer).values["relu1"]
    norms = Saliency(channels="l2").explain(at_layer).values["relu1"]
    np.testing.assert_allclose(norms[:, 3], np.linalg.norm(signed, axis=1), rtol=1e-6)
    _, model, feeds = words_and_mask()
    words = problem_of(model, feeds, "1", wrt="in0")
    ((name, signed),) = Saliency().explain(words).values.items()
    norms = Saliency(channels="l2").explain(words).values[name]
    np.testing.assert_allclose(norms[..., 0], np.linalg.norm(signed, axis=-1), rtol=1e-6)
    assert norms.shape == signed.shape == (1, 10, 16)


def test_channels_that_are_not_known_are_refused():
    table = problem_of(smooth_network(0), {"x": np.zeros((1, 5))})
    with pytest.raises(SettingError, match="has a known channel axis"):
        Saliency(channels="sum").explain(table)
    assert Saliency(channels="sum").explain(image_problem()).values["image"].shape == (1, 1, 8, 8)


def test_taylor_takes_the_gradient_at_the_reference():
    model = smooth_network(2)
    x, references = RNG.normal(size=(1, 5)), RNG.normal(size=(3, 5))
    problem = problem_of(model, {"x": x}, "1", baseline_setting=references)
    function = lambda rows: score_of(model, problem.target, {"x": rows})  # noqa: E731
    terms = [(x - r) * finite_differences(function, r[None]) for r in references]
    found = Taylor().explain(problem)
    np.testing.assert_allclose(found.values["x"], np.mean(terms, axis=0), rtol=1e-6, atol=1e-9)
    assert found.baseline_score == pytest.approx(function(references).mean(), rel=1e-12)
    rest = function(x)[0] - found.baseline_score - np.sum(np.mean(terms, axis=0))
    assert found.notes == (f"higher orders make up {rest:.6g} of score minus baseline score",)
    assert found.gap is None


def test_saliency_is_found_by_name_and_replayable(tmp_path):
    problem = image_problem()
    found = onnxplain.explain(problem.model, problem.sample, "saliency", target=3, value="absolute", wrt="image")
    np.testing.assert_allclose(found.values["image"], np.abs(Saliency().explain(problem).values["image"]), rtol=1e-6)
    assert found.settings == {"value": "absolute", "channels": "kept"}
    assert {"twin_difference", "torch"} <= found.manifest.keys()
    loaded = onnxplain.Explanation.load(found.save(tmp_path / "found.npz"))
    assert loaded == found
