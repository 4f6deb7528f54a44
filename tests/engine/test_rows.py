"""Rows: proofs of how a graph takes them, and layouts that are measured and remembered."""

import dataclasses
import json
import time

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain import Target
from onnxplain.engine import rows, runtime
from onnxplain.engine import runner as runner_room
from onnxplain.engine.rows import leading, native
from onnxplain.engine.runner import LAYOUTS, Runner
from onnxplain.engine.runtime import Device, Layout
from small_graphs import affine, model_of

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
X = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
Y = Target("0", "y", (0,))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ONNXPLAIN_HOME", str(tmp_path))
    return tmp_path


def opened(proto, **options):
    return onnxplain.load(proto.SerializeToString(), device="cpu", **options)


def graph(*nodes, batch="n", constants=None, width=3, out=3, **more):
    """A graph from x (batch, width) to y (batch, out)."""
    made = [helper.make_node(*node[:3], **dict(node[3:])) for node in nodes]
    inputs = {"x": (FLOAT, [batch, width]), **more}
    return model_of(made, inputs, {"y": (FLOAT, [batch, out])}, constants)


def linear():
    return affine(np.eye(3), np.zeros(3))


def loops(model, x):
    """The rows one at a time, each as a model of its own sees it."""
    return np.concatenate([model.predict(row[None])["y"] for row in x])


# The batch axis of 4 is an axis of a constant: no rewriting frees it.
def fixed_for_good():
    return graph(("MatMul", ["I", "x"], ["y"]), batch=4, constants={"I": np.eye(4, dtype=np.float32)})


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 9])
def test_a_batch_that_cannot_be_freed_is_filled_up(count):
    x = np.random.default_rng(1).normal(size=(count, 3)).astype(np.float32)
    model = opened(fixed_for_good())
    assert np.allclose(model.predict(x)["y"], x, atol=1e-6)
    assert model.batching == "fixed"
    runner = model.runner(Y, {"x": x[:1]})
    assert runner.layout.batch == 4
    assert runner.run({"x": x}) == pytest.approx(x[:, 0], abs=1e-6)


def test_a_wrong_layout_for_a_fixed_batch_still_gives_the_right_rows():
    model = opened(fixed_for_good())
    for batch in (1, 3, 10):
        model.layout = Layout(2, 1, batch)
        assert model.runner(Y, {"x": X[:1]}).run({"x": X}) == pytest.approx(X[:, 0], abs=1e-6)


CENTRED = graph(("ReduceMean", ["x"], ["m"], ("axes", [0]), ("keepdims", 1)), ("Sub", ["x", "m"], ["y"]))


@pytest.mark.parametrize("first", [X[:1], np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)])
def test_rows_that_influence_each_other_are_told_from_any_first_row(first):
    model = opened(CENTRED)
    model.predict(first)
    assert model.batching == "looped"
    assert np.array_equal(model.predict(X)["y"], np.zeros_like(X))


def test_a_row_that_the_model_does_not_take_proves_nothing_and_hinders_nothing():
    """The first column is a code that picks a row of a table: no other number may stand there."""
    proto = graph(
        ("Gather", ["x", "zero"], ["column"], ("axis", 1)),
        ("Cast", ["column"], ["code"], ("to", INT)),
        ("Gather", ["table", "code"], ["y"]),
        constants={"zero": np.array(0, np.int64), "table": np.eye(3, dtype=np.float32)},
    )
    x = np.array([[2, 40, 50], [0, 99, 1]], np.float32)
    assert np.array_equal(opened(proto).predict(x)["y"], np.eye(3)[[2, 0]])


def test_rows_that_influence_each_other_are_looped_where_no_other_row_can_be_tried():
    """Only a row of ones is a code of the table, so no second row proves anything."""
    proto = graph(
        ("Cast", ["x"], ["code"], ("to", INT)),
        ("Gather", ["table", "code"], ["g"]),
        ("ReduceMean", ["g"], ["m"], ("axes", [0]), ("keepdims", 1)),
        ("Sub", ["g", "m"], ["y"]),
        constants={"table": np.array([5.0, 7.0], np.float32)},
    )
    model = opened(proto)
    x = np.array([[1, 1, 1], [0, 0, 0]], np.float32)
    model.predict(x[:1])
    assert np.array_equal(model.predict(x)["y"], np.zeros((2, 3)))


