"""Models and files of texts."""

import pytest

import onnxplain
from text_models import string_model, written


@pytest.fixture
def strings(tmp_path):
    return onnxplain.load(written(tmp_path, string_model(), name="strings"), device="cpu")
