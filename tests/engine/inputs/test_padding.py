"""Texts of different lengths as rows of one shape."""

import json

import numpy as np
import pytest

import onnxplain
from onnxplain import InputError, Text
from onnxplain.engine.explain import samples_of
from onnxplain.engine.inputs.padding import padded
from text_models import PIECES, VOCABULARY, string_model, token_model, tokenizer, written

PAD = VOCABULARY["[PAD]"]


def read(folder, proto, made, *texts):
    model = onnxplain.load(written(folder, proto, made), device="cpu")
    return [sample for text in texts for sample in samples_of(model, Text(text))]


def test_the_shorter_one_is_filled_up_to_the_longer(tmp_path):
    short, long = read(tmp_path, token_model(types=True, positions=True), tokenizer(), "film", "a moving film")
    filled, same = padded([short, long])
    assert same == long
    codes = [VOCABULARY[t] for t in ("[CLS]", "film", "[SEP]")]
    assert filled.feeds["input_ids"].tolist() == [[*codes, PAD, PAD]]
    assert filled.feeds["attention_mask"].tolist() == [[1, 1, 1, 0, 0]]
    assert filled.feeds["token_type_ids"].tolist() == [[0] * 5]
    assert filled.feeds["position_ids"].tolist() == [[0, 1, 2, 2, 2]]
    assert filled.texts[0].tokens == (*short.texts[0].tokens, "", "")
    assert filled.texts[0].spans == (*short.texts[0].spans, (0, 0), (0, 0))
    assert {name: feed.dtype for name, feed in filled.feeds.items()} == {n: f.dtype for n, f in short.feeds.items()}


def test_before_the_text_where_the_tokenizer_says_so(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"padding_side": "left"}))
    samples = read(tmp_path, token_model(positions=True), tokenizer(), "film", "a film")
    (filled, _) = padded(samples)
    assert filled.feeds["input_ids"][0, 0] == PAD
    assert filled.feeds["attention_mask"].tolist() == [[0, 1, 1, 1]]
    assert filled.feeds["position_ids"].tolist() == [[0, 0, 1, 2]]
    assert filled.texts[0].tokens[0] == ""


def test_what_is_filled_up_has_the_same_score(tmp_path):
    model = onnxplain.load(written(tmp_path, token_model(), tokenizer()), device="cpu")
    samples = [s for text in ("film", "a wonderful, moving film") for s in samples_of(model, Text(text))]
    rows = {n: np.concatenate([s.feeds[n] for s in padded(samples)]) for n in ("input_ids", "attention_mask")}
    expected = [model.predict(s.feeds)["y"][0] for s in samples]
    np.testing.assert_allclose(model.predict(rows)["y"], expected, atol=1e-6)


def test_strings_and_texts_of_one_length_stay(tmp_path):
    samples = read(tmp_path, string_model(), None, "a film", "a wonderful, moving film")
    assert padded(samples) == samples


def test_without_padding_or_a_mask_nothing_can_be_filled_up(tmp_path):
    vocabulary = {token: code for code, token in enumerate(["[UNK]", "[CLS]", "[SEP]", *PIECES])}
    samples = read(tmp_path, token_model(mask=False), tokenizer(vocabulary), "film", "a film")
    with pytest.raises(InputError, match="up to 4 tokens, and neither a padding token nor a mask"):
        padded(samples)
