"""Sanity and robustness: metrics that explain again with weights, labels, classes, inputs or seeds changed."""

import math

import numpy as np
import onnx
import pytest
from onnx import helper
from scipy.stats import spearmanr

import onnxplain
from metric_scores import value
from onnxplain import CapabilityError, SettingError
from onnxplain.engine.target import resolve
from oracles.graphs import linear, linear_classes, model, random_convolutions

X = np.array([[1.0, 2.0, -1.0, 0.5]], dtype=np.float32)


@pytest.mark.parametrize("background", [True, False])
def test_columns_change_by_parts_of_their_own_range(background, tmp_path):
    """Ablation of x1 + x2 is x itself: it moves as the input does, a column of thousands no more than one of ones."""
    path = tmp_path / "m.onnx"
    path.write_bytes(linear((1, 1)))
    (tmp_path / "rows.csv").write_text("a,b\n0,1000\n4,9000\n")
    table = '[inputs.x]\nmodality = "table"\ncolumns = ["a", "b"]\n'
    path.with_suffix(".toml").write_text(f'background = "rows.csv"\n{table}' if background else table)
    x = np.array([[0.5, 2000.0]], dtype=np.float32)
    settings = {"samples": 200, "radius": 0.1, "relative": "none"}
    onnx = onnxplain.load(path)
    found = value(onnx, x, "ablation", "max-sensitivity", settings, target=0, baseline=0).value
    reach = 8000 if background else 2000  # of the background, or the size of the number itself
    assert 0.09 * reach < found < 0.1 * reach
    spread = trial_of(onnx, x).reaches["x"]
    np.testing.assert_allclose(spread.ravel(), (4, 8000) if background else (0.5, 2000))


def trial_of(onnx, x):
    made = onnxplain.explain(onnx, x, "random", target=0)
    return onnxplain.Trial(onnx, made.sample, resolve(0, onnx, made.sample.feeds), made)


class TestParameterRandomisation:
    def test_a_control_looks_the_same_whatever_the_weights(self, digits, zero):
        for name in ("random", "edges"):
            score = value(digits, zero, name, "parameter-randomisation")
            assert score.value == pytest.approx(1)
            np.testing.assert_allclose(score.curve[1], 1)

    def test_an_explanation_of_the_model_changes(self, digits, zero):
        score = value(digits, zero, "occlusion", "parameter-randomisation", window=2)
        assert score.value < 0.7
        np.testing.assert_array_equal(score.curve[0], [0, 1, 2, 3, 4])  # four layers, from the output on
        assert score.curve[1][0] == 1
        assert score.evaluations == 4 * (1 + 7 * 7)

    def test_the_cascade_of_a_linear_model_is_the_correlation_with_its_new_weights(self):
        """Ablation of w x is w_i x_i: with x of ones, the map is the weights."""
        weights = np.random.default_rng(0).normal(size=12)
        onnx = linear(tuple(weights))
        found = onnxplain.load(onnx)
        from onnxplain.engine import graph

        (layer,) = graph.layers(found.proto)
        drawn = graph.randomised(found.proto, [layer], 0)
        new = onnxplain.load(drawn.SerializeToString()).predict(np.eye(12, dtype=np.float32))["y"].ravel()
        expected = np.corrcoef(weights, new)[0, 1]
        settings = {"similarity": "pearson"}
        score = value(onnx, np.ones((1, 12), np.float32), "ablation", "parameter-randomisation", settings, target=0)
        assert score.value == pytest.approx(expected, abs=1e-4)

    def test_all_likenesses_of_the_paper_are_told(self, digits, zero):
        score = value(digits, zero, "occlusion", "parameter-randomisation", window=2)
        assert score.parts["spearman"] == pytest.approx(score.value)
        for kind in ("absolute-spearman", "ssim"):
            alone = value(digits, zero, "occlusion", "parameter-randomisation", {"similarity": kind}, window=2)
            assert score.parts[kind] == pytest.approx(alone.value)
        assert "hog" not in score.parts  # 8 x 8 pixels are too few
        image = np.random.default_rng(0).random((1, 3, 20, 20)).astype(np.float32)
        large = value(random_convolutions(0, side=20), image, "edges", "parameter-randomisation", target=0)
        assert [large.parts[kind] for kind in ("spearman", "absolute-spearman", "ssim", "hog")] == pytest.approx(
            [1] * 4
        )

    def test_single_layers(self, digits, zero):
        score = value(digits, zero, "occlusion", "parameter-randomisation", {"order": "independent", "stages": 2})
        np.testing.assert_array_equal(score.curve[0], [0, 1, 4])

    @pytest.mark.parametrize("order", ["cascading", "independent"])
    def test_layers_are_taken_from_the_output_on_all_so_far_or_each_alone(self, digits, zero, order):
        from onnxplain.engine import graph

        every = graph.layers(digits.proto)
        assert [digits.proto.graph.node[layer.place].op_type for layer in every] == ["Conv", "Conv", "Gemm", "Gemm"]
        score = value(digits, zero, "occlusion", "parameter-randomisation", {"order": order}, target=0)
        before = onnxplain.explain(digits, zero, "occlusion", target=0).values["image"]
        for k in (1, 2, 3, 4):
            chosen = every[-k:] if order == "cascading" else every[4 - k : 5 - k]
            other = onnxplain.load(graph.randomised(digits.proto, chosen, 0).SerializeToString(), digits.spec)
            after = onnxplain.explain(other, zero, "occlusion", target=0).values["image"]
            expected = spearmanr(before.ravel(), after.ravel()).statistic
            assert score.curve[1][k] == pytest.approx(expected, abs=1e-3)  # ranks of values that are nearly equal

    def test_a_model_without_weights_is_refused(self):
        nodes = [helper.make_node("ReduceSum", ["x", "a"], ["y"], keepdims=1)]
        onnx = model(nodes, {"x": ["batch", 4]}, {"y": ["batch", 1]}, {"a": np.array([1])})
        with pytest.raises(CapabilityError, match="no weights that could be randomised"):
            value(onnx, X, "ablation", "parameter-randomisation", target=0)


