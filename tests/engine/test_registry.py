"""The plug-in registry: one door for built-in and foreign plug-ins, and none of them can break the others."""

import dataclasses
import importlib.metadata
import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Annotated, Literal

import pytest

from onnxplain import DATA, GRADIENT, PREDICT, Range, SettingError, methods, register
from onnxplain.engine import registry
from onnxplain.engine.registry import GROUP, broken, find, plugins

REAL = importlib.metadata.entry_points


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """Leave nothing behind in the registry of this process; the built-in methods are in it."""
    plugins()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr(registry, "_broken", {})


@pytest.fixture
def package(monkeypatch, tmp_path):
    """Install packages: a module's source, and its entry points by name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    announced = []

    def install(module, source, **entries):
        (tmp_path / f"{module}.py").write_text(source)
        announced.extend(EntryPoint(name.replace("_", "-"), value, GROUP) for name, value in entries.items())

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [*REAL(group=group), *announced])
    yield install
    for name in [n for n in sys.modules if n.startswith("foreign")]:
        del sys.modules[name]


def plugin(name, kind="explainer", class_name="Foreign"):
    return f"""
from dataclasses import dataclass
from onnxplain import register
@register("{kind}", "{name}")
@dataclass(frozen=True)
class {class_name}:
    '''Does {name}.'''
