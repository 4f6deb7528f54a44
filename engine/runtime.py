"""ONNX Runtime: devices, sessions, layouts and the loop that keeps them busy. The only file that imports onnxruntime.

A layout says how the cores are used: one session whose operators share all threads, or several rows of work side by
side on one thread each; and how many rows a run takes. On a GPU there is one stream of work and inputs stay in device
memory through IO binding.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import itertools
import math
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import onnxruntime as ort

from .errors import CapabilityError, InputError, ModelError, SettingError, nearest, printable
from .patience import awaited, patiently

if TYPE_CHECKING:
    from pathlib import Path

Feeds = Mapping[str, np.ndarray]
Provider = str | tuple[str, dict[str, Any]]
Tag = TypeVar("Tag")
Result = TypeVar("Result")

FATAL_ONLY = 4  # native log level: errors are raised as exceptions too, so nothing is lost
MOST_THREADS = 8  # a core
BRIEF = 2e-4  # seconds of a run: waking another thread and waiting for it takes about as long
BRIEF_ALONE = 2e-3  # seconds of a run while which there is nothing else to do
MAX_IR = 13
MAX_OPSET = 26
CHECK_PROVIDER = "check the provider's libraries (onnxplain doctor) and options, or run with --device cpu"
STOP_SPINNING = "session.force_spinning_stop"  # threads that look for work after a run keep the cores from others
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
# A signature in C++, as compilers spell it: result, name, arguments.
_SIGNATURE = re.compile(r"[^()]*\((?:[^()]|\([^()]*\))*\)(?: const)? (?:\[with [^\]]*\] )?")
_ort_errors = ort.capi.onnxruntime_pybind11_state
RUNTIME_ERRORS: tuple[type[Exception], ...] = tuple(
    getattr(_ort_errors, name)
    for name in (
        "EPFail",
        "EngineError",
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NoSuchFile",
        "NotFound",
        "NotImplemented",
        "RuntimeException",
    )
    if hasattr(_ort_errors, name)
)


@dataclass(frozen=True)
class Layout:
    """How work is laid on the machine: ``workers`` runs side by side, ``threads`` in each, ``batch`` rows a run."""

    workers: int = 1
    threads: int = 1
    batch: int = 8


@dataclass(frozen=True)
class Device:
    """Where sessions run: the execution providers in order of preference, and the memory that inputs live in."""

    name: str  # cpu, cuda:0, or the first provider's name
    providers: tuple[Provider, ...]
    memory: str = "cpu"  # an OrtValue device type
    index: int = 0

    @property
    def is_cpu(self) -> bool:
        """True where the cores do the work."""
        return _provider_name(self.providers[0]) == "CPUExecutionProvider"


def choose_device(device: str = "auto", providers: Sequence[Provider] | str | None = None) -> Device:
    """Return the device to run on.

    ``auto`` takes CUDA where a driver and a GPU answer and the CPU elsewhere, without a word; ``cuda`` or ``cuda:1``
    raises ``CapabilityError`` where CUDA cannot run; ``providers`` are handed to ONNX Runtime as they are.
    """
    if isinstance(providers, str):
        providers = [providers]
    if providers:
        known = ort.get_available_providers()
        for provider in providers:
            if _provider_name(provider) not in known:
                raise CapabilityError(
                    f"ONNX Runtime here has no provider '{printable(_provider_name(provider))}'",
                    tip=nearest(_provider_name(provider), known),
                )
        first = _provider_name(providers[0])
        options = providers[0][1] if isinstance(providers[0], tuple) else {}
        on_gpu = first in {"CUDAExecutionProvider", "TensorrtExecutionProvider"}
        index = int(options.get("device_id", 0))
        return Device(first, tuple(providers), "cuda" if on_gpu else "cpu", index)
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if device == "cpu" or (device == "auto" and cuda_missing()):
        return Device("cpu", ("CPUExecutionProvider",))
    if device == "auto" or match:
        index = int(match.group(1) or 0) if match else 0
        reason = cuda_missing(index)
        if reason:
            raise CapabilityError(
                f"CUDA cannot be used here: {reason}", tip="run with --device cpu, or see: onnxplain doctor"
            )
        cuda = ("CUDAExecutionProvider", {"device_id": index})
        return Device(f"cuda:{index}", (cuda, "CPUExecutionProvider"), "cuda", index)
    raise SettingError(
        f"unknown device '{printable(device)}'", tip="use auto, cpu, cuda or cuda:1, or pass providers=[...]"
    )


def cuda_missing(index: int = 0) -> str:
    """Say why CUDA cannot run, or return an empty string where a driver and GPU ``index`` answer.

    ONNX Runtime's list of providers is no probe: it holds CUDA on any machine with the GPU wheel. The driver is asked.
    """
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return "this ONNX Runtime was built without it (install onnxruntime-gpu)"
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver on this machine"
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the NVIDIA driver finds no GPU"
    if index >= count.value:
        return f"there is no GPU {index} (found {count.value})"
    return ""


def versions() -> dict[str, str]:
    """Versions of the runtime, for manifests."""
    return {"onnxruntime": ort.__version__}


def available_providers() -> list[str]:
    """List the providers that ONNX Runtime was built with (whether or not they work here)."""
    return list(ort.get_available_providers())


class Session:
    """One graph on one device, opened once; ``run`` may be called from several threads."""

    def __init__(self, proto: bytes, folder: Path | None, device: Device, threads: int) -> None:
        self.device = device
        self.optimised = True
        try:
            self._session = patiently(
                lambda: _open(proto, folder, device, threads, optimise=True), "opening the model in ONNX Runtime"
            )
        except _ort_errors.RuntimeException:
            self.optimised = False  # the optimiser itself failed: the graph may still run as it is written
            self._session = _open(proto, folder, device, threads, optimise=False)
        self.outputs = [o.name for o in self._session.get_outputs()]
        self._strings = any(i.type == "tensor(string)" for i in self._session.get_inputs())
        self.inputs = [i.name for i in self._session.get_inputs()]

    @property
    def provider(self) -> str:
        """The provider that really runs the graph."""
        return str(self._session.get_providers()[0])

    def run(self, feeds: Feeds, halt: Halt | None = None) -> list[np.ndarray]:
        """Return the outputs for one batch; ``feeds`` holds the session's inputs and no others.

        ``halt`` is given by who waits in another thread; without it the run is waited for here, interruptibly. Raises
        ``InputError`` or ``ModelError`` with ONNX Runtime's own reason.
        """
        if halt is None:
            halt = Halt()
            try:
                return patiently(partial(self.run, feeds, halt), "running the model")
            except BaseException:
                halt()
                raise
        try:
            if self.device.memory == "cpu" or self._strings:
                return list(self._session.run(None, dict(feeds), halt.options))
            return self.run_bound(feeds, halt)
        except RUNTIME_ERRORS as error:
            raise _translated(error) from None
        except UnicodeDecodeError as error:
            raise ModelError(f"an output of this model holds text that is not UTF-8: {error.object[:40]!r}") from None

    def run_bound(self, feeds: Feeds, halt: Halt | None = None) -> list[np.ndarray]:
        """Run with inputs and outputs in the device's memory."""
        binding = self._session.io_binding()
        for name in self.inputs:
            value = ort.OrtValue.ortvalue_from_numpy(feeds[name], self.device.memory, self.device.index)
            binding.bind_ortvalue_input(name, value)
        for name in self.outputs:
            binding.bind_output(name, self.device.memory, self.device.index)
        self._session.run_with_iobinding(binding, halt.options if halt else None)
        return list(binding.copy_outputs_to_cpu())


