"""Arithmetic and elementary functions: numbers, types, broadcasting of all versions, gradients."""

import numpy as np
import pytest

from single_nodes import by_reference, by_runtime, by_twin, has_true_gradients, single_node

torch = pytest.importorskip("torch")
RANDOM = np.random.default_rng(4)
INSIDE = RANDOM.uniform(0.1, 0.9, size=(3, 4)).astype(np.float32)
ELEMENTWISE = [
    *("Abs", "Acos", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Exp", "Floor", "Log", "Neg"),
    *("Reciprocal", "Round", "Sign", "Sin", "Sinh", "Sqrt", "Tan"),
]


def agrees(op_type, inputs, *, opset=14, oracle=by_reference, **rest):
    model = single_node(op_type, inputs, opset=opset, **rest)
    ours, theirs = by_twin(model, inputs)[0], oracle(model, inputs)[0]
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("op_type", ELEMENTWISE)
def test_functions_of_one_element(op_type):
    agrees(op_type, [INSIDE])
    assert has_true_gradients(op_type, [INSIDE], opset=14)


def test_inverse_hyperbolic_cosine():
    agrees("Acosh", [INSIDE + 1])
    assert has_true_gradients("Acosh", [INSIDE + 1], opset=14)


def test_halves_are_rounded_to_the_even_neighbour():
    model = single_node("Round", [np.array([0.5, 1.5, 2.5, -0.5, -1.5], np.float32)], opset=11)
    np.testing.assert_array_equal(
        by_twin(model, [np.array([0.5, 1.5, 2.5, -0.5, -1.5], np.float32)])[0], [0, 2, 2, 0, -2]
    )


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("constant", [[], [1]])
def test_arithmetic_with_broadcasting(op_type, constant):
    agrees(op_type, [INSIDE, INSIDE[:1] + 1], constant=constant)
    assert has_true_gradients(op_type, [INSIDE, INSIDE[:1] + 1], opset=14, constant=constant)


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div", "Pow"])
def test_axes_were_lined_up_by_attribute_before_version_7(op_type):
    inputs = [np.ones((2, 3, 4), np.float32) * 2, np.arange(1, 4, dtype=np.float32)]
    model = single_node(op_type, inputs, opset=6, broadcast=1, axis=1)
    modern = single_node(op_type, [inputs[0], inputs[1].reshape(3, 1)], opset=13)
    expected = by_reference(modern, [inputs[0], inputs[1].reshape(3, 1)])[0]
    np.testing.assert_allclose(by_twin(model, inputs)[0], expected, rtol=1e-6)


def test_quotients_of_integers_are_rounded_towards_zero():
    inputs = [np.array([7, -7, 7, -7], np.int64), np.array([2, 2, -2, -2], np.int64)]
    np.testing.assert_array_equal(by_twin(single_node("Div", inputs, opset=14), inputs)[0], [3, -3, -3, 3])


@pytest.mark.parametrize("fmod", [0, 1])
def test_remainder_has_the_sign_of_the_divisor_or_with_fmod_of_the_dividend(fmod):
    inputs = [np.array([7, -7, 7, -7], np.int32), np.array([3, 3, -3, -3], np.int32)]
    expected = [1, -1, 1, -1] if fmod else [1, 2, -2, -1]
    np.testing.assert_array_equal(by_twin(single_node("Mod", inputs, opset=13, fmod=fmod), inputs)[0], expected)


@pytest.mark.parametrize("base", [np.float32, np.int32, np.int64])
@pytest.mark.parametrize("exponent", [np.float32, np.int64, np.uint32])
@pytest.mark.parametrize("constant", [[], [1]])
def test_power_keeps_the_type_of_the_base(base, exponent, constant):
    for number in (np.array(3, exponent), np.array([2, 3], exponent)):
        agrees("Pow", [np.array([2, 3], base), number], opset=15, constant=constant)


@pytest.mark.parametrize("constant", [[], [1]])
def test_gradients_of_powers(constant):
    assert has_true_gradients("Pow", [INSIDE, INSIDE[0] * 3], opset=15, constant=constant)


def test_gradient_of_the_square_at_zero():
    from onnxplain.adapters.torch import convert

    x = torch.zeros(2, requires_grad=True)
    convert(single_node("Pow", [np.zeros(2, np.float32), np.array(2.0, np.float32)], opset=15, constant=[1]))(
        x
    ).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("op_type", ["Sum", "Mean", "Max", "Min"])
def test_any_number_of_inputs(op_type):
    inputs = [INSIDE, INSIDE[:, :1] * 2, INSIDE[1] - 0.5]
    agrees(op_type, inputs, oracle=by_runtime)
    assert has_true_gradients(op_type, inputs, opset=14)
    agrees(op_type, inputs[:1], oracle=by_runtime)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div", "Max"])
def test_unsigned_integers_wrap_around_as_in_c(op_type, dtype):
    agrees(op_type, [np.array([1, 60000, 7], dtype), np.array([2, 50000, 2], dtype)])


def test_unsigned_integers_beyond_int64_are_refused():
    from onnxplain.engine.errors import CapabilityError

    inputs = [np.array([2**63], np.uint64), np.array([1], np.uint64)]
    with pytest.raises(CapabilityError, match="integers of 2\\^63 and more"):
        by_twin(single_node("Div", inputs, opset=14), inputs)


def test_determinants():
    x = RANDOM.normal(size=(2, 3, 3)).astype(np.float32)
    agrees("Det", [x], opset=11)
    assert has_true_gradients("Det", [x], opset=11)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_bits(dtype):
    x, y = np.array([0b1100, 255, 128], dtype), np.array([2, 1, 7], dtype)
    for op_type in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        agrees(op_type, [x, y], opset=18)
    agrees("BitwiseNot", [x], opset=18)
    agrees("BitShift", [x, y], opset=11, direction="LEFT")
    agrees("BitShift", [np.array([0b1100, 255, np.iinfo(dtype).max], dtype), y], opset=11, direction="RIGHT")
