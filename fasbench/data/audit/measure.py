"""Numbers about the images of rows, a few of them at a time: what `fasbench.data.audit.pixels` judges by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fasbench.data.record import MODALITIES
from fasbench.data.store import Images, Store

PAIRS = (("rgb", "depth"), ("rgb", "ir"), ("depth", "ir"))  # columns of `likeness` and `equal`
_CHUNK = 32  # rows measured together: some 50 MB at 224 px
_BRIGHT = 250  # gray level from which a pixel counts as saturated
_FLAT = 2.0  # standard deviation in gray levels below which an image has nothing that could be compared


@dataclass(frozen=True)
class Measures:
    """One row of each array an image triplet; NaN where a modality is absent or has nothing to measure."""

    peak: np.ndarray  # (N, 3) brightest pixel
    spread: np.ndarray  # (N, 3) brightest - darkest pixel
    saturated: np.ndarray  # (N, 3) share of pixels at the upper end
    chroma: np.ndarray  # (N,) largest difference between the colour channels
    warmth: np.ndarray  # (N,) red - blue, mean over the middle of the image
    likeness: np.ndarray  # (N, 3) correlation of two modalities, in the order of PAIRS
    equal: np.ndarray  # (N, 3) bool: the same values in every pixel
    rising: np.ndarray  # (N,) depth in the middle - depth around it, holes (0) left out
    digest: np.ndarray  # (N, 3) hash of each image, "" where absent or without content


def measure(store: Store, rows: np.ndarray) -> Measures:
    """Measure the images at `rows` of a store."""
    parts = list(_measured(store, rows))
    return Measures(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _measured(store: Store, rows: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    for start in range(0, len(rows), _CHUNK):
        images = store.read(rows[start : start + _CHUNK])
        planes = [image.reshape(len(image), -1) for image in images[:3]]  # (B, pixels)
        lowest, highest = (np.stack([getattr(plane, name)(axis=1) for plane in planes], 1) for name in ("min", "max"))
        bright = np.stack([(plane >= _BRIGHT).mean(axis=1) for plane in planes], 1)
        likeness, equal = _compare(images)
        middle = _middle(images.rgb)
        yield (
            _where(images.present, highest),
            _where(images.present, highest.astype(int) - lowest),
            _where(images.present, bright),
            _where(images.present[:, 0], np.ptp(images.rgb, axis=3).max(axis=(1, 2))),
            _where(images.present[:, 0], middle[..., 0].mean(axis=(1, 2)) - middle[..., 2].mean(axis=(1, 2))),
            likeness,
            equal,
            _where(images.present[:, 1], _rising(images.depth)),
            _digests(images),
        )


def _where(present: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.where(present, values, np.nan)


def _middle(images: np.ndarray) -> np.ndarray:
    """The central quarter of (B, H, W, ...) images, where the face is."""
    height, width = images.shape[1:3]
    return images[:, height // 4 : height - height // 4, width // 4 : width - width // 4]


def luma(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> (...) uint8, rounded as Pillow and OpenCV do (ITU-R BT.601)."""
    weights = np.array([19595, 38470, 7471], np.uint32)
    return ((rgb.astype(np.uint32) @ weights + 0x8000) >> 16).astype(np.uint8)


def _compare(images: Images) -> tuple[np.ndarray, np.ndarray]:
    """How alike the modalities are; colour by its luma or the channel that is most alike."""
    views = {
        "rgb": [luma(images.rgb), *np.moveaxis(images.rgb, 3, 0)],
        "depth": [images.depth],
        "ir": [images.ir],
    }
    likeness, equal = np.empty((len(images.rgb), 3)), np.empty((len(images.rgb), 3), bool)
    for column, (one, other) in enumerate(PAIRS):
        present = images.present[:, MODALITIES.index(one)] & images.present[:, MODALITIES.index(other)]
        (second,) = views[other]
        alike = [_correlation(first, second) for first in views[one]]
        likeness[:, column] = _where(present, np.max(alike, axis=0))
        same = [(first == second).all(axis=(1, 2)) for first in views[one]]
        equal[:, column] = np.any(same, axis=0) & ~np.isnan(likeness[:, column])
    return likeness, equal


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pearson's, over each image, (B,); background that is black in both does not count, for it would always agree."""
    inside = (one > 0) | (other > 0)
    number = np.maximum(inside.sum(axis=(1, 2)), 1)
    first, second = (image.astype(np.float32) for image in (one, other))

    def mean(values: np.ndarray) -> np.ndarray:
        return (values * inside).sum(axis=(1, 2), dtype=np.float64) / number

    mean_first, mean_second = mean(first), mean(second)
    variance_first = mean(first * first) - mean_first**2
    variance_second = mean(second * second) - mean_second**2
    flat = np.minimum(variance_first, variance_second) < _FLAT**2
    scale = np.sqrt(np.where(flat, 1, variance_first * variance_second))
    return np.where(flat, np.nan, (mean(first * second) - mean_first * mean_second) / scale)


def _rising(depth: np.ndarray) -> np.ndarray:
    """(B,): mean depth in the middle minus the mean around it; NaN where either has less than a tenth measured."""
    valid = depth > 0
    middle = np.zeros(depth.shape, bool)
    _middle(middle)[...] = True
    means = []
    for region in (middle, ~middle):
        measured = (valid & region).sum(axis=(1, 2))
        enough = measured >= 0.1 * region[0].sum()
        total = np.where(region, depth, 0).sum(axis=(1, 2), dtype=np.float64)
        means.append(np.where(enough, total / np.maximum(measured, 1), np.nan))
    return means[0] - means[1]


def _digests(images: Images) -> np.ndarray:
    found = np.full((len(images.rgb), 3), "", object)
    for row, there in enumerate(images.present):
        for modality in np.flatnonzero(there):
            image = images[modality][row]
            if image.min() != image.max():
                found[row, modality] = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest()
    return found
