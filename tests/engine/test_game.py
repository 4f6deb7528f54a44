"""Games: the scores of coalitions, streamed through the model, against a plain loop in NumPy."""

import threading
import time
import tracemalloc

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain import Baseline, Features, Game, InputError, ModelError, Sample, SettingError, Target
from onnxplain.engine import game as game_module
from onnxplain.engine import runtime
from onnxplain.engine.runtime import Layout, Session
from small_graphs import model_of

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
LAYOUTS = [Layout(1, 1, 1), Layout(2, 1, 3), Layout(4, 1, 2), Layout(1, 2, 64)]
RNG = np.random.default_rng(0)
WX, WZ = RNG.normal(size=(3, 2)).astype(np.float32), RNG.normal(size=(4, 2)).astype(np.float32)
FEEDS = {
    "x": RNG.normal(size=(1, 3)).astype(np.float32),
    "z": RNG.normal(size=(1, 2, 2)).astype(np.float32),
    "scale": np.array([2.0, 0.5], np.float32),
}
# Four features: x[0]; x[1] with the first row of z; z[1,0]; z[1,1]. x[2] is always present.
LABELS = {"x": np.array([[0, 1, -1]]), "z": np.array([[[1, 1], [2, 3]]])}
FEATURES = Features(("a", "b", "c", "d"), LABELS)
REFERENCES = {"x": RNG.normal(size=(3, 3)).astype(np.float32), "z": RNG.normal(size=(3, 2, 2)).astype(np.float32)}


def two_inputs():
    """y = tanh(x A) * (z B) * scale, the scale being an input without rows."""
    nodes = [
        helper.make_node("MatMul", ["x", "A"], ["xa"]),
        helper.make_node("Tanh", ["xa"], ["t"]),
        helper.make_node("Flatten", ["z"], ["flat"]),
        helper.make_node("MatMul", ["flat", "B"], ["zb"]),
        helper.make_node("Mul", ["t", "zb"], ["product"]),
        helper.make_node("Mul", ["product", "scale"], ["y"]),
    ]
    inputs = {"x": (FLOAT, ["n", 3]), "z": (FLOAT, ["n", 2, 2]), "scale": (FLOAT, [2])}
    return model_of(nodes, inputs, {"y": (FLOAT, ["n", 2])}, {"A": WX, "B": WZ})


def score(x, z):
    return float((np.tanh(x @ WX) * (z.reshape(-1) @ WZ) * FEEDS["scale"])[1])


def plain_loop(coalitions, references=REFERENCES, reduce="mean"):
    """The scores of coalitions, one row at a time in double precision."""
    found = []
    for coalition in coalitions:
        padded = np.append(coalition.astype(np.float64), 1.0)
        masks = {n: padded[labels[0]] for n, labels in LABELS.items()}
        count = len(references["x"])
        mixed = [{n: FEEDS[n][0] * m + references[n][r] * (1 - m) for n, m in masks.items()} for r in range(count)]
        scores = np.array([score(row["x"], row["z"]) for row in mixed])
        full = score(FEEDS["x"][0], FEEDS["z"][0])
        found.append(scores.mean() if reduce == "mean" else scores[np.abs(scores - full).argmax()])
    return np.array(found)


def opened(proto=None, layout=LAYOUTS[1]):
    model = onnxplain.load((proto or two_inputs()).SerializeToString(), device="cpu")
    model.layout = layout
    return model


def game_of(baseline=None, layout=LAYOUTS[1], **options):
    baseline = baseline or Baseline("some", REFERENCES)
    return Game(opened(layout=layout), Sample(FEEDS), Target("1", "y", (1,)), FEATURES, baseline, **options)


