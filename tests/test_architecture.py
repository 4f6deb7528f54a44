"""The arrows between the folders and what no file may do.

Read from the source, so that imports inside functions count too.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from source_tree import FOLDERS, PYPROJECT, ROOT, Source, sources

FRONT_DOOR = "onnxplain"
ENGINE = "onnxplain.engine"
ADAPTERS = "onnxplain.adapters"
CLI = "onnxplain.cli"
MODELS = "onnxplain.models"

MAY_IMPORT = {  # folder -> other folders, or single modules of them
    FRONT_DOOR: {ENGINE},
    ENGINE: set(),
    ADAPTERS: {ENGINE},
    CLI: {FRONT_DOOR, MODELS, ENGINE},
    MODELS: {FRONT_DOOR, "onnxplain.engine.errors"},
}

OWNERS = {  # a library and the one place that may import it
    "click": CLI,
    "matplotlib": "onnxplain.engine.render",
    "onnxruntime": "onnxplain.engine.runtime",
    "ray": "onnxplain.adapters.ray",
    "torch": "onnxplain.adapters.torch",
}

UNSAFE = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
NETWORK = {"aiohttp", "ftplib", "http", "httpx", "requests", "smtplib", "socket", "urllib.request", "urllib3"}
NAMELESS_ROOMS = {"base", "common", "core", "helper", "helpers", "manager", "misc", "tools", "util", "utils"}


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def folder_of(module: str) -> str | None:
    """Return the package of the top-level folder that holds ``module``, or None for a module from elsewhere."""
    return max((p for p in FOLDERS if inside(module, p)), key=len, default=None)


@dataclass(frozen=True)
class Import:
    """One name that a file imports, wherever in the file it does; ``typing`` if only type checkers do."""

    source: Source
    name: str
    line: int
    typing: bool

    def __str__(self) -> str:
        return f"{self.source.path}:{self.line} imports {self.name}"


@cache
def imports() -> tuple[Import, ...]:
    return tuple(found for source in sources() for found in imported(source, source.tree, typing=False))


def imported(source: Source, node: ast.AST, *, typing: bool) -> Iterator[Import]:
    yield from (Import(source, name, node.lineno, typing) for name in names(source, node))
    if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
        for child in node.body:
            yield from imported(source, child, typing=True)
        for child in node.orelse:
            yield from imported(source, child, typing=typing)
        return
    for child in ast.iter_child_nodes(node):
        yield from imported(source, child, typing=typing)


def names(source: Source, node: ast.AST) -> list[str]:
    """Return the dotted names that a node imports; of a module's content, the module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = source.package.split(".")
            base = ".".join([*above[: len(above) - node.level + 1], *filter(None, [base])])
        known = {s.module for s in sources()}
        full = [f"{base}.{alias.name}" for alias in node.names]
        return [name if name in known or folder_of(base) is None else base for name in full]
    if isinstance(node, ast.Call) and called(node) in {"import_module", "__import__"}:
        return [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return []


def called(node: ast.Call) -> str:
    """Return the last part of the name that is called: ``load`` for ``numpy.load(...)``."""
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def listed(wrong: Iterable[object]) -> str:
    return "\n".join(map(str, wrong))


def test_imports_follow_the_arrows():
    wrong = []
    for found in imports():
        home, target = folder_of(found.source.module), folder_of(found.name)
        if target not in {None, home} and not {target, found.name} & MAY_IMPORT[home]:
            wrong.append(found)
    assert not wrong, listed(wrong)


def test_across_folders_only_the_front_door_is_imported_by_its_full_name():
    wrong = [
        f"{source.path}:{node.lineno}"
        for source in sources()
        for node in source.nodes
        if (isinstance(node, ast.Import) and any(a.name.startswith("onnxplain.") for a in node.names))
        or (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("onnxplain."))
    ]
    assert not wrong, "import relatively, or from onnxplain itself:\n" + listed(wrong)


@pytest.mark.parametrize("library", OWNERS)
def test_library_has_one_door(library):
    wrong = [
        found
        for found in imports()
        if inside(found.name, library) and not found.typing and not inside(found.source.module, OWNERS[library])
    ]
    assert not wrong, listed(wrong)


@pytest.mark.parametrize("library", sorted(UNSAFE | NETWORK))
def test_library_stays_out(library):
    wrong = [found for found in imports() if inside(found.name, library)]
    assert not wrong, listed(wrong)


def test_no_code_from_text_and_no_pickles_from_numpy():
    wrong = []
    for source in sources():
        for node in source.nodes:
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}:
                wrong.append(f"{source.path}:{node.lineno} {node.func.id}")
            if any(k.arg == "allow_pickle" and getattr(k.value, "value", None) is not False for k in node.keywords):
                wrong.append(f"{source.path}:{node.lineno} allow_pickle")
    assert not wrong, listed(wrong)


def test_nothing_is_left_to_do():
    mark = re.compile(r"\b(TODO|FIXME|XXX|raise NotImplementedError)\b")
    wrong = [f"{s.path}:{n}" for s in sources() for n, line in enumerate(s.text.splitlines(), 1) if mark.search(line)]
    assert not wrong, listed(wrong)


def test_rooms_have_names():
    wrong = [str(s.path) for s in sources() if NAMELESS_ROOMS & set(s.module.split("."))]
    assert not wrong, listed(wrong)


def test_first_line_says_what_the_room_is_for():
    wrong = [str(s.path) for s in sources() if not s.text.startswith('"""')]
    assert not wrong, listed(wrong)


def test_every_folder_of_code_is_packaged():
    packages = set(PYPROJECT["tool"]["setuptools"]["packages"])
    assert {s.package for s in sources()} == packages
    assert {s.module for s in sources() if s.path.name == "__init__.py"} == packages


def test_announced_plugins_are_where_they_say():
    places = {f"{s.module}:{n.name}" for s in sources() for n in s.nodes if isinstance(n, ast.ClassDef)}
    places |= {s.module for s in sources()}
    announced = PYPROJECT["project"]["entry-points"]["onnxplain.plugins"]
    wrong = [f"{name} = {place}" for name, place in announced.items() if place not in places]
    assert not wrong, listed(wrong)


def test_front_door_is_marked_as_typed():
    assert (ROOT / FOLDERS[FRONT_DOOR] / "py.typed").is_file()
