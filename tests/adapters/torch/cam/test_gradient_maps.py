"""Gradient-weighted maps against plain torch on the original network, in every layout, alone and together."""

import io

import numpy as np
import pytest
from onnx import helper

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import onnxplain  # noqa: E402
from map_networks import channels_last_features, convolutions, picture, series, vision_transformer  # noqa: E402
from onnxplain.engine.errors import SettingError  # noqa: E402
from onnxplain.engine.graph.feed import feed_at  # noqa: E402
from small_graphs import affine  # noqa: E402
from whole_models import quiet  # noqa: E402

METHODS = ["grad-cam", "hires-cam", "layer-cam", "grad-cam++", "xgrad-cam", "counterfactual-grad-cam"]


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.GELU(), nn.Conv2d(8, 6, 3, 2, 1), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(6 * 5 * 4, 4))

    def forward(self, x):
        return self.head(self.features(x))


def exported():
    torch.manual_seed(7)
    network = Network().eval()
    nn.init.normal_(network.head[1].weight)  # so that pictures are of several classes
    file = io.BytesIO()
    with quiet():
        names = {"input_names": ["image"], "output_names": ["y"]}
        axes = {"image": {0: "batch"}, "y": {0: "batch"}}
        example = (torch.zeros(2, 3, 20, 16),)
        torch.onnx.export(network, example, file, opset_version=17, dynamo=False, dynamic_axes=axes, **names)
    return network, onnxplain.load(file.getvalue(), device="cpu", threads=1)


NETWORK, MODEL = exported()
X = picture(3, 20, 16)


def plain(x, target):
    """Activations and gradients (channels, height, width) of the original network, by autograd in float64."""
    network = Network().double()
    network.load_state_dict(NETWORK.state_dict())
    A = network.features(torch.tensor(x).double()).detach().requires_grad_()
    (G,) = torch.autograd.grad(network.head(A)[0, target], A)
    return A[0].detach(), G[0]


def plus_plus(A, G):
    weights = torch.zeros(len(A), dtype=torch.float64)
    for k, (a, g) in enumerate(zip(A, G, strict=True)):
        for i, j in np.ndindex(*g.shape):
            below = 2 * g[i, j] ** 2 + a.sum() * g[i, j] ** 3
            if g[i, j] > 0 and below != 0:
                weights[k] += g[i, j] ** 3 / below
    return torch.einsum("k,khw->hw", weights, A)


def sensitive(A, G):
    live = A.sum((1, 2)) != 0
    weights = torch.where(live, (A * G).sum((1, 2)) / A.sum((1, 2)), 0.0)
    return torch.einsum("k,khw->hw", weights, A)


PLAIN = {
    "grad-cam": lambda A, G: torch.einsum("k,khw->hw", G.mean((1, 2)), A),
    "hires-cam": lambda A, G: (A * G).sum(0),
    "layer-cam": lambda A, G: (A * G.clamp(min=0)).sum(0),
    "grad-cam++": plus_plus,
    "xgrad-cam": sensitive,
    "counterfactual-grad-cam": lambda A, G: -torch.einsum("k,khw->hw", G.mean((1, 2)), A),
}


@pytest.mark.parametrize("target", [0, 3])
@pytest.mark.parametrize("method", METHODS)
def test_map_is_that_of_plain_torch(method, target):
    found = onnxplain.explain(MODEL, X, method, target=target, relu=False)
    expected = PLAIN[method](*plain(X, target))
    scale = float(expected.abs().max())
    assert scale > 0
    assert np.allclose(found.extras["map"], expected.numpy(), atol=1e-5 * scale)
    large = functional.interpolate(expected[None, None], size=(20, 16), mode="bilinear", align_corners=False)
    assert found.values["image"].shape == (1, 3, 20, 16)
    assert np.allclose(found.values["image"], large.numpy(), atol=1e-5 * scale)


@pytest.mark.parametrize("method", METHODS)
def test_relu_keeps_the_positive_part_before_enlarging(method):
    signed = onnxplain.explain(MODEL, X, method, target=1, relu=False).extras["map"]
    found = onnxplain.explain(MODEL, X, method, target=1, relu=True)
    assert np.array_equal(found.extras["map"], np.maximum(signed, 0))
    assert found.values["image"].min() >= 0


def test_relu_is_the_default_but_for_hires_cam():
    maps = {m: onnxplain.explain(MODEL, X, m, target=1).extras["map"].min() for m in METHODS}
    assert maps.pop("hires-cam") < 0
    assert min(maps.values()) >= 0


