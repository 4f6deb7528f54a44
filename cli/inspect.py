"""``onnxplain inspect``: what a model takes and gives, what is known about it, and which methods can explain it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.capabilities import batching, capabilities, default_target, labels_problem, preprocessing, spec_to_write
from ..engine.errors import printable
from .errors import DONE, print_error
from .lazy import command
from .model_argument import model_argument, model_json, open_model
from .output import heading, print_json, size, table

if TYPE_CHECKING:
    from ..engine.model import Model, TensorSpec

BATCHING = {
    "any": "any number of rows a run",
    "freed": "any number of rows a run, after freeing the fixed batch axis",
    "fixed": "a fixed number of rows a run, filled up",
    "looped": "one row a run",
}


@command("inspect")
@model_argument
@click.option("--tensors", is_flag=True, help="List every tensor inside, with its producer; each can be a target.")
@click.option(
    "--write-spec",
    "spec_file",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help="Write what is known or guessed to a TOML file, beside MODEL if FILE is not given.",
)
@click.option("--force", is_flag=True, help="Let --write-spec overwrite a file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def inspect_command(
    model: str,
    spec: str | None,
    device: str,
    threads: int | None,
    **options: Any,
) -> int:
    """Say what MODEL takes and gives, what is known about it, and which methods can explain it.

    The model is run once, on made-up numbers, to find how it takes batches.

    \b
    Examples:
      onnxplain inspect model.onnx
      onnxplain inspect model.onnx --tensors
      onnxplain inspect model.onnx --write-spec
    """
    opened = open_model(model, spec, device, threads)
    found = examined(opened, tensors=options["tensors"])
    if options["spec_file"] is not None:
        found["written"] = str(_written(opened, options["spec_file"], force=options["force"]))
    if options["as_json"]:
        print_json(found)
    else:
        _show(opened, found)
    return DONE


command = inspect_command


def examined(model: Model, *, tensors: bool) -> dict[str, Any]:
    """Return all that is said of a model."""
    rows, reason = batching(model)
    found = {
        "model": {
            **model_json(model),
            "ir": int(model.proto.ir_version),
            "producer": f"{model.proto.producer_name} {model.proto.producer_version}".strip(),
            "external_files": external_files(model),
            "widened": model.is_widened,
            "respelled": model.is_respelled,
        },
        "spec": model.spec.source or None,
        "task": model.spec.task or None,
        "labels": len(model.labels),
        "warnings": [text for text in (labels_problem(model, reason),) if text],
        "default_target": default_target(model),
        "batching": rows or None,
        "batching_reason": reason or None,
        "attention": attention(model),
        "preprocessing": preprocessing(model),
        "methods": capabilities(model, reason),
    }
    if tensors:
        found["tensors"] = [
            {"name": t.name, "op": t.op_type, "node": t.node, "dtype": t.dtype, "shape": t.shape}
            for t in model.tensors()
        ]
    return found


def attention(model: Model) -> dict[str, Any]:
    """Return how many attention layers were found, and which nodes hide their weights."""
    from ..engine.internals.attention import count

    own, cross, closed = count(model.proto)
    return {"self": own, "cross": cross, "closed": [printable(label) for label in closed]}


def external_files(model: Model) -> list[str]:
    """Return the files beside the model that hold its weights."""
    return [printable(path.name) for path in model.external]


def _written(model: Model, name: str, *, force: bool) -> Path:
    from ..engine.specs.toml import write_spec

    if not name and model.path is None:
        raise click.UsageError("--write-spec needs FILE: this model has no folder")
    path = Path(name) if name else Path(str(model.path)).with_suffix(".toml")
    return write_spec(spec_to_write(model), path, overwrite=force)


def _show(model: Model, found: dict[str, Any]) -> None:
    about = found["model"]
    facts = [
        ("file", about["path"]),
        ("size", size(about["size"])),
        ("sha-256", about["digest"]),
        ("opset", ", ".join(f"{domain} {version}" for domain, version in about["opset"].items()) or "none"),
        ("ir", about["ir"]),
        *([("producer", about["producer"])] if about["producer"] else []),
        *([("weights in", ", ".join(about["external_files"]))] if about["external_files"] else []),
        *([("numbers", "bfloat16, computed in float32")] if about["widened"] else []),
        *([("operators", "ConstantFill, computed by Expand")] if about["respelled"] else []),
        ("device", about["device"]),
        ("spec", found["spec"] or "none; inputs are inferred (write one: --write-spec)"),
        ("labels", str(found["labels"]) if found["labels"] else "none known: classes have numbers only"),
        ("target", found["default_target"]["text"]),
        ("batches", _batching(found)),
        *([("attention", _attention(found["attention"]))] if any(found["attention"].values()) else []),
    ]
    click.echo(table((), facts))
    for title, tensors in (("Inputs", model.inputs), ("Outputs", model.outputs)):
        click.echo(f"\n{heading(title)}\n{table((), [_tensor_row(t) for t in tensors], indent=2)}")
    prepared = [(name, _preparation(entry)) for name, entry in found["preprocessing"].items()]
    click.echo(f"\n{heading('Files become inputs')}\n{table((), prepared, indent=2)}")
    methods = [(m["name"], _ability(m)) for m in found["methods"]]
    click.echo(f"\n{heading('Methods')}\n{table((), methods, indent=2)}")
    if "tensors" in found:
        head = ("tensor", "made by", "dtype", "shape")
        rows = [(t["name"], t["op"], t["dtype"] or "?", _shape(t["shape"])) for t in found["tensors"]]
        click.echo(f"\n{heading('Tensors')}\n{table(head, rows, indent=2)}")
    for warning in found["warnings"]:
        print_error(warning, "warning")
    if "written" in found:
        print_error(f"wrote {found['written']}; check it against the code that the model was trained with", "note")


def _ability(method: dict[str, Any]) -> str:
    if not method["can_run"]:
        return f"cannot: {method['why']}"
    return f"can run with {method['with']}" if method["with"] else "can run"


def _batching(found: dict[str, Any]) -> str:
    if found["batching"] is None:
        return f"not established: {found['batching_reason']}"
    return BATCHING.get(str(found["batching"]), str(found["batching"]))


def _attention(found: dict[str, Any]) -> str:
    parts = [f"{found[kind]} of {kind}-attention" for kind in ("self", "cross") if found[kind]]
    layers = f"layers found: {', '.join(parts)}" if parts else ""
    closed = f"nodes that hide their weights: {len(found['closed'])}" if found["closed"] else ""
    return "; ".join(part for part in (layers, closed) if part)


def _tensor_row(tensor: TensorSpec) -> tuple[str, str, str]:
    shape = _shape(tensor.shape) if tensor.ranked else "of unknown rank"
    return tensor.name, "string" if tensor.dtype == object else tensor.dtype.name, shape


def _shape(shape: Any) -> str:
    return "?" if shape is None else f"({', '.join('?' if n is None else str(n) for n in shape)})"


def _preparation(entry: dict[str, Any]) -> str:
    """Say in a line how a file becomes this input."""
    parts = [f"{entry['modality']} {entry['layout']}".strip()]
    if entry["text"] is not None:
        parts.append(_reading(entry["text"]))
    if entry["modality"] == "state":
        return "state of a recurrent network: zeros unless an .npz file gives it; never masked"
    if entry["rate"]:
        parts[0] += f", {entry['rate']:g} samples per second"
    if entry["channels"]:
        parts[0] += f", channels {', '.join(entry['channels'][:6])}{', ...' if len(entry['channels']) > 6 else ''}"
    if entry["problem"]:
        return f"{parts[0]}; image files cannot be prepared: {entry['problem']}"
    if entry["scaling"] is not None:
        parts.append(_scaled("x", entry["scaling"]))
    chosen = entry["preprocessing"]
    if chosen is None:
        return "; ".join(parts)
    parts.append(f"{chosen['colour']}, {_resizing(chosen)}")
    parts.append(_scaled("pixels", chosen))
    parts.append("a first guess: nothing says how images are prepared" if entry["assumed"] else "as the spec says")
    return "; ".join(parts)


def _reading(text: dict[str, Any]) -> str:
    """Say how a text becomes this input, or what is missing for that."""
    if text["missing"]:
        return f"takes codes of a text's tokens; to explain a text it lacks {printable(text['missing'])}"
    return "takes a text as it is" if text["as"] == "string" else f"texts by {printable(text['tokenizer'])}"


def _resizing(chosen: dict[str, Any]) -> str:
    height, width = chosen["size"]
    if not chosen["resize"]:
        return f"resized to {width} x {height}" if width else "in the size that the model or the image has"
    shorter = f"both sides to {chosen['resize']}" if chosen["stretch"] else f"short side to {chosen['resize']}"
    return f"{shorter}, centre crop {width} x {height}" if chosen["crop"] and width else shorter


def _scaled(what: str, chosen: dict[str, Any]) -> str:
    return f"({what} * {chosen['scale']:.6g} - {_list(chosen['mean'])}) / {_list(chosen['std'])}"


def _list(values: Any) -> str:
    return ", ".join(f"{v:.6g}" for v in values) if len(values) == 1 else f"[{', '.join(f'{v:.6g}' for v in values)}]"