def test_random_logit_of_linear_classes_is_the_correlation_of_their_contributions():
    first, second = (4, 2, 1, -1), (1, 2, 3, 4)
    score = value(linear_classes(first, second), X, "ablation", "random-logit", {"similarity": "pearson"}, target=0)
    assert score.value == pytest.approx(np.corrcoef(first * X[0], second * X[0])[0, 1], abs=1e-5)
    assert score.parts == {"class 1": score.value}


def test_each_input_has_another_class_of_its_own_whatever_the_method_and_the_other_inputs():
    """Of 400 inputs with a rank correlation of 1, 0 and -1 to the classes beside class 1, a third draws each."""
    weights, ones = ((2, 4, 6), (1, 2, 3), (2, 2, 1), (3, 2, 1)), np.ones((400, 3), np.float32)
    likeness = {"class 0": 1.0, "class 2": -np.sqrt(0.75), "class 3": -1.0}  # ranks (2.5, 2.5, 1) of class 2
    x = ones * np.linspace(1, 2, 400, dtype=np.float32)[:, None]
    onnx = onnxplain.load(linear_classes(*weights))
    score = value(onnx, x, "ablation", "random-logit", target=1)
    for k in (0, 7, 399):
        alone = value(onnx, x[k : k + 1], "ablation", "random-logit", target=1)
        assert alone.value == score.samples[k]
        assert alone.parts == value(onnx, x[k : k + 1], "occlusion", "random-logit", target=1, window=1).parts
    backwards = value(onnx, x[::-1], "ablation", "random-logit", target=1)
    assert backwards.samples == score.samples[::-1]
    assert score.parts == pytest.approx(likeness)
    drawn = [sum(np.isclose(score.samples, number)) for number in likeness.values()]
    assert sum(drawn) == 400
    assert all(100 < count < 167 for count in drawn)  # 133 and 3.5 standard deviations of 9.4
    other = value(onnx, x, "ablation", "random-logit", target=1, seed=1)
    assert 100 < sum(np.isclose(other.samples, score.samples)) < 167  # another seed draws anew


def test_random_logit_needs_another_class():
    with pytest.raises(CapabilityError, match="other classes beside it"):
        value(linear((1, 2, 3, 4)), X, "ablation", "random-logit", target=0)
    with pytest.raises(SettingError, match="another class from 0 to 1 than 0"):
        value(linear_classes((1, 2, 3, 4), (1, 1, 1, 1)), X, "ablation", "random-logit", {"other": 0}, target=0)


