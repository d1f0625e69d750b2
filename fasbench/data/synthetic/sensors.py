"""From light and distances on the oversampled canvas to what three real cameras would store: uint8 pixels.

Depth is stored the same way in all data sets: 0 = no measurement, otherwise 255 at the near limit of the sensor's
range falling linearly to 1 at its far limit.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, median_filter

from fasbench.data.synthetic.domains import Domain
from fasbench.data.synthetic.materials import triple
from fasbench.data.synthetic.render import OVERSAMPLING

_FLYING_RANGE = 15.0  # mm between the samples of a pixel that make it an edge


@dataclass(frozen=True)
class Session:
    """What stays as it is during one video, whatever is presented."""

    white_balance: tuple[float, float, float]
    exposure: float
    nir_exposure: float
    blur: float
    jpeg: int
    misalignment: tuple[int, int]  # depth and NIR against RGB, canvas cells (rows, columns)


def random_session(domain: Domain, rng: np.random.Generator) -> Session:
    return Session(
        white_balance=triple(np.exp(rng.normal(0, domain.white_balance, 3))),
        exposure=float(domain.exposure * np.exp(rng.normal(0, 0.22))),
        nir_exposure=float(domain.nir_exposure * np.exp(rng.normal(0, 0.30))),
        blur=float(rng.uniform(*domain.blur)),
        jpeg=int(rng.integers(domain.jpeg[0], domain.jpeg[1] + 1)),
        misalignment=(int(rng.integers(-2, 3)), int(rng.integers(-2, 3))),
    )


def box(image: np.ndarray) -> np.ndarray:
    """Average the canvas cells of every pixel: (kH, kW, ...) -> (H, W, ...)."""
    return np.float32(1 / OVERSAMPLING**2) * np.add.reduce(_cells(image))


def _cells(image: np.ndarray) -> list[np.ndarray]:
    """The canvas cells of every pixel, one picture (H, W, ...) per cell; faster than reducing a reshaped array."""
    k = OVERSAMPLING
    return [image[row::k, column::k] for row in range(k) for column in range(k)]


def _automatic_gain(image: np.ndarray, target: float, typical: float) -> float:
    """A gain that brings the middle of the picture near `target`, but not all the way."""
    height, width = image.shape[:2]
    middle = image[height // 5 : -(height // 5), width // 5 : -(width // 5)].mean()
    return target / typical * (typical / max(float(middle), 1e-3)) ** 0.7


def rgb_image(light: np.ndarray, domain: Domain, session: Session, rng: np.random.Generator) -> np.ndarray:
    """Linear light (kH, kW, 3) -> uint8 (H, W, 3): exposure, white balance, blur, noise, gamma, JPEG."""
    image = box(light)
    image *= _automatic_gain(image, session.exposure, 0.25) * np.array(session.white_balance, dtype=np.float32)
    image = gaussian_filter(image, (session.blur, session.blur, 0))
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    image += domain.rgb_noise * np.sqrt(0.1 + np.maximum(image, 0)) * noise
    image = np.clip(image, 0, 1)
    encoded = np.where(image < 0.0031308, 12.92 * image, 1.055 * np.power(image, 1 / 2.4) - 0.055)
    buffer = io.BytesIO()
    Image.fromarray(np.rint(255 * encoded).astype(np.uint8)).save(buffer, "JPEG", quality=session.jpeg)
    return np.array(Image.open(buffer))


def infrared_view(
    distance: np.ndarray, reference: float, domain: Domain, session: Session
) -> tuple[np.ndarray, np.ndarray]:
    """Which canvas cell the depth and NIR camera sees where: rows (kH, 1), columns (kH, kW).

    The camera stands beside the RGB camera: a point moves sideways by `parallax` times 2 (1 - reference / distance).
    """
    size = distance.shape[0]
    rows = np.clip(np.arange(size) + session.misalignment[0], 0, size - 1)[:, None]
    base = np.arange(size)[None, :] + session.misalignment[1]
    strength = 2 * domain.parallax * OVERSAMPLING

    def moved(seen: np.ndarray) -> np.ndarray:
        return np.clip(base + np.rint(strength * (1 - reference / seen)).astype(np.int32), 0, size - 1)

    near = distance[rows, np.clip(base, 0, size - 1)]
    return rows, moved(distance[rows, moved(near)])


def nir_image(radiance: np.ndarray, domain: Domain, session: Session, rng: np.random.Generator) -> np.ndarray:
    """NIR radiance (kH, kW) -> uint8 (H, W): vignetting, exposure, saturation, noise."""
    image = box(radiance)
    size = image.shape[0]
    offset = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    image *= 1 - domain.vignette * 0.5 * (offset[:, None] + offset[None, :])
    image *= _automatic_gain(image, session.nir_exposure, 0.3)
    image = gaussian_filter(image, 0.45)
    image += (
        domain.nir_noise * np.sqrt(0.15 + np.maximum(image, 0)) * rng.standard_normal(image.shape, dtype=np.float32)
    )
    return np.rint(255 * np.clip(image, 0, 1) ** 0.7).astype(np.uint8)


def depth_image(
    distance: np.ndarray, radiance: np.ndarray, green: np.ndarray, domain: Domain, rng: np.random.Generator
) -> np.ndarray:
    """Distances, NIR radiance and green light (each (kH, kW)) -> the sensor's depth, uint8 (H, W)."""
    size = distance.shape[0] // OVERSAMPLING
    cells = _cells(distance)
    measured = cells[0].copy()
    edge = np.maximum.reduce(cells) - np.minimum.reduce(cells) > _FLYING_RANGE
    signal = box(radiance)
    noise = rng.standard_normal((size, size), dtype=np.float32)
    scale = domain.depth_noise * (measured / 500) ** 2
    hole = np.zeros((size, size), dtype=bool)
    if domain.depth_sensor == "time-of-flight":
        flying = edge & (rng.random((size, size)) < 0.7)
        measured[flying] = box(distance)[flying]
        measured += scale * noise / np.sqrt(np.clip(signal / 0.4, 0.06, 2))
        measured += 1.5 * np.sin(measured / 45)  # the wiggling error of the modulation
        hole |= signal < 0.045 * rng.uniform(0.5, 1.5, (size, size))
    else:
        stereo = domain.depth_sensor == "stereo"
        hole |= _occluded(measured, 9.0 if stereo else 5.0)
        if stereo:
            luma = box(green)
            contrast = gaussian_filter(luma**2, 1.5) - gaussian_filter(luma, 1.5) ** 2
            texture = np.sqrt(np.maximum(contrast, 0)) / (gaussian_filter(luma, 1.5) + 0.02)
            patches = gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), 2.5) * 8
            hole |= texture < 0.02 + 0.012 * patches
            measured = median_filter(measured, 3)
            measured += scale * (0.5 * noise + 3.0 * gaussian_filter(noise, 1.2))
        else:
            measured += scale * (0.4 * noise + 1.6 * gaussian_filter(noise, 0.9))
            hole |= signal < 0.05 * rng.uniform(0.5, 1.5, (size, size))
            hole |= edge & (rng.random((size, size)) < 0.35)
        step = (2.0 if stereo else 1.0) / 500**2  # of disparity, in 1/mm: the step in mm grows with distance squared
        measured = 1 / np.maximum(np.rint(1 / np.maximum(measured, 1) / step) * step, step)
    value = 255 - 254 * (measured - domain.near) / (domain.far - domain.near)
    hole |= (measured < domain.near) | (measured > domain.far)
    return np.where(hole, 0, np.clip(np.rint(value), 1, 255)).astype(np.uint8)


def _occluded(distance: np.ndarray, baseline: float) -> np.ndarray:
    """Pixels the second camera or the projector cannot see past something nearer to their right, (H, W) bool.

    `baseline` is the disparity in pixels at 500 mm.
    """
    disparity = baseline * 500 / distance
    hidden = np.zeros(distance.shape, dtype=bool)
    for step in range(1, 6):
        hidden[:, :-step] |= disparity[:, step:] - disparity[:, :-step] > step + 0.5
    return hidden
