"""What is refused before ONNX Runtime sees a model, and that sound models pass."""

import hashlib
import io
import os
import pickle
import zipfile

import numpy as np
import onnx
import pytest
from onnx import SparseTensorProto, TensorProto, helper, numpy_helper

from onnxplain import ModelError
from onnxplain.engine import preflight
from onnxplain.engine.preflight import read_model
from small_graphs import affine, model_of

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
node = helper.make_node
WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4)


def sound():
    return affine(WEIGHTS, np.zeros(3))


def write(folder, content, name="model.onnx"):
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return file


def refused(source, *words):
    """The model is refused in one to six lines that hold the words."""
    with pytest.raises(ModelError) as caught:
        read_model(source)
    text = str(caught.value)
    assert 1 <= len(text.splitlines()) <= 6
    assert text.isprintable() or text.replace("\n", "").isprintable()
    for word in words:
        assert word in text
    return text


# --- sound models -----------------------------------------------------------------------------------------------------


def test_a_sound_file_is_read_with_its_digest_and_folder(tmp_path):
    file = write(tmp_path, sound())
    found = read_model(str(file))
    assert found.proto == sound()
    assert (found.path, found.folder, found.external) == (file, tmp_path, ())
    assert found.digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found.size == file.stat().st_size


def test_bytes_have_no_path_and_the_same_digest(tmp_path):
    content = sound().SerializeToString()
    found = read_model(content)
    assert (found.path, found.folder, found.size) == (None, None, len(content))
    assert found.digest == read_model(write(tmp_path, content)).digest


def test_a_relative_path_is_made_absolute(tmp_path, monkeypatch):
    write(tmp_path, sound())
    monkeypatch.chdir(tmp_path)
    assert read_model("model.onnx").path == tmp_path / "model.onnx"


def test_every_way_to_store_numbers_is_accepted():
    stored = [
        helper.make_tensor("floats", FLOAT, [2, 2], [1, 2, 3, 4]),
        helper.make_tensor("halves", TensorProto.FLOAT16, [3], np.ones(3, np.float16)),
        helper.make_tensor("brain", TensorProto.BFLOAT16, [3], [1.0, 2.0, 3.0]),
        helper.make_tensor("nibbles", TensorProto.INT4, [3], [1, 2, 3]),
        helper.make_tensor("raw nibbles", TensorProto.UINT4, [3], b"\x21\x03", raw=True),
        helper.make_tensor("complex", TensorProto.COMPLEX64, [2], [1 + 2j, 3j]),
        helper.make_tensor("text", TensorProto.STRING, [2], [b"a", b"b"]),
        helper.make_tensor("flags", TensorProto.BOOL, [2], [True, False]),
        helper.make_tensor("eighths", TensorProto.FLOAT8E4M3FN, [2], [1.0, 2.0]),
        helper.make_tensor("unsigned", TensorProto.UINT64, [1], [7]),
        numpy_helper.from_array(np.zeros((0, 4), np.float32), "nothing"),
        numpy_helper.from_array(np.float64(3), "scalar"),
    ]
    proto = sound()
    proto.graph.initializer.extend(stored)
    assert len(read_model(proto.SerializeToString()).proto.graph.initializer) == len(stored) + 2


# --- files that are no models (faults 10 to 12) -----------------------------------------------------------------------


def pytorch_checkpoint():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["empty"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", ["Git LFS pointer", "git lfs pull"]),
        (b"\n <!DOCTYPE HTML><title>404</title>", ["HTML page"]),
        (pytorch_checkpoint(), ["PyTorch checkpoint", "torch.onnx.export"]),
        (pickle.dumps({"weights": [1.0]}, protocol=2), ["pickle"]),
        (pickle.dumps({"weights": [1.0]}), ["pickle", "skl2onnx"]),
        (b"\x1c\x00\x00\x00TFL3" + bytes(40), ["TensorFlow Lite"]),
        (b"\x1c\x00\x00\x00ORTM" + bytes(40), [".ort"]),
        (b'\x10\x00\x00\x00\x00\x00\x00\x00{"a":{"dtype":0}}', ["safetensors"]),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), ["HDF5"]),
        (b'{"nodes": []}', ["JSON"]),
        (np.random.default_rng(0).bytes(4096), ["not an ONNX model"]),
        (sound().SerializeToString()[:-30], ["not an ONNX model"]),
        (b"\x08\x01\x12\x03tag", ["no graph"]),
        (b"\x0a\x02\x08\x01", ["no graph"]),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value[0],
)
def test_a_file_of_another_kind_is_named(tmp_path, content, words):
    refused(write(tmp_path, content), "model.onnx", *words)


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    write(tmp_path, sound(), "resnet50.onnx")
    refused(tmp_path / "resnet5O.onnx", "no such file", "'resnet50.onnx'")
    refused(tmp_path, "folder")
    os.mkfifo(tmp_path / "pipe.onnx")
    refused(tmp_path / "pipe.onnx", "pipe")
    refused("model\x00.onnx", "\\x00")
    (tmp_path / "link.onnx").symlink_to("nothing.onnx")
    refused(tmp_path / "link.onnx", "link leads to a file that is not there")
    assert "fetched from the network" in refused("https://example.org/model.onnx")


