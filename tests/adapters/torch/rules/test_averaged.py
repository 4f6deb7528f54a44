"""Averages of derivatives on the way from the reference, beside quadrature with many points and autograd."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from onnx import helper  # noqa: E402

from gradient_problems import problem_of  # noqa: E402  # after the check that torch is there
from onnxplain.adapters.torch.gradient.slopes import Slopes  # noqa: E402
from onnxplain.adapters.torch.relevance.differences import rules_of  # noqa: E402
from onnxplain.adapters.torch.rules import Flow, Moment  # noqa: E402
from onnxplain.adapters.torch.rules.ruled import Ruled  # noqa: E402
from relevance_problems import network  # noqa: E402

RNG = np.random.default_rng(11)
WEIGHTS = {n: RNG.normal(size=6) for n in ("g", "b")}
CHANNELS = {n: RNG.normal(size=4) for n in ("g", "b")}
NODES = {
    "LayerNormalization": ({"epsilon": 1e-5}, WEIGHTS),
    "RMSNormalization": ({"epsilon": 1e-5}, {"g": WEIGHTS["g"]}),
    "GroupNormalization": ({"num_groups": 2, "epsilon": 1e-3}, {n: v[:2] for n, v in CHANNELS.items()}),
    "InstanceNormalization": ({"epsilon": 1e-3}, CHANNELS),
    "Softmax": ({"axis": -1}, {}),
    "Mul": ({}, {}),
    "MatMul": ({}, {}),
}


def averaged(operator):
    """The rule's way back through one node, and its module."""
    given, constants = NODES[operator]
    signals = ["x", "w"] if operator in {"Mul", "MatMul"} else ["x"]
    made = helper.make_node(operator, [*signals, *constants], ["y"], **given)
    shapes = {"x": [4, 5, 6], "w": [4, 6, 5] if operator == "MatMul" else [4, 5, 6]}
    model = network(
        [made], {n: shapes[n] for n in signals}, {"y": [None] * 3}, constants, 23 if "RMS" in operator else 18
    )
    feeds = {n: RNG.normal(size=(1, *shapes[n])).astype(np.float32) for n in signals}
    slopes = Slopes.of([problem_of(model, feeds, "y[0,0,0]")], rules=rules_of("rescale"))
    (ruled,) = (m for m in Flow(slopes).part.modules() if isinstance(m, Ruled))
    return ruled, [shapes[n] for n in signals]


def by_points(module, xs, xs0, R, count=200):
    """The integral by Gauss-Legendre, at each point by autograd."""
    total = [np.zeros(x.shape) for x in xs]
    for t, weight in zip(*np.polynomial.legendre.leggauss(count), strict=True):
        at = [(x0 + (t + 1) / 2 * (x - x0)).requires_grad_() for x, x0 in zip(xs, xs0, strict=True)]
        with torch.enable_grad():
            slopes = torch.autograd.grad(module(*at), at, R)
        total = [a + weight / 2 * s.numpy() for a, s in zip(total, slopes, strict=True)]
    return total


@pytest.mark.parametrize("spread", [0.3, 3.0, 12.0])
@pytest.mark.parametrize("operator", NODES)
def test_the_derivative_is_averaged_as_autograd_at_many_points_does(operator, spread):
    ruled, shapes = averaged(operator)
    xs = tuple(torch.from_numpy(RNG.normal(size=(2, *s)).astype(np.float32)) for s in shapes)
    xs0 = tuple(x + spread * torch.from_numpy(RNG.normal(size=x.shape).astype(np.float32)) for x in xs)
    y, y0 = ruled.inner(*xs), ruled.inner(*xs0)
    R = torch.from_numpy(RNG.normal(size=y.shape).astype(np.float32))
    found = ruled.back(Moment(xs, (y,), (R,), xs0, (y0,)))
    for one, other in zip(found, by_points(ruled.inner, xs, xs0, R), strict=True):
        np.testing.assert_allclose(one, other, atol=3e-4 * np.abs(other).max())
    kept = sum(float((f * (x - x0)).sum()) for f, x, x0 in zip(found, xs, xs0, strict=True))
    assert kept == pytest.approx(float((R * (y - y0)).sum()), rel=1e-4, abs=1e-4 * float((R * (y - y0)).abs().sum()))
