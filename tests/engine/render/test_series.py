import dataclasses

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from onnxplain import Explanation, Sample
from onnxplain.engine.errors import SettingError
from onnxplain.engine.render import figure
from onnxplain.engine.render.output import svg
from onnxplain.engine.render.spectrogram import decibels
from sample_explanations import simple


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


def long_series(steps=100_000, rate=250.0, channels=1, **sample):
    signal = np.sin(np.arange(steps) / 50).astype(np.float32) * np.ones((1, channels, 1), np.float32)
    signal[0, 0, steps // 2] = 7.5  # a spike of one step, which must not get lost
    values = np.zeros((1, channels, steps))
    values[0, 0, steps // 3] = -2.0
    values[0, 0, steps // 2] = 1.0
    fields = {"rate": rate, "series_input": "x", "preprocessing": {"layout": "NCT"}} | sample
    return Explanation(
        values={"x": values},
        method="occlusion",
        settings={},
        target="0",
        score=1.0,
        sample=Sample(feeds={"x": signal}, modality="series", **fields),
    )


def test_long_series_keeps_its_extremes_in_few_strokes():
    made = figure(long_series())
    signal, values = made.axes[:2]
    span = signal.collections[0].get_paths()[0].vertices
    assert len(span) < 10_000
    assert span[:, 1].max() == 7.5
    assert np.ptp(span[:, 0]) == 100_000
    areas = [c.get_paths()[0].vertices[:, 1] for c in values.collections]
    assert {float(a.min()) for a in areas} | {float(a.max()) for a in areas} >= {-2.0, 1.0}
    (shade,) = signal.images
    assert np.asarray(shade.get_array()).min() == -2.0
    assert shade.get_extent()[:2] == [-0.5, 99_999.5]
    assert len(svg(made)) < 1_000_000


def test_time_is_in_seconds_where_the_rate_is_known(of_series):
    made = figure(dataclasses.replace(of_series, sample=dataclasses.replace(of_series.sample, rate=10.0)))
    last = made.axes[3]
    labels = [label.get_text() for label in last.get_xticklabels()]
    assert labels[:3] == ["0", "1", "2"]
    np.testing.assert_allclose(last.get_xticks()[:3], [0, 10, 20])
    assert "seconds of 'signal'" in [t.get_text() for t in made.texts]


def test_sound_gets_a_spectrogram():
    made = figure(long_series(8000, rate=8000.0))
    (image,) = made.axes[0].images
    assert image.get_extent()[2:] == [0, 4.0]
    quiet = figure(long_series(8000, rate=50.0))
    assert len(quiet.axes) == len(made.axes) - 1


def test_spectrogram_of_a_tone_is_loudest_at_its_frequency():
    levels = decibels(np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000), 8000)
    bin_width = 8000 / (2 * (len(levels) - 1))
    assert np.all(np.abs(levels[:, 2:-2].argmax(axis=0) * bin_width - 1000) <= bin_width)
    assert levels.max() == 0
    assert levels.min() == -70
    assert np.all(decibels(np.zeros(8000), 8000) == -70)


def test_channels_with_the_same_values_share_one_strip(of_series):
    values = np.repeat(of_series.values["signal"][:, :1], 2, axis=1)
    shared = figure(dataclasses.replace(of_series, values={"signal": values}))
    assert len(shared.axes) == len(figure(of_series).axes) - 1
    names = dataclasses.replace(of_series.sample, channels=("left", "right"))
    texts = [t.get_text() for t in figure(dataclasses.replace(of_series, sample=names)).texts]
    assert {"left", "right"} <= set(texts)


def test_of_many_channels_the_strongest_are_drawn():
    many = long_series(80, rate=0.0, channels=9)
    many.values["x"][0] = np.arange(9)[:, None] * np.linspace(0, 1, 80)
    texts = [t.get_text() for t in figure(many).texts]
    assert {"input 3", "input 8"} <= set(texts)
    assert "input 2" not in texts
    assert any("3 others are not drawn" in t for t in texts)


def test_values_of_whole_channels_are_bars():
    labels = np.arange(2).reshape(1, 2, 1)
    one = dataclasses.replace(
        long_series(40, channels=2),
        values={"x": np.broadcast_to(np.float64([[[1], [2]]]), (1, 2, 40))},
        feature_values=np.array([1.0, 2.0]),
        feature_names=("left", "right"),
        feature_labels={"x": labels},
    )
    assert {"left", "right"} <= {t.get_text() for t in figure(one).texts}


def test_borders_of_windows_are_drawn_where_there_are_few(of_series):
    labels = (np.arange(50) // 10).reshape(1, 1, 50)
    sample = dataclasses.replace(of_series.sample, series_input="signal", preprocessing={"layout": "NCT"})
    made = figure(dataclasses.replace(of_series, feature_labels={"signal": labels}, sample=sample))
    lines = [c for c in made.axes[1].collections if isinstance(c, LineCollection)]
    assert [float(s[0, 0]) for s in lines[0].get_segments()] == [9.5, 19.5, 29.5, 39.5]


def test_whole_numbers_of_an_array_are_drawn_as_a_series():
    sample = Sample(
        feeds={"bytes": np.arange(64, dtype=np.int32)[None]}, series_input="bytes", preprocessing={"layout": "NT"}
    )
    made = figure(simple(values={"bytes": np.linspace(-1, 1, 64)[None]}, sample=sample))
    assert np.array_equal(made.axes[0].lines[0].get_ydata(), np.arange(64))


@pytest.mark.parametrize("axis", [0, 1])
def test_time_first_is_understood_wherever_the_rows_are(axis):
    values = np.zeros((6, 1, 2) if axis else (1, 6, 2))
    values[(4, 0, 1) if axis else (0, 4, 1)] = 3.0
    feed = np.moveaxis(np.zeros_like(values), axis, 0).astype(np.float32)
    layout = "TNC" if axis else "NTC"
    sample = Sample(feeds={"x": feed}, modality="series", series_input="x", preprocessing={"layout": layout})
    made = figure(simple(values={"x": values}, sample=sample))
    assert [bar.get_height() for bar in made.axes[3].patches] == [0, 0, 0, 0, 3, 0]
