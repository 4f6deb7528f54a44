"""Faithfulness: what the oracles' rows do not say: images, shares, controls, the cost."""

import math

import numpy as np
import pytest
from onnx import helper

import onnxplain
from oracles.graphs import linear, model, random_convolutions, random_dense, triple_sum

IMAGE = np.random.default_rng(0).random((1, 1, 5, 5)).astype(np.float32)


def test_pixel_flipping_stops_at_its_share():
    (score,) = onnxplain.evaluate(triple_sum(), IMAGE, IMAGE[0, 0], [("pixel-flipping", {"share": 0.4})], target=0)
    x, y = score.curve
    np.testing.assert_allclose(x, np.arange(11) / 25)
    largest = np.sort(IMAGE.ravel())[::-1][:10]
    np.testing.assert_allclose(y, 3 * (IMAGE.sum() - np.append(0, np.cumsum(largest))), rtol=1e-5)
    assert score.parts["at the end"] == pytest.approx(y[-1])
    assert score.value == pytest.approx((y[0] / 2 + y[1:-1].sum() + y[-1] / 2) / 10)  # by trapezoids


def test_steps_group_features_evenly():
    metrics = [("deletion", {"steps": 4, "of": "score"})]
    (score,) = onnxplain.evaluate(triple_sum(), IMAGE, IMAGE[0, 0], metrics, target=0)
    np.testing.assert_allclose(score.curve[0], np.array([0, 6, 12, 19, 25]) / 25)
    assert score.evaluations == 5


def test_the_order_of_a_coarse_map_is_that_of_its_values_and_not_of_the_size_of_its_features():
    """A large superpixel of value 2 comes before a small one of value 1."""
    labels = np.zeros((1, 1, 5, 5), int)
    labels[0, 0, 4, 4] = 1
    phi = np.where(labels[0, 0] == 0, 2.0, 1.0)
    metrics = [("deletion", {"features": labels})]
    (score,) = onnxplain.evaluate(triple_sum(), IMAGE, phi, metrics, target=0)
    np.testing.assert_allclose(score.curve[1], [3 * IMAGE.sum(), 3 * IMAGE[0, 0, 4, 4], 0], rtol=1e-5, atol=1e-5)


def test_rank_by_magnitude():
    x, phi = np.ones((1, 3), np.float32), np.array([1.0, -5, 2])
    onnx = linear((1, -5, 2))
    signed, magnitude = (
        onnxplain.evaluate(onnx, x, phi, [("deletion", {"rank": rank})], target=0)[0].curve[1]
        for rank in ("signed", "absolute")
    )
    np.testing.assert_allclose(signed, [-2, -4, -5, 0], atol=1e-6)
    np.testing.assert_allclose(magnitude, [-2, 3, 1, 0], atol=1e-6)


def test_regions_of_an_image_are_squares_that_become_noise(digits, zero):
    metrics = [("region-perturbation", {"pixels": 2, "steps": 5})]
    (score,) = onnxplain.evaluate(digits, zero, "occlusion", metrics, window=2)
    np.testing.assert_array_equal(score.curve[0], [0, 1, 2, 3, 4, 5])
    assert score.curve[1][0] == pytest.approx(0, abs=1e-5)
    (other,) = onnxplain.evaluate(digits, zero, "occlusion", metrics, window=2, seed=1)
    assert other.value != score.value


@pytest.mark.parametrize(
    "metric", ["mu-fidelity", "faithfulness-correlation", "sensitivity-n", "faithfulness-estimate"]
)
def test_correlations_do_not_know_the_unit_of_the_attributions(metric):
    model = onnxplain.load(random_dense(1, 10))
    x = np.random.default_rng(0).normal(size=(1, 10)).astype(np.float32)
    phi = np.random.default_rng(1).normal(size=10)
    once, scaled = (onnxplain.evaluate(model, x, k * phi, [metric], target=0)[0].value for k in (1, 1000))
    assert once == pytest.approx(scaled, abs=1e-9)


