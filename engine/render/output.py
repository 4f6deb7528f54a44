"""Figures as PNG and SVG: the same explanation gives the same bytes."""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ..errors import InputError, SettingError, printable
from ..home import write_whole
from .choose import figure

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, MutableMapping

    from ..explanation import Explanation

DPI = 150
MOST_DPI = 1200

# What matplotlib reads from its global settings only, while it writes a file.
_SETTINGS: dict[str, Any] = {
    "image.composite_image": True,
    "savefig.bbox": None,
    "svg.fonttype": "none",  # text as text
    "svg.hashsalt": "onnxplain",  # ids that do not change from run to run
    "svg.id": None,
    "svg.image_inline": True,
}
_LOCK = threading.Lock()


def png(source: Explanation | Figure, dpi: float = DPI, **options: Any) -> bytes:
    """Return a PNG file of a figure, or of an explanation drawn with ``options`` as in ``figure``."""
    if not 10 <= dpi <= MOST_DPI:
        raise SettingError(f"dpi must be 10 to {MOST_DPI}, not {dpi}")
    return _written(_drawn(source, options), FigureCanvasAgg, "png", dpi=dpi, metadata={"Software": "onnxplain"})


def svg(source: Explanation | Figure, **options: Any) -> bytes:
    """Return an SVG file, its text as text, of a figure or of an explanation drawn with ``options``."""
    metadata = {"Date": None, "Creator": "onnxplain"}
    return _written(_drawn(source, options), FigureCanvasSVG, "svg", dpi=DPI, metadata=metadata)


def save(source: Explanation | Figure, path: str | os.PathLike[str], *, dpi: float = DPI, **options: Any) -> Path:
    """Write a PNG or SVG file, by the suffix of ``path``; it is there whole or not at all. Returns its path.

    Raises ``SettingError`` for another suffix and ``InputError`` where the file cannot be written.
    """
    whole = Path(path)
    suffix = whole.suffix.lower()
    if suffix not in {".png", ".svg"}:
        raise SettingError(f"a picture is saved as .png or .svg, not as '{printable(whole.name)}'")
    write_file(whole, png(source, dpi, **options) if suffix == ".png" else svg(source, **options))
    return whole


def write_file(path: Path, data: bytes) -> None:
    """Write a file and the folders above it; ``InputError`` where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        raise InputError(
            f"cannot write '{printable(path)}': {error.strerror}", tip=f"{len(data):,} bytes are needed"
        ) from None


def _drawn(source: Explanation | Figure, options: dict[str, Any]) -> Figure:
    if isinstance(source, Figure):
        if options:
            raise SettingError(f"a figure is drawn already; '{next(iter(options))}' comes too late")
        return source
    return figure(source, **options)


def _written(drawn: Figure, canvas: type[FigureCanvasAgg | FigureCanvasSVG], kind: str, **settings: Any) -> bytes:
    """Print a figure on a canvas of its own, and give it back the canvas it had."""
    packed = io.BytesIO()
    before = drawn.canvas
    with _file_settings():
        try:
            canvas(drawn).print_figure(
                packed, format=kind, facecolor=drawn.get_facecolor(), edgecolor=drawn.get_edgecolor(), **settings
            )
        finally:
            drawn.set_canvas(before)
    return packed.getvalue()


@contextmanager
def _file_settings() -> Iterator[None]:
    """Hold matplotlib's global settings at what a file needs, one thread at a time, and put them back."""
    with _LOCK:
        shared = cast("MutableMapping[str, Any]", rcParams)
        before = {name: shared[name] for name in _SETTINGS if name in shared}
        shared.update({name: _SETTINGS[name] for name in before})
        try:
            yield
        finally:
            shared.update(before)