"""


def test_the_built_in_methods_come_by_entry_points():
    announced = {e.name for e in REAL(group=GROUP)}
    assert {"ablation", "occlusion", "rise", "kernel-shap", "exact-shapley"} <= announced
    assert announced <= {p.name for p in methods()}
    assert not [b for b in broken() if b.package == "onnxplain"]
    assert all(p.summary and p.source for p in methods() if p.package == "onnxplain")


def test_a_plugin_is_described_by_its_dataclass():
    @register("metric", "how-good", needs=PREDICT | DATA, modalities=("image",), source="Somebody 2020")
    @dataclass(frozen=True)
    class HowGood:
        """How good it is.

        And more about it.
        """

        steps: Annotated[int, "how many steps", Range(1, 9)] = 5
        way: Annotated[Literal["up", "down"], "which way"] = "up"

    described = json.loads(json.dumps(find("how-good").to_json(), allow_nan=False))
    assert described["settings"][0] == {
        "name": "steps",
        "type": "integer",
        "default": 5,
        "help": "how many steps",
        "bounds": "1 to 9",
        "choices": None,
    }
    assert described["settings"][1]["choices"] == ["up", "down"]
    del described["settings"]
    assert described == {
        "name": "how-good",
        "kind": "metric",
        "needs": ["predict", "data"],
        "modalities": ["image"],
        "source": "Somebody 2020",
        "summary": "How good it is.",
        "package": "test_registry",
    } | {"package": HowGood.__module__.split(".")[0]}
    assert [p.name for p in plugins("metric")] == sorted({p.name for p in plugins("metric")} | {"how-good"})


def declared(name, kind="explainer", *, frozen=True, **options):
    return register(kind, name, **options)(dataclass(frozen=frozen)(type("Some", (), {"__module__": "somebody.x"})))


def test_a_name_is_given_once_whatever_the_kind():
    declared("mine")
    for kind in ("explainer", "metric"):
        with pytest.raises(SettingError, match="'mine' is taken by somebody"):
            declared("mine", kind)
    registry.unregister("mine")
    declared("mine", "metric")


def test_built_in_names_are_taken_before_they_are_imported():
    with pytest.raises(SettingError, match="'kernel-shap' is taken by onnxplain"):
        declared("kernel-shap")


@pytest.mark.parametrize("name", ["", "Rise", "my method", "a_b", "-a", "a-", "a--b", "é", "a\n", "+"])
def test_names_are_kebab_case(name):
    with pytest.raises(SettingError, match="not a plug-in name"):
        declared(name)


def test_names_may_end_in_plus_signs():
    assert declared("own-cam++") is find("own-cam++").factory


def test_what_is_no_plugin_is_refused():
    with pytest.raises(SettingError, match="did you mean 'metric'"):
        declared("x", "metrics")
    with pytest.raises(SettingError, match="did you mean 'image'"):
        declared("x", modalities=("imge",))
    with pytest.raises(SettingError, match="must be a frozen dataclass"):
        declared("x", frozen=False)
    with pytest.raises(SettingError, match="must be a frozen dataclass"):
        register("explainer", "x")(type("NoDataclass", (), {}))
    unread = dataclasses.make_dataclass("Unread", [("size", "Missing", 1)], frozen=True)
    with pytest.raises(SettingError, match="name 'Missing' is not defined"):
        register("explainer", "x")(unread)


def test_names_that_a_summary_knows_are_answered_with_its_method():
    pytest.importorskip("torch")
    with pytest.raises(SettingError, match=r"called 'expected-gradients'\n.*did you mean 'gradient-shap'\?"):
        registry.find("expected-gradients", "explainer")


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(SettingError, match=r"no explainer called 'oclusion'\n.*did you mean 'occlusion'"):
        find("oclusion", "explainer")
    declared("my-own-thing")
    with pytest.raises(SettingError, match="did you mean 'my-own-thing'"):
        find("my-own-things")
    with pytest.raises(SettingError, match=r"called '\\x1b\[2J'"):
        find("\x1b[2J")


def test_a_plugin_of_another_kind_is_refused():
    declared("how-good", "metric")
    with pytest.raises(SettingError, match="'how-good' is a metric, not an explainer"):
        find("how-good", "explainer")
    with pytest.raises(SettingError, match="'rise' is an explainer, not a metric"):
        find("rise", "metric")


def test_foreign_packages_announce_one_class_or_a_whole_module(package):
    package("foreign_one", plugin("one"), one="foreign_one:Foreign")
    package("foreign_many", plugin("two") + plugin("three", "metric", "Other"), whatever="foreign_many")
    assert "foreign_one" not in sys.modules
    assert find("one").package == "foreign_one"
    assert "foreign_many" not in sys.modules
    assert (find("two").summary, find("three", "metric").summary) == ("Does two.", "Does three.")


def test_a_class_may_be_announced_by_another_module_of_its_package(package, tmp_path):
    (tmp_path / "foreign_deep").mkdir()
    (tmp_path / "foreign_deep" / "__init__.py").write_text("from .inner import Foreign as Foreign\n")
    package("foreign_deep/inner", plugin("deep"), deep="foreign_deep:Foreign")
    assert find("deep").package == "foreign_deep"


BROKEN = {
    "raises": ("raise ImportError('no \\x1bquantum')", "ImportError: no \\x1bquantum"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "damaged": ("def (:", "SyntaxError"),
    "other-name": (plugin("some-other"), "registers no plug-in of this name"),
    "unread": (plugin("unread") + "    size: 'Nothing' = 1\n", "settings of plug-in 'unread' cannot be read"),
    "thawed": (plugin("thawed").replace("(frozen=True)", ""), "must be a frozen dataclass"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_does_not_end_the_rest(package, name):
    source, reason = BROKEN[name]
    package("foreign_broken", source, **{name: "foreign_broken:Foreign"})
    package("foreign_good", plugin("good"), good="foreign_good:Foreign")
    assert {"good", "rise", "occlusion"} <= {p.name for p in plugins()}
    (found,) = broken()
    assert (found.name, found.package) == (name, "foreign_broken")
    assert reason in found.reason
    with pytest.raises(SettingError, match=f"plug-in '{name}' does not load"):
        find(name)
    assert find("good").name == "good"


def test_missing_modules_and_nonsense_are_broken_plugins(package):
    package("foreign_good", plugin("good"), good="foreign_good:Foreign", gone="foreign_gone:X", odd=":::", empty="")
    assert "good" in {p.name for p in plugins()}
    assert [b.name for b in broken()] == ["empty", "gone", "odd"]


def test_two_broken_packages_that_announce_under_the_same_word_are_both_tried(package):
    package("foreign_a", "raise ValueError('a')", plugins="foreign_a")
    package("foreign_b", plugin("fine"), plugins="foreign_b")
    assert find("fine").package == "foreign_b"
    assert [b.package for b in broken()] == ["foreign_a"]


@pytest.mark.parametrize("first", ["foreign", "built-in"])
def test_a_foreign_plugin_cannot_take_a_built_in_name(package, monkeypatch, first):
    if first == "foreign":
        for name in ("rise", "occlusion"):
            registry.unregister(name)
            monkeypatch.delitem(sys.modules, f"onnxplain.engine.perturbation.{name}", raising=False)
        monkeypatch.setattr(registry, "_entry_points", lambda whole=registry._entry_points: whole()[::-1])
    package("foreign_thief", plugin("rise"), rise="foreign_thief:Foreign")
    package("foreign_sly", plugin("occlusion"), sly="foreign_sly")
    assert find("rise").package == find("occlusion").package == "onnxplain"
    plugins()
    assert find("rise").package == find("occlusion").package == "onnxplain"
    assert [b.package for b in broken() if "taken by onnxplain" in b.reason] == ["foreign_thief", "foreign_sly"]


def test_two_foreign_plugins_of_one_name_are_both_refused(package):
    package("foreign_a", plugin("same"), same="foreign_a:Foreign")
    package("foreign_b", plugin("same"), same_="foreign_b:Foreign")
    package("foreign_c", plugin("same"), same="foreign_c:Foreign")
    with pytest.raises(SettingError, match="'same' does not load: the plug-in name 'same' is taken by foreign_"):
        find("same")
    assert {b.package for b in broken()} == {"foreign_a", "foreign_c"}


def test_the_packages_to_load_can_be_limited(package, monkeypatch):
    package("foreign_a", plugin("a"), a="foreign_a:Foreign")
    package("foreign_b", plugin("b"), b="foreign_b:Foreign")
    monkeypatch.setenv("ONNXPLAIN_PLUGINS", " foreign-b ,")
    assert {"b", "rise"} <= {p.name for p in plugins()}
    assert "foreign_a" not in sys.modules
    with pytest.raises(SettingError, match="no plug-in called 'a'"):
        find("a")
    monkeypatch.setenv("ONNXPLAIN_PLUGINS", "")
    assert {e.name for e in registry._entry_points()} == {e.name for e in REAL(group=GROUP)}


def test_nothing_is_imported_until_it_is_used():
    program = """
import sys, onnxplain
onnxplain.register, onnxplain.GRADIENT, onnxplain.SettingError
assert not {"onnx", "onnxruntime", "onnxplain.engine.perturbation.rise"} & set(sys.modules)
onnxplain.engine.registry.find("rise")
assert "onnxplain.engine.perturbation.rise" in sys.modules
heavy = {"torch", "skimage", "sklearn", "scipy", "matplotlib", "PIL", "onnxplain.engine.perturbation.occlusion"}
print(*heavy & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


def test_unknown_kinds_and_what_is_no_name_are_refused():
    with pytest.raises(SettingError, match="did you mean 'explainer'"):
        plugins("explaner")
    with pytest.raises(SettingError, match="of type list"):
        find(["rise", "lime"])


def test_needs_can_be_asked_for():
    declared("white-box", needs=PREDICT | GRADIENT)
    assert GRADIENT in find("white-box").needs
    assert DATA not in find("white-box").needs
