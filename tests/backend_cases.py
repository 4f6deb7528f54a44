"""The operator tests that ship with onnx, run through the twin's converter.

A case counts as *float* if its operator has a gradient and its data are floating-point numbers: one node of the default
domain, not spelled out as a function, not in training mode.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

from onnxplain.adapters.torch import convert
from onnxplain.adapters.torch.dtypes import to_array, to_tensor
from onnxplain.engine.errors import CapabilityError, OnnxplainError

RTOL, ATOL = 1e-3, 1e-5
FLOATS = ("float16", "float32", "float64")
RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike")
# fmt: off
NO_GRADIENT = frozenset({
    "And", "ArgMax", "ArgMin", "ArrayFeatureExtractor", "Binarizer", "BitCast", "BitShift", "Constant",
    "ConstantOfShape", "ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "Equal", "EyeLike", "Greater",
    "GreaterOrEqual", "ImageDecoder", "IsInf", "IsNaN", "LabelEncoder", "Less", "LessOrEqual", "MatMulInteger",
    "NonMaxSuppression", "NonZero", "Not", "OneHot", "Or", "QuantizeLinear", "Range", "RegexFullMatch", "Shape",
    "Size", "TensorScatter", "TfIdfVectorizer", "TreeEnsemble", "Unique", "Xor",
})
# Training, loss functions, graphs inside nodes and sequences: not an operator on float tensors.
OTHER = frozenset({
    "Adagrad", "Adam", "Bernoulli", "ConcatFromSequence", "Gradient", "If", "Loop", "Momentum", "Multinomial",
    "NegativeLogLikelihoodLoss", "Scan", "SequenceMap", "SoftmaxCrossEntropyLoss", "SplitToSequence",
})
# fmt: on
QUANTISED = ("ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QuantizeLinear")
PREFIXES = ("Optional", "QLinear", "Random", "Sequence", "String")


@dataclass(frozen=True)
class Case:
    """One test of onnx: a model, what goes in and what must come out."""

    name: str
    operator: str
    model: onnx.ModelProto
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    rtol: float
    atol: float
    is_float: bool


@cache
def cases() -> tuple[Case, ...]:
    """Return all tests of single operators, by name; those that need training or random numbers are left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load_model_tests(kind="node")
    listed = []
    for test in sorted(found, key=lambda t: t.name):
        nodes = test.model.graph.node
        if "expanded" in test.name or len(nodes) != 1 or nodes[0].op_type in RANDOM:
            continue
        inputs, outputs = ([_value(v) for v in values] for values in test.data_sets[0])
        operator = f"{nodes[0].domain}.{nodes[0].op_type}".lstrip(".")
        is_float = _is_float(test.name, test.model, inputs, outputs)
        rtol, atol = max(RTOL, test.rtol), max(ATOL, test.atol)
        listed.append(Case(test.name, operator, test.model, tuple(inputs), tuple(outputs), rtol, atol, is_float))
    return tuple(listed)


def verdict(case: Case) -> str:
    """Return an empty string where all outputs are right, else ``wrong: ...`` or ``refused: ...``.

    Inputs are fed as given; where that fails, all but the first become constants, as they are in exported models.
    """
    stored = {t.name for t in case.model.graph.initializer}
    fed = [v for i, v in zip(case.model.graph.input, case.inputs, strict=False) if i.name not in stored]
    found = _ran(case, case.model, fed)
    return "" if not found or not verdict_with_constants(case) else found


def verdict_with_constants(case: Case) -> str:
    """Return the verdict where all inputs but the first are constants: converters treat those in their own way."""
    return _ran(case, _with_constants(case), case.inputs[:1])


def _ran(case: Case, model: onnx.ModelProto, inputs: Any) -> str:
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = convert(model)(*(_tensors(v) for v in inputs))
    except (OnnxplainError, RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
        return f"refused: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    results = result if isinstance(result, tuple) else (result,)
    if len(results) != len(case.outputs):
        return f"wrong: {len(results)} outputs of {len(case.outputs)}"
    reasons = (_apart(r, e, case) for r, e in zip(results, case.outputs, strict=True))
    return next((f"wrong: {reason}" for reason in reasons if reason), "")


def _apart(found: Any, expected: Any, case: Case) -> str:
    if isinstance(expected, list):
        if len(found) != len(expected):
            return f"{len(found)} tensors of {len(expected)}"
        return next((r for f, e in zip(found, expected, strict=True) if (r := _apart(f, e, case))), "")
    if expected is None or found is None:
        return "" if found is expected else "a tensor is missing"
    return _array_apart(to_array(found), np.asarray(expected), case)


def _array_apart(array: np.ndarray, known: np.ndarray, case: Case) -> str:
    if array.shape != known.shape:
        return f"shape {array.shape}, not {known.shape}"
    # Quantised numbers travel as floats, so that a gradient passes.
    quantised = array.dtype.kind == "f" and case.operator in QUANTISED
    if array.dtype != known.dtype and not quantised:
        return f"dtype {array.dtype}, not {known.dtype}"
    short = known.dtype == ml_dtypes.bfloat16  # of 8 binary digits
    rtol, atol = (2**-7, 2**-8) if short else (case.rtol, case.atol)
    kind = np.complex128 if np.iscomplexobj(known) else np.float64
    with np.errstate(invalid="ignore"):
        wide, right = array.astype(kind), known.astype(kind)
        if np.allclose(wide, right, rtol=rtol, atol=atol, equal_nan=True):
            return ""
        return f"by {np.nanmax(np.abs(wide - right), initial=0):.3g}"


def _with_constants(case: Case) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for value, array in list(zip(model.graph.input, case.inputs, strict=False))[1:]:
        if isinstance(array, np.ndarray):
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
    return model


def _is_float(name: str, model: onnx.ModelProto, inputs: list[Any], outputs: list[Any]) -> bool:
    node = model.graph.node[0]
    if node.domain or node.op_type in NO_GRADIENT | OTHER or node.op_type.startswith(PREFIXES):
        return False
    if "training" in name or "_train" in name:
        return False
    given, made = ([str(getattr(v, "dtype", "")) for v in values] for values in (inputs, outputs))
    if not set(given) & set(FLOATS) or not set(made) & set(FLOATS):
        return False
    if node.op_type == "Cast":
        return given[0] in FLOATS and made[0] in FLOATS
    return node.op_type == "Where" or given[0] in FLOATS


def _value(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, (list, tuple)):
        return [_value(v) for v in value]
    return None if value is None else np.asarray(value)


def _tensors(value: Any) -> Any:
    if isinstance(value, list):
        return [_tensors(v) for v in value]
    if value is not None and value.dtype.name in {"int2", "uint2", "int4", "uint4", "float4_e2m1fn"}:
        raise CapabilityError(f"torch has no element type for {value.dtype}")
    return None if value is None else to_tensor(value)
