"""The converter against the operator tests that ship with onnx: how many are right, and that none is silently wrong."""

import pytest

torch = pytest.importorskip("torch")

import backend_cases  # noqa: E402  # after the check that torch is there


def test_float_operators_are_right():
    cases = [case for case in backend_cases.cases() if case.is_float]
    failing = {case.name: found for case in cases if (found := backend_cases.verdict(case))}
    assert failing == {}
    assert len(cases) >= 740  # 776 in onnx 1.23


def test_other_operators_are_right_or_refused():
    others = [case for case in backend_cases.cases() if not case.is_float]
    verdicts = {case.name: backend_cases.verdict(case) for case in others}
    assert [name for name, found in verdicts.items() if found.startswith("wrong")] == []
    assert sum(not found for found in verdicts.values()) >= 490  # 498 of 625 in onnx 1.23


@pytest.mark.parametrize(
    ("families", "count"),
    [
        (("Optional", "Sequence", "SplitToSequence", "ConcatFromSequence"), 22),
        (("If", "Loop", "Scan"), 8),
        (("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"), 52),
    ],
)
def test_all_tests_of_these_operators_are_right(families, count):
    cases = [case for case in backend_cases.cases() if case.operator.startswith(families)]
    assert {case.name: found for case in cases if (found := backend_cases.verdict(case))} == {}
    assert len(cases) >= count


def test_constant_inputs_change_nothing():
    cases = [case for case in backend_cases.cases() if case.is_float and len(case.inputs) > 1]
    failing = {case.name: found for case in cases if (found := backend_cases.verdict_with_constants(case))}
    assert failing == {}
