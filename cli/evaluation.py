"""What is printed and written of an evaluation: ranked tables, gates, notes; a document, a page and a picture."""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import printable
from .errors import DIFFERS, DONE, INCOMPLETE, REFUSED, about, print_error, trace
from .model_argument import model_json
from .output import SCHEMA_VERSION, finite, heading, print_json, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..engine.evaluation.comparison import Comparison, Failure
    from ..engine.metrics.gates import Gate
    from ..engine.metrics.score import Score
    from .evaluate import Request

JOURNAL = "results.jsonl"
DOCUMENT = "evaluation.json"
PAGE = "evaluation.html"
PICTURE = "curves.png"
WIDTH = 80  # of text that goes into a file or a pipe
HEAD = ("", "method", "value", "95 % interval", "inputs", "rows", "seconds")
RIGHT = "r r rrr"
NEEDED = 4  # columns that are shown however narrow the terminal is


@dataclass(frozen=True)
class Outcome:
    """What a comparison found, the gates that are set on it, and what could not be done."""

    comparison: Comparison
    gates: Sequence[Gate]
    failures: Sequence[Failure]

    def end(self, request: Request) -> int:
        """Print and write what was found, and return the exit code."""
        from ..engine.metrics.gates import FAILED, PASSED, judged

        scores, controls = self.comparison.scores(), self.comparison.controls
        verdicts = [verdict for gate in self.gates for verdict in judged(gate, scores, controls)]
        document = {
            "model": model_json(self.comparison.model),
            "target": request.target,
            "seed": request.seed,
            "controls": controls,
            "scores": [score.to_json() for score in scores],
            "gates": [verdict.to_json() for verdict in verdicts],
            "errors": [failure.to_json() for failure in self.failures],
        }
        own = [score for score in scores if score.method not in controls]
        writes = bool(own) and request.output is not None
        files = self._write(Path(request.output or ""), document, scores, verdicts) if writes else []
        if request.json:
            print_json({**document, "files": [str(file) for file in files]})
        elif own:
            click.echo("\n".join(shown(scores, controls)))
            if verdicts:
                rows = [(v.gate, v.method, v.outcome, v.why) for v in verdicts]
                click.echo(f"\n{table(('gate', 'method', 'outcome', 'why'), rows)}")
            for file in files:
                click.echo(f"wrote {printable(file)}")
        _tell(self.failures)
        if any(verdict.outcome == FAILED for verdict in verdicts):
            return DIFFERS
        if not own:
            return REFUSED
        is_open = self.failures or any(verdict.outcome != PASSED for verdict in verdicts)
        is_open = is_open or any(math.isnan(score.value) for score in own)
        return INCOMPLETE if is_open else DONE

    def _write(
        self, folder: Path, document: Mapping[str, Any], scores: Sequence[Score], verdicts: Sequence[Any]
    ) -> list[Path]:
        from ..engine.render import page, save
        from ..engine.render.curves import curves
        from ..engine.render.evaluation import evaluation_sections
        from ..engine.render.output import write_file

        text = json.dumps(finite({"schema_version": SCHEMA_VERSION, **document}), indent=2, allow_nan=False)
        write_file(folder / DOCUMENT, text.encode())
        model = document["model"]
        facts = {"model": model["path"], "model digest": model["digest"], "device": model["device"]}
        facts |= {"target": document["target"], "seed": document["seed"]}
        controls = self.comparison.controls
        parts = evaluation_sections(scores, controls, verdicts, self.failures, facts)
        files = [folder / JOURNAL, folder / DOCUMENT]
        files.append(page("Which explanation can be believed", parts, folder / PAGE, lead=_lead(scores, controls)))
        if any(score.curve is not None for score in scores):
            files.append(save(curves(scores), folder / PICTURE))
        return files


def shown(scores: Sequence[Score], controls: Sequence[str]) -> list[str]:
    """Return the lines of the terminal: by metric what it means, the methods with the best first, and notes."""
    from ..engine.metrics import wording

    width = _width()
    head, *rows = _ranked(scores, controls, width)
    lines: list[str] = []
    for metric, mine in wording.by_metric(scores):
        opening = textwrap.wrap(f"{metric}: {wording.meaning(metric)} ({wording.ends(mine[0])})", width or WIDTH)
        lines += [heading(metric) + opening[0].removeprefix(metric), *opening[1:], head]
        lines += [rows.pop(0) for _ in mine]
        lines += _matrix(*wording.agreement(mine, controls), width)
        for note, methods in wording.notes(mine, controls).items():
            text = f"note: {', '.join(methods)}: {printable(note)}"
            lines += textwrap.wrap(text, width or WIDTH, initial_indent="  ", subsequent_indent="    ")
        lines.append("")
    if any(len(score.samples) == 1 for score in scores):
        lines += ["note: one input has no interval; those of several are over inputs", ""]
    return lines[:-1]


def _width() -> int:
    """Return the columns of the terminal, 0 where stdout is none."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else 0


def _ranked(scores: Sequence[Score], controls: Sequence[str], width: int) -> list[str]:
    """Return the head and a line per score; on a narrow terminal without the last columns."""
    from ..engine.metrics import wording

    places = [place for _, mine in wording.by_metric(scores) for place in wording.places(mine)]
    rows = [wording.line(place, score, controls) for place, score in zip(places, scores, strict=True)]
    for columns in range(len(HEAD), NEEDED - 1, -1):
        lines = table(HEAD[:columns], [row[:columns] for row in rows], right=RIGHT).split("\n")
        if not width or max(map(len, lines)) <= width:
            break
    return lines


def _matrix(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return how alike methods are, each with each; on a terminal that is too narrow, where to find it."""
    lines = table(head, rows, indent=2, right=" " + "r" * len(head)).split("\n") if rows else []
    if width and max(map(len, lines), default=0) > width:
        return ["  how alike methods are, each with each: on the page of -o DIR"]
    return ["", *lines] if lines else []


def _lead(scores: Sequence[Score], controls: Sequence[str]) -> str:
    methods = [name for name in dict.fromkeys(score.method for score in scores) if name not in controls]
    count = max(len(score.samples) for score in scores)
    over = "one input, which has no intervals" if count == 1 else f"{count} inputs; intervals are over them, at 95 %"
    return f"{', '.join(methods)} beside the controls {' and '.join(controls) or '(none)'}, on {over}."


def _tell(failures: Sequence[Failure]) -> None:
    """Tell what failed, each reason once with what it happened to."""
    reasons: dict[tuple[str, str], list[Failure]] = {}
    for failure in failures:
        reasons.setdefault((failure.metric, str(failure.error)), []).append(failure)
    for (metric, _), mine in reasons.items():
        sources, methods = (list(dict.fromkeys(getattr(f, name) for f in mine)) for name in ("source", "method"))
        inputs = sources[0] if len(sources) == 1 else f"{len(sources)} inputs"
        names = ", ".join(printable(part) for part in (inputs, *methods, metric) if part)
        trace(mine[0].error)
        told = about(mine[0].error, inputs)
        print_error(f"{names}: {told}" if names else str(told))
