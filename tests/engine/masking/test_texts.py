"""Features and baselines of texts, and the maskers that turn coalitions into rows, against slower ways to the same."""

import dataclasses

import numpy as np
import pytest

import onnxplain
from onnxplain import Baseline, SettingError, Text
from onnxplain.engine.explain import samples_of
from onnxplain.engine.inputs.sample import SplitText
from onnxplain.engine.masking.choose import resolve_baseline, resolve_features
from onnxplain.engine.masking.maskers import ClosingUp, Respelling, maskers_of
from onnxplain.engine.masking.texts import names_of
from text_models import SENTENCE, VOCABULARY, string_model, token_model, tokenizer, written

LONG = "A dull film. Not a moving film! The film"


@pytest.fixture
def tokens(tmp_path):
    return opened(tmp_path)


def opened(folder, text=LONG, made=None, **options):
    model = onnxplain.load(written(folder, token_model(**options), made or tokenizer()), device="cpu")
    (sample,) = samples_of(model, Text(text))
    return model, sample


def test_words_group_their_pieces_and_leave_special_tokens_out(tmp_path):
    model, sample = opened(tmp_path, SENTENCE)
    words = resolve_features("auto", model, sample)
    assert words.names == ("a", "wonderful", ",", "moving", "film")
    assert words.kind == "words"
    assert {n: a.tolist() for n, a in words.labels.items()} == {"input_ids": [[-1, 0, 1, 1, 1, 2, 3, 4, -1]]}
    pieces = resolve_features("tokens", model, sample)
    assert pieces.names == ("a", "won", "der", "ful", ",", "moving", "film")
    assert pieces.labels["input_ids"].tolist() == [[-1, 0, 1, 2, 3, 4, 5, 6, -1]]


def test_names_of_repeated_words_differ_and_sentences_are_parts(tokens):
    words = resolve_features("words", *tokens)
    assert words.names[:4] == ("A", "dull", "film", ".")
    assert words.names[-3:] == ("!", "The", "film (3)")
    assert names_of("x x", [(0, 1), (2, 3)], [0, 1]) == ("x", "x (2)")
    sentences = resolve_features("sentences", *tokens)
    assert sentences.names == ("A dull film.", "Not a moving film!", "The film")
    assert np.bincount(sentences.labels["input_ids"][0] + 1).tolist() == [2, 4, 5, 2]


def test_stand_in_is_removal_where_there_is_a_mask_else_what_the_tokenizer_has(tmp_path):
    with_mask = opened(tmp_path)
    assert resolve_baseline("auto", *with_mask, seed=0).removed
    without = opened(tmp_path, mask=False)
    assert not resolve_baseline("auto", *without, seed=0).removed
    for gone, chosen in ((["[MASK]"], "unk"), (["[MASK]", "[UNK]"], "pad")):
        kept = {t: c for t, c in VOCABULARY.items() if t not in gone}
        made = tokenizer(kept) if "[UNK]" in kept else tokenizer({**kept, "[NONE]": 99})
        found = resolve_baseline("auto", *opened(tmp_path, "a film", made, mask=False), seed=0)
        assert found.name == chosen
    row = resolve_baseline("mask", *without, seed=0).references["input_ids"]
    assert row[0, 0] == VOCABULARY["[CLS]"]  # special tokens stay
    assert set(row[0, 1:-1].tolist()) == {VOCABULARY["[MASK]"]}
    assert without[1].feeds["input_ids"].dtype == row.dtype


def test_mask_types_and_positions_are_never_blended_themselves(tmp_path):
    model, sample = opened(tmp_path, positions=True, types=True)
    for setting in ("auto", "mask", "zero", 0, "removed"):
        assert set(resolve_baseline(setting, model, sample, seed=0).references) == {"input_ids"}
    arrays = onnxplain.Sample(dict(sample.feeds))  # codes that were given without a text
    assert set(resolve_baseline("auto", model, arrays, seed=0).references) == {"input_ids"}
    assert set(resolve_features("auto", model, arrays).labels) == {"input_ids"}
    with pytest.raises(SettingError, match="needs a text"):
        resolve_baseline("mask", model, arrays, seed=0)
    with pytest.raises(SettingError, match="need a text"):
        resolve_features("words", model, arrays)


def test_token_that_the_tokenizer_lacks_is_told(tmp_path):
    kept = {t: c for t, c in VOCABULARY.items() if t != "[MASK]"}
    with pytest.raises(SettingError, match="no mask token") as told:
        resolve_baseline("mask", *opened(tmp_path, made=tokenizer(kept)), seed=0)
    assert "'unk', 'pad', 'removed'" in told.value.tip
    model = onnxplain.load(written(tmp_path, string_model(), name="strings"), device="cpu")
    (sample,) = samples_of(model, Text("a film"))
    with pytest.raises(SettingError, match="takes strings"):
        resolve_baseline("mask", model, sample, seed=0)


def closed_up(sample, features, coalition, pad, left):
    """Rows of one coalition, token by token."""
    labels = features.labels["input_ids"][0]
    kept = [k for k, label in enumerate(labels) if label < 0 or coalition[label]]
    feeds = {n: f[0].tolist() for n, f in sample.feeds.items()}
    free = len(labels) - len(kept)
    fills = {"input_ids": pad, "attention_mask": 0, "token_type_ids": 0}
    rows = {}
    for name, fill in fills.items():
        if name in feeds:
            moved = [feeds[name][k] for k in kept]
            rows[name] = [fill] * free + moved if left else moved + [fill] * free
    if "position_ids" in feeds:
        live = [k for k, there in enumerate(rows["attention_mask"]) if there]
        rows["position_ids"] = list(feeds["position_ids"])
        for rank, k in enumerate(live):
            rows["position_ids"][k] = rank
    return rows


