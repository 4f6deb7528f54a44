"""The twin: checked against ONNX Runtime, with gradients at inputs and inner tensors, and refusals with a reason."""

import io

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from small_graphs import affine, model_of

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402
import whole_models  # noqa: E402  # after the check that torch is there
from gradient_problems import tree  # noqa: E402
from onnxplain.adapters.torch import layout, operators, twin  # noqa: E402
from onnxplain.adapters.torch.operators import function_module  # noqa: E402
from onnxplain.engine.errors import CapabilityError, InputError, SettingError  # noqa: E402

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
RNG = np.random.default_rng(5)
W1, W2 = (RNG.standard_normal((3, 3)).astype(np.float32) for _ in range(2))
ROWS = RNG.standard_normal((5, 3)).astype(np.float32)


def loaded(proto):
    return onnxplain.load(proto.SerializeToString(), device="cpu", threads=1)


def network(*, extra=(), outputs=None):
    """y = tanh(x W1) W2, and what ``extra`` adds."""
    nodes = [
        helper.make_node("MatMul", ["x", "W1"], ["a"]),
        helper.make_node("Tanh", ["a"], ["h"]),
        helper.make_node("MatMul", ["h", "W2"], ["y"]),
        *extra,
    ]
    found = outputs or {"y": (FLOAT, ["b", 3])}
    return loaded(model_of(nodes, {"x": (FLOAT, ["b", 3])}, found, {"W1": W1, "W2": W2}))


def test_scores_and_gradients_are_those_of_the_formula():
    run = twin(network(), {"x": ROWS}).run({"x": ROWS}, "y[1]", wrt=["x", "h", "a"])
    hidden = np.tanh(ROWS @ W1)
    assert run.score.dtype == np.float64
    assert np.allclose(run.score, (hidden @ W2)[:, 1], atol=1e-6)
    assert np.allclose(run.activations["h"], hidden, atol=1e-6)
    assert np.allclose(run.gradients["h"], np.tile(W2[:, 1], (5, 1)))
    assert np.allclose(run.gradients["a"], (1 - hidden**2) * W2[:, 1], atol=1e-6)
    assert np.allclose(run.gradients["x"], (1 - hidden**2) * W2[:, 1] @ W1.T, atol=1e-6)
    assert run.stand_ins == {}


def test_a_file_is_opened_first(tmp_path):
    model = network()
    (tmp_path / "m.onnx").write_bytes(model.proto.SerializeToString())
    one, other = (twin(m).run({"x": ROWS}, "y[1]", ["x"]) for m in (model, tmp_path / "m.onnx"))
    assert np.array_equal(one.gradients["x"], other.gradients["x"])


def test_one_tensor_may_be_named_without_a_list():
    inner = [helper.make_node("Relu", ["y"], ["rectified"])]
    model = network(extra=inner, outputs={"rectified": (FLOAT, ["b", 3])})
    run = twin(model, {"x": ROWS}).run({"x": ROWS}, "rectified[0]", wrt="rectified")
    assert np.allclose(run.gradients["rectified"], np.tile([1, 0, 0], (5, 1)))


def test_without_wrt_there_is_a_score_only():
    run = twin(network(), {"x": ROWS}).run({"x": ROWS}, "y[0]")
    assert np.allclose(run.score, (np.tanh(ROWS @ W1) @ W2)[:, 0], atol=1e-6)
    assert run.gradients == run.activations == {}


def test_axes_without_index_are_averaged():
    run = twin(network(), {"x": ROWS}).run({"x": ROWS}, "y", wrt=["h"])
    assert np.allclose(run.score, (np.tanh(ROWS @ W1) @ W2).mean(1), atol=1e-6)
    assert np.allclose(run.gradients["h"], np.tile(W2.mean(1), (5, 1)), atol=1e-6)


