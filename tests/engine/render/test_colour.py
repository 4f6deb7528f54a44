import dataclasses

import numpy as np
import pytest

from onnxplain.engine.errors import InputError, SettingError
from onnxplain.engine.render.colour import limit, mode_for, scale

MAP = np.arange(-400.0, 600.0).reshape(20, 50) / 100  # -4 to 5.99; the mean is 0.995


def test_signed_limits_are_symmetric_at_the_percentile(of_image):
    found = scale(of_image, MAP, "signed")
    assert found.low == -found.high
    assert found.high == np.percentile(np.abs(MAP), 99.5, method="higher") == 5.95
    assert found.extend == "max"
    assert np.array_equal(found.data, MAP)
    assert "±5.95, the 99.5th percentile of the absolute values (the largest: 5.99)" in found.notes[1]


def test_values_are_never_stretched_to_their_minimum(of_image):
    offset = scale(of_image, MAP + 100, "signed")
    assert offset.norm(0.0) == 0.5
    assert offset.low < -100


def test_centred_takes_off_the_mean_and_says_so(of_image):
    found = scale(of_image, MAP, "centred")
    assert found.middle == pytest.approx(0.995)
    assert found.data.mean() == pytest.approx(0, abs=1e-12)
    assert found.low == -found.high
    assert found.label.endswith("relative to the mean 0.995")


def test_magnitude_and_positive_start_at_zero(of_image):
    magnitude, positive = scale(of_image, MAP, "magnitude"), scale(of_image, MAP, "positive")
    assert (magnitude.low, positive.low) == (0.0, 0.0)
    assert np.array_equal(magnitude.data, np.abs(MAP))
    assert np.array_equal(positive.data, np.where(MAP > 0, MAP, 0))


def test_error_mode_draws_the_standard_error_and_needs_one(of_image):
    assert np.array_equal(scale(of_image, MAP, "error", np.ones((20, 50))).data, np.ones((20, 50)))
    with pytest.raises(SettingError, match="'occlusion' gives no standard error"):
        scale(of_image, MAP, "error")


def test_mode_suits_the_method_unless_it_is_given(of_image):
    rise = dataclasses.replace(of_image, method="rise")
    assert (mode_for(of_image, None), mode_for(rise, None), mode_for(rise, "signed")) == ("signed", "centred", "signed")
    with pytest.raises(SettingError, match="did you mean 'signed'"):
        mode_for(of_image, "singed")


def test_sparse_and_empty_maps_have_limits():
    sparse = np.zeros(1000)
    sparse[3] = -2.0
    assert limit(sparse) == (2.0, "the largest absolute value")
    assert limit(np.zeros(4)) == (1.0, "every value is 0")


def test_values_that_are_not_finite_are_refused_with_their_place(of_image):
    broken = MAP.copy()
    broken[2, 7] = np.nan
    with pytest.raises(InputError, match=r"nan at \[2, 7\]"):
        scale(of_image, broken, "signed")


def test_opacity_grows_with_the_absolute_value(of_image):
    found = scale(of_image, np.array([[-4.0, -1.0, 0.0, 1.0, 4.0]]), "signed")
    opacity = found.opacity(0.8)[0]
    assert opacity[2] == 0
    assert opacity[0] == opacity[4] == pytest.approx(0.8)
    assert opacity[1] == opacity[3] == pytest.approx(0.8 * 0.25**0.6)


def test_red_is_above_zero_and_blue_below(of_image):
    found = scale(of_image, MAP, "signed")
    low, _, high = found.colours([0.1, 0.5, 0.9])[:, :3]
    assert low[2] > 2 * low[0]
    assert high[0] > 2 * high[2]


def test_colour_bar_shows_colours_as_they_look_on_the_picture(of_image):
    found = scale(of_image, MAP, "signed")
    bar = found.blended(0.8, ground=0.7)
    assert bar(0.5)[:3] == pytest.approx((0.7, 0.7, 0.7), abs=0.02)
    expected = 0.8 * np.array(found.colours(1.0)[:3]) + 0.2 * 0.7
    assert bar(1.0)[:3] == pytest.approx(expected, abs=1e-9)
