from __future__ import annotations

import io
import os
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from onnxplain.engine.errors import InputError
from onnxplain.engine.inputs.image import load_image, to_array, to_view
from onnxplain.engine.spec import PRESETS, Preprocessing

F32 = np.dtype(np.float32)
NONE = Preprocessing(size=(0, 0))


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def saved(tmp_path, picture, name="x.png", **options):
    path = tmp_path / name
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(path, **options)
    return path


def pixels(path, preprocessing=NONE, **options):
    """Return the uint8 view, and check that the array holds the same numbers."""
    array, view = load_image(path, preprocessing, "NHWC", F32, **options)
    assert view.dtype == np.uint8
    np.testing.assert_array_equal(array[0], view)
    return view


def plain_torchvision(path, short, crop, filter_name, scale, mean, std):
    """Resize(short), CenterCrop(crop), ToTensor, Normalize, written out for a colour image."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    new = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    resized = np.asarray(image.resize(new, getattr(Image.Resampling, filter_name.upper())))
    top = int(round((resized.shape[0] - crop[0]) / 2.0))  # noqa: RUF046  # as torchvision writes it
    left = int(round((resized.shape[1] - crop[1]) / 2.0))  # noqa: RUF046  # as torchvision writes it
    cropped = resized[top : top + crop[0], left : left + crop[1]]
    channels = [(cropped[..., c] * scale - mean[c]) / std[c] for c in range(3)]
    return cropped, np.asarray(channels)[None]


@pytest.mark.parametrize("shape", [(37, 61), (61, 37), (50, 50), (40, 41), (256, 300)])
@pytest.mark.parametrize("filter_name", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
@pytest.mark.parametrize("crop", [(31, 31), (28, 32)])
def test_resize_and_crop_are_torchvisions(tmp_path, shape, filter_name, crop):
    path = saved(tmp_path, noise(*shape))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    settings = Preprocessing(size=crop, resize=36, interpolation=filter_name, scale=1 / 255, mean=mean, std=std)
    array, view = load_image(path, settings, "NCHW", F32)
    wanted_view, wanted = plain_torchvision(path, 36, crop, filter_name, 1 / 255, mean, std)
    np.testing.assert_array_equal(view, wanted_view)
    assert array.shape == (1, 3, *crop)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, wanted, rtol=0, atol=2e-7)  # one rounding to float32 of values below 3


def test_without_a_short_side_the_image_is_stretched_to_size(tmp_path):
    path = saved(tmp_path, noise(20, 40))
    view = pixels(path, Preprocessing(size=(16, 12)))
    np.testing.assert_array_equal(view, Image.open(path).resize((12, 16), Image.Resampling.BILINEAR))


def test_stretch_resizes_both_sides_before_the_crop(tmp_path):
    path = saved(tmp_path, noise(20, 40))
    view = pixels(path, Preprocessing(size=(16, 12), resize=18, stretch=True))
    whole = np.asarray(Image.open(path).resize((18, 18), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(view, whole[1:17, 3:15])


def test_without_any_size_the_image_keeps_its_own(tmp_path):
    picture = noise(5, 7)
    np.testing.assert_array_equal(pixels(saved(tmp_path, picture)), picture)
    path = saved(tmp_path, noise(20, 40))
    assert pixels(path, Preprocessing(size=(0, 0), resize=10)).shape == (10, 20, 3)


def test_an_image_that_is_too_narrow_for_the_crop_is_refused(tmp_path):
    path = saved(tmp_path, noise(40, 20))
    with pytest.raises(InputError, match=r"10 x 20 pixels: too few for a crop of 16 x 8"):
        load_image(path, Preprocessing(size=(8, 16), resize=10), "NCHW", F32)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [("NCHW", (1, 3, 4, 5)), ("NHWC", (1, 4, 5, 3)), ("CHW", (3, 4, 5)), ("HWC", (4, 5, 3)), ("WHNC", (5, 4, 1, 3))],
)
def test_the_layout_orders_the_axes(tmp_path, layout, shape):
    picture = noise(4, 5)
    array, view = load_image(saved(tmp_path, picture), NONE, layout, F32)
    assert array.shape == shape
    assert array.flags.c_contiguous
    index = {"N": 0, "C": 1, "H": 2, "W": 3}
    assert array[tuple(index[letter] for letter in layout)] == picture[2, 3, 1]
    np.testing.assert_array_equal(to_view(array, NONE, layout), view)


def test_grey_inputs_take_luminance_with_or_without_a_channel_axis(tmp_path):
    picture = noise(4, 5)
    path = saved(tmp_path, picture)
    grey = Preprocessing(size=(0, 0), colour="L")
    luminance = np.asarray(Image.open(path).convert("L"))
    exact = picture @ [0.299, 0.587, 0.114]
    assert np.abs(luminance - exact).max() <= 0.51
    for layout, shape in (("NCHW", (1, 1, 4, 5)), ("NHW", (1, 4, 5)), ("HW", (4, 5))):
        array, view = load_image(path, grey, layout, F32)
        assert array.shape == shape
        np.testing.assert_array_equal(array.reshape(4, 5), luminance)
        np.testing.assert_array_equal(view, np.stack([luminance] * 3, axis=2))
        np.testing.assert_array_equal(to_view(array, grey, layout), view)
    with pytest.raises(InputError, match="no axis for 3 channels"):
        load_image(path, NONE, "NHW", F32)


def test_grey_is_made_before_the_resize(tmp_path):
    path = saved(tmp_path, noise(40, 50))
    _, view = load_image(path, Preprocessing(size=(9, 11), colour="L"), "NCHW", F32)
    np.testing.assert_array_equal(
        view[..., 0], Image.open(path).convert("L").resize((11, 9), Image.Resampling.BILINEAR)
    )


def test_bgr_reverses_the_array_and_not_the_view(tmp_path):
    picture = noise(4, 5)
    caffe = Preprocessing(size=(0, 0), colour="BGR", mean=(104.0, 117.0, 124.0))
    array, view = load_image(saved(tmp_path, picture), caffe, "NCHW", F32)
    np.testing.assert_array_equal(view, picture)
    np.testing.assert_array_equal(array[0, 0], picture[..., 2] - 104.0)
    np.testing.assert_array_equal(array[0, 2], picture[..., 0] - 124.0)
    np.testing.assert_array_equal(to_view(array, caffe, "NCHW"), picture)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_each_value_is_rounded_once_to_the_inputs_type(tmp_path, dtype):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(3).reshape(16, 16, 3)
    array, _ = load_image(saved(tmp_path, ramp), PRESETS["minus-one-to-one"], "NHWC", np.dtype(dtype))
    wanted = (np.arange(256.0) * (1 / 127.5) - 1).astype(dtype)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array[0, ..., 0].ravel(), wanted)


def test_integer_inputs_take_values_that_fit(tmp_path):
    picture = noise(4, 5)
    path = saved(tmp_path, picture)
    array, _ = load_image(path, NONE, "NHWC", np.dtype(np.uint8))
    np.testing.assert_array_equal(array[0], picture)
    array, _ = load_image(path, Preprocessing(size=(0, 0), mean=(128.0,)), "NHWC", np.dtype(np.int8))
    np.testing.assert_array_equal(array[0], picture.astype(int) - 128)


@pytest.mark.parametrize(
    ("preprocessing", "dtype", "message"),
    [
        (NONE, np.int8, "from 0 to 255, which int8 cannot hold"),
        (PRESETS["unit"], np.uint8, "from 0 to 1, which uint8 cannot hold"),
        (Preprocessing(size=(0, 0), scale=1e308, std=(1e-300,)), np.float32, "from 0 to inf, which float32 cannot"),
        (Preprocessing(size=(0, 0), mean=(1.0,)), np.uint8, "from -1 to 254, which uint8"),
        (Preprocessing(size=(0, 0), scale=1e4), np.float16, r"from 0 to 2.55e\+06, which float16"),
        (NONE, object, "input of type string"),
        (NONE, bool, "input of type bool"),
    ],
)
def test_types_that_cannot_hold_the_values_are_refused(tmp_path, preprocessing, dtype, message):
    with pytest.raises(InputError, match=message):
        load_image(saved(tmp_path, noise(4, 5)), preprocessing, "NHWC", np.dtype(dtype))


def test_views_survive_any_preprocessing_and_back():
    picture = noise(6, 7)
    for preset in PRESETS.values():
        array = to_array(picture, preset, "NCHW", F32)
        np.testing.assert_array_equal(to_view(array, preset, "NCHW"), picture)
    edited = np.full((1, 3, 2, 2), 99.0, np.float32)
    assert to_view(edited, PRESETS["unit"], "NCHW").max() == 255
    with pytest.raises(InputError, match="not one image with 3 channels"):
        to_view(np.zeros((2, 3, 4, 4)), NONE, "NCHW")
    with pytest.raises(InputError, match="axes NCHW"):
        to_view(np.zeros((3, 4, 4)), NONE, "NCHW")


def test_transparent_parts_are_shown_over_white(tmp_path):
    picture = np.dstack([noise(4, 5), np.array([[0, 255, 51, 255, 0]] * 4, np.uint8)])
    view = pixels(saved(tmp_path, picture))
    alpha = picture[..., 3:] / 255
    exact = picture[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(view - exact).max() <= 1
    np.testing.assert_array_equal(view[:, 1], picture[:, 1, :3])
    assert (view[:, 0] == 255).all()
    grey = Image.fromarray(picture[..., 0]).convert("LA")
    grey.putalpha(Image.fromarray(picture[..., 3]))
    assert (pixels(saved(tmp_path, grey))[:, 0] == 255).all()


def test_palettes_are_looked_up_with_their_transparency(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    wanted = np.array([[[10, 20, 30], [40, 50, 60], [70, 80, 90]]])
    np.testing.assert_array_equal(pixels(saved(tmp_path, image)), wanted)
    wanted[0, 1] = 255
    np.testing.assert_array_equal(pixels(saved(tmp_path, image, transparency=1)), wanted)
    np.testing.assert_array_equal(pixels(saved(tmp_path, image, transparency=b"\xff\x00\xff")), wanted)


def test_a_transparent_colour_of_an_opaque_mode_is_white(tmp_path):
    grey = np.array([[5, 9]], np.uint8)
    np.testing.assert_array_equal(pixels(saved(tmp_path, grey, transparency=9))[0, :, 0], [5, 255])
    colour = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    np.testing.assert_array_equal(pixels(saved(tmp_path, colour, transparency=(1, 2, 3)))[0], [[255] * 3, [4, 5, 6]])


def test_sixteen_bits_are_scaled_to_eight_not_cut_off(tmp_path):
    deep = np.array([[0, 128, 129, 257, 25700, 65406, 65407, 65535]], np.uint16)
    path = saved(tmp_path, deep)
    with Image.open(path) as image:
        assert image.mode == "I;16"
    np.testing.assert_array_equal(pixels(path)[0, :, 0], [0, 0, 1, 1, 100, 254, 255, 255])
    np.testing.assert_array_equal(pixels(saved(tmp_path, deep, transparency=25700))[0, 4], [255] * 3)


def test_one_bit_images_are_black_and_white(tmp_path):
    image = Image.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1")
    assert image.mode == "1"
    np.testing.assert_array_equal(pixels(saved(tmp_path, image))[0, :, 0], [0, 255, 255])


def test_cmyk_is_converted(tmp_path):
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[..., 0] = 255
    view = pixels(saved(tmp_path, Image.frombytes("CMYK", (8, 8), inks.tobytes()), "x.jpg"))
    assert np.abs(view.astype(int) - [0, 255, 255]).max() <= 3


def test_exif_rotation_is_applied(tmp_path):
    picture = noise(3, 5)
    for orientation, wanted in (
        (3, np.rot90(picture, 2)),
        (6, np.rot90(picture, -1)),
        (8, np.rot90(picture)),
        (2, picture[:, ::-1]),
    ):
        exif = Image.Exif()
        exif[0x0112] = orientation
        np.testing.assert_array_equal(pixels(saved(tmp_path, picture, exif=exif)), wanted)


@pytest.mark.parametrize(("name", "loss"), [("x.bmp", 0), ("x.webp", 0), ("x.jpg", 40)])
def test_formats_are_recognised_by_content_whatever_the_name(tmp_path, name, loss):
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(9)), axis=2)
    options = {"lossless": True} if name == "x.webp" else {}
    path = saved(tmp_path, picture, name, **options).rename(tmp_path / "renamed.png")
    assert np.abs(pixels(path).astype(int) - picture).max() <= loss


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header_bomb(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(200_000, 200_000), (10_000, 9_500), (50_000_001, 1)])
def test_a_header_that_declares_too_many_pixels_is_refused_before_decoding(tmp_path, width, height):
    path = tmp_path / "bomb.png"
    path.write_bytes(header_bomb(width, height))
    with pytest.raises(InputError, match="50,000,000"):  # and no warning: those are errors here
        load_image(path, PRESETS["imagenet"], "NCHW", F32)


def test_the_pixel_limit_can_be_set(tmp_path):
    path = saved(tmp_path, noise(10, 10))
    assert pixels(path, max_pixels=100).shape == (10, 10, 3)
    with pytest.raises(InputError, match=r"10 x 10 pixels, more than the limit of 99"):
        load_image(path, NONE, "NCHW", F32, max_pixels=99)


def test_a_thin_strip_may_not_grow_beyond_the_limit(tmp_path):
    path = saved(tmp_path, noise(1, 1000))
    with pytest.raises(InputError, match=r"256000 x 256 pixels, more than the limit of .*, once it is resized"):
        load_image(path, PRESETS["imagenet"], "NCHW", F32)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"GIF89a" + b"\0" * 50, "a GIF image"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript document"),
        (b"\xc5\xd0\xd3\xc6" + b"\0" * 30, "an EPS document"),
        (b"8BPS\0\1" + b"\0" * 30, "a Photoshop document"),
        (b"SIMPLE  =                    T", "a FITS image"),
        (b"<html><body>Not found", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"", "an empty file"),
        (b"hello", "this cannot be read as an image"),
    ],
)
def test_other_files_named_png_are_refused_by_what_they_are(tmp_path, content, words):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        load_image(path, NONE, "NCHW", F32)
    assert "PNG, JPEG, BMP, WEBP" in str(caught.value)


@pytest.mark.parametrize("name", ["x.gif", "x.tiff", "x.ppm", "x.ico", "x.tga"])
def test_formats_off_the_list_are_refused_though_pillow_reads_them(tmp_path, name):
    path = saved(tmp_path, noise(16, 16), name).rename(tmp_path / "x.png")
    with Image.open(path) as image:
        image.load()
    with pytest.raises(InputError, match="read as an image"):
        load_image(path, NONE, "NCHW", F32)


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp", "x.bmp"])
def test_images_that_are_cut_off_are_refused(tmp_path, name):
    path = saved(tmp_path, noise(32, 32), name)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"damaged|cannot be read further"):
        load_image(path, NONE, "NCHW", F32)


def test_damaged_images_are_read_or_refused_and_nothing_else(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    originals = []
    for options in (
        {"format": "PNG", "exif": exif},
        {"format": "JPEG", "exif": exif},
        {"format": "BMP"},
        {"format": "WEBP"},
    ):
        buffer = io.BytesIO()
        Image.fromarray(noise(9, 11)).save(buffer, **options)
        originals.append(buffer.getvalue())
    draw = random.Random(0)  # noqa: S311  # which bytes to damage
    path = tmp_path / "x.png"
    refused = 0
    for _ in range(400):
        content = bytearray(draw.choice(originals))
        for _ in range(draw.choice([1, 3, 10])):
            content[draw.randrange(min(len(content), 300))] = draw.randrange(256)
        path.write_bytes(content)
        try:
            _, view = load_image(path, NONE, "NCHW", F32, max_pixels=1000)
        except InputError:
            refused += 1
        else:
            assert view.size <= 3000
    assert 50 < refused < 400


def test_a_missing_file_is_named_with_its_neighbours(tmp_path):
    saved(tmp_path, noise(2, 2), "photo.png")
    with pytest.raises(InputError, match=r"no such file[\s\S]*did you mean 'photo.png'"):
        load_image(tmp_path / "foto.png", NONE, "NCHW", F32)
    with pytest.raises(InputError, match="folder, not a file"):
        load_image(tmp_path, NONE, "NCHW", F32)


def test_a_pipe_is_refused_without_waiting(tmp_path):
    path = tmp_path / "x.png"
    os.mkfifo(path)
    with pytest.raises(InputError, match="pipe"):
        load_image(path, NONE, "NCHW", F32)


def test_control_bytes_in_a_file_name_are_escaped(tmp_path):
    path = tmp_path / "a\x1b[31m.png"
    path.write_bytes(b"hello")
    with pytest.raises(InputError) as caught:
        load_image(path, NONE, "NCHW", F32)
    assert "\x1b" not in str(caught.value)
    assert r"a\x1b[31m.png" in str(caught.value)
