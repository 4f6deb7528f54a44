"""Error of Shapley values per evaluation, against exact values, on real games; with peers, in one run.

Every game's coalitions are all scored once; estimators then look their scores up, so that each sees the same numbers.
The error is ``sum_i (phi_i - phi*_i)^2 / sum_i phi*_i^2``, phi* exact; means over seeds, then over games.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import machine
from benchmarks.shapley_games import KINDS, RECIPES, game_of
from benchmarks.shapley_peers import SHAP_SEEDS, available, versions
from onnxplain.engine import registry
from onnxplain.engine.errors import SettingError
from onnxplain.engine.perturbation.exact_shapley import shapley_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.shapley_games import LookedUp

ABOUT = (
    "relative squared error of Shapley values, sum (phi - exact)^2 / sum exact^2, means over seeds and over games; "
    "coverage: share of features whose error is at most two standard errors; seconds: of the estimator alone"
)
BUDGETS = (64, 128, 256, 512, 1024, 2048)
SEEDS = 10
OURS = ("shapley", "kernel-shap", "permutation-shap", "shapley-sampling")
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "shapley-error.svg"


def main(seeds: int = SEEDS) -> list[dict[str, Any]]:
    """Measure, print and write the table and its picture."""
    rows = _measured({recipe.name: game_of(recipe) for recipe in RECIPES}, seeds)
    summary = _summary(rows, "all", {recipe.name for recipe in RECIPES})
    kinds = dict.fromkeys(KINDS.values())
    by_kind = [r for kind in kinds for r in _summary(rows, kind, {g.name for g in RECIPES if KINDS[g.model] == kind})]
    for kind in kinds:
        _show([row for row in by_kind if row["game"] == kind], kind)
    _show(summary, "all games")
    written = machine.write("shapley-error", [*summary, *by_kind, *rows], ABOUT)
    _add_versions(written)
    _draw(summary)
    print("written:", written, "and", PICTURE)
    return summary


def _measured(games: Mapping[str, LookedUp], seeds: int) -> list[dict[str, Any]]:
    """Return a row per game, estimator and budget."""
    peers = available()
    rows = []
    for name, game in games.items():
        exact = shapley_values(game.table)
        for method in OURS:
            rows += [_row(name, f"onnxplain {method}", b, seeds, _ours(game, method, b, seeds, exact)) for b in BUDGETS]
        for peer, run in peers.items():
            for budget in BUDGETS:
                count = min(seeds, SHAP_SEEDS.get(peer, seeds))
                rows.append(_row(name, peer, budget, count, _of_peer(game, run, budget, count, exact)))
        print(f"{name}: {game.features.size} features, {len(game.table)} coalitions", flush=True)
    return rows


def _ours(game: LookedUp, method: str, budget: int, seeds: int, exact: np.ndarray) -> list[tuple[float, ...]]:
    """Return relative error, coverage, evaluations and seconds of each seed."""
    explainer = registry.find(method, "explainer").factory(budget=budget)
    found = []
    for seed in range(seeds):
        begun = time.perf_counter()
        try:
            one = explainer.explain(dataclasses.replace(game, seed=seed, method=method))
        except SettingError:  # a budget below the least of this method
            return []
        seconds = time.perf_counter() - begun
        errors = np.zeros(len(exact)) if one.feature_errors is None else one.feature_errors
        away = one.feature_values - exact
        held = float(np.mean(np.abs(away) <= 2 * errors + 1e-12)) if one.standard_error is not None else np.nan
        found.append((float(away @ away / (exact @ exact)), held, one.evaluations, seconds))
    return found


def _of_peer(game: LookedUp, run: Any, budget: int, seeds: int, exact: np.ndarray) -> list[tuple[float, ...]]:
    found = []
    for seed in range(seeds):
        played = game.game()
        played.evaluations = 0
        begun = time.perf_counter()
        try:
            away = run(played, budget, seed) - exact
        except (ValueError, ZeroDivisionError, np.linalg.LinAlgError):  # peers fail at small budgets
            return []
        seconds = time.perf_counter() - begun
        found.append((float(away @ away / (exact @ exact)), np.nan, played.evaluations, seconds))
    return found


def _row(game: str, what: str, budget: int, seeds: int, found: list[tuple[float, ...]]) -> dict[str, Any]:
    row: dict[str, Any] = {"game": game, "what": what, "budget": budget, "seeds": seeds}
    if not found:
        return row | {"error": None}
    error, coverage, evaluations, seconds = np.array(found).T
    row |= {"error": float(error.mean()), "evaluations": int(evaluations.max()), "seconds": float(np.median(seconds))}
    return row if np.isnan(coverage).any() else row | {"coverage": float(coverage.mean())}


def _summary(rows: list[dict[str, Any]], name: str, games: set[str]) -> list[dict[str, Any]]:
    """Return a row per method and budget, over some games, where it could play them all; ``name`` is theirs."""
    summary = []
    rows = [row for row in rows if row["game"] in games]
    for what in dict.fromkeys(row["what"] for row in rows):
        for budget in BUDGETS:
            mine = [r for r in rows if r["what"] == what and r["budget"] == budget and r["error"] is not None]
            if len(mine) < len(games):
                continue
            row = {
                "game": name,
                "what": what,
                "budget": budget,
                "seeds": mine[0]["seeds"],
                "error": float(np.mean([r["error"] for r in mine])),
                "geometric_mean": float(np.exp(np.mean(np.log([r["error"] for r in mine])))),
            }
            if all("coverage" in r for r in mine):
                row["coverage"] = float(np.mean([r["coverage"] for r in mine]))
            summary.append(row)
    return summary


def _show(summary: list[dict[str, Any]], name: str) -> None:
    """Print a line per estimator with its error at each budget."""
    print(f"\n{f'mean error, {name}':38}" + "".join(f"{budget:>10}" for budget in BUDGETS))
    for what in dict.fromkeys(row["what"] for row in summary):
        mine = {row["budget"]: row for row in summary if row["what"] == what}
        print(f"{what:38}" + "".join(f"{mine[b]['error']:10.3g}" if b in mine else " " * 10 for b in BUDGETS))
        if all("coverage" in row for row in mine.values()):
            print(f"{'  within two standard errors':38}" + "".join(f"{mine[b]['coverage']:10.3f}" for b in mine))
    print(f"{'best peer / shapley':38}" + "".join(f"{_lead(summary, budget):10.3g}" for budget in BUDGETS))


def _lead(summary: list[dict[str, Any]], budget: int) -> float:
    here = {row["what"]: row["error"] for row in summary if row["budget"] == budget}
    peers = [error for what, error in here.items() if not what.startswith("onnxplain")]
    return min(peers, default=float("nan")) / here["onnxplain shapley"]


def _add_versions(path: Path) -> None:
    """Put the versions of the peers beside those of the machine."""
    document = json.loads(path.read_text(encoding="utf-8"))
    document["versions"] |= versions()
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _draw(summary: list[dict[str, Any]]) -> None:
    """Draw the curves: our default, our plain method, and the peers that are best at some budget."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    best = set()
    for budget in BUDGETS:
        peers = {r["what"]: r["error"] for r in summary if r["budget"] == budget and not r["what"].startswith("onnx")}
        best |= {min(peers, key=lambda what: peers[what])} if peers else set()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "shapley-error"}):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for what in dict.fromkeys(row["what"] for row in summary):
            if what not in best | {"onnxplain shapley", "onnxplain kernel-shap"}:
                continue
            mine = [row for row in summary if row["what"] == what]
            style = {"linewidth": 2.5, "color": "#b2182b"} if what == "onnxplain shapley" else {"linewidth": 1.2}
            axes.plot(
                [r["budget"] for r in mine], [r["error"] for r in mine], marker="o", markersize=4, label=what, **style
            )
        axes.set(xscale="log", yscale="log", xlabel="evaluations", ylabel="relative squared error, mean over games")
        axes.set_xticks(BUDGETS, [str(budget) for budget in BUDGETS])
        axes.minorticks_off()
        axes.legend(frameon=False, fontsize=8)
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main()
