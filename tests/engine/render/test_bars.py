import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_hex

from onnxplain.engine.errors import InputError, SettingError
from onnxplain.engine.inputs.sample import Sample
from onnxplain.engine.render import figure
from onnxplain.engine.render.bars import rows_of
from onnxplain.engine.render.colour import LOWERS, RAISES

SORTED = [2.0, -1.25, 0.5, -0.375, 0.125]


def widths(axes):
    return [bar.get_width() for bar in axes.patches]


def texts(made):
    return [text.get_text() for text in made.texts]


def test_bars_have_the_values_strongest_first(of_table):
    axes = figure(of_table).axes[0]
    assert widths(axes) == SORTED
    heights = [bar.get_y() for bar in axes.patches]
    assert heights == sorted(heights)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first is at the top


def test_sign_is_in_the_direction_and_the_colour(of_table):
    bars = figure(of_table).axes[0].patches
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [RAISES, LOWERS, RAISES, LOWERS, RAISES]
    assert all(bar.get_x() == 0 for bar in bars)


def test_names_carry_the_raw_value_of_the_file(of_table):
    names = [row.name for row in rows_of(of_table, 5)]
    assert names == ["visits = 2", "income = 3.50", "age = 41", "debt = .25", "tenure = 7"]
    assert set(names) <= set(texts(figure(of_table)))


def test_names_carry_the_input_where_no_file_was_read(of_table):
    sample = Sample(feeds=of_table.sample.feeds, modality="table")
    names = [row.name for row in rows_of(dataclasses.replace(of_table, sample=sample), 2)]
    assert names[:2] == ["visits = 2", "income = 3.5"]


def test_a_group_of_columns_has_no_raw_value(of_table):
    grouped = dataclasses.replace(
        of_table,
        feature_values=np.array([1.0, 0.5]),
        feature_errors=None,
        feature_names=("person", "money"),
        feature_labels={"X": np.array([[0, 1, 0, 0, 1]])},
    )
    assert [row.name for row in rows_of(grouped, 5)] == ["person (3 columns)", "money (2 columns)"]


def test_what_is_beyond_top_is_one_row_with_its_sum(of_table):
    rows = rows_of(of_table, 2)
    assert [(row.name, row.value, row.count) for row in rows[1:]] == [
        ("income = 3.50", -1.25, 1),
        ("3 other features", 0.25, 3),
    ]
    assert widths(figure(of_table, top=2).axes[0]) == [2.0, -1.25, 0.25]


def test_hundreds_of_columns_stay_fifteen_bars_and_a_rest(of_table):
    values = np.random.default_rng(0).normal(size=600)
    wide = dataclasses.replace(
        of_table,
        values={"X": values[None]},
        feature_values=values,
        feature_errors=None,
        feature_names=tuple(f"column {k}" for k in range(600)),
        feature_labels={},
        gap=None,
        sample=None,
    )
    shown = widths(figure(wide).axes[0])
    assert len(shown) == 16
    assert sum(shown) == pytest.approx(values.sum())


def test_whiskers_reach_one_standard_error_each_way(of_table):
    (whiskers,) = [c for c in figure(of_table).axes[0].collections if len(c.get_segments())]
    ends = [tuple(segment[:, 0]) for segment in whiskers.get_segments()]
    assert ends == [(1.75, 2.25), (-1.375, -1.125), (0.4375, 0.5625), (-0.4375, -0.3125), (0.09375, 0.15625)]


def test_waterfall_leads_from_the_baseline_score_to_the_score(of_table):
    axes = figure(of_table, top=3).axes[1]
    begins = [bar.get_x() for bar in axes.patches]
    steps = widths(axes)
    assert begins[0] == 0.75
    assert begins[1:] == pytest.approx([0.75 + sum(steps[:k]) for k in (1, 2, 3)])
    assert begins[-1] + steps[-1] == pytest.approx(of_table.score)
    marks = {line.get_label(): line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"}
    assert marks == {"baseline": 0.75, "score": of_table.score}


@pytest.mark.parametrize("fields", [{"gap": None}, {"gap": 0.2}, {"baseline_score": None}])
def test_values_that_do_not_add_up_are_not_stacked(of_table, fields):
    made = figure(dataclasses.replace(of_table, **fields))
    assert len(made.axes) == 1
    missed = "miss score minus baseline score by 0.2, so they are not stacked" in " ".join(texts(made))
    assert missed is (fields == {"gap": 0.2})


def test_numbers_at_the_bars_stay_on_the_sheet(of_table):
    made = figure(dataclasses.replace(of_table, feature_errors=np.full(5, 40.0)))
    made.canvas.draw()
    for text in made.texts:
        box = text.get_window_extent().transformed(made.transFigure.inverted())
        assert box.x0 >= 0, text.get_text()
        assert box.x1 <= 1, text.get_text()


def test_elements_without_names_are_called_by_their_index(of_table):
    bare = dataclasses.replace(
        of_table, feature_values=None, feature_errors=None, feature_names=(), feature_labels={}, sample=None
    )
    rows = rows_of(bare, 2)
    assert [(row.name, row.value) for row in rows] == [("[3]", 2.0), ("[1]", -1.25), ("3 other elements", 0.25)]
    two = dataclasses.replace(bare, values={"a": np.array([[1.0]]), "b": np.array([[0.5, -3.0]])})
    assert [row.name for row in rows_of(two, 3)] == ["b[1]", "a[0]", "b[0]"]


def test_equal_features_keep_their_order(of_table):
    tied = dataclasses.replace(of_table, feature_values=np.array([1.0, -1.0, 1.0, 1.0, -1.0]))
    assert [row.name.split(" = ")[0] for row in rows_of(tied, 5)] == ["age", "income", "tenure", "visits", "debt"]


def test_all_zero_values_are_drawn(of_table):
    made = figure(dataclasses.replace(of_table, feature_values=np.zeros(5), feature_errors=None, score=0.75))
    assert widths(made.axes[0]) == [0.0] * 5


def test_values_that_are_not_finite_and_no_bars_are_refused(of_table):
    with pytest.raises(InputError, match="not finite"):
        figure(dataclasses.replace(of_table, feature_values=np.array([np.inf, 0, 0, 0, 0])))
    with pytest.raises(SettingError, match="at least 1"):
        figure(of_table, top=0)


def test_hostile_names_are_drawn_as_text(of_table):
    names = ("$\\frac{1}{0}$", "\x1b[31mred", "\u202egnp", "<img onerror=x>", "x" * 1000)
    made = figure(dataclasses.replace(of_table, feature_names=names, label="$\\alpha", sample=None))
    made.canvas.draw()
    said = "".join(texts(made))
    assert "$\\frac{1}{0}$" in said
    assert "\\x1b[31mred" in said
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert all(not text.get_parse_math() for text in made.texts)


def test_characters_that_no_font_has_are_written_as_escapes(of_table):
    private = "\U000fabcd"  # a plane for private use
    assert not private.isprintable()
    tulu = "\U00011380"
    names = (private, tulu, "猫", "é", "क")
    made = figure(dataclasses.replace(of_table, feature_names=names, sample=None))
    made.canvas.draw()  # matplotlib warns of glyphs it lacks, and warnings are errors
    said = set(texts(made))
    assert {"\\U000fabcd", "é"} <= said
