"""Metrics of explanations against numbers derived by hand, in two ways each."""

import math

import numpy as np
import pytest
from onnx import helper

import onnxplain
from onnxplain.engine.metrics.similarity import likeness
from oracles.graphs import linear, model, quadratic, relu_of

PRECISE = 2e-5  # relative: models compute in float32, rows have six digits


def near(expected):
    return pytest.approx(expected, rel=PRECISE, abs=1e-6)


def score_of(onnx, x, phi, metric, target=0, **settings):
    """The Score of one metric for given attributions of one row."""
    x = np.array([x], dtype=np.float32)
    (found,) = onnxplain.evaluate(onnx, x, np.array(phi, float), [(metric, settings)], target=target, controls=False)
    return found


def floats(**arrays):
    return {name: np.asarray(a, dtype=np.float32) for name, a in arrays.items()}


LINEAR = linear((4, 2, 1, -1))
ONES, WEIGHTS = [1, 1, 1, 1], [4, 2, 1, -1]


def saturating():
    """min(2, x1 + x2 + x3) = 2 - relu(2 - x1 - x2 - x3)."""
    nodes = [
        helper.make_node("Gemm", ["x", "w", "two"], ["z"], transB=1),
        helper.make_node("Relu", ["z"], ["r"]),
        helper.make_node("Sub", ["two", "r"], ["y"]),
    ]
    return model(nodes, {"x": ["batch", 3]}, {"y": ["batch", 1]}, floats(w=[[-1, -1, -1]], two=[2]))


def softmax_of(*rows):
    """Softmax of linear functions."""
    nodes = [helper.make_node("Gemm", ["x", "W"], ["z"], transB=1), helper.make_node("Softmax", ["z"], ["y"], axis=1)]
    return model(nodes, {"x": ["batch", len(rows[0])]}, {"y": ["batch", len(rows)]}, floats(W=rows))


def threshold(reduction, start):
    """``Ceil`` of the largest or least of five values in 0..1."""
    nodes = [helper.make_node(reduction, ["x"], ["m"], axes=[1], keepdims=1), helper.make_node("Ceil", ["m"], ["y"])]
    assert start in {"max", "min"}
    return model(nodes, {"x": ["batch", 5]}, {"y": ["batch", 1]})


