"""Functions borrowed from onnx2torch, against NumPy, and its import where torchvision does not work."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from onnxplain.adapters.torch import convert
from onnxplain.adapters.torch.operators.borrowed import SAME_AS
from small_graphs import model_of

FUNCTIONS = {
    "Acos": np.arccos,
    "Asin": np.arcsin,
    "Atan": np.arctan,
    "Ceil": np.ceil,
    "Cos": np.cos,
    "Exp": np.exp,
    "Floor": np.floor,
    "Log": np.log,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Round": np.round,
    "Sin": np.sin,
    "Sqrt": np.sqrt,
    "Tan": np.tan,
}
BROKEN = """
import sys, types
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
sys.meta_path.insert(0, Broken())
import torch
from onnx import parser
from onnxplain.adapters.torch import convert
text = '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Exp (x) }'
assert torch.equal(convert(parser.parse_model(text))(torch.zeros(2)), torch.ones(2))
assert not [name for name in sys.modules if name.startswith("torchvision")]
"""


def one(op_type, opset):
    axes = (TensorProto.FLOAT, [5])
    return convert(model_of([helper.make_node(op_type, ["x"], ["y"])], {"x": axes}, {"y": axes}, opset=opset))


@pytest.mark.parametrize("opset", [7, 13, 22])
@pytest.mark.parametrize("op_type", sorted(SAME_AS))
def test_values_and_slopes(op_type, opset):
    if op_type == "Round" and opset < 11:
        pytest.skip("there is no Round yet")
    x = np.array([0.1, 0.25, 0.5, 0.8, 0.9])
    slopes = (FUNCTIONS[op_type](x + 1e-6) - FUNCTIONS[op_type](x - 1e-6)) / 2e-6
    given = torch.tensor(x, requires_grad=True)
    found = one(op_type, opset)(given)
    found.sum().backward()
    np.testing.assert_allclose(found.detach(), FUNCTIONS[op_type](x), rtol=1e-12)
    if op_type != "Round":  # which has a step at a half
        np.testing.assert_allclose(given.grad, slopes, rtol=1e-6, atol=1e-6)


def test_halves_are_rounded_to_the_even_neighbour():
    found = one("Round", 13)(torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.5]))
    assert found.tolist() == [-2, 0, 0, 2, 2]


def test_a_broken_torchvision_is_no_hindrance():
    subprocess.run([sys.executable, "-c", BROKEN], check=True)
