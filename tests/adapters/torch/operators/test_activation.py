import numpy as np
import pytest
import torch

from onnxplain.adapters.torch import convert
from onnxplain.engine.errors import CapabilityError
from single_nodes import by_reference, by_runtime, by_twin, has_true_gradients, single_node

X = np.random.default_rng(0).normal(0, 2, (2, 3, 4)).astype(np.float32)  # no value near a kink
ACTIVATIONS = [
    ("Relu", 14, {}),
    ("LeakyRelu", 16, {"alpha": 0.2}),
    ("Sigmoid", 13, {}),
    ("Tanh", 13, {}),
    ("Erf", 13, {}),
    ("Elu", 6, {"alpha": 0.7}),
    ("Celu", 12, {"alpha": 2.0}),
    ("Selu", 6, {"alpha": 1.5, "gamma": 1.2}),
    ("Gelu", 20, {}),
    ("Gelu", 20, {"approximate": "tanh"}),
    ("Mish", 18, {}),
    ("HardSwish", 14, {}),
    ("HardSigmoid", 6, {"alpha": 0.3, "beta": 0.4}),
    ("ThresholdedRelu", 10, {"alpha": 0.5}),
    ("Shrink", 9, {"lambd": 0.6, "bias": 0.3}),
    ("Softplus", 1, {}),
    ("Softsign", 1, {}),
    ("Softmax", 13, {"axis": 1}),
    ("Softmax", 11, {"axis": 1}),
    ("LogSoftmax", 13, {"axis": -1}),
    ("LogSoftmax", 11, {"axis": 0}),
    ("Clip", 6, {"min": -0.5, "max": 1.0}),
]


@pytest.mark.parametrize(("op_type", "opset", "attributes"), ACTIVATIONS)
def test_activation_equals_onnx_runtime(op_type, opset, attributes):
    model = single_node(op_type, [X], opset=opset, **attributes)
    np.testing.assert_allclose(by_twin(model, [X])[0], by_runtime(model, [X])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("op_type", "opset", "attributes"), ACTIVATIONS)
def test_gradient_equals_finite_differences(op_type, opset, attributes):
    assert has_true_gradients(op_type, [X], opset=opset, **attributes)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_swish_and_swiglu_follow_their_formula(alpha):
    gate = X / (1 + np.exp(-alpha * X))
    swish = single_node("Swish", [X], opset=24, alpha=alpha)
    swiglu = single_node("SwiGLU", [X, X[::-1]], opset=28, alpha=alpha)
    np.testing.assert_allclose(by_twin(swish, [X])[0], gate, rtol=1e-5)
    np.testing.assert_allclose(by_twin(swiglu, [X, X[::-1]])[0], gate * X[::-1], rtol=1e-5)


def test_softplus_is_exact_where_torch_would_cut_it_off():
    x = np.array([25.0, 30.0], np.float64)
    found = by_twin(single_node("Softplus", [x], opset=22), [x])[0]
    assert found[0] - 25 == pytest.approx(np.log1p(np.exp(-25.0)), rel=1e-3)


def test_softmax_before_opset_13_lets_all_columns_compete():
    old = by_twin(single_node("Softmax", [X], opset=11, axis=1), [X])[0]
    new = by_twin(single_node("Softmax", [X], opset=13, axis=1), [X])[0]
    assert old.sum((1, 2)) == pytest.approx([1, 1], rel=1e-5)
    assert new.sum(1) == pytest.approx(np.ones((2, 4)), rel=1e-5)


@pytest.mark.parametrize("opset", [11, 13])
def test_hardmax_marks_the_first_of_equal_values(opset):
    x = np.array([[1, 3, 3, 2], [0, 0, -1, 0]], np.float32)
    model = single_node("Hardmax", [x], opset=opset)
    assert by_twin(model, [x])[0].tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize("constant", [(), (1, 2)])
def test_clip_takes_bounds_that_are_stored_or_computed(constant):
    inputs = [X, np.float32(-0.5), np.float32(1.5)]
    model = single_node("Clip", inputs, opset=13, constant=constant)
    assert by_twin(model, inputs)[0] == pytest.approx(np.clip(X, -0.5, 1.5))
    if not constant:
        assert has_true_gradients("Clip", inputs, opset=13)


@pytest.mark.parametrize("constant", [(), (2,)])
def test_clip_with_one_bound_leaves_the_other_side_free(constant):
    inputs = [X, None, np.float32(0.25)]
    model = single_node("Clip", inputs, opset=13, constant=constant)
    assert by_twin(model, inputs)[0] == pytest.approx(np.minimum(X, 0.25))


def test_clip_of_integers_keeps_their_type():
    x = np.array([-7, 2, 9], np.int8)
    inputs = [x, np.int8(-1), np.int8(4)]
    found = by_twin(single_node("Clip", inputs, opset=13, constant=(1, 2)), inputs)[0]
    assert (found.dtype, found.tolist()) == (np.int8, [-1, 2, 4])


def test_prelu_slopes_were_per_channel_before_opset_7_and_broadcast_from_the_right_since():
    slope = np.array([0.1, 0.2, 0.3], np.float32)
    old = by_twin(single_node("PRelu", [X, slope], opset=6), [X, slope])[0]
    new = by_twin(single_node("PRelu", [X, slope[:, None]], opset=16), [X, slope[:, None]])[0]
    assert old == pytest.approx(np.where(X < 0, slope[:, None] * X, X))
    assert new == pytest.approx(old)
    assert has_true_gradients("PRelu", [X, slope[:, None]], opset=16)


@pytest.mark.parametrize(("opset", "dtype"), [(7, np.float32), (13, np.bool_)])
def test_dropout_keeps_everything_and_its_mask_says_so(opset, dtype):
    model = single_node("Dropout", [X], opset=opset, outputs=2)
    kept, mask = by_twin(model, [X])
    assert (kept == X).all()
    assert mask.dtype == dtype
    assert mask.all()


def test_dropout_in_training_is_refused():
    inputs = [X, np.array(0.5, np.float32), np.array(1, np.bool_)]
    model = single_node("Dropout", inputs, opset=13, constant=(1, 2))
    with pytest.raises(CapabilityError, match="Dropout with training_mode"):
        convert(model)


def test_unknown_approximation_of_gelu_is_refused():
    with pytest.raises(CapabilityError, match="Gelu with approximate = sigmoid"):
        convert(single_node("Gelu", [X], opset=20, approximate="sigmoid"))


def test_shrink_of_integers_equals_the_reference():
    x = np.array([-3, -1, 0, 2, 5], np.int32)
    model = single_node("Shrink", [x], opset=9, lambd=1.5, bias=1.5)
    found = by_twin(model, [x])[0]
    assert found.dtype == np.int32
    assert found.tolist() == by_reference(model, [x])[0].tolist()


def test_relu_is_a_module_that_rules_can_find():
    assert any(isinstance(m, torch.nn.ReLU) for m in convert(single_node("Relu", [X], opset=14)).modules())