def test_the_gradient_at_a_tensor_counts_only_the_paths_through_it():
    extra = [helper.make_node("Identity", ["x"], ["same"]), helper.make_node("Mul", ["same", "x"], ["square"])]
    model = network(extra=extra, outputs={"square": (FLOAT, ["b", 3])})
    run = twin(model, {"x": ROWS}).run({"x": ROWS}, "square[2]", wrt=["x", "same"])
    assert np.allclose(run.gradients["same"][:, 2], ROWS[:, 2])
    assert np.allclose(run.gradients["x"][:, 2], 2 * ROWS[:, 2])


def test_the_batch_size_does_not_change_the_numbers(monkeypatch):
    whole = twin(network(), {"x": ROWS}).run({"x": ROWS}, "y[1]", wrt=["x"])
    monkeypatch.setattr(layout, "MOST_ROWS", 2)
    parts = twin(network(), {"x": ROWS}).run({"x": ROWS}, "y[1]", wrt=["x"])
    assert np.allclose(parts.score, whole.score, rtol=1e-6)
    assert np.allclose(parts.gradients["x"], whole.gradients["x"], rtol=1e-5)


def test_rows_are_fewer_where_a_row_is_heavy(monkeypatch):
    found = twin(network(), {"x": ROWS})
    assert found.layout.probe.bytes == 3 * 3 * 4
    assert found.layout.batch() == layout.MOST_ROWS
    monkeypatch.setattr(layout, "RUN_BYTES", 80)
    assert found.layout.batch() == 2


def exported_with_fixed_batch(name, rows):
    module = whole_models.network(name)
    file = io.BytesIO()
    with whole_models.quiet():
        inputs = whole_models.MODELS[name].draw(rows)
        torch.onnx.export(module, inputs, file, opset_version=17, dynamo=False, input_names=["in0"])
    return module, onnxplain.load(file.getvalue(), device="cpu", threads=1)


@pytest.mark.parametrize(("name", "rows"), [("residual-cnn", 1), ("vit", 2), ("lstm", 1)])
def test_a_fixed_batch_takes_any_number_of_rows(name, rows):
    module, model = exported_with_fixed_batch(name, rows)
    (x,) = whole_models.MODELS[name].draw(3)
    run = twin(model, {"in0": x[:1].numpy()}).run({"in0": x.numpy()}, "2", wrt=["in0"])
    x.requires_grad_()
    scores = module(x)[:, 2]
    (gradient,) = torch.autograd.grad(scores.sum(), x)
    assert np.allclose(run.score, scores.detach().numpy(), atol=1e-5)
    assert np.allclose(run.gradients["in0"], gradient.numpy(), atol=1e-4 * float(gradient.abs().max()))


def test_token_numbers_get_their_gradient_at_the_embedding():
    module = whole_models.network("bert")
    model = loaded(whole_models.exported("bert", "legacy", 17, module))
    ids, mask = whole_models.MODELS["bert"].draw(3)
    feeds = {"in0": ids.numpy(), "in1": mask.numpy()}
    run = twin(model, feeds).run(feeds, "1", wrt=["in0", "in1"])
    made = {}
    hook = module.words.register_forward_hook(lambda *a: made.setdefault("words", a[2].detach().requires_grad_()))
    (gradient,) = torch.autograd.grad(module(ids, mask)[:, 1].sum(), made["words"])
    hook.remove()
    tensor = run.stand_ins["in0"]
    assert np.allclose(run.activations[tensor], made["words"].detach().numpy())
    assert np.allclose(run.gradients[tensor], gradient.numpy(), atol=1e-6)
    assert run.stand_ins["in1"] != tensor
    assert set(run.gradients) == set(run.stand_ins.values())


def halved(proto):
    """The model with 16-bit weights, input and output."""
    proto = onnx.ModelProto.FromString(proto.SerializeToString())
    for tensor in proto.graph.initializer:
        if tensor.data_type == FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return proto


