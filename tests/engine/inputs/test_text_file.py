"""Text files: one text, or the lines that a source names; what a line becomes, and what is refused by its row."""

import numpy as np
import pytest

import onnxplain
from onnxplain import InputError, SettingError, Text
from onnxplain.engine.explain import samples_of
from onnxplain.engine.inputs import row_file
from onnxplain.engine.inputs.rows import Rows, by_line, names_rows, split_source
from small_graphs import affine
from text_models import (
    SENTENCE,
    WORD_VALUES,
    refusal,
    string_model,
    text_beside_model,
    texts,
    token_model,
    tokenizer,
    two_texts_model,
    written,
)

LINES = [SENTENCE, " not a dull film!  ", "", "the film, moving.", "\t", "dull"]
TWO = "film\ndull"
NUMBERS = affine(np.eye(2), np.zeros(2))


@pytest.fixture
def token(tmp_path):
    return onnxplain.load(written(tmp_path, token_model(), tokenizer()), device="cpu")


@pytest.fixture
def txt(tmp_path):
    def write(content, name="reviews.txt"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("begin", ["", "\ufeff"])
def test_a_line_is_explained_bit_for_bit_as_its_text(token, strings, txt, end, begin):
    source = txt(begin + end.join(LINES))
    for model in (token, strings):
        for row in (0, 1, 3, 5):
            by_row = onnxplain.explain(model, f"{source}:{row}", "kernel-shap", target=1, seed=3)
            alone = onnxplain.explain(model, Text(LINES[row]), "kernel-shap", target=1, seed=3)
            assert by_row.sample.source == f"{source}:{row}"
            assert by_row.sample.line == row + 1
            assert by_row.sample.texts == alone.sample.texts
            assert by_row.score == alone.score
            assert {n: a.tobytes() for n, a in by_row.values.items()} == {
                n: a.tobytes() for n, a in alone.values.items()
            }
    exact = onnxplain.explain(token, f"{source}:0", "exact-shapley", target=1)
    assert dict(exact.top_features(9)) == pytest.approx(WORD_VALUES)


def test_rows_are_named_as_of_tables_and_may_be_left_open(token, txt):
    source = txt("a\nfilm\ndull\nmoving")
    assert texts(token, f"{source}:1") == texts(token, f"{source}:1-1") == ["film"]
    assert texts(token, f"{source}:1-2") == ["film", "dull"]
    assert texts(token, f"{source}:2-") == ["dull", "moving"]
    assert texts(token, f"{source}:0-") == ["a", "film", "dull", "moving"]
    assert [s.source[-2:] for s in samples_of(token, [f"{source}:3", f"{source}:0-1"])] == [":3", ":0", ":1"]
    assert len(texts(token, source)) == 1  # a file by itself is one text
    assert names_rows(f"{source}:0-")
    assert not names_rows(source)
    assert by_line(source) == f"{source}:0-"
    for other in (f"{source}:1", "none.txt", "\0.txt", "rows.csv"):
        assert by_line(other) == other
    assert split_source("D:/a.txt:3-")[1] == Rows(3)
    assert split_source("D:/a.txt:3-7")[1] == Rows(3, 7)


def test_a_file_whose_own_name_looks_like_lines_is_that_file(txt):
    odd = txt(TWO, "odd.txt:0-1")
    assert str(split_source(odd)[0]) == odd
    assert not names_rows(odd)


@pytest.mark.parametrize(
    ("content", "rows", "said"),
    [
        ("a\nfilm\n", "2", "there is no row 2: this file has 2\n  at: FILE\n  tip: rows are counted from 0 to 1"),
        ("a\nfilm", "1-4", "there is no row 4: this file has 2"),
        ("a\nfilm", "7-", "there is no row 7: this file has 2"),
        ("a\nfilm", "1-0", "rows 1-0 run backwards"),
        ("a\nfilm", "0-10000", "10,001 rows are more than the 10,000 taken at once"),
        ("a", "-1", "'-1' names no rows of this file\n  at: FILE\n  tip: rows are lines, counted from 0"),
        ("a", "0,1", "'0,1' names no rows of this file"),
        ("", "0", "this file has no rows"),
        ("", "0-", "this file has no rows"),
        ("a\n\nfilm\n", "0-", "the text is empty\n  at: FILE, line 2: row 1\n  tip: remove the line"),
        ("a\n \t\n", "1", "the text is empty\n  at: FILE, line 2: row 1"),
        ("a\n[CLS] [SEP]\n", "0-1", "only special ones\n  at: FILE, line 2: row 1"),
        ("a\n" + "x " * (1 << 19) + "x", "1", "more than 1,048,576 characters, the limit\n  at: FILE, line 2: row 1"),
        (b"film\nsch\xf6n\n", "1", "this file is not UTF-8 text"),
        ("film\n".encode("utf-16"), "0", "this file is UTF-16\n  at: FILE\n  tip: save it as UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", "0", "this file is no text: it looks like a PNG image"),
    ],
)
def test_what_cannot_be_read_is_refused(token, txt, content, rows, said):
    source = txt(content)
    assert said in refusal(token, f"{source}:{rows}").replace(source, "FILE")


def test_blank_lines_keep_their_number_and_do_not_stop_the_others(token, txt):
    source = txt("\n".join(LINES))
    bad = []
    found = list(samples_of(token, f"{source}:1-", refused=lambda where, error: bad.append((where, error.message))))
    assert [s.source for s in found] == [f"{source}:{row}" for row in (1, 3, 5)]
    assert bad == [(f"{source}:2", "the text is empty"), (f"{source}:4", "the text is empty")]
    assert texts(token, f"{source}:3") == ["the film, moving."]  # the blank line before was not asked for


def test_texts_may_begin_like_other_files_and_hold_other_separators(strings, txt):
    """Only what ends a line in a text editor does here."""
    lines = ["<html> a film", "BM a\x0bfilm", "a\u2028dull\x85film\x0c"]
    source = txt("\n".join(lines))
    assert texts(strings, f"{source}:0-") == lines


def test_files_and_lines_have_limits(strings, txt, monkeypatch):
    monkeypatch.setattr(row_file, "MAX_ROWS", 5)
    source = txt("a film\n" * 9)
    assert len(texts(strings, f"{source}:4")) == 1
    assert "more than 5 rows" in refusal(strings, f"{source}:8")
    monkeypatch.setattr(row_file, "MAX_SAMPLES", 2)
    more = refusal(strings, f"{source}:1-")
    assert "more than the 2 rows taken at once" in more
    assert "tip: choose some: reviews.txt:1-2" in more
    monkeypatch.setattr(row_file, "MAX_LINE", 20)
    assert "more than 20 characters" in refusal(strings, f"{txt('a film ' * 9)}:0")


@pytest.mark.parametrize(
    ("made", "tokenizer_given", "said"),
    [
        (NUMBERS, None, "no input of the model is known to take a text"),
        (NUMBERS, "any.json", "there is no use for a tokenizer"),
        (string_model(), "any.json", "takes the text itself: no tokenizer"),
        (two_texts_model(), None, "the model takes 2 texts, and one was given"),
        (text_beside_model(), None, "does not fill input 'row'"),
    ],
)
def test_what_does_not_fit_any_line_is_said_once(tmp_path, txt, made, tokenizer_given, said):
    model = onnxplain.load(written(tmp_path, made, tokenizer()), device="cpu")
    told = []
    with pytest.raises(InputError, match=said):
        list(samples_of(model, f"{txt(TWO)}:0-", tokenizer_given, refused=lambda *bad: told.append(bad)))
    assert told == []


def test_tokenizer_is_the_one_that_is_named(tmp_path, txt):
    model = onnxplain.load(written(tmp_path, token_model()), device="cpu")
    source = f"{txt(TWO)}:0-1"
    tokenizer().save(str(tmp_path / "own.json"))
    assert texts(model, source, tokenizer=tmp_path / "own.json") == ["film", "dull"]
    with pytest.raises(SettingError, match="no such file"):
        texts(model, source, tokenizer=tmp_path / "none.json")


def test_lines_are_evaluated(token, txt):
    source = txt("a moving film\na dull film\nnot moving")
    (by_line_,) = onnxplain.evaluate(token, f"{source}:0-1", "ablation", ["sparseness"], controls=False)
    alone = [Text("a moving film"), Text("a dull film")]
    (by_text,) = onnxplain.evaluate(token, alone, "ablation", ["sparseness"], controls=False)
    assert np.array_equal(by_line_.samples, by_text.samples)


def test_a_tokenizer_from_anywhere_is_named_in_the_call(tmp_path, txt):
    (tmp_path / "far").mkdir()
    tokenizer().save(str(tmp_path / "far" / "own.json"))
    model = onnxplain.load(written(tmp_path, token_model()), device="cpu")
    texts_given = (SENTENCE, "the film, moving.")
    source, own = txt("\n".join(texts_given)), tmp_path / "far" / "own.json"
    found = onnxplain.explain(model, f"{source}:0-", "exact-shapley", tokenizer=own)
    assert found == onnxplain.explain(model, [Text(line, own) for line in texts_given], "exact-shapley")
    named = {"inputs": f"{source}:0-", "method": "exact-shapley", "metrics": ["sparseness", "completeness"]}
    scores = onnxplain.evaluate(model, **named, controls=False, tokenizer=own)
    of_texts = onnxplain.evaluate(model, **named | {"inputs": [one.sample for one in found]}, controls=False)
    assert [score.samples for score in scores] == [score.samples for score in of_texts]