def square_times():
    """x1^2 x2."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["xx"]),
        helper.make_node("Gemm", ["xx", "first"], ["square"], transB=1),
        helper.make_node("Gemm", ["x", "second"], ["other"], transB=1),
        helper.make_node("Mul", ["square", "other"], ["y"]),
    ]
    return model(nodes, {"x": ["batch", 2]}, {"y": ["batch", 1]}, floats(first=[[1, 0]], second=[[0, 1]]))


class TestDeletionAndInsertion:
    def test_row_101_of_a_linear_function(self):
        deletion = score_of(LINEAR, ONES, WEIGHTS, "deletion")
        insertion = score_of(LINEAR, ONES, WEIGHTS, "insertion")
        np.testing.assert_allclose(deletion.curve[0], [0, 0.25, 0.5, 0.75, 1])
        np.testing.assert_allclose(deletion.curve[1], [6, 2, 0, -1, 0], atol=1e-6)
        np.testing.assert_allclose(insertion.curve[1], [0, 4, 6, 7, 6], atol=1e-6)
        assert (deletion.value, insertion.value) == near((1, 5))
        assert deletion.evaluations == insertion.evaluations == 5

    @pytest.mark.parametrize(
        ("metric", "settings", "expected"),
        [
            ("deletion", {"normalise": True}, 0.166667),
            ("insertion", {"normalise": True}, 0.833333),
            ("deletion", {"area": "mean"}, 1.4),
            ("insertion", {"area": "mean"}, 4.6),
        ],
    )
    def test_row_101_in_other_conventions(self, metric, settings, expected):
        assert score_of(LINEAR, ONES, WEIGHTS, metric, **settings).value == near(expected)

    def test_row_102_of_a_saturating_function_with_a_tie(self):
        x, phi = [2, 1, 1], [1, 0.5, 0.5]
        deletion = score_of(saturating(), x, phi, "deletion")
        insertion = score_of(saturating(), x, phi, "insertion")
        np.testing.assert_allclose(deletion.curve[1], [2, 2, 1, 0], atol=1e-6)
        np.testing.assert_allclose(insertion.curve[1], [0, 2, 2, 2], atol=1e-6)
        assert (deletion.value, insertion.value) == near((1.33333, 1.66667))
        assert (deletion.parts["normalised"], insertion.parts["normalised"]) == near((0.666667, 0.833333))

    @pytest.mark.parametrize("target", [0, "probability:0"])
    def test_row_104_of_a_probability_whatever_number_was_explained(self, target):
        given = {"target": target, "baseline": [-0.5, 0.0]}
        onnx = softmax_of([1, 2], [0, 0])
        deletion = score_of(onnx, [1, 1], [1, 2], "deletion", **given)
        insertion = score_of(onnx, [1, 1], [1, 2], "insertion", **given)
        np.testing.assert_allclose(deletion.curve[1], [0.952574, 0.731059, 0.377541], rtol=PRECISE)
        np.testing.assert_allclose(insertion.curve[1], [0.377541, 0.817574, 0.952574], rtol=PRECISE)
        assert (deletion.value, insertion.value) == near((0.698058, 0.741316))
        assert (deletion.parts["normalised"], insertion.parts["normalised"]) == near((0.557389, 0.632616))

    @pytest.mark.parametrize(
        ("reduction", "start", "metric", "expected"),
        [
            ("ReduceMin", "min", "deletion", 1 / 10),  # any zero -> 0: the first step ends it
            ("ReduceMax", "max", "insertion", 9 / 10),  # any non-zero -> 1: the first step is enough
            ("ReduceMax", "max", "deletion", 9 / 10),
            ("ReduceMin", "min", "insertion", 1 / 10),
        ],
    )
    def test_row_65_extremes(self, reduction, start, metric, expected):
        found = score_of(threshold(reduction, start), [1, 1, 1, 1, 1], [5, 4, 3, 2, 1], metric)
        assert found.value == near(expected)


class TestRegionPerturbation:
    @pytest.mark.parametrize(
        ("settings", "drops", "expected"),
        [
            ({}, [0, 4, 6, 7, 6], 4.6),
            ({"divisor": "L"}, [0, 4, 6, 7, 6], 5.75),
            ({"order": "least"}, [0, -1, 0, 2, 6], 1.4),
            ({"order": "least", "divisor": "L"}, [0, -1, 0, 2, 6], 1.75),
        ],
    )
    def test_row_105(self, settings, drops, expected):
        found = score_of(LINEAR, ONES, WEIGHTS, "region-perturbation", **settings)
        np.testing.assert_allclose(found.curve[1], drops, atol=1e-6)
        assert found.value == near(expected)
        assert found.higher_is_better == ("order" not in settings)


class TestInfidelity:
    X, PHI = [1, 2, 3], [2, 1, 1]
    PERTURBATIONS = ((1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 1, 1), (2, 1, 0))

    def found(self, phi, **settings):
        onnx = quadratic(3, {2: 1}, {(0, 1): 1})
        given = {"values": "gradient", "perturbations": self.PERTURBATIONS} | settings
        return score_of(onnx, self.X, phi, "infidelity", **given)

    def test_row_107_with_given_perturbations(self):
        found = self.found(self.PHI)
        assert found.value == near(1.2)
        assert found.parts["factor"] == near(0.690909)
        assert found.evaluations == 1 + 5

    def test_row_107_with_perturbations_in_a_file_or_with_the_axis_of_rows(self, tmp_path):
        given = np.array(self.PERTURBATIONS, np.float32)
        np.save(tmp_path / "changes.npy", given)
        np.savez(tmp_path / "changes.npz", x=given)
        for form in (str(tmp_path / "changes.npy"), tmp_path / "changes.npz", given[:, None], given.tolist()):
            assert self.found(self.PHI, perturbations=form).value == near(1.2)

    @pytest.mark.parametrize("wrong", ["nothing.npy", [[1, 2]], [[1], [2, 3]], [["a", "b", "c"]], {"z": [[1, 2, 3]]}])
    def test_perturbations_that_cannot_be_are_refused(self, wrong):
        with pytest.raises((onnxplain.SettingError, onnxplain.InputError)):
            self.found(self.PHI, perturbations=wrong)

    def test_row_107_scaled(self):
        assert self.found(self.PHI, scaled=True).value == near(0.149091)

    def test_row_108_of_the_best_attributions(self):
        assert self.found([4 / 3, 2 / 3, 1]).value == near(0.133333)

    def test_row_63_of_exact_attributions_of_a_linear_function(self):
        assert score_of(LINEAR, ONES, WEIGHTS, "infidelity").value == pytest.approx(0, abs=1e-10)
        slopes = score_of(LINEAR, ONES, WEIGHTS, "infidelity", values="gradient", perturbation="noise", samples=50)
        assert slopes.value == pytest.approx(0, abs=1e-10)

    def test_row_63_scaled_infidelity_does_not_know_the_unit_of_the_attributions(self):
        once = self.found(self.PHI, scaled=True)
        assert self.found(100 * np.array(self.PHI), scaled=True).value == near(once.value)
        assert self.found(100 * np.array(self.PHI)).value > 1e4 * once.value


FINITE = [[0.1, 0], [0, 0.1], [-0.1, 0.1], [-0.1, -0.1]]


class TestSensitivity:
    @pytest.mark.parametrize(
        ("metric", "settings", "expected"),
        [
            ("max-sensitivity", {"relative": "none"}, 0.610328),
            ("max-sensitivity", {"relative": "explanation"}, 0.148026),
            ("max-sensitivity", {"relative": "input"}, 0.272947),
            ("max-sensitivity", {"relative": "none", "reduce": "mean"}, 0.388198),
            ("local-lipschitz", {}, 4.51774),
        ],
    )
    def test_row_110_of_a_gradient(self, slope, metric, settings, expected):
        metrics = [(metric, {"perturbations": FINITE, **settings})]
        x = np.array([[1, 2]], dtype=np.float32)
        (found,) = onnxplain.evaluate(square_times(), x, slope, metrics, target=0)
        assert found.value == pytest.approx(expected, rel=1e-3)  # gradients by differences, in float32

    @pytest.mark.parametrize("relative", ["none", "explanation"])
    def test_row_111_of_gradient_times_input_at_a_kink(self, slope, relative):
        changes = [[0.2, 0], [-0.2, 0], [0, 0.2], [0, -0.2]]
        metrics = [("max-sensitivity", {"perturbations": changes, "relative": relative})]
        x = np.array([[1, 0.9]], dtype=np.float32)
        onnx = relu_of((1, -1), 0, (0, 1))
        (found,) = onnxplain.evaluate(onnx, x, slope, metrics, target=0, times_input=True)
        assert found.value == pytest.approx(1.48661, rel=1e-3)

    @pytest.fixture
    def slope(self):
        """A method whose values are central differences of the score, times the input if asked for."""
        from dataclasses import dataclass

        from onnxplain.engine.registry import unregister

        @onnxplain.register("explainer", "slope-by-differences", source="a test")
        @dataclass(frozen=True)
        class Slope:
            """Central differences."""

            times_input: bool = False

            def explain(self, problem):
                (x,) = problem.sample.feeds.values()
                h = np.eye(x.size, dtype=np.float32) * 1e-2
                rows = np.concatenate([x + h, x - h, x])
                scores = problem.target.scores(problem.model.rows({"x": rows}, (problem.target.tensor,))[0])
                values = (scores[: x.size] - scores[x.size : -1])[None] / 2e-2
                values = values * x if self.times_input else values
                return onnxplain.Explanation(
                    {"x": values}, problem.method, {}, problem.target.text, float(scores[-1]), sample=problem.sample
                )

        yield "slope-by-differences"
        unregister("slope-by-differences")


class TestCorrelations:
    ONNX = relu_of((1, 1, -1, 0), 0, (0, 0, 0, 1))

    @pytest.mark.parametrize(("kind", "expected"), [("pearson", 0.799078), ("spearman", 0.894427)])
    def test_row_113_with_given_sets_and_a_baseline(self, kind, expected):
        given = {"sets": [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3)], "baseline": [0.0, 0.0, 1.0, -1.0]}
        phi = [1.5, 1, -1, 2]
        found = score_of(self.ONNX, [2, 1, 1, 1], phi, "faithfulness-correlation", correlation=kind, **given)
        assert found.value == near(expected)

    def test_row_113_equal_differences_have_no_correlation(self):
        found = score_of(LINEAR, ONES, WEIGHTS, "faithfulness-correlation", sets=[(2,), (2,)])
        assert math.isnan(found.value)
        assert "it does not move" in found.notes[0]

    def test_row_114_over_all_sets_of_a_size(self):
        found = score_of(self.ONNX, [2, 1, 1, 1], [2, 1, -1, 1], "sensitivity-n", sizes=(1, 2, 3, 4))
        assert [found.parts[f"n={n}"] for n in (1, 2, 3)] == near([1, 0.958468, 0.973329])
        assert math.isnan(found.parts["n=4"])
        assert found.value == near(np.mean([1, 0.958468, 0.973329]))
        assert any("n = 4" in note for note in found.notes)

    @pytest.mark.parametrize(("sign", "expected"), [(1, 1), (-1, -1)])
    @pytest.mark.parametrize("metric", ["mu-fidelity", "faithfulness-correlation"])
    def test_row_64_of_a_sum(self, metric, sign, expected):
        x = [3, 1, 2, 5, 4]
        found = score_of(linear((1, 1, 1, 1, 1)), x, sign * np.array(x), metric, samples=40)
        assert found.value == near(expected)

    @pytest.mark.parametrize(("with_baseline", "expected"), [(False, 1), (True, 0)])
    def test_row_116_monotonicity(self, with_baseline, expected):
        found = score_of(LINEAR, ONES, WEIGHTS, "monotonicity", with_baseline=with_baseline)
        np.testing.assert_allclose(found.curve[1][1:], [-1, 0, 2, 6], atol=1e-6)
        assert found.value == expected

    def test_row_117_monotonicity_violated_and_faithfulness_estimate(self):
        onnx, x, phi = quadratic(3, {2: -1}, {(0, 1): 1}), [1, 2, 3], [1, 4, 2]
        for with_baseline in (False, True):
            found = score_of(onnx, x, phi, "monotonicity", with_baseline=with_baseline)
            np.testing.assert_allclose(found.curve[1][1:] + 4, [4, 1, 3], atol=1e-5)  # the row's constant is 4
            assert found.value == 0
        assert score_of(onnx, x, phi, "faithfulness-estimate").value == near(0.188982)


class TestRoad:
    IMAGE = np.array([[0, 1, 4], [2, 8, 3], [5, 7, 6]], dtype=np.float32)

    @pytest.mark.parametrize(("pixel", "expected"), [((0, 0), 4.27778), ((0, 1), 4.69444)])
    def test_row_119_a_corner_and_an_edge_are_filled_in(self, pixel, expected):
        """A model that looks at one pixel tells what stands there."""
        weights = np.zeros((1, 1, 3, 3), np.float32)
        weights[0, 0][pixel] = 1
        nodes = [helper.make_node("Conv", ["image", "w"], ["c"]), helper.make_node("Flatten", ["c"], ["y"])]
        onnx = model(nodes, {"image": ["batch", 1, 3, 3]}, {"y": ["batch", 1]}, {"w": weights})
        phi = np.zeros((3, 3))
        phi[0, 0], phi[0, 1] = 2, 1
        metrics = [("road", {"shares": (2 / 9,), "noise": 0.0})]
        (found,) = onnxplain.evaluate(onnx, self.IMAGE[None, None], phi, metrics, target=0)
        assert found.value == near(expected)
        assert found.curve[1] == near([self.IMAGE[pixel], expected])


class TestDropAndIncrease:
    @pytest.mark.parametrize(
        ("metric", "expected"), [("average-drop", 31.25), ("average-increase", 0.25), ("average-gain", 10)]
    )
    def test_row_120(self, metric, expected):
        """f = x1 + x2 seen through the map (0, 1) is x2: Y = x1 + x2, O = x2."""
        Y, shown = np.array([0.8, 0.5, 0.4, 0.9]), np.array([0.6, 0.7, 0.4, 0.0])
        rows = np.stack([Y - shown, shown], axis=1).astype(np.float32)
        maps = [np.array([0.0, 1.0])] * 4
        (found,) = onnxplain.evaluate(linear((1, 1)), rows, maps, [metric], target=0)
        assert found.value == pytest.approx(expected, rel=1e-5)
        assert len(found.samples) == 4
        assert found.interval[0] < found.value < found.interval[1]

    def test_a_signed_map_is_brought_to_0_to_1_by_its_least_value(self):
        """(-1, 0, 1) shows 0, 0.5 and 1 of three ones: 1.5 of 3."""
        assert score_of(linear((1, 1, 1)), [1, 1, 1], [-1, 0, 1], "average-drop").value == near(50)

    def test_what_is_gained_is_a_share_of_what_is_missing(self):
        """From 0.8 to 0.9, half of what 1 is away; from 0.2 to 0.6, half of it too."""
        before, after = np.array([0.8, 0.2]), np.array([0.9, 0.6])
        rows = np.stack([before - after, after], axis=1).astype(np.float32)
        (found,) = onnxplain.evaluate(linear((1, 1)), rows, [np.array([0.0, 1.0])] * 2, ["average-gain"], target=0)
        assert found.samples == pytest.approx([50, 50], rel=1e-5)

    def test_row_122_from_maps(self):
        onnx = softmax_of([1, 1, 0], [0, 1, -1], [0, 0, 0])
        rows = np.array([[2, 1, 1], [1, -1, 2]], dtype=np.float32)
        maps = [np.array([1, 0, 0.5]), np.array([0.0, 1, 1])]
        drop, increase = onnxplain.evaluate(onnx, rows, maps, ["average-drop", "average-increase"], target=0)
        assert drop.value == near(28.2444)
        assert increase.value == 0
        assert drop.parts["score"] == near((0.909443 + 0.487856) / 2)
        assert drop.parts["seen through the map"] == near((0.821409 + 0.259496) / 2)


class TestComplexity:
    @pytest.mark.parametrize(
        ("phi", "expected"),
        [((1, 2, 3, 4), 0.25), ((0, 0, 0, 5), 0.75), ((-4, 1, 0, 3), 0.4375), ((2, 2, 2, 2), 0)],
    )
    def test_row_123_sparseness(self, phi, expected):
        assert score_of(LINEAR, ONES, phi, "sparseness").value == near(expected)

    def test_row_123_nothing_has_no_sparseness(self):
        found = score_of(LINEAR, ONES, [0, 0, 0, 0], "sparseness")
        assert math.isnan(found.value)
        assert found.notes == ("undefined: the map is zero everywhere",)

    def test_row_70(self):
        eight = linear((1,) * 8)
        one = np.eye(8)[3]
        assert score_of(eight, [1] * 8, one, "sparseness").value == near(7 / 8)
        assert score_of(LINEAR, ONES, ONES, "sparseness").value == near(0)
        assert score_of(LINEAR, ONES, ONES, "entropy").value == near(math.log(4))
        assert score_of(LINEAR, ONES, [-2, 2, 0, 0], "effective-size").value == near(2)
        assert score_of(LINEAR, ONES, [-2, 1, 0.1, 0], "effective-size", by="threshold").value == 2

    def test_of_unequal_magnitudes(self):
        """Shares of 3/4 and 1/4; (3 + 1)^2 / (9 + 1)."""
        expected = 0.75 * math.log(4 / 3) + 0.25 * math.log(4)
        assert score_of(LINEAR, ONES, [3, 0, -1, 0], "entropy").value == near(expected)
        assert score_of(LINEAR, ONES, [3, 0, -1, 0], "effective-size").value == near(1.6)


def localised(phi, mask, metric, **settings):
    side = (len(phi), len(phi[0]))
    nodes = [
        helper.make_node("Flatten", ["image"], ["f"]),
        helper.make_node("ReduceSum", ["f", "a"], ["y"], keepdims=1),
    ]
    onnx = model(nodes, {"image": ["batch", 1, *side]}, {"y": ["batch", 1]}, {"a": np.array([1])})
    image = np.ones((1, 1, *side), np.float32)
    (found,) = onnxplain.evaluate(
        onnx, image, np.array(phi, float), [(metric, settings)], target=0, mask=np.array(mask)
    )
    return found


class TestLocalisation:
    MAPS = (
        ([[3, 1], [3, 0]], [[0, 0], [1, 0]]),
        ([[1, 5], [2, 0]], [[0, 1], [0, 0]]),
        ([[-1, -2], [-3, -1]], [[0, 0], [0, 1]]),
    )
    PHI, TRUTH = [[5, -4, 1], [2, 3, 0], [-1, 4, 0]], [[1, 1, 0], [0, 1, 0], [0, 0, 0]]

    @pytest.mark.parametrize(("ties", "expected"), [("first", [0, 1, 0]), ("any", [1, 1, 1]), ("share", [0.5, 1, 0.5])])
    def test_row_125_pointing_game(self, ties, expected):
        assert [localised(*m, "pointing-game", ties=ties).value for m in self.MAPS] == expected

    @pytest.mark.parametrize(
        ("metric", "signs", "expected"),
        [
            ("relevance-rank", "signed", 0.666667),
            ("relevance-rank", "positive", 0.666667),
            ("relevance-rank", "absolute", 0.666667),
            ("relevance-mass", "signed", 0.4),
            ("relevance-mass", "positive", 0.533333),
            ("relevance-mass", "absolute", 0.6),
        ],
    )
    def test_row_126(self, metric, signs, expected):
        assert localised(self.PHI, self.TRUTH, metric, signs=signs).value == near(expected)

    def test_row_72(self):
        inside, outside, half = np.diag([1.0, 0]), np.diag([0, 1.0]), np.eye(2)
        truth = [[1, 0], [0, 0]]
        assert [localised(m, truth, "relevance-mass").value for m in (inside, outside, half)] == [1, 0, 0.5]
        assert [localised(m, truth, "pointing-game").value for m in (inside, outside)] == [1, 0]


class TestSimilarity:
    @pytest.mark.parametrize(
        ("kind", "expected"),
        [("pearson", 0.5), ("spearman", 0.5), ("kendall", 0.5), ("l2", math.sqrt(3)), ("l1", 3), ("mse", 1)],
    )
    def test_row_71(self, kind, expected):
        given = {"others": [np.array([0.0, 0, 2])], "similarity": kind}
        assert score_of(linear((1, 1, 1)), [1, 1, 1], [-1, 1, 1], "method-agreement", **given).value == near(expected)

    @pytest.mark.parametrize(
        ("a", "b", "kind", "expected"),
        [
            ([1, 2, 2, 4], [1, 3, 2, 4], "spearman", 0.948683),
            ([-3, 1, 2, -4], [1, 3, 2, 4], "spearman", -0.4),
            ([-3, 1, 2, -4], [1, 3, 2, 4], "absolute-spearman", 0.2),
        ],
    )
    def test_row_129_ranks_with_ties(self, a, b, kind, expected):
        found = score_of(LINEAR, ONES, a, "method-agreement", others=[np.array(b, float)], similarity=kind)
        assert found.value == near(expected)

    def test_row_129_a_constant_has_no_correlation(self):
        found = score_of(LINEAR, ONES, [1, 1, 1, 1], "method-agreement", others=[np.array([1.0, 3, 2, 4])])
        assert math.isnan(found.value)
        assert "constant" in found.notes[0]

    @pytest.mark.parametrize(
        ("a", "b", "expected"),
        [
            ([0.5] * 4, [0.2] * 4, 0.689762),
            ([0.3] * 4, [0.3] * 4, 1),
            ([0.5] * 4, [0, 1, 0, 1], 0.00269273),
            ([0, 0.5, 1, 0.5], [0.2, 0.4, 0.9, 0.5], 0.921332),
        ],
    )
    def test_row_128_structural_similarity_of_one_window(self, a, b, expected):
        """Of maps as they are; ``ssim`` brings each map to 0..1 first. Covariances have the divisor n - 1."""
        found = score_of(LINEAR, ONES, a, "method-agreement", others=[np.array(b, float)], similarity="raw-ssim")
        assert found.value == near(expected)

    def test_structural_similarity_of_a_large_map_is_that_of_scikit_image(self):
        from skimage.metrics import structural_similarity

        rng = np.random.default_rng(0)
        a, b = rng.random((2, 20, 30))
        a = (a - a.min()) / (a.max() - a.min())
        b = (b - b.min()) / (b.max() - b.min())
        assert likeness(7 * a - 3, 2 * b, "ssim") == near(structural_similarity(a, b, data_range=1.0))


class TestCompleteness:
    @pytest.mark.parametrize(("relative", "expected"), [(False, 1), (True, 0.2)])
    def test_row_132(self, relative, expected):
        nodes = [
            helper.make_node("Gemm", ["x", "W", "b"], ["z"], transB=1),
            helper.make_node("Relu", ["z"], ["r"]),
            helper.make_node("ReduceSum", ["r", "a"], ["y"], keepdims=1),
        ]
        weights = floats(W=[[2, -1], [1, 1]], b=[-1, 1]) | {"a": np.array([1])}
        onnx = model(nodes, {"x": ["batch", 2]}, {"y": ["batch", 1]}, weights)
        found = score_of(onnx, [2, 1], [6, 0], "completeness", relative=relative)
        assert found.parts["score difference"] == near(5)
        assert found.value == near(expected)
