"""Peers that do the same work, each as its own documentation uses it; those that are not installed are left out."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable

import numpy as np

import onnxplain

Run = Callable[[], int]


def available(path: str, photograph: str, evaluations: int) -> dict[str, Run]:
    """Return, by name, functions that explain the photograph in about ``evaluations`` rows and return how many."""
    model = onnxplain.load(path, device="cpu")
    explained = onnxplain.explain(model, photograph, "occlusion", window=112, stride=112)
    image = explained.sample.feeds["images"]
    target = explained.manifest["target_index"][-1]
    found: dict[str, Run] = {}
    for package, name, make in (
        ("dianna", "dianna RISE", _dianna),
        ("shap", "shap KernelExplainer", _shap),
        ("captum", "captum Occlusion (on torch modules)", _captum),
    ):
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed: left out (pip install, see CONTRIBUTING)")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found[name] = make(path, image, target, evaluations)
    return found


def _dianna(path: str, image: np.ndarray, target: int, evaluations: int) -> Run:
    import dianna

    def run() -> int:
        dianna.explain_image(
            path, image[0], method="RISE", labels=[target], n_masks=evaluations, axis_labels={0: "channels"}, p_keep=0.5
        )
        return evaluations

    return run


def _shap(path: str, image: np.ndarray, target: int, evaluations: int) -> Run:
    import onnxruntime as ort
    import shap

    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    labels = _superpixels(image)

    def scores(coalitions: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(coalitions), 8):
            mask = coalitions[start : start + 8][:, labels][:, None]
            parts.append(session.run(None, {"images": (image * mask).astype(np.float32)})[0][:, target])
        return np.concatenate(parts)

    features = int(labels.max()) + 1

    def run() -> int:
        explainer = shap.KernelExplainer(scores, np.zeros((1, features)))
        explainer.shap_values(np.ones((1, features)), nsamples=evaluations, silent=True)
        return evaluations

    return run


def _captum(path: str, image: np.ndarray, target: int, evaluations: int) -> Run:
    import onnx
    import torch
    from captum.attr import Occlusion

    from onnxplain.adapters.torch import convert

    module = convert(onnx.load(path)).eval()
    side = round(evaluations**0.5) - 1
    stride = max(1, (224 - 32) // side)
    steps = 1 + -(-(224 - 32) // stride)

    def run() -> int:
        with torch.no_grad():
            Occlusion(module).attribute(
                torch.from_numpy(image),
                sliding_window_shapes=(3, 32, 32),
                strides=(3, stride, stride),
                target=target,
                perturbations_per_eval=8,
            )
        return steps * steps + 1

    return run


def _superpixels(image: np.ndarray) -> np.ndarray:
    from skimage.segmentation import slic

    picture = (image[0].transpose(1, 2, 0) - image.min()) / (image.max() - image.min())
    return slic(picture, n_segments=50, start_label=0)
