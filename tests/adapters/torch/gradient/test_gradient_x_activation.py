"""Gradient times activation: against differences, Captum, and one sample at a time."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402  # after the check that torch is there
from onnxplain.adapters.torch.gradient.gradient_x_activation import GradientXActivation  # noqa: E402
from onnxplain.engine.errors import SettingError  # noqa: E402
from onnxplain.engine.problem import Problem  # noqa: E402
from onnxplain.engine.target import resolve  # noqa: E402
from oracles.graphs import random_convolutions, token_sums  # noqa: E402

METHOD = "gradient-x-activation"
IMAGES = np.random.default_rng(0).normal(size=(3, 3, 9, 9)).astype(np.float32)


def loaded(data):
    return onnxplain.load(data, device="cpu", threads=1)


def test_at_the_last_hidden_tensor_it_is_weight_times_value():
    model = loaded(random_convolutions(1))
    found = onnxplain.explain(model, IMAGES[:1], METHOD, target=2, wrt="flat")
    flat = model.activations(IMAGES[:1], ["flat"])["flat"]
    weights = (found.values["flat"] / flat)[0]
    moved = flat[0].astype(np.float64)
    bias = found.score - weights @ moved
    others = [onnxplain.explain(model, image[None], METHOD, target=2, wrt="flat") for image in IMAGES[1:]]
    for other in others:  # the score is linear in this tensor: sum of the values plus the bias
        assert other.values["flat"].sum() + bias == pytest.approx(other.score, rel=1e-4)
    assert (found.baseline_score, found.gap, found.evaluations) == (None, None, 1)


def test_values_are_what_a_small_change_of_the_activation_shows():
    """Scaling a tensor by 1 + h moves the score by h times the sum of the values: here all inputs of a linear layer."""
    model = loaded(random_convolutions(2))
    found = onnxplain.explain(model, IMAGES[:1], METHOD, target=0, wrt="image")
    h = 1e-2
    up, down = (model.predict(IMAGES[:1] * (1 + s * h))["y"][0, 0].astype(np.float64) for s in (1, -1))
    assert found.values["image"].sum() == pytest.approx((up - down) / (2 * h), rel=2e-2)


def test_several_inputs_and_classes_give_what_each_alone_gives():
    model = loaded(random_convolutions(3))
    problems = [
        Problem(
            model, onnxplain.Sample({"image": image[None]}), resolve(k, model, {"image": image[None]}), METHOD, "r1"
        )
        for k, image in enumerate(IMAGES)
    ]
    both = GradientXActivation().explain_many(problems)
    for problem, found in zip(problems, both, strict=True):
        alone = GradientXActivation().explain(problem)
        assert found.target == problem.target.text
        np.testing.assert_allclose(found.values["r1"], alone.values["r1"], atol=1e-5)
        assert found.score == pytest.approx(alone.score, rel=1e-5)
    assert not np.allclose(both[0].values["r1"], both[1].values["r1"])


def test_whole_numbers_are_explained_at_their_embeddings():
    tokens = np.array([[3, 1, 4]])
    model = loaded(token_sums(0, 8, 3))
    found = onnxplain.explain(model, tokens, METHOD, target=0, wrt="tokens")
    embedded = model.activations({"tokens": tokens}, ["embedded"])["embedded"]
    assert list(found.values) == ["embedded"]
    np.testing.assert_allclose(found.values["embedded"][..., 0], embedded[..., 0], rtol=1e-6)
    assert (found.values["embedded"][..., 1] == 0).all()
    assert "embedded" in found.notes[0]


def test_a_tensor_must_be_named():
    with pytest.raises(SettingError, match="needs the name of a tensor") as caught:
        onnxplain.explain(loaded(random_convolutions(1)), IMAGES[:1], METHOD)
    assert "onnxplain inspect MODEL --tensors" in caught.value.tip


def test_a_tensor_behind_the_target_is_refused():
    with pytest.raises(SettingError, match="does not depend on tensor 'y'"):
        onnxplain.explain(loaded(random_convolutions(1)), IMAGES[:1], METHOD, target="r1[0]", wrt="y")
