"""The same function as another graph: inputs shifted and shifted back, and operators written in other ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import helper, numpy_helper

from .rebuild import copy_of, rebuilt
from .structure import all_names, fresh_name, is_default, scopes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from onnx import ModelProto, NodeProto


def shifted(proto: ModelProto, shifts: Mapping[str, np.ndarray]) -> ModelProto:
    """Return a model that takes ``x + shift`` where the given one takes x: what comes in is shifted back first.

    ``shifts`` holds, by input name, an array that broadcasts to the input, of its dtype.
    """
    taken = all_names(proto)
    renamed = {name: fresh_name(f"{name}_shifted_back", taken) for name in shifts}
    stored = {name: fresh_name(f"{name}_shift", taken) for name in shifts}
    before = [helper.make_node("Sub", [name, stored[name]], [renamed[name]]) for name in shifts]
    model = _with_inputs_from(proto, renamed, before)
    model.graph.initializer.extend(numpy_helper.from_array(array, stored[name]) for name, array in shifts.items())
    return model


def rewritten(proto: ModelProto, inputs: Iterable[str]) -> ModelProto:
    """Return a model of the same function with other operators.

    The given inputs (of floating-point numbers) are negated twice, and ``Relu(x)`` is written ``Max(x, x - x)``.
    """
    taken = all_names(proto)
    renamed = {name: fresh_name(f"{name}_again", taken) for name in inputs}
    before = []
    for name, again in renamed.items():
        negated = fresh_name(f"{name}_negated", taken)
        before += [helper.make_node("Neg", [name], [negated]), helper.make_node("Neg", [negated], [again])]
    model = _with_inputs_from(proto, renamed, before)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if not is_default(node, "Relu"):
            nodes.append(node)
            continue
        zero = fresh_name(f"{node.output[0]}_zero", taken)
        nodes.append(helper.make_node("Sub", [node.input[0], node.input[0]], [zero]))
        nodes.append(helper.make_node("Max", [node.input[0], zero], node.output[:1], name=node.name))
    return rebuilt(model, nodes=nodes)


def _with_inputs_from(proto: ModelProto, renamed: Mapping[str, str], before: list[NodeProto]) -> ModelProto:
    """Return the model with some inputs read from other tensors, which the nodes ``before`` make."""
    model = rebuilt(proto, nodes=[*before, *map(copy_of, proto.graph.node)])
    made = {name for node in before for name in node.output}
    for scope in scopes(model):
        if scope.function is not None:
            continue
        own = {v.name for v in scope.graph.input} if scope.graph is not None and scope.depth else set()
        for node in scope.nodes:
            if made & set(node.output):
                continue
            for k, name in enumerate(node.input):
                if name in renamed and name not in own:
                    node.input[k] = renamed[name]
    return model
