"""The network that is built in, and pictures for it."""

import pytest

import onnxplain


@pytest.fixture(scope="module")
def digits():
    return onnxplain.load(onnxplain.models.path("digits-cnn"))


@pytest.fixture(scope="module")
def zero():
    return next(str(p) for p in onnxplain.models.samples("digits-cnn"))
