"""evaluate: from a model, inputs and a method or explanation to Scores; and what it refuses."""

import dataclasses
import math

import numpy as np
import onnx
import pytest

import onnxplain
from onnxplain.engine.metrics.score import gathered
from oracles.graphs import linear, random_convolutions, random_dense
from small_graphs import affine

X = np.array([[1.0, 2.0, -1.0, 0.5]], dtype=np.float32)
WEIGHTS = (4, 2, 1, -1)


def test_several_inputs_are_averaged_with_an_interval(digits, pictures):
    (score,) = onnxplain.evaluate(digits, pictures, "occlusion", ["deletion"], window=2)
    assert len(score.samples) == 3
    values = np.array(score.samples)
    assert score.value == pytest.approx(values.mean())
    half = 4.302653 * values.std(ddof=1) / math.sqrt(3)  # Student's t of two degrees of freedom
    assert score.range == (0, 1)  # a probability
    assert score.interval == pytest.approx((max(0, values.mean() - half), values.mean() + half))
    assert score.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(3))
    assert score.evaluations == 3 * 65
    x, y = score.curve
    assert (len(x), x[0], x[-1]) == (65, 0, 1)
    assert (score.curve_interval[0] <= y).all()
    assert (score.curve_interval[1] >= y).all()


def test_one_input_has_no_interval(digits, pictures):
    (score,) = onnxplain.evaluate(digits, pictures[0], "occlusion", ["deletion"])
    assert score.interval is None
    assert score.standard_error is None
    assert score.samples == (score.value,)


def test_a_metric_that_samples_tells_its_own_error_for_one_input():
    phi = np.array(WEIGHTS) * X + np.array([0.5, 0, 0, 0])
    (score,) = onnxplain.evaluate(linear(WEIGHTS), X, phi, [("infidelity", {"samples": 400})], target=0)
    # the gap is 0.5 where the first feature is removed, half of the time: squares of 0.25 or 0
    assert score.value == pytest.approx(0.125, abs=0.02)
    assert score.standard_error == pytest.approx(0.125 / math.sqrt(400), rel=0.05)


def test_lists_of_numbers_are_the_attributions_and_the_mask_of_a_single_input():
    metrics = [("deletion", {"baseline": 0}), ("relevance-mass", {"signs": "signed"})]
    x, phi = [1, 1, 1, 1], [4, 2, 1, -1]
    for given in (phi, [phi]):
        mask = [[True, True, False, False]]
        deletion, mass = onnxplain.evaluate(linear(WEIGHTS), x, given, metrics, target=0, mask=mask)
        assert (deletion.value, mass.value) == pytest.approx((1, 1))
    picture, values, mask = np.ones((1, 1, 5, 5), np.float32), np.zeros((5, 5)), np.zeros((5, 5), int)
    values[:3, :3], mask[:2, :3] = [[5, -4, 1], [2, 3, 0], [-1, 4, 0]], [[1, 1, 0], [0, 1, 0]]
    onnx = random_convolutions(0, side=5, channels=1)
    (rank,) = onnxplain.evaluate(onnx, picture, values.tolist(), ["relevance-rank"], mask=mask.tolist())
    assert rank.value == pytest.approx(2 / 3)


def test_an_explanation_is_judged_as_it_is(digits, pictures):
    made = onnxplain.explain(digits, pictures[0], "occlusion", window=2)
    given = onnxplain.evaluate(digits, made.sample, made, ["deletion", "sparseness"])
    named = onnxplain.evaluate(digits, pictures[0], "occlusion", ["deletion", "sparseness"], window=2)
    assert [s.value for s in given] == [s.value for s in named]
    assert [s.method for s in given] == ["occlusion", "occlusion"]


def test_a_loaded_explanation_is_judged_on_its_own_target(digits, pictures, tmp_path):
    made = onnxplain.explain(digits, pictures[0], "occlusion", target=5)
    made.save(tmp_path / "e.npz")
    loaded = onnxplain.Explanation.load(tmp_path / "e.npz")
    (score,) = onnxplain.evaluate(digits, loaded.sample, loaded, [("insertion", {"of": "score"})])
    assert score.parts["score"] == pytest.approx(made.score)


def test_controls_are_beside_each_score_and_know_less(digits, pictures):
    (score,) = onnxplain.evaluate(digits, pictures, "occlusion", ["deletion"])
    assert score.method == "occlusion"
    assert [(name, control.method) for name, control in score.controls.items()] == [
        ("random", "random"),
        ("edges", "edges"),
    ]
    assert score.value < min(control.value for control in score.controls.values())
    assert all(len(control.samples) == 3 and control.interval for control in score.controls.values())
    assert repr(score).endswith(
        f", random {score.controls['random'].value:.4g}, edges {score.controls['edges'].value:.4g}>"
    )
    document = score.to_json()
    assert document["controls"]["edges"]["value"] == score.controls["edges"].value


def test_without_controls_the_method_alone_is_evaluated(digits, pictures):
    (alone,), (beside,) = (
        onnxplain.evaluate(digits, pictures, "occlusion", ["deletion"], controls=c) for c in (False, True)
    )
    assert alone.controls == {}
    assert "controls" not in alone.to_json()
    assert (alone.value, alone.evaluations) == (beside.value, beside.evaluations)


