"""ONNX Runtime: devices by name, the loop that keeps workers busy, and errors in words."""

import re
import threading
import time

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain import CapabilityError, InputError, ModelError, SettingError
from onnxplain.engine import runtime
from onnxplain.engine.runtime import Device, Halt, Layout, Session, choose_device, cores, measure, stream
from small_graphs import affine, model_of

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
CPU = Device("cpu", ("CPUExecutionProvider",))


def workers():
    return [t for t in threading.enumerate() if t.name.startswith("onnxplain")]


def feeds(k):
    return {"x": np.array([k])}


def test_devices_are_named_as_everywhere(monkeypatch):
    monkeypatch.setattr(runtime, "cuda_missing", lambda index=0: "" if index < 2 else f"there is no GPU {index}")
    assert choose_device("cpu") == CPU
    for name, index in {"cuda": 0, "cuda:1": 1, "auto": 0}.items():
        found = choose_device(name)
        assert (found.name, found.memory, found.index, found.is_cpu) == (f"cuda:{index}", "cuda", index, False)
        assert found.providers == (("CUDAExecutionProvider", {"device_id": index}), "CPUExecutionProvider")
    with pytest.raises(CapabilityError, match="CUDA cannot be used here: there is no GPU 7"):
        choose_device("cuda:7")
    monkeypatch.setattr(runtime, "cuda_missing", lambda _index=0: "no driver")
    assert choose_device("auto") == choose_device() == CPU


@pytest.mark.parametrize(
    "name", ["", "CPU", "cuda:", "cuda:-1", "cuda:x", "cuda:1:2", "gpu", "cuda 0", "tpu\x1b", "cuda:1\n"]
)
def test_unknown_devices_are_refused(name):
    with pytest.raises(SettingError, match="unknown device"):
        choose_device(name)


def test_providers_are_handed_on_as_they_are():
    options = ("CPUExecutionProvider", {"arena_extend_strategy": "kSameAsRequested"})
    found = choose_device("cuda:5", providers=[options])
    assert (found.providers, found.is_cpu, found.memory) == ((options,), True, "cpu")
    with pytest.raises(CapabilityError, match="no provider 'CUDAExecutionProvidr'"):
        choose_device(providers=["CUDAExecutionProvidr"])


def test_cores_are_those_of_this_process_unless_limited():
    assert cores(3) == 3
    assert cores(10**9) == 8 * cores()
    assert 1 <= cores() <= 1024
    with pytest.raises(SettingError, match="at least 1, not 0"):
        cores(0)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_come_in_order_and_nothing_runs_too_far_ahead(count):
    drawn, begun = [], []

    def batches():
        for k in range(30):
            drawn.append(k)
            yield (None if k % 7 == 3 else feeds(k)), k

    def run(given, _halt):
        k = int(given["x"][0])
        begun.append(k)
        time.sleep(0.002 if k % 3 else 0.0)
        return k * 10

    for at, (result, tag) in enumerate(stream(run, batches(), count)):
        assert (result, tag) == (None if at % 7 == 3 else at * 10, at)
        assert len(drawn) <= at + 2 * count + 1
        assert len(workers()) <= count
    assert sorted(begun) == [k for k in range(30) if k % 7 != 3]
    assert not workers()


def test_work_goes_on_while_the_next_batch_is_prepared():
    running = threading.Event()

    def run(given, _halt):
        if given["x"][0] == 0:
            assert running.wait(5)
        return int(given["x"][0])

    def batches():
        yield feeds(0), None
        running.set()  # the first batch is under way: it waits for this second one to be prepared
        yield feeds(1), None

    assert [result for result, _ in stream(run, batches(), 1)] == [0, 1]


@pytest.mark.parametrize(
    ("side_by_side", "seconds", "here", "drawn"),
    [
        (2, [1e-5] * 3, [True] * 3, [1, 2, 3]),  # each as soon as it is drawn
        (2, [1e-5, 1.0, 1e-5], [True, False, False], [1, 2, 3]),  # in order behind the long one
        (2, [1e-3], [True], [1]),  # not as brief, but there is no other
        (2, [1e-5, 1e-3], [True, True], [1, 2]),
        (2, [1e-3, 1e-3, 1e-3], [False] * 3, [2, 2, 3]),
        (2, [1.0], [False], [1]),
        (1, [1e-3, 1e-3, 1e-3], [True] * 3, [1, 2, 3]),  # nothing else could run meanwhile
        (1, [1.0, 1e-3], [False] * 2, [1, 2]),
    ],
)
def test_brief_batches_run_in_the_calling_thread(side_by_side, seconds, here, drawn):
    begun, count = [], 0

    def run(given, _halt):
        k = int(given["x"][0])
        begun.append((k, threading.current_thread() is threading.main_thread(), count))
        return k

    def batches():
        nonlocal count
        for k in range(len(seconds)):
            count += 1
            yield feeds(k), None

    found = [result for result, _ in stream(run, batches(), side_by_side, lambda f: seconds[int(f["x"][0])])]
    assert found == list(range(len(seconds)))
    assert [one[1] for one in sorted(begun)] == here
    assert all(at >= least for (_, _, at), least in zip(sorted(begun), drawn, strict=True))
    assert [at for _, is_here, at in sorted(begun) if is_here] == [n for n, h in zip(drawn, here, strict=True) if h]
    assert not workers()