def test_an_axis_of_rows_times_heads_stays_together():
    """Three rows of two heads each: six along the first axis, of which one instance owns two."""
    constants = {"shape": np.array([-1, 2], np.int64), "fold": np.array([-1, 6], np.int64)}
    proto = model_of(
        [helper.make_node("Reshape", ["x", "shape"], ["heads"]), helper.make_node("Reshape", ["heads", "fold"], ["y"])],
        {"x": (FLOAT, ["n", 6])},
        {"y": (FLOAT, ["n", 6])},
        constants,
    )
    x = np.arange(18, dtype=np.float32).reshape(3, 6)
    tapped = opened(proto).rows({"x": x}, ("heads",))[0]
    assert np.array_equal(tapped, x.reshape(3, 3, 2))


def test_inputs_without_rows_stay_as_they_are():
    proto = graph(("Reshape", ["x", "shape"], ["r"]), ("Identity", ["r"], ["y"]), shape=(INT, [2]))
    model = opened(proto)
    found = model.predict({"x": X, "shape": np.array([-1, 3])})["y"]
    assert np.array_equal(found, X)
    assert {i.name: i.batch_axis for i in model.inputs} == {"x": 0, "shape": None}


def test_a_scalar_is_an_instance_where_the_file_does_not_say_how_many_axes_there_are():
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    proto = model_of(nodes, {"x": (FLOAT, None)}, {"y": (FLOAT, None)}, {"two": np.array(2, np.float32)})
    model = onnxplain.load(proto.SerializeToString(), device="cpu")
    assert model.predict({"x": np.array(3.0)})["y"].tolist() == 6
    assert onnxplain.explain(model, {"x": np.array(3.0)}, "ablation", target="y").score == 6


def test_rows_whose_outputs_differ_in_shape_are_scored_one_by_one():
    nodes = [helper.make_node("NonZero", ["x"], ["at"]), helper.make_node("Cast", ["at"], ["y"], to=FLOAT)]
    model = opened(model_of(nodes, {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, [2, "found"])}))
    model.layout = Layout(2, 1, 4)
    x = np.array([[0, 0, 5], [1, 1, 1], [0, 2, 2]], np.float32)
    runner = model.runner(Target("y[1,0]", "y", (1, 0)), {"x": x[:1]})
    assert runner.run({"x": x}).tolist() == [2, 0, 1]


