from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from onnxplain.engine.errors import InputError, SettingError
from onnxplain.engine.inputs import row_file, table
from onnxplain.engine.inputs.table import load_rows, load_values
from onnxplain.engine.spec import InputSpec, ModelSpec


class Info(NamedTuple):
    name: str
    shape: tuple
    dtype: np.dtype = np.dtype(np.float32)
    batch_axis: int | None = 0


TEXT = np.dtype(object)
THREE = [Info("x", ("N", 3))]
COLUMNS = ModelSpec(
    inputs={"x": InputSpec("x", "table", columns=("age", "fare", "sex"), categories={"sex": ("female", "male")})}
)
MIXED = [Info("age", ("N", 1)), Info("deck", ("N", 1), np.dtype(np.int64)), Info("name", (None, 1), TEXT)]
PEOPLE = "age,fare,sex\n22,7.25,male\n38,71.5,female\n26.5,8,male\n"


@pytest.fixture
def csv(tmp_path):
    def write(text, name="rows.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
        return str(path)

    return write


def values(samples, name="x"):
    return [sample.feeds[name].tolist() for sample in samples]


def refusal(source, inputs, spec=None, error=InputError):
    with pytest.raises(error) as caught:
        load_rows(source, inputs, spec)
    assert str(caught.value).count("\n") < 6
    return str(caught.value)


def test_every_row_becomes_a_sample_with_its_spelling(csv):
    path = csv(PEOPLE)
    samples = load_rows(path, THREE, COLUMNS)
    assert values(samples) == [[[22, 7.25, 1]], [[38, 71.5, 0]], [[26.5, 8, 1]]]
    assert samples[1].feeds["x"].dtype == np.float32
    assert samples[1].raw == ("38", "71.5", "female")
    assert samples[1].columns == ("age", "fare", "sex")
    assert (samples[1].modality, samples[1].source, samples[1].label) == ("table", f"{path}:1", "")


def test_a_strange_path_is_kept_in_the_source_and_escaped_in_messages(csv):
    path = csv("a,b,c\n1,2,3\n1,2,?\n", "a\x1b.csv")
    assert load_rows(f"{path}:0", THREE)[0].source == f"{path}:0"
    assert "\x1b" not in refusal(path, THREE)


def test_rows_are_chosen_by_number_from_0_both_ends_included(csv):
    path = csv("a,b,c\n" + "".join(f"{i},{i},{i}\n" for i in range(10)))
    assert values(load_rows(f"{path}:0", THREE)) == [[[0, 0, 0]]]
    assert values(load_rows(f"{path}:3-5", THREE)) == [[[3, 3, 3]], [[4, 4, 4]], [[5, 5, 5]]]
    assert [s.source for s in load_rows(f"{path}:8-9", THREE)] == [f"{path}:8", f"{path}:9"]
    for rows in ("10", "9-10"):
        assert "no row 10: this file has 10" in refusal(f"{path}:{rows}", THREE)
    assert "run backwards" in refusal(f"{path}:5-3", THREE)


def test_a_file_whose_name_ends_like_a_row_is_that_file(csv):
    path = csv("a,b,c\n1,2,3\n", "x.csv:7")
    assert values(load_rows(path, THREE)) == [[[1, 2, 3]]]


def test_columns_are_found_by_name_in_any_order(csv):
    path = csv("sex,fare,age\nfemale,1,2\n")
    assert values(load_rows(path, THREE, COLUMNS)) == [[[2, 1, 0]]]
    assert load_rows(path, THREE, COLUMNS)[0].raw == ("2", "1", "female")


def test_missing_columns_are_named_with_the_nearest(csv):
    message = refusal(csv("age,fair,sex\n1,2,male\n"), THREE, COLUMNS)
    assert "lacks the columns fare" in message
    assert "did you mean 'fair'?" in message


def test_columns_that_the_model_does_not_take_are_named(csv):
    message = refusal(csv("id,age,fare,sex,ticket\n1,1,2,male,9\n"), THREE, COLUMNS)
    assert "does not take: id, ticket" in message


@pytest.mark.parametrize("name", ["target", "label", "class", "y", "Class"])
def test_a_further_label_column_is_the_true_class(csv, name):
    path = csv(f"age,{name},fare,sex\n1, survived ,2,male\n")
    (sample,) = load_rows(path, THREE, COLUMNS)
    assert sample.label == "survived"
    assert sample.feeds["x"].tolist() == [[1, 2, 1]]
    assert sample.raw == ("1", "2", "male")
    (sample,) = load_rows(csv(f"a,b,c,{name}\n1,2,3,4\n"), THREE)
    assert (sample.label, sample.columns) == ("4", ("a", "b", "c"))


def test_two_label_columns_are_ambiguous(csv):
    assert "class, y" in refusal(csv("age,fare,sex,class,y\n1,2,male,0,0\n"), THREE, COLUMNS)


def test_a_feature_may_be_named_like_a_label(csv):
    (sample,) = load_rows(csv("x,y,z\n1,2,3\n"), THREE)
    assert (sample.label, sample.columns) == ("", ("x", "y", "z"))


def test_without_columns_the_count_must_match(csv):
    message = refusal(csv("a,b,c,d\n1,2,3,4\n"), THREE)
    assert "takes 3 columns, this file has 4: a, b, c, d" in message
    open_width = [Info("x", ("N", None))]
    assert values(load_rows(csv("a,b,y\n1,2,3\n"), open_width)) == [[[1, 2]]]


def test_a_spec_whose_columns_do_not_fit_the_model_is_refused(csv):
    message = refusal(csv(PEOPLE), [Info("x", ("N", 4))], COLUMNS, SettingError)
    assert "3 columns for input 'x': float32 (rows, 4), which takes 4" in message


def test_one_input_per_column_is_filled_by_name_and_text_stays_text(csv):
    path = csv('name,deck,age\n"Braund, Mr. ""Owen""",3,22.5\n')
    (sample,) = load_rows(path, MIXED)
    assert {name: feed.tolist() for name, feed in sample.feeds.items()} == {
        "age": [[22.5]],
        "deck": [[3]],
        "name": [['Braund, Mr. "Owen"']],
    }
    assert [feed.dtype for feed in sample.feeds.values()] == [np.float32, np.int64, TEXT]
    assert sample.columns == ("age", "deck", "name")


def test_flat_inputs_and_inputs_without_a_batch_axis_get_their_shape(csv):
    path = csv("a,b\n1,2\n")
    (sample,) = load_rows(path, [Info("a", ("N",)), Info("b", ("N",))])
    assert sample.feeds["a"].tolist() == [1]
    (sample,) = load_rows(path, [Info("x", (2,), batch_axis=None)])
    assert sample.feeds["x"].tolist() == [1, 2]
    (sample,) = load_rows(path, [Info("x", (1, 2), batch_axis=None)])
    assert sample.feeds["x"].tolist() == [[1, 2]]


def test_several_wide_inputs_need_columns_from_the_spec(csv):
    inputs = [Info("person", ("N", 2)), Info("ticket", ("N", 1))]
    path = csv(PEOPLE.replace("sex", "ticket").replace("female", "5").replace("male", "4"))
    assert "list its columns in the spec" in refusal(path, inputs)
    spec = ModelSpec(inputs={"person": InputSpec("person", "table", columns=("fare", "age"))})
    sample = load_rows(path, inputs, spec)[0]
    assert [feed.tolist() for feed in sample.feeds.values()] == [[[7.25, 22]], [[4]]]
    assert sample.columns == ("fare", "age", "ticket")


def test_a_model_of_images_takes_no_table(csv):
    message = refusal(csv(PEOPLE), [Info("image", ("N", 3, 8, 8))])
    assert "'image': float32 (rows, 3, 8, 8), which a row of a table cannot fill" in message


@pytest.mark.parametrize(("separator"), [",", ";", "\t"])
def test_three_separators_are_recognised(csv, separator):
    path = csv(PEOPLE.replace(",", separator))
    assert values(load_rows(path, THREE, COLUMNS))[0] == [[22, 7.25, 1]]
    assert values(load_rows(csv("a,b,c\n1,2,3\n".replace(",", separator)), THREE)) == [[[1, 2, 3]]]


def test_separators_inside_names_do_not_mislead_where_columns_are_known(csv):
    spec = ModelSpec(inputs={"x": InputSpec("x", "table", columns=("a,b", "c,d", "e"))})
    assert values(load_rows(csv("a,b;c,d;e\n1;2;3\n"), THREE, spec)) == [[[1, 2, 3]]]


@pytest.mark.parametrize(("separator", "words"), [("|", "'|'"), (" ", "spaces")])
def test_other_separators_are_named(csv, separator, words):
    message = refusal(csv(PEOPLE.replace(",", separator)), THREE, COLUMNS)
    assert f"separated by {words}" in message
    assert "commas, semicolons or tabs" in message


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("abc", "'abc' is not a number"),
        ("1_000", "'1_000' is not a number"),
        ("0x10", "is not a number"),
        ("nane", "is not a number"),
        ("-inf", "is not finite"),
        ("1e39", "'1e39' is too large for float32"),
        ("7;5", "is not a number"),
        ("\x1b[31m", r"'\x1b[31m' is not a number"),
    ],
)
def test_cells_that_are_no_numbers_are_named_by_row_and_column(csv, cell, words):
    path = csv(f"a,b,c\n1,2,3\n1,{cell},3\n")
    message = refusal(path, THREE)
    assert words in message
    assert "row 1, column 'b'" in message
    assert "\x1b" not in message
    assert values(load_rows(f"{path}:0", THREE)) == [[[1, 2, 3]]]


