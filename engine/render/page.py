"""One HTML file of pictures and facts: no scripts, no requests, every text escaped."""

from __future__ import annotations

import base64
import hashlib
import html
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, printable
from ..marked_text import marked_text
from ..settings import plain
from .matrix import MATRIX
from .output import png, write_file
from .passage import Passage, html_of, passage_of, says_more
from .passage import style as shades
from .wording import heading, number, short, target_name

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from ..explanation import Explanation

CSS_INCH = 96  # pixels of a style sheet per inch
LONGEST_FACT = 400
CELL_DIGITS = 4
SHOWN_FEATURES = 10


@dataclass(frozen=True)
class PageTable:
    """A table of a page: a caption, a head, and lines of cells, numbers or text (None: not known)."""

    caption: str
    head: tuple[str, ...]
    lines: Sequence[Sequence[Any]]


@dataclass(frozen=True, eq=False)
class PageSection:
    """A part of a page: title, paragraphs, a PNG picture (empty for none), tables, and facts, name by value.

    ``alternative`` is what is read where the picture cannot be seen; the title and text by default. ``passages`` are
    texts with coloured words (see ``passage``), each with a name or none, whose colours mean what ``meaning`` says.
    """

    title: str
    text: tuple[str, ...] = ()
    png: bytes = b""
    facts: Mapping[str, Any] = field(default_factory=dict)
    alternative: str = ""
    passages: tuple[tuple[str, Passage], ...] = ()
    meaning: str = ""
    tables: tuple[PageTable, ...] = ()


def section(explanation: Explanation, text: Sequence[str] = (), **options: Any) -> PageSection:
    """Return the part of a page about one explanation, drawn with ``options`` as in ``figure``."""
    facts: dict[str, Any] = {
        "method": explanation.method,
        "target": target_name(explanation),
        "score": explanation.score,
    }
    if explanation.baseline_score is not None:
        facts["baseline score"] = explanation.baseline_score
    if explanation.gap is not None:
        facts["completeness gap"] = explanation.gap
    facts["model evaluations"] = explanation.evaluations
    facts["seconds"] = explanation.seconds
    facts |= {f"setting {name}": value for name, value in explanation.settings.items() if value is not None}
    if explanation.sample is not None and explanation.sample.source:
        facts["input"] = explanation.sample.source
    for name in ("provider", "seed", "model_digest"):
        if explanation.manifest.get(name) is not None:
            facts[name.replace("_", " ")] = explanation.manifest[name]
    strong = explanation.top_features(SHOWN_FEATURES)
    listed = ", ".join(f"{short(name)} {number(value, sign=True)}" for name, value in strong[:5])
    marked = None if "input_name" in options or options.get("mode") == MATRIX else marked_text(explanation)
    passage, meaning = passage_of(explanation, marked, options.get("mode")) if marked is not None else ((), "")
    if passage and explanation.sample is not None and explanation.sample.image_input:
        options["input_name"] = explanation.sample.image_input  # its words are on the page already
    return PageSection(
        passages=(("", passage),) if passage else (),
        meaning=meaning,
        title=heading(explanation),
        text=(*text, *explanation.notes),
        png=b"" if passage and not says_more(explanation) else png(explanation, **({"title": False} | options)),
        facts=facts,
        alternative=f"Picture of {heading(explanation)}." + (f" Strongest: {listed}." if listed else ""),
    )


def page(title: str, sections: Sequence[PageSection], path: str | os.PathLike[str], *, lead: str = "") -> Path:
    """Write one self-contained HTML file with a part per section; ``lead`` goes below the title. Returns its path.

    Raises ``InputError`` where it cannot be written, or a section's picture is not a PNG file.
    """
    whole = Path(path)
    style = _STYLE.strip() + (f"\n{shades()}" if any(part.passages for part in sections) else "")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    write_file(
        whole,
        _PAGE.format(
            policy=_POLICY.format(digest=digest),
            style=style,
            title=_safe(title),
            lead=f"<p>{_safe(lead)}</p>" if lead else "",
            contents=_contents(sections),
            sections="\n".join(_section(place, part) for place, part in enumerate(sections, 1)),
        ).encode(),
    )
    return whole


def _contents(sections: Sequence[PageSection]) -> str:
    if len(sections) < 3:
        return ""
    entries = "".join(f'<li><a href="#part-{k}">{_safe(s.title)}</a></li>' for k, s in enumerate(sections, 1))
    return f'<nav aria-label="Contents"><ol>{entries}</ol></nav>'


def _section(place: int, part: PageSection) -> str:
    text = "".join(f"<p>{_safe(line)}</p>" for line in part.text)
    picture = _picture(part) + (html_of(part.passages, part.meaning) if part.passages else "")
    beside = "".join(map(_table, part.tables)) + _facts(part.facts)
    return _SECTION.format(place=place, title=_safe(part.title), text=text, picture=picture, facts=beside)


