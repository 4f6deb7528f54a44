"""CAM: the weights of the linear layer behind a global average pooling, laid over the pooled channels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from .. import graph
from ..errors import CapabilityError, printable
from ..graph.structure import attribute_of
from ..registry import ACTIVATIONS, register
from ..runtime import Session
from .flow import Flow
from .layer import layer_of
from .maps import explanation_of, scores_of, weighted

if TYPE_CHECKING:
    from onnx import NodeProto

    from ..explanation import Explanation
    from ..model import Model
    from ..problem import Problem

_ORDER_KEPT = frozenset({"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_POOLS = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
AVERAGED = 1e-3  # relative to the largest mean: how far a pooling may be from the mean over positions


@register(
    "explainer",
    "cam",
    needs=ACTIVATIONS,
    modalities=("image", "series", "array"),
    source="Zhou et al. 2016, arXiv:1512.04150",
)
@dataclass(frozen=True)
class Cam:
    """Where a network that ends in global average pooling and a linear layer sees its class, exactly.

    ``L = sum_k w_k A_k`` with the class's weights w; its mean over positions is the score less the bias. Pooling and
    weights are found in the graph (Gemm, MatMul or a 1x1 Conv; none where the classes themselves are pooled); there is
    no choice of a layer.

    Source: Zhou et al. 2016, Learning deep features for discriminative localization, arXiv:1512.04150, eq. 2.
    """

    relu: Annotated[bool, "keep positive parts of the map only"] = False
    upsample: Annotated[bool, "enlarge the map to the input; else the map as it is, under the layer's name"] = True

    def explain(self, problem: Problem) -> Explanation:
        """Weigh the pooled channels."""
        ending = _ending(problem)
        layer = layer_of(dataclasses.replace(problem, wrt=ending.layer))
        names = tuple(dict.fromkeys((ending.layer, ending.pooled, problem.target.tensor)))
        rows = dict(zip(names, problem.model.rows(problem.sample.feeds, names), strict=True))
        A = layer.channels(rows[ending.layer])
        means, pooled = A.mean(axis=tuple(range(2, A.ndim)))[0], rows[ending.pooled][0].reshape(-1)
        if pooled.shape != means.shape or np.abs(pooled - means).max() > AVERAGED * max(np.abs(means).max(), 1e-30):
            raise _refusal(problem, f"'{printable(ending.pooled)}' is not the mean of each channel over all positions")
        w = ending.weights(problem)
        if w.shape != means.shape:
            raise _refusal(problem, f"{len(w)} weights do not fit {len(means)} channels")
        found = weighted(A, w[None], relu=self.relu)[0]
        score = scores_of(problem, rows[problem.target.tensor])
        return explanation_of(problem, layer, found, score=score, upsample=self.upsample, weights=w)


@dataclass(frozen=True)
class Ending:
    """The end of a network: the tensor that is pooled, the pooled one, and the linear layer after it, if any."""

    layer: str
    pooled: str
    linear: NodeProto | None

    def weights(self, problem: Problem) -> np.ndarray:
        """Return the weights (K,) of the target's class, averaged over the classes where it names none."""
        if self.linear is None:
            K = problem.model.rows(problem.sample.feeds, (self.pooled,))[0].size
            return _of_class(np.eye(K), problem)
        matrix = _constant(problem.model, self.linear.input[1])
        if self.linear.op_type == "Conv":
            matrix = matrix.reshape(len(matrix), -1)
        elif self.linear.op_type == "MatMul" or not attribute_of(self.linear, "transB", 0):
            matrix = matrix.T
        factor = attribute_of(self.linear, "alpha", 1.0) if self.linear.op_type == "Gemm" else 1.0
        return _of_class(matrix * factor, problem)


def _ending(problem: Problem) -> Ending:
    """Follow the graph back from the target to the pooling."""
    flow = Flow(problem.model.proto, problem.target.tensor)
    made_by = {name: node for node in flow.nodes for name in node.output}
    name, linear, behind = problem.target.tensor, None, ""
    while name in made_by:
        node = made_by[name]
        carried = [i for i in node.input if i in flow.live]
        if node.op_type in _POOLS:
            found = Ending(carried[0], behind or name, linear)
            if problem.wrt not in {None, found.layer}:
                raise CapabilityError(
                    f"CAM is made at '{printable(found.layer)}', the tensor that is pooled, and at no other",
                    tip="leave out --wrt, or use grad-cam",
                )
            return found
        if linear is None and _is_linear(node, flow):
            linear, behind = node, node.input[0]
        elif node.op_type not in _ORDER_KEPT and not (linear is None and node.op_type == "Add" and len(carried) == 1):
            raise _refusal(problem, f"{node.op_type} '{printable(node.name or name)}' stands between")
        name = carried[0]
    raise _refusal(problem, "there is no pooling")


def _is_linear(node: NodeProto, flow: Flow) -> bool:
    """Say whether this is a linear layer with weights that do not depend on the input, over the channels alone."""
    if node.op_type not in {"Conv", "Gemm", "MatMul"} or node.input[0] not in flow.live or node.input[1] in flow.live:
        return False
    if node.op_type == "Gemm":
        return not attribute_of(node, "transA", 0)
    return node.op_type == "MatMul" or attribute_of(node, "group", 1) == 1


def _of_class(matrix: np.ndarray, problem: Problem) -> np.ndarray:
    """Return the row of a matrix (classes, K) that the target means."""
    chosen = [k for k in problem.target.index if k is not None]
    rows = matrix[chosen[:1]] if chosen else matrix
    return np.asarray(rows.mean(axis=0), dtype=np.float64)


def _constant(model: Model, name: str) -> np.ndarray:
    """Return the numbers of a tensor that no input feeds: a weight, or what the graph makes of weights."""
    proto = graph.tap(model.proto, (name,))
    return Session(proto.SerializeToString(), model.folder, model.device, 1).run({})[0]


def _refusal(problem: Problem, reason: str) -> CapabilityError:
    return CapabilityError(
        f"'{printable(problem.target.tensor)}' is not a linear layer over globally averaged channels: {reason}",
        tip="use grad-cam, which is the same up to a factor where that holds, and only needs a tensor with positions",
    )
