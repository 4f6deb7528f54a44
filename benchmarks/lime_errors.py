"""How far LIME's standard errors can be believed: the share of values within two of them, on games known in full.

``penalised`` counts from the surrogate that all coalitions give with the same penalty, which is what is estimated;
``plain`` from the one without a penalty, which shrinkage keeps away from.
"""

from __future__ import annotations

import dataclasses
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import machine
from benchmarks.shapley_games import KINDS, RECIPES, game_of
from onnxplain.engine.masking.features import TEXT_KINDS
from onnxplain.engine.perturbation.lime import COSINE_WIDTH, Lime
from onnxplain.engine.perturbation.local_fit import LocalFit, Regression

if TYPE_CHECKING:
    from benchmarks.shapley_games import LookedUp

ABOUT = "share of LIME's values that lie within two standard errors of the surrogate over all coalitions"
SAMPLES = (100, 300, 1000)
REGRESSIONS = (("ridge", 0.0), ("ridge", 1.0), ("ridge", 10.0), ("lasso", 0.01))
SEEDS = 20


def main(seeds: int = SEEDS) -> list[dict[str, Any]]:
    """Measure on tables and texts, print and write the shares."""
    games = [game_of(recipe) for recipe in RECIPES if KINDS[recipe.model] != "photographs"]
    rows = [_row(games, kind, penalty, count, seeds) for kind, penalty in REGRESSIONS for count in SAMPLES]
    print(f"{'regression':12}{'penalty':>9}{'samples':>9}{'penalised':>11}{'plain':>9}")
    for row in rows:
        print(f"{row['regression']:12}{row['penalty']:9g}{row['samples']:9}{row['penalised']:11.3f}{row['plain']:9.3f}")
    print("written:", machine.write("lime-errors", rows, ABOUT))
    return rows


def _row(games: list[LookedUp], kind: str, penalty: float, count: int, seeds: int) -> dict[str, Any]:
    within: dict[str, list[float]] = {"penalised": [], "plain": []}
    for game in games:
        limits = {"penalised": _limit(game, kind, penalty, count), "plain": _limit(game, kind, 0.0, count)}
        lime = Lime(samples=count, regression=kind, penalty=penalty, table="on-off")  # type: ignore[arg-type]  # of REGRESSIONS
        for seed in range(seeds):
            found = lime.explain(dataclasses.replace(game, seed=seed, method="lime"))
            for name, limit in limits.items():
                away = np.abs(found.feature_values - limit)
                within[name].append(float(np.mean(away <= 2 * found.feature_errors + 1e-12)))
    shares = {name: float(np.mean(share)) for name, share in within.items()}
    return {"regression": kind, "penalty": penalty, "samples": count, "seeds": seeds, "games": len(games)} | shares


def _limit(game: LookedUp, kind: str, penalty: float, count: int) -> np.ndarray:
    """Return the coefficients where each coalition counts as often as ``count`` samples hold it on the average."""
    size = game.features.size
    z = (np.arange(1 << size)[:, None] >> np.arange(size) & 1).astype(bool)
    absent = size - z.sum(axis=1)
    if game.features.kind in TEXT_KINDS:
        often = np.array([0.0, *(1 / (size * comb(size, k)) for k in range(1, size + 1))])[absent]
    else:
        often = np.full(len(z), 0.5**size)
    distance = 1 - np.sqrt(1 - absent / size)
    weights = np.exp(-(distance**2) / (2 * COSINE_WIDTH**2)) * often * (count - 1)
    weights[-1] += 1.0  # the input itself is the first sample
    fit = LocalFit(size)
    fit.add(z, weights, game.table)
    return fit.solve(Regression(kind, penalty)).coefficients


if __name__ == "__main__":
    main()
