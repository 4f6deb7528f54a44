import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxplain.engine.errors import ModelError
from onnxplain.engine.model import load


def filling(inputs, opset, **attributes):
    """A model of one ConstantFill, and a copy of its input ``x`` of shape (2, 3)."""
    dtype = attributes.get("dtype", TensorProto.FLOAT)
    stored = {"shape": np.array([2, 3]), "narrow": np.array([2, 3], np.int32)}
    graph = helper.make_graph(
        [helper.make_node("ConstantFill", inputs, ["filled"], **attributes), helper.make_node("Abs", ["x"], ["y"])],
        "fills",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3]),
            helper.make_tensor_value_info("filled", dtype, None),
        ],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4).SerializeToString()


@pytest.mark.parametrize("opset", [7, 8, 13])
@pytest.mark.parametrize(
    ("inputs", "attributes", "expected"),
    [
        ([], {"value": 2.5, "shape": [4, 1]}, np.full((4, 1), 2.5, np.float32)),
        (["x"], {"value": 2.0, "dtype": TensorProto.INT64, "extra_shape": [5]}, np.full((2, 3, 5), 2)),
        (["shape"], {"input_as_shape": 1, "extra_shape": [1]}, np.zeros((2, 3, 1), np.float32)),
        (["narrow"], {"input_as_shape": 1, "dtype": TensorProto.BOOL, "value": 1.0}, np.ones((2, 3), bool)),
    ],
)
def test_a_fill_has_the_shape_type_and_value_that_its_attributes_ask_for(inputs, attributes, expected, opset):
    model = load(filling(inputs, opset, **attributes))
    found = model.predict({"x": np.zeros((2, 3), np.float32)})["filled"]
    assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist())
    assert model.opsets["ai.onnx"] == max(opset, 8)


def test_a_fill_of_an_opset_that_cannot_be_relabelled_is_refused_by_name():
    with pytest.raises(ModelError, match=r"ConstantFill can be rewritten.* opset 7 or later; this one has 6"):
        load(filling([], 6, shape=[2]))


def test_a_fill_that_would_exhaust_the_memory_is_refused():
    with pytest.raises(ModelError, match="out of almost nothing"):
        load(filling([], 8, shape=[1 << 20, 1 << 20]))
