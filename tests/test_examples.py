"""The examples in docstrings and in the documentation give what they show."""

import doctest
import importlib
import re

import pytest

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
