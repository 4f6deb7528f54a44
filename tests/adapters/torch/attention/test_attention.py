"""Attention methods on networks from both exporters, against plain loops over what the original networks do."""

import contextlib
import functools
from unittest import mock

import numpy as np
import pytest
from onnx import helper, numpy_helper

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

import attention_graphs  # noqa: E402
import attention_networks  # noqa: E402
import onnxplain  # noqa: E402
import whole_models  # noqa: E402
from map_networks import convolutions, picture  # noqa: E402
from onnxplain.engine.errors import CapabilityError, SettingError  # noqa: E402
from onnxplain.engine.graph import expose  # noqa: E402
from onnxplain.engine.internals.attention import count  # noqa: E402

TARGETS = {
    "captioner": ("y[3,7]", lambda y: y[:, 3, 7]),
    "captioner-merged": ("y[3,7]", lambda y: y[:, 3, 7]),
    "towers": ("y[0]", lambda y: y[:, 0]),
    "translator": ("y[2,5]", lambda y: y[:, 2, 5]),
    "averaged": ("y[1]", lambda y: y[:, 1]),
}
LAYERS = {  # kinds of queries and keys, by layer
    "captioner": ["image", "words", "words image"],
    "captioner-merged": ["image", "words", "words image"],
    "towers": ["image", "image", "words", "words"],
    "translator": ["words source"],
    "averaged": ["image", "image"],
}
READ = {"captioner": [3], "captioner-merged": [3], "translator": [2], "averaged": list(range(12))}
CASES = [
    ("captioner", "legacy", 17),
    ("captioner-merged", "legacy", 17),
    ("towers", "legacy", 17),
    ("translator", "legacy", 17),
    ("averaged", "legacy", 17),
]


@contextlib.contextmanager
def recording(kept):
    """Let all attention weights of torch modules be kept in a list, as (B, heads, queries, keys) or merged ones."""
    plain = functional.softmax

    def softmax(logits, dim=None, **_):
        kept.append(plain(logits, dim=-1).requires_grad_() if not logits.requires_grad else plain(logits, dim=-1))
        return kept[-1]

    def attend(q, k, v, attn_mask=None, *_, **__):
        logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        return softmax(logits if attn_mask is None else logits + attn_mask) @ v

    with (
        mock.patch.object(functional, "softmax", softmax),
        mock.patch.object(functional, "scaled_dot_product_attention", attend),
        mock.patch.object(torch, "softmax", softmax),
    ):
        yield


def weights_and_slopes(name, feeds):
    """For the first row: weights of each layer (heads, queries, keys) in order, and the score's gradient there."""
    network, _ = attention_networks.made(name)
    kept = []
    inputs = [torch.tensor(f[:1]) for f in feeds.values()]
    with recording(kept):
        score = TARGETS[name][1](network(*inputs))
    slopes = torch.autograd.grad(score.sum(), kept)
    return [[(t[0] if t.dim() == 4 else t).detach() for t in listed] for listed in (kept, slopes)]


def loaded(name, exporter, opset):
    feeds, model = exported(name, exporter, opset)
    return {n: f[:1] for n, f in feeds.items()}, model


@functools.cache
def exported(name, exporter="legacy", opset=17):
    return attention_networks.exported(name, exporter, opset)[1:]


@pytest.mark.parametrize(("name", "exporter", "opset"), CASES)
def test_all_layers_are_found_with_their_weights(name, exporter, opset):
    feeds, model = loaded(name, exporter, opset)
    weights, _ = weights_and_slopes(name, feeds)
    order = [0, 1, 2] if "captioner" in name else range(len(weights))
    own = sum(" " not in kinds for kinds in LAYERS[name])
    assert count(model.proto) == (own, len(LAYERS[name]) - own, ())
    for layer in order:
        found = onnxplain.explain(model, feeds, "attention-map", target=TARGETS[name][0], layer=layer)
        expected = weights[layer].numpy()
        assert np.allclose(found.extras["matrix"], expected.reshape(-1, *expected.shape[-2:]).mean(axis=0), atol=1e-5)
        assert f"layer {layer} of {len(order)}" in " ".join(found.notes)
        kind = "cross" if " " in LAYERS[name][layer] else "self"
        assert f"{kind}-attention" in " ".join(found.notes)


