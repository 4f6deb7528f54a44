import dataclasses

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from onnxplain.engine.errors import SettingError
from onnxplain.engine.render import figure


def test_line_is_coloured_by_the_values_on_common_symmetric_limits(of_series):
    made = figure(of_series)
    lines = [c for axes in made.axes for c in axes.collections if isinstance(c, LineCollection) and c.norm.vmax]
    lines = [c for c in lines if c.get_array() is not None]
    assert np.array_equal([np.asarray(c.get_array()) for c in lines[:2]], of_series.values["signal"][0])
    assert all(c.norm.vmin == -c.norm.vmax == lines[0].norm.vmin for c in lines[:2])


def test_line_follows_the_signal_and_bars_the_values(of_series):
    made = figure(of_series)
    signals = [axes.lines[0].get_ydata() for axes in (made.axes[0], made.axes[2])]
    assert np.array_equal(signals, of_series.sample.feeds["signal"][0])
    heights = [bar.get_height() for bar in made.axes[3].patches]
    assert np.array_equal(heights, of_series.values["signal"][0, 1])


def test_channels_may_come_last(of_series):
    turned = dataclasses.replace(
        of_series,
        values={"signal": of_series.values["signal"].transpose(0, 2, 1)},
        sample=dataclasses.replace(
            of_series.sample, feeds={"signal": of_series.sample.feeds["signal"].transpose(0, 2, 1)}
        ),
    )
    signals = [axes.lines[0].get_ydata() for axes in (figure(turned).axes[0], figure(turned).axes[2])]
    assert np.array_equal(signals, of_series.sample.feeds["signal"][0])


def test_a_series_of_many_channels_becomes_a_bar_chart_of_its_strongest_steps(of_series):
    many = dataclasses.replace(of_series, values={"signal": np.ones((1, 20, 50))})
    assert len(figure(many).axes[0].patches) == 16


def test_series_too_small_to_read_is_refused(of_series):
    with pytest.raises(SettingError, match="too small for 2 series"):
        figure(of_series, size=(6.0, 1.5))
