"""Photographs come from the installed scikit-image, without a download."""

import importlib.machinery
import importlib.util

import pytest
from PIL import Image

from onnxplain.engine.errors import CapabilityError, SettingError
from onnxplain.models.photographs import PHOTOGRAPHS, photograph


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photograph_is_there_in_colour_and_of_the_size_described(name):
    with Image.open(photograph(name)) as image:
        assert image.mode == "RGB"
        assert f"{image.width} x {image.height}" in PHOTOGRAPHS[name][1]


def test_unknown_photograph_names_the_nearest():
    with pytest.raises(SettingError, match="did you mean 'chelsea'"):
        photograph("chelsae")


@pytest.mark.parametrize("installed", [True, False])
def test_photograph_that_is_not_installed_is_not_downloaded(installed, tmp_path, monkeypatch):
    without_data = importlib.machinery.ModuleSpec("skimage", None, is_package=True)
    without_data.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: without_data if installed else None)
    with pytest.raises(CapabilityError, match="does not include"):
        photograph("chelsea")
