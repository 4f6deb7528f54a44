"""Explanations: compared by their numbers, and told in JSON and in a line."""

import dataclasses
import json

import numpy as np
import pytest

from sample_explanations import everything, simple


def test_equal_means_equal_numbers_and_not_equal_times():
    one = everything()
    assert one == dataclasses.replace(one, seconds=9.0, manifest={})
    assert one != "text"
    others = {
        "score": 0.3,
        "baseline_score": None,
        "gap": 0.0,
        "evaluations": 8,
        "target": "1",
        "label": "",
        "method": "x",
        "notes": (),
        "feature_names": ("a", "b", "c"),
        "standard_error": None,
        "feature_values": np.array([1.0, np.nan, np.nextafter(-3, 0)]),
        "values": {**one.values, "x": np.array([[0.0]])},
        "extras": {},
        "sample": None,
        "settings": {**one.settings, "window": (2, 4)},
    }
    for name, value in others.items():
        assert one != dataclasses.replace(one, **{name: value}), name
    assert simple(score=float("nan")) == simple(score=float("nan"))
    assert simple(values={"x": np.ones(2, np.float32)}) != simple()
    assert simple(values={"x": np.zeros(2)}) != simple(values={"x": -np.zeros(2)})
    assert simple(settings={"a": np.array([1, 2])}) == simple(settings={"a": (1, 2)})
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_the_json_document_is_strict_and_short():
    large = everything()
    whole = {**large.settings, "image": np.zeros((3, 224, 224)), "list": list(range(10_000))}
    document = dataclasses.replace(large, settings=whole, extras={"big": np.full((99, 99), -np.inf)}).to_json()
    text = json.dumps(document, allow_nan=False)
    assert len(text) < 12_000
    assert (document["schema_version"], document["score"], document["target"]) == (1, 0.1 + 0.2, "tabby")
    assert document["settings"]["image"] == {
        "shape": [3, 224, 224],
        "minimum": 0,
        "maximum": 0,
        "sum": 0,
        "sum_absolute": 0,
    }
    assert document["settings"]["list"] == {"length": 10_000}
    assert document["settings"]["nan"] is None
    assert document["extras"]["big"]["minimum"] is None
    assert document["values"]["a:0"]["data"] == large.values["a:0"].tolist()
    assert document["input"] == {"modality": "image", "source": "cats/\x1b.jpg", "label": "tabby"}
    assert document["features"][1] == {"name": "b\x1b", "value": None, "standard_error": None}
    names = tuple(f"column {k}" for k in range(600))
    many = simple(feature_names=names, feature_values=np.arange(600.0)).to_json()
    assert many["features"][599] == {"name": "column 599", "value": 599.0, "standard_error": None}


def test_top_features_are_those_of_largest_absolute_value():
    found = simple(feature_names=("a", "b", "c"), feature_values=np.array([1.0, -3.0, 3.0]))
    assert found.top_features(2) == [("b", -3.0), ("c", 3.0)]
    assert simple().top_features() == []


def test_one_line_says_what_it_is():
    assert repr(simple(target="\x1b")) == r"<Explanation m of \x1b: score 1, x (2,)>"
