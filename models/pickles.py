"""Follows the opcodes of a pickle symbolically, as far as a dict of tensors needs them; nothing is imported or called.

A pickle is a program. ``pickletools.genops`` lists its opcodes; those that build plain values, and the global names
that tensors need, are allowed, and anything else is refused with ModelError.
"""

from __future__ import annotations

import math
import pickletools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..engine.errors import ModelError

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

STORAGES = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "|i1",
    "torch ByteStorage": "|u1",
    "torch BoolStorage": "|b1",
}
ORDERED_DICT = "collections OrderedDict"
REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
_MAX_AXES = 8
FORMAT_TIP = "save it in PyTorch with torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)"


class Global(NamedTuple):
    """A name that the pickle asks to be imported; it never is."""

    name: str


class Storage(NamedTuple):
    """A one-dimensional block of numbers, named by its key; the numbers come after the pickles."""

    key: str
    dtype: str
    length: int


class Tensor(NamedTuple):
    """A strided view of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass
class _Machine:
    """The stack, marks and memo of the pickle machine, holding plain values and the three symbols above."""

    stack: list[object] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)

    def pop(self) -> object:
        """Take the top of the stack, down to the last mark at most."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ModelError("the checkpoint is damaged: its stack runs empty")
        return self.stack.pop()

    def pop_mark(self) -> list[object]:
        """Take everything above the last mark."""
        if not self.marks:
            raise ModelError("the checkpoint is damaged: a mark is missing")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop_tuple(self, length: int) -> tuple[object, ...]:
        """Take the top ``length`` items, in the order in which they were pushed."""
        return tuple(self.pop() for _ in range(length))[::-1]


def _mark(machine: _Machine, _: object) -> None:
    machine.marks.append(len(machine.stack))


def _put(machine: _Machine, argument: object) -> None:
    top = machine.pop()
    machine.memo[_integer(argument)] = top
    machine.stack.append(top)


def _get(machine: _Machine, argument: object) -> None:
    key = _integer(argument)
    if key not in machine.memo:
        raise ModelError(f"the checkpoint is damaged: it recalls entry {key}, which it never stored")
    machine.stack.append(machine.memo[key])


def _set_items(machine: _Machine, pairs: list[object]) -> None:
    target = machine.pop()
    if not isinstance(target, dict) or len(pairs) % 2:
        raise ModelError("the checkpoint is damaged: items are set on something other than a dict")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        if not isinstance(key, str):
            raise ModelError(f"the checkpoint is not a dict of named tensors: a key is {type(key).__name__}, not text")
        target[key] = value
    machine.stack.append(target)


def _append(machine: _Machine, items: list[object]) -> None:
    target = machine.pop()
    if not isinstance(target, list):
        raise ModelError("the checkpoint is damaged: items are appended to something other than a list")
    target.extend(items)
    machine.stack.append(target)


def _global(machine: _Machine, argument: object) -> None:
    name = str(argument)
    if name not in STORAGES and name not in (ORDERED_DICT, REBUILD_TENSOR):
        raise ModelError(
            f"the checkpoint asks for {name.replace(' ', '.')!r}, which a dict of tensors does not need",
            tip=f"the file may be hostile, or hold more than tensors; {FORMAT_TIP}",
        )
    machine.stack.append(Global(name))


def _reduce(machine: _Machine, _: object) -> None:
    arguments = machine.pop()
    called = machine.pop()
    if not isinstance(called, Global) or not isinstance(arguments, tuple):
        raise ModelError("the checkpoint calls something that is not a function")
    if called.name == ORDERED_DICT and not arguments:
        machine.stack.append({})
    elif called.name == REBUILD_TENSOR:
        machine.stack.append(_tensor(arguments))
    else:
        raise ModelError(f"the checkpoint calls {called.name.replace(' ', '.')} in a way that PyTorch does not")