def test_a_file_beyond_two_gibibytes_is_refused_unread(tmp_path):
    file = tmp_path / "model.onnx"
    with file.open("wb") as sparse:
        sparse.truncate(2**31)
    refused(file, "2,147,483,648 bytes", "external_data", "model.onnx")


def test_a_graph_without_outputs_or_operator_set_is_refused():
    proto = sound()
    del proto.graph.output[:]
    refused(proto.SerializeToString(), "no outputs")
    proto = sound()
    del proto.opset_import[:]
    refused(proto.SerializeToString(), "operator set")


# --- nesting (fault 13) -----------------------------------------------------------------------------------------------


def delimited(field, content):
    length, size = len(content), b""
    while length > 127:
        size, length = size + bytes([length % 128 + 128]), length // 128
    return bytes([field * 8 + 2]) + size + bytes([length]) + content


def nested(depth):
    """If nodes inside each other, written byte by byte: graph = field 7 of a model, g = field 6 of an attribute."""
    graph = b""
    for _ in range(depth):
        attribute = delimited(1, b"then_branch") + delimited(6, graph) + b"\xa0\x01\x05"
        graph = delimited(1, delimited(1, b"c") + delimited(2, b"y") + delimited(4, b"If") + delimited(5, attribute))
    graph += delimited(12, delimited(1, b"y"))
    return b"\x08\x0a" + delimited(7, graph) + delimited(8, b"\x10\x11")


@pytest.mark.parametrize(("depth", "word"), [(25, "nested more than 20"), (100, "deep"), (3000, "deep")])
def test_deep_nesting_is_refused_without_overflow(depth, word):
    refused(nested(depth), word)


def test_nesting_that_exporters_write_passes():
    assert read_model(nested(8)).proto.graph.node[0].op_type == "If"


# --- external data (faults 1 to 8) ------------------------------------------------------------------------------------


def beside(folder, **changes):
    """A model with all weights in weights.bin, with the given entries of the first tensor's external data changed."""
    file = folder / "model.onnx"
    (folder / "weights.bin").unlink(missing_ok=True)  # onnx would append to it
    onnx.save_model(sound(), file, save_as_external_data=True, size_threshold=0, location="weights.bin")
    proto = onnx.load(file, load_external_data=False)
    tensor = proto.graph.initializer[0]
    entries = {entry.key: entry.value for entry in tensor.external_data} | changes
    del tensor.external_data[:]
    for key, value in entries.items():
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    return write(folder, proto)


def test_weights_beside_the_model_are_hashed_but_not_loaded(tmp_path):
    file = beside(tmp_path)
    found = read_model(file)
    weights = tmp_path / "weights.bin"
    assert found.external == (weights,)
    assert found.digest == hashlib.sha256(file.read_bytes() + weights.read_bytes()).hexdigest()
    assert found.size == file.stat().st_size + weights.stat().st_size
    assert found.proto.graph.initializer[0].data_location == TensorProto.EXTERNAL
    assert not found.proto.graph.initializer[0].raw_data


def test_weights_in_a_folder_below_and_unknown_keys_pass(tmp_path):
    beside(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "w.bin").write_bytes((tmp_path / "weights.bin").read_bytes())
    file = beside(tmp_path, location="./parts/w.bin", __class__="os.system", colour="red")
    assert set(read_model(file).external) == {tmp_path / "parts" / "w.bin", tmp_path / "weights.bin"}


