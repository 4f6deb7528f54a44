"""The exact masking of numbers of every type."""

import numpy as np
import pytest

from onnxplain.engine.masking.blend import Blend


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "i8", "u1", "?"])
def test_boolean_masks_are_exact_to_the_bit(dtype):
    rng = np.random.default_rng(0)
    feed = (rng.normal(size=(1, 3, 4)) * 100).astype(dtype)
    references = (rng.normal(size=(2, 3, 4)) * 100).astype(dtype)
    mask = rng.random((5, 1, 1, 4)) < 0.5
    out = np.empty((5, 2, 3, 4), dtype=dtype)
    Blend(feed, references).write(mask, out)
    assert np.array_equal(out, np.where(mask, feed[None], references[None]))


@pytest.mark.parametrize("width", [1, 13, 64, 65])
@pytest.mark.parametrize("references", [1, 3])
def test_batches_of_any_length_are_exact_one_after_the_other(width, references):
    rng = np.random.default_rng(1)
    feed, stand_ins = rng.normal(size=(1, width)), rng.normal(size=(references, width))
    blend = Blend(feed, stand_ins)
    for count in (4, 9, 2, 9):
        mask = rng.random((count, 1, width)) < 0.5
        out = np.empty((count, references, width))
        blend.write(mask, out)
        assert np.array_equal(out, np.where(mask, feed[None], stand_ins[None]))


def test_a_zero_reference_clears_what_is_absent():
    feed = np.array([[np.pi, -1e-30, 7.0]], dtype=np.float32)
    out = np.full((1, 1, 3), np.nan, dtype=np.float32)
    Blend(feed, np.zeros((1, 3), np.float32)).write(np.array([[[True, False, True]]]), out)
    assert np.array_equal(out[0, 0], np.array([np.pi, 0.0, 7.0], dtype=np.float32))


def test_a_negative_zero_reference_keeps_its_sign():
    out = np.empty((1, 1, 1), dtype=np.float32)
    Blend(np.ones((1, 1), np.float32), -np.zeros((1, 1), np.float32)).write(np.zeros((1, 1, 1), bool), out)
    assert np.signbit(out[0, 0, 0])


def test_partly_present_features_are_mixed():
    feed, references = np.array([[4.0, 8.0]]), np.array([[0.0, 2.0], [2.0, 4.0]])
    out = np.empty((1, 2, 2))
    Blend(feed, references).write(np.array([[[0.25, 0.5]]]), out)
    assert np.allclose(out, [[[1.0, 5.0], [2.5, 6.0]]])


def test_strings_are_replaced_whole():
    out = np.empty((2, 1, 2), dtype=object)
    feed, reference = np.array([["red", "big"]], dtype=object), np.array([["?", "?"]], dtype=object)
    Blend(feed, reference).write(np.array([[[True, False]], [[False, False]]]), out)
    assert out[:, 0].tolist() == [["red", "?"], ["?", "?"]]


def test_integers_cannot_be_partly_present():
    blend = Blend(np.ones((1, 2), np.int64), np.zeros((1, 2), np.int64))
    with pytest.raises(TypeError, match="floating-point"):
        blend.write(np.full((1, 1, 2), 0.5), np.empty((1, 1, 2), np.int64))
