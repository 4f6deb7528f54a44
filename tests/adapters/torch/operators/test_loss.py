import numpy as np
import pytest

from single_nodes import by_runtime, by_twin, has_true_gradients, single_node

rng = np.random.default_rng(3)
SCORES = rng.normal(size=(3, 5, 2)).astype(np.float32)
TARGETS = np.array([[0, 4], [2, 2], [1, 3]])
WEIGHTS = rng.uniform(0.5, 2, 5).astype(np.float32)
LOSSES = ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"]


@pytest.mark.parametrize("op_type", LOSSES)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weights", [(), (WEIGHTS,)])
@pytest.mark.parametrize("extra", [{}, {"ignore_index": 2}])
def test_losses_are_the_runtimes_and_have_gradients(op_type, reduction, weights, extra):
    inputs = [SCORES, TARGETS, *weights]
    model = single_node(op_type, inputs, opset=13, constant=(1, 2)[: len(weights) + 1], reduction=reduction, **extra)
    for found, expected in zip(by_twin(model, inputs), by_runtime(model, inputs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert has_true_gradients(op_type, inputs, opset=13, constant=(1, 2), reduction=reduction, **extra)
