"""Small networks of series whose answers are known: a burst that is looked for, and recurrent ones with states."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def model_of(nodes, inputs, outputs, constants=None):
    """Return a model from nodes and ``(type, shape)`` by name."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs, outputs, **attributes)


def burst_detector(channels=2, steps=120, listened=0):
    """Return a network whose score is how far one channel exceeds 1, summed over time."""
    kernel = np.zeros((1, channels, 1), np.float32)
    kernel[0, listened] = 1
    nodes = [
        node("Conv", ["x", "kernel", "threshold"], ["above"]),
        node("Relu", ["above"], ["excess"]),
        node("ReduceSum", ["excess", "time"], ["score"], keepdims=0),
    ]
    constants = {"kernel": kernel, "threshold": np.float32([-1]), "time": np.int64([2])}
    return model_of(nodes, {"x": (FLOAT, ["N", channels, steps])}, {"score": (FLOAT, ["N", 1])}, constants)


def burst(channels=2, steps=120, begin=60, end=72, heard=0):
    """Return noise below 0.3 with a burst of 3 in one channel, float32 (channels, steps)."""
    series = 0.3 * np.random.default_rng(0).uniform(-1, 1, (channels, steps))
    series[heard, begin:end] = 3
    return series.astype(np.float32)


def spindle(begin=90, steps=240, cycles=6, period=8):
    """Return noise below 0.3 with a spindle in it: a wave that swells and fades, float32 (1, steps)."""
    series = 0.3 * np.random.default_rng(1).uniform(-1, 1, steps)
    length = cycles * period
    series[begin : begin + length] += 2 * np.hanning(length) * np.sin(2 * np.pi * np.arange(length) / period)
    return series[None].astype(np.float32)


def spindle_detector(steps=240, period=8):
    """Return a network whose score is how far the power of a wave of that period exceeds 9, summed over time."""
    phase = 2 * np.pi * np.arange(2 * period) / period
    nodes = [
        node("Conv", ["x", "waves"], ["parts"], pads=[period, period - 1]),
        node("Mul", ["parts", "parts"], ["squares"]),
        node("ReduceSum", ["squares", "both"], ["power"], keepdims=1),
        node("Sub", ["power", "threshold"], ["above"]),
        node("Relu", ["above"], ["excess"]),
        node("ReduceSum", ["excess", "time"], ["score"], keepdims=0),
    ]
    constants = {"waves": np.float32([[np.sin(phase)], [np.cos(phase)]]), "both": np.int64([1])}
    constants |= {"threshold": np.float32([9]), "time": np.int64([2])}
    return model_of(nodes, {"x": (FLOAT, ["N", 1, steps])}, {"score": (FLOAT, ["N", 1])}, constants)


def recurrent(kind="LSTM", shape=(5, 1, 3), *, states=False, layout=None):
    """Return an LSTM or GRU with two hidden units and a score of its last state; ``states`` are inputs and outputs."""
    rng = np.random.default_rng(1)
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    constants = {
        "w": rng.normal(size=(1, 2 * gates, shape[2])).astype(np.float32),
        "r": rng.normal(size=(1, 2 * gates, 2)).astype(np.float32),
        "v": rng.normal(size=(2, 2)).astype(np.float32),
        "first": np.int64([0 if layout is None else 1]),
    }
    begun = ["h0", "c0"] if kind == "LSTM" else ["h0"]
    ended = ["hn", "cn"] if kind == "LSTM" else ["hn"]
    feeds = ["x", "w", "r", "", "", *begun] if states else ["x", "w", "r"]
    nodes = [
        node(kind, feeds, ["steps", *ended], hidden_size=2, **({} if layout is None else {"layout": layout})),
        node("Squeeze", ["hn", "first"], ["last"]),
        node("MatMul", ["last", "v"], ["score"]),
    ]
    batch = shape[0] if layout else shape[1]
    state = [batch, 1, 2] if layout else [1, batch, 2]
    inputs = {"x": (FLOAT, shape)} | (dict.fromkeys(begun, (FLOAT, state)) if states else {})
    outputs = {"score": (FLOAT, [batch, 2])}
    if states:
        outputs = dict.fromkeys(ended, (FLOAT, state)) | outputs
    return model_of(nodes, inputs, outputs, constants)
