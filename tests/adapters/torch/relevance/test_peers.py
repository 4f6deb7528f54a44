"""zennit, Captum and shap on the torch original, where definitions are the same, beside the methods on the file."""

import copy
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402  # after the check that torch is there
import whole_models  # noqa: E402
from gradient_problems import loaded  # noqa: E402
from relevance_problems import exported_with_norms  # noqa: E402


class Network(torch.nn.Module):
    """Convolutions with batch normalisation, pooling of both kinds, two dense layers; ReLU modules of their own."""

    def __init__(self):
        super().__init__()
        n = torch.nn
        self.features = n.Sequential(
            n.Conv2d(3, 8, 3, padding=1),
            n.BatchNorm2d(8),
            n.ReLU(),
            n.MaxPool2d(2),
            n.Conv2d(8, 12, 3, stride=2),
            n.ReLU(),
            n.AvgPool2d(2),
        )
        self.head = n.Sequential(n.Flatten(), n.Linear(12, 10), n.ReLU(), n.Linear(10, 4))

    def forward(self, x):
        return self.head(self.features(x))


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(3)
    module = Network().eval().requires_grad_(requires_grad=False)
    norm = module.features[1]
    for values in (norm.weight, norm.bias, norm.running_mean):
        values.normal_()
    norm.running_var.uniform_(0.5, 2)
    x = torch.rand(2, 3, 12, 12)
    return module, loaded(exported_with_norms(module, x)), x


def explained(model, x, method, **settings):
    found = onnxplain.explain(model, x.numpy(), method, target="y[1]", **settings)
    return np.concatenate([one.values["x"] for one in found])


def by_zennit(zennit, module, x, composite, *, scored=True):
    with zennit.attribution.Gradient(model=module, composite=composite) as attributor:
        start = torch.eye(4)[[1] * len(x)]
        _, relevance = attributor(x.clone(), start * module(x) if scored else start)
    return relevance.numpy()


COMPOSITES = {
    "epsilon-plus": ("EpsilonPlus", {}),
    "epsilon-alpha2-beta1": ("EpsilonAlpha2Beta1", {}),
    "epsilon-gamma-box": ("EpsilonGammaBox", {"low": 0.0, "high": 1.0}),
}


@pytest.mark.parametrize("preset", COMPOSITES)
@pytest.mark.parametrize("merge", [True, False])
def test_presets_are_the_composites_of_zennit(zennit, pair, preset, merge):
    module, model, x = pair
    name, given = COMPOSITES[preset]
    given = {n: torch.full_like(x[:1], v) for n, v in given.items()}
    own = [zennit.canonizers.SequentialMergeBatchNorm()] if merge else []
    expected = by_zennit(zennit, module, x, getattr(zennit.composites, name)(canonizers=own, **given))
    unmerged = {} if merge else {"rules": "batch-norm=pass"}
    bounds = {"low": 0.0, "high": 1.0} if given else {}
    found = explained(model, x, "lrp", preset=preset, merge=merge, **unmerged, **bounds)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_guided_backprop_is_that_of_zennit(zennit, pair):
    module, model, x = pair
    expected = by_zennit(zennit, module, x, zennit.composites.GuidedBackprop(), scored=False)
    np.testing.assert_allclose(explained(model, x, "guided-backprop"), expected, atol=1e-5)


def test_excitation_backprop_is_that_of_zennit(zennit, pair):
    module, model, x = pair
    merged = zennit.canonizers.SequentialMergeBatchNorm()
    composite = zennit.composites.ExcitationBackprop(zero_params="bias", canonizers=[merged])
    expected = by_zennit(zennit, module, x, composite, scored=False)
    np.testing.assert_allclose(explained(model, x, "excitation-backprop"), expected, atol=1e-5)


def test_deeplift_is_that_of_captum_behind_max_pooling(pair):
    """Captum's rule for max-pooling does not keep differences; from there on both are the same."""
    attr = pytest.importorskip("captum.attr")
    module, model, x = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = attr.LayerDeepLift(module, module.features[4])
        expected = method.attribute(
            x.clone().requires_grad_(), torch.zeros_like(x), target=1, attribute_to_layer_input=True
        ).detach()
    pooled = next(t.name for t in model.tensors() if t.op_type == "MaxPool")
    found = onnxplain.explain(model, x.numpy(), "deeplift", target="y[1]", baseline=0.0, wrt=pooled)
    np.testing.assert_allclose(np.concatenate([f.values[pooled] for f in found]), expected, atol=1e-5)


def test_deeplift_is_that_of_shap(pair):
    shap = pytest.importorskip("shap")
    module, model, x = pair
    background = torch.rand(3, 3, 12, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = shap.DeepExplainer(module, background).shap_values(x.clone())[..., 1]
    found = explained(model, x, "deeplift-shap", baseline=background.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("method", ["GuidedBackprop", "Deconvolution"])
def test_rectified_gradients_are_those_of_captum(pair, method):
    attr = pytest.importorskip("captum.attr")
    module, model, x = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = getattr(attr, method)(module).attribute(x, target=1).detach()
    own = {"GuidedBackprop": "guided-backprop", "Deconvolution": "deconvnet"}[method]
    np.testing.assert_allclose(explained(model, x, own), expected, atol=1e-5)


def test_deeplift_shap_is_that_of_shap():
    """Means over a background, on the residual network that Captum's and shap's hooks cannot see into: completeness."""
    module = whole_models.network("residual-cnn")
    model = loaded(whole_models.exported("residual-cnn", "legacy", 17, module))
    (x,) = whole_models.MODELS["residual-cnn"].draw(1)
    background = np.random.default_rng(0).normal(size=(5, *x.shape[1:])).astype(np.float32)
    found = onnxplain.explain(model, x.numpy(), "deeplift-shap", target=1, baseline=background)
    singles = [onnxplain.explain(model, x.numpy(), "deeplift", target=1, baseline=row[None]) for row in background]
    name = model.inputs[0].name
    stacked = np.stack([one.values[name] for one in singles])
    np.testing.assert_allclose(found.values[name], stacked.mean(0), atol=1e-5)
    np.testing.assert_allclose(found.standard_error[name], stacked.std(0, ddof=1) / np.sqrt(5), atol=1e-5)
    assert abs(found.gap) < 1e-5


def test_lrp_is_that_of_captum(pair):
    """Captum keeps batch normalisation apart."""
    attr = pytest.importorskip("captum.attr")
    rules_of_captum = pytest.importorskip("captum.attr._utils.lrp_rules")
    module, model, x = copy.deepcopy(pair[0]), *pair[1:]
    (flatten,) = (layer for layer in module.modules() if isinstance(layer, torch.nn.Flatten))
    flatten.rule = rules_of_captum.EpsilonRule()  # nothing is added up: it passes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = attr.LRP(module).attribute(x, target=1).detach()
    rules = "rest=epsilon:1e-9, batch-norm=epsilon:1e-9, pool=epsilon:1e-9"
    found = explained(model, x, "lrp", rules=rules, merge=False)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
