"""What the graph tells of its inputs: states of recurrent networks, and axes of time."""

import numpy as np
import pytest

from onnxplain import load
from onnxplain.engine.graph import sequence_axes, states
from series_networks import FLOAT, burst_detector, model_of, node, recurrent


def opened(proto):
    return load(proto.SerializeToString(), device="cpu")


def test_recurrent_input_without_a_batch_axis_is_a_series_and_no_image():
    model = opened(recurrent(shape=(5, 1, 3)))
    (entry,) = model.spec.inputs.values()
    assert (entry.modality, entry.layout) == ("series", "TNC")
    assert opened(recurrent("GRU", (1, 7, 3), layout=1)).spec.inputs["x"].layout == "NTC"


def test_picture_with_a_side_of_one_is_not_taken_for_an_image():
    flat = model_of([node("Relu", ["x"], ["y"])], {"x": (FLOAT, ["N", 3, 1, 9])}, {"y": (FLOAT, ["N", 3, 1, 9])})
    assert opened(flat).spec.inputs["x"].modality == "array"
    square = model_of([node("Relu", ["x"], ["y"])], {"x": (FLOAT, ["N", 1, 9, 9])}, {"y": (FLOAT, ["N", 1, 9, 9])})
    assert opened(square).spec.inputs["x"].layout == "NCHW"


def test_convolution_tells_time_from_channels_whatever_is_longer():
    assert sequence_axes(burst_detector(channels=50, steps=6)) == {"x": "NCT"}


@pytest.mark.parametrize(
    ("shape", "before", "axes"),
    [
        (["N", 9], [("Unsqueeze", {"axes": [1]}, [])], "NT"),
        (["N", 9, 2], [("Transpose", {"perm": [0, 2, 1]}, [])], "NTC"),
        ([2, 9], [("Unsqueeze", {"axes": [0]}, [])], "CT"),
        (["N", 2, 9], [("Sub", {}, ["offset"]), ("Div", {}, ["offset"])], "NCT"),
        (["N", 1, 2, 9], [("Squeeze", {"axes": [1]}, [])], ""),
        (["N", 2, 3, 3], [("Reshape", {}, ["sizes"])], ""),
    ],
)
def test_axes_are_followed_through_changes_that_keep_them_apart(shape, before, axes):
    channels = 1 if shape == ["N", 9] else 2
    constants = {
        "kernel": np.ones((1, channels, 3), np.float32),
        "offset": np.float32([2.0]),
        "sizes": np.int64([0, 2, -1]),
    }
    nodes, name = [], "x"
    for number, (kind, attributes, others) in enumerate(before):
        given = dict(attributes)
        if kind in {"Unsqueeze", "Squeeze"}:
            constants[f"axes{number}"] = np.int64(given.pop("axes"))
        named = [f"axes{number}"] if f"axes{number}" in constants else others
        nodes.append(node(kind, [name, *named], [f"t{number}"], **given))
        name = f"t{number}"
    nodes.append(node("Conv", [name, "kernel"], ["y"]))
    proto = model_of(nodes, {"x": (FLOAT, shape)}, {"y": (FLOAT, None)}, constants)
    assert sequence_axes(proto) == ({"x": axes} if axes else {})


def test_states_are_found_by_what_they_feed():
    inputs, outputs = states(recurrent(states=True))
    assert (inputs, outputs) == ({"h0", "c0"}, {"hn", "cn"})
    assert states(recurrent()) == (frozenset(), frozenset())


def test_states_are_found_by_their_names_where_they_come_in_pairs():
    def stepped(before, after):
        nodes = [node("Add", ["x", before], [after]), node("Relu", [after], ["score"])]
        kinds = (FLOAT, ["N", 4])
        return model_of(nodes, {"x": kinds, before: kinds}, {"score": kinds, after: kinds})

    assert states(stepped("state", "stateN")) == ({"state"}, {"stateN"})
    assert states(stepped("past_key_values.0.key", "present.0.key")) == (
        {"past_key_values.0.key"},
        {"present.0.key"},
    )
    assert states(stepped("c", "cn")) == ({"c"}, {"cn"})
    assert states(stepped("c", "h")) == (frozenset(), frozenset())
    assert states(stepped("noise", "noise_out")) == (frozenset(), frozenset())
    assert states(stepped("state", "score2")) == (frozenset(), frozenset())


def test_model_of_nothing_but_states_has_none():
    kinds = (FLOAT, ["N", 4])
    proto = model_of([node("Relu", ["state"], ["state_out"])], {"state": kinds}, {"state_out": kinds})
    assert states(proto) == (frozenset(), frozenset())


def test_states_are_not_the_default_target():
    model = opened(recurrent(states=True))
    assert [o.name for o in model.outputs] == ["hn", "cn", "score"]
    assert model.default_output == "score"
    assert {n: e.modality for n, e in model.spec.inputs.items()} == {"x": "series", "h0": "state", "c0": "state"}
