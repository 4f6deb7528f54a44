"""WAV files: every kind of sample, and headers that lie."""

import struct
import wave

import numpy as np
import pytest
from scipy.io import wavfile

from onnxplain.engine.errors import InputError
from onnxplain.engine.inputs import audio
from onnxplain.engine.inputs.audio import read_wav

TONE = np.sin(np.arange(100) / 5) * 0.75


@pytest.fixture
def file(tmp_path):
    return tmp_path / "sound.wav"


def chunk(name, data, declared=None):
    size = len(data) if declared is None else declared
    return name + struct.pack("<I", size) + data + b"\0" * (len(data) % 2)


def riff(*chunks, kind=b"WAVE"):
    body = b"".join(chunks)
    return struct.pack("<4sI4s", b"RIFF", 4 + len(body), kind) + body


def form(kind=1, channels=1, rate=8000, bits=16, block=None, more=b""):
    block = channels * bits // 8 if block is None else block
    return chunk(b"fmt ", struct.pack("<HHIIHH", kind, channels, rate, rate * block, block, bits) + more)


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_wav(path)
    assert str(caught.value).count("\n") < 6
    assert path.name in caught.value.where
    return str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "full", "tolerance"),
    [(np.int16, 1 << 15, 1e-4), (np.int32, 1 << 31, 1e-9), (np.float32, 1, 1e-7), (np.float64, 1, 0)],
)
def test_samples_are_read_as_scipy_writes_them(file, dtype, full, tolerance):
    stereo = np.stack([TONE, -TONE / 2], axis=1)
    wavfile.write(file, 22050, (stereo * full).astype(dtype))
    found = read_wav(file)
    assert found.rate == 22050
    np.testing.assert_allclose(found.samples, stereo, atol=tolerance)


def test_eight_bits_are_unsigned(file):
    wavfile.write(file, 8000, np.array([0, 128, 255], np.uint8))
    np.testing.assert_array_equal(read_wav(file).samples[:, 0], [-1, 0, 127 / 128])


def test_twenty_four_bits_keep_their_sign(file):
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(3)
        out.setframerate(48_000)
        out.writeframes(b"".join(v.to_bytes(3, "little", signed=True) for v in (-(1 << 23), -1, 0, 1, (1 << 23) - 1)))
    expected = np.array([-(1 << 23), -1, 0, 1, (1 << 23) - 1]) / (1 << 23)
    np.testing.assert_array_equal(read_wav(file).samples[:, 0], expected)


def test_other_chunks_are_passed_over_and_extensible_formats_are_read(file):
    extension = struct.pack("<HHI", 22, 16, 4) + struct.pack("<H", 1) + b"\0" * 14
    data = np.array([1, -1], "<i2").tobytes()
    file.write_bytes(riff(chunk(b"LIST", b"abc"), form(0xFFFE, more=extension), chunk(b"data", data)))
    np.testing.assert_array_equal(read_wav(file).samples[:, 0] * 32768, [1, -1])


def test_sound_that_is_cut_off_is_refused_with_both_sizes(file):
    file.write_bytes(riff(form(), chunk(b"data", b"\0" * 10, declared=4000)))
    assert "declares 4,000 bytes of sound, but 10 are there" in refusal(file)
    whole = riff(form(), chunk(b"data", b"\0" * 100))
    for end in range(len(whole)):  # wherever it is cut, it is refused in words
        file.write_bytes(whole[:end])
        refusal(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "a PNG image"),
        (b"ID3\x04" + b"\0" * 60, "an MP3 recording"),
        (riff(form(), kind=b"AVI "), "not a WAV file"),
        (riff(form(), chunk(b"data", b"")), "holds no samples"),
        (riff(chunk(b"data", b"\0\0")), "no format before its data"),
        (riff(form(kind=85), chunk(b"data", b"\0\0")), "compressed (MP3)"),
        (riff(form(bits=12, block=2), chunk(b"data", b"\0\0")), "samples of 12 bits"),
        (riff(form(channels=0, block=0), chunk(b"data", b"\0\0")), "makes no sense: 0 channels"),
        (riff(form(channels=65535, block=1), chunk(b"data", b"\0\0")), "makes no sense: 65535 channels"),
        (riff(form(rate=0), chunk(b"data", b"\0\0")), "0 samples per second"),
        (riff(form(block=7), chunk(b"data", b"\0" * 14)), "7 bytes for 16 bits"),
        (riff(form(kind=3, bits=32), chunk(b"data", struct.pack("<f", np.inf))), "not finite"),
        (riff(chunk(b"fmt ", b"\1\0")), "is cut off"),
        (riff(chunk(b"junk", b"", declared=0xFFFFFFFF)), "damaged or cut off"),
    ],
)
def test_what_is_no_sound_is_refused_in_words(file, content, words):
    file.write_bytes(content)
    assert words in refusal(file)


def test_of_a_long_recording_some_seconds_are_read(file, monkeypatch):
    monkeypatch.setattr(audio, "MOST_SAMPLES", 50)
    wavfile.write(file, 100, np.arange(100, dtype=np.int16))
    assert "more than can be taken at once" in refusal(file)
    np.testing.assert_array_equal(read_wav(file, (0.25, 0.75)).samples[:, 0] * 32768, range(25, 75))
