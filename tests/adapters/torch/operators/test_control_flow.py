import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from onnxplain.adapters.torch import convert, twin
from onnxplain.engine.model import load
from single_nodes import by_runtime, by_twin

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def value(name, dtype=FLOAT, shape=None):
    return helper.make_tensor_value_info(name, dtype, shape)


def graph(nodes, inputs, outputs, stored=None, name="graph"):
    constants = [numpy_helper.from_array(np.asarray(v), n) for n, v in (stored or {}).items()]
    return helper.make_graph(nodes, name, inputs, outputs, constants)


def model(nodes, inputs, outputs, stored=None, opset=17):
    proto = graph(nodes, inputs, outputs, stored)
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.fixture
def chooser():
    """``3 x`` where the mean of x is positive, else ``x * x``; x and the factor are captured."""
    node = helper.make_node
    triple = graph([node("Mul", ["x0", "factor"], ["a"])], [], [value("a")])
    square = graph([node("Mul", ["x0", "x0"], ["b"])], [], [value("b")])
    return model(
        [
            node("ReduceMean", ["x0"], ["mean"], keepdims=0),
            node("Greater", ["mean", "zero"], ["positive"]),
            node("If", ["positive"], ["y"], then_branch=triple, else_branch=square),
        ],
        [value("x0", shape=[4])],
        [value("y", shape=[4])],
        {"zero": np.float32(0), "factor": np.float32(3)},
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_a_computed_condition_chooses_the_branch(chooser, sign):
    x = sign * np.array([1, 2, 3, -1], np.float32)
    assert by_twin(chooser, [x])[0].tolist() == by_runtime(chooser, [x])[0].tolist()


def test_gradient_is_that_of_the_branch_that_ran(chooser):
    module = convert(chooser)
    for sign in (1, -1):
        x = torch.tensor([1.0, 2.0, 3.0, -1.0]) * sign
        x.requires_grad_()
        module(x).sum().backward()
        assert x.grad.tolist() == ([3, 3, 3, 3] if sign > 0 else (2 * x.detach()).tolist())


def powers(stored, inputs, *, condition=""):
    """Multiply the carried value by x in each step, collecting the results, until it exceeds the bound."""
    node = helper.make_node
    body = graph(
        [
            node("Mul", ["carried", "x0"], ["next"]),
            node("Identity", ["next"], ["collected"]),
            node("ReduceMax", ["next"], ["largest"], keepdims=0),
            node("Less", ["largest", "bound"], ["going"]),
        ],
        [value("step", INT64, []), value("before", BOOL, []), value("carried", shape=[2])],
        [value("going", BOOL, []), value("next", shape=[2]), value("collected", shape=[2])],
    )
    nodes = [node("Loop", ["trips", condition, "start"], ["last", "all"], body=body)]
    stored = {"start": np.ones(2, np.float32), "bound": np.float32(50)} | stored
    return model(nodes, [value("x0", shape=[2]), *inputs], [value("last"), value("all")], stored)


@pytest.mark.parametrize("trips", [3, 9])
def test_a_loop_runs_as_often_as_asked_or_until_its_condition_fails(trips):
    proto = powers({"trips": np.int64(trips)}, [])
    x = np.array([2, 3], np.float32)
    found, wanted = by_twin(proto, [x]), by_runtime(proto, [x])
    assert [f.tolist() for f in found] == [w.tolist() for w in wanted]
    assert found[1].shape[0] == min(trips, 4)


def test_gradient_passes_through_all_steps_of_a_loop():
    x = torch.tensor([2.0, 3.0], requires_grad=True)
    last, collected = convert(powers({"trips": np.int64(3)}, []))(x)
    last.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [12, 27]
    x.grad = None
    collected.sum().backward()
    assert x.grad.tolist() == [1 + 2 * 2 + 3 * 4, 1 + 2 * 3 + 3 * 9]


def test_a_computed_number_of_trips_is_read_when_the_loop_runs():
    proto = powers({}, [value("trips", INT64, [])])
    module = convert(proto)
    for trips in (0, 1, 2):
        assert module(torch.tensor([2.0, 3.0]), torch.tensor(trips))[1].shape == (trips, 2)


@pytest.mark.parametrize("declared", [[2], ["k"], None])
@pytest.mark.parametrize("stop", [{"trips": np.int64(0)}, {"trips": np.int64(3), "going": np.bool_(0)}])
def test_a_loop_without_a_step_collects_nothing_as_in_the_runtime(stop, declared):
    node = helper.make_node
    body = graph(
        [node("Mul", ["carried", "x0"], ["next"]), node("Cast", ["step"], ["number"], to=FLOAT)],
        [value("step", INT64, []), value("before", BOOL, []), value("carried", shape=declared)],
        [value("before", BOOL, []), value("next", shape=declared), value("next", shape=declared), value("number")],
    )
    loop = node("Loop", ["trips", "going" if "going" in stop else "", "x0"], ["last", "all", "numbers"], body=body)
    results = [value(name) for name in ("last", "all", "numbers")]
    proto = model([loop], [value("x0", shape=[2])], results, stop)
    x = np.array([2, 3], np.float32)
    found, wanted = by_twin(proto, [x]), by_runtime(proto, [x])
    assert [(f.shape, f.dtype, f.tolist()) for f in found] == [(w.shape, w.dtype, w.tolist()) for w in wanted]
    given = torch.tensor(x, requires_grad=True)
    convert(proto)(given)[0].sum().backward()
    assert given.grad.tolist() == [1, 1]


def nested():
    """Three steps of ``c = tanh(d + c)`` after two of ``d = d W + c``, from ``d = c``; W is constant, x is captured."""
    node = helper.make_node
    steps = [value("j", INT64, []), value("on", BOOL, []), value("d", TensorProto.DOUBLE, [2])]
    inner = graph(
        [node("MatMul", ["d", "W"], ["turned"]), node("Add", ["turned", "c"], ["e"]), node("Mul", ["e", "x0"], ["ex"])],
        steps,
        [value("on", BOOL, []), value("e", TensorProto.DOUBLE, [2]), value("ex", TensorProto.DOUBLE, [2])],
    )
    outer = graph(
        [
            node("Loop", ["two", "", "c"], ["d_last", "ex_all"], body=inner),
            node("Add", ["d_last", "c"], ["sum"]),
            node("Tanh", ["sum"], ["c_next"]),
            node("Gather", ["x0", "i"], ["element"]),
        ],
        [value("i", INT64, []), value("go", BOOL, []), value("c", TensorProto.DOUBLE, [2])],
        [
            value("go", BOOL, []),
            value("c_next", TensorProto.DOUBLE, [2]),
            value("ex_all", TensorProto.DOUBLE, [2, 2]),
            value("element", TensorProto.DOUBLE, []),
        ],
    )
    loop = node("Loop", ["two", "", "x0"], ["last", "products", "elements"], body=outer)
    results = [value(name, TensorProto.DOUBLE) for name in ("last", "products", "elements")]
    stored = {"two": np.int64(2), "W": np.array([[0.5, -0.2], [0.3, 0.8]])}
    return model([loop], [value("x0", TensorProto.DOUBLE, [2])], results, stored)


def test_nested_loops_have_the_values_and_gradients_of_torchs_own():
    def written_out(x):
        weights = torch.tensor([[0.5, -0.2], [0.3, 0.8]], dtype=torch.float64)
        c, products = x, []
        for _ in range(2):
            d, steps = c, []
            for _ in range(2):
                d = d @ weights + c
                steps.append(d * x)
            products.append(torch.stack(steps))
            c = torch.tanh(d + c)
        return c, torch.stack(products), x.clone()

    x = torch.tensor([0.4, -1.1], dtype=torch.float64, requires_grad=True)
    found, wanted = convert(nested())(x), written_out(x)
    runtime = by_runtime(nested(), [x.detach().numpy()])
    for one, other, third in zip(found, wanted, runtime, strict=True):
        np.testing.assert_allclose(one.detach(), third, rtol=1e-12)
        slopes = [torch.autograd.grad(y.sin().sum(), x, retain_graph=True)[0] for y in (one, other)]
        torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-12, atol=0)
    assert torch.autograd.gradcheck(convert(nested()), [x])


