"""Small models of texts with known weights, and tokenizers for them."""

import json

import numpy as np
import pytest
import tokenizers
from onnx import TensorProto, helper, numpy_helper
from tokenizers import models, normalizers, pre_tokenizers, processors

from onnxplain import InputError
from onnxplain.engine.explain import samples_of
from small_graphs import model_of

FLOAT, INT, TEXT = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["a", "won", "##der", "##ful", "moving", "film", ",", ".", "dull", "not", "the", "!"]
VOCABULARY = {token: code for code, token in enumerate([*SPECIAL, *PIECES])}
WORTH = {"won": 1.0, "##der": 0.5, "##ful": 0.5, "moving": 1.5, "film": 0.25, "dull": -2.0, "not": -0.5, "!": 0.125}
WORTH |= {"[MASK]": 0.0625, "[PAD]": 8.0, "[CLS]": 16.0, "[SEP]": 32.0}
SENTENCE = "a wonderful, moving film"
WORD_VALUES = {"a": 0.0, "wonderful": 2.0, ",": 0.0, "moving": 1.5, "film": 0.25}


def tokenizer(vocabulary=VOCABULARY, *, pairs=False, **truncation):
    """WordPiece pieces of lowercased words, between [CLS] and [SEP]; of a second text followed by another [SEP]."""
    made = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106 - no password
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens([token for token in SPECIAL if token in vocabulary])
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1" if pairs else None,
        special_tokens=[(t, vocabulary[t]) for t in ("[CLS]", "[SEP]")],
    )
    if truncation:
        made.enable_truncation(**truncation)
    return made


def worths(extra=None):
    table = np.zeros((len(VOCABULARY), 2), np.float32)
    for token, worth in {**WORTH, **(extra or {})}.items():
        table[VOCABULARY[token], 1] = worth
    return table


def token_model(*, mask=True, positions=False, types=False, length="sequence", table=None, kind=INT, sizes=None):
    """y = sum over the tokens that are there of worth[token] (times 1 + position, plus 100 * type), for two classes."""
    dims = sizes or ["batch", length]
    nodes = [helper.make_node("Gather", ["embeddings.word", "input_ids"], ["e0"])]
    inputs, last = {"input_ids": (kind, dims)}, "e0"
    axes = {"axis": np.array([2]), "tokens": np.array([1]), "one": np.float32(1), "hundred": np.float32(100)}
    for name, wanted in (("position_ids", positions), ("token_type_ids", types), ("attention_mask", mask)):
        if not wanted:
            continue
        inputs[name] = (kind, dims)
        nodes += [
            helper.make_node("Cast", [name], [f"{name}.f"], to=FLOAT),
            helper.make_node("Unsqueeze", [f"{name}.f", "axis"], [f"{name}.u"]),
        ]
        if name == "position_ids":
            nodes.append(helper.make_node("Add", [f"{name}.u", "one"], [f"{name}.w"]))
        elif name == "token_type_ids":
            nodes.append(helper.make_node("Mul", [f"{name}.u", "hundred"], [f"{name}.w"]))
        factor, op = (f"{name}.u", "Mul") if name == "attention_mask" else (f"{name}.w", "Mul")
        nodes.append(helper.make_node("Add" if name == "token_type_ids" else op, [last, factor], [f"{name}.e"]))
        last = f"{name}.e"
    nodes.append(helper.make_node("ReduceSum", [last, "tokens"], ["y"], keepdims=0))
    constants = {"embeddings.word": worths() if table is None else table, **axes}
    return model_of(nodes, inputs, {"y": (FLOAT, [dims[0], 2])}, constants)


def string_model(worth=None):
    """y = sum of the worths of the words (letters only) of a string, as often as they occur."""
    worth = worth or {"a": 0.0, "wonderful": 2.0, "moving": 1.5, "film": 0.25, "dull": -2.0}
    words = list(worth)
    nodes = [
        helper.make_node("Reshape", ["text", "flat"], ["row"]),
        helper.make_node(
            "Tokenizer",
            ["row"],
            ["words"],
            domain="com.microsoft",
            mark=0,
            mincharnum=1,
            pad_value="#",
            tokenexp="[a-zA-Z]+",
        ),
        helper.make_node(
            "TfIdfVectorizer",
            ["words"],
            ["counts"],
            mode="TF",
            min_gram_length=1,
            max_gram_length=1,
            max_skip_count=0,
            ngram_counts=[0],
            ngram_indexes=list(range(len(words))),
            pool_strings=words,
        ),
        helper.make_node("MatMul", ["counts", "W"], ["y"]),
    ]
    weights = np.zeros((len(words), 2), np.float32)
    weights[:, 1] = list(worth.values())
    constants = {"W": weights, "flat": np.array([-1])}
    return model_of(
        nodes, {"text": (TEXT, ["n", 1])}, {"y": (FLOAT, ["n", 2])}, constants, domains={"com.microsoft": 1}
    )


