"""``onnxplain evaluate``: which of several explanations can be believed."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import InputError, SettingError, printable
from .choices import assignments, check_taken, default_method
from .completing import complete_methods, complete_metrics
from .errors import DIFFERS, DONE, INCOMPLETE, REFUSED, print_error
from .lazy import command
from .model_argument import model_argument, model_json, open_model
from .output import print_json, table
from .progress import bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..engine.comparison import Comparison, Failure
    from ..engine.evaluate import Chosen
    from ..engine.inputs.sample import Sample
    from ..engine.metrics.gates import Gate, Verdict
    from ..engine.metrics.score import Score
    from ..engine.model import Model

JOURNAL = "results.jsonl"
DOCUMENT = "evaluation.json"
PICTURE = "curves.png"
BESIDE = {"occlusion": "rise", "exact-shapley": "ablation", "kernel-shap": "ablation"}  # a second method by default


@dataclass(frozen=True)
class Request:
    """What the command line asks for; the fields are the options."""

    model: str
    spec: str | None
    device: str
    threads: int | None
    inputs: tuple[str, ...]
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
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "-m",
    "--method",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_methods,
    help="Method; may be repeated. Without it: two that suit the input.",
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
@click.option("--mask", metavar="FILE", help="Where the evidence is: .png or .npy on the grid of the model's input.")
@click.option("--box", metavar="X0,Y0,X1,Y1", help="The same as a box in pixels of the model's input.")
@click.option(
    "--gate",
    multiple=True,
    metavar="RULE",
    help='Threshold, such as "deletion<random" or "insertion(rise)>0.5"; exit 1 if it fails, 4 if not established.',
)
@click.option("-o", "--output", metavar="DIR", help="Folder for the results as they come, a document and a picture.")
@click.option("--resume", is_flag=True, help="Go on in DIR; an error where nothing is there to go on with.")
@click.option("--json", is_flag=True, help="Print one JSON document instead of text.")
def evaluate_command(**options: Any) -> int:
    """Say which explanations of MODEL on each INPUT can be believed.

    Each method explains each input, and each metric judges the explanation; values are averaged over the inputs, with
    95 % confidence intervals. A random map and, for images, an edge detector are judged beside the methods: what does
    not beat them knows nothing of the model. With -o each result is written as it comes, and the same command goes on
    where it was stopped.

    \b
    Examples:
      onnxplain evaluate model.onnx photos/ -m occlusion -m rise -o out
      onnxplain evaluate model.onnx cat.jpg -m rise --metric deletion --set deletion.steps=50
      onnxplain evaluate model.onnx cat.jpg --metric pointing-game --box 20,30,180,200
      onnxplain evaluate model.onnx photos/ -m rise --gate "deletion<random" --gate "insertion(rise)>0.5"
      onnxplain methods --kind metric
    """
    request = Request(**options)
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
    from ..engine.evaluate import CONTROLS
    from ..engine.metrics.gates import check_gate, read_gate

    gates = [read_gate(text) for text in request.gate]
    mask = _mask(request)
    metrics = request.metric or _default_metrics(has_mask=mask is not None)
    model = open_model(request.model, request.spec, request.device, request.threads)
    unread: list[Failure] = []
    stream = _samples(model, request.inputs, unread)
    first = next(stream, None)
    if first is None:
        raise unread[0].error if unread else InputError("there is no input in what was given")
    methods = request.method or _default_methods(first)
    settings = chosen_settings(methods, metrics, request.set)
    for gate in gates:
        check_gate(gate, list(metrics), [*methods, *CONTROLS])
    with ExitStack() as journals:
        comparison = _comparison(request, model, methods, metrics, settings, mask, journals)
        try:
            for sample in chain([first], stream):
                with bar(sample.source) as progress:
                    comparison.add(sample, progress)
        except KeyboardInterrupt:
            if request.output is not None:
                print_error("stopped; the same command goes on from here", "note")
            raise
        return _end(request, comparison, gates, [*unread, *comparison.failures])


def chosen_settings(methods: Sequence[str], metrics: Sequence[str], given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the settings of each method and metric by name, checked before any work."""
    from ..engine.registry import find
    from ..engine.settings import build

    kinds = [*((name, "explainer") for name in methods), *((name, "metric") for name in metrics)]
    plugins = {name: find(name, kind) for name, kind in kinds}
    known = {name: {s.name for s in plugin.settings} for name, plugin in plugins.items()}
    read = assignments(given, {})
    for assignment in read:
        check_taken(assignment, known)
    found: dict[str, dict[str, Any]] = {}
    for name, plugin in plugins.items():
        mine = sorted(
            (a for a in read if a.key in known[name] and a.method in {"", name}), key=lambda a: bool(a.method)
        )
        found[name] = {a.key: a.value for a in mine}
        build(plugin.factory, found[name], name)
    return found


