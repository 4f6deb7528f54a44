"""What is checked before ONNX Runtime sees a model: the file, the files beside it, its tensors and its operators.

Neither the runtime nor onnx promises to survive a hostile file, so no native code sees it here but protobuf's parser,
which bounds the nesting itself.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto

from ..errors import ModelError, printable
from ..files import excerpt, existing_file
from ..graph.structure import quoted, scope_tensors, scopes
from .external import check_external
from .formats import other_format
from .operators import check_functions, check_operators, check_opsets
from .sizes import check_generated, check_stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..graph.structure import Scope
    from .sizes import Extent

LARGEST_FILE = 2**31 - 1  # bytes that protobuf can parse
DEEPEST = 20  # graphs inside graphs; protobuf gives up at about 30, and no exporter comes near
_CHUNK = 2**20


@dataclass(frozen=True)
class ModelFile:
    """A model that has passed all checks.

    ``proto`` is as the file has it; tensors in other files are not loaded. ``path`` and ``folder`` are absolute, and
    None for a model given as bytes. ``external`` lists the other files, in the order of their names. ``digest`` is the
    SHA-256 of the model file followed by those files, in hexadecimal; ``size`` is the bytes of all of them.
    """

    proto: ModelProto
    path: Path | None
    folder: Path | None
    external: tuple[Path, ...]
    digest: str
    size: int


def read_model(source: str | os.PathLike[str] | bytes) -> ModelFile:
    """Read a model from a path or from bytes, and check all that can be checked without running it.

    Raises ``ModelError`` with the reason: no such file, another format, damaged, unsafe paths to weights, tensors that
    do not hold what they declare, operators that the runtime lacks.
    """
    _check_type(source)
    if isinstance(source, bytes):
        path, content, where = None, source, "a model given as bytes"
    else:
        path = existing_file(Path(source).absolute(), ModelError)
        where = printable(path)
        content = _content(path, where)
    proto = _parsed(content, where)
    folder = path.parent if path is not None else None
    external = _checked(proto, folder)
    digest = hashlib.sha256(content)
    size = len(content)
    for file in external:
        for chunk in _chunks(file):
            digest.update(chunk)
            size += len(chunk)
    return ModelFile(proto, path, folder, external, digest.hexdigest(), size)


def _check_type(source: object) -> None:
    if not isinstance(source, bytes | str | os.PathLike):
        tip = "give its bytes: model.SerializeToString()" if isinstance(source, ModelProto) else ""
        raise ModelError(f"a model is a path or the bytes of a file, not of type {type(source).__name__}", tip=tip)


def _content(path: Path, where: str) -> bytes:
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise ModelError(
            f"this file has {size:,} bytes; an ONNX file can have at most {LARGEST_FILE:,}",
            where=where,
            tip="save the model with its weights beside it: onnx.save_model(..., save_as_external_data=True)",
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"this file cannot be read: {error.strerror}", where=where) from None


def _parsed(content: bytes, where: str) -> ModelProto:
    if not content:
        raise ModelError("this file is empty", where=where, tip="export or download the model again")
    other = other_format(content)
    if other is not None:
        raise ModelError(f"this is not an ONNX model; it looks like {other[0]}", where=where, tip=other[1])
    proto = ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError as error:
        if "depth" in str(error).lower():
            raise ModelError("not an ONNX model: it is nested too deeply to be read", where=where) from None
        raise ModelError(
            "not an ONNX model, or a damaged one",
            where=where,
            tip="download or export it again; the file may have been cut short",
        ) from None
    if not proto.HasField("graph") or not proto.ir_version:
        raise ModelError(
            "not an ONNX model: it holds no graph",
            where=where,
            tip="the file may be in another protobuf format, such as a TensorFlow SavedModel or a Caffe model",
        )
    if not proto.graph.output:
        raise ModelError("the graph of this model has no outputs", where=where)
    return proto


def _checked(proto: ModelProto, folder: Path | None) -> tuple[Path, ...]:
    """Check the graph and everything inside it; return the files that hold tensors."""
    _check_text(_texts(proto))
    check_opsets(proto)
    external: dict[str, Path] = {}
    known: dict[str, Extent] = {}
    stored: dict[str, TensorProto] = {}
    for scope in scopes(proto):
        if scope.depth > DEEPEST:
            raise ModelError(f"graphs are nested more than {DEEPEST} deep in this model")
        _check_text(_names(scope))
        for tensor, place in scope_tensors(scope):
            if tensor.data_location == TensorProto.EXTERNAL:
                file = check_external(tensor, place, folder)
                external[str(file)] = file
            else:
                check_stored(tensor, place)
        check_operators(proto, scope)
        inside = scope.function is not None
        check_generated(scope, {} if inside else known, {} if inside else stored)
    check_functions(proto)
    return tuple(external[name] for name in sorted(external))


def _check_text(names: Iterable[str | bytes]) -> None:
    """Raise ``ModelError`` for a name that is not UTF-8: protobuf lets it pass as bytes."""
    for name in names:
        if isinstance(name, bytes):
            raise ModelError(
                f"a name in this model is not UTF-8 text: {quoted(name)}", tip="the file is damaged: download it again"
            )


def _texts(proto: ModelProto) -> Iterator[str | bytes]:
    graph = proto.graph
    yield from (proto.producer_name, proto.producer_version, proto.domain, proto.doc_string)
    yield from (graph.name, graph.doc_string)
    yield from (text for entry in proto.metadata_props for text in (entry.key, entry.value))
    yield from (opset.domain for opset in proto.opset_import)
    for function in proto.functions:
        yield from (function.name, function.domain, function.overload, *function.input, *function.output)
        yield from (opset.domain for opset in function.opset_import)
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)


def _names(scope: Scope) -> Iterator[str | bytes]:
    if scope.graph is not None:
        yield from (value.name for value in (*scope.graph.input, *scope.graph.output, *scope.graph.value_info))
        yield from (tensor.name for tensor in scope.graph.initializer)
        yield from (sparse.values.name for sparse in scope.graph.sparse_initializer)
    for node in scope.nodes:
        yield from (node.name, node.op_type, node.domain, node.overload, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _chunks(path: Path) -> Iterator[bytes]:
    """Read a file of weights piece by piece; it is opened without following a link put there since it was checked."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ModelError("external data is not a regular file", where=printable(path))
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise ModelError(f"external data cannot be read: {excerpt(error.strerror)}", where=printable(path)) from None
