"""One form for all graphs: initializers, versions, domains, functions and external data."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from graph_checks import classifier, normal, run, unchanged
from onnxplain.engine import graph
from onnxplain.engine.graph.structure import in_order

FLOAT = TensorProto.FLOAT


def test_initializers_are_taken_out_of_the_inputs():
    proto = classifier()
    proto.graph.input.append(helper.make_tensor_value_info("b", FLOAT, [3]))
    proto.ir_version = 3  # when every initializer had to be an input
    assert graph.input_names(proto) == ("x:0", "unused")
    with unchanged(proto):
        normalised = graph.normalise(proto)
    assert [value.name for value in normalised.graph.input] == ["x:0", "unused"]
    assert normalised.ir_version == 4
    feeds = {"x:0": normal(2, 4), "unused": normal(2)}
    assert np.allclose(run(proto, feeds)[0], run(normalised, feeds)[0])


def test_versions_are_lowered_where_that_changes_no_operator():
    proto = classifier()
    proto.ir_version = 14
    proto.opset_import[0].version = 20
    lowered = graph.normalise(proto, max_ir=13, max_opset=18)
    assert (lowered.ir_version, lowered.opset_import[0].version) == (13, 18)
    assert graph.normalise(proto, max_opset=12).opset_import[0].version == 20  # Softmax changed in 13


def test_the_long_name_of_the_default_domain_is_shortened():
    proto = classifier()
    proto.graph.node[1].domain = proto.opset_import[0].domain = "ai.onnx"
    normalised = graph.normalise(proto)
    assert normalised.graph.node[1].domain == normalised.opset_import[0].domain == ""


def test_what_else_is_said_of_external_data_is_dropped(tmp_path):
    file = tmp_path / "model.onnx"
    onnx.save_model(classifier(), file, save_as_external_data=True, size_threshold=0, location="weights.bin")
    proto = onnx.load(file, load_external_data=False)
    for tensor in proto.graph.initializer:
        tensor.external_data.add(key="__class__", value="x")
    with unchanged(proto):
        plain = graph.normalise(proto)
    keys = [[entry.key for entry in tensor.external_data] for tensor in plain.graph.initializer]
    assert all(set(listed) <= {"location", "offset", "length"} for listed in keys)
    onnx.save(plain, tmp_path / "plain.onnx")
    onnxruntime.InferenceSession(tmp_path / "plain.onnx", providers=["CPUExecutionProvider"])


def test_defaults_of_function_attributes_survive_being_put_where_they_are_called():
    leaky = helper.make_node("LeakyRelu", ["a"], ["b"])
    reference = leaky.attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "alpha", "slope", onnx.AttributeProto.FLOAT
    function = helper.make_function(
        "own",
        "Leaky",
        ["a"],
        ["b"],
        [leaky],
        [helper.make_opsetid("", 17)],
        attribute_protos=[helper.make_attribute("slope", 0.5)],
    )
    whole = helper.make_graph(
        [
            helper.make_node("Leaky", ["x"], ["half"], domain="own"),
            helper.make_node("Leaky", ["x"], ["quarter"], domain="own", slope=0.25),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in ("half", "quarter")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    proto = helper.make_model(whole, functions=[function], opset_imports=opsets, ir_version=10)
    before = proto.SerializeToString()
    inlined = graph.normalise(proto)
    assert not inlined.functions
    assert proto.SerializeToString() == before
    session = onnxruntime.InferenceSession(inlined.SerializeToString(), providers=["CPUExecutionProvider"])
    half, quarter = session.run(None, {"x": np.array([[-1, 2]], np.float32)})
    assert half.tolist() == [[-0.5, 2]]
    assert quarter.tolist() == [[-0.25, 2]]


def test_nodes_stand_behind_what_they_read():
    """As ONNX Runtime's tool for 16-bit floats leaves them: the cast of an input at the end."""
    proto = classifier()
    expected = run(proto, feeds := {"x:0": normal(2, 4), "unused": normal(2)})
    nodes = list(proto.graph.node)
    sorted_names = [n.output[0] for n in nodes]
    assert [n.output[0] for n in graph.normalise(proto).graph.node] == sorted_names
    del proto.graph.node[:]
    proto.graph.node.extend([nodes[2], nodes[3], nodes[1], nodes[0]])
    with unchanged(proto):
        normalised = graph.normalise(proto)
    assert [n.output[0] for n in normalised.graph.node] == sorted_names
    assert np.array_equal(run(normalised, feeds)[0], expected[0])


def test_nodes_that_are_made_of_each_other_stay():
    """Such a file is refused by whoever runs it, with the reason."""
    proto = classifier()
    proto.graph.node[0].input[0] = "logits"
    before = [n.output[0] for n in proto.graph.node]
    assert [n.output[0] for n in graph.normalise(proto).graph.node] == before


def test_a_branch_is_read_after_what_it_takes_from_outside():
    inner = helper.make_graph(
        [helper.make_node("Neg", ["h"], ["n"])], "inner", [], [helper.make_tensor_value_info("n", FLOAT, None)]
    )
    nodes = [
        helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner),
        helper.make_node("Cast", ["x"], ["yes"], to=TensorProto.BOOL),
        helper.make_node("Exp", ["x"], ["h"]),
    ]
    assert [n.op_type for n in in_order(nodes)][-1] == "If"


def test_a_loop_in_a_function_may_hand_on_what_it_was_given():
    """The inliner of onnx loses such outputs; ONNX Runtime itself takes the file."""
    body = helper.make_graph(
        [helper.make_node("Mul", ["carried", "factor"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, None),
        ],
    )
    inside = [
        helper.make_node("Constant", [], ["three"], value_int=3),
        helper.make_node("Loop", ["three", "", "a"], ["b"], body=body),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Power", ["a", "factor"], ["b"], inside, opsets[:1])
    graph_proto = helper.make_graph(
        [
            helper.make_node("Power", ["x", "x"], ["y"], domain="own"),
            helper.make_node("Power", ["y", "x"], ["z"], domain="own"),
        ],
        "twice",
        [helper.make_tensor_value_info("x", FLOAT, [2])],
        [helper.make_tensor_value_info("z", FLOAT, [2])],
    )
    proto = helper.make_model(graph_proto, opset_imports=opsets, functions=[function], ir_version=8)
    with unchanged(proto):
        normalised = graph.normalise(proto)
    assert run(normalised, {"x": np.array([2, 3], np.float32)})[0].tolist() == [2**7, 3**7]


def test_an_output_that_is_listed_twice_is_listed_once():
    proto = classifier()
    names = graph.output_names(proto)
    proto.graph.output.add().CopyFrom(proto.graph.output[0])
    assert graph.output_names(graph.normalise(proto)) == names
