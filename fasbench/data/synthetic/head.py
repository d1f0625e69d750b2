"""A person's head: the face's height map (face.py) dressed with skin, brows, eyes, lips and hair.

What depends on the person alone (skin texture, hair) is cached; what an expression changes (eyes, brows, mouth) is
painted in small windows per frame. Everything lives on the grid of face.py: (rows, columns), 1.5 mm a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from fasbench.data.synthetic import face
from fasbench.data.synthetic.face import CELL, GRID_X, GRID_Y, Expression, FaceShape
from fasbench.data.synthetic.materials import (
    CHANNELS,
    GLOSS,
    NIR,
    Complexion,
    hair_colour,
    hair_nir,
    iris_colour,
    paint,
    skin,
    surface,
    triple,
)
from fasbench.data.synthetic.render import Relief

HAIR_STYLES = ("bald", "short", "fringe", "long")
ORIGIN = (float(GRID_X[0]), float(GRID_Y[0]))
_x, _y = GRID_X[None, :], GRID_Y[:, None]


@dataclass(frozen=True)
class Person:
    """An identity. Hashable, so that what is rendered from it can be cached."""

    shape: FaceShape
    complexion: Complexion
    hair_rgb: tuple[float, float, float]
    hair_style: str
    hair_volume: float  # mm
    hairline: float  # y of the hairline in the middle, mm
    iris_rgb: tuple[float, float, float]
    stubble: float  # 0 .. 1
    freckles: float  # 0 .. 1
    texture_seed: int


@dataclass
class Shell:
    """A head, or a mask, before it is traced: height (rows, columns), mask, surface map (rows, columns, 6)."""

    height: np.ndarray
    mask: np.ndarray
    surface: np.ndarray

    def relief(self) -> Relief:
        """Ready for the canvas; hollows get less of any light (ambient occlusion)."""
        hollow = uniform_filter(self.height, 13) - self.height
        openness = np.clip(1 - 0.022 * hollow, 0.45, 1.06)
        shaded = self.surface.copy()
        shaded[..., : NIR + 1] *= openness[..., None]
        return Relief(self.height, self.mask, shaded, ORIGIN, CELL)


def random_person(rng: np.random.Generator, melanin: float) -> Person:
    hair_rgb = hair_colour(melanin, rng)
    style = HAIR_STYLES[rng.choice(len(HAIR_STYLES), p=[0.1, 0.35, 0.2, 0.35])]
    bearded = style != "long" and rng.random() < 0.5
    return Person(
        shape=face.random_shape(rng),
        complexion=skin(melanin, rng),
        hair_rgb=triple(hair_rgb),
        hair_style=style,
        hair_volume=float(rng.uniform(5, 12)) + (4 if style == "long" else 0),
        hairline=float(rng.uniform(-80, -64)) + (14 if style == "fringe" else 0),
        iris_rgb=triple(iris_colour(melanin, rng)),
        stubble=float(rng.uniform(0.15, 0.9)) if bearded else 0.0,
        freckles=float(max(0, rng.uniform(-1, 0.8))),
        texture_seed=int(rng.integers(2**31)),
    )


def ramp(distance: np.ndarray, width: float) -> np.ndarray:
    """A soft step: 0 below -width/2, 1 above width/2."""
    return np.clip(distance / width + 0.5, 0, 1)


@lru_cache(maxsize=32)
def _noises(seed: int) -> dict[str, np.ndarray]:
    """Fields of unit variance on the head's grid, (rows, columns) float32."""
    rng = np.random.default_rng(seed)
    scales = {"mottle": (6, 6), "fine": (0.8, 0.8), "strands": (9, 0.6), "spots": (0.9, 0.9), "bristle": (0.6, 0.5)}
    noises = {}
    for name, scale in scales.items():
        field = gaussian_filter(rng.standard_normal((len(GRID_Y), len(GRID_X)), dtype=np.float32), scale)
        noises[name] = field / field.std()
    return noises


