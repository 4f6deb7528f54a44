"""The differentiable twin: any ONNX graph as a torch module, checked against ONNX Runtime."""

from __future__ import annotations

from .convert import convert
from .twin import Run, Twin, twin

__all__ = ["Run", "Twin", "convert", "twin"]
