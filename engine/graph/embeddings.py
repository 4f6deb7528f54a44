"""What the graph tells of its embeddings: for how many codes of tokens and how many places they have rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .structure import is_default

if TYPE_CHECKING:
    from onnx import ModelProto

_POSITION_WORDS = ("position_embed", "pos_embed", "wpe", "positional")
_HANDING_ON = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose")
_FUSED = "EmbedLayerNormalization"  # com.microsoft: codes, types, table of codes, table of places, ...


def embedding_rows(proto: ModelProto, name: str) -> tuple[int, int]:
    """Return how many rows the embedding of the codes in input ``name`` has, and that of places; 0 where unknown.

    The table of codes is a constant that the input picks rows of. That of places, of which rows are picked or the first
    are taken, is known by its name, or as an input of the fused operator. Of several, the smallest counts.
    """
    sizes = {i.name: tuple(i.dims) for i in proto.graph.initializer}
    same, codes, places = {name}, [], []
    for node in proto.graph.node:
        if is_default(node, *_HANDING_ON) and node.input[0] in same:
            same.update(node.output)
        elif is_default(node, "Gather", "Slice") and len(sizes.get(node.input[0], ())) == 2:
            table = sizes[node.input[0]][0]
            if node.input[1] in same:
                codes.append(table)
            elif any(word in node.input[0].lower() for word in _POSITION_WORDS):
                places.append(table)
        elif node.op_type == _FUSED and node.input[0] in same and len(node.input) > 3:
            codes += [sizes[t][0] for t in node.input[2:3] if t in sizes]
            places += [sizes[t][0] for t in node.input[3:4] if t in sizes]
    return min(codes, default=0), min(places, default=0)
