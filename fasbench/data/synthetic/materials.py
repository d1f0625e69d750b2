"""What surfaces look like to the two cameras: visible reflectance, reflectance at 850 nm, gloss, and emission.

The two bands disagree on purpose, and that is what separates live from fake in near infrared (NIR): pigment that makes
skin dark or a print colourful is nearly transparent there, dyed hair and cloth turn grey, and a screen emits nothing.
Values are linear reflectances in [0, 1], chosen to be plausible, not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CHANNELS = ("red", "green", "blue", "nir", "gloss", "glow")  # the last axis of every surface
RED, GREEN, BLUE, NIR, GLOSS, GLOW = range(len(CHANNELS))

_SKIN_LADDER = np.array(  # linear RGB, from light to dark
    [(0.78, 0.55, 0.44), (0.66, 0.43, 0.32), (0.48, 0.29, 0.20), (0.30, 0.165, 0.105), (0.15, 0.078, 0.05)]
)
_HAIR_COLOURS = np.array(
    [(0.015, 0.012, 0.010), (0.035, 0.022, 0.015), (0.09, 0.05, 0.028), (0.28, 0.18, 0.09), (0.30, 0.29, 0.28)]
)
_IRIS_COLOURS = np.array([(0.05, 0.028, 0.015), (0.10, 0.055, 0.02), (0.13, 0.14, 0.06), (0.10, 0.17, 0.26)])


def luma(rgb: np.ndarray) -> np.ndarray:
    """Brightness of linear colours (..., 3). Written out: a matrix product may round differently by thread count."""
    return 0.2126 * rgb[..., 0] + 0.7152 * rgb[..., 1] + 0.0722 * rgb[..., 2]


Triple = tuple[float, float, float]


def triple(values: np.ndarray) -> Triple:
    """An array (3,) as a tuple of plain numbers."""
    first, second, third = (float(value) for value in values)
    return first, second, third


@dataclass(frozen=True)
class Complexion:
    """Skin, or what stands in for it on a mask."""

    rgb: Triple
    nir: float
    gloss: float
    texture: float  # strength of mottling, freckles, pores: 1 = skin, 0 = smooth plastic
    blood: float  # strength of the redness of lips and cheeks in visible light


def skin(melanin: float, rng: np.random.Generator) -> Complexion:
    """Skin by its melanin, 0 (lightest) .. 1 (darkest): the visible tone falls five times, NIR hardly."""
    position = float(np.clip(melanin, 0, 1)) * (len(_SKIN_LADDER) - 1)
    steps = range(len(_SKIN_LADDER))
    rgb = np.array([np.interp(position, steps, _SKIN_LADDER[:, channel]) for channel in range(3)])
    rgb = rgb * rng.normal(1, 0.03, 3)
    nir = 0.62 - 0.07 * melanin + rng.normal(0, 0.02)
    return Complexion(triple(rgb), float(nir), float(rng.uniform(0.03, 0.09)), 1.0, 1.0)


def hair_colour(melanin: float, rng: np.random.Generator) -> np.ndarray:
    """Linear RGB (3,): dark hair for dark skin, anything for light skin."""
    last = len(_HAIR_COLOURS) if melanin < 0.45 else 2
    return _HAIR_COLOURS[rng.integers(last)] * rng.uniform(0.8, 1.25)


def hair_nir(rgb: np.ndarray) -> float:
    """Hair pigment fades in NIR: black hair is a dark grey there."""
    return 0.16 + 0.75 * float(luma(rgb))


def iris_colour(melanin: float, rng: np.random.Generator) -> np.ndarray:
    """Linear RGB (3,)."""
    last = len(_IRIS_COLOURS) if melanin < 0.45 else 2
    return _IRIS_COLOURS[rng.integers(last)] * rng.uniform(0.8, 1.2)


def cloth(rng: np.random.Generator) -> np.ndarray:
    """A dyed fabric, (6,): colour says nothing about its NIR reflectance."""
    value = rng.uniform(0.03, 0.55)
    tint = 1 + rng.uniform(0, 0.6) * rng.uniform(-1, 1, 3)
    return surface(np.clip(value * tint, 0.01, 0.8), rng.uniform(0.2, 0.75))


def surface(rgb: np.ndarray | tuple[float, ...], nir: float, gloss: float = 0.0, glow: float = 0.0) -> np.ndarray:
    """One material as a surface vector, (6,) float32."""
    return np.array([*rgb, nir, gloss, glow], dtype=np.float32)


def paint(surface_map: np.ndarray, mask: np.ndarray, material: np.ndarray) -> None:
    """Lay a material over a surface map (rows, columns, 6) in place, `mask` (rows, columns) in [0, 1]."""
    surface_map += mask[..., None] * (material - surface_map)


@dataclass(frozen=True)
class Ink:
    """How a printer's ink looks in NIR: dye of an inkjet vanishes, the carbon of laser toner keeps some contrast."""

    nir_strength: float  # 0 = blank paper in NIR, 1 = as dark as in visible light
    saturation: float
    black: float  # reflectance of full ink


def random_ink(rng: np.random.Generator) -> Ink:
    laser = rng.random() < 0.4
    strength = rng.uniform(0.15, 0.4) if laser else rng.uniform(0.0, 0.1)
    return Ink(float(strength), float(rng.uniform(0.7, 0.95)), float(rng.uniform(0.03, 0.09)))


def printed(photo: np.ndarray, ink: Ink, paper_nir: float, rng: np.random.Generator) -> np.ndarray:
    """A print of a linear photo (rows, columns, 3) as a surface map (rows, columns, 6)."""
    brightness = luma(photo)
    colour = brightness[..., None] + ink.saturation * (photo - brightness[..., None])
    dots = 1 + 0.04 * rng.standard_normal(brightness.shape, dtype=np.float32)  # the screen of the printer, unresolved
    result = np.empty((*brightness.shape, len(CHANNELS)), dtype=np.float32)
    result[..., :3] = np.clip((ink.black + (0.82 - ink.black) * colour) * dots[..., None], 0, 0.9)
    coverage = 1 - np.clip(brightness, 0, 1) ** 0.5  # ink is laid by perceived darkness
    result[..., NIR] = paper_nir * (1 - ink.nir_strength * coverage)
    result[..., GLOSS] = 0.02
    result[..., GLOW] = 0
    return result


def displayed(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A linear photo (rows, columns, 3) on a screen: it glows in visible light and is black glass in NIR."""
    rows, columns = np.indices(photo.shape[:2], dtype=np.float32)
    angle, frequency = rng.uniform(0, np.pi), rng.uniform(0.25, 0.9)  # moire between two pixel grids
    wave = np.sin(frequency * (np.cos(angle) * columns + np.sin(angle) * rows) + 0.3 * np.sin(0.05 * rows))
    result = np.empty((*photo.shape[:2], len(CHANNELS)), dtype=np.float32)
    tint = np.array([0.93, 1.0, 1.12], dtype=np.float32) * rng.uniform(0.9, 1.1)
    result[..., :3] = np.clip(photo * tint * (1 + rng.uniform(0.02, 0.08) * wave)[..., None] + 0.012, 0, 1)
    result[..., NIR] = rng.uniform(0.03, 0.07)
    result[..., GLOSS] = rng.uniform(0.15, 0.4)
    result[..., GLOW] = 1
    return result
