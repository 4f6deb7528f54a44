"""What a file is that was meant to be an ONNX model and is not: told from its first bytes, for messages."""

from __future__ import annotations

import io
import zipfile

_EXPORT = "export it with torch.onnx.export"
# (offset, bytes, what it is, what to do)
_SIGNATURES = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the model itself", "fetch the model with: git lfs pull"),
    (
        4,
        b"TFL3",
        "a TensorFlow Lite model",
        "convert it with tf2onnx: python -m tf2onnx.convert --tflite FILE",
    ),
    (4, b"ORTM", "a model in ONNX Runtime's own format (.ort)", "use the .onnx file that it was made from"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras weights (.h5)", "export the model with tf2onnx or keras"),
    (0, b"GGUF", "a GGUF model", "use an ONNX export of the model"),
    (0, b"\x80\x02", "a Python pickle, such as a PyTorch checkpoint (.pth)", _EXPORT),
    (0, b"\x80\x03", "a Python pickle", "convert scikit-learn models with skl2onnx"),
    (0, b"\x80\x04", "a Python pickle, such as a saved scikit-learn model", "convert it with skl2onnx"),
    (0, b"\x80\x05", "a Python pickle, such as a saved scikit-learn model", "convert it with skl2onnx"),
    (0, b"ptrt", "a TensorRT engine", "use the .onnx file that it was built from"),
    (0, b"ftrt", "a TensorRT engine", "use the .onnx file that it was built from"),
    (0, b"\x93NUMPY", "a NumPy array (.npy)", ""),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first"),
    (0, b"BZh", "a bzip2 archive", "unpack it first"),
    (0, b"\xfd7zXZ\x00", "an xz archive", "unpack it first"),
    (257, b"ustar", "a tar archive", "unpack it first"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image", "give the model first, then the inputs"),
    (0, b"\xff\xd8\xff", "a JPEG image", "give the model first, then the inputs"),
    (0, b"%PDF", "a PDF document", ""),
)
_TEXTS = (
    (b"<!doctype html", "an HTML page, such as an error page or a login page", "download the model again"),
    (b"<html", "an HTML page, such as an error page or a login page", "download the model again"),
    (b"<?xml", "an XML document, such as an OpenVINO model", "use the .onnx file that it was made from"),
    (b"{", "a JSON document", ""),
)
_ZIP_MEMBERS = (
    ("data.pkl", "a PyTorch checkpoint (.pt, .pth)", _EXPORT),
    ("constants.pkl", "a TorchScript model", _EXPORT),
    ("model.weights.h5", "a Keras model (.keras)", "export it with: model.export('model.onnx', format='onnx')"),
)


def other_format(content: bytes) -> tuple[str, str] | None:
    """Return what the file looks like and a tip, or None if its first bytes are those of nothing known."""
    for offset, magic, words, tip in _SIGNATURES:
        if content.startswith(magic, offset):
            return words, tip
    if content.startswith(b"PK\x03\x04"):
        return _zip_format(content)
    if content[8:10] == b'{"' and int.from_bytes(content[:8], "little") < len(content):
        return "a safetensors file: weights without a graph", _EXPORT
    start = content[:64].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for magic, words, tip in _TEXTS:
        if start.startswith(magic):
            return words, tip
    return None


def _zip_format(content: bytes) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return "a damaged zip archive", "download the file again"
    for member, words, tip in _ZIP_MEMBERS:
        if any(name.rpartition("/")[2] == member for name in names):
            return words, tip
    if names and all(name.endswith(".npy") for name in names):
        return "NumPy arrays (.npz)", ""
    return "a zip archive", "unpack it first"