def _comparison(
    request: Request,
    model: Model,
    methods: Sequence[str],
    metrics: Sequence[str],
    settings: Mapping[str, dict[str, Any]],
    mask: Any,
    journals: ExitStack,
) -> Comparison:
    from .. import __version__
    from ..engine.comparison import Comparison, identity_of
    from ..engine.evaluate import chosen_metrics

    chosen: list[Chosen] = chosen_metrics([(name, settings[name]) for name in metrics])
    given = {name: settings[name] for name in methods}
    journal = None
    if request.output is not None:
        from ..engine.journal import Journal

        identity = identity_of(model, given, chosen, target=request.target, seed=request.seed, version=__version__)
        journal = Journal(Path(request.output) / JOURNAL, identity, must_exist=request.resume)
        journals.callback(journal.close)
        _tell_journal(journal.known, journal.dropped)
    return Comparison(model, given, chosen, target=request.target, seed=request.seed, mask=mask, journal=journal)


def _tell_journal(known: Mapping[str, Any], dropped: int) -> None:
    if known:
        print_error(f"going on: {len(known)} results are there", "note")
    if dropped:
        print_error(f"{dropped} damaged line{'s' if dropped > 1 else ''} in {JOURNAL}; computed again", "warning")


def _samples(model: Model, inputs: Sequence[str], unread: list[Failure]) -> Iterator[Sample]:
    """Yield the samples of all inputs; what cannot be read is put into ``unread``, and left out."""
    from .. import OnnxplainError
    from ..engine.comparison import Failure
    from ..engine.explain import samples_of
    from ..engine.inputs.load import expand_sources

    for argument in inputs:
        try:
            for source in expand_sources([argument]):
                yield from samples_of(model, source)
        except OnnxplainError as error:
            unread.append(Failure(argument, "", "", error))


def _default_methods(sample: Sample) -> list[str]:
    first = default_method(sample)
    names = [first, BESIDE.get(first, "ablation")]
    print_error(f"using {' and '.join(names)} (choose with -m; there are more: onnxplain methods)", "note")
    return names


def _default_metrics(*, has_mask: bool) -> tuple[str, ...]:
    from ..engine.evaluate import DEFAULT_LOCALISATION, DEFAULT_METRICS

    return (*DEFAULT_METRICS, *(DEFAULT_LOCALISATION if has_mask else ()))


