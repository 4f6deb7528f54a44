"""Conductance: closed forms, completeness, Captum, and one sample at a time."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402  # after the check that torch is there
from onnxplain.adapters.torch.gradient.conductance import Conductance  # noqa: E402
from onnxplain.engine.errors import SettingError  # noqa: E402
from onnxplain.engine.problem import Problem  # noqa: E402
from onnxplain.engine.target import resolve  # noqa: E402
from oracles.graphs import random_convolutions, token_sums  # noqa: E402
from small_graphs import model_of  # noqa: E402

RNG = np.random.default_rng(7)
W1, W2 = (RNG.normal(size=(3, 3)).astype(np.float32) for _ in range(2))
X = np.array([[0.8, -1.2, 0.5]], np.float32)
IMAGES = RNG.normal(size=(3, 3, 9, 9)).astype(np.float32)


def loaded(data):
    return onnxplain.load(data, device="cpu", threads=1)


def tanh_network(*, skip=False):
    """y = tanh(x W1) W2, plus x itself with a skip connection."""
    nodes = [
        helper.make_node("MatMul", ["x", "W1"], ["a"]),
        helper.make_node("Tanh", ["a"], ["h"]),
        helper.make_node("MatMul", ["h", "W2"], ["branch"]),
        helper.make_node("Add", ["branch", "x"], ["y"]) if skip else helper.make_node("Identity", ["branch"], ["y"]),
    ]
    ends = [{name: (TensorProto.FLOAT, ["batch", 3])} for name in ("x", "y")]
    return loaded(model_of(nodes, *ends, {"W1": W1, "W2": W2}).SerializeToString())


def network_of(data):
    """The torch network of ``random_convolutions``, with the same weights."""
    weights = {i.name: numpy_helper.to_array(i) for i in onnx.load_from_string(data).graph.initializer}
    first, second = (torch.nn.Conv2d(weights[k].shape[1], 4, 3, bias=False) for k in ("k1", "k2"))
    last = torch.nn.Linear(weights["W"].shape[1], 3)
    for layer, name in ((first, "k1"), (second, "k2"), (last, "W")):
        layer.weight.data = torch.tensor(weights[name])
    last.bias.data = torch.tensor(weights["b"])
    return torch.nn.Sequential(first, torch.nn.ReLU(), second, torch.nn.Tanh(), torch.nn.Flatten(), last).eval()


@pytest.mark.parametrize("tensor", ["a", "h"])
def test_what_passes_a_hidden_unit_is_what_it_adds_to_the_score(tensor):
    """For sum_j w_j tanh(a_j), the conductance of unit j is w_j (tanh a_j(x) - tanh a_j(x0)), before and after tanh."""
    reference = np.array([0.3, 0.1, -0.4], np.float32)
    found = onnxplain.explain(tanh_network(), X, "conductance", target=1, wrt=tensor, baseline=reference, points=200)
    expected = W2[:, 1] * (np.tanh(X @ W1) - np.tanh(reference @ W1))
    np.testing.assert_allclose(found.values[tensor], expected, atol=2e-5)
    assert abs(found.gap) < 5e-5
    assert found.score - found.baseline_score == pytest.approx(expected.sum(), abs=1e-5)
    assert found.evaluations == 1 + 200 + 3


def test_the_error_falls_with_the_square_of_the_points():
    gaps = [
        abs(onnxplain.explain(tanh_network(), X, "conductance", target=0, wrt="a", points=n).gap) for n in (4, 8, 16)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.3)
    assert gaps[1] / gaps[2] == pytest.approx(4, rel=0.3)


def test_beside_a_skip_connection_it_is_the_share_of_the_branch():
    found = onnxplain.explain(tanh_network(skip=True), X, "conductance", target=1, wrt="branch")
    np.testing.assert_allclose(found.values["branch"], [[0, (np.tanh(X @ W1) @ W2)[0, 1], 0]], atol=1e-6)
    assert found.gap is None
    assert abs(onnxplain.explain(tanh_network(skip=True), X, "conductance", target=1, wrt="y").gap) < 1e-6


def test_several_references_are_averaged():
    references = RNG.normal(size=(4, 3)).astype(np.float32)
    model = tanh_network()
    whole = onnxplain.explain(model, X, "conductance", target=2, wrt="h", baseline=references)
    parts = [onnxplain.explain(model, X, "conductance", target=2, wrt="h", baseline=r) for r in references]
    np.testing.assert_allclose(whole.values["h"], np.mean([p.values["h"] for p in parts], axis=0), atol=1e-6)
    assert whole.baseline_score == pytest.approx(np.mean([p.baseline_score for p in parts]), abs=1e-6)


@pytest.mark.parametrize("tensor", ["image", "conv1", "relu2", "pool", "dense1", "logits"])
def test_values_of_a_real_model_add_up(tensor):
    model = onnxplain.load(onnxplain.models.path("digits-cnn"), device="cpu", threads=1)
    image = onnxplain.models.samples("digits-cnn")[3]
    found = onnxplain.explain(model, image, "conductance", wrt=tensor, points=100)
    assert found.values[tensor].sum() == pytest.approx(found.score - found.baseline_score + found.gap, rel=1e-9)
    assert abs(found.gap) < 2e-3 * abs(found.score - found.baseline_score)


def test_captum_gives_the_same():
    """But for 1 %: Captum takes the gradient at the beginning of each step, which is off by the step's length."""
    captum = pytest.importorskip("captum.attr")
    data = random_convolutions(4)
    network = network_of(data)
    for tensor, place in (("c1", 0), ("r1", 1), ("c2", 2)):
        mine = onnxplain.explain(loaded(data), IMAGES[:1], "conductance", target=1, wrt=tensor, points=300)
        method = captum.LayerConductance(network, network[place])
        theirs = method.attribute(torch.tensor(IMAGES[:1]), target=1, n_steps=1000, method="riemann_middle")
        scale = np.abs(theirs.detach().numpy()).max()
        np.testing.assert_allclose(mine.values[tensor], theirs.detach().numpy(), atol=1e-2 * scale)


def test_several_inputs_and_classes_give_what_each_alone_gives():
    model = loaded(random_convolutions(3))
    problems = [
        Problem(model, onnxplain.Sample({"image": image[None]}), resolve(k, model, {"image": image[None]}), "", "r1")
        for k, image in enumerate(IMAGES)
    ]
    method = Conductance(points=70)  # 72 points a way: ways go over from one batch to the next
    for problem, found in zip(problems, method.explain_many(problems), strict=True):
        alone = method.explain(problem)
        scale = np.abs(alone.values["r1"]).max()
        np.testing.assert_allclose(found.values["r1"], alone.values["r1"], atol=1e-5 * scale)
        assert (found.score, found.baseline_score) == pytest.approx((alone.score, alone.baseline_score), rel=1e-5)


def test_whole_numbers_move_at_their_embeddings():
    found = onnxplain.explain(loaded(token_sums(0, 8, 3)), np.array([[3, 1, 4]]), "conductance", target=1, wrt="sum")
    assert abs(found.gap) < 1e-5
    assert found.values["sum"][0, 1] == pytest.approx(found.score - found.baseline_score, abs=1e-5)
    assert found.values["sum"][0, 0] == 0


def test_a_tensor_must_be_named():
    with pytest.raises(SettingError, match="conductance needs the name of a tensor") as caught:
        onnxplain.explain(tanh_network(), X, "conductance", target=0)
    assert "onnxplain inspect MODEL --tensors" in caught.value.tip
