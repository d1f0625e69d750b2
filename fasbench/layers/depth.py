"""Depth images for networks: spread over the grey values by robust statistics of the face."""

from __future__ import annotations

import torch
from torch import Tensor

_HOLE = 1.5  # grey values 0 and 1 were not measured; half a step above 1, as floats of images are a little off
_LEAST_SPREAD = 0.5  # grey values: half a step of an 8-bit image


def mad_normalise(image: Tensor) -> Tensor:
    """x = 255 (d - med + 3 mad) / (6 mad), clipped to 0..255: the median becomes middle grey.

    med = median d, mad = median |d - med|, of each image's measured pixels. Holes (values up to 1) are left out of both
    and stay 0. An image of holes only is 0; one whose mad is below what 8 bits resolve is taken as if it had that.

    Source: George et al., IEEE TIFS 2020 and CVPR 2021; there the crop around the face is normalised, and the method is
    used for infrared too.

    Args:
        image: (B, 1, H, W) in 0..255.
    """
    measured = image > _HOLE
    median = masked_median(image, measured)[:, None, None, None]
    spread = masked_median((image - median).abs(), measured)[:, None, None, None].clamp(min=_LEAST_SPREAD)
    scaled = 255 * (image - median + 3 * spread) / (6 * spread)
    return torch.where(measured, scaled.clamp(0, 255), 0.0)


def masked_median(values: Tensor, counted: Tensor) -> Tensor:
    """Median of each sample's counted elements, (B,); 0 where there are none. The mean of the two middle ones if even.

    By sorting, which unlike torch.median is deterministic on every device.
    """
    ordered = values.masked_fill(~counted, float("inf")).flatten(1).sort(dim=1).values  # (B, N)
    count = counted.flatten(1).sum(dim=1, keepdim=True)  # (B, 1)
    middle = torch.cat([(count - 1).clamp(min=0) // 2, count // 2], dim=1).clamp(max=ordered.shape[1] - 1)
    median = ordered.gather(1, middle).mean(dim=1)
    return torch.where(count[:, 0] > 0, median, 0.0)
