"""CSV files of texts: which column it is, what a row becomes, and what is refused by row, line and column."""

import numpy as np
import pytest

import onnxplain
from onnxplain import InputError, InputSpec, ModelSpec, SettingError, Text
from onnxplain.engine.explain import samples_of
from onnxplain.engine.inputs.text_columns import with_text_columns
from onnxplain.engine.inputs.text_inputs import text_inputs
from onnxplain.engine.inputs.tokenizer import read_tokenizer
from text_models import (
    SENTENCE,
    edited,
    refusal,
    string_model,
    text_beside_model,
    texts,
    token_model,
    tokenizer,
    two_texts_model,
    written,
)


@pytest.fixture
def token(tmp_path):
    return onnxplain.load(written(tmp_path, token_model(types=True), tokenizer(pairs=True)), device="cpu")


@pytest.fixture
def csv(tmp_path):
    def write(content, name="rows.csv"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(tmp_path / name)

    return write


def test_row_of_a_file_is_the_text_itself(token, strings, csv):
    source = csv(f'id,text,label\n7,"{SENTENCE}",good\n8,a dull film,bad\n')
    for model in (token, strings):
        found = list(samples_of(model, source))
        (alone,) = samples_of(model, Text(SENTENCE))
        assert {n: a.tolist() for n, a in found[0].feeds.items()} == {n: a.tolist() for n, a in alone.feeds.items()}
        assert found[0].texts == alone.texts
        assert [s.source for s in found] == [f"{source}:0", f"{source}:1"]
        assert [s.label for s in found] == ["good", "bad"]
        assert [s.line for s in found] == [2, 3]
        assert found[1].preprocessing["columns"] == ["text"]
    assert texts(token, f"{source}:1") == texts(token, f"{source}:1-1") == ["a dull film"]
    by_row = onnxplain.explain(token, source, "ablation", target=1)
    assert [dict(e.top_features(9))["film"] for e in by_row] == pytest.approx([0.25, 0.25])
    assert dict(by_row[1].top_features(9))["dull"] == pytest.approx(-2.0)


@pytest.mark.parametrize(
    ("header", "row", "text"),
    [
        ("title,Review,stars", "x,a film,3", "a film"),
        ("when,blurb", "3,a film", "a film"),  # the only one that holds more than numbers
        ("blurb,class", "a film,good", "a film"),
        ("text,sentence", "a film,dull", "a film"),
        ("text;label", "a, film;good", "a, film"),
        ("premise,hypothesis", "a film,dull", "a film\n\ndull"),
        ("label,Sentence2,sentence1", "1,dull,a film", "a film\n\ndull"),
    ],
)
def test_column_is_found_by_its_name_or_as_the_only_text(token, csv, header, row, text):
    assert texts(token, csv(f"{header}\n{row}\n")) == [text]


def test_strings_take_no_pair(strings, csv):
    assert texts(strings, csv("text,text_pair\na film,dull\n")) == ["a film"]
    assert "holds the text? It has 'premise', 'hypothesis'" in refusal(strings, csv("premise,hypothesis\na,b\n"))


def test_spec_and_option_name_the_columns(token, csv):
    source = csv("a,b,c\nfilm,dull,moving\n")
    assert "which column of this file holds the text? It has 'a', 'b', 'c'" in refusal(token, source)
    plain, found = token.spec, text_inputs(token.inputs, token.spec)
    for names, text in ((("b",), "dull"), (("c", "a"), "moving\n\nfilm")):
        token.spec = with_text_columns(plain, found, names)
        assert token.spec.inputs["input_ids"].columns == names
        assert texts(token, source) == [text]
    token.spec = with_text_columns(plain, found, ("bb",))
    assert "no column 'bb'" in refusal(token, source)
    token.spec = with_text_columns(plain, found, ("a", "b", "c"))
    with pytest.raises(SettingError, match="3 columns are named"):
        list(samples_of(token, source))
    with pytest.raises(InputError, match="no input of the model"):
        with_text_columns(plain, (), ("a",))


def test_model_of_two_texts_takes_two_columns(tmp_path, csv):
    model = onnxplain.load(written(tmp_path, two_texts_model(), tokenizer()), device="cpu")
    (sample,) = samples_of(model, csv("id,Context,question\n1,dull,a film\n"))
    assert [(t.input, t.text) for t in sample.texts] == [
        ("question_input_ids", "a film"),
        ("context_input_ids", "dull"),
    ]
    assert sample.source.endswith("rows.csv:0")
    assert texts(model, csv("sentence1,sentence2\nfilm,dull\n")) == ["film\n\ndull"]
    assert "which column of this file is input 'question_input_ids'" in refusal(model, csv("a,b\nfilm,dull\n"))
    with pytest.raises(SettingError, match="takes 2 texts, and columns are named for 1"):
        with_text_columns(model.spec, text_inputs(model.inputs, model.spec), ("a",))


def test_row_may_hold_a_text_beside_numbers(tmp_path, csv):
    model = onnxplain.load(written(tmp_path, text_beside_model(), tokenizer()), device="cpu")
    source = csv("width,text,height\n3,a film,0.5\nx,dull,1\n2,,1\n1,dull,2\n")
    bad = []
    found = list(samples_of(model, source, refused=lambda where, error: bad.append((where[-2:], str(error)))))
    assert [(s.text, s.feeds["row"].tolist()) for s in found] == [("a film", [[3, 0.5]]), ("dull", [[1, 2]])]
    assert [where for where, _ in bad] == [":1", ":2"]
    assert "'x' is not a number" in bad[0][1]
    assert "line 4: row 2, column 'text'" in bad[1][1]
    exact = onnxplain.explain(model, f"{source}:0", "exact-shapley", target=1)
    assert dict(exact.top_features(9)) == pytest.approx({"a": 0, "film": 0.25, "width": 3, "height": 5})
    picture = onnxplain.load(written(tmp_path, text_beside_model(picture=True), tokenizer()), device="cpu")
    assert "do not fill input 'picture'" in refusal(picture, source)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "this file is empty"),
        ("text\n", "has no rows"),
        ("text|label\na|b\n", "separated by '|'"),
        ("text\na, film\n", "row 0 has 2 cells"),
        ('text\n""\n', "the text is empty\n  at: ROWS, line 2: row 0, column 'text'"),
        (b"text\nsch\xf6n\n", "not UTF-8"),
        (b"\xff\xfet\x00", "UTF-16"),
        ("id,stars\n1,2\n", "no column of this file holds a text. It has 'id', 'stars'"),
        ("a wonderful moving film\na dull film\n", "the first line must hold the names"),
        ("a film,1\na dull film,0\n", "the first line must hold the names"),
        ("text,label,class\na,b,c\n", "which column is the true class?"),
        ("text\n[CLS]\n", "only special ones\n  at: ROWS, line 2: row 0"),
        ('text\n"a film\ndull\n"a"\nfilm\n', "cannot be read"),
        ('text\n"say \\"a\\", film"\n', "is not written twice"),
        ("text\n" + "x" * 200_000, "at most 131,072 characters"),
    ],
)
def test_bad_files_are_refused_by_row_line_and_column(token, csv, content, said):
    source = csv(content)
    assert said in refusal(token, source).replace(source, "ROWS")


