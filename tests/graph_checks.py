"""Small graphs and the comparisons that the tests of surgery on graphs share."""

from contextlib import contextmanager

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from small_graphs import model_of

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(7)
node = helper.make_node


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def run(proto, feeds, names=None):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(names, feeds)


@contextmanager
def unchanged(proto):
    before = proto.SerializeToString(deterministic=True)
    yield
    assert proto.SerializeToString(deterministic=True) == before


def shapes(values):
    return [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values]


def classifier(last="Softmax", **attributes):
    """Names as TensorFlow and PyTorch write them: colons, dots and slashes."""
    return model_of(
        [
            node("MatMul", ["x:0", "/layer.1/w"], ["/layer.1/MatMul:0"], name="/layer.1/MatMul"),
            node("Relu", ["/layer.1/MatMul:0"], ["h.1/relu:0"], name="relu"),
            node("Gemm", ["h.1/relu:0", "v", "b"], ["logits"]),
            node(last, ["logits"], ["y:0"], **attributes),
        ],
        {"x:0": (FLOAT, ["n", 4]), "unused": (FLOAT, [2])},
        {"y:0": (FLOAT, ["n", 3])},
        {"/layer.1/w": normal(4, 5), "v": normal(5, 3), "b": normal(3)},
    )
