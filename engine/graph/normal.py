"""One form for all models: versions that the runtime takes, initializers that are no inputs, no ZipMap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import defs, inliner

from .head import drop_zipmap
from .rebuild import rebuilt
from .structure import DEFAULT_DOMAINS, FREE_INITIALIZERS, in_order, initializer_names, scope_tensors, scopes

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

EXTERNAL_KEYS = frozenset({"location", "offset", "length", "checksum"})  # ONNX Runtime opens no model with others


def normalise(proto: ModelProto, max_ir: int = 13, max_opset: int = 26) -> ModelProto:
    """Return the model in the form that all else here expects.

    ZipMaps are dropped (``drop_zipmap``), and functions of the model's own put where they are called, so that a final
    Softmax in one is found and what is inside can be a target. Nodes stand behind what they read (``in_order``).
    Initializers are taken out of the inputs, so the runtime may fold them. The domain ``ai.onnx`` is written ``""``. A
    newer IR version is lowered to ``max_ir``, which changes no meaning; a newer operator set is lowered to
    ``max_opset`` where none of the operators in use has changed since, else left. What is said of external data beside
    location, offset, length and checksum is dropped.
    """
    whole = inliner.inline_local_functions(_with_defaults(proto)) if proto.functions else proto
    plain = drop_zipmap(whole)[0]
    stored = initializer_names(plain.graph)
    model = rebuilt(
        plain,
        nodes=in_order(plain.graph.node),
        inputs=(value for value in plain.graph.input if value.name not in stored),
    )
    if len(model.graph.input) < len(plain.graph.input):
        model.ir_version = max(model.ir_version, FREE_INITIALIZERS)
    model.ir_version = min(model.ir_version, max_ir)
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


def _with_defaults(proto: ModelProto) -> ModelProto:
    """Return the model with the attributes that calls of its functions leave to their defaults: inlining drops them."""
    model = rebuilt(proto)
    defaults = {(f.domain, f.name, f.overload): f.attribute_proto for f in model.functions}
    for scope in scopes(model):
        for node in scope.nodes:
            given = {a.name for a in node.attribute}
            for attribute in defaults.get((node.domain, node.op_type, node.overload), ()):
                if attribute.name not in given:
                    node.attribute.add().CopyFrom(attribute)
    return model


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
