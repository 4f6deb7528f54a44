import numpy as np
import pytest
import torch
from onnx import helper

from onnxplain.adapters.torch import convert
from onnxplain.engine.errors import CapabilityError
from single_nodes import by_runtime, by_twin, single_node

rng = np.random.default_rng(7)
X = rng.normal(size=(5, 4)).astype(np.float32)
HOLES = X.copy()
HOLES[0, 1] = HOLES[2, 3] = np.nan
ZERO_ROW = np.abs(X)
ZERO_ROW[1] = 0


def classic(op_type, inputs, **rest):
    model = single_node(op_type, inputs, opset=17, domain="ai.onnx.ml", **rest)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return model


def weights(*shape):
    return [float(w) for w in rng.normal(size=shape).ravel()]


CASES = {
    "scaler": ("Scaler", [X], {"offset": [1.0, 2.0, 3.0, 4.0], "scale": [0.5, 0.2, 0.1, 1.0]}),
    "scaler of integers": ("Scaler", [np.arange(8).reshape(2, 4)], {"offset": [1.0], "scale": [0.5]}),
    "largest": ("Normalizer", [X], {"norm": "MAX"}),
    "sum": ("Normalizer", [X], {"norm": "L1"}),
    "norm": ("Normalizer", [ZERO_ROW], {"norm": "L2"}),
    "imputer": ("Imputer", [HOLES], {"imputed_value_floats": [1.0, 2.0, 3.0, 4.0], "replaced_value_float": np.nan}),
    "imputer of integers": (
        "Imputer",
        [np.array([[1, 2], [2, 3]])],
        {"imputed_value_int64s": [7, 8], "replaced_value_int64": 2},
    ),
    "columns together": ("FeatureVectorizer", [X, X[:, :2]], {"inputdimensions": [4, 2]}),
    "columns picked": ("ArrayFeatureExtractor", [X, np.array([2, 0])], {}),
}


@pytest.mark.parametrize("name", CASES)
def test_operator_equals_onnx_runtime(name):
    op_type, inputs, attributes = CASES[name]
    model = classic(op_type, inputs, **attributes)
    found, wanted = by_twin(model, inputs)[0], by_runtime(model, inputs)[0]
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("targets", [1, 3])
def test_linear_regressor_equals_onnx_runtime(targets, transform):
    given = {"coefficients": weights(targets, 4), "intercepts": weights(targets)}
    model = classic("LinearRegressor", [X], targets=targets, post_transform=transform, **given)
    np.testing.assert_allclose(by_twin(model, [X])[0], by_runtime(model, [X])[0], rtol=1e-5, atol=1e-6)


def test_probit_equals_onnx_runtimes_approximation():
    x = np.array([[0.1], [0.5001], [0.99]], np.float32)
    model = classic("LinearRegressor", [x], coefficients=[1.0], post_transform="PROBIT")
    np.testing.assert_allclose(by_twin(model, [x])[0], by_runtime(model, [x])[0], rtol=1e-4)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_linear_classifier_equals_onnx_runtime(rows, transform):
    labels = [5, 8, 9][: max(rows, 2)]
    given = {"coefficients": weights(rows, 4), "intercepts": weights(rows), "classlabels_ints": labels}
    model = classic("LinearClassifier", [X], outputs=2, post_transform=transform, **given)
    (label, scores), (wanted_label, wanted_scores) = by_twin(model, [X]), by_runtime(model, [X])
    assert label.tolist() == wanted_label.tolist()
    np.testing.assert_allclose(scores, wanted_scores, rtol=1e-5, atol=1e-6)


def test_gradients_equal_finite_differences():
    labels = {"classlabels_ints": [0, 1, 2], "post_transform": "SOFTMAX", "outputs": 2}
    models = [
        classic("Normalizer", [X], norm="L2"),
        classic("LinearClassifier", [X], coefficients=weights(3, 4), intercepts=weights(3), **labels),
        classic("LinearClassifier", [X], coefficients=weights(4), intercepts=[0.1], classlabels_ints=[0, 1], outputs=2),
    ]
    for model in models:
        module = convert(model).double()

        def scores(x, module=module):
            result = module(x)
            return result[-1] if isinstance(result, tuple) else result

        assert torch.autograd.gradcheck(scores, [torch.tensor(X, dtype=torch.float64, requires_grad=True)])


def test_results_are_single_precision_whatever_the_input():
    wide = X.astype(np.float64)
    for op_type, attributes in (
        ("Scaler", {"offset": [1.0], "scale": [2.0]}),
        ("Normalizer", {"norm": "L1"}),
        ("FeatureVectorizer", {"inputdimensions": [4]}),
    ):
        model = classic(op_type, [wide], **attributes)
        found, wanted = by_twin(model, [wide])[0], by_runtime(model, [wide])[0]
        assert found.dtype == wanted.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_linear_model_is_a_linear_layer_that_rules_can_find():
    module = convert(classic("LinearRegressor", [X], coefficients=weights(2, 4), targets=2))
    assert [tuple(m.weight.shape) for m in module.modules() if isinstance(m, torch.nn.Linear)] == [(2, 4)]


def test_unknown_settings_are_refused():
    with pytest.raises(CapabilityError, match="post_transform = CUBE"):
        convert(classic("LinearRegressor", [X], coefficients=weights(4), post_transform="CUBE"))
    with pytest.raises(CapabilityError, match="norm = L3"):
        convert(classic("Normalizer", [X], norm="L3"))
    with pytest.raises(CapabilityError, match="one row of weights = 3 classes"):
        convert(classic("LinearClassifier", [X], coefficients=weights(4), intercepts=[0.1], classlabels_ints=[1, 2, 3]))
