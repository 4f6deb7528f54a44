"""Explanations of a picture, a table row and a series, with numbers that tests can follow."""

import dataclasses

import numpy as np
import pytest

from onnxplain.engine.explanation import Explanation
from onnxplain.engine.inputs.sample import Sample

HEIGHT, WIDTH = 12, 16
NAMES = ("age", "income", "tenure", "visits", "debt")
VALUES = np.array([0.5, -1.25, 0.125, 2.0, -0.375])


@pytest.fixture
def photograph():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([rows * 20, columns * 15, rows * 5 + columns * 5], axis=2).astype(np.uint8)


@pytest.fixture
def of_image(photograph):
    """Return an explanation of ``photograph``; the values (1, 3, H, W) differ from channel to channel."""
    values = np.random.default_rng(0).normal(size=(1, 3, HEIGHT, WIDTH))
    return Explanation(
        values={"pixels": values},
        method="occlusion",
        settings={"window": [3, 3]},
        target="top",
        score=9.41234,
        baseline_score=0.5,
        evaluations=2401,
        seconds=3.2,
        label="Egyptian cat",
        manifest={"target_index": [285], "target_space": "logit"},
        sample=Sample(
            feeds={"pixels": photograph.transpose(2, 0, 1)[None].astype(np.float32)},
            modality="image",
            image=photograph,
            image_input="pixels",
        ),
    )


@pytest.fixture
def of_tiles(of_image):
    """Return an explanation by 3 x 4 tiles of 4 x 4 pixels, with the value of a tile in every channel."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    labels = rows // 4 * 4 + columns // 4
    per_tile = np.linspace(-1, 2, 12)
    return dataclasses.replace(
        of_image,
        method="ablation",
        values={"pixels": np.broadcast_to(per_tile[labels], (1, 3, HEIGHT, WIDTH)).copy()},
        feature_values=per_tile,
        feature_names=tuple(f"tile {k}" for k in range(12)),
        feature_labels={"pixels": labels[None, None]},
    )


@pytest.fixture
def of_table():
    return Explanation(
        values={"X": VALUES[None]},
        method="exact-shapley",
        settings={},
        target="1",
        score=0.75 + VALUES.sum(),
        baseline_score=0.75,
        gap=0.0,
        evaluations=32,
        label="churn",
        manifest={"target_index": [1], "target_space": "logit"},
        feature_values=VALUES,
        feature_errors=np.array([0.0625, 0.125, 0.03125, 0.25, 0.0625]),
        feature_names=NAMES,
        feature_labels={"X": np.arange(5)[None]},
        sample=Sample(
            feeds={"X": np.array([[41, 3.5, 7, 2, 0.25]], dtype=np.float32)},
            modality="table",
            source="rows.csv:3",
            columns=NAMES,
            raw=("41", "3.50", "7", "2", ".25"),
        ),
    )


@pytest.fixture
def of_series():
    """Return an explanation of two channels of 50 steps."""
    steps = np.arange(50)
    values = np.stack([np.sin(steps / 5), steps / 100])[None]
    return Explanation(
        values={"signal": values},
        method="occlusion",
        settings={},
        target="0",
        score=1.5,
        sample=Sample(feeds={"signal": np.stack([steps, -steps])[None].astype(np.float32)}, modality="series"),
    )
