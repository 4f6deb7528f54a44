"""evaluate: what has no value, and what is refused."""

import dataclasses
import math

import numpy as np
import pytest

import onnxplain
from onnxplain import CapabilityError, InputError, SettingError
from oracles.graphs import linear, random_dense

X = np.array([[1.0, 2.0, -1.0, 0.5]], dtype=np.float32)
WEIGHTS = (4, 2, 1, -1)


class TestUndefined:
    """A number that means nothing is NaN, and a note says why."""

    METRICS = ("deletion", "insertion", "pixel-flipping", "region-perturbation", "monotonicity", "average-drop")

    @pytest.mark.parametrize("metric", [*METRICS, "mu-fidelity", "faithfulness-estimate", "occlusion-rank-correlation"])
    def test_a_constant_map_ranks_nothing(self, metric):
        (score,) = onnxplain.evaluate(linear(WEIGHTS), X, np.ones(4), [metric], target=0)
        assert math.isnan(score.value)
        assert "constant" in score.notes[0] or "same number" in score.notes[0]

    @pytest.mark.parametrize(
        "metric",
        [
            *METRICS,
            "average-gain",
            "average-increase",
            "infidelity",
            "mu-fidelity",
            "sensitivity-n",
            "faithfulness-estimate",
            "non-sensitivity",
        ],
    )
    def test_a_score_that_does_not_move_is_said_to(self, metric):
        still = linear((0, 0, 0, 0), bias=3)
        (score,) = onnxplain.evaluate(still, X, np.array([3.0, 1, 2, 4]), [metric], target=0)
        assert math.isnan(score.value)
        assert "move" in score.notes[0]

    @pytest.mark.parametrize(
        "metric",
        [
            *METRICS[:-1],
            "mu-fidelity",
            "faithfulness-correlation",
            "sensitivity-n",
            "faithfulness-estimate",
            "occlusion-rank-correlation",
            "sparseness",
        ],
    )
    def test_a_single_feature_is_not_put_in_order(self, metric):
        settings = {"features": np.zeros(4, int)}
        (score,) = onnxplain.evaluate(linear(WEIGHTS), X, np.array([3.0, 1, 2, 4]), [(metric, settings)], target=0)
        assert score.notes == ("undefined: there is one feature only: nothing to compare it with",)

    def test_a_map_of_zeros_that_stays_so_has_no_steepness(self):
        (score,) = onnxplain.evaluate(linear((0, 0, 0, 0), bias=3), X, "ablation", ["local-lipschitz"], target=0)
        assert math.isnan(score.value)
        assert "zero everywhere" in score.notes[0]

    @pytest.mark.parametrize(
        ("metric", "settings", "bias"),
        [("average-drop", {}, -100), ("average-gain", {}, 100), ("average-drop", {"rescale": False}, 0)],
    )
    def test_a_reason_is_told_once_whatever_the_numbers(self, metric, settings, bias):
        rows, maps = np.concatenate([X, 2 * X, 3 * X]), [np.array([1.0, 2, 3, 4 + k]) for k in range(3)]
        onnx = linear(WEIGHTS, bias=bias)
        (score,) = onnxplain.evaluate(onnx, rows, maps, [(metric, settings)], target=0, controls=False)
        assert math.isnan(score.value)
        assert len(score.notes) == 1

    def test_samples_without_a_value_are_left_out_and_counted(self):
        rows = np.concatenate([X, 2 * X, 3 * X])
        maps = [np.array([1.0, 2, 3, 4]), np.ones(4), np.array([4.0, 2, 1, -1])]
        (score,) = onnxplain.evaluate(linear(WEIGHTS), rows, maps, ["deletion"], target=0)
        assert score.notes[0] == "1 of 3 samples have no value and are left out"
        assert score.value == pytest.approx(np.mean([score.samples[0], score.samples[2]]))
        assert score.interval is not None


