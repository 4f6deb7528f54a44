"""evaluate: how good explanations are, by any number of metrics; the function behind the front door."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CapabilityError, InputError, OnnxplainError, SettingError, printable
from ..explain import Inputs, samples_of
from ..explanation import Explanation
from ..metrics.answers import digest_of
from ..metrics.boxes import is_box
from ..metrics.chosen import Metrics, chosen_metrics, measured
from ..metrics.masks import Mask, check_mask, mask_for
from ..metrics.score import undefined
from ..model import Model, load
from ..question import checked_seed
from .maker import CONTROLS, Maker, control, has_picture

if TYPE_CHECKING:
    import os

    from ..metrics.chosen import Chosen
    from ..metrics.score import Reading, Score
    from ..metrics.trial import Trial
    from ..problem import Progress

DEFAULT_METRICS = ("deletion", "insertion", "mu-fidelity", "sparseness")
DEFAULT_LOCALISATION = ("pointing-game", "relevance-mass")

Explained = str | Explanation | np.ndarray | Mapping[str, np.ndarray] | Sequence[Explanation | np.ndarray]


def evaluate(  # noqa: PLR0913, PLR0917 - the front door: each is a choice of the user
    model: Model | str | os.PathLike[str] | bytes,
    inputs: Inputs,
    method: Explained = "occlusion",
    metrics: Metrics = DEFAULT_METRICS,
    target: str | int = "top",
    seed: int = 0,
    controls: bool = True,  # noqa: FBT001, FBT002 - a setting like the others
    mask: Mask | Sequence[Mask] | None = None,
    progress: Progress | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    **given: Any,
) -> list[Score]:
    """Say how good the explanations of a method are, averaged over the inputs with confidence intervals.

    ``method`` is the name of a method, whose settings are ``given``; or an Explanation, or attributions made elsewhere
    as an array shaped like the input, or arrays by input name; for several inputs a list of these. ``metrics`` holds
    names, pairs of a name and settings, or is a dict of settings by name. A random map and (of images) an edge detector
    are evaluated as well, on the same targets, and are in the ``controls`` of each Score: what a method does not beat,
    it does not know. Without ``controls`` metrics take a third of the rows, half where nothing is an image.

    ``mask`` says where the evidence is, for metrics of localisation: an array, a file, a box ``(x0, y0, x1, y1)`` or a
    tuple of boxes; one for all inputs or a list, or a folder of masks or a table of boxes by the names of the inputs'
    files. ``tokenizer`` is a tokenizer.json for texts, where it is not beside the model nor named in its spec.

    Returns one Score per metric, in the metrics' order. Raises an ``OnnxplainError`` where a metric cannot be had: it
    says why.

    >>> import onnxplain
    >>> digit = next(iter(onnxplain.models.samples("digits-cnn")))
    >>> model = onnxplain.load(onnxplain.models.path("digits-cnn"))
    >>> deletion, sparse = onnxplain.evaluate(model, str(digit), "occlusion", ["deletion", "sparseness"], window=2)
    >>> deletion.metric, deletion.higher_is_better, 0 < deletion.value < 1
    ('deletion', False, True)
    >>> deletion.value < min(control.value for control in deletion.controls.values())
    True
    """
    opened = model if isinstance(model, Model) else load(model)
    samples = list(samples_of(opened, inputs, tokenizer))
    chosen, seed = chosen_metrics(metrics), checked_seed(seed)
    check_mask(chosen, mask)
    masks = _per_sample(mask, len(samples))
    makers = _makers(method, given, len(samples))
    beside = [n for n in CONTROLS if controls and (n != "edges" or all(has_picture(opened, s) for s in samples))]
    own: list[list[Reading]] = [[] for _ in chosen]
    others: list[dict[str, list[Reading | CapabilityError]]] = [{name: [] for name in beside} for _ in chosen]
    for sample, maker, where in zip(samples, makers, masks, strict=True):
        with opened.remembering():
            known = {"mask": mask_for(where, sample), "progress": progress}
            trial = maker.trial(opened, sample, target, seed=seed, **known)
            for found, one in zip(own, chosen, strict=True):
                found.append(measured(trial, one))
            for name in beside:
                made = control(name, sample).trial(opened, sample, trial.target, seed=trial.seed, **known)
                rival = dataclasses.replace(made, memories=trial.memories)
                for by_name, one in zip(others, chosen, strict=True):
                    by_name[name].append(_of_control(rival, one))
    method = makers[0].method if makers else ""
    scores = [one.gathered(method, found) for one, found in zip(chosen, own, strict=True)]
    repeated = len(samples) - len({digest_of(sample.feeds) for sample in samples})
    notes = (f"{repeated} of {len(samples)} inputs were there before: the interval is too narrow",) if repeated else ()
    return [
        dataclasses.replace(score, controls=_gathered(one, by_name), notes=(*notes, *score.notes))
        for score, one, by_name in zip(scores, chosen, others, strict=True)
    ]


def _of_control(trial: Trial, chosen: Chosen) -> Reading | CapabilityError:
    """Return what a metric says of a control, or why no control can have it (completeness, for instance)."""
    try:
        return measured(trial, chosen)
    except CapabilityError as error:
        return error
    except OnnxplainError as error:
        return _lost(error)


def _lost(error: OnnxplainError) -> Reading:
    return undefined(f"the control could not be evaluated: {error.message}")


def _gathered(chosen: Chosen, controls: Mapping[str, Sequence[Reading | CapabilityError]]) -> dict[str, Score]:
    """Put the readings of controls together by name, but for those that the metric cannot have for any input."""
    return {
        name: chosen.gathered(name, [_lost(one) if isinstance(one, CapabilityError) else one for one in found])
        for name, found in controls.items()
        if not all(isinstance(one, CapabilityError) for one in found)
    }


def _makers(method: Explained, given: Mapping[str, Any], count: int) -> list[Maker]:
    """Return where the explanation of each input comes from."""
    if isinstance(method, str):
        return [Maker(method, dict(given))] * count
    if given:
        raise SettingError(
            f"'{printable(next(iter(given)))}' is a setting of a method, and no method was named",
            tip="settings of metrics go with the metric: metrics=[('deletion', {'steps': 50})]",
        )
    if not isinstance(method, list | tuple) and count > 1:
        raise InputError(f"one explanation was given for {count} inputs", tip="give a list, one for each input")
    every: list[Any] = list(method) if isinstance(method, list | tuple) else [method]
    if len(every) != count == 1 and (numbers := _numbers(every)) is not None:
        every = [numbers]
    if len(every) != count:
        raise InputError(f"{len(every)} explanations were given for {count} inputs")
    return [Maker.of_explanation(one) if isinstance(one, Explanation) else Maker.of_numbers(one) for one in every]


def _per_sample(mask: Any, count: int) -> list[Any]:
    """Return a mask for each sample; four numbers are one box."""
    if isinstance(mask, list) and not is_box(mask):
        if len(mask) != count == 1 and (numbers := _numbers(mask)) is not None:
            return [numbers]
        if len(mask) != count:
            raise InputError(
                f"{len(mask)} masks were given for {count} inputs", tip="give one for all, or one for each"
            )
        return mask
    return [mask] * count


def _numbers(given: list[Any]) -> np.ndarray | None:
    """Return the array that nested lists of numbers are: that of a single input; None for anything else."""
    if any(isinstance(one, np.ndarray) for one in given):
        return None  # each is one by itself
    try:
        array = np.asarray(given)
    except ValueError:  # rows of different lengths
        return None
    return array if array.dtype.kind in "fiub" else None
