"""From an image file to what an image model takes, and back to what a person sees."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, printable
from ..files import IMAGE_KINDS, excerpt, existing_file, looks_like

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from PIL import Image

    from ..spec import Preprocessing

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
MAX_PIXELS = 50_000_000
MAX_FILE = 256 << 20  # bytes; an uncompressed BMP of MAX_PIXELS has 200 MB

_FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}  # Pillow's numbers
# What Pillow raises on damaged files, by its decoders and chunk readers.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


def load_image(
    path: str | os.PathLike[str],
    preprocessing: Preprocessing,
    layout: str,
    dtype: np.dtype[Any],
    *,
    max_pixels: int = MAX_PIXELS,
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return the input array, its axes in the order of ``layout``, and the uint8 RGB picture (height, width, 3) in it.

    The picture is what the model sees: rotated as EXIF says, transparent parts over white, 16 bits scaled to 8, grey
    where the model takes grey, resized and cropped. Colour profiles are not applied. Resizing and cropping follow
    torchvision on Pillow images: the long side is ``int(resize * long / short)``, the crop starts at
    ``round((side - crop) / 2)``. InputError for other formats, damage, or more than ``max_pixels`` at any step.
    """
    picture = _read(Path(path), max_pixels)
    if preprocessing.colour == "L":
        picture = picture.convert("L")
    view = np.asarray(_fit(picture, preprocessing, printable(path), max_pixels))
    if view.ndim == 2:
        view = np.repeat(view[:, :, None], 3, axis=2)
    return to_array(view, preprocessing, layout, dtype), view


