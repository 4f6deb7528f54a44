"""``onnxplain explain``: the decisions of a model on any number of inputs, by any number of methods."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..engine.errors import printable
from .choices import assignments, choices, default_method
from .completing import complete_methods
from .errors import DONE, INCOMPLETE, REFUSED, print_error
from .lazy import command
from .model_argument import model_argument, model_json, open_model
from .output import print_json
from .progress import bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..engine.errors import OnnxplainError
    from ..engine.explanation import Explanation
    from ..engine.inputs.sample import Sample
    from ..engine.inputs.text import Text
    from ..engine.model import Model
    from .choices import Assignment, Choice
    from .folder import Folder

Read = TypeVar("Read")
MODES = ("signed", "centred", "magnitude", "positive", "error")
SMOOTHERS = ("smoothgrad", "smoothgrad-squared", "vargrad")


@dataclass(frozen=True)
class Request:
    """What the command line asks for; the fields are the options."""

    model: str
    spec: str | None
    device: str
    threads: int | None
    inputs: tuple[str, ...]
    text: tuple[str, ...]
    tokenizer: str | None
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
@click.option("--text", multiple=True, metavar="TEXT", help="A text to be explained, as an INPUT; may be repeated.")
@click.option("--tokenizer", metavar="FILE", help="The tokenizer.json for texts, if it is not beside MODEL.")
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

    MODEL is an ONNX file or the name of a demonstration model. INPUT is an image, rows of a table (rows.csv:3-7), an
    array (.npy, .npz), a text (.txt), a folder or a pattern; a text can also be given with --text.

    \b
    Examples:
      onnxplain explain model.onnx cat.jpg
      onnxplain explain model.onnx photos/ -m occlusion -m rise -o out
      onnxplain explain model.onnx cat.jpg -m rise --set rise.masks=8000 --target tabby
      onnxplain explain model.onnx rows.csv:0-9 -m kernel-shap --budget 2000 --json
      onnxplain explain model.onnx --text "a wonderful, moving film" -m kernel-shap
      onnxplain explain digits-cnn "$(onnxplain models samples digits-cnn | head -1)" --target 7
    """
    request = Request(**options)
    if not request.inputs and not request.text:
        raise click.UsageError("Missing argument 'INPUT...': name a file, or give a text with --text.")
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
        self._said: set[str] = set()
        self._layouts = layouts(model)

    def samples(self) -> Iterator[Sample]:
        """Yield the samples of all inputs; one that cannot be read is told and left out."""
        from ..engine.inputs.load import expand_sources
        from ..engine.inputs.text import Text, name_of

        for text in self.request.text:
            given = Text(text, self.request.tokenizer)
            yield from self._attempt(name_of(text), partial(self._read, given))
        for argument in self.request.inputs:
            for source in self._attempt(argument, partial(expand_sources, [argument])):
                for sample in self._attempt(source, partial(self._read, source)):
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
        page = self.folder.finish() if self.folder is not None and self._done else None
        if self.request.json:
            document = {"model": model_json(self.model), "results": self.results, "errors": self.errors}
            print_json({**document, "page": str(page) if page is not None else None})
        elif page is not None:
            click.echo(f"page: {printable(page)}")
        if not self.errors:
            return DONE
        return INCOMPLETE if self._done else REFUSED

    def _read(self, source: str | Text) -> list[Sample]:
        from ..engine.explain import samples_of

        return list(samples_of(self.model, source, self.request.tokenizer))

    def _attempt(self, source: str, read: Callable[[], list[Read]]) -> list[Read]:
        from .. import OnnxplainError

        try:
            return read()
        except OnnxplainError as error:
            self._failed(source, "", error)
            return []

    def _failed(self, source: str, method: str, error: OnnxplainError) -> None:
        """Tell what failed; the same reason again takes one line."""
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
        text = str(error) if str(error) not in self._said else error.message
        self._said.add(str(error))
        about = ", ".join(printable(part) for part in (source, method) if part)
        print_error(f"{about}: {text}" if about else text)

    def _show(self, explanation: Explanation, files: Sequence[Any]) -> None:
        from .summary import summary

        click.echo(summary(explanation, self._layouts))
        for file in files:
            click.echo(f"  wrote {printable(file)}")
        click.echo()

    def _say_assumption(self, sample: Sample) -> None:
        if sample.preprocessing.get("assumed") and "assumed" not in self._said:
            self._said.add("assumed")
            print_error(
                "how images are prepared is not known for this model; pixels are scaled to its first guess\n"
                "  tip: onnxplain inspect MODEL --write-spec, then check the file that it writes",
                "warning",
            )


def layouts(model: Model) -> dict[str, str]:
    """Return a letter per axis of each input, from the model's spec or inferred."""
    from ..engine.spec import complete_spec

    return {name: entry.layout for name, entry in complete_spec(model.spec, model.inputs).inputs.items()}


def _folder(request: Request) -> Folder | None:
    if request.output is None:
        return None
    from .folder import Folder

    return Folder.open(request.output, mode=request.mode, picture=request.format or "png")
