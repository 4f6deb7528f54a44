"""Two texts, and texts beside other inputs: every word and column gets its worth, drawn, saved and replayed."""

import json

import numpy as np
import pytest
from PIL import Image

import onnxplain
from onnxplain import Explanation, InputError, InputSpec, ModelSpec, SettingError, Text
from onnxplain.engine.explain import samples_of
from onnxplain.engine.marked_text import marked_text
from onnxplain.engine.masking.choose import resolve_baseline, resolve_features
from onnxplain.engine.masking.maskers import maskers_of
from onnxplain.engine.render import section
from onnxplain.engine.render.output import png
from onnxplain.engine.spec import Preprocessing
from text_models import (
    SENTENCE,
    string_model,
    text_beside_model,
    token_model,
    tokenizer,
    two_strings_model,
    two_texts_model,
    written,
)

METHODS = {
    "occlusion": {},
    "ablation": {},
    "exact-shapley": {},
    "kernel-shap": {},
    "shapley": {},
    "rise": {"masks": 64},
    "lime": {"budget": 300},
}
ADDITIVE = ("occlusion", "ablation", "exact-shapley", "kernel-shap", "shapley")
PAIR = Text("a wonderful film", pair="not a dull film")
WORDS = ["a", "wonderful", "film", "not", "a", "dull", "film"]  # of both texts
# Each token of the second text is worth 100 more.
PAIRED = [0, 2, 0.25, 99.5, 100, 98, 100.25]
QUESTION = {"question_input_ids": Text("a wonderful film"), "context_input_ids": Text("not a dull film")}


@pytest.fixture
def pair_model(tmp_path):
    return onnxplain.load(written(tmp_path, token_model(types=True), tokenizer(pairs=True)), device="cpu")


@pytest.fixture
def two_model(tmp_path):
    return onnxplain.load(written(tmp_path, two_texts_model(), tokenizer()), device="cpu")


@pytest.fixture
def beside_model(tmp_path):
    return onnxplain.load(written(tmp_path, text_beside_model(), tokenizer()), device="cpu")


def test_pair_goes_through_one_tokenizer_with_types(pair_model):
    (sample,) = samples_of(pair_model, PAIR)
    assert sample.feeds["token_type_ids"].tolist() == [[0] * 7 + [1] * 5]
    (text,) = sample.texts
    assert text.text == "a wonderful film\n\nnot a dull film"
    assert [text.text[a:z] for a, z in text.spans if a < z] == ["a", "won", "der", "ful", *WORDS[2:]]
    assert [k for k, (a, z) in enumerate(text.spans) if a == z] == [0, 6, 11]
    assert sample.source == '"a wonderful film", "not a dull film"'


@pytest.mark.parametrize("method", METHODS)
def test_words_of_both_texts_of_a_pair_are_explained(pair_model, method, tmp_path):
    result = onnxplain.explain(pair_model, PAIR, method, target=1, **METHODS[method])
    assert result.feature_names == ("a", "wonderful", "film", "not", "a (2)", "dull", "film (2)")
    if method in ADDITIVE:
        assert result.feature_values == pytest.approx(PAIRED, abs=1e-3)
    marked = marked_text(result)
    assert [text for text, mark in marked.runs() if mark] == WORDS
    assert [mark.value for mark in marked.marks] == pytest.approx(result.feature_values)
    again = Explanation.load(result.save(tmp_path / "r.npz"))
    assert again == result
    assert again.sample.texts == result.sample.texts
    assert onnxplain.replay(again) == result


def test_sentences_of_a_pair_never_join_both_texts(pair_model):
    features = resolve_features("sentences", pair_model, next(samples_of(pair_model, Text("a film", pair="dull"))))
    assert features.names == ("a film", "dull")


