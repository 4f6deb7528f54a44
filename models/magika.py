"""The Magika network that tells the type of a file from its bytes, as published, and a few small files made here."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

from ..engine.errors import ModelError
from .folder import Spec, write_lines
from .packages import digest, read_member

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "magika"
FOLDER = "magika/models/standard_v3_3/"
MODEL_DIGEST = "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"
HALF = 1024  # bytes from each end of a file
BLOCK = 4096  # bytes of which white space is stripped before
PADDING = 256  # stands for no byte

PYTHON = b'''"""Counts words."""

import sys
from collections import Counter


def words(text: str) -> Counter[str]:
    """Return how often each word occurs."""
    return Counter(text.lower().split())


if __name__ == "__main__":
    for word, count in words(sys.stdin.read()).most_common(10):
        print(f"{count:6d} {word}")
'''
HTML = b"""<!DOCTYPE html>
<html lang="en">
<head><title>Tides</title></head>
<body>
<h1>Tides</h1>
<p>The sea rises and falls <em>twice</em> a day.</p>
<ul><li>high water</li><li>low water</li></ul>
</body>
</html>
"""


def picture() -> bytes:
    """Return a PNG file of 16 x 16 grey pixels."""
    rows = b"".join(b"\0" + bytes((16 * row + column) % 256 for column in range(16)) for row in range(16))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def features(content: bytes) -> np.ndarray:
    """Return what the network takes of a file, int32 (1, 2048): its first and its last 1024 bytes.

    White space before and after is stripped, and what is missing is 256.

    >>> features(b"ab")[0, [0, 1, 2, -2, -1]].tolist()
    [97, 98, 256, 97, 98]
    """
    found = np.full((1, 2 * HALF), PADDING, dtype=np.int32)
    first, last = content[:BLOCK].lstrip()[:HALF], content[-BLOCK:].rstrip()[-HALF:]
    found[0, : len(first)] = list(first)
    found[0, 2 * HALF - len(last) :] = list(last)
    return found


def write(folder: Path, wheels: Mapping[str, Path]) -> None:
    """Write the published network with its labels, and what it takes of three files."""
    network = read_member(wheels["magika"], FOLDER + "model.onnx")
    if digest(network) != MODEL_DIGEST:
        raise ModelError("the network in the package is not the expected one", where=FOLDER + "model.onnx")
    config = json.loads(read_member(wheels["magika"], FOLDER + "config.min.json"))
    spec = Spec(
        input="bytes",
        top={"task": "classification", "target": "top", "output": "target_label", "labels": "labels.txt"},
        fields={"modality": "array", "layout": "NT", "codes": "bytes"},
    )
    (folder / f"{NAME}.onnx").write_bytes(network)
    (folder / f"{NAME}.toml").write_text(spec.toml(), encoding="utf-8", newline="\n")
    write_lines(folder / "labels.txt", config["target_labels_space"])
    samples = folder / "samples"
    samples.mkdir()
    for name, content in (("words-py", PYTHON), ("tides-html", HTML), ("grey-png", picture())):
        np.save(samples / f"{name}.npy", features(content))
