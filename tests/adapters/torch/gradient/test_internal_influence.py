"""Internal influence: a closed form, Captum, and one sample at a time."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402  # after the check that torch is there
from onnxplain.adapters.torch.gradient.internal_influence import InternalInfluence  # noqa: E402
from onnxplain.engine.errors import SettingError  # noqa: E402
from onnxplain.engine.problem import Problem  # noqa: E402
from onnxplain.engine.target import resolve  # noqa: E402
from oracles.graphs import ml, random_dense  # noqa: E402
from small_graphs import model_of  # noqa: E402

RNG = np.random.default_rng(11)
W1, W2 = (RNG.normal(size=(3, 3)).astype(np.float32) for _ in range(2))
ROWS = RNG.normal(size=(3, 5)).astype(np.float32)
X = np.array([[0, 100, 0]], np.float32)
METHOD = "internal-influence"


def loaded(data):
    return onnxplain.load(data, device="cpu", threads=1)


def test_it_is_the_mean_gradient_on_the_way():
    """For sum_j w_j tanh(a_j) with a = t A from zero, the mean of w_j (1 - tanh² a_j) is w_j tanh(A_j) / A_j."""
    nodes = [
        helper.make_node("MatMul", ["x", "W1"], ["a"]),
        helper.make_node("Tanh", ["a"], ["h"]),
        helper.make_node("MatMul", ["h", "W2"], ["y"]),
    ]
    ends = [{name: (TensorProto.FLOAT, ["batch", 3])} for name in ("x", "y")]
    model = loaded(model_of(nodes, *ends, {"W1": W1, "W2": W2}).SerializeToString())
    x = np.array([[0.8, -1.2, 0.5]], np.float32)
    found = onnxplain.explain(model, x, METHOD, target=0, wrt="a", points=16)
    np.testing.assert_allclose(found.values["a"], W2[:, 0] * np.tanh(x @ W1) / (x @ W1), rtol=1e-5)
    assert found.evaluations == 1 + 16 + 1
    assert found.gap is None


@pytest.mark.parametrize("rule", ["riemann-middle", "trapezoid", "riemann-left"])
def test_every_rule_goes_to_the_same_mean(rule):
    found = onnxplain.explain(loaded(ml()), X, METHOD, 0, wrt="linear1", rule=rule, points=1000)
    np.testing.assert_allclose(found.values["linear1"], [[0.9, 1, 1, 1]], atol=2e-3)


def test_several_references_are_averaged():
    references = RNG.normal(size=(3, 5)).astype(np.float32)
    model = loaded(random_dense(0, 5))
    whole = onnxplain.explain(model, ROWS[:1], METHOD, target=1, wrt="h", baseline=references)
    parts = [onnxplain.explain(model, ROWS[:1], METHOD, target=1, wrt="h", baseline=r) for r in references]
    np.testing.assert_allclose(whole.values["h"], np.mean([p.values["h"] for p in parts], axis=0), atol=1e-6)


def test_captum_gives_the_same():
    captum = pytest.importorskip("captum.attr")
    data = random_dense(1, 5)
    weights = {i.name: torch.tensor(numpy_helper.to_array(i)) for i in onnx.load_from_string(data).graph.initializer}
    network = torch.nn.Sequential(torch.nn.Linear(5, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)).eval()
    for place, k in ((0, 1), (2, 2)):
        network[place].weight.data, network[place].bias.data = weights[f"W{k}"], weights[f"b{k}"]
    for tensor, place in (("h", 0), ("r", 1)):
        mine = onnxplain.explain(loaded(data), ROWS[:1], METHOD, target=0, wrt=tensor, points=200)
        method = captum.InternalInfluence(network, network[place])
        theirs = method.attribute(torch.tensor(ROWS[:1]), target=0, n_steps=200).detach().numpy()
        np.testing.assert_allclose(mine.values[tensor], theirs, atol=1e-5 * np.abs(theirs).max())


def test_several_inputs_and_classes_give_what_each_alone_gives():
    model = loaded(random_dense(2, 5))
    problems = [
        Problem(model, onnxplain.Sample({"x": row[None]}), resolve(k % 2, model, {"x": row[None]}), METHOD, "h")
        for k, row in enumerate(ROWS)
    ]
    for problem, found in zip(problems, InternalInfluence().explain_many(problems), strict=True):
        np.testing.assert_allclose(found.values["h"], InternalInfluence().explain(problem).values["h"], atol=1e-5)


def test_a_tensor_must_be_named():
    with pytest.raises(SettingError, match="internal-influence needs the name of a tensor"):
        onnxplain.explain(loaded(ml()), X, METHOD)
