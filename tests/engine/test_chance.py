"""Models that draw random numbers themselves say so in every result."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from small_graphs import affine, model_of


@pytest.mark.parametrize("inside", [False, True])
def test_a_model_that_draws_random_numbers_is_told_of(inside):
    noise = helper.make_node("RandomNormalLike", ["x"], ["noise"], name="dice")
    nodes = [noise, helper.make_node("Add", ["x", "noise"], ["y"])]
    if inside:
        body = helper.make_graph(nodes, "body", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
        nodes = [helper.make_node("If", ["yes"], ["z"], then_branch=body, else_branch=body)]
    proto = model_of(
        nodes,
        {"x": (TensorProto.FLOAT, ["n", 3])},
        {nodes[-1].output[0]: (TensorProto.FLOAT, ["n", 3])},
        {"yes": np.bool_(1)} if inside else None,
    )
    model = onnxplain.load(proto.SerializeToString(), device="cpu")
    found = onnxplain.explain(model, np.ones((1, 3), np.float32), "ablation", target=0)
    assert any("draws random numbers" in note and "dice" in note for note in found.notes)


def test_a_model_that_draws_none_is_not():
    model = onnxplain.load(affine(np.eye(3), np.zeros(3)).SerializeToString(), device="cpu")
    found = onnxplain.explain(model, np.ones((1, 3), np.float32), "ablation", target=0)
    assert not any("random" in note for note in found.notes)


@pytest.mark.parametrize("training", [True, False])
def test_a_dropout_that_was_exported_in_training_mode_draws_random_numbers(training):
    nodes = [helper.make_node("Dropout", ["x", "ratio", "training"], ["y"], name="drop")]
    constants = {"ratio": np.array(0.5, np.float32), "training": np.array(training)}
    proto = model_of(nodes, {"x": (TensorProto.FLOAT, ["n", 3])}, {"y": (TensorProto.FLOAT, ["n", 3])}, constants)
    found = onnxplain.explain(proto.SerializeToString(), np.ones((1, 3), np.float32), "ablation", target=0)
    assert any("draws random numbers" in note and "drop" in note for note in found.notes) is training