@pytest.mark.parametrize("cell", ["", "  ", "NA", "n/a", "NaN", "nan", "NULL"])
def test_missing_numbers_become_nan_and_keep_their_spelling(csv, cell):
    (sample,) = load_rows(csv(f"a,b,c\n1,{cell},3\n"), THREE)
    np.testing.assert_array_equal(sample.feeds["x"], np.array([[1, np.nan, 3]], np.float32))
    assert sample.raw == ("1", cell, "3")


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_whole_numbers_cannot_be_missing(csv, dtype):
    message = refusal(csv("x\n1\nNA\n"), [Info("x", ("N", 1), np.dtype(dtype))])
    assert f"missing value, and {np.dtype(dtype).name} has none" in message
    assert "row 1, column 'x'" in message


def test_missing_text_is_empty_text_unless_the_spec_lists_other_categories(csv):
    inputs = [Info("deck", ("N", 1), TEXT)]
    assert values(load_rows(csv("deck,class\n,1\n"), inputs), "deck") == [[[""]]]
    spec = ModelSpec(inputs={"deck": InputSpec("deck", "table", columns=("deck",), categories={"deck": ("A", "B")})})
    assert "missing value" in refusal(csv("deck,class\n ,1\n"), inputs, spec)
    spec = ModelSpec(inputs={"deck": InputSpec("deck", "table", columns=("deck",), categories={"deck": ("", "B")})})
    assert values(load_rows(csv("deck,class\n,1\n"), inputs, spec), "deck") == [[[""]]]