def test_mu_fidelity_is_of_ranks_and_faithfulness_correlation_of_numbers():
    """Drops of 1, 10 and 100 for sums of 1, 2 and 3."""
    sets = {"sets": [[0], [1], [2]]}
    ranks, numbers = (
        onnxplain.evaluate(linear((1, 10, 100)), np.ones((1, 3), np.float32), np.arange(1, 4), [(name, sets)], target=0)
        for name in ("mu-fidelity", "faithfulness-correlation")
    )
    assert ranks[0].value == pytest.approx(1)
    assert numbers[0].value == pytest.approx(np.corrcoef([1, 2, 3], [1, 10, 100])[0, 1])


@pytest.mark.parametrize(
    ("metric", "features", "size"), [("mu-fidelity", 81, 16), ("faithfulness-correlation", 324, 65)]
)
def test_a_fifth_of_the_features_goes_at_a_time(monkeypatch, metric, features, size):
    from onnxplain.engine.metrics import faithfulness_correlation
    from onnxplain.engine.metrics.subsets import drawn

    asked = []
    monkeypatch.setattr(faithfulness_correlation, "drawn", lambda *a: asked.append(a[1:]) or drawn(*a))
    phi = np.random.default_rng(0).random((18, 18))
    image = np.ones((1, 3, 18, 18), np.float32)
    onnxplain.evaluate(random_convolutions(0, side=18), image, phi, [metric], target=0, controls=False)
    assert asked == [(features, size, 200)]


def test_sensitivity_n_of_a_linear_function_is_one_for_every_size():
    weights = tuple(range(1, 13))
    x = np.ones((1, 12), np.float32)
    (score,) = onnxplain.evaluate(linear(weights), x, np.array(weights, float), ["sensitivity-n"], target=0)
    np.testing.assert_allclose(score.curve[1], 1, atol=1e-6)
    assert score.curve[0][0] == 1
    assert score.curve[0][-1] == 10  # 80 % of 12


def test_rank_correlation_with_occlusion_of_the_occlusion_map_itself(digits, zero):
    made = onnxplain.explain(digits, zero, "ablation", features="grid:4")
    metrics = [("occlusion-rank-correlation", {"features": "grid:4"})]
    (score,) = onnxplain.evaluate(digits, made.sample, made, metrics)
    assert score.value == pytest.approx(1)
    assert score.evaluations == 17


def test_a_map_beats_the_controls_on_a_trained_network(digits):
    """Seven digits: occlusion knows more than a random map and than the edges, by every measure of faithfulness."""
    pictures = [str(p) for p in onnxplain.models.samples("digits-cnn")[:7]]
    names = ["deletion", "insertion", "mu-fidelity", "road", "faithfulness-estimate"]
    for score in onnxplain.evaluate(digits, pictures, "occlusion", names, window=2):
        sign = 1 if score.higher_is_better else -1
        assert sign * score.value > max(sign * control.value for control in score.controls.values()), score.metric


def test_models_of_three_channels_lose_pixels_whole():
    model = onnxplain.load(random_convolutions(0))
    image = np.random.default_rng(0).random((1, 3, 9, 9)).astype(np.float32)
    phi = np.random.default_rng(1).random((9, 9))
    (score,) = onnxplain.evaluate(model, image, phi, [("deletion", {"of": "score"})], target=1)
    assert len(score.curve[0]) == 82
    first = np.unravel_index(phi.argmax(), phi.shape)
    without = image.copy()
    without[0, :, first[0], first[1]] = 0
    assert score.curve[1][1] == pytest.approx(model.predict(without)["y"][0, 1], rel=1e-5)