def test_longer_text_of_a_pair_is_cut_first(pair_model):
    model = onnxplain.load(pair_model.path, ModelSpec(inputs={"input_ids": InputSpec("input_ids", "text", length=8)}))
    (sample,) = samples_of(model, Text("a moving film", pair="not a dull film, not moving"))
    assert sample.text == "a moving\n\nnot a dull"
    assert "cut off after 8 tokens" in sample.notes[0]
    assert sample.texts[0].tokens.count("[SEP]") == 2


def test_pair_is_refused_where_nothing_takes_one(tmp_path, pair_model):
    for text in (Text("a film", pair=" "), Text(" ", pair="a film")):
        with pytest.raises(InputError, match="empty"):
            list(samples_of(pair_model, text))
    with pytest.raises(InputError, match="only special ones"):
        list(samples_of(pair_model, Text("a film", pair="[SEP]")))
    tokenizer().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(SettingError, match="how two texts go together"):
        list(samples_of(pair_model, Text("a film", pair="a film")))
    strings = onnxplain.load(written(tmp_path, string_model(), name="strings"), device="cpu")
    with pytest.raises(InputError, match="takes one string"):
        list(samples_of(strings, Text("a film", pair="a film")))


@pytest.mark.parametrize("method", METHODS)
def test_words_of_two_inputs_are_explained(two_model, method, tmp_path):
    result = onnxplain.explain(two_model, QUESTION, method, target=1, **METHODS[method])
    words = [name.rpartition(": ")[2] for name in result.feature_names]
    assert words == WORDS
    if method in ADDITIVE:
        assert result.feature_values == pytest.approx([0, 2, 0.25, -1, 0, -4, 0.5], abs=1e-4)
        assert result.values["context_input_ids"][0] == pytest.approx([0, -1, 0, -4, 0.5, 0], abs=1e-4)
    assert [text for text, mark in marked_text(result).runs() if mark] == WORDS
    again = Explanation.load(result.save(tmp_path / "r.npz"))
    assert onnxplain.replay(again) == again == result


def test_each_text_closes_up_with_its_own_mask(two_model):
    (sample,) = samples_of(two_model, {"question_input_ids": Text("a film"), "context_input_ids": Text("dull film")})
    assert {name: one.shape[1] for name, one in sample.feeds.items()} == dict.fromkeys(sample.feeds, 4)
    features = resolve_features("words", two_model, sample)
    baseline = resolve_baseline("auto", two_model, sample, seed=0)
    buffers = {name: feed.copy() for name, feed in sample.feeds.items()}
    for masker in maskers_of(features, baseline, sample):
        masker.write(features.expand(np.array([[False, True, True, True]])), buffers, 1)
    assert buffers["question_attention_mask"].tolist() == [[1, 1, 1, 0]]
    assert buffers["context_attention_mask"].tolist() == [[1, 1, 1, 1]]


def test_two_texts_can_be_given_as_a_pair_and_stand_ins_differ_by_input(two_model):
    result = onnxplain.explain(two_model, Text("a film", pair="dull film"), "ablation", target=1)
    assert result.feature_values == pytest.approx([0, 0.25, -4, 0.5])
    mixed = {"question_input_ids": "mask", "context_input_ids": "removed"}
    result = onnxplain.explain(two_model, Text("a film", pair="dull film"), "ablation", target=1, baseline=mixed)
    assert result.feature_values == pytest.approx([-0.0625, 0.25 - 0.0625, -4, 0.5])
    with pytest.raises(InputError, match="takes 2 texts, and one was given"):
        onnxplain.explain(two_model, Text("a film"), "ablation")
    with pytest.raises(InputError, match="does not fill input 'context_input_ids'"):
        onnxplain.explain(two_model, {"question_input_ids": Text("a film")}, "ablation")


def test_codes_can_stand_beside_a_text(two_model):
    codes = {"context_input_ids": np.array([2, 13, 3]), "context_attention_mask": np.ones(3, np.int64)}
    result = onnxplain.explain(two_model, {"question_input_ids": Text("a film")} | codes, "ablation", target=1)
    assert result.feature_names[:2] == ("a", "film")
    assert result.feature_values[:2] == pytest.approx([0, 0.25])
    assert result.feature_values[3] == pytest.approx(-4 - 16)  # in place of "dull" stands code 0, [PAD], worth 8


