"""Central difference convolution (Yu et al., CVPR 2020), on images and on the tokens of a ViT."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CentralDifferenceConv2d(nn.Conv2d):
    """CDC(x) = w * x - theta (sum_k w_k) x: a convolution of a pixel's differences to its neighbours.

    Equal to an ordinary convolution whose centre tap is w_c - theta sum(w), which is how it is computed: in fp32, as
    the sum nearly cancels.
    """

    def __init__(self, channels_in: int, channels_out: int, theta: float) -> None:
        super().__init__(channels_in, channels_out, kernel_size=3, padding=1, bias=False)
        self.theta = theta

    def folded(self) -> Tensor:
        """The ordinary kernel, (out, in, 3, 3)."""
        return self.weight - F.pad(self.theta * self.weight.sum(dim=(2, 3), keepdim=True), (1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.folded(), padding=1)


def to_map(patches: Tensor) -> Tensor:
    """Patch tokens (B, P, C) as a square map, (B, C, side, side)."""
    side = math.isqrt(patches.shape[1])
    return patches.transpose(1, 2).unflatten(2, (side, side))


def to_tokens(image: Tensor) -> Tensor:
    """A map (B, C, H, W) as patch tokens, (B, H W, C): the inverse of `to_map`."""
    return image.flatten(2).transpose(1, 2)


def convolve_tokens(tokens: Tensor, kernel: Tensor) -> Tensor:
    """A 3 x 3 convolution over the map of the patches; the class token passes it as a map of one pixel.

    Args:
        tokens: (B, N, C), class token first; N = 1 for the class token alone.
        kernel: (C', C, 3, 3).
    Returns:
        (B, N, C')
    """
    class_token = tokens[:, :1] @ kernel[:, :, 1, 1].T
    if tokens.shape[1] == 1:
        return class_token
    return torch.cat([class_token, to_tokens(F.conv2d(to_map(tokens[:, 1:]), kernel, padding=1))], dim=1)