def test_the_metric_of_the_documentation(tmp_path):
    """docs/metrics.md shows how a metric is written; it works as shown."""
    import re
    from pathlib import Path

    from onnxplain.engine.registry import unregister

    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    block = re.findall(r"^```python\n(@onnxplain.*?)^```", text, re.DOTALL | re.MULTILINE)[0]
    file = tmp_path / "peak_share.py"
    head = "from dataclasses import dataclass\nimport numpy as np\nimport onnxplain\n"
    file.write_text(head + block, encoding="utf-8")
    import importlib.util

    spec = importlib.util.spec_from_file_location("peak_share", file)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    try:
        (score,) = onnxplain.evaluate(linear((1, 1)), np.ones((1, 2), np.float32), np.array([1.0, -3]), ["peak-share"])
    finally:
        unregister("peak-share")
    assert score.value == pytest.approx(0.75)
    assert score.range == (0, 1)


@pytest.fixture(params=["tokens", "strings"])
def text_model(request, tmp_path):
    pytest.importorskip("tokenizers")
    from text_models import string_model, token_model, tokenizer, written

    proto, made = (token_model(types=True), tokenizer()) if request.param == "tokens" else (string_model(), None)
    return onnxplain.load(written(tmp_path, proto, made), device="cpu")


def test_words_are_removed_in_the_order_of_their_worth(text_model):
    """The model adds up the worths of words: removing the best first, the score falls by one worth after the other."""
    from text_models import SENTENCE, WORD_VALUES

    names = ["deletion", "insertion", "infidelity", "mu-fidelity", "sparseness"]
    scores = onnxplain.evaluate(text_model, onnxplain.Text(SENTENCE), "exact-shapley", names, target=1)
    found = {s.metric: s for s in scores}
    worths = np.sort([*WORD_VALUES.values()])[::-1]
    curve = found["deletion"].curve[1]
    np.testing.assert_allclose(curve[0] - curve, np.append(0, np.cumsum(worths)), atol=1e-4)
    assert found["infidelity"].value == pytest.approx(0, abs=1e-6)
    assert found["mu-fidelity"].value == pytest.approx(1)
    assert found["deletion"].value < found["deletion"].controls["random"].value
    assert math.isfinite(found["sparseness"].controls["random"].value)


@pytest.mark.parametrize(
    "metric", ["deletion", "infidelity", "mu-fidelity", "faithfulness-estimate", "sensitivity-n", "non-sensitivity"]
)
def test_rounding_is_no_movement(metric):
    """A score of a million that moves by a tenth stays the same number but for float32's last bits."""
    model = linear((0.05, 0.02, 0.03, 0.0), bias=1e6)
    x = np.ones((1, 4), np.float32)
    (score,) = onnxplain.evaluate(model, x, np.array([4.0, 2, 1, 3]), [metric], target=0)
    assert math.isnan(score.value)
    assert "move" in score.notes[0]


@pytest.mark.parametrize(("metric", "settings"), [("deletion", {"normalise": True}), ("completeness", {})])
def test_nothing_is_divided_by_the_rounding_between_input_and_baseline(metric, settings):
    """Features that cancel out: 100 + 50 - 50.00005, beside a baseline of 100."""
    x = np.ones((1, 2), np.float32)
    found = onnxplain.evaluate(linear((50, -50.00005), bias=100), x, np.array([2.0, 1]), [(metric, settings)], target=0)
    assert math.isnan(found[0].value)
    assert found[0].notes[0].startswith("undefined: input and baseline have the same score")


@pytest.mark.parametrize(
    ("area", "deletion", "insertion"),
    [
        # 5 features, 2 at a time: shares 0, 0.4, 0.8, 1; scores of deletion 15, 6, 1, 0 and of insertion 0, 9, 14, 15
        ("trapezoid", 0.4 * 10.5 + 0.4 * 3.5 + 0.2 * 0.5, 0.4 * 4.5 + 0.4 * 11.5 + 0.2 * 14.5),
        ("steps", (7.5 + 6 + 1) / 3, (9 + 14 + 7.5) / 3),
        ("mean", 22 / 4, 38 / 4),
    ],
)
def test_features_go_a_few_at_a_time_and_the_last_step_is_shorter(area, deletion, insertion):
    weights = (5, 4, 3, 2, 1)
    x = np.ones((1, 5), np.float32)
    settings = {"step": 2, "area": area}
    scores = onnxplain.evaluate(
        linear(weights), x, np.array(weights, float), {"deletion": settings, "insertion": settings}, target=0
    )
    np.testing.assert_allclose(scores[0].curve[0], [0, 0.4, 0.8, 1])
    assert [s.value for s in scores] == pytest.approx([deletion, insertion], rel=1e-6)
    assert [s.evaluations for s in scores] == [4, 4]


