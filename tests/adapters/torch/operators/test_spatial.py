"""Blocks and channels, columns and images, cropping around the centre."""

import numpy as np
import pytest

from single_nodes import by_reference, by_runtime, by_twin, has_true_gradients, single_node

torch = pytest.importorskip("torch")
RANDOM = np.random.default_rng(6)


def agrees(op_type, inputs, *, opset, oracle=by_reference, **rest):
    model = single_node(op_type, inputs, opset=opset, **rest)
    np.testing.assert_allclose(by_twin(model, inputs)[0], oracle(model, inputs)[0], rtol=1e-5)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_and_back(mode):
    x = RANDOM.normal(size=(2, 8, 3, 2)).astype(np.float32)
    agrees("DepthToSpace", [x], opset=13, blocksize=2, mode=mode)
    spread = by_twin(single_node("DepthToSpace", [x], opset=28, blocksize=2, mode=mode), [x])
    back = by_twin(single_node("SpaceToDepth", spread, opset=28, blocksize=2, mode=mode), spread)[0]
    np.testing.assert_array_equal(back, x)
    assert has_true_gradients("DepthToSpace", [x[:1, :4]], opset=13, blocksize=2, mode=mode)


def test_space_to_depth():
    agrees("SpaceToDepth", [RANDOM.normal(size=(2, 3, 4, 6)).astype(np.float32)], opset=13, blocksize=2)


@pytest.mark.parametrize(
    ("image", "block", "rest"),
    [
        ([5], [2], {}),
        ([5, 4], [2, 3], {"pads": [1, 0, 0, 1]}),
        ([5, 6], [2, 2], {"strides": [2, 1], "dilations": [1, 2]}),
        ([3, 4, 3], [2, 2, 1], {"strides": [1, 2, 1]}),
    ],
    ids=str,
)
@pytest.mark.parametrize("constant", [[], [1, 2]])
def test_columns_to_image(image, block, rest, constant):
    rank = len(image)
    pads, strides = rest.get("pads", [0] * (2 * rank)), rest.get("strides", [1] * rank)
    dilations = rest.get("dilations", [1] * rank)
    places = [
        (image[i] + pads[i] + pads[rank + i] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1 for i in range(rank)
    ]
    columns = RANDOM.normal(size=(2, 3 * np.prod(block), np.prod(places))).astype(np.float32)
    inputs = [columns, np.array(image), np.array(block)]
    agrees("Col2Im", inputs, opset=18, oracle=by_runtime, constant=constant, **rest)
    assert has_true_gradients("Col2Im", [columns[:1, : np.prod(block)], *inputs[1:]], opset=18, constant=[1, 2], **rest)


@pytest.mark.parametrize("constant", [[], [1]])
def test_center_crop_pad_puts_odd_pixels_at_the_end(constant):
    inputs = [np.arange(1, 5, dtype=np.float32).reshape(1, 4), np.array([4, 3])]
    model = single_node("CenterCropPad", inputs, opset=18, constant=constant)
    np.testing.assert_array_equal(by_twin(model, inputs)[0], [[0, 0, 0], [1, 2, 3], [0, 0, 0], [0, 0, 0]])
    agrees("CenterCropPad", [inputs[0], np.array([7])], opset=18, axes=[-1], constant=constant)
    assert has_true_gradients("CenterCropPad", inputs, opset=18, constant=[1])


def test_unknown_mode_is_refused():
    from onnxplain.adapters.torch import convert
    from onnxplain.engine.errors import CapabilityError

    model = single_node("DepthToSpace", [np.zeros((1, 4, 1, 1), np.float32)], opset=13, blocksize=2, mode="RDC")
    with pytest.raises(CapabilityError, match="DepthToSpace with mode = RDC"):
        convert(model)
