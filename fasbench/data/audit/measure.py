"""Numbers about the images of rows, a few of them at a time: what `fasbench.data.audit.pixels` judges by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fasbench.data.audit.alike import likeness
from fasbench.data.layouts.crop import BLACK
from fasbench.data.record import MODALITIES
from fasbench.data.store import Images, Store

PAIRS = (("rgb", "depth"), ("rgb", "ir"), ("depth", "ir"))  # columns of `alike` and `equal`
_CHUNK = 32  # rows measured together: some 50 MB at 224 px
_BRIGHT = 250  # gray level from which a pixel counts as saturated


@dataclass(frozen=True)
class Measures:
    """One row of each array an image triplet; NaN where a modality is absent or has nothing to measure."""

    peak: np.ndarray  # (N, 3) brightest pixel
    spread: np.ndarray  # (N, 3) brightest - darkest pixel
    saturated: np.ndarray  # (N, 3) share of pixels at the upper end
    chroma: np.ndarray  # (N,) largest difference between the colour channels
    warmth: np.ndarray  # (N,) red - blue, mean over the middle of the image
    alike: np.ndarray  # (N, 3) correlation of two modalities in the same place, 0 to 1, in the order of PAIRS
    equal: np.ndarray  # (N, 3) bool: the same values in every pixel
    rising: np.ndarray  # (N,) depth in the middle - depth around it, holes left out
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
        alike, equal = _compare(images)
        middle = _middle(images.rgb)
        yield (
            _where(images.present, highest),
            _where(images.present, highest.astype(int) - lowest),
            _where(images.present, bright),
            _where(images.present[:, 0], np.ptp(images.rgb, axis=3).max(axis=(1, 2))),
            _where(images.present[:, 0], middle[..., 0].mean(axis=(1, 2)) - middle[..., 2].mean(axis=(1, 2))),
            alike,
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
    alike, equal = np.empty((len(images.rgb), 3)), np.empty((len(images.rgb), 3), bool)
    for column, (one, other) in enumerate(PAIRS):
        present = images.present[:, MODALITIES.index(one)] & images.present[:, MODALITIES.index(other)]
        (second,) = views[other]
        alike[:, column] = _where(present, likeness(views[one], second))
        same = [(first == second).all(axis=(1, 2)) for first in views[one]]
        equal[:, column] = np.any(same, axis=0) & ~np.isnan(alike[:, column])
    return alike, equal


def _rising(depth: np.ndarray) -> np.ndarray:
    """(B,): mean depth in the middle minus the mean around it; NaN where either has less than a tenth measured.

    Black is a hole or background. So is white: what was black before an image was inverted.
    """
    valid = (depth > BLACK) & (depth < 255 - BLACK)
    middle = np.zeros(depth.shape, bool)
    _middle(middle)[...] = True
    means = []
    for region in (middle, ~middle):
        measured = (valid & region).sum(axis=(1, 2))
        enough = measured >= 0.1 * region[0].sum()
        total = np.where(valid & region, depth, 0).sum(axis=(1, 2), dtype=np.float64)
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
