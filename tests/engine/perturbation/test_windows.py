import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxplain import SettingError
from onnxplain.engine.masking.layout import MaskedInput
from onnxplain.engine.perturbation.axes import Axes
from onnxplain.engine.perturbation.windows import Windows, windows_over
from onnxplain.engine.spec import InputSpec


def axes_of(shape, letters, modality):
    feed = np.zeros((1, *shape), dtype=np.float32)
    entry = MaskedInput("x", feed, "." + letters, InputSpec("x", modality))
    return Axes(entry, letters.index("C") if modality == "image" and "C" in letters else None)


PHOTO = axes_of((3, 224, 112), "CHW", "image")


@st.composite
def axis_settings(draw):
    size = draw(st.integers(1, 30))
    window = draw(st.integers(1, size))
    return size, window, draw(st.integers(1, window))


@given(st.lists(axis_settings(), min_size=1, max_size=3))
def test_windows_reach_the_end_of_every_axis_and_no_further_one_is_needed(settings):
    sizes, window, stride = zip(*settings, strict=True)
    windows = Windows(sizes, window, stride)
    places = list(windows.places())
    assert windows.count == len(places)
    covered = np.zeros(sizes)
    for place in places:
        covered[place] += 1
    np.testing.assert_array_equal(windows.coverage(), covered)
    assert covered.min() >= 1
    for axis, (size, wide, step) in enumerate(settings):
        starts = sorted({place[axis].start for place in places})
        assert starts == [k * step for k in range(1 + -(-(size - wide) // step))]
        assert starts[-1] + wide >= size
        assert len(starts) == 1 or starts[-2] + wide < size


def test_last_window_is_cut_off_at_the_end():
    spans = [(place[0].start, place[0].stop) for place in Windows((5,), (2,), (2,)).places()]
    assert spans == [(0, 2), (2, 4), (4, 5)]


@pytest.mark.parametrize(
    ("window", "stride", "expected"),
    [
        (None, None, Windows((1, 224, 112), (1, 32, 16), (1, 16, 8))),
        (5, None, Windows((1, 224, 112), (1, 5, 5), (1, 2, 2))),
        (1, None, Windows((1, 224, 112), (1, 1, 1), (1, 1, 1))),
        ((6, 8), 3, Windows((1, 224, 112), (1, 6, 8), (1, 3, 3))),
        ((3, 6, 8), (3, 6, 2), Windows((1, 224, 112), (1, 6, 8), (1, 6, 2))),
        ((1, 6, 8), (1, 6, 2), Windows((3, 224, 112), (1, 6, 8), (1, 6, 2))),
        ({"x": [6, 8]}, {"x": 2}, Windows((1, 224, 112), (1, 6, 8), (1, 2, 2))),
        ({"y": 9}, None, Windows((1, 224, 112), (1, 32, 16), (1, 16, 8))),
    ],
)
def test_windows_of_an_image_cover_its_channels_unless_told_otherwise(window, stride, expected):
    assert windows_over(PHOTO, window, stride, "occlusion") == expected


def test_channels_last_are_covered_too():
    last = axes_of((64, 70, 3), "HWC", "image")
    assert windows_over(last, None, 1, "occlusion") == Windows((64, 70, 1), (9, 10, 1), (1, 1, 1))
    assert windows_over(last, (2, 4), None, "occlusion") == Windows((64, 70, 1), (2, 4, 1), (1, 2, 1))


def test_automatic_window_is_one_element_of_a_table_and_a_seventh_of_other_axes():
    assert windows_over(axes_of((13,), "F", "table"), None, None, "occlusion") == Windows((13,), (1,), (1,))
    assert windows_over(axes_of((8,), "T", "text"), None, None, "occlusion") == Windows((8,), (1,), (1,))
    assert windows_over(axes_of((2, 140), "CT", "series"), None, None, "occlusion") == Windows(
        (2, 140), (1, 20), (1, 10)
    )


def test_whole_number_means_that_size_along_every_axis_of_what_is_no_image():
    assert windows_over(axes_of((5, 6), "..", "array"), 3, 2, "occlusion") == Windows((5, 6), (3, 3), (2, 2))


@pytest.mark.parametrize(
    ("window", "stride", "message"),
    [
        ((6, 113), None, r"occlusion.window \[3, 6, 113\] is larger than input 'x' \[3, 224, 112\]"),
        (113, None, r"occlusion.window \[3, 113, 113\] is larger"),
        ((4, 6, 8), None, r"occlusion.window \[4, 6, 8\] is larger"),
        (4, 5, r"occlusion.stride \[3, 5, 5\] is larger than the window \[3, 4, 4\]"),
        ((4, 4, 4, 4), None, "occlusion.window has 4 sizes, input 'x' .* has 3 axes"),
        (4, (1,), "occlusion.stride has 1 sizes"),
        ({"x": 2.5}, None, "occlusion.window of input 'x' .* takes whole numbers, not 2.5"),
        ({"x": (2, 0)}, None, "occlusion.window of input 'x' .* must be at least 1"),
        ((), None, "at least 1"),
    ],
)
def test_windows_that_do_not_fit_are_refused(window, stride, message):
    with pytest.raises(SettingError, match=message):
        windows_over(PHOTO, window, stride, "occlusion")
