"""The front door: what ``import onnxplain`` gives, and how little it costs."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import onnxplain

PROGRAM = """
import sys
before = set(sys.modules)
import onnxplain
{use}
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*sorted(loaded & {{"click", "matplotlib", "numpy", "onnx", "onnxruntime", "PIL", "rich", "scipy", "skimage",
                         "sklearn", "torch"}}))
"""


def loaded_by(use):
    """The libraries that a process loads for these lines."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(use=use)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


def test_importing_it_loads_nothing():
    assert loaded_by("dir(onnxplain), onnxplain.__all__, onnxplain.SettingError, onnxplain.home") == set()


def test_what_only_describes_loads_no_runtime():
    assert loaded_by("onnxplain.register, onnxplain.Range, onnxplain.Sample, onnxplain.ModelSpec") <= {"numpy"}


def test_methods_that_need_no_more_load_no_more():
    use = "onnxplain.explain, onnxplain.load, onnxplain.methods()"
    assert loaded_by(use) == {"numpy", "onnx", "onnxruntime"}  # with torch installed or not


def test_every_name_is_there_and_stays_the_same():
    for name in onnxplain.__all__:
        assert getattr(onnxplain, name) == getattr(onnxplain, name), name
    assert set(onnxplain.__all__) < set(dir(onnxplain))
    assert sorted(onnxplain.__all__) == sorted(set(onnxplain.__all__))
    assert onnxplain.models.__name__ == "onnxplain.models"


def test_the_door_to_torch_is_reached_by_name_and_says_what_it_lacks():
    assert loaded_by("onnxplain.adapters.torch") == set()
    with pytest.raises(AttributeError, match=r"'onnxplain\.adapters' has no attribute 'jax'"):
        onnxplain.adapters.jax  # noqa: B018 - the attribute is what is tested
    use = "sys.modules['torch'] = None\ntry:\n    onnxplain.adapters.torch.twin\nexcept Exception as error:\n    "
    wanted = 'twin needs torch, which is not installed\\n  tip: pip install "onnxplain[torch]"'
    loaded = loaded_by(f"{use}assert str(error) == '{wanted}', error\nelse:\n    raise AssertionError")
    assert loaded <= {"numpy", "torch"}


def test_a_star_import_gives_them_all():
    given = {}
    exec("from onnxplain import *", given)  # noqa: S102 - the statement can only stand in a module
    assert set(onnxplain.__all__) <= set(given)
    assert given["explain"] is onnxplain.explain


def test_the_documented_names_are_there():
    wanted = "Explanation Game Model ModelSpec Problem Sample SettingError Target explain load methods register replay"
    assert set(wanted.split()) <= set(onnxplain.__all__)


def test_other_names_are_refused_as_python_does():
    with pytest.raises(AttributeError, match="module 'onnxplain' has no attribute 'explian'"):
        _ = onnxplain.explian
    with pytest.raises(ImportError, match="explian"):
        exec("from onnxplain import explian", {})  # noqa: S102 - the statement can only stand in a module


def test_the_version_is_that_of_the_package():
    assert onnxplain.__version__ == importlib.metadata.version("onnxplain")


def test_type_checkers_see_the_names_that_are_loaded_lazily():
    (block,) = (
        n for n in ast.parse(Path(onnxplain.__file__).read_text(encoding="utf-8")).body if isinstance(n, ast.If)
    )
    imported = {
        (alias.name, node.module) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == {(attribute, room) for room, attribute in onnxplain._HOMES.values()}
    for name, (room, attribute) in onnxplain._HOMES.items():
        assert getattr(onnxplain, name) is getattr(importlib.import_module(f"onnxplain.{room}"), attribute)


def test_methods_can_be_listed_as_json():
    listed = [plugin.to_json() for plugin in onnxplain.methods()]
    assert json.loads(json.dumps(listed, allow_nan=False)) == listed
    assert {"occlusion", "rise"} <= {plugin["name"] for plugin in listed}


def test_one_line_from_a_model_to_a_file(tmp_path):
    path = onnxplain.models.path("digits-cnn")
    found = onnxplain.explain(path, np.zeros((1, 8, 8), np.float32), "occlusion", window=4, target=3)
    loaded = onnxplain.Explanation.load(found.save(tmp_path / "zero"))
    assert loaded == found == onnxplain.replay(loaded)
    assert found.values["image"].shape == (1, 1, 8, 8)
    assert found.manifest["model_path"] == str(path)
