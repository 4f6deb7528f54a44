"""What exporters spell out is put together again, and gives the same numbers; what is tapped stays reachable."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from small_graphs import model_of

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import whole_models  # noqa: E402  # after the check that torch is there
from onnxplain.adapters.torch import convert, fused  # noqa: E402
from onnxplain.adapters.torch.plan import cut  # noqa: E402
from onnxplain.adapters.torch.remembered import Remembered  # noqa: E402

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(2)


def cut_to_output(module, taps=()):
    result = next(node for node in module.graph.nodes if node.op == "output").args[0]
    names = module.meta["names"]
    return cut(module, [result.name, *(names[t] for t in taps)], [names[t] for t in taps])


def kinds(part):
    return [type(part.get_submodule(n.target)).__name__ for n in part.graph.nodes if n.op == "call_module"]


@pytest.mark.parametrize(
    ("name", "opset", "expected"),
    [
        ("convnext", 13, {"LayerNorm": 3, "GELU": 2, "Dense": 5}),
        ("vit", 17, {"Attention": 2, "GELU": 2, "Dense": 9}),
        ("bert", 13, {"Attention": 2, "GELU": 2, "LayerNorm": 5, "Dense": 10}),
        ("llama", 17, {"Attention": 1}),
    ],
)
def test_transformers_are_put_together_again(name, opset, expected):
    original = whole_models.network(name)
    module = convert(whole_models.exported(name, "legacy", opset, original))
    part = cut_to_output(module)
    found = kinds(part)
    assert {kind: found.count(kind) for kind in expected} == expected
    for rows in (1, 3):
        inputs = whole_models.MODELS[name].draw(rows)
        outputs, gradients = whole_models.difference(original, First(part), inputs)
        assert outputs < 1e-5
        assert gradients < 1e-4


class First(nn.Module):
    """A part that returns a tuple of one, as a module that returns a tensor."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, *inputs):
        return self.part(*inputs)[0]


def dense(*, opset=17):
    nodes = [helper.make_node("MatMul", ["x", "W"], ["product"]), helper.make_node("Add", ["b", "product"], ["y"])]
    constants = {"W": RNG.standard_normal((3, 4)).astype(np.float32), "b": np.arange(4, dtype=np.float32)}
    return model_of(nodes, {"x": (FLOAT, ["b", 3])}, {"y": (FLOAT, ["b", 4])}, constants, opset=opset)


def test_a_product_and_a_sum_become_a_linear_layer():
    module = convert(dense())
    part = cut_to_output(module)
    x = torch.randn(2, 3)
    assert kinds(part) == ["Dense"]
    assert torch.allclose(part(x)[0], module(x))


def test_what_is_tapped_is_not_fused():
    module = convert(dense())
    part = cut_to_output(module, ["product"])
    x = torch.randn(2, 3)
    y, product = part(x)
    assert kinds(part) == ["Linear", "Function"]
    (gradient,) = torch.autograd.grad(y[:, 1].sum(), product)
    assert gradient.tolist() == [[0, 1, 0, 0]] * 2
    assert torch.allclose(y, product + torch.arange(4.0))