def test_the_area_by_equal_steps_is_that_of_petsiuks_code():
    """(sum - first / 2 - last / 2) / steps, whatever the width of the last one."""
    rng = np.random.default_rng(0)
    x = rng.random((1, 11)).astype(np.float32)
    phi = rng.normal(size=11)
    (score,) = onnxplain.evaluate(linear((1,) * 11), x, phi, [("deletion", {"step": 3, "area": "steps"})], target=0)
    y = score.curve[1]
    assert score.value == pytest.approx((y.sum() - y[0] / 2 - y[-1] / 2) / (len(y) - 1))


def test_a_probability_has_its_limits(digits, zero):
    metrics = ["deletion", ("insertion", {"of": "score"}), "road", ("pixel-flipping", {"of": "probability"})]
    found = {s.metric: s.range for s in onnxplain.evaluate(digits, zero, "occlusion", metrics, window=2)}
    assert found == {
        "deletion": (0, 1),
        "insertion": (-math.inf, math.inf),
        "road": (0, 1),
        "pixel-flipping": (0, 1),
    }


def test_regions_are_squares_cut_off_at_the_far_edges():
    """5 x 5 pixels in squares of 2: nine regions, of which the one with the highest mean is perturbed first."""
    phi = np.zeros((5, 5))
    phi[4, 4], phi[0, 0] = 0.9, 1  # the region of one pixel has the mean 0.9, that of four pixels 0.25
    metrics = [("region-perturbation", {"pixels": 2, "steps": 9, "baseline": 0})]
    (score,) = onnxplain.evaluate(triple_sum(), IMAGE, phi, metrics, target=0)
    np.testing.assert_array_equal(score.curve[0], np.arange(10))
    image = IMAGE[0, 0]
    np.testing.assert_allclose(
        score.curve[1][1:3], [3 * image[4, 4], 3 * (image[4, 4] + image[:2, :2].sum())], rtol=1e-5
    )
    assert score.curve[1][-1] == pytest.approx(3 * image.sum(), rel=1e-5)


