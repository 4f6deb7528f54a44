"""The part of a model behind a layer, as a model of its own that is fed with activations."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from ..errors import CapabilityError, ModelError, printable
from ..graph.feed import feed_at
from ..model import Model
from ..rows import first_row
from ..spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

_known: weakref.WeakKeyDictionary[Model, dict[tuple[str, str, int | None], Model]] = weakref.WeakKeyDictionary()


def head_of(model: Model, tensor: str, target: str, feeds: Mapping[str, np.ndarray], free: int | None = None) -> Model:
    """Return the model that makes the tensor ``target`` from the activations ``tensor``, made once.

    It also takes those inputs that the target depends on by ways around the layer. ``free`` is an axis of the
    activations, batch axis first, that may have any length; the others have the lengths they have for ``feeds``.
    Raises ``CapabilityError`` where the layer has no axis of rows.
    """
    known = _known.setdefault(model, {})
    if (tensor, target, free) not in known:
        known[tensor, target, free] = _made(model, tensor, target, first_row(feeds, model.inputs), free)
    return known[tensor, target, free]


def _made(model: Model, tensor: str, target: str, feeds: Mapping[str, np.ndarray], free: int | None) -> Model:
    variant = model.variant((tensor,), feeds)
    axis = variant.axes[0]
    lead = next((i for i in model.inputs if i.batch_axis is not None), None)
    if axis is None or lead is None or lead.batch_axis is None:
        raise CapabilityError(
            f"tensor '{printable(tensor)}' has no axis of rows: the model behind it cannot be run on changed channels",
            tip="use grad-cam or eigen-cam",
        )
    (row,) = model.rows(feeds, (tensor,))
    shape: list[int | str | None] = [None if k == free else n for k, n in enumerate(row.shape[1:], 1)]
    shape.insert(axis, lead.shape[lead.batch_axis])
    proto = feed_at(model.proto, tensor, [target], shape, model.folder)
    try:
        data = proto.SerializeToString()
    except ValueError:
        raise ModelError(
            f"what comes after '{printable(tensor)}' is larger than the 2 GiB that a single ONNX message holds",
            tip="name a later layer with --wrt",
        ) from None
    made = Model(data, ModelSpec(), model.device, model.threads)
    made.is_widened, made.is_respelled = model.is_widened, model.is_respelled
    return made
