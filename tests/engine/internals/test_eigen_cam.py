"""Eigen-CAM: the direction that holds most of the activations, with a sign that does not depend on the solver."""

import numpy as np
import pytest

import onnxplain
from map_networks import convolutions, picture, vision_transformer
from onnxplain.engine.errors import ModelError
from onnxplain.engine.internals.eigen_cam import first_direction

MODEL = onnxplain.load(convolutions().SerializeToString(), device="cpu")
X = picture(3, 12, 8)


def test_direction_is_the_largest_eigenvector_of_the_products_of_channels():
    O = np.random.default_rng(2).normal(size=(20, 4))  # noqa: E741 - the paper's letter
    v1 = first_direction(O)
    assert np.allclose(O.T @ O @ v1, np.linalg.eigvalsh(O.T @ O)[-1] * v1)
    assert np.linalg.norm(v1) == pytest.approx(1)
    assert v1[np.argmax(np.abs(v1))] > 0
    assert np.allclose(first_direction(-O), v1)


def test_map_is_the_activations_along_it():
    found = onnxplain.explain(MODEL, X, "eigen-cam", target=0)
    A = MODEL.activations(X, ["features"])["features"][0].astype(float)
    assert np.allclose(found.extras["map"], np.tensordot(found.extras["weights"], A, 1))
    assert found.evaluations == 1


def test_a_centred_map_sums_to_zero():
    found = onnxplain.explain(MODEL, X, "eigen-cam", target=0, centred=True)
    assert found.extras["map"].sum() == pytest.approx(0, abs=1e-9)
    assert np.abs(found.extras["map"]).max() > 0.1


def test_the_class_does_not_matter():
    maps = [onnxplain.explain(MODEL, X, "eigen-cam", target=k).extras["map"] for k in (0, 1)]
    assert np.array_equal(*maps)


def test_tokens_become_a_grid():
    model = onnxplain.load(vision_transformer().SerializeToString(), device="cpu")
    x = picture(3, 8, 12)
    found = onnxplain.explain(model, x, "eigen-cam", target=0)
    tokens = model.activations(x, ["stream1"])["stream1"][0, 1:]
    assert np.allclose(found.extras["map"], (tokens @ found.extras["weights"]).reshape(2, 3))
    assert found.values["image"].shape == (1, 3, 8, 12)


def test_activations_that_are_not_finite_are_refused():
    with pytest.raises(ModelError, match=r"finite|nan"):
        onnxplain.explain(MODEL, np.full_like(X, 3e38), "eigen-cam", target=0, wrt="conv")