class Halt:
    """Ends runs that are under way: ONNX Runtime looks at it between operators."""

    def __init__(self) -> None:
        self.options = ort.RunOptions()

    def __call__(self) -> None:
        """End the runs that were started with this."""
        self.options.terminate = True


def in_flight(workers: int) -> int:
    """Return how many batches a stream runs or holds ready: enough that workers which end together find the next."""
    return 2 * workers + 1


def stream(
    run: Callable[[Feeds, Halt], Result],
    batches: Iterable[tuple[Feeds | None, Tag]],
    workers: int,
    seconds: Callable[[Feeds], float] = lambda _: math.inf,
) -> Iterator[tuple[Result | None, Tag]]:
    """Run batches in order while the next ones are prepared; at most ``in_flight(workers)`` are under way.

    A batch's arrays may be written to again when its result is there. A batch of None passes through in its turn with
    the result None. An error or Ctrl-C ends the runs that are under way. Where none is, a batch of few ``seconds``, as
    far as these are known, is run in this thread: waking another would take longer. Ctrl-C waits as long.
    """
    executor: ThreadPoolExecutor | None = None
    pending: deque[tuple[Future[Result] | None, Tag]] = deque()
    halt = Halt()

    def oldest() -> tuple[Result | None, Tag]:
        future, tag = pending.popleft()
        return (None if future is None else awaited(future, "running the model on one batch")), tag

    try:
        coming = iter(batches)
        held: list[tuple[Feeds | None, Tag]] = []
        while (item := held.pop() if held else next(coming, None)) is not None:
            feeds, tag = item
            if feeds is not None and not pending and _runs_here(seconds(feeds), workers, coming, held):
                yield run(feeds, halt), tag
                continue
            if executor is None:
                executor = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="onnxplain")
            pending.append((None if feeds is None else executor.submit(run, feeds, halt), tag))
            if len(pending) >= in_flight(workers):
                yield oldest()
        while pending:
            yield oldest()
    except BaseException:
        halt()
        raise
    finally:
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)


