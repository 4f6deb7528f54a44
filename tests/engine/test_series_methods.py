"""Series end to end: methods find a planted burst, states stay, results are saved and replayed, inputs are mixed."""

import numpy as np
import pytest
from scipy.io import wavfile

from onnxplain import Explanation, SettingError, explain, load
from onnxplain.engine.results.replay import replay
from onnxplain.engine.spec import InputSpec, ModelSpec
from series_networks import FLOAT, burst, burst_detector, model_of, node, recurrent, spindle, spindle_detector

BEGIN, END = 60, 72
METHODS = {
    "occlusion": {"window": 6, "stride": 3},
    "ablation": {},
    "rise": {"masks": 1500, "cells": 20},
    "kernel-shap": {"budget": 300},
    "exact-shapley": {"features": "windows:10"},
    "lime": {},
    "shapley": {},
    "shapley-sampling": {},
    "permutation-shap": {},
}


def opened(proto, described=None):
    return load(proto.SerializeToString(), described, device="cpu")


@pytest.fixture(scope="module")
def detector():
    described = ModelSpec(inputs={"x": InputSpec("x", "series", "NCT", rate=10.0, channels=("heard", "other"))})
    return opened(burst_detector(), described)


@pytest.mark.parametrize("baseline", ["zero", "interpolate", "mean", "blur:20"])
@pytest.mark.parametrize("method", METHODS)
def test_burst_is_found_where_it_was_planted(detector, method, baseline):
    result = explain(detector, burst(), method, baseline=baseline, **METHODS[method])
    values = result.values["x"][0, 0]
    assert values.shape == (120,)
    peak = int(np.argmax(values))
    assert BEGIN - 6 <= peak < END + 6
    inside = np.zeros(120, dtype=bool)
    inside[BEGIN - 6 : END + 6] = True
    # Values of rise are all above 0, and where neighbours are absent a line carries the burst into them.
    if method != "rise" and baseline != "interpolate":
        assert np.abs(values[inside]).sum() > 0.8 * np.abs(values).sum()


@pytest.mark.parametrize("method", METHODS)
def test_a_spindle_is_found_where_it_was_planted(method):
    """A wave that no single step gives away: its windows are what raises the power of that wave."""
    begin, end = 90, 138
    settings = {"features": "windows:10"} if method not in {"occlusion", "rise"} else METHODS[method]
    result = explain(opened(spindle_detector()), spindle(begin), method, **settings)
    values = result.values["x"][0, 0]
    assert begin <= int(np.argmax(values)) < end
    inside = np.zeros(240, dtype=bool)
    inside[begin - 16 : end + 16] = True
    share = np.abs(values - np.median(values)) / np.abs(values - np.median(values)).sum()
    assert share[inside].sum() > 0.75


def test_shapley_values_of_windows_are_the_excess_in_each(detector):
    """The score is a sum over steps, so with zero for what is absent a window's value is what it adds."""
    series = burst(begin=55, end=75)
    result = explain(detector, series, "exact-shapley", features="windows:12")
    excess = np.maximum(series[0].astype(np.float64) - 1, 0).reshape(12, 10).sum(axis=1)
    np.testing.assert_allclose(result.feature_values, excess, atol=1e-4)
    assert result.feature_names[5] == "5-6 s"
    assert result.feature_labels["x"].shape == (1, 1, 120)


def test_windows_by_channel_and_channels_tell_who_is_heard(detector):
    result = explain(detector, burst(), "kernel-shap", features="windows-by-channel:4")
    strongest = dict(result.top_features(8))
    assert strongest["heard, 6-9 s"] == pytest.approx(result.score, abs=1e-4)
    assert strongest["other, 6-9 s"] == pytest.approx(0, abs=1e-4)
    channels = explain(detector, burst(), "exact-shapley", features="channels")
    assert channels.feature_names == ("heard", "other")
    np.testing.assert_allclose(channels.feature_values, [channels.score, 0], atol=1e-5)


def test_interpolation_over_a_long_gap_uses_what_is_left():
    """Of a ramp, nothing is lost by filling gaps with lines; with zeros, everything is."""
    ramp = np.linspace(1, 3, 60, dtype=np.float32)[None]
    model = opened(burst_detector(channels=1, steps=60))
    by_line = explain(model, ramp, "ablation", baseline="interpolate", features="windows:6")
    np.testing.assert_allclose(by_line.feature_values[1:-1], 0, atol=1e-4)
    by_zero = explain(model, ramp, "ablation", features="windows:6")
    assert by_zero.feature_values[1:-1].min() > 3


