"""``onnxplain evaluate``: which of several explanations can be believed."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import InputError, SettingError, printable
from .choices import assigned, assignments, default_method
from .completing import complete_methods, complete_metrics
from .errors import print_error
from .evaluation import JOURNAL, PAGE, Outcome
from .folder import check_own, check_writable
from .lazy import command
from .model_argument import model_argument, open_model
from .progress import bar
from .reading import Named, samples_named, text_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..engine.evaluation.comparison import Comparison, Failure
    from ..engine.evaluation.journal import Journal
    from ..engine.explanation import Explanation
    from ..engine.inputs.sample import Sample
    from ..engine.model import Model

SAVED = ".npz"
BESIDE = {"occlusion": "rise", "exact-shapley": "ablation", "kernel-shap": "ablation"}  # a second method by default


@dataclass(frozen=True)
class Request(Named):
    """What the command line asks for; the fields are the options."""

    model: str
    spec: str | None
    device: str
    threads: int | None
    method: tuple[str, ...]
    metric: tuple[str, ...]
    set: tuple[str, ...]
    target: str
    seed: int
    mask: str | None
    box: str | None
    gate: tuple[str, ...]
    output: str | None
    resume: bool
    json: bool


@command("evaluate")
@model_argument
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@text_options
@click.option(
    "-m",
    "--method",
    multiple=True,
    metavar="NAME|FILE",
    shell_complete=complete_methods,
    help="Method, or an explanation in a .npz file; may be repeated. Without it: two that suit the input.",
)
@click.option(
    "--metric",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_metrics,
    help="Metric; may be repeated. Without it: deletion, insertion, mu-fidelity and sparseness.",
)
@click.option(
    "--set",
    multiple=True,
    metavar="[NAME.]KEY=VALUE",
    help="A setting of method or metric NAME, or of all that have it; see: onnxplain methods NAME.",
)
@click.option(
    "-t", "--target", default="top", show_default=True, metavar="T", help="Class, tensor[index] or probability:CLASS."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of methods and metrics.")
@click.option(
    "--mask",
    metavar="FILE|DIR",
    help="Where the evidence is: .png or .npy on the grid of the model's input; or a folder of them, named as inputs.",
)
@click.option(
    "--box",
    metavar="BOX|FILE",
    help="The same as X0,Y0,X1,Y1 in pixels of the model's input; or a .csv of rows: input's file,X0,Y0,X1,Y1.",
)
@click.option(
    "--gate",
    multiple=True,
    metavar="RULE",
    help='Threshold, such as "deletion<random" or "insertion(rise)>0.5"; exit 1 if it fails, 4 if not established.',
)
@click.option("-o", "--output", metavar="DIR", help="Folder for results as they come, a document, page and picture.")
@click.option("--resume", is_flag=True, help="Go on in DIR; an error where nothing is there to go on with.")
@click.option("--json", is_flag=True, help="Print one JSON document instead of text.")
def evaluate_command(**options: Any) -> int:
    """Say which explanations of MODEL on each INPUT can be believed.

    Each method explains each input, and each metric judges the explanation; values are averaged over the inputs, with
    95 % confidence intervals. A random map and, for images, an edge detector are judged beside the methods: what does
    not beat them knows nothing of the model. With -o each result is written as it comes, and the same command goes on
    where it was stopped. Saved explanations can be judged too: -m FILE.npz; without INPUT, on their own inputs.

    \b
    Examples:
      onnxplain evaluate model.onnx photos/ -m occlusion -m rise -o out
      onnxplain evaluate model.onnx cat.jpg -m rise --metric deletion --set deletion.steps=50
      onnxplain evaluate model.onnx cat.jpg --metric pointing-game --box 20,30,180,200
      onnxplain evaluate model.onnx photos/ -m rise --gate "deletion<random" --gate "insertion(rise)>0.5"
      onnxplain evaluate model.onnx --text "a wonderful, moving film" -m shapley -m lime
      onnxplain evaluate model.onnx reviews.txt:0-9 -m shapley -m lime
      onnxplain evaluate model.onnx -m out/cat.rise.npz -m occlusion
      onnxplain methods --kind metric
    """
    request = Request(**options)
    if request.text_pair or not any(map(is_file, request.method)):
        request.check(", or a saved explanation with -m FILE.npz")
    if request.resume and request.output is None:
        raise click.UsageError("--resume goes on in the folder of -o DIR, and none was given")
    if request.output == "":
        raise click.UsageError("-o takes the name of a folder, and the name given is empty")
    if request.mask is not None and request.box is not None:
        raise click.UsageError("--mask and --box say the same in two ways; give one of them")
    return evaluate(request)


command = evaluate_command


def evaluate(request: Request) -> int:
    """Judge all inputs and return the exit code; what fails does not stop the rest."""
    from ..engine.evaluation.maker import CONTROLS
    from ..engine.metrics.gates import check_gate, read_gate

    gates = [read_gate(text) for text in request.gate]
    mask = _mask(request)
    metrics = request.metric or _default_metrics(has_mask=mask is not None)
    if request.output is not None:
        check_writable(Path(request.output))
    model = open_model(request.model, request.spec, request.device, request.threads)
    explanations = _saved(request.method, model)
    unread: list[Failure] = []
    stream = _samples(model, request, unread) if request.inputs or request.text else _own(explanations)
    first = next(stream, None)
    if first is None:
        raise unread[0].error if unread else InputError("there is no input in what was given")
    methods = _methods(request, first, explanations)
    settings = chosen_settings([n for n, given in methods.items() if given is None], metrics, request.set)
    for gate in gates:
        check_gate(gate, list(metrics), [*methods, *CONTROLS])
    with ExitStack() as journals:
        comparison = _comparison(request, model, methods, metrics, settings, mask, journals)
        _judge(comparison, chain([first], stream), request)
        return Outcome(comparison, gates, [*unread, *comparison.failures]).end(request)


def is_file(method: str) -> bool:
    """Say whether a method is written as the file of an explanation."""
    return method.lower().endswith(SAVED)


def chosen_settings(methods: Sequence[str], metrics: Sequence[str], given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the settings of each method and metric by name, checked before any work."""
    from ..engine.registry import find

    kinds = [*((name, "explainer") for name in methods), *((name, "metric") for name in metrics)]
    return assigned({name: find(name, kind) for name, kind in kinds}, assignments(given, {}))