def test_values_of_many_rows_equal_those_of_the_rows_one_by_one(csv, monkeypatch):
    monkeypatch.setattr(table, "AT_A_TIME", 4)
    lines = [f"{k},{k / 7!r},{('male', 'female')[k % 2]}" for k in range(11)]
    lines[5] = " 5 ,NA,1"
    path = csv("age,fare,sex\n" + "\n".join(lines) + "\n")
    for source in (path, f"{path}:3-8", f"{path}:10"):
        rows = np.concatenate([sample.feeds["x"] for sample in load_rows(source, THREE, COLUMNS)])
        np.testing.assert_array_equal(load_values(source, THREE, COLUMNS)["x"], rows)
    mixed = csv('name,deck,age\n"Braund, Owen",3,22.5\nBo,4,\n')
    found = load_values(mixed, MIXED)
    assert found["name"].tolist() == [["Braund, Owen"], ["Bo"]]
    assert found["deck"].dtype == np.int64
    np.testing.assert_array_equal(found["age"], [[22.5], [np.nan]])


@pytest.mark.parametrize(
    ("cell", "words"), [("x", "'x' is not a number"), ("1_0", "not a number"), ("1e39", "too large"), ("inf", "finite")]
)
def test_values_of_many_rows_name_the_cell_that_is_wrong(csv, cell, words):
    path = csv("a,b,c\n" + "1,2,3\n" * 6 + f"1,{cell},3\n")
    with pytest.raises(InputError, match=words) as caught:
        load_values(f"{path}:2-6", THREE)
    assert caught.value.where.endswith("row 6, column 'b'")
    whole = csv("a,b,c\n" + "1,2,3\n" * 7, "whole.csv")
    with pytest.raises(InputError, match="there is no row 9: this file has 7"):
        load_values(f"{whole}:2-9", THREE)


def test_separators_other_than_commas_are_noted(csv):
    assert load_rows(csv("a;b;c\n1;2;3\n"), THREE)[0].preprocessing == {"separator": "semicolon"}
    assert load_rows(csv("a,b,c\n1,2,3\n"), THREE)[0].preprocessing == {}


def test_a_wrong_separator_is_named_where_columns_have_no_names(csv):
    for separator, words in (("|", "'|'"), (" ", "spaces"), (":", "':'")):
        assert f"separated by {words}" in refusal(csv("a,b,c\n1,2,3\n".replace(",", separator)), THREE)


def test_a_decimal_comma_is_recognised(csv):
    assert "a point, not a comma" in refusal(csv("a;b;c\n1,5;2;3\n"), THREE)


@pytest.mark.parametrize(
    ("dtype", "cell", "wanted"),
    [
        (np.int64, "3", 3),
        (np.int64, "3.0", 3),
        (np.int64, "9007199254740993", 9007199254740993),
        (np.uint8, "255", 255),
        (np.bool_, "True", True),
        (np.bool_, "0", False),
        (np.float64, "0.1", 0.1),
        (np.float16, " 2.5 ", 2.5),
    ],
)
def test_numbers_are_read_as_the_input_takes_them(csv, dtype, cell, wanted):
    (sample,) = load_rows(csv(f"x\n{cell}\n"), [Info("x", ("N", 1), np.dtype(dtype))])
    assert sample.feeds["x"].dtype == dtype
    assert sample.feeds["x"].item() == wanted