@pytest.mark.parametrize("method", METHODS)
def test_words_and_columns_are_on_one_scale(beside_model, method, tmp_path):
    inputs = {"input_ids": Text(SENTENCE), "row": np.array([3.0, 0.5], np.float32)}
    result = onnxplain.explain(beside_model, inputs, method, target=1, **METHODS[method])
    assert result.feature_names == ("a", "wonderful", ",", "moving", "film", "column 0", "column 1")
    if method in ADDITIVE:
        assert result.feature_values == pytest.approx([0, 2, 0, 1.5, 0.25, 3, 5], abs=1e-4)
        assert result.values["row"] == pytest.approx(np.array([[3, 5]]), abs=1e-4)
    again = Explanation.load(result.save(tmp_path / "r.npz"))
    assert onnxplain.replay(again) == again == result
    assert png(result)
    drawn = section(result)
    assert drawn.passages
    assert drawn.png


@pytest.mark.parametrize("method", ["exact-shapley", "occlusion", "lime"])
def test_strings_that_the_spec_calls_texts_stand_beside_columns(tmp_path, method):
    (tmp_path / "model.toml").write_text(
        '[inputs.question_text]\nmodality = "text"\n[inputs.context_text]\nmodality = "text"\n'
        '[inputs.row]\nmodality = "table"\ncolumns = ["w", "h"]\n'
    )
    model = onnxplain.load(written(tmp_path, two_strings_model()), device="cpu")
    texts = {"question_text": Text("a wonderful film"), "context_text": Text("dull film")}
    result = onnxplain.explain(model, {**texts, "row": [3, 0.5]}, method, target=1, **METHODS[method])
    assert result.feature_values == pytest.approx([0, 2, 0.25, -4, 0.5, 3, 5], abs=0.25 if method == "lime" else 1e-4)
    assert result.feature_names[:2] == ("question_text: a", "question_text: wonderful")
    assert result.values["context_text"] == pytest.approx(np.array([[result.feature_values[3:5].sum()]]))
    again = Explanation.load(result.save(tmp_path / "r.npz"))
    assert onnxplain.replay(again) == again == result


def test_rows_of_a_file_go_each_with_the_text(beside_model, tmp_path):
    (tmp_path / "rows.csv").write_text("width,height\n3,0.5\n1,2\n")
    results = onnxplain.explain(beside_model, {"input_ids": Text("a film"), "row": tmp_path / "rows.csv:1"}, "ablation")
    assert results.sample.columns == ("width", "height")
    found = list(samples_of(beside_model, str(tmp_path / "rows.csv"), texts=Text("a film")))
    assert [one.feeds["row"].tolist() for one in found] == [[[3, 0.5]], [[1, 2]]]
    assert [one.source for one in found] == [f'"a film", {tmp_path}/rows.csv:{k}' for k in (0, 1)]
    result = onnxplain.explain(beside_model, found[1], "ablation", target=1)
    assert dict(zip(result.feature_names, result.feature_values, strict=True)) == pytest.approx(
        {"a": 0, "film": 0.25, "width": 1, "height": 20}
    )


def test_background_of_a_table_stands_in_beside_a_text(tmp_path):
    (tmp_path / "typical.csv").write_text("width,height\n1,1\n3,3\n")
    (tmp_path / "model.toml").write_text(
        'background = "typical.csv"\n[inputs.row]\nmodality = "table"\ncolumns = ["width", "height"]\n'
    )
    model = onnxplain.load(written(tmp_path, text_beside_model(), tokenizer()), device="cpu")
    inputs = {"input_ids": Text("a film"), "row": np.array([3.0, 0.5], np.float32)}
    # Background rows that stand in for the table leave the text to its own baseline, also where they hold texts.
    (tmp_path / "both.csv").write_text("width,review,height\n1,dull,1\n3,not dull,3\n")
    for baseline in ("auto", "background:2", "mean", str(tmp_path / "both.csv")):
        result = onnxplain.explain(model, inputs, "exact-shapley", target=1, baseline=baseline)
        assert dict(zip(result.feature_names, result.feature_values, strict=True)) == pytest.approx(
            {"a": 0, "film": 0.25, "width": 1, "height": -15}, abs=1e-5
        )