def _runs_here(
    seconds: float, workers: int, coming: Iterator[tuple[Feeds | None, Tag]], held: list[tuple[Feeds | None, Tag]]
) -> bool:
    """Say whether to run a batch in the thread that draws batches; the next one may be drawn for that, and is held.

    A single worker has all cores: nothing is gained from drawing the next batch meanwhile.
    """
    if seconds > BRIEF_ALONE:
        return False
    if workers == 1 or seconds <= BRIEF:
        return True
    held += itertools.islice(coming, 1)
    return not held


def measure(run: Callable[[Feeds, Halt], Result], feeds: Feeds, layout: Layout, seconds: float) -> float:
    """Return the rows per second of a layout on a batch of its size, after one warm-up run.

    As in real work each batch is written anew, into buffers that have left the cache by the time they come round.
    """
    ring = [{name: feed.copy() for name, feed in feeds.items()} for _ in range(in_flight(layout.workers) + 1)]
    run(feeds, Halt())
    begun = time.perf_counter()

    def written() -> Iterator[tuple[Feeds | None, None]]:
        for turn in itertools.count():
            if turn >= len(ring) and time.perf_counter() - begun > seconds:
                return
            for name, feed in feeds.items():
                np.copyto(ring[turn % len(ring)][name], feed)
            yield ring[turn % len(ring)], None

    rows = layout.batch * sum(1 for _ in stream(run, written(), layout.workers))
    return rows / (time.perf_counter() - begun)


