"""Pictures of analyses: what they say and where it stands; each was looked at once."""

import dataclasses
import re

import numpy as np
import pytest

from onnxplain import Analysis, InputError, SettingError
from onnxplain.engine.render import analysis_section
from onnxplain.engine.render.output import png, svg


def texts(figure):
    """Return all texts of a figure, ticks included."""
    words = [t.get_text() for t in figure.texts]
    for axes in figure.axes:
        words += [t.get_text() for t in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    return [w for w in words if w]


def bars(count=4, **words):
    values = np.linspace(0.4, -0.1, count)
    arrays = {
        "names": np.array([f"column {k}" for k in range(count)]),
        "values": values,
        "spread": np.full(count, 0.05),
    }
    return Analysis("x", ("a",), (), arrays, picture="bars", words={"title": "importance", "value": "drop"} | words)


def curves(panels=2, series=1):
    arrays = {
        "panels": np.array([f"column {k}" for k in range(panels)]),
        "series": np.array([f"class {k}" for k in range(series)]),
    }
    rng = np.random.default_rng(0)
    for k in range(panels):
        arrays[f"grid/{k}"] = np.array(["Bonn", "Rome", "Paris"]) if k == 1 else np.linspace(0, 10 ** (k + 1), 3)
        arrays[f"mean/{k}"] = rng.normal(size=(series, 3)) / (k + 1)
        if series == 1:
            arrays[f"single/{k}"] = arrays[f"mean/{k}"] + rng.normal(size=(20, 1))
        if k != 1:
            arrays[f"data/{k}"] = np.linspace(0, 10 ** (k + 1), 9)
    words = {"title": "partial dependence: score", "value": "mean score", "notes": "Thick: the mean."}
    return Analysis("x", ("a",), (), arrays, picture="curves", words=words)


def surface(**changed):
    arrays = {
        "panels": np.array(["age", "town"]),
        "grid/0": np.array([1.0, 2, 4, 8]),
        "grid/1": np.array(["Bonn", "Rome"]),
        "mean": np.arange(8.0).reshape(4, 2),
    }
    words = {"title": "two columns", "value": "mean score"}
    return Analysis("x", ("a",), (), arrays | changed, picture="surface", words=words)


def test_bars_have_names_numbers_whiskers_and_an_origin():
    figure = bars().plot()
    said = texts(figure)
    assert {"importance", "drop", "column 0", "0.400", "−0.100"} <= set(said)
    (axes,) = figure.axes
    assert [b.get_width() for b in axes.patches] == pytest.approx([0.4, 0.7 / 3, 0.2 / 3, -0.1])
    assert len(axes.containers) == 2
    ratio = bars(origin="1").plot()
    assert ratio.axes[0].patches[0].get_x() == 1
    assert ratio.axes[0].patches[0].get_width() == pytest.approx(-0.6)


def test_more_bars_than_fit_are_counted():
    said = " ".join(texts(bars(30).plot()))
    assert "10 others are not shown, with" in said
    assert "column 19" in said
    assert "column 20" not in said
    assert "1 other is not shown" in " ".join(texts(bars(4).plot(top=3)))


def test_curves_share_a_scale_and_lie_over_their_rows():
    figure = curves().plot()
    assert len(figure.axes) == 2
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_xdata(), [0, 5, 10])
    rows, marks = figure.axes[0].collections
    assert len(rows.get_segments()) == 20
    assert len(marks.get_segments()) == 9
    assert {"Bonn", "Rome", "Paris", "column 0", "column 1"} <= set(texts(figure))
    assert "Marks below: tenths of the data." in " ".join(texts(figure))


def test_classes_have_colours_and_a_legend():
    figure = curves(panels=1, series=3).plot()
    assert len(figure.axes[0].lines) == 3
    assert len({line.get_color() for line in figure.axes[0].lines}) == 3
    assert {"class 0", "class 1", "class 2"} <= set(texts(figure))


def test_more_panels_than_fit_are_counted():
    figure = curves(panels=12).plot()
    assert len(figure.axes) == 9
    assert "3 more columns, of weaker effect, not shown." in " ".join(texts(figure)).replace("\n", " ")


