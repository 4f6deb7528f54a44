"""Headers of CSV files as programs and people write them, and what is said where there is none."""

import io

import pytest

from onnxplain.engine.errors import InputError
from onnxplain.engine.inputs.rows import Rows, split_source
from onnxplain.engine.inputs.table_file import TableFile, open_table
from onnxplain.engine.inputs.table_header import Header

NAMES = {"age", "fare", "sex"}


def read(text, expected=frozenset(), least=3):
    return Header.read(iter(io.StringIO(text, newline="").readlines()), "rows.csv", set(expected), least)


def refusal(text, expected=frozenset(), least=3):
    with pytest.raises(InputError) as caught:
        read(text, expected, least)
    assert str(caught.value).count("\n") < 6
    return caught.value


@pytest.mark.parametrize(
    ("text", "separator", "lines"),
    [
        ("age,fare,sex\n1,2,3\n", ",", 1),
        ("\n \nage;fare;sex\r\n", ";", 3),
        ('sep=;\nage;fare;"sex"\n', ";", 2),
        ('"sep=\t"\r\n\r\nage\tfare\tsex\r\n', "\t", 3),
        ('"age","fare","sex"\n', ",", 1),
        (" age , fare,sex \n", ",", 1),
    ],
)
def test_names_separator_and_lines_are_found(text, separator, lines):
    assert read(text) == Header(["age", "fare", "sex"], separator, lines)


def test_a_separator_that_is_told_wins_over_a_better_guess():
    assert read("sep=;\na,b;c,d\n").names == ["a,b", "c,d"]


def test_names_in_quotation_marks_may_hold_line_breaks_and_separators():
    found = read('age,"fare\n(in pounds)","sex, or ""gender"""\n1,2,3\n')
    assert found == Header(["age", "fare (in pounds)", 'sex, or "gender"'], ",", 2)
    assert read('size 5",weight,colour\n1,2,3\n').names == ['size 5"', "weight", "colour"]


@pytest.mark.parametrize("numbers", ["0,1,2", "0;1;2"])
def test_columns_may_be_called_by_their_numbers_as_pandas_does(numbers):
    assert read(f"{numbers}\n5,6,7\n").names == ["0", "1", "2"]


@pytest.mark.parametrize("line", ["22,7.25,3", "22,7.25,male", "1,2,3", "0,1,3", "1e5,-inf,nan"])
def test_a_first_line_of_values_is_no_header(line):
    assert "must hold the names of the columns" in refusal(f"{line}\n1,2,3\n", NAMES).message


def test_names_that_are_numbers_are_taken_where_the_model_has_them():
    assert read("2019,2020,sex\n", {"2019", "2020"}).names == ["2019", "2020", "sex"]


@pytest.mark.parametrize(
    ("text", "column", "tip"),
    [
        (",age,fare,sex\n0,22,7,1\n", 0, "index=False"),
        ("age,fare,sex,\n", 3, "ends with a separator"),
        ("age,,sex\n", 1, "name it, or remove it"),
    ],
)
def test_a_column_without_a_name_is_told_with_what_is_likely_behind_it(text, column, tip):
    error = refusal(text)
    assert error.message == f"column {column} has no name in the header"
    assert tip in error.tip


def test_a_name_that_occurs_twice_is_refused():
    assert "the column 'age' twice" in refusal("age,fare,age\n").message


@pytest.mark.parametrize("above", ["Passengers of 1912", "# exported by hand"])
def test_a_line_above_the_names_is_told(above):
    error = refusal(f"{above}\nage,fare,sex\n1,2,3\n")
    assert error.message.endswith("it has one column, the next line has 3")
    assert "remove what stands above" in error.tip


def file(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with open_table(path) as opened:
        table = TableFile(opened, "rows.csv", set(), 3)
        bad = []
        found = [(number, table.line, cells) for number, cells in table.rows(None, lambda *one: bad.append(one))]
    return found, bad


def test_rows_are_numbered_and_have_the_line_where_they_begin(tmp_path):
    text = '\nsep=,\na,b,"c\nd"\n\n1,2,"3\n4"\n\n\n5,6,7\n'
    assert file(tmp_path, text) == ([(0, 6, ["1", "2", "3\n4"]), (1, 10, ["5", "6", "7"])], [])


@pytest.mark.parametrize(
    ("row", "message", "tip"),
    [
        ("1,2", "row 1 has 2 cells, the header has 3", "the separator is taken to be a comma"),
        ("1,2,3,", "row 1 has 4 cells, the header has 3", "the line ends with a separator"),
        ("1,5,2,5,3,5", "row 1 has 6 cells, the header has 3", "decimals need a point"),
        (",,", "row 1 is empty", "remove the line"),
    ],
)
def test_a_row_that_does_not_fit_is_handed_over_and_the_next_one_follows(tmp_path, row, message, tip):
    found, [(number, error)] = file(tmp_path, f"a,b,c\n1,2,3\n{row}\n4,5,6\n")
    assert [(n, line) for n, line, _ in found] == [(0, 2), (2, 4)]
    assert (number, error.message, error.where) == (1, message, "rows.csv, line 3")
    assert tip in error.tip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04" + bytes(80), "a zip archive"),
        (b"<!DOCTYPE html><title>404</title>", "an HTML page"),
        (b"\x93NUMPY\x01\x00", "a NumPy array"),
        (b"\x1f\x8b\x08\x00", "a gzip file"),
    ],
)
def test_a_file_of_another_kind_is_told_by_its_first_bytes(tmp_path, content, words):
    with pytest.raises(InputError, match=f"no table: it looks like {words}"):
        file(tmp_path, content)
    assert file(tmp_path, b"BMI,b,c\n1,2,3\n")[0] == [(0, 2, ["1", "2", "3"])]  # begins like a BMP image


@pytest.mark.parametrize("rows", ["-1", "-3--1", "1,3", "a", "1-2-", "", "3.5"])
def test_what_names_no_rows_of_a_file_is_told(tmp_path, rows):
    (tmp_path / "rows.csv").write_text("a\n1\n")
    with pytest.raises(InputError) as caught:
        split_source(f"{tmp_path}/rows.csv:{rows}")
    assert caught.value.message == f"'{rows}' names no rows of this file"
    assert "rows.csv:3-7" in caught.value.tip


def test_a_file_whose_own_name_looks_like_rows_is_that_file(tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1\n")
    odd = tmp_path / "rows.csv:-1"
    odd.write_text("a\n1\n")
    assert split_source(str(odd)) == (odd, Rows())
    assert split_source(f"{tmp_path}/none.csv:-1") == (tmp_path / "none.csv:-1", Rows())
