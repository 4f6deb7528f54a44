"""Pruning by relevance: hand-computed ranks, channels planted as useless and as decisive, and a trained network."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")

from onnx import TensorProto, helper

import onnxplain
from onnxplain import CapabilityError, InputError, SettingError
from onnxplain.models import clip, digits
from relevance_problems import dense
from small_graphs import affine, model_of

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(1)


def analysed(model, rows, labels, **settings):
    return onnxplain.analyse(model, rows, "lrp-pruning", labels=labels, **settings)


def of(found, array="relevance"):
    """Return a column of the listing by channel."""
    return dict(zip(found.arrays["channel"].tolist(), found.arrays[array].tolist(), strict=True))


def test_relevance_of_two_rows_worked_out_by_hand():
    """x -> h = relu(W0 x) -> z = W1 h, without biases; R_k = w_k h_k / z of the row's class."""
    model = dense([[[1, 0], [0, 1], [1, -1]], [[2, 1, -1], [0, 1, 3]]])
    rows = np.array([[1, 2], [3, 1]], np.float32)
    # h = (1, 2, 0) and (3, 1, 2); z_0 of the first = 4: R = (2, 2, 0)/4; z_1 of the second = 7: R = (0, 1, 6)/7
    expected = {"a0[0]": 0.25, "a0[1]": (0.5 + 1 / 7) / 2, "a0[2]": (6 / 7) / 2}
    found = analysed(model, rows, [0, 1], rules="zero")
    for channel, value in expected.items():
        assert of(found)[channel] == pytest.approx(value, rel=1e-6)
    assert found.arrays["channel"].tolist() == ["a0[2]", "a0[1]", "a0[0]"]
    np.testing.assert_allclose(list(of(found, "mean activation").values()), [1, 1.5, 2])
    np.testing.assert_allclose(list(of(found, "weight norm").values()), [np.sqrt(2), 1, 1], rtol=1e-6)
    # of class 0 the second row has z_0 = 2*3 + 1 - 2 = 5 and R = (6, 1, -2)/5: against the class, so below zero
    signed = analysed(model, rows, [0, 0], rules="zero", signed=True)
    assert of(signed)["a0[2]"] == pytest.approx(-0.2, rel=1e-6)
    assert of(analysed(model, rows, [0, 0], rules="zero"))["a0[2]"] == pytest.approx(0.2, rel=1e-6)
    by_layer = analysed(model, rows, [0, 1], rules="zero", scale="layer")
    assert sum(of(by_layer).values()) == pytest.approx(1)


def test_rules_for_kinds_that_the_graph_does_not_have_are_told():
    model = dense([[[1, 0], [0, 1], [1, -1]], [[2, 1, -1], [0, 1, 3]]])
    rows = np.array([[1, 2], [3, 1]], np.float32)
    found = analysed(model, rows, [0, 1], rules={"conv": "gamma", "dense": "zero"})
    assert "no node that the target depends on fits the rule for 'conv'" in found.notes
    np.testing.assert_array_equal(
        found.arrays["relevance"], analysed(model, rows, [0, 1], rules="zero").arrays["relevance"]
    )


@pytest.fixture(scope="module")
def planted():
    """Images of two classes that the centre's brightness decides, and four channels of which one sees it.

    Channel 0 is the image, 1 faint noise of it, 2 of large weights that nothing reads, 3 dead behind its ReLU.
    """
    kernels = np.zeros((4, 1, 3, 3), np.float32)
    kernels[0, 0, 1, 1] = 1
    kernels[1, 0, 0, 1] = 0.01
    kernels[2] = 5
    kernels[3, 0, 1, 1] = 1
    kernels[3] *= -1
    readout = np.zeros((2, 4), np.float32)
    readout[:, 0] = -1, 1
    readout[:, 1] = 0.3, -0.2
    readout[:, 3] = 4, 3
    nodes = [
        helper.make_node("Conv", ["x", "K"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "V", "b"], ["y"], transB=1),
    ]
    constants = {"K": kernels, "V": readout, "b": np.array([0.5, -0.5], np.float32)}
    proto = model_of(nodes, {"x": (FLOAT, ["b", 1, 5, 5])}, {"y": (FLOAT, ["b", 2])}, constants)
    rows = RNG.uniform(0, 1, size=(30, 1, 5, 5)).astype(np.float32)
    rows[::2] *= 0.3
    return onnxplain.load(proto.SerializeToString(), device="cpu", threads=1), rows


