"""The shape of a face: some forty numbers per person, an expression, and the height map they give.

Head coordinates in mm: x to the image's right, y down, w towards the camera; the origin lies between the eyes, in the
plane of the ears. A height map `w(x, y)` is enough for the poses of a presentation (within 20 degrees) and is cheap:
nearly every feature is a separable bump, an outer product of two Gaussians.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

CELL = 1.5  # mm between neighbouring cells of the head's grid
GRID_X = np.arange(-111.0, 111.1, CELL, dtype=np.float32)
GRID_Y = np.arange(-144.0, 150.1, CELL, dtype=np.float32)
CHIN_CLEARANCE = 1e-4  # keeps the powers below away from zero


def _parameter(mean: float, spread: float) -> float:
    """A shape parameter: its mean over people, and its standard deviation. Both in mm unless a comment says so."""
    field: float = dataclasses.field(default=mean, metadata={"spread": spread})
    return field


@dataclass(frozen=True)
class FaceShape:
    """What makes a face somebody's. Widths and spacings are half widths, measured from the middle of the face."""

    head_width: float = _parameter(75, 3.5)
    skull_height: float = _parameter(112, 4)
    chin_y: float = _parameter(114, 6)
    jaw_squareness: float = _parameter(2.7, 0.4)  # exponent of the outline below the eyes
    head_depth: float = _parameter(96, 5)
    section: float = _parameter(2.25, 0.15)  # exponent of the horizontal section: higher = flatter face
    forehead_bulge: float = _parameter(3, 2)
    temple_hollow: float = _parameter(4, 1.5)
    brow_ridge: float = _parameter(5, 2)
    brow_y: float = _parameter(-18, 2)
    brow_arch: float = _parameter(4, 1.5)
    brow_thickness: float = _parameter(4.2, 0.9)
    brow_width: float = _parameter(19, 1.5)
    eye_spacing: float = _parameter(32, 1.8)
    eye_width: float = _parameter(14.5, 1.1)
    eye_height: float = _parameter(6.0, 0.9)
    eye_tilt: float = _parameter(0.06, 0.06)  # rise of the outer corner per mm
    socket_depth: float = _parameter(10, 2)
    eyeball: float = _parameter(5, 1)
    nose_length: float = _parameter(46, 4)
    nose_bridge: float = _parameter(9, 2.5)
    nose_height: float = _parameter(23, 3.5)
    nose_width: float = _parameter(15, 2.2)
    nose_tip: float = _parameter(6, 2)
    nose_hump: float = _parameter(1, 1.2)
    cheekbone: float = _parameter(5, 2)
    cheekbone_y: float = _parameter(30, 4)
    cheek_fullness: float = _parameter(0, 3)
    mouth_y: float = _parameter(74, 3)
    mouth_width: float = _parameter(25, 2.3)
    upper_lip: float = _parameter(5.5, 1.3)
    lower_lip: float = _parameter(7.0, 1.4)
    lip_projection: float = _parameter(5, 1.5)
    chin_projection: float = _parameter(7, 2.5)
    chin_width: float = _parameter(15, 3)
    ear_length: float = _parameter(28, 3)
    ear_width: float = _parameter(9, 1.5)
    neck_width: float = _parameter(52, 5)
    eye_asymmetry: float = _parameter(0, 1.0)
    mouth_asymmetry: float = _parameter(0, 0.8)
    nose_asymmetry: float = _parameter(0, 0.9)


def random_shape(rng: np.random.Generator) -> FaceShape:
    """A person's shape: independent normal parameters, cut at 2.2 standard deviations."""
    fields = dataclasses.fields(FaceShape)
    deviations = np.clip(rng.standard_normal(len(fields)), -2.2, 2.2)
    return FaceShape(
        **{
            field.name: float(field.default + deviation * field.metadata["spread"])
            for field, deviation in zip(fields, deviations, strict=True)
        }
    )


def blend(first: FaceShape, second: FaceShape, weight: float) -> FaceShape:
    """`weight` of the second shape, the rest of the first: how a soft mask follows its wearer."""
    pairs = zip(dataclasses.astuple(first), dataclasses.astuple(second), strict=True)
    return FaceShape(*((1 - weight) * a + weight * b for a, b in pairs))


@dataclass(frozen=True)
class Expression:
    """All zero with `eyelid=1` is neutral."""

    mouth_open: float = 0.0  # 0 shut .. 1 wide open
    smile: float = 0.0  # -0.5 .. 1
    brow_raise: float = 0.0  # -1 .. 1
    eyelid: float = 1.0  # 0 shut .. 1 open
    gaze: float = 0.0  # mm the iris looks aside

    @property
    def jaw_drop(self) -> float:
        return 13.0 * self.mouth_open


def _bump(x: float, y: float, width: float, height: float) -> np.ndarray:
    """A Gaussian of amplitude 1 on the head's grid: (rows, columns)."""
    return np.outer(np.exp(-0.5 * ((GRID_Y - y) / height) ** 2), np.exp(-0.5 * ((GRID_X - x) / width) ** 2))


def _pair(x: float, y: float, width: float, height: float) -> np.ndarray:
    """The same bump left and right."""
    columns = np.exp(-0.5 * ((GRID_X - x) / width) ** 2) + np.exp(-0.5 * ((GRID_X + x) / width) ** 2)
    return np.outer(np.exp(-0.5 * ((GRID_Y - y) / height) ** 2), columns)