@pytest.mark.parametrize(
    ("location", "word"),
    [
        ("../../etc/passwd", "outside the model's folder"),
        ("parts/../../secret", "outside the model's folder"),
        ("..\\secret", "outside the model's folder"),
        ("/etc/passwd", "absolute"),
        ("C:\\Windows\\win.ini", "absolute"),
        ("\\\\server\\share", "absolute"),
        ("*/_ORT_MEM_ADDR_/*", "memory"),
        ("nothing.bin", "missing"),
        ("model.onnx/weights.bin", "cannot be reached"),
        (".", "not a regular file"),
        ("", "no usable location"),
        (None, "no usable location"),
        ("a\x00b", "no usable location"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("x" * 5000, "xxx..."),
    ],
)
def test_a_location_that_leaves_the_folder_or_names_no_file_is_refused(tmp_path, location, word):
    refused(
        beside(tmp_path, location=location),
        word,
        "initializer 'W'",
        location[:5].strip("\x1b\x00a") if location else "",
    )


def test_a_location_of_any_length_makes_a_short_message(tmp_path):
    assert len(refused(beside(tmp_path, location="a" * 5000))) < 700


def test_a_pipe_as_weights_is_refused_without_waiting(tmp_path):
    file = beside(tmp_path, location="pipe")
    os.mkfifo(tmp_path / "pipe")
    refused(file, "not a regular file", "'W'", "pipe")


def test_symbolic_and_hard_links_are_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "weights.bin").write_bytes(bytes(100))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.bin").symlink_to(secret / "weights.bin")
    (folder / "parts").symlink_to(secret)
    refused(beside(folder, location="link.bin"), "symbolic link", "'W'", "link.bin")
    refused(beside(folder, location="parts/weights.bin"), "symbolic link", "'W'", "parts/weights.bin")
    os.link(secret / "weights.bin", folder / "hard.bin")
    refused(beside(folder, location="hard.bin"), "hard link", "'W'", "hard.bin")


def test_a_model_behind_a_link_is_read_with_its_weights(tmp_path):
    """What must not be a link is what the file itself points to; where the user keeps the folder is their affair."""
    real = tmp_path / "real"
    real.mkdir()
    beside(real)
    (tmp_path / "link").symlink_to(real)
    assert read_model(tmp_path / "link" / "model.onnx").external == (tmp_path / "link" / "weights.bin",)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"offset": "-8"}, "no number of bytes"),
        ({"length": "-48"}, "no number of bytes"),
        ({"length": "4_8"}, "no number of bytes"),
        ({"offset": "9" * 400}, "no number of bytes"),
        ({"length": "1125899906842624"}, "need 48"),
        ({"length": "44"}, "need 48"),
        ({"offset": "1125899906842624"}, "of a file of"),
        ({"offset": "30"}, "of a file of"),
        ({"offset": "30", "length": None}, "of a file of"),
    ],
)
def test_an_offset_or_length_that_does_not_fit_is_refused(tmp_path, changes, word):
    refused(beside(tmp_path, **changes), word, "'W'")


def test_dims_that_ask_for_more_than_the_file_holds_are_refused(tmp_path):
    proto = onnx.load(beside(tmp_path), load_external_data=False)
    proto.graph.initializer[0].dims[:] = [2**40, 2**40]
    refused(write(tmp_path, proto), "'W'", "need 4835703278458516698824704")
    proto.graph.initializer[0].dims[:] = [-3, -4]
    refused(write(tmp_path, proto), "'W'", "negative dimension")


def test_a_location_given_twice_is_refused(tmp_path):
    proto = onnx.load(beside(tmp_path), load_external_data=False)
    proto.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    refused(write(tmp_path, proto), "twice", "'W'")


def test_bytes_cannot_have_weights_elsewhere(tmp_path, monkeypatch):
    content = beside(tmp_path).read_bytes()
    monkeypatch.chdir(tmp_path)  # where weights.bin lies
    refused(content, "'W'", "path of the model file")


def outside(name):
    tensor = TensorProto(name=name, data_type=FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    return tensor


def hiding_places():
    """Models with one tensor each in a place where a walk over the initializers does not look."""
    inner = helper.make_graph([], "inner", [], [helper.make_tensor_value_info("t", FLOAT, [1])], [outside("t")])
    deep = helper.make_graph(
        [node("Constant", [], ["t"], value=outside("t"))], "deep", [], [helper.make_tensor_value_info("t", FLOAT, [1])]
    )
    middle = helper.make_graph([node("If", ["c"], ["t"], then_branch=deep)], "m", [], list(deep.output))
    body = [node("Constant", [], ["t"], value=outside("t"))]
    sparse = SparseTensorProto(dims=[1], values=outside("t"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64)))
    places = {
        "attribute": node("Constant", [], ["t"], value=outside("t")),
        "tensors": node("Own", [], ["t"], domain="com.microsoft", many=[outside("t")]),
        "sparse attribute": node("Constant", [], ["t"], sparse_value=sparse),
        "subgraph": node("If", ["c"], ["t"], then_branch=inner),
        "nested subgraph": node("If", ["c"], ["t"], then_branch=middle),
    }
    for name, hiding in places.items():
        yield name, model_of([hiding], {}, {"t": (FLOAT, [1])})
    proto = sound()
    proto.functions.append(helper.make_function("own", "F", [], ["t"], body, [helper.make_opsetid("", 17)]))
    yield "function", proto
    proto = sound()
    proto.graph.sparse_initializer.append(sparse)
    yield "sparse initializer", proto
    proto = sound()
    proto.training_info.add().algorithm.CopyFrom(inner)
    yield "training", proto


