"""Attention maps and rollout on ONNX Runtime alone: against plain loops, at inputs and tensors, and refusals."""

import json

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from attention_graphs import HEADS, MASKS, SPELLINGS, TOKENS, WIDTH, X, node, spelled, weights_of
from map_networks import convolutions, picture, vision_transformer
from onnxplain.engine.errors import CapabilityError, SettingError
from small_graphs import model_of

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
CLOSE = {"rtol": 1e-4, "atol": 1e-6}


def opened(proto):
    return onnxplain.load(proto.SerializeToString(), device="cpu", threads=1)


def explained(proto, feeds, method="attention-map", target="0", **settings):
    return onnxplain.explain(opened(proto), feeds, method, target=target, **settings)


@pytest.mark.parametrize("name", SPELLINGS)
def test_map_holds_the_weights_of_the_class_token(name):
    found = explained(SPELLINGS[name](), X[:1])
    expected = weights_of(X[:1])[0].mean(axis=0)
    assert np.allclose(found.extras["matrix"], expected, **CLOSE)
    assert found.extras["rows"].tolist() == [0]
    assert np.allclose(found.values["x"][0], expected[0][:, None].repeat(WIDTH, 1), **CLOSE)
    assert "explained: token 0 of 5" in found.notes
    assert f"layer 0 of 1, self-attention, mean of {HEADS} heads" in found.notes
    assert found.score == pytest.approx(float(opened(SPELLINGS[name]()).predict(X[:1])["y"][0, 0]), rel=1e-5)


@pytest.mark.parametrize("head", [0, 1, -1])
def test_map_of_one_head(head):
    found = explained(SPELLINGS["merged heads"](), X[1:], head=head)
    assert np.allclose(found.extras["matrix"], weights_of(X[1:])[0, head], **CLOSE)


@pytest.mark.parametrize("token", [3, -2])
def test_token_setting_chooses_the_row(token):
    for method in ("attention-map", "attention-rollout"):
        found = explained(SPELLINGS["scale on q"](), X[:1], method, token=token)
        assert found.extras["rows"].tolist() == [3]
        assert np.array_equal(found.extras["tokens"], found.extras["matrix"][3])


def ended(*nodes):
    """A layer whose tokens are read in some way."""
    body = [
        node("Transpose", "x", "keys", perm=[0, 2, 1]),
        node("MatMul", "x keys", "scores"),
        node("Softmax", "scores", "weights", axis=-1),
        node("MatMul", "weights x", "mixed"),
        node("Add", "x mixed", "states"),
    ]
    constants = {
        "two": np.array([1, 3]),
        "start": np.array([3]),
        "stop": np.array([5]),
        "axis": np.array([1]),
        "end": np.array(-1),
        "gates": np.array([0, 1, 0, 1, 1], np.float32)[None, :, None],
    }
    return spelled([*body, *nodes], constants=constants)


