"""One thread of BLAS while it is asked for, and then what there was."""

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from onnxplain.engine.linear_algebra import one_thread
from onnxplain.engine.perturbation.odd_pairs import ordered_pairs, unpacked
from onnxplain.engine.perturbation.odd_quadrature import estimate


def counts() -> list[int]:
    """Return how many threads each loaded BLAS would take now."""
    return [library["num_threads"] for library in ThreadpoolController().select(user_api="blas").info()]


@pytest.fixture
def three():
    """Give BLAS three threads, whatever the machine."""
    with threadpool_limits(3, user_api="blas"):
        if set(counts()) != {3}:
            pytest.skip("this BLAS has no threads")
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


def test_shapley_values_are_the_same_to_the_last_bit_whatever_the_threads():
    packed = ordered_pairs(40, 500, np.random.default_rng(0))
    x = 2.0 * unpacked(packed, 40) - 1
    u = x @ np.linspace(-1, 1, 40) + 0.3 * np.sin(x[:, :7].sum(axis=1))
    found = []
    for threads in (1, 4):
        with threadpool_limits(threads, user_api="blas"):
            found.append(estimate(packed, u, 40))
    np.testing.assert_array_equal(found[0].values, found[1].values)
    np.testing.assert_array_equal(found[0].errors, found[1].errors)
