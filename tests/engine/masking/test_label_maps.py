import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from onnxplain.engine.errors import InputError, SettingError
from onnxplain.engine.masking.label_maps import as_array, read_labels


def test_numbers_of_a_palette_image_are_labels_not_colours(tmp_path):
    labels = np.array([[0, 1], [2, 1]], np.uint8)
    image = Image.fromarray(labels, mode=None).convert("L")
    palette = Image.fromarray(labels)
    palette.putpalette([255, 0, 0, 9, 9, 9, 0, 0, 255])
    palette.save(tmp_path / "palette.png")
    image.save(tmp_path / "grey.png")
    assert palette.mode == "P"
    assert np.array_equal(read_labels(tmp_path / "palette.png"), labels)
    assert np.array_equal(read_labels(tmp_path / "grey.png"), labels)


def test_sixteen_bit_labels_are_kept(tmp_path):
    labels = np.array([[0, 300], [65535, 300]], np.uint16)
    Image.fromarray(labels).save(tmp_path / "many.png")
    assert np.array_equal(read_labels(tmp_path / "many.png"), labels)


def test_array_file(tmp_path):
    np.save(tmp_path / "map.npy", np.array([[3, -1]]))
    assert read_labels(tmp_path / "map.npy").tolist() == [[3, -1]]


def test_colour_image_holds_no_labels(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "colour.png")
    with pytest.raises(SettingError, match="this image is RGB; a label map is a grey or palette image"):
        read_labels(tmp_path / "colour.png")


def test_other_formats_are_refused_whatever_they_are_called(tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "photo.png", format="JPEG")
    with pytest.raises(InputError, match="this is a JPEG image, not a PNG image"):
        read_labels(tmp_path / "photo.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(InputError, match="this is not a PNG image"):
        read_labels(tmp_path / "text.png")


def test_cut_off_image_is_refused(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(np.arange(10_000, dtype=np.uint8).reshape(100, 100)).save(whole, "PNG")
    (tmp_path / "cut.png").write_bytes(whole.getvalue()[:60])
    with pytest.raises(InputError, match="damaged or cut off"):
        read_labels(tmp_path / "cut.png")


@pytest.mark.parametrize("side", [10_000, 200_000])
def test_bomb_is_refused_before_it_unpacks(tmp_path, side):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(InputError, match=r"more than (the limit of )?50,000,000"):
        read_labels(tmp_path / "bomb.png")


def test_missing_file_is_a_wrong_setting(tmp_path):
    (tmp_path / "labels.png").write_bytes(b"")
    with pytest.raises(SettingError, match="there is no such file") as caught:
        read_labels(tmp_path / "label.png")
    assert caught.value.tip == "did you mean 'labels.png'?"


def test_pickle_is_refused(tmp_path):
    np.save(tmp_path / "map.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickled Python objects"):
        read_labels(tmp_path / "map.npy")


def test_archive_of_several_arrays_is_no_label_map(tmp_path):
    with (tmp_path / "map.npy").open("wb") as file:
        np.savez(file, a=np.zeros(2), b=np.zeros(2))
    with pytest.raises(SettingError, match="this file holds 2 arrays; a label map is one"):
        read_labels(tmp_path / "map.npy")


@pytest.mark.parametrize("value", [[[1, 2], [3]], [object()], {1, 2}, [10**400], [None]])
def test_what_is_no_array_is_refused(value):
    with pytest.raises(SettingError, match="a label map cannot be made from"):
        as_array(value, "a label map")
