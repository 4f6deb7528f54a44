"""ModelSpec: what an ONNX file does not say about its task, labels, inputs and preprocessing."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import SettingError
from .files import excerpt
from .specs.scaling import Scaling, contradiction

__all__ = ["PRESETS", "InputSpec", "ModelSpec", "Preprocessing", "Scaling"]

TASKS = ("", "classification", "regression")
MODALITIES = ("image", "table", "text", "series", "array", "state")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
COLOURS = {"RGB": 3, "BGR": 3, "L": 1}
HUGGING_FACE_INPUT = "pixel_values"
BYTES = "bytes"
LONGEST_TEXT = 1 << 20  # tokens
LONGEST_SIDE = 65535  # pixels of an image
MOST_RATE = 100_000_000  # samples per second


@dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes an input array: ``(resize(image) * scale - mean) / std`` per channel.

    ``resize`` is the length of the short side before the crop (0: resize straight to ``size``); ``size`` is
    (height, width) of the input, (0, 0) for what the model's shape says, or else the image's own. ``scale``
    multiplies the 0..255 values first. ``mean`` and ``std`` are in the order of ``colour``. SettingError if the
    fields are out of range or contradict each other.
    """

    size: tuple[int, int] = (224, 224)
    resize: int = 0
    interpolation: str = "bilinear"  # nearest, bilinear, bicubic, lanczos, box, hamming
    crop: bool = True  # centre crop to ``size`` after resizing the short side
    colour: str = "RGB"  # RGB, BGR or L
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    stretch: bool = False  # resize to (resize, resize) before the crop, whatever the shape of the image

    def __post_init__(self) -> None:
        message = self._contradiction()
        if message:
            raise SettingError(message, where="preprocessing")

    def _contradiction(self) -> str:
        """Say what is wrong with the fields; empty if nothing is."""
        if self.interpolation not in INTERPOLATIONS:
            return f"interpolation '{excerpt(self.interpolation)}' is not one of {', '.join(INTERPOLATIONS)}"
        if self.colour not in COLOURS:
            return f"colour '{excerpt(self.colour)}' is not one of {', '.join(COLOURS)}"
        sides = (*self.size, self.resize)
        if not all(0 <= side <= LONGEST_SIDE for side in sides) or (0 in self.size and any(self.size)):
            return f"size {self.size} and resize {self.resize} must be 0 (not set) or 1 to {LONGEST_SIDE}"
        if self.resize and not self.crop and any(self.size):
            return "resize is the short side before the crop: with crop = false, leave out resize or size"
        if self.resize and any(self.size) and self.resize < min(self.size):
            return f"resize {self.resize} is shorter than size {self.size}: there is nothing to crop; set resize too"
        return self._scaling_contradiction()

    def _scaling_contradiction(self) -> str:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, COLOURS[self.colour]):
                return f"{name} has {len(values)} values, colour {self.colour} has {COLOURS[self.colour]}"
        return contradiction(self.scale, self.mean, self.std)


PRESETS = {
    "imagenet": Preprocessing(
        resize=256, scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ),  # torchvision's
    "unit": Preprocessing(size=(0, 0), scale=1 / 255),
    "minus-one-to-one": Preprocessing(size=(0, 0), scale=1 / 127.5, mean=(1.0,)),
    "none": Preprocessing(size=(0, 0)),
}