@lru_cache(maxsize=32)
def _hair(person: Person) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hair cover in [0, 1], the height of its shell, and where that shell exists; all (rows, columns)."""
    noises, shape, volume = _noises(person.texture_seed), person.shape, person.hair_volume
    if person.hair_style == "bald":
        nothing = np.zeros((len(GRID_Y), len(GRID_X)), dtype=np.float32)
        return nothing, nothing, nothing > 0
    height, inside = face.skull(shape, shape.chin_y, volume)
    lower_end = {"short": 18.0, "fringe": 30.0, "long": 138.0}[person.hair_style]
    long = person.hair_style == "long"
    hairline = person.hairline + 38 * (np.abs(_x) / 62) ** 3 + 2.5 * noises["strands"]
    edge = face.outline(shape, shape.chin_y)[:, None] - (11 if long else 6) - 0.03 * np.maximum(_y, 0)
    if long:  # beside the jaw, not on it
        edge = np.where(_y > 0, np.maximum(edge, 0.8 * shape.head_width), edge)
    side = ramp(np.abs(_x) - edge + 1.5 * noises["strands"], 5) * ramp(lower_end - _y + 3 * noises["strands"], 8)
    cover = np.maximum(ramp(hairline - _y, 5), side * (person.hairline < _y))
    if long:
        half_width = shape.head_width + volume + 3 * np.sin(_y / 30)
        curtain = (_y > 0) & (_y < lower_end + 2 * noises["strands"]) & (np.abs(_x) < half_width)
        below_chin = face.outline(shape, shape.chin_y + 16)[:, None] < np.abs(_x)  # even with an open mouth
        cover = np.where(curtain & below_chin, 1, cover)
        falling = 30 * np.sqrt(np.maximum(1 - (np.abs(_x) / half_width) ** 2, 0)) + 4
        falling -= 60 * ramp(0.72 - np.abs(_x) / half_width, 0.1)  # the middle falls behind the neck
        height, inside = np.where(curtain & ~inside, falling, height), inside | curtain
    else:
        inside = inside & (_y < lower_end - 10)
    height = height + 1.6 * noises["strands"]
    return cover.astype(np.float32), height.astype(np.float32), inside


@lru_cache(maxsize=32)
def _base_surface(person: Person) -> np.ndarray:
    """Skin, stubble and hair, (rows, columns, 6): everything no expression changes."""
    noises, tone, shape = _noises(person.texture_seed), person.complexion, person.shape
    result = np.empty((len(GRID_Y), len(GRID_X), len(CHANNELS)), dtype=np.float32)
    result[:] = surface(tone.rgb, tone.nir, tone.gloss)
    flush = np.exp(-0.5 * (((np.abs(_x) - 42) / 17) ** 2 + ((_y - 38) / 15) ** 2))
    flush = flush + np.exp(-0.5 * ((_x / 14) ** 2 + ((_y - shape.nose_length) / 12) ** 2))
    flush = tone.blood * (0.09 * flush + 0.05 * noises["mottle"])
    result[..., :3] *= np.exp(flush[..., None] * np.array([0.25, -1.0, -0.9], dtype=np.float32))
    detail = tone.texture * (0.03 * noises["mottle"] + 0.035 * noises["fine"])
    freckles = tone.texture * person.freckles * 0.35 * ramp(noises["spots"] - 1.4, 0.6)
    freckles = freckles * np.exp(-0.5 * ((_y - 22) / 30) ** 2)
    under_eyes = np.exp(-0.5 * (((np.abs(_x) - shape.eye_spacing + 2) / 12) ** 2 + ((_y - 13) / 5) ** 2))
    result[..., :3] *= np.exp(detail - freckles - 0.14 * tone.texture * under_eyes)[..., None]
    result[..., NIR] *= np.exp(0.3 * detail)  # NIR light scatters deep: hardly any texture
    result[..., GLOSS] *= 1 + 0.6 * np.exp(-0.5 * ((_x / 22) ** 2 + ((_y + 40) / 25) ** 2))
    hair = surface(person.hair_rgb, hair_nir(np.array(person.hair_rgb)), 0.10)
    if person.stubble:
        beard = ramp(_y - 52 - 18 * np.exp(-((_x / 30) ** 2)), 16) * ramp(np.abs(_x) + 0.9 * _y - 60, 20)
        around_mouth = np.exp(-0.5 * ((_x / 20) ** 2 + ((_y - shape.mouth_y - 2) / 9) ** 2))
        moustache = np.exp(-0.5 * ((_x / 20) ** 2 + ((_y - shape.mouth_y + 11) / 4) ** 2))
        beard = np.maximum(beard * (1 - 0.7 * around_mouth), moustache)
        paint(result, np.clip(beard * person.stubble * (0.75 + 0.25 * noises["bristle"]), 0, 0.95), hair)
    cover = _hair(person)[0]
    strands = np.exp(0.3 * noises["strands"])[..., None] * hair
    result += cover[..., None] * (strands - result)
    return result


def head(person: Person, expression: Expression) -> Shell:
    """The whole head with hair, seen from the front."""
    height, mask = face.height_map(person.shape, expression)
    painted = _base_surface(person).copy()
    _paint_brows(painted, person, expression)
    _paint_eyes(painted, person, expression)
    _paint_mouth(painted, person, expression)
    cover, shell, shell_mask = _hair(person)
    hairy = (cover > 0.5) & shell_mask
    height = np.where(hairy, np.maximum(height + 3, shell), height)
    if person.hair_style != "bald":
        outside = hairy & ~mask
        strands = np.exp(0.3 * _noises(person.texture_seed)["strands"][outside])[:, None]
        painted[outside] = strands * surface(person.hair_rgb, hair_nir(np.array(person.hair_rgb)), 0.10)
    return Shell(height, mask | hairy, painted)


def _window(x: tuple[float, float], y: tuple[float, float]) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """The part of the grid between the given mm: its index, its x (1, columns) and y (rows, 1)."""
    columns = slice(*np.searchsorted(GRID_X, x))
    rows = slice(*np.searchsorted(GRID_Y, y))
    return (rows, columns), GRID_X[None, columns], GRID_Y[rows, None]


def _paint_brows(painted: np.ndarray, person: Person, expression: Expression) -> None:
    shape = person.shape
    middle = shape.brow_y - 4 * expression.brow_raise
    hair = surface(person.hair_rgb, hair_nir(np.array(person.hair_rgb)), 0.03)
    bristle = _noises(person.texture_seed)["bristle"]
    for side in (-1, 1):
        centre = side * (shape.eye_spacing + 1)
        index, x, y = _window((centre - 30, centre + 30), (middle - 16, middle + 14))
        along = side * (x - centre) / shape.brow_width  # -1 at the nose, 1 outside
        curve = middle - shape.brow_arch * (1 - (along - 0.25) ** 2)
        thickness = shape.brow_thickness * np.clip(1.1 - 0.45 * (along + 0.6) ** 2, 0, 1)
        cover = ramp(thickness - np.abs(y - curve), 3) * ramp(1.05 - np.abs(along), 0.25)
        paint(painted[index], np.clip(cover * (0.8 + 0.2 * bristle[index]), 0, 0.95), hair)


def _paint_eyes(painted: np.ndarray, person: Person, expression: Expression) -> None:
    shape, tone = person.shape, person.complexion
    dark = np.array(tone.rgb) * 0.2
    for side in (-1, 1):
        centre, middle = side * shape.eye_spacing, 1.0 + 0.5 * side * shape.eye_asymmetry
        index, x, y = _window((centre - 24, centre + 24), (middle - 17, middle + 17))
        target = painted[index]
        across = (x - centre) / shape.eye_width
        arc = np.clip(1 - across**2, 0, 1)
        tilted = y - middle + side * shape.eye_tilt * (x - centre)
        upper = -shape.eye_height * (2 * expression.eyelid - 0.75) * arc**0.8
        lower = 0.6 * shape.eye_height * arc
        opening = ramp(tilted - upper, 1.6) * ramp(lower - tilted, 1.6) * (arc > 0)
        # The lid's crease and the shadow between the lid and the brow.
        crease = np.exp(-0.5 * ((tilted - upper + 4.5) / 1.3) ** 2) * arc
        paint(target, 0.35 * crease, surface(dark, 0.75 * tone.nir))
        paint(target, opening, surface((0.62, 0.57, 0.54), 0.46, 0.35))
        radius = np.sqrt((x - centre - expression.gaze) ** 2 + (tilted + 0.8) ** 2)
        iris = np.array(person.iris_rgb)
        paint(target, opening * ramp(6.3 - radius, 1.2), surface(0.35 * iris, 0.24, 0.5))  # the ring around the iris
        paint(target, opening * ramp(5.3 - radius, 1.2), surface(iris, 0.33, 0.5))
        paint(target, opening * ramp(2.6 - radius, 1.2), surface((0.006, 0.006, 0.006), 0.05, 0.5))
        glint = np.exp(-0.5 * (((x - centre - expression.gaze + 2) / 1.1) ** 2 + ((tilted + 3) / 1.1) ** 2))
        paint(target, opening * glint, surface((0.9, 0.9, 0.9), 0.9))
        lashes = np.exp(-0.5 * ((tilted - upper) / 1.1) ** 2) * (arc > 0.02)
        paint(target, 0.85 * lashes, surface((0.015, 0.012, 0.01), 0.22))
        paint(target, 0.35 * np.exp(-0.5 * ((tilted - lower) / 0.9) ** 2) * (arc > 0.02), surface(dark, 0.6 * tone.nir))


def _paint_mouth(painted: np.ndarray, person: Person, expression: Expression) -> None:
    shape, tone, drop = person.shape, person.complexion, expression.jaw_drop
    width = shape.mouth_width + 4 * expression.smile
    line = shape.mouth_y + 0.4 * drop
    index, x, y = _window((-45, 45), (shape.nose_length - 12, line + 35))
    target = painted[index]
    nostrils = np.exp(-0.5 * (((np.abs(x) - 0.48 * shape.nose_width) / 2.8) ** 2))
    nostrils = nostrils * np.exp(-0.5 * ((y - shape.nose_length - 4.5) / 1.7) ** 2)
    paint(target, 0.85 * nostrils, surface(np.array(tone.rgb) * 0.06, 0.12))
    across = (x - shape.mouth_asymmetry) / width
    arc = np.clip(1 - across**2, 0, 1)
    curve = line - 5.5 * expression.smile * across**2 + 0.8
    gap = drop * arc
    bow = shape.upper_lip * arc**0.7 * (1 - 0.18 * np.exp(-((x / 4) ** 2)))
    upper, lower = curve - 0.25 * gap, curve + 0.75 * gap
    lips = ramp(y - upper + bow, 1.6) * ramp(lower + shape.lower_lip * arc**0.6 - y, 1.6) * (arc > 0)
    red = np.array(tone.rgb) * np.exp(tone.blood * np.array([-0.30, -1.25, -0.95]) - 0.05)
    paint(target, 0.85 * lips, surface(red, 0.97 * tone.nir, 0.12))
    inside = ramp(y - upper, 1.5) * ramp(lower - y, 1.5) * (gap > 1.0)
    paint(target, inside, surface((0.05, 0.012, 0.012), 0.10))
    paint(
        target,
        inside * ramp(upper + 6 - y, 1.5) * ramp(0.7 - np.abs(across), 0.2),
        surface((0.6, 0.56, 0.48), 0.5, 0.2),
    )
    seam = np.exp(-0.5 * ((y - upper) / 0.9) ** 2) * (arc > 0.01)
    paint(target, 0.75 * seam, surface(np.array(tone.rgb) * 0.12, 0.25))
    for side in (-1, 1):  # the folds from the nose to the corners of the mouth
        fold = side * x - (0.95 * shape.nose_width + 0.55 * (y - shape.nose_length))
        strength = (0.1 + 0.25 * max(expression.smile, 0)) * ramp(y - shape.nose_length, 8) * ramp(line - y, 8)
        paint(target, strength * np.exp(-0.5 * (fold / 1.6) ** 2), surface(np.array(tone.rgb) * 0.4, 0.85 * tone.nir))
