"""Texts become the inputs of a model: codes by its tokenizer, or strings; and what is said where they cannot."""

import json
import shutil
import sys

import numpy as np
import pytest
from onnx import TensorProto

import onnxplain
from onnxplain import CapabilityError, InputError, InputSpec, ModelSpec, SettingError, Text
from onnxplain.engine.explain import samples_of
from onnxplain.engine.inputs import tokenizer as tokenizer_module
from text_models import SENTENCE, VOCABULARY, edited, string_model, token_model, tokenizer, worths, written

CODES = [VOCABULARY[t] for t in ("[CLS]", "a", "won", "##der", "##ful", ",", "moving", "film", "[SEP]")]


def sample_of(path, text=SENTENCE, spec=None, **given):
    (sample,) = samples_of(onnxplain.load(path, spec, device="cpu"), Text(text, **given))
    return sample


def test_text_fills_all_inputs_in_the_models_own_type(tmp_path):
    path = written(tmp_path, token_model(positions=True, types=True, kind=TensorProto.INT32), tokenizer())
    sample = sample_of(path)
    assert {a.dtype for a in sample.feeds.values()} == {np.dtype(np.int32)}
    assert sample.feeds["input_ids"].tolist() == [CODES]
    assert sample.feeds["attention_mask"].tolist() == [[1] * 9]
    assert sample.feeds["token_type_ids"].tolist() == [[0] * 9]
    assert sample.feeds["position_ids"].tolist() == [list(range(9))]
    (text,) = sample.texts
    assert (sample.modality, sample.text, text.input) == ("text", SENTENCE, "input_ids")
    assert text.tokens[:4] == ("[CLS]", "a", "won", "##der")
    assert [SENTENCE[a:z] for a, z in text.spans] == ["", "a", "won", "der", "ful", ",", "moving", "film", ""]
    assert text.stand_ins == {"mask": 4, "unk": 1, "pad": 0}
    assert sample.source == f'"{SENTENCE}"'


def test_fixed_length_is_filled_up_with_padding_on_the_side_of_the_tokenizer(tmp_path):
    path = written(tmp_path, token_model(positions=True, length=12), tokenizer())
    sample = sample_of(path)
    assert sample.feeds["input_ids"].tolist() == [CODES + [0] * 3]
    assert sample.feeds["attention_mask"].tolist() == [[1] * 9 + [0] * 3]
    assert sample.texts[0].tokens[-3:] == ("", "", "")
    assert sample.texts[0].spans[-3:] == ((0, 0),) * 3
    left = tokenizer()
    left.enable_padding(direction="left", pad_id=0, pad_token="[PAD]")  # noqa: S106 - no password
    left.save(str(tmp_path / "tokenizer.json"))
    sample = sample_of(path)
    assert sample.feeds["input_ids"].tolist() == [[0] * 3 + CODES]
    assert sample.feeds["position_ids"].tolist() == [[0] * 3 + list(range(9))]


@pytest.mark.parametrize("sizes", [[9], [1, 9], ["n", 9]])
def test_inputs_with_and_without_a_batch_axis(tmp_path, sizes):
    proto = token_model(length=9, sizes=["n", 9])
    for value in (*proto.graph.input, *proto.graph.output):
        if sizes[0] == 1:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    sample = sample_of(written(tmp_path, proto, tokenizer()))
    assert sample.feeds["input_ids"].reshape(-1).tolist() == CODES


@pytest.mark.parametrize("where", ["spec", "tokenizer", "config", "positions", "fixed"])
def test_longest_text_comes_from_spec_tokenizer_config_positions_or_shape(tmp_path, where):
    spec = None
    proto = token_model(length=6 if where == "fixed" else "sequence")
    made = tokenizer(max_length=6) if where == "tokenizer" else tokenizer()
    path = written(tmp_path, proto, made)
    if where == "spec":
        spec = ModelSpec(inputs={"input_ids": InputSpec("input_ids", "text", length=6)})
    if where == "config":
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 6}))
    if where == "positions":
        from onnx import helper, numpy_helper

        proto.graph.initializer.append(
            numpy_helper.from_array(np.zeros((6, 2), np.float32), "bert.position_embeddings")
        )
        proto.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "first"))
        proto.graph.node.insert(0, helper.make_node("Gather", ["bert.position_embeddings", "first"], ["unused"]))
        path = written(tmp_path, proto, made)
    sample = sample_of(path, spec=spec)
    assert sample.feeds["input_ids"].tolist() == [[*CODES[:5], CODES[-1]]]
    assert sample.text == "a wonderful"
    assert sample.preprocessing["texts"]["input_ids"]["left_off"] == 3
    assert "cut off after 6 tokens" in sample.notes[0]
    assert "3 more" in sample.notes[0]
    explained = onnxplain.explain(onnxplain.load(path, spec, device="cpu"), Text(SENTENCE), "ablation")
    assert any("cut off after 6 tokens" in note for note in explained.notes)


