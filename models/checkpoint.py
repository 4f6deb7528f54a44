"""Reads the tensors of a PyTorch checkpoint (the format before 1.6) without unpickling anything.

Such a file is a row of pickles and then raw data: a magic number, the protocol version 1001, a dict about the machine
that wrote it, the dict of tensors, the list of storage keys; then, for each key in that order, a little-endian int64
with the number of elements and the elements themselves. The pickles are followed symbolically (``pickles.py``), so no
code of the file ever runs.

Source: ``torch.serialization._legacy_save`` of PyTorch (what it writes, not how).
"""

from __future__ import annotations

import io

import numpy as np

from ..engine.errors import ModelError
from .pickles import FORMAT_TIP, Storage, Tensor, read_pickle

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def _read_storage(stream: io.BytesIO, storage: Storage) -> np.ndarray:
    count = int.from_bytes(stream.read(8), "little", signed=True)
    if count != storage.length:
        raise ModelError(f"the checkpoint is damaged: a storage has {count} numbers, not {storage.length}")
    size = count * np.dtype(storage.dtype).itemsize
    if size > stream.getbuffer().nbytes - stream.tell():
        raise ModelError(f"the checkpoint is cut short: a storage needs {size} bytes")
    return np.frombuffer(stream.read(size), storage.dtype)


def _check_header(stream: io.BytesIO) -> None:
    if bytes(stream.getbuffer()[:4]) == b"PK\x03\x04":
        raise ModelError("the checkpoint has PyTorch's newer zip format, which is not read here", tip=FORMAT_TIP)
    if read_pickle(stream) != MAGIC or read_pickle(stream) != PROTOCOL:
        raise ModelError("not a PyTorch checkpoint: the magic number or the protocol version differs", tip=FORMAT_TIP)
    machine = read_pickle(stream)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ModelError("the checkpoint was not written on a little-endian machine")


def read_checkpoint(data: bytes) -> dict[str, np.ndarray]:
    """Return the named tensors of a checkpoint as read-only arrays; tensors that share a storage share memory.

    Raises ModelError for anything but a plain dict of tensors in the format before PyTorch 1.6.
    """
    stream = io.BytesIO(data)
    _check_header(stream)
    state = read_pickle(stream)
    keys = read_pickle(stream)
    if not isinstance(state, dict) or not isinstance(keys, list):
        raise ModelError("the checkpoint is not a dict of tensors", tip=FORMAT_TIP)
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ModelError(f"the checkpoint's entry {name!r} is not a tensor", tip=FORMAT_TIP)
        tensors[name] = value
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if any(tensor.storage != storages[tensor.storage.key] for tensor in tensors.values()):
        raise ModelError("the checkpoint is damaged: it describes one storage in two ways")
    if not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise ModelError("the checkpoint is damaged: the list of storages does not match the tensors")
    blocks = {key: _read_storage(stream, storages[key]) for key in keys}
    return {name: _view(tensor, blocks[tensor.storage.key]) for name, tensor in tensors.items()}


def _view(tensor: Tensor, block: np.ndarray) -> np.ndarray:
    used = zip(tensor.shape, tensor.strides, strict=True)
    strides = tuple(step * block.itemsize if length > 1 else block.itemsize for length, step in used)
    return np.lib.stride_tricks.as_strided(block[tensor.offset :], tensor.shape, strides, writeable=False)