def coalitions(count, seed=1):
    return np.random.default_rng(seed).random((count, 4)) < 0.5


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("reduce", ["mean", "largest-effect"])
@pytest.mark.parametrize("count", [1, 3])
def test_scores_equal_those_of_the_plain_loop(layout, reduce, count):
    references = {n: r[:count] for n, r in REFERENCES.items()}
    game, z = game_of(Baseline("some", references, reduce), layout), coalitions(9)
    assert game(z) == pytest.approx(plain_loop(z, references, reduce), abs=1e-5)
    soft = np.random.default_rng(2).random((7, 4))
    for dtype in (np.float64, np.float32):
        assert game(soft.astype(dtype)) == pytest.approx(plain_loop(soft, references, reduce), abs=1e-5)
    assert game.full == pytest.approx(score(FEEDS["x"][0], FEEDS["z"][0]), abs=1e-6)
    assert game.empty == pytest.approx(plain_loop(np.zeros((1, 4)), references, reduce)[0], abs=1e-5)


def test_equal_coalitions_are_evaluated_once():
    game, z = game_of(), coalitions(40)
    different = len(np.unique(z, axis=0))
    assert 10 < different < 17
    assert np.array_equal(game(np.repeat(z, 3, axis=0)), np.repeat(game(z), 3))
    assert game.evaluations == 3 * different
    known = [np.concatenate([c for c, _ in game.stream(iter(np.split(z, 8)))]), game(z[::-1])]
    assert game.evaluations == 3 * different
    assert np.array_equal(known[0], z)
    assert np.array_equal(game(z.astype(np.float32).tolist()), game(z))
    assert game.evaluations == 3 * different
    game(z.astype(np.float32) / 2)
    assert game.evaluations == 3 * different + 3 * 40


def test_target_features_and_baseline_may_be_what_a_user_writes():
    labels = {name: array[0] for name, array in LABELS.items()}
    written = Game(opened(), Sample(FEEDS), "y[1]", labels, {"x": REFERENCES["x"], "z": REFERENCES["z"]})
    assert np.array_equal(written(coalitions(9)), game_of()(coalitions(9)))
    assert Game(opened(), Sample(FEEDS), 1, "inputs", "zero").size == 2


@pytest.mark.parametrize("wrong", [[[0, 1, 2, 0]], [[0, -0.1, 0, 0]], [[0, np.nan, 1, 1]], [["a", "b", "c", "d"]]])
def test_numbers_outside_0_to_1_are_no_coalition(wrong):
    with pytest.raises(InputError, match="from 0 \\(absent\\) to 1 \\(present\\)"):
        game_of()(wrong)


def test_coalitions_that_are_known_to_differ_are_scored_alike_and_not_kept():
    game, z = game_of(), np.unique(coalitions(40), axis=0)
    usual = game_of()(z)
    for times in (1, 2):
        assert np.array_equal(np.concatenate([s for _, s in game.stream([z], distinct=True)]), usual)
        assert game.evaluations == times * 3 * len(z)
    assert len(game._known) == 0


@pytest.mark.parametrize("sizes", [(1, 2, 3, 1, 3), (3, 3, 1), (2, 1, 3)])
def test_buffers_suit_chunks_of_any_size(sizes):
    game = game_of(layout=Layout(2, 1, 9))
    assert game.batch == 3
    parts = [coalitions(size, seed) for seed, size in enumerate(sizes)]
    found = [scores for _, scores in game.stream(parts, distinct=True)]
    for part, scores in zip(parts, found, strict=True):
        assert scores == pytest.approx(plain_loop(part), abs=1e-5)


def test_the_whole_input_is_one_evaluation_in_whatever_order_it_is_asked_for():
    game = game_of()
    assert game.full == game(np.ones((2, 4), dtype=bool))[0]
    assert game.evaluations == 1
    other = game_of()
    first = other(np.ones((1, 4), dtype=bool))[0]
    assert other.full == first
    assert other.evaluations == 3


