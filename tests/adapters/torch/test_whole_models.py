"""Whole models from torch's exporters: the twin gives the outputs and input gradients of the module they came from."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import whole_models as w  # noqa: E402  # after the check that torch is there
from onnxplain.adapters.torch import convert  # noqa: E402

# All of the older exporter, which is quick, and of the newer one a few; benchmarks/operator_coverage.py runs all.
CASES = [case for case in w.CASES if case[1] == "legacy"]
CASES += [
    ("vit", "legacy", 14),
    ("vit", "dynamo", 23),
    ("bert", "dynamo", 18),
    ("llama", "dynamo", 23),
    ("residual-cnn", "dynamo", 20),
]


@pytest.mark.parametrize(("name", "exporter", "opset"), CASES)
def test_outputs_and_gradients_are_those_of_the_original(name, exporter, opset):
    original = w.network(name)
    module = convert(w.exported(name, exporter, opset, original))
    for rows in (1, 4):
        outputs, gradients = w.difference(original, module, w.MODELS[name].draw(rows))
        assert outputs < 1e-5
        assert gradients < 1e-4


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("name", ["bert", "vit", "lstm", "unet", "cnn-1d"])
def test_an_exported_batch_of_one_or_four_is_as_good(name, rows):
    original = w.network(name)
    module = convert(w.exported(name, "legacy", 18, original, rows))
    outputs, gradients = w.difference(original, module, w.MODELS[name].draw(rows))
    assert outputs < 1e-5
    assert gradients < 1e-4