def test_batch_normalisation_goes_into_the_convolution():
    original = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3)).eval()
    torch.manual_seed(0)
    for tensor in (original[1].weight, original[1].bias, original[1].running_mean):
        nn.init.normal_(tensor)
    arrays = {f"p{k}": v for k, v in enumerate(original.state_dict().values()) if v.dim()}
    weights = {name: value.numpy() for name, value in arrays.items()}
    nodes = [
        helper.make_node("Conv", ["x", "p0"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "p1", "p2", "p3", "p4"], ["y"]),
    ]
    model = model_of(nodes, {"x": (FLOAT, ["b", 2, 5, 5])}, {"y": (FLOAT, None)}, weights)
    part = cut_to_output(convert(model))
    x = torch.randn(2, 2, 5, 5)
    assert kinds(part) == ["Conv2d"]
    assert torch.allclose(part(x)[0], original(x), atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_the_same_written_out_and_as_one_operator_of_torch(monkeypatch, masked):
    drawn = np.random.default_rng(3)
    shapes = ((2, 3, 5, 4), (2, 3, 4, 6), (2, 3, 6, 4), *(((2, 1, 5, 6),) if masked else ()))
    parts = [torch.tensor(drawn.standard_normal(shape), requires_grad=True) for shape in shapes]
    weights = torch.tensor(drawn.standard_normal((2, 3, 5, 4)))
    found = []
    for most in (1 << 20, 0):
        monkeypatch.setattr(fused, "CACHED_BYTES", most)
        out = fused.Attention(0.7, (), masked=masked)(*parts)
        found.append([out.detach(), *torch.autograd.grad((weights * out).sum(), parts)])
    for written, fast in zip(*found, strict=True):
        torch.testing.assert_close(written, fast, rtol=1e-12, atol=1e-12)


def test_attention_with_other_shapes_is_computed_as_it_is_written():
    q, k, v = torch.randn(2, 3, 4, 5), torch.randn(3, 5, 6), torch.randn(2, 3, 6, 5)
    mask, factor = torch.randn(4, 2, 1, 1, 6), torch.tensor([4.0])
    expected = torch.softmax(0.5 * q @ k / factor + mask, -1) @ v
    found = fused.Attention(0.5, (-1,), masked=True)(q, k, v, mask, factor)
    assert torch.allclose(found, expected, atol=1e-6)


def test_slices_of_one_tensor_become_a_split():
    constants = {name: np.array([n]) for name, n in {"0": 0, "1": 1, "3": 3, "end": 2**62, "axis": -1}.items()}
    nodes = [
        helper.make_node("Slice", ["x", *ends, "axis"], [name])
        for name, ends in {"a": ("0", "1"), "b": ("1", "3"), "c": ("3", "end")}.items()
    ]
    nodes.append(helper.make_node("Concat", ["c", "a", "b"], ["y"], axis=1))
    part = cut_to_output(convert(model_of(nodes, {"x": (FLOAT, ["b", 5])}, {"y": (FLOAT, None)}, constants)))
    assert kinds(part) == ["Parts", "Function"]
    assert part(torch.arange(5.0)[None])[0].tolist() == [[3, 4, 0, 1, 2]]


def thirds(places, *, sliced=False):
    """Elements of (rows, 2, 3) on its last axis, taken of "t" where that axis is the first, and mixed."""
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[2, 0, 1])]
    constants = {"axis": np.array([0])} if sliced else {}
    for k in places:
        constants |= {f"from{k}": np.array([k]), f"to{k}": np.array([k + 1])} if sliced else {str(k): np.array(k)}
        if sliced:
            nodes.append(helper.make_node("Slice", ["t", f"from{k}", f"to{k}", "axis"], [f"s{k}"]))
            nodes.append(helper.make_node("Squeeze", [f"s{k}", "axis"], [f"p{k}"]))
        else:
            nodes.append(helper.make_node("Gather", ["t", str(k)], [f"p{k}"], axis=0))
    nodes += [helper.make_node("Mul", ["p0", "p1"], ["m"]), helper.make_node("Add", ["m", f"p{places[-1]}"], ["y"])]
    return model_of(nodes, {"x": (FLOAT, ["b", 2, 3])}, {"y": (FLOAT, None)}, constants)


def slope_of(module, x):
    x = x.clone().requires_grad_()
    result = module(x)
    result = result[0] if isinstance(result, tuple) else result
    return result.detach(), torch.autograd.grad(result[:, 1].sum(), x)[0]


@pytest.mark.parametrize("places", [(0, 1, 2), (2, 0, 1), (1, 0)])
@pytest.mark.parametrize("sliced", [False, True])
def test_elements_of_one_axis_are_taken_at_once_and_before_a_transpose(places, sliced):
    module = convert(thirds(places, sliced=sliced))
    part = cut_to_output(module)
    assert kinds(part) == ["Elements", "Function", "Function"]
    x = torch.arange(12.0).reshape(2, 2, 3)
    for found, expected in zip(slope_of(part, x), slope_of(module, x), strict=True):
        assert torch.equal(found, expected)
    assert slope_of(part, x)[0].tolist() == (x[..., 0] * x[..., 1] + x[..., places[-1]]).tolist()


@pytest.mark.parametrize("sliced", [False, True])
def test_a_tapped_element_stays_reachable(sliced):
    module = convert(thirds((0, 1, 2), sliced=sliced))
    part = cut_to_output(module, ["p1"])
    x = torch.arange(12.0).reshape(2, 2, 3)
    y, key = part(x)
    assert kinds(part)[0] == "Elements"
    assert torch.equal(key, x[..., 1])
    (gradient,) = torch.autograd.grad(y[:, 1].sum(), key)
    assert gradient.tolist() == [[0, 3], [0, 9]]


def test_a_tapped_transpose_stays_reachable():
    module = convert(thirds((0, 1, 2)))
    part = cut_to_output(module, ["t"])
    x = torch.arange(12.0).reshape(2, 2, 3)
    y, turned = part(x)
    assert kinds(part) == ["Function", "Elements", "Function", "Function"]
    (gradient,) = torch.autograd.grad(y[1, 1], turned)
    assert gradient[:, 1, 1].tolist() == [10, 9, 1]
    assert int(gradient.count_nonzero()) == 3


