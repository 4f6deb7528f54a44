"""What pictures of tables say: values beside names, categories of one-hot blocks, missing values, units."""

import dataclasses

import numpy as np
import pytest

from onnxplain import Explanation, Sample, SettingError
from onnxplain.engine.render import rows_figure, shown_together
from onnxplain.engine.render.naming import namer
from onnxplain.engine.render.wording import heading, quantity, scale_of, subheading

COLUMNS = ("age", "colour_red", "colour_blue", "width", "height")


def table(raw=("", "0", "1", "2.50", "3"), **fields):
    feed = np.array([[np.nan, 0, 1, 2.5, 3]], np.float32)
    labels = {"x": np.array([[0, 1, 1, 2, 2]])}
    sample = Sample({"x": feed}, "table", columns=COLUMNS, raw=raw)
    given = {
        "values": {"x": np.zeros((1, 5))},
        "method": "kernel-shap",
        "settings": {},
        "target": "top",
        "score": 253.95,
        "feature_values": np.array([1.0, -2.0, 3.0]),
        "feature_names": ("age", "colour", "size"),
        "feature_labels": labels,
        "sample": sample,
    }
    return Explanation(**{**given, **fields})


def test_names_carry_what_the_row_holds():
    name = namer(table())
    assert [name(k) for k in range(3)] == ["age = missing", "colour = blue", "size (2 columns)"]


def test_spelling_of_the_file_is_kept_and_numbers_stand_in_where_there_is_none():
    fields = {"feature_names": ("age", "width"), "feature_values": np.ones(2)}
    fields["feature_labels"] = {"x": np.array([[0, -1, -1, 1, -1]])}
    assert [namer(table(**fields))(k) for k in range(2)] == ["age = missing", "width = 2.50"]
    assert [namer(table(raw=(), **fields))(k) for k in range(2)] == ["age = missing", "width = 2.5"]


@pytest.mark.parametrize("hot", [(0, 0), (1, 1), (0.5, 0.5)])
def test_block_that_is_not_one_hot_is_counted(hot):
    found = table()
    found.sample.feeds["x"][0, 1:3] = hot
    assert namer(found)(1) == "colour (2 columns)"


@pytest.mark.parametrize(("unit", "title", "axis"), [("EUR", "254 EUR", "price, EUR"), ("", "254", "price")])
def test_regression_is_told_in_the_unit_of_what_is_predicted(unit, title, axis):
    manifest = {"spec": {"task": "regression", "unit": unit}, "target_space": "value"}
    found = table(label="price", manifest=manifest)
    assert heading(found) == f"kernel-shap: price, predicted {title}"
    assert scale_of(found) == f"predicted {axis}"
    assert quantity(found) == f"effect on the predicted {axis}"


@pytest.mark.parametrize(
    "spec", [{"task": "classification", "unit": "EUR"}, {"task": ""}, None, "hostile", {"task": 3}]
)
def test_scores_of_classes_have_no_unit(spec):
    manifest = {"spec": spec, "target_space": "logit"}
    found = dataclasses.replace(table(label="cat"), manifest=manifest)
    assert scale_of(found) == "logit of cat"


def several(count, **fields):
    rng = np.random.default_rng(0)
    found = []
    for k in range(count):
        row = (str(20 + k), "0", "1", f"{k}.5", "3")
        one = table(raw=row, feature_values=rng.normal(size=3), label="cat", **fields)
        sample = dataclasses.replace(one.sample, source=f"data/rows.csv:{k + 4}")
        found.append(dataclasses.replace(one, sample=sample))
    return found


def said(drawn):
    return [text.get_text() for text in drawn.texts]


def test_rows_of_a_table_share_a_picture_with_what_they_hold_and_their_effects():
    found = several(3)
    texts = said(rows_figure(found))
    assert {"row 4", "row 5", "row 6", "cat", "254", "age", "colour", "size"} <= set(texts)
    assert texts.count("blue") == 3
    for one in found:
        assert all(f"{v:+.2f}".replace("-", "−") in texts for v in one.feature_values)
    mean = np.abs([e.feature_values for e in found]).mean(axis=0)
    lines = [t for t in texts if t in {"age", "colour", "size"}]
    assert lines == [found[0].feature_names[k] for k in np.argsort(-mean)]


def test_cells_have_one_scale_of_colours_with_white_for_nothing():
    found = several(2)
    values = np.array([[2.0, -2.0, 0.0], [1.0, 0.0, 0.0]])
    found = [dataclasses.replace(e, feature_values=v) for e, v in zip(found, values, strict=True)]
    (axes,) = rows_figure(found).axes
    cells = {(round(p.get_x()), round(p.get_y())): p.get_facecolor() for p in axes.patches}
    strongest, half, none, lowers = cells[0, 0], cells[1, 0], cells[1, 1], cells[0, 1]
    assert strongest[0] > 2 * strongest[1]
    assert lowers[2] > 2 * lowers[0]
    assert min(none[:3]) > 0.95
    assert strongest[1] < half[1] < none[1]


def test_features_and_rows_beyond_the_picture_are_counted():
    texts = said(rows_figure(several(12), top=2))
    assert "1 other feature" in texts
    assert sum(text.startswith("row ") for text in texts) == 10
    assert "The first 10 of 12 rows are shown" in " ".join(texts)


@pytest.mark.parametrize(
    "odd",
    [
        [],
        several(1),
        [*several(1), several(1, method="lime")[0]],
        [*several(1), several(1, feature_names=("a", "b", "c"))[0]],
        [*several(1), dataclasses.replace(several(1)[0], sample=None)],
    ],
)
def test_what_does_not_belong_together_is_not_drawn_together(odd):
    assert not shown_together(odd)
    with pytest.raises(SettingError, match="several rows of one table"):
        rows_figure(odd)


def test_gap_that_is_only_rounding_is_none():
    found = table(baseline_score=100.0, gap=1e-13)
    assert subheading(found) == "baseline score 100  ·  the values add up"
    assert "completeness gap 0.5" in subheading(dataclasses.replace(found, gap=0.5))