def _mask(request: Request) -> Any:
    if request.box is None:
        return request.mask
    try:
        numbers = tuple(float(part) for part in request.box.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4 or not all(math.isfinite(n) for n in numbers):
        raise SettingError(f"--box takes x0,y0,x1,y1, not '{printable(request.box)}'")
    return numbers


def _end(request: Request, comparison: Comparison, gates: Sequence[Gate], failures: Sequence[Failure]) -> int:
    """Print and write what was found, and return the exit code."""
    from ..engine.metrics.gates import FAILED, PASSED, judged

    scores = comparison.scores()
    verdicts = [verdict for gate in gates for verdict in judged(gate, scores, comparison.controls)]
    document = {
        "model": model_json(comparison.model),
        "target": request.target,
        "seed": request.seed,
        "controls": comparison.controls,
        "scores": [score.to_json() for score in scores],
        "gates": [verdict.to_json() for verdict in verdicts],
        "errors": [_failure_json(failure) for failure in failures],
    }
    files = _write(request, document, scores) if scores else []
    if request.json:
        print_json({**document, "files": [str(file) for file in files]})
    else:
        _show(scores, verdicts, comparison.controls, files)
    _tell_failures(failures)
    if any(verdict.outcome == FAILED for verdict in verdicts):
        return DIFFERS
    if not scores:
        return REFUSED
    is_open = failures or any(verdict.outcome != PASSED for verdict in verdicts)
    return INCOMPLETE if is_open else DONE


def _write(request: Request, document: Mapping[str, Any], scores: Sequence[Score]) -> list[Path]:
    if request.output is None:
        return []
    import json

    from ..engine.render.curves import curves
    from ..engine.render.output import save, write_file
    from .output import SCHEMA_VERSION, finite

    folder = Path(request.output)
    text = json.dumps(finite({"schema_version": SCHEMA_VERSION, **document}), indent=2, allow_nan=False)
    write_file(folder / DOCUMENT, text.encode())
    files = [folder / JOURNAL, folder / DOCUMENT]
    if any(score.curve is not None for score in scores):
        files.append(save(curves(scores), folder / PICTURE))
    return files


def _show(scores: Sequence[Score], verdicts: Sequence[Verdict], controls: Sequence[str], files: Sequence[Path]) -> None:
    click.echo(score_table(scores, controls))
    notes = dict.fromkeys((s.metric, s.method, note) for s in scores if s.method not in controls for note in s.notes)
    if notes:
        click.echo()
    for metric, method, note in notes:
        click.echo(f"note: {printable(metric)} of {printable(method)}: {printable(note)}")
    if verdicts:
        click.echo()
        click.echo(
            table(("gate", "method", "outcome", "why"), [(v.gate, v.method, v.outcome, v.why) for v in verdicts])
        )
    for file in files:
        click.echo(f"wrote {printable(file)}")


def score_table(scores: Sequence[Score], controls: Sequence[str]) -> str:
    """Return the scores as a table, by metric, the best method first."""
    head = ("metric", "better", "", "method", "value", "95 % interval", "samples", "evaluations", "seconds")
    rows, last, place = [], "", 0
    for score in scores:
        place = 1 if score.metric != last else place + 1
        better = {True: "higher", False: "lower", None: ""}[score.higher_is_better]
        is_first = score.metric != last
        known = sum(math.isfinite(v) for v in score.samples)
        rows.append(
            (
                score.metric if is_first else "",
                better if is_first else "",
                str(place) if better and math.isfinite(score.value) else "",
                f"{score.method} (control)" if score.method in controls else score.method,
                f"{score.value:.4g}" if math.isfinite(score.value) else "undefined",
                "" if score.interval is None else f"{score.interval[0]:.4g} to {score.interval[1]:.4g}",
                str(known) if known == len(score.samples) else f"{known} of {len(score.samples)}",
                str(score.evaluations),
                f"{score.seconds:.2f}",
            )
        )
        last = score.metric
    return table(head, rows, right="    r rrr")


def _tell_failures(failures: Sequence[Failure]) -> None:
    """Tell what failed, each reason once with the inputs it happened on."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for failure in failures:
        reasons.setdefault((failure.method, failure.metric, str(failure.error)), []).append(failure.source)
    for (method, metric, text), sources in reasons.items():
        inputs = sources[0] if len(sources) == 1 else f"{len(sources)} inputs"
        about = ", ".join(printable(part) for part in (inputs, method, metric) if part)
        print_error(f"{about}: {text}" if about else text)


def _failure_json(failure: Failure) -> dict[str, Any]:
    return {
        "input": failure.source,
        "method": failure.method,
        "metric": failure.metric,
        "kind": type(failure.error).__name__,
        "message": failure.error.message,
        "where": failure.error.where,
        "tip": failure.error.tip,
    }