READ = {
    "last": ([node("Gather", "states end", "t", axis=1), node("MatMul", "t head", "y")], [4]),
    "two of them": ([node("Gather", "states two", "t", axis=1), node("ReduceMean", "t", "m", axes=[1], keepdims=0),
                     node("MatMul", "m head", "y")], [1, 3]),
    "a part": ([node("Slice", "states start stop axis", "t"), node("ReduceMax", "t", "m", axes=[1], keepdims=0),
                node("MatMul", "m head", "y")], None),
    "all": ([node("ReduceMean", "states", "m", axes=[1], keepdims=0), node("MatMul", "m head", "y")], [0, 1, 2, 3, 4]),
    "gated": ([node("Mul", "states gates", "t"), node("ReduceMean", "t", "m", axes=[1], keepdims=0),
               node("MatMul", "m head", "y")], [1, 3, 4]),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_tokens_that_the_target_is_made_from_are_found(name):
    nodes, expected = READ[name]
    found = explained(ended(*nodes), X[:1], "attention-rollout")
    rows = found.extras["rows"].tolist()
    assert rows == expected if expected is not None else set(rows) <= {3, 4}
    assert np.allclose(found.extras["tokens"], found.extras["matrix"][rows].mean(axis=0))


def rolled_by_loops(layers, residual=0.5):
    """Attention rollout, one token at a time: what token i is made from after each layer."""
    count = len(layers[0])
    made_from = [{i: 1.0} for i in range(count)]
    for A in layers:
        fresh = []
        for i in range(count):
            shares = {}
            for j in range(count):
                for source, share in made_from[j].items():
                    shares[source] = shares.get(source, 0.0) + (1 - residual) * A[i, j] * share
            for source, share in made_from[i].items():
                shares[source] = shares.get(source, 0.0) + residual * share
            fresh.append({k: v / sum(shares.values()) for k, v in shares.items()})
        made_from = fresh
    return np.array([[row.get(j, 0.0) for j in range(count)] for row in made_from])


@pytest.mark.parametrize("residual", [0.5, 0.2])
def test_rollout_follows_each_token_through_the_layers(residual):
    proto = vision_transformer(blocks=3)
    x = picture(3, 8, 12)
    model = opened(proto)
    weights = model.activations(x, [f"attention{k}" for k in range(3)])
    found = onnxplain.explain(model, x, "attention-rollout", target="1", residual=residual)
    expected = rolled_by_loops([w[0].astype(float) for w in weights.values()], residual)
    assert np.allclose(found.extras["matrix"], expected, rtol=1e-5)
    assert found.extras["rows"].tolist() == [0]
    assert np.allclose(found.extras["matrix"].sum(axis=1), 1)


def test_smallest_weights_are_discarded():
    found = explained(SPELLINGS["scale on q"](), X[:1], "attention-rollout", discard=0.4, residual=0.0)
    weights = weights_of(X[:1])[0].mean(axis=0)
    kept = np.where(weights >= np.sort(weights, axis=None)[10], weights, 0)
    assert np.allclose(found.extras["matrix"], kept / kept.sum(axis=1, keepdims=True), **CLOSE)


def test_patches_become_a_map_of_the_image():
    found = explained(vision_transformer(), picture(3, 8, 12), "attention-rollout")
    patches = found.extras["tokens"][1:].reshape(2, 3)
    values = found.values["image"]
    assert values.shape == (1, 3, 8, 12)
    assert np.array_equal(values[0, 0], values[0, 2])
    assert values[0, 0, 0, 0] == pytest.approx(patches[0, 0])  # beyond the middle of the first patch it is continued
    middle = patches.repeat(4, 0).repeat(4, 1)
    assert values[0, 0, 1:3, 1:3].mean() == pytest.approx(middle[1:3, 1:3].mean(), rel=0.2)
    assert "map of 2 x 3 patches, behind 1 other tokens, enlarged to the input" in found.notes


def test_mean_over_patches_has_no_class_token():
    found = explained(vision_transformer(class_token=False), picture(3, 8, 12), "attention-rollout")
    assert found.extras["rows"].tolist() == list(range(6))
    assert "explained: the mean over all 6 tokens, which the target is made from" in found.notes


def test_a_class_token_before_a_sequence_is_left_out_of_its_values():
    nodes = [
        node("ReduceMean", "x", "mean", axes=[1], keepdims=1),
        node("Mul", "mean zero", "none"),
        node("Concat", "none x", "tokens", axis=1),
        node("Transpose", "tokens", "keys", perm=[0, 2, 1]),
        node("MatMul", "tokens keys", "scores"),
        node("Softmax", "scores", "weights", axis=-1),
        node("MatMul", "weights tokens", "mixed"),
        node("Gather", "mixed first", "token", axis=1),
        node("MatMul", "token head", "y"),
    ]
    found = explained(spelled(nodes), X[:1])
    assert found.extras["tokens"].shape == (TOKENS + 1,)
    assert np.allclose(found.values["x"][0, :, 0], found.extras["tokens"][1:])
    assert any("token 0 stands for no element of the input" in n for n in found.notes)


def test_words_get_values_at_their_numbers():
    nodes = [
        node("Gather", "table ids", "x"),
        *SPELLINGS["scale on q"]().graph.node,
    ]
    constants = {t.name: onnx_array(t) for t in SPELLINGS["scale on q"]().graph.initializer}
    constants["table"] = np.random.default_rng(0).normal(size=(9, WIDTH)).astype(np.float32)
    proto = model_of(nodes, {"ids": (INT64, ["batch", TOKENS])}, {"y": (FLOAT, ["batch", 3])}, constants)
    found = explained(proto, np.array([[3, 1, 4, 1, 5]]))
    assert found.values["ids"].shape == (1, TOKENS)
    assert found.values["ids"].sum() == pytest.approx(1)


def onnx_array(tensor):
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)