def test_whole_texts_stand_in_for_no_word(tmp_path):
    model = onnxplain.load(written(tmp_path, string_model()), device="cpu")
    (tmp_path / "others.csv").write_text("text\na dull film\nmoving\n")
    given = {"baseline": str(tmp_path / "others.csv"), "target": 1}
    with pytest.raises(SettingError, match="whole texts cannot stand in for the words"):
        onnxplain.explain(model, Text(SENTENCE), "ablation", **given)
    whole = onnxplain.explain(model, Text(SENTENCE), "ablation", features="inputs", **given)
    assert whole.feature_values == pytest.approx([3.75 - (-1.75 + 1.5) / 2])
    coded = onnxplain.load(written(tmp_path, token_model(), tokenizer(), "coded"), device="cpu")
    with pytest.raises(SettingError, match="cannot stand in for the tokens"):
        onnxplain.explain(coded, Text(SENTENCE), "ablation", **given)


def test_picture_and_question(tmp_path):
    Image.fromarray(np.full((4, 4, 3), 255, np.uint8)).save(tmp_path / "white.png")
    prepared = Preprocessing(size=(4, 4), scale=1 / 255)
    spec = ModelSpec(inputs={"picture": InputSpec("picture", "image", "NCHW", prepared)})
    path = written(tmp_path, text_beside_model(picture=True), tokenizer())
    model = onnxplain.load(path, spec, device="cpu")
    inputs = {"input_ids": Text("a film"), "picture": tmp_path / "white.png"}
    result = onnxplain.explain(
        model, inputs, "ablation", target=1, features={"input_ids": "words", "picture": "grid:2"}
    )
    assert result.feature_values == pytest.approx([0, 0.25, 12, 12, 12, 12], abs=1e-5)
    assert result.sample.image.shape == (4, 4, 3)
    found = section(result)
    assert found.passages
    assert found.png
    whole, bare = result.plot(), result.plot(input_name="picture")
    assert whole.get_size_inches()[1] > bare.get_size_inches()[1]
    assert {"a", "film"} <= {text.get_text() for text in whole.texts} - {text.get_text() for text in bare.texts}
    assert len(result.plot(input_name="input_ids").axes) == 1  # a colour bar, no map
    assert onnxplain.explain(model, inputs, "ablation", target=1, features="words").feature_names == ("a", "film")


def test_json_tells_each_text_and_places_in_all_of_them(two_model):
    document = json.loads(json.dumps(onnxplain.explain(two_model, QUESTION, "ablation", target=1).to_json()))
    text = document["input"]["text"]
    assert text == "a wonderful film\n\nnot a dull film"
    assert [one["input"] for one in document["input"]["texts"]] == list(QUESTION)
    assert [text[a:z] for f in document["features"] for a, z in f["spans"]] == text.split()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"input_ids": Text("a film")}, "does not fill input 'row'"),
        ({"input_ids": Text("a film"), "rows": np.zeros(2)}, "no input 'rows' is left"),
        ({"input_ids": Text("a film"), "attention_mask": np.ones((1, 4))}, "no input 'attention_mask' is left"),
        ({"input_ids": Text("a film"), "row": np.zeros(3)}, "shape"),
        ({"row": Text("a film"), "input_ids": np.zeros(3)}, "not known to take a text"),
        ({"x": Text("a film")}, "no input 'x'"),
    ],
)
def test_what_does_not_fit_beside_a_text_is_told(beside_model, inputs, message):
    with pytest.raises(InputError, match=message) as told:
        onnxplain.explain(beside_model, inputs, "ablation")
    assert str(told.value).count("\n") <= 5