def generic_by_loops(name, weights, slopes):
    """Relevance R[s][t][i, j] by the rules of Chefer et al. 2021 (ICCV), element by element."""
    sizes = {}
    for kinds, A in zip(LAYERS[name], weights, strict=True):
        sizes |= {kinds.split()[0]: A.shape[-2], kinds.split()[-1]: A.shape[-1]}
    R = {s: {t: np.eye(sizes[s]) if s == t else np.zeros((sizes[s], sizes[t])) for t in sizes} for s in sizes}

    def normal(M):
        made = np.eye(len(M))
        for i in range(len(M)):
            total = sum(M[i, k] - (i == k) for k in range(len(M)))
            for j in range(len(M)):
                made[i, j] += (M[i, j] - (i == j)) / total if total else 0.0
        return made

    for kinds, A, G in zip(LAYERS[name], weights, slopes, strict=True):
        s, q = kinds.split()[0], kinds.split()[-1]
        C = np.zeros((sizes[s], sizes[q]))
        for i, j in np.ndindex(*C.shape):
            C[i, j] = np.mean([max(0.0, float(g[i, j] * a[i, j])) for a, g in zip(A, G, strict=True)])
        if s == q:
            R[s] = {t: M + C @ M for t, M in R[s].items()}
        else:
            first, second = normal(R[s][s]).T @ C @ normal(R[q][q]), C @ R[q][s]
            R[s][q], R[s][s] = R[s][q] + first, R[s][s] + second
    return R


@pytest.mark.parametrize(("name", "exporter", "opset"), CASES)
def test_generic_attention_is_what_loops_over_the_original_network_give(name, exporter, opset):
    feeds, model = loaded(name, exporter, opset)
    R = generic_by_loops(name, *weights_and_slopes(name, feeds))
    found = onnxplain.explain(model, feeds, "generic-attention", target=TARGETS[name][0])
    ends = ["image", "words"] if name == "towers" else [LAYERS[name][-1].split()[0]]
    several = "matrix" not in found.extras
    for end in ends:
        for start, M in R[end].items():
            if not M.any():
                continue
            suffix = f" of {start}" if several else ""
            assert np.allclose(found.extras[f"matrix{suffix}"], M, rtol=2e-3, atol=1e-4 * np.abs(M).max())
            rows = found.extras[f"rows{suffix}"].tolist()
            assert rows == READ.get(name, [0 if end == "image" else int(feeds["words"].argmax())])
            gained = found.extras[f"matrix{suffix}"] - (np.eye(len(M)) if start == end else 0)
            assert np.allclose(found.extras[f"tokens{suffix}"], gained[rows].mean(axis=0))
    assert found.score == pytest.approx(float(model.predict(feeds)["y"][(0, *indices(name))]), rel=1e-4)


def indices(name):
    return [int(n) for n in TARGETS[name][0][2:-1].split(",")]


@pytest.mark.parametrize("name", ["captioner", "captioner-merged", "towers"])
def test_rollout_of_several_kinds_of_tokens_is_that_of_all_tokens_together(name):
    """One matrix of all tokens side by side, in which cross-attention reads from the other tokens' columns."""
    feeds, model = loaded(name, "legacy", 17)
    weights, _ = weights_and_slopes(name, feeds)
    kinds = list(dict.fromkeys(k for layer in LAYERS[name] for k in layer.split()))
    sizes = {
        k: next(A.shape[-1] for la, A in zip(LAYERS[name], weights, strict=True) if la.split()[-1] == k) for k in kinds
    } if name == "towers" else {"image": 12, "words": 5}  # fmt: skip
    places = {
        k: slice(sum(sizes[m] for m in kinds[:n]), sum(sizes[m] for m in kinds[: n + 1])) for n, k in enumerate(kinds)
    }
    joint = np.eye(sum(sizes.values()))
    for layer, A in zip(LAYERS[name], weights, strict=True):
        s, q = layer.split()[0], layer.split()[-1]
        step = np.eye(len(joint))
        step[places[s]] *= 0.5
        step[places[s], places[q]] += 0.5 * A.numpy().mean(axis=0)
        joint = step @ joint
    found = onnxplain.explain(model, feeds, "attention-rollout", target=TARGETS[name][0])
    for start in kinds:
        end = start if name == "towers" else "words"
        assert np.allclose(found.extras[f"matrix of {start}"], joint[places[end], places[start]], atol=1e-5)


@pytest.mark.parametrize(
    "method", ["attention-map", "attention-rollout", "generic-attention", "attn-lrp", "conservative-lrp"]
)
def test_rows_together_are_rows_alone(method):
    feeds, model = exported("captioner")
    both = onnxplain.explain(model, feeds, method, target="y[3,7]")
    for k, one in enumerate(both):
        alone = onnxplain.explain(model, {n: f[k : k + 1] for n, f in feeds.items()}, method, target="y[3,7]")
        assert one.score == pytest.approx(alone.score, rel=1e-5)
        for name, values in alone.values.items():
            assert np.allclose(one.values[name], values, rtol=1e-4, atol=1e-5 * np.abs(values).max())


def test_transformer_attribution_of_rows_together_is_that_of_rows_alone():
    feeds, model = exported("averaged")
    both = onnxplain.explain(model, feeds, "transformer-attribution", target="1")
    for k, one in enumerate(both):
        alone = onnxplain.explain(model, feeds["image"][k : k + 1], "transformer-attribution", target="1")
        assert np.allclose(one.extras["matrix"], alone.extras["matrix"], atol=1e-6)


