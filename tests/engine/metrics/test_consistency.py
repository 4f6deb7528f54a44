"""Consistency: between methods, versions of a model and devices; and what distances mean for the good end."""

import math

import numpy as np
import onnx
import pytest
from onnx import helper

import onnxplain
from metric_scores import value
from onnxplain import CapabilityError, InputError, SettingError
from oracles.graphs import linear, linear_classes, model, random_dense

X = np.array([[1.0, 2.0, -1.0, 0.5]], dtype=np.float32)


def test_method_agreement_is_the_matrix_of_rank_correlations():
    onnx = random_dense(0, 6)
    x = np.random.default_rng(1).normal(size=(1, 6)).astype(np.float32)
    score = value(onnx, x, "ablation", "method-agreement", {"others": "exact-shapley,ablation"}, target=0)
    assert score.parts["ablation"] == pytest.approx(1)
    assert score.value == pytest.approx(np.mean(list(score.parts.values())))
    with pytest.raises(CapabilityError, match="there is no other one"):
        value(onnx, x, "ablation", "method-agreement", target=0)


def test_provider_agreement_needs_another_device():
    with pytest.raises(CapabilityError, match="runs on cpu already"):
        value(onnxplain.load(linear((1, 2, 3, 4)), device="cpu"), X, "ablation", "provider-agreement", target=0)


@pytest.mark.parametrize("metric", ["data-randomisation", "model-agreement"])
def test_another_model_is_compared_with(metric, tmp_path):
    first, other = linear_classes((4, 2, 1, -1), (0, 0, 0, 1)), linear_classes((1, 2, 3, 4), (0, 0, 0, 1))
    (tmp_path / "other.onnx").write_bytes(other)
    settings = {"model": str(tmp_path / "other.onnx"), "similarity": "pearson"}
    score = value(first, X, "ablation", metric, settings, target=0)
    expected = np.corrcoef((4, 2, 1, -1) * X[0], (1, 2, 3, 4) * X[0])[0, 1]
    assert score.value == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("metric", ["data-randomisation", "model-agreement"])
def test_the_other_model_must_be_given_and_take_the_same_inputs(metric):
    with pytest.raises(SettingError, match=f"{metric} needs the setting 'model'"):
        value(linear((1, 2, 3, 4)), X, "ablation", metric, target=0)
    nodes = [helper.make_node("Gemm", ["z", "W"], ["y"], transB=1)]
    other = model(nodes, {"z": ["batch", 4]}, {"y": ["batch", 1]}, {"W": np.ones((1, 4), np.float32)})
    with pytest.raises(InputError, match="takes other inputs: z"):
        value(linear((1, 2, 3, 4)), X, "ablation", metric, {"model": onnxplain.load(other)}, target=0)


@pytest.mark.parametrize("metric", ["data-randomisation", "model-agreement", "implementation-invariance"])
def test_the_model_itself_is_no_other_model(metric, digits, zero):
    with pytest.raises(InputError, match=f"{metric}.model is the very model that is explained"):
        value(digits, zero, "occlusion", metric, {"model": str(digits.path)})


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    import logging

    quantization = pytest.importorskip("onnxruntime.quantization")
    float16 = pytest.importorskip("onnxruntime.transformers.float16")
    folder = tmp_path_factory.mktemp("versions")
    path = onnxplain.models.path("digits-cnn")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    quantization.quantize_dynamic(str(path), str(folder / "int8.onnx"), weight_type=quantization.QuantType.QUInt8)
    logging.disable(before)
    onnx.save(float16.convert_float_to_float16(onnx.load(path), keep_io_types=False), folder / "half.onnx")
    return folder