@pytest.mark.parametrize("backward", [0, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_scan_runs_along_any_axis_in_either_direction(axis, backward):
    node = helper.make_node
    body = graph(
        [
            node("Mul", ["state", "decay"], ["kept"]),
            node("Add", ["kept", "slice"], ["sum"]),
            node("Neg", ["sum"], ["out"]),
        ],
        [value("state", shape=[3]), value("slice", shape=[3])],
        [value("sum", shape=[3]), value("out", shape=[3])],
        {"decay": np.float32(0.5)},
    )
    scan = node(
        "Scan",
        ["start", "x0"],
        ["last", "all"],
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[axis],
        scan_input_directions=[backward],
        scan_output_axes=[1],
        scan_output_directions=[1 - backward],
    )
    x = np.arange(9, dtype=np.float32).reshape(3, 3)
    proto = model([scan], [value("x0", shape=[3, 3])], [value("last"), value("all")], {"start": np.ones(3, np.float32)})
    for found, wanted in zip(by_twin(proto, [x]), by_runtime(proto, [x]), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert torch.autograd.gradcheck(convert(proto).double(), [torch.tensor(x, dtype=torch.float64, requires_grad=True)])


@pytest.mark.parametrize("backward", [0, 1])
def test_scan_of_opset_8_gives_zeros_behind_the_length_of_a_row(backward):
    node = helper.make_node
    body = graph(
        [node("Add", ["state", "slice"], ["sum"]), node("Neg", ["sum"], ["out"])],
        [value("state", shape=[1]), value("slice", shape=[1])],
        [value("sum", shape=[1]), value("out", shape=[1])],
    )
    scan = node(
        "Scan", ["lengths", "start", "x0"], ["last", "all"], body=body, num_scan_inputs=1, directions=[backward]
    )
    stored = {"start": np.zeros((2, 1), np.float32), "lengths": np.array([2, 3])}
    proto = model([scan], [value("x0", shape=[2, 4, 1])], [value("last"), value("all")], stored, opset=8)
    x = np.arange(8, dtype=np.float32).reshape(2, 4, 1)
    assert [f.tolist() for f in by_twin(proto, [x])] == [w.tolist() for w in by_runtime(proto, [x])]


def test_rows_whose_values_end_a_loop_are_run_one_by_one():
    node = helper.make_node
    body = graph(
        [
            node("Add", ["carried", "carried"], ["double"]),
            node("ReduceMax", ["double"], ["largest"], keepdims=0),
            node("Less", ["largest", "bound"], ["going"]),
        ],
        [value("step", INT64, []), value("before", BOOL, []), value("carried", shape=["n", 2])],
        [value("going", BOOL, []), value("double", shape=["n", 2]), value("double", shape=["n", 2])],
        {"bound": np.float32(50)},
    )
    shapes = {"last": ["n", 2], "all": ["k", "n", 2]}
    proto = model(
        [node("Loop", ["", "", "x0"], ["last", "all"], body=body)],
        [value("x0", shape=["n", 2])],
        [value(name, shape=shape) for name, shape in shapes.items()],
    )
    x = np.array([[1, 2], [40, 3], [7, 9]], np.float32)
    found = twin(load(proto.SerializeToString(), threads=1), {"x0": x[:1]}).run({"x0": x}, "last[0]", wrt="x0")
    assert found.gradients["x0"].tolist() == [[32, 0], [2, 0], [8, 0]]
    assert found.score.tolist() == [32, 80, 56]