def test_a_metric_that_no_control_can_have_has_none_beside_it(digits, pictures):
    (score,) = onnxplain.evaluate(digits, pictures[0], "kernel-shap", ["completeness"], features="grid:3")
    assert score.value == pytest.approx(0, abs=1e-5)
    assert score.controls == {}


def test_a_control_that_fails_says_so_and_leaves_the_score_alone(digits, pictures):
    from onnxplain.engine.registry import unregister

    @onnxplain.register("metric", "choosy", source="a test")
    @dataclasses.dataclass(frozen=True)
    class Choosy:
        """Overflows on maps of controls."""

        def score(self, trial):
            if trial.explanation.method == "edges":
                raise onnxplain.ModelError("the model overflows")
            return onnxplain.Reading(1.0)

    try:
        (score,) = onnxplain.evaluate(digits, pictures[:1], "occlusion", ["choosy"])
    finally:
        unregister("choosy")
    assert (score.value, score.controls["random"].value) == (1, 1)
    assert math.isnan(score.controls["edges"].value)
    assert score.controls["edges"].notes == ("undefined: the control could not be evaluated: the model overflows",)


def test_each_input_gets_a_random_map_of_its_own_that_perturbations_leave_alone(digits, pictures):
    metrics = ["entropy", ("max-sensitivity", {"samples": 2})]
    named, still = onnxplain.evaluate(digits, pictures, "random", metrics)
    assert len(set(named.samples)) == 1  # the same seed: the same map
    assert len(set(named.controls["random"].samples)) == 3
    assert (still.value, still.controls["random"].value) == (0, 0)


def test_tables_have_no_edges():
    onnx_model = affine(np.array([[1.0, 2.0, -1.0]]), np.zeros(1)).SerializeToString()
    (score,) = onnxplain.evaluate(onnx_model, np.ones((1, 3), np.float32), "ablation", ["sparseness"])
    assert list(score.controls) == ["random"]


def test_a_feature_that_spans_elements_counts_once():
    """Superpixels carry their value on each pixel; sums over any other features still add up to the total."""
    picture = np.random.default_rng(0).random((1, 3, 9, 9)).astype(np.float32)
    model = onnxplain.load(random_convolutions(0))
    made = onnxplain.explain(model, picture, "exact-shapley", target=1, features="grid:2x3")
    for metric in ("infidelity", "faithfulness-correlation"):
        for features in ("grid:2x3", "grid:1x3", "pixels"):
            settings = {"features": features, "samples": 20}
            if metric == "infidelity":
                settings["probability"] = 0.999
            (score,) = onnxplain.evaluate(model, made.sample, made, [(metric, settings)])
            if metric == "infidelity" and features != "pixels":  # nearly always all is removed: exact by efficiency
                assert score.value < 1e-3 * made.score**2 + 1e-6
            assert math.isfinite(score.value)


def test_channels_that_carry_the_same_number_count_once(digits):
    """Three channels with a pixel's value each are one value; three different ones are added up."""
    model = onnxplain.load(random_convolutions(1))
    picture = np.random.default_rng(1).random((1, 3, 9, 9)).astype(np.float32)
    pixel = np.random.default_rng(2).random((9, 9))
    metrics = [("infidelity", {"features": "grid:3", "samples": 30})]
    spread = np.broadcast_to(pixel, (1, 3, 9, 9))
    parted = np.stack([pixel * 0.5, pixel * 0.25, pixel * 0.25])[None]
    found = [onnxplain.evaluate(model, picture, phi, metrics, target=0)[0].value for phi in (spread, parted, pixel)]
    assert found == pytest.approx([found[0]] * 3)


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_numbers_do_not_depend_on_the_batch_size(batch):
    from onnxplain.engine.runtime import Layout

    model = onnxplain.load(random_dense(3, 12))
    x = np.random.default_rng(0).normal(size=(1, 12)).astype(np.float32)
    phi = np.random.default_rng(1).normal(size=(1, 12))
    names = ["deletion", "insertion", "infidelity", "mu-fidelity", "sensitivity-n", "faithfulness-estimate"]
    usual = [s.value for s in onnxplain.evaluate(model, x, phi, names, target=1)]
    model.layout = Layout(1, 1, batch)
    assert [s.value for s in onnxplain.evaluate(model, x, phi, names, target=1)] == pytest.approx(usual, rel=1e-4)


