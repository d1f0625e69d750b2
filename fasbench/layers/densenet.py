"""The front of a DenseNet by timm, with as many input channels as a method stacks."""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.models.densenet import DenseNet
from torch import nn

from fasbench.errors import FasbenchError

GROWTH, BLOCKS = 48, (6, 12)  # of DenseNet-161 up to its second transition


def truncated_densenet(
    pretrained: bool, channels: int | None = None, growth: int = GROWTH, blocks: tuple[int, ...] = BLOCKS
) -> nn.Sequential:
    """DenseNet-161 up to and including the second transition: (B, 3, H, W) -> (B, 384, H/16, W/16).

    The first 8 children of torchvision's `features`; timm's 7, as its batch normalisations hold their ReLU.

    Args:
        pretrained: with ImageNet weights, which timm fetches once.
        channels: of the input, each starting from the mean of the RGB kernels; None = RGB with its own kernels. C equal
            channels get C/3 of the response to the same grey image as RGB: nothing is re-scaled, as published.
        growth: channels a layer adds (k); the result has `num_channels(growth, blocks)`.
        blocks: layers of each dense block. Anything but DenseNet-161's has random weights only.
    Raises:
        FasbenchError: weights that do not exist or cannot be fetched.
    """
    if pretrained:
        network = _pretrained(growth, blocks)
    else:
        network = DenseNet(growth_rate=growth, block_config=(*blocks, 1), num_classes=0)  # the last is cut off below
    features: Any = network.features
    names = [name for name, _ in features.named_children()]
    front = features[: names.index(f"transition{len(blocks)}") + 1]
    if channels is not None:
        front.conv0 = _averaged(features.conv0, channels)
    return front


def num_channels(growth: int = GROWTH, blocks: tuple[int, ...] = BLOCKS) -> int:
    """Channels that leave the last transition."""
    channels = 2 * growth
    for layers in blocks:
        channels = (channels + layers * growth) // 2
    return channels


def _pretrained(growth: int, blocks: tuple[int, ...]) -> Any:
    if (growth, tuple(blocks)) != (GROWTH, BLOCKS):
        raise FasbenchError(
            f"no ImageNet weights for a DenseNet of growth {growth} and blocks {list(blocks)}, only for growth "
            f"{GROWTH} and blocks {list(BLOCKS)} (DenseNet-161). Set model.pretrained=false"
        )
    try:
        return timm.create_model("densenet161", pretrained=True, num_classes=0)
    except Exception as error:  # hub, network and file errors of several libraries
        raise FasbenchError(
            f"densenet161 could not be built with its weights: {error}\nWhere there is a network timm fetches weights "
            "once and keeps them in the Hugging Face cache (~/.cache/huggingface), which may be copied. --preset tiny "
            "needs no weights"
        ) from error


def _averaged(convolution: nn.Conv2d, channels: int) -> nn.Conv2d:
    """The first convolution for `channels` inputs, each with the mean kernel over RGB."""
    kernel = convolution.weight.detach().mean(dim=1, keepdim=True).expand(-1, channels, -1, -1)  # (96, C, 7, 7)
    with torch.device(kernel.device):
        changed = nn.Conv2d(channels, len(kernel), kernel_size=7, stride=2, padding=3, bias=False)
    changed.weight = nn.Parameter(kernel.clone())
    return changed