def _judge(comparison: Comparison, samples: Iterator[Sample], request: Request) -> None:
    try:
        for sample in samples:
            with bar(sample.source) as progress:
                if not comparison.add(sample, progress):
                    print_error(f"{printable(sample.source)} was given twice and counts once", "note")
    except KeyboardInterrupt:
        if request.output is not None:
            print_error("stopped; the same command goes on from here", "note")
        raise


def _comparison(
    request: Request,
    model: Model,
    methods: Mapping[str, Any],
    metrics: Sequence[str],
    settings: Mapping[str, dict[str, Any]],
    mask: Any,
    journals: ExitStack,
) -> Comparison:
    from .. import __version__
    from ..engine.evaluation.comparison import Comparison, identity_of
    from ..engine.evaluation.journal import Journal
    from ..engine.metrics.chosen import chosen_metrics

    chosen = chosen_metrics([(name, settings[name]) for name in metrics])
    given = {name: settings[name] if saved is None else saved for name, saved in methods.items()}
    journal = None
    if request.output is not None:
        identity = identity_of(model, given, chosen, target=request.target, seed=request.seed, version=__version__)
        check_own(Path(request.output) / PAGE)
        journal = Journal(Path(request.output) / JOURNAL, identity, must_exist=request.resume)
        journals.callback(journal.close)
        _tell_journal(journal)
    return Comparison(model, given, chosen, target=request.target, seed=request.seed, mask=mask, journal=journal)


def _tell_journal(journal: Journal) -> None:
    if len(journal):
        print_error(f"going on: {len(journal)} results are there", "note")
    for what, count in journal.others.items():
        have = f"{count} results there have" if count > 1 else "1 result there has"
        print_error(f"{have} {'other' if what.startswith('settings') else 'another'} {what}: computed anew", "note")
    if journal.dropped:
        lines = f"{journal.dropped} damaged line{'s' if journal.dropped > 1 else ''}"
        print_error(f"{lines} in {JOURNAL}; computed again", "warning")


def _samples(model: Model, request: Request, unread: list[Failure]) -> Iterator[Sample]:
    """Yield the samples of all inputs; what cannot be read is put into ``unread``, and left out."""
    from ..engine.evaluation.comparison import Failure

    return samples_named(model, request, lambda about, error: unread.append(Failure(about, "", "", error)))


def _saved(methods: Sequence[str], model: Model) -> list[Explanation]:
    """Return the explanations that are named by their files, after checking that they are of this model."""
    from ..engine.evaluation.maker import check_model
    from ..engine.explanation import Explanation

    found = []
    for name in filter(is_file, methods):
        found.append(Explanation.load(name))
        try:
            check_model(found[-1], model)
        except InputError as error:
            raise InputError(error.message, where=f"{printable(name)}; {error.where}", tip=error.tip) from None
    return found


def _own(explanations: Sequence[Explanation]) -> Iterator[Sample]:
    """Yield the inputs of saved explanations, each once: several methods may have explained the same."""
    from ..engine.evaluation.comparison import key_of

    seen = set()
    for made in explanations:
        if made.sample is not None and key_of(made.sample) not in seen:
            seen.add(key_of(made.sample))
            yield made.sample


def _methods(request: Request, first: Sample, explanations: Sequence[Explanation]) -> dict[str, Any]:
    """Return the methods in their order: None for those that are named, what is there of those that come as files."""
    from ..engine.evaluation.maker import saved

    there = saved(explanations)
    named = [name for name in request.method if not is_file(name)] or ([] if there else _default_methods(first))
    both = next((name for name in named if name in there), None)
    if both is not None:
        raise SettingError(f"{both} is given both by its name and as a file", tip="evaluate the two in two runs")
    return {**there, **dict.fromkeys(named)}


def _default_methods(sample: Sample) -> list[str]:
    first = default_method(sample)
    names = [first, BESIDE.get(first, "ablation")]
    print_error(f"using {' and '.join(names)} (choose with -m; there are more: onnxplain methods)", "note")
    return names


def _default_metrics(*, has_mask: bool) -> tuple[str, ...]:
    from ..engine.evaluation.evaluate import DEFAULT_LOCALISATION, DEFAULT_METRICS

    return (*DEFAULT_METRICS, *(DEFAULT_LOCALISATION if has_mask else ()))


def _mask(request: Request) -> Any:
    """Return where the evidence is; a path is read for each input."""
    from ..engine.metrics.boxes import read_box

    if request.box is None or request.box.lower().endswith(".csv"):
        return request.box or request.mask
    return read_box(request.box)
