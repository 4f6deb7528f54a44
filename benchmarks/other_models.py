"""Other models to compare explanations with: a quantised version, and a network that learned permuted labels."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnxruntime import quantization

from onnxplain.models import digits
from onnxplain.models.folder import write_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnxplain

PERMUTED = "digits-permuted"
EPOCHS = 200  # until most of the permuted labels are learned by heart


def quantised(path: Path, samples: Sequence[onnxplain.Sample], to: Path) -> Path:
    """Write a model with 8-bit weights and activations, ranges taken from samples; batch normalisation merged first."""
    with tempfile.TemporaryDirectory() as folder:
        merged = Path(folder) / "merged.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(merged)
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        quantization.quantize_static(
            str(merged),
            str(to),
            _Reader(samples),
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QUInt8,
        )
    return to


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc] # the package has no types
    """Samples, one feed after the other."""

    def __init__(self, samples: Sequence[onnxplain.Sample]) -> None:
        self._feeds = (dict(sample.feeds) for sample in samples)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def permuted_digits(folder: Path) -> tuple[Path, float]:
    """Train the network of digits-cnn on permuted labels; return its file and the share of them that it has learned."""
    training, _ = digits.data()
    wrong = training._replace(digits=np.random.default_rng(digits.SEED).permutation(training.digits))
    weights = digits.train(wrong, EPOCHS)
    learned = float((digits.logits(wrong.images, weights).argmax(axis=1) == wrong.digits).mean())
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder, PERMUTED, digits.build_graph(weights), digits.SPEC)
    return folder / f"{PERMUTED}.onnx", learned