def test_text_that_fits_is_not_said_to_be_cut(tmp_path):
    sample = sample_of(written(tmp_path, token_model(), tokenizer(max_length=9)))
    assert sample.notes == ()
    assert sample.preprocessing["texts"]["input_ids"]["left_off"] == 0


def test_length_without_room_for_the_text_is_refused(tmp_path):
    path = written(tmp_path, token_model(length=2), tokenizer())
    with pytest.raises(SettingError, match="no room"):
        sample_of(path)


def test_text_file_and_strings_in_python(tmp_path):
    path = written(tmp_path, token_model(), tokenizer())
    (tmp_path / "review.txt").write_text("\ufeffa dull film\n", encoding="utf-8")
    (sample,) = samples_of(onnxplain.load(path, device="cpu"), tmp_path / "review.txt")
    assert sample.feeds["input_ids"].shape == (1, 5)
    assert sample.source == str(tmp_path / "review.txt")
    with pytest.raises(InputError, match="no such file"):
        list(samples_of(onnxplain.load(path, device="cpu"), SENTENCE))


def test_folder_of_texts_is_expanded_but_texts_beside_pictures_are_not(tmp_path):
    from onnxplain.engine.inputs import expand_sources

    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.txt").write_text("y")
    assert len(expand_sources([str(tmp_path)])) == 2
    (tmp_path / "cat.png").write_bytes(b"")
    assert [s[-7:] for s in expand_sources([str(tmp_path)])] == ["cat.png"]


def test_tokenizer_is_found_in_the_spec_above_an_onnx_folder_or_given(tmp_path):
    made = tokenizer()
    (tmp_path / "onnx").mkdir()
    path = written(tmp_path / "onnx", token_model())
    made.save(str(tmp_path / "tokenizer.json"))
    assert sample_of(path).feeds["input_ids"].tolist() == [CODES]
    shutil.move(tmp_path / "tokenizer.json", tmp_path / "other.json")
    with pytest.raises(CapabilityError, match="no tokenizer"):
        sample_of(path)
    assert sample_of(path, tokenizer=tmp_path / "other.json").feeds["input_ids"].tolist() == [CODES]
    (tmp_path / "onnx" / "parts").mkdir()
    shutil.copy(tmp_path / "other.json", tmp_path / "onnx" / "parts" / "t.json")
    (tmp_path / "onnx" / "model.toml").write_text('[inputs.input_ids]\ntokenizer = "parts/t.json"\n')
    assert sample_of(path).feeds["input_ids"].tolist() == [CODES]
    (tmp_path / "onnx" / "model.toml").write_text('[inputs.input_ids]\ntokenizer = "../other.json"\n')
    with pytest.raises(SettingError, match="inside the folder"):
        sample_of(path)
    (tmp_path / "onnx" / "model.toml").write_text('[inputs.input_ids]\ntokenizer = "parts/missing.json"\n')
    with pytest.raises(SettingError, match="no such file"):
        sample_of(path)


def test_missing_package_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch):
    path = written(tmp_path, token_model(), tokenizer())
    monkeypatch.setattr(tokenizer_module, "is_installed", lambda: False)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(CapabilityError, match=r"onnxplain\[text\]"):
        sample_of(path)


@pytest.mark.parametrize("text", ["", "   \n\t"])
def test_empty_text_is_refused(tmp_path, text):
    path = written(tmp_path, token_model(), tokenizer())
    with pytest.raises(InputError, match="empty"):
        sample_of(path, text)
    with pytest.raises(InputError, match="empty"):
        sample_of(written(tmp_path, string_model(), name="strings"), text)


