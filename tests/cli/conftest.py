"""What the tests of the command line share: the command in this process and in one of its own, and small files."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from onnxplain.cli import main
from onnxplain.models import catalogue
from small_graphs import affine

COLUMNS = ("length", "width", "weight")
WEIGHTS = np.array([[1.0, 2.0, -1.0], [0.5, -3.0, 2.0]])
BIAS = np.array([0.25, 0.0])


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    """A cache folder of its own, and a terminal of known width."""
    monkeypatch.setenv("ONNXPLAIN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run():
    """Run ``onnxplain`` with these arguments in this process; gives exit_code, stdout and stderr."""

    def invoke(*args):
        return CliRunner().invoke(main, [str(a) for a in args], catch_exceptions=False)

    return invoke


@pytest.fixture
def command():
    """Run ``onnxplain`` as a process of its own; ``before`` is Python that runs first in it."""

    def call(*args, before="", **options):
        code = f"{before}\nfrom onnxplain.cli import main\nmain()"
        settings = {"capture_output": True, "text": True, "timeout": 60} | options
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, args)], check=False, env=dict(os.environ), **settings
        )

    return call


@pytest.fixture
def digit():
    """An 8x8 picture of a zero, for digits-cnn."""
    return next(p for p in catalogue.samples("digits-cnn") if p.name == "digits-0.png")


@pytest.fixture
def linear(tmp_path) -> Path:
    """A model of three named columns and two classes, whose Shapley values can be written down, with rows."""
    path = tmp_path / "linear.onnx"
    onnx.save(affine(WEIGHTS, BIAS), path)
    columns = ", ".join(f'"{c}"' for c in COLUMNS)
    path.with_suffix(".toml").write_text(f'labels = ["small", "large"]\n[inputs."x"]\ncolumns = [{columns}]\n')
    (tmp_path / "rows.csv").write_text("length,width,weight\n1,2,4\n4,5,6\n")
    return path
