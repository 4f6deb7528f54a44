"""The score that one metric gives to one method."""

import onnxplain


def value(onnx, x, method, metric, settings=None, target="top", **given):
    """Evaluate one metric, with its settings."""
    (score,) = onnxplain.evaluate(onnx, x, method, [(metric, settings or {})], target=target, controls=False, **given)
    return score
