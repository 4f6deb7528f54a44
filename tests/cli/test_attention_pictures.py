"""Attention from steps of a decoder to words of its source, as a picture, by the command line."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import Explanation
from small_graphs import model_of

pytest.importorskip("tokenizers")

WORDS = ("[PAD]", "[UNK]", "the", "dog", "bites", "a", "man")
SPEC = """
[inputs.{name}]
modality = "text"
layout = "NT"
tokenizer = "words.json"
length = {length}
"""


@pytest.fixture
def copier(tmp_path):
    """A decoder whose every step reads the same word in the source: softmax(E[words] E[source]^T) E[source] E^T."""
    nodes = [
        helper.make_node("Gather", ["E", "source"], ["k"]),
        helper.make_node("Gather", ["E", "words"], ["q"]),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "k"], ["mixed"]),
        helper.make_node("MatMul", ["mixed", "Et"], ["y"]),
    ]
    E = 3 * np.eye(len(WORDS), dtype=np.float32)
    kinds = {"source": (TensorProto.INT64, ["batch", 3]), "words": (TensorProto.INT64, ["batch", 3])}
    proto = model_of(nodes, kinds, {"y": (TensorProto.FLOAT, ["batch", 3, len(WORDS)])}, {"E": E, "Et": E.T})
    onnx.save(proto, tmp_path / "copier.onnx")
    vocabulary = {word: k for k, word in enumerate(WORDS)}
    document = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }
    (tmp_path / "words.json").write_text(json.dumps(document))
    spec = "".join(SPEC.format(name=name, length=3) for name in kinds)
    (tmp_path / "copier.toml").write_text(spec)
    return tmp_path / "copier.onnx"


def test_steps_of_the_decoder_stand_down_and_words_of_the_source_across(run, copier, tmp_path):
    texts = ("--text", "dog bites man", "--text-pair", "man dog a")
    arguments = (
        "-m",
        "attention-map",
        "-m",
        "attention-rollout",
        "--target",
        "y[0,6]",
        "-o",
        "out",
        "--mode",
        "matrix",
    )
    found = run("explain", copier, *texts, *arguments)
    assert found.exit_code == 0, found.stderr
    (file,) = (tmp_path / "out").glob("*.attention-map.npz")
    kept = Explanation.load(file)
    assert kept.extras["inputs"].tolist() == ["words", "source"]
    peaked = np.exp(9) / (np.exp(9) + 2)
    expected = np.array([[1 - peaked, 1 - peaked, 2 * peaked], [2 * peaked, 1 - peaked, 1 - peaked], [2 / 3] * 3]) / 2
    np.testing.assert_allclose(kept.extras["matrix"], expected, atol=1e-6)
    assert kept.extras["rows"].tolist() == [0]
    figure = kept.plot(mode="matrix")
    axes = next(a for a in figure.axes if a.images)
    assert [t.get_text() for t in axes.get_yticklabels()] == ["man", "dog", "a"]  # both have three tokens
    assert [t.get_text() for t in axes.get_xticklabels()] == ["dog", "bites", "man"]
    said = " ".join(t.get_text() for t in figure.texts).replace("\n", " ")
    assert "Rows: tokens of words that read; columns: tokens of source that are read." in said
    assert (tmp_path / "out" / "index.html").read_text().count("data:image/png") == 2


def test_a_method_without_a_matrix_says_so(run, digit):
    found = run(
        "explain", "digits-cnn", digit, "-m", "ablation", "--features", "grid:2", "-o", "out", "--mode", "matrix"
    )
    assert found.exit_code == 3
    assert "'ablation' gives no matrix of tokens" in found.stderr
