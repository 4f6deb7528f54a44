import itertools

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import onnxplain
from onnxplain.adapters.torch import convert
from onnxplain.adapters.torch.operators.recurrent_fused import FusedLayer
from onnxplain.engine.errors import CapabilityError
from onnxplain.engine.model import load
from single_nodes import by_reference, by_runtime, by_twin, has_true_gradients, single_node

STEPS, ROWS, WIDTH, HIDDEN = 4, 3, 2, 3
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
rng = np.random.default_rng(2)


def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)


def inputs_of(op_type, directions=1, *, full=True):
    gates = GATES[op_type] * HIDDEN
    required = [2 * normal(STEPS, ROWS, WIDTH), normal(directions, gates, WIDTH), normal(directions, gates, HIDDEN)]
    if not full:
        return required
    bias, lengths = normal(directions, 2 * gates), np.array([4, 1, 3], np.int32)
    states = [normal(directions, ROWS, HIDDEN) for _ in range(2 if op_type == "LSTM" else 1)]
    peepholes = [normal(directions, 3 * HIDDEN)] if op_type == "LSTM" else []
    return [*required, bias, lengths, *states, *peepholes]


def outputs_of(op_type):
    return 3 if op_type == "LSTM" else 2


def assert_same(model, inputs):
    for found, wanted in zip(by_twin(model, inputs), by_runtime(model, inputs), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("op_type", "direction", "full"),
    list(itertools.product(GATES, ["forward", "reverse", "bidirectional"], [False, True])),
)
def test_layer_equals_onnx_runtime(op_type, direction, full):
    inputs = inputs_of(op_type, 2 if direction == "bidirectional" else 1, full=full)
    settings = {"hidden_size": HIDDEN, "direction": direction, "outputs": outputs_of(op_type)}
    assert_same(single_node(op_type, inputs, opset=14, constant=(1, 2), **settings), inputs)
    if full:
        assert_same(single_node(op_type, inputs, opset=14, clip=0.5, **settings), inputs)


@pytest.mark.parametrize("full", [False, True])
def test_gru_resets_before_or_after_the_linear_transformation(full):
    inputs = inputs_of("GRU", full=full)
    models = [single_node("GRU", inputs, opset=14, hidden_size=HIDDEN, linear_before_reset=k) for k in (0, 1)]
    for model in models:
        assert_same(model, inputs)
    before, after = (by_twin(model, inputs)[0] for model in models)
    assert np.abs(before - after).max() > 0.01


@pytest.mark.parametrize(
    ("op_type", "activations", "alpha", "beta"),
    [
        ("RNN", ["Relu"], [], []),
        ("RNN", ["Affine"], [0.5], [0.1]),
        ("RNN", ["Affine"], [], []),
        ("GRU", ["Sigmoid", "ScaledTanh"], [], []),
        ("GRU", ["Sigmoid", "ThresholdedRelu"], [], []),
        ("GRU", ["HardSigmoid", "Softsign"], [0.3], [0.4]),
        ("GRU", ["Sigmoid", "LeakyRelu"], [], []),
        ("LSTM", ["HardSigmoid", "ScaledTanh", "Elu"], [0.3, 1.2, 0.7], [0.4, 0.9]),
        ("LSTM", ["Sigmoid", "Softplus", "ThresholdedRelu"], [0.3], []),
    ],
)
def test_activations_consume_their_parameters_in_order(op_type, activations, alpha, beta):
    inputs = inputs_of(op_type)
    given = {"activation_alpha": alpha, "activation_beta": beta}
    given = {name: values for name, values in given.items() if values}
    assert_same(single_node(op_type, inputs, opset=14, hidden_size=HIDDEN, activations=activations, **given), inputs)


@pytest.mark.parametrize("op_type", GATES)
def test_gradient_equals_finite_differences(op_type):
    inputs = inputs_of(op_type, 2)
    settings = {"hidden_size": HIDDEN, "direction": "bidirectional", "outputs": outputs_of(op_type)}
    assert has_true_gradients(op_type, inputs, opset=14, constant=(1, 2, 3), **settings)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op_type", GATES)
def test_torchs_fused_layer_equals_the_steps(op_type, direction):
    inputs = inputs_of(op_type, 2 if direction == "bidirectional" else 1)
    inputs[4] = None  # no lengths
    inputs = inputs[:7] if op_type == "LSTM" else inputs[:6]
    settings = {"hidden_size": HIDDEN, "direction": direction, "outputs": outputs_of(op_type)}
    if op_type == "GRU":
        settings["linear_before_reset"] = 1
    stored = single_node(op_type, inputs, opset=14, constant=(1, 2, 3), **settings)
    computed = single_node(op_type, inputs, opset=14, **settings)
    assert any(isinstance(m, FusedLayer) for m in convert(stored).modules())
    assert not any(isinstance(m, FusedLayer) for m in convert(computed).modules())
    assert_same(stored, inputs)
    for fused, stepped in zip(by_twin(stored, inputs), by_twin(computed, inputs), strict=True):
        np.testing.assert_allclose(fused, stepped, rtol=1e-4, atol=1e-6)
    assert has_true_gradients(op_type, inputs, opset=14, constant=(1, 2, 3), **settings)