def test_seed_agreement_is_one_where_the_seed_does_not_matter_and_grows_with_the_budget(digits, zero):
    still = value(digits, zero, "occlusion", "seed-agreement")
    assert still.value == pytest.approx(1)
    assert still.notes == ("the method does not depend on the seed",)
    few, many = (value(digits, zero, "rise", "seed-agreement", masks=n).value for n in (40, 2000))
    assert few < many < 1
    assert value(digits, zero, "random", "seed-agreement").value == pytest.approx(0, abs=0.3)


def test_seed_agreement_is_the_mean_over_all_pairs_of_seeds(digits, zero):
    maps = [onnxplain.explain(digits, zero, "rise", seed=seed, masks=40).values["image"].ravel() for seed in (5, 6, 7)]
    pairs = [spearmanr(maps[a], maps[b]).statistic for a, b in ((0, 1), (0, 2), (1, 2))]
    score = value(digits, zero, "rise", "seed-agreement", {"seeds": 2}, masks=40, seed=5)
    assert score.value == pytest.approx(np.mean(pairs), abs=1e-6)
    assert score.parts["least"] == pytest.approx(min(pairs), abs=1e-6)


def test_a_map_that_never_changes_is_stable(digits, zero):
    for metric in ("max-sensitivity", "local-lipschitz"):
        still, moved = (value(digits, zero, name, metric) for name in ("random", "occlusion"))
        assert (still.value, moved.value > 0) == (0, True)
        assert still.notes == ("the map did not move at all: what does not look at the input is stable too",)
        assert moved.notes == ()


def test_max_sensitivity_of_contributions_of_a_linear_model():
    """Ablation of w x at x + d is w (x + d): it moves by w d."""
    changes = np.array([[0.1, 0, 0, 0], [0, 0, 0, -0.3]])
    weights = np.array([4, 2, 1, -1])
    settings = {"perturbations": changes, "relative": "none"}
    score = value(linear(tuple(weights)), X, "ablation", "max-sensitivity", settings, target=0)
    assert score.value == pytest.approx(0.4, rel=1e-5)
    steepest = value(linear(tuple(weights)), X, "ablation", "local-lipschitz", {"perturbations": changes}, target=0)
    assert steepest.value == pytest.approx(4, rel=1e-5)


def test_a_randomised_model_that_overflows_loses_the_stage_and_says_so():
    """exp of a hundred times the weights: finite for these weights, infinite for most others."""
    nodes = [
        helper.make_node("Gemm", ["x", "W"], ["z"], transB=1),
        helper.make_node("Mul", ["z", "big"], ["zz"]),
        helper.make_node("Exp", ["zz"], ["y"]),
    ]
    rng = np.random.default_rng(5)
    weights = {"W": (rng.normal(size=(1, 4)) * 50).astype(np.float32), "big": np.array([1.0], np.float32)}
    weights["W"][0, :] = [-60, -60, 60, 60]
    onnx = model(nodes, {"x": ["batch", 4]}, {"y": ["batch", 1]}, weights)
    found = [
        onnxplain.evaluate(onnx, X, "ablation", ["parameter-randomisation"], target=0, seed=seed)[0]
        for seed in range(6)
    ]
    lost = [score for score in found if math.isnan(score.value)]
    assert lost
    assert all("a stage is left out" in " ".join(score.notes) for score in lost)


