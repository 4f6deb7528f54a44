"""zennit and Captum on EfficientNet-Lite0 and a residual network with batch normalisation, merged and not.

EfficientNet-Lite0 with random weights at 64 x 64 pixels; and where the user has built it, trained, on a photograph.
"""

import copy
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lite0  # noqa: E402  # after the check that torch is there
import onnxplain  # noqa: E402
from gradient_problems import loaded  # noqa: E402
from relevance_problems import exported_with_norms  # noqa: E402

n = torch.nn
SMALLEST = 1e-20  # what zennit adds to every sum; here only the epsilon rule adds something


class Block(n.Module):
    """Two convolutions beside a skip connection, with a ReLU module for each place."""

    def __init__(self, channels, out, stride):
        super().__init__()
        first = [n.Conv2d(channels, out, 3, stride, 1, bias=False), n.BatchNorm2d(out), n.ReLU()]
        self.layers = n.Sequential(*first, n.Conv2d(out, out, 3, 1, 1, bias=False), n.BatchNorm2d(out))
        around = [n.Conv2d(channels, out, 1, stride, bias=False), n.BatchNorm2d(out)]
        self.skip = n.Sequential(*around) if stride > 1 else n.Identity()
        self.relu = n.ReLU()

    def forward(self, x):
        return self.relu(self.layers(x) + self.skip(x))


def resnet():
    stem = [n.Conv2d(3, 8, 3, 1, 1, bias=False), n.BatchNorm2d(8), n.ReLU()]
    head = [n.AdaptiveAvgPool2d(1), n.Flatten(), n.Linear(12, 10)]
    torch.manual_seed(1)
    module = n.Sequential(*stem, Block(8, 8, 1), Block(8, 12, 2), Block(12, 12, 1), *head).train()
    with torch.no_grad():
        for norm in (m for m in module.modules() if isinstance(m, n.BatchNorm2d)):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.3)
        for _ in range(3):
            module(torch.rand(8, 3, 16, 16))
    return module.eval().requires_grad_(requires_grad=False), torch.rand(1, 3, 16, 16)


@dataclass(frozen=True)
class Trial:
    """A torch network, the same as ONNX, one input, and the output that is explained."""

    module: n.Module
    model: onnxplain.Model
    x: torch.Tensor
    target: int = 3

    def explained(self, method, **settings):
        target = f"{self.model.outputs[0].name}[{self.target}]"
        found = onnxplain.explain(self.model, self.x.numpy(), method, target=target, **settings)
        return found.values[self.model.inputs[0].name]

    def assert_alike(self, found, expected, *, atol):
        """Compare, ``atol`` in parts of the largest value; EfficientNet-Lite0 may have units at a kink."""
        if any(isinstance(m, n.ReLU6) for m in self.module.modules()):
            lite0.assert_alike(found, expected, atol=atol)
        else:
            np.testing.assert_allclose(found, expected, rtol=0, atol=atol * float(expected.abs().max()))


@pytest.fixture(scope="module", params=["EfficientNet-Lite0", "residual network"])
def trial(request):
    if request.param == "residual network":
        module, x = resnet()
    else:
        with lite0.efficientnet() as (module, drawn):
            x = drawn.clamp(-1, 1)
    return Trial(module, loaded(exported_with_norms(module, x)), x)


@pytest.fixture(scope="module")
def trained():
    if not lite0.BUILT.is_file():
        pytest.skip("efficientnet-lite0 is not built (onnxplain models build efficientnet-lite0)")
    module, model, x = lite0.trained()
    with torch.no_grad():
        scores = module(x).numpy()
    np.testing.assert_allclose(scores, model.predict(x.numpy())["logits"], atol=1e-4)
    return Trial(module, model, x, int(scores.argmax()))


def summed(zennit):
    """A canonizer that shows zennit the sums of both kinds of blocks."""

    def of_block(self, x):
        return self.relu(self.both(torch.stack([self.layers(x), self.skip(x)], -1)))

    def of_inverted(self, x):
        return self.both(torch.stack([x, self.layers(x)], -1))

    def attributes(_, module):
        forward = {"Block": of_block, "InvertedResidual": of_inverted}.get(type(module).__name__)
        if forward is None or not getattr(module, "skips", True):
            return None
        return {"forward": forward.__get__(module), "both": zennit.layer.Sum()}

    return zennit.canonizers.AttributeCanonizer(attributes)


