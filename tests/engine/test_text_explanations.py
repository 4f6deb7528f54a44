"""Explanations of texts, from the sentence to the numbers: every perturbation method, saved and replayed."""

import dataclasses
import json

import numpy as np
import pytest

import onnxplain
from onnxplain import Explanation, InputError, SettingError, Text
from onnxplain.engine.marked_text import marked_text
from text_models import SENTENCE, WORD_VALUES, string_model, token_model, tokenizer, written

METHODS = {
    "occlusion": {},
    "ablation": {},
    "exact-shapley": {},
    "kernel-shap": {},
    "rise": {"masks": 64},
    "lime": {"budget": 300},
}


@pytest.fixture(params=["tokens", "strings"])
def model(request, tmp_path):
    proto, made = (token_model(types=True), tokenizer()) if request.param == "tokens" else (string_model(), None)
    return onnxplain.load(written(tmp_path, proto, made), device="cpu")


@pytest.mark.parametrize("method", ["occlusion", "ablation", "exact-shapley", "kernel-shap"])
def test_words_get_their_worth(model, method):
    # The models add up the worths of their tokens, so that every one of these methods must find them.
    result = onnxplain.explain(model, Text(SENTENCE), method, target=1, **METHODS[method])
    found = dict(zip(result.feature_names, result.feature_values, strict=True))
    assert found == pytest.approx(WORD_VALUES, abs=1e-5)
    assert [name for name, _ in result.top_features(2)] == ["wonderful", "moving"]  # its adjectives
    assert result.score - result.baseline_score == pytest.approx(3.75, abs=1e-5)


def test_lime_and_rise_point_at_the_adjectives(model):
    for method in ("lime", "rise"):
        result = onnxplain.explain(model, Text(SENTENCE), method, target=1, **METHODS[method])
        assert {name for name, _ in result.top_features(2)} == {"wonderful", "moving"}


def test_the_budget_of_rise_holds_the_text_without_any_word_too(model):
    long = Text(" ".join(["a wonderful, moving film"] * 8))  # 2^40 coalitions: hardly one comes twice
    assert onnxplain.explain(model, long, "rise", budget=40).evaluations == 40
    with pytest.raises(SettingError, match=r"rise.budget must be at least 4, not 3"):
        onnxplain.explain(model, long, "rise", budget=3)


@pytest.mark.parametrize("method", METHODS)
def test_saved_result_holds_the_text_and_is_replayed_bit_for_bit(model, method, tmp_path):
    result = onnxplain.explain(model, Text(SENTENCE), method, **METHODS[method])
    again = Explanation.load(result.save(tmp_path / "r.npz"))
    assert again == result
    assert dataclasses.replace(again.sample, feeds={}) == dataclasses.replace(result.sample, feeds={})
    (tmp_path / "tokenizer.json").unlink(missing_ok=True)  # a replay needs no tokenizer
    assert onnxplain.replay(again) == result


def test_tokens_carry_their_words_value_and_a_string_the_sum(tmp_path):
    tokens = onnxplain.load(written(tmp_path, token_model(types=True), tokenizer()), device="cpu")
    result = onnxplain.explain(tokens, Text(SENTENCE), "exact-shapley", target=1)
    assert result.values["input_ids"][0] == pytest.approx([0, 0, 2, 2, 2, 0, 1.5, 0.25, 0], abs=1e-5)
    assert not result.values["attention_mask"].any()
    strings = onnxplain.load(written(tmp_path, string_model(), name="s"), device="cpu")
    result = onnxplain.explain(strings, Text(SENTENCE), "exact-shapley", target=1)
    assert result.values["text"].shape == (1, 1)
    assert result.values["text"][0, 0] == pytest.approx(3.75)
    by_sentence = onnxplain.explain(strings, Text("a film. dull film!"), "ablation", target=1, features="sentences")
    assert by_sentence.feature_names == ("a film.", "dull film!")
    assert by_sentence.values["text"][0, 0] == pytest.approx(by_sentence.feature_values.sum())


def test_tokens_as_features_get_their_own_worth(tmp_path):
    model = onnxplain.load(written(tmp_path, token_model(), tokenizer()), device="cpu")
    result = onnxplain.explain(model, Text(SENTENCE), "ablation", target=1, features="tokens", baseline="mask")
    found = dict(zip(result.feature_names, result.feature_values, strict=True))
    worth = {"won": 1.0, "der": 0.5, "ful": 0.5, "moving": 1.5, "film": 0.25, "a": 0.0, ",": 0.0}
    assert found == pytest.approx({name: value - 0.0625 for name, value in worth.items()}, abs=1e-5)


def test_window_of_words_slides_over_the_sentence(model):
    result = onnxplain.explain(model, Text(SENTENCE), "occlusion", target=1, window=2, stride=1)
    falls = [2.0, 2.0, 1.5, 1.75]  # of the windows a wonderful | wonderful , | , moving | moving film
    expected = [falls[0], np.mean(falls[:2]), np.mean(falls[1:3]), np.mean(falls[2:]), falls[3]]
    assert result.feature_values == pytest.approx(expected, abs=1e-5)
    summed = onnxplain.explain(model, Text(SENTENCE), "occlusion", target=1, window=2, stride=1, overlap="sum")
    assert summed.feature_values[1] == pytest.approx(sum(falls[:2]), abs=1e-5)
    for window, stride in ((6, None), (0, None), (2, 3), ((1, 2), None), ({"x": 2}, None)):
        with pytest.raises(SettingError):
            onnxplain.explain(model, Text(SENTENCE), "occlusion", window=window, stride=stride)


