"""The graph of BERT against a forward pass in NumPy, and the reader of safetensors files."""

import json
from math import erf

import numpy as np
import pytest

import onnxplain
from onnxplain.engine.errors import ModelError
from onnxplain.models.bert import build_graph, sizes_of
from onnxplain.models.safetensors import read_safetensors
from onnxplain.models.text import two_classes

HIDDEN, WIDE, HEADS, LAYERS, TOKENS, PLACES = 8, 16, 2, 2, 11, 7


def weights(seed=0):
    rng = np.random.default_rng(seed)

    def some(*shape):
        return (rng.normal(size=shape) * 0.5).astype(np.float32)

    found = {
        "embeddings.word_embeddings.weight": some(TOKENS, HIDDEN),
        "embeddings.token_type_embeddings.weight": some(2, HIDDEN),
        "embeddings.position_embeddings.weight": some(PLACES, HIDDEN),
    }
    linear = {"attention.self.query": (HIDDEN, HIDDEN), "attention.self.key": (HIDDEN, HIDDEN)}
    linear |= {"attention.self.value": (HIDDEN, HIDDEN), "attention.output.dense": (HIDDEN, HIDDEN)}
    linear |= {"intermediate.dense": (WIDE, HIDDEN), "output.dense": (HIDDEN, WIDE)}
    norms = ["embeddings"]
    for layer in range(LAYERS):
        for name, shape in linear.items():
            found[f"encoder.layer.{layer}.{name}.weight"] = some(*shape)
            found[f"encoder.layer.{layer}.{name}.bias"] = some(shape[0])
        norms += [f"encoder.layer.{layer}.attention.output", f"encoder.layer.{layer}.output"]
    for name in norms:
        found[f"{name}.LayerNorm.weight"] = 1 + some(HIDDEN)
        found[f"{name}.LayerNorm.bias"] = some(HIDDEN)
    return found


def normalised(x, w, name):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return scaled * w[f"{name}.LayerNorm.weight"] + w[f"{name}.LayerNorm.bias"]


def linear(x, w, name):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def forward(w, ids, mask, types):
    """The embedding of one sentence, token by token and head by head, in double precision."""
    w = {name: value.astype(np.float64) for name, value in w.items()}
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][types]
    x = normalised(x + w["embeddings.position_embeddings.weight"][: len(ids)], w, "embeddings")
    size = HIDDEN // HEADS
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        q, k, v = (linear(x, w, f"{at}.attention.self.{part}") for part in ("query", "key", "value"))
        context = np.zeros_like(x)
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            for token in range(len(ids)):
                scores = np.array([q[token, part] @ k[other, part] for other in range(len(ids))]) / np.sqrt(size)
                scores = np.where(mask, np.exp(scores - scores.max()), 0.0)
                context[token, part] = (scores / scores.sum()) @ v[:, part]
        x = normalised(linear(context, w, f"{at}.attention.output.dense") + x, w, f"{at}.attention.output")
        wide = linear(x, w, f"{at}.intermediate.dense")
        wide = wide * (1 + np.vectorize(erf)(wide / np.sqrt(2))) / 2
        x = normalised(linear(wide, w, f"{at}.output.dense") + x, w, f"{at}.output")
    mean = x[np.array(mask, dtype=bool)].mean(0)
    return mean / np.linalg.norm(mean)


ROWS = {
    "input_ids": np.array([[1, 5, 3, 0, 10], [2, 2, 9, 4, 7], [6, 0, 0, 0, 0]]),
    "attention_mask": np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]),
    "token_type_ids": np.array([[0, 0, 1, 0, 0], [0, 1, 1, 1, 1], [0, 0, 0, 0, 0]]),
}


def test_graph_equals_a_forward_pass_in_numpy():
    model = onnxplain.load(build_graph(weights(), HEADS).SerializeToString(), device="cpu")
    found = model.predict(ROWS)["embedding"]
    expected = [forward(weights(), *row) for row in zip(*ROWS.values(), strict=True)]
    assert found == pytest.approx(np.array(expected), abs=2e-5)
    assert model.batching == "any"


def test_classifier_gives_the_probabilities_of_a_logistic_regression():
    w, bias = np.random.default_rng(1).normal(size=HIDDEN), 0.3
    proto = build_graph(weights(), HEADS, two_classes(w, bias))
    model = onnxplain.load(proto.SerializeToString(), device="cpu")
    found = model.predict(ROWS)["probabilities"][:, 1]
    score = np.array([forward(weights(), *row) for row in zip(*ROWS.values(), strict=True)]) @ w + bias
    assert found == pytest.approx(1 / (1 + np.exp(-score)), abs=1e-5)
    assert onnxplain.explain(model, {n: r[:1] for n, r in ROWS.items()}, "ablation").manifest["target_space"] == "logit"


def test_embedding_sizes_are_read_from_the_graph():
    from onnxplain.engine.graph import embedding_rows

    assert embedding_rows(build_graph(weights(), HEADS), "input_ids") == (TOKENS, PLACES)
    assert sizes_of(weights(), HEADS) == (LAYERS, HEADS, HIDDEN)


def test_missing_tensors_are_named():
    broken = {n: w for n, w in weights().items() if n != "encoder.layer.1.output.dense.bias"}
    with pytest.raises(ModelError, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        build_graph(broken, HEADS)
    with pytest.raises(ModelError, match="BERT"):
        build_graph({}, HEADS)
    with pytest.raises(ModelError, match="BERT"):
        build_graph(weights(), 3)


def packed(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def test_tensors_are_read_as_they_were_written():
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, -2], np.int64)
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "I64", "shape": [2], "data_offsets": [24, 40]},
    }
    found = read_safetensors(packed(header, a.tobytes() + b.tobytes()))
    assert list(found) == ["a", "b"]
    assert np.array_equal(found["a"], a)
    assert np.array_equal(found["b"], b)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 8,
        (1 << 62).to_bytes(8, "little") + b"{}",
        packed(b"[1]"),
        packed(b"{nope"),
        packed(b'{"a":' * 50_000),
        packed({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}),  # outside the file
        packed({"a": {"dtype": "F32", "shape": [1 << 60, 1 << 60], "data_offsets": [0, 8]}}, b"\x00" * 8),
        packed({"a": {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]}}, b"\x00" * 8),
        packed({"a": {"dtype": "F32", "shape": [1], "data_offsets": [8, 4]}}, b"\x00" * 8),
        packed({"a": {"dtype": "object", "shape": [1], "data_offsets": [0, 8]}}, b"\x00" * 8),
        packed({"a": 3}),
    ],
)
def test_damaged_and_hostile_files_are_refused(data):
    with pytest.raises(ModelError):
        read_safetensors(data)
