"""Models of one ONNX node, run by the torch twin, by ONNX Runtime and by onnx's reference implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


def single_node(
    op_type: str,
    inputs: Sequence[np.ndarray | None],
    *,
    opset: int,
    constant: Sequence[int] = (),
    outputs: int = 1,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node; inputs are named x0, x1, .., the ones at ``constant`` are stored, None leaves one out."""
    names = ["" if value is None else f"x{k}" for k, value in enumerate(inputs)]
    node = helper.make_node(op_type, names, [f"y{k}" for k in range(outputs)], **attributes)
    given = {f"x{k}": value for k, value in enumerate(inputs) if value is not None}
    stored = {f"x{k}" for k in constant}
    graph = helper.make_graph(
        [node],
        "single",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in given.items()
            if name not in stored
        ],
        [helper.make_empty_tensor_value_info(f"y{k}") for k in range(outputs)],
        [numpy_helper.from_array(value, name) for name, value in given.items() if name in stored],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def running(model: onnx.ModelProto, inputs: Sequence[np.ndarray | None]) -> dict[str, np.ndarray]:
    """The inputs that the model still wants, by name."""
    wanted = {value.name for value in model.graph.input}
    return {f"x{k}": value for k, value in enumerate(inputs) if value is not None and f"x{k}" in wanted}


def by_twin(model: onnx.ModelProto, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """Outputs of the torch twin."""
    import torch

    from onnxplain.adapters.torch import convert

    tensors = [torch.from_numpy(np.array(value)) for value in running(model, inputs).values()]
    results = convert(model)(*tensors)
    return [r.numpy() for r in (results if isinstance(results, tuple) else (results,))]


def by_runtime(model: onnx.ModelProto, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """Outputs of ONNX Runtime, without optimisations."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, running(model, inputs))


def by_reference(model: onnx.ModelProto, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """Outputs of onnx's reference implementation."""
    return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, running(model, inputs))]


def has_true_gradients(op_type: str, inputs: Sequence[np.ndarray | None], *, opset: int, **rest: Any) -> bool:
    """Whether the twin's gradients equal finite differences, in float64, for every float input that is not constant."""
    import torch

    from onnxplain.adapters.torch import convert

    wide = [value.astype(np.float64) if value is not None and value.dtype.kind == "f" else value for value in inputs]
    model = single_node(op_type, wide, opset=opset, **rest)
    module = convert(model)
    tensors = [torch.from_numpy(np.array(value)) for value in running(model, wide).values()]
    for tensor in tensors:
        tensor.requires_grad_(tensor.is_floating_point())

    def float_outputs(*arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        results = module(*arguments)
        results = results if isinstance(results, tuple) else (results,)
        return tuple(r for r in results if r.is_floating_point())

    return torch.autograd.gradcheck(float_outputs, tensors)