def _persistent(machine: _Machine, _: object) -> None:
    identity = machine.pop()
    match identity:
        case ("storage", Global(name), str(key), str(), int(length), *rest) if (
            name in STORAGES and length >= 0 and rest in ([], [None])
        ):
            machine.stack.append(Storage(key, STORAGES[name], length))
        case _:
            raise ModelError("the checkpoint refers to data outside itself in a way that is not known")


def _build(machine: _Machine, _: object) -> None:
    """Drop the attributes that PyTorch hangs on a state dict (``_metadata``): versions, not tensors."""
    machine.pop()
    target = machine.pop()
    if not isinstance(target, dict):
        raise ModelError("the checkpoint sets attributes of something other than its dict of tensors")
    machine.stack.append(target)


def _ignore(machine: _Machine, argument: object) -> None:
    """PROTO and STOP change nothing."""


_STEPS: dict[str, Callable[[_Machine, object], None]] = {
    "PROTO": _ignore,
    "STOP": _ignore,
    "MARK": _mark,
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.pop_mark())),
    "TUPLE1": lambda machine, _: machine.stack.append(machine.pop_tuple(1)),
    "TUPLE2": lambda machine, _: machine.stack.append(machine.pop_tuple(2)),
    "TUPLE3": lambda machine, _: machine.stack.append(machine.pop_tuple(3)),
    "SETITEM": lambda machine, _: _set_items(machine, list(machine.pop_tuple(2))),
    "SETITEMS": lambda machine, _: _set_items(machine, machine.pop_mark()),
    "APPEND": lambda machine, _: _append(machine, [machine.pop()]),
    "APPENDS": lambda machine, _: _append(machine, machine.pop_mark()),
    "GLOBAL": _global,
    "REDUCE": _reduce,
    "BINPERSID": _persistent,
    "BUILD": _build,
} | {
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"), lambda m, value: m.stack.append(value)),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _get),
}


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ModelError(f"the checkpoint is damaged: a number was expected, not {type(value).__name__}")
    return value


def _integers(value: object) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        raise ModelError(f"the checkpoint is damaged: a shape was expected, not {type(value).__name__}")
    return tuple(_integer(v) for v in value)


def _tensor(arguments: tuple[object, ...]) -> Tensor:
    """Read the arguments of ``_rebuild_tensor_v2`` and check that the view stays within its storage."""
    storage, offset, shape, strides = (*arguments, None, None, None, None)[:4]
    if not isinstance(storage, Storage):
        raise ModelError("the checkpoint is damaged: a tensor has no storage")
    tensor = Tensor(storage, _integer(offset), _integers(shape), _integers(strides))
    if len(tensor.shape) != len(tensor.strides) or len(tensor.shape) > _MAX_AXES:
        raise ModelError(f"the checkpoint is damaged: a tensor of {len(tensor.shape)} axes")
    if min((tensor.offset, *tensor.strides)) < 0 or min(tensor.shape, default=1) < 1:
        raise ModelError(f"the checkpoint is damaged: a tensor of shape {tensor.shape} and strides {tensor.strides}")
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if math.prod(tensor.shape) > storage.length or last >= storage.length:
        raise ModelError(
            f"the checkpoint is damaged: a tensor of shape {tensor.shape} leaves its storage of {storage.length}"
        )
    return tensor


def read_pickle(stream: io.BytesIO) -> object:
    """Follow one pickle symbolically; the stream then stands behind its STOP."""
    machine = _Machine()
    start = stream.tell()
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            step = _STEPS.get(opcode.name)
            if step is None:
                raise ModelError(
                    f"the checkpoint uses the pickle opcode {opcode.name}, which a dict of tensors does not need",
                    tip=f"the file may be hostile, or hold more than tensors; {FORMAT_TIP}",
                )
            step(machine, argument)
    except ValueError as error:  # what genops raises for bytes that are no pickle
        raise ModelError(f"not a PyTorch checkpoint: {error}", where=f"byte {start}") from error
    if len(machine.stack) != 1 or machine.marks:
        raise ModelError("the checkpoint is damaged: a pickle leaves not one value", where=f"byte {start}")
    return machine.stack[0]