def test_score_weights_and_manifest_are_reported():
    found = onnxplain.explain(MODEL, X, "grad-cam", target=1)
    A, G = plain(X, 1)
    assert found.score == pytest.approx(NETWORK(torch.tensor(X))[0, 1].item(), abs=1e-5)
    assert np.allclose(found.extras["weights"], G.mean((1, 2)), atol=1e-6)
    assert len(found.extras["weights"]) == len(A)
    assert found.manifest["torch"] == torch.__version__
    assert found.manifest["twin_difference"] < 1e-4


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam"])
def test_many_inputs_give_the_numbers_of_one_at_a_time(method):
    rows = np.concatenate([10 * picture(3, 20, 16, seed=k) for k in range(6)])
    together = onnxplain.explain(MODEL, rows, method)
    assert len({found.score for found in together}) == 6
    for row, found in zip(rows, together, strict=True):
        alone = onnxplain.explain(MODEL, row[None], method)
        assert found.score == pytest.approx(alone.score, rel=1e-5)
        assert np.allclose(found.extras["map"], alone.extras["map"], atol=1e-5 * np.abs(alone.extras["map"]).max())


def test_rows_of_one_batch_may_have_other_classes():
    rows = np.concatenate([10 * picture(3, 20, 16, seed=k) for k in range(6)])
    classes = NETWORK(torch.tensor(rows)).argmax(1).tolist()
    assert len(set(classes)) > 1
    for found, row, place in zip(onnxplain.explain(MODEL, rows, "grad-cam", relu=False), rows, classes, strict=True):
        expected = PLAIN["grad-cam"](*plain(row[None], place)).numpy()
        assert np.allclose(found.extras["map"], expected, atol=1e-5 * np.abs(expected).max())


def test_channels_that_are_last_are_averaged_over_height_and_width():
    model = onnxplain.load(channels_last_features().SerializeToString(), device="cpu", threads=1)
    x = picture(6, 10, 3)
    found = onnxplain.explain(model, x, "grad-cam", target=1, relu=False)
    by_hand = onnxplain.explain(model, x, "cam", target=1)
    assert np.allclose(found.extras["map"] * 60, by_hand.extras["map"], atol=1e-5)  # the mean of 60 positions is pooled
    assert found.values["image"].shape == (1, 6, 10, 3)


def test_tokens_become_a_grid_without_the_class_token():
    model = onnxplain.load(vision_transformer().SerializeToString(), device="cpu", threads=1)
    x = picture(3, 8, 12)
    found = onnxplain.explain(model, x, "hires-cam", target=1)
    alone = onnxplain.explain(model, x, "hires-cam", target=1, wrt="stream1", upsample=False)
    tokens = model.activations(x, ["stream1"])["stream1"][0]
    step = 1e-2
    for place in range(6):  # the first token is the class's
        moved = [second_score("stream1", tokens, place + 1, change) for change in (1 - step, 1 + step)]
        slope = (moved[1] - moved[0]) / (2 * step)
        assert found.extras["map"].reshape(-1)[place] == pytest.approx(slope, abs=2e-3)
    assert np.abs(found.extras["map"]).max() > 0.05
    assert np.array_equal(alone.values["stream1"], found.extras["map"][None, ..., None])
    assert found.values["image"].shape == (1, 3, 8, 12)


def second_score(tensor, tokens, place, factor):
    """The second score when one token is multiplied by a factor."""
    part = onnxplain.load(feed_at(vision_transformer(), tensor, ["y"], ["n", 7, 6]).SerializeToString(), device="cpu")
    moved = tokens.copy()
    moved[place] *= factor
    return float(part.predict(moved[None])["y"][0, 1])


def test_series_have_maps_along_time():
    model = onnxplain.load(series().SerializeToString(), device="cpu", threads=1)
    found = onnxplain.explain(model, picture(2, 16), "hires-cam", target=0)
    assert found.extras["map"].shape == (8,)
    assert found.extras["map"].sum() == pytest.approx(found.score, abs=1e-5)  # mean and linear layer, no bias
    assert found.values["x"].shape == (1, 2, 16)


def test_neurons_can_be_explained():
    model = onnxplain.load(convolutions().SerializeToString(), device="cpu", threads=1)
    found = onnxplain.explain(model, picture(3, 12, 8), "hires-cam", target="conv2[2,1,1]")
    assert list(found.extras["map"].shape) == [12, 8]
    near = np.zeros((12, 8), bool)
    near[1:4, 1:4] = True
    assert not found.extras["map"][~near].any()  # a 3x3 kernel of stride 2 sees no more
    assert found.extras["map"][near].all()


def test_the_twin_is_not_built_for_a_graph_without_positions():
    model = onnxplain.load(affine(np.ones((2, 3)), np.zeros(2)).SerializeToString(), device="cpu")
    with pytest.raises(SettingError, match="has positions"):
        onnxplain.explain(model, np.ones((1, 3), np.float32), "grad-cam", target=0)


def test_a_map_of_nothing_is_said():
    """The derivative of Sign is zero."""
    proto = convolutions(pool=False)
    place, flat = next((k, node) for k, node in enumerate(proto.graph.node) if node.op_type == "Flatten")
    flat.input[0] = "steps"
    proto.graph.node.insert(place, helper.make_node("Sign", ["features"], ["steps"]))
    model = onnxplain.load(proto.SerializeToString(), device="cpu", threads=1)
    found = onnxplain.explain(model, picture(3, 12, 8), "grad-cam", target=0, wrt="features")
    assert not found.values["image"].any()
    assert "box" not in found.extras
    assert any("zero everywhere" in note for note in found.notes)
