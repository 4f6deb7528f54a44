"""Blur integrated gradients: a closed form, the path itself, and a plain implementation."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402  # after the check that torch is there
from onnxplain.adapters.torch.gradient.blur_ig import BlurIntegratedGradients, _blurred  # noqa: E402
from onnxplain.adapters.torch.twin import twin  # noqa: E402
from onnxplain.engine.errors import SettingError  # noqa: E402
from onnxplain.engine.problem import Problem  # noqa: E402
from onnxplain.engine.target import resolve  # noqa: E402
from oracles.graphs import random_convolutions, random_dense, triple_sum  # noqa: E402
from small_graphs import model_of  # noqa: E402

IMAGES = np.random.default_rng(0).normal(size=(3, 3, 9, 9)).astype(np.float32)


def loaded(data):
    return onnxplain.load(data, device="cpu", threads=1)


def waves_of(image):
    from scipy.fft import dctn

    return dctn(image.astype(float), axes=(2, 3))


@pytest.mark.parametrize("sigma", [1.0, 2.0, 5.0])
def test_the_blur_is_the_gaussian_filter_of_scipy(sigma):
    mine = _blurred(waves_of(IMAGES), np.full(3, sigma), (2, 3))
    theirs = gaussian_filter(IMAGES.astype(float), sigma, axes=(2, 3), mode="reflect", truncate=8)
    np.testing.assert_allclose(mine, theirs, atol=5e-3 if sigma == 1 else 1e-5)


def test_a_far_blurred_image_is_its_mean_and_one_that_is_not_is_itself():
    waves = waves_of(IMAGES[:1])
    np.testing.assert_allclose(_blurred(waves, np.array([0.0]), (2, 3)), IMAGES[:1], atol=1e-12)
    means = IMAGES[:1].mean(axis=(2, 3), keepdims=True, dtype=float)
    np.testing.assert_allclose(
        _blurred(waves, np.array([50.0]), (2, 3)), np.broadcast_to(means, (1, 3, 9, 9)), atol=1e-9
    )


@pytest.mark.parametrize("spacing", ["linear", "sqrt"])
def test_for_a_linear_score_it_is_weight_times_what_the_blur_takes_away(spacing):
    image = IMAGES[:1, :1, :5, :5]
    found = onnxplain.explain(loaded(triple_sum()), image, "blur-ig", target=0, max_sigma=2, points=7, spacing=spacing)
    lost = image - _blurred(waves_of(image), np.array([2.0]), (2, 3))
    np.testing.assert_allclose(found.values["image"], 3 * lost, atol=1e-5)
    assert abs(found.gap) < 1e-5
    assert found.baseline_score == pytest.approx(found.score, abs=1e-5)  # a blur keeps the sum


def test_it_is_the_sum_over_steps_of_gradient_times_step():
    model = loaded(random_convolutions(2))
    found = onnxplain.explain(model, IMAGES[:1], "blur-ig", target=1, max_sigma=3, points=6)
    sigmas = 3 * (1 - np.array([0, *(np.arange(6) + 0.5) / 6, 1]))
    stages = np.concatenate([_blurred(waves_of(IMAGES[:1]), np.array([s]), (2, 3)) for s in sigmas]).astype(np.float32)
    slopes = twin(model).run({"image": stages}, "1", wrt=["image"]).gradients["image"]
    slopes[0], slopes[-1] = slopes[1], slopes[-2]
    expected = np.sum((slopes[1:] + slopes[:-1]) / 2 * np.diff(stages, axis=0), axis=0)
    np.testing.assert_allclose(found.values["image"][0], expected, atol=1e-4)
    assert found.baseline_score == pytest.approx(float(model.predict(stages[:1])["y"][0, 1]), rel=1e-4)
    assert found.evaluations == 6 + 4


@pytest.mark.parametrize("tensor", ["image", "relu1", "logits"])
def test_values_of_a_real_model_add_up(tensor):
    model = onnxplain.load(onnxplain.models.path("digits-cnn"), device="cpu", threads=1)
    image = onnxplain.models.samples("digits-cnn")[3]
    found = onnxplain.explain(model, image, "blur-ig", wrt=tensor, max_sigma=8, points=400)
    assert list(found.values) == [tensor]
    assert found.values[tensor].sum() == pytest.approx(found.score - found.baseline_score + found.gap, rel=1e-9)
    assert abs(found.gap) < 5e-3 * abs(found.score - found.baseline_score)


def test_several_inputs_and_classes_give_what_each_alone_gives():
    model = loaded(random_convolutions(3))
    method = BlurIntegratedGradients(points=40)
    problems = [
        Problem(model, onnxplain.Sample({"image": image[None]}), resolve(k, model, {"image": image[None]}), "blur-ig")
        for k, image in enumerate(IMAGES)
    ]
    for problem, found in zip(problems, method.explain_many(problems), strict=True):
        alone = method.explain(problem)
        np.testing.assert_allclose(found.values["image"], alone.values["image"], atol=1e-4)
        assert (found.score, found.baseline_score) == pytest.approx((alone.score, alone.baseline_score), rel=1e-5)


def test_what_is_no_image_keeps_its_value():
    """Score = sum(image) * factor: the blur leaves the factor alone, and only the image gets values."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["sum"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["sum", "last"], ["column"]),
        helper.make_node("Mul", ["column", "factor"], ["y"]),
    ]
    inputs = {"image": (TensorProto.FLOAT, ["batch", 1, 6, 8]), "factor": (TensorProto.FLOAT, ["batch", 1])}
    data = model_of(
        nodes, inputs, {"y": (TensorProto.FLOAT, ["batch", 1])}, {"last": np.array([1])}
    ).SerializeToString()
    feeds = {"image": IMAGES[:1, :1, :6, :8], "factor": np.array([[48]], np.float32)}
    found = onnxplain.explain(loaded(data), feeds, "blur-ig", target=0)
    assert list(found.values) == ["image"]
    mean = feeds["image"].mean()
    np.testing.assert_allclose(found.values["image"], feeds["image"] - mean, atol=1e-5)
    with pytest.raises(SettingError, match="needs an image"):
        onnxplain.explain(loaded(data), feeds, "blur-ig", target=0, wrt="factor")


def test_a_table_is_refused():
    with pytest.raises(SettingError, match="blur-ig needs an image, or a series of known layout"):
        onnxplain.explain(loaded(random_dense(0, 5)), np.ones((1, 5), np.float32), "blur-ig", target=0)
