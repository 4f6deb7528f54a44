"""Reading .npy and .npz files that come from outside: no pickles, and nothing larger than what is really there."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any

from numpy.lib import format as npy

from ..errors import InputError, printable
from ..files import excerpt, existing_file, looks_like

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

MAX_BYTES = 4 << 30  # of all arrays of a file together
MAX_ARRAYS = 1000
# Deflate reaches about 1000 to 1, on nothing but zeros; real inputs stay below 200.
MAX_RATIO = 200
RATIO_FREE = 64 << 20  # bytes up to which any ratio is harmless

WRITE_ARRAYS = "write it with numpy.save or numpy.savez"  # the tip where a file is of another kind

# What zipfile, zlib and NumPy's header parser raise on damaged files.
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    MemoryError,
    RuntimeError,  # also NotImplementedError and RecursionError
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, NDArray[Any]]:
    """Return the arrays in a file by name; a .npy file's only array is named by the file's stem.

    Refused with InputError: pickled objects, headers that declare more than the file holds, archives that unpack to
    more than ``max_bytes`` or by a suspicious factor, and damaged files.
    """
    where = printable(path)
    with existing_file(path, InputError).open("rb") as file:
        magic = file.read(6)
        file.seek(0)
        try:
            if magic == b"\x93NUMPY":
                size = path.stat().st_size
                return {path.stem: _read_one(file, size, max_bytes, where)}
            if magic[:2] == b"PK":
                return _read_archive(file, max_bytes, where)
        except _DAMAGE as problem:
            raise InputError(
                f"this file is damaged or cut off: {excerpt(problem, 120)}", where=where, tip="write it again"
            ) from problem
    found = looks_like(path)
    raise InputError(
        f"this is {found}, not a .npy or .npz file" if found else "this is not a .npy or .npz file",
        where=where,
        tip=WRITE_ARRAYS,
    )


def read_given(path: Path, names: Iterable[str]) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """Return the arrays in a file by input name, or the only one where it is called otherwise; see ``read_arrays``."""
    arrays = read_arrays(path)
    return arrays if len(arrays) > 1 or arrays.keys() <= set(names) else next(iter(arrays.values()))


def _read_one(file: IO[bytes], size: int, max_bytes: int, where: str) -> NDArray[Any]:
    """Read one array of the .npy format out of ``size`` bytes, after its header has been checked."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise InputError(
            f"version {version[0]}.{version[1]} of the .npy format is not one of plain arrays", where=where
        )
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise InputError(
            "this array holds pickled Python objects, which could run code when read",
            where=where,
            tip="save it with a numeric or text dtype: array.astype('float32') or array.astype('U')",
        )
    if dtype.names is not None or dtype.subdtype is not None:
        raise InputError("this array holds records; plain arrays are needed, one per input", where=where)
    if any(length < 0 for length in shape):
        raise InputError(f"this array declares a negative size: {shape}", where=where)
    declared, present = math.prod(shape) * dtype.itemsize, size - file.tell()
    if declared > present:
        raise InputError(
            f"this array declares {declared:,} bytes, but {present:,} are there",
            where=where,
            tip="the file may be cut off",
        )
    _refuse_bytes(declared, max_bytes, where)
    file.seek(0)
    array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array


def _refuse_bytes(declared: int, max_bytes: int, where: str) -> None:
    if declared > max_bytes:
        raise InputError(f"{declared:,} bytes of arrays are more than the limit of {max_bytes:,}", where=where)


def _read_archive(file: IO[bytes], max_bytes: int, where: str) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_members(members, max_bytes, where)
        arrays = {}
        for member in members:
            with archive.open(member) as content:
                name = member.filename.removesuffix(".npy")
                arrays[name] = _read_one(content, member.file_size, max_bytes, f"{where}, {excerpt(name)}")
    return arrays


def _check_members(members: list[zipfile.ZipInfo], max_bytes: int, where: str) -> None:
    if not members or len(members) > MAX_ARRAYS:
        raise InputError(f"this archive holds {len(members)} arrays; 1 to {MAX_ARRAYS} can be read", where=where)
    names = [member.filename for member in members]
    odd = next((name for name in names if not name.endswith(".npy")), None)
    if odd is not None:
        raise InputError(f"this archive holds '{excerpt(odd)}', which is not an array", where=where)
    if len(set(names)) != len(names):
        raise InputError("this archive holds the same name twice", where=where)
    _refuse_bytes(sum(member.file_size for member in members), max_bytes, where)
    for member in members:
        if member.file_size > max(RATIO_FREE, MAX_RATIO * member.compress_size):
            raise InputError(
                f"'{excerpt(member.filename)}' unpacks from {member.compress_size:,} to {member.file_size:,} bytes, "
                "like a decompression bomb",
                where=where,
                tip="if it is meant, save it with numpy.savez, uncompressed",
            )
