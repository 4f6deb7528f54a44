"""Freeing a fixed batch axis: as many rows as one likes give the numbers of one at a time."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from graph_checks import RNG, ints, normal, run, shapes, unchanged
from onnxplain.engine import graph
from small_graphs import model_of

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
node = helper.make_node


def assert_freed(proto, inputs, rows=3, *, ops=None):
    """The freed graph at several rows equals the original, row by row."""
    with unchanged(proto):
        freed = graph.free_batch(proto, inputs)
    assert freed is not None
    kinds = {value.name: value.type.tensor_type for value in proto.graph.input}
    feeds = {}
    for name, axis in inputs.items():
        dims = [d.dim_value or 5 for d in kinds[name].shape.dim]
        old = graph.fixed_batch(proto, name, axis) or 1
        dims[axis] = rows * old
        whole = RNG.integers(0, 9, dims) if kinds[name].elem_type == INT64 else normal(*dims)
        feeds[name] = (axis, np.split(whole, rows, axis), whole)
    together = run(freed, {name: whole for name, (_, _, whole) in feeds.items()})
    apart = [run(proto, {name: parts[i] for name, (_, parts, _) in feeds.items()}) for i in range(rows)]
    for index, found in enumerate(together):
        wanted = np.concatenate([one[index] for one in apart])
        assert found.shape == wanted.shape
        assert np.allclose(found, wanted, atol=1e-5)
        assert wanted.std() > 1e-3  # rows differ, so mixing them up would show
    if ops is not None:
        assert {n.op_type for n in freed.graph.node} - {n.op_type for n in proto.graph.node} <= ops
    return freed


def convolution(target, batch=1, *, as_node=False):
    stored = numpy_helper.from_array(ints(*target))
    return model_of(
        [
            node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["h"]),
            *([node("Constant", [], ["shape"], value=stored)] if as_node else []),
            node("Reshape", ["h", "shape"], ["flat"]),
            node("Gemm", ["flat", "w"], ["y"]),
        ],
        {"x": (FLOAT, [batch, 2, 4, 4])},
        {"y": (FLOAT, [batch, 5])},
        {"k": normal(3, 2, 3, 3), "w": normal(48, 5)} | ({} if as_node else {"shape": ints(*target)}),
    )


@pytest.mark.parametrize("target", [(1, 48), (1, -1), (-1, 48), (0, 48), (0, -1)])
@pytest.mark.parametrize("as_node", [False, True])
def test_a_reshape_to_one_row_is_freed(target, as_node):
    freed = assert_freed(convolution(target, as_node=as_node), {"x": 0}, ops=set())
    assert shapes(freed.graph.input) == [["batch", 2, 4, 4]]
    assert shapes(freed.graph.output) == [["batch", 5]]
    assert not freed.graph.value_info


def test_a_batch_of_four_is_freed():
    freed = assert_freed(convolution((4, 48), batch=4), {"x": 0})
    assert run(freed, {"x": normal(3, 2, 4, 4)})[0].shape == (3, 5)


def test_channels_last_as_keras_exports_them():
    proto = model_of(
        [
            node("Transpose", ["x:0"], ["t"], perm=[0, 3, 1, 2]),
            node("Conv", ["t", "k"], ["c"]),
            node("Transpose", ["c"], ["back"], perm=[0, 2, 3, 1]),
            node("Reshape", ["back", "shape"], ["flat"]),
            node("MatMul", ["flat", "w"], ["y:0"]),
        ],
        {"x:0": (FLOAT, [1, 4, 5, 2])},
        {"y:0": (FLOAT, [1, 3])},
        {"k": normal(3, 2, 3, 3), "shape": ints(1, 18), "w": normal(18, 3)},
    )
    assert_freed(proto, {"x:0": 0})


def test_a_shape_shared_with_a_constant_is_freed_for_the_rows_alone():
    proto = model_of(
        [
            node("Reshape", ["x", "shape"], ["a"]),
            node("Reshape", ["w", "shape"], ["v"]),
            node("Mul", ["a", "v"], ["p"]),
            node("Reshape", ["p", "other"], ["q"]),
            node("Reshape", ["q", "shape"], ["y"]),
        ],
        {"x": (FLOAT, [1, 4, 4])},
        {"y": (FLOAT, [1, 16])},
        {"shape": ints(1, 16), "other": ints(1, 2, 8), "w": normal(4, 4)},
    )
    assert_freed(proto, {"x": 0})


def vision_transformer(first):
    """Patches, a class token, positions, one attention block with two heads, and a linear head; all for one row."""
    constants = {
        "patch": normal(8, 3, 4, 4), "seq": ints(1, 8, 16), "cls": normal(1, 1, 8), "pos": normal(1, 17, 8),
        "cls shape": ints(1, 1, 8), "qkv": normal(8, 24), "heads": ints(1, 17, 3, 2, 4), "merged": ints(1, 17, 8),
        "scale": np.float32(0.5), "zero": ints(0).reshape(()), "one": ints(1).reshape(()), "two": ints(2).reshape(()),
        "flat": ints(17, 8), "dense": normal(8, 8), "back": ints(1, 17, 8), "w": normal(8, 5),
    }  # fmt: skip
    cls = [node("Expand", ["cls", "cls shape"], ["expanded"])] if first == "expanded" else []
    nodes = [
        node("Conv", ["x", "patch"], ["p"], strides=[4, 4]),
        node("Reshape", ["p", "seq"], ["ps"]),
        node("Transpose", ["ps"], ["pt"], perm=[0, 2, 1]),
        *cls,
        node("Concat", [first, "pt"], ["joined"], axis=1),
        node("Add", ["joined", "pos"], ["e"]),
        node("MatMul", ["e", "qkv"], ["all"]),
        node("Reshape", ["all", "heads"], ["split"]),
        node("Transpose", ["split"], ["qkvs"], perm=[2, 0, 3, 1, 4]),
        *(node("Gather", ["qkvs", i], [n], axis=0) for n, i in (("q", "zero"), ("k", "one"), ("v", "two"))),
        node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "kt"], ["s"]),
        node("Mul", ["s", "scale"], ["ss"]),
        node("Softmax", ["ss"], ["a"], axis=-1),
        node("MatMul", ["a", "v"], ["av"]),
        node("Transpose", ["av"], ["avt"], perm=[0, 2, 1, 3]),
        node("Reshape", ["avt", "merged"], ["m"]),
        node("Reshape", ["m", "flat"], ["mf"]),  # rows and tokens in one axis, as Gemm needs them
        node("Gemm", ["mf", "dense"], ["d"]),
        node("Reshape", ["d", "back"], ["db"]),
        node("Gather", ["db", "zero"], ["first"], axis=1),
        node("Gemm", ["first", "w"], ["y"]),
    ]
    return model_of(nodes, {"x": (FLOAT, [1, 3, 16, 16])}, {"y": (FLOAT, [1, 5])}, constants)


@pytest.mark.parametrize("first", ["cls", "expanded"])
def test_a_vision_transformer_with_its_class_token_is_freed(first):
    assert_freed(vision_transformer(first), {"x": 0})


@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("states", ["stored", "made"])
def test_a_recurrent_network_with_its_initial_state_is_freed(op_type, states):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op_type]
    start = node("ConstantOfShape", ["state shape"], ["h0"], value=helper.make_tensor("v", FLOAT, [1], [0.5]))
    initial = ["h0", "h0"] if op_type == "LSTM" else ["h0"]
    proto = model_of(
        [
            *([start] if states == "made" else []),
            node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
            node(op_type, ["steps", "W", "R", "", "", *initial], ["all", "last"], hidden_size=6),
            node("Squeeze", ["all", "one"], ["s"]),
            node("Gather", ["s", "end"], ["g"], axis=0),
            node("Gemm", ["g", "w"], ["y"]),
        ],
        {"x": (FLOAT, [1, 7, 2])},
        {"y": (FLOAT, [1, 3])},
        {
            "W": normal(1, 6 * gates, 2),
            "R": normal(1, 6 * gates, 6),
            "one": ints(1),
            "end": ints(-1).reshape(()),
            "w": normal(6, 3),
        }
        | ({"h0": normal(1, 1, 6)} if states == "stored" else {"state shape": ints(1, 1, 6)}),
    )
    assert_freed(proto, {"x": 0})


def test_attention_with_time_first_is_freed_where_rows_join_the_heads():
    """As torch.nn.MultiheadAttention is exported: (time, rows, E) -> (time, rows * heads, E / heads)."""
    proto = model_of(
        [
            node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
            node("Reshape", ["t", "flat"], ["tf"]),
            node("Gemm", ["tf", "in"], ["proj"]),
            node("Reshape", ["proj", "heads"], ["h"]),
            node("Transpose", ["h"], ["q"], perm=[1, 0, 2]),
            node("Transpose", ["q"], ["kt"], perm=[0, 2, 1]),
            node("MatMul", ["q", "kt"], ["s"]),
            node("Softmax", ["s"], ["a"], axis=-1),
            node("MatMul", ["a", "q"], ["v"]),
            node("Transpose", ["v"], ["vt"], perm=[1, 0, 2]),
            node("Reshape", ["vt", "flat"], ["vf"]),
            node("Gemm", ["vf", "out"], ["o"]),
            node("Reshape", ["o", "steps"], ["os"]),
            node("Transpose", ["os"], ["y"], perm=[1, 0, 2]),
        ],
        {"x": (FLOAT, [1, 5, 8])},
        {"y": (FLOAT, [1, 5, 8])},
        {"flat": ints(5, 8), "heads": ints(5, 2, 4), "steps": ints(5, 1, 8), "in": normal(8, 8), "out": normal(8, 8)},
    )
    assert_freed(proto, {"x": 0})


def test_shifted_windows_are_freed():
    """As Swin exports them: (1, 8, 8, C) -> windows (4, 16, C) -> (1, 8, 8, C)."""
    proto = model_of(
        [
            node("Reshape", ["x", "cut"], ["c"]),
            node("Transpose", ["c"], ["ct"], perm=[0, 1, 3, 2, 4, 5]),
            node("Reshape", ["ct", "windows"], ["w"]),
            node("Softmax", ["w"], ["s"], axis=1),
            node("Reshape", ["s", "apart"], ["a"]),
            node("Transpose", ["a"], ["at"], perm=[0, 1, 3, 2, 4, 5]),
            node("Reshape", ["at", "whole"], ["y"]),
        ],
        {"x": (FLOAT, [1, 8, 8, 3])},
        {"y": (FLOAT, [1, 8, 8, 3])},
        {"cut": ints(1, 2, 4, 2, 4, 3), "windows": ints(4, 16, 3), "apart": ints(1, 2, 2, 4, 4, 3)}
        | {"whole": ints(1, 8, 8, 3)},
    )
    assert_freed(proto, {"x": 0})


def test_resize_and_slice_that_name_the_batch_are_freed():
    proto = model_of(
        [
            node("Resize", ["x", "", "", "sizes"], ["r"], mode="nearest"),
            node("Slice", ["r", "starts", "ends"], ["s"]),
            node("ReduceMean", ["s"], ["y"], axes=[2, 3], keepdims=0),
        ],
        {"x": (FLOAT, [1, 2, 3, 3])},
        {"y": (FLOAT, [1, 2])},
        {"sizes": ints(1, 2, 6, 6), "starts": ints(0, 0, 1, 1), "ends": ints(1, 2, 5, 6)},
    )
    assert_freed(proto, {"x": 0})


def test_shapes_calculated_from_a_baked_batch_are_freed():
    """The batch is a constant 1 in a Concat, next to lengths that are read from the input."""
    proto = model_of(
        [
            node("Shape", ["x"], ["size"]),
            node("Gather", ["size", "one"], ["steps"], axis=0),
            node("Concat", ["row", "steps", "rest"], ["target"], axis=0),
            node("Reshape", ["x", "target"], ["h"]),
            node("ReduceSum", ["h", "one"], ["y"], keepdims=0),
        ],
        {"x": (FLOAT, [1, "steps", 6])},
        {"y": (FLOAT, [1, 2, 3])},
        {"one": ints(1), "row": ints(1), "rest": ints(2, 3)},
    )
    freed = assert_freed(proto, {"x": 0})
    assert run(freed, {"x": normal(2, 9, 6)})[0].shape == (2, 2, 3)  # the other axis is as free as it was


def test_text_of_any_length_is_freed():
    proto = model_of(
        [
            node("Gather", ["table", "ids"], ["e"]),
            node("Reshape", ["e", "heads"], ["h"]),
            node("Transpose", ["h"], ["t"], perm=[0, 2, 1, 3]),
            node("ReduceMax", ["t"], ["m"], axes=[2], keepdims=0),
            node("Reshape", ["m", "flat"], ["y"]),
        ],
        {"ids": (INT64, [1, "length"])},
        {"y": (FLOAT, [1, 8])},
        {"table": normal(9, 8), "heads": ints(1, -1, 2, 4), "flat": ints(1, 8)},
    )
    freed = assert_freed(proto, {"ids": 0})
    assert run(freed, {"ids": RNG.integers(0, 9, (2, 11))})[0].shape == (2, 8)


def test_inputs_with_different_batch_axes_are_freed_together():
    proto = model_of(
        [
            node("Transpose", ["steps"], ["t"], perm=[1, 0, 2]),
            node("Reshape", ["t", "flat"], ["f"]),
            node("Concat", ["f", "row"], ["j"], axis=1),
            node("Gemm", ["j", "w"], ["y"]),
        ],
        {"row": (FLOAT, [1, 3]), "steps": (FLOAT, [4, 1, 2])},
        {"y": (FLOAT, [1, 2])},
        {"flat": ints(1, 8), "w": normal(11, 2)},
    )
    assert_freed(proto, {"row": 0, "steps": 1})


def test_operators_of_the_runtime_and_functions_of_the_model_are_freed():
    doubled = helper.make_function(
        "own", "Double", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    proto = model_of(
        [
            node("Gelu", ["x"], ["g"], domain="com.microsoft"),
            node("Double", ["g"], ["d"], domain="own"),
            node("Reshape", ["d", "flat"], ["y"]),
        ],
        {"x": (FLOAT, [1, 2, 3])},
        {"y": (FLOAT, [1, 6])},
        {"flat": ints(1, 6)},
        domains={"com.microsoft": 1, "own": 1},
    )
    proto.functions.append(doubled)
    assert_freed(proto, {"x": 0})


@pytest.mark.parametrize("declared", [False, True])
def test_a_reshape_behind_an_operator_without_shape_inference_is_freed(declared):
    proto = model_of(
        [
            node("Inverse", ["x"], ["inv"], domain="com.microsoft"),
            node("Reshape", ["inv", "flat"], ["f"]),
            node("MatMul", ["f", "w"], ["y"]),
        ],
        {"x": (FLOAT, [1, 2, 2])},
        {"y": (FLOAT, [1, 3])},
        {"flat": ints(1, -1), "w": normal(4, 3)},
        domains={"com.microsoft": 1},
    )
    if declared:
        proto.graph.value_info.append(helper.make_tensor_value_info("inv", FLOAT, [1, 2, 2]))
    assert_freed(proto, {"x": 0})


def test_a_constant_sampling_grid_is_repeated_for_each_row():
    proto = model_of(
        [node("GridSample", ["x", "grid"], ["y"])],
        {"x": (FLOAT, [1, 2, 4, 4])},
        {"y": (FLOAT, [1, 2, 3, 3])},
        {"grid": RNG.uniform(-1, 1, (1, 3, 3, 2)).astype(np.float32)},
    )
    assert_freed(proto, {"x": 0})


def test_routing_by_agreement_with_einsum_is_freed():
    """As capsule networks are exported: the first weights are a constant for one row."""
    proto = model_of(
        [
            node("Einsum", ["w", "x"], ["u"], equation="kjdi,bji->bkjd"),
            node("Einsum", ["c", "u"], ["v"], equation="bkj,bkjd->bkd"),
            node("Einsum", ["u", "v"], ["y"], equation="bkjd,bkd->bkj"),
        ],
        {"x": (FLOAT, [1, 5, 8])},
        {"y": (FLOAT, [1, 4, 5])},
        {"w": normal(4, 5, 6, 8), "c": normal(1, 4, 5)},
    )
    assert_freed(proto, {"x": 0})


def test_a_sampling_grid_made_for_one_row_is_freed():
    proto = model_of(
        [
            node("Reshape", ["x", "matrix"], ["theta"]),
            node("AffineGrid", ["theta", "size"], ["grid"]),
            node("ReduceMean", ["grid", "axes"], ["y"], keepdims=0),
        ],
        {"x": (FLOAT, [1, 6])},
        {"y": (FLOAT, [1, 4, 2])},
        {"matrix": ints(1, 2, 3), "size": ints(1, 3, 4, 4), "axes": ints(1)},
        opset=20,
    )
    assert_freed(proto, {"x": 0})


def test_an_expand_to_a_batch_of_four_is_freed():
    proto = model_of(
        [node("Expand", ["x", "shape"], ["e"]), node("Mul", ["e", "w"], ["y"])],
        {"x": (FLOAT, [4, 1, 3])},
        {"y": (FLOAT, [4, 5, 3])},
        {"shape": ints(4, 5, 3), "w": normal(5, 3)},
    )
    assert_freed(proto, {"x": 0})


def test_a_branch_is_kept_when_the_rows_around_it_are_freed():
    def body(operator):
        value = helper.make_tensor_value_info("r", FLOAT, [1, 4])
        return helper.make_graph([node(operator, ["h"], ["r"])], operator, [], [value])

    proto = model_of(
        [
            node("Reshape", ["x", "flat"], ["h"]),
            node("If", ["flag"], ["c"], then_branch=body("Exp"), else_branch=body("Neg")),
            node("Reshape", ["c", "apart"], ["y"]),
        ],
        {"x": (FLOAT, [1, 2, 2])},
        {"y": (FLOAT, [1, 2, 2])},
        {"flat": ints(1, 4), "apart": ints(1, 2, 2), "flag": np.bool_(1)},
    )
    assert_freed(proto, {"x": 0})


def single(op, constants=None, out=(1, 4), opset=17, **attributes):
    reads = ["x", *(constants or {})]
    return model_of(
        [node(op, reads, ["y"], **attributes)], {"x": (FLOAT, [1, 4])}, {"y": (FLOAT, out)}, constants, opset
    )


@pytest.mark.parametrize(
    "proto",
    [
        single("Softmax", axis=0),
        single("Softmax", axis=0, opset=11),
        single("ReduceMax", out=(1, 1)),
        single("Squeeze", out=(4,)),
        single("Gather", {"i": ints(0).reshape(())}, out=(4,), axis=0),
        single("CumSum", {"axis": ints(0).reshape(())}),
        single("Concat", {"w": normal(1, 4)}, out=(2, 4), axis=0),
        single("Slice", {"starts": ints(-1), "ends": ints(-2), "axes": ints(0), "steps": ints(-1)}),
        single("Flatten", axis=0),
        single("NonZero", out=(2, "n")),
    ],
    ids=lambda proto: f"{proto.graph.node[0].op_type}-{proto.opset_import[0].version}",
)
def test_rows_that_are_mixed_or_lost_are_not_freed(proto):
    assert graph.free_batch(proto, {"x": 0}) is None


def test_nothing_is_freed_without_such_an_axis_or_with_unequal_batches():
    assert graph.free_batch(convolution((1, 48)), {"x": 4}) is None
    assert graph.free_batch(convolution((1, 48)), {"image": 0}) is None
    assert graph.free_batch(convolution((1, 48)), {}) is None
    proto = model_of(
        [node("Concat", ["a", "b"], ["y"], axis=1)],
        {"a": (FLOAT, [1, 2]), "b": (FLOAT, [2, 2])},
        {"y": (FLOAT, None)},
    )
    assert graph.free_batch(proto, {"a": 0, "b": 0}) is None


def test_an_axis_that_the_file_leaves_open_still_has_its_reshapes_freed():
    proto = convolution((1, 48), batch="N")
    assert graph.fixed_batch(proto, "x", 0) is None
    assert_freed(proto, {"x": 0})


def test_an_old_file_whose_initializers_are_inputs_is_freed():
    proto = vision_transformer("cls")
    proto.ir_version = 3
    proto.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in proto.graph.initializer
    )
    assert_freed(proto, {"x": 0})


def test_weights_in_another_file_stay_there_when_the_batch_is_freed(tmp_path):
    file = tmp_path / "model.onnx"
    onnx.save_model(convolution((1, 48)), file, save_as_external_data=True, size_threshold=100, location="weights.bin")
    proto = onnx.load(file, load_external_data=False)
    freed = graph.free_batch(proto, {"x": 0})
    kept = {t.name for t in freed.graph.initializer if t.data_location == TensorProto.EXTERNAL}
    assert kept == {"k", "w"}
    onnx.save(freed, tmp_path / "freed.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "freed.onnx", providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": normal(3, 2, 4, 4)})[0].shape == (3, 5)
