"""The examples in docstrings, in the documentation and in CONTRIBUTING.md do what they show."""

import doctest
import importlib.util
import re

import numpy as np
import pytest

import onnxplain
from onnxplain.engine.masking.baseline_words import BASELINES
from onnxplain.engine.masking.feature_words import FEATURES
from onnxplain.engine.registry import unregister
from source_tree import ROOT, sources

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = [s.module for s in sources() if re.search(r"^\s*>>> ", s.text, re.MULTILINE)]
PAGES = [
    p.relative_to(ROOT)
    for p in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if re.search(r"^>>> ", p.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(module), optionflags=FLAGS)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_page_examples(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = re.sub(r"^```.*$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    example = doctest.DocTestParser().get_doctest(text, {}, str(page), str(page), 0)
    assert doctest.DocTestRunner(optionflags=FLAGS).run(example).failed == 0


def test_the_method_of_contributing_explains(tmp_path):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    file = tmp_path / "keep_one_in.py"
    file.write_text(re.search(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("keep_one_in", file)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    try:
        image = np.full((1, 1, 8, 8), 0.5, np.float32)
        model = onnxplain.models.path("digits-cnn")
        found = onnxplain.explain(model, image, "keep-one-in", target=3, features="inputs", baseline=0)
    finally:
        unregister("keep-one-in")
    assert found.values["image"].shape == image.shape
    assert found.values["image"] == pytest.approx(found.score - found.baseline_score)


def test_the_pages_name_every_word_for_features_and_baselines():
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    told = {word.partition(":")[0] for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for word in words(row)}
    assert told == {*FEATURES, *BASELINES}


def words(cell):
    return re.findall(r"`([^`]+)`", cell)
