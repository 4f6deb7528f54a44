import numpy as np
import pytest

from onnxplain.engine.errors import InputError, SettingError
from onnxplain.engine.masking.background import Background, converted, read_rows
from onnxplain.engine.masking.layout import masked_inputs


def only(case):
    (entry,) = masked_inputs(*case).values()
    return entry


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.float32(7), [[7, 7, 7]]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([[1, 2, 3]], [[1, 2, 3]]),
        ([[4]], [[4, 4, 4]]),
        ([[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 5, 6]]),
        ([[1], [2]], [[1, 1, 1], [2, 2, 2]]),
    ],
)
def test_arrays_are_broadcast_to_rows_of_the_feed(make, given, expected):
    found = converted(np.asarray(given), only(make(("x", np.zeros((1, 3), np.float32)))))
    assert found.tolist() == expected
    assert found.dtype == np.float32
    assert found.flags.c_contiguous


def test_rows_of_an_image(make):
    entry = only(make(("x", np.zeros((1, 3, 2, 2), np.float32))))
    assert converted(np.zeros((5, 3, 2, 2)), entry).shape == (5, 3, 2, 2)
    assert converted(np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1), entry)[0, :, 1, 1].tolist() == [1, 2, 3]
    with pytest.raises(SettingError, match=r"baseline of shape \(5, 2, 2\) does not fit input 'x'") as caught:
        converted(np.zeros((5, 2, 2)), entry)
    assert "(2, 2) or (3, 2, 2) or (1, 3, 2, 2)" in caught.value.tip


def test_rows_of_a_model_whose_batch_axis_is_second(make):
    entry = only(make(("x", np.zeros((1, 3, 2))), axes=1))
    rows = np.arange(24.0).reshape(3, 4, 2)
    assert np.array_equal(converted(rows, entry), rows.transpose(1, 0, 2))


def test_values_are_converted_only_where_nothing_is_lost(make):
    whole = only(make(("x", np.zeros((1, 2), np.int64))))
    assert converted(np.array([2.0, -3.0]), whole).tolist() == [[2, -3]]
    with pytest.raises(InputError, match=r"cannot hold 0\.5"):
        converted(np.array([0.5, 1.0]), whole)
    with pytest.raises(InputError, match="takes numbers, not text"):
        converted(np.array(["a", "b"]), whole)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_what_is_not_finite_in_the_dtype_is_refused(make, bad):
    with pytest.raises(InputError, match=r"at \[1, 2, 0, 0\]"):
        converted(
            np.array([0, 0, 0, 0, 0, bad]).reshape(2, 3, 1, 1), only(make(("x", np.zeros((1, 3, 2, 2), np.float32))))
        )


def test_nan_is_a_missing_value_in_a_table_but_infinity_is_not(make):
    entry = only(make(("x", np.zeros((1, 3), np.float32))))
    assert np.isnan(converted(np.array([[0, 0, 0], [0, 0, np.nan]]), entry)).sum() == 1
    with pytest.raises(InputError, match=r"at \[0, 1\]"):
        converted(np.array([[np.nan, np.inf, 0]]), entry)


def columns(*names):
    return {"modality": "table", "columns": names}


def test_columns_of_a_file_are_found_by_name(make, tmp_path):
    (tmp_path / "rows.csv").write_text("b,label,a\n1,yes,10\n2,no,20\n")
    model, sample = make(("x", np.zeros((1, 2), np.float32)), spec={"x": columns("a", "b")})
    rows = read_rows(tmp_path / "rows.csv", masked_inputs(model, sample), model)
    assert rows["x"].tolist() == [[10, 1], [20, 2]]
    assert rows["x"].dtype == np.float32


def test_file_fills_inputs_of_numbers_and_of_text(make, tmp_path):
    (tmp_path / "rows.csv").write_text("age,sex\n40,f\n51,m\n")
    model, sample = make(("age", np.zeros((1, 1), np.int64)), ("sex", np.array([["f"]], dtype=object)))
    rows = read_rows(tmp_path / "rows.csv", masked_inputs(model, sample), model)
    assert rows["age"].tolist() == [[40], [51]]
    assert rows["sex"].tolist() == [["f"], ["m"]]


def test_file_fills_a_model_without_batch_axis(make, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4\n")
    np.save(tmp_path / "rows.npy", np.array([[1, 2], [3, 4]]))
    model, sample = make(("x", np.zeros((1, 2), np.float32)), axes=None)
    for name in ("rows.csv", "rows.npy"):
        assert read_rows(tmp_path / name, masked_inputs(model, sample), model)["x"].tolist() == [[1, 2], [3, 4]]


def test_cell_that_is_no_number_is_named(make, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,x\n")
    model, sample = make(("x", np.zeros((1, 2), np.float32)), spec={"x": columns("a", "b")})
    with pytest.raises(InputError, match="'x' is not a number") as caught:
        read_rows(tmp_path / "rows.csv", masked_inputs(model, sample), model)
    assert caught.value.where.endswith("rows.csv, line 3: row 1, column 'b'")


def test_archive_holds_rows_by_input_name(make, tmp_path):
    model, sample = make(("x", np.zeros((1, 2))), ("y", np.zeros((1, 1))))
    inputs = masked_inputs(model, sample)
    path = tmp_path / "rows.npz"
    np.savez(path, x=np.ones((3, 2)), y=np.zeros((3, 1)))
    rows = read_rows(path, inputs, model)
    assert (rows["x"].shape, rows["y"].shape) == ((3, 2), (3, 1))
    np.savez(path, x=np.ones((3, 2)), y=np.zeros((2, 1)))
    with pytest.raises(InputError, match="different numbers of rows") as caught:
        read_rows(path, inputs, model)
    assert caught.value.where.endswith("rows.npz: 'x' 3, 'y' 2")
    np.savez(path, z=np.ones((3, 2)))
    with pytest.raises(SettingError, match="no input 'z'"):
        read_rows(path, inputs, model)


def test_lone_array_of_an_archive_may_have_any_name(make, tmp_path):
    np.savez(tmp_path / "rows.npz", anything=np.ones((3, 2)))
    model, sample = make(("x", np.zeros((1, 2))))
    assert read_rows(tmp_path / "rows.npz", masked_inputs(model, sample), model)["x"].shape == (3, 2)


def test_file_of_another_shape_is_named(make, tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((3, 5)))
    model, sample = make(("x", np.zeros((1, 2))))
    with pytest.raises(SettingError, match=r"shape \(3, 5\) does not fit input 'x'") as caught:
        read_rows(tmp_path / "rows.npy", masked_inputs(model, sample), model)
    assert caught.value.where.endswith("rows.npy")


def test_missing_file_is_a_wrong_setting(make, tmp_path):
    model, sample = make(("x", np.zeros((1, 2))))
    with pytest.raises(SettingError, match="there is no such file"):
        read_rows(tmp_path / "rows.csv", masked_inputs(model, sample), model)


def test_drawn_rows_keep_their_order_and_go_together(make):
    model, sample = make(("x", np.zeros((1, 1))), ("y", np.zeros((1, 1))))
    rows = {"x": np.arange(1000.0)[:, None], "y": -np.arange(1000.0)[:, None]}
    draws = [Background(model, masked_inputs(model, sample), seed).draw(rows, 50)["x"].ravel() for seed in (0, 0, 1)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert len(set(draws[0])) == 50
    assert np.all(np.diff(draws[0]) > 0)
    both = Background(model, {}, 0).draw(rows, 50)
    assert np.array_equal(both["x"], -both["y"])
    assert Background(model, {}, 0).draw(rows, 1000)["x"] is rows["x"]
