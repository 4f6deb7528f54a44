"""Methods that only predict, at an inner tensor: against plain loops over the part of the network behind it."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import onnxplain
from map_networks import channels_last_features, convolutions, picture, vision_transformer
from onnxplain.engine.errors import SettingError
from onnxplain.engine.graph.feed import feed_at
from small_graphs import model_of


def behind(proto, x, layer, target):
    """The activations of a layer, and the score that the network behind it gives to changed ones."""
    model = onnxplain.load(proto.SerializeToString(), device="cpu")
    row = model.activations(x, [layer])[layer]
    session = onnxruntime.InferenceSession(feed_at(proto, layer, ["y"], ["n", *row.shape[1:]]).SerializeToString())
    return model, row, lambda changed: float(session.run(None, {layer: changed})[0][0, target])


@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_ablation_of_channels_is_the_drop_without_each(batch):
    x = picture(3, 12, 8)
    _, row, score = behind(convolutions(), x, "features", 1)
    model = onnxplain.load(convolutions(batch=batch).SerializeToString(), device="cpu")
    found = onnxplain.explain(model, x, "ablation", target=1, wrt="features")
    drops = []
    for k in range(row.shape[1]):
        changed = row.copy()
        changed[:, k] = 0
        drops.append(score(row) - score(changed))
    assert np.allclose(found.feature_values, drops, atol=1e-5)
    assert found.feature_names[:2] == ("channel 0", "channel 1")
    assert found.values["features"].shape == row.shape
    spread = np.broadcast_to(np.reshape(drops, (1, -1, 1, 1)), row.shape)
    assert np.allclose(found.values["features"], spread, atol=1e-5)
    assert np.allclose(found.score, score(row), atol=1e-5)


def test_shapley_values_of_channels_that_last_are_told_by_the_operators():
    proto, x = channels_last_features(), picture(6, 10, 3)
    model, row, score = behind(proto, x, "features", 0)
    found = onnxplain.explain(model, x, "exact-shapley", target=0, wrt="features")
    assert len(found.feature_values) == row.shape[-1]
    assert abs(found.gap) < 1e-5
    assert np.isclose(found.score - found.baseline_score, score(row) - score(np.zeros_like(row)), atol=1e-5)


def test_elements_and_a_baseline_of_ones_own():
    proto, x = vision_transformer(), picture(3, 8, 12)
    model, row, score = behind(proto, x, "stream1", 2)
    labels = np.arange(row.shape[1]).reshape(1, -1, 1)
    found = onnxplain.explain(model, x, "ablation", target=2, wrt="stream1", features=labels, baseline=0.5)
    drops = []
    for token in range(row.shape[1]):
        changed = row.copy()
        changed[:, token] = 0.5
        drops.append(score(row) - score(changed))
    assert np.allclose(found.feature_values, drops, atol=1e-5)


def test_channels_of_words_are_told_by_the_operators():
    """A text has no positions that a map could be laid over: its hidden states have channels all the same."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"]),
        helper.make_node("MatMul", ["words", "mix"], ["states"]),
        helper.make_node("Tanh", ["states"], ["hidden"]),
        helper.make_node("ReduceSum", ["hidden", "axes"], ["sums"], keepdims=0),
        helper.make_node("MatMul", ["sums", "head"], ["y"]),
    ]
    rng = np.random.default_rng(4)
    stored = {
        n: rng.normal(size=s).astype(np.float32) for n, s in (("table", (9, 4)), ("mix", (4, 3)), ("head", (3, 2)))
    }
    ends = {"ids": (TensorProto.INT64, ["n", 5])}, {"y": (TensorProto.FLOAT, ["n", 2])}
    proto = model_of(nodes, *ends, stored | {"axes": np.array([1])})
    ids = np.array([[1, 4, 8, 0, 2]])
    for tensor, values in (("words", stored["table"][ids]), ("hidden", np.tanh(stored["table"][ids] @ stored["mix"]))):
        found = onnxplain.explain(onnxplain.load(proto.SerializeToString()), ids, "ablation", target=1, wrt=tensor)
        hidden = (lambda v: np.tanh(v @ stored["mix"])) if tensor == "words" else (lambda v: v)
        score = lambda v: float((hidden(v).sum(1) @ stored["head"])[0, 1])  # noqa: E731, B023
        drops = [score(values) - score(values * (np.arange(values.shape[2]) != k)) for k in range(values.shape[2])]
        assert np.allclose(found.feature_values, drops, atol=1e-5)


def test_the_result_replays_and_names_the_model_that_was_asked_about(tmp_path):
    file = tmp_path / "net.onnx"
    file.write_bytes(convolutions().SerializeToString())
    model = onnxplain.load(file, device="cpu")
    found = onnxplain.explain(model, picture(3, 12, 8), "kernel-shap", target=1, wrt="features", seed=3)
    assert found.manifest["model_digest"] == model.digest
    assert found.manifest["wrt"] == "features"
    again = onnxplain.replay(onnxplain.Explanation.load(found.save(tmp_path / "found.npz")))
    assert again == found


def test_what_cannot_be_left_out_is_refused():
    model = onnxplain.load(convolutions().SerializeToString(), device="cpu")
    x = picture(3, 12, 8)
    with pytest.raises(SettingError, match="is the target itself"):
        onnxplain.explain(model, x, "ablation", target="features[1]", wrt="features")
    with pytest.raises(SettingError, match="no tensor 'featurs'"):
        onnxplain.explain(model, x, "ablation", target=1, wrt="featurs")