@dataclass(frozen=True)
class InputSpec:
    """One input of the model: its modality, its layout and how files become arrays.

    ``layout`` has a letter per axis: N batch, C channels, H height, W width, T time, F features; ``""`` if unknown.
    ``categories`` names the codes 0, 1, 2, ... of a column. A series has ``rate`` samples per second (0: steps without
    a unit) and a name per channel in ``channels``; ``time`` is the column of a CSV file that holds the seconds, and
    ``scaling`` what is done to the numbers of a file. What a file does not fill, and a ``state``, which is never
    masked, holds ``fill``. SettingError if fields contradict each other.
    """

    name: str
    modality: str = "array"  # image, table, text, series, array, or state (of a recurrent network)
    layout: str = ""
    preprocessing: Preprocessing | None = None
    columns: tuple[str, ...] = ()
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)  # group name -> columns that belong together
    problem: str = ""  # why image files cannot be prepared for this input; arrays can still be given
    rate: float = 0.0
    channels: tuple[str, ...] = ()
    time: str = ""
    fill: float | None = None
    tokenizer: str = ""  # of a text's codes: a tokenizer.json, relative to the spec; "" for one beside the model
    length: int = 0  # most tokens of a text; 0 for what tokenizer and model say
    scaling: Scaling | None = None  # of a series
    codes: str = ""  # what whole numbers stand for: "bytes", or a vocabulary, a file relative to the spec

    def __post_init__(self) -> None:
        message = self._contradiction()
        if message:
            raise SettingError(message, where=f"inputs.{excerpt(self.name)}")

    def _contradiction(self) -> str:
        if self.modality not in MODALITIES:
            return f"modality '{excerpt(self.modality)}' is not one of {', '.join(MODALITIES)}"
        if len(set(self.layout)) != len(self.layout) or not set(self.layout) <= set("NCHWTF"):
            return f"layout '{excerpt(self.layout)}' must have different letters out of N, C, H, W, T and F"
        if self.modality == "image" and self.layout and not set("HW") <= set(self.layout) <= set("NCHW"):
            return f"layout '{self.layout}' of an image must have H and W, and may have N and C"
        if len(set(self.columns)) != len(self.columns):
            return "columns has the same name twice"
        if not 0 <= self.length <= LONGEST_TEXT:
            return f"length {self.length} must be 0 (not set) or 1 to {LONGEST_TEXT} tokens"
        return self._unknown_column() or self._series_contradiction()

    def _series_contradiction(self) -> str:
        if not 0 <= self.rate <= MOST_RATE:
            return f"rate {self.rate:g} is not from 0 (not known) to {MOST_RATE:,} samples per second"
        if len(set(self.channels)) != len(self.channels):
            return "channels has the same name twice"
        if self.time and self.time in self.channels:
            return f"time '{excerpt(self.time)}' is one of the channels"
        of_series = self.rate or self.channels or self.time or self.scaling
        if of_series and self.modality not in {"series", "array"}:
            return f"rate, channels, time and scaling are for a series, not for an input of modality {self.modality}"
        if self.codes and self.modality not in {"array", "text"}:
            return f"codes are for an array or a text, not for an input of modality {self.modality}"
        return self._scaling_contradiction()

    def _scaling_contradiction(self) -> str:
        if self.modality == "series" and self.preprocessing:
            return "the preprocessing of an image is not for a series: that has scale, mean and std alone"
        if self.scaling and self.channels and self.scaling.channels not in {1, len(self.channels)}:
            return f"mean and std are for {self.scaling.channels} channels, and {len(self.channels)} have names"
        return ""

    def _unknown_column(self) -> str:
        grouped = [column for columns in self.groups.values() for column in columns]
        for column in (*self.categories, *grouped):
            if self.columns and column not in self.columns:
                return f"column '{excerpt(column)}' of categories or groups is not in columns"
        if len(set(grouped)) != len(grouped):
            return "groups name the same column twice"
        return ""


@dataclass(frozen=True)
class ModelSpec:
    """What an ONNX file does not say; read from a TOML file beside the model or given with ``--spec``."""

    task: str = ""  # classification, regression, or "" if unknown
    labels: tuple[str, ...] = ()
    target: str = "top"  # default target
    output: str = ""  # default output tensor, "" for the first that can be explained
    inputs: dict[str, InputSpec] = field(default_factory=dict)
    background: str = ""  # file of background rows, relative to the spec
    unit: str = ""  # of the numbers that a regression gives, such as "EUR"
    source: str = field(default="", compare=False)  # the file that this spec was read from
