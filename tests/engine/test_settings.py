"""Settings: what a field of a plug-in takes, in Python and on the command line."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from onnxplain import Range, SettingError
from onnxplain.engine.settings import build, parse_value, plain, settings_of


@dataclass(frozen=True)
class Everything:
    """A plug-in with a setting of every type."""

    whole: Annotated[int, "a whole number", Range(1, 100)] = 5
    number: Annotated[float, "a number", Range(0, 1, open_low=True)] = 0.5
    free: float = 0.0
    flag: Annotated[bool, "yes or no"] = False
    text: str = ""
    way: Annotated[Literal["up", "down", 2], "the way"] = "up"
    window: Annotated[int | tuple[int, ...] | dict[str, Any] | None, "sizes", Range(1)] = None
    pair: tuple[int, float] = (1, 1.0)
    names: tuple[str, ...] = ()
    by_input: dict[str, float] = field(default_factory=dict)
    array: Annotated[np.ndarray | None, "an array", Range(0, 9)] = None
    noted: Annotated[int, "inner note"] | None = None
    either: int | float | str = "auto"
    anything: Any = None
    ways: tuple[Literal["up", "down"], ...] = ()


def taken(**given):
    (name,) = given
    return getattr(build(Everything, given, "some-method"), name)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("whole", 3.0, 3),
        ("whole", np.int32(7), 7),
        ("whole", np.float32(7), 7),
        ("number", 1, 1.0),
        ("number", np.float32(0.5), 0.5),
        ("free", -(10**20), -1e20),
        ("free", math.inf, math.inf),
        ("flag", np.bool_(1), True),
        ("text", np.str_("x"), "x"),
        ("way", "down", "down"),
        ("way", np.int64(2), 2),
        ("window", 3, 3),
        ("window", [2, 3.0], (2, 3)),
        ("window", np.array([2, 3]), (2, 3)),
        ("window", {"a": 2, "b": (1, 2)}, {"a": 2, "b": (1, 2)}),
        ("window", None, None),
        ("pair", [3, 4], (3, 4.0)),
        ("ways", "down, up", ("down", "up")),  # as the command line has it
        ("ways", "up", ("up",)),
        ("names", "age, income", ("age", "income")),
        ("names", ["a,b"], ("a,b",)),
        ("by_input", {"x": 1}, {"x": 1.0}),
        ("noted", 4, 4),
        ("either", 1, 1),
        ("either", 1.0, 1.0),
        ("either", np.float64(2.0), 2.0),
        ("either", "1", "1"),
    ],
)
def test_values_are_converted_where_nothing_is_lost(name, given, expected):
    found = taken(**{name: given})
    assert found == expected
    assert type(found) is type(expected)


def test_arrays_are_taken_as_they_are_or_made_of_lists():
    array = np.array([[1, 2]], np.float32)
    assert taken(array=array) is array
    assert taken(array=((1, 2), (3, 4))).tolist() == [[1, 2], [3, 4]]
    assert taken(anything=array) is array


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"whole": 2.5}, "some-method.whole takes integer, not 2.5"),
        ({"whole": True}, "some-method.whole takes integer, not True"),
        ({"whole": "3"}, "some-method.whole takes integer, not '3'"),
        ({"whole": None}, "some-method.whole takes integer, not None"),
        ({"whole": 0}, "some-method.whole must be 1 to 100, not 0"),
        ({"whole": 10**400}, "some-method.whole must be 1 to 100, not a number of more than 30 digits"),
        ({"number": 0.0}, "some-method.number must be above 0 to 1, not 0.0"),
        ({"number": math.inf}, "some-method.number must be above 0 to 1, not inf"),
        ({"number": math.nan}, "some-method.number takes number, not nan"),
        ({"free": 10**400}, "some-method.free takes number, not a number of more than 30 digits"),
        ({"free": False}, "some-method.free takes number, not False"),
        ({"flag": 1}, "some-method.flag takes true/false, not 1"),
        ({"text": 3}, "some-method.text takes text, not 3"),
        ({"way": "upp"}, "some-method.way takes one of up, down, 2, not 'upp'"),
        ({"way": np.zeros(2)}, "some-method.way takes one of up, down, 2, not an array (2,)"),
        ({"window": [0, 2]}, "some-method.window must be at least 1, not 0"),
        ({"window": {"a": (3, 0)}}, "some-method.window must be at least 1, not 0"),
        (
            {"window": "3"},
            "integer or list of integer or dict of name, number, array or file by name or none, not '3'",
        ),
        ({"pair": [1]}, "some-method.pair takes integer and number, not [1]"),
        ({"names": [1]}, "some-method.names takes list of text, not [1]"),
        ({"ways": "up,left"}, "some-method.ways takes list of one of up, down, not 'up,left'"),
        ({"by_input": {"x": "y"}}, "by_input takes dict of number by name, not {'x': 'y'}"),
        ({"array": [[1], [2, 3]]}, "some-method.array takes array or none, not [[1], [2, 3]]"),
        ({"array": np.array([1, 12])}, "some-method.array must be 0 to 9, not 12"),
        ({"array": ["a"]}, "some-method.array takes array or none, not ['a']"),
        ({"text": ["\x1b[2J" * 100]}, r"not ['\x1b[2J\x1b[2J"),
    ],
)
def test_what_a_setting_does_not_take_is_refused_in_words(given, message):
    with pytest.raises(SettingError) as caught:
        build(Everything, given, "some-method")
    assert message in caught.value.message
    assert len(caught.value.message) < 200
    assert "\x1b" not in str(caught.value)


@dataclass(frozen=True)
class Choosing:
    """A plug-in with a choice that the command line reads as None."""

    by: Literal["size", "none"] = "size"


def test_the_word_none_is_a_choice_where_it_is_listed():
    assert build(Choosing, {"by": parse_value("none")}, "some-method") == Choosing("none")


def test_tips_name_the_nearest_setting_and_choice_or_the_help():
    with pytest.raises(SettingError, match=r"no setting 'windw'\n.*did you mean 'window'"):
        build(Everything, {"windw": 1}, "some-method")
    with pytest.raises(SettingError, match="did you mean 'down'"):
        build(Everything, {"way": "dwn"}, "some-method")
    with pytest.raises(SettingError, match="tip: a whole number"):
        build(Everything, {"whole": "x"}, "some-method")


def test_a_plugin_without_settings_says_so():
    plugin = dataclass(frozen=True)(type("Bare", (), {}))
    with pytest.raises(SettingError, match=r"bare has no setting 'x'\n.*bare has no settings"):
        build(plugin, {"x": 1}, "bare")


def test_a_setting_without_default_must_be_given():
    @dataclass(frozen=True)
    class Demanding:
        concept: Annotated[str, "the concept's name"]
        inner: int = field(init=False, default=3)

    with pytest.raises(SettingError, match=r"needs the setting 'concept'\n.*the concept's name"):
        build(Demanding, {}, "demanding")
    assert build(Demanding, {"concept": "stripes"}, "demanding").concept == "stripes"
    assert [s.name for s in settings_of(Demanding)] == ["concept"]
    with pytest.raises(SettingError, match="no setting 'inner'"):
        build(Demanding, {"inner": 3}, "demanding")


def test_every_setting_can_be_listed_as_json():
    listed = [s.to_json() for s in settings_of(Everything)]
    assert json.loads(json.dumps(listed, allow_nan=False)) == listed
    types = {s["name"]: s["type"] for s in listed}
    assert types["way"] == "one of up, down, 2"
    assert types["noted"] == "integer or none"
    assert types["anything"] == "name, number, array or file"
    bounds = {s["name"]: s["bounds"] for s in listed}
    assert (bounds["whole"], bounds["number"], bounds["window"]) == ("1 to 100", "above 0 to 1", "at least 1")
    assert str(Range(high=2)) == "at most 2"
    assert listed[9]["default"] == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", 3),
        (" -3 ", -3),
        ("+3", 3),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("1.", 1.0),
        ("inf", math.inf),
        ("0.1,0.2", (0.1, 0.2)),
        ("2,3", (2, 3)),
        ("-.5, 1.", (-0.5, 1.0)),
        ("7,", (7,)),
        ("[1,2]", (1, 2)),
        ("(1, 2)", (1, 2)),
        ("[[1,2],[3,4]]", ((1, 2), (3, 4))),
        ("[]", ()),
        ("True", True),
        ("false", False),
        ("None", None),
        ("null", None),
        ("'3'", "3"),
        ('"a","b"', ("a", "b")),
        ("['a, b']", ("a, b",)),
    ],
)
def test_values_on_the_command_line(text, expected):
    found = parse_value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{x = 1}", {"x": 1}),
        ('{x = 3, "y:0" = [1, 2]}', {"x": 3, "y:0": (1, 2)}),
        ('{"x": "blur:10", "y": 0.5}', {"x": "blur:10", "y": 0.5}),
        ("{size = ['mean radius', 'mean area']}", {"size": ("mean radius", "mean area")}),
        ("{a.b = 1}", {"a": {"b": 1}}),
        ("{}", {}),
    ],
)
def test_braces_make_a_dict_in_toml_or_json(text, expected):
    assert parse_value(text) == expected


@pytest.mark.parametrize("text", ["{", "{x}", "{x = 1", '{"x": null}', "{x = 2020-01-01}", "{x: 1}", "{" * 3000])
def test_braces_around_no_dict_are_refused(text):
    with pytest.raises(SettingError, match="is no dict of settings") as caught:
        parse_value(text)
    assert "{NAME = 3}" in caught.value.tip


NO_VALUES = "a,b|blur:10|rows.csv|C:\\x|1,a|,|[a]|'|3 # three|3\ny = 4|2020-01-01|2020-01-01,3|1.5.2|\0|é|[1,2|(1,2"


@pytest.mark.parametrize("text", [*NO_VALUES.split("|"), "", "9" * 5000, "[" * 5000])
def test_what_is_no_value_stays_text(text):
    assert parse_value(text) == text


def test_plain_values_are_what_json_holds():
    given = {1: (np.float32(0.5), [np.arange(2)]), "path": Path("a/b"), "none": None, "flag": np.True_, "bytes": b"x"}
    assert plain(given) == {"1": [0.5, [[0, 1]]], "path": "a/b", "none": None, "flag": True, "bytes": "b'x'"}
    json.dumps(plain(given))