@pytest.mark.parametrize("axis", [0, 1, 2, None])
def test_the_batch_axis_comes_first_inside_and_goes_back(axis):
    shape = [2, 3, 4]
    if axis is not None:
        shape[axis] = "batch"
    model = opened(model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": (FLOAT, shape)}, {"y": (FLOAT, shape)}))
    spec = model.inputs
    if axis is None:  # an axis of 2 in the input and the output is taken for the rows
        spec = [rows.dataclasses.replace(spec[0], batch_axis=None)]
    feed = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    inside = leading({"x": feed}, spec)["x"]
    assert inside.shape == {0: (2, 3, 4), 1: (3, 2, 4), 2: (4, 2, 3), None: (1, 2, 3, 4)}[axis]
    assert np.array_equal(native("x", inside, spec), feed)
    assert np.array_equal(model.predict(feed)["y"], feed)


def count_measuring(monkeypatch):
    calls, measure = [], runtime.measure

    def counted(*arguments):
        calls.append(arguments[2])
        return measure(*arguments[:3], 0.001)

    monkeypatch.setattr(runtime, "measure", counted)
    return calls


def test_layouts_are_measured_where_that_pays_and_then_remembered(folder, monkeypatch):
    calls, feeds = count_measuring(monkeypatch), {"x": X[:1]}
    model = opened(linear(), threads=2)
    seconds = model.runner(Y, feeds).variant.seconds
    model.runner(Y, feeds, expected=1)
    assert not calls
    assert not (folder / LAYOUTS).exists()
    model.runner(Y, feeds, expected=int(1.5 * runner_room.WORTH_MEASURING / seconds))  # much quicker in batches
    assert not calls
    measured = model.runner(Y, feeds, expected=10**9).layout
    assert {(c.workers, c.threads) for c in calls} == {(2, 1), (1, 2)}
    tried = len(calls)
    for again in (model, opened(linear(), threads=2)):
        assert again.runner(Y, feeds).layout == measured
        assert again.runner(Y, feeds, expected=10**9).layout == measured
    assert len(calls) == tried


def test_the_layout_that_was_measured_stays_where_nothing_can_be_remembered(folder, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setenv("ONNXPLAIN_HOME", str(folder / "file"))
    monkeypatch.setattr(Runner, "_measured", classmethod(lambda *_: Layout(1, 1, 3)))
    model, feeds = opened(linear(), threads=2), {"x": X[:1]}
    assert model.runner(Y, feeds, expected=10**9).layout == Layout(1, 1, 3)
    assert model.runner(Y, feeds).layout == Layout(1, 1, 3)


def test_the_largest_batch_that_is_tried_is_remembered_too(folder, monkeypatch):
    monkeypatch.setattr(runtime, "measure", lambda _run, _feeds, layout, _seconds: float(layout.batch))
    model, feeds = opened(linear(), threads=2), {"x": X[:1]}
    model.runner(Y, feeds).variant.seconds = 1e-6
    measured = model.runner(Y, feeds, expected=10**9).layout
    assert measured.batch == 2 * runner_room.MOST_SHORT_ROWS
    assert opened(linear(), threads=2).runner(Y, feeds).layout == measured


ODD = [None, 3, [], {}, {"workers": 1, "threads": 1}, {"workers": 0, "threads": 1, "batch": 1}]
ODD += [{"workers": "1", "threads": 1, "batch": 1}, {"workers": True, "threads": 1, "batch": 1}]
ODD += [{"workers": 1000, "threads": 1, "batch": 8}, {"workers": 1, "threads": 1, "batch": 10**9}]
ODD += [{"workers": 1.5, "threads": 1, "batch": 1}, {"workers": 1, "threads": 1, "batch": 1, "more": 1}]


@pytest.mark.parametrize("odd", ODD)
def test_layouts_that_make_no_sense_are_ignored(folder, odd):
    model, feeds = opened(linear(), threads=2), {"x": X[:1]}
    usual = model.runner(Y, feeds)
    key = runner_room._layout_key(usual.variant, feeds)
    (folder / LAYOUTS).write_text(json.dumps({key: odd}))
    assert opened(linear(), threads=2).runner(Y, feeds).layout == usual.layout
    (folder / LAYOUTS).write_text(json.dumps({key: {"workers": 1, "threads": 1, "batch": 5}}))
    assert opened(linear(), threads=2).runner(Y, feeds).layout == Layout(1, 1, 5)
    assert model.runner(Y, feeds).layout == usual.layout  # of one model it stays the same


def test_layouts_are_remembered_by_model_target_shape_threads_and_device():
    keys = set()
    for proto in (linear(), affine(np.ones((3, 3)), np.zeros(3))):
        for threads in (1, 2):
            model = opened(proto, threads=threads)
            for tensor in ("x", "y"):
                variant = model.variant((tensor,), {"x": X[:1]})
                keys |= {runner_room._layout_key(variant, feeds) for feeds in ({"x": X[:1]}, {"x": X[:1, None]})}
                model.device = Device("cuda:0", ("CUDAExecutionProvider",), "cuda")
                keys.add(runner_room._layout_key(variant, {"x": X[:1]}))
                model.device = Device("cpu", ("CPUExecutionProvider",))
    assert len(keys) == 2 * 2 * 2 * 3


def test_the_default_layout_is_moderate_in_size_whatever_the_clock_says():
    model = opened(linear(), threads=2)
    variant = model.variant(("y",), {"x": X[:1]})
    for seconds, nbytes, batch in [(1e-9, 2048, 1024), (10.0, 2048, 1024), (1.0, 1 << 20, 4), (1e-9, 1 << 30, 1)]:
        variant.seconds = seconds
        feeds = {"x": np.broadcast_to(np.uint8(0), (1, nbytes))}
        assert Runner.default_layout(variant, feeds) == Layout(2, 1, batch)


def test_rows_as_short_as_those_of_tables_go_in_large_batches_that_the_cores_share():
    model = opened(linear(), threads=2)
    variant = model.variant(("y",), {"x": X[:1]})
    for nbytes, layout in [(12, Layout(1, 2, 16_384)), (1000, Layout(1, 2, 2048)), (2048, Layout(2, 1, 1024))]:
        assert Runner.default_layout(variant, {"x": np.broadcast_to(np.uint8(0), (1, nbytes))}) == layout
    looped = dataclasses.replace(variant, rows=1)
    assert Runner.default_layout(looped, {"x": X[:1]}) == Layout(2, 1, 1024)


def test_a_tensor_of_unknown_shape_is_taken_to_be_as_wide_as_the_widest_weight():
    scaled = helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.0] * 3, scale=[1.0] * 3)
    product = helper.make_node("MatMul", ["s", "w"], ["y"])
    proto = model_of(
        [scaled, product],
        {"x": (TensorProto.FLOAT, ["batch", 3])},
        {"y": (TensorProto.FLOAT, None)},
        {"w": np.zeros((3, 700), np.float32)},
        domains={"ai.onnx.ml": 3},
    )
    assert opened(proto).widest({"x": X[:1]}) == 4 * 700