def test_the_seed_decides_what_is_drawn():
    model, phi = onnxplain.load(random_dense(3, 12)), np.arange(12.0)
    x = np.ones((1, 12), np.float32)
    first, again, other = (
        onnxplain.evaluate(model, x, phi, ["infidelity"], target=0, seed=seed)[0].value for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_score_as_json_has_null_where_there_is_no_number():
    (score,) = onnxplain.evaluate(linear(WEIGHTS), X, np.zeros(4), ["sparseness"], target=0)
    document = score.to_json()
    assert document["value"] is None
    assert document["samples"] == [None]
    assert document["range"] == [0.0, 1.0]
    assert document["notes"] == ["undefined: the map is zero everywhere"]


def test_readings_survive_being_written():
    reading = onnxplain.Reading(
        math.nan, (np.arange(3.0), np.array([1.0, math.inf, 2.0])), None, {"a": -math.inf}, ("why",), 7, 0.5
    )
    again = onnxplain.Reading.from_json(reading.to_json())
    assert math.isnan(again.value)
    np.testing.assert_array_equal(again.curve[1], reading.curve[1])
    assert (again.parts, again.notes, again.evaluations, again.seconds) == ({"a": -math.inf}, ("why",), 7, 0.5)


def test_the_intervals_of_a_curve_keep_to_what_there_can_be():
    """Two curves of probabilities far apart: their interval would reach below 0 and above 1."""
    readings = [onnxplain.Reading(v, (np.arange(2.0), np.array([v, v])), limits=(0, 1)) for v in (0.2, 0.9)]
    known = {"better": "lower", "is_share": False, "settings": {}}
    score = gathered("m", "n", readings, limits=(-math.inf, math.inf), **known)
    np.testing.assert_array_equal(np.stack(score.curve_interval), [[0, 0], [1, 1]])
    assert score.range == (0, 1)
    mixed = gathered("m", "n", [*readings, onnxplain.Reading(5.0)], limits=(-math.inf, math.inf), **known)
    assert mixed.range == (-math.inf, math.inf)


def test_controls_are_judged_on_the_target_of_the_explanation(digits, pictures):
    made = onnxplain.explain(digits, pictures[0], "occlusion", target=5)
    metrics = [("deletion", {"of": "score"})]
    (score,) = onnxplain.evaluate(digits, made.sample, made, metrics)
    assert [s.parts["score"] for s in (score, *score.controls.values())] == pytest.approx([made.score] * 3)


@pytest.mark.parametrize("plugin", onnxplain.methods("metric"), ids=lambda plugin: plugin.name)
def test_every_metric_says_what_its_numbers_mean(plugin):
    facts = plugin.to_json()
    assert facts["better"] in {"higher", "lower", None}
    assert len(facts["range"]) == 2
    assert facts["meaning"]
    assert facts["cost"]
    assert plugin.source


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_metric_that_gives_no_number_is_said_to(number, digits, pictures):
    from onnxplain.engine.registry import unregister

    @onnxplain.register("metric", "numberless", source="a test")
    @dataclasses.dataclass(frozen=True)
    class Numberless:
        """Forgets to say why."""

        def score(self, _):
            return onnxplain.Reading(number, notes=("a note",))

    try:
        (score,) = onnxplain.evaluate(digits, pictures[0], "occlusion", ["numberless"], controls=False)
    finally:
        unregister("numberless")
    assert math.isnan(score.value)
    assert score.notes == ("a note", f"undefined: the metric gives {number:g}, which is no finite number")


@pytest.mark.parametrize("metric", ["faithfulness-estimate", "sensitivity-n", "effective-size", "method-agreement"])
def test_the_size_of_the_numbers_does_not_matter(metric, digits, pictures):
    """Squares of 1e-300 are 0, and those of 1e300 are infinite; a correlation has no unit."""
    phi, other = np.random.default_rng(0).normal(size=(2, 8, 8))
    settings = {"others": [other], "similarity": "pearson"} if metric == "method-agreement" else {}
    once, *scaled = (
        onnxplain.evaluate(digits, pictures[0], phi * k, [(metric, settings)], controls=False)[0].value
        for k in (1, 1e-300, 1e300)
    )
    assert scaled == pytest.approx([once] * 2)


def test_a_mistake_of_a_metric_names_it(digits, pictures):
    from onnxplain.engine.registry import unregister

    @onnxplain.register("metric", "faulty", source="a test")
    @dataclasses.dataclass(frozen=True)
    class Faulty:
        """Divides by nothing."""

        def score(self, _):
            return 1 / 0

    try:
        with pytest.raises(onnxplain.OnnxplainError, match="faulty failed: ZeroDivisionError"):
            onnxplain.evaluate(digits, pictures[0], "occlusion", ["faulty"])
    finally:
        unregister("faulty")


def test_logits_of_a_classifier_by_its_spec_become_probabilities(tmp_path):
    """A model that ends in logits, whose spec says that it classifies: the softmax is taken."""
    path = tmp_path / "m.onnx"
    onnx.save(affine(np.array([[1.0, 2.0], [0.5, -1.0]]), np.zeros(2)), path)
    x = np.array([[1, 1]], dtype=np.float32)
    metrics = [("insertion", {}), ("deletion", {"of": "score"})]
    raw = onnxplain.evaluate(path, x, np.array([1.0, 2]), metrics, target=0)
    path.with_suffix(".toml").write_text('task = "classification"\n')
    insertion, deletion = onnxplain.evaluate(path, x, np.array([1.0, 2]), metrics, target=0)
    assert raw[0].parts["score"] == pytest.approx(3)
    assert insertion.parts["score"] == pytest.approx(1 / (1 + math.exp(-0.5 - 3)), rel=1e-6)
    assert deletion.parts["score"] == pytest.approx(3)
