"""How alike two images are wherever they show the same: a copy is one although it was cut otherwise, or is negative.

Crops move the modalities of a frame against each other: the box that each is cut to on its own differs by a few pixels
of JPEG noise, and a copy of one modality is then no longer equal to it in any pixel. So the second image is first
moved and stretched, by up to `REACH`, to where it resembles the first most; then they are correlated.

That is done by Gauss and Newton. With the second image b, its gradient and coordinates x, y in [-1, 1] from the middle,

    a ~ c0 + c1 b + c2 db/dy + c3 y db/dy + c4 db/dx + c5 x db/dx

is linear in c; c2 / c1 .. c5 / c1 are what its place and size lack.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.ndimage import minimum_filter

from fasbench.data.layouts.crop import BLACK

SIDE = 64  # px at which images are compared: fine enough for eyes and mouth, too coarse for the noise of JPEG
REACH = 0.06  # most that an image is moved or stretched, in units of half its side
OVERLAP = 0.9  # share of what either shows that both must show, for the rest to count as the border of a crop
FLAT = 2.0  # standard deviation in gray levels below which an image has nothing that could be compared
_STEPS = 6


def likeness(views: Sequence[np.ndarray], other: np.ndarray) -> np.ndarray:
    """The largest absolute correlation of a view with `other` in the same place; NaN where either is flat. (B,)

    Args:
        views: of one image, uint8 (B, H, W) each; where `other` belongs is found with the first.
        other: uint8, (B, H, W).
    """
    first, *rest = (_reduced(view) for view in views)
    second = _reduced(other)
    place = np.tile([0.0, 1.0, 0.0, 1.0], (len(first), 1))  # moved and stretched along y, then along x
    moved, found = second, _correlation(first, second)
    best = moved.copy()
    for _ in range(_STEPS):
        place = _improved(place, first, moved)
        moved = _moved(second, place)
        now = _correlation(first, moved)
        better = np.abs(now) > np.abs(found)  # NaN is never better
        best[better] = moved[better]
        found = np.where(better, now, found)
    alike = [found, *(_correlation(view, best) for view in rest)]
    return np.fmax.reduce(np.abs(alike))  # a channel that is flat says nothing about the others


def _reduced(images: np.ndarray) -> np.ndarray:
    """(B, H, W) uint8 -> (B, S, S), the mean of what a pixel covers; S is `SIDE`, or the images' own shorter side."""
    side = min(SIDE, *images.shape[1:])
    small = [Image.fromarray(image).resize((side, side), Image.Resampling.BOX) for image in images]
    return np.array(small, np.float32).reshape(len(images), side, side)


def _moved(images: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Every image as it looks moved and stretched, linearly interpolated."""
    side = images.shape[1]
    grid = np.linspace(-1, 1, side)

    def weights(offset: np.ndarray, stretch: np.ndarray) -> np.ndarray:  # (B, S, S)
        wanted = np.clip((offset[:, None] + stretch[:, None] * grid + 1) * (side - 1) / 2, 0, side - 1)
        return np.maximum(0, 1 - np.abs(wanted[..., None] - np.arange(side))).astype(np.float32)

    return weights(place[:, 0], place[:, 1]) @ images @ weights(place[:, 2], place[:, 3]).swapaxes(1, 2)


def _improved(place: np.ndarray, first: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """One step of Gauss and Newton, within `REACH`."""
    number, side = moved.shape[:2]
    grid = np.linspace(-1, 1, side, dtype=np.float32)
    along_y, along_x = (gradient * ((side - 1) / 2) for gradient in np.gradient(moved, axis=(1, 2)))
    terms = [np.ones_like(moved), moved, along_y, along_y * grid[:, None], along_x, along_x * grid]
    inside = _content(first, moved)
    design = (np.stack(terms, axis=-1) * inside[..., None]).reshape(number, -1, len(terms))  # (B, pixels, 6)
    normal = (design.swapaxes(1, 2) @ design).astype(np.float64)
    normal += np.eye(len(terms)) * (1e-6 * np.trace(normal, axis1=1, axis2=2) + 1e-6)[:, None, None]  # flat images
    target = design.swapaxes(1, 2) @ (first * inside).reshape(number, -1, 1)
    solved = np.linalg.solve(normal, target.astype(np.float64))[..., 0]
    slope = np.where(np.abs(solved[:, 1:2]) < 0.01, 0.01, solved[:, 1:2])  # of unlike images: any place will do
    return np.clip(place + solved[:, 2:] / slope, *(np.array([0, 1, 0, 1]) + REACH * sign for sign in (-1, 1)))


def _content(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pixels that count. Black background does not: it would always agree, and where it ends depends on the crop.

    So what only one image shows is left out, with the pixels beside it that are partly black, if that is a border; if
    it is more, the images differ there.
    """
    both, either = (one > BLACK) & (other > BLACK), (one > BLACK) | (other > BLACK)
    border = both.sum(axis=(1, 2)) >= OVERLAP * either.sum(axis=(1, 2))
    return np.where(border[:, None, None], minimum_filter(both, (1, 3, 3)), either)


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pearson's, over what counts of each image, (B,); NaN where an image is flat there."""
    inside = _content(one, other)
    number = np.maximum(inside.sum(axis=(1, 2)), 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return (values * inside).sum(axis=(1, 2), dtype=np.float64) / number

    first, second = (image - mean(image)[:, None, None] for image in (one, other))
    variances = mean(first * first), mean(second * second)
    flat = np.minimum(*variances) < FLAT**2
    return np.where(flat, np.nan, mean(first * second) / np.sqrt(np.where(flat, 1, variances[0] * variances[1])))
