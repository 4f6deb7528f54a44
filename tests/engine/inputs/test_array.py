from __future__ import annotations

import io
import os
import random
import struct
import zipfile
from typing import NamedTuple

import numpy as np
import pytest

from onnxplain.engine.errors import InputError
from onnxplain.engine.inputs.array import check_feeds, load_arrays, split_rows
from onnxplain.engine.inputs.array_file import read_arrays
from onnxplain.engine.spec import PRESETS, InputSpec, ModelSpec


class Info(NamedTuple):
    name: str
    shape: tuple
    dtype: np.dtype = np.dtype(np.float32)
    batch_axis: int | None = 0


ROW = [Info("x", ("N", 3))]
TWO = [Info("age", ("N", 1)), Info("name", ("N", 1), np.dtype(object))]


def typed(dtype, shape=("N", 3)):
    return [Info("x", shape, np.dtype(dtype))]


def refusal(feeds, inputs):
    with pytest.raises(InputError) as caught:
        check_feeds(feeds, inputs)
    assert str(caught.value).count("\n") < 6
    return str(caught.value)


def test_a_lone_array_goes_to_the_only_input():
    fed = check_feeds([[1, 2, 3], [4, 5, 6]], ROW)
    assert list(fed) == ["x"]
    assert fed["x"].dtype == np.float32
    np.testing.assert_array_equal(fed["x"], [[1, 2, 3], [4, 5, 6]])


def test_a_lone_array_is_refused_where_there_are_more_inputs():
    message = refusal([[1.0]], TWO)
    assert "2 inputs" in message
    assert "'age': float32 (rows, 1), 'name': string (rows, 1)" in message


def test_a_missing_batch_axis_is_added_where_the_input_has_it():
    assert check_feeds([1, 2, 3], ROW)["x"].shape == (1, 3)
    assert check_feeds(5.0, [Info("x", ("N",))])["x"].shape == (1,)
    recurrent = [Info("x", ("T", "N", 2), batch_axis=1)]
    assert check_feeds(np.zeros((7, 2)), recurrent)["x"].shape == (7, 1, 2)
    assert check_feeds(np.zeros((7, 5, 2)), recurrent)["x"].shape == (7, 5, 2)


def test_an_input_without_a_batch_axis_takes_its_own_shape_only():
    fixed = [Info("x", (2, 3), batch_axis=None)]
    assert check_feeds(np.zeros((2, 3)), fixed)["x"].shape == (2, 3)
    assert "takes the shape (2, 3), not (3,)" in refusal(np.zeros(3), fixed)
    assert check_feeds(1.5, [Info("x", (), batch_axis=None)])["x"].shape == ()


@pytest.mark.parametrize(("shape"), [(2, 4), (3, 1), (1, 2, 3), (), (4,)])
def test_a_wrong_shape_is_shown_beside_the_wanted_one(shape):
    message = refusal(np.zeros(shape), ROW)
    assert f"input 'x' takes the shape (rows, 3), not {shape}" in message


def test_symbolic_sizes_take_anything_and_rows_are_any_number():
    inputs = [Info("x", (1, None, "w", 3))]
    assert check_feeds(np.zeros((5, 7, 9, 3)), inputs)["x"].shape == (5, 7, 9, 3)
    assert "(rows, ?, w, 3), not (5, 7, 9, 4)" in refusal(np.zeros((5, 7, 9, 4)), inputs)


def test_channels_in_the_wrong_place_are_recognised():
    assert "fit as (3, 8, 9)" in refusal(np.zeros((1, 8, 9, 3)), [Info("x", ("N", 3, 8, 9))])
    assert "fit as (8, 9, 3)" in refusal(np.zeros((3, 8, 9)), [Info("x", ("N", 8, 9, 3))])
    assert "order" not in refusal(np.zeros((1, 5, 9, 3)), [Info("x", ("N", 3, 8, 9))])