@pytest.mark.parametrize("name", ["vit", "bert", "llama"])
def test_whole_models_give_the_same_by_both_exporters(name):
    """The same network, exported in two ways, has the same relevance of tokens, by every method."""
    module = whole_models.network(name)
    torch.manual_seed(4)
    feeds = {f"in{k}": a.numpy() for k, a in enumerate(whole_models.MODELS[name].draw(1))}
    target = "out[4,3]" if name == "llama" else "1"
    methods = ["attention-rollout", "generic-attention", "transformer-attribution", "attn-lrp", "conservative-lrp"]
    ways = []
    for exporter, opset in (("legacy", 17), ("dynamo", 18 if name == "bert" else 23)):
        proto = whole_models.exported(name, exporter, opset, module)
        model = onnxplain.load(proto.SerializeToString(), device="cpu", threads=1)
        output = proto.graph.output[0].name
        asked = target.replace("out", output)
        ways.append([onnxplain.explain(model, feeds, method, target=asked) for method in methods])
    for first, *others in zip(*ways, strict=True):
        (values,) = (v for v in list(first.values.values())[:1])
        for other in others:
            same = next(iter(other.values.values()))
            assert np.allclose(same, values, rtol=1e-3, atol=1e-4 * np.abs(values).max())
    assert {f.extras["rows"].tolist()[0] for f in ways[0][:3]} == {4 if name == "llama" else 0}


def test_cross_attention_has_no_transformer_attribution():
    feeds, model = loaded("captioner", "legacy", 17)
    with pytest.raises(CapabilityError, match="for self-attention; '/cross/"):
        onnxplain.explain(model, feeds, "transformer-attribution", target="y[3,7]")


@pytest.mark.parametrize("method", ["generic-attention", "transformer-attribution"])
def test_refusals_come_before_the_twin_is_built(method):
    model = onnxplain.load(convolutions().SerializeToString(), device="cpu", threads=1)
    never = mock.patch("onnxplain.adapters.torch.twin.build", side_effect=AssertionError)
    with never, pytest.raises(CapabilityError, match="no attention was found"):
        onnxplain.explain(model, picture(3, 12, 8), method)
    feeds, model = loaded("averaged", "legacy", 17)
    with pytest.raises(SettingError, match=f"{method}.token must be a token from 0 to 11, not 12"):
        onnxplain.explain(model, feeds, method, token=12)


@pytest.mark.parametrize("method", ["attn-lrp", "conservative-lrp"])
def test_recurrent_layers_have_no_rule(method):
    feeds, model = loaded("translator", "legacy", 17)
    with pytest.raises(CapabilityError, match="has no rule for nodes of the kind 'recurrent'"):
        onnxplain.explain(model, feeds, method, target="y[2,5]")


def fused():
    """The layer of ``attention_graphs`` as a node of com.microsoft."""
    QKV = np.concatenate([attention_graphs.W[f"W{n}"] for n in "qkv"], axis=1)
    nodes = [
        helper.make_node("Attention", ["x", "QKV", "bias"], ["flat"], domain="com.microsoft", num_heads=2),
        *attention_graphs.residual("flat"),
    ]
    constants = {"QKV": QKV, "bias": np.zeros(12, np.float32)}
    return attention_graphs.spelled(nodes, constants=constants, domains={"com.microsoft": 1})


@pytest.mark.parametrize(
    "method",
    [
        "attention-map",
        "attention-rollout",
        "generic-attention",
        "transformer-attribution",
        "attn-lrp",
        "conservative-lrp",
    ],
)
def test_a_fused_node_has_the_relevance_of_the_same_layer_in_plain_operators(method):
    one, other = (
        onnxplain.load(proto.SerializeToString(), device="cpu", threads=1)
        for proto in (fused(), attention_graphs.SPELLINGS["scale on scores"]())
    )
    assert count(one.proto) == count(other.proto) == (1, 0, ())
    found, same = (onnxplain.explain(m, attention_graphs.X[:1], method, target="1") for m in (one, other))
    assert np.allclose(found.values["x"], same.values["x"], rtol=1e-3, atol=1e-6)
    assert np.abs(found.values["x"]).max() > 1e-3
    assert found.manifest["model_digest"] == one.digest


def test_a_node_that_is_spelled_out_wrongly_is_refused(monkeypatch):
    def wrong(proto):
        made = expose.exposed(proto)
        for tensor in made.proto.graph.initializer:
            if tensor.name == "QKV":
                tensor.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(tensor), "QKV"))
        return made

    monkeypatch.setattr("onnxplain.engine.internals.attention.exposed", wrong)
    model = onnxplain.load(fused().SerializeToString(), device="cpu", threads=1)
    with pytest.raises(CapabilityError, match="attention cannot be spelled out: 'y' then differs from the model's by"):
        onnxplain.explain(model, attention_graphs.X[:1], "attention-map", target="1")
