"""The front door: what users import from ``onnxplain``.

>>> import onnxplain
>>> result = onnxplain.explain("model.onnx", "cat.jpg", "rise")  # doctest: +SKIP

Names are loaded when they are first used, so that ``import onnxplain`` and ``onnxplain --help`` cost next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine.analyses.analyse import analyse as analyse
    from .engine.analyses.analysis import Analysis as Analysis
    from .engine.analyses.study import Study as Study
    from .engine.errors import CapabilityError as CapabilityError
    from .engine.errors import InputError as InputError
    from .engine.errors import ModelError as ModelError
    from .engine.errors import OnnxplainError as OnnxplainError
    from .engine.errors import PluginError as PluginError
    from .engine.errors import SettingError as SettingError
    from .engine.evaluation.evaluate import evaluate as evaluate
    from .engine.explain import explain as explain
    from .engine.explanation import Explanation as Explanation
    from .engine.game import Game as Game
    from .engine.home import home as home
    from .engine.inputs.sample import Sample as Sample
    from .engine.inputs.sample import SplitText as SplitText
    from .engine.inputs.text import Text as Text
    from .engine.masking.baselines import Baseline as Baseline
    from .engine.masking.features import Features as Features
    from .engine.metrics.score import Reading as Reading
    from .engine.metrics.score import Score as Score
    from .engine.metrics.trial import Trial as Trial
    from .engine.model import Model as Model
    from .engine.model import TensorSpec as TensorSpec
    from .engine.model import load as load
    from .engine.problem import Problem as Problem
    from .engine.registry import ACTIVATIONS as ACTIVATIONS
    from .engine.registry import DATA as DATA
    from .engine.registry import GRADIENT as GRADIENT
    from .engine.registry import PREDICT as PREDICT
    from .engine.registry import Plugin as Plugin
    from .engine.registry import plugins
    from .engine.registry import register as register
    from .engine.results.replay import replay as replay
    from .engine.settings import Range as Range
    from .engine.spec import InputSpec as InputSpec
    from .engine.spec import ModelSpec as ModelSpec
    from .engine.spec import Preprocessing as Preprocessing
    from .engine.target import Target as Target

    methods = plugins

_ROOMS = {
    "engine.analyses.analyse": ("analyse",),
    "engine.analyses.analysis": ("Analysis",),
    "engine.errors": ("CapabilityError", "InputError", "ModelError", "OnnxplainError", "PluginError", "SettingError"),
    "engine.evaluation.evaluate": ("evaluate",),
    "engine.explain": ("explain",),
    "engine.explanation": ("Explanation",),
    "engine.game": ("Game",),
    "engine.home": ("home",),
    "engine.inputs.sample": ("Sample", "SplitText"),
    "engine.inputs.text": ("Text",),
    "engine.masking.baselines": ("Baseline",),
    "engine.masking.features": ("Features",),
    "engine.metrics.score": ("Reading", "Score"),
    "engine.metrics.trial": ("Trial",),
    "engine.model": ("Model", "TensorSpec", "load"),
    "engine.problem": ("Problem",),
    "engine.registry": ("ACTIVATIONS", "DATA", "GRADIENT", "PREDICT", "Plugin", "register"),
    "engine.results.replay": ("replay",),
    "engine.settings": ("Range",),
    "engine.spec": ("InputSpec", "ModelSpec", "Preprocessing"),
    "engine.analyses.study": ("Study",),
    "engine.target": ("Target",),
}
_HOMES = {name: (room, name) for room, names in _ROOMS.items() for name in names} | {
    "methods": ("engine.registry", "plugins")
}
_PACKAGES = ("adapters", "models")

__all__ = [  # noqa: PLE0604 - strings, computed from the table above
    "__version__",
    *sorted(_HOMES),
]


def __getattr__(name: str) -> Any:
    """Load a public name, or a sub-package that users reach from here, when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("onnxplain")
    if name in _PACKAGES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module 'onnxplain' has no attribute '{name}'")
    room, attribute = _HOMES[name]
    value = getattr(importlib.import_module(f".{room}", __name__), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, *_PACKAGES]
