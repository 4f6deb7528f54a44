"""Stand-ins for a model and a sample, with what masking asks of them."""

from dataclasses import dataclass

import numpy as np
import pytest

from onnxplain.engine.inputs.sample import Sample
from onnxplain.engine.spec import InputSpec, ModelSpec
from onnxplain.engine.specs.inference import complete_spec


@dataclass(frozen=True)
class Info:
    name: str
    dtype: np.dtype
    shape: tuple
    batch_axis: int | None = 0


@dataclass(frozen=True)
class Opened:
    inputs: tuple
    spec: ModelSpec


def case(*arrays, axes=0, shapes=None, spec=None, **fields):
    """Return a model and a sample for feeds given as ``(name, array)``.

    ``axes`` is the batch axis of all inputs in the model and ``shapes`` their declared shapes; ``spec`` holds
    InputSpec fields by input name, ``fields`` those of the sample, and ``background`` and ``source`` of the spec.
    """
    feeds = {name: np.asarray(array) for name, array in arrays}
    infos = tuple(
        Info(
            name, feed.dtype, tuple((shapes or {}).get(name, _declared(feed.shape, axes))), axes if feed.ndim else None
        )
        for name, feed in feeds.items()
    )
    entries = {name: InputSpec(name, **values) for name, values in (spec or {}).items()}
    described = ModelSpec(inputs=entries, background=fields.pop("background", ""), source=str(fields.pop("source", "")))
    return Opened(infos, complete_spec(described, infos)), Sample(feeds, **fields)


def _declared(shape, axis):
    if axis is None:
        return shape[1:]
    sizes = list(shape[1:])
    sizes.insert(axis, "batch")
    return sizes


@pytest.fixture(scope="session")
def make():
    return case
