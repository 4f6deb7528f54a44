"""What ``onnxplain inspect`` says of attention."""

import json

import numpy as np
import onnx

from attention_graphs import SPELLINGS, node, spelled
from small_graphs import affine


def test_attention_layers_are_counted(run, tmp_path):
    onnx.save(SPELLINGS["merged heads"](), tmp_path / "m.onnx")
    assert "attention  layers found: 1 of self-attention" in run("inspect", "m.onnx").stdout
    assert json.loads(run("inspect", "m.onnx", "--json").stdout)["attention"] == {"self": 1, "cross": 0, "closed": []}


def test_nodes_that_hide_their_weights_are_told(run, tmp_path):
    hidden = onnx.helper.make_node(
        "Attention", ["x", "QKV", "bias"], ["flat", "present"], domain="com.microsoft", num_heads=2
    )
    nodes = [hidden, node("ReduceMean", "flat", "m", axes=[1], keepdims=0), node("MatMul", "m head", "y")]
    constants = {"QKV": np.ones((4, 12), np.float32), "bias": np.zeros(12, np.float32)}
    proto = spelled(nodes, constants=constants, domains={"com.microsoft": 1})
    proto.graph.output.append(onnx.helper.make_tensor_value_info("present", onnx.TensorProto.FLOAT, None))
    onnx.save(proto, tmp_path / "m.onnx")
    assert "attention  nodes that hide their weights: 1" in run("inspect", "m.onnx").stdout
    result = run("explain", "m.onnx", "x.npy", "-m", "attention-map", "--target", "y[0]")
    assert result.exit_code != 0


def test_a_model_without_attention_says_nothing_of_it(run, tmp_path):
    onnx.save(affine(np.eye(3), np.zeros(3)), tmp_path / "m.onnx")
    shown = run("inspect", "m.onnx").stdout
    assert "\nattention " not in shown
    assert "cannot: no attention was found in this model" in shown