def outline(shape: FaceShape, chin_y: float, extra: float = 0.0) -> np.ndarray:
    """Half width of the head in every grid row, (rows,); 0 above the skull and below the chin."""
    above = np.clip(-GRID_Y / (shape.skull_height + extra), 0, 1)
    below = np.clip(GRID_Y / (chin_y + extra), 0, 1)
    upper = np.clip(1 - above**2.4, 0, 1) ** 0.5
    lower = np.clip(1 - below**shape.jaw_squareness, 0, 1) ** 0.52
    return (shape.head_width + extra) * np.where(GRID_Y < 0, upper, lower)


def skull(shape: FaceShape, chin_y: float, extra: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The head without features: height (rows, columns) and the mask of what lies inside its outline."""
    half_width = outline(shape, chin_y, extra)[:, None]
    above = np.clip(-GRID_Y / (shape.skull_height + extra), 0, 1)
    below = np.clip(GRID_Y / (chin_y + extra), 0, 1)
    depth = np.where(GRID_Y < 0, 1 - above**2.8, (1 - 0.12 * below**2) * (1 - below**9))
    middle = ((shape.head_depth + 0.6 * extra) * np.clip(depth, 0, 1) ** 0.5)[:, None]
    across = np.abs(GRID_X)[None, :] / np.maximum(half_width, CHIN_CLEARANCE)
    inside = (across < 1) & (half_width > 2)
    section = np.exp(0.55 * np.log(np.maximum(1 - np.minimum(across, 1) ** shape.section, CHIN_CLEARANCE)))
    return (middle * section).astype(np.float32), inside


def height_map(shape: FaceShape, expression: Expression) -> tuple[np.ndarray, np.ndarray]:
    """The head without hair: height in mm (rows, columns) float32, and the mask of cells that belong to it."""
    drop = expression.jaw_drop
    chin_y = shape.chin_y + drop
    height, inside = skull(shape, chin_y)
    smile = expression.smile
    mouth_y = shape.mouth_y + 0.4 * drop
    tip_y = shape.nose_length

    features = shape.forehead_bulge * _bump(0, -52, 40, 22)
    features -= shape.temple_hollow * _pair(64, -22, 12, 22)
    features += shape.brow_ridge * _pair(27, shape.brow_y + 4 - 2 * expression.brow_raise, 17, 7)
    features -= shape.socket_depth * _pair(shape.eye_spacing - 2, 1, 15, 10)
    features += shape.eyeball * _pair(shape.eye_spacing, 1, 10, 6.5)
    features += (shape.cheekbone + 2 * smile) * _pair(47, shape.cheekbone_y - 3 * smile, 16, 13)
    features += shape.cheek_fullness * _pair(42, 66, 16, 18)
    features -= 3 * _pair(25 + 4 * smile, 58, 5, 12)  # the folds beside the mouth
    # Nose: a ridge that widens and rises towards the tip, then the tip and the wings.
    along = np.clip((GRID_Y + 12) / (tip_y + 12), 0, 1.0)
    ridge_height = shape.nose_bridge * along**0.5 + (shape.nose_height - shape.nose_bridge) * along**2
    ridge_height += shape.nose_hump * np.exp(-0.5 * ((along - 0.55) / 0.15) ** 2)
    ridge_height *= 1 / (1 + np.exp((GRID_Y - tip_y - 5) / 1.8))
    ridge_width = 7 + 0.28 * shape.nose_width * along**2
    bend = shape.nose_asymmetry * along
    features += ridge_height[:, None] * np.exp(-0.5 * ((GRID_X[None, :] - bend[:, None]) / ridge_width[:, None]) ** 2)
    features += shape.nose_tip * _bump(shape.nose_asymmetry, tip_y - 2, 8, 6)
    features += 0.5 * shape.nose_width * _pair(0.75 * shape.nose_width, tip_y + 1, 5, 5)
    # Mouth: a muzzle, two lips, the line between them; the lower lip and the chin follow the jaw.
    width = shape.mouth_width + 4 * smile
    features += 4 * _bump(0, mouth_y - 2, 26, 16)
    features += shape.lip_projection * _bump(0, mouth_y - 4, 0.62 * width, 3.5)
    features += shape.lip_projection * _bump(shape.mouth_asymmetry, mouth_y + 6 + 0.5 * drop, 0.55 * width, 4)
    features -= (4 + 0.9 * drop) * _bump(0, mouth_y + 0.5 + 0.2 * drop, 0.7 * width, 1.6 + 0.25 * drop)
    features -= 4 * _bump(0, mouth_y + 17 + 0.6 * drop, 18, 4.5)
    features += shape.chin_projection * _bump(0, chin_y - 10, shape.chin_width, 10)
    height += np.where(inside, features, 0).astype(np.float32)

    # Ears stand beside the outline, a little behind its widest part.
    ear_x = shape.head_width + 0.35 * shape.ear_width
    across = (np.abs(GRID_X)[None, :] - ear_x + 0.1 * (GRID_Y[:, None] - 18)) / shape.ear_width
    radius = across**2 + ((GRID_Y[:, None] - 18) / shape.ear_length) ** 2
    ear = radius < 1
    height = np.where(ear & ~inside, 8 - 5 * (1 - np.minimum(radius, 1)), height)
    return height.astype(np.float32), inside | ear