def test_no_rows_and_empty_arrays_are_refused():
    assert "no rows were given for input 'x'" in refusal(np.zeros((0, 3)), ROW)
    assert "is empty" in refusal(np.zeros((2, 0)), [Info("x", ("N", "F"))])


def test_a_cache_of_earlier_steps_may_be_empty_along_the_axis_that_is_open():
    cache = Info("past_key_values.0.key", ("N", 2, "past", 4))
    assert check_feeds(np.zeros((1, 2, 0, 4), np.float32), [cache])[cache.name].shape == (1, 2, 0, 4)
    assert "is empty" in refusal(np.zeros((1, 2, 0, 4)), [Info("x", ("N", 2, "past", 4))])
    assert "is empty" in refusal(np.zeros((1, 2, 0, 0)), [Info("past", ("N", 2, "past", 0))])


@pytest.mark.parametrize(
    ("values", "dtype", "wanted"),
    [
        (np.array([1, 2, 3], np.int64), np.float32, [1, 2, 3]),
        (np.array([1, 2, 255], np.uint8), np.float32, [1, 2, 255]),
        (np.array([True, False, True]), np.float32, [1, 0, 1]),
        (np.array([0.1, 2, 3]), np.float32, [np.float32(0.1), 2, 3]),
        (np.array([1, 2, 3], ">f4"), np.float32, [1, 2, 3]),
        (np.array([0.1, 2, 3]), np.float16, [np.float16(0.1), 2, 3]),
        (np.array([1.0, -2.0, 3e9]), np.int64, [1, -2, 3_000_000_000]),
        (np.array([1.0, 2.0, 255.0], np.float32), np.uint8, [1, 2, 255]),
        (np.array([1, 2, 127], np.int64), np.int8, [1, 2, 127]),
        (np.array([True, False, True]), np.int64, [1, 0, 1]),
        (np.array([0, 1, 1]), np.bool_, [False, True, True]),
        (np.array([0.0, 1.0, 1.0]), np.bool_, [False, True, True]),
        (np.array([2**63 - 1, 0, -(2**63)]), np.int64, [2**63 - 1, 0, -(2**63)]),
    ],
)
def test_numbers_are_converted_where_no_value_changes(values, dtype, wanted):
    fed = check_feeds(values, typed(dtype))["x"]
    assert fed.dtype == dtype
    assert fed.dtype.isnative
    assert fed[0].tolist() == [np.array(v, dtype).item() for v in wanted]


@pytest.mark.parametrize(
    ("values", "dtype", "words"),
    [
        ([1.0, 2.5, 3.0], np.int64, "int64 (rows, 3) cannot hold 2.5, at [0, 1]"),
        ([1, 2, 300], np.uint8, "cannot hold 300, at [0, 2]"),
        ([1, -1, 3], np.uint8, "cannot hold -1, at [0, 1]"),
        ([1.0, 2.0, 2.0**63], np.int64, "at [0, 2]"),
        ([1.0, 2.0, 2.0**31], np.int32, "at [0, 2]"),
        ([0, 1, 2], np.bool_, "cannot hold 2, at [0, 2]"),
        ([1.0, 1e39, 3.0], np.float32, "too large for float32 with 1e+39 at [0, 1]"),
        ([1, 70000, 3], np.float16, "too large for float16 with 70000 at [0, 1]"),
        (["a", "b", "c"], np.float32, "takes numbers, not text"),
        ([1, "b", 2], np.float32, "takes numbers, not text"),
        ([1, None, 2], np.float32, "takes numbers, not Python objects"),
        ([1j, 2, 3], np.float32, "takes numbers, not complex128"),
        (np.array(["2020-01-01"] * 3, "M8[D]"), np.float32, "not datetime64"),
        (np.zeros(3, [("a", "f4")]), np.float32, "takes numbers, not"),
    ],
)
def test_what_would_change_a_value_is_refused(values, dtype, words):
    assert words in refusal(values, typed(dtype))