def encoded(prefix, weight):
    """Nodes that make ``{prefix}y`` = weight times the sum of the worths of one text's tokens."""
    ids, mask = f"{prefix}input_ids", f"{prefix}attention_mask"
    nodes = [
        helper.make_node("Gather", ["embeddings.word", ids], [f"{prefix}e"]),
        helper.make_node("Cast", [mask], [f"{prefix}m"], to=FLOAT),
        helper.make_node("Unsqueeze", [f"{prefix}m", "axis"], [f"{prefix}u"]),
        helper.make_node("Mul", [f"{prefix}e", f"{prefix}u"], [f"{prefix}w"]),
        helper.make_node("ReduceSum", [f"{prefix}w", "tokens"], [f"{prefix}s"], keepdims=0),
        helper.make_node("Mul", [f"{prefix}s", f"{prefix}weight"], [f"{prefix}y"]),
    ]
    return nodes, {ids: (INT, ["n", f"{prefix}length"]), mask: (INT, ["n", f"{prefix}length"])}, np.float32(weight)


def two_strings_model():
    """y = worths of the question's words, plus twice those of the context's, plus the row times 1 and 10."""
    one = string_model().graph
    nodes = [
        helper.make_node("Add", ["question_y", "context_y"], ["once"]),
        helper.make_node("Add", ["once", "context_y"], ["texts"]),
        helper.make_node("MatMul", ["row", "R"], ["other"]),
        helper.make_node("Add", ["texts", "other"], ["y"]),
    ]
    constants = {i.name: numpy_helper.to_array(i) for i in one.initializer} | {"R": np.float32([[0, 1], [0, 10]])}
    copies = []
    for prefix in ("question_", "context_"):
        for node in one.node:
            copy = type(node).FromString(node.SerializeToString())
            copy.input[:] = [name if name in constants else prefix + name for name in node.input]
            copy.output[:] = [prefix + name for name in node.output]
            copies.append(copy)
    inputs = {"question_text": (TEXT, ["n", 1]), "context_text": (TEXT, ["n", 1]), "row": (FLOAT, ["n", 2])}
    return model_of([*copies, *nodes], inputs, {"y": (FLOAT, ["n", 2])}, constants, domains={"com.microsoft": 1})


CONSTANTS = {"axis": np.array([2]), "tokens": np.array([1])}


def two_texts_model():
    """y = worths of the question's tokens, plus twice those of the context's."""
    parts = {prefix: encoded(prefix, weight) for prefix, weight in (("question_", 1), ("context_", 2))}
    nodes = [node for part in parts.values() for node in part[0]]
    nodes.append(helper.make_node("Add", ["question_y", "context_y"], ["y"]))
    inputs = {name: kind for part in parts.values() for name, kind in part[1].items()}
    constants = {f"{prefix}weight": part[2] for prefix, part in parts.items()}
    constants |= {"embeddings.word": worths(), **CONSTANTS}
    return model_of(nodes, inputs, {"y": (FLOAT, ["n", 2])}, constants)


def text_beside_model(*, picture=False):
    """y = worths of the tokens, plus the row (2 numbers) times 1 and 10, or the sum of a 4 x 4 picture's values."""
    nodes, inputs, weight = encoded("", 1)
    constants = {"embeddings.word": worths(), "weight": weight, **CONSTANTS}
    if picture:
        inputs["picture"] = (FLOAT, ["n", 3, 4, 4])
        nodes += [
            helper.make_node("ReduceSum", ["picture", "all"], ["rest"], keepdims=0),
            helper.make_node("Unsqueeze", ["rest", "tokens"], ["rests"]),
            helper.make_node("Mul", ["rests", "second"], ["other"]),
        ]
        constants |= {"all": np.array([1, 2, 3]), "second": np.array([[0, 1]], np.float32)}
    else:
        inputs["row"] = (FLOAT, ["n", 2])
        nodes.append(helper.make_node("MatMul", ["row", "W"], ["other"]))
        constants["W"] = np.array([[0, 1], [0, 10]], np.float32)
    nodes[5].output[0] = "text"
    nodes.append(helper.make_node("Add", ["text", "other"], ["y"]))
    return model_of(nodes, inputs, {"y": (FLOAT, ["n", 2])}, constants)


def written(folder, proto, made=None, name="model"):
    """Write a model, and its tokenizer beside it; return the model's path."""
    path = folder / f"{name}.onnx"
    path.write_bytes(proto.SerializeToString())
    if made is not None:
        made.save(str(folder / "tokenizer.json"))
    return path


def edited(folder, **changes):
    """Change top-level fields of the tokenizer.json in a folder."""
    file = folder / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return file


def texts(model, source, **options):
    """The texts that a source stands for."""
    return [sample.text for sample in samples_of(model, source, **options)]


def refusal(model, source, error=InputError):
    """What is said of a source that cannot be read."""
    with pytest.raises(error) as raised:
        list(samples_of(model, source))
    assert len(str(raised.value).splitlines()) <= 6
    return str(raised.value)
