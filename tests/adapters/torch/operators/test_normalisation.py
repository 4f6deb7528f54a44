import numpy as np
import pytest
import torch

from onnxplain.adapters.torch import convert
from onnxplain.engine.errors import CapabilityError
from single_nodes import by_runtime, by_twin, has_true_gradients, single_node

rng = np.random.default_rng(1)
X = rng.normal(0.5, 2, (2, 6, 3, 4)).astype(np.float32)
SIX, SIX_MORE, LAST = (rng.normal(size=s).astype(np.float32) for s in (6, 6, 4))
GRID, GRID_MORE = (rng.normal(size=(3, 4)).astype(np.float32) for _ in range(2))
CASES = [
    ("LayerNormalization", 17, [X, LAST, LAST], {}),
    ("LayerNormalization", 17, [X, LAST], {"epsilon": 0.1}),
    ("LayerNormalization", 17, [X, GRID, GRID_MORE], {"axis": 2}),
    ("RMSNormalization", 23, [X, LAST], {}),
    ("RMSNormalization", 23, [X, GRID], {"axis": -2, "epsilon": 0.1}),
    ("GroupNormalization", 21, [X, SIX, SIX_MORE], {"num_groups": 3}),
    ("InstanceNormalization", 6, [X, SIX, SIX_MORE], {}),
    ("MeanVarianceNormalization", 13, [X], {}),
    ("MeanVarianceNormalization", 13, [X], {"axes": [1, 3]}),
    ("LpNormalization", 1, [X], {"axis": 1, "p": 1}),
    ("LpNormalization", 1, [X], {"axis": -1, "p": 2}),
    ("LRN", 13, [X], {"size": 3, "alpha": 0.3, "beta": 0.6, "bias": 1.5}),
    ("LRN", 13, [X], {"size": 5}),
]
NAMES = [f"{op}-{k}" for k, (op, *_) in enumerate(CASES)]


@pytest.mark.parametrize(("op_type", "opset", "inputs", "attributes"), CASES, ids=NAMES)
@pytest.mark.parametrize("stored", [False, True])
def test_normalisation_equals_onnx_runtime(op_type, opset, inputs, attributes, stored):
    constant = range(1, len(inputs)) if stored else ()
    model = single_node(op_type, inputs, opset=opset, constant=constant, **attributes)
    np.testing.assert_allclose(by_twin(model, inputs)[0], by_runtime(model, inputs)[0], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("op_type", "opset", "inputs", "attributes"), CASES, ids=NAMES)
def test_gradient_equals_finite_differences(op_type, opset, inputs, attributes):
    inputs = [inputs[0][:1], *inputs[1:]]
    assert has_true_gradients(op_type, inputs, opset=opset, **attributes)


def test_layer_normalisation_gives_its_statistics():
    model = single_node("LayerNormalization", [X, GRID], opset=17, outputs=3, axis=-2, epsilon=0.01)
    for found, wanted in zip(by_twin(model, [X, GRID]), by_runtime(model, [X, GRID]), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


def test_layer_normalisation_takes_a_scale_that_broadcasts():
    one = np.array([2.0], np.float32)
    found = by_twin(single_node("LayerNormalization", [X, one], opset=17), [X, one])[0]
    plain = (X - X.mean(-1, keepdims=True)) / np.sqrt(X.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found, 2 * plain, rtol=1e-4, atol=1e-5)


def test_group_normalisation_scaled_groups_before_opset_21():
    groups = np.array([1.0, 2.0, 3.0], np.float32)
    zeros = np.zeros(3, np.float32)
    inputs = [X, groups, zeros]
    found = by_twin(single_node("GroupNormalization", inputs, opset=18, num_groups=3), inputs)
    each = X.reshape(2, 3, -1)
    plain = (each - each.mean(-1, keepdims=True)) / np.sqrt(each.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found[0].reshape(2, 3, -1), plain * groups[:, None], rtol=1e-4, atol=1e-5)


def test_instance_normalisation_of_a_single_value_is_its_bias():
    one, bias = np.ones(1, np.float32), np.array([0.7], np.float32)
    x = np.array([[[5.0]]], np.float32)
    found = by_twin(single_node("InstanceNormalization", [x, one, bias], opset=6), [x, one, bias])
    assert found[0].item() == pytest.approx(0.7, abs=1e-3)  # torch multiplies before it subtracts the mean


def test_a_row_without_norm_stays_zero_and_has_a_finite_gradient():
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    module = convert(single_node("LpNormalization", [x.detach().numpy()], opset=22))
    y = module(x)
    assert y.tolist() == [[0, 0], [pytest.approx(0.6), pytest.approx(0.8)]]
    y.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_an_input_without_variance_has_a_finite_gradient():
    x = torch.full((1, 2, 2, 2), 3.0, requires_grad=True)
    y = convert(single_node("MeanVarianceNormalization", [x.detach().numpy()], opset=13))(x)
    assert (y == 0).all()
    y.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_an_even_neighbourhood_of_lrn_reaches_one_channel_further_up():
    x = np.arange(1, 5, dtype=np.float32).reshape(1, 4, 1, 1)
    found = by_twin(single_node("LRN", [x], opset=13, size=2, alpha=2.0, beta=1.0, bias=1.0), [x])[0].ravel()
    sums = np.array([1 + 4, 4 + 9, 9 + 16, 16])
    assert found == pytest.approx(x.ravel() / (1 + sums))


def test_a_norm_that_onnx_does_not_define_is_refused():
    with pytest.raises(CapabilityError, match="LpNormalization with p = 3"):
        convert(single_node("LpNormalization", [X], opset=22, p=3))


@pytest.mark.parametrize("shape", [(3, 4), (2, 4, 3), (2, 4, 2, 3)])
def test_computed_statistics_of_a_batch_normalisation_have_gradients(shape):
    inputs = [rng.normal(size=shape), *(rng.normal(size=4) for _ in range(3)), rng.uniform(0.5, 2, 4)]
    narrow = [value.astype(np.float32) for value in inputs]
    model = single_node("BatchNormalization", narrow, opset=15, epsilon=0.01)
    np.testing.assert_allclose(by_twin(model, narrow)[0], by_runtime(model, narrow)[0], rtol=1e-4, atol=1e-5)
    assert has_true_gradients("BatchNormalization", inputs, opset=15, epsilon=0.01)
