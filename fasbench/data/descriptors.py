"""HOG and PLGF pictures of infrared images: the input [ir, hog, plgf] of AMA, MMDG and DADM.

    descriptor_channels(ir)  # (B, 1, H, W) in 0..255 -> (B, 3, H, W) in 0..255

The literature computes both on 8-bit images at the size they are stored in, before resizing and augmentation; what an
image shows therefore depends on its size. So does `recipe="released"`, short of saving the pictures as JPEG. The recipe
has three defects: PLGF pads with zeros, which draws a two-pixel frame around every image; the frame is the brightest
place, and the grey scale is stretched to it, image by image; cells and kernels have a fixed size in pixels, so data
sets of different image size look different. `recipe="clean"` pads by reflection and has a fixed grey scale; give it
images of one size. It is an input of its own: name it in a table.

Either way **an absent image has to be blanked after this**: PLGF lifts black to 2, so a black image has a frame.

Only elementwise operations and pooling: a sample's result depends neither on its batch nor on TF32, and has no random
order of summation on a GPU.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Recipe = Literal["released", "clean"]

# HOG, Dalal & Triggs, CVPR 2005: 9 orientations over 180 degrees, cells of 8 x 8 pixels. Their blocks normalise a
# feature vector; none of it is in the picture.
_BINS = 9
_CELL = 8
_RADIUS = _CELL // 2 - 1  # of a drawn segment, pixels: it stays inside its cell
# PLGF, Bhattacharjee & Roy, TPAMI 2021: a mass at distance r pulls with 1 / r^2, within 5 x 5 pixels. Floor and epsilon
# are the released code's: they keep I out of the denominator's zero.
_REACH = 2  # pixels
_FLOOR = 2.0  # grey values
_EPSILON = 1e-4


def descriptor_channels(ir: Tensor, recipe: Recipe = "released") -> Tensor:
    """Infrared, HOG and PLGF as three channels, in the order of AMA (arXiv 2302.05744: "GRAY_HOG_PLGF").

    Args:
        ir: (B, 1, H, W) or (B, H, W), any dtype, grey values 0..255, at least 8 x 8 pixels. `released` is defined on
            stored images: whole numbers, not resized.
    Returns:
        float32 (B, 3, H, W) on the device of `ir`, 0..255, not normalised. HOG and PLGF are whole numbers.
    """
    grey = _grey(ir)
    return torch.stack([grey, hog_picture(grey), plgf_picture(grey, recipe)], dim=1)


def hog_picture(ir: Tensor) -> Tensor:
    """The histograms of oriented gradients, drawn: a cell's bin is a segment along the edge, as bright as the bin.

    With central differences G_r (down) and G_c (to the right), not halved, and 0 in the first and last line:
    m = sqrt(G_r^2 + G_c^2), o = floor((atan2(G_r, G_c) mod 180) / 20), h[cell, o] = sum of m / 64. Segments of a cell
    add up. Rows and columns beyond the last whole cell are 0. Computed in float64, then cut to 8 bits.

    Args:
        ir: (B, 1, H, W) or (B, H, W), grey values 0..255, at least 8 x 8 pixels.
    Returns:
        float32 (B, H, W), whole numbers 0..255, most of them 0.
    """
    grey = _grey(ir)
    batch, height, width = grey.shape
    down, right = torch.zeros_like(grey), torch.zeros_like(grey)
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    right[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    magnitude = (down.square() + right.square()).double().sqrt()
    orientation = _orientation(down, right)
    rows, columns = height // _CELL, width // _CELL
    drawn = magnitude.new_zeros(batch, _CELL * _CELL, rows, columns)  # the pixels of a cell as channels
    for bin in range(_BINS):
        h = F.avg_pool2d(magnitude.where(orientation == bin, 0.0), _CELL)  # (B, rows, columns)
        for row, column in _segment(bin):
            drawn[:, row * _CELL + column] += h
    picture = F.pixel_shuffle(drawn.clamp(max=255).floor().float(), _CELL)[:, 0]
    return F.pad(picture, (0, width - columns * _CELL, 0, height - rows * _CELL))


def plgf_picture(ir: Tensor, recipe: Recipe = "released") -> Tensor:
    """The pattern of local gravitational force: contrast relative to brightness, so a brighter lamp changes nothing.

    With J = max(I, 2) and the force of the neighbours at (x, y), r^2 = x^2 + y^2, in the 5 x 5 pixels around:
    g_x = sum of J x / r^3, g_y = sum of J y / r^3, M = arctan(|g| / (J + 1e-4)), in 0 .. pi/2.
    `released`: zeros around the image; P = 1 + 254 (M - min M) / (max M - min M), extremes of each image.
    `clean`: the image reflected at its border; P = 255 M / (pi/2).

    Args:
        ir: (B, 1, H, W) or (B, H, W), grey values 0..255, at least 8 x 8 pixels.
    Returns:
        float32 (B, H, W), whole numbers, cut to 8 bits: 1..255 (`released`) or 0..254 (`clean`).
    """
    if recipe not in ("released", "clean"):
        raise ValueError(f"recipe '{recipe}': expected 'released' or 'clean'")
    mass = _grey(ir).clamp(min=_FLOOR)
    _, height, width = mass.shape
    around = (_REACH,) * 4
    padded = F.pad(mass, around) if recipe == "released" else F.pad(mass, around, mode="reflect")

    def at(down: int, right: int) -> Tensor:
        top, left = _REACH + down, _REACH + right
        return padded[:, top : top + height, left : left + width]

    # Opposite neighbours pull against each other: in differences, a flat region has exactly no force. Mirrored ones are
    # added first: flipped and turned images give exactly the flipped and turned picture.
    g_x, g_y = torch.zeros_like(mass), torch.zeros_like(mass)
    for across in range(1, _REACH + 1):
        for along in range(_REACH + 1):
            pull = across / math.hypot(across, along) ** 3 / (2 if along == 0 else 1)  # its own mirror image: twice
            right, left = (at(along, x) + at(-along, x) for x in (across, -across))
            above, below = (at(y, along) + at(y, -along) for y in (-across, across))
            g_x.add_(right - left, alpha=pull)
            g_y.add_(above - below, alpha=pull)
    force = torch.atan((g_x.square() + g_y.square()).sqrt() / (mass + _EPSILON))
    if recipe == "clean":
        return (force * (255 / (math.pi / 2))).floor()
    low, high = force.amin((1, 2), keepdim=True), force.amax((1, 2), keepdim=True)
    span = (high - low).clamp(min=torch.finfo(force.dtype).tiny)
    return ((force - low) / span * 254 + 1).floor()


def _orientation(down: Tensor, right: Tensor) -> Tensor:
    """The bin 0..8 of a gradient's direction modulo 180 degrees. Exact for all whole gradients of 8-bit images."""
    # Turned into the upper half by symmetry, not by a remainder: whichever side of an upright edge is brighter, it is
    # in bin 0, and no rounding of pi puts it into bin 8.
    angle = torch.atan2(down.abs(), torch.where(down < 0, -right, right))
    return (angle * (_BINS / math.pi)).floor().clamp(max=_BINS - 1).where(down != 0, 0.0)


