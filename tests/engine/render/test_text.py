"""Pictures of texts: colours that start at white, letters that can be read on them, lines that fit, text escaped."""

import dataclasses
import re
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from onnxplain import Explanation, InputError, Sample, SettingError
from onnxplain.engine.inputs.sample import SplitText
from onnxplain.engine.inputs.text_parts import words_in
from onnxplain.engine.palette import DARK, WHITE, ink_on, luminance, shade
from onnxplain.engine.render import PageSection, page, section, side_by_side, text_in_common, texts_section
from onnxplain.engine.render.output import png, svg
from onnxplain.engine.render.reading_order import in_sight, is_from_right

TEXT = "A <b>wonderful</b>, moving \"film\" & 'more' $x^2$ </span> \x1b[31m \u202e end"


def explanation(text=TEXT, values=None, method="kernel-shap", errors=None):
    spans = words_in(text)
    words = tuple(text[a:z] for a, z in spans)
    found = np.linspace(-1, 1, len(words)) if values is None else np.asarray(values, dtype=float)
    feed = np.array([[text]], dtype=object)
    sample = Sample({"t": feed}, "text", '"x"', texts=(SplitText("t", text, words, spans),))
    return Explanation(
        {"t": np.array([[found.sum()]])},
        method,
        {},
        "1",
        1.5,
        label="positive",
        feature_values=found,
        feature_errors=errors,
        feature_names=words,
        feature_labels={"t": np.arange(len(words)).reshape(1, 1, -1)},
        sample=sample,
    )


def boxes_of(figure):
    return [artist for artist in figure.artists if isinstance(artist, Rectangle)]


def letters_of(figure):
    return [t for t in figure.texts if t.get_fontsize() == 11.0]


def test_strongest_words_get_the_ends_of_the_colours_and_zero_stays_white():
    figure = explanation("down nothing up", [-2.0, 0.0, 2.0]).plot()
    low, none, high = [tuple(round(255 * c) for c in box.get_facecolor()[:3]) for box in boxes_of(figure)]
    assert (low, none, high) == (shade(-1), WHITE, shade(1))
    assert [t.get_text() for t in letters_of(figure)] == ["down", "nothing", "up"]


def test_colours_are_symmetric_around_zero_also_where_all_values_are_positive():
    figure = explanation("one two", [1.0, 4.0]).plot()
    weak, strong = [box.get_facecolor()[:3] for box in boxes_of(figure)]
    assert np.allclose(np.array(weak) * 255, shade(0.25), atol=1.5)
    assert np.allclose(np.array(strong) * 255, shade(1.0), atol=1.5)


def test_rise_is_drawn_relative_to_its_mean():
    figure = explanation("one two", [1.0, 2.0], "rise").plot()
    assert [tuple(round(255 * c) for c in b.get_facecolor()[:3]) for b in boxes_of(figure)] == [shade(-1), shade(1)]


@pytest.mark.parametrize("share", np.linspace(-1, 1, 41))
def test_letters_stand_out_on_every_shade(share):
    colour = shade(share)
    lights = sorted([luminance(colour), luminance(ink_on(colour))])
    assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 3.9
    assert ink_on(WHITE) == DARK


def test_words_lie_within_the_sheet_and_do_not_overlap():
    text = " ".join(f"word{k} and, so on; {'x' * (k % 13)}-tail." for k in range(60)) + " " + "y" * 400
    figure = explanation(text).plot()
    rows = {}
    for box in boxes_of(figure):
        x, y = box.get_xy()
        assert 0 <= x < x + box.get_width() <= 1
        rows.setdefault(round(y, 5), []).append((x, x + box.get_width()))
    assert len(rows) > 10
    for spans in rows.values():
        ordered = sorted(spans)
        assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(ordered))
    assert "".join(t.get_text() for t in letters_of(figure)).count("y" * 3) > 0


def test_long_text_is_drawn_in_full_and_a_very_long_one_in_part():
    whole = explanation("word " * 500).plot()
    assert len(letters_of(whole)) == 500
    part = explanation("word " * 20_000).plot()
    assert len(letters_of(part)) < 20_000
    assert any("rest of the text is not drawn" in t.get_text() for t in part.texts)
    assert part.get_figheight() < 60


def test_line_breaks_of_the_text_are_kept():
    figure = explanation("one\ntwo\n\nthree").plot()
    assert len({round(box.get_xy()[1], 5) for box in boxes_of(figure)}) == 3


def test_svg_holds_the_words_as_text_and_no_markup_of_theirs():
    drawn = svg(explanation()).decode()
    assert ">wonderful</text>" in drawn
    assert "<b>" not in drawn
    assert "\x1b" not in drawn
    assert "$x" not in drawn or "x^2" not in re.findall(r"<text[^>]*>[^<]*</text>", drawn)[0]


def test_same_explanation_gives_the_same_bytes():
    assert png(explanation()) == png(explanation())
    assert svg(explanation()) == svg(explanation())


def test_standard_errors_can_be_drawn_and_are_asked_for_only_where_they_are():
    errors = np.linspace(0, 1, len(words_in(TEXT)))
    assert explanation(errors=errors).plot(mode="error") is not None
    with pytest.raises(SettingError, match="no standard error"):
        explanation().plot(mode="error")
    with pytest.raises(SettingError, match="too narrow"):
        explanation().plot(size=(1, 1))
    with pytest.raises(InputError, match="nan"):
        explanation("a b", [np.nan, 1]).plot()


