import dataclasses

import numpy as np
import pytest

from onnxplain.engine.errors import SettingError
from onnxplain.engine.render import figure
from onnxplain.engine.render.image import greyed


def drawn(explanation, **options):
    """Return the figure, and the image of the values in it: the last image of the second axes."""
    made = figure(explanation, **options)
    return made, made.axes[1].images[-1]


def texts(made):
    return " ".join(text.get_text() for text in made.texts)


def test_overlay_holds_the_channel_sum_on_symmetric_limits(of_image):
    _, values = drawn(of_image)
    total = of_image.values["pixels"][0].sum(axis=0)
    assert np.asarray(values.get_array()) == pytest.approx(total)
    low, high = values.get_clim()
    assert low == -high
    assert high == np.percentile(np.abs(total), 99.5, method="higher")


def test_photograph_is_shown_as_it_is_beside_its_greyed_copy(of_image):
    made, _ = drawn(of_image)
    assert np.array_equal(made.axes[0].images[0].get_array(), of_image.sample.image)
    assert np.asarray(made.axes[1].images[0].get_array()) == pytest.approx(greyed(of_image.sample.image))


def test_picture_shows_through_where_values_are_small(of_image):
    values = np.zeros((1, 3, 12, 16))
    values[:, :, 4, 5] = -1.0
    _, shown = drawn(dataclasses.replace(of_image, values={"pixels": values}), alpha=0.5)
    opacity = shown.get_alpha()
    assert opacity[4, 5] == 0.5
    assert opacity.sum() == 0.5


def test_colour_bar_states_unit_and_limits(of_tiles):
    made, _ = drawn(of_tiles)
    labels = [tick.get_text() for tick in made.axes[2].get_yticklabels()]
    assert labels == ["−2.00", "−1.00", "0", "+1.00", "+2.00"]
    said = texts(made)
    assert "Colours end at ±2, the largest absolute value." in said
    assert "Red raises the score, blue lowers it." in said
    assert "effect on the logit" in said


def test_rise_is_centred_and_says_on_what(of_image):
    values = 5.25 + 0.1 * np.repeat(of_image.values["pixels"][:, :1], 3, axis=1)
    made, shown = drawn(dataclasses.replace(of_image, method="rise", values={"pixels": values}))
    assert np.asarray(shown.get_array()).mean() == pytest.approx(0, abs=1e-12)
    assert "relative to the mean 5.25" in texts(made)


def test_tiles_are_outlined_unless_refused(of_tiles, of_image):
    def outlined(explanation, **options):
        made, _ = drawn(explanation, **options)
        return [patch.get_path() for patch in made.axes[1].patches]

    across = [((-0.5, y), (15.5, y)) for y in (3.5, 7.5)]
    down = [((x, -0.5), (x, 11.5)) for x in (3.5, 7.5, 11.5)]
    lines = outlined(of_tiles)[0].vertices.reshape(-1, 2, 2).tolist()
    assert {tuple(map(tuple, line)) for line in lines} == {*across, *down}
    assert not outlined(of_tiles, outlines=False)
    assert not outlined(of_image)
    with pytest.raises(SettingError, match="no outlines for 'pixels'"):
        figure(of_image, outlines=True)


def test_colours_of_map_without_picture_are_opaque(of_image):
    made = figure(dataclasses.replace(of_image, values={"hidden": of_image.values["pixels"]}, sample=None))
    assert made.axes[0].images[-1].get_alpha() is None


@pytest.mark.parametrize("mode", ["centred", "magnitude", "positive", "error"])
def test_every_mode_says_what_it_shows(of_image, mode):
    errors = {"pixels": np.full((1, 3, 12, 16), 0.5)}
    made, _ = drawn(dataclasses.replace(of_image, standard_error=errors), mode=mode)
    expected = {
        "centred": "blue is below it",
        "magnitude": "Magnitude only",
        "positive": "Only what raises the score",
        "error": "Standard error of the estimate",
    }
    assert expected[mode] in texts(made)


def test_title_can_be_replaced_or_left_out(of_image):
    assert "Egyptian cat (285), score 9.41" in texts(figure(of_image))
    assert "mine $x$" in texts(figure(of_image, title="mine $x$"))
    assert "score 9.41" not in texts(figure(of_image, title=False))


@pytest.mark.parametrize("size", [(6.0, 4.0), (12.0, 5.0)])
def test_size_is_kept(of_image, size):
    made = figure(of_image, size=size)
    assert tuple(made.get_size_inches()) == size
    assert all(axes.get_position().y0 > 0 and axes.get_position().x1 < 1 for axes in made.axes)


def test_figure_too_small_for_its_parts_is_refused(of_image):
    with pytest.raises(SettingError, match="too small"):
        figure(of_image, size=(2.0, 1.5))


@pytest.mark.parametrize("alpha", [0, 1.5, float("nan")])
def test_opacity_out_of_range_is_refused(of_image, alpha):
    with pytest.raises(SettingError, match="alpha"):
        figure(of_image, alpha=alpha)


def test_panels_keep_the_proportions_of_the_picture(of_image):
    made = figure(of_image)
    box = made.axes[0].get_position()
    width, height = made.get_size_inches()
    assert box.width * width / (box.height * height) == pytest.approx(16 / 12)
