"""``onnxplain doctor``: versions, devices that truly work, plug-ins and the cache folder."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

import click

from .errors import DONE
from .lazy import command
from .output import heading, print_json, size, table

PACKAGES = (
    "onnxplain",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "numpy",
    "protobuf",
    "scipy",
    "scikit-image",
    "scikit-learn",
    "pillow",
    "matplotlib",
    "click",
    "rich",
)
FLOORS = {  # versions below these have published security faults in reading files
    "onnx": "1.21.0",
    "protobuf": "6.31.1",
    "pillow": "12.3.0",
}
EXTRAS = {"torch": "torch", "text": "tokenizers", "models": "skl2onnx"}
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


@command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def doctor_command(as_json: bool) -> int:  # noqa: FBT001 - click's call
    """Check versions, devices, plug-ins and the cache folder.

    A device counts as working once a model has run on it.

    \b
    Examples:
      onnxplain doctor
      onnxplain doctor --json
    """
    found = examined()
    if as_json:
        print_json(found)
        return DONE
    for title, rows in _sections(found):
        click.echo(f"{heading(title)}\n{table((), rows, indent=2)}\n")
    for warning in found["warnings"]:
        click.echo(f"{click.style('warning:', fg='yellow', bold=True)} {warning}")
    if not found["warnings"]:
        click.echo("nothing to complain about")
    return DONE


command = doctor_command


def examined() -> dict[str, Any]:
    """Return all that the doctor looks at, with ``warnings`` in words."""
    from ..engine.home import home
    from ..engine.registry import broken, plugins
    from ..engine.runtime import available_providers

    versions = {name: version for name in PACKAGES if (version := _version(name))}
    loaded = plugins()
    failures = [{"name": b.name, "package": b.package, "reason": b.reason} for b in broken()]
    folder = home()
    found = {
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": _cores(),
        "versions": versions,
        "floors": FLOORS,
        "providers": available_providers(),
        "devices": {"cpu": _trial("cpu"), "cuda": _cuda()},
        "extras": {extra: _is_there(module) for extra, module in EXTRAS.items()},
        "plugins": len(loaded),
        "broken_plugins": failures,
        "cache": {"path": str(folder), "size": _weight(folder), "writable": _is_writable(folder)},
    }
    return {**found, "warnings": _warnings(found)}


def _warnings(found: dict[str, Any]) -> list[str]:
    versions = found["versions"]
    texts = [
        f"{name} {versions[name]} is below {floor}, which fixed security faults: pip install -U '{name}>={floor}'"
        for name, floor in FLOORS.items()
        if name in versions and _numbers(versions[name]) < _numbers(floor)
    ]
    if all(name in versions for name in RUNTIMES):
        texts.append(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: uninstall both, install one"
        )
    texts += [f"plug-in '{b['name']}' of {b['package']} does not load: {b['reason']}" for b in found["broken_plugins"]]
    if found["devices"]["cpu"]:
        texts.append(f"the CPU does not run models: {found['devices']['cpu']}")
    if not found["cache"]["writable"]:
        texts.append(f"{found['cache']['path']} cannot be written to: set ONNXPLAIN_HOME to another folder")
    return texts


def _sections(found: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    floors = {name: f"  (at least {floor})" for name, floor in FLOORS.items()}
    machine = [("python", f"{found['python']}  {found['executable']}"), ("system", found["system"])]
    machine += [("cores", str(found["cores"]))]
    versions = [(name, version + floors.get(name, "")) for name, version in found["versions"].items()]
    devices = [(name, reason or "works") for name, reason in found["devices"].items()]
    devices += [("built for", ", ".join(found["providers"]))]
    extras = [
        (extra, "installed" if there else f'not installed: pip install "onnxplain[{extra}]"')
        for extra, there in found["extras"].items()
    ]
    cache = found["cache"]
    kept = [("cache", f"{cache['path']}  {size(cache['size'])}"), ("plug-ins", f"{found['plugins']} load")]
    return [("Machine", machine), ("Versions", versions), ("Devices", devices), ("Extras", extras), ("State", kept)]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _cores() -> int:
    from ..engine.runtime import cores

    return cores()


def _cuda() -> str:
    from ..engine.runtime import cuda_missing

    return cuda_missing() or _trial("cuda")


def _trial(device: str) -> str:
    """Run the model that comes with the package on a device; say why that fails, or return an empty string."""
    import numpy as np

    from .. import OnnxplainError, load
    from ..models import catalogue

    try:
        load(catalogue.path("digits-cnn"), device=device).predict(np.zeros((1, 1, 8, 8), np.float32))
    except OnnxplainError as error:
        return error.message
    return ""


def _weight(folder: Path) -> int:
    """Return the bytes in a folder; files that vanish meanwhile count nothing."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(path) / name).lstat().st_size
            except OSError:
                continue
    return total


def _is_writable(folder: Path) -> bool:
    nearest = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    return os.access(nearest, os.W_OK)