@pytest.mark.parametrize("proto", [pytest.param(proto, id=name) for name, proto in hiding_places()])
def test_external_data_is_found_wherever_a_tensor_can_be(tmp_path, proto):
    refused(write(tmp_path, proto), "'../secret'", "outside the model's folder")


# --- tensors and bombs (fault 18) -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.dims.__setitem__(0, 10**9), ["holds 48 bytes", "need 16000000000"]),
        (lambda t: t.ClearField("raw_data"), ["holds 0 numbers"]),
        (lambda t: t.__setattr__("data_type", 99), ["unknown element type 99"]),
        (lambda t: t.__setattr__("data_type", TensorProto.STRING), ["holds 0 strings"]),
        (lambda t: t.dims.__setitem__(0, -3), ["negative"]),
    ],
)
def test_a_tensor_that_does_not_hold_what_it_declares_is_refused(change, words):
    proto = sound()
    change(proto.graph.initializer[0])
    refused(proto.SerializeToString(), "initializer 'W'", *words)


def bombs():
    wide = {"s": np.array([2**11, 2**11, 2**11], np.int64)}
    yield "ConstantOfShape", [node("ConstantOfShape", ["s"], ["y"])], wide
    yield "Expand", [node("Expand", ["v", "s"], ["y"])], {**wide, "v": np.ones((1, 1), np.float32)}
    long = {"v": np.ones(1000, np.float32), "r": np.array([2**22], np.int64)}
    yield "Tile", [node("Tile", ["v", "r"], ["y"])], long
    few = {"v": np.ones(1000, np.float32), "r": np.array([1000], np.int64)}
    twice = [node("Tile", ["v", "r"], ["a"]), node("Identity", ["a"], ["b"]), node("Tile", ["b", "r"], ["c"])]
    yield "Tile", [*twice, node("Tile", ["c", "r"], ["y"])], few
    ends = {name: np.array(value, np.int64) for name, value in (("a", 0), ("b", 2**40), ("c", 1))}
    yield "Range", [node("Range", ["a", "b", "c"], ["y"])], ends
    shape = numpy_helper.from_array(wide["s"])
    yield "ConstantOfShape", [node("Constant", [], ["t"], value=shape), node("ConstantOfShape", ["t"], ["y"])], {}


@pytest.mark.parametrize(("op_type", "nodes", "constants"), list(bombs()))
def test_a_graph_that_makes_gigabytes_of_nothing_is_refused(op_type, nodes, constants):
    nodes[-1].name = "bomb"
    refused(
        model_of(nodes, {}, {"y": (FLOAT, None)}, constants).SerializeToString(), f"'{op_type}' node 'bomb'", "4 GiB"
    )


def test_a_bomb_inside_a_branch_or_function_is_refused():
    shape = np.array([2**20, 2**20], np.int64)
    body = helper.make_graph(
        [node("ConstantOfShape", ["s"], ["t"])], "b", [], [helper.make_tensor_value_info("t", FLOAT, None)]
    )
    branch = model_of([node("If", ["c"], ["y"], then_branch=body)], {}, {"y": (FLOAT, None)}, {"s": shape})
    refused(branch.SerializeToString(), "'ConstantOfShape' node 't'")
    proto = sound()
    inside = [node("Constant", [], ["s"], value_ints=shape.tolist()), node("ConstantOfShape", ["s"], ["t"])]
    proto.functions.append(helper.make_function("own", "F", [], ["t"], inside, [helper.make_opsetid("", 17)]))
    refused(proto.SerializeToString(), "'ConstantOfShape' node 't'")