def test_page_shows_the_words_as_spans_with_every_character_escaped(tmp_path):
    found = section(explanation(errors=np.full(len(words_in(TEXT)), 0.5)))
    assert isinstance(found, PageSection)
    assert found.png == b""
    text = page("Texts", [found], tmp_path / "p.html").read_text(encoding="utf-8")
    passage = re.search(r'<p class="passage" dir="auto">(.*?)</p>', text, re.DOTALL)[1]
    assert re.sub(r"</?span[^>]*>", "", passage).startswith("A &lt;b&gt;wonderful&lt;/b&gt;, moving &quot;film&quot;")
    assert "\\x1b" in passage
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert 'title="−1 ± 0.5"' in passage
    classes = set(re.findall(r'class="((?:raises|lowers)\d+)"', passage))
    assert {"raises20", "lowers20"} <= classes
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert all(f".{name} {{" in style for name in classes)
    assert "style=" not in text.replace("style-src", "")
    assert "<script" not in text


def test_page_falls_back_to_the_picture_where_the_mode_has_no_sign(tmp_path):
    found = section(explanation(errors=np.ones(len(words_in(TEXT)))), mode="error")
    assert found.png.startswith(b"\x89PNG")
    assert 'class="passage"' not in page("Texts", [found], tmp_path / "p.html").read_text(encoding="utf-8")


def test_shades_get_darker_with_the_value():
    lights = [luminance(shade(share)) for share in np.linspace(0, 1, 30)]
    assert all(a > b for a, b in pairwise(lights))


def together():
    """Three explanations of one text: the same values at another scale, and of a method that has its own."""
    values = np.array([-1.0, 0.0, 2.0])
    return [explanation("down nothing up", values * scale, method) for scale, method in METHODS]


METHODS = ((1, "kernel-shap"), (10, "occlusion"), (1, "rise"))


def test_several_methods_are_passages_under_each_other_each_on_its_own_scale():
    figure = side_by_side(together())
    said = [t.get_text() for t in figure.texts]
    assert [text for text in said if text in {"kernel-shap", "occlusion", "rise"}] == [
        "kernel-shap",
        "occlusion",
        "rise",
    ]
    assert [t.get_text() for t in letters_of(figure)] == ["down", "nothing", "up"] * 3
    rows = [boxes_of(figure)[start : start + 3] for start in (0, 3, 6)]
    colours = [[box.get_facecolor()[:3] for box in row] for row in rows]
    assert colours[0] == colours[1]
    assert tuple(round(255 * c) for c in colours[0][2]) == shade(1)
    assert tuple(round(255 * c) for c in colours[2][0]) != WHITE  # relative to the mean of 1/3
    tops = [row[0].get_y() for row in rows]
    assert tops == sorted(tops, reverse=True)
    assert all(box.get_y() >= 0 and box.get_y() + box.get_height() <= 1 for row in rows for box in row)
    assert any("colours end at ±20" in text for text in said)
    assert png(figure)


def test_page_shows_the_text_once_for_each_method(tmp_path):
    found = together()
    part = texts_section(found, text_in_common(found))
    assert [name for name, _ in part.passages] == ["kernel-shap", "occlusion", "rise"]
    assert [[place for _, place, _ in passage if place is not None] for _, passage in part.passages[:2]] == [
        [-10, 0, 20]
    ] * 2
    written = page("t", [part], tmp_path / "p.html").read_text()
    assert written.count('<p class="passage"') == 3
    assert '<p class="of">occlusion</p>' in written
    assert "occlusion ±20" in written


def test_other_texts_and_texts_beside_something_else_are_not_put_together():
    first, second = explanation("one two", [1.0, 2.0]), explanation("one three", [1.0, 2.0])
    assert text_in_common([first, second]) == []
    beside = dataclasses.replace(first, values={**first.values, "row": np.ones((1, 2))})
    assert text_in_common([first, beside]) == []
    with pytest.raises(SettingError, match="same features"):
        side_by_side([first, second])


def test_long_texts_share_the_room():
    figure = side_by_side([explanation("word " * 900)] * 3)
    assert "rest of the text is not drawn" in " ".join(t.get_text() for t in figure.texts)
    assert figure.get_size_inches()[1] < 60


@pytest.mark.parametrize(
    ("reading", "seen"),
    [
        ("a b c", "a b c"),
        ("\u05d0 \u05d1 \u05d2", "\u05d2 \u05d1 \u05d0"),
        ("\u05d0 a b \u05d1", "\u05d1 a b \u05d0"),
        ("a \u05d0 \u05d1 b", "a \u05d1 \u05d0 b"),
        ("\u05d0 12 a b", "a b 12 \u05d0"),
        ("\u05d0 a 12 \u05d1", "\u05d1 a 12 \u05d0"),
        ("\u05d0 a , \u05d1", "\u05d1 , a \u05d0"),
        ("! \u05d0 ?", "? \u05d0 !"),
    ],
)
def test_words_stand_in_the_order_of_the_bidirectional_algorithm(reading, seen):
    # With the space between them; as python-bidi's get_display gives it, letter by letter.
    runs = [part for word in reading.split(" ") for part in (word, " ")][:-1]
    order = in_sight(runs, from_right=is_from_right(reading))
    assert "".join(runs[k] for k in order) == seen


def test_text_from_the_right_begins_at_the_right_edge():
    figure = explanation("\u05d0\u05d1 film \u05d2", [2.0, 1.0, -1.0]).plot()
    first, second, third = boxes_of(figure)
    assert first.get_x() < second.get_x() < third.get_x()
    assert tuple(round(255 * c) for c in third.get_facecolor()[:3]) == shade(1)
    assert third.get_x() + third.get_width() == pytest.approx(1 - 0.32 / 7.5, abs=0.01)
