"""Weights drawn anew in the graph, and the same function as another graph."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxplain
from onnxplain.engine import graph
from oracles.graphs import random_convolutions
from small_graphs import affine, model_of


@pytest.fixture(scope="module")
def proto():
    return onnxplain.load(random_convolutions(0)).proto


def weights(proto):
    return {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}


def test_layers_are_the_nodes_with_weights_from_the_input_on(proto):
    assert [layer.tensors for layer in graph.layers(proto)] == [("k1",), ("k2",), ("W", "b")]


def test_only_the_chosen_layers_are_drawn_anew_with_mean_and_deviation_kept(proto):
    found = weights(graph.randomised(proto, graph.layers(proto)[2:], 0))
    before = weights(proto)
    assert {name for name in before if not np.array_equal(before[name], found[name])} == {"W", "b"}
    assert found["W"].dtype == np.float32
    assert found["W"].shape == before["W"].shape
    assert found["W"].mean() == pytest.approx(
        before["W"].mean(), abs=float(3 * before["W"].std() / before["W"].size ** 0.5)
    )
    assert found["W"].std() == pytest.approx(before["W"].std(), rel=0.3)


def test_a_cascade_goes_on_from_the_stage_before(proto):
    last, both = (weights(graph.randomised(proto, graph.layers(proto)[k:], 0)) for k in (2, 1))
    np.testing.assert_array_equal(last["W"], both["W"])
    assert not np.array_equal(last["k2"], both["k2"])


def test_the_seed_decides(proto):
    layers = graph.layers(proto)
    first, again, other = (weights(graph.randomised(proto, layers, seed))["k1"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_shuffled_weights_are_the_same_numbers(proto):
    found = weights(graph.randomised(proto, graph.layers(proto), 0, "permute"))
    for name, array in weights(proto).items():
        np.testing.assert_array_equal(np.sort(found[name], axis=None), np.sort(array, axis=None))
    assert not np.array_equal(found["W"], weights(proto)["W"])


def test_the_given_model_stays_as_it_is(proto):
    before = proto.SerializeToString()
    graph.randomised(proto, graph.layers(proto), 0)
    graph.shifted(proto, {"image": np.array(1.0, np.float32)})
    graph.rewritten(proto, ["image"])
    assert proto.SerializeToString() == before


def test_a_bias_that_is_added_belongs_to_its_product():
    nodes = [helper.make_node("MatMul", ["x", "W"], ["z"]), helper.make_node("Add", ["b", "z"], ["y"])]
    arrays = {"W": np.ones((3, 2), np.float32), "b": np.ones(2, np.float32)}
    proto = model_of(nodes, {"x": (1, ["n", 3])}, {"y": (1, ["n", 2])}, arrays)
    assert [layer.tensors for layer in graph.layers(proto)] == [("W", "b")]


def test_constant_nodes_and_quantised_weights_are_found_and_shuffled():
    values = np.arange(6, dtype=np.int8).reshape(2, 3)
    nodes = [
        helper.make_node(
            "Constant", [], ["K"], value=numpy_helper.from_array(np.arange(4, dtype=np.float32).reshape(2, 2))
        ),
        helper.make_node("DequantizeLinear", ["Wq", "scale"], ["W"]),
        helper.make_node("Gemm", ["x", "W"], ["z"], transB=1),
        helper.make_node("MatMul", ["z", "K"], ["y"]),
    ]
    arrays = {"Wq": values, "scale": np.array(0.5, np.float32)}
    proto = model_of(nodes, {"x": (1, ["n", 3])}, {"y": (1, ["n", 2])}, arrays)
    layers = graph.layers(proto)
    assert [layer.tensors for layer in layers] == [("Wq",), ("K",)]
    found = graph.randomised(proto, layers, 3)
    shuffled = weights(found)["Wq"]
    assert shuffled.dtype == np.int8
    assert sorted(shuffled.ravel()) == list(range(6))
    assert not np.array_equal(shuffled, values)
    constant = numpy_helper.to_array(found.graph.node[0].attribute[0].t)
    assert not np.array_equal(constant, np.arange(4).reshape(2, 2))
    x = np.ones((1, 3), np.float32)
    assert np.isfinite(onnxplain.load(found.SerializeToString()).predict(x)["y"]).all()


def test_half_precision_stays_half_precision():
    arrays = {"W": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float16)}
    nodes = [helper.make_node("Gemm", ["x", "W"], ["y"], transB=1)]
    proto = model_of(nodes, {"x": (TensorProto.FLOAT16, ["n", 3])}, {"y": (TensorProto.FLOAT16, ["n", 2])}, arrays)
    found = weights(graph.randomised(proto, graph.layers(proto), 0))["W"]
    assert found.dtype == np.float16
    assert not np.array_equal(found, arrays["W"])


def test_what_trees_and_linear_models_of_classic_learning_hold_is_shuffled():
    node = helper.make_node(
        "LinearClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml",
        coefficients=[1.0, 2.0, 3.0, 4.0], intercepts=[0.5, 0.25], classlabels_ints=[0, 1], post_transform="NONE",
    )  # fmt: skip
    proto = model_of([node], {"x": (1, ["n", 2])}, {"y": (1, ["n", 2]), "label": (7, ["n"])}, domains={"ai.onnx.ml": 3})
    (layer,) = graph.layers(proto)
    assert layer.attributes == ("coefficients", "intercepts")
    found = graph.randomised(proto, [layer], 1)
    kept = {a.name: list(a.floats) for a in found.graph.node[0].attribute if a.floats}
    assert sorted(kept["coefficients"]) == [1, 2, 3, 4]
    assert kept["coefficients"] != [1, 2, 3, 4]


def test_weights_in_files_are_read(tmp_path):
    proto = affine(np.random.default_rng(0).normal(size=(40, 40)), np.zeros(40))
    onnx.save_model(proto, tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=100)
    model = onnxplain.load(tmp_path / "m.onnx")
    layers = graph.layers(model.proto)
    found = graph.randomised(model.proto, layers, 0, folder=model.folder)
    (tmp_path / "m.bin").unlink()
    x = np.ones((1, 40), np.float32)
    answer = onnxplain.load(found.SerializeToString()).predict(x)["y"]
    assert np.isfinite(answer).all()
    assert np.abs(answer).max() > 0.1


def test_a_shift_is_undone(proto):
    x = np.random.default_rng(0).random((2, 3, 9, 9)).astype(np.float32)
    shift = np.array(0.5, np.float32)
    moved = onnxplain.load(graph.shifted(proto, {"image": shift}).SerializeToString())
    np.testing.assert_allclose(
        moved.predict(x + shift)["y"], onnxplain.load(random_convolutions(0)).predict(x)["y"], rtol=1e-4, atol=1e-5
    )
    assert moved.predict(x)["y"] != pytest.approx(moved.predict(x + shift)["y"], rel=1e-3)


def test_the_rewritten_graph_is_the_same_function_without_a_relu(proto):
    x = np.random.default_rng(0).normal(size=(2, 3, 9, 9)).astype(np.float32)
    found = graph.rewritten(proto, ["image"])
    assert "Relu" in {n.op_type for n in proto.graph.node}
    assert {"Max", "Neg"} <= {n.op_type for n in found.graph.node}
    assert "Relu" not in {n.op_type for n in found.graph.node}
    answers = [onnxplain.load(p.SerializeToString()).predict(x)["y"] for p in (proto, found)]
    np.testing.assert_allclose(*answers, rtol=1e-5)


def test_a_shift_reaches_the_graphs_inside_nodes():
    """The branches of an If capture the input by its name."""
    then = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["t"])], "then", [], [helper.make_tensor_value_info("t", 1, None)]
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["e"])], "else", [], [helper.make_tensor_value_info("e", 1, None)]
    )
    nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other)]
    proto = model_of(nodes, {"x": (1, ["n", 2])}, {"y": (1, ["n", 2])}, {"yes": np.ones((), dtype=bool)})
    found = onnxplain.load(graph.shifted(proto, {"x": np.array(1.0, np.float32)}).SerializeToString())
    np.testing.assert_allclose(found.predict(np.array([[3.0, 4.0]], np.float32))["y"], [[4, 6]])