def test_scores_stay_right_when_more_coalitions_come_than_are_remembered(monkeypatch):
    monkeypatch.setattr(game_module, "REMEMBERED", 5)
    monkeypatch.setattr(game_module, "TOGETHER", 3)
    game, z = game_of(), coalitions(200)
    assert game(z) == pytest.approx(plain_loop(z), abs=1e-5)
    assert np.array_equal(game(z), game_of()(z))
    assert len(game._known) <= 5 + max(3, game.batch)


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("distinct", [False, True])
def test_whole_arrays_come_back_with_their_scores(batch, distinct):
    game = game_of(layout=Layout(2, 1, batch))
    arrays = list(np.split(np.unique(coalitions(200), axis=0)[1:-1], [1, 1, 8]))
    if not distinct:
        arrays.append(arrays[-1])
    found = list(game.whole(iter(arrays), distinct=distinct))
    assert [len(z) for z, _ in found] == [len(z) for z in arrays if len(z)]
    for z, scores in found:
        assert scores == pytest.approx(plain_loop(z), abs=1e-5)


def test_leaving_a_stream_early_leaves_no_score_behind_that_never_came():
    game, z = game_of(layout=Layout(4, 1, 3)), coalitions(60)
    for _, scores in game.stream([z]):
        assert np.isfinite(scores).all()
        break
    assert game(z) == pytest.approx(plain_loop(z), abs=1e-5)


def test_an_error_in_a_stream_leaves_no_score_behind_that_never_came():
    game, z = game_of(layout=Layout(4, 1, 3)), coalitions(60)

    def broken():
        yield z[:20]
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        list(game.stream(broken()))
    assert game(z) == pytest.approx(plain_loop(z), abs=1e-5)


def test_a_stream_may_be_asked_for_scores_while_it_is_under_way():
    game, z = game_of(layout=Layout(4, 1, 3)), coalitions(60)
    asked = [game(z) for _ in game.stream([z])]
    assert len(asked) == 60
    assert all(scores == pytest.approx(plain_loop(z), abs=1e-5) for scores in asked[:3])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_coalitions_are_drawn_no_more_than_a_few_batches_ahead(layout):
    game, drawn = game_of(layout=layout), 0
    batch = game.batch

    def counted():
        nonlocal drawn
        for _ in range(1000):
            drawn += 1
            yield np.random.default_rng(drawn).random((batch, 4))

    for yielded, (chunk, _) in enumerate(game.stream(counted())):
        assert len(chunk) == batch
        assert drawn <= yielded + 2 * layout.workers + 1
        if yielded == 20:
            break


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_are_not_overwritten_while_they_are_under_way(layout, monkeypatch):
    run, delays = Session.run, np.random.default_rng(3)

    def slow(self, feeds, halt=None):
        if halt is not None:
            time.sleep(float(delays.random()) * 2e-3)
        return run(self, feeds, halt)

    monkeypatch.setattr(Session, "run", slow)
    references = {n: r[:1] for n, r in REFERENCES.items()}
    z = np.random.default_rng(4).random((100, 4))
    assert game_of(Baseline("one", references), layout)(z) == pytest.approx(plain_loop(z, references), abs=1e-5)


def identity(width, layout):
    """A model that takes long rows and gives their mean."""
    nodes = [helper.make_node("ReduceMean", ["x", "axes"], ["y"])]
    axes = {"axes": np.array([1], np.int64)}
    return opened(model_of(nodes, {"x": (FLOAT, ["n", width])}, {"y": (FLOAT, ["n", 1])}, axes, opset=18), layout)


