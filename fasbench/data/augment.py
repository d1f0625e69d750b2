"""Training augmentation, batched, on the device, on images in 0..255."""

from __future__ import annotations

import torch
from torch import Tensor

from fasbench.config import AugmentConfig
from fasbench.data.record import MODALITIES


def augment(images: list[Tensor], config: AugmentConfig, generator: torch.Generator) -> list[Tensor]:
    """The usual augmentation of the field's released loaders, drawn anew for every sample.

    Photometric, independently for each modality named in `config.photometric`: a shift U[-shift, shift] per channel,
    clipped to 0..255, then I <- 255 (I/255)^gamma with one gamma ~ U[low, high] an image. Then a horizontal flip with
    probability `flip`, shared by the modalities of a sample.

    Args:
        images: rgb, depth, ir, each float (B, 3, H, W) in 0..255.
        generator: a CPU generator; draws do not depend on the device.
    """
    batch, device = len(images[0]), images[0].device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator).to(device)

    result = []
    for modality, image in zip(MODALITIES, images, strict=True):
        # Drawn also for modalities that do not use them: switching one off changes no other modality.
        shift = (2 * uniform(batch, 3, 1, 1) - 1) * config.shift
        low, high = config.gamma
        gamma = low + (high - low) * uniform(batch, 1, 1, 1)
        if modality in config.photometric:
            image = 255 * ((image + shift).clamp(0, 255) / 255) ** gamma
        result.append(image)
    flip = (uniform(batch) < config.flip)[:, None, None, None]
    return [torch.where(flip, image.flip(-1), image) for image in result]
