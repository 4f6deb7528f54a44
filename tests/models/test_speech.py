"""Silero VAD by its recipe: the framing, the recording, and where the voice is found."""

import io

import numpy as np
import pytest
from onnx import helper
from scipy.io import wavfile

from onnxplain import explain, load
from onnxplain.models import catalogue, speech


def test_frames_overlap_by_the_context():
    graph = speech.framing()
    proto = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 16)])
    audio = np.arange(1, 1500, dtype=np.float32)[None]
    frames = load(proto.SerializeToString(), device="cpu").predict(audio)["frames"]
    padded = np.concatenate([np.zeros(64), audio[0]])
    np.testing.assert_array_equal(frames, [padded[512 * k : 512 * k + 576] for k in range(2)])


def test_recording_has_voice_and_tone_where_it_says():
    sound = speech.recording()
    assert (sound.shape, bool(np.abs(sound).max() <= 1)) == ((48_000,), True)

    def loudness(begin, end):
        return float(np.sqrt((sound[round(begin * 16_000) : round(end * 16_000)] ** 2).mean()))

    for begin, end in speech.PHRASES:
        assert loudness(begin + 0.1, end - 0.2) > 0.05
    assert loudness(*speech.TONE[:2]) == pytest.approx(0.3 / np.sqrt(2), rel=0.01)
    assert loudness(0, 0.45) < 0.003
    np.testing.assert_array_equal(sound, speech.recording())


def test_wav_file_is_what_scipy_reads():
    rate, samples = wavfile.read(io.BytesIO(speech.wav(np.array([0, 0.5, -1, 2]), 8000)))
    assert (rate, samples.tolist()) == (8000, [0, 16384, -32767, 32767])


@pytest.mark.network
def test_voice_is_what_the_network_hears(tmp_path, monkeypatch):
    monkeypatch.setenv("ONNXPLAIN_HOME", str(tmp_path))
    model = load(catalogue.build("silero-vad"), device="cpu")
    (recording,) = catalogue.samples("silero-vad")
    assert {n: e.modality for n, e in model.spec.inputs.items()} == {"audio": "series", "h": "state", "c": "state"}
    frames = model.predict(
        {
            "audio": speech.recording()[None].astype(np.float32),
            "h": np.zeros((1, 1, 128), np.float32),
            "c": np.zeros((1, 1, 128), np.float32),
        }
    )["frame_speech"][0]
    time = (np.arange(frames.size) + 0.5) * speech.HOP / speech.RATE
    voiced = np.any([(time > a) & (time < b) for a, b in speech.PHRASES], axis=0)
    assert frames[voiced].mean() > 0.8
    assert frames[~voiced].mean() < 0.25
    result = explain(model, recording, "ablation", features="windows:30")
    values, centres = result.feature_values, (np.arange(30) + 0.5) * 0.1
    heard = np.any([(centres > a) & (centres < b) for a, b in speech.PHRASES], axis=0)
    assert values[heard].sum() > 2 * np.abs(values[~heard]).sum()
    one = explain(model, recording, "ablation", features="windows:30", target="frame_speech[60]")
    assert 1.6 < centres[int(np.argmax(one.feature_values))] < 2.2
