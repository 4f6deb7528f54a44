"""Tables, JSON and places: what is printed is aligned, escaped and finite."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from onnxplain import Explanation, Sample
from onnxplain.cli.folder import Folder, _stem
from onnxplain.cli.output import print_json, size, table
from onnxplain.cli.summary import summary


def test_columns_are_aligned_also_for_wide_and_combining_characters():
    rows = [("a", "1"), ("猫", "22"), ("e\u0301", "3")]
    assert table(("name", "n"), rows, right=" r") == "name   n\na      1\n猫    22\ne\u0301      3"


def test_cells_from_outside_are_escaped():
    assert table((), [("a\nb\x1b[0m", 1)]) == "a\\nb\\x1b[0m  1"


def test_last_column_is_wrapped_on_a_terminal_only(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    text = "one two three four five six seven"
    assert table((), [("name", text)]) == f"name  {text}"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert table((), [("name", text)]) == "name  one two three four five\n      six seven"


def test_json_has_a_version_and_no_nan(capsys):
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": "\x1b"})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"schema_version": 1, "a": None, "b": [None, 1.5], "c": "\x1b"}
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1000, "1.0 kB"), (17_364_911, "17.4 MB"), (5 * 10**12, "5000.0 GB")]
)
def test_sizes(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("photos/cat.jpg", "cat"),
        ("data/rows.csv:3", "rows-3"),
        ("a.b.png", "a.b"),
        ("", "input"),
        ("we\x1bird?.png", "we_ird_"),
        ("x" * 300 + ".png", "x" * 80),
    ],
)
def test_file_names_come_from_inputs(source, stem):
    assert _stem(source) == stem


def explanation(values, modality="image", **fields):
    sample = Sample({"x": np.zeros_like(values)}, modality=modality, source="in")
    return Explanation({"x": values}, "occlusion", {}, "top", 1.0, sample=sample, **fields)


def test_place_is_the_ninth_with_most_of_the_values():
    values = np.zeros((1, 3, 9, 9))
    values[0, :, 1, 7] = -1.0
    values[0, 0, 8, 0] = 1.0
    shown = summary(explanation(values), {"x": "NCHW"})
    assert "top right third, 75% of the absolute values (11% if even); largest at row 1, column 7 of 9 x 9" in shown


def test_place_in_an_image_with_channels_last():
    values = np.zeros((1, 9, 12, 3))
    values[0, 4, 5] = 1.0
    assert "centre third, 100%" in summary(explanation(values), {"x": "NHWC"})
    assert "largest at row 4, column 5 of 9 x 12" in summary(explanation(values), {"x": "NHWC"})


def test_place_in_an_array_and_in_a_series():
    values = np.zeros((1, 2, 16))
    values[0, 1, 12] = -0.5
    assert "-0.5 at [0, 1, 12]" in summary(explanation(values, "array"), {})
    assert "-0.5 at channel 1, time step 12" in summary(explanation(values, "series"), {"x": "NCT"})


def test_elements_of_a_table_without_names_are_told_by_their_place():
    assert "+2 at [0, 3]" in summary(explanation(np.array([[0, 1, 0, 2.0]]), "table"), {})
    named = explanation(np.array([[1, 2.0]]), "table", feature_values=np.array([1, 2.0]), feature_names=("a", "b"))
    assert "strongest" not in summary(named, {})


def test_names_of_any_length_are_shown_in_short():
    named = {"feature_values": np.array([1, 2.0]), "feature_names": ("a" * 5000, "b"), "label": "c" * 5000}
    shown = summary(explanation(np.array([[1, 2.0]]), "table", **named), {})
    assert max(map(len, shown.splitlines())) < 150
    assert "a" * 100 + "..." in shown


def test_strongest_of_rise_is_relative_to_its_mean():
    values = np.full((1, 1, 9, 9), 5.0)
    values[0, 0, 1, 7] = 5.81
    found = dataclasses.replace(explanation(values), method="rise")
    assert "top right third, 55% of the absolute values" in summary(found, {"x": "NCHW"})
    assert "largest at row 1, column 7 of 9 x 9, relative to the mean +5.01" in summary(found, {"x": "NCHW"})


def test_nothing_is_strongest_where_all_is_zero():
    assert "nowhere: every value is 0" in summary(explanation(np.zeros((1, 1, 4, 4))), {"x": "NCHW"})


def test_target_is_named_as_far_as_it_is_known():
    values = np.ones((1, 1, 4, 4))
    manifest = {"target_index": [3], "target_tensor": "logits", "target_space": "logit"}
    assert "predicted  tabby (class 3)" in summary(explanation(values, label="tabby", manifest=manifest), {})
    assert "predicted  class 3" in summary(explanation(values, manifest=manifest), {})
    assert "score      1 (logit)" in summary(explanation(values, manifest=manifest), {})


def test_page_is_limited_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("onnxplain.cli.folder.MOST_SECTIONS", 1)
    folder = Folder.open(str(tmp_path / "out"))
    for source in ("a.png", "b.png"):
        found = explanation(np.ones((1, 4)), "array")
        folder.add(Explanation(found.values, "occlusion", {}, "top", 1.0, sample=Sample(found.values, source=source)))
    page = folder.finish().read_text()
    assert page.count("<section") == 1
    assert "The first 1 of 2" in page
    assert len(list((tmp_path / "out").glob("*.npz"))) == 2
