"""Relevance of photographs by a network of real weights: what it lies on, and what it adds up to."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")

from PIL import Image

import onnxplain
from onnxplain.models import home, photograph

SIDE, SCALE = 224, 0.3
BUILT = home() / "efficientnet-lite0" / "efficientnet-lite0.onnx"  # the user's own: asked for before tests have theirs


@pytest.fixture(scope="module")
def network():
    if not BUILT.is_file():
        pytest.skip("efficientnet-lite0 is not built (onnxplain models build efficientnet-lite0)")
    return onnxplain.load(BUILT, device="cpu", threads=1)


@pytest.fixture(scope="module")
def picture():
    """The photograph of the cat, small in the lower right of a grey picture, and the box that it fills."""
    cat = Image.open(photograph("chelsea")).convert("RGB")
    width, height = int(cat.width * SCALE), int(cat.height * SCALE)
    canvas = Image.new("RGB", (SIDE, SIDE), (127, 127, 127))
    canvas.paste(cat.resize((width, height), Image.Resampling.BICUBIC), (SIDE - width, SIDE - height))
    pixels = (np.asarray(canvas, np.float32) - 127) / 128
    return pixels.transpose(2, 0, 1)[None], (slice(SIDE - height, SIDE), slice(SIDE - width, SIDE))


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("lrp", {}),
        ("lrp", {"preset": "epsilon-gamma-box"}),
        ("deep-taylor", {}),
        ("deeplift", {"baseline": 0.0}),
        ("guided-backprop", {}),
    ],
)
def test_heat_lies_on_the_cat(network, picture, method, settings):
    pixels, box = picture
    found = onnxplain.explain(network, pixels, method, target="tiger cat", **settings)
    heat = np.abs(next(iter(found.values.values()))[0]).sum(0)
    uniform = heat[box].size / heat.size
    assert heat[box].sum() / heat.sum() > 2 * uniform
    if method == "deeplift":
        assert abs(found.gap) <= 1e-4 * abs(found.score - found.baseline_score)
