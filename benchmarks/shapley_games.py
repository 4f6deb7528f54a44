"""Real games small enough for exact Shapley values: the score of every coalition, evaluated once and kept on disk."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

import onnxplain
from onnxplain.engine.explain import samples_of
from onnxplain.engine.home import home
from onnxplain.engine.problem import Problem
from onnxplain.engine.target import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NETWORK, WINE, CANCER = "efficientnet-lite0", "wine-mlp", "breast-cancer-forest"
ENCODER, COUNTS = "minilm-sentiment", "tfidf-sentiment"
# ten properties of a nucleus: mean and worst value together, standard errors two by two
PROPERTIES = np.array([[*range(10), 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, *range(10)]])


@dataclass(frozen=True)
class Recipe:
    """A game: a model, an input and features.

    ``source`` is a photograph's name, or the number of a sample, for a model of texts that of a held-out sentence.
    """

    name: str
    model: str
    source: str | int
    features: Any


RECIPES = (
    Recipe("chelsea", NETWORK, "chelsea", "slic:20"),
    Recipe("coffee", NETWORK, "coffee", "slic:13"),
    Recipe("rocket", NETWORK, "rocket", "slic:13"),
    Recipe("astronaut", NETWORK, "astronaut", "slic:21"),
    Recipe("leafhopper", NETWORK, 18, "slic:13"),
    Recipe("dalmatian", NETWORK, 16, "slic:15"),
    Recipe("bald eagle", NETWORK, 17, "slic:15"),
    Recipe("wine, row 0", WINE, 0, "columns"),
    Recipe("wine, row 3", WINE, 3, "columns"),
    Recipe("breast cancer, row 0", CANCER, 0, PROPERTIES),
    Recipe("breast cancer, row 3", CANCER, 3, PROPERTIES),
    Recipe("a great way, MiniLM", ENCODER, 52, "words"),
    Recipe("the title, MiniLM", ENCODER, 64, "words"),
    Recipe("the future, MiniLM", ENCODER, 134, "words"),
    Recipe("moving film, TF-IDF", COUNTS, 28, "words"),
    Recipe("downhill, TF-IDF", COUNTS, 83, "words"),
    Recipe("a ticket, TF-IDF", COUNTS, 127, "words"),
)
KINDS = {NETWORK: "photographs", WINE: "tables", CANCER: "tables", ENCODER: "texts", COUNTS: "texts"}


@dataclass(frozen=True)
class LookedUp(Problem):
    """A problem whose game is looked up in the table of all scores; a coalition costs one evaluation."""

    table: np.ndarray = field(default_factory=lambda: np.empty(0))

    @cached_property
    def baseline(self) -> Any:
        """One reference: the scores are means over references already."""
        return SimpleNamespace(count=1)

    def game(self, features: Any = None, expected: int = 0) -> Any:
        """Return the table as a game."""
        del features, expected
        return TableGame(self.table, self.features)


class TableGame:
    """A game of which all scores are known: bit i of an index says that feature i is present."""

    def __init__(self, table: np.ndarray, features: Any = None) -> None:
        self.table, self.features = table, features
        self.size = len(table).bit_length() - 1
        self.batch = 512
        self.evaluations = 2
        self.full, self.empty = float(table[-1]), float(table[0])

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """Return the scores of coalitions (B, M)."""
        z = np.atleast_2d(coalitions).astype(bool)
        self.evaluations += len(z)
        scores: np.ndarray = self.table[z @ (1 << np.arange(self.size))]
        return scores

    def stream(
        self, coalitions: Iterable[np.ndarray], *, distinct: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield chunks and their scores."""
        del distinct  # what is looked up need not be remembered
        for chunk in coalitions:
            yield chunk, self(chunk)


def problem_of(recipe: Recipe) -> Problem:
    """Return the problem of a recipe, on the CPU."""
    model = onnxplain.load(str(onnxplain.models.build(recipe.model, report=print)), device="cpu")
    sample = next(iter(samples_of(model, _source_of(recipe))))
    return Problem(model, sample, resolve("top", model, sample.feeds), features_setting=recipe.features)


def _source_of(recipe: Recipe) -> str | onnxplain.Text:
    if isinstance(recipe.source, str):
        return str(onnxplain.models.photograph(recipe.source))
    samples = onnxplain.models.samples(recipe.model)
    if recipe.model == NETWORK:
        return str(samples[recipe.source])
    if KINDS[recipe.model] == "tables":
        return f"{samples[0]}:{recipe.source}"
    with (samples[0].parent.parent / "held-out.csv").open(encoding="utf-8", newline="") as file:
        return onnxplain.Text([row["text"] for row in csv.DictReader(file)][recipe.source])


def game_of(recipe: Recipe) -> LookedUp:
    """Return the game of a recipe, from its table on disk, or after evaluating all coalitions."""
    problem = problem_of(recipe)
    file = home() / "benchmarks" / f"{_key(problem)}.npy"
    if not file.exists():
        print(f"{recipe.name}: all coalitions of {problem.features.size} features", flush=True)
        game = problem.game(expected=1 << problem.features.size)
        scores = [found for _, found in game.stream(_all_coalitions(problem.features.size, game.batch))]
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.concatenate(scores))
    return LookedUp(
        problem.model,
        problem.sample,
        problem.target,
        features_setting=problem.features,
        table=np.load(file, allow_pickle=False),
    )


def _all_coalitions(size: int, batch: int) -> Iterator[np.ndarray]:
    for start in range(0, 1 << size, batch):
        numbers = np.arange(start, min(start + batch, 1 << size))
        yield (numbers[:, None] >> np.arange(size) & 1).astype(bool)


def _key(problem: Problem) -> str:
    """Return a digest of all that the scores depend on."""
    found = hashlib.blake2b(f"{problem.model.digest} {problem.target.text}".encode(), digest_size=12)
    parts = (problem.sample.feeds, problem.features.labels, problem.baseline.references)
    for part in parts:
        for name in sorted(part):
            array = part[name].astype(np.str_) if part[name].dtype == object else part[name]
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
