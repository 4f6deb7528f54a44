"""EfficientNet-Lite0 as an ONNX graph, from the tensors of its PyTorch checkpoint.

Architecture: Tan and Le 2019, arXiv:1905.11946, in the Lite variant of the TensorFlow authors: no
squeeze-and-excitation, ReLU6 for swish, stem and head not scaled. The names and shapes of the tensors are those of the
package efficientnet-lite-pytorch 0.1.0 (Apache-2.0; SHA-256 of the wheel
ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41), which is not needed to build or run the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..engine.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGE_SIZE = 224
CLASSES = 1000
BATCH_NORM_EPSILON = 1e-3
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
IR_VERSION = 10
OPSET = 17


_Kernel = tuple[int, int, int, int]  # channels out, channels in per group, height, width


class Block(NamedTuple):
    """An inverted bottleneck: 1x1 expansion, depthwise convolution, 1x1 projection, and a skip where shapes allow."""

    kernel: int
    stride: int
    expansion: int
    channels_in: int
    channels_out: int


def blocks() -> list[Block]:
    """Return the 16 blocks; a stage's first block has its stride, the others keep the size."""
    stages = (  # repeats, first block
        (1, Block(3, 1, 1, 32, 16)),
        (2, Block(3, 2, 6, 16, 24)),
        (2, Block(5, 2, 6, 24, 40)),
        (3, Block(3, 2, 6, 40, 80)),
        (3, Block(5, 1, 6, 80, 112)),
        (4, Block(5, 2, 6, 112, 192)),
        (1, Block(3, 1, 6, 192, 320)),
    )
    return [
        first if n == 0 else first._replace(stride=1, channels_in=first.channels_out)
        for repeats, first in stages
        for n in range(repeats)
    ]


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's SAME padding before and after an axis of ``size``; the odd pixel goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


@dataclass
class _Graph:
    """Nodes and weights so far; each method appends a layer and returns the name of its output."""

    weights: Mapping[str, np.ndarray]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, name: str, values: np.ndarray | float) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def weight(self, name: str, source: str, shape: tuple[int, ...]) -> str:
        """Add the checkpoint's tensor ``source``, which must have ``shape``."""
        values = self.weights.get(source)
        if values is None:
            raise ModelError(f"the checkpoint lacks the tensor {source!r}")
        if values.shape != shape:
            raise ModelError(f"the checkpoint's tensor {source!r} has shape {values.shape}, not {shape}")
        return self.constant(name, values)

    def node(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def convolution(self, x: str, layer: str, source: str, shape: _Kernel, size: int, stride: int) -> str:
        """Convolve without bias an image of height and width ``size``; one input channel means depthwise."""
        channels_out, channels_in, kernel, _ = shape
        before, after = same_padding(size, kernel, stride)
        return self.node(
            "Conv",
            [x, self.weight(f"{layer}/conv.weight", f"{source}.weight", shape)],
            f"{layer}/conv",
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=channels_out if channels_in == 1 else 1,
        )

    def normalisation(self, x: str, layer: str, source: str, channels: int) -> str:
        parts = (("scale", "weight"), ("bias", "bias"), ("mean", "running_mean"), ("var", "running_var"))
        inputs = [self.weight(f"{layer}/bn.{to}", f"{source}.{part}", (channels,)) for to, part in parts]
        return self.node("BatchNormalization", [x, *inputs], f"{layer}/bn", epsilon=BATCH_NORM_EPSILON)

    def relu6(self, x: str, layer: str) -> str:
        return self.node("Clip", [x, "relu6.min", "relu6.max"], f"{layer}/relu6")

    def block(self, x: str, index: int, block: Block, size: int) -> str:
        name, source = f"blocks.{index}", f"_blocks.{index}"
        wide = block.channels_in * block.expansion
        y = x
        if block.expansion != 1:
            layer = f"{name}.expand"
            y = self.convolution(y, layer, f"{source}._expand_conv", (wide, block.channels_in, 1, 1), size, 1)
            y = self.relu6(self.normalisation(y, layer, f"{source}._bn0", wide), layer)
        layer = f"{name}.depthwise"
        kernel = (wide, 1, block.kernel, block.kernel)
        y = self.convolution(y, layer, f"{source}._depthwise_conv", kernel, size, block.stride)
        y = self.relu6(self.normalisation(y, layer, f"{source}._bn1", wide), layer)
        layer = f"{name}.project"
        y = self.convolution(y, layer, f"{source}._project_conv", (block.channels_out, wide, 1, 1), size, 1)
        y = self.normalisation(y, layer, f"{source}._bn2", block.channels_out)
        skips = block.stride == 1 and block.channels_in == block.channels_out
        return self.node("Add", [y, x], f"{name}.add") if skips else y


def build_graph(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Return the network: ``images`` (batch, 3, 224, 224) -> ``logits`` (batch, 1000), both float32.

    Pixels come in as ``(x - 127) / 128``. Batch normalisations stay nodes of their own. A tensor is named after its
    layer and its place in it, such as ``blocks.3.expand/conv``, and so is the node that makes it. ModelError if a
    tensor is missing or has another shape.
    """
    graph = _Graph(weights)
    graph.constant("relu6.min", 0.0)
    graph.constant("relu6.max", 6.0)
    size = IMAGE_SIZE
    y = graph.convolution("images", "stem", "_conv_stem", (STEM_CHANNELS, 3, 3, 3), size, 2)
    y = graph.relu6(graph.normalisation(y, "stem", "_bn0", STEM_CHANNELS), "stem")
    size //= 2
    for index, block in enumerate(blocks()):
        y = graph.block(y, index, block, size)
        size //= block.stride
    y = graph.convolution(y, "head", "_conv_head", (HEAD_CHANNELS, blocks()[-1].channels_out, 1, 1), size, 1)
    y = graph.relu6(graph.normalisation(y, "head", "_bn1", HEAD_CHANNELS), "head")
    y = graph.node("Flatten", [graph.node("GlobalAveragePool", [y], "pool")], "features")
    weight = graph.weight("classifier.weight", "_fc.weight", (CLASSES, HEAD_CHANNELS))
    bias = graph.weight("classifier.bias", "_fc.bias", (CLASSES,))
    graph.node("Gemm", [y, weight, bias], "logits", transB=1)
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "efficientnet-lite0",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, IMAGE_SIZE, IMAGE_SIZE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
            graph.initializers,
        ),
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="onnxplain",
    )
