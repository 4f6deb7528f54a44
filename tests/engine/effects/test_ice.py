import numpy as np
import pytest

import onnxplain
from effect_models import classifier, opened, products
from onnxplain import SettingError
from oracles.graphs import linear, relu_of

ROW_224 = np.array([(5, 1, 0), (6, 2, 0), (7, 4, 0)], np.float32)


def test_row_224_curves_and_centred_curves():
    mine = opened(products((1, 1, 0), [(0, 1)]), task="regression")
    grid = {"columns": "age", "values": [0, 1, 2]}
    found = onnxplain.analyse(mine, ROW_224, "ice", **grid)
    np.testing.assert_allclose(found.arrays["single/0"], [[1, 3, 5], [2, 5, 8], [4, 9, 14]])
    np.testing.assert_allclose(found.arrays["mean/0"], [[2.33333, 5.66667, 9]], atol=1e-5)
    counted = onnxplain.analyse(mine, ROW_224, "ice", centre="first", **grid)
    np.testing.assert_allclose(counted.arrays["single/0"], [[0, 2, 4], [0, 3, 6], [0, 5, 10]])
    np.testing.assert_allclose(counted.arrays["spread/0"], [[0, 1.24722, 2.49444]], atol=1e-5)


def test_row_225_centres_and_slopes():
    mine = opened(relu_of((1, -1, 0), 0, (0, 0, 0)), task="regression")
    rows = np.array([(0, -1, 0), (0, 1, 0), (0, 3, 0)], np.float32)
    grid = {"columns": "age", "values": [0, 2, 4]}
    found = onnxplain.analyse(mine, rows, "ice", **grid)
    np.testing.assert_allclose(found.arrays["single/0"], [[1, 3, 5], [0, 1, 3], [0, 0, 1]])
    np.testing.assert_allclose(found.arrays["slope/0"], [[1, 1], [0.5, 1], [0, 0.5]])
    first = onnxplain.analyse(mine, rows, "ice", centre="first", **grid)
    np.testing.assert_allclose(first.arrays["single/0"], [[0, 2, 4], [0, 1, 3], [0, 0, 1]])
    middle = onnxplain.analyse(mine, rows, "ice", centre="middle", **grid)
    np.testing.assert_allclose(middle.arrays["single/0"], [[-2, 0, 2], [-1, 0, 2], [0, 0, 1]])
    last = onnxplain.analyse(mine, rows, "ice", centre="last", **grid)
    np.testing.assert_allclose(last.arrays["single/0"][:, -1], 0)


def test_columns_are_ranked_by_how_much_rows_differ():
    """x1 x2 differs from row to row, 5 x3 does not, however steep."""
    rows = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    found = onnxplain.analyse(opened(products((0, 0, 5), [(0, 1)]), task="regression"), rows, "ice")
    assert set(found.arrays["panels"].tolist()[:2]) == {"age", "income"}
    assert found.rows[-1][0] == "town"
    assert found.rows[-1][1] == pytest.approx(0, abs=1e-6)
    assert found.rows[-1][2] > 10


def test_parallel_lines_of_a_linear_model():
    rows = np.random.default_rng(0).normal(size=(25, 3)).astype(np.float32)
    found = onnxplain.analyse(opened(linear((1, 2, 3)), task="regression"), rows, "ice", centre="first", points=6)
    for place in range(3):
        np.testing.assert_allclose(np.ptp(found.arrays[f"single/{place}"], axis=0), 0, atol=1e-5)


def test_one_class_must_be_named():
    rows = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    with pytest.raises(SettingError, match="ice is of one class, and this model has 3"):
        onnxplain.analyse(classifier(), rows, "ice")
    found = onnxplain.analyse(classifier(), rows, "ice", target="owl", columns=[0])
    assert found.arrays["single/0"].shape == (10, 10)  # ten values only
    assert found.words["value"] == "logit of owl"


def test_a_single_row_has_a_curve_over_given_values():
    found = onnxplain.analyse(
        opened(linear((1, 2, 3)), task="regression"), ROW_224[:1], "ice", columns="income", values=[-1, 1]
    )
    np.testing.assert_allclose(found.arrays["single/0"], [[3, 7]])