def _picture(part: PageSection) -> str:
    if not part.png:
        return ""
    width, height = _size(part)
    alternative = _safe(part.alternative or " ".join([part.title, *part.text]))
    data = base64.b64encode(part.png).decode()
    image = f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" alt="{alternative}">'
    return f"<figure>{image}</figure>"


def _size(part: PageSection) -> tuple[int, int]:
    """Return width and height of the picture in CSS pixels, as large as its inches."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(part.png), formats=("PNG",)) as picture:
            dpi = float(picture.info.get("dpi", (CSS_INCH, CSS_INCH))[0]) or CSS_INCH
            return round(picture.width * CSS_INCH / dpi), round(picture.height * CSS_INCH / dpi)
    except (UnidentifiedImageError, OSError):
        raise InputError(f"the picture of section '{printable(part.title)}' is not a PNG file") from None


def _facts(facts: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_safe(name)}</th><td>{_safe(_spelled(v))}</td></tr>' for name, v in facts.items()
    )
    return f"<table><tbody>{rows}</tbody></table>" if rows else ""


def _table(one: PageTable) -> str:
    head = "".join(f'<th scope="col">{_safe(name)}</th>' for name in one.head)
    lines = "".join("<tr>" + "".join(f"<td>{_safe(_cell(v))}</td>" for v in line) + "</tr>" for line in one.lines)
    caption = f"<caption>{_safe(one.caption)}</caption>" if one.caption else ""
    return f'<table class="list">{caption}<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return number(value, CELL_DIGITS) if isinstance(value, float) else _spelled(value)


def _spelled(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return number(float(value), 6)
    if isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_):
        return f"{value:,}"
    if isinstance(value, np.ndarray):
        return f"array of shape {list(value.shape)}"
    text = str(plain(value)) if not isinstance(value, str) else value
    return text if len(text) <= LONGEST_FACT else text[: LONGEST_FACT - 1] + "…"


def _safe(text: object) -> str:
    """Escape a text from outside: markup, control and bidirectional characters."""
    return html.escape(printable(text), quote=True)


_POLICY = "default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"

# The footer's first words are how the command line knows a page that it may overwrite.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1>{lead}</header>
{contents}
<main>
{sections}
</main>
<footer><p>Written by onnxplain. This file loads nothing from elsewhere.</p></footer>
</body>
</html>
"""

_SECTION = """<section id="part-{place}" aria-labelledby="title-{place}">
<h2 id="title-{place}">{title}</h2>
{text}{picture}{facts}
</section>"""

_STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1f2328; --muted: #59636e; --rule: #d8dee4; --ground: #f6f7f9; --card: #ffffff; --link: #1f5fa8;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --muted: #9aa4b0; --rule: #333b45; --ground: #12161b; --card: #1a2027; --link: #7db4f0; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 3rem 1.25rem 2rem; max-width: 66rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere;
}
header { margin-bottom: 2rem; }
h1 { margin: 0 0 .5rem; font-size: 2rem; line-height: 1.2; letter-spacing: -.015em; font-weight: 650; }
h2 { margin: 0 0 .75rem; font-size: 1.25rem; line-height: 1.3; letter-spacing: -.005em; font-weight: 600; }
p { margin: 0 0 .75rem; max-width: 44rem; }
header p { color: var(--muted); font-size: 1.0625rem; }
a { color: var(--link); text-underline-offset: .15em; }
nav ol { margin: 0 0 2rem; padding: 0 0 0 1.4rem; columns: 20rem; column-gap: 2.5rem; }
nav li { break-inside: avoid; padding: .1rem 0; }
nav li::marker { color: var(--muted); font-variant-numeric: tabular-nums; }
section {
  margin: 0 0 1.75rem; padding: 1.5rem; background: var(--card); border: 1px solid var(--rule); border-radius: .625rem;
}
figure { margin: 1rem 0; padding: .25rem; background: #ffffff; border: 1px solid var(--rule); border-radius: .375rem; }
figure img { display: block; margin: 0 auto; max-width: 100%; height: auto; }
table { width: 100%; margin-top: 1rem; border-collapse: collapse; font-size: .875rem; line-height: 1.45; }
th, td { padding: .375rem .75rem .375rem 0; border-top: 1px solid var(--rule); text-align: left; vertical-align: top; }
th { width: 14rem; color: var(--muted); font-weight: 500; }
td { font-variant-numeric: tabular-nums; }
.list th { width: auto; }
caption { padding: .5rem 0; color: var(--muted); text-align: left; }
footer { margin-top: 2.5rem; color: var(--muted); font-size: .875rem; }
@media (max-width: 40rem) {
  body { padding-top: 1.5rem; }
  section { padding: 1rem; }
  th { width: 40%; }
}
@media print {
  body { background: none; max-width: none; }
  section { break-inside: avoid; border: 0; padding: 0; }
}
"""
