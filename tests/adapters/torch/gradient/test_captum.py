"""Captum on the torch original, where its definition is the same, beside the methods on the ONNX file."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
attr = pytest.importorskip("captum.attr")

import whole_models  # noqa: E402
from gradient_problems import loaded, problem_of  # noqa: E402
from onnxplain.adapters.torch.gradient.input_x_gradient import InputXGradient  # noqa: E402
from onnxplain.adapters.torch.gradient.integrated_gradients import IntegratedGradients  # noqa: E402
from onnxplain.adapters.torch.gradient.saliency import Saliency  # noqa: E402

CAPTUM_RULES = {
    "gauss-legendre": "gausslegendre",
    "riemann-left": "riemann_left",
    "riemann-right": "riemann_right",
    "riemann-middle": "riemann_middle",
}  # not its trapezoids, whose weights add up to (points - 1) / points


def original_and_file(name):
    module = whole_models.network(name)
    (x,) = whole_models.MODELS[name].draw(1)
    return module, loaded(whole_models.exported(name, "legacy", 17, module)), x


@pytest.fixture(scope="module", params=["residual-cnn", "vit"])
def pair(request):
    return original_and_file(request.param)


def close(found, expected):
    wide = expected.detach().numpy().astype(np.float64)
    np.testing.assert_allclose(found, wide, rtol=0, atol=1e-4 * np.abs(wide).max())


def problem(pair, **asked):
    return problem_of(pair[1], {"in0": pair[2].numpy()}, "3", **asked)


def test_gradients(pair):
    module, x = pair[0], pair[2].clone().requires_grad_()
    close(Saliency().explain(problem(pair)).values["in0"], attr.Saliency(module).attribute(x, target=3, abs=False))
    close(InputXGradient().explain(problem(pair)).values["in0"], attr.InputXGradient(module).attribute(x, target=3))


@pytest.mark.parametrize("rule", CAPTUM_RULES)
def test_integrated_gradients(pair, rule):
    module, _, x = pair
    rows = 0.3 * torch.randn(1, *x.shape[1:], generator=torch.Generator().manual_seed(0))
    expected, delta = attr.IntegratedGradients(module).attribute(
        x, rows, target=3, n_steps=8, method=CAPTUM_RULES[rule], return_convergence_delta=True
    )
    found = IntegratedGradients(points=8, rule=rule).explain(problem(pair, baseline_setting=rows.numpy()))
    close(found.values["in0"], expected)
    assert found.gap == pytest.approx(float(delta), abs=1e-4 * abs(found.score - found.baseline_score))


def test_integrated_gradients_at_a_layer():
    module, model, x = pair = original_and_file("residual-cnn")
    layer = module[4]
    made = {}
    hook = layer.register_forward_hook(lambda *a: made.setdefault("values", a[2]))
    module(x)
    hook.remove()
    names = [t.name for t in model.tensors() if t.dtype == "float32"]
    values = model.rows({"in0": x.numpy()}, tuple(names))
    tensor = next(
        n
        for n, v in zip(names, values, strict=True)
        if v.shape == made["values"].shape and np.allclose(v, made["values"].detach(), atol=1e-5)
    )
    expected = attr.LayerIntegratedGradients(module, layer).attribute(
        x, torch.zeros_like(x), target=3, n_steps=8, method="gausslegendre"
    )
    found = IntegratedGradients(points=8).explain(problem(pair, wrt=tensor, baseline_setting=0))
    close(found.values[tensor], expected)
