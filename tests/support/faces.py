"""Smooth simulated faces on black, as three sensors see them, for what noise and blocks cannot stand for.

Colour is lit from anywhere, infrared by the sensor's own lamp; brows and lips fade in it. Near is bright in depth.
"""

from __future__ import annotations

import numpy as np


def face(seed: int, size: int = 224, height: int = 150, width: int = 124) -> dict[str, np.ndarray]:
    """rgb (size, size, 3), depth and ir (size, size), uint8; the face is an ellipse somewhere in the middle."""
    rng = np.random.default_rng(seed)
    middle = size / 2 + rng.uniform(-8, 8, 2)
    v, u = (np.mgrid[:size, :size] - middle[:, None, None]) / (np.array([height, width]) / 2)[:, None, None]
    inside = u**2 + v**2 < 1

    def spots(y: float, x: float, tall: float, wide: float) -> np.ndarray:
        """A soft spot on either side, or in the middle for x = 0."""
        places = {x, -x}
        return sum(np.exp(-(((v - y) / tall) ** 2) - ((u - place) / wide) ** 2) for place in places)

    eyes, brows, mouth = spots(-0.25, 0.4, 0.09, 0.2), spots(-0.42, 0.4, 0.06, 0.25), spots(0.5, 0, 0.08, 0.3)
    relief = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1)) + 0.35 * spots(0.05, 0, 0.3, 0.15)
    slopes = np.gradient(relief) * np.array([height, width])[:, None, None] / 4
    normals = np.stack([*-slopes, np.ones_like(relief)])
    normals /= np.linalg.norm(normals, axis=0)

    def lit(down: float, right: float) -> np.ndarray:
        light = np.array([down, right, 1])
        return np.clip(np.tensordot(light / np.linalg.norm(light), normals, 1), 0, 1)

    colour = (160 - 70 * eyes - 60 * brows - 30 * mouth) * (
        0.4 + 0.6 * lit(rng.uniform(-0.8, 0), rng.uniform(-0.8, 0.8))
    )
    infrared = (160 - 60 * eyes - 15 * brows + 5 * mouth) * (0.2 + 0.8 * lit(0, 0.1))
    rgb = np.stack([colour, 0.72 * colour - 15 * mouth, 0.58 * colour - 10 * mouth], axis=-1)
    images = {"rgb": rgb, "depth": 90 + 100 * relief, "ir": infrared}
    return {
        name: (np.clip(image, 12, 255) * inside.reshape(inside.shape + (1,) * (image.ndim - 2))).astype(np.uint8)
        for name, image in images.items()
    }
