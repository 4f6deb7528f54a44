import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxplain.engine.errors import SettingError
from onnxplain.engine.masking import stand_ins
from onnxplain.engine.masking.layout import masked_inputs

IMAGE = np.array([[[[1, 2], [3, 6]], [[10, 10], [20, 40]]]], np.float32)  # two channels of 2 x 2
NCHW = {"x": {"modality": "image", "layout": "NCHW"}}


def only(case):
    (entry,) = masked_inputs(*case).values()
    return entry


@pytest.fixture
def image(make):
    return only(make(("x", IMAGE), spec=NCHW))


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        (stand_ins.mean, [[3.0, 20.0]]),
        (stand_ins.median, [[2.5, 15.0]]),
        (stand_ins.deviation, [[np.sqrt(3.5), np.sqrt(150.0)]]),
        (stand_ins.quartiles, [[1.75, 10.0], [2.5, 15.0], [3.75, 25.0]]),
    ],
)
def test_statistics_of_an_image_are_taken_per_channel(image, statistic, expected):
    found = stand_ins.summary(image, None, statistic)
    assert found.shape == (len(expected), 2, 2, 2)
    assert np.allclose(found[:, :, 0, 0], expected, rtol=1e-15)
    assert np.array_equal(found, np.broadcast_to(found[:, :, :1, :1], found.shape))


def test_statistics_of_background_rows_are_taken_per_column(make):
    entry = only(make(("x", np.zeros((1, 2)))))
    rows = np.array([[0.0, 5.0], [2.0, 5.0], [10.0, 8.0]])
    assert stand_ins.summary(entry, rows, stand_ins.mean).tolist() == [[4.0, 6.0]]
    assert stand_ins.summary(entry, rows, stand_ins.median).tolist() == [[2.0, 5.0]]
    assert stand_ins.summary(entry, rows, stand_ins.quartiles).tolist() == [[1.0, 5.0], [2.0, 5.0], [6.0, 6.5]]


def test_without_known_channels_the_whole_input_has_one_mean(make):
    entry = only(make(("x", np.array([[[1.0, 2.0], [3.0, 6.0]]]))))
    assert stand_ins.summary(entry, None, stand_ins.mean).tolist() == [[[3.0, 3.0], [3.0, 3.0]]]


def test_blur_of_a_point_is_a_gaussian_in_each_channel_alone(make):
    array = np.zeros((1, 2, 41, 41), np.float32)
    array[0, 0, 20, 20] = 1
    blurred = stand_ins.blurred(only(make(("x", array), spec=NCHW)), 2.0)
    kernel = np.exp(-(np.arange(-8, 9) ** 2) / 8.0)
    kernel /= kernel.sum()
    assert np.allclose(blurred[0, 0, 20, 12:29], kernel * kernel[8], atol=1e-12)
    assert blurred[0, 0].sum() == pytest.approx(1, abs=1e-12)
    assert not blurred[0, 1].any()


def test_blur_keeps_the_mean_up_to_the_edges(make):
    array = np.random.default_rng(0).normal(size=(1, 9, 7, 3))
    entry = only(make(("x", array), spec={"x": {"modality": "image", "layout": "NHWC"}}))
    assert np.allclose(stand_ins.blurred(entry, 50.0).mean(axis=(1, 2)), array.mean(axis=(1, 2)), atol=1e-12)


def test_blur_of_a_series_goes_along_time_only(make):
    array = np.zeros((1, 31, 2))
    array[0, 15, 0] = 1
    entry = only(make(("x", array), spec={"x": {"modality": "series", "layout": "NTC"}}))
    blurred = stand_ins.blurred(entry, 3.0)
    assert blurred[0, :, 0].sum() == pytest.approx(1, abs=1e-12)
    assert not blurred[0, :, 1].any()


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 3))
def test_inpainting_stays_within_what_the_image_holds(make, height, width, channels):
    array = np.random.default_rng(0).normal(size=(1, channels, height, width))
    entry = only(make(("x", array), spec=NCHW))
    if height * width == 1:
        with pytest.raises(SettingError, match="no neighbouring pixels"):
            stand_ins.inpainted(entry)
        return
    filled = stand_ins.inpainted(entry)
    assert filled.shape == array.shape
    assert np.all(filled >= array.min(axis=(2, 3), keepdims=True))
    assert np.all(filled <= array.max(axis=(2, 3), keepdims=True))


