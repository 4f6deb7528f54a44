"""Two small transformers trained as a pair: digits on a canvas, and captions such as "a picture of a seven".

As CLIP (Radford et al. 2021, arXiv:2103.00020): each tower ends in a vector of length one, and training draws vectors
of an image and its caption together and others apart. The digits are scikit-learn's, eight pixels square: each lies
somewhere on a dark canvas of 16 x 16, or fills it, twice as large. Training in NumPy takes half a minute on one core.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..engine.errors import ModelError
from . import digits
from .clip_graph import build_graph
from .folder import Spec, write_model
from .training import Adam, Weights, cross_entropy, initial_weights
from .transformer import HIDDEN, LAYERS, Back, Pass, block_shapes, norm_weights, unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

NAME = "digits-clip"
CANVAS = 16
PATCH = 4
PLACES = (0, 4, 8)  # of a digit: on the grid of patches
LARGE = 0.25  # share of digits that fill the canvas
LENGTH = 8  # tokens of a caption, [pad]s included
WIDTH, HEADS, JOINT = 32, 4, 16
BLOCKS = {"image": 2, "text": 1}
BETWEEN = {"image": 44, "text": 64}  # how wide blocks are between their last two layers
SCALE = 12.0  # of cosines in training: the inverse of a temperature
STEPS = 6000
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-3
UNREAD = 0.1  # share of captions in training that a word is missing from
SEED = 0
LEAST_RIGHT = 0.93

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FORMS = (
    "a {}",
    "the digit {}",
    "a handwritten {}",
    "a picture of the number {}",
    "{} written in white",
    "the number {} in white on black",
)
UNSEEN = "a picture of a handwritten {}"  # not in training
PAD, UNKNOWN, START = "[PAD]", "[UNK]", "[START]"
WORDS = (PAD, UNKNOWN, START, *sorted({w for form in FORMS for w in form.replace("{}", "").split()}), *NUMBERS)
SAMPLES = ((7, UNSEEN), (3, FORMS[0]))
TOKENIZER = f"{NAME}-tokenizer.json"
SPEC = Spec(
    input="image",
    top={"task": "regression", "target": "similarity[0]", "output": "similarity"},
    fields={"modality": "image", "layout": "NCHW"},
    preprocessing={
        "size": [CANVAS, CANVAS],
        "resize": 0,
        "interpolation": "nearest",
        "crop": False,
        "colour": "L",
        "scale": 1 / 255,
        "mean": [0.0],
        "std": [1.0],
    },
    others={"words": {"modality": "text", "layout": "NT", "tokenizer": TOKENIZER, "length": LENGTH}},
)


class Pairs(NamedTuple):
    """Images (n, 1, 16, 16) in 0..1 and token numbers (n, 8) of their captions."""

    images: np.ndarray
    words: np.ndarray


def caption(form: str, number: int) -> str:
    """Return a caption, as ``a handwritten seven``."""
    return form.format(NUMBERS[number])


def encoded(captions: Iterable[str]) -> np.ndarray:
    """Return token numbers (n, 8): [START], the words, and [PAD] up to the length."""
    place = {word: k for k, word in enumerate(WORDS)}
    rows = [[place[START], *(place[word] for word in text.split())] for text in captions]
    return np.array([row + [0] * (LENGTH - len(row)) for row in rows], dtype=np.int64)


def canvas(image: np.ndarray, place: tuple[int, int] | None) -> np.ndarray:
    """Return an 8x8 digit on a canvas (1, 16, 16): at a place (row, column), or large all over it."""
    if place is None:
        return image.repeat(2, axis=-2).repeat(2, axis=-1)
    whole = np.zeros((1, CANVAS, CANVAS), np.float32)
    row, column = place
    whole[:, row : row + digits.IMAGE_SIZE, column : column + digits.IMAGE_SIZE] = image
    return whole


def somewhere(rng: np.random.Generator) -> tuple[int, int] | None:
    """Draw where a digit lies; every fourth is large."""
    if rng.random() < LARGE:
        return None
    row, column = rng.choice(PLACES, 2).tolist()
    return row, column


def drawn(examples: digits.Digits, rng: np.random.Generator) -> Pairs:
    """Return an image and a caption of each number, in a form and at a place drawn at random."""
    images, captions = [], []
    for number in range(digits.CLASSES):
        chosen = rng.choice(np.flatnonzero(examples.digits == number))
        images.append(canvas(examples.images[chosen], somewhere(rng)))
        captions.append(caption(FORMS[rng.integers(len(FORMS))], number))
    words = encoded(captions)
    for row in np.flatnonzero(rng.random(len(words)) < UNREAD):
        words[row, rng.integers(1, np.count_nonzero(words[row]))] = WORDS.index(UNKNOWN)
    return Pairs(np.stack(images), words)


def first_weights(rng: np.random.Generator) -> Weights:
    """Draw the weights of both towers."""
    tokens = (CANVAS // PATCH) ** 2 + 1
    shapes: dict[str, tuple[int, ...]] = {"image.patches": (WIDTH, PATCH**2)}
    norms: Weights = {}
    for tower, count in BLOCKS.items():
        for k in range(count):
            shapes |= block_shapes(f"{tower}.{k}", WIDTH, BETWEEN[tower])
            norms |= norm_weights(f"{tower}.{k}.norm1", WIDTH) | norm_weights(f"{tower}.{k}.norm2", WIDTH)
        shapes[f"{tower}.joint"] = (JOINT, WIDTH)
        norms |= norm_weights(f"{tower}.norm", WIDTH)
    tables = {"image.class": (1, WIDTH), "image.places": (tokens, WIDTH)}
    tables |= {"text.words": (len(WORDS), WIDTH), "text.places": (LENGTH, WIDTH)}
    found = initial_weights(shapes, rng)
    for name in found:
        if name.split(".")[-2] in {*LAYERS, "joint"}:
            found[name] *= np.float32(0.5)
    return found | norms | {n: (0.3 * rng.standard_normal(s)).astype(np.float32) for n, s in tables.items()}


def embed_images(images: np.ndarray, run: Pass) -> tuple[np.ndarray, Back]:
    """Return unit vectors (n, 16) of images, and the way back to the weights."""
    n, side = len(images), CANVAS // PATCH
    cells = images.reshape(n, side, PATCH, side, PATCH).transpose(0, 1, 3, 2, 4).reshape(n, side**2, PATCH**2)
    patches, back_patches = run.dense(cells, "image.patches")
    first = np.broadcast_to(run.weights["image.class"], (n, 1, WIDTH))
    x = np.concatenate([first, patches], axis=1) + run.weights["image.places"]
    y, back_tower = _tower(x, "image", run, None)

    def back(dy: np.ndarray) -> np.ndarray:
        d = back_tower(dy)
        run.add("image.places", d.sum(axis=0))
        run.add("image.class", d[:, 0].sum(axis=0, keepdims=True))
        return back_patches(d[:, 1:])

    return y, back


def embed_words(words: np.ndarray, run: Pass) -> tuple[np.ndarray, Back]:
    """Return unit vectors (n, 16) of captions, and the way back to the weights."""
    x = run.weights["text.words"][words] + run.weights["text.places"]
    y, back_tower = _tower(x, "text", run, np.where(words == 0, HIDDEN, 0.0).astype(np.float32))

    def back(dy: np.ndarray) -> np.ndarray:
        d = back_tower(dy)
        run.add("text.places", d.sum(axis=0))
        table = np.zeros_like(run.weights["text.words"])
        np.add.at(table, words, d)
        run.add("text.words", table)
        return d

    return y, back


def _tower(x: np.ndarray, tower: str, run: Pass, mask: np.ndarray | None) -> tuple[np.ndarray, Back]:
    """Go through the blocks; the first token ends as a unit vector."""
    ways = []
    for k in range(BLOCKS[tower]):
        x, way = run.block(x, f"{tower}.{k}", mask)
        ways.append(way)
    shape = x.shape
    last, back_norm = run.norm(x[:, 0], f"{tower}.norm")
    joint, back_joint = run.dense(last, f"{tower}.joint")
    y, back_unit = unit(joint)

    def back(dy: np.ndarray) -> np.ndarray:
        d = np.zeros(shape, np.float32)
        d[:, 0] = back_norm(back_joint(back_unit(dy)))
        for way in reversed(ways):
            d = way(d)
        return d

    return y, back


def loss_and_gradients(pairs: Pairs, weights: Weights) -> tuple[float, Weights]:
    """Return the contrastive loss and its gradients: which caption is an image's, and which image a caption's."""
    run = Pass(weights, HEADS)
    images, back_images = embed_images(pairs.images, run)
    words, back_words = embed_words(pairs.words, run)
    cosines = images @ words.T
    own = np.arange(len(cosines))
    (by_image, d_image), (by_word, d_word) = (cross_entropy(SCALE * c, own) for c in (cosines, cosines.T))
    d = SCALE * (d_image + d_word.T) / 2
    back_images(d @ words)
    back_words(d.T @ images)
    return (by_image + by_word) / 2, run.gradients


def train(examples: digits.Digits, steps: int = STEPS) -> Weights:
    """Train with Adam, its rate falling to zero."""
    rng = np.random.default_rng(SEED)
    weights = first_weights(rng)
    adam = Adam(weights, WEIGHT_DECAY)
    for step in range(steps):
        _, gradients = loss_and_gradients(drawn(examples, rng), weights)
        adam.step(gradients, LEARNING_RATE * min(1, (step + 1) / 100) * (1 - step / steps))
    return weights


def right(examples: digits.Digits, weights: Weights, form: str = UNSEEN) -> np.ndarray:
    """Say for each digit (n,), somewhere on its canvas, whether its own caption is the nearest of the ten."""
    rng = np.random.default_rng(SEED)
    run = Pass(weights, HEADS)
    words, _ = embed_words(encoded(caption(form, number) for number in range(digits.CLASSES)), run)
    images = np.stack([canvas(image, somewhere(rng)) for image in examples.images])
    found: np.ndarray = (embed_images(images, run)[0] @ words.T).argmax(axis=1) == examples.digits
    return found


def tokenizer() -> str:
    """Return the tokenizer.json of the captions, for the package tokenizers."""
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    special = [{"id": k, "content": word, "special": True} | plain for k, word in enumerate((PAD, UNKNOWN, START))]
    start = {"SpecialToken": {"id": START, "type_id": 0}}
    first, second = ({"Sequence": {"id": part, "type_id": 0}} for part in "AB")
    pieces = {
        "type": "TemplateProcessing",
        "single": [start, first],
        "pair": [start, first, second],
        "special_tokens": {START: {"id": START, "ids": [WORDS.index(START)], "tokens": [START]}},
    }
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": special,
            "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": pieces,
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": {word: k for k, word in enumerate(WORDS)}, "unk_token": UNKNOWN},
        },
        indent=1,
    )


def write(folder: Path, _: Mapping[str, Path]) -> None:
    """Train, and write the model's folder with two held-out digits and captions, as ``digits-clip-seven.npz``.

    ModelError if fewer than 93 % of the held-out digits find their caption.
    """
    training, held_out = digits.data()
    weights = train(training)
    found = right(held_out, weights)
    if found.mean() < LEAST_RIGHT:
        raise ModelError(f"only {found.mean():.1%} of the held-out digits find their own of ten captions")
    write_model(folder, NAME, build_graph(weights, HEADS, BLOCKS, CANVAS, LENGTH), SPEC)
    (folder / TOKENIZER).write_text(tokenizer(), encoding="utf-8", newline="\n")
    samples = folder / "samples"
    samples.mkdir()
    for number, form in SAMPLES:
        chosen = np.flatnonzero(found & (held_out.digits == number))[0]
        image = canvas(held_out.images[chosen], (PLACES[1], PLACES[2]))
        words = encoded([caption(form, number)])
        np.savez_compressed(samples / f"{NAME}-{NUMBERS[number]}.npz", image=image[None], words=words)