def test_positions_follow_the_tokens_that_are_left(tmp_path):
    # y = sum worth * (1 + position): without "a", all others move one place to the left.
    model = onnxplain.load(written(tmp_path, token_model(positions=True), tokenizer()), device="cpu")
    result = onnxplain.explain(model, Text("a moving film"), "ablation", target=1, baseline="removed")
    whole = 16 * 1 + 1.5 * 3 + 0.25 * 4 + 32 * 5
    without_a = 16 * 1 + 1.5 * 2 + 0.25 * 3 + 32 * 4
    assert result.score == pytest.approx(whole)
    assert result.feature_values[0] == pytest.approx(whole - without_a)


def test_partly_present_words_are_refused(model):
    from onnxplain import Game, Target
    from onnxplain.engine.explain import samples_of
    from onnxplain.engine.masking.choose import resolve_baseline, resolve_features

    (sample,) = samples_of(model, Text(SENTENCE))
    features, baseline = resolve_features("words", model, sample), resolve_baseline("auto", model, sample, seed=0)
    game = Game(model, sample, Target("1", "y", (1,)), features, baseline)
    with pytest.raises(InputError, match="partly present"):
        game(np.full((1, 5), 0.5))
    assert game(np.eye(5, dtype=bool)) - game.empty == pytest.approx(list(WORD_VALUES.values()), abs=1e-5)


def test_several_texts_at_once_and_a_list_of_them(model):
    results = onnxplain.explain(model, [Text("a film"), Text("a dull film")], "ablation", target=1)
    assert [len(r.feature_names) for r in results] == [2, 3]
    assert results[1].feature_values[1] == pytest.approx(-2.0, abs=1e-5)


def test_json_names_the_words_and_where_they_are(model):
    document = json.loads(json.dumps(onnxplain.explain(model, Text(SENTENCE), "ablation", target=1).to_json()))
    assert document["input"]["text"] == SENTENCE
    assert [f["name"] for f in document["features"]] == list(WORD_VALUES)
    assert [SENTENCE[a:z] for f in document["features"] for a, z in f["spans"]] == list(WORD_VALUES)
    assert "tokens" not in document


def test_marks_cover_words_and_the_rest_has_no_value(model):
    marked = marked_text(onnxplain.explain(model, Text(f"  {SENTENCE} "), "ablation", target=1))
    assert "".join(text for text, _ in marked.runs()) == marked.text
    assert [text for text, mark in marked.runs() if mark] == list(WORD_VALUES)
    assert [mark.value for mark in marked.marks] == pytest.approx(list(WORD_VALUES.values()), abs=1e-5)


def test_values_per_token_are_added_up_by_word(tmp_path):
    model = onnxplain.load(written(tmp_path, token_model(), tokenizer()), device="cpu")
    result = onnxplain.explain(model, Text(SENTENCE), "ablation", target=1)
    bare = {"feature_values": None, "feature_names": (), "feature_labels": {}}
    at_embedding = np.zeros((1, 9, 3))
    at_embedding[0, 2:5] = [[1, 0, 0], [0, 2, 0], [0, 0, -0.5]]  # the pieces of "wonderful"
    at_embedding[0, 0] = 100  # [CLS]
    found = marked_text(dataclasses.replace(result, values={"e0": at_embedding}, **bare))
    assert [mark.value for mark in found.marks] == [0, 2.5, 0, 0, 0]
    per_token = np.arange(9.0)[None]
    found = marked_text(dataclasses.replace(result, values={"other": np.ones(4), "input_ids": per_token}, **bare))
    assert [mark.value for mark in found.marks] == [1, 9, 5, 6, 7]
    assert marked_text(dataclasses.replace(result, values={"other": np.ones(4)}, **bare)) is None


def test_hostile_spans_in_a_file_are_refused(model, tmp_path):
    result = onnxplain.explain(model, Text(SENTENCE), "ablation", target=1)
    (text,) = result.sample.texts
    for spans in (((0, 99),) * len(text.tokens), ((0, 1),), (("a", 1),) * len(text.tokens)):
        broken = with_text(result, spans=spans)
        broken.save(tmp_path / "b.npz")
        with pytest.raises(InputError, match="not a whole explanation"):
            Explanation.load(tmp_path / "b.npz")
        assert marked_text(broken) is None


def with_text(result, **changes):
    texts = tuple(dataclasses.replace(text, **changes) for text in result.sample.texts)
    return dataclasses.replace(result, sample=dataclasses.replace(result.sample, texts=texts))


@pytest.mark.parametrize(
    "changes",
    [
        {"stand_ins": {"mask": True}},
        {"stand_ins": {"unk": -1}},
        {"stand_ins": {"x": 2}},
        {"stand_ins": [1]},
        {"companions": {"nothing": "mask"}},
        {"companions": {"text": 3}},
        {"input": "nothing"},
    ],
)
def test_hostile_texts_in_a_file_are_refused(changes, tmp_path):
    model = onnxplain.load(written(tmp_path, string_model()), device="cpu")
    result = onnxplain.explain(model, Text(SENTENCE), "ablation", target=1)
    with_text(result, **changes).save(tmp_path / "b.npz")
    with pytest.raises(InputError, match="not a whole explanation"):
        Explanation.load(tmp_path / "b.npz")


def test_stand_in_that_the_input_cannot_hold_is_refused(tmp_path):
    model = onnxplain.load(written(tmp_path, token_model(), tokenizer()), device="cpu")
    result = onnxplain.explain(model, Text(SENTENCE), "ablation", baseline="mask")
    broken = with_text(result, stand_ins={"mask": 1 << 70})
    with pytest.raises(SettingError, match="cannot hold"):
        onnxplain.replay(broken, model)