def test_a_sparse_tensor_of_a_petabyte_is_refused():
    sparse = SparseTensorProto(dims=[2**25, 2**25], values=numpy_helper.from_array(np.ones(1, np.float32), "w"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64)))
    proto = sound()
    proto.graph.sparse_initializer.append(sparse)
    refused(proto.SerializeToString(), "sparse initializer 'w'", "4503599627370496 bytes")


# --- operators --------------------------------------------------------------------------------------------------------


def alone(op_type, domain="", name=""):
    return model_of([node(op_type, ["x"], ["y"], domain=domain, name=name)], {"x": (FLOAT, [1])}, {"y": (FLOAT, [1])})


def test_operators_of_an_unknown_domain_are_named():
    proto = alone("Warp", "acme.ops", "n1")
    refused(proto.SerializeToString(), "operators of domain 'acme.ops' are not in ONNX Runtime", "'Warp' node 'n1'")
    own = helper.make_function("acme.ops", "Warp", ["a"], ["b"], [node("Neg", ["a"], ["b"])], proto.opset_import)
    proto.functions.append(own)
    assert read_model(proto.SerializeToString()).size


@pytest.mark.parametrize("domain", ["com.microsoft", "com.microsoft.nchwc", "ai.onnx.ml", "ai.onnx.preview.training"])
def test_domains_of_the_runtime_pass(domain):
    assert read_model(alone("Any", domain).SerializeToString()).size


def test_an_operator_that_the_standard_lacks_is_named_with_the_nearest():
    refused(alone("LeakyReLU").SerializeToString(), "'LeakyReLU'", "'LeakyRelu'", "node 'y'")


def test_an_operator_with_too_few_inputs_is_refused():
    refused(alone("Gemm", name="n1").SerializeToString(), "has 1 and needs at least 2", "'Gemm' node 'n1'")
    proto = alone("Relu", name="n1")
    del proto.graph.node[0].input[:]
    refused(proto.SerializeToString(), "has 0 and needs at least 1", "'Relu' node 'n1'")


def test_an_operator_set_from_the_future_is_named():
    proto = sound()
    proto.opset_import[0].version = 999
    refused(proto.SerializeToString(), "operator set 999")
    proto.opset_import[0].version = -1
    refused(proto.SerializeToString(), "impossible version -1")


def functions(*bodies):
    proto = sound()
    for number, body in enumerate(bodies):
        calls = [node(f"F{to}", ["a"], [f"t{i}"], domain="own") for i, to in enumerate(body)]
        calls.append(node("Neg", ["a"], ["b"]))
        proto.functions.append(helper.make_function("own", f"F{number}", ["a"], ["b"], calls, proto.opset_import))
    proto.graph.node.append(node("F0", ["y"], ["z"], domain="own"))
    return proto.SerializeToString()


def test_functions_that_call_each_other_in_a_circle_are_refused():
    refused(functions([1], [2], [0]), "circle", "'F1'")
    refused(functions([0]), "circle", "'F0'")
    assert read_model(functions([1, 1], [2], [])).size


def test_a_function_called_with_too_many_inputs_is_refused():
    proto = onnx.load_from_string(functions([]))
    proto.graph.node[-1].input.append("y")
    refused(proto.SerializeToString(), "more inputs", "'F0' node 'z'")


def test_functions_that_unfold_to_millions_of_nodes_are_refused():
    doubling = [[i + 1, i + 1] for i in range(400)]  # 2 ** 400 nodes
    refused(functions(*doubling, []), "1,000,000 nodes")
    assert read_model(functions(*doubling[:10], *[[] for _ in range(10, 11)])).size


def test_a_name_that_is_no_text_is_refused():
    proto = sound()
    proto.graph.node[0].name = "namename"
    content = proto.SerializeToString().replace(b"namename", b"\xff\xfemename"[:8])
    refused(content, "not UTF-8")


def test_damaged_bytes_are_read_or_refused_but_never_break_the_reader():
    rng, refusals = np.random.default_rng(5), []
    whole = np.frombuffer(sound().SerializeToString(), np.uint8)
    for _ in range(400):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 2)] = rng.integers(0, 256, 2)
        try:
            read_model(damaged.tobytes())
        except ModelError as error:
            refusals.append(str(error))
    assert 100 < len(refusals) < 400  # what hits a weight or a name is not noticed, what hits the structure is
    assert max(len(text.splitlines()) for text in refusals) <= 6


def test_limits_are_those_that_the_messages_state():
    assert preflight.LARGEST_FILE == 2**31 - 1
    assert preflight.DEEPEST == 20
