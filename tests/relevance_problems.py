"""Small networks for tests of backward rules."""

import io
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper

import onnxplain
from gradient_problems import loaded
from small_graphs import model_of

FLOAT = TensorProto.FLOAT
CLOSE = {"rtol": 2e-5, "atol": 2e-5}


def network(nodes, inputs, outputs, constants, opset=17):
    return loaded(
        model_of(
            nodes,
            {n: (FLOAT, ["b", *axes]) for n, axes in inputs.items()},
            {n: (FLOAT, ["b", *axes]) for n, axes in outputs.items()},
            {n: np.asarray(c, np.int64 if n.startswith("i_") else np.float32) for n, c in constants.items()},
            opset,
        )
    )


def gemm(x, weight, out, bias=None):
    return helper.make_node("Gemm", [x, weight, *([bias] if bias else [])], [out], transB=1)


def dense(weights, biases=None, activation=("Relu", {})):
    """Dense layers with an activation between them."""
    nodes, constants, last = [], {}, "x"
    for k, weight in enumerate(weights):
        constants[f"W{k}"] = weight
        if biases:
            constants[f"b{k}"] = biases[k]
        nodes.append(gemm(last, f"W{k}", f"z{k}", f"b{k}" if biases else None))
        last = f"z{k}"
        if k < len(weights) - 1:
            nodes.append(helper.make_node(activation[0], [last], [f"a{k}"], **activation[1]))
            last = f"a{k}"
    return network(nodes, {"x": [len(weights[0][0])]}, {last: [len(weights[-1])]}, constants)


def loaded_bytes(data):
    return onnxplain.load(data, device="cpu", threads=1)


N1 = [[[1, -1, 2], [2, 1, -1], [-1, 1, 1]], [[2, -1, 1], [-1, 1, 2]]]


def exported_with_norms(module, x):
    """A torch network as ONNX, its batch normalisation in nodes of their own; the input is x, the output y."""
    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (x,),
            buffer,
            input_names=["x"],
            output_names=["y"],
            opset_version=17,
            dynamo=False,
            dynamic_axes={"x": {0: "b"}, "y": {0: "b"}},
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    return onnx.load_from_string(buffer.getvalue())
