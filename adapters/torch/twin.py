"""The twin: a model as a torch module that is checked against ONNX Runtime and has gradients everywhere."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...engine import graph as graphs
from ...engine.errors import CapabilityError, InputError, ModelError, SettingError, nearest, printable
from ...engine.model import Model, load
from ...engine.registry import PREDICT, plugins
from ...engine.rows import first_row, has_rows, leading
from ...engine.target import resolve
from .convert import NAMES, SOURCES, Refused, build
from .dtypes import to_array
from .kept import kept
from .layout import Layout
from .normalise import flatten
from .parity import EXACT, HALF, QUANTISED, Tolerance, compared
from .plan import Probe, Rules, before, blocking, cut, first_floats, probed

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from torch import fx

    from ...engine.target import Target

PARITY_ROWS = 4
_QUANTISED = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinear", "Integer", "QAttention")


@dataclass(frozen=True)
class Run:
    """What a run of a twin gives; the batch axis is first everywhere.

    ``score`` is the target (B,). ``activations`` and ``gradients`` hold, by tensor name, values and derivatives of the
    score. Where an input has no gradient because it holds integers, ``stand_ins`` names the first floating-point tensor
    on its way to the target, and values and gradients are that tensor's, under its own name.
    """

    score: np.ndarray
    activations: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    stand_ins: dict[str, str]


@dataclass
class Twin:
    """A model as a torch module whose outputs agree with ONNX Runtime's.

    ``difference`` is the largest one found between float outputs of the two.
    """

    model: Model
    module: fx.GraphModule
    layout: Layout
    difference: float = 0.0
    _parts: dict[tuple[Any, ...], fx.GraphModule] = field(default_factory=dict)

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        target: Target | str | int,
        wrt: Sequence[str] | str = (),
        rules: Rules | None = None,
    ) -> Run:
        """Return the target's score for each row, and values and gradients at the tensors ``wrt`` (one or several).

        ``feeds`` hold any number of rows, batch axis first. Rows go through in batches whose tensors fit into memory.
        A target that is a string means what it means for the first row (``top``: its class, for all rows).
        Raises ``SettingError`` for tensors that the model does not have or the target does not depend on, and
        ``CapabilityError`` where there is no gradient, with the operator that ends it.
        """
        goal = resolve(target, self.model, first_row(feeds, self.model.inputs))
        wanted = (wrt,) if isinstance(wrt, str) else wrt
        stand_ins = {name: found for name in wanted if (found := self._differentiable(name, goal)) != name}
        names = tuple(dict.fromkeys(stand_ins.get(name, name) for name in wanted))
        part = self._part(goal.tensor, names, rules)
        by_row = all(self.layout.axis(self._fx(n)) is not None for n in (goal.tensor, *names))
        scores, columns = [], []
        for tensors, count in self.layout.batches(feeds, self.layout.batch() if by_row else 1):
            score, values, gradients = self._step(part, goal, names, tensors, count, rules)
            scores.append(score)
            columns.append((values, gradients))
        joined = [[np.concatenate([c[k][i] for c in columns]) for i in range(len(names))] for k in (0, 1)]
        return Run(
            np.concatenate(scores),
            dict(zip(names, joined[0], strict=True)),
            dict(zip(names, joined[1], strict=True)),
            stand_ins,
        )

    def _step(
        self,
        part: fx.GraphModule,
        goal: Target,
        names: tuple[str, ...],
        tensors: list[torch.Tensor],
        count: int,
        rules: Rules | None,
    ) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """Run one batch there and back; only gradients at the tapped tensors are made."""
        with self.layout.settings(), torch.set_grad_enabled(bool(names)):
            made, *taps = part(*tensors)
            score = _score(goal, self.layout.leading(self._fx(goal.tensor), made, count))
            if names and not score.requires_grad:
                raise self._without_gradient(part, tensors, goal)
            gradients = self._back(goal, made, taps, score, rules, count) if names else ()
            if any(g is None for g in gradients):
                raise self._without_gradient(part, tensors, goal)
        values = [self.layout.leading(self._fx(n), t.detach(), count) for n, t in zip(names, taps, strict=True)]
        slopes = [self.layout.leading(self._fx(n), g, count) for n, g in zip(names, gradients, strict=True)]
        return to_array(score), [to_array(v) for v in values], [to_array(s) for s in slopes]

    def _back(
        self,
        goal: Target,
        made: torch.Tensor,
        taps: list[torch.Tensor],
        score: torch.Tensor,
        rules: Rules | None,
        count: int,
    ) -> tuple[torch.Tensor, ...]:
        """Return what comes back to the taps; None for those that nothing comes back to."""
        if rules is None:
            return torch.autograd.grad(score.sum(), taps, allow_unused=True)
        end = made.detach().requires_grad_()
        (slope,) = torch.autograd.grad(_score(goal, self.layout.leading(self._fx(goal.tensor), end, count)).sum(), end)
        return torch.autograd.grad(made, taps, rules.start(made, slope), allow_unused=True)

    def values(self, feeds: Mapping[str, np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
        """Return tensors by ONNX name, batch axis first, as the twin computes them."""
        part = self._cut(tuple(names), (), None)
        columns = []
        for tensors, count in self.layout.batches(feeds, self.layout.batch()):
            with self.layout.settings(), torch.no_grad():
                made = part(*tensors)
            columns.append(
                [to_array(self.layout.leading(self._fx(n), t, count)) for n, t in zip(names, made, strict=True)]
            )
        return [np.concatenate(column) for column in zip(*columns, strict=True)]

    def _part(self, target: str, names: tuple[str, ...], rules: Rules | None) -> fx.GraphModule:
        """Return the graph from the inputs to the target, with taps; made once for each set of names."""
        needed = before(self.module, [self._fx(target)])
        for name in names:
            if self._fx(name) not in needed:
                raise SettingError(
                    f"the target '{printable(target)}' does not depend on tensor '{printable(name)}'",
                    tip="name a tensor that comes before the target (onnxplain inspect MODEL --tensors)",
                )
        try:
            return self._cut((target, *names), names, rules)
        except CapabilityError as error:
            raise CapabilityError(error.message, where=error.where, tip=_black_box()) from None

    def _cut(self, outputs: tuple[str, ...], taps: tuple[str, ...], rules: Rules | None) -> fx.GraphModule:
        def made() -> fx.GraphModule:
            return cut(self.module, [self._fx(n) for n in outputs], [self._fx(n) for n in taps], rules)

        return kept(self._parts, (outputs, taps), rules, made)

    def _fx(self, name: str) -> str:
        """Return the fx node of an ONNX value; ``SettingError`` for one that is not there or constant."""
        names = self.module.meta[NAMES]
        if name in names:
            return str(names[name])
        stored = {tensor.name for tensor in self.model.proto.graph.initializer}
        if name in self.model.tensor_names | stored:
            raise SettingError(f"tensor '{printable(name)}' is constant: it depends on no input")
        raise SettingError(
            f"there is no tensor '{printable(name)}' in this model", tip=nearest(name, self.model.tensor_names)
        )

    def _differentiable(self, name: str, goal: Target) -> str:
        """Return the tensor itself, or where it holds integers the first float tensor between it and the target."""
        start = self._fx(name)
        if self.layout.probe.is_float(start):
            return name
        if start not in self.layout.probe.dtypes:
            self._cut((name,), (), None)  # says so where it is an operator that cannot be expressed
            raise SettingError(
                f"'{printable(name)}' is a list of tensors, or may be nothing: it has no gradient of its own",
                tip="name a tensor that the list is made of, or one that is taken from it",
            )
        needed = before(self.module, [self._fx(goal.tensor)])
        onnx_names: dict[str, str] = {fx_name: onnx for onnx, fx_name in self.module.meta[NAMES].items()}
        for found in first_floats(self.module, self.layout.probe, start):
            if found in needed and found in onnx_names:
                return onnx_names[found]
        raise CapabilityError(
            f"'{printable(name)}' holds integers, and nothing on its way to '{printable(goal.tensor)}' has a gradient",
            tip=_black_box(),
        )

    def _without_gradient(self, part: fx.GraphModule, tensors: list[torch.Tensor], goal: Target) -> CapabilityError:
        node = blocking(part, tensors)
        reason = f"{node.op_type} on the way to it has none" if node is not None else "no path to it has one"
        return CapabilityError(
            f"the target '{goal}' has no gradient: {reason}",
            where=node.label if node is not None else "",
            tip=_black_box(),
        )


def twin(model: Model | str | os.PathLike[str] | bytes, feeds: Mapping[str, np.ndarray] | None = None) -> Twin:
    """Return the twin of a model, or of a model's file, after comparing it with ONNX Runtime on ``feeds``.

    ``feeds`` hold rows, batch axis first (``Sample.feeds``); without them, random ones are made up. 16-bit floats are
    computed in 32 bits. Raises ``CapabilityError`` where nothing of the model can be expressed in torch, or where the
    twin differs from ONNX Runtime by more than rounding; then the first tensor that differs is named.

    >>> import onnxplain
    >>> model = onnxplain.load(onnxplain.models.path("digits-cnn"))
    >>> found = twin(model).run({"image": np.zeros((2, 1, 8, 8), np.float32)}, "3", wrt=["image"])
    >>> found.score.shape, found.gradients["image"].shape
    ((2,), (2, 1, 8, 8))
    """
    model = model if isinstance(model, Model) else load(model)
    rows = dict(feeds) if feeds is not None else _made_up(model)
    one = first_row(rows, model.inputs)
    built = _known.get(model)
    if built is None:
        built = _known[model] = _Built.of(model, one)
    signature = tuple((n, a.shape, a.dtype.str) for n, a in sorted(one.items()))
    if signature not in built.checked:
        built.checked[signature] = built.check(model, rows)
    probe, apart = built.checked[signature]
    return Twin(model, built.module, built.layout(model, probe), apart, built.parts)


@dataclass
class _Built:
    """What is kept for a model: its module, the parts cut from it, and by shapes of a row what a check has shown."""

    module: fx.GraphModule
    rows: int
    device: torch.device
    tolerance: Tolerance
    parts: dict[tuple[Any, ...], fx.GraphModule] = field(default_factory=dict)
    checked: dict[tuple[Any, ...], tuple[Probe, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, one: Mapping[str, np.ndarray]) -> _Built:
        """Convert a model; ``one`` is a row that its batching is proved on."""
        for spec in model.inputs:
            if spec.dtype == object:
                raise CapabilityError(
                    f"input '{printable(spec.name)}' holds text: there is no gradient", tip=_black_box()
                )
        variant = model.variant(tuple(o.name for o in model.outputs), one)
        proto = model.proto
        if variant.batching == "freed":
            axes = {i.name: i.batch_axis for i in model.inputs if i.batch_axis is not None}
            proto = graphs.free_batch(proto, axes) or proto
        module = build(flatten(proto, model.folder, widen=True, prune=False), tolerant=True)
        on_gpu = model.device.memory == "cuda" and torch.cuda.is_available()
        device = torch.device("cuda", model.device.index) if on_gpu else torch.device("cpu")
        return cls(module.to(device), variant.rows, device, _tolerance(model))

    def check(self, model: Model, rows: Mapping[str, np.ndarray]) -> tuple[Probe, float]:
        """Run the twin beside ONNX Runtime; return what the run shows and the largest difference of an output."""
        rows = {n: a[:PARITY_ROWS] if has_rows(n, model.inputs) else a for n, a in rows.items()}
        one = first_row(rows, model.inputs)
        two = {n: np.concatenate([a, a]) if has_rows(n, model.inputs) else a for n, a in one.items()}
        unknown = self.layout(model, Probe({}, {}, {}, 0))
        with unknown.settings():
            probe = probed(self.module, unknown.tensors(one, 1), None if self.rows else unknown.tensors(two, 2))
        names: Mapping[str, str] = self.module.meta[NAMES]
        outputs = tuple(o.name for o in model.outputs if o.dtype != object and names.get(o.name) in probe.one)
        if not any(probe.is_float(names[name]) for name in outputs):
            raise _refusal(self.module)
        checked = Twin(model, self.module, self.layout(model, probe), 0.0, self.parts)
        return probe, compared(
            model, rows, lambda n: checked.values(rows, n), outputs, self._inner(model, probe), self.tolerance
        )

    def layout(self, model: Model, probe: Probe) -> Layout:
        """Return how rows go through the module."""
        names = self.module.meta[NAMES]
        declared = {names[s.name]: s.batch_axis for s in (*model.outputs, *model.inputs) if s.name in names}
        return Layout(model.inputs, declared, self.rows, self.device, model.threads, probe)

    def _inner(self, model: Model, probe: Probe) -> dict[str, str]:
        """Return the operators of all float tensors that both runtimes know, by name, in graph order."""
        onnx_names = {fx_name: onnx for onnx, fx_name in self.module.meta[NAMES].items() if onnx in model.tensor_names}
        found = {}
        for node in self.module.graph.nodes:
            maker = node.args[0] if node.op == "call_function" else node
            source = self.module.meta[SOURCES].get(maker.name)
            if source is not None and node.name in onnx_names and probe.is_float(node.name):
                found[onnx_names[node.name]] = source.op_type
        return found


_known: weakref.WeakKeyDictionary[Model, _Built] = weakref.WeakKeyDictionary()


def _refusal(module: fx.GraphModule) -> CapabilityError:
    """Return why no float output of a model can be had."""
    for part in module.modules():
        if isinstance(part, Refused):
            return CapabilityError(part.error.message, where=part.error.where, tip=_black_box())
    return CapabilityError(
        "no output of this model holds floating-point numbers: there is no gradient", tip=_black_box()
    )


def _black_box() -> str:
    names = [plugin.name for plugin in plugins("explainer") if plugin.needs == PREDICT]
    return f"methods that need no gradient still work: {', '.join(names)}"


def _tolerance(model: Model) -> Tolerance:
    if any(part in node.op_type for node in model.proto.graph.node for part in _QUANTISED):
        return QUANTISED
    types = {tensor.dtype for tensor in model.tensors()} | {spec.dtype.name for spec in (*model.inputs, *model.outputs)}
    return HALF if types & {"float16", "bfloat16"} else EXACT


def _score(goal: Target, rows: torch.Tensor) -> torch.Tensor:
    """Return the target (B,) in float64 from its tensor's values (B, ...), as ``Target.scores`` does."""
    try:
        chosen = rows[(slice(None), *(slice(None) if k is None else k for k in goal.index))]
    except IndexError:
        raise ModelError(
            f"tensor '{printable(goal.tensor)}' has no element {list(goal.index)} for this input",
            where=f"its shape without the batch axis is {list(rows.shape[1:])}",
        ) from None
    return chosen.double().flatten(1).mean(1) if chosen.dim() > 1 else chosen.double()


def _made_up(model: Model) -> dict[str, np.ndarray]:
    """Return one row of random numbers; unnamed lengths that are not the batch's cannot be guessed."""
    rng = np.random.default_rng(0)
    feeds = {}
    for spec in model.inputs:
        shape = [1 if k == spec.batch_axis else n for k, n in enumerate(spec.shape)]
        if not all(isinstance(n, int) for n in shape):
            raise InputError(f"the lengths of input '{spec}' are not fixed: give the twin feeds to be checked on")
        drawn = rng.standard_normal([int(n) for n in shape if n is not None])
        feeds[spec.name] = (drawn if spec.dtype.kind == "f" else np.abs(drawn) > 1).astype(spec.dtype)
    return leading(feeds, model.inputs)