def test_short_floats_beyond_numpys_are_converted():
    import ml_dtypes

    short = np.dtype(ml_dtypes.bfloat16)
    fed = check_feeds([1.0, 2.0, 3.0], typed(short))["x"]
    assert fed.dtype == short
    assert check_feeds(fed, ROW)["x"].tolist() == [[1, 2, 3]]
    assert "holds nan" in refusal(np.array([1, np.nan, 3], short), ROW)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named_by_index(value):
    array = np.zeros((4, 3))
    array[2, 1] = array[3, 0] = value
    message = refusal(array, ROW)
    assert f"holds {value} at [2, 1]" in message
    assert "2 of 12 values" in message
    assert f"holds {value}" in refusal(array, typed(np.int64))


def test_strings_go_to_string_inputs_only():
    inputs = typed(object, ("N", 2))
    for given in (["a", "b"], np.array(["a", "b"], object), np.array([b"a", b"b"])):
        fed = check_feeds(given, inputs)["x"]
        assert fed.dtype == object
        assert fed.tolist() == [["a", "b"]]
    assert "takes strings, not 1" in refusal([1, 2], inputs)
    assert "takes strings, not None" in refusal(np.array(["a", None], object), inputs)
    assert "not UTF-8" in refusal(np.array([b"\xff", b"b"]), inputs)


def test_ragged_lists_are_refused():
    assert "not an array" in refusal([[1, 2, 3], [1, 2]], ROW)


def test_names_that_do_not_fit_are_named_with_the_nearest():
    message = refusal({"agee": [[1]], "name": [["a"]]}, TWO)
    assert "no input 'agee'" in message
    assert "did you mean 'age'?" in message
    assert "no array was given for 'name': string (rows, 1)" in refusal({"age": [[1]]}, TWO)
    assert "\x1b" not in refusal({"\x1b[31m": [1]}, TWO)


def test_inputs_with_different_numbers_of_rows_are_refused():
    assert "'age' 2, 'name' 3" in refusal({"age": np.zeros((2, 1)), "name": np.array([["a"]] * 3)}, TWO)


def test_an_array_that_fits_is_not_copied():
    array = np.zeros((2, 3), np.float32)
    assert check_feeds(array, ROW)["x"] is array


def test_rows_are_split_along_each_inputs_batch_axis():
    inputs = [Info("x", ("N", 2)), Info("h", (1, "N", 2), batch_axis=1), Info("w", (2,), batch_axis=None)]
    feeds = {"x": np.arange(6).reshape(3, 2), "h": np.arange(6).reshape(1, 3, 2), "w": [7, 8]}
    samples = split_rows(feeds, inputs, source="a.npz")
    assert [s.source for s in samples] == ["a.npz:0", "a.npz:1", "a.npz:2"]
    assert [s.feeds["x"].tolist() for s in samples] == [[[0, 1]], [[2, 3]], [[4, 5]]]
    assert [s.feeds["h"].tolist() for s in samples] == [[[[0, 1]]], [[[2, 3]]], [[[4, 5]]]]
    assert [s.feeds["w"].tolist() for s in samples] == [[7, 8]] * 3
    assert {s.modality for s in samples} == {"array"}


def test_the_spec_adds_columns_and_pictures():
    table = ModelSpec(inputs={"x": InputSpec("x", "table", "NF", columns=("a", "b", "c"))})
    (sample,) = split_rows([[0.1, 2, 3]], ROW, spec=table)
    assert (sample.modality, sample.columns, sample.raw) == ("table", ("a", "b", "c"), ("0.1", "2.0", "3.0"))
    image = ModelSpec(inputs={"x": InputSpec("x", "image", "NCHW", PRESETS["unit"])})
    pixels = np.full((1, 3, 2, 2), 0.2, np.float32)
    (sample,) = split_rows(pixels, [Info("x", ("N", 3, 2, 2))], spec=image)
    assert (sample.modality, sample.image_input) == ("image", "x")
    np.testing.assert_array_equal(sample.image, np.full((2, 2, 3), 51))
    unknown = ModelSpec(inputs={"x": InputSpec("x", "image", "NCHW")})
    (sample,) = split_rows(pixels, [Info("x", ("N", 3, 2, 2))], spec=unknown)
    assert (sample.modality, sample.image, sample.image_input) == ("image", None, "")


