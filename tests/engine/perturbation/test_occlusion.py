import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import onnxplain
from onnxplain import SettingError
from onnxplain.engine.perturbation.occlusion import _coalitions
from onnxplain.engine.perturbation.windows import Windows
from onnxplain.engine.runtime import Layout
from oracles.graphs import MODELS, cv_of_two, random_convolutions, random_dense
from small_graphs import model_of

CONVOLUTIONS = onnxplain.load(random_convolutions(3))
IMAGE = np.random.default_rng(4).normal(size=(1, 3, 9, 9)).astype(np.float32)


def occluded_by_loops(model, image, window, stride, baseline, target):
    """Slide (channels, rows, columns) windows over an image one by one; mean of the falls over each element."""
    shape = image.shape[1:]
    full = model.predict({"image": image})["y"][0, target]
    fall, count = np.zeros(shape), np.zeros(shape)
    starts = [[0] for _ in shape]
    for axis in range(3):
        while starts[axis][-1] + window[axis] < shape[axis]:
            starts[axis].append(starts[axis][-1] + stride[axis])
    for c, r, k in itertools.product(*starts):
        hidden = image.copy()
        hidden[0, c : c + window[0], r : r + window[1], k : k + window[2]] = baseline
        lost = full - model.predict({"image": hidden})["y"][0, target]
        fall[c : c + window[0], r : r + window[1], k : k + window[2]] += lost
        count[c : c + window[0], r : r + window[1], k : k + window[2]] += 1
    return fall / count


@st.composite
def sliding(draw):
    window = draw(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)))
    return window, tuple(draw(st.integers(1, wide)) for wide in window)


@given(sliding(), st.sampled_from([0.0, 1.5]))
@settings(max_examples=8)
def test_values_are_those_of_plain_loops(setting, baseline):
    window, stride = setting
    found = onnxplain.explain(
        CONVOLUTIONS, IMAGE, "occlusion", target=1, window=window, stride=stride, baseline=baseline
    )
    expected = occluded_by_loops(CONVOLUTIONS, IMAGE, window, stride, baseline, target=1)
    np.testing.assert_allclose(found.values["image"][0], expected, atol=1e-5 * np.abs(expected).max())


def test_window_of_rows_and_columns_hides_all_channels_alike():
    whole = onnxplain.explain(CONVOLUTIONS, IMAGE, "occlusion", target=0, window=(3, 3, 3), stride=1, baseline=0)
    spatial = onnxplain.explain(CONVOLUTIONS, IMAGE, "occlusion", target=0, window=(3, 3), stride=1, baseline=0)
    number = onnxplain.explain(CONVOLUTIONS, IMAGE, "occlusion", target=0, window=3, stride=1, baseline=0)
    np.testing.assert_array_equal(whole.values["image"], number.values["image"])
    np.testing.assert_array_equal(spatial.values["image"], number.values["image"])
    np.testing.assert_array_equal(number.values["image"][:, 0], number.values["image"][:, 1])


def test_sum_is_the_average_times_the_windows_over_an_element():
    average = onnxplain.explain(CONVOLUTIONS, IMAGE, "occlusion", target=0, window=4, stride=2, baseline=0)
    total = onnxplain.explain(CONVOLUTIONS, IMAGE, "occlusion", target=0, window=4, stride=2, baseline=0, overlap="sum")
    count = Windows((1, 9, 9), (1, 4, 4), (1, 2, 2)).coverage()
    assert count.max() == 4
    np.testing.assert_allclose(total.values["image"][0], average.values["image"][0] * count, rtol=1e-12)


def test_several_references_are_averaged():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3, 4)).astype(np.float32)
    model, x = onnxplain.load(random_dense(0, 4)), rng.normal(size=(1, 4)).astype(np.float32)
    several = onnxplain.explain(model, x, "occlusion", target=0, baseline=rows)
    single = [onnxplain.explain(model, x, "occlusion", target=0, baseline=row).values["x"] for row in rows]
    np.testing.assert_allclose(several.values["x"], np.mean(single, axis=0), rtol=1e-5)
    assert several.evaluations == 1 + 3 * 4


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_batch_size_changes_nothing(batch):
    model = onnxplain.load(random_convolutions(3))
    model.layout = Layout(1, 1, batch)
    found = onnxplain.explain(model, IMAGE, "occlusion", target=0, window=3, stride=2, baseline=0)
    usual = onnxplain.explain(CONVOLUTIONS, IMAGE, "occlusion", target=0, window=3, stride=2, baseline=0)
    np.testing.assert_allclose(found.values["image"], usual.values["image"], rtol=1e-5, atol=1e-6)
    assert found.evaluations == usual.evaluations == 1 + 16


def test_only_the_input_asked_for_is_occluded():
    feeds = {name: np.full((1, 1, 4, 4), 5, dtype=np.float32) for name in ("image", "second")}
    both = onnxplain.explain(cv_of_two(), feeds, "occlusion", target=0, window=2, baseline=0)
    one = onnxplain.explain(cv_of_two(), feeds, "occlusion", target=0, window=2, baseline=0, wrt="second")
    assert list(one.values) == ["second"]
    np.testing.assert_array_equal(one.values["second"], both.values["second"])
    assert np.abs(both.values["second"]).max() > 1
    assert (one.evaluations, both.evaluations) == (1 + 9, 1 + 2 * 9)


def test_setting_for_an_unknown_input_is_refused_with_the_nearest_name():
    x = np.ones((1, 3), dtype=np.float32)
    with pytest.raises(SettingError, match=r"occlusion.window names an input 'x4', which is not explained") as refusal:
        onnxplain.explain(MODELS["ML3"](), {"x1": x, "x2": x, "x3": x}, "occlusion", target=0, window={"x4": 1})
    assert "x1" in refusal.value.tip


def test_coalitions_come_one_batch_at_a_time():
    windows = {"a": Windows((1, 50, 50), (1, 8, 8), (1, 1, 1)), "b": Windows((4,), (1,), (1,))}
    chunks = _coalitions(windows, 2504, 16)
    first = next(chunks)
    assert first.shape == (16, 2504)
    hidden = [first, *chunks]
    assert sum(map(len, hidden)) == 43 * 43 + 4
    assert {int(n) for n in (~np.concatenate(hidden)).sum(axis=1)} == {64, 1}
    np.testing.assert_array_equal(~hidden[-1][-4:], np.eye(2504, dtype=bool)[-4:])


def test_a_picture_without_channels_is_no_series_and_its_window_is_a_square():
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)]
    shape = {"x": (TensorProto.FLOAT, ["n", 5, 5])}
    proto = model_of(nodes, shape, {"y": (TensorProto.FLOAT, ["n"])}, {"axes": np.array([1, 2])})
    x = np.zeros((1, 5, 5), np.float32)
    x[0, 1, 1] = x[0, 3, 3] = 3
    found = onnxplain.explain(proto.SerializeToString(), x, "occlusion", window=3, stride=1, baseline=0, overlap="sum")
    expected = [[3, 6, 6, 3, 0], [6, 15, 18, 12, 3], [6, 18, 24, 18, 6], [3, 12, 18, 15, 6], [0, 3, 6, 6, 3]]
    np.testing.assert_allclose(found.values["x"], [expected])
