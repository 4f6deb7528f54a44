"""Arrays of codes are read back: bytes as characters, tokens by the names of a vocabulary."""

import json

import numpy as np
import pytest

import onnxplain
from onnxplain import Explanation, InputSpec, ModelSpec, SettingError
from onnxplain.engine.explain import samples_of
from onnxplain.engine.inputs.code_names import texts_of_codes
from onnxplain.engine.marked_text import marked_text
from text_models import VOCABULARY, token_model, tokenizer, written

SENTENCE = ["[CLS]", "a", "won", "##der", "##ful", ",", "moving", "film", "[SEP]"]
CODES = np.array([[VOCABULARY[token] for token in SENTENCE]])


def of_bytes(codes):
    spec = ModelSpec(inputs={"x": InputSpec("x", "array", "NT", codes="bytes")})
    (text,) = texts_of_codes({"x": np.asarray([codes])}, spec)
    return text


def read(text):
    return [text.text[begin:end] for begin, end in text.spans]


def test_bytes_are_shown_as_characters_or_in_hexadecimal():
    text = of_bytes([*b"\x89PNG\r\n", *"é".encode(), 0xFF])
    assert text.text == "\\x89PNG\\x0d\né\\xff"
    assert read(text) == ["\\x89", "P", "N", "G", "\\x0d", "\n", "é", "é", "\\xff"]
    assert text.tokens == ("\\x89", "P", "N", "G", "\\x0d", "\n", "é", "é", "\\xff")
    assert text.stand_ins == {}


def test_numbers_that_are_no_bytes_part_what_is_around_them():
    text = of_bytes([*b"ab", 256, 256, *b"c "])
    assert text.text == "ab\n\nc "
    assert read(text) == ["a", "b", "", "", "c", " "]
    assert text.tokens[2] == "<256>"
    assert text.stand_ins == {"pad": 256}
    assert of_bytes([-3, 97]).stand_ins == {}


@pytest.mark.parametrize("content", [b"\xe2\x82", b"\xc3(", b"\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])
def test_broken_utf_8_has_a_place_for_every_byte(content):
    text = of_bytes(list(content))
    assert len(text.spans) == len(text.tokens) == len(content)
    assert all(begin < end for begin, end in text.spans)


def spec_of(folder, name, content, **fields):
    (folder / name).write_text(content)
    entry = InputSpec("input_ids", "text", "NT", codes=name, **fields)
    return ModelSpec(inputs={"input_ids": entry}, source=str(folder / "model.toml"))


VOCABULARIES = {
    "vocab.txt": "\n".join(VOCABULARY) + "\n",
    "vocab.json": json.dumps(VOCABULARY),
    "list.json": json.dumps(list(VOCABULARY)),
    "tokenizer.json": json.dumps({"model": {"vocab": VOCABULARY}}),
    "unigram.json": json.dumps({"model": {"vocab": [[name, -1.0] for name in VOCABULARY]}, "added_tokens": []}),
}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_tokens_are_named_by_a_vocabulary(tmp_path, name):
    (text,) = texts_of_codes({"input_ids": CODES}, spec_of(tmp_path, name, VOCABULARIES[name]))
    assert text.tokens == tuple(SENTENCE)
    assert text.text == "a wonderful , moving film"
    assert read(text) == ["", "a", "won", "der", "ful", ",", "moving", "film", ""]
    assert text.stand_ins == {"mask": 4, "unk": 1, "pad": 0}


@pytest.mark.parametrize("sign", ["\u2581", "\u0120"])
def test_signs_of_spaces_are_spaces(tmp_path, sign):
    names = ["<s>", f"{sign}a", "ll", f"{sign}films", ".", "</s>", "<unk>"]
    (text,) = texts_of_codes({"input_ids": np.arange(6)[None]}, spec_of(tmp_path, "v.json", json.dumps(names)))
    assert text.text == "all films."
    assert read(text) == ["", "a", "ll", "films", ".", ""]
    (text,) = texts_of_codes({"input_ids": np.array([[1, 99]])}, spec_of(tmp_path, "v.json", json.dumps(names)))
    assert text.tokens[1] == "<99>"


@pytest.mark.parametrize("content", ["{}", "[]", "3", '{"a": "b"}', "[[]]", '[1, "a"]', '{"a": true}'])
def test_file_that_is_no_vocabulary_is_refused(tmp_path, content):
    with pytest.raises(SettingError, match="no vocabulary"):
        texts_of_codes({"input_ids": CODES}, spec_of(tmp_path, "v.json", content))


def test_missing_vocabulary_is_told_and_other_arrays_are_left_alone(tmp_path):
    spec = ModelSpec(inputs={"x": InputSpec("x", "array", codes="v.txt")}, source=str(tmp_path / "m.toml"))
    with pytest.raises(SettingError, match="no such file"):
        texts_of_codes({"x": CODES}, spec)
    for feed in (CODES.astype(np.float32), CODES[0], CODES[None], np.zeros((1, 1 << 17), int), np.zeros((1, 0), int)):
        assert texts_of_codes({"x": feed}, spec) == ()
    assert texts_of_codes({"x": CODES}, None) == ()


def test_array_of_codes_is_explained_as_the_text_is(tmp_path):
    (tmp_path / "model.toml").write_text('[inputs.input_ids]\ntokenizer = "tokenizer.json"\n')
    model = onnxplain.load(written(tmp_path, token_model(), tokenizer()), device="cpu")
    arrays = {"input_ids": CODES, "attention_mask": np.ones_like(CODES)}
    found = onnxplain.explain(model, arrays, "exact-shapley", target=1)
    told = onnxplain.explain(model, onnxplain.Text("a wonderful, moving film"), "exact-shapley", target=1)
    assert found.feature_names == told.feature_names
    assert found.feature_values == pytest.approx(told.feature_values)
    again = Explanation.load(found.save(tmp_path / "r.npz"))
    (tmp_path / "tokenizer.json").unlink()
    assert onnxplain.replay(again) == found


def test_codes_in_the_spec_are_checked_written_and_read_back(tmp_path):
    from onnxplain.engine.specs.reading import read_spec
    from onnxplain.engine.specs.toml import write_spec

    (tmp_path / "vocab.txt").write_text("a\n")
    for codes in ("bytes", "vocab.txt"):
        spec = ModelSpec(inputs={"x": InputSpec("x", "array", "NT", codes=codes)})
        assert read_spec(write_spec(spec, tmp_path / "m.toml", overwrite=True)).inputs == spec.inputs
    (tmp_path / "m.toml").write_text('[inputs.x]\ncodes = "../v.txt"\n')
    with pytest.raises(SettingError, match="inside the folder"):
        read_spec(tmp_path / "m.toml")
    with pytest.raises(SettingError, match="codes are for"):
        InputSpec("x", "image", codes="bytes")


def test_windows_over_bytes_colour_their_characters(tmp_path):
    (tmp_path / "model.toml").write_text('[inputs.input_ids]\nmodality = "array"\nlayout = "NT"\ncodes = "bytes"\n')
    model = onnxplain.load(
        written(tmp_path, token_model(mask=False, table=np.eye(256, 2, -97, np.float32))), device="cpu"
    )
    (sample,) = samples_of(model, np.array([[*b"xbxb"]]))
    assert sample.text == "xbxb"
    result = onnxplain.explain(model, sample, "ablation", target=1, features="windows:2", baseline=0)
    marked = marked_text(result)
    assert [(text, mark.value) for text, mark in marked.runs()] == [("xb", 1.0), ("xb", 1.0)]
