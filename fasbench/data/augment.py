"""Training augmentation, batched, on the device, on images in 0..255."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fasbench.config import AugmentConfig
from fasbench.data.record import MODALITIES

_ERASED_AREA = (0.01, 0.05)  # of the image; MM-CDCN's random erasing
_ERASED_ASPECT = (0.5, 2.0)  # height over width


def augment(images: list[Tensor], config: AugmentConfig, generator: torch.Generator) -> list[Tensor]:
    """The usual augmentations of the field's released loaders, drawn anew for every sample.

    Photometric, independently for each modality named in `config.photometric`: Gaussian noise of a standard deviation
    U[0, noise], one value a pixel; a shift U[-brightness, brightness]; a shift U[-shift, shift] per channel; each
    clipped to 0..255; then I <- 255 (I/255)^gamma with one gamma ~ U[low, high] an image. Then a horizontal flip with
    probability `flip`, shared by the modalities of a sample. Then black areas at the same place in all modalities of a
    sample: with probability `erase` one or two rectangles of 1 to 5 % of the area; one square with a side of 1 to
    `cutout` pixels, which may reach over the border.

    Args:
        images: rgb, depth, ir, each float (B, 3, H, W) in 0..255.
        generator: a CPU generator; draws do not depend on the device.
    """
    (batch, _, height, width), device = images[0].shape, images[0].device

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return (low + (high - low) * torch.rand(*shape, generator=generator)).to(device)

    result = []
    for modality, image in zip(MODALITIES, images, strict=True):
        # Drawn also for modalities that do not use them: switching one off changes no other modality.
        if config.noise:
            noise = torch.randn(batch, 1, height, width, generator=generator).to(device)
            noise = noise * uniform(batch, 1, 1, 1, high=config.noise)
        if config.brightness:
            brightness = uniform(batch, 1, 1, 1, low=-config.brightness, high=config.brightness)
        shift = uniform(batch, 3, 1, 1, low=-config.shift, high=config.shift)
        gamma = uniform(batch, 1, 1, 1, low=config.gamma[0], high=config.gamma[1])
        if modality in config.photometric:
            if config.noise:
                image = (image + noise).clamp(0, 255)
            if config.brightness:
                image = (image + brightness).clamp(0, 255)
            image = 255 * ((image + shift).clamp(0, 255) / 255) ** gamma
        result.append(image)
    flip = (uniform(batch) < config.flip)[:, None, None, None]
    result = [torch.where(flip, image.flip(-1), image) for image in result]
    black = torch.zeros(batch, 1, height, width, dtype=torch.bool, device=device)
    if config.erase:
        erased, second = uniform(batch) < config.erase, uniform(batch) < 0.5
        for chosen in (erased, erased & second):
            area = uniform(batch, low=_ERASED_AREA[0], high=_ERASED_AREA[1]) * height * width
            aspect = torch.exp(uniform(batch, low=math.log(_ERASED_ASPECT[0]), high=math.log(_ERASED_ASPECT[1])))
            tall, wide = (area * aspect).sqrt(), (area / aspect).sqrt()
            top, left = uniform(batch) * (height - tall), uniform(batch) * (width - wide)
            black |= _rectangle(black, top, left, tall, wide) & chosen[:, None, None, None]
    if config.cutout:
        side = torch.floor(uniform(batch, low=1, high=config.cutout + 1))
        top, left = uniform(batch) * height - side / 2, uniform(batch) * width - side / 2
        black |= _rectangle(black, top, left, side, side)
    return [image.masked_fill(black, 0.0) for image in result] if config.erase or config.cutout else result


def _rectangle(like: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Bool (B, 1, H, W), True inside each sample's rectangle; corners and sides (B,) in pixels, rounded."""
    rows = torch.arange(like.shape[2], device=like.device)[:, None]  # (H, 1)
    columns = torch.arange(like.shape[3], device=like.device)  # (W,)
    top, left, height, width = (x.round()[:, None, None, None] for x in (top, left, height, width))
    return (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
