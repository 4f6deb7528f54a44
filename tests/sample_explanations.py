"""Explanations that several tests share."""

from pathlib import Path

import numpy as np

from onnxplain import Explanation, Sample

NAMES = [
    "x",
    "../x",
    "../../etc/passwd",
    "/abs",
    "a:0",
    "b/c",
    "%2e",
    "%2e;.",
    "...",
    "x.npy",
    "header",
    "Größe 猫",
    "\x1b[2J",
]
NAMES += [" ", "", "\0", "a\\b", "CON", "x" * 300, "values/x"]


def simple(**fields):
    given = {"values": {"x": np.ones(2)}, "method": "m", "settings": {}, "target": "0", "score": 1.0}
    return Explanation(**{**given, **fields})


def everything():
    """An explanation with every field in use, and tensor names of all kinds."""
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=(1, k + 1)) for k, name in enumerate(NAMES)}
    values["x"][0, 0] = np.nan
    sample = Sample(
        feeds={
            "text": np.array([["Größe", "", "a\nb"]], dtype=object),
            "ids": np.arange(3, dtype=np.int64)[None],
            "half": np.array([[np.pi]], np.float16),
            "flag": np.array([[True, False]]),
            "scalar": np.array(2.5, np.float64),
        },
        modality="image",
        source="cats/\x1b.jpg",
        image=rng.integers(0, 255, (4, 5, 3), dtype=np.uint8),
        image_input="x",
        columns=("age", "Größe"),
        raw=("3", ""),
        label="tabby",
        preprocessing={"mean": (0.5, np.float32(0.25)), "layout": "NCHW"},
    )
    return Explanation(
        values=values,
        method="some-method",
        settings={"array": np.arange(6, dtype=np.float32).reshape(2, 3), "nan": float("nan"), "window": (2, 3)}
        | {"by_input": {"a:0": np.int8([1, 2]), "b": None}, "path": Path("a/b"), "flag": np.True_},
        target="tabby",
        score=np.float64(0.1) + 0.2,
        baseline_score=-0.0,
        gap=1e-300,
        standard_error={name: np.full_like(v, 0.1, dtype=np.float32) for name, v in values.items()},
        evaluations=np.int64(7),
        seconds=1.25,
        manifest={"seed": 3, "target_index": (None, 2), "nested": {"x": [np.float32(0.5)]}},
        label="tabby cat\u202e",
        feature_values=np.array([1.0, np.nan, -3.0]),
        feature_errors=np.array([0.0, np.inf, 1.0]),
        feature_names=("a", "b\x1b", ""),
        feature_labels={"x": np.array([[0, 1, 2, -1]])},
        extras={"curve": np.zeros((0, 3)), "words": np.array(["a", "bc"], dtype=object), "z": np.array([1 + 2j])},
        notes=("one", "two"),
        sample=sample,
    )