def test_samples_of_several_lengths_one_after_the_other():
    """Class token and mean, of texts of three and of nine words."""
    rng = np.random.default_rng(0)
    constants = {
        "table": rng.normal(size=(9, WIDTH)).astype(np.float32),
        "head": rng.normal(size=(WIDTH, 3)).astype(np.float32),
    }
    ends = [
        [node("Gather", "mixed first", "m", axis=1)],
        [node("ReduceMean", "mixed", "m", axes=[1], keepdims=0)],
    ]
    for end, expected in zip(ends, ([0], None), strict=True):
        nodes = [
            node("Gather", "table ids", "x"),
            node("Transpose", "x", "keys", perm=[0, 2, 1]),
            node("MatMul", "x keys", "scores"),
            node("Softmax", "scores", "weights", axis=-1),
            node("MatMul", "weights x", "mixed"),
            *end,
            node("MatMul", "m head", "y"),
        ]
        kept = constants | ({"first": np.array(0)} if expected else {})
        model = opened(model_of(nodes, {"ids": (INT64, ["batch", "words"])}, {"y": (FLOAT, ["batch", 3])}, kept))
        for count in (3, 9, 4):
            ids = rng.integers(0, 9, (1, count))
            found = onnxplain.explain(model, ids, "attention-rollout", target="0")
            assert found.extras["rows"].tolist() == (expected or list(range(count)))
            assert found.values["ids"].shape == (1, count)


def test_wrt_explains_tokens_of_an_inner_tensor():
    model = opened(vision_transformer(blocks=3))
    x = picture(3, 8, 12)
    found = onnxplain.explain(model, x, "attention-rollout", target="0", wrt="stream1")
    assert found.values["stream1"].shape == (1, 7, 6)
    weights = model.activations(x, ["attention1", "attention2"])
    expected = rolled_by_loops([w[0].astype(float) for w in weights.values()])
    assert np.allclose(found.values["stream1"][0, :, 2], expected[0], rtol=1e-5)


def test_learned_queries_have_no_values():
    nodes = [
        node("Transpose", "x", "keys", perm=[0, 2, 1]),
        node("MatMul", "learned keys", "scores"),
        node("Softmax", "scores", "weights", axis=-1),
        node("MatMul", "weights x", "mixed"),
        node("ReduceMean", "mixed", "m", axes=[1], keepdims=0),
        node("MatMul", "m head", "y"),
    ]
    found = explained(spelled(nodes, constants={"learned": X[1, :3]}), X[:1], "attention-rollout")
    assert set(found.values) == {"x"}
    assert found.extras["matrix of learned queries"].shape == (3, 3)
    assert np.allclose(found.extras["matrix of x"].sum(axis=1), 0.5)


def test_wrt_an_input_is_the_input():
    model, x = opened(vision_transformer()), picture(3, 8, 12)
    for method in ("attention-map", "attention-rollout"):
        found, same = (onnxplain.explain(model, x, method, target="0", wrt=wrt) for wrt in ("image", None))
        assert np.array_equal(found.values["image"], same.values["image"])