def saved(tmp_path, file="a.npy", /, **arrays):
    path = tmp_path / file
    (np.save(path, *arrays.values()) if file.endswith("npy") else np.savez(path, **arrays))
    return path


def test_arrays_are_loaded_by_row(tmp_path):
    path = saved(tmp_path, x=np.arange(12.0).reshape(4, 3))
    samples = load_arrays(str(path), ROW)
    assert [s.feeds["x"].tolist() for s in samples] == [[[3.0 * i, 3 * i + 1, 3 * i + 2]] for i in range(4)]
    assert samples[2].source == f"{path}:2"
    assert [s.source for s in load_arrays(f"{path}:1-2", ROW)] == [f"{path}:1", f"{path}:2"]
    assert [s.source for s in load_arrays(f"{path}:2-", ROW)] == [f"{path}:2", f"{path}:3"]
    assert load_arrays(f"{path}:3", ROW)[0].feeds["x"].tolist() == [[9, 10, 11]]
    for rows in ("4", "2-4", "4-"):
        with pytest.raises(InputError, match=r"no row 4: this file has 4[\s\S]*from 0 to 3"):
            load_arrays(f"{path}:{rows}", ROW)
    with pytest.raises(InputError, match="run backwards"):
        load_arrays(f"{path}:3-2", ROW)


def test_an_archive_is_read_by_input_name_and_a_lone_array_by_any(tmp_path):
    path = saved(tmp_path, "a.npz", age=np.array([[1], [2]]), name=np.array([["a"], ["b"]]))
    samples = load_arrays(str(path), TWO)
    assert [s.feeds["name"].tolist() for s in samples] == [[["a"]], [["b"]]]
    path = saved(tmp_path, "b.npz", arr_0=np.zeros((1, 3)))
    assert load_arrays(str(path), ROW)[0].feeds["x"].shape == (1, 3)
    path = saved(tmp_path, "c.npz", x=np.zeros((1, 3)), extra=np.zeros(2))
    with pytest.raises(InputError, match=r"no input 'extra'[\s\S]*c.npz"):
        load_arrays(str(path), ROW)
    with pytest.raises(InputError, match=r"2 inputs: give an array for each, by name[\s\S]*d.npy"):
        load_arrays(str(saved(tmp_path, "d.npy", x=np.zeros((1, 3)))), TWO)


def test_more_rows_than_are_taken_at_once_ask_for_a_choice(tmp_path):
    path = saved(tmp_path, x=np.zeros((10_001, 3), np.float32))
    with pytest.raises(InputError, match=r"10,001 rows[\s\S]*a.npy:0-9999"):
        load_arrays(str(path), ROW)
    assert len(load_arrays(f"{path}:9990-10000", ROW)) == 11
    with pytest.raises(InputError, match="10,001 rows are more"):
        load_arrays(f"{path}:0-10000", ROW)


def test_pickled_objects_are_refused_unread(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    objects = np.array([Bomb()], dtype=object)
    for name in ("a.npy", "a.npz"):
        path = tmp_path / name
        with path.open("wb") as file:
            (np.save if name == "a.npy" else np.savez)(file, objects)
        with pytest.raises(InputError, match=r"pickled Python objects[\s\S]*" + name):
            read_arrays(path)
    assert not (tmp_path / "exploded").exists()


def npy(header, content=b"", version=1):
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text + content


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 3)}",
            "12,000,000,000,000 bytes, but 16 are",
        ),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (5,)}", "declares 20 bytes, but 16 are there"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}", "negative size"),
        ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,)}", "records"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", "pickled"),
        ("{'descr': '<f4', 'fortran_order': False}", "damaged"),
        ("{'descr': 'nonsense', 'fortran_order': False, 'shape': (4,)}", "damaged"),
        ("__import__('os').getpid()", "damaged"),
        ("(" * 5000, "damaged"),
        ("-" * 9000 + "1", "damaged"),
        ("{", "damaged"),
    ],
)
def test_headers_that_lie_are_refused_before_reading(tmp_path, header, message):
    path = tmp_path / "a.npy"
    path.write_bytes(npy(header, bytes(16)))
    with pytest.raises(InputError, match=message):
        read_arrays(path)


