"""Estimators of Shapley values to compare with, where they are installed: those of the packages shap and shapiq."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.shapley_games import TableGame

    Estimator = Callable[[TableGame, int, int], np.ndarray]

SHAPIQ = {
    "KernelSHAP": ("KernelSHAP", {}),
    "KernelSHAP, paired": ("KernelSHAP", {"pairing_trick": True}),
    "kADDSHAP of order 2": ("kADDSHAP", {"max_order": 2}),
    "kADDSHAP of order 2, paired": ("kADDSHAP", {"max_order": 2, "pairing_trick": True}),
    "kADDSHAP of order 3": ("kADDSHAP", {"max_order": 3}),
    "SVARM": ("SVARM", {}),
    "UnbiasedKernelSHAP": ("UnbiasedKernelSHAP", {}),
    "PermutationSamplingSV": ("PermutationSamplingSV", {}),
    "StratifiedSamplingSV": ("StratifiedSamplingSV", {}),
    "OwenSamplingSV": ("OwenSamplingSV", {}),
}
SHAP_SEEDS = {"shap PermutationExplainer": 3}  # fewer seeds than the others: it takes most of a second for each run


def available() -> dict[str, Estimator]:
    """Return the peers that can be imported, by name: functions of a game, a budget and a seed."""
    found: dict[str, Estimator] = {}
    with contextlib.suppress(ImportError):
        import shap

        found |= {
            f"shap {name}": _of_shap(shap, name)
            for name in ("KernelExplainer", "PermutationExplainer", "SamplingExplainer")
        }
    with contextlib.suppress(ImportError):
        from shapiq import approximator

        found |= {
            f"shapiq {name}": _of_shapiq(getattr(approximator, kind), settings)
            for name, (kind, settings) in SHAPIQ.items()
        }
    return found


def versions() -> dict[str, str]:
    """Return the versions of the peers."""
    found = {}
    for name in ("shap", "shapiq"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _of_shapiq(kind: Any, settings: dict[str, Any]) -> Estimator:
    def run(game: TableGame, budget: int, seed: int) -> np.ndarray:
        with _quiet():
            found = kind(n=game.size, random_state=seed, **settings).approximate(budget, game)
        places = found.interaction_lookup
        return np.array([found.values[places[(i,)]] if (i,) in places else 0.0 for i in range(game.size)])

    return run


def _of_shap(shap: Any, name: str) -> Estimator:
    """Explain the game as a function of M numbers that are 1 at the input and 0 at the only background row."""

    def run(game: TableGame, budget: int, seed: int) -> np.ndarray:
        background, row = np.zeros((1, game.size)), np.ones((1, game.size))
        np.random.seed(seed)  # noqa: NPY002 - the only way to seed these explainers

        def scores(z: np.ndarray) -> np.ndarray:
            return game(z > 0.5)

        with _quiet():
            if name == "PermutationExplainer":
                found = shap.PermutationExplainer(scores, background, seed=seed)
                return np.asarray(found(row, max_evals=budget, silent=True).values[0])
            if name == "KernelExplainer":  # without its selection of features, which makes it worse here
                found = shap.KernelExplainer(scores, background)
                return np.asarray(found.shap_values(row, nsamples=budget - 2, l1_reg=False, silent=True)[0])
            found = shap.SamplingExplainer(scores, background)
            return np.asarray(found.shap_values(row, nsamples=budget // 2 - 1, silent=True)[0])

    return run


@contextlib.contextmanager
def _quiet() -> Any:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
