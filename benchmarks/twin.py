"""Speed of the torch twin: forward and backward against the torch network that the ONNX file was exported from.

Every pair is the twin and the original, one after the other on the same rows; the ratio is taken pair by pair and the
median quoted. Integrated gradients are timed against Captum's, and grad-cam against one forward and backward of the
original, where they are installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import statistics
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import onnxplain
from benchmarks import machine
from benchmarks.networks import NETWORKS
from onnxplain.adapters.torch.gradient.slopes import Slopes
from onnxplain.engine.errors import SettingError
from onnxplain.engine.problem import Problem
from onnxplain.engine.registry import find
from onnxplain.engine.target import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

ABOUT = "wall time of the torch twin / wall time of the original torch network; medians of alternating pairs"
POINTS = 48
CAPTUM_ROWS = 8  # in a batch: of 4, 8 and all, the quickest for EfficientNet-Lite0
CLASS = 1


def main(pairs: int = 15, rows: int = 4) -> list[dict[str, Any]]:
    """Measure, print and write the table."""
    torch.manual_seed(0)
    table = []
    for name, network in NETWORKS.items():
        original = network.build().eval().requires_grad_(requires_grad=False)
        batch = np.random.default_rng(0).standard_normal((rows, *network.shape)).astype(np.float32)
        model = onnxplain.load(exported(original, batch), device="cpu")
        torch.set_num_threads(model.threads)
        slopes = Slopes.of(problems_of(model, batch))
        found = slopes.at_samples().gradients["x"].numpy()
        apart = float(np.abs(found - gradient(original, batch)).max() / np.abs(found).max())
        print(f"{name}: gradients apart by {apart:.1e} of the largest, {slopes.batch} rows fit one run", flush=True)

        def there_and_back(slopes: Slopes = slopes) -> None:
            slopes.at_samples()

        def the_same(original: torch.nn.Module = original, batch: np.ndarray = batch) -> None:
            gradient(original, batch)

        table.append(compared(f"{name}, forward and backward", there_and_back, the_same, pairs, rows))
        if name == "EfficientNet-Lite0":
            table += methods(model, original, batch[:1], pairs)
    print(f"\n{'what':46} {'rows':>5} {'seconds':>8} {'other':>8} {'ratio':>7}  (min - max)")
    for row in table:
        print(
            f"{row['what']:46} {row['rows']:5d} {row['seconds']:8.3f} {row['other_seconds']:8.3f} {row['ratio']:7.3f}"
            f"  ({row['ratio_min']:.3f} - {row['ratio_max']:.3f})"
        )
    print("written:", machine.write("twin", table, ABOUT))
    return table


def problems_of(model: onnxplain.Model, batch: np.ndarray) -> list[Problem]:
    """Return a problem for each row."""
    rows = [{"x": batch[k : k + 1]} for k in range(len(batch))]
    return [Problem(model, onnxplain.Sample(row), resolve(str(CLASS), model, row)) for row in rows]


def exported(network: torch.nn.Module, batch: np.ndarray) -> bytes:
    """Return the network as today's exporter of torch writes it, with a free batch axis."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (torch.from_numpy(batch),),
            input_names=["x"],
            output_names=["scores"],
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        )
    if program is None:
        raise RuntimeError("torch.onnx.export has returned no model")
    return bytes(program.model_proto.SerializeToString())


def gradient(network: torch.nn.Module, batch: np.ndarray) -> np.ndarray:
    """Return the gradient of a class of the original network, as its users would take it."""
    x = torch.tensor(batch, requires_grad=True)
    (found,) = torch.autograd.grad(network(x)[:, CLASS].sum(), x)
    return found.numpy()


def methods(model: onnxplain.Model, original: torch.nn.Module, image: np.ndarray, pairs: int) -> list[dict[str, Any]]:
    """Measure integrated gradients against Captum's and grad-cam against forward and backward, for one image."""
    table = []
    if importlib.util.find_spec("captum") is not None:
        from captum.attr import IntegratedGradients

        captum = IntegratedGradients(original)

        def ours() -> None:
            onnxplain.explain(model, image, "integrated-gradients", target=CLASS, points=POINTS)

        def theirs(rows: int | None = None) -> None:
            captum.attribute(torch.tensor(image), target=CLASS, n_steps=POINTS, internal_batch_size=rows)

        table.append(compared("integrated gradients / Captum's", ours, theirs, max(3, pairs // 3), POINTS))
        eight = partial(theirs, CAPTUM_ROWS)
        table.append(compared("integrated gradients / Captum's by 8 rows", ours, eight, max(3, pairs // 3), POINTS))
    with contextlib.suppress(SettingError):
        find("grad-cam", "explainer")

        def cam() -> None:
            onnxplain.explain(model, image, "grad-cam", target=CLASS)

        def once() -> None:
            gradient(original, image)

        table.append(compared("grad-cam / forward and backward", cam, once, pairs * 3, 1))
    return table


def compared(what: str, ours: Callable[[], None], other: Callable[[], None], pairs: int, rows: int) -> dict[str, Any]:
    """Return the times of both, in alternating pairs after a warm-up."""
    runs = {"ours": ours, "other": other}
    seconds: dict[str, list[float]] = {"ours": [], "other": []}
    for run in runs.values():
        run()
    for pair in range(pairs):
        for which in sorted(runs, reverse=bool(pair % 2)):
            begun = time.perf_counter()
            runs[which]()
            seconds[which].append(time.perf_counter() - begun)
    ratios = np.array(seconds["ours"]) / np.array(seconds["other"])
    print(f"{what}: {np.round(ratios, 3).tolist()}", flush=True)
    return {
        "what": what,
        "rows": rows,
        "seconds": statistics.median(seconds["ours"]),
        "other_seconds": statistics.median(seconds["other"]),
        "ratio": float(np.median(ratios)),
        "ratio_min": float(ratios.min()),
        "ratio_max": float(ratios.max()),
        "pairs": pairs,
    }


if __name__ == "__main__":
    main()
