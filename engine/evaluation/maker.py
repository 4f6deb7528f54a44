"""Maker: where the explanations come from that are judged: a method, a control, a file, or numbers from elsewhere."""

from __future__ import annotations

import dataclasses
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, printable
from ..explanation import Explanation
from ..masking.label_maps import fitting
from ..masking.layout import chosen as chosen_input
from ..masking.layout import masked_inputs
from ..metrics.answers import written
from ..metrics.masks import Mask, evidence
from ..metrics.trial import Trial
from ..problem import Progress, Silence
from ..question import Question
from ..results.manifest import Recipe, revived
from ..rows import native
from ..settings import plain
from ..target import Target, resolve

if TYPE_CHECKING:
    from ..inputs.sample import Sample
    from ..model import Model

CONTROLS = ("random", "edges")
NUMBERS = "given"  # the method's name where attributions came as numbers


@dataclass(frozen=True)
class Maker:
    """Where explanations come from: a method with settings, or one that is there already."""

    method: str
    settings: dict[str, Any]
    ready: Explanation | None = None
    can_repeat: bool = True
    wrt: str | None = None

    @classmethod
    def of_numbers(cls, numbers: Any) -> Maker:
        """Return attributions made elsewhere: an array, or arrays by input name. ``InputError`` for anything else."""
        arrays = {str(n): np.asarray(a) for n, a in numbers.items()} if isinstance(numbers, Mapping) else {}
        values = arrays or {"": np.asarray(numbers)}
        if any(array.dtype.kind not in "fiub" for array in values.values()):
            raise InputError("attributions are numbers, in arrays shaped like the input")
        return cls(NUMBERS, {}, Explanation(values, NUMBERS, {}, "", 0.0), can_repeat=False)

    @classmethod
    def of_explanation(cls, made: Explanation) -> Maker:
        """Return an explanation that is there already, with the method and settings that make it again."""
        settings = {name: revived(value) for name, value in made.settings.items()}
        return cls(made.method, settings, made, wrt=made.manifest.get("wrt"))

    def for_sample(self, sample: Sample) -> Maker:  # noqa: ARG002 - as Saved has it
        """Return itself: it explains any sample."""
        return self

    def identity(self) -> Any:
        """Return what must be equal for explanations to be the same, as JSON holds it."""
        return plain(self.settings)

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
        if mask is None:
            return trial
        known = evidence(mask, trial)
        return dataclasses.replace(trial, mask=known.inside, boxes=known.boxes)

    def explain(
        self, model: Model, sample: Sample, target: Target, seed: int, progress: Progress | None = None
    ) -> Explanation:
        """Explain a sample by this method."""
        return Question.of(model, self.method, target, self.wrt, seed, progress, self.settings).answer(sample)


@dataclass(frozen=True)
class Saved:
    """Explanations of one method that are there already, each of its own sample."""

    makers: tuple[Maker, ...]

    def for_sample(self, sample: Sample) -> Maker:
        """Return the explanation of a sample; of a single one it is told later in what it differs."""
        if len(self.makers) == 1:
            return self.makers[0]
        for maker in self.makers:
            made = maker.ready.sample if maker.ready is not None else None
            if made is not None and not _differing(sample, made):
                return maker
        raise InputError(
            f"none of the {len(self.makers)} explanations by {self.makers[0].method} is of this input",
            tip="give the very inputs that were explained, or none: then they are those of the explanations",
        )

    def identity(self) -> Any:
        """Return what must be equal for explanations to be the same, as JSON holds it."""
        arrays = [maker.ready.arrays() for maker in self.makers if maker.ready is not None]
        digests = [hashlib.sha256(written(a)).hexdigest() for found in arrays for _, a in sorted(found.items())]
        return [*(plain(maker.settings) for maker in self.makers), *digests]


def saved(explanations: Sequence[Explanation]) -> dict[str, Saved]:
    """Return saved explanations by method. ``InputError`` where those of one were not made with the same settings."""
    found: dict[str, list[Maker]] = {}
    for made in explanations:
        found.setdefault(made.method, []).append(Maker.of_explanation(made))
    for method, makers in found.items():
        if any(maker.identity() != makers[0].identity() for maker in makers):
            raise InputError(
                f"the explanations by {printable(method)} were made with other settings each",
                tip="evaluate those of the same settings together",
            )
    return {method: Saved(tuple(makers)) for method, makers in found.items()}


def control(name: str, sample: Sample) -> Maker:
    """Return a control for a sample; the random map is another one for each sample."""
    digest = zlib.crc32(b"".join(written(feed) for _, feed in sorted(sample.feeds.items())))
    return Maker(name, {"salt": digest} if name == "random" else {})


def has_picture(model: Model, sample: Sample) -> bool:
    """Say whether an edge detector has something to look at."""
    return any(entry.is_image for entry in masked_inputs(model, sample).values())


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
    recipe = check_model(explanation, model)
    if explanation.sample is None:
        raise InputError("this explanation was made without its input; it cannot be known what it is of")
    other = _differing(sample, explanation.sample)
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


def check_model(explanation: Explanation, model: Model) -> Recipe:
    """Return how an explanation was made. Raises ``InputError`` where it is not known, or is of another model."""
    recipe = Recipe.read(explanation)
    if recipe.opening.digest != model.digest:
        raise InputError(
            "this explanation is of another model: its digest differs",
            where=f"the model {model.digest[:16]}, the explanation {printable(recipe.opening.digest[:16])}",
        )
    return recipe


def _differing(sample: Sample, other: Sample) -> list[str]:
    """Return the inputs in which two samples differ."""
    theirs = other.feeds
    return [n for n, feed in sample.feeds.items() if n not in theirs or not _equal(feed, theirs[n])]


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return (
        a.size == b.size
        and a.dtype == b.dtype
        and bool(np.array_equal(a.ravel(), b.ravel(), equal_nan=a.dtype.kind == "f"))
    )
