"""Networks of the usual kinds in torch, at their usual sizes and with random weights, for benchmarks of the twin."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

LITE0 = (  # EfficientNet-Lite0: expansion, channels, blocks, stride, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


def convolution(
    channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1, activation: type[nn.Module] = nn.ReLU6
) -> list[nn.Module]:
    """Return a convolution that keeps the size but for its stride, batch normalisation and an activation."""
    layer = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(out), activation()]


class BasicBlock(nn.Module):
    """Two convolutions beside a skip connection (He et al. 2016)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        first = convolution(channels, out, 3, stride, activation=nn.ReLU)
        self.layers = nn.Sequential(*first, *convolution(out, out, 3)[:2])
        self.skip = nn.Sequential(*convolution(channels, out, 1, stride)[:2]) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add both ways."""
        return functional.relu(self.layers(x) + self.skip(x))


def resnet18() -> nn.Module:
    """Return a ResNet-18."""
    widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
    blocks = [BasicBlock(a, b, 1 if a == b else 2) for a, b in itertools.pairwise(widths)]
    stem = [*convolution(3, 64, 7, 2, activation=nn.ReLU), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow (Sandler et al. 2018); a skip connection where the shape stays."""

    def __init__(self, channels: int, out: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        wide = channels * expansion
        widen = convolution(channels, wide, 1) if expansion > 1 else []
        filtered = convolution(wide, wide, kernel, stride, groups=wide)
        self.layers = nn.Sequential(*widen, *filtered, *convolution(wide, out, 1)[:2])
        self.skips = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add both ways."""
        return x + self.layers(x) if self.skips else self.layers(x)


def efficientnet_lite0() -> nn.Module:
    """Return an EfficientNet-Lite0."""
    layers, channels = convolution(3, 32, 3, 2), 32
    for expansion, out, count, stride, kernel in LITE0:
        for k in range(count):
            layers.append(InvertedResidual(channels, out, expansion, 1 if k else stride, kernel))
            channels = out
    head = [*convolution(channels, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers, *head)


class Attention(nn.Module):
    """Self-attention of several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix the tokens."""
        rows, length, width = x.shape
        q, k, v = self.qkv(x).reshape(rows, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        return self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, length, width))


class Encoder(nn.Module):
    """A transformer block, with normalisation first (ViT) or last (BERT)."""

    def __init__(self, width: int, heads: int, *, first: bool) -> None:
        super().__init__()
        self.first, self.attention = first, Attention(width, heads)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix the tokens, then each one's numbers."""
        if self.first:
            x = x + self.attention(self.norms[0](x))
            return x + self.dense(self.norms[1](x))
        x = self.norms[0](x + self.attention(x))
        return self.norms[1](x + self.dense(x))


class VisionTransformer(nn.Module):
    """ViT-Tiny with patches of 16 x 16 pixels (Touvron et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 192, 16, 16)
        self.token = nn.Parameter(torch.randn(1, 1, 192))
        self.position = nn.Parameter(torch.randn(1, 197, 192))
        self.blocks = nn.Sequential(*(Encoder(192, 3, first=True) for _ in range(12)))
        self.norm, self.head = nn.LayerNorm(192), nn.Linear(192, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores of the classes."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


def bert_block() -> nn.Module:
    """Return one block of BERT-base, from embeddings (rows, tokens, 768) to as many numbers."""
    return nn.Sequential(Encoder(768, 12, first=False), nn.Flatten(), nn.Linear(128 * 768, 2))


@dataclass(frozen=True)
class Network:
    """A network, and the shape of one row of its input."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]


NETWORKS = {
    "ResNet-18": Network(resnet18, (3, 224, 224)),
    "EfficientNet-Lite0": Network(efficientnet_lite0, (3, 224, 224)),
    "ViT-Tiny": Network(VisionTransformer, (3, 224, 224)),
    "BERT block": Network(bert_block, (128, 768)),
}