def test_decisive_channels_rank_first_and_useless_ones_last(planted):
    model, rows = planted
    labels = model.predict(rows)["y"].argmax(1)
    assert set(labels) == {0, 1}
    found = analysed(model, rows, labels, counts=(0, 1, 2, 3, 4), compare=("weight", "activation", "random"))
    ranked = found.arrays["channel"].tolist()
    assert ranked[:2] == ["r[0]", "r[1]"]
    assert of(found)["r[2]"] == of(found)["r[3]"] == 0
    table = {row[1]: dict(zip(found.columns, row, strict=True)) for row in found.rows}
    assert table[2]["relevance"] == table[0]["relevance"] == 1  # neither is read
    np.testing.assert_allclose(found.arrays["mean/1"][0, :3], found.arrays["mean/1"][0, 0], rtol=1e-6)
    assert table[4]["relevance"] < 0.9
    assert table[3]["weight norm"] < table[3]["relevance"]  # the largest weights are those that nothing reads
    assert found.evaluations == 30 + 30 * (1 + 4 * (1 + 2 + 5))
    assert "2 of 4 channels have no relevance at all" in found.notes


def test_a_model_of_one_logit_has_both_classes():
    """sigmoid(2 h_0 - h_1): of class 0 the score is the negative of the logit."""
    nodes = [
        helper.make_node("Gemm", ["x", "W"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "V"], ["z"], transB=1),
        helper.make_node("Sigmoid", ["z"], ["y"]),
    ]
    constants = {"W": np.eye(2, dtype=np.float32), "V": np.array([[2, -1]], np.float32)}
    proto = model_of(nodes, {"x": (FLOAT, ["b", 2])}, {"y": (FLOAT, ["b", 1])}, constants)
    model = onnxplain.load(proto.SerializeToString(), device="cpu", threads=1)
    rows = np.array([[1, 4], [3, 1]], np.float32)  # z = -2 and 5: R of z = (2, -4)/-2 and (6, -1)/5
    found = analysed(model, rows, [0, 1], rules="zero", signed=True, compare=())
    assert of(found)["r[0]"] == pytest.approx((1 + 1.2) / 2, rel=1e-6)
    assert of(found)["r[1]"] == pytest.approx((-2 - 0.2) / 2, rel=1e-6)


def test_a_regression_is_scored_by_its_fit():
    model = dense([RNG.normal(size=(5, 3)), RNG.normal(size=(1, 5))])
    rows = RNG.normal(size=(20, 3)).astype(np.float32)
    truth = next(iter(model.predict(rows).values()))[:, 0]
    found = analysed(model, rows, truth, counts=(0, 5), compare=["weight"])
    assert found.rows[0][2] == pytest.approx(1)
    assert found.arrays["mean/1"][0, 0] == pytest.approx(truth.mean(), rel=1e-5)
    assert found.rows[1][2] < 1


@pytest.fixture(scope="module")
def written():
    """The embedded network and 120 of its held-out digits."""
    _, held_out = digits.data()
    model = onnxplain.load(onnxplain.models.path("digits-cnn"), device="cpu", threads=1)
    return model, held_out.images[:120], held_out.digits[:120]


def test_relevance_beats_chance_on_written_digits(written):
    found = analysed(*written, percent=(0, 10, 20, 30), repeats=5)
    by_relevance, by_chance = (found.arrays["mean/0"][found.arrays["series"].tolist().index(n)] for n in NAMED)
    assert by_relevance[0] > 0.97
    assert by_relevance[2] >= by_relevance[0] - 0.03
    assert (by_relevance[1:] > by_chance[1:] + 0.02).all()


NAMED = ("relevance", "random")


