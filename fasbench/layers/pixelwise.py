"""Supervision by a map: what a face should look like pixel by pixel, and the losses that compare.

A map is (B, S, S) in [0, 1]: the face region (or its depth) of a live sample, zeros of an attack.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fasbench.method import ModelConfig

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV converts


def pixel_values(image: Tensor, config: ModelConfig) -> Tensor:
    """Normalised images (B, 3, H, W) back in 0..255, fp32. An absent modality (0) comes back as the mean, not black."""
    mean, std = (torch.tensor(x, device=image.device)[:, None, None] for x in (config.mean, config.std))
    return 255 * (image.float() * std + mean)


def grey(image: Tensor) -> Tensor:
    """Grey values (B, 1, H, W) of RGB images (B, 3, H, W)."""
    return (image * torch.tensor(_LUMA, device=image.device)[:, None, None]).sum(dim=1, keepdim=True)


def face_mask(image: Tensor, side: int) -> Tensor:
    """Where a grey image (B, 1, H, W) in 0..255, resized to `side`, is not black: (B, S, S) of 0 and 1.

    Black is below 1/2, which is what an 8-bit image rounds to 0.
    """
    resized = F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False)
    return (resized[:, 0] >= 0.5).float()


def map_target(label: Tensor, live: Tensor) -> Tensor:
    """The map each sample should have: `live` for bona fide, 0 for attacks, (B, S, S).

    Args:
        label: (B,), 1 = bona fide.
        live: (B, S, S) in [0, 1]: a face mask, a depth map, or ones where a method has nothing better.
    """
    return torch.where((label == 1)[:, None, None], live, 0.0)


def absolute_depth_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """L_abs = mean (S - T)^2 over batch and pixels; both (B, S, S)."""
    return (prediction.float() - target).square().mean()


def contrastive_depth_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """L_cdl = mean (D_d S - D_d T)^2, D_d = neighbour d - centre, over batch, 8 directions and inner pixels.

    Source: Wang et al., CVPR 2020 (arXiv 2003.08061). D_d is linear, so it is taken once, of S - T.
    """
    error = prediction.float() - target  # (B, S, S)
    height, width = error.shape[-2:]
    centre = error[:, 1:-1, 1:-1]
    differences = [
        error[:, row : row + height - 2, column : column + width - 2] - centre
        for row in range(3)
        for column in range(3)
        if (row, column) != (1, 1)
    ]
    return torch.stack(differences).square().mean()


def pixelwise_bce(logits: Tensor, label: Tensor) -> Tensor:
    """mean BCE(sigma(z), T) with T = y in every pixel; logits z (B, S, S), label (B,).

    Source: PixBiS (George and Marcel, ICB 2019).
    """
    target = label.float()[:, None, None].expand(logits.shape)
    return F.binary_cross_entropy_with_logits(logits.float(), target)
