"""The recipes of models of texts: their data, the smaller model on made-up sentences, and the real ones by network."""

import io
import tarfile

import numpy as np
import pytest

import onnxplain
from onnxplain import Text
from onnxplain.engine.errors import ModelError
from onnxplain.models import catalogue
from onnxplain.models.text import ARCHIVE, CLASSES, SENTENCE, SNIPPETS, convert_tfidf, fit_tfidf, reviews, two_classes


def package(folder, lines, name=SNIPPETS):
    """A source package with the sentences where the real one has them."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        add(archive, name, "".join(lines).encode())
    path = folder / "p.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        add(archive, f"p-1/{ARCHIVE}", inner.getvalue())
    return path


def add(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def rated(count=2100):
    return [
        f"{k}\t{(-1.5, 0.0, 2.25)[k % 3]}\t{('dull', 'so-so', 'wonderful')[k % 3]} film {k}\r\n" for k in range(count)
    ]


def test_sentences_are_rated_by_their_sign_and_those_without_are_left_out(tmp_path):
    found = reviews(package(tmp_path, rated(3300)))
    assert len(found.texts) == 200
    assert len(found.held_out_texts) == 2000
    assert not set(found.texts) & set(found.held_out_texts)
    for texts, praise in (found[:2], found[2:]):
        assert [("wonderful" in text) for text in texts] == praise.tolist()
    assert reviews(package(tmp_path, rated(3300))).texts == found.texts


def test_package_without_the_sentences_is_refused(tmp_path):
    with pytest.raises(ModelError, match="has no file"):
        reviews(package(tmp_path, rated(), name="other.txt"))
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ModelError, match="has no file"):
        reviews(tmp_path / "x.tar.gz")
    with pytest.raises(ModelError, match="only 20 rated"):
        reviews(package(tmp_path, rated(30)))


def test_converted_model_agrees_with_scikit_learn_on_any_text(tmp_path):
    words = ["a", "wonderful", "moving", "film", "dull", "script", "Not", "don't", "café", "2nd"]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, 6)) for _ in range(60)]
    pipeline = fit_tfidf(texts, np.array(["wonderful" in text for text in texts]))
    model = onnxplain.load(convert_tfidf(pipeline).SerializeToString(), device="cpu")
    asked = [*texts[:20], SENTENCE, "", "!!!", "WONDERFUL, film", "unknown words only", "a\nb  c"]
    found = model.predict({"text": np.array([[text] for text in asked], dtype=object)})["probabilities"]
    assert found == pytest.approx(pipeline.predict_proba(asked), abs=1e-5)
    explained = onnxplain.explain(model, Text(SENTENCE), "exact-shapley", target=1)
    assert explained.top_features(1)[0][0] == "wonderful"
    assert explained.gap == pytest.approx(0, abs=1e-6)


def test_two_classes_have_the_logits_of_one():
    matrix, bias = two_classes(np.array([1.0, -2.0]), 0.5)
    x = np.array([0.25, 4.0])
    logits = matrix @ x + bias
    assert logits[1] - logits[0] == pytest.approx(1.0 * 0.25 - 2.0 * 4.0 + 0.5)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNXPLAIN_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.mark.network
@pytest.mark.parametrize("name", ["tfidf-sentiment", "minilm-sentiment"])
def test_real_models_know_praise_and_point_at_the_adjectives(home, name):
    model = onnxplain.load(catalogue.build(name))
    share = float((catalogue.path(name).parent / "accuracy.txt").read_text().split()[0])
    assert share == pytest.approx({"tfidf-sentiment": 0.7985, "minilm-sentiment": 0.77}[name], abs=0.01)
    assert model.labels == CLASSES
    result = onnxplain.explain(model, Text(SENTENCE), "exact-shapley")
    assert result.label == "positive"
    assert {word for word, _ in result.top_features(2)} == {"wonderful", "moving"}
    samples = [file for file in catalogue.samples(name) if file.name == "wonderful.txt"]
    settings = {"baseline": "mask"} if name == "minilm-sentiment" else {}
    from_file = onnxplain.explain(model, samples[0], "occlusion", **settings)
    assert {word for word, _ in from_file.top_features(2)} == {"wonderful", "moving"}