def test_attention_has_rules_of_its_own():
    """Plain rules give queries and keys nothing, so that taking them away is thought to change nothing."""
    model = onnxplain.load(onnxplain.models.path("digits-clip"), device="cpu", threads=1)
    _, held_out = digits.data()
    images = np.stack([clip.canvas(image, (4, 4)) for image in held_out.images[:20]])
    rows = {"image": images, "words": clip.encoded(clip.caption("a {}", int(n)) for n in held_out.digits[:20])}
    truth = model.predict(rows)["similarity"][:, 0]
    by_itself, named, plain = (
        analysed(model, rows, truth, score="mae", percent=(0, 10), compare=[], preset=preset)
        for preset in ("auto", "attn-lrp", "uniform")
    )
    assert by_itself.arrays["relevance"].tolist() == named.arrays["relevance"].tolist()
    assert sum(v for n, v in of(named).items() if ".0.q[" in n) > 0
    assert sum(v for n, v in of(plain).items() if ".0.q[" in n) == 0
    assert named.rows[1][2] < 0.5 * plain.rows[1][2]
    with pytest.raises(SettingError, match="takes rules, or preset=attn-lrp"):
        analysed(model, rows, truth, rules="zero", preset="attn-lrp")


def test_the_same_seed_gives_the_same_bits(written):
    one, two, three = (
        onnxplain.analyse(written[0], written[1], "lrp-pruning", labels=written[2], percent=(0, 20), seed=seed)
        for seed in (0, 0, 1)
    )
    assert one == two
    assert one.arrays["relevance"].tolist() == three.arrays["relevance"].tolist()
    assert one != three  # other random orders


def test_rows_that_are_held_out_give_no_relevance(planted):
    model, rows = planted
    labels = model.predict(rows)["y"].argmax(1)
    found = analysed(model, rows, labels, held_out=0.4, compare=[], counts=1)
    assert found.evaluations == 18 + 2 * 12
    assert found.notes[0] == "18 rows for relevance, 12 others for the accuracy"


def test_layers_are_chosen_by_name(written):
    found = analysed(*written, layers=("conv*",), percent=10, compare=[])
    assert set(found.arrays["layer"].tolist()) == {"conv1", "conv2"}
    assert analysed(*written, layers=("relu3",), percent=10, compare=[]).arrays["layer"].tolist() == ["dense1"] * 64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": ("conv3",)}, "did you mean 'conv"),
        ({"counts": (0, 113)}, "names 113 channels, and the layers have 112"),
        ({"percent": (0, 120)}, "must be 0 to 100"),
        ({"compare": ("weights",)}, "takes list of one of weight, activation, random"),
        ({"rules": "epsilonn"}, "epsilon"),
        ({"score": "accurracy"}, "did you mean 'accuracy'"),
    ],
)
def test_what_cannot_be_done_is_told(written, settings, message):
    with pytest.raises(SettingError) as caught:
        analysed(*written, **settings)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 6


def test_models_and_data_that_do_not_fit_are_told(written):
    flat = onnxplain.load(affine(np.eye(3), np.zeros(3)).SerializeToString())
    with pytest.raises(CapabilityError, match="no hidden convolution or dense layer"):
        analysed(flat, np.eye(3, dtype=np.float32), [0, 1, 2])
    with pytest.raises(InputError, match="no labels were given"):
        analysed(written[0], written[1], None)
    with pytest.raises(SettingError, match="leaves one of two parts of 2 rows empty"):
        analysed(written[0], written[1][:2], written[2][:2], held_out=0.1)


def test_the_result_is_kept_whole(written, tmp_path):
    found = analysed(*written, percent=(0, 50), compare=["weight"])
    again = onnxplain.Analysis.load(found.save(tmp_path / "pruned.npz"))
    assert again == found
    document = found.to_json()
    assert len(document["listing"]) == 112
    assert document["listing"][0].keys() == {"channel", "layer", "relevance", "weight norm", "mean activation"}
    assert document["rows"][1]["channels"] == 56
    assert dataclasses.replace(again, listing=()) != found
