"""One thread of NumPy's BLAS while methods, metrics and analyses compute, and then what there was."""

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

import onnxplain
from onnxplain.engine.linear_algebra import OF_NUMPY, one_thread
from onnxplain.engine.perturbation import shapley


def counts() -> list[int]:
    """Return how many threads NumPy's BLAS would take now; SciPy's has its own, and comes later."""
    found = ThreadpoolController().select(prefix=OF_NUMPY).info()
    return [library["num_threads"] for library in found if "numpy" in library["filepath"]]


@pytest.fixture
def three():
    """Give BLAS three threads, whatever the machine."""
    with threadpool_limits(3, user_api="blas"):
        if set(counts()) != {3}:
            pytest.skip("NumPy here has another BLAS")
        yield


@pytest.mark.usefixtures("three")
def test_inside_there_is_one_thread_and_afterwards_what_there_was():
    with one_thread(), one_thread():
        assert set(counts()) == {1}
    assert set(counts()) == {3}


@pytest.mark.usefixtures("three")
def test_an_error_inside_gives_the_threads_back():
    with pytest.raises(ZeroDivisionError), one_thread():
        _ = 1 / 0
    assert set(counts()) == {3}


@pytest.mark.usefixtures("three")
def test_a_method_computes_on_one_thread(monkeypatch):
    seen = []
    estimate = shapley.estimate
    monkeypatch.setattr(shapley, "estimate", lambda *args: (seen.extend(counts()), estimate(*args))[1])
    model = onnxplain.load(onnxplain.models.build("wine-mlp"))
    onnxplain.explain(model, np.ones((1, 13), np.float32), "shapley", baseline=0, budget=200)
    assert set(seen) == {1}
    assert set(counts()) == {3}


def test_shapley_values_are_the_same_to_the_last_bit_whatever_the_threads():
    model = onnxplain.load(onnxplain.models.build("digits-cnn"))
    digit = str(next(iter(onnxplain.models.samples("digits-cnn"))))
    found = []
    for threads in (1, 4):
        with threadpool_limits(threads, user_api="blas"):
            found.append(onnxplain.explain(model, digit, "shapley", features="grid:4", budget=600).values["image"])
    np.testing.assert_array_equal(*found)