PRESETS = {
    "epsilon-plus": ("EpsilonPlus", {}),
    "epsilon-alpha2-beta1": ("EpsilonAlpha2Beta1", {}),
    "epsilon-gamma-box": ("EpsilonGammaBox", {"low": -1.0, "high": 1.0}),
}


def merged(zennit):
    """A canonizer that merges batch normalisation, which zennit 0.5.1 leaves dividing by ``sqrt(1 + eps)``."""

    class Merged(zennit.canonizers.SequentialMergeBatchNorm):
        def register(self, linears, batch_norm):
            super().register(linears, batch_norm)
            self.eps, batch_norm.eps = batch_norm.eps, 0.0

        def remove(self):
            super().remove()
            self.batch_norm.eps = self.eps

    return Merged()


def of_zennit(zennit, trial, preset, *, merge):
    name, bounds = PRESETS[preset]
    canonizers = [summed(zennit), *([merged(zennit)] if merge else [])]
    ends = {k: torch.full_like(trial.x, v) for k, v in bounds.items()}
    composite = getattr(zennit.composites, name)(canonizers=canonizers, stabilizer=SMALLEST, **ends)
    with zennit.attribution.Gradient(model=trial.module, composite=composite) as attributor:
        y = trial.module(trial.x)
        return attributor(trial.x.clone(), y * torch.eye(y.shape[1])[[trial.target]])[1]


def of_ours(trial, preset, *, merge):
    """As zennit does: sums without epsilon, and what comes to batch normalisation by itself goes on as it is."""
    rules = "sum=zero, pool=zero" if merge else "sum=zero, pool=zero, batch-norm=pass"
    return trial.explained("lrp", preset=preset, merge=merge, rules=rules, **PRESETS[preset][1])


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_the_composites_of_zennit(zennit, trial, preset, merge):
    expected = of_zennit(zennit, trial, preset, merge=merge)
    trial.assert_alike(of_ours(trial, preset, merge=merge), expected, atol=1e-4)


@pytest.fixture
def one_thread():
    """With several threads torch adds in another order, and a ReLU6 unit may come to the other side of its kink."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("preset", "merge"), [("epsilon-plus", True), ("epsilon-gamma-box", False)])
def test_presets_on_a_photograph_are_the_composites_of_zennit(zennit, trained, preset, merge):
    expected = of_zennit(zennit, trained, preset, merge=merge)
    trained.assert_alike(of_ours(trained, preset, merge=merge), expected, atol=1e-4)


class Clipped(n.ReLU):
    """ReLU6 as a ReLU: Captum's rules are for modules that are one."""

    def forward(self, x):
        return torch.nn.functional.relu6(x)


@pytest.fixture
def attr(monkeypatch):
    found = pytest.importorskip("captum.attr")
    from captum.attr._core import deep_lift

    monkeypatch.setitem(deep_lift.SUPPORTED_NON_LINEAR, Clipped, deep_lift.nonlinear)
    return found


def for_captum(module):
    other = copy.deepcopy(module)
    for activation in (m for m in other.modules() if isinstance(m, n.ReLU6)):
        activation.__class__ = Clipped
    return other


OWN = {"GuidedBackprop": "guided-backprop", "Deconvolution": "deconvnet"}


def of_captum(attr, trial, method, *references):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(attr, method)(for_captum(trial.module)).attribute(trial.x, *references, target=trial.target)


@pytest.mark.parametrize("method", OWN)
def test_rectified_gradients_are_those_of_captum(attr, trial, method):
    trial.assert_alike(trial.explained(OWN[method]), of_captum(attr, trial, method).detach(), atol=1e-4)


def assert_same_differences(attr, trial):
    expected = of_captum(attr, trial, "DeepLift", 0 * trial.x).detach()
    found = trial.explained("deeplift", baseline=0.0)
    trial.assert_alike(found, expected, atol=1e-3)
    assert found.sum() == pytest.approx(float(expected.sum()), rel=1e-4)


def test_deeplift_is_that_of_captum(attr, trial):
    assert_same_differences(attr, trial)


def test_on_a_photograph_captum_finds_the_same(attr, trained):
    expected = of_captum(attr, trained, "GuidedBackprop").detach()
    trained.assert_alike(trained.explained("guided-backprop"), expected, atol=1e-4)
    assert_same_differences(attr, trained)
