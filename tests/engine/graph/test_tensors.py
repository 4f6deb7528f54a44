"""What is tapped gives the numbers of the original; tensors are listed with what is known of them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graph_checks import classifier, normal, run, shapes, unchanged
from onnxplain import ModelError, SettingError, load
from onnxplain.engine import graph
from small_graphs import model_of

FLOAT = TensorProto.FLOAT
node = helper.make_node


def test_tensor_before_the_softmax_is_its_logarithm_up_to_a_constant():
    proto, x = classifier(), normal(6, 4)
    with unchanged(proto):
        cut = graph.tap(proto, [graph.logits_tensor(proto, "y:0")])
    (probabilities,) = run(proto, {"x:0": x, "unused": normal(2)})
    (logits,) = run(cut, {"x:0": x})
    gap = logits - np.log(probabilities)
    assert np.allclose(gap, gap[:, :1], atol=1e-5)
    assert not np.allclose(logits, 0)


def test_tap_leaves_out_what_its_tensors_do_not_need():
    cut = graph.tap(classifier(), ["/layer.1/MatMul:0"])
    assert [n.op_type for n in cut.graph.node] == ["MatMul"]
    assert [t.name for t in cut.graph.initializer] == ["/layer.1/w"]
    assert graph.input_names(cut) == ("x:0",)
    assert graph.output_names(cut) == ("/layer.1/MatMul:0",)
    assert shapes(cut.graph.output) == [["n", 5]]


def test_inputs_and_initializers_can_be_tapped_beside_inner_tensors():
    proto, x = classifier(), normal(2, 4)
    cut = graph.tap(proto, ["h.1/relu:0", "x:0", "b"])
    hidden, back, bias = run(cut, {"x:0": x}, ["h.1/relu:0", "x:0", "b"])
    weights = numpy_helper.to_array(proto.graph.initializer[0])
    assert np.allclose(hidden, np.maximum(x @ weights, 0), atol=1e-5)
    assert np.array_equal(back, x)
    assert np.array_equal(bias, numpy_helper.to_array(proto.graph.initializer[2]))


def test_an_unknown_tensor_is_refused_with_the_nearest_name():
    with pytest.raises(SettingError) as caught:
        graph.tap(classifier(), ["/layer.1/MatMul"])
    assert "'/layer.1/MatMul:0'" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 6


def branching():
    """y = relu(x) * 2 if the sum of x is positive, else relu(x) - w; the If captures relu(x) and w."""

    def body(operator, other):
        value = helper.make_tensor_value_info("r", FLOAT, None)
        return helper.make_graph([node(operator, ["h", other], ["r"])], operator, [], [value])

    return model_of(
        [
            node("Relu", ["x"], ["h"]),
            node("Exp", ["x"], ["not needed"]),
            node("ReduceSum", ["x"], ["total"], keepdims=0),
            node("Greater", ["total", "zero"], ["positive"]),
            node("If", ["positive"], ["chosen"], then_branch=body("Mul", "two"), else_branch=body("Sub", "w")),
            node("Neg", ["chosen"], ["y"]),
        ],
        {"x": (FLOAT, [1, 3])},
        {"y": (FLOAT, [1, 3])},
        {"zero": np.float32(0), "two": np.float32(2), "w": normal(3), "spare": normal(3)},
    )


def test_tensors_captured_by_a_branch_are_kept():
    cut = graph.tap(branching(), ["chosen"])
    assert [n.op_type for n in cut.graph.node] == ["Relu", "ReduceSum", "Greater", "If"]
    assert {t.name for t in cut.graph.initializer} == {"zero", "two", "w"}
    x = np.array([[1, -1, 2]], np.float32)
    assert np.array_equal(run(cut, {"x": x})[0], [[2, 0, 4]])


def test_a_tensor_that_only_a_branch_reads_can_be_tapped():
    cut = graph.tap(branching(), ["h"])
    assert [n.op_type for n in cut.graph.node] == ["Relu"]
    assert np.array_equal(run(cut, {"x": np.array([[1, -1, 2]], np.float32)})[0], [[1, 0, 2]])


def test_an_output_of_unknown_type_is_typed_by_the_runtime():
    proto = model_of(
        [node("Gelu", ["x"], ["h"], domain="com.microsoft"), node("Neg", ["h"], ["y"])],
        {"x": (FLOAT, ["n", 3])},
        {"y": (FLOAT, ["n", 3])},
        domains={"com.microsoft": 1},
    )
    (hidden,) = run(graph.tap(proto, ["h"]), {"x": np.ones((2, 3), np.float32)})
    assert np.allclose(hidden, 0.8413447)  # x * the normal distribution function of 1


def test_tensors_are_listed_in_graph_order_with_their_types():
    assert graph.tensors(classifier()) == [
        graph.TensorInfo("/layer.1/MatMul:0", "MatMul", "/layer.1/MatMul", "float32", ("n", 5)),
        graph.TensorInfo("h.1/relu:0", "Relu", "relu", "float32", ("n", 5)),
        graph.TensorInfo("logits", "Gemm", "", "float32", ("n", 3)),
        graph.TensorInfo("y:0", "Softmax", "", "float32", ("n", 3)),
    ]


def test_tensors_survive_a_graph_that_shape_inference_refuses():
    proto = model_of(
        [node("MatMul", ["x", "w"], ["h"]), node("Mystery", ["h"], ["y"], domain="nowhere")],
        {"x": (FLOAT, [1, 4])},
        {"y": (FLOAT, [1, 3])},
        {"w": normal(5, 3)},  # does not fit x
    )
    found = graph.tensors(proto)
    assert [(t.name, t.shape) for t in found][-1] == ("y", (1, 3))
    assert [t.op_type for t in found] == ["MatMul", "Mystery"]


def test_weights_in_another_file_are_neither_read_nor_lost(tmp_path):
    file = tmp_path / "model.onnx"
    onnx.save_model(classifier(), file, save_as_external_data=True, size_threshold=0, location="weights.bin")
    proto = onnx.load(file, load_external_data=False)
    (tmp_path / "weights.bin").unlink()
    assert graph.tensors(proto)[2].shape == ("n", 3)
    cut = graph.tap(graph.normalise(proto), ["logits"])
    assert {t.data_location for t in cut.graph.initializer} == {TensorProto.EXTERNAL}
    assert cut.graph.initializer[0].external_data[0].value == "weights.bin"


@pytest.mark.parametrize("kind", ["FLOAT8E4M3FN", "INT4"])
def test_numbers_that_numpy_lacks_are_refused_and_not_read_as_bits(kind):
    """ONNX Runtime fails on most of them with a bare RuntimeError; of 8-bit floats it hands out the bits: 56 for 1."""
    narrow = getattr(TensorProto, kind)
    nodes = [node("Cast", ["x"], ["narrow"], to=narrow), node("Cast", ["narrow"], ["y"], to=FLOAT)]
    proto = model_of(nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 2])}, opset=21)
    x = np.ones((1, 2), np.float32)
    assert load(proto.SerializeToString()).predict(x)["y"].tolist() == [[1, 1]]
    with pytest.raises(ModelError, match=f"'narrow' holds {kind.lower().replace('e4', '_e4')}"):
        load(proto.SerializeToString()).activations(x, ["narrow"])
    proto = model_of(nodes[1:], {"narrow": (narrow, ["n", 2])}, {"y": (FLOAT, ["n", 2])}, opset=21)
    with pytest.raises(ModelError, match="from Python"):
        load(proto.SerializeToString())