def test_elements_that_leave_a_gap_are_taken_one_by_one():
    constants = {"0": np.array(0), "2": np.array(2)}
    nodes = [helper.make_node("Gather", ["x", k], [f"p{k}"], axis=1) for k in constants]
    nodes.append(helper.make_node("Add", ["p0", "p2"], ["y"]))
    part = cut_to_output(convert(model_of(nodes, {"x": (FLOAT, ["b", 3])}, {"y": (FLOAT, None)}, constants)))
    assert kinds(part) == ["Function", "Function", "Function"]


def test_slices_beyond_the_end_are_cut_short():
    x = torch.arange(5.0)
    assert [p.tolist() for p in fused.Parts(0, [3, 4])(x)] == [[0, 1, 2], [3, 4], []]
    assert [p.tolist() for p in fused.Parts(0, [2, None])(x)][:2] == [[0, 1], [2, 3, 4]]


def test_a_reshaping_that_is_no_swap_is_done_step_by_step():
    class Reshape(nn.Module):
        def forward(self, x, shape):
            return x.reshape(shape.tolist())

    class Swap(nn.Module):
        def forward(self, x):
            return x.transpose(1, 2)

    swapped = fused.Swapped(Reshape(), Swap(), Reshape(), (None, None))
    x = torch.randn(2, 3, 4, 5)
    plain = swapped(x, torch.tensor([-1, 4, 5]), torch.tensor([2, 3, 5, 4]))
    assert torch.equal(plain, x.transpose(-2, -1))
    other = swapped(x, torch.tensor([2, 12, 5]), torch.tensor([2, 3, 5, 4]))
    assert torch.equal(other, x.reshape(2, 12, 5).transpose(1, 2).reshape(2, 3, 5, 4))


@pytest.mark.parametrize("size", [(16, 32), (17, 39)])  # whole patches, and some with a rest that is left out
def test_patches_are_the_convolution(size):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, (8, 16), (8, 16))
    constants = {"W": conv.weight.detach().numpy(), "b": conv.bias.detach().numpy()}
    nodes = [helper.make_node("Conv", ["x", "W", "b"], ["y"], strides=[8, 16])]
    part = cut_to_output(convert(model_of(nodes, {"x": (FLOAT, ["n", 3, *size])}, {"y": (FLOAT, None)}, constants)))
    assert kinds(part) == ["Patches"]
    x = torch.randn(2, 3, *size)
    for found, expected in zip(slope_of(part, x), slope_of(conv, x), strict=True):
        assert found.shape == expected.shape
        assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"strides": [8, 4]},
        {"strides": [8, 8], "dilations": [2, 2]},
        {"strides": [8, 8], "pads": [1, 0, 1, 0]},
        {"strides": [8, 8], "group": 2},
    ],
)
def test_other_convolutions_stay(settings):
    shape = [4, 4 // settings.get("group", 1), 8, 8]
    nodes = [helper.make_node("Conv", ["x", "W"], ["y"], **settings)]
    model = model_of(nodes, {"x": (FLOAT, ["n", 4, 40, 40])}, {"y": (FLOAT, None)}, {"W": np.zeros(shape, np.float32)})
    assert "Patches" not in kinds(cut_to_output(convert(model)))


def reshaped():
    """Rows of (n, 6) laid out as (n, 2, 3) by a shape that is calculated, times a tensor of that shape."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["count"]),
        helper.make_node("Concat", ["count", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["z"]),
        helper.make_node("ConstantOfShape", ["wanted"], ["two"], value=helper.make_tensor("", FLOAT, [1], [2.0])),
        helper.make_node("Mul", ["z", "two"], ["y"]),
    ]
    constants = {"zero": np.array([0]), "rest": np.array([2, 3])}
    return model_of(nodes, {"x": (FLOAT, ["n", 6])}, {"y": (FLOAT, None)}, constants)


def test_what_comes_from_shapes_is_calculated_once_for_each_shape():
    part = cut_to_output(convert(reshaped()))
    assert kinds(part) == ["Remembered", "Function", "Remembered", "Function"]
    runs = []
    for rows in (2, 5, 2, 5):
        x = torch.randn(rows, 6)
        assert torch.equal(part(x)[0], 2 * x.reshape(rows, 2, 3))
        runs.append(sum(len(m.known) for m in part.modules() if isinstance(m, Remembered)))
    assert runs == [2, 4, 4, 4]
