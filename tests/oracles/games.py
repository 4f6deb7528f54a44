"""Games played in NumPy: a score per coalition without a model, for tests of estimators."""

import itertools
import math
from types import SimpleNamespace

import numpy as np

from onnxplain import Features
from onnxplain.engine.game import Game


class NumpyGame:
    """A game given as a function of boolean coalitions (B, M); it counts what it is asked."""

    def __init__(self, v, size, batch=7):
        self.v = v
        self.size = size
        self.batch = batch
        self.evaluations = 0
        self.asked = []
        labels = np.arange(size).reshape(1, size)
        self.features = Features(tuple(f"player {k}" for k in range(size)), {"x": labels}, "labels")
        self._known = {}

    @property
    def full(self):
        return self._one(np.ones((1, self.size), dtype=bool))

    @property
    def empty(self):
        return self._one(np.zeros((1, self.size), dtype=bool))

    def _one(self, coalition):
        key = bool(coalition[0, 0])
        if key not in self._known:
            self.evaluations += 1
            self._known[key] = float(self.v(coalition)[0])
        return self._known[key]

    whole = Game.whole

    def stream(self, coalitions, *, distinct=False):
        """As in Game; where the method says that all coalitions differ, from both ends too, they must."""
        seen = {row.tobytes() for row in np.array([np.zeros(self.size, bool), np.ones(self.size, bool)])}
        for array in coalitions:
            for start in range(0, len(array), self.batch):
                chunk = array[start : start + self.batch]
                self.asked.append(chunk)
                new = {row.tobytes() for row in chunk}
                assert not distinct or (len(new) == len(chunk) and seen.isdisjoint(new))
                seen |= new
                self.evaluations += len(chunk)
                yield chunk, self.v(chunk)


def problem_of(game, seed=0, references=1):
    """Return a problem, as far as methods over features look at it."""
    return SimpleNamespace(
        features=game.features,
        baseline=SimpleNamespace(count=references),
        game=lambda **_: game,
        seed=seed,
        rng=lambda stream=0: np.random.default_rng([seed, stream]),
        shapes={"x": (1, game.size)},
        method="",
        target=SimpleNamespace(text="", label=""),
        sample=None,
    )


def explained(explainer, game, **problem):
    """Return the values per feature that a method finds in a game."""
    return explainer.explain(problem_of(game, **problem))


def table_game(size, rng):
    """Return the function of a game whose every coalition has a score of its own, and those scores (2**M,)."""
    scores = rng.normal(size=1 << size)
    return (lambda z: scores[z @ (1 << np.arange(size))]), scores


def relu_game(size, rng, units=16):
    """Return the function of a game like a small network: interactions of all orders, strongest at low orders."""
    weights, biases, last = rng.normal(size=(size, units)), rng.normal(size=units), rng.normal(size=units)
    return lambda z: np.maximum(z @ weights + biases, 0) @ last


def shapley_by_orders(v, size):
    """Return the Shapley values as the mean of the marginal contributions over all M! orders."""
    phi = np.zeros(size)
    for order in itertools.permutations(range(size)):
        z = np.zeros((size + 1, size), dtype=bool)
        for step, player in enumerate(order):
            z[step + 1 :, player] = True
        phi[list(order)] += np.diff(v(z))
    return phi / math.factorial(size)
