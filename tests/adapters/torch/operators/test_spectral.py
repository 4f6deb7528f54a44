"""Fourier transforms, windows and mel filters."""

import numpy as np
import pytest

from single_nodes import by_reference, by_runtime, by_twin, has_true_gradients, single_node

torch = pytest.importorskip("torch")
RANDOM = np.random.default_rng(9)


def agrees(op_type, inputs, *, opset, oracle=by_reference, **rest):
    model = single_node(op_type, inputs, opset=opset, **rest)
    ours, theirs = by_twin(model, inputs)[0], oracle(model, inputs)[0]
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [None, 4, 9])
@pytest.mark.parametrize(
    ("parts", "inverse", "onesided"),
    [(1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0), (2, 0, 1), (2, 1, 0), (2, 1, 1)],
    ids=str,
)
def test_fourier_transform(parts, inverse, onesided, length):
    x = RANDOM.normal(size=(2, 6, 5, parts)).astype(np.float32)
    count = None if length is None else np.array(length)
    settings = {"inverse": inverse, "onesided": onesided}
    agrees("DFT", [x, count], opset=17, axis=1, **settings)
    for constant in ([], [2]):
        agrees("DFT", [x, count, np.array(-2)], opset=20, constant=constant, **settings)
    assert has_true_gradients("DFT", [x[:1, :3, :2], count], opset=17, axis=1, **settings)


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("window", [None, np.array([0.1, 0.5, 1, 1, 0.5, 0.1], np.float32)], ids=["flat", "window"])
def test_short_time_fourier_transform(window, onesided):
    signal = RANDOM.normal(size=(2, 20, 1)).astype(np.float32)
    inputs = [signal, np.array(4), window, np.array(6)]
    agrees("STFT", inputs, opset=17, onesided=onesided, oracle=by_runtime)
    assert has_true_gradients("STFT", [signal[:1, :10], *inputs[1:]], opset=17, onesided=onesided)


@pytest.mark.parametrize("name", ["Hann", "Hamming", "Blackman"])
@pytest.mark.parametrize("periodic", [0, 1])
def test_windows(name, periodic):
    for dtype in (1, 11):
        agrees(f"{name}Window", [np.array(10)], opset=17, periodic=periodic, output_datatype=dtype)


def test_hann_window_starts_at_zero_and_peaks_in_the_middle():
    values = by_twin(single_node("HannWindow", [np.array(8)], opset=17), [np.array(8)])[0]
    np.testing.assert_allclose(values, [0, 0.146447, 0.5, 0.853553, 1, 0.853553, 0.5, 0.146447], atol=1e-6)


@pytest.mark.parametrize("bands", [3, 8, 20])
def test_mel_weights(bands):
    edges = np.array(100.0, np.float32), np.array(4000.0, np.float32)
    inputs = [np.array(bands), np.array(64), np.array(16000), *edges]
    agrees("MelWeightMatrix", inputs, opset=17)
