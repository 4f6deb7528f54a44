"""Files with rows that cannot be used: the others are explained, and each bad one is told by row, line and column."""

import json

import numpy as np
import onnx
import pytest

from small_graphs import affine

LINES = ["a,b,c", *(f"{k},{k + 1},{k + 2}" for k in range(20))]


@pytest.fixture
def write(tmp_path):
    """Write a model of three columns, the sum of them, and a file with some of its lines replaced."""
    onnx.save(affine(np.ones((1, 3)), np.zeros(1)), tmp_path / "m.onnx")

    def with_lines(replaced):
        lines = [replaced.get(number, line) for number, line in enumerate(LINES, start=1)]
        (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")

    return with_lines


def explained(run, *more, source="rows.csv"):
    found = run("explain", "m.onnx", source, "-m", "ablation", "--baseline", "0", "--json", *more)
    document = json.loads(found.stdout)
    scores = {int(r["input"]["source"].rpartition(":")[2]): r["score"] for r in document["results"]}
    return found, scores, document["errors"]


def test_a_bad_row_does_not_stop_the_others(run, write):
    write({19: "17,x,19", 8: "6,7", 12: "10,,12", 15: '"13,14,15'})
    found, scores, errors = explained(run, source="rows.csv:0-12")
    assert found.exit_code == 4
    assert scores == {k: 3 * k + 3 for k in range(13) if k not in {6, 10}}
    assert [e["input"] for e in errors] == ["rows.csv:6", "rows.csv:10"]
    found, scores, errors = explained(run)
    assert scores == {k: 3 * k + 3 for k in range(13) if k not in {6, 10}}  # a quotation mark swallows the rest
    assert errors[1]["where"] == "rows.csv, line 15 to 21"
    assert errors[1]["tip"] == "a quotation mark may be missing"


def test_row_line_and_column_of_a_bad_cell_are_told(run, write):
    write({19: "17,x,19"})
    found, scores, (error,) = explained(run)
    assert found.exit_code == 4
    assert sorted(scores) == [k for k in range(20) if k != 17]
    assert error["input"] == "rows.csv:17"
    assert (error["message"], error["where"]) == ("'x' is not a number", "rows.csv, line 19: row 17, column 'b'")


def test_lines_are_those_of_the_file_where_cells_hold_line_breaks(run, write, tmp_path):
    (tmp_path / "rows.csv").write_text('\na,b,c,label\n\n1,2,3,"two\nlines"\n\n4,5,6,x\n7,?,9,x\n')
    _, scores, (error,) = explained(run)
    assert scores == {0: 6, 1: 15}
    assert error["where"] == "rows.csv, line 8: row 2, column 'b'"


def test_a_missing_value_that_the_model_does_not_take_spoils_its_row_only(run, write):
    write({5: "3,,5"})
    found, scores, (error,) = explained(run)
    assert found.exit_code == 4
    assert sorted(scores) == [k for k in range(20) if k != 3]
    assert error["message"].startswith("missing value in column 'b'")
    assert error["where"] == "rows.csv:3, line 5"


def test_many_bad_rows_are_told_in_few_lines_and_listed_in_json(run, write):
    write({number: f"{number},7;5,1" for number in range(2, 20)})
    found, scores, errors = explained(run)
    assert (found.exit_code, sorted(scores), len(errors)) == (4, [18, 19], 18)
    said = found.stderr.splitlines()
    assert len(said) < 20
    assert said[-1] == "error: rows.csv: 13 more rows failed; --json lists them"


def test_a_file_of_bad_rows_only_gives_nothing(run, write):
    write(dict.fromkeys(range(2, 22), "1;2;3"))
    found, scores, errors = explained(run)
    assert (found.exit_code, scores, len(errors)) == (3, {}, 20)


def test_other_files_of_the_command_are_explained(run, write, tmp_path):
    write({3: "1,x,3"})
    (tmp_path / "more.csv").write_text("a,b,c\n1,1,1\n")
    (tmp_path / "broken.csv").write_text("a,b\n1,1\n")
    found = run("explain", "m.onnx", "broken.csv", "rows.csv:0-2", "more.csv", "-m", "ablation", "--json")
    document = json.loads(found.stdout)
    assert found.exit_code == 4
    assert [r["input"]["source"] for r in document["results"]] == ["rows.csv:0", "rows.csv:2", "more.csv:0"]
    assert [e["input"] for e in document["errors"]] == ["broken.csv", "rows.csv:1"]