def test_arrays_and_archives_that_are_cut_off_are_refused(tmp_path):
    for path in (saved(tmp_path, x=np.ones(100)), saved(tmp_path, "a.npz", x=np.ones(100))):
        content = path.read_bytes()
        for length in (len(content) - 8, len(content) // 2, 20, 7):
            path.write_bytes(content[:length])
            with pytest.raises(InputError, match=r"cut off|damaged"):
                read_arrays(path)


def archive(path, content, name="x.npy", kind=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", kind) as file:
        file.writestr(name, content)
    return path


def test_an_archive_that_unpacks_by_a_suspicious_factor_is_refused(tmp_path):
    header = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (20971520,)}")
    path = archive(tmp_path / "a.npz", header + bytes(80 << 20))
    assert path.stat().st_size < 200_000
    with pytest.raises(InputError, match="like a decompression bomb"):
        read_arrays(path)


def test_small_arrays_of_zeros_may_be_compressed_as_well_as_they_can(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(1_000_000))
    assert read_arrays(path)["x"].sum() == 0


def test_the_arrays_of_an_archive_together_have_a_limit(tmp_path):
    path = saved(tmp_path, "a.npz", x=np.ones(1000), y=np.ones(1000))
    assert len(read_arrays(path, max_bytes=17_000)) == 2
    with pytest.raises(InputError, match="more than the limit of 15,000"):
        read_arrays(path, max_bytes=15_000)
    path = saved(tmp_path, x=np.ones(1000))
    with pytest.raises(InputError, match="8,000 bytes of arrays are more than the limit of 7,999"):
        read_arrays(path, max_bytes=7_999)


def test_an_archive_whose_directory_declares_terabytes_is_refused(tmp_path):
    content = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}", bytes(16))
    path = archive(tmp_path / "a.npz", content, kind=zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\x01\x02") + 24
    raw[at : at + 4] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"like a decompression bomb|more than the limit"):
        read_arrays(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"PK\x05\x06" + bytes(18), "holds 0 arrays"),
        ("a.npy", b"\x80\x04\x95", "a Python pickle, not a .npy"),
        ("a.npy", b"\x89PNG\r\n\x1a\n", "a PNG image, not a .npy"),
        ("a.npz", b"PK\x03\x04 and nothing", "damaged"),
        ("a.npy", b"", "an empty file"),
        ("a.npy", b"words", "not a .npy or .npz file"),
        ("a.npy", b"\x93NUMPY\x03\x00" + bytes(20), "version 3.0"),
    ],
)
def test_files_that_are_no_arrays_are_refused_by_what_they_are(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_arrays(path)


def test_archives_with_other_things_in_them_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"'\.\./evil\.sh', which is not an array"):
        read_arrays(archive(tmp_path / "a.npz", b"rm", "../evil.sh"))
    buffer = io.BytesIO()
    np.save(buffer, np.ones(2))
    path = archive(tmp_path / "b.npz", buffer.getvalue())
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("x.npy", buffer.getvalue())
    with pytest.raises(InputError, match="same name twice"):
        read_arrays(path)


def test_damaged_arrays_are_read_or_refused_and_nothing_else(tmp_path):
    contents = [saved(tmp_path, n, x=np.arange(24.0)).read_bytes() for n in ("a.npy", "a.npz")]
    draw = random.Random(0)  # noqa: S311  # which bytes to damage
    path = tmp_path / "b"
    refused = 0
    for _ in range(300):
        content = bytearray(draw.choice(contents))
        for _ in range(draw.choice([1, 2, 8])):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        try:
            read_arrays(path)
        except InputError:
            refused += 1
    assert 100 < refused < 300
