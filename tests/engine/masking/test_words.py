import pytest

from onnxplain.engine.errors import SettingError
from onnxplain.engine.masking.baseline_words import BASELINES
from onnxplain.engine.masking.feature_words import FEATURES
from onnxplain.engine.masking.words import ARGUMENTS, Word, count_of, number_of, pair_of, read_word


def test_word_and_argument():
    assert read_word("slic:50", FEATURES, "features") == Word("slic", "50")
    assert read_word(" blur ", BASELINES, "the baseline") == Word("blur")
    assert str(Word("grid", "8x10")) == "grid:8x10"


def test_examples_of_arguments_are_words():
    assert ARGUMENTS.keys() <= FEATURES.keys() | BASELINES.keys()
    for name, examples in ARGUMENTS.items():
        for example in examples.split(" or "):
            assert read_word(example, {name}, "").argument


@pytest.mark.parametrize(
    ("text", "said", "tip"),
    [
        ("gird:8", "features cannot be 'gird:8'", "did you mean 'grid'?"),
        ("", "features cannot be ''", "known: auto"),
        ("pixels:3", "features 'pixels' takes no value, not '3'", "write just 'pixels'"),
        ("slic:", "features 'slic:' lacks the value", "such as slic:50"),
        ("\x1b[31m", r"features cannot be '\\x1b\[31m'", "known"),
    ],
)
def test_unknown_words_are_refused_with_what_would_do(text, said, tip):
    with pytest.raises(SettingError, match=said) as caught:
        read_word(text, FEATURES, "features")
    assert tip in caught.value.tip


def test_counts():
    assert count_of(Word("slic"), 50, 1000) == 50
    assert count_of(Word("slic"), 50, 9) == 9
    assert count_of(Word("slic", "12"), 50, 1000) == 12
    for argument in ("0", "-1", "1.5", "1001", "1e3", "many", "9" * 40):
        with pytest.raises(SettingError, match="'slic' takes a whole number from 1 to 1000"):
            count_of(Word("slic", argument), 50, 1000)


def test_numbers():
    assert number_of(Word("blur"), 10.0, 100.0) == 10.0
    assert number_of(Word("blur", "2.5"), 10.0, 100.0) == 2.5
    for argument in ("0", "-1", "101", "nan", "inf", "wide"):
        with pytest.raises(SettingError, match="'blur' takes a number above 0 and at most 100"):
            number_of(Word("blur", argument), 10.0, 100.0)


def test_pairs():
    assert pair_of(Word("grid", "8")) == (8, 8)
    assert pair_of(Word("grid", "8x10")) == (8, 10)
    for argument in ("0", "8x0", "00x3", "8x", "x8", "8x9x10", "8,9", "-1"):
        with pytest.raises(SettingError, match="'grid' takes one or two whole numbers above 0"):
            pair_of(Word("grid", argument))