def _segment(bin: int) -> list[tuple[int, int]]:
    """(row, column) in its cell of the pixels drawn for a bin: a line around (4, 4), tilted by 10 degrees + 20 a bin.

    At this radius its ends are 5 rows or columns apart, or in one row: no point of it is halfway between two pixels, so
    every way of rasterising it (Bresenham's is the usual one) gives these.
    """
    centre, tilt = _CELL // 2, math.pi * (bin + 0.5) / _BINS
    up, right = _RADIUS * math.cos(tilt), _RADIUS * math.sin(tilt)
    top, left = int(centre - up), int(centre + right)
    down, across = int(centre + up) - top, int(centre - right) - left
    steps = max(abs(down), abs(across))
    return [(top + round(step * down / steps), left + round(step * across / steps)) for step in range(steps + 1)]


def _grey(ir: Tensor) -> Tensor:
    """(B, H, W) float32 of (B, 1, H, W) or (B, H, W)."""
    grey = ir[:, 0] if ir.ndim == 4 and ir.shape[1] == 1 else ir
    if grey.ndim != 3 or min(grey.shape[1:]) < _CELL:
        raise ValueError(
            f"infrared images of shape {tuple(ir.shape)}: expected (B, 1, H, W) or (B, H, W), 8 x 8 pixels or more"
        )
    return grey.float().contiguous()