def test_16_bit_models_are_computed_in_32_bits():
    model = loaded(halved(affine(W1, W1[0], activation="Tanh")))
    rows = ROWS.astype(np.float16)
    found = twin(model, {"x": rows})
    run = found.run({"x": rows}, "y[0]", wrt=["x"])
    assert 0 < found.difference < 2e-3
    assert run.gradients["x"].dtype == np.float32
    half = W1.astype(np.float16).astype(np.float32)
    exact = np.tanh(rows.astype(np.float32) @ half.T + half[0])[:, 0]
    assert np.allclose(run.score, exact, atol=1e-6)
    assert np.allclose(run.gradients["x"], (1 - exact**2)[:, None] * half[0], atol=1e-6)


def test_external_weights_are_read(tmp_path):
    onnx.save_model(
        affine(W1, W1[0]), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="weights.bin"
    )
    model = onnxplain.load(tmp_path / "m.onnx", device="cpu")
    run = twin(model, {"x": ROWS}).run({"x": ROWS}, "y[2]", wrt=["x"])
    assert np.allclose(run.gradients["x"], np.tile(W1[2], (5, 1)))


def test_without_feeds_random_ones_are_made_up():
    assert twin(network()).difference < 1e-5
    with pytest.raises(InputError, match="not fixed"):
        twin(loaded(affine(W1, W1[0], axes=("b", "length"))))


def test_a_model_is_converted_once():
    model = network()
    assert twin(model, {"x": ROWS}).module is twin(model, {"x": ROWS[:2]}).module


def test_a_wrong_operator_is_named(monkeypatch):
    wrong = operators.registry.Entry(lambda node: function_module(lambda x: torch.tanh(x) + 0.01, node), 1, None)
    monkeypatch.setitem(operators.CONVERTERS, ("", "Tanh"), [wrong])
    with pytest.raises(CapabilityError) as caught:
        twin(network(), {"x": ROWS})
    assert "'h', made by Tanh, is the first that differs (by 0.01)" in str(caught.value)


def test_a_failing_operator_is_named(monkeypatch):
    failing = operators.registry.Entry(lambda node: function_module(lambda x: x.reshape(7), node), 1, None)
    monkeypatch.setitem(operators.CONVERTERS, ("", "Tanh"), [failing])
    with pytest.raises(CapabilityError, match="fails where ONNX Runtime does not") as caught:
        twin(network(), {"x": ROWS})
    assert "Tanh (version 13) at 'h'" in str(caught.value)


def test_a_target_behind_argmax_has_no_gradient():
    extra = [
        helper.make_node("ArgMax", ["y"], ["place"], axis=1),
        helper.make_node("Cast", ["place"], ["number"], to=FLOAT),
    ]
    model = network(extra=extra, outputs={"y": (FLOAT, ["b", 3]), "number": (FLOAT, ["b", 1])})
    found = twin(model, {"x": ROWS})
    with pytest.raises(CapabilityError) as caught:
        found.run({"x": ROWS}, "number", wrt=["x"])
    assert "ArgMax on the way to it has none" in str(caught.value)
    assert "methods that need no gradient still work: ablation, " in str(caught.value)
    assert found.run({"x": ROWS}, "y[0]", wrt=["x"]).gradients["x"].any()


def test_tree_ensembles_are_refused_with_methods_that_work():
    with pytest.raises(CapabilityError) as caught:
        twin(tree(), {"x": ROWS})
    assert "TreeEnsembleRegressor has no gradient" in str(caught.value)
    assert "kernel-shap" in str(caught.value)


def test_an_output_that_torch_cannot_express_does_not_hinder_the_others():
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "scores"],
            domain="ai.onnx.ml",
            coefficients=W1.reshape(-1).tolist(),
            intercepts=[0.0, 0.0, 0.0],
            classlabels_ints=[0, 1, 2],
        ),
        helper.make_node(
            "LabelEncoder",
            ["label"],
            ["name"],
            domain="ai.onnx.ml",
            keys_int64s=[0, 1, 2],
            values_strings=["a", "b", "c"],
        ),
    ]
    outputs = {"name": (TensorProto.STRING, ["b"]), "scores": (FLOAT, ["b", 3])}
    model = loaded(model_of(nodes, {"x": (FLOAT, ["b", 3])}, outputs, domains={"ai.onnx.ml": 3}))
    run = twin(model, {"x": ROWS}).run({"x": ROWS}, "scores[1]", wrt=["x"])
    assert np.allclose(run.gradients["x"], np.tile(W1[1], (5, 1)))


