"""Problems over small networks, for tests of the parts that class activation maps are made of."""

import numpy as np
import pytest

import onnxplain
from onnxplain.engine.explain import samples_of
from onnxplain.engine.problem import Problem
from onnxplain.engine.target import resolve


@pytest.fixture
def problem_of():
    def make(proto, x, target="0", wrt=None):
        model = onnxplain.load(proto.SerializeToString(), device="cpu", threads=1)
        (sample,) = samples_of(model, x if isinstance(x, dict) else np.asarray(x))
        return Problem(model, sample, resolve(target, model, sample.feeds), wrt=wrt, baseline_setting=0.0)

    return make