def test_torchs_fused_layer_knows_relu_and_rows_first():
    inputs = inputs_of("RNN", full=False)
    relu = single_node("RNN", inputs, opset=14, constant=(1, 2), hidden_size=HIDDEN, activations=["Relu"])
    assert any(isinstance(m, FusedLayer) for m in convert(relu).modules())
    assert_same(relu, inputs)
    inputs = inputs_of("LSTM", full=False)
    swapped = [inputs[0].swapaxes(0, 1), *inputs[1:]]
    settings = {"opset": 14, "hidden_size": HIDDEN, "outputs": 3, "layout": 1}
    fused = by_twin(single_node("LSTM", swapped, constant=(1, 2), **settings), swapped)
    for found, wanted in zip(fused, by_twin(single_node("LSTM", swapped, **settings), swapped), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("op_type", GATES)
def test_layout_1_has_the_rows_first(op_type):
    inputs = inputs_of(op_type, full=False)
    settings = {"opset": 14, "hidden_size": HIDDEN, "outputs": outputs_of(op_type)}
    time_first = by_twin(single_node(op_type, inputs, **settings), inputs)
    swapped = [inputs[0].swapaxes(0, 1), *inputs[1:]]
    rows_first = by_twin(single_node(op_type, swapped, layout=1, **settings), swapped)
    assert rows_first[0] == pytest.approx(time_first[0].transpose(2, 0, 1, 3))
    for state, wanted in zip(rows_first[1:], time_first[1:], strict=True):
        assert state == pytest.approx(wanted.swapaxes(0, 1))


def test_coupled_gates_forget_what_the_input_gate_takes():
    inputs = inputs_of("LSTM", full=False)
    model = single_node("LSTM", inputs, opset=14, hidden_size=HIDDEN, input_forget=1)
    assert_same(model, inputs)
    plain = single_node("LSTM", inputs, opset=14, hidden_size=HIDDEN)
    assert np.abs(by_twin(model, inputs)[0] - by_twin(plain, inputs)[0]).max() > 0.01


def test_steps_beyond_a_rows_length_are_zero_and_have_no_gradient():
    inputs = [*inputs_of("GRU", full=False), None, np.array([4, 1, 3], np.int32)]
    module = convert(single_node("GRU", inputs, opset=14, constant=(1, 2, 4), hidden_size=HIDDEN, direction="reverse"))
    x = torch.tensor(inputs[0], requires_grad=True)
    y = module(x)
    assert (y[1:, 0, 1] == 0).all()
    y.sum().backward()
    assert (x.grad[1:, 1] == 0).all()
    assert (x.grad[0, 1] != 0).any()


def test_all_outputs_equal_the_reference():
    inputs = inputs_of("LSTM", full=False)
    model = single_node("LSTM", inputs, opset=22, hidden_size=HIDDEN, outputs=3)
    for found, wanted in zip(by_twin(model, inputs)[:2], by_reference(model, inputs)[:2], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_an_activation_that_onnx_does_not_define_is_refused():
    model = single_node("RNN", inputs_of("RNN", full=False), opset=14, hidden_size=HIDDEN, activations=["Cube"])
    with pytest.raises(CapabilityError, match="RNN with activations = Cube"):
        convert(model)


@pytest.mark.parametrize("opset", [7, 8])
def test_an_lstm_whose_states_are_filled_is_explained_as_torchs_own(opset):
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(3, 4).double()
    gates = [0, 3, 1, 2]  # torch: input, forget, cell, output; ONNX: input, output, forget, cell

    def stored(*names):
        parts = [getattr(lstm, name).detach().numpy().reshape(4, 4, -1)[gates].reshape(16, -1) for name in names]
        return np.concatenate(parts).astype(np.float32)

    weights = {
        "W": stored("weight_ih_l0")[None],
        "R": stored("weight_hh_l0")[None],
        "B": stored("bias_ih_l0", "bias_hh_l0").reshape(1, -1),
        "directions": np.array([1]),
        "hidden": np.array([4]),
        "batch_axis": np.array(1),
        "first": np.array([0]),
    }
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Shape", ["x"], ["shape"]),
            node("Gather", ["shape", "batch_axis"], ["batch"]),
            node("Unsqueeze", ["batch"], ["batches"], axes=[0]),
            node("Concat", ["directions", "batches", "hidden"], ["state_shape"], axis=0),
            node("ConstantFill", ["state_shape"], ["state"], input_as_shape=1),
            node("LSTM", ["x", "W", "R", "B", "", "state", "state"], ["", "last"], hidden_size=4),
            node("Squeeze", ["last"], ["y"], axes=[0]),
        ],
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, "batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)
    x = normal(5, 1, 3)
    given = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    last = lstm(given)[1][0][0]
    last[0, 2].backward()
    torch.testing.assert_close(convert(proto)(torch.tensor(x)).double(), last.detach(), rtol=1e-5, atol=1e-6)
    result = onnxplain.explain(load(proto.SerializeToString()), x, "saliency", target="2")
    np.testing.assert_allclose(result.values["x"].reshape(5, 3), given.grad[:, 0].numpy(), rtol=1e-5, atol=1e-7)
    assert any("ConstantFill" in note for note in result.notes)
