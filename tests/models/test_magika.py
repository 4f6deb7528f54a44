"""Magika by its recipe: what it takes of a file, and which bytes speak for the type."""

import io

import numpy as np
import pytest
from PIL import Image

from onnxplain import explain, load
from onnxplain.models import catalogue, magika


def test_first_and_last_bytes_are_taken_and_the_rest_is_padding():
    content = bytes(range(33, 43))
    found = magika.features(b"\n  " + content + b"\n")
    assert (found.shape, found.dtype) == ((1, 2048), np.int32)
    assert found[0, :10].tolist() == list(content)
    assert found[0, -13:].tolist() == [*b"\n  ", *content]
    assert set(found[0, 11:-13].tolist()) == {256}
    long = bytes(k % 251 for k in range(9000))
    found = magika.features(long)[0]
    assert found.tolist() == [*long[:1024], *long[-1024:]]


def test_picture_is_a_png_file():
    with Image.open(io.BytesIO(magika.picture())) as image:
        image.load()
        assert (image.size, image.mode, image.getpixel((3, 2))) == ((16, 16), "L", 35)


@pytest.mark.network
def test_bytes_that_tell_the_type_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("ONNXPLAIN_HOME", str(tmp_path))
    model = load(catalogue.build("magika"), device="cpu")
    png, html, python = catalogue.samples("magika")
    for file, label in ((png, "png"), (html, "html"), (python, "python")):
        scores = model.predict(np.load(file))["target_label"]
        assert model.labels[int(scores.argmax())] == label
    result = explain(model, png, "ablation", baseline=256, features="windows:64")
    assert result.label == "png"
    assert int(np.argmax(result.feature_values)) == 0  # the signature is in the first bytes