def test_the_default_batch_is_small_where_the_model_makes_large_tensors():
    weights = np.zeros((3, 1 << 19), np.float32)
    wide = graph(("MatMul", ["x", "w"], ["y"]), constants={"w": weights}, out=1 << 19)
    for proto, batch in ((linear(), 16_384), (wide, 8)):
        model = opened(proto, threads=1)
        variant = model.variant(("y",), {"x": X[:1]})
        assert Runner.default_layout(variant, {"x": X[:1]}).batch == batch
    assert opened(wide).widest({"x": X[:1]}) == (1 << 19) * 4


def test_one_row_of_a_freed_batch_is_timed_as_one(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(rows.time, "perf_counter", lambda: float(next(clock)))
    proto = graph(("Relu", ["x"], ["y"]), batch=8)
    variant = opened(proto).variant(("y",), {"x": X[:1]})
    monkeypatch.undo()
    assert (variant.batching, variant.seconds) == ("freed", 1 / 8)


def test_scores_come_in_the_order_of_the_batches(monkeypatch):
    model = opened(linear())
    model.layout = Layout(4, 1, 2)
    runner, delays, run = model.runner(Y, {"x": X[:1]}), iter([0.02, 0.0, 0.01, 0.0] * 10), runtime.Session.run

    def slow(self, feeds, halt=None):
        time.sleep(next(delays))
        return run(self, feeds, halt)

    monkeypatch.setattr(runtime.Session, "run", slow)
    batches = [({"x": X[k : k + 1]} if k != 3 else None, f"tag {k}") for k in range(7)]
    found = [(None if scores is None else scores.tolist(), tag) for scores, tag in runner.stream(batches)]
    assert found == [(None if k == 3 else [X[k, 0]], f"tag {k}") for k in range(7)]


def test_the_time_of_a_run_is_known_from_the_quickest_before(monkeypatch):
    times = iter([1.0, 1.5, 2.0, 2.25, 3.0, 3.75])  # begin and end of three runs
    model = opened(linear())
    variant = model.variant(("y",), {"x": X[:1]})
    assert variant.run_seconds(1) == np.inf
    monkeypatch.setattr(rows.time, "perf_counter", lambda: next(times))
    for count, known in ((1, (0.5, 2.0)), (2, (0.25, 0.5)), (6, (0.25, 0.5))):  # half a second; a quarter; three
        variant.run_batch(variant.session(1), {"x": X[:count]})
        assert (variant.run_seconds(1), variant.run_seconds(4)) == known


def test_a_model_that_waited_for_a_core_when_it_was_proved_is_not_taken_for_a_slow_one(folder, monkeypatch):
    calls = count_measuring(monkeypatch)
    model, feeds = opened(linear(), threads=2), {"x": X[:1]}
    runner = model.runner(Y, feeds)
    runner.variant.seconds = 1.0
    assert runner.most_tried == 1
    runner.variant._least = runner.variant._pace = 1e-5  # as a run has shown since
    assert runner.most_tried > 1000
    assert model.runner(Y, feeds, expected=10_000).layout == runner.layout
    assert not calls


def test_the_time_of_a_graph_with_a_loop_is_never_known():
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["v"], ["w"])],
        "body",
        [helper.make_tensor_value_info(n, k, s) for n, k, s in (("i", INT, []), ("go", TensorProto.BOOL, []))]
        + [helper.make_tensor_value_info("v", FLOAT, None)],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("w", FLOAT, None)],
    )
    trips = {"trips": np.array(2), "start": np.ones((), bool)}
    looping = graph(("Loop", ["trips", "start", "x"], ["y"], ("body", body)), constants=trips)
    for proto, is_known in ((linear(), True), (looping, False)):
        variant = opened(proto).variant(("y",), {"x": X[:1]})
        variant.run_batch(variant.session(1), {"x": X[:4]})
        assert np.isfinite(variant.run_seconds(4)) == is_known


def test_small_rows_are_run_on_one_core_and_large_ones_on_all():
    for weights, threads in ((np.eye(3), 1), (np.ones((1 << 15, 3)), 2)):
        model = opened(affine(weights, np.zeros(len(weights))), threads=2)
        model.variant(("y",), {"x": X[:1]})._sessions.clear()
        model.predict(X[:1])
        assert list(model.variant(("y",), {"x": X[:1]})._sessions) == [threads]
