"""The walk over the graph: names, constants, functions, branches, and refusals that say why."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from small_graphs import model_of

torch = pytest.importorskip("torch")

from onnxplain.adapters.torch import convert  # noqa: E402  # after the check that torch is there
from onnxplain.adapters.torch.dtypes import to_array, to_tensor  # noqa: E402
from onnxplain.adapters.torch.operators import CONVERTERS, converter, find  # noqa: E402
from onnxplain.engine.errors import CapabilityError, ModelError  # noqa: E402

FLOAT = TensorProto.FLOAT
X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], np.float32)


def small(nodes, constants=None, inputs=None, outputs=None, **settings):
    return model_of(
        nodes,
        inputs or {"x": (FLOAT, ["b", 3])},
        outputs or {"y": (FLOAT, None)},
        {k: np.asarray(v) for k, v in (constants or {}).items()},
        **settings,
    )


def ran(model, *arrays):
    result = convert(model)(*(torch.from_numpy(a.copy()) for a in arrays))
    return tuple(r.numpy() for r in result) if isinstance(result, tuple) else result.numpy()


def operators(module):
    return [module.meta["sources"][n.name].op_type for n in module.graph.nodes if n.name in module.meta["sources"]]


def test_outputs_come_by_value_in_the_order_of_the_graph():
    model = small(
        [helper.make_node("Split", ["x"], ["left", "right"], axis=1), helper.make_node("Neg", ["left"], ["minus"])],
        outputs=dict.fromkeys(("right", "minus", "left", "x"), (FLOAT, None)),
        inputs={"x": (FLOAT, ["b", 4])},
    )
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    right, minus, left, whole = ran(model, x)
    assert right.tolist() == [[2, 3], [6, 7]]
    assert minus.tolist() == [[0, -1], [-4, -5]]
    assert left.tolist() == [[0, 1], [4, 5]]
    assert np.array_equal(whole, x)


def test_fx_nodes_are_named_after_onnx_values():
    model = small(
        [
            helper.make_node("Relu", ["x"], ["/layer.1/relu:0"]),
            helper.make_node("Neg", ["/layer.1/relu:0"], ["input"]),
            helper.make_node("Exp", ["input"], ["y"]),
        ]
    )
    module = convert(model)
    names = module.meta["names"]
    assert list(names) == ["x", "/layer.1/relu:0", "input", "y"]
    assert names["/layer.1/relu:0"] == "_layer_1_relu_0"
    assert {node.name for node in module.graph.nodes if node.op != "output"} == set(names.values())


def test_values_may_have_the_names_of_module_attributes():
    names = ["training", "forward", "class", "0", "graph", "y"]
    pairs = zip(["x", *names], names, strict=False)
    model = small([helper.make_node("Neg", [one], [other]) for one, other in pairs])
    assert np.array_equal(ran(model, X), X)


def test_what_is_constant_is_worked_out_before():
    nodes = [
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Identity", ["W"], ["same"]),
        helper.make_node("Transpose", ["same"], ["turned"]),
        helper.make_node("Mul", ["turned", "two"], ["doubled"]),
        helper.make_node("MatMul", ["x", "doubled"], ["y"]),
    ]
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    module = convert(small(nodes, {"W": weights}))
    assert operators(module) == ["MatMul"]
    layer = next(m for m in module.modules() if isinstance(m, torch.nn.Linear))
    assert np.array_equal(layer.weight.numpy(), 2 * weights)
    assert not layer.weight.requires_grad
    assert np.allclose(module(torch.from_numpy(X)).numpy(), X @ (2 * weights.T))


def test_a_quantised_weight_becomes_a_plain_layer():
    nodes = [
        helper.make_node("DequantizeLinear", ["W", "scale", "zero"], ["w"], axis=0),
        helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1),
    ]
    constants = {
        "W": np.array([[10, 12, 14], [0, 2, 4]], np.uint8),
        "scale": np.array([0.5, 2.0], np.float32),
        "zero": np.array([10, 2], np.uint8),
        "b": np.array([1.0, -1.0], np.float32),
    }
    weights = np.array([[0, 1, 2], [-4, 0, 4]], np.float32)
    module = convert(small(nodes, constants))
    assert operators(module) == ["Gemm"]
    assert np.allclose(module(torch.from_numpy(X)).numpy(), X @ weights.T + [1, -1])


@pytest.mark.parametrize("indices", [np.array([0, 5]), np.array([[0, 0], [1, 2]])])
def test_sparse_weights_are_filled_up(indices):
    values = numpy_helper.from_array(np.array([2.0, -3.0], np.float32), "W")
    model = small([helper.make_node("Gemm", ["x", "W"], ["y"], transB=1)])
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(indices, "W_indices"), [2, 3])
    model.graph.sparse_initializer.append(sparse)
    assert np.allclose(ran(model, X), X @ np.array([[2, 0, 0], [0, 0, -3]]).T)


def test_inputs_with_a_default_are_constants():
    model = small(
        [helper.make_node("Add", ["x", "shift"], ["y"])],
        {"shift": np.array([1, 2, 3], np.float32)},
        inputs={"x": (FLOAT, ["b", 3]), "shift": (FLOAT, [3])},
    )
    assert np.array_equal(ran(model, X), X + np.arange(1, 4))


def test_an_output_may_be_constant_or_an_input():
    model = small(
        [helper.make_node("Add", ["a", "a"], ["sum"])],
        {"a": np.array([1.0, 2.0], np.float32)},
        outputs={"sum": (FLOAT, [2]), "x": (FLOAT, ["b", 3])},
    )
    total, same = ran(model, X)
    assert total.tolist() == [2, 4]
    assert np.array_equal(same, X)


def local_function():
    """LeakyScale(x) = scale * LeakyRelu(x, alpha), by default 3 and 0.25."""
    constant = helper.make_node("Constant", [], ["s"])
    leaky = helper.make_node("LeakyRelu", ["x"], ["t"])
    for node, name, source in ((constant, "value_float", "scale"), (leaky, "alpha", "alpha")):
        node.attribute.add(name=name, ref_attr_name=source, type=onnx.AttributeProto.FLOAT)
    nodes = [constant, leaky, helper.make_node("Mul", ["t", "s"], ["y"])]
    function = helper.make_function("local", "LeakyScale", ["x"], ["y"], nodes, [helper.make_opsetid("", 17)])
    function.attribute_proto.extend([helper.make_attribute("alpha", 0.25), helper.make_attribute("scale", 3.0)])
    return function


def test_functions_are_inlined_with_the_defaults_of_their_attributes():
    nodes = [
        helper.make_node("LeakyScale", ["x"], ["t"], domain="local", name="first"),
        helper.make_node("LeakyScale", ["t"], ["y"], domain="local", alpha=0.5, name="second"),
    ]
    model = small(nodes, domains={"local": 1})
    model.functions.append(local_function())
    once = 3 * np.where(X > 0, X, 0.25 * X)
    assert np.allclose(ran(model, X), 3 * np.where(once > 0, once, 0.5 * once))


def test_a_function_that_calls_itself_is_refused():
    model = small([helper.make_node("Again", ["x"], ["y"], domain="local")], domains={"local": 1})
    inner = helper.make_node("Again", ["x"], ["y"], domain="local")
    model.functions.append(
        helper.make_function("local", "Again", ["x"], ["y"], [inner], [helper.make_opsetid("local", 1)])
    )
    with pytest.raises(ModelError, match="call each other"):
        convert(model)


def branches():
    """If: x + a in one branch, the captured x itself in the other."""
    then = helper.make_graph(
        [helper.make_node("Add", ["x", "a"], ["r"])],
        "then",
        [],
        [helper.make_tensor_value_info("r", FLOAT, None)],
        [numpy_helper.from_array(np.array([10.0], np.float32), "a")],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["r"])], "else", [], [helper.make_tensor_value_info("r", FLOAT, None)]
    )
    return {"then_branch": then, "else_branch": other}


@pytest.mark.parametrize(("condition", "expected"), [(True, X + 10), (False, X)])
def test_a_branch_with_a_constant_condition_takes_the_place_of_the_if(condition, expected):
    nodes = [helper.make_node("If", ["c"], ["r"], **branches()), helper.make_node("Neg", ["r"], ["y"])]
    module = convert(small(nodes, {"c": np.array(condition)}))
    assert "If" not in operators(module)
    assert np.array_equal(module(torch.from_numpy(X)).numpy(), -expected)


@pytest.mark.parametrize(("condition", "expected"), [(True, X + 10), (False, X)])
def test_a_branch_can_be_chosen_while_running(condition, expected):
    nodes = [helper.make_node("If", ["c"], ["y"], **branches())]
    model = small(nodes, inputs={"x": (FLOAT, ["b", 3]), "c": (TensorProto.BOOL, [])})
    assert np.array_equal(ran(model, X, np.array(condition)), expected)


def test_a_loop_has_a_gradient():
    body = helper.make_graph(
        [helper.make_node("Mul", ["s", "x"], ["t"]), helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("s", FLOAT, None),
        ],
        [helper.make_tensor_value_info("d", TensorProto.BOOL, []), helper.make_tensor_value_info("t", FLOAT, None)],
    )
    model = small([helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)], {"n": np.array(2)})
    x = torch.from_numpy(X).requires_grad_()
    y = convert(model)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert np.allclose(y.detach().numpy(), X**3)
    assert np.allclose(gradient.numpy(), 3 * X**2)


def test_an_operator_without_a_converter_is_spelled_out_by_its_function(monkeypatch):
    monkeypatch.delitem(CONVERTERS, ("", "Shrink"))
    module = convert(small([helper.make_node("Shrink", ["x"], ["y"], lambd=1.5, bias=0.5)]))
    assert "Shrink" not in operators(module)
    expected = np.where(X < -1.5, X + 0.5, np.where(X > 1.5, X - 0.5, 0))
    assert np.allclose(module(torch.from_numpy(X)).numpy(), expected)


def test_an_unknown_operator_is_named_and_other_methods_are_pointed_to():
    model = small([helper.make_node("Mystery", ["x"], ["y"], domain="com.acme", name="n7")], domains={"com.acme": 2})
    with pytest.raises(CapabilityError) as caught:
        convert(model)
    assert "com.acme::Mystery, version 2" in str(caught.value)
    assert "n7" in str(caught.value)
    assert "methods that only need predictions still work" in str(caught.value)


def test_what_no_output_needs_is_not_converted():
    nodes = [helper.make_node("Mystery", ["x"], ["z"], domain="com.acme"), helper.make_node("Neg", ["x"], ["y"])]
    assert np.array_equal(ran(small(nodes, domains={"com.acme": 1}), X), -X)


def test_a_tensor_that_nothing_makes_is_an_error():
    with pytest.raises(ModelError, match="'missing'"):
        convert(small([helper.make_node("Add", ["x", "missing"], ["y"])]))


def test_two_converters_for_one_version_are_refused():
    with pytest.raises(ValueError, match="two converters"):
        converter("Relu", since=14)(find)


def test_each_version_finds_its_own_converter():
    old = small([helper.make_node("Squeeze", ["x"], ["y"], axes=[1])], inputs={"x": (FLOAT, ["b", 1, 3])}, opset=11)
    new = small([helper.make_node("Squeeze", ["x", "a"], ["y"])], {"a": np.array([1])}, {"x": (FLOAT, ["b", 1, 3])})
    for model in (old, new):
        assert np.array_equal(ran(model, X[:, None]), X)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_element_types_that_numpy_lacks_keep_their_numbers(name):
    import ml_dtypes

    array = np.array([[1.5, -2.0], [0.25, 96.0]], getattr(ml_dtypes, name))
    tensor = to_tensor(array)
    assert str(tensor.dtype) == f"torch.{name}"
    assert tensor.float().tolist() == [[1.5, -2.0], [0.25, 96.0]]
    assert np.array_equal(to_array(tensor).astype(np.float32), array.astype(np.float32))
    assert to_array(tensor).dtype == array.dtype


def test_text_is_refused():
    with pytest.raises(CapabilityError, match="element type"):
        to_tensor(np.array(["a"], object))


def test_a_computed_shape_is_followed():
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], end=1),
        helper.make_node("Concat", ["s", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    model = small(nodes, {"rest": np.array([3, 1])})
    assert ran(model, X).shape == (2, 3, 1)
    assert ran(model, X[:1]).shape == (1, 3, 1)