def to_array(view: NDArray[np.uint8], preprocessing: Preprocessing, layout: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return ``(view * scale - mean) / std`` in the given layout and dtype; ``view`` is uint8 (height, width, 3).

    Each value is computed in float64 and rounded once. InputError if the dtype cannot hold the values.

    >>> from onnxplain.engine.spec import PRESETS
    >>> grey = np.full((2, 2, 3), 51, np.uint8)
    >>> to_array(grey, PRESETS["unit"], "NCHW", np.dtype("float32"))[0, 0]
    array([[0.2, 0.2],
           [0.2, 0.2]], dtype=float32)
    """
    levels = _levels(preprocessing, dtype)
    channels = {"RGB": (0, 1, 2), "BGR": (2, 1, 0), "L": (0,)}[preprocessing.colour]
    array = np.stack([levels[i % len(levels)][view[:, :, channel]] for i, channel in enumerate(channels)])[None]
    return _arrange(array, layout)


def to_view(array: NDArray[Any], preprocessing: Preprocessing, layout: str) -> NDArray[np.uint8]:
    """Undo ``to_array`` for one instance: the uint8 RGB picture (height, width, 3), rounded and clipped to 0..255.

    InputError if the array is not one instance of an image in this layout.
    """
    absent = [letter for letter in "NCHW" if letter not in layout]
    channels = 1 if preprocessing.colour == "L" else 3
    if array.ndim != len(layout):
        raise InputError(f"an array of shape {array.shape} does not have the axes {layout}")
    full = array.reshape(*array.shape, *(1 for _ in absent)).transpose(
        [(layout + "".join(absent)).index(letter) for letter in "NCHW"]
    )
    if full.shape[0] != 1 or full.shape[1] != channels:
        raise InputError(f"an array of shape {array.shape} is not one image with {channels} channels")
    mean, std = (np.reshape(values, (-1, 1, 1)) for values in (preprocessing.mean, preprocessing.std))
    pixels = (full[0].astype(np.float64) * std + mean) / preprocessing.scale
    view = np.rint(np.clip(pixels, 0, 255)).astype(np.uint8).transpose(1, 2, 0)
    if preprocessing.colour == "BGR":
        view = view[:, :, ::-1]
    return np.repeat(view, 3, axis=2) if channels == 1 else np.ascontiguousarray(view)


def _read(path: Path, max_pixels: int) -> Image.Image:
    """Return the file's picture as RGB, in upright position."""
    from PIL import Image, UnidentifiedImageError

    where = printable(path)
    if existing_file(path, InputError).stat().st_size > MAX_FILE:
        raise InputError(f"this file has more than {MAX_FILE >> 20} MiB, the limit for images", where=where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is an error here, or harmless
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                _refuse_size(width, height, max_pixels, where)
                return _upright_rgb(image, where)
    except UnidentifiedImageError:
        raise _not_an_image(path) from None
    except Image.DecompressionBombError:
        raise InputError(
            f"this image has more than {max_pixels:,} pixels", where=where, tip="scale it down first"
        ) from None
    except _DAMAGE as problem:
        raise InputError(f"this image is damaged or cut off: {excerpt(problem, 120)}", where=where) from problem


def _not_an_image(path: Path) -> InputError:
    found = looks_like(path)
    if found in IMAGE_KINDS:
        return InputError(f"this file begins like {found}, but cannot be read further", where=printable(path))
    return InputError(
        f"this is {found}, which is not read as an image" if found else "this cannot be read as an image",
        where=printable(path),
        tip=f"images can be {', '.join(FORMATS)}",
    )


def _refuse_size(width: int, height: int, max_pixels: int, where: str, once: str = "") -> None:
    if width * height > max_pixels:
        raise InputError(
            f"this image has {width} x {height} pixels, more than the limit of {max_pixels:,}{once}",
            where=where,
            tip="scale it down first",
        )
    if width < 1 or height < 1:
        raise InputError("this image has no pixels", where=where)


def _upright_rgb(image: Image.Image, where: str) -> Image.Image:
    from PIL import ImageOps

    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode in {"I", "F"} or upright.mode.startswith("I;16"):
        upright = _eight_bits(upright, where)
    return _over_white(upright)


def _eight_bits(image: Image.Image, where: str) -> Image.Image:
    """Scale 0..65535 to 0..255, rounding; one grey value may be declared transparent."""
    from PIL import Image

    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise InputError("this image has values that are not 8 or 16 bits wide", where=where)
    grey = Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return grey
    grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _over_white(image: Image.Image) -> Image.Image:
    """Return the picture as RGB, as on a white page where it is transparent."""
    from PIL import Image

    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _fit(image: Image.Image, preprocessing: Preprocessing, where: str, max_pixels: int) -> Image.Image:
    """Resize and crop."""
    width, height = _resized(image.size, preprocessing)
    _refuse_size(width, height, max_pixels, where, ", once it is resized as the spec says")
    if (width, height) != image.size:
        image = image.resize((width, height), resample=_FILTERS[preprocessing.interpolation])
    crop_height, crop_width = preprocessing.size
    if not preprocessing.resize or not crop_height or not preprocessing.crop:
        return image
    if crop_height > height or crop_width > width:
        raise InputError(
            f"after resizing, this image has {width} x {height} pixels: too few for a crop of {crop_width} x "
            f"{crop_height} (width x height)",
            where=where,
            tip="use another image, or a larger 'resize' in the spec's preprocessing",
        )
    top, left = round((height - crop_height) / 2), round((width - crop_width) / 2)
    return image.crop((left, top, left + crop_width, top + crop_height))


def _resized(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """Return (width, height) after the resize."""
    width, height = size
    side = preprocessing.resize
    if side and preprocessing.stretch:
        return side, side
    if side:
        return (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    return (preprocessing.size[1], preprocessing.size[0]) if preprocessing.size[0] else size


def _levels(preprocessing: Preprocessing, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return what each of the 256 levels of each channel becomes: (channels, 256), or (1, 256) for all alike."""
    mean, std = (
        np.reshape(np.asarray(values, np.float64), (-1, 1)) for values in (preprocessing.mean, preprocessing.std)
    )
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
        exact = (np.arange(256.0) * preprocessing.scale - mean) / std
    if dtype.kind in "iu":
        return _whole_levels(exact, dtype)
    if dtype.kind not in "fV":
        raise InputError(f"an image cannot become an input of type {'string' if dtype.kind == 'O' else dtype.name}")
    with np.errstate(over="ignore"):
        levels = exact.astype(dtype)
    if not np.isfinite(levels.astype(np.float64)).all():
        raise _does_not_hold(exact, dtype)
    return levels


def _whole_levels(exact: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round to an integer type, if that keeps the values in range and most levels apart."""
    limits = np.iinfo(dtype)
    whole = np.rint(exact)
    keeps_apart = len(np.unique(whole[0])) > 128
    if whole.min() < limits.min or whole.max() > limits.max or not keeps_apart:
        raise _does_not_hold(exact, dtype)
    return whole.astype(dtype)


def _does_not_hold(exact: NDArray[np.float64], dtype: np.dtype[Any]) -> InputError:
    return InputError(
        f"the preprocessing gives values from {exact.min():.4g} to {exact.max():.4g}, which {dtype.name} cannot hold",
        tip='for a model that takes the pixels as they are, use preset = "none" in the spec',
    )


def _arrange(array: NDArray[Any], layout: str) -> NDArray[Any]:
    """Bring (1, C, H, W) into the order of the layout, without the axes that it lacks."""
    if not set("HW") <= set(layout) <= set("NCHW") or len(set(layout)) != len(layout):
        raise InputError(f"'{printable(layout)}' is not the layout of an image", tip="such as NCHW, NHWC or CHW")
    if "C" not in layout and array.shape[1] != 1:
        raise InputError(
            f"layout {layout} has no axis for {array.shape[1]} channels", tip='set colour = "L" in the spec'
        )
    absent = tuple(axis for axis, letter in enumerate("NCHW") if letter not in layout)
    present = "".join(letter for letter in "NCHW" if letter in layout)
    return np.ascontiguousarray(array.squeeze(absent).transpose([present.index(letter) for letter in layout]))
