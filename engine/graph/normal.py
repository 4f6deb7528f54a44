"""One form for all models: versions that the runtime takes, initializers that are no inputs, no ZipMap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import defs, helper, inliner

from .control import name_outputs
from .head import drop_zipmap
from .rebuild import rebuilt
from .structure import (
    DEFAULT_DOMAINS,
    FREE_INITIALIZERS,
    all_names,
    fresh_name,
    in_order,
    initializer_names,
    producers,
    scope_tensors,
    scopes,
)

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

EXTERNAL_KEYS = frozenset({"location", "offset", "length", "checksum"})  # ONNX Runtime opens no model with others


def normalise(proto: ModelProto, max_ir: int = 13, max_opset: int = 26) -> ModelProto:
    """Return the model in the form that all else here expects.

    ZipMaps are dropped (``drop_zipmap``), and functions of the model's own put where they are called, so that a final
    Softmax in one is found and what is inside can be a target. Nodes stand behind what they read (``in_order``).
    Initializers are taken out of the inputs, so the runtime may fold them. The domain ``ai.onnx`` is written ``""``. A
    newer IR version is lowered to ``max_ir``, which changes no meaning; a newer operator set is lowered to
    ``max_opset`` where none of the operators in use has changed since, else left. What is said of external data beside
    location, offset, length and checksum is dropped. An output that is listed twice is listed once. Outputs of Loop,
    Scan and If all have names.
    """
    whole = inliner.inline_local_functions(_ready_to_inline(proto)) if proto.functions else proto
    plain = drop_zipmap(whole)[0]
    stored = initializer_names(plain.graph)
    model = rebuilt(
        plain,
        nodes=in_order(plain.graph.node),
        inputs=(value for value in plain.graph.input if value.name not in stored),
        outputs={value.name: value for value in plain.graph.output}.values(),
    )
    if len(model.graph.input) < len(plain.graph.input):
        model.ir_version = max(model.ir_version, FREE_INITIALIZERS)
    model.ir_version = min(model.ir_version, max_ir)
    name_outputs(model)
    for scope in scopes(model):
        for node in scope.nodes:
            if node.domain == "ai.onnx":
                node.domain = ""
        for tensor, _ in scope_tensors(scope):
            _drop_unknown_keys(tensor)
    imports = [model.opset_import, *(function.opset_import for function in model.functions)]
    for opset in (opset for listed in imports for opset in listed):
        if opset.domain == "ai.onnx":
            opset.domain = ""
    newest = max((opset.version for listed in imports for opset in listed if not opset.domain), default=1)
    if newest > max_opset and _unchanged_since(model, newest, max_opset):
        for opset in (opset for listed in imports for opset in listed if not opset.domain):
            opset.version = min(opset.version, max_opset)
    return model


def _ready_to_inline(proto: ModelProto) -> ModelProto:
    """Return the model without what inlining gets wrong.

    It drops attributes that calls of functions leave to their defaults, and loses outputs of graphs inside nodes that
    no node of theirs makes.
    """
    model = rebuilt(proto)
    taken = all_names(model)
    defaults = {(f.domain, f.name, f.overload): f.attribute_proto for f in model.functions}
    for scope in scopes(model):
        for node in scope.nodes:
            given = {a.name for a in node.attribute}
            for attribute in defaults.get((node.domain, node.op_type, node.overload), ()):
                if attribute.name not in given:
                    node.attribute.add().CopyFrom(attribute)
        if scope.depth and scope.graph is not None:
            _make_outputs(scope.graph, taken)
    return model


def _make_outputs(body: GraphProto, taken: set[str]) -> None:
    """Let nodes of its own make all outputs of a graph inside a node, in place."""
    made = producers(body.node)
    for value in body.output:
        if value.name not in made:
            copied = fresh_name(f"{value.name}/copied", taken)
            body.node.append(helper.make_node("Identity", [value.name], [copied]))
            value.name = copied


def _drop_unknown_keys(tensor: TensorProto) -> None:
    if any(entry.key not in EXTERNAL_KEYS for entry in tensor.external_data):
        kept = [entry for entry in tensor.external_data if entry.key in EXTERNAL_KEYS]
        del tensor.external_data[:]
        tensor.external_data.extend(kept)


def _unchanged_since(model: ModelProto, newest: int, oldest: int) -> bool:
    """Whether every operator of the default domain means the same in both versions of its operator set."""
    used = {node.op_type for scope in scopes(model) for node in scope.nodes if not node.domain}
    local = {function.name for function in model.functions if function.domain in DEFAULT_DOMAINS}
    try:
        return all(defs.get_schema(op_type, newest, "").since_version <= oldest for op_type in used - local)
    except defs.SchemaError:  # newer than the installed onnx: nothing is known about it
        return False
