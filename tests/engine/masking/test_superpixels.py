import numpy as np
import pytest

from onnxplain.engine.masking import superpixels
from onnxplain.engine.masking.layout import masked_inputs
from onnxplain.engine.spec import PRESETS

HALVES = np.zeros((24, 40, 3), np.uint8)
HALVES[:, 20:] = (250, 120, 0)
NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
CUTS = [(superpixels.slic, 12), (superpixels.quickshift, 2.0), (superpixels.felzenszwalb, 50.0)]


@pytest.mark.parametrize(("cut", "argument"), CUTS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 12), (3, 4), (12, 12), (24, 40)])
def test_labels_run_from_zero_without_gaps(cut, argument, shape):
    picture = np.resize(NOISE, (*shape, 3))
    labels = cut(picture, argument)
    assert labels.shape == shape
    assert labels.dtype == np.int64
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))


@pytest.mark.parametrize(("cut", "argument"), CUTS)
def test_same_picture_gives_the_same_regions(cut, argument):
    assert np.array_equal(cut(NOISE, argument), cut(NOISE.copy(), argument))


def test_felzenszwalb_finds_two_flat_halves():
    labels = superpixels.felzenszwalb(HALVES, 1000.0)
    left, right = labels[:, :15], labels[:, 25:]
    assert np.all(left == left[0, 0])
    assert np.all(right == right[0, 0])
    assert left[0, 0] != right[0, 0]


def test_regions_do_not_cross_a_sharp_edge():
    labels = superpixels.slic(HALVES, 12)
    assert not set(np.unique(labels[:, :19])) & set(np.unique(labels[:, 21:]))
    assert 6 <= labels.max() + 1 <= 18


def test_noise_is_cut_into_about_as_many_regions_as_asked():
    assert 10 <= superpixels.slic(NOISE, 20).max() + 1 <= 30


def test_picture_is_read_back_from_the_array_where_the_preprocessing_is_known(make):
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (4, 5, 3)).astype(np.uint8)
    preset = PRESETS["imagenet"]
    array = ((picture / 255 - preset.mean) / preset.std).transpose(2, 0, 1)[None].astype(np.float32)
    for axes, feed in ((0, array), (None, array[None])):
        spec = {"x": {"modality": "image", "layout": "NCHW", "preprocessing": preset}}
        (entry,) = masked_inputs(*make(("x", feed), axes=axes, spec=spec)).values()
        assert np.array_equal(superpixels.picture_of(entry), picture)


def test_no_picture_is_invented(make):
    (entry,) = masked_inputs(*make(("x", np.zeros((1, 3, 4, 4), np.float32)))).values()
    assert superpixels.picture_of(entry) is None
    four = {"x": {"modality": "image", "layout": "NCHW", "preprocessing": PRESETS["imagenet"]}}
    (entry,) = masked_inputs(*make(("x", np.zeros((1, 4, 4, 4), np.float32)), spec=four)).values()
    assert superpixels.picture_of(entry) is None
