"""How rows go through a twin: the batch axis of each tensor, and batches that fit into memory."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...engine.rows import has_rows, native
from .dtypes import to_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ...engine.model import TensorSpec
    from .plan import Probe

MOST_ROWS = 64
RUN_BYTES = 512 << 20  # what the tensors kept for the way back should weigh at most


@dataclass(frozen=True)
class Layout:
    """Inputs, the rows that a run must have (0: any number), and what a probe has shown of every fx node.

    ``declared`` holds the batch axes that the model states for inputs and outputs, by fx node.
    """

    inputs: tuple[TensorSpec, ...]
    declared: Mapping[str, int | None]
    rows: int
    device: torch.device
    threads: int
    probe: Probe

    def axis(self, node: str) -> int | None:
        """Return where the batch axis of an fx node's tensor is, None if it has none."""
        one, two = self.probe.one.get(node, ()), self.probe.two.get(node, ())
        if self.rows:
            batched = any(i.batch_axis is not None for i in self.inputs)
            axis = self.declared.get(node, 0) if batched else None
            return axis if axis is not None and one[axis : axis + 1] == (self.rows,) else None
        grown = [k for k, (a, b) in enumerate(zip(one, two, strict=False)) if a != b]
        return grown[0] if len(grown) == 1 and (one[grown[0]], two[grown[0]]) == (1, 2) else None

    def leading(self, node: str, value: torch.Tensor, count: int) -> torch.Tensor:
        """Put the batch axis first, without the rows that only filled up the batch."""
        axis = self.axis(node)
        return value[None] if axis is None else value.movedim(axis, 0)[:count]

    def batch(self) -> int:
        """Return how many rows may run together."""
        if self.rows:
            return self.rows
        budget = RUN_BYTES
        if self.device.type == "cuda":
            budget = max(budget, torch.cuda.mem_get_info(self.device)[0] // 4)
        return int(max(1, min(MOST_ROWS, budget // max(1, self.probe.bytes))))

    def batches(self, feeds: Mapping[str, np.ndarray], size: int) -> Iterator[tuple[list[torch.Tensor], int]]:
        """Yield the tensors of at most ``size`` rows, in the order of the module's arguments, and how many they are."""
        total = max((len(f) for n, f in feeds.items() if has_rows(n, self.inputs)), default=1)
        for start in range(0, total, size):
            part = {n: f[start : start + size] if has_rows(n, self.inputs) else f for n, f in feeds.items()}
            count = min(size, total - start)
            yield self.tensors(part, count), count

    def tensors(self, rows: Mapping[str, np.ndarray], count: int) -> list[torch.Tensor]:
        """Return the module's arguments for ``count`` rows, filled up to a fixed number of rows."""
        listed = []
        for spec in self.inputs:
            array = rows[spec.name]
            if self.rows > count and has_rows(spec.name, self.inputs):
                array = np.concatenate([array, np.repeat(array[-1:], self.rows - count, axis=0)])
            array = native(spec.name, array, self.inputs)
            wide = array.astype(np.float32) if array.dtype == np.float16 else array
            listed.append(to_tensor(wide).to(self.device))
        return listed

    @contextlib.contextmanager
    def settings(self) -> Iterator[None]:
        """Use so many threads, and full precision on a GPU; put back what was."""
        kept = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        on_gpu = self.device.type == "cuda"
        precise = torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if on_gpu else contextlib.nullcontext()
        try:
            with precise:
                yield
        finally:
            torch.set_num_threads(kept)