def test_classes_with_names_are_left_out_of_the_check():
    node = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        coefficients=W1.reshape(-1).tolist(),
        intercepts=[0.0, 0.0, 0.0],
        classlabels_strings=["a", "b", "c"],
    )
    outputs = {"label": (TensorProto.STRING, ["b"]), "scores": (FLOAT, ["b", 3])}
    model = loaded(model_of([node], {"x": (FLOAT, ["b", 3])}, outputs, domains={"ai.onnx.ml": 3}))
    found = twin(model, {"x": ROWS})
    assert found.difference < 1e-5
    assert np.allclose(found.run({"x": ROWS}, "scores[2]", wrt=["x"]).gradients["x"], np.tile(W1[2], (5, 1)))


def test_text_has_no_gradient():
    node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER")
    model = loaded(model_of([node], {"x": (TensorProto.STRING, [2])}, {"y": (TensorProto.STRING, [2])}))
    with pytest.raises(CapabilityError, match="'x' holds text"):
        twin(model, {"x": np.array(["A", "b"], object)})


def test_unknown_and_unrelated_tensors_are_refused():
    found = twin(network(), {"x": ROWS})
    with pytest.raises(SettingError, match="no tensor 'hh'"):
        found.run({"x": ROWS}, "y[0]", wrt=["hh"])
    with pytest.raises(SettingError, match="does not depend on tensor 'y'"):
        found.run({"x": ROWS}, "h[0]", wrt=["y"])


def test_rules_change_the_way_back_and_nothing_else():
    class Doubled(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            y = self.inner(x)
            return 2 * y - y.detach()

    class Rule:
        def rewrite(self, part, sources):
            for node in part.graph.nodes:
                if node.name in sources and sources[node.name].op_type == "Tanh":
                    part.set_submodule(node.target, Doubled(part.get_submodule(node.target)))

        def start(self, made, slope):
            del made
            return slope

    found = twin(network(), {"x": ROWS})
    plain = found.run({"x": ROWS}, "y[1]", wrt=["x"])
    ruled = found.run({"x": ROWS}, "y[1]", wrt=["x"], rules=Rule())
    assert np.allclose(ruled.score, plain.score, atol=1e-6)
    assert np.allclose(ruled.gradients["x"], 2 * plain.gradients["x"], atol=1e-6)
    again = found.run({"x": ROWS}, "y[1]", wrt=["x"])
    assert np.array_equal(again.gradients["x"], plain.gradients["x"])


def test_a_model_without_a_batch_axis_takes_one_instance():
    model = loaded(model_of([helper.make_node("Mul", ["x", "x"], ["y"])], {"x": (FLOAT, [3])}, {"y": (FLOAT, [3])}))
    run = twin(model, {"x": ROWS[:1]}).run({"x": ROWS[:2]}, "y[1]", wrt=["x"])
    assert run.score.shape == (2,)
    assert np.allclose(run.gradients["x"], 2 * ROWS[:2] * [0, 1, 0])


def test_integers_that_reach_no_float_are_refused():
    nodes = [
        helper.make_node("Add", ["n", "n"], ["m"]),
        helper.make_node("Cast", ["x"], ["whole"], to=INT),
        helper.make_node("Mul", ["x", "x"], ["y"]),
    ]
    inputs = {"x": (FLOAT, ["b", 3]), "n": (INT, ["b", 3])}
    outputs = {"y": (FLOAT, ["b", 3]), "m": (INT, ["b", 3]), "whole": (INT, ["b", 3])}
    feeds = {"x": ROWS, "n": np.ones((5, 3), np.int64)}
    found = twin(loaded(model_of(nodes, inputs, outputs)), feeds)
    with pytest.raises(CapabilityError, match="'n' holds integers"):
        found.run(feeds, "m[0]", wrt=["n"])
