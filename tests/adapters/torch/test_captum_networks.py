"""Captum on the torch original of EfficientNet-Lite0, and of a transformer, beside the methods on the ONNX file."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
attr = pytest.importorskip("captum.attr")

import lite0  # noqa: E402
import onnxplain  # noqa: E402
import whole_models  # noqa: E402
from gradient_problems import loaded  # noqa: E402

TARGET = 3


@pytest.fixture(scope="module")
def efficientnet():
    """EfficientNet-Lite0 with random weights, at 64x64 pixels: module, model, input."""
    with lite0.efficientnet() as (module, x):
        return module, loaded(whole_models.exported(lite0.NAME, "legacy", 17, module)), x


@pytest.fixture(scope="module")
def transformer():
    module = whole_models.network("vit")
    (x,) = whole_models.MODELS["vit"].draw(1)
    return module, loaded(whole_models.exported("vit", "legacy", 17, module)), x


@pytest.fixture(params=["efficientnet", "transformer"])
def trio(request):
    return request.getfixturevalue(request.param)


def explained(trio, method, **asked):
    return onnxplain.explain(trio[1], trio[2].numpy(), method, target=TARGET, **asked)


def close(found, expected, share=2e-4):
    wide = expected.detach().numpy().astype(np.float64)
    np.testing.assert_allclose(found, wide, rtol=0, atol=share * np.abs(wide).max())


def tensor_of(trio, layer):
    """The last ONNX tensor that equals the output of a layer of the module."""
    module, model, x = trio
    made = {}
    hook = layer.register_forward_hook(lambda *a: made.setdefault("values", a[2]))
    module(x)
    hook.remove()
    names = [t.name for t in model.tensors() if t.dtype == "float32"]
    values = zip(names, model.rows({"in0": x.numpy()}, tuple(names)), strict=True)
    wanted = made["values"]
    return [n for n, v in values if v.shape == wanted.shape and np.allclose(v, wanted, atol=1e-4)][-1]


def test_gradients_at_the_input(trio):
    module, _, x = trio[0], trio[1], trio[2].clone().requires_grad_()
    close(explained(trio, "saliency").values["in0"], attr.Saliency(module).attribute(x, target=TARGET, abs=False))
    close(explained(trio, "input-x-gradient").values["in0"], attr.InputXGradient(module).attribute(x, target=TARGET))


def test_integrated_gradients_at_the_input(trio):
    module, _, x = trio
    expected = attr.IntegratedGradients(module).attribute(x, 0 * x, TARGET, n_steps=10, method="gausslegendre")
    lite0.assert_alike(explained(trio, "integrated-gradients", points=10, baseline=0).values["in0"], expected)


def test_layers_of_a_convolutional_network(efficientnet):
    module, _, x = efficientnet
    block = module[10]  # an inverted residual in the middle
    tensor = tensor_of(efficientnet, block)
    found = explained(efficientnet, "gradient-x-activation", wrt=tensor)
    close(found.values[tensor], attr.LayerGradientXActivation(module, block).attribute(x, target=TARGET))
    found = explained(efficientnet, "integrated-gradients", wrt=tensor, points=6, baseline=0)
    layer = attr.LayerIntegratedGradients(module, block)
    close(found.values[tensor], layer.attribute(x, 0 * x, TARGET, n_steps=6, method="gausslegendre"))
    found = explained(efficientnet, "grad-cam", wrt=tensor, upsample=False)
    close(found.values[tensor], attr.LayerGradCam(module, block).attribute(x, target=TARGET, relu_attributions=True))


def test_ablation_of_a_layer(efficientnet):
    module, _, x = efficientnet
    tensor = tensor_of(efficientnet, module[-2])  # the pooled features
    some = torch.arange(1280).clamp(max=20)[None]  # the first twenty by themselves, the others together
    expected = attr.LayerFeatureAblation(module, module[-2]).attribute(x, target=TARGET, layer_mask=some)
    close(explained(efficientnet, "ablation", wrt=tensor, features=some.numpy()).values[tensor], expected)
