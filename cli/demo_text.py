"""The sentence of the demonstration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import print_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from .demo import Scene

ENCODER, COUNTS = "minilm-sentiment", "tfidf-sentiment"
SENTENCE = "wonderful.txt"


def text_scenes(scene: type[Scene], *, is_ready: Callable[[str], bool], is_built: Callable[[str], bool]) -> list[Scene]:
    """Return the scene of a sentence, explained for the encoder where that has been built, else for the small model.

    ``is_ready`` says whether a model has been built, ``is_built`` builds it where that may be done. Without either
    model the sentence is left out, and a note says how to get one.
    """
    from ..models import catalogue

    name = ENCODER if is_ready(ENCODER) else COUNTS
    if not is_built(name):
        print_error(f"no sentence is explained: that takes a model (onnxplain models build {COUNTS})", "note")
        return []
    (file,) = [sample for sample in catalogue.samples(name) if sample.name == SENTENCE]
    text = "Shapley values of the words of a sentence about a film: which of them make it praise."
    return [scene(name, str(file), "exact-shapley", {}, text)]
