"""Layouts on trial: a slow model is not tried with batches that take seconds each."""

import numpy as np
import pytest

import onnxplain
from onnxplain import Target
from onnxplain.engine import runtime
from onnxplain.engine.runner import TRIAL_SECONDS, Runner
from onnxplain.engine.runtime import Layout
from small_graphs import affine


@pytest.mark.parametrize(("seconds", "most"), [(1e-6, 1 << 20), (TRIAL_SECONDS / 20, 20), (10.0, 1)])
def test_batches_on_trial_take_no_longer_than_a_trial(monkeypatch, seconds, most):
    model = onnxplain.load(affine(np.eye(3), np.zeros(3)).SerializeToString(), device="cpu", threads=2)
    feeds = {"x": np.ones((1, 3), np.float32)}
    variant = model.variant(("y",), feeds)
    variant.seconds = seconds
    tried = set()

    def measure(_run, rows, layout, _seconds):
        tried.add(layout.batch)
        assert len(rows["x"]) == layout.batch
        return 1.0

    monkeypatch.setattr(runtime, "measure", measure)
    default = Layout(2, 1, 64)
    found = Runner._measured(variant, Target("0", "y", (0,)), feeds, default)
    assert tried == {min(size, 1 << most.bit_length() - 1) for size in (16, 64, 128)}
    assert found.batch in tried


def test_larger_batches_are_chosen_where_those_of_small_rows_are_as_fast(monkeypatch):
    """At a million rows a second, 50 microseconds are a fifth of a batch of 256 rows; at a hundred they are nothing."""
    model = onnxplain.load(affine(np.eye(3), np.zeros(3)).SerializeToString(), device="cpu", threads=2)
    feeds = {"x": np.ones((1, 3), np.float32)}
    variant = model.variant(("y",), feeds)
    variant.seconds = 1e-6
    for rate, batch in ((1e6, 2048), (1e2, 256)):
        monkeypatch.setattr(runtime, "measure", lambda *_, rate=rate: rate)
        assert Runner._measured(variant, Target("0", "y", (0,)), feeds, Layout(2, 1, 1024)).batch == batch