def test_no_pixel_of_a_cell_is_used_to_fill_it_in(make):
    array = np.random.default_rng(0).normal(size=(1, 1, 28, 28))
    other = array.copy()
    other[0, 0, 8:12, 12:16] += 5  # the cell in row 2, column 3 of 7 x 7, which is white; its neighbours are black
    before = stand_ins.inpainted(only(make(("x", array), spec=NCHW)))
    after = stand_ins.inpainted(only(make(("x", other), spec=NCHW)))
    assert np.array_equal(after[0, 0, 8:12, 12:16], before[0, 0, 8:12, 12:16])
    assert np.abs(after[0, 0, 4:8, 12:16] - before[0, 0, 4:8, 12:16]).max() > 0.1


def test_inpainting_continues_a_smooth_image(make):
    ramp = np.add.outer(np.arange(28.0), 2 * np.arange(28.0))[None, None]
    filled = stand_ins.inpainted(only(make(("x", ramp), spec=NCHW)))
    inside = (slice(None), slice(None), slice(4, 24), slice(4, 24))
    assert np.abs(filled - ramp)[inside].max() < 1.0


def test_large_image_is_inpainted_at_a_lower_resolution(make):
    ramp = np.broadcast_to(np.linspace(0, 1, 500)[:, None, None], (500, 300, 3))[None]
    entry = only(make(("x", ramp), spec={"x": {"modality": "image", "layout": "NHWC"}}))
    filled = stand_ins.inpainted(entry)
    assert filled.shape == ramp.shape
    assert np.abs(filled - ramp)[:, 80:420, 50:250].max() < 0.05


@pytest.mark.parametrize(
    ("dtype", "number", "fits"),
    [
        (np.float32, 0.1, True),
        (np.float32, 1e39, False),
        (np.float16, 65504, True),
        (np.float16, 1e6, False),
        (np.float64, 10**400, False),
        (np.float64, float("nan"), False),
        (np.float32, float("inf"), False),
        (np.uint8, 255, True),
        (np.uint8, 256, False),
        (np.uint8, -1, False),
        (np.int64, 3.0, True),
        (np.int64, 0.5, False),
        (np.int64, 2**62 + 1, True),
        (np.int64, float("inf"), False),
        (bool, 1, True),
        (bool, 2, False),
    ],
)
def test_constants_must_be_held_by_the_dtype(make, dtype, number, fits):
    entry = only(make(("x", np.zeros((1, 2), dtype))))
    if fits:
        found = stand_ins.constant(entry, number)
        assert found.dtype == dtype
        assert found.tolist() == [[np.dtype(dtype).type(number).item()] * 2]
    else:
        with pytest.raises(SettingError, match="cannot hold the baseline"):
            stand_ins.constant(entry, number)


def test_text_has_no_number(make):
    entry = only(make(("x", np.array([["a"]], dtype=object))))
    with pytest.raises(SettingError, match="takes text, for which no number can stand in"):
        stand_ins.constant(entry, 0)


def test_computed_values_are_rounded_and_clipped_for_whole_numbers(make):
    entry = only(make(("x", np.zeros((1, 4), np.uint8))))
    found = stand_ins.in_dtype(np.array([[-3.0, 1.5, 2.5, 300.0]]), entry)
    assert found.tolist() == [[0, 2, 2, 255]]
    assert found.dtype == np.uint8
    entry = only(make(("x", np.zeros((1, 3), bool))))
    assert stand_ins.in_dtype(np.array([[0.4, 0.6, 7.0]]), entry).tolist() == [[False, True, True]]
