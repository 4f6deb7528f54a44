"""Photographs that come with scikit-image and need no download."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..engine.errors import CapabilityError, SettingError, nearest

PHOTOGRAPHS = {
    "chelsea": ("chelsea.png", "a tabby cat, 451 x 300 (Stefan van der Walt, CC0)"),
    "astronaut": ("astronaut.png", "the astronaut Eileen Collins, 512 x 512 (NASA, public domain)"),
    "coffee": ("coffee.png", "a cup of espresso, 600 x 400 (Rachel Michetti, CC0)"),
    "rocket": ("rocket.jpg", "a rocket that lifts off, 640 x 427 (SpaceX, public domain)"),
}


def photograph(name: str) -> Path:
    """Return the image file of a photograph in ``PHOTOGRAPHS``.

    Raises SettingError for another name, CapabilityError where the installed scikit-image does not include the file.

    >>> photograph("chelsea").name
    'chelsea.png'
    """
    if name not in PHOTOGRAPHS:
        raise SettingError(f"there is no photograph {name!r}", tip=nearest(name, PHOTOGRAPHS))
    found = importlib.util.find_spec("skimage")
    folders = found.submodule_search_locations if found and found.submodule_search_locations else []
    for folder in folders:
        file = Path(folder) / "data" / PHOTOGRAPHS[name][0]
        if file.is_file():
            return file
    raise CapabilityError(
        f"the installed scikit-image does not include the photograph {name!r}", tip="give an image file of your own"
    )
