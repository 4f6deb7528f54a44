"""Do methods for attention find the words that a sentence is judged by? The words of largest value are masked.

Of held-out sentences of ``minilm-sentiment`` (``onnxplain models build minilm-sentiment``) the three tokens of largest
value for the predicted class become the mask word; what is measured is how far the difference of the two logits falls.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import onnxplain
from benchmarks import machine
from onnxplain.engine.explain import samples_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnxplain.engine.inputs.sample import Sample
    from onnxplain.engine.model import Model

ABOUT = "mean fall of the logit difference when the three tokens of largest value are masked, and its standard error"
METHODS = (
    "attention-map",
    "attention-rollout",
    "generic-attention",
    "transformer-attribution",
    "attn-lrp",
    "conservative-lrp",
    "input-x-gradient",
)
MASK = 103  # the number of [MASK] in the vocabulary of uncased BERT
MASKED = 3
RANDOM = 5  # random choices a sentence


def main(sentences: int = 40, seed: int = 0) -> list[dict[str, Any]]:
    """Measure, print and write the table."""
    model = onnxplain.load(onnxplain.models.path("minilm-sentiment"), threads=1)
    falls: dict[str, list[float]] = {name: [] for name in (*METHODS, "random")}
    rng = np.random.default_rng(seed)
    for sample in _samples(model, sentences, rng):
        inner = np.arange(1, len(sample.texts[0].tokens) - 1)
        for name in METHODS:
            found = onnxplain.explain(model, sample, name)
            values = next(iter(found.values.values())).reshape(len(sample.texts[0].tokens), -1).sum(axis=1)
            falls[name].append(_fall(model, sample, inner[np.argsort(-values[inner], kind="stable")]))
        falls["random"].append(float(np.mean([_fall(model, sample, rng.permutation(inner)) for _ in range(RANDOM)])))
    rows = [
        {
            "method": name,
            "sentences": len(found),
            "fall": float(np.mean(found)),
            "standard_error": float(np.std(found, ddof=1) / np.sqrt(len(found))),
        }
        for name, found in falls.items()
    ]
    for row in sorted(rows, key=lambda row: -row["fall"]):
        print(f"{row['method']:26}{row['fall']:6.2f} ± {row['standard_error']:.2f}")
    machine.write("attention-words", rows, ABOUT)
    return rows


def _samples(model: Model, count: int, rng: np.random.Generator) -> Iterator[Sample]:
    held_out = Path(str(model.path)).parent / "held-out.csv"
    with held_out.open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    rng.shuffle(texts)
    chosen = [text for text in texts if 8 < len(text.split()) < 30][:count]
    with tempfile.TemporaryDirectory() as folder:
        for text in chosen:
            path = Path(folder) / "sentence.txt"
            path.write_text(text.replace("\n", " ") + "\n", encoding="utf-8")
            yield next(iter(samples_of(model, path)))


def _fall(model: Model, sample: Sample, order: np.ndarray) -> float:
    """Return how far the winner's lead falls when the first tokens of an order are masked."""
    numbers = sample.feeds["input_ids"].copy()
    numbers[0, order[:MASKED]] = MASK
    before, after = (
        model.activations(sample.feeds | {"input_ids": ids}, ["logits"])["logits"][0]
        for ids in (sample.feeds["input_ids"], numbers)
    )
    winner = int(before.argmax())
    return float((before[winner] - before[1 - winner]) - (after[winner] - after[1 - winner]))


if __name__ == "__main__":
    main()