@pytest.mark.parametrize("where", ["run", "batches", "consumer"])
def test_errors_end_the_threads_and_what_is_under_way(where):
    halts = []

    def run(given, halt):
        halts.append(halt)
        if where == "run" and given["x"][0] == 3:
            raise ModelError("in a run")
        return 0

    def batches():
        for k in range(100):
            if where == "batches" and k == 6:
                raise ValueError("in a batch")
            yield feeds(k), k

    def consume():
        for _, tag in (stream_of := stream(run, batches(), 3)):
            if where == "consumer" and tag == 3:
                stream_of.close()
                raise KeyError("in the consumer")

    with pytest.raises({"run": ModelError, "batches": ValueError, "consumer": KeyError}[where], match="in "):
        consume()
    assert not workers()
    assert len(halts) < 12
    assert all(halt.options.terminate for halt in halts)


def test_a_measurement_is_in_rows_per_second(monkeypatch):
    """The clock ticks once at each look, which is before each batch from the seventh on: eleven batches of ten rows."""
    clock = iter(range(100))
    monkeypatch.setattr(runtime.time, "perf_counter", lambda: float(next(clock)))
    assert measure(lambda _given, _halt: None, feeds(0), Layout(2, 1, 10), 5.0) == pytest.approx(110 / 7)


def opened(proto):
    return onnxplain.load(proto.SerializeToString(), device="cpu")


def reshaping():
    """Takes (n, 4) only: the Reshape fails on anything else."""
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    return model_of(
        nodes, {"x": (FLOAT, ["n", "m"])}, {"y": (FLOAT, ["n", 2, 2])}, {"shape": np.array([-1, 2, 2], np.int64)}
    )


def in_words(error):
    """The message has few lines, and says nothing about the runtime's own source code."""
    text = str(error)
    assert len(text.splitlines()) <= 6
    assert max(map(len, text.splitlines())) < 400
    assert not re.search(r"onnxruntime[_/]src|\.cc\b|\.h:\d|::|ONNXRuntimeError|0x[0-9a-f]{6}", text)
    return text


def test_a_failing_operator_is_told_in_words():
    with pytest.raises(ModelError, match="the model fails while running") as caught:
        opened(reshaping()).predict(np.ones((1, 3), np.float32))
    assert "Reshape" in in_words(caught.value)


def test_an_index_out_of_range_is_told_in_words():
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    table = {"table": np.eye(3, dtype=np.float32)}
    model = opened(model_of(nodes, {"x": (INT, ["n"])}, {"y": (FLOAT, ["n", 3])}, table))
    with pytest.raises((ModelError, InputError)) as caught:
        model.predict(np.array([5]))
    assert "5" in in_words(caught.value)


def test_inputs_of_another_shape_or_type_are_told_in_words():
    session = Session(affine(np.eye(3), np.zeros(3)).SerializeToString(), None, CPU, 1)
    for odd in (np.ones((1, 4), np.float32), np.ones((1, 3)), np.ones((1, 1, 3), np.float32)):
        with pytest.raises(InputError, match="does not take this input") as caught:
            session.run({"x": odd})
        assert "x" in in_words(caught.value)


def test_bytes_that_are_no_graph_are_told_in_words():
    unconnected = model_of([helper.make_node("Relu", ["nowhere"], ["y"])], {"x": (FLOAT, ["n"])}, {"y": (FLOAT, ["n"])})
    newer = affine(np.eye(2), np.zeros(2))
    newer.opset_import[0].version = 99
    odd = model_of([helper.make_node("NoSuchOp", ["x"], ["y"])], {"x": (FLOAT, ["n"])}, {"y": (FLOAT, ["n"])})
    for proto, wanted in [(b"\x00\x01garbage", ""), (unconnected, ""), (newer, "99"), (odd, "NoSuchOp")]:
        data = proto if isinstance(proto, bytes) else proto.SerializeToString()
        with pytest.raises(ModelError) as caught:
            Session(data, None, CPU, 1)
        assert wanted in in_words(caught.value)


def test_a_graph_that_the_optimiser_cannot_take_runs_unoptimised(monkeypatch):
    whole = onnxruntime.InferenceSession

    def fails_optimised(proto, options, **others):
        if options.graph_optimization_level != onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL:
            raise runtime._ort_errors.RuntimeException("the optimiser failed")
        return whole(proto, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", fails_optimised)
    session = Session(affine(np.eye(2), np.zeros(2)).SerializeToString(), None, CPU, 1)
    assert not session.optimised
    assert np.array_equal(session.run({"x": np.ones((1, 2), np.float32)})[0], np.ones((1, 2)))


def test_what_is_halted_ends():
    session, halt = Session(affine(np.eye(2), np.zeros(2)).SerializeToString(), None, CPU, 1), Halt()
    x = {"x": np.ones((1, 2), np.float32)}
    assert np.array_equal(session.run(x, halt)[0], x["x"])
    halt()
    with pytest.raises(ModelError) as caught:
        session.run(x, halt)
    in_words(caught.value)


def test_one_session_serves_several_threads():
    session = Session(affine(2 * np.eye(2), np.zeros(2)).SerializeToString(), None, CPU, 1)
    batches = [({"x": np.full((3, 2), k, np.float32)}, k) for k in range(50)]
    for values, k in stream(session.run, batches, 4):
        assert np.array_equal(values[0], np.full((3, 2), 2 * k))
