"""Checkpoints are read without unpickling; the bytes here are put together opcode by opcode."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxplain.engine.errors import ModelError
from onnxplain.models.checkpoint import read_checkpoint

EMPTY_DICT, EMPTY_LIST, EMPTY_TUPLE, MARK, NONE, STOP = b"}", b"]", b")", b"(", b"N", b"."
SETITEMS, APPENDS, TUPLE, REDUCE, PERSISTENT, BUILD = b"u", b"e", b"t", b"R", b"Q", b"b"
TRUE, FALSE = b"\x88", b"\x89"
ORDERED_DICT = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(value):
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value):
    return b"J" + struct.pack("<i", value)


def numbers(*values):
    return MARK + b"".join(map(number, values)) + TUPLE


def program(body):
    return b"\x80\x02" + body + STOP


def tensor(key, length, offset, shape, strides, storage=b"ctorch\nFloatStorage\n"):
    identity = MARK + text("storage") + storage + text(key) + text("cpu") + number(length) + NONE + TUPLE
    hooks = ORDERED_DICT + EMPTY_TUPLE + REDUCE
    arguments = identity + PERSISTENT + number(offset) + numbers(*shape) + numbers(*strides) + FALSE + hooks
    return REBUILD + MARK + arguments + TUPLE + REDUCE


def header(magic=0x1950A86A20F9469CFC6C, little_endian=TRUE):
    raw = magic.to_bytes(10, "little")
    machine = EMPTY_DICT + MARK + text("little_endian") + little_endian + SETITEMS
    return program(b"\x8a" + bytes([len(raw)]) + raw) + program(b"M" + struct.pack("<H", 1001)) + program(machine)


def checkpoint(tensors, storages, keys=None):
    """Return a file with the given tensors (name -> opcodes) and storages (key -> array)."""
    entries = b"".join(text(name) + body for name, body in tensors.items())
    state = ORDERED_DICT + EMPTY_TUPLE + REDUCE + MARK + entries + SETITEMS
    metadata = EMPTY_DICT + MARK + text("_metadata") + EMPTY_DICT + SETITEMS
    listed = EMPTY_LIST + MARK + b"".join(map(text, keys or storages)) + APPENDS
    data = b"".join(struct.pack("<q", values.size) + values.tobytes() for values in storages.values())
    return header() + program(state + metadata + BUILD) + program(listed) + data


SIX = np.arange(6, dtype="<f4")
GOOD = checkpoint(
    {
        "weight": tensor("a", 6, 0, (2, 3), (3, 1)),
        "transposed": tensor("a", 6, 0, (3, 2), (1, 3)),
        "tail": tensor("a", 6, 4, (2,), (1,)),
        "steps": tensor("b", 1, 0, (), (), storage=b"ctorch\nLongStorage\n"),
    },
    {"a": SIX, "b": np.array([7], "<i8")},
)


def test_tensors_have_the_shapes_strides_and_values_of_the_file():
    tensors = read_checkpoint(GOOD)
    assert list(tensors) == ["weight", "transposed", "tail", "steps"]
    np.testing.assert_array_equal(tensors["weight"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tensors["transposed"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(tensors["tail"], [4, 5])
    assert tensors["steps"] == 7
    assert tensors["steps"].shape == ()
    assert [t.dtype.name for t in tensors.values()] == ["float32", "float32", "float32", "int64"]


def test_tensors_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        read_checkpoint(GOOD)["weight"][0, 0] = 1


def test_repeated_values_are_recalled_from_the_memo():
    remembered = tensor("a", 6, 0, (6,), (1,)) + b"q\x05"
    tensors = read_checkpoint(checkpoint({"first": remembered, "second": b"h\x05"}, {"a": SIX}))
    np.testing.assert_array_equal(tensors["first"], tensors["second"])


@pytest.mark.parametrize("name", ["os\nsystem", "builtins\neval", "torch\nload", "torch._utils\n_rebuild_parameter"])
def test_call_of_a_foreign_function_is_refused_and_not_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile = b"c" + name.encode() + b"\n" + MARK + text("touch ran") + TUPLE + REDUCE
    with pytest.raises(ModelError, match=name.replace("\n", ".")):
        read_checkpoint(checkpoint({"weight": hostile}, {"a": SIX}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (text("os") + text("system") + b"\x93", "STACK_GLOBAL"),
        (MARK + text("os") + b"ios\nsystem\n", "INST"),
        (b"\x82\x01", "EXT1"),
        (text("no tensor"), "not a tensor"),
        (ORDERED_DICT + MARK + number(1) + TUPLE + REDUCE, "calls collections.OrderedDict"),
        (b"h\x63", "recalls entry 99"),
        (text("a") + EMPTY_TUPLE + REDUCE, "not a function"),
        (EMPTY_DICT + MARK + number(1) + NONE + SETITEMS, "a key is int"),
        (text("a") + EMPTY_DICT + BUILD, "sets attributes"),
        (text("a") + PERSISTENT, "data outside itself"),
        (REBUILD + MARK + NONE + TUPLE + REDUCE, "no storage"),
        (tensor("a", 6, 0, (7,), (1,)), "leaves its storage"),
        (tensor("a", 6, 1, (6,), (1,)), "leaves its storage"),
        (tensor("a", 6, 0, (2, 2), (5, 1)), "leaves its storage"),
        (tensor("a", 6, 0, (2**30, 2**30), (0, 0)), "leaves its storage"),
        (tensor("a", 6, 0, (2,), (-1,)), "strides"),
        (tensor("a", 6, 0, (-1,), (1,)), "shape"),
        (tensor("a", 6, 0, (0, 2**30), (1, 1)), "shape"),
        (tensor("a", 6, -1, (1,), (1,)), "shape"),
        (tensor("a", 6, 0, (1,) * 9, (1,) * 9), "9 axes"),
        (tensor("a", 6, 0, (2, 3), (3,)), "2 axes"),
        (tensor("a", 7, 0, (6,), (1,)), "6 numbers, not 7"),
        (tensor("a", 2**31 - 1, 0, (6,), (1,)), "6 numbers"),
        (tensor("b", 6, 0, (6,), (1,)), "list of storages"),
        (tensor("a", 6, 0, (6,), (1,), storage=b"ccollections\nOrderedDict\n"), "data outside itself"),
    ],
)
def test_what_no_dict_of_tensors_needs_is_refused(body, message):
    with pytest.raises(ModelError, match=message):
        read_checkpoint(checkpoint({"weight": body}, {"a": SIX}))


def test_storage_that_is_longer_than_the_file_is_refused_before_it_is_read():
    with pytest.raises(ModelError, match="cut short"):
        read_checkpoint(checkpoint({"weight": tensor("a", 6, 0, (6,), (1,))}, {"a": SIX})[:-1])
    huge = checkpoint({"weight": tensor("a", 2**31 - 1, 0, (6,), (1,))}, {"a": SIX})
    with pytest.raises(ModelError, match="cut short"):
        read_checkpoint(huge[: -8 - SIX.nbytes] + struct.pack("<q", 2**31 - 1) + SIX.tobytes())


def test_one_storage_described_in_two_ways_is_refused():
    twice = {"a": tensor("a", 6, 0, (6,), (1,)), "b": tensor("a", 6, 0, (6,), (1,), storage=b"ctorch\nIntStorage\n")}
    with pytest.raises(ModelError, match="two ways"):
        read_checkpoint(checkpoint(twice, {"a": SIX}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a PyTorch checkpoint"),
        (b"PK\x03\x04" + bytes(30), "zip format"),
        (b"<html>", "not a PyTorch checkpoint"),
        (header(magic=1), "magic number"),
        (header(little_endian=FALSE), "little-endian"),
        (header() + program(NONE) + program(NONE), "not a dict"),
        (header() + program(b"(" * 100_000 + b"t" * 100_000) + program(EMPTY_LIST), "not a dict"),
        (header() + program(EMPTY_DICT) + program(EMPTY_LIST + MARK + EMPTY_TUPLE + APPENDS), "list of storages"),
        (header() + program(MARK), "not one value"),
        (header() + program(TUPLE), "mark is missing"),
        (header() + program(b"\x85"), "runs empty"),
    ],
)
def test_other_files_are_refused(data, message):
    with pytest.raises(ModelError, match=message):
        read_checkpoint(data)


@given(position=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255), cut=st.integers(0, len(GOOD)))
def test_damage_anywhere_gives_a_model_error_or_tensors(position, value, cut):
    for data in (GOOD[:position] + bytes([value]) + GOOD[position + 1 :], GOOD[:cut]):
        try:
            tensors = read_checkpoint(data)
        except ModelError:
            continue
        assert all(isinstance(t, np.ndarray) for t in tensors.values())
