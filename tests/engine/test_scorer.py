import numpy as np
import pytest

import onnxplain
from onnxplain import ModelError
from onnxplain.engine.scorer import Scorer
from onnxplain.engine.target import Target
from oracles.graphs import random_dense
from small_graphs import affine

ROWS = np.random.default_rng(0).normal(size=(37, 4)).astype(np.float32)


def batches(rows, length):
    return (({"x": rows[k : k + length]}, k) for k in range(0, len(rows), length))


@pytest.mark.parametrize("length", [1, 5, 37, 5000])
def test_scores_come_in_order_with_their_tags(length):
    model = onnxplain.load(random_dense(0, 4))
    done = []
    scorer = Scorer(model, Target("y[1]", "y", (1,)), {"x": ROWS}, progress=done.append)
    found = list(scorer.stream(batches(ROWS, length)))
    assert [tag for _, tag in found] == list(range(0, 37, length))
    expected = model.predict(ROWS)["y"][:, 1]
    np.testing.assert_allclose(np.concatenate([scores for scores, _ in found]), expected, rtol=1e-5, atol=1e-6)
    assert scorer.evaluations == sum(done) == 37


@pytest.mark.parametrize("axes", [(1,), (8,)])
def test_models_of_a_fixed_batch_score_any_number_of_rows(axes):
    weights = np.arange(8).reshape(2, 4) / 4
    model = onnxplain.load(affine(weights, np.zeros(2), axes).SerializeToString())
    scorer = Scorer(model, Target("y[0]", "y", (0,)), {"x": ROWS})
    found = np.concatenate([scores for scores, _ in scorer.stream(batches(ROWS, 10))])
    np.testing.assert_allclose(found, ROWS @ weights[0], rtol=1e-5, atol=1e-6)
    assert scorer.evaluations == 37


def test_a_score_that_is_not_finite_stops_it():
    model = onnxplain.load(affine(np.full((1, 4), 3e38), np.zeros(1)).SerializeToString())
    scorer = Scorer(model, Target("y", "y", (0,)), {"x": ROWS})
    with pytest.raises(ModelError, match="the score of target 'y' is"):
        list(scorer.stream(batches(np.full((6, 4), 100, np.float32), 2)))
