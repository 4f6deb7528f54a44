import dataclasses

import numpy as np
import pytest

from onnxplain.engine.errors import SettingError
from onnxplain.engine.inputs.sample import Sample
from onnxplain.engine.render.plane import outline_segments, plane_of, worth_outlining


def with_values(explanation, values, **fields):
    return dataclasses.replace(explanation, values={"pixels": values}, **fields)


def test_channels_first_are_added_up(of_image):
    plane = plane_of(of_image)
    assert plane.data == pytest.approx(of_image.values["pixels"][0].sum(axis=0))
    assert plane.note == "Sum over 3 channels."
    assert plane.picture is of_image.sample.image


def test_channels_last_give_the_same_map(of_image):
    last = with_values(of_image, of_image.values["pixels"].transpose(0, 2, 3, 1))
    assert plane_of(last).data == pytest.approx(plane_of(of_image).data)


def test_a_value_shared_by_all_channels_is_not_multiplied(of_image):
    values = np.repeat(of_image.values["pixels"][:, :1], 3, axis=1)
    errors = np.full(values.shape, 0.25)
    plane = plane_of(with_values(of_image, values, standard_error={"pixels": errors}))
    assert np.array_equal(plane.data, values[0, 0])
    assert np.array_equal(plane.error, errors[0, 0])
    assert plane.note == ""


def test_errors_of_channels_that_are_added_up_add_in_squares(of_image):
    errors = np.full((1, 3, 12, 16), 0.5)
    assert plane_of(dataclasses.replace(of_image, standard_error={"pixels": errors})).error == pytest.approx(0.75**0.5)


def test_channels_first_where_the_layout_is_ambiguous(of_image):
    values = np.random.default_rng(1).normal(size=(1, 3, 3, 3))
    sample = dataclasses.replace(of_image.sample, image=np.zeros((3, 3, 3), np.uint8))
    plane = plane_of(with_values(of_image, values, sample=sample))
    assert plane.data == pytest.approx(values[0].sum(axis=0))


def test_an_array_without_picture_gets_its_input_in_grey(of_image):
    feed = np.linspace(-2, 2, 12 * 16).reshape(1, 1, 12, 16).astype(np.float32)
    sample = Sample(feeds={"pixels": feed}, modality="image")
    plane = plane_of(with_values(of_image, np.ones((1, 1, 12, 16)), sample=sample))
    assert plane.picture[0, 0].tolist() == [0, 0, 0]
    assert plane.picture[-1, -1].tolist() == [255, 255, 255]
    assert plane.picture_title == "input, black −2 to white 2"


def test_hidden_activations_are_a_map_without_picture(of_image):
    values = np.random.default_rng(1).normal(size=(1, 64, 7, 9))
    plane = plane_of(dataclasses.replace(of_image, values={"hidden": values}))
    assert plane.picture is None
    assert plane.data == pytest.approx(values[0].sum(axis=0))


def test_rows_of_a_table_are_no_map(of_table):
    square = dataclasses.replace(of_table, values={"X": np.ones((1, 5, 5))})
    assert plane_of(of_table) is None
    assert plane_of(square) is None


def test_features_that_fill_the_picture_are_no_map(of_image):
    whole = dataclasses.replace(
        of_image,
        feature_values=np.array([1.0, 2.0, 3.0]),
        feature_names=("red", "green", "blue"),
        feature_labels={"pixels": np.arange(3).reshape(1, 3, 1, 1)},
    )
    assert plane_of(whole) is None


def test_labels_of_an_input_without_batch_axis_lie_on_it(of_tiles):
    bare = with_values(of_tiles, of_tiles.values["pixels"][0])
    assert np.array_equal(plane_of(bare).labels, of_tiles.feature_labels["pixels"][0, 0])


def test_an_unknown_input_names_the_nearest(of_image):
    with pytest.raises(SettingError, match="did you mean 'pixels'"):
        plane_of(of_image, "pixel")


def test_outlines_run_between_pixels_of_different_features():
    labels = np.array([[0, 0, 1], [0, 0, 1], [2, 2, 2]])
    lines = {tuple(map(tuple, line)) for line in outline_segments(labels).tolist()}
    assert lines == {((-0.5, 1.5), (2.5, 1.5)), ((1.5, -0.5), (1.5, 1.5))}


def test_outlines_cover_each_border_exactly_once():
    labels = np.random.default_rng(3).integers(0, 3, (9, 14))
    lines = outline_segments(labels)
    length = np.abs(lines[:, 1] - lines[:, 0]).sum()
    assert length == (labels[1:] != labels[:-1]).sum() + (labels[:, 1:] != labels[:, :-1]).sum()


def test_only_coarse_partitions_are_worth_outlining():
    pixels = np.arange(400).reshape(20, 20)
    assert not worth_outlining(pixels)
    assert not worth_outlining(np.zeros((20, 20)))
    assert worth_outlining(pixels // 20 // 5)
