"""Maps of photographs by a network of real weights lie on what the network recognises."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")

from PIL import Image

import onnxplain
from onnxplain.models import home, photograph

METHODS = ["grad-cam", "layer-cam", "eigen-cam", "cam"]
SIDE, SCALE = 224, 0.3
CUP = (29, 0, 188, 138)  # x0, y0, x1, y1 in the network's view of "coffee": the cup without saucer and spoon


BUILT = home() / "efficientnet-lite0" / "efficientnet-lite0.onnx"  # the user's own: asked for before tests have theirs


@pytest.fixture(scope="module")
def network():
    if not BUILT.is_file():
        pytest.skip("efficientnet-lite0 is not built (onnxplain models build efficientnet-lite0)")
    return onnxplain.load(BUILT, device="cpu", threads=1)


def shown(corner):
    """The photograph of the cat, small in one corner of a grey picture, and the box that it fills."""
    cat = Image.open(photograph("chelsea")).convert("RGB")
    width, height = int(cat.width * SCALE), int(cat.height * SCALE)
    x0, y0 = corner[0] * (SIDE - width), corner[1] * (SIDE - height)
    canvas = Image.new("RGB", (SIDE, SIDE), (127, 127, 127))
    canvas.paste(cat.resize((width, height), Image.Resampling.BICUBIC), (x0, y0))
    pixels = (np.asarray(canvas, np.float32) - 127) / 128
    return pixels.transpose(2, 0, 1)[None], (x0, y0, x0 + width, y0 + height)


def share_in(box, found):
    """How much of the map's positive mass lies in the box, and how much of the picture the box is."""
    x0, y0, x1, y1 = box
    mass = np.maximum(found.values["images"][0, 0], 0)
    return mass[y0:y1, x0:x1].sum() / mass.sum(), (y1 - y0) * (x1 - x0) / mass.size


@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_the_cat_has_more_than_twice_its_share_wherever_it_is(network, corner):
    """In the usual view the cat fills the picture, and no map could miss it: so it is shown small."""
    pixels, box = shown(corner)
    for method in METHODS:
        share, uniform = share_in(box, onnxplain.explain(network, pixels, method, target="tiger cat"))
        assert uniform < 0.25
        assert share > 2 * uniform


def test_the_espresso_is_in_the_cup(network):
    share, uniform = share_in(CUP, onnxplain.explain(network, photograph("coffee"), "grad-cam", target="espresso"))
    assert uniform < 0.44
    assert share > 0.7


def test_grad_cam_is_cam_where_pooling_and_a_linear_layer_follow(network):
    exact = onnxplain.explain(network, photograph("coffee"), "cam", target="espresso")
    found = onnxplain.explain(network, photograph("coffee"), "grad-cam", target="espresso", relu=False)
    assert np.allclose(found.extras["map"] * 49, exact.extras["map"], atol=1e-3 * np.abs(exact.extras["map"]).max())
