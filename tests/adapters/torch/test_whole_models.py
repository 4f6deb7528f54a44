"""Whole models from torch's exporters: the twin gives the outputs and input gradients of the module they came from."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import whole_models as w  # noqa: E402  # after the check that torch is there
from onnxplain.adapters.torch import convert  # noqa: E402

# A subset that covers every network and both exporters; benchmarks/operator_coverage.py runs all.
CASES = [(name, "legacy", 17) for name in w.MODELS]
CASES += [("vit", "legacy", 14), ("bert", "legacy", 13), ("convnext", "legacy", 13)]
CASES += [("vit", "dynamo", 23), ("bert", "dynamo", 18), ("llama", "dynamo", 23), ("residual-cnn", "dynamo", 20)]


@pytest.mark.parametrize(("name", "exporter", "opset"), CASES)
def test_outputs_and_gradients_are_those_of_the_original(name, exporter, opset):
    original = w.network(name)
    module = convert(w.exported(name, exporter, opset, original))
    for rows in (1, 4):
        outputs, gradients = w.difference(original, module, w.MODELS[name].draw(rows))
        assert outputs < 1e-5
        assert gradients < 1e-4