def test_bad_rows_do_not_stop_the_others(strings, csv):
    bad = []
    source = csv('text\na film\n""\ndull,er\ndull\n')
    found = list(samples_of(strings, source, refused=lambda where, _: bad.append(where)))
    assert [s.source for s in found] == [f"{source}:0", f"{source}:3"]
    assert bad == [f"{source}:1", f"{source}:2"]


def test_commas_are_letters_where_tabs_separate(strings, csv):
    assert texts(strings, csv(f"text\n{SENTENCE}\n", "rows.tsv")) == [SENTENCE]


def test_codes_in_columns_are_still_a_table(tmp_path, csv):
    model = onnxplain.load(written(tmp_path, token_model(mask=False), tokenizer()), device="cpu")
    (sample,) = samples_of(model, csv("a,b,label\n9,10,good\n"))
    assert sample.feeds["input_ids"].tolist() == [[9, 10]]
    assert texts(model, csv("text\n12\n")) == ["12"]


def test_category_is_no_text_where_the_spec_says_so(tmp_path, csv):
    spec = ModelSpec(inputs={"text": InputSpec("text", "table", columns=("city",))})
    model = onnxplain.load(written(tmp_path, string_model()), spec=spec, device="cpu")
    (sample,) = samples_of(model, csv("city\nRome\n"))
    assert (sample.modality, sample.columns, sample.texts) == ("table", ("city",), ())


def test_arrays_and_lists_of_strings_are_texts(strings):
    (alone,) = samples_of(strings, Text(SENTENCE))
    given = (
        [SENTENCE, "dull"],
        np.array([[SENTENCE], ["dull"]], dtype=object),
        np.array([SENTENCE, "dull"]),
        {"text": [SENTENCE, "dull"]},
    )
    for one in given:
        first, second = samples_of(strings, one)
        assert first.texts == alone.texts
        assert second.text == "dull"


def test_name_of_no_file_says_how_texts_are_given(token):
    assert 'onnxplain.Text("...")' in refusal(token, "a wonderful film")


def test_tokenizer_is_read_once_until_it_changes(tmp_path):
    tokenizer().save(str(tmp_path / "tokenizer.json"))
    first = read_tokenizer(tmp_path / "tokenizer.json")
    assert read_tokenizer(tmp_path / "tokenizer.json") is first
    edited(tmp_path, truncation={"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"})
    assert (first.length, read_tokenizer(tmp_path / "tokenizer.json").length) == (0, 4)
    (tmp_path / "special_tokens_map.json").write_text('{"pad_token": "film"}')
    changed = read_tokenizer(tmp_path / "tokenizer.json").stand_ins["pad"]
    assert changed != first.stand_ins["pad"]
