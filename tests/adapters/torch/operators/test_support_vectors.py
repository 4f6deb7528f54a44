import numpy as np
import pytest
import torch
from onnx import helper

from onnxplain.adapters.torch import convert
from onnxplain.adapters.torch.operators.support_vectors import coupled, squared_distances
from onnxplain.engine.errors import CapabilityError
from single_nodes import by_runtime, by_twin, single_node

rng = np.random.default_rng(11)
X = rng.normal(size=(6, 4)).astype(np.float32)
KERNELS = {"LINEAR": [0.0, 0.0, 0.0], "POLY": [0.5, 0.3, 3.0], "RBF": [0.4, 0.0, 0.0], "SIGMOID": [0.3, 0.1, 0.0]}


def classic(op_type, **rest):
    model = single_node(op_type, [X], opset=17, domain="ai.onnx.ml", **rest)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return model


def numbers(count):
    return [float(v) for v in rng.normal(size=count)]


def classifier(kernel, classes, *, probabilities=False, **rest):
    sizes = [3, 2, 4][:classes]
    pairs = classes * (classes - 1) // 2
    given = {
        "kernel_type": kernel,
        "kernel_params": KERNELS[kernel],
        "support_vectors": numbers(4 * sum(sizes)),
        "vectors_per_class": sizes,
        "coefficients": numbers((classes - 1) * sum(sizes)),
        "rho": numbers(pairs),
        "classlabels_ints": [4, 7, 9][:classes],
        "outputs": 2,
    }
    if probabilities:
        given |= {"prob_a": [-2.0, -1.5, -1.2][:pairs], "prob_b": [0.1, -0.2, 0.3][:pairs]}
    return given | rest


@pytest.mark.parametrize("kernel", KERNELS)
def test_regressor_equals_onnx_runtime(kernel):
    given = {"kernel_type": kernel, "kernel_params": KERNELS[kernel], "n_supports": 5, "rho": [0.3]}
    model = classic("SVMRegressor", coefficients=numbers(5), support_vectors=numbers(20), **given)
    np.testing.assert_allclose(by_twin(model, [X])[0], by_runtime(model, [X])[0], rtol=1e-5, atol=1e-5)


def test_regressor_without_vectors_is_linear_and_a_one_class_machine_gives_signs():
    linear = classic("SVMRegressor", coefficients=numbers(4), rho=[0.3], kernel_params=KERNELS["LINEAR"])
    np.testing.assert_allclose(by_twin(linear, [X])[0], by_runtime(linear, [X])[0], rtol=1e-5, atol=1e-6)
    given = {"kernel_type": "RBF", "kernel_params": KERNELS["RBF"], "n_supports": 2, "rho": [0.0], "one_class": 1}
    model = classic("SVMRegressor", coefficients=[1.0, -1.0], support_vectors=X[:2].ravel().tolist(), **given)
    found = by_twin(model, [X])[0]
    assert found.tolist() == by_runtime(model, [X])[0].tolist()
    assert found[:2].tolist() == [[1], [-1]]


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kernel", KERNELS)
def test_classifier_equals_onnx_runtime(kernel, classes, probabilities):
    model = classic("SVMClassifier", **classifier(kernel, classes, probabilities=probabilities))
    (label, scores), (wanted_label, wanted_scores) = by_twin(model, [X]), by_runtime(model, [X])
    assert label.tolist() == wanted_label.tolist()
    np.testing.assert_allclose(scores, wanted_scores, rtol=1e-4, atol=1e-5)


def test_gradients_equal_finite_differences():
    for given in (classifier("RBF", 3), classifier("POLY", 2, probabilities=True)):
        module = convert(classic("SVMClassifier", **given)).double()
        x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, module=module: module(x)[1], [x])


def test_coupled_probabilities_agree_with_their_pairs_when_those_agree_with_each_other():
    p = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], dtype=torch.float64)
    pairs = p.unsqueeze(2) / (p.unsqueeze(2) + p.unsqueeze(1))
    found = coupled(pairs)
    assert found.sum(1).tolist() == pytest.approx([1, 1])
    assert found.numpy() == pytest.approx(p.numpy(), abs=2e-3)


def test_distances_stay_exact_far_from_the_origin():
    x = torch.tensor([[10000.0, 20000.0]])
    vectors = torch.tensor([[10001.0, 20000.0], [10000.0, 19998.0]])
    assert squared_distances(x, vectors).tolist() == [[pytest.approx(1, abs=1e-3), pytest.approx(4, abs=1e-3)]]


def test_unknown_settings_are_refused():
    given = classifier("RBF", 2)
    del given["vectors_per_class"]
    with pytest.raises(CapabilityError, match="vectors_per_class = none"):
        convert(classic("SVMClassifier", **given))
    linear = {"coefficients": numbers(4), "rho": [0.3], "kernel_params": KERNELS["LINEAR"]}
    with pytest.raises(CapabilityError, match="post_transform = LOGISTIC"):
        convert(classic("SVMRegressor", post_transform="LOGISTIC", **linear))
