"""Ctrl-C while the model runs: the run ends between two operators, and so does the process."""

import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

PROGRAM = """
import sys, numpy as np, onnxplain
model = onnxplain.load(sys.argv[1], device="cpu")
print("ready", flush=True)
try:
    onnxplain.explain(model, np.ones((1, 2), np.float32), "ablation", baseline=0)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def endless():
    """x plus a counter that takes years to run out."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v_in", "one"], ["v_out"]),
            helper.make_node("Identity", ["condition_in"], ["condition_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_in", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("condition_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", TensorProto.FLOAT, None),
        ],
        [numpy_helper.from_array(np.ones(2, np.float32), "one")],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["trips", "go", "x"], ["y"], body=body)],
        "endless",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.array(1 << 60), "trips"), numpy_helper.from_array(np.ones((), bool), "go")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


COMMAND = """
import sys
print("ready", flush=True)
from onnxplain.cli import main
main(["inspect", sys.argv[1]])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("program", "wait", "code"), [(PROGRAM, 0.5, 0), (COMMAND, 3.0, 130)], ids=["library", "command"]
)
def test_a_model_that_never_returns_can_be_interrupted(tmp_path, program, wait, code):
    onnx.save(endless(), tmp_path / "endless.onnx")
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "endless.onnx")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0] == "interrupted\n"
        assert process.returncode == code
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