class TestRefused:
    def test_completeness_of_a_method_that_promises_none(self, digits, pictures):
        with pytest.raises(CapabilityError, match="occlusion does not promise completeness"):
            onnxplain.evaluate(digits, pictures[0], "occlusion", ["completeness"])

    def test_completeness_of_a_method_that_does(self):
        (score,) = onnxplain.evaluate(random_dense(0, 6), np.ones((1, 6), np.float32), "kernel-shap", ["completeness"])
        assert score.value < 1e-6
        assert score.parts["score difference"] != 0

    def test_an_explanation_of_another_model(self):
        made = onnxplain.explain(random_dense(0, 4), X, "ablation", target=0)
        with pytest.raises(InputError, match="another model: its digest differs"):
            onnxplain.evaluate(random_dense(1, 4), X, made, ["deletion"])

    def test_an_explanation_of_another_input(self):
        made = onnxplain.explain(random_dense(0, 4), X, "ablation", target=0)
        with pytest.raises(InputError, match="another input"):
            onnxplain.evaluate(random_dense(0, 4), X + 1, made, ["deletion"])

    def test_an_explanation_of_another_target(self):
        made = onnxplain.explain(random_dense(0, 4), X, "ablation", target=0)
        with pytest.raises(InputError, match="of target '0', not of '1'"):
            onnxplain.evaluate(random_dense(0, 4), X, made, ["deletion"], target=1)

    def test_an_explanation_without_its_manifest(self):
        made = onnxplain.explain(random_dense(0, 4), X, "ablation", target=0)
        bare = dataclasses.replace(made, manifest={})
        with pytest.raises(InputError, match="manifest of this explanation is not whole"):
            onnxplain.evaluate(random_dense(0, 4), X, bare, ["deletion"])

    def test_attributions_of_another_shape(self):
        with pytest.raises((InputError, SettingError), match=r"\(5,\)"):
            onnxplain.evaluate(linear(WEIGHTS), X, np.ones(5), ["deletion"], target=0)

    def test_attributions_that_are_not_finite(self):
        with pytest.raises(InputError, match="not finite"):
            onnxplain.evaluate(linear(WEIGHTS), X, np.array([1, np.nan, 2, 3]), ["deletion"], target=0)

    def test_attributions_that_came_as_numbers_cannot_be_made_again(self):
        with pytest.raises(CapabilityError, match="came as numbers alone"):
            onnxplain.evaluate(linear(WEIGHTS), X, np.arange(4.0), ["max-sensitivity"], target=0)

    def test_as_many_explanations_as_inputs(self):
        with pytest.raises(InputError, match="2 explanations were given for 1 inputs"):
            onnxplain.evaluate(linear(WEIGHTS), X, [np.ones(4)] * 2, ["deletion"], target=0)
        with pytest.raises(InputError, match="one explanation was given for 2 inputs"):
            onnxplain.evaluate(linear(WEIGHTS), np.repeat(X, 2, axis=0), np.ones(4), ["deletion"], target=0)

    def test_a_mask_of_another_size(self, digits, pictures):
        with pytest.raises(InputError, match="the mask has the size 4 x 4, the map 8 x 8"):
            onnxplain.evaluate(digits, pictures[0], "occlusion", ["pointing-game"], mask=np.eye(4))

    @pytest.mark.parametrize(("box", "match"), [((0, 0, 9, 4), "not within the image"), ((3, 3, 3, 5), "not within")])
    def test_a_box_outside_the_image(self, digits, pictures, box, match):
        with pytest.raises(InputError, match=match):
            onnxplain.evaluate(digits, pictures[0], "occlusion", ["pointing-game"], mask=box)

    @pytest.mark.parametrize(("mask", "match"), [(np.zeros((8, 8)), "nothing"), (np.ones((8, 8)), "everything")])
    def test_a_mask_that_says_nothing(self, digits, pictures, mask, match):
        with pytest.raises(InputError, match=f"the mask covers {match}"):
            onnxplain.evaluate(digits, pictures[0], "occlusion", ["pointing-game"], mask=mask)

    def test_localisation_without_a_mask(self, digits, pictures):
        with pytest.raises(CapabilityError, match="needs to know where the evidence is"):
            onnxplain.evaluate(digits, pictures[0], "occlusion", ["pointing-game"])

    @pytest.mark.parametrize(
        ("metrics", "match"),
        [
            (["deletoin"], "no metric called 'deletoin'"),
            (["rise"], "is an explainer, not a metric"),
            ([("deletion", {"stepps": 3})], "deletion has no setting 'stepps'"),
            ([("deletion", {"steps": 0})], "deletion.steps must be 1 to 100000"),
            (["deletion", "deletion"], "asked for twice"),
            ([], "no metric was asked for"),
        ],
    )
    def test_metrics_that_are_not_there(self, metrics, match):
        with pytest.raises(SettingError, match=match):
            onnxplain.evaluate(linear(WEIGHTS), X, np.arange(4.0), metrics, target=0)

    def test_a_probability_where_there_is_none(self):
        with pytest.raises(CapabilityError, match="no class with a probability"):
            onnxplain.evaluate(linear(WEIGHTS), X, np.arange(4.0), [("deletion", {"of": "probability"})], target=0)

    def test_settings_of_a_method_where_none_was_named(self):
        with pytest.raises(SettingError, match="no method was named"):
            onnxplain.evaluate(linear(WEIGHTS), X, np.arange(4.0), ["deletion"], target=0, window=2)

    def test_a_map_at_a_hidden_tensor(self, digits, pictures):
        made = onnxplain.explain(digits, pictures[0], "eigen-cam", upsample=False)
        with pytest.raises(CapabilityError, match="not of the inputs"):
            onnxplain.evaluate(digits, made.sample, made, ["deletion"])


