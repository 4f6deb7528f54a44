"""Guided integrated gradients: against the paper's algorithm written out, and at the ends of its settings."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402  # after the check that torch is there
from onnxplain.adapters.torch.gradient.guided_integrated_gradients import GuidedIntegratedGradients  # noqa: E402
from onnxplain.engine.problem import Problem  # noqa: E402
from onnxplain.engine.target import resolve  # noqa: E402
from oracles.graphs import cv, ml3, quadratic, random_dense, token_sums  # noqa: E402

METHOD = "guided-integrated-gradients"
ROWS = np.random.default_rng(3).normal(size=(3, 12)).astype(np.float32)


def loaded(data):
    return onnxplain.load(data, device="cpu", threads=1)


def written_out(gradient, x, start, steps, fraction, distance):
    """Algorithm 1 element by element, with bounds around the straight path; gains by the mean of both gradients."""
    point, total = start.copy(), np.abs(x - start).sum()
    gains, slope = np.zeros_like(x), gradient(start)
    for step in range(1, steps + 1):
        goal = step / steps
        before, steep = point.copy(), np.abs(slope)
        behind, ahead = (start + (x - start) * np.clip(goal + s * distance, 0, 1) for s in (-1, 1))
        late = np.abs(point - start) < np.abs(behind - start)
        point[late] = behind[late]
        while True:
            missing = np.abs(x - point).sum() - total * (1 - goal)
            left = [k for k in range(len(x)) if abs(ahead[k] - point[k]) > 1e-12]
            if missing < 1e-12 * total or not left:
                break
            left.sort(key=lambda k: steep[k])
            chosen = left[: int(fraction * (len(x) - 1)) + 1]
            room = sum(abs(ahead[k] - point[k]) for k in chosen)
            for k in chosen:
                point[k] += min(1, missing / room) * (ahead[k] - point[k])
        after = gradient(point)
        mean = after if step == 1 else slope if step == steps else (slope + after) / 2
        gains += (point - before) * mean
        slope = after
    return gains


def gradient_of(data, target):
    weights = {i.name: numpy_helper.to_array(i).astype(float) for i in onnx.load_from_string(data).graph.initializer}

    def gradient(x):
        is_open = weights["W1"] @ x + weights["b1"] > 0
        return (weights["W2"][target] * is_open) @ weights["W1"]

    return gradient


@pytest.mark.parametrize(("fraction", "distance"), [(0.1, 1), (0.25, 1), (0.25, 0.05), (0, 0.3), (1, 1)])
def test_it_is_the_papers_algorithm(fraction, distance):
    data = random_dense(5, 12)
    settings = {"points": 40, "fraction": fraction, "distance": distance, "baseline": 0.2}
    found = onnxplain.explain(loaded(data), ROWS[:1], METHOD, target=1, **settings)
    start = np.full(12, 0.2)
    expected = written_out(gradient_of(data, 1), ROWS[0].astype(float), start, 40, fraction, distance)
    np.testing.assert_allclose(found.values["x"][0], expected, atol=1e-4)
    assert found.evaluations == 40 + 3


def test_at_distance_zero_it_is_the_straight_path():
    """Integrated gradients of x1² + x1 x2 from zero are x1² + x1 x2 / 2 and x1 x2 / 2."""
    model = loaded(quadratic(2, {}, {(0, 0): 1, (0, 1): 1}))
    found = onnxplain.explain(model, np.array([[3, -2]], np.float32), METHOD, target=0, distance=0)
    np.testing.assert_allclose(found.values["x"], [[6, -3]], rtol=1e-4)


def test_what_has_no_effect_goes_first_and_gets_nothing():
    model = loaded(quadratic(3, {0: 1.0}, {(0, 2): 1}))
    found = onnxplain.explain(model, np.array([[2, 5, 0]], np.float32), METHOD, target=0)
    np.testing.assert_allclose(found.values["x"], [[2, 0, 0]], atol=1e-6)
    assert abs(found.gap) < 1e-6


def test_the_values_add_up_on_a_real_model():
    model = onnxplain.load(onnxplain.models.path("digits-cnn"), device="cpu", threads=1)
    images = onnxplain.models.samples("digits-cnn")
    for found in onnxplain.explain(model, images, METHOD, points=400):
        assert found.values["image"].sum() - (found.score - found.baseline_score) == pytest.approx(found.gap, abs=1e-9)
        assert abs(found.gap) < 0.02 * abs(found.score - found.baseline_score)


def test_an_input_that_is_its_own_baseline_gets_zeros():
    found = onnxplain.explain(loaded(random_dense(5, 12)), ROWS[:1] * 0, METHOD, target=0, points=3)
    assert not found.values["x"].any()
    assert found.gap == 0


def test_elements_of_several_inputs_share_one_path():
    feeds = {"x1": ROWS[:1, :3], "x2": ROWS[:1, 3:6], "x3": ROWS[:1, 6:9] * 0 + 20}
    found = onnxplain.explain(loaded(ml3()), feeds, METHOD, target=0)
    assert {n: v.shape for n, v in found.values.items()} == dict.fromkeys(feeds, (1, 3))
    assert abs(found.gap) < 0.01 * abs(found.score - found.baseline_score)
    only = onnxplain.explain(loaded(ml3()), feeds, METHOD, target=0, wrt="x3")
    assert list(only.values) == ["x3"]
    assert only.baseline_score != found.baseline_score


def test_several_inputs_and_references_give_what_each_alone_gives():
    model = loaded(random_dense(6, 12))
    references = ROWS[::-1] * 0.5
    method = GuidedIntegratedGradients(points=20, baseline=references)
    problems = [
        Problem(
            model,
            onnxplain.Sample({"x": row[None]}),
            resolve(k % 2, model, {"x": row[None]}),
            METHOD,
            baseline_setting=references,
        )
        for k, row in enumerate(ROWS)
    ]
    both = method.explain_many(problems)
    for k, found in enumerate(both):
        row = ROWS[k : k + 1]
        parts = [
            onnxplain.explain(model, row, METHOD, target=k % 2, points=20, baseline=r).values["x"] for r in references
        ]
        np.testing.assert_allclose(found.values["x"], np.mean(parts, axis=0), atol=1e-5)


def test_whole_numbers_move_at_their_embeddings():
    found = onnxplain.explain(loaded(token_sums(0, 8, 3)), np.array([[3, 1, 4]]), METHOD, target=0, points=50)
    assert list(found.values) == ["embedded"]
    assert abs(found.gap) < 1e-4


def test_many_equal_gradients_move_together_without_a_warning():
    """At a baseline of 0 the gradient of CV is 0 for all pixels, and later equal for many: whole groups are skipped."""
    found = onnxplain.explain(cv(), np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4), METHOD, target=0)
    values = found.values["image"][0, 0]
    assert found.gap == pytest.approx(0, abs=0.01 * found.score)
    np.testing.assert_allclose(values[:, 0], [0, 1, 2, 3], atol=1e-6)  # first on their way, to where conv1[0] wakes up