def test_a_model_of_permuted_labels_is_another_model_and_one_of_the_true_labels_is_not():
    """Softmax regression on digits, trained in NumPy: ablation of class k gives w_k x, so the maps are known."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pictures, labels = data.data[:600] / 16, data.target[:600]
    rng = np.random.default_rng(0)
    half = rng.permutation(len(labels))[: len(labels) // 2]
    weights = {
        name: trained(pictures[rows], given)
        for name, rows, given in (
            ("first", np.arange(len(labels)), labels),
            ("again", half, labels[half]),
            ("permuted", np.arange(len(labels)), rng.permutation(labels)),
        )
    }
    x = pictures[:1].astype(np.float32)
    found = {}
    for name in ("again", "permuted"):
        other = onnxplain.load(linear_classes(*weights[name]))
        settings = {"model": other, "similarity": "pearson"}
        score = value(linear_classes(*weights["first"]), x, "ablation", "data-randomisation", settings, target=0)
        expected = np.corrcoef(weights["first"][0] * x[0], weights[name][0] * x[0])[0, 1]
        assert score.value == pytest.approx(expected, abs=1e-4)
        found[name] = score.value
    assert found["permuted"] < 0.5
    assert found["again"] > 0.9


def trained(pictures, labels):
    """Weights (10, 64) after 100 steps of gradient descent on the cross-entropy."""
    weights, wanted = np.zeros((10, pictures.shape[1])), np.eye(10)[labels]
    for _ in range(100):
        z = pictures @ weights.T
        p = np.exp(z - z.max(axis=1, keepdims=True))
        weights -= 0.5 * (p / p.sum(axis=1, keepdims=True) - wanted).T @ pictures / len(labels)
    return weights


def test_missing_values_have_no_part_in_the_size_of_the_input(tmp_path):
    """Where a model takes missing values, |x| is that of the others."""
    nodes = [
        helper.make_node("IsNaN", ["x"], ["gone"]),
        helper.make_node("Where", ["gone", "zero", "x"], ["there"]),
        helper.make_node("Gemm", ["there", "W"], ["y"], transB=1),
    ]
    stored = {"zero": np.array([0], np.float32), "W": np.array([[4.0, 2]], np.float32)}
    path = tmp_path / "m.onnx"
    path.write_bytes(model(nodes, {"x": ["batch", 2]}, {"y": ["batch", 1]}, stored))
    path.with_suffix(".toml").write_text('[inputs.x]\nmodality = "table"\ncolumns = ["a", "b"]\n')
    onnx, x = onnxplain.load(path), np.array([[2.0, np.nan]], np.float32)
    settings = {"relative": "input", "perturbations": [[0.5, 0.5]]}
    given = {"target": 0, "baseline": 0}
    assert value(onnx, x, "ablation", "max-sensitivity", settings, **given).value == pytest.approx(4 * 0.5 / 2)
    steep = value(onnx, x, "ablation", "local-lipschitz", {"perturbations": [[0.5, 0.5]]}, **given)
    assert steep.value == pytest.approx(4)  # moves by 2 where the input moves by 0.5: the missing value stays missing


def test_changes_are_those_that_the_precision_of_the_input_leaves():
    """In half precision 1024.3 is 1024, and 1024.8 is 1025: no change, and no sensitivity of 0; then one of 1."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, ["batch", 1])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT16, ["batch", 1])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    half, x = onnxplain.load(proto.SerializeToString()), np.array([[1024]], np.float16)
    for metric, expected in (("max-sensitivity", 1 / 1024), ("local-lipschitz", 1)):
        score = value(half, x, "ablation", metric, {"perturbations": [[0.3]]}, target=0, baseline=0)
        assert math.isnan(score.value)
        assert "every change was zero in the precision of the input" in score.notes[0]
        moved = value(half, x, "ablation", metric, {"perturbations": [[0.8]]}, target=0, baseline=0)
        assert moved.value == pytest.approx(expected)


def test_a_table_with_an_input_per_column_has_a_map_of_all_columns(tmp_path):
    """y = 4 a + 2 b + c, an input each: its map is that of the three, not the single number of the first."""
    nodes = [
        helper.make_node("Concat", ["a", "b", "c"], ["x"], axis=1),
        helper.make_node("Gemm", ["x", "W"], ["y"], transB=1),
    ]
    stored = {"W": np.array([[4, 2, 1], [1, 3, -2]], np.float32)}
    path = tmp_path / "m.onnx"
    path.write_bytes(model(nodes, {n: ["batch", 1] for n in "abc"}, {"y": ["batch", 2]}, stored))
    path.with_suffix(".toml").write_text(
        "".join(f'[inputs.{n}]\nmodality = "table"\ncolumns = ["{n}"]\n' for n in "abc")
    )
    columns = onnxplain.load(path)
    x = {n: np.array([[number]], np.float32) for n, number in (("a", 1.0), ("b", 2.0), ("c", 3.0))}
    score = value(columns, x, "ablation", "random-logit", {"similarity": "pearson"}, target=0, baseline=0)
    assert score.value == pytest.approx(np.corrcoef([4, 4, 3], [1, 6, -6])[0, 1], abs=1e-6)
    mass = value(columns, x, "ablation", "relevance-mass", target=0, baseline=0, mask=np.array([1, 0, 0]))
    assert mass.value == pytest.approx(4 / 11)
