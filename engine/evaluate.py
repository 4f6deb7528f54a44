"""evaluate: how good explanations are, by any number of metrics; the function behind the front door."""

from __future__ import annotations

import dataclasses
import math
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import registry, settings
from .errors import InputError, SettingError, printable
from .explain import Inputs, explain_sample, samples_of
from .explanation import Explanation
from .manifest import Recipe, revived
from .masking.label_maps import fitting
from .masking.layout import chosen as chosen_input
from .masking.layout import masked_inputs
from .metrics.masks import Mask, placed_mask
from .metrics.score import Reading, Score, gathered
from .metrics.trial import Ledger, Trial
from .model import Model, load
from .problem import Progress, Silence
from .rows import native
from .target import Target, resolve

if TYPE_CHECKING:
    import os

    from .inputs.sample import Sample

CONTROLS = ("random", "edges")
NUMBERS = "given"  # the method's name where attributions came as numbers
DEFAULT_METRICS = ("deletion", "insertion", "mu-fidelity", "sparseness")
DEFAULT_LOCALISATION = ("pointing-game", "relevance-mass")

Metrics = Sequence[str | tuple[str, Mapping[str, Any]]] | Mapping[str, Mapping[str, Any]] | str
Explained = str | Explanation | np.ndarray | Mapping[str, np.ndarray] | Sequence[Explanation | np.ndarray]


@dataclass(frozen=True)
class Chosen:
    """A metric with its settings, ready to run."""

    name: str
    metric: Any
    settings: dict[str, Any]

    @property
    def better(self) -> str | None:
        """Which end is good: ``higher``, ``lower``, or None."""
        better: str | None = getattr(self.metric, "direction", getattr(self.metric, "better", None))
        return better

    def gathered(self, method: str, readings: Sequence[Reading]) -> Score:
        """Put the readings of a method over samples together."""
        return gathered(
            self.name,
            method,
            readings,
            better=self.better,
            limits=getattr(self.metric, "range", (-math.inf, math.inf)),
            is_share=getattr(self.metric, "is_share", False),
            settings=self.settings,
        )


