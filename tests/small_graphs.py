"""Small ONNX graphs that several tests share."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Axes = Sequence[int | str | None]


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, Axes]],
    outputs: dict[str, tuple[int, Axes | None]],
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 17,
    domains: dict[str, int] | None = None,
) -> onnx.ModelProto:
    """A model from nodes, with (element type, axes) per input and output and arrays per constant."""
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info(n, kind, axes) for n, (kind, axes) in inputs.items()],
        [helper.make_tensor_value_info(n, kind, axes) for n, (kind, axes) in outputs.items()],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in {"": opset, **(domains or {})}.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def affine(weights: np.ndarray, bias: np.ndarray, axes: Axes = ("batch",), activation: str = "") -> onnx.ModelProto:
    """y = activation(x W^T + b), for rows x."""
    last = "z" if activation else "y"
    nodes = [helper.make_node("Gemm", ["x", "W", "b"], [last], transB=1)]
    if activation:
        nodes.append(helper.make_node(activation, ["z"], ["y"]))
    classes, columns = weights.shape
    return model_of(
        nodes,
        {"x": (TensorProto.FLOAT, [*axes, columns])},
        {"y": (TensorProto.FLOAT, [*axes, classes])},
        {"W": weights.astype(np.float32), "b": bias.astype(np.float32)},
    )
