"""Places: at which tensors a model is explained, and the part of the twin that takes values there."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....engine.errors import CapabilityError, SettingError, printable
from ....engine.rows import has_rows
from ....engine.token_inputs import companion
from ..convert import NAMES
from ..kept import kept
from ..plan import before, cut, first_floats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import fx

    from ....engine.problem import Problem
    from ..plan import Rules
    from ..twin import Twin


@dataclass(frozen=True)
class Places:
    """The tensors that are explained (``names``), and what a reader must know of the choice (``notes``).

    ``entered`` are those of them that are no inputs. The target does not depend on the inputs in ``unrelated``.
    ``taps`` are other tensors at which gradients are taken.
    """

    names: tuple[str, ...]
    entered: tuple[str, ...]
    unrelated: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    taps: tuple[str, ...] = ()


_Key = tuple[Any, ...]
_known: weakref.WeakKeyDictionary[fx.GraphModule, dict[_Key, Places]] = weakref.WeakKeyDictionary()
_parts: weakref.WeakKeyDictionary[fx.GraphModule, dict[_Key, fx.GraphModule]] = weakref.WeakKeyDictionary()


def places_of(twin: Twin, problem: Problem, wrt: str | None, taps: tuple[str, ...] = ()) -> Places:
    """Return where a problem is explained: at the tensor ``wrt``, or at all inputs.

    The twin is run once on the sample, so that everything that can be wrong with the tensors is found here: raises
    ``SettingError`` for unknown ones and for those that the target does not depend on, ``CapabilityError`` where there
    is no gradient.
    """
    known = _known.setdefault(twin.module, {})
    key = (problem.target.tensor, wrt, taps)
    if key not in known:
        known[key] = _found(twin, problem, wrt, taps)
    return known[key]


def part_of(twin: Twin, target: str, places: Places, taps: Sequence[str], rules: Rules | None) -> fx.GraphModule:
    """Return the graph from the inputs and then the ``entered`` tensors to the target, then the ``taps``."""
    what = (target, places.entered, tuple(taps))
    return kept(_parts.setdefault(twin.module, {}), what, rules, lambda: _entered(twin, *what, rules))


def _found(twin: Twin, problem: Problem, wrt: str | None, taps: tuple[str, ...]) -> Places:
    feeds, target = problem.sample.feeds, problem.target
    if wrt is not None:
        run = twin.run(feeds, target, wrt=(wrt, *taps))
        name = run.stand_ins.get(wrt, wrt)
        notes = (_stand_in_note(wrt, name),) if name != wrt else ()
        return Places((name,), _inner(problem, [name]), notes=notes, taps=_tapped(run.stand_ins, taps))
    chosen = _of_inputs(twin, problem)
    run = twin.run(feeds, target, wrt=(*chosen.names, *taps))
    return Places(chosen.names, chosen.entered, chosen.unrelated, chosen.notes, _tapped(run.stand_ins, taps))


def _tapped(stand_ins: dict[str, str], taps: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(stand_ins.get(t, t) for t in taps))


def _inner(problem: Problem, names: Sequence[str]) -> tuple[str, ...]:
    inputs = {i.name for i in problem.model.inputs}
    return tuple(n for n in names if n not in inputs)


def _of_inputs(twin: Twin, problem: Problem) -> Places:
    """Return the inputs that have rows, with stand-ins for those that hold integers."""
    fx_names, probe = twin.module.meta[NAMES], twin.layout.probe
    onnx_names = {fx_name: onnx for onnx, fx_name in fx_names.items()}
    needed = before(twin.module, [fx_names[problem.target.tensor]]) if problem.target.tensor in fx_names else set()
    rowed = {i.name: has_rows(i.name, problem.model.inputs) for i in problem.model.inputs}
    inputs = [name for name, has in rowed.items() if has]
    shared = [n for n, has in rowed.items() if not has and fx_names.get(n) in needed and probe.is_float(fx_names[n])]
    if not inputs:
        raise SettingError("no input has rows of its own", tip="name the input that is to be explained with --wrt")
    names: list[str] = []
    unrelated: list[str] = []
    notes = [f"input '{printable(n)}' is the same for all rows: it is left out (--wrt explains it)" for n in shared]
    codes: dict[str, str] = {}
    for name in inputs:
        start = fx_names.get(name, "")
        if start not in needed:
            notes.append(f"the target does not depend on input '{printable(name)}'")
            unrelated += [name] if probe.is_float(start) else []
        elif probe.is_float(start):
            names.append(name)
        else:
            floats = (f for f in first_floats(twin.module, probe, start) if f in needed and f in onnx_names)
            codes[name] = next((onnx_names[f] for f in floats), "")
    are_codes = any(stand_in and not companion(name) for name, stand_in in codes.items())
    for name, stand_in in codes.items():
        if are_codes and companion(name) == "mask":
            notes.append(f"input '{printable(name)}' says which tokens are there: it is left out (--wrt explains it)")
        elif stand_in and not _fed_by(twin, stand_in, [*names, *codes.values()]):
            names.append(stand_in)
            notes.append(_stand_in_note(name, stand_in))
        else:
            notes.append(f"input '{printable(name)}' holds integers without a gradient: it is left out")
    if not names:
        twin.run(problem.sample.feeds, problem.target, wrt=inputs)
        raise CapabilityError(f"the target '{printable(problem.target)}' has no gradient at any input")
    order = tuple(dict.fromkeys(names))
    return Places(order, _inner(problem, order), tuple(unrelated), tuple(notes))


def _fed_by(twin: Twin, name: str, others: Sequence[str]) -> bool:
    """Whether a tensor depends on another one that is explained: then changes of that one are seen there."""
    fx_names = twin.module.meta[NAMES]
    ancestors = before(twin.module, [fx_names[name]]) - {fx_names[name]}
    return any(fx_names[o] in ancestors for o in others if o)


def _stand_in_note(name: str, stand_in: str) -> str:
    return (
        f"'{printable(name)}' holds integers: the values are those of '{printable(stand_in)}', the first tensor of "
        "floating-point numbers on its way to the target"
    )


def _entered(twin: Twin, target: str, starts: tuple[str, ...], taps: tuple[str, ...], rules: Rules | None) -> Any:
    """Cut the twin to the target, and let further arguments take the place of what makes the tensors ``starts``."""
    fx_names = twin.module.meta[NAMES]
    marked = dict.fromkeys((*taps, *starts))
    outputs = [fx_names[n] for n in (target, *marked)]
    part = cut(twin.module, outputs, outputs[1:], rules)
    if not starts:
        return part
    (ends,) = next(node for node in part.graph.nodes if node.op == "output").args
    tapped = dict(zip(marked, ends[1:], strict=True))
    *_, last = (node for node in part.graph.nodes if node.op == "placeholder")
    for k, name in enumerate(starts):
        with part.graph.inserting_after(last):
            last = part.graph.placeholder(f"start_{k}")
        tapped[name].args = (last,)
    part.graph.eliminate_dead_code()
    part.delete_all_unused_submodules()
    part.recompile()
    return part