def test_perturbed_regions_are_uniform_noise_within_their_channel():
    """A model that gives each pixel: the noise of all pixels lies between the ends and has the mean between them."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 1, 30, 30)).astype(np.float32)
    from onnxplain.engine.metrics.region_perturbation import _noise

    (found,) = _noise(onnxplain.Trial(*_trial_of(image))).values()
    assert found.shape == image.shape
    assert image.min() <= found.min() < image.min() + 0.1
    assert image.max() - 0.1 < found.max() <= image.max()
    low, high = float(image.min()), float(image.max())
    middle, reach = (low + high) / 2, high - low
    assert found.mean() == pytest.approx(middle, abs=4 * reach / math.sqrt(12 * 900))  # 4 standard errors
    assert found.std() == pytest.approx(reach / math.sqrt(12), rel=0.1)


def _trial_of(image):
    nodes = [helper.make_node("Flatten", ["image"], ["y"])]
    size = image.shape[2] * image.shape[3]
    made = onnxplain.load(model(nodes, {"image": ["batch", *image.shape[1:]]}, {"y": ["batch", size]}))
    explanation = onnxplain.explain(made, image, "random", target=0)
    from onnxplain.engine.target import resolve

    sample = explanation.sample
    return made, sample, resolve(0, made, sample.feeds), explanation


def test_a_fall_in_the_last_bits_of_the_runtime_is_none():
    """Putting in a column of weight -0.05 beside a million: float32 falls by one of its steps, 0.0625."""
    x, phi = np.ones((1, 2), np.float32), np.array([1.0, 2])
    for weight, value in ((-0.05, 1), (-10, 0)):
        metrics = [("monotonicity", {"with_baseline": True})]
        (score,) = onnxplain.evaluate(linear((1e6, weight)), x, phi, metrics, target=0, controls=False)
        assert score.curve[1][-1] < score.curve[1][1]
        assert score.value == value


CORRELATIONS = [
    "mu-fidelity",
    "faithfulness-correlation",
    "sensitivity-n",
    "faithfulness-estimate",
    "occlusion-rank-correlation",
]


@pytest.mark.parametrize("metric", CORRELATIONS)
def test_a_constant_map_has_no_correlation_where_features_are_of_unequal_size(metric):
    """Sums over cells of 1, 2 and 4 pixels would tell of the cells, not of the map."""
    phi, settings = np.full((5, 5), 0.3), {"features": "grid:3"}
    (score,) = onnxplain.evaluate(triple_sum(), IMAGE, phi, [(metric, settings)], target=0, controls=False)
    assert math.isnan(score.value)
    assert score.notes[0].startswith("undefined: the map is constant: it ranks nothing")


@pytest.mark.parametrize("metric", ["faithfulness-estimate", "occlusion-rank-correlation"])
def test_falls_that_are_the_same_but_for_rounding_are_not_put_in_order(metric):
    model = linear((0.1, 0.10001, 0.10002, 0.10003), bias=1000)
    x, phi = np.ones((1, 4), np.float32), np.array([4.0, 2, 1, 3])
    (score,) = onnxplain.evaluate(model, x, phi, [metric], target=0, controls=False)
    assert math.isnan(score.value)
    assert "the score falls by the same amount whatever is removed" in score.notes[0]


def test_a_picture_of_one_square_says_how_to_get_more():
    (score,) = onnxplain.evaluate(triple_sum(), IMAGE, IMAGE[0, 0], ["region-perturbation"], target=0, controls=False)
    assert score.notes == ("undefined: one square of 9 pixels covers all; region-perturbation.pixels sets another",)


@pytest.fixture
def texts(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("tokenizers")
    from text_models import token_model, tokenizer, written

    return onnxplain.load(written(tmp_path, token_model(types=True), tokenizer()), device="cpu")


class TestEmbeddings:
    """Gradient methods explain the embedding of a text; metrics take it as pictures do, added up for each word."""

    def test_words_go_in_the_order_of_what_the_gradient_gives_them(self, texts):
        from text_models import SENTENCE, WORD_VALUES

        names = ["deletion", "infidelity", "mu-fidelity"]
        given = {"target": 1, "controls": False}
        made = onnxplain.evaluate(texts, onnxplain.Text(SENTENCE), "input-x-gradient", names, **given)
        deletion, infidelity, fidelity = made
        worths = np.sort([*WORD_VALUES.values()])[::-1]
        curve = deletion.curve[1]
        np.testing.assert_allclose(curve[0] - curve, np.append(0, np.cumsum(worths)), atol=1e-4)
        assert (infidelity.value, fidelity.value) == (pytest.approx(0, abs=1e-6), pytest.approx(1))

    def test_special_tokens_are_no_part_of_the_text(self, texts):
        """[CLS] and [SEP] have worths of 16 and 32 that removing words cannot show: the maps agree all the same."""
        from text_models import SENTENCE

        metrics = [("method-agreement", {"others": "input-x-gradient", "similarity": "pearson"})]
        given = {"target": 1, "controls": False}
        (score,) = onnxplain.evaluate(texts, onnxplain.Text(SENTENCE), "ablation", metrics, **given)
        assert score.value == pytest.approx(1)

    def test_completeness_is_that_of_all_that_was_explained(self, texts):
        from text_models import SENTENCE

        given = {"target": 1, "controls": False}
        (score,) = onnxplain.evaluate(
            texts, onnxplain.Text(SENTENCE), "integrated-gradients", ["completeness"], **given
        )
        assert score.value == pytest.approx(0, abs=1e-6)
        assert score.parts["sum"] == pytest.approx(score.parts["score difference"])