def test_several_inputs_give_the_same_as_one_at_a_time():
    model = opened(SPELLINGS["merged heads"]())
    for method in ("attention-map", "attention-rollout"):
        both = onnxplain.explain(model, X, method, target="0")
        for k, one in enumerate(both):
            alone = onnxplain.explain(model, X[k : k + 1], method, target="0")
            assert np.allclose(one.extras["matrix"], alone.extras["matrix"], rtol=1e-5)


def test_saved_and_replayed(tmp_path):
    path = tmp_path / "vit.onnx"
    path.write_bytes(vision_transformer().SerializeToString())
    found = onnxplain.explain(path, picture(3, 8, 12), "attention-rollout", heads="max")
    loaded = onnxplain.Explanation.load(found.save(tmp_path / "found.npz"))
    assert loaded == found
    assert onnxplain.replay(loaded) == found
    assert json.dumps(found.to_json())


def test_a_model_without_attention_is_told_what_was_looked_for():
    with pytest.raises(CapabilityError) as caught:
        explained(convolutions(), picture(3, 12, 8))
    assert "no attention was found" in str(caught.value)
    assert "Softmax over the last axis" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"layer": 1}, "there is no attention layer 1\n  tip: the layers are 0 to 0"),
        ({"layer": -2}, "there is no attention layer -2"),
        ({"head": 2}, "attention-map.head must be from 0 to 1, not 2\n  tip: layer 0 has 2 heads"),
        ({"token": 5}, "attention-map.token must be a token from 0 to 4, not 5"),
    ],
)
def test_layers_heads_and_tokens_that_are_not_there(settings, told):
    with pytest.raises(SettingError) as caught:
        explained(SPELLINGS["scale on q"](), X[:1], **settings)
    assert told in str(caught.value)


def test_a_target_before_the_attention():
    with pytest.raises(SettingError, match="no attention before the target 'stream0'"):
        explained(vision_transformer(), picture(3, 8, 12), target="stream0[0,0]")
    with pytest.raises(SettingError, match="no attention between tensor 'stream2' and the target"):
        explained(vision_transformer(), picture(3, 8, 12), "attention-rollout", wrt="stream2")


def test_a_number_of_tokens_that_changes_between_layers():
    nodes = [
        *ended().graph.node,
        node("Slice", "states start stop axis", "fewer"),
        node("Transpose", "fewer", "keys2", perm=[0, 2, 1]),
        node("MatMul", "fewer keys2", "scores2"),
        node("Softmax", "scores2", "weights2", axis=-1),
        node("MatMul", "weights2 fewer", "mixed2"),
        node("ReduceMean", "mixed2", "m", axes=[1], keepdims=0),
        node("MatMul", "m head", "y"),
    ]
    constants = {"start": np.array([3]), "stop": np.array([5]), "axis": np.array([1])}
    proto = spelled(nodes, constants=constants)
    with pytest.raises(CapabilityError, match="there are 5 tokens of x and then 2"):
        explained(proto, X[:1], "attention-rollout")
    found = explained(proto, X[:1], "attention-map")
    assert found.extras["matrix"].shape == (2, 2)
    assert found.values["weights2"].shape == (1, 2)
    assert any("have no place in it" in n for n in found.notes)


@pytest.mark.parametrize("with_batch", [True, False])
def test_tokens_that_attend_within_windows(with_batch):
    """Five windows of two tokens, beside the batch axis or within it."""
    nodes = [
        node("Reshape", "x windows", "in_windows"),
        node("Transpose", "in_windows", "keys", perm=[0, 1, 2, 4, 3] if with_batch else [0, 1, 3, 2]),
        node("MatMul", "in_windows keys", "scores"),
        node("Softmax", "scores", "weights", axis=-1),
        node("MatMul", "weights in_windows", "mixed"),
        node("Reshape", "mixed merged", "flat"),
        node("ReduceMean", "flat", "m", axes=[1], keepdims=0),
        node("MatMul", "m head", "y"),
    ]
    windows = np.array([-1, 5, 1, 2, 2] if with_batch else [-1, 1, 2, 2])
    with pytest.raises(CapabilityError, match="not heads, queries and keys"):
        explained(spelled(nodes, constants={"windows": windows, "merged": np.array([-1, 5, 4])}), X[:1])


