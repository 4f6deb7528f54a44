"""Errors: a few lines that are safe to print, and the nearest names."""

import pytest

from onnxplain import CapabilityError, InputError, ModelError, OnnxplainError, PluginError, SettingError
from onnxplain.engine.errors import blaming, nearest, printable


def test_an_error_says_what_where_and_what_to_do():
    error = InputError("it is wrong", where="rows.csv, line 3", tip="write it again")
    assert str(error).splitlines() == ["it is wrong", "  at: rows.csv, line 3", "  tip: write it again"]
    assert str(SettingError("only this")) == "only this"
    assert (error.message, error.where, error.tip) == ("it is wrong", "rows.csv, line 3", "write it again")


def test_all_errors_are_of_one_family():
    for kind in (CapabilityError, InputError, ModelError, PluginError, SettingError):
        assert issubclass(kind, OnnxplainError)
        assert not issubclass(kind, ValueError)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe 猫 ok", "Größe 猫 ok"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\nb\r\t\0", r"a\nb\r\t\x00"),
        ("\u202eltr\u200b\ufeff", r"\u202eltr\u200b\ufeff"),
        ("\u2028\x85\xa0", r"\u2028\x85\xa0"),
        ("\ud800", r"\ud800"),
        (3, "3"),
    ],
)
def test_what_is_printed_cannot_move_the_cursor_or_hide(text, shown):
    assert printable(text) == shown
    assert printable(text).encode("utf-8").decode("utf-8").isprintable()


@pytest.mark.parametrize(
    ("name", "known", "tip"),
    [
        ("rize", ["rise", "occlusion"], "did you mean 'rise'?"),
        ("RISE", ["rise", "occlusion"], "did you mean 'rise'?"),
        ("gate", ["model/gate/out:0", "z"], "did you mean 'model/gate/out:0'?"),
        ("aab", ["aaa", "aac"], "did you mean 'aac' or 'aaa'?"),
        ("zzz", ["a", "b"], "known: a, b"),
        ("zzz", [str(k) for k in range(10)], "known: 0, 1, 2, 3, 4, 5, 6, 7, and 2 more"),
        ("x", [], ""),
        ("", ["b", "a"], "known: a, b"),
        ("colr\x1b", ["color\x1b"], r"did you mean 'color\x1b'?"),
    ],
)
def test_the_nearest_names_are_told(name, known, tip):
    assert nearest(name, known) == tip


def test_names_of_any_length_make_short_tips():
    assert len(nearest("y" * 100_000, ["x" * 100_000, "z" * 100_000])) < 500


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (ZeroDivisionError("by\nzero"), PluginError, r"mine failed: ZeroDivisionError: by\nzero"),
        (SystemExit(5), PluginError, "mine failed: SystemExit: 5"),
        (MemoryError("18 GiB"), CapabilityError, "mine needs more memory than there is: 18 GiB"),
        (InputError("not that"), InputError, "not that"),
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
    ],
)
def test_a_mistake_in_a_plugin_is_told_as_one(raised, kind, said):
    with pytest.raises(kind) as caught, blaming("mine", object()):
        raise raised
    assert caught.type is kind
    assert str(caught.value).splitlines()[:1] == [said][: bool(said)]
    assert raised in {caught.value, caught.value.__cause__}