@pytest.mark.parametrize("soft", [False, True])
def test_memory_does_not_grow_with_the_number_of_masks(soft):
    width = 4096
    features = Features(tuple(map(str, range(width))), {"x": np.arange(width)[None]})
    baseline = Baseline("zero", {"x": np.zeros((1, width), np.float32)})
    feeds, rng = {"x": np.ones((1, width), np.float32)}, np.random.default_rng(0)
    game = Game(identity(width, Layout(2, 1, 8)), Sample(feeds), Target("0", "y", (0,)), features, baseline)

    def peak(count):
        masks = (rng.random((8, width)) if soft else rng.random((8, width)) < 0.5 for _ in range(count // 8))
        tracemalloc.start()
        for chunk, scores in game.stream(masks):
            assert scores == pytest.approx(chunk.mean(axis=1), abs=1e-5)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(200), peak(1600)
    assert many < 1.25 * few + 400_000  # a hash and a score per binary mask are kept
    assert many < 8 * width * 8 * 12


def test_more_references_than_a_batch_has_rows():
    references = {n: np.repeat(r, 30, axis=0) for n, r in REFERENCES.items()}
    game = game_of(Baseline("many", references), Layout(2, 1, 4))
    seen = []
    run = game._runner.variant.run_batch
    game._runner.variant.run_batch = lambda session, feeds, halt=None: (
        seen.append(len(feeds["x"])) or run(session, feeds, halt)
    )
    z = coalitions(5)
    assert game(z) == pytest.approx(plain_loop(z), abs=1e-5)
    assert game.evaluations == 90 * len(np.unique(z, axis=0))
    assert max(seen) <= 4


def test_what_is_no_coalition_of_the_game_is_refused():
    game = game_of()
    for shape in [(4,), (2, 3), (2, 5), (2, 2, 2)]:
        with pytest.raises(InputError, match=r"this game takes \(rows, 4\)"):
            game(np.zeros(shape, dtype=bool))
    assert game(np.zeros((0, 4), dtype=bool)).shape == (0,)
    assert game.evaluations == 0
    with pytest.raises(SettingError, match="'half' has nothing to stand in for input 'z'"):
        game_of(Baseline("half", {"x": REFERENCES["x"]}))


def test_integers_cannot_be_partly_present():
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=FLOAT)]
    model = opened(model_of(nodes, {"x": (INT, ["n", 2])}, {"y": (FLOAT, ["n", 2])}))
    features = Features(("a", "b"), {"x": np.array([[0, 1]])})
    baseline = Baseline("zero", {"x": np.zeros((1, 2), np.int64)})
    game = Game(model, Sample({"x": np.array([[3, 4]])}), Target("y", "y"), features, baseline)
    assert game(np.array([[True, False], [False, True]])) == pytest.approx([1.5, 2.0])
    with pytest.raises(InputError, match="partly present features need inputs of floating-point numbers"):
        game(np.full((1, 2), 0.5))


def workers():
    return [t for t in threading.enumerate() if t.name.startswith("onnxplain")]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scores_that_are_not_finite_stop_the_stream_and_its_threads(layout):
    nodes = [helper.make_node("Log", ["x"], ["y"])]
    model = opened(model_of(nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 2])}), layout)
    features, baseline = Features(("a", "b"), {"x": np.array([[0, 1]])}), Baseline("-1", {"x": -np.ones((1, 2), "f4")})
    game = Game(model, Sample({"x": np.ones((1, 2), np.float32)}), Target("y[1]\x1b", "y", (1,)), features, baseline)
    rows = np.ones((50, 2), dtype=bool) & (np.arange(50) != 30)[:, None]
    with pytest.raises(ModelError, match=r"score of target 'y\[1\]\\x1b' is nan"):
        game(rows)
    assert not workers()
    assert game(rows[:30]) == pytest.approx(np.zeros(30))


def test_an_error_in_the_model_stops_the_stream_and_its_threads(monkeypatch):
    run, calls = Session.run, []

    def failing(self, feeds, halt=None):
        calls.append(1)
        if len(calls) > 10:
            raise ModelError("it fails")
        return run(self, feeds, halt)

    game = game_of()
    monkeypatch.setattr(runtime.Session, "run", failing)
    with pytest.raises(ModelError, match="it fails"):
        game(np.random.default_rng(0).random((200, 4)))
    assert len(calls) < 20
    assert not workers()


def test_progress_counts_coalitions_known_or_not():
    done = []
    game, z = game_of(progress=done.append), coalitions(40)
    game(z)
    game(z)
    assert sum(done) == 80
