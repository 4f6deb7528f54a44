"""Backward rules: one mechanism for LRP, Deep Taylor, DeepLIFT, guided and excitation backpropagation, and attention.

A ``RuleSet`` maps kinds of nodes to rules; a rule is a frozen dataclass with ``back(site) -> function of a Moment``:

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Halved:
...     '''R_x = R_y / 2.'''
...     def back(self, site):
...         return lambda moment: [moment.R[0] / 2]
>>> rules = RuleSet("halved", (("linear", Epsilon()), ("sum", Epsilon()), ("activation", Halved())))

What goes back is relevance (or, with ``flow="gradient"``, gradients): a rule returns it for each tensor that the node
reads, in the order of ``moment.xs``, and torch adds up what comes to a tensor by several ways. So residual sums are
nodes with a rule of their own (any rule for linear maps), and shape operations need none. ``Flow`` runs a problem under
rules, at any tensor:

>>> import numpy as np, onnxplain
>>> from onnxplain.adapters.torch.gradient.slopes import Slopes
>>> from onnxplain.engine.problem import Problem
>>> from onnxplain.engine.target import resolve
>>> model = onnxplain.load(onnxplain.models.path("digits-cnn"))
>>> feeds = {"image": np.full((1, 1, 8, 8), 0.5, np.float32)}
>>> problem = Problem(model, onnxplain.Sample(feeds), resolve("3", model, feeds))
>>> rules = RuleSet("lrp-0", (("linear", ZERO), ("sum", ZERO), ("activation", Pass()), ("max-pool", Exact())))
>>> found = Flow(Slopes.of([problem], rules=rules)).at_samples()
>>> found.relevance["image"].shape
torch.Size([1, 1, 8, 8])

``found.lost`` holds, by the tensor that a node makes, the relevance that the node kept (biases, epsilon).
``Slopes.of(problems, taps=(...), rules=rules)`` gives relevance at inner tensors too: it is a gradient for autograd.

Rules: for linear maps ``Epsilon``, ``Gamma``, ``AlphaBeta``, ``WSquared``, ``Flat``, ``Box``; for any node ``Pass``,
``Stop``, ``Taylor`` (x times the gradient, with R / y coming back: AttnLRP's softmax rule) and ``Exact`` (the plain
gradient); for products ``Half`` (bilinear) and ``Gate``; for normalisation ``Detached`` (LN-rule) or ``Pass``; for
recurrent cells ``Cells``. For differences from a reference (``Flow.run(..., references=...)``): ``Rescale``,
``RevealCancel``, ``Largest``, ``Averaged``, DeepLIFT's; linear maps keep their gradient (``Transpose``). Where a
RuleSet has a rule for ``attention``, decomposed attention is put together and given to that rule; without one its
products and softmax are nodes of their own.
"""

from .averaged import Averaged
from .deeplift import Largest, Rescale, RevealCancel, Transpose
from .first_layer import Box, Flat, WSquared
from .flow import Flow, Returned, joined
from .kinds import FORMS, KINDS
from .linear import Linear
from .lrp import Z_PLUS, ZERO, AlphaBeta, Contrast, Epsilon, Gamma
from .mixing import Detached, Gate, Half, Proportional
from .rectified import Rectified
from .recurrent import Cells
from .rule import Exact, Pass, Rule, Stop, Taylor, share, stabilised, unfit
from .ruled import Moment, Ruled
from .ruleset import KEYS, RuleSet
from .sites import Site
from .transposes import to_factors, transposed

__all__ = [
    "FORMS",
    "KEYS",
    "KINDS",
    "ZERO",
    "Z_PLUS",
    "AlphaBeta",
    "Averaged",
    "Box",
    "Cells",
    "Contrast",
    "Detached",
    "Epsilon",
    "Exact",
    "Flat",
    "Flow",
    "Gamma",
    "Gate",
    "Half",
    "Largest",
    "Linear",
    "Moment",
    "Pass",
    "Proportional",
    "Rectified",
    "Rescale",
    "Returned",
    "RevealCancel",
    "Rule",
    "RuleSet",
    "Ruled",
    "Site",
    "Stop",
    "Taylor",
    "Transpose",
    "WSquared",
    "joined",
    "share",
    "stabilised",
    "to_factors",
    "transposed",
    "unfit",
]