def cores(threads: int | None = None) -> int:
    """Return how many cores may be used: ``threads`` if given, else those this process may run on.

    Of more than MOST_THREADS a core, no more are taken: a session of 100,000 threads takes minutes and gigabytes.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads is None:
        return there
    if threads < 1:
        raise SettingError(f"threads must be at least 1, not {threads}")
    return min(threads, MOST_THREADS * there)


def _open(proto: bytes, folder: Path | None, device: Device, threads: int, *, optimise: bool) -> ort.InferenceSession:
    options = _options(folder, threads, optimise=optimise)
    if not device.is_cpu:
        ort.set_default_logger_severity(FATAL_ONLY)
        if device.memory == "cuda" and hasattr(ort, "preload_dlls"):
            with contextlib.redirect_stdout(io.StringIO()):  # it prints which libraries are missing; see below
                ort.preload_dlls()
    wanted = _provider_name(device.providers[0])
    try:
        # its own fallback would print the reason on stdout, and take the CPU
        session = ort.InferenceSession(proto, options, providers=list(device.providers), enable_fallback=0)
    except (RuntimeError, ValueError) as error:
        raise CapabilityError(f"{wanted} does not start here", where=_reason(error), tip=CHECK_PROVIDER) from None
    except _ort_errors.RuntimeException:
        if optimise:
            raise
        raise ModelError("ONNX Runtime fails to open the model, also without optimisation") from None
    except RUNTIME_ERRORS as error:
        raise _unopened(error, wanted) from None
    finally:
        if not device.is_cpu:
            ort.set_default_logger_severity(2)
    if session.get_providers()[0] != wanted:
        raise CapabilityError(
            f"{wanted} does not start here; ONNX Runtime fell back to {session.get_providers()[0]}", tip=CHECK_PROVIDER
        )
    return session


def _options(folder: Path | None, threads: int, *, optimise: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry(STOP_SPINNING, "1")
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if folder is not None:
        # UTF-8, whatever the encoding of the locale: where Python could not decode a name, its bytes are in it
        options.add_session_config_entry(EXTERNAL_FOLDER, os.fsencode(folder).decode("utf-8", "replace"))
    return options


def _provider_name(provider: Provider) -> str:
    return provider if isinstance(provider, str) else provider[0]


def _reason(error: Exception) -> str:
    """Return ONNX Runtime's message on one line, without its prefixes, source paths and signatures of functions."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip())
    text = " ".join(re.split(r"Stacktrace:|Please fix either", text)[0].split())
    text = re.sub(r"^Exception during initialization: |Exception from \S+:\d+: ", "", text)
    failing = re.match(r"Non-zero status code returned while running (\S+) node\. Name:'(.*?)' Status Message: ", text)
    if failing is None:
        return printable(_without_source(text))[:300]
    node = f"{failing[1]} node" + (f" '{failing[2][:100]}'" if failing[2] else "")
    return printable(f"{node}: {_without_source(text[failing.end() :])}")[:300]


def _without_source(text: str) -> str:
    """Drop ``/path/file.cc:12 void Class::function(int) condition was false.`` from the start, also several times."""
    place = re.match(r"(\S+\.(?:cc|cpp|cu|cuh|h|hpp)):\d+ ", text)
    if place is None:
        return text
    rest = text[place.end() :]
    if " was false. " in rest:
        return rest.partition(" was false. ")[2]
    signature = _SIGNATURE.match(rest) if re.search(r"[/\\]", place[1]) else None
    return _without_source(rest[signature.end() :] if signature else rest.partition(" ")[2])


def _unopened(error: Exception, provider: str) -> ModelError:
    kind, reason = type(error).__name__, _reason(error)
    missing = re.search(r"(?:for the node |is not a registered function/op|No [Oo]p registered for )(\S*)", reason)
    if kind == "NotImplemented" or missing or "opset" in reason.lower():
        return ModelError(
            "ONNX Runtime does not know an operator or opset of this model",
            where=reason,
            tip="a newer onnxruntime may know it: pip install -U onnxruntime (or onnxruntime-gpu)",
        )
    on = "" if provider == "CPUExecutionProvider" else f" on {provider}"
    return ModelError(f"ONNX Runtime cannot open the model{on}", where=reason)


def _translated(error: Exception) -> ModelError | InputError:
    reason = _reason(error)
    if type(error).__name__ == "InvalidArgument":
        return InputError("the model does not take this input", where=reason)
    return ModelError("the model fails while running", where=reason)
