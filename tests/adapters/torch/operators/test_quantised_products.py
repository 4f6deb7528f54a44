import numpy as np
import pytest
import torch
from onnx import helper

from onnxplain.adapters.torch import convert
from single_nodes import by_runtime, by_twin, single_node


def whole(dtype, *shape):
    bounds = np.iinfo(dtype)
    rng = np.random.default_rng(sum(shape))  # the same numbers in whatever order the tests run
    return rng.integers(bounds.min, bounds.max + 1, shape).astype(dtype)


def zero(dtype, value):
    """A zero point ``value`` above the lowest number."""
    return np.array(value + np.iinfo(dtype).min, dtype)


def scales(n):
    return np.linspace(0.01, 0.1, n, dtype=np.float32)


S = [np.array(s, np.float32) for s in (0.03, 0.05, 0.07)]
ZERO = np.array(0, np.int8)
BIAS = np.array([-900, 120, 40, 1000], np.int32)


def cases(d):
    """Operator, inputs, attributes."""
    a = whole(d, 2, 3, 4)
    image = whole(d, 1, 2, 5, 5)
    kernel = [whole(np.int8, 4, 1, 3, 3), scales(4), np.zeros(4, np.int8)]
    plain = [whole(np.int8, 4, 2, 3, 3), S[0], ZERO]
    padded = {"pads": [1, 0, 1, 1], "group": 2, "strides": [2, 1]}
    columns = [whole(np.int8, 4, 5), scales(5), np.zeros(5, np.int8)]
    matrix = [whole(d, 5, 4), S[0], zero(d, 120)]
    return {
        "QGemm": ("QGemm", [*matrix, whole(np.int8, 4, 6), S[1], ZERO, np.tile(BIAS, 2)[:6], S[2], zero(d, 9)], {}),
        "QGemm to floats": ("QGemm", [*matrix, whole(np.int8, 6, 4), scales(6), whole(np.int8, 6)], {"transB": 1}),
        "MatMulIntegerToFloat": (
            "MatMulIntegerToFloat",
            [a, whole(np.int8, 4, 5), S[0], scales(5), zero(d, 120), whole(np.int8, 5), scales(5)],
            {},
        ),
        "MatMulInteger": ("MatMulInteger", [a, whole(np.int8, 4, 5), zero(d, 120), whole(np.int8, 5)], {}),
        "QLinearConv": ("QLinearConv", [image, S[0], zero(d, 120), *kernel, S[1], zero(d, 100), BIAS], padded),
        "same padding": (
            "QLinearConv",
            [image, S[0], zero(d, 120), *plain, S[1], zero(d, 100)],
            {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        ),
        "QLinearMatMul": ("QLinearMatMul", [a, S[0], zero(d, 120), *columns, S[1], zero(d, 100)], {}),
    }


@pytest.mark.parametrize("name", list(cases(np.uint8)))
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("stored", [False, True])
def test_operator_equals_onnx_runtime(name, dtype, stored):
    op_type, inputs, attributes = cases(dtype)[name]
    standard = op_type in {"MatMulInteger", "QLinearConv", "QLinearMatMul"}
    model = single_node(
        op_type,
        inputs,
        opset=21,
        constant=range(1, len(inputs)) if stored else (),
        domain="" if standard else "com.microsoft",
        **attributes,
    )
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    found, wanted = by_twin(model, inputs)[0], by_runtime(model, inputs)[0].astype(np.float64)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_integer_convolution_equals_onnx_runtime():
    inputs = [whole(np.uint8, 1, 2, 5, 5), whole(np.uint8, 3, 2, 3, 3), zero(np.uint8, 120), zero(np.uint8, 7)]
    model = single_node("ConvInteger", inputs, opset=10, pads=[1, 1, 1, 1])
    assert (by_twin(model, inputs)[0] == by_runtime(model, inputs)[0]).all()


def test_dynamically_quantised_product_equals_onnx_runtime():
    x = np.random.default_rng(9).normal(size=(2, 3, 4)).astype(np.float32)
    inputs = [x, whole(np.int8, 4, 5), scales(5), whole(np.int8, 5), scales(5)]
    model = single_node("DynamicQuantizeMatMul", inputs, opset=17, domain="com.microsoft")
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    np.testing.assert_allclose(by_twin(model, inputs)[0], by_runtime(model, inputs)[0], rtol=1e-5, atol=1e-5)


def test_gradient_of_a_quantised_convolution_is_that_of_the_real_one():
    kernel = np.array([[[[2, -3], [5, 1]]]], np.int8)
    image = np.zeros((1, 1, 2, 2), np.uint8)
    inputs = [image, S[0], zero(np.uint8, 0), kernel, S[2], ZERO, S[1], zero(np.uint8, 9)]
    module = convert(single_node("QLinearConv", inputs, opset=21, constant=range(1, 8)))
    x = torch.full((1, 1, 2, 2), 100.0, requires_grad=True)  # whole numbers, carried in floats
    y = module(x)
    assert y.item() == round(100 * 5 * 0.03 * 0.07 / 0.05) + 9
    y.backward()
    assert x.grad[0, 0].numpy() == pytest.approx(kernel[0, 0] * 0.03 * 0.07 / 0.05, rel=1e-5)
