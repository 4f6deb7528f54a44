import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxplain.engine.graph import decided_by_values, normalise, with_body_types

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def value(name, dtype=FLOAT, shape=None):
    return helper.make_tensor_value_info(name, dtype, shape)


def graph(nodes, inputs, outputs, stored=None):
    constants = [numpy_helper.from_array(np.asarray(v), n) for n, v in (stored or {}).items()]
    return helper.make_graph(nodes, "graph", inputs, outputs, constants)


def model(nodes, outputs, stored=None):
    proto = graph(nodes, [value("x", shape=["n", 2])], outputs, stored)
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def squaring(trips, condition="", going=()):
    """A Loop that squares x; ``going`` are nodes that make its condition from ``step``, ``before`` and ``square``."""
    body = graph(
        [helper.make_node("Mul", ["carried", "carried"], ["square"]), *going],
        [value("step", INT64, []), value("before", BOOL, []), value("carried")],
        [value("going" if going else "before", BOOL, []), value("square"), value("square")],
        {"limit": np.float32(9), "steps": np.int64(2)},
    )
    return helper.make_node("Loop", [trips, condition, "x"], ["last", "all"], body=body)


LENGTH = [
    helper.make_node("Shape", ["x"], ["shape"]),
    helper.make_node("ReduceMin", ["shape"], ["length"], keepdims=0),
]
BY_STEP = [helper.make_node("Less", ["step", "steps"], ["going"])]
BY_VALUE = [
    helper.make_node("ReduceMax", ["square"], ["largest"], keepdims=0),
    helper.make_node("Less", ["largest", "limit"], ["going"]),
]
MEAN = [
    helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
    helper.make_node("Greater", ["mean", "zero"], ["positive"]),
]
CHOICE = helper.make_node(
    "If",
    ["positive"],
    ["last"],
    then_branch=graph([helper.make_node("Neg", ["x"], ["a"])], [], [value("a")]),
    else_branch=graph([helper.make_node("Abs", ["x"], ["b"])], [], [value("b")]),
)


@pytest.mark.parametrize(
    ("nodes", "decides"),
    [
        ([squaring("three")], False),
        ([*LENGTH, squaring("length")], False),
        ([squaring("", going=BY_STEP)], False),
        ([squaring("", going=BY_VALUE)], True),
        ([*MEAN, squaring("three", "positive")], True),
        ([*MEAN, CHOICE], True),
        ([helper.make_node("Identity", ["yes"], ["positive"]), CHOICE], False),
    ],
)
def test_values_decide_where_they_reach_a_condition_or_a_number_of_steps(nodes, decides):
    stored = {"three": np.int64(3), "zero": np.float32(0), "yes": np.bool_(1)}
    assert decided_by_values(model(nodes, [value("last")], stored), ["x"]) is decides


def test_values_decide_inside_the_graphs_of_other_nodes():
    body = graph([*MEAN, CHOICE], [value("x")], [value("last")], {"zero": np.float32(0)})
    scan = helper.make_node("Scan", ["x"], ["all"], body=body, num_scan_inputs=1)
    assert decided_by_values(model([scan], [value("all")]), ["x"])
    assert not decided_by_values(model([scan], [value("all")]), ["another"])


def test_a_carried_value_reaches_the_condition_through_another():
    body = graph(
        [helper.make_node("Greater", ["second", "second"], ["going"])],
        [value("step", INT64, []), value("before", BOOL, []), value("first"), value("second")],
        [value("going", BOOL, []), value("first"), value("first")],
    )
    loop = helper.make_node("Loop", ["", "", "x", "one"], ["a", "b"], body=body)
    assert decided_by_values(model([loop], [value("a")], {"one": np.float32(1)}), ["x"])


@pytest.mark.parametrize("unnamed", [0, 1])
def test_outputs_of_a_loop_that_a_file_leaves_out_get_names(unnamed):
    loop = squaring("two")
    wanted = loop.output[1 - unnamed]
    loop.output[unnamed] = ""
    proto = normalise(model([loop], [value(wanted)], {"two": np.int64(2)}))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([[2, 3]], np.float32)
    expected = [[[4, 9]], [[16, 81]]] if wanted == "all" else [[16, 81]]
    assert session.run(None, {"x": x})[0].tolist() == expected


def test_a_loop_is_told_what_its_body_yields():
    loop = with_body_types(model([squaring("two")], [value("last")], {"two": np.int64(2)})).graph.node[0]
    body = helper.get_node_attr_value(loop, "body")
    assert body.output[2].type.tensor_type.elem_type == FLOAT