def test_series_is_saved_loaded_and_replayed_to_the_bit(detector, tmp_path):
    network = tmp_path / "burst.onnx"
    network.write_bytes(burst_detector(channels=1, steps=400).SerializeToString())
    wavfile.write(tmp_path / "burst.wav", 8000, np.stack([burst(1, 200)[0] / 4] * 2, axis=1))
    network.with_suffix(".toml").write_text(
        '[inputs.x]\nmodality = "series"\nlayout = "NCT"\nrate = 16000.0\n', encoding="utf-8"
    )
    for method in ("rise", "kernel-shap", "ablation"):
        given = {"masks": 50} if method == "rise" else {"features": "windows:8"}
        result = explain(network, tmp_path / "burst.wav", method, baseline="interpolate", **given)
        assert (result.sample.rate, result.sample.series_input) == (16_000.0, "x")
        loaded = Explanation.load(result.save(tmp_path / "saved.npz"))
        assert loaded == result
        assert loaded.sample.channels == result.sample.channels
        assert loaded.sample.preprocessing["resampled"] == "2"
        assert replay(loaded) == result


def test_explanation_saved_before_there_were_series_is_read(detector, tmp_path):
    from onnxplain.engine.results import file as explanation_file

    result = explain(detector, burst(), "ablation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explanation_file, "_LATER", {})
        file = result.save(tmp_path / "old.npz")
    loaded = Explanation.load(file)
    assert loaded == result
    assert (loaded.sample.rate, loaded.sample.channels, loaded.sample.series_input) == (0.0, (), "")


@pytest.mark.parametrize(
    ("shape", "target"), [((5, 1, 3), "score[0,0]"), (("steps", "batch", 3), "0"), (("steps", 1, 3), "score[0,0]")]
)
def test_recurrent_network_is_explained_whatever_its_axes(shape, target):
    model = opened(recurrent(shape=shape))
    series = np.random.default_rng(2).normal(size=(5, 1, 3)).astype(np.float32)
    result = explain(model, series, "exact-shapley", target=target, features="windows:5")
    assert result.values["x"].shape == series.shape
    assert result.gap == pytest.approx(0, abs=1e-5)
    assert len(set(result.feature_values)) == 5
    np.testing.assert_allclose(result.values["x"][0], result.feature_values[0])  # one value for all channels of a step


def test_states_are_zero_unless_given_and_never_masked():
    model = opened(recurrent(shape=("steps", "batch", 3), states=True))
    series = np.random.default_rng(2).normal(size=(6, 1, 3)).astype(np.float32)
    alone = explain(model, series, "exact-shapley", target=0, features="windows:3")
    zeros = {name: np.zeros((1, 1, 2), np.float32) for name in ("h0", "c0")}
    assert alone == explain(model, {"x": series, **zeros}, "exact-shapley", target=0, features="windows:3")
    ones = {name: np.ones((1, 1, 2), np.float32) for name in ("h0", "c0")}
    begun = explain(model, {"x": series, **ones}, "exact-shapley", target=0, features="windows:3")
    nothing = model.predict({"x": np.zeros_like(series), **ones})["score"]
    assert begun.baseline_score == pytest.approx(float(nothing[0, 0]), abs=1e-5)
    assert not begun.values["h0"].any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_every_method_leaves_given_states_alone(kind, method):
    model = opened(recurrent(kind, ("steps", "batch", 3), states=True))
    given = {name: np.ones((1, 1, 2), np.float32) for name in ("h0", "c0") if any(i.name == name for i in model.inputs)}
    given["x"] = np.random.default_rng(2).normal(size=(6, 1, 3)).astype(np.float32)
    small = METHODS[method] | ({"features": "windows:3"} if "features" in METHODS[method] else {})
    small = {"masks": 50} if method == "rise" else {"window": 2} if method == "occlusion" else small
    result = explain(model, given, method, target=0, **small)
    assert result.values["x"].any()
    assert not any(values.any() for name, values in result.values.items() if name != "x")
    assert result.score == pytest.approx(float(model.predict(given)["score"][0, 0]), abs=1e-5)


def test_picture_and_table_are_explained_together():
    """A score that is known: twice the mean of the picture plus the second column."""
    nodes = [
        node("ReduceMean", ["picture"], ["mean"], axes=[1, 2, 3], keepdims=0),
        node("Mul", ["mean", "two"], ["doubled"]),
        node("Gather", ["row", "second"], ["column"], axis=1),
        node("Add", ["doubled", "column"], ["flat"]),
        node("Unsqueeze", ["flat", "last"], ["score"]),
    ]
    constants = {"two": np.float32(2), "second": np.int64(1), "last": np.int64([1])}
    inputs = {"picture": (FLOAT, ["N", 3, 8, 8]), "row": (FLOAT, ["N", 3])}
    model = opened(model_of(nodes, inputs, {"score": (FLOAT, ["N", 1])}, constants))
    feeds = {"picture": np.ones((1, 3, 8, 8), np.float32), "row": np.float32([[5, 7, 9]])}
    result = explain(model, feeds, "exact-shapley", features={"picture": "grid:2", "row": "columns"})
    named = dict(zip(result.feature_names, result.feature_values, strict=True))
    assert named["row 0, column 1"] == pytest.approx(0.5, abs=1e-6)
    assert named["column 1"] == pytest.approx(7, abs=1e-6)
    assert named["column 2"] == pytest.approx(0, abs=1e-6)
    texts = {text.get_text() for text in result.plot().texts}
    assert {"column 1 = 7", "row 0, column 1"} <= texts  # all of them in one picture
    assert "row 0, column 1" not in {text.get_text() for text in result.plot(input_name="picture").texts}
    whole = explain(model, feeds, "exact-shapley", features="inputs")
    np.testing.assert_allclose(whole.feature_values, [2, 7], atol=1e-6)


@pytest.fixture(scope="module")
def counter():
    """Count the bytes 65 in a row of 40, whole numbers."""
    kinds = {"bytes": (6, ["N", 40])}  # 6: int32
    nodes = [
        node("Equal", ["bytes", "letter"], ["found"]),
        node("Cast", ["found"], ["ones"], to=1),
        node("ReduceSum", ["ones", "time"], ["score"], keepdims=1),
    ]
    return model_of(nodes, kinds, {"score": (FLOAT, ["N", 1])}, {"letter": np.int32(65), "time": np.int64([1])})


def letters():
    row = np.full((1, 40), 32, np.int32)
    row[0, 10:14] = 65
    row[0, 30] = 65
    return row


def test_bytes_are_explained_by_windows_and_by_a_label_map(counter):
    described = ModelSpec(inputs={"bytes": InputSpec("bytes", "array", "NT")})
    model = opened(counter, described)
    result = explain(model, letters(), "exact-shapley", features="windows:4", baseline=256)
    np.testing.assert_allclose(result.feature_values, [0, 4, 0, 1], atol=1e-6)
    assert result.feature_names == ("steps 0-9", "steps 10-19", "steps 20-29", "steps 30-39")
    labels = np.zeros(40, int)
    labels[10:14], labels[30:] = 1, 2
    labels[:5] = -1
    mapped = explain(model, letters(), "exact-shapley", features=labels, baseline=256)
    np.testing.assert_allclose(mapped.feature_values, [0, 4, 1], atol=1e-6)
    assert not mapped.values["bytes"][0, :5].any()
    plain = explain(opened(counter), letters(), "kernel-shap", features=labels, baseline=256)
    np.testing.assert_allclose(plain.feature_values, [0, 4, 1], atol=1e-6)


def test_whole_numbers_take_no_soft_masks_and_no_lines(counter):
    described = ModelSpec(inputs={"bytes": InputSpec("bytes", "array", "NT")})
    model = opened(counter, described)
    result = explain(model, letters(), "rise", masks=300, baseline=256)
    assert int(np.argmax(result.values["bytes"])) in {10, 11, 12, 13, 30}
    with pytest.raises(SettingError, match="series of floating-point numbers"):
        explain(model, letters(), "ablation", baseline="interpolate")


@pytest.mark.parametrize("edges", ["smooth", "hard"])
def test_edges_of_random_masks_are_smooth_or_hard(detector, edges):
    result = explain(detector, burst(), "rise", masks=400, cells=12, edges=edges)
    assert BEGIN - 10 <= int(np.argmax(result.values["x"][0, 0])) < END + 10


def test_masks_of_sound_are_hard():
    """A detector that a softer sound sets off as well: only what is gone changes its score."""
    nodes = [
        node("Abs", ["x"], ["loud"]),
        node("Mul", ["loud", "thousand"], ["louder"]),
        node("Clip", ["louder", "none", "one"], ["heard"]),
        node("ReduceMean", ["heard"], ["score"], axes=[1], keepdims=1),
    ]
    constants = {"thousand": np.float32(1e3), "none": np.float32(0), "one": np.float32(1)}
    proto = model_of(nodes, {"x": (FLOAT, ["N", 800])}, {"score": (FLOAT, ["N", 1])}, constants)
    sound = np.zeros((1, 800), np.float32)
    sound[0, 200:320] = 1
    described = ModelSpec(inputs={"x": InputSpec("x", "series", "NT", rate=8000.0)})
    result = explain(opened(proto, described), sound, "rise", masks=1000)
    soft = explain(opened(proto, described), sound, "rise", masks=1000, edges="smooth")
    hard, smooth = (r.values["x"][0, 200:320].mean() - r.values["x"][0].mean() for r in (result, soft))
    assert hard > 1.5 * smooth
    assert 200 <= int(np.argmax(result.values["x"])) < 320
