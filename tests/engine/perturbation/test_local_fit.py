import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Lasso, Ridge, lars_path

from onnxplain.engine.perturbation.local_fit import LocalFit, Regression

seeds = st.integers(0, 2**32 - 1)


def example(seed, rows=60, size=6, *, binary=True):
    """Rows with correlated columns, weights from 0 to 1, and scores that no linear function gives."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, size)) + rng.normal(size=(rows, 1))
    x = x > 0 if binary else x
    y = 1e3 + np.maximum(x @ rng.normal(size=size), 0) + rng.normal(size=rows) / 4
    return x, rng.random(rows), y


def fitted(x, w, y, blocks=3):
    fit = LocalFit(x.shape[1])
    for part in np.array_split(np.arange(len(y)), blocks):
        fit.add(x[part], w[part], y[part])
    return fit


@given(seeds, st.booleans(), st.floats(1e-3, 10), st.integers(1, 7))
def test_ridge_is_that_of_scikit_learn(seed, binary, penalty, blocks):
    x, w, y = example(seed, binary=binary)
    found = fitted(x, w, y, blocks).solve(Regression("ridge", penalty))
    peer = Ridge(alpha=penalty, solver="cholesky").fit(x.astype(float), y, sample_weight=w)
    np.testing.assert_allclose(found.coefficients, peer.coef_, atol=1e-8)
    assert found.intercept == pytest.approx(peer.intercept_)
    assert found.r2 == pytest.approx(peer.score(x.astype(float), y, sample_weight=w))


@given(seeds)
def test_without_a_penalty_it_solves_the_normal_equations(seed):
    """The slow way: every row multiplied by the root of its weight, an intercept as a column, and QR."""
    x, w, y = example(seed)
    design = np.column_stack([np.ones(len(y)), x]) * np.sqrt(w)[:, None]
    slow = np.linalg.lstsq(design, y * np.sqrt(w), rcond=None)[0]
    found = fitted(x, w, y).solve(Regression("ridge", 0))
    np.testing.assert_allclose([found.intercept, *found.coefficients], slow, atol=1e-6)


@given(seeds, st.floats(1e-3, 0.2))
def test_lasso_is_that_of_scikit_learn(seed, penalty):
    x, w, y = example(seed, binary=False)
    found = fitted(x, w, y).solve(Regression("lasso", penalty))
    peer = Lasso(alpha=penalty, tol=1e-12, max_iter=100_000).fit(x, y, sample_weight=w)
    np.testing.assert_allclose(found.coefficients, peer.coef_, atol=1e-5)
    assert found.intercept == pytest.approx(peer.intercept_)


def squared_error(x, w, y, columns):
    design = np.column_stack([np.ones(len(y)), x[:, columns]]) * np.sqrt(w)[:, None]
    right = y * np.sqrt(w)
    return float(((right - design @ np.linalg.lstsq(design, right, rcond=None)[0]) ** 2).sum())


@given(seeds, st.integers(1, 5))
def test_forward_selection_lowers_the_squared_error_most_at_each_step(seed, count):
    x, w, y = example(seed)
    chosen = []
    for _ in range(count):
        rest = [k for k in range(x.shape[1]) if k not in chosen]
        chosen.append(min(rest, key=lambda k: squared_error(x, w, y, [*chosen, k])))
    found = fitted(x, w, y).solve(Regression("ridge", 1.0, count, "forward"))
    assert found.used.tolist() == sorted(chosen)
    assert np.flatnonzero(found.coefficients).tolist() == sorted(chosen)
    assert np.flatnonzero(found.errors).tolist() == sorted(chosen)


@given(seeds, st.integers(1, 5))
def test_lasso_path_keeps_the_last_step_with_so_few_columns(seed, count):
    x, w, y = example(seed, binary=False)
    middle = np.average(x, axis=0, weights=w), np.average(y, weights=w)
    _, _, path = lars_path((x - middle[0]) * np.sqrt(w)[:, None], (y - middle[1]) * np.sqrt(w), method="lasso")
    sizes = np.count_nonzero(path, axis=0)
    expected = np.flatnonzero(path[:, np.flatnonzero(sizes <= count)[-1]])
    found = fitted(x, w, y).solve(Regression("ridge", 1.0, count, "lasso"))
    assert found.used.tolist() == expected.tolist()


def test_largest_coefficients_are_kept():
    rng = np.random.default_rng(0)
    x = rng.random((200, 5)) < 0.5
    y = x @ [1.0, -7.0, 2.0, 5.0, 0.5]
    found = fitted(x, np.ones(200), y).solve(Regression("ridge", 1e-6, 2, "largest"))
    assert found.used.tolist() == [1, 3]


def test_columns_that_never_change_get_nothing():
    x, w, y = example(3)
    x[:, 2] = True
    for how in (Regression("ridge", 0), Regression("ridge", 1), Regression("lasso", 0.01), Regression(select=6)):
        found = fitted(x, w, y).solve(how)
        assert found.coefficients[2] == pytest.approx(0, abs=1e-9)
        assert np.isfinite(found.errors).all()


def test_scores_that_do_not_vary_leave_r2_open():
    x, w, _ = example(4)
    found = fitted(x, w, np.full(len(w), 2.5)).solve(Regression())
    assert found.intercept == 2.5
    assert not found.coefficients.any()
    assert np.isnan(found.r2)


@pytest.mark.parametrize(("kind", "select"), [("ridge", None), ("ridge", 3), ("lasso", None)])
def test_two_standard_errors_hold_the_limit_95_times_in_100(kind, select):
    """The limit is the weighted regression over all 2^M rows."""
    size, penalty = 6, 0.0
    every = np.array(list(itertools.product([False, True], repeat=size)))
    rng = np.random.default_rng(1)
    hidden, last = rng.normal(size=(size, 12)), rng.normal(size=12)
    last = last * 3

    def score(z):
        return np.maximum(z @ hidden, 0) @ last

    def weight(z):
        return np.exp(-(size - z.sum(axis=1)) / size)

    how = Regression(kind, penalty, select, "forward")
    limit = fitted(every, weight(every), score(every)).solve(how)
    held, errors = [], []
    for _ in range(150):
        z = rng.random((300, size)) < 0.5
        found = fitted(z, weight(z), score(z)).solve(how)
        same = found.used.tolist() == limit.used.tolist()
        if same:
            k = found.used
            errors.append((found.coefficients - limit.coefficients)[k] / found.errors[k])
            held.append(np.abs(errors[-1]) < 2)
    assert len(held) > 100
    assert 0.92 < np.mean(held) < 0.98
    assert abs(np.mean(errors)) < 0.15
