"""Windows of time as features, and gaps filled by straight lines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxplain.engine.errors import SettingError
from onnxplain.engine.masking.choose import resolve_baseline, resolve_features
from onnxplain.engine.masking.gaps import Gaps

SERIES = {"x": {"modality": "series", "layout": "NCT"}}


def case(make, array, layout="NCT", **fields):
    return make(("x", np.asarray(array)), spec={"x": {"modality": "series", "layout": layout, **fields}})


def test_windows_cover_all_channels_and_are_named_in_steps(make):
    features = resolve_features("windows:3", *case(make, np.zeros((1, 2, 7), np.float32)))
    assert features.labels["x"].tolist() == [[[0, 0, 0, 1, 1, 2, 2]]]
    assert tuple(features.names) == ("steps 0-2", "steps 3-4", "steps 5-6")
    assert features.kind == "windows"


def test_windows_are_named_in_seconds_where_the_rate_is_known(make):
    features = resolve_features("windows:4", *case(make, np.zeros((1, 1, 16), np.float32), rate=16.0))
    assert tuple(features.names) == ("0-0.25 s", "0.25-0.5 s", "0.5-0.75 s", "0.75-1 s")
    fine = resolve_features("windows:8", *case(make, np.zeros((1, 1, 16), np.float32), rate=16_000.0))
    assert tuple(fine.names)[:2] == ("0-0.00013 s", "0.00013-0.00025 s")
    assert len(set(fine.names)) == 8


def test_windows_by_channel_are_named_by_both(make):
    array = np.zeros((1, 4, 2), np.float32)
    model, sample = case(make, array, "NTC", channels=("left", "right"))
    features = resolve_features("windows-by-channel:2", model, sample)
    assert features.labels["x"].tolist() == [[[0, 2], [0, 2], [1, 3], [1, 3]]]
    assert tuple(features.names) == ("left, steps 0-1", "left, steps 2-3", "right, steps 0-1", "right, steps 2-3")
    assert tuple(resolve_features("channels", model, sample).names) == ("left", "right")


def test_series_are_cut_into_windows_unless_asked_otherwise(make):
    assert resolve_features("auto", *case(make, np.zeros((1, 1, 200), np.float32))).size == 20
    assert resolve_features("auto", *case(make, np.zeros((1, 1, 8), np.float32))).size == 8
    whole = make(("x", np.zeros((1, 40), np.int32)), spec={"x": {"layout": "NT"}})
    assert resolve_features("auto", *whole).kind == "windows"


@given(st.integers(1, 90), st.data())
def test_windows_are_a_partition_of_time_as_equal_as_possible(make, steps, data):
    count = data.draw(st.integers(1, steps))
    labels = resolve_features(f"windows:{count}", *case(make, np.zeros((1, 3, steps)))).labels["x"].ravel()
    assert np.array_equal(np.unique(labels), np.arange(count))
    assert np.all(np.diff(labels) >= 0)
    assert np.ptp(np.bincount(labels)) <= 1


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("windows:9", "whole number from 1 to 1000000|9 windows are more than .* has steps: 8"),
        ("windows:0", "whole number from 1"),
        ("windows:x", "whole number from 1"),
        ("windows-by-channel:2", "has no axis of channels"),
    ],
)
def test_windows_that_cannot_be_are_refused(make, word, words):
    with pytest.raises(SettingError, match=words):
        resolve_features(word, *case(make, np.zeros((1, 8), np.float32), "NT"))


def test_windows_need_an_axis_of_time(make):
    with pytest.raises(SettingError, match="need a series of known layout"):
        resolve_features("windows:2", *make(("x", np.zeros((1, 8), np.float32)), spec={"x": {"modality": "table"}}))


def line_by_hand(series, present, without):
    """Fill gaps step by step, in a slower, plainer way."""
    filled = series.copy()
    there = np.flatnonzero(present)
    for step in np.flatnonzero(~present):
        before, after = there[there < step], there[there > step]
        if not there.size:
            filled[step] = without
        elif not before.size:
            filled[step] = series[after[0]]
        elif not after.size:
            filled[step] = series[before[-1]]
        else:
            a, b = before[-1], after[0]
            filled[step] = series[a] + (series[b] - series[a]) * (step - a) / (b - a)
    return filled


@given(st.integers(1, 12), st.integers(0, 2**32 - 1), st.booleans())
def test_gap_is_filled_by_the_line_between_its_ends(steps, seed, shared):
    rng = np.random.default_rng(seed)
    feed = rng.normal(size=(1, 2, steps)).astype(np.float32)
    without = rng.normal(size=(1, 2, steps)).astype(np.float32)
    mask = rng.random((6, 1, 1 if shared else 2, steps)) < 0.4
    out = np.empty((6, 1, 2, steps), np.float32)
    Gaps(feed, 2, without).write(mask, out)
    for row in range(6):
        for channel in range(2):
            present = mask[row, 0, 0 if shared else channel]
            expected = line_by_hand(feed[0, channel].astype(float), present, 0.0)
            if present.any():
                np.testing.assert_allclose(out[row, 0, channel], expected, atol=1e-6)
                np.testing.assert_array_equal(out[row, 0, channel][present], feed[0, channel][present])
            else:
                np.testing.assert_array_equal(out[row, 0, channel], without[0, channel])


def test_step_that_is_partly_there_is_mixed_with_the_line():
    feed = np.float32([[0, 10, 4]])
    out = np.empty((1, 1, 3), np.float32)
    Gaps(feed, 1, np.zeros_like(feed)).write(np.array([[[1, 0.25, 1]]]), out)
    np.testing.assert_allclose(out[0, 0], [0, 0.25 * 10 + 0.75 * 2, 4])


def test_interpolation_is_for_series_of_floats(make):
    baseline = resolve_baseline("interpolate", *case(make, np.float32([[[1, 2, 3]]])), seed=0)
    assert baseline.across == {"x": 2}
    np.testing.assert_array_equal(baseline.references["x"], [[[2, 2, 2]]])
    for wrong in (
        case(make, np.int64([[1, 2, 3]]), "NT"),
        make(("x", np.zeros((1, 3), np.float32)), spec={"x": {"modality": "table"}}),
    ):
        with pytest.raises(SettingError, match="needs a series of floating-point numbers"):
            resolve_baseline("interpolate", *wrong, seed=0)


def test_state_is_not_masked(make):
    model, sample = make(
        ("x", np.zeros((1, 1, 4), np.float32)),
        ("h", np.zeros((1, 3), np.float32)),
        spec={**SERIES, "h": {"modality": "state"}},
    )
    assert set(resolve_features("elements", model, sample).labels) == {"x"}
    with pytest.raises(SettingError, match="cannot be masked"):
        resolve_features({"h": "elements"}, model, sample)
