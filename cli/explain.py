"""``onnxplain explain``: the decisions of a model on any number of inputs, by any number of methods."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import printable
from .choices import assignments, choices, default_method
from .completing import complete_methods
from .errors import DONE, INCOMPLETE, REFUSED, about, print_error, trace
from .lazy import command
from .model_argument import model_argument, model_json, open_model
from .output import print_json
from .progress import bar
from .reading import Named, samples_named, text_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..engine.errors import OnnxplainError
    from ..engine.explanation import Explanation
    from ..engine.inputs.sample import Sample
    from ..engine.model import Model
    from .choices import Assignment, Choice
    from .folder import Folder

MODES = ("signed", "centred", "magnitude", "positive", "error", "matrix")
MOST_TOLD = 5  # rows of a file that failed, one by one
SMOOTHERS = ("smoothgrad", "smoothgrad-squared", "vargrad")


@dataclass(frozen=True)
class Request(Named):
    """What the command line asks for; the fields are the options."""

    model: str
    spec: str | None
    device: str
    threads: int | None
    method: tuple[str, ...]
    set: tuple[str, ...]
    budget: str | None
    tolerance: str | None
    baseline: str | None
    features: str | None
    target: str
    wrt: str | None
    smooth: str | None
    seed: int
    output: str | None
    mode: str | None
    format: str | None
    json: bool

    def assignments(self) -> list[Assignment]:
        """Return the settings that were given, by ``--set`` and by the short forms."""
        short = ("budget", "tolerance", "baseline", "features")
        return assignments(self.set, {name: getattr(self, name) for name in short})


@command("explain")
@model_argument
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@text_options
@click.option(
    "-m",
    "--method",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_methods,
    help="Method; may be repeated. Without it: occlusion; for tables and short texts, Shapley values.",
)
@click.option(
    "--set",
    multiple=True,
    metavar="[NAME.]KEY=VALUE",
    help="A setting of method NAME, or of all that have it; see: onnxplain methods NAME. By input: KEY='{x = 3}'.",
)
@click.option("--budget", metavar="N", help="Short for --set budget=N: evaluations of the model.")
@click.option("--tolerance", metavar="T", help="Short for --set tolerance=T: stop at this standard error.")
@click.option("--baseline", metavar="B", help="Short for --set baseline=B: what stands in for what is absent.")
@click.option("--features", metavar="F", help="Short for --set features=F: the parts that values are given to.")
@click.option(
    "-t", "--target", default="top", show_default=True, metavar="T", help="Class, tensor[index] or probability:CLASS."
)
@click.option("--wrt", metavar="TENSOR", help="Explain with respect to this tensor instead of the inputs.")
@click.option(
    "--smooth",
    type=click.Choice(SMOOTHERS),
    help="Average a gradient method over noisy copies; --set smoothgrad.samples=50 and such set how.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of random methods.")
@click.option("-o", "--output", metavar="DIR", help="Folder for arrays (.npz), pictures and a page (index.html).")
@click.option("--mode", type=click.Choice(MODES), help="What pictures show; by default what suits the method.")
@click.option("--format", type=click.Choice(["png", "svg"]), help="Format of the pictures; png if not given.")
@click.option("--json", is_flag=True, help="Print one JSON document instead of text.")
def explain_command(**options: Any) -> int:
    """Explain the decision of MODEL on each INPUT.

    MODEL is an ONNX file or the name of a demonstration model. INPUT is an image, rows of a table or of a table of
    texts (rows.csv:3-7), an array (.npy, .npz), a text (.txt) or its lines as texts (lines.txt:3-7, lines.txt:0-), a
    folder or a pattern; a text can also be given with --text. Where a model takes a text and something else, files
    fill what the text leaves.

    \b
    Examples:
      onnxplain explain model.onnx cat.jpg
      onnxplain explain model.onnx photos/ -m occlusion -m rise -o out
      onnxplain explain model.onnx cat.jpg -m rise --set rise.masks=8000 --target tabby
      onnxplain explain model.onnx rows.csv:0-9 -m kernel-shap --budget 2000 --json
      onnxplain explain model.onnx --text "a wonderful, moving film" -m kernel-shap
      onnxplain explain model.onnx reviews.csv:0-9 -m shapley --text-column body -o out
      onnxplain explain model.onnx reviews.txt:0-9 -m shapley -o out
      onnxplain explain model.onnx --text "A man is asleep." --text-pair "He sleeps." -m shapley
      onnxplain explain model.onnx cat.jpg --text "what is it?" -m shapley
      onnxplain explain digits-cnn "$(onnxplain models samples digits-cnn | head -1)" --target 7
    """
    request = Request(**options)
    request.check()
    for name in ("mode", "format"):
        if getattr(request, name) is not None and request.output is None:
            raise click.UsageError(f"--{name} is about pictures, which are written with -o DIR only")
    if request.output == "":
        raise click.UsageError("-o takes the name of a folder, and the name given is empty")
    return explain(request)


command = explain_command


def explain(request: Request) -> int:
    """Explain each input by each method and return the exit code; a failed one does not stop the rest."""
    given = request.assignments()
    chosen = choices(request.method, given, request.smooth) if request.method else []
    folder = _folder(request)
    model = open_model(request.model, request.spec, request.device, request.threads)
    outcome = Outcome(model, request, folder)
    for sample in outcome.samples():
        if not chosen:
            name = default_method(sample)
            print_error(f"using {name} (choose with -m; there are more: onnxplain methods)", "note")
            chosen = choices([name], given, request.smooth)
        for choice in chosen:
            outcome.explain(sample, choice)
    return outcome.end()


class Outcome:
    """What has been done and what has failed so far, told as it happens."""

    def __init__(self, model: Model, request: Request, folder: Folder | None) -> None:
        self.model = model
        self.request = request
        self.folder = folder
        self.results: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []
        self._done = 0
        self._failures: Counter[tuple[str, str]] = Counter()  # by file and method
        self._said: set[str] = set()
        self._layouts = layouts(model)

    def samples(self) -> Iterator[Sample]:
        """Yield the samples of all inputs; one that cannot be read is told and left out."""
        for sample in samples_named(self.model, self.request, lambda about, e: self._failed(about, "", e)):
            self._say_assumption(sample)
            yield sample

    def explain(self, sample: Sample, choice: Choice) -> None:
        """Explain one sample by one method and show or save the result."""
        from .. import OnnxplainError, explain

        request = self.request
        try:
            with bar(sample.source) as progress:
                explanation = explain(
                    self.model,
                    sample,
                    choice.method,
                    target=request.target,
                    wrt=request.wrt,
                    seed=request.seed,
                    progress=progress,
                    **choice.settings,
                )
        except OnnxplainError as error:
            self._failed(sample.source, choice.method, error)
            return
        self._done += 1
        files = self.folder.add(explanation) if self.folder is not None else []
        if request.json:
            self.results.append({**explanation.to_json(), "files": [str(file) for file in files]})
        else:
            self._show(explanation, files)

    def end(self) -> int:
        """Write what covers all results and return the exit code."""
        for (file, method), count in self._failures.items():
            if count > MOST_TOLD:
                names = ", ".join(printable(part) for part in (file, method) if part)
                print_error(f"{names}: {count - MOST_TOLD:,} more rows failed; --json lists them")
        page = self.folder.finish() if self.folder is not None and self._done else None
        if self.request.json:
            document = {"model": model_json(self.model), "results": self.results, "errors": self.errors}
            print_json({**document, "page": str(page) if page is not None else None})
        elif page is not None:
            click.echo(f"page: {printable(page)}")
        if not self.errors:
            return DONE
        return INCOMPLETE if self._done else REFUSED

    def _failed(self, source: str, method: str, error: OnnxplainError) -> None:
        """Tell what failed; the same reason again takes one line, and of the rows of one file a few are told."""
        self.errors.append(
            {
                "input": source,
                "method": method,
                "kind": type(error).__name__,
                "message": error.message,
                "where": error.where,
                "tip": error.tip,
            }
        )
        trace(error)
        file = re.sub(r":\d+$", "", source)
        self._failures[file, method] += 1
        if self._failures[file, method] > MOST_TOLD:
            return
        told = about(error, source)
        text = str(told)
        if str(error) in self._said:
            text = error.message
        elif self._failures[file, method] > 1 and error.tip in self._said:
            text = str(type(error)(error.message, where=told.where))
        self._said |= {str(error), error.tip}
        names = ", ".join(printable(part) for part in (source, method) if part)
        print_error(f"{names}: {text}" if names else text)

    def _show(self, explanation: Explanation, files: Sequence[Any]) -> None:
        from .summary import summary

        click.echo(summary(explanation, self._layouts))
        for file in files:
            click.echo(f"  wrote {printable(file)}")
        click.echo()

    def _say_assumption(self, sample: Sample) -> None:
        if sample.preprocessing.get("assumed") and "assumed" not in self._said:
            self._said.add("assumed")
            chosen = sample.preprocessing
            print_error(
                "how images are prepared is not known for this model; a first guess is taken: "
                f"{chosen['colour']}, pixels times {chosen['scale']:.3g}\n"
                "  tip: onnxplain inspect MODEL --write-spec, then check the file that it writes",
                "warning",
            )


def layouts(model: Model) -> dict[str, str]:
    """Return a letter per axis of each input, from the model's spec or inferred."""
    return {name: entry.layout for name, entry in model.spec.inputs.items()}


def _folder(request: Request) -> Folder | None:
    if request.output is None:
        return None
    from .folder import Folder

    return Folder.open(request.output, mode=request.mode, picture=request.format or "png")