def evaluate(  # noqa: PLR0913, PLR0917 - the front door: each is a choice of the user
    model: Model | str | os.PathLike[str] | bytes,
    inputs: Inputs,
    method: Explained = "occlusion",
    metrics: Metrics = DEFAULT_METRICS,
    target: str | int = "top",
    seed: int = 0,
    controls: bool = False,  # noqa: FBT001, FBT002 - a setting like the others
    mask: Mask | Sequence[Mask] | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> list[Score]:
    """Say how good the explanations of a method are, averaged over the inputs with confidence intervals.

    ``method`` is the name of a method, whose settings are ``given``; or an Explanation, or attributions made elsewhere
    as an array shaped like the input, or arrays by input name; for several inputs a list of these. ``metrics`` holds
    names, pairs of a name and settings, or is a dict of settings by name. ``controls`` evaluates a random map and (for
    images) an edge detector as well: what a method does not beat, it does not know. ``mask`` says where the evidence
    is, for metrics of localisation: an array, a file, or a box ``(x0, y0, x1, y1)``; one for all inputs or a list.

    Returns one Score per metric, in the metrics' order, then those of the controls. Raises an ``OnnxplainError`` where
    a metric cannot be had: it says why.

    >>> import onnxplain
    >>> digit = next(iter(onnxplain.models.samples("digits-cnn")))
    >>> model = onnxplain.load(onnxplain.models.path("digits-cnn"))
    >>> deletion, sparse = onnxplain.evaluate(model, str(digit), "occlusion", ["deletion", "sparseness"], window=2)
    >>> deletion.metric, deletion.higher_is_better, 0 < deletion.value < 1
    ('deletion', False, True)
    """
    opened = model if isinstance(model, Model) else load(model)
    samples = list(samples_of(opened, inputs))
    chosen = chosen_metrics(metrics)
    masks = _per_sample(mask, len(samples))
    makers = [
        Maker(method, dict(given)) if isinstance(method, str) else _given(one, given)
        for one in _explanations(method, len(samples))
    ]
    rows = [makers, *[[control(name, sample) for sample in samples] for name in (CONTROLS if controls else ())]]
    scores = []
    for row in rows:
        if row[0].method == "edges" and any(not has_picture(opened, s) for s in samples):
            continue
        readings: dict[str, list[Reading]] = {one.name: [] for one in chosen}
        for sample, maker, where in zip(samples, row, masks, strict=True):
            with opened.remembering():
                trial = maker.trial(opened, sample, target, seed=seed, mask=where, progress=progress)
                for one in chosen:
                    readings[one.name].append(measured(trial, one))
        scores += [one.gathered(row[0].method, readings[one.name]) for one in chosen]
    return scores


def chosen_metrics(metrics: Metrics) -> list[Chosen]:
    """Return the metrics with their settings checked; ``SettingError`` for unknown names, settings and repeats."""
    listed: list[Any] = [metrics] if isinstance(metrics, str) else list(metrics)
    if isinstance(metrics, Mapping):
        listed = list(metrics.items())
    pairs = [(one, {}) if isinstance(one, str) else (str(one[0]), dict(one[1])) for one in listed]
    if not pairs:
        raise SettingError(
            "no metric was asked for", tip="name one, such as 'deletion' (onnxplain methods --kind metric)"
        )
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise SettingError("a metric was asked for twice", tip="evaluate the two settings in two calls")
    return [
        Chosen(name, settings.build(registry.find(name, "metric").factory, given, name), given) for name, given in pairs
    ]


def measured(trial: Trial, chosen: Chosen) -> Reading:
    """Return what a metric says of the trial's explanation, with its cost."""
    mine = dataclasses.replace(trial, metric=chosen.name, ledger=Ledger())
    _share_what_is_known(trial, mine)
    begun = time.perf_counter()
    reading: Reading = chosen.metric.score(mine)
    return dataclasses.replace(reading, evaluations=mine.ledger.evaluations, seconds=time.perf_counter() - begun)


def _share_what_is_known(trial: Trial, other: Trial) -> None:
    """Hand over what does not depend on the metric and was computed once."""
    for name in ("inputs", "values", "shares", "map", "pictured"):
        other.__dict__[name] = getattr(trial, name)


@dataclass(frozen=True)
class Maker:
    """Where explanations come from: a method with settings, or one that is there already."""

    method: str
    settings: dict[str, Any]
    ready: Explanation | None = None
    can_repeat: bool = True
    wrt: str | None = None

    def trial(
        self,
        model: Model,
        sample: Sample,
        target: str | int | Target,
        *,
        seed: int = 0,
        mask: Mask | None = None,
        progress: Progress | None = None,
    ) -> Trial:
        """Explain the sample, or check that what is there belongs to it."""
        if self.ready is None:
            aim = resolve(target, model, sample.feeds)
            explanation = self.explain(model, sample, aim, seed, progress)
        elif self.can_repeat:
            aim, explanation, seed = _belonging(self.ready, model, sample, target)
        else:
            aim = resolve(target, model, sample.feeds)
            explanation = _placed(self.ready, model, sample)
        trial = Trial(
            model=model,
            sample=sample,
            target=aim,
            explanation=explanation,
            explainer=self.explain if self.can_repeat else None,
            seed=seed,
            progress=progress or Silence(),
        )
        return trial if mask is None else dataclasses.replace(trial, mask=placed_mask(mask, trial))

    def explain(
        self, model: Model, sample: Sample, target: Target, seed: int, progress: Progress | None = None
    ) -> Explanation:
        """Explain a sample by this method."""
        return explain_sample(model, sample, self.method, target, self.wrt, seed, progress, self.settings)


def control(name: str, sample: Sample) -> Maker:
    """Return a control for a sample; the random map is another one for each sample."""
    digest = zlib.crc32(b"".join(written(feed) for _, feed in sorted(sample.feeds.items())))
    return Maker(name, {"salt": digest} if name == "random" else {})


def written(feed: np.ndarray) -> bytes:
    """Return the numbers or texts of a feed as bytes, the same for equal ones."""
    return repr(feed.tolist()).encode() if feed.dtype == object else np.ascontiguousarray(feed).tobytes()


def has_picture(model: Model, sample: Sample) -> bool:
    """Say whether an edge detector has something to look at."""
    return any(entry.is_image for entry in masked_inputs(model, sample).values())


def _explanations(method: Explained, count: int) -> list[Any]:
    if not isinstance(method, list | tuple):
        if count > 1 and not isinstance(method, str):
            raise InputError(f"one explanation was given for {count} inputs", tip="give a list, one for each input")
        return [method] * count
    if len(method) != count:
        raise InputError(f"{len(method)} explanations were given for {count} inputs")
    return list(method)


def _given(one: Any, given: Mapping[str, Any]) -> Maker:
    """Return where an explanation comes from that is there already."""
    if given:
        raise SettingError(
            f"'{printable(next(iter(given)))}' is a setting of a method, and no method was named",
            tip="settings of metrics go with the metric: metrics=[('deletion', {'steps': 50})]",
        )
    if isinstance(one, Explanation):
        chosen = {name: revived(value) for name, value in one.settings.items()}
        return Maker(one.method, chosen, one, wrt=one.manifest.get("wrt"))
    if isinstance(one, Mapping):
        values = {str(name): np.asarray(array) for name, array in one.items()}
    else:
        values = {"": np.asarray(one)}
    if any(array.dtype.kind not in "fiub" for array in values.values()):
        raise InputError("attributions are numbers, in arrays shaped like the input")
    return Maker(NUMBERS, {}, Explanation(values, NUMBERS, {}, "", 0.0), can_repeat=False)


def _placed(numbers: Explanation, model: Model, sample: Sample) -> Explanation:
    """Return attributions that came as numbers, by the names and with the axes of the inputs."""
    inputs = masked_inputs(model, sample)
    values = {}
    for name, array in numbers.values.items():
        entry = chosen_input(inputs, name, model.inputs) if name else fitting(array, inputs, "an array of attributions")
        placed = entry.place(array)
        if placed is None or len(placed) != 1:
            raise InputError(
                f"attributions of shape {array.shape} do not fit input '{printable(entry.name)}'",
                tip=f"they take {entry.wanted}",
            )
        values[entry.name] = native(entry.name, np.broadcast_to(placed, entry.feed.shape), model.inputs)
    return dataclasses.replace(numbers, values=values, sample=sample)


def _belonging(
    explanation: Explanation, model: Model, sample: Sample, target: str | int | Target
) -> tuple[Target, Explanation, int]:
    """Return the target and seed of an explanation after checking that it is of this model, input and target."""
    recipe = Recipe.read(explanation)
    if recipe.digest != model.digest:
        raise InputError(
            "this explanation is of another model: its digest differs",
            where=f"the model {model.digest[:16]}, the explanation {printable(recipe.digest[:16])}",
        )
    if explanation.sample is None:
        raise InputError("this explanation was made without its input; it cannot be known what it is of")
    mine, theirs = sample.feeds, explanation.sample.feeds
    other = [n for n in mine if n not in theirs or not _equal(mine[n], theirs[n])]
    if other:
        raise InputError(
            "this explanation is of another input",
            where=f"input '{printable(other[0])}' differs",
            tip="evaluate it on the very input that was explained: explanation.sample",
        )
    if target != "top":
        asked = resolve(target, model, sample.feeds)
        if (asked.tensor, asked.index) != (recipe.target.tensor, recipe.target.index):
            raise InputError(
                f"this explanation is of target '{printable(recipe.target)}', not of '{printable(asked)}'",
                tip="leave out the target to use the explanation's own",
            )
    return resolve(recipe.target, model, sample.feeds), explanation, recipe.seed


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return (
        a.size == b.size
        and a.dtype == b.dtype
        and bool(np.array_equal(a.ravel(), b.ravel(), equal_nan=a.dtype.kind == "f"))
    )


def _per_sample(mask: Any, count: int) -> list[Any]:
    """Return a mask for each sample; four numbers are one box."""
    if isinstance(mask, list) and not all(isinstance(v, int | float | np.number) for v in mask):
        if len(mask) != count:
            raise InputError(
                f"{len(mask)} masks were given for {count} inputs", tip="give one for all, or one for each"
            )
        return mask
    return [mask] * count
