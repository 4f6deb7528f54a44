import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onnxplain
from onnxplain.engine.perturbation.ablation import Ablation
from oracles.games import NumpyGame, explained, relu_game
from oracles.graphs import cv


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_value_is_what_the_score_loses_without_the_feature(size, batch, seed):
    v = relu_game(size, np.random.default_rng(seed))
    game = NumpyGame(v, size, batch)
    found = explained(Ablation(), game)
    full = np.ones(size, dtype=bool)
    for k in range(size):
        without = full.copy()
        without[k] = False
        assert found.feature_values[k] == pytest.approx(float(v(full[None])[0] - v(without[None])[0]), abs=1e-12)
    assert game.evaluations == size + 2
    assert max(map(len, game.asked)) <= batch


def test_pixels_are_ablated_one_at_a_time_and_carry_their_value():
    image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4) + 3
    opened = onnxplain.load(cv())
    found = onnxplain.explain(opened, image, "ablation", target=0, features="pixels", baseline=0)
    full = opened.predict({"image": image})["relu2"][0, 0]
    expected = np.zeros((4, 4))
    for row in range(4):
        for column in range(4):
            hidden = image.copy()
            hidden[..., row, column] = 0
            expected[row, column] = full - opened.predict({"image": hidden})["relu2"][0, 0]
    np.testing.assert_allclose(found.values["image"][0, 0], expected, rtol=1e-5)
    assert np.abs(expected).max() > 1
