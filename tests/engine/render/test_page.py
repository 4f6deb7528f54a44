import base64
import dataclasses
import hashlib
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from onnxplain.engine.errors import InputError
from onnxplain.engine.render import PageSection, page, png, section

HOSTILE = "<img src=x onerror=alert(1)></script><!-- ' \" & \x1b[31m \u202e"


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, whole):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(whole)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def written(tmp_path, sections, title="Explanations", **options):
    whole = page(title, sections, tmp_path / "index.html", **options).read_text(encoding="utf-8")
    return whole, Elements(whole)


@pytest.fixture
def square():
    packed = io.BytesIO()
    Image.new("RGB", (300, 150)).save(packed, "PNG", dpi=(150, 150))
    return packed.getvalue()


def test_pictures_lie_in_the_page_as_large_as_their_inches(tmp_path, square):
    _, found = written(tmp_path, [PageSection("a", ("text",), square)])
    (image,) = found.all("img")
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == square
    assert (image["width"], image["height"]) == ("192", "96")
    assert image["alt"] == "a text"


def test_nothing_is_asked_from_elsewhere_and_no_script_may_run(tmp_path, square):
    whole, found = written(tmp_path, [PageSection("a", (), square)] * 3)
    (policy,) = [m["content"] for m in found.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    style = re.search(r"<style>(.*?)</style>", whole, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert not found.all("script") + found.all("link") + found.all("iframe")
    assert "url(" not in style
    assert "@import" not in style
    assert {a["href"][0] for a in found.all("a")} == {"#"}
    assert not re.findall(r"\sstyle=|\son\w+=", re.sub(r"<style>.*?</style>", "", whole, flags=re.DOTALL))


def test_hostile_texts_are_harmless_wherever_they_stand(tmp_path, square):
    part = PageSection(HOSTILE, (HOSTILE,), square, {HOSTILE: HOSTILE, "list": [HOSTILE]}, HOSTILE)
    whole, found = written(tmp_path, [part] * 3, title=HOSTILE, lead=HOSTILE)
    assert len(found.all("img")) == 3
    assert all(set(image) == {"src", "width", "height", "alt"} for image in found.all("img"))
    assert not found.all("script")
    assert "\x1b" not in whole
    assert "\u202e" not in whole
    shown = HOSTILE.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    assert found.text.count(shown) >= 3 * 4
    assert found.all("img")[0]["alt"] == shown


def test_braces_in_texts_are_no_templates(tmp_path):
    _, found = written(tmp_path, [PageSection("{title} {0} {{x}}", ("{style.__class__}",), facts={"{a}": "{b}"})])
    assert "{title} {0} {{x}}" in found.text
    assert "{style.__class__}" in found.text


def test_facts_are_written_to_be_read(tmp_path):
    facts = {"rows": 12345, "score": 0.123456789, "small": np.float32(0.5), "on": True, "array": np.zeros((2, 3))}
    whole, _ = written(tmp_path, [PageSection("a", facts=facts)])
    cells = re.findall(r"<td>(.*?)</td>", whole)
    assert cells == ["12,345", "0.123457", "0.5", "True", "array of shape [2, 3]"]


def test_section_of_an_explanation_says_what_was_found(of_table, tmp_path):
    noted = dataclasses.replace(of_table, notes=("a note",), settings={"budget": 32}, seconds=0.25)
    part = section(noted, ("before",))
    assert part.title == "exact-shapley: churn (1), score 1.75"
    assert part.text == ("before", "a note")
    assert part.facts["score"] == 1.75
    assert part.facts["setting budget"] == 32
    assert part.facts["input"] == "rows.csv:3"
    assert "visits +2" in part.alternative
    assert part.png == png(noted, title=False)
    _, found = written(tmp_path, [part])
    assert "a note" in found.text


def test_command_line_knows_its_own_page_by_its_end(tmp_path):
    whole, _ = written(tmp_path, [])
    assert "Written by onnxplain" in whole[-500:]


def test_what_is_no_png_is_refused_and_the_old_page_stays(tmp_path, square):
    written(tmp_path, [PageSection("old", (), square)])
    with pytest.raises(InputError, match="section 'new' is not a PNG"):
        written(tmp_path, [PageSection("new", (), b"GIF89a")])
    assert "old" in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["index.html"]
