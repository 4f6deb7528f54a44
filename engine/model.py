"""Model: an opened ONNX file, with inputs, outputs, predictions, activations and a digest."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from . import graph, runtime
from .errors import ModelError, SettingError, nearest, printable
from .inputs.acceptance import check_missing
from .inputs.array import check_feeds, may_miss
from .preflight import read_model
from .rows import Variant, first_row, leading, native
from .runner import Runner
from .spec import ModelSpec
from .specs.inference import complete_spec
from .specs.reading import find_spec, read_spec

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .target import Target


ONE_CORE = 1 << 16  # bytes of the largest tensor up to which rows are run on one core: others would hardly help


@dataclass(frozen=True)
class TensorSpec:
    """An input or output: name, dtype (object for strings), shape with symbolic axes, and where its batch axis is."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...]
    batch_axis: int | None
    ranked: bool = True  # False where the file does not say how many axes there are; the shape is then ()
    axes: str = ""  # a letter per axis (N, C, T) where the graph tells that this is a series
    is_state: bool = False  # of a recurrent network: not an input of its own right

    def __str__(self) -> str:
        """Return ``name: dtype (axes)``."""
        dtype = "string" if self.dtype == object else self.dtype.name
        axes = ", ".join("?" if n is None else printable(n) for n in self.shape)
        return f"{printable(self.name)}: {dtype} {f'({axes})' if self.ranked else 'of unknown rank'}"


def load(
    source: str | os.PathLike[str] | bytes,
    spec: ModelSpec | str | os.PathLike[str] | None = None,
    device: str = "auto",
    threads: int | None = None,
    providers: Sequence[runtime.Provider] | str | None = None,
) -> Model:
    """Open an ONNX model from a path or from bytes.

    ``spec`` is a ModelSpec or a TOML file; without it, one beside the model is used. ``device`` is ``auto``,
    ``cpu``, ``cuda`` or ``cuda:N``; ``providers`` are handed to ONNX Runtime instead of it. ``threads`` limits the
    cores. Raises ``ModelError`` where the file cannot be used and ``CapabilityError`` where the device cannot.

    >>> import onnxplain
    >>> model = onnxplain.load(onnxplain.models.path("digits-cnn"))
    >>> [str(i) for i in model.inputs]
    ['image: float32 (batch, 1, 8, 8)']
    """
    return Model(source, spec, runtime.choose_device(device, providers), runtime.cores(threads))


