"""Node: one ONNX node as a converter sees it, with names, versions, attributes and known values already worked out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...engine.errors import CapabilityError, printable

if TYPE_CHECKING:
    import numpy as np

BLACK_BOX = "methods that only need predictions still work (onnxplain methods lists what each one needs)"


@dataclass(frozen=True)
class Node:
    """One ONNX node.

    ``domain`` is empty for ai.onnx; ``version`` is the ``since_version`` of the schema in force under the model's opset
    import (the imported version itself where onnx has no schema, as for com.microsoft). ``inputs`` and ``outputs`` are
    ONNX names, empty where an optional one is left out; a node with graphs inside (If, Loop, Scan) has the outer names
    that they capture appended to its inputs. ``attributes`` are Python values (ints, floats, str, NumPy arrays for
    tensors, lists, GraphProto) with the schema's defaults filled in. ``constants`` are the inputs, by position, whose
    value is known when the graph is converted. ``opset`` is the imported version of the default domain.
    """

    op_type: str
    domain: str
    version: int
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    constants: dict[int, np.ndarray]
    opset: int

    def given(self, position: int) -> bool:
        """Whether the input at this position is there."""
        return position < len(self.inputs) and bool(self.inputs[position])

    def wanted(self, position: int) -> bool:
        """Whether the output at this position is asked for."""
        return position < len(self.outputs) and bool(self.outputs[position])

    def constant(self, position: int) -> np.ndarray | None:
        """Return the value of an input that is known at conversion time, or None."""
        return self.constants.get(position)

    @property
    def label(self) -> str:
        """Operator and name, for messages."""
        domain = f"{self.domain}." if self.domain else ""
        name = self.name or next((o for o in self.outputs if o), "")
        return f"{domain}{self.op_type} (version {self.version}) at '{printable(name)}'"

    def refusal(self, attribute: str, value: object) -> CapabilityError:
        """Return the error for an attribute value (or a form of the operator) that the twin cannot express."""
        return CapabilityError(
            f"the torch twin cannot express {self.op_type} with {attribute} = {printable(value)[:80]}",
            where=self.label,
            tip=BLACK_BOX,
        )
