"""The digits network: gradients, the committed files, and its accuracy through ONNX Runtime."""

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from onnxplain.engine.errors import ModelError
from onnxplain.models import digits
from onnxplain.models.catalogue import DATA, build, find, path, recipes, samples


@pytest.fixture(scope="module")
def held_out():
    return digits.data()[1]


def probabilities(model, images):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"image": images})[0]


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


def test_committed_network_reads_held_out_digits(held_out):
    result = probabilities(path("digits-cnn").read_bytes(), held_out.images)
    np.testing.assert_allclose(result.sum(axis=1), 1, rtol=1e-5)
    assert (result.argmax(axis=1) == held_out.digits).mean() >= 0.97


def test_held_out_digits_are_not_trained_on():
    training, held_out = digits.data()
    assert (len(training.images), len(held_out.images)) == (1437, 360)
    seen = {image.tobytes() for image in training.images}
    assert not [image for image in held_out.images if image.tobytes() in seen]


def test_committed_graph_ends_in_a_softmax_after_the_logits():
    model = onnx.load(DATA / "digits-cnn.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(n.op_type, list(n.output)) for n in model.graph.node][-2:] == [
        ("Gemm", ["logits"]),
        ("Softmax", ["probabilities"]),
    ]
    assert [o.name for o in model.graph.output] == ["probabilities"]


def test_committed_files_are_small_and_those_of_the_recipe():
    named = [name for recipe in recipes() for name in recipe.embedded]
    assert sorted(file.name for file in DATA.iterdir()) == sorted(named)
    assert sum(file.stat().st_size for file in DATA.iterdir()) < 300_000
    assert (DATA / "digits-cnn.onnx").stat().st_size == find("digits-cnn").size < 300_000
    assert (DATA / "digits-cnn.toml").read_text(encoding="utf-8") == digits.SPEC.toml()


@pytest.mark.parametrize("file", samples("digits-cnn"), ids=lambda file: file.stem)
def test_sample_image_shows_the_digit_that_it_is_called_after(file, held_out):
    with Image.open(file) as image:
        assert (image.mode, image.size) == ("L", (8, 8))
        pixels = np.asarray(image)
    shown = probabilities(path("digits-cnn").read_bytes(), (pixels[None, None] / 255).astype(np.float32))
    assert shown.argmax() == int(file.stem.removeprefix("digits-"))
    assert (np.rint(held_out.images * 255) == pixels).all(axis=(1, 2, 3)).any()


def test_graph_computes_what_the_training_code_computes(held_out):
    weights = digits.initial_weights(digits.SHAPES, np.random.default_rng(3))
    result = probabilities(digits.build_graph(weights).SerializeToString(), held_out.images[:20])
    np.testing.assert_allclose(result, softmax(digits.logits(held_out.images[:20], weights)), rtol=1e-4, atol=1e-6)


def test_gradients_equal_finite_differences(held_out):
    rng = np.random.default_rng(1)
    weights = {name: w.astype(np.float64) for name, w in digits.initial_weights(digits.SHAPES, rng).items()}
    images = held_out.images[:4] + rng.random((4, 1, 8, 8)) / 100  # no ties in the maxima
    _, gradients = digits.loss_and_gradients(images, held_out.digits[:4], weights)
    for name, w in weights.items():
        direction = rng.standard_normal(w.shape)
        after, before = (
            digits.loss_and_gradients(images, held_out.digits[:4], weights | {name: w + step * direction})[0]
            for step in (1e-7, -1e-7)
        )
        assert (after - before) / 2e-7 == pytest.approx((gradients[name] * direction).sum(), rel=1e-4)


def test_loss_of_equal_logits_is_the_log_of_ten(held_out):
    weights = {
        name: np.zeros_like(w) for name, w in digits.initial_weights(digits.SHAPES, np.random.default_rng(0)).items()
    }
    assert digits.loss_and_gradients(held_out.images, held_out.digits, weights)[0] == pytest.approx(np.log(10))


def test_adding_patches_is_the_adjoint_of_taking_them():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 4, 5, 27))
    assert (digits.patches(x) * y).sum() == pytest.approx((x * digits.add_patches(y)).sum())


def test_recipe_trains_the_network_again(tmp_path, monkeypatch, held_out):
    monkeypatch.setenv("ONNXPLAIN_HOME", str(tmp_path))
    file = build("digits-cnn", again=True)
    assert file == tmp_path / "models" / "digits-cnn" / "digits-cnn.onnx"
    assert (probabilities(file.read_bytes(), held_out.images).argmax(axis=1) == held_out.digits).mean() >= 0.97
    for name in ("digits-3.png", "digits-8.png"):
        assert (file.parent / "samples" / name).read_bytes() == (DATA / name).read_bytes()
    assert build("digits-cnn", obtain=None) == path("digits-cnn")


def test_network_that_learnt_too_little_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("ONNXPLAIN_HOME", str(tmp_path))
    monkeypatch.setattr(digits, "train", lambda _: digits.initial_weights(digits.SHAPES, np.random.default_rng(0)))
    with pytest.raises(ModelError, match="of the held-out digits right"):
        build("digits-cnn", again=True)
    assert not list((tmp_path / "models").iterdir())