class TestVersionsOfAModel:
    """Quantised to whole numbers of 8 bits, and in half precision, whose input is half precision too."""

    @pytest.mark.parametrize(("name", "furthest"), [("int8.onnx", 0.1), ("half.onnx", 0.01)])
    def test_decide_for_nearly_the_same_reasons(self, name, furthest, versions, digits, zero):
        file = versions / name
        agreed = value(digits, zero, "occlusion", "model-agreement", {"model": str(file)}, window=2)
        there = onnxplain.explain(onnxplain.load(file), zero, "occlusion", window=2)
        here = onnxplain.explain(digits, zero, "occlusion", window=2)
        phi, other = (one.values["image"].astype(float) for one in (here, there))
        assert agreed.parts["score"] == pytest.approx(there.score, rel=1e-3)
        relative = np.linalg.norm(other - phi) / np.linalg.norm(phi)
        assert agreed.parts["relative difference"] == pytest.approx(relative, abs=1e-3)
        assert 0 < agreed.parts["relative difference"] < furthest
        assert 0.95 < agreed.value <= 1

    def test_are_opened_once(self, versions, digits, zero, monkeypatch):
        from onnxplain.engine.metrics import altered

        opened = []

        class Counted(onnxplain.Model):
            def __init__(self, *given):
                opened.append(given)
                super().__init__(*given)

        monkeypatch.setattr(altered, "Model", Counted)
        file = versions / "again.onnx"
        file.write_bytes((versions / "half.onnx").read_bytes())
        for _ in range(2):
            value(digits, zero, "occlusion", "model-agreement", {"model": str(file)})
        assert len(opened) == 1


def test_providers_agree_by_how_alike_their_explanations_are(monkeypatch):
    """Another device that multiplies otherwise: its map is known."""
    from onnxplain.engine.metrics import provider_agreement
    from onnxplain.engine.runtime import Device

    other = onnxplain.load(linear_classes((4, 2, 1, -2), (0, 0, 0, 1)))
    other.device = Device("elsewhere", (("CPUExecutionProvider", {}),))
    asked = []
    monkeypatch.setattr(provider_agreement, "load", lambda *_, **k: asked.append(k) or other)
    mine = onnxplain.load(linear_classes((4, 2, 1, -1), (0, 0, 0, 1)), device="cpu")
    settings = {"similarity": "pearson", "device": "cuda:1"}
    for _ in range(2):
        score = value(mine, X, "ablation", "provider-agreement", settings, target=0)
    assert [(k["device"], k["providers"]) for k in asked] == [("cuda:1", None)]
    assert score.notes == ()
    here, there = np.array([4, 2, 1, -1]) * X[0], np.array([4, 2, 1, -2]) * X[0]
    assert score.value == pytest.approx(np.corrcoef(here, there)[0, 1], abs=1e-5)
    assert score.parts["relative difference"] == pytest.approx(0.5 / np.linalg.norm(here), rel=1e-5)
    assert score.higher_is_better


def test_a_provider_with_other_options_is_another_device(digits, zero):
    """Two sessions of ONNX Runtime on one processor, one without its arena of memory, compute the same."""
    mine = onnxplain.load(digits.path, providers=[("CPUExecutionProvider", {"use_arena": "0"})])
    score = value(mine, zero, "rise", "provider-agreement", {"device": "cpu"}, masks=100)
    there = [("CPUExecutionProvider", {"use_arena": "1"})]  # a name with options
    assert value(mine, zero, "rise", "provider-agreement", {"providers": there}, masks=100).value == score.value
    assert score.value == pytest.approx(1)
    assert ["to the last bit" in note for note in score.notes] == [True]
    assert score.parts["relative difference"] == pytest.approx(0, abs=1e-6)
    assert score.parts["score"] == pytest.approx(onnxplain.explain(digits, zero, "rise", masks=100).score, rel=1e-6)
    assert score.evaluations == 101  # of the explanation on the other device alone


def test_the_same_provider_by_its_name_is_nothing_to_compare():
    mine = onnxplain.load(linear((1, 2, 3, 4)), device="cpu")
    with pytest.raises(CapabilityError, match="runs on cpu already"):
        value(mine, X, "ablation", "provider-agreement", {"providers": "CPUExecutionProvider"}, target=0)
    with pytest.raises(CapabilityError, match="no provider 'CudaExecutionProvider'"):
        value(mine, X, "ablation", "provider-agreement", {"providers": "CudaExecutionProvider"}, target=0)