def test_a_surface_has_both_names_and_a_colour_bar():
    figure = surface().plot()
    assert {"age", "town", "Bonn", "Rome", "mean score"} <= set(texts(figure))
    mesh = figure.axes[0].collections[0]
    np.testing.assert_array_equal(mesh.get_array(), surface().arrays["mean"].T)
    assert (mesh.norm.vmin, mesh.norm.vmax) == (0, 7)


@pytest.mark.parametrize("make", [bars, curves, surface])
def test_files_are_the_same_again_and_hold_text_as_text(make):
    figure = make().plot()
    assert png(figure) == png(make().plot())
    drawn = svg(figure)
    assert drawn == svg(make().plot())
    assert make().words["title"].encode() in drawn
    assert make().plot(title=False).get_figheight() < figure.get_figheight()
    assert "another title" in texts(make().plot(title="another title"))


@pytest.mark.parametrize("make", [bars, curves, surface])
def test_names_from_outside_are_harmless(make):
    made = make()
    evil = "$\\frac{1}{0}$ <script>\x1b[31m" + "very long " * 50
    arrays = {
        n: np.array([evil] * len(a)) if a.dtype.kind == "U" and n != "grid/1" else a for n, a in made.arrays.items()
    }
    drawn = svg(dataclasses.replace(made, arrays=arrays).plot()).decode()
    assert "<script>" not in drawn
    assert "\x1b" not in drawn
    assert re.search(r"\\x1b|frac", drawn)


@pytest.mark.parametrize("make", [bars, curves, surface])
def test_numbers_that_are_not_finite_are_refused(make):
    made = make()
    name = {"bars": "values", "curves": "mean/0", "surface": "mean"}[made.picture]
    bad = made.arrays[name].copy()
    bad.flat[0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        dataclasses.replace(made, arrays=made.arrays | {name: bad}).plot()


def test_flat_results_are_drawn():
    flat = {
        n: np.zeros_like(a) if n.startswith(("mean", "single", "values", "spread")) else a
        for n, a in curves().arrays.items()
    }
    assert len(dataclasses.replace(curves(), arrays=flat).plot().axes) == 2
    assert surface(mean=np.full((4, 2), 0.3)).plot().axes
    zero = bars().arrays | {"values": np.zeros(4), "spread": np.zeros(4)}
    assert dataclasses.replace(bars(), arrays=zero).plot().axes


def test_what_cannot_be_drawn_is_told():
    with pytest.raises(SettingError, match="its table is all there is"):
        dataclasses.replace(bars(), picture="none").plot()
    with pytest.raises(SettingError, match="did you mean 'bars'"):
        dataclasses.replace(bars(), picture="bar").plot()
    with pytest.raises(SettingError, match="top is how many are drawn"):
        bars().plot(top=0)


def test_panels_may_have_scales_of_their_own():
    found = curves()
    found = dataclasses.replace(found, words=found.words | {"scale": "own", "across": "taken away, %"})
    figure = found.plot()
    limits = [axes.get_ylim() for axes in figure.axes]
    assert limits[0] != limits[1]
    for k, (low, high) in enumerate(limits):
        means = found.arrays[f"mean/{k}"]
        assert low < means.min() <= means.max() < high
    assert texts(figure).count("taken away, %") == 2
    assert any(label.get_text() for label in figure.axes[1].get_yticklabels())


def test_a_page_has_the_ranked_listing_and_says_where_it_ends():
    arrays = {"name": np.array([f"channel {k}" for k in range(150)]), "share": np.linspace(1, 0, 150)}
    words = {"title": "what matters", "listing": "channels"}
    found = Analysis(
        "x", ("step",), ((1,), (None,)), arrays, listing=("name", "share"), words=words, notes=("made up",)
    )
    part = analysis_section(found)
    assert part.png == b""
    assert part.text == ("made up",)
    first, second = part.tables
    assert (first.caption, first.head, list(first.lines)) == ("", ("step",), [(1,), (None,)])
    assert (second.caption, second.head) == ("channels, the first 100 of 150", ("name", "share"))
    assert second.lines[99] == ("channel 99", pytest.approx(1 - 99 / 149))
