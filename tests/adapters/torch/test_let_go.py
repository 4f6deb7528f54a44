"""Models that nobody holds any more are let go, whatever explained them: a run opens thousands."""

import gc
import weakref

import numpy as np
import pytest

import onnxplain

pytest.importorskip("torch")

IMAGE = np.random.default_rng(0).random((1, 1, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("method", ["occlusion", "saliency", "lrp", "attn-lrp", "deeplift", "grad-cam", "eigen-cam"])
def test_a_model_ends_with_its_last_name(method):
    data = onnxplain.models.build("digits-cnn").read_bytes()
    model = onnxplain.load(data)
    onnxplain.explain(model, IMAGE, method)
    held = weakref.ref(model)
    del model
    gc.collect()
    assert held() is None