class TestTexts:
    """Models without an input of floating-point numbers."""

    @pytest.fixture
    def words(self, tmp_path):
        pytest.importorskip("tokenizers")
        from text_models import string_model, written

        return onnxplain.load(written(tmp_path, string_model(), None), device="cpu")

    def test_words_are_not_shown_in_part(self, words):
        with pytest.raises(CapabilityError, match="average-drop shows features in part"):
            onnxplain.evaluate(words, onnxplain.Text("a wonderful film"), "exact-shapley", ["average-drop"], target=1)

    def test_another_graph_of_the_same_function_can_be_given(self, words):
        text, metric = onnxplain.Text("a wonderful film"), "implementation-invariance"
        given = {"target": 1, "controls": False}
        from text_models import string_model

        other = string_model()
        other.producer_name = "another"
        metrics = [(metric, {"model": onnxplain.load(other.SerializeToString(), words.spec)})]
        (score,) = onnxplain.evaluate(words, text, "exact-shapley", metrics, **given)
        assert score.value == 0
        with pytest.raises(CapabilityError, match="no Relu and no input of floating-point numbers"):
            onnxplain.evaluate(words, text, "exact-shapley", [metric], **given)


class TestMisuse:
    PHI = np.array([3.0, 1, 2, 4])

    @pytest.mark.parametrize("metrics", [None, 3, [3], [("deletion",)], [("deletion", 3)], [(3, {})]])
    def test_what_is_no_list_of_metrics(self, metrics):
        with pytest.raises(SettingError, match=r"metrics are a list|a metric is a name"):
            onnxplain.evaluate(linear(WEIGHTS), X, self.PHI, metrics, target=0)

    @pytest.mark.parametrize("seed", [-1, 0.5, "a", True])
    def test_what_is_no_seed(self, seed):
        with pytest.raises(SettingError, match="seed must be a whole number from 0 on"):
            onnxplain.evaluate(linear(WEIGHTS), X, self.PHI, ["mu-fidelity"], target=0, seed=seed)

    @pytest.mark.parametrize("metric", ["faithfulness-correlation", "mu-fidelity"])
    def test_a_set_of_all_features_or_more(self, metric):
        for size in (4, 1000):
            with pytest.raises(SettingError, match=f"{metric}.size is {size}, and a set has at most 3 of 4 features"):
                onnxplain.evaluate(linear(WEIGHTS), X, self.PHI, [(metric, {"size": size})], target=0)

    def test_no_share_of_pixels(self, digits, pictures):
        with pytest.raises(SettingError, match="holds no share"):
            onnxplain.evaluate(digits, pictures[0], "occlusion", [("road", {"shares": []})])

    def test_a_share_of_less_than_a_pixel(self, digits, pictures):
        (score,) = onnxplain.evaluate(digits, pictures[0], "occlusion", [("road", {"shares": [0.005]})])
        assert score.notes == ("undefined: no share amounts to one of 64 pixels",)

    def test_a_mask_of_one_number(self, digits, pictures):
        with pytest.raises(InputError, match="the mask has the size of a single number, the map 8 x 8"):
            onnxplain.evaluate(digits, pictures[0], "occlusion", ["pointing-game"], mask=3)

    def test_an_input_that_is_given_twice_is_noted(self, digits, pictures):
        (score,) = onnxplain.evaluate(digits, [pictures[0], pictures[1], pictures[0]], "occlusion", ["deletion"])
        assert len(score.samples) == 3
        assert score.notes == ("1 of 3 inputs were there before: the interval is too narrow",)