class TestDistances:
    """Of distances between maps the other end is good, and the range is another one."""

    @pytest.mark.parametrize(
        ("metric", "likeness", "distance"),
        [("random-logit", False, True), ("seed-agreement", True, False), ("method-agreement", None, None)],
    )
    def test_the_good_end_and_the_range(self, metric, likeness, distance):
        onnx, settings = (
            linear_classes((4, 2, 1, -1), (1, 2, 3, 4)),
            {"others": "ablation"} if "method" in metric else {},
        )
        alike = value(onnx, X, "ablation", metric, settings, target=0)
        apart = value(onnx, X, "ablation", metric, settings | {"similarity": "l2"}, target=0)
        assert (alike.higher_is_better, apart.higher_is_better) == (likeness, distance)
        assert (alike.range, apart.range) == ((-1, 1), (0, math.inf))

    def test_the_value_is_the_distance(self):
        first, second = np.array([4, 2, 1, -1]) * X[0], np.array([1, 2, 3, 4]) * X[0]
        onnx = linear_classes((4, 2, 1, -1), (1, 2, 3, 4))
        found = value(onnx, X, "ablation", "random-logit", {"similarity": "l2"}, target=0)
        assert found.value == pytest.approx(np.linalg.norm(first - second), rel=1e-5)

    def test_the_cascade_begins_at_no_distance(self, digits, zero):
        found = value(digits, zero, "occlusion", "parameter-randomisation", {"similarity": "mse", "stages": 1})
        assert found.curve[1][0] == 0
        assert found.higher_is_better


def test_likeness_of_pictures_by_histograms_of_gradients():
    """Edges of the same directions are alike whatever their strength; those at right angles are not."""
    from onnxplain.engine.metrics.similarity import likeness

    y, x = np.mgrid[:32, :32] / 8
    waves, across = np.sin(2 * np.pi * x), np.sin(2 * np.pi * y)
    assert likeness(waves, 3 * waves + 1, "hog") == pytest.approx(1)
    assert likeness(waves, across, "hog") < 0
    with pytest.raises(CapabilityError, match="HOG compares maps of at least 16 x 16 pixels"):
        likeness(np.eye(8), np.eye(8), "hog")


@pytest.mark.parametrize("kind", ["spearman", "absolute-spearman"])
def test_rounding_has_no_ranks(kind):
    from onnxplain.engine.metrics.similarity import likeness

    nearly = 0.3 + 1e-16 * np.arange(6)
    assert len(np.unique(nearly)) > 1
    assert math.isnan(likeness(nearly, np.arange(6.0), kind))


def test_methods_whose_maps_are_constant_are_left_out_by_name():
    onnx = linear((4, 2, 1, -1))
    others = {"flat": np.ones(4), "same": np.array([4.0, 2, 1, -1])}
    score = value(onnx, X, np.array([4.0, 2, 1, -1]), "method-agreement", {"others": others}, target=0)
    assert score.value == pytest.approx(1)
    assert score.notes == ("left out, for their maps are constant: flat",)


def test_pairs_of_seeds_with_a_constant_map_are_counted():
    from dataclasses import dataclass

    from onnxplain.engine.registry import unregister

    @onnxplain.register("explainer", "flat-for-seed-2", source="a test")
    @dataclass(frozen=True)
    class Flat:
        """Constant for one seed."""

        def explain(self, problem):
            rng = np.random.default_rng(problem.seed)
            values = np.ones((1, 4)) if problem.seed == 2 else rng.normal(size=(1, 4))
            return onnxplain.Explanation({"x": values}, problem.method, {}, "0", 1.0, sample=problem.sample)

    try:
        score = value(linear((4, 2, 1, -1)), X, "flat-for-seed-2", "seed-agreement", target=0)
    finally:
        unregister("flat-for-seed-2")
    assert math.isfinite(score.value)
    assert score.notes == ("3 of 6 pairs are left out: a map is constant",)
