"""``onnxplain demo``: what it explains where nothing can be fetched, and what it says of it."""

from onnxplain import Explanation
from onnxplain.cli import demo
from onnxplain.engine.errors import CapabilityError
from onnxplain.models import catalogue


def check_stand_in(result, folder):
    assert result.exit_code == 0, result.stderr
    methods = ("kernel-shap", "occlusion", "rise")
    files = [f"digits-0.{m}.{suffix}" for m in methods for suffix in ("npz", "png")]
    files += [f"gunpoint-point.occlusion.{suffix}" for suffix in ("npz", "png")]
    assert {*files, "index.html"} <= {p.name for p in folder.iterdir()}
    assert "'digits-cnn' stands in for 'efficientnet-lite0'" in result.stderr
    page = (folder / "index.html").read_text()
    assert page.count("<section") == len(list(folder.glob("*.png")))
    assert "could not be had here" in page
    assert f"{page.count('<section')} explanations in " in result.stdout
    assert Explanation.load(folder / "digits-0.rise.npz").settings["masks"] == 2000


def test_offline_uses_the_model_that_comes_with_the_package_and_says_so(run, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "build", None)
    check_stand_in(run("demo", "--offline", "-o", "pictures"), tmp_path / "pictures")


def test_build_that_fails_is_told_and_the_small_model_stands_in(run, tmp_path, monkeypatch):
    def fail(name, **_):
        raise CapabilityError(f"cannot fetch {name}")

    monkeypatch.setattr(catalogue, "build", fail)
    monkeypatch.setattr(demo, "digit_scenes", lambda: demo_scenes[:1])
    demo_scenes = [demo.Scene("digits-cnn", str(catalogue.samples("digits-cnn")[0]), "occlusion", {}, "A window.")]
    result = run("demo")
    assert result.exit_code == 0
    assert "warning: cannot fetch efficientnet-lite0" in result.stderr
    assert "warning: cannot fetch breast-cancer-forest" in result.stderr
    assert (tmp_path / "onnxplain-demo" / "index.html").is_file()


def test_models_that_can_be_had_are_explained(monkeypatch):
    monkeypatch.setattr(demo, "_is_built", lambda *_, **__: True)
    monkeypatch.setattr(demo, "_samples", lambda name: [catalogue.home() / name / "held-out.csv"])
    photograph, table = demo.photograph_scenes(offline=False), demo.table_scenes(offline=False)
    assert [s.method for s in photograph] == ["occlusion", "rise", "kernel-shap"]
    assert {s.model for s in photograph} == {"efficientnet-lite0"}
    assert photograph[0].source.endswith("chelsea.png")
    assert [(s.model, s.source.endswith("held-out.csv:0")) for s in table] == [("breast-cancer-forest", True)]


def test_folder_that_cannot_be_used_is_refused_before_anything_is_fetched(run, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "build", None)
    (tmp_path / "taken").write_text("mine")
    assert run("demo", "-o", "taken").exit_code == 3