class Model:
    """An opened model. Graphs are cut and tapped as needed; there is one session per graph variant and device."""

    def __init__(
        self,
        source: str | os.PathLike[str] | bytes,
        spec: ModelSpec | str | os.PathLike[str] | None,
        device: runtime.Device,
        threads: int,
    ) -> None:
        file = read_model(source)
        self.path: Path | None = file.path
        self.digest: str = file.digest
        self.size: int = file.size
        self.device = device
        self.threads = threads
        self.external: tuple[Path, ...] = file.external
        self._stamps = {path: _stamp(path) for path in file.external}
        self._folder = file.folder
        dropped, self._zipmap = graph.drop_zipmap(file.proto)
        filled = graph.without_fills(dropped)
        self.is_respelled = filled is not dropped
        normal = graph.normalise(filled, max_ir=runtime.MAX_IR, max_opset=runtime.MAX_OPSET)
        wide = graph.widened(normal, file.folder)
        self.is_widened = wide is not normal
        self._proto, self._raw_scores = graph.with_raw_scores(wide)
        if self.is_widened:
            self.check_external()  # weights have been read
        self.spec = self._find_spec(spec)
        self._variants: dict[tuple[str, ...], Variant] = {}
        self._activations: dict[str, tuple[str, str] | None] = {}
        self._recent: dict[tuple[Any, ...], tuple[dict[str, np.ndarray], list[np.ndarray]]] | None = None
        self.layout: runtime.Layout | None = None  # set to override the measured choice, as a replay does

    def __repr__(self) -> str:
        """One line: the file, what it takes and gives, and the device."""
        name = printable(self.path.name) if self.path is not None else "from bytes"
        takes, gives = ("; ".join(map(str, tensors)) for tensors in (self.inputs, self.outputs))
        return f"<Model {name}: {takes} -> {gives}; on {printable(self.device.name)}>"

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs that a caller must give, in the graph's order."""
        return tuple(_with_batch_axes(self._given, [_tensor_spec(v) for v in self._proto.graph.output])[0])

    @cached_property
    def _given(self) -> list[TensorSpec]:
        """The inputs, before it is known where their batch axes are."""
        wanted = set(graph.input_names(self._proto))
        axes = graph.sequence_axes(self._proto)
        for value in self._proto.graph.input:
            if value.name in wanted:
                graph.check_readable(value.name, value.type)
        return [
            dataclasses.replace(_tensor_spec(v), axes=axes.get(v.name, ""), is_state=v.name in self._states[0])
            for v in self._proto.graph.input
            if v.name in wanted
        ]

    @cached_property
    def _states(self) -> tuple[frozenset[str], frozenset[str]]:
        """The inputs and the outputs that hold the state of a recurrent network."""
        return graph.states(self._proto)

    @cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs, in the graph's order; a ZipMap shows as the tensor that it was made from."""
        return tuple(_with_batch_axes(self._given, [_tensor_spec(v) for v in self._proto.graph.output])[1])

    @cached_property
    def rows_first(self) -> bool:
        """True where the model takes its inputs as the engine keeps them: an input has rows, and they come first."""
        axes = {i.batch_axis for i in self.inputs}
        return 0 in axes and axes <= {0, None}

    @property
    def proto(self) -> onnx.ModelProto:
        """The graph as it is run: ZipMaps dropped, raw scores beside probabilities, no bfloat16. Not to be edited."""
        return self._proto

    @property
    def opsets(self) -> dict[str, int]:
        """Operator-set versions by domain."""
        return {o.domain or "ai.onnx": int(o.version) for o in self._proto.opset_import}

    def tensors(self) -> list[graph.TensorInfo]:
        """Every intermediate tensor with producer operator, dtype and shape where known, in graph order."""
        return self._tensors

    @cached_property
    def _tensors(self) -> list[graph.TensorInfo]:
        return graph.tensors(self._proto)

    def widest(self, feeds: Mapping[str, np.ndarray]) -> int:
        """Return the bytes of the largest tensor for one row, as far as shapes are known from ``feeds``.

        Where the shape of one is not, it is taken to be as wide as the longest axis of a weight.
        """
        known = {i.name: i for i in self.inputs}
        sizes = {
            axis: size
            for name, feed in feeds.items()
            for axis, size in zip(known[name].shape, native(name, feed, self.inputs).shape, strict=False)
        }
        return max((_bytes(t, sizes, self._longest) for t in self._tensors), default=1)

    @cached_property
    def _longest(self) -> int:
        """The length of the longest axis of any weight."""
        return max((n for weight in self._proto.graph.initializer for n in weight.dims), default=1)

    @cached_property
    def tensor_names(self) -> frozenset[str]:
        """Names of all tensors that can be a target or be tapped."""
        named = {o for node in self._proto.graph.node for o in node.output if o}
        return frozenset(named | {i.name for i in self.inputs} | {o.name for o in self.outputs})

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Class labels: from the spec, from a ZipMap, or from a classifier node; empty if none is known."""
        return self.spec.labels or next(iter(self._zipmap.values()), ()) or graph.class_labels(self._proto)

    @cached_property
    def default_output(self) -> str:
        """The tensor that a class target means.

        That is the spec's output, else the scores of which the outputs are the columns, else the first output that
        holds floating-point numbers and is not the state of a recurrent network.
        """
        if self.spec.output:
            if self.spec.output not in self.tensor_names:
                raise SettingError(
                    f"the spec's output '{printable(self.spec.output)}' is not in the model",
                    where=self.spec.source,
                    tip=nearest(self.spec.output, self.tensor_names),
                )
            return self.spec.output
        split = graph.split_scores(self._proto)
        if split is not None:
            return split
        floats = [o.name for o in self.outputs if o.dtype.kind == "f" and o.name]
        floats.sort(key=lambda name: name in self._states[1])  # states last
        if not floats:
            kinds = ", ".join(str(o) for o in self.outputs[:4])
            raise ModelError(
                "no output of this model holds floating-point scores",
                where=kinds,
                tip="name an inner tensor as the target, such as 'TENSOR[0]' (onnxplain inspect MODEL --tensors)",
            )
        return floats[0]

    @cached_property
    def has_loops(self) -> bool:
        """True where the time of a run may depend on values, and not on shapes alone."""
        return graph.has_loops(self._proto)

    @cached_property
    def is_decided_by_values(self) -> bool:
        """True where values of the rows choose the branch of an If or end a Loop."""
        return graph.decided_by_values(self._proto, (i.name for i in self.inputs if i.batch_axis is not None))

    @cached_property
    def random_node(self) -> str | None:
        """The first node that draws random numbers, None where none does."""
        return graph.random_node(self._proto)

    def final_activation(self, output: str) -> tuple[str, str] | None:
        """Return the tensor before the output's final Softmax, LogSoftmax or Sigmoid, and which it is."""
        if output not in self._activations:
            self._activations[output] = graph.final_activation(self._proto, output, self._raw_scores)
        return self._activations[output]

    def check(self, feeds: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
        """Check and convert feeds; returns rows with the batch axis first. Raises ``InputError``."""
        rows = leading(check_feeds(feeds, self.inputs, may_miss(self.spec)), self.inputs)
        check_missing(rows, self)
        return rows

    def predict(self, feeds: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
        """Return all outputs, by name, for any number of rows, whatever batch the file was exported with.

        ``feeds`` is an array, or arrays by input name. A model without a batch axis takes one instance as it is.
        """
        return self.activations(feeds, [o.name for o in self.outputs])

    def activations(self, feeds: Mapping[str, np.ndarray] | np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return any tensors of the graph, by name, for any number of rows; ``SettingError`` on unknown names."""
        for name in names:
            if name not in self.tensor_names:
                raise SettingError(
                    f"there is no tensor '{printable(name)}' in this model", tip=nearest(name, self.tensor_names)
                )
        names = list(dict.fromkeys(names))
        rows = self.check(feeds)
        variant = self.variant(tuple(names), first_row(rows, self.inputs))
        return {n: variant.native_output(n, a) for n, a in zip(names, self.rows(rows, tuple(names)), strict=True)}

    def rows(self, feeds: Mapping[str, np.ndarray], tensors: tuple[str, ...]) -> list[np.ndarray]:
        """Run checked feeds (batch axis first) and return the tensors with the batch axis first."""
        if len(set(tensors)) < len(tensors):
            found = dict(zip(dict.fromkeys(tensors), self.rows(feeds, tuple(dict.fromkeys(tensors))), strict=True))
            return [found[name] for name in tensors]
        key = (tensors, *(id(feed) for feed in feeds.values()))
        if self._recent is not None and key in self._recent:
            return self._recent[key][1]
        one = first_row(feeds, self.inputs)
        variant = self.variant(tensors, one)
        known = Runner.suited(variant, one)
        is_small = self.device.is_cpu and known.widest * variant.count(feeds) <= ONE_CORE
        values = variant.run(feeds, known.default.batch, threads=1 if is_small else self.threads)
        if self._recent is not None:
            self._recent[key] = (dict(feeds), values)
        return values

    @contextlib.contextmanager
    def remembering(self) -> Iterator[None]:
        """Within this, rows of the very same arrays are run once; nobody may write to the arrays meanwhile."""
        before = self._recent
        self._recent = {} if before is None else before
        try:
            yield
        finally:
            self._recent = before

    def runner(self, target: Target, feeds: Mapping[str, np.ndarray], expected: int = 0) -> Runner:
        """Return the loop that scores rows of one target; ``expected`` rows decide whether measuring layouts pays."""
        one = first_row(feeds, self.inputs)
        variant = self.variant((target.tensor,), one)
        return Runner.choose(variant, target, one, expected=expected, layout=self.layout)

    def variant(self, tensors: tuple[str, ...], feeds: Mapping[str, np.ndarray]) -> Variant:
        """Return the graph cut to these tensors, with its sessions; its batching is proved on ``feeds`` (one row)."""
        if tensors not in self._variants:
            self._variants[tensors] = Variant.prove(self, tensors, feeds)
        return self._variants[tensors]

    @property
    def folder(self) -> Path | None:
        """Where external data lies."""
        return self._folder

    def check_external(self) -> None:
        """Raise ``ModelError`` where a file of weights is no longer the one that the digest was made of."""
        for path, stamp in self._stamps.items():
            if _stamp(path) != stamp:
                raise ModelError(
                    "the weights of this model have changed since it was opened",
                    where=printable(path),
                    tip="open it again, when nobody writes to its files",
                )

    @property
    def batching(self) -> str:
        """How rows are run, as far as it is known: any, freed, fixed or looped; empty before the first run."""
        return next((v.batching for v in self._variants.values()), "")

    def _find_spec(self, spec: ModelSpec | str | os.PathLike[str] | None) -> ModelSpec:
        if isinstance(spec, ModelSpec):
            found: ModelSpec | None = spec
        elif spec is not None:
            found = read_spec(Path(spec))
        else:
            found = find_spec(self.path) if self.path is not None else None
        return complete_spec(found, self.inputs)


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Return what changes when a file does; None where it is gone."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _bytes(tensor: graph.TensorInfo, sizes: Mapping[int | str | None, int], otherwise: int) -> int:
    """Return the bytes of a tensor of one row.

    Axes of unknown size count as one; where not even their number is known there are ``otherwise`` elements.
    """
    if tensor.dtype == "object":
        return 1
    if tensor.shape is None or not tensor.dtype:
        return otherwise * np.dtype(tensor.dtype or np.float32).itemsize
    axes = (n if isinstance(n, int) else sizes.get(n, 1) if n else 1 for n in tensor.shape)
    return math.prod(axes) * np.dtype(tensor.dtype).itemsize


def _tensor_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise ModelError(
            f"'{printable(value.name)}' is a {value.type.WhichOneof('value') or 'value of unknown type'}, not a tensor",
            tip="models with sequence or map inputs cannot be explained",
        )
    try:
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type or 1)  # object for text
    except KeyError:
        raise ModelError(f"'{printable(value.name)}' has the unknown element type {kind.elem_type}") from None
    shape = tuple(
        int(d.dim_value) if d.HasField("dim_value") and d.dim_value > 0 else (d.dim_param or None)
        for d in kind.shape.dim
    )
    return TensorSpec(value.name, np.dtype(dtype), shape, None, kind.HasField("shape"))


def _with_batch_axes(
    inputs: list[TensorSpec], outputs: list[TensorSpec]
) -> tuple[Iterable[TensorSpec], Iterable[TensorSpec]]:
    """Say where each tensor's batch axis is, from the axes' names and sizes; runs prove it later.

    The first input with two axes or more that is no state leads. Its batch axis is the one that the graph tells (not a
    fixed one behind others), else the symbolic one that all outputs share, else axis 0, where it is symbolic or every
    output of known rank starts with the same size. In other tensors it is the axis of that name, else axis 0 where it
    is symbolic or of that size, else the first axis of that size, or the only one of open size (the states of recurrent
    models).
    """
    lead = next((i for i in inputs if len(i.shape) > 1 and not i.is_state), None)
    if lead is None:
        return inputs, outputs
    ranked = [o.shape for o in outputs if o.shape]
    shared = [n for n in lead.shape if isinstance(n, str) and all(n in shape for shape in ranked)]
    size = next((n for n in shared if "batch" in n.lower()), shared[0] if shared else lead.shape[0])
    first = lead.shape.index(size)
    if lead.axes:
        first = lead.axes.find("N")
        size = lead.shape[first]
        if first < 0 or (first and isinstance(size, int)):
            return inputs, outputs
    if isinstance(size, int) and (not ranked or any(isinstance(s[0], int) and s[0] != size for s in ranked)):
        return inputs, outputs

    def place(tensor: TensorSpec) -> TensorSpec:
        axis = first if tensor is lead else _axis_of_rows(tensor, size)
        return tensor if axis is None else dataclasses.replace(tensor, batch_axis=axis)

    return (place(i) for i in inputs), (place(o) for o in outputs)


def _axis_of_rows(tensor: TensorSpec, size: int | str | None) -> int | None:
    """Return the batch axis of a tensor other than the lead, whose batch axis has this size."""
    axes = list(tensor.shape)
    if isinstance(size, str) and size in axes:
        return axes.index(size)
    if axes and (axes[0] == size or not isinstance(axes[0], int)):
        return 0
    if isinstance(size, int) and len(axes) > 1 and size in axes:
        return axes.index(size)
    is_open = [axis for axis, n in enumerate(axes) if not isinstance(n, int)]
    return is_open[0] if tensor.is_state and len(is_open) == 1 else None