def test_weights_that_cannot_be_had():
    attention = helper.make_node("PagedAttention", ["x", "x", "x"], ["flat"], domain="com.microsoft", num_heads=2)
    nodes = [attention, node("ReduceMean", "flat", "m", axes=[1], keepdims=0), node("MatMul", "m head", "y")]
    model = opened(SPELLINGS["scale on q"]())
    broken = spelled(nodes, domains={"com.microsoft": 1})
    from onnxplain.engine.internals.attention import spelled_out

    model._proto = broken
    with pytest.raises(CapabilityError, match="weights of an attention node cannot be had"):
        spelled_out(model, {"x": X[:1]}, "y")


def test_masked_keys_get_nothing():
    mask = np.array([[True, True, True, False, False]])
    found = explained(MASKS["mask added after scaling"](), {"x": X[:1], "mask": mask}, "attention-rollout")
    assert np.all(found.extras["tokens"][3:] == 0)
    assert set(found.values) == {"x"}


def flow_by_linear_programme(capacities, source, sink):
    """Maximum flow from a token before the first layer to one behind the last, as a linear programme."""
    from scipy.optimize import linprog

    count, depth = len(capacities[0]), len(capacities)
    pipes = [(k, i, j) for k in range(depth) for i in range(count) for j in range(count)]
    bounds = [(0, capacities[k][i, j]) for k, i, j in pipes]
    kept = [
        [(p[0] == k and p[1] == t) * 1.0 - (p[0] == k + 1 and p[2] == t) * 1.0 for p in pipes]
        for k in range(depth - 1)
        for t in range(count)
    ]
    closed = [
        (0, 0) if (p[0] == 0 and p[2] != source) or (p[0] == depth - 1 and p[1] != sink) else b
        for p, b in zip(pipes, bounds, strict=True)
    ]
    gained = [-1.0 * (p[0] == depth - 1) for p in pipes]
    return -linprog(gained, A_eq=kept or None, b_eq=np.zeros(len(kept)) if kept else None, bounds=closed).fun


def test_attention_flow_is_the_maximum_flow():
    model, x = opened(vision_transformer(blocks=3)), picture(3, 8, 12)
    weights = model.activations(x, [f"attention{k}" for k in range(3)])
    capacities = [0.5 * w[0].astype(float) + 0.5 * np.eye(7) for w in weights.values()]
    found = onnxplain.explain(model, x, "attention-flow", target="1")
    expected = [flow_by_linear_programme(capacities, source, 0) for source in range(7)]
    assert np.allclose(found.extras["tokens"], expected, atol=1e-6)
    assert found.extras["rows"].tolist() == [0]
    assert found.values["image"].shape == (1, 3, 8, 12)


def test_flow_through_one_layer_is_its_capacity():
    found = explained(SPELLINGS["scale on q"](), X[:1], "attention-flow", residual=0.0)
    assert np.allclose(found.extras["tokens"], weights_of(X[:1])[0].mean(axis=0)[0], **CLOSE)


def test_flow_of_too_many_tokens_is_refused(monkeypatch):
    monkeypatch.setattr("onnxplain.engine.internals.attention_flow.MOST_EDGES", 300)
    with pytest.raises(SettingError, match="attention-flow of 6 of 6 tokens through 2 layers takes too long"):
        explained(vision_transformer(class_token=False), picture(3, 8, 12), "attention-flow")
