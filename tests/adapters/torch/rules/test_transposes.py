"""What layers hand back without a run forward, beside autograd."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from onnxplain.adapters.torch.rules import transposed  # noqa: E402  # after the check that torch is there
from onnxplain.adapters.torch.rules.transposes import handed_back  # noqa: E402

n = torch.nn
LAYERS = {
    "dense": (lambda: n.Linear(5, 7), (3, 5)),
    "dense on tokens": (lambda: n.Linear(5, 7), (3, 4, 5)),
    "single pixels": (lambda: n.Conv2d(4, 6, 1), (2, 4, 5, 5)),
    "single samples": (lambda: n.Conv1d(4, 6, 1), (2, 4, 5)),
    "single channels": (lambda: n.Conv2d(4, 4, 3, padding=1, groups=4), (2, 4, 5, 5)),
    "patches": (lambda: n.Conv2d(3, 6, (2, 3), (2, 3)), (2, 3, 6, 9)),
    "patches that leave pixels over": (lambda: n.Conv2d(3, 6, 2, 2), (2, 3, 5, 7)),
    "patches in three dimensions": (lambda: n.Conv3d(2, 5, (1, 2, 3), (1, 2, 3)), (2, 2, 3, 4, 6)),
    "patches in one dimension": (lambda: n.Conv1d(2, 5, 4, 4), (2, 2, 12)),
    "steps": (lambda: n.Conv2d(4, 6, 3, 2, 1), (2, 4, 7, 6)),
    "holes and groups": (lambda: n.Conv2d(4, 6, 3, dilation=2, groups=2, padding=(1, 2)), (2, 4, 8, 7)),
}


IMAGES = [name for name, (_, shape) in LAYERS.items() if len(shape) == 4]  # may have their channels last


@pytest.mark.parametrize(("name", "last"), [*((name, False) for name in LAYERS), *((name, True) for name in IMAGES)])
def test_a_layer_hands_back_what_autograd_does(name, last):
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer, x = make().requires_grad_(requires_grad=False), torch.randn(shape)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    s = torch.randn_like(layer(x))
    found = handed_back(layer, s, x.shape)
    np.testing.assert_allclose(found, transposed(layer, (x,), s)[0], atol=1e-5)
    assert found.data_ptr() != s.data_ptr()