@pytest.mark.parametrize(
    ("dtype", "cell", "words"),
    [
        (np.int64, "3.5", "not a whole number"),
        (np.int64, "9" * 30, "outside the range of int64"),
        (np.int64, "9" * 5000, "outside the range|not a number"),
        (np.int64, "inf", "not a number"),
        (np.uint8, "-1", "outside the range of uint8"),
        (np.bool_, "2", "outside the range of bool"),
        (np.float16, "1e6", "too large for float16"),
    ],
)
def test_numbers_that_the_input_cannot_hold_are_refused(csv, dtype, cell, words):
    with pytest.raises(InputError, match=words):
        load_rows(csv(f"x\n{cell}\n"), [Info("x", ("N", 1), np.dtype(dtype))])


def test_categories_are_names_of_codes_and_typing_errors_are_noticed(csv):
    assert values(load_rows(csv("age,fare,sex\n1,2,1\n"), THREE, COLUMNS)) == [[[1, 2, 1]]]
    message = refusal(csv("age,fare,sex\n1,2,femal\n"), THREE, COLUMNS)
    assert "did you mean 'female'" in message
    numerals = ModelSpec(inputs={"x": InputSpec("x", "table", columns=("a",), categories={"a": ("0", "5")})})
    one = [Info("x", ("N", 1))]
    assert values(load_rows(csv("a\n0\n"), one, numerals)) == [[[0]]]
    assert "which is meant is not clear" in refusal(csv("a\n5\n"), one, numerals)


def test_string_inputs_take_only_the_categories_of_the_spec(csv):
    inputs = [Info("deck", ("N", 1), TEXT)]
    spec = ModelSpec(inputs={"deck": InputSpec("deck", "table", columns=("deck",), categories={"deck": ("A", "B")})})
    assert values(load_rows(csv("deck\nB\n"), inputs, spec), "deck") == [[["B"]]]
    assert "'C' is not a category" in refusal(csv("deck\nC\n"), inputs, spec)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("a,b,c\n", "no rows"),
        ("1,2,3\n4,5,6\n", "names of the columns, not values"),
        ("a,b,a\n1,2,3\n", "column 'a' twice"),
        ("a,,c\n1,2,3\n", "column 1 has no name"),
        ("a,b,c\n1,2\n", "row 0 has 2 cells, the header has 3"),
        ("a,b,c\n1,2,3\n1,2,3,4\n", "row 1 has 4 cells"),
        ('a,b,c\n1,2,"3\n' + "4,5,6\n" * 30000, "quotation mark"),
        ("a,b,c\n1,2,3\n".encode("utf-16"), "UTF-16"),
        (b"a,b,c\n1,\xff,3\n", "not UTF-8"),
    ],
)
def test_files_that_are_no_tables_are_refused(csv, content, words):
    message = refusal(csv(content), THREE)
    assert words in message
    assert "rows.csv" in message


def test_blank_lines_byte_order_marks_and_line_ends_do_not_matter(csv):
    text = "\ufeff\r\na,b,c\r\n\r\n1,2,3\r\n\r\n4,5,6"
    assert values(load_rows(csv(text), THREE)) == [[[1, 2, 3]], [[4, 5, 6]]]
    assert values(load_rows(f"{csv(text)}:1-", THREE)) == [[[4, 5, 6]]]
    assert "no row 2" in refusal(f"{csv(text)}:2-", THREE)


def test_only_the_rows_up_to_the_chosen_one_are_read(csv):
    path = csv("a,b,c\n" + "1,2,3\n" * 4 + "this is no row\n")
    assert values(load_rows(f"{path}:3", THREE)) == [[[1, 2, 3]]]
    assert "row 4 has 1 cells" in refusal(path, THREE)


def test_more_rows_than_are_taken_at_once_ask_for_a_choice(csv):
    path = csv("x\n" + "1\n" * 10_001)
    one = [Info("x", ("N", 1))]
    message = refusal(path, one)
    assert "more than the 10,000 rows" in message
    assert "rows.csv:0-9999" in message
    assert len(load_rows(f"{path}:10000", one)) == 1


def test_long_files_and_long_lines_have_limits(csv, monkeypatch):
    monkeypatch.setattr(row_file, "MAX_ROWS", 5)
    path = csv("x\n" + "1\n" * 9)
    assert "more than 5 rows" in refusal(f"{path}:8", [Info("x", ("N", 1))])
    monkeypatch.setattr(row_file, "MAX_LINE", 20)
    assert "more than 20 characters" in refusal(csv("x\n" + "1" * 30), [Info("x", ("N", 1))])