@pytest.mark.parametrize("side", ["none", "right", "left"])
def test_removed_tokens_close_up_as_in_a_plain_loop(tmp_path, side):
    made = tokenizer()
    if side == "left":
        made.enable_padding(direction="left", pad_id=0, pad_token="[PAD]")  # noqa: S106 - no password
    length = "sequence" if side == "none" else 20
    model, sample = opened(tmp_path, made=made, positions=True, types=True, length=length)
    features = resolve_features("words", model, sample)
    (masker,) = maskers_of(features, resolve_baseline("removed", model, sample, seed=0), sample)
    assert isinstance(masker, ClosingUp)
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.random((30, features.size)) < 0.6, np.ones((1, features.size), bool)])
    z = np.concatenate([z, np.zeros((1, features.size), bool)])
    buffers = {n: np.repeat(f, 40, axis=0) for n, f in sample.feeds.items()}
    masker.write(features.expand(z), buffers, len(z))
    for k, coalition in enumerate(z):
        expected = closed_up(sample, features, coalition, 0, side == "left")
        for name, row in expected.items():
            there = np.array(expected["attention_mask"], bool) if name == "position_ids" else slice(None)
            assert np.array_equal(buffers[name][k][there], np.array(row)[there]), (name, k)
    assert all(np.array_equal(buffers[n][30], f[0]) for n, f in sample.feeds.items())  # nothing removed: as it was
    assert all(np.array_equal(b[len(z) :], np.repeat(sample.feeds[n], 8, axis=0)) for n, b in buffers.items())


def respelled(text, **options):
    from onnxplain.engine.inputs.text_parts import words_in

    spans = words_in(text)
    words = [text[a:z] for a, z in spans]
    instead = np.array([[options.get("instead", "")]], dtype=object)
    return Respelling(np.array([[text]], dtype=object), instead, SplitText("text", text, tuple(words), spans)), words


@pytest.mark.parametrize(
    ("text", "absent", "left"),
    [
        ("a wonderful, moving film", {"wonderful"}, "a, moving film"),
        ("a wonderful, moving film", {"a", ","}, " wonderful moving film".lstrip()),
        ("foo(bar)baz", {"("}, "foo bar)baz"),
        ("foo(bar)baz", {"(", "bar", ")"}, "foo baz"),
        ("  x  y\n", {"x"}, "  y\n"),
        ("one two", {"one", "two"}, ""),
        ("a\n\nb c", {"b"}, "a c"),
    ],
)
def test_absent_words_leave_a_readable_text(text, absent, left):
    masker, words = respelled(text)
    assert masker.spelled([word not in absent for word in words]) == left
    assert masker.spelled([True] * len(words)) == text


def test_another_word_can_stand_in():
    masker, words = respelled("a dull, dull film", instead="UNK")
    assert masker.spelled([word != "dull" for word in words]) == "a UNK, UNK film"


def test_word_in_place_of_absent_ones_is_a_baseline_by_input_name(tmp_path):
    model = onnxplain.load(written(tmp_path, string_model()), device="cpu")
    result = onnxplain.explain(model, Text("a dull film"), "ablation", target=1, baseline={"text": "wonderful"})
    assert dict(zip(result.feature_names, result.feature_values, strict=True)) == {"a": -2, "dull": -4, "film": -1.75}


def test_baseline_made_by_hand_is_kept_through_storage(tmp_path):
    model = onnxplain.load(written(tmp_path, string_model()), device="cpu")
    empty = Baseline("nothing", {"text": np.array([[""]], dtype=object)}, removed=("text",))
    result = onnxplain.explain(model, Text("a dull film"), "ablation", target=1, baseline=empty)
    result.save(tmp_path / "r.npz")
    assert onnxplain.replay(onnxplain.Explanation.load(tmp_path / "r.npz")) == result


def test_several_references_of_other_inputs_repeat_the_rows_of_the_text(tmp_path):
    for proto, made, name in ((token_model(), tokenizer(), "codes"), (string_model(), None, "strings")):
        model = onnxplain.load(written(tmp_path, proto, made, name), device="cpu")
        (sample,) = samples_of(model, Text(SENTENCE))
        features = resolve_features("words", model, sample)
        once = resolve_baseline("removed", model, sample, seed=0)
        twice = dataclasses.replace(once, references={n: np.repeat(r, 2, axis=0) for n, r in once.references.items()})
        z = np.eye(5, dtype=bool)
        scores = []
        for baseline in (once, twice):
            game = onnxplain.Game(model, sample, onnxplain.Target("1", "y", (1,)), features, baseline)
            scores.append(game(z))
        assert np.array_equal(*scores)


def test_words_can_be_grouped_by_hand(tmp_path):
    model = onnxplain.load(written(tmp_path, string_model()), device="cpu")
    pairs = onnxplain.Features(("article", "praise"), {"text": np.array([[[0, 1, -1, 1, -1]]])}, "words")
    result = onnxplain.explain(model, Text(SENTENCE), "ablation", target=1, features=pairs)
    assert dict(zip(result.feature_names, result.feature_values, strict=True)) == {"article": 0.0, "praise": 3.5}
    result.save(tmp_path / "r.npz")
    assert onnxplain.replay(onnxplain.Explanation.load(tmp_path / "r.npz")) == result
    short = onnxplain.Features(("a", "b"), {"text": np.array([[[0, 1]]])})
    with pytest.raises(SettingError, match="do not fit"):
        onnxplain.explain(model, Text(SENTENCE), "ablation", features=short)
