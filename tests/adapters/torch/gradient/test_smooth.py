"""Smoothing: mean, mean square and variance over noisy copies, of any gradient method."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402
from gradient_problems import problem_of, score_of, smooth_network, words_and_mask  # noqa: E402
from onnxplain.adapters.torch.gradient import smooth  # noqa: E402
from onnxplain.adapters.torch.gradient.input_x_gradient import InputXGradient  # noqa: E402
from onnxplain.adapters.torch.gradient.integrated_gradients import IntegratedGradients  # noqa: E402
from onnxplain.adapters.torch.gradient.moments import Moments  # noqa: E402
from onnxplain.adapters.torch.gradient.saliency import Saliency  # noqa: E402
from onnxplain.adapters.torch.gradient.smooth import KINDS, smoothed  # noqa: E402
from onnxplain.engine.errors import CapabilityError, SettingError  # noqa: E402

RNG = np.random.default_rng(8)
X = RNG.normal(size=(1, 5))


def copies(problem, count, noise):
    draws = problem.rng(0)
    sigma = noise * (X.max() - X.min())
    return [X + sigma * draws.standard_normal((1, 5)) for _ in range(count)]


@pytest.mark.parametrize("explainer", [Saliency(), InputXGradient(), IntegratedGradients(points=4)])
@pytest.mark.parametrize("wrt", [None, "h"])
def test_values_are_moments_of_the_method_over_noisy_copies(explainer, wrt):
    model = smooth_network(0)
    problem = problem_of(model, {"x": X}, "1", wrt=wrt, seed=5)
    name = wrt or "x"
    ones = [explainer.explain(problem_of(model, {"x": x}, "1", wrt=wrt)).values[name] for x in copies(problem, 6, 0.2)]
    found = {k: smoothed(explainer, k, samples=6, noise=0.2).explain(problem) for k in KINDS}
    np.testing.assert_allclose(found["smoothgrad"].values[name], np.mean(ones, axis=0), rtol=1e-9)
    np.testing.assert_allclose(found["smoothgrad-squared"].values[name], np.mean(np.square(ones), axis=0), rtol=1e-9)
    np.testing.assert_allclose(found["vargrad"].values[name], np.var(ones, axis=0), rtol=1e-7, atol=1e-15)
    errors = np.std(ones, axis=0, ddof=1) / np.sqrt(6)
    np.testing.assert_allclose(found["smoothgrad"].standard_error[name], errors, rtol=1e-7, atol=1e-15)
    assert found["vargrad"].standard_error is None
    assert found["smoothgrad"].score == pytest.approx(score_of(model, problem.target, {"x": X})[0])
    assert found["smoothgrad"].gap is None
    assert found["smoothgrad"].sample is problem.sample


def test_the_baseline_is_that_of_the_sample_without_noise():
    model = onnxplain.load(onnxplain.models.path("digits-cnn"), device="cpu", threads=1)
    x = RNG.random((1, 1, 8, 8)).astype(np.float32)
    explainer = IntegratedGradients(points=3, baseline="blur:2")
    problem = problem_of(model, {"image": x}, "3")
    bases = []

    class Spy:
        baseline = "blur:2"

        def explain(self, asked):
            bases.append(asked.baseline.references["image"])
            return explainer.explain(asked)

    smoothed(Spy(), samples=3).explain(problem)
    expected = problem_of(model, {"image": x}, "3", baseline_setting="blur:2").baseline.references["image"]
    assert all(np.array_equal(b, expected) for b in bases)


def test_the_noise_does_not_depend_on_how_many_copies_go_at_once(monkeypatch):
    problem = problem_of(smooth_network(1), {"x": X})
    whole = smoothed(Saliency(), samples=11).explain(problem)
    monkeypatch.setattr(smooth, "MOST_TOGETHER", 4)
    parts = smoothed(Saliency(), samples=11).explain(problem)
    np.testing.assert_allclose(parts.values["x"], whole.values["x"], rtol=1e-12)
    two = smoothed(Saliency(), samples=11).explain_many([problem, problem])
    np.testing.assert_allclose(two[1].values["x"], whole.values["x"], rtol=1e-12)


def test_embeddings_get_the_noise_where_inputs_are_words():
    _, model, feeds = words_and_mask()
    problem = problem_of(model, feeds, "1")
    plain = Saliency().explain(problem)
    quiet = smoothed(Saliency(), samples=2, noise=0).explain(problem)
    noisy = smoothed(Saliency(), samples=4, noise=0.2).explain(problem)
    for name, values in plain.values.items():
        np.testing.assert_allclose(quiet.values[name], values, rtol=1e-5, atol=1e-7)
        assert noisy.values[name].shape == values.shape
    assert any(e.any() for e in noisy.standard_error.values())

    class AtInputsOnly:
        def explain(self, problem):
            return Saliency().explain(problem)

    with pytest.raises(CapabilityError, match="could add noise to"):
        smoothed(AtInputsOnly()).explain(problem)


@pytest.mark.parametrize("kind", KINDS)
def test_smoothed_methods_are_found_by_name(kind):
    model = smooth_network(0)
    asked = {"of": "integrated-gradients", "settings": {"points": 3}, "samples": 4, "noise": 0.05}
    found = onnxplain.explain(model, X, kind, target=1, seed=7, **asked)
    explainer = smoothed(IntegratedGradients(points=3), kind, 4, 0.05)
    expected = explainer.explain(problem_of(model, {"x": X}, "1", seed=7))
    np.testing.assert_allclose(found.values["x"], expected.values["x"], rtol=1e-12)
    assert found.notes[0] == f"{kind} of integrated-gradients, 4 copies with noise of 0.05 of the range"
    assert found.settings == asked
    assert found.evaluations == 4 * (3 + 2)


def test_what_cannot_be_smoothed_is_refused():
    model = smooth_network(0)
    with pytest.raises(SettingError, match="not 'ablation'"):
        onnxplain.explain(model, X, "smoothgrad", of="ablation")
    with pytest.raises(SettingError, match="not 'vargrad'"):
        onnxplain.explain(model, X, "smoothgrad", of="vargrad")
    with pytest.raises(SettingError, match="no setting 'dots'"):
        onnxplain.explain(model, X, "smoothgrad", of="saliency", settings={"dots": 3})


def test_running_moments_are_those_of_all_arrays():
    arrays = RNG.normal(1e6, 1, size=(50, 3))
    moments = Moments()
    for array in arrays:
        moments.add({"a": array})
    np.testing.assert_allclose(moments.means["a"], arrays.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.variances()["a"], arrays.var(0), rtol=1e-8)
    np.testing.assert_allclose(moments.standard_errors()["a"], arrays.std(0, ddof=1) / np.sqrt(50), rtol=1e-8)


def test_around_a_method_settings_are_its_own_and_else_those_of_the_smoothing():
    def settings(method, **given):
        return onnxplain.explain(smooth_network(0), X, method, target=1, smooth="smoothgrad", **given).settings

    assert settings("saliency", value="absolute", samples=3, noise=0.2) == {
        "of": "saliency",
        "settings": {"value": "absolute"},
        "samples": 3,
        "noise": 0.2,
    }
    assert settings("gradient-shap", samples=3)["settings"] == {"samples": 3}  # it has samples itself
    with pytest.raises(SettingError, match="saliency has no setting 'sample'"):
        settings("saliency", sample=3)
    with pytest.raises(SettingError, match="input-x-gradient does not smooth other methods"):
        onnxplain.explain(smooth_network(0), X, "saliency", target=1, smooth="input-x-gradient")
