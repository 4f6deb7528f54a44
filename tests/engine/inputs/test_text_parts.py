"""Words, sentences and groups of tokens."""

import time

import pytest

from onnxplain.engine.inputs.text_parts import check_spans, grouped, sentences_in, trimmed, words_in


def read(text, spans):
    return [text[begin:end] for begin, end in spans]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't miss it... a well-made film!!", ["Don't", "miss", "it", "...", "a", "well-made", "film", "!!"]),
        ("'quoted' - dash", ["'", "quoted", "'", "-", "dash"]),
        ("naïve cafe\u0301 žluťoučký", ["naïve", "cafe\u0301", "žluťoučký"]),
        ("映画は良い film", ["映", "画", "は", "良", "い", "film"]),
        ("3.5 of 5", ["3", ".", "5", "of", "5"]),
        ("\U0001f600\U0001f600 ok\u200d", ["\U0001f600\U0001f600", "ok\u200d"]),
        ("  \t\n ", []),
    ],
)
def test_words_and_marks_are_told_apart(text, words):
    assert read(text, words_in(text)) == words


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("A film. Of 2.5 hours! Why?", ["A film.", "Of 2.5 hours!", "Why?"]),
        ('He said "no." Then left', ['He said "no."', "Then left"]),
        ("One\n\nTwo", ["One", "Two"]),
        ("好。悪い\uff01", ["好。", "悪い\uff01"]),
        ("...", ["..."]),
        (" ", []),
    ],
)
def test_sentences(text, sentences):
    assert read(text, sentences_in(text)) == sentences


def test_every_letter_that_is_no_space_is_in_one_word_and_in_one_sentence():
    text = "Mixed: ünï-code's 映画, (e.g.) 3%... \x1b[31m \u202e end?!\n\n - x"
    for spans in (words_in(text), sentences_in(text)):
        covered = [k for begin, end in spans for k in range(begin, end)]
        assert len(set(covered)) == len(covered)
        assert {k for k, c in enumerate(text) if not c.isspace()} <= set(covered)


@pytest.mark.parametrize("piece", [".", " ", "\n", "a'", "?!", "ab-", "\n \n", "' "])
def test_long_runs_take_no_quadratic_time(piece):
    begun = time.perf_counter()
    words_in(piece * 100_000)
    sentences_in(piece * 100_000)
    assert time.perf_counter() - begun < 3


def test_tokens_of_a_word_are_one_group_and_words_of_a_token_too():
    #        CLS     won     der     ful     , mo      ving   space    SEP
    spans = [(0, 0), (0, 3), (3, 6), (6, 9), (9, 13), (13, 17), (17, 18), (0, 0)]
    words = [(0, 9), (9, 10), (11, 17)]
    assert grouped(spans, words) == [-1, 0, 0, 0, 1, 1, 2, -1]
    # A slower way to the same groups: join what overlaps, until nothing changes.
    rng_spans = [(k, k + 3) for k in range(0, 30, 2)]
    parts = [(1, 4), (9, 10), (14, 21), (21, 25)]
    found = grouped(rng_spans, parts)
    groups = [{k} for k in range(len(rng_spans))]
    for begin, end in parts:
        hit = [g for g in groups if any(rng_spans[k][0] < end and begin < rng_spans[k][1] for k in g)]
        groups = [g for g in groups if g not in hit] + ([set().union(*hit)] if hit else [])
    assert {frozenset(g) for g in groups} == {
        frozenset(k for k, group in enumerate(found) if group == n) for n in set(found)
    }


def test_trimmed_leaves_what_is_not_space():
    assert trimmed("a  b ", 1, 5) == (3, 4)
    begin, end = trimmed("a   b", 1, 4)
    assert begin == end


@pytest.mark.parametrize(
    ("tokens", "spans"),
    [
        (("a",), ()),
        ((1,), ((0, 1),)),
        (("a",), ((0, 9),)),
        (("a",), ((1, 0),)),
        (("a",), ((0.0, 1.0),)),
        (("a",), (3,)),
    ],
)
def test_spans_that_do_not_fit_are_refused(tokens, spans):
    check_spans("abc", ("abc",), ((0, 3),))
    with pytest.raises((ValueError, TypeError)):
        check_spans("abc", tokens, spans)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "\u092f\u0939 \u0939\u093f\u0928\u094d\u0926\u0940 \u0939\u0948\u0964",
            ["\u092f\u0939", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u0948", "\u0964"],
        ),
        ("\u0645\u064e\u0631\u0652 \u064a\u0627", ["\u0645\u064e\u0631\u0652", "\u064a\u0627"]),
        ("\u05e9\u05c1\u05b8\u05dc \u05e2", ["\u05e9\u05c1\u05b8\u05dc", "\u05e2"]),
        ("cafe\u0301 e\u0301", ["cafe\u0301", "e\u0301"]),
        ("a \U0001f469\u200d\U0001f469\u200d\U0001f467!", ["a", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "!"]),
        ("\U0001f44d\U0001f3fd \U0001f44d\U0001f44d", ["\U0001f44d\U0001f3fd", "\U0001f44d\U0001f44d"]),
        ("\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", ["\U0001f1e9\U0001f1ea", "\U0001f1eb\U0001f1f7"]),
        ("\u2764\ufe0f?", ["\u2764\ufe0f", "?"]),
        ("\u200d x", ["\u200d", "x"]),
    ],
)
def test_vowel_signs_accents_and_pictures_of_several_characters_stay_whole(text, words):
    assert [text[begin:end] for begin, end in words_in(text)] == words