def test_text_of_special_tokens_only_is_refused(tmp_path):
    path = written(tmp_path, token_model(), tokenizer())
    with pytest.raises(InputError, match="only special ones"):
        sample_of(path, "[CLS] [SEP] [MASK]")
    assert sample_of(path, "zzz").feeds["input_ids"].tolist() == [[2, 1, 3]]  # an unknown word is a word


def test_text_that_is_no_unicode_or_too_long_is_refused(tmp_path):
    path = written(tmp_path, token_model(), tokenizer())
    with pytest.raises(InputError, match="half a character at place 1"):
        sample_of(path, "a\ud800")
    with pytest.raises(InputError, match="1,048,576 characters"):
        sample_of(path, "a " * (1 << 20))
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        list(samples_of(onnxplain.load(path, device="cpu"), tmp_path / "x.txt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no tokenizer"),
        (b"not json", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"{", "EOF"),
        (b"{}", "Model missing"),
        (b'{"model": {}}', "ModelUntagged"),
        (b'{"a":' * 100_000, "cannot be used"),
        (b"\x80\x04\x95\xff", "a Python pickle"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (b"<!DOCTYPE html>", "an HTML page"),
        (b"\xff\xfe{", "not UTF-8"),
        (b'{"version":"1.0","model":{"type":"BPE","vocab":{},"merges":["a b"]}}', "cannot be used"),
    ],
)
def test_damaged_and_hostile_tokenizers_are_refused(tmp_path, content, message):
    path = written(tmp_path, token_model())
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(SettingError, match=message):
        sample_of(path)


def test_huge_tokenizer_is_refused_before_it_is_read(tmp_path):
    path = written(tmp_path, token_model())
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(tokenizer_module.LARGEST_TOKENIZER + 1)
    with pytest.raises(SettingError, match="MiB"):
        sample_of(path)


def test_tokenizer_that_fails_on_a_text_is_told(tmp_path):
    path = written(tmp_path, token_model(), tokenizer())
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    edited(tmp_path, model={**model, "unk_token": "[NONE]"})
    with pytest.raises(InputError, match="cannot take this text"):
        sample_of(path, "zzz")


def test_template_with_more_tokens_than_codes_is_refused(tmp_path):
    path = written(tmp_path, token_model(), tokenizer())
    template = json.loads((tmp_path / "tokenizer.json").read_text())["post_processor"]
    template["special_tokens"]["[CLS]"]["tokens"] = []
    edited(tmp_path, post_processor=template)
    with pytest.raises(SettingError, match="tokens and"):
        sample_of(path)


def test_codes_beyond_the_models_vocabulary_are_refused(tmp_path):
    path = written(tmp_path, token_model(table=worths()[:10]), tokenizer())
    with pytest.raises(InputError, match="knows 10 tokens only"):
        sample_of(path, "a dull film")
    assert sample_of(path, "a moving").feeds["input_ids"].max() == 9


def test_model_that_takes_no_text_and_input_that_nothing_fills(tmp_path):
    from small_graphs import affine

    path = written(tmp_path, affine(np.eye(2), np.zeros(2)))
    with pytest.raises(InputError, match="known to take a text"):
        sample_of(path)
    proto = token_model()
    proto.graph.input[1].name = "ages"
    for node in proto.graph.node:
        node.input[:] = ["ages" if name == "attention_mask" else name for name in node.input]
    path = written(tmp_path, proto, tokenizer(), name="odd")
    with pytest.raises(InputError, match="input 'ages'"):
        sample_of(path)


def test_string_input_takes_the_text_as_it_is(tmp_path):
    sample = sample_of(written(tmp_path, string_model()))
    assert sample.feeds["text"].tolist() == [[SENTENCE]]
    assert sample.texts[0].tokens == ("a", "wonderful", ",", "moving", "film")
    assert (sample.modality, sample.texts[0].input) == ("text", "text")


def test_spec_of_a_text_is_written_and_read_back(tmp_path):
    from onnxplain.engine.specs.reading import read_spec
    from onnxplain.engine.specs.toml import write_spec

    (tmp_path / "t.json").write_text("{}")
    spec = ModelSpec(inputs={"ids": InputSpec("ids", "text", "NT", tokenizer="t.json", length=128)})
    assert read_spec(write_spec(spec, tmp_path / "s.toml")).inputs == spec.inputs
    with pytest.raises(SettingError, match="length"):
        InputSpec("ids", "text", length=-1)
