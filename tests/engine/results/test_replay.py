"""Replays: every method's result comes back bit for bit from the saved file, whatever has changed around it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain import (
    PREDICT,
    Baseline,
    Explanation,
    Features,
    InputError,
    InputSpec,
    ModelError,
    ModelSpec,
    explain,
    methods,
    replay,
)
from onnxplain.engine import runner
from onnxplain.engine.runtime import Layout
from small_graphs import affine, model_of

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(0)
X = RNG.normal(size=(1, 1, 6, 6)).astype(np.float32)
METHODS = [p.name for p in methods("explainer") if p.package == "onnxplain" and p.needs == PREDICT]
SETTINGS = {
    "rise": {"masks": 60, "cells": 3},
    "exact-shapley": {"features": "grid:2x3"},
    "kernel-shap": {"budget": 150},
}


def convolution():
    nodes = [
        helper.make_node("Conv", ["image", "k"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"]),
    ]
    constants = {
        "k": RNG.normal(size=(8, 1, 3, 3)).astype(np.float32),
        "w": RNG.normal(size=(288, 5)).astype(np.float32),
    }
    return model_of(nodes, {"image": (FLOAT, ["n", 1, 6, 6])}, {"y": (FLOAT, ["n", 5])}, constants)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    onnx.save(convolution(), folder / "m.onnx")
    return folder / "m.onnx"


def saved(path, method="ablation", folder=None, **options):
    """An explanation after a trip through its file."""
    found = explain(onnxplain.load(path, device="cpu"), X, method, **options)
    return found, Explanation.load(found.save((folder or path.parent) / f"{method}.npz"))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_comes_back_bit_for_bit(path, method):
    found, loaded = saved(path, method, seed=3, target=2, **SETTINGS.get(method, {}))
    assert loaded == found
    again = replay(loaded)
    assert again == found
    assert again.manifest["layout"] == found.manifest["layout"]
    assert again.manifest["target_index"] == found.manifest["target_index"] == [2]
    assert replay(found) == found
    assert replay(again) == found


def test_the_layout_is_that_of_the_first_time(path, monkeypatch, tmp_path):
    monkeypatch.setenv("ONNXPLAIN_HOME", str(tmp_path))
    monkeypatch.setattr(runner, "WORTH_MEASURING", 0.0)
    monkeypatch.setattr(runner.Runner, "_measured", classmethod(lambda *_: Layout(1, 1, 3)))
    found, loaded = saved(path, "rise", tmp_path, masks=60)
    assert found.manifest["layout"] == {"workers": 1, "threads": 1, "batch": 3}
    monkeypatch.setattr(runner.Runner, "_measured", classmethod(lambda *_: Layout(2, 1, 32)))
    for file in tmp_path.glob("*.json"):
        file.unlink()
    model = onnxplain.load(path, device="cpu", threads=1)
    other = explain(model, X, "rise", masks=60)
    assert other.manifest["layout"] == {"workers": 2, "threads": 1, "batch": 32}
    for again in (replay(loaded), replay(loaded, model)):
        assert again == found
        assert again.manifest["layout"] == found.manifest["layout"]
    assert model.layout is None


def test_a_layout_that_cannot_be_remembered_is_still_told(path, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ONNXPLAIN_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(runner, "WORTH_MEASURING", 0.0)
    monkeypatch.setattr(runner.Runner, "_measured", classmethod(lambda *_: Layout(1, 1, 3)))
    found, loaded = saved(path, "rise", tmp_path, masks=60)
    assert found.manifest["layout"] == {"workers": 1, "threads": 1, "batch": 3}
    assert replay(loaded) == found


BACKGROUND = RNG.normal(size=(3, 1, 6, 6)).astype(np.float32)
GIVEN = {
    "array": {"baseline": BACKGROUND[:1], "features": "grid:3"},
    "references": {"baseline": BACKGROUND, "features": "grid:3"},
    "label map": {"features": np.arange(36).reshape(6, 6) // 9 - 1, "baseline": "noise:0.5"},
    "by input": {"features": {"image": "grid:2"}, "baseline": {"image": 0.25}},
    "features": {
        "features": Features(("top", "rest"), {"image": (np.arange(36).reshape(1, 1, 6, 6) > 5).astype(int)}, "grid")
    },
    "baseline": {"baseline": Baseline("mine", {"image": BACKGROUND}, "largest-effect"), "features": "grid:3"},
}


@pytest.mark.parametrize("given", GIVEN)
def test_settings_of_all_kinds_come_back(path, given):
    found, loaded = saved(path, target="z[1]", seed=5, **GIVEN[given])
    assert loaded == found
    assert replay(loaded) == found
    assert replay(found) == found


@pytest.mark.parametrize("baseline", ["rows.npy", "rows.csv:1", {"x": "rows.npy"}, Path("rows.npy")])
def test_files_in_settings_are_found_from_any_folder(tmp_path, monkeypatch, baseline):
    onnx.save(affine(RNG.normal(size=(2, 3)), np.zeros(2)), tmp_path / "m.onnx")
    np.save(tmp_path / "rows.npy", BACKGROUND[0, 0, :1, :3])
    (tmp_path / "rows.csv").write_text("a,b,c\n1,2,3\n4,5,6\n")
    monkeypatch.chdir(tmp_path)
    found = explain("m.onnx", X[0, 0, :1, :3], "ablation", target=0, baseline=baseline)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert replay(Explanation.load(found.save("found.npz"))) == found


def test_what_a_spec_said_is_not_needed_again(tmp_path):
    onnx.save(affine(RNG.normal(size=(2, 3)), np.zeros(2)), tmp_path / "m.onnx")
    table = InputSpec("x", "table", columns=("a", "b", "c"), groups={"both": ("a", "c")})
    spec = ModelSpec(labels=("no", "yes"), target="yes", inputs={"x": table})
    model = onnxplain.load(tmp_path / "m.onnx", spec, device="cpu")
    for target in ("top", "yes", "y:yes"):
        found = explain(model, X[0, 0, :1, :3], "ablation", target=target)
        assert (found.feature_names, found.label) == (("both", "b"), "yes")
        again = replay(Explanation.load(found.save(tmp_path / "e")))
        assert again == found
        assert again.manifest["target_space"] == found.manifest["target_space"]


def test_models_that_are_somewhere_else_or_someone_else(path, tmp_path):
    found, loaded = saved(path, folder=tmp_path)
    moved = tmp_path / "moved.onnx"
    moved.write_bytes(path.read_bytes())
    for model in (moved, str(moved), onnxplain.load(moved, device="cpu")):
        assert replay(loaded, model) == found
    other = tmp_path / "other.onnx"
    onnx.save(affine(np.ones((2, 36)), np.zeros(2)), other)
    with pytest.raises(InputError, match="not the model that was explained"):
        replay(loaded, other)
    lost = dataclasses.replace(loaded, manifest={**loaded.manifest, "model_path": str(tmp_path / "gone\x1b.onnx")})
    with pytest.raises(InputError, match=r"gone\\x1b.onnx' any more"):
        replay(lost)
    with pytest.raises(ModelError, match=r"there is no such file(.|\n)*did you mean 'moved.onnx'"):
        replay(loaded, tmp_path / "movd.onnx")
    from_bytes = explain(onnxplain.load(path.read_bytes(), device="cpu"), X, "ablation")
    with pytest.raises(InputError, match="name it"):
        replay(from_bytes)
    assert replay(from_bytes, moved) == from_bytes


def test_providers_that_were_chosen_are_chosen_again(path, tmp_path):
    model = onnxplain.load(path, providers=["CPUExecutionProvider"], threads=1)
    found = explain(model, X, "ablation")
    assert replay(Explanation.load(found.save(tmp_path / "e"))) == found


CHANGES = [
    ("layout", None),
    ("layout", {}),
    ("layout", {"workers": "2", "threads": 1, "batch": 1}),
    ("layout", {"workers": 10**6, "threads": 1, "batch": 1}),
    ("layout", {"workers": 1, "threads": 1, "batch": -5}),
    ("model_path", 3),
    ("model_path", "a\0b"),
    ("model_digest", None),
    ("device", ["cpu"]),
    ("device", "quantum"),
    ("threads", "all"),
    ("threads", -1),
    ("seed", "x"),
    ("seed", None),
    ("wrt", 4),
    ("target_index", "x"),
    ("target_tensor", "nowhere"),
]


@pytest.mark.parametrize(("field", "value"), CHANGES)
@pytest.mark.parametrize("gone", [False, True])
def test_manifests_from_outside_are_checked(path, tmp_path, field, value, gone):
    _, loaded = saved(path, folder=tmp_path)
    manifest = {**loaded.manifest, field: value}
    if gone:
        del manifest[field]
    try:
        replay(dataclasses.replace(loaded, manifest=manifest))
    except onnxplain.OnnxplainError as error:
        assert len(str(error).splitlines()) <= 6  # noqa: PT017 - not all are refused: what is not needed may be missing
    else:
        assert gone


def test_settings_and_methods_from_outside_are_checked(path, tmp_path):
    _, loaded = saved(path, folder=tmp_path)
    for fields in ({"method": "gone"}, {"settings": {"no": 1}}, {"settings": {"baseline": [None]}}, {"sample": None}):
        with pytest.raises(onnxplain.OnnxplainError):
            replay(dataclasses.replace(loaded, **fields))


def test_the_manifest_says_how_it_was_made(path, tmp_path):
    found, loaded = saved(path, "rise", tmp_path, seed=3, target="probability:top", masks=60)
    manifest = json.loads(json.dumps(found.to_json(), allow_nan=False))["manifest"]
    assert manifest["model_path"] == str(path)
    assert manifest["model_digest"] == onnxplain.load(path).digest
    assert manifest["opset"] == {"ai.onnx": 17}
    assert (manifest["device"], manifest["provider"], manifest["optimised"]) == ("cpu", "CPUExecutionProvider", True)
    assert (manifest["batching"], manifest["seed"], manifest["wrt"]) == ("any", 3, None)
    assert (manifest["target"], manifest["target_tensor"], manifest["target_space"]) == (
        "probability:top",
        "y",
        "probability",
    )
    assert manifest["settings_given"] == {"masks": 60}
    assert manifest["plugin"] == "onnxplain:onnxplain.engine.perturbation.rise.Rise"
    assert {"python", "numpy", "onnxruntime"} <= manifest["versions"].keys()
    assert set(manifest["layout"]) == {"workers", "threads", "batch"}
    assert loaded.manifest == manifest


def test_large_arrays_in_settings_are_not_written_out_as_text(path):
    found = explain(
        onnxplain.load(path, device="cpu"),
        X,
        "ablation",
        baseline=np.zeros((100, 1, 6, 6), np.float32),
        features="grid:2",
    )
    assert len(json.dumps(found.to_json())) < 6000
    assert len(json.dumps(found.manifest)) < 4000
