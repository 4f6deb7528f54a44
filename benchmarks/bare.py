"""The best bare ONNX Runtime loop: what the same number of rows costs with nothing around ``session.run``.

Rows are random numbers, or are given: trees take longer over rows that differ in the branches they take.
"""

from __future__ import annotations

import itertools
import os
import statistics
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Bare:
    """Sessions, each driven by a thread of its own on one ready batch of random rows, or of the first of ``given``."""

    path: str
    sessions: tuple[ort.InferenceSession, ...]
    batch: int
    about: str
    given: np.ndarray | None = None

    def seconds(self, rows: int) -> float:
        """Return the wall time of ``rows`` rows."""
        counter = itertools.count()
        runs = -(-rows // self.batch)
        name, shape = self.sessions[0].get_inputs()[0].name, self.sessions[0].get_inputs()[0].shape[1:]
        feed = {name: _random((self.batch, *shape)) if self.given is None else self.given[: self.batch]}

        def drive(session: ort.InferenceSession) -> None:
            while next(counter) < runs:
                session.run(None, feed)

        begun = time.perf_counter()
        if len(self.sessions) == 1:
            drive(self.sessions[0])
            return (time.perf_counter() - begun) * rows / (runs * self.batch)
        threads = [threading.Thread(target=drive, args=(s,)) for s in self.sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (time.perf_counter() - begun) * rows / (runs * self.batch)


def _random(shape: Sequence[int]) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def best(
    path: str,
    trial_rows: int = 96,
    rounds: int = 3,
    batches: Sequence[int] = (1, 2, 4, 8, 16),
    given: np.ndarray | None = None,
) -> Bare:
    """Try one session on all cores and a single-threaded one per core, in several batch sizes; keep the fastest.

    That is the one with the least median of ``rounds`` times, which are taken in turns.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wide = (_session(path, cores),)
    narrow = tuple(_session(path, 1) for _ in range(cores))
    candidates = [
        Bare(path, sessions, batch, f"{len(sessions)} session(s), batch {batch}", given)
        for sessions in (wide, narrow)
        for batch in batches
    ]
    times: dict[str, list[float]] = {c.about: [] for c in candidates}
    for _ in range(rounds):
        for candidate in candidates:
            times[candidate.about].append(candidate.seconds(trial_rows))
    return min(candidates, key=lambda c: statistics.median(times[c.about]))


def _session(path: str, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.force_spinning_stop", "1")  # or it would slow down what is timed next
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
