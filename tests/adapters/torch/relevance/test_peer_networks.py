"""zennit and Captum on EfficientNet-Lite0 and a residual network with batch normalisation, merged and not."""

import copy
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lite0  # noqa: E402  # after the check that torch is there
import onnxplain  # noqa: E402
from gradient_problems import loaded  # noqa: E402
from relevance_problems import exported_with_norms  # noqa: E402

n = torch.nn
TARGET = 3
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


@pytest.fixture(scope="module", params=["EfficientNet-Lite0", "residual network"])
def trio(request):
    if request.param == "residual network":
        module, x = resnet()
    else:
        with lite0.efficientnet() as (module, drawn):
            x = drawn.clamp(-1, 1)
    return module, loaded(exported_with_norms(module, x)), x


def assert_alike(found, expected, trio, *, rtol=0.0, atol):
    """Compare, ``atol`` in parts of the largest value; EfficientNet-Lite0 may have units within rounding of a kink."""
    if any(isinstance(m, n.ReLU6) for m in trio[0].modules()):
        lite0.assert_alike(found, expected, rtol=rtol, atol=atol)
    else:
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol * float(expected.abs().max()))


def explained(trio, method, **settings):
    return onnxplain.explain(trio[1], trio[2].numpy(), method, target=f"y[{TARGET}]", **settings).values["x"]


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


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_the_composites_of_zennit(zennit, trio, preset, merge):
    module, _, x = trio
    name, bounds = PRESETS[preset]
    canonizers = [summed(zennit), *([zennit.canonizers.SequentialMergeBatchNorm()] if merge else [])]
    ends = {k: torch.full_like(x, v) for k, v in bounds.items()}
    composite = getattr(zennit.composites, name)(canonizers=canonizers, stabilizer=SMALLEST, **ends)
    with zennit.attribution.Gradient(model=module, composite=composite) as attributor:
        y = module(x)
        _, expected = attributor(x.clone(), y * torch.eye(y.shape[1])[[TARGET]])
    rules = "sum=zero, pool=zero" if merge else "sum=zero, pool=zero, batch-norm=pass"
    found = explained(trio, "lrp", preset=preset, merge=merge, rules=rules, **bounds)
    # Shares of sums that are nearly zero make more of the rounding of merged weights.
    assert_alike(found, expected, trio, rtol=5e-3, atol=1e-3)


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


@pytest.mark.parametrize("method", ["GuidedBackprop", "Deconvolution"])
def test_rectified_gradients_are_those_of_captum(attr, trio, method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = getattr(attr, method)(for_captum(trio[0])).attribute(trio[2], target=TARGET).detach()
    own = {"GuidedBackprop": "guided-backprop", "Deconvolution": "deconvnet"}[method]
    assert_alike(explained(trio, own), expected, trio, atol=1e-4)


def test_deeplift_is_that_of_captum(attr, trio):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = attr.DeepLift(for_captum(trio[0])).attribute(trio[2], 0 * trio[2], target=TARGET).detach()
    found = explained(trio, "deeplift", baseline=0.0)
    assert_alike(found, expected, trio, atol=1e-3)
    assert found.sum() == pytest.approx(float(expected.sum()), rel=1e-4)
