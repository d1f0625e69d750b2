"""A small deferred renderer in numpy: reliefs are traced into a canvas of surfaces, the canvas is lit once.

A `Relief` is a height map with a material in every cell: a head, a sheet of paper, a mask. Within an object the
projection is parallel, so that all rays through it are parallel lines, and marching down the levels of the height map
moves every ray by the same step: no per-pixel directions. Camera coordinates are those of the head (face.py): x to
the right, y down, w towards the camera, in mm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fasbench.data.synthetic.materials import CHANNELS, GLOSS, GLOW, NIR

OVERSAMPLING = 2  # the canvas has this many cells per pixel in each direction
_MAX_STEPS = 24


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Head to camera, (3, 3), angles in degrees: first roll, then pitch (positive looks down), then yaw."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_w = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_y @ about_x @ about_w


class Relief:
    """A height map (rows, columns) in mm, the mask of its cells, and a surface map (rows, columns, 6).

    `origin` is the position (x, y) in mm of cell (0, 0). Heights outside the mask must continue the object smoothly:
    they are interpolated with their neighbours.
    """

    def __init__(
        self, height: np.ndarray, mask: np.ndarray, surface: np.ndarray, origin: tuple[float, float], cell: float
    ) -> None:
        self.rows, self.columns = height.shape
        self.origin, self.cell = origin, cell
        height = height.astype(np.float32)
        inside = height[mask]
        self.top, self.bottom = (float(inside.max()), float(inside.min())) if inside.size else (0.0, 0.0)
        self.blocked = np.where(mask, height, -np.inf).astype(np.float32).ravel()
        packed = np.zeros((self.rows, self.columns, 3 + len(CHANNELS)), dtype=np.float32)
        packed[..., 0] = height
        packed[:, 1:-1, 1] = (height[:, 2:] - height[:, :-2]) / (2 * cell)
        packed[1:-1, :, 2] = (height[2:] - height[:-2]) / (2 * cell)
        packed[..., 3:] = surface
        self.packed = packed.reshape(-1, 3 + len(CHANNELS))  # height, its slopes along x and y, the surface
        self.heights = height.reshape(-1, 1)

    def corners(self) -> np.ndarray:
        """The eight corners of its bounding box, (8, 3) in mm."""
        x = self.origin[0] + self.cell * np.array([0, self.columns - 1])
        y = self.origin[1] + self.cell * np.array([0, self.rows - 1])
        return np.array(np.meshgrid(x, y, [self.bottom, self.top])).reshape(3, 8).T

    def sample(self, table: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Bilinear samples of a table (cells, channels) at fractional cells, both (N,): (N, channels)."""
        column = np.clip(column, 0, self.columns - 1.001)
        row = np.clip(row, 0, self.rows - 1.001)
        left, above = column.astype(np.int32), row.astype(np.int32)
        right_weight, below_weight = (column - left)[:, None], (row - above)[:, None]
        corner = above * self.columns + left
        top = table.take(corner, axis=0)
        top += right_weight * (table.take(corner + 1, axis=0) - top)
        corner += self.columns
        bottom = table.take(corner, axis=0)
        bottom += right_weight * (table.take(corner + 1, axis=0) - bottom)
        top += below_weight * (bottom - top)
        return top


@dataclass(frozen=True)
class Camera:
    """Where the canvas looks: cells per mm, where the presentation's origin appears, and how far it is."""

    size: int  # cells per side
    scale: float  # cells per mm
    centre: tuple[float, float]  # column, row
    distance: float  # mm from the camera to w = 0


@dataclass(frozen=True)
class Placement:
    """A rigid motion: rotate about `pivot` (in the object's coordinates), then shift. mm."""

    turn: np.ndarray  # (3, 3)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)


STILL = Placement(np.eye(3))


class Canvas:
    """Per cell: distance in mm, the normal, and the surface. Nearer objects hide farther ones."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.distance = np.full((size, size), np.inf, dtype=np.float32)
        self.normal = np.zeros((3, size, size), dtype=np.float32)
        self.surface = np.zeros((len(CHANNELS), size, size), dtype=np.float32)

    def copy(self) -> Canvas:
        clone = Canvas.__new__(Canvas)
        clone.size = self.size
        clone.distance, clone.normal, clone.surface = self.distance.copy(), self.normal.copy(), self.surface.copy()
        return clone

    def put(self, relief: Relief, camera: Camera, place: Placement = STILL) -> None:
        """Draw a relief, occluding what is behind it."""
        pivot, shift = np.array(place.pivot), np.array(place.shift)
        corners = (relief.corners() - pivot) @ place.turn.T + pivot + shift
        column_range = camera.centre[0] + camera.scale * corners[:, 0]
        row_range = camera.centre[1] + camera.scale * corners[:, 1]
        left, right = (int(np.clip(edge, 0, self.size)) for edge in (column_range.min(), column_range.max() + 2))
        top, bottom = (int(np.clip(edge, 0, self.size)) for edge in (row_range.min(), row_range.max() + 2))
        if left >= right or top >= bottom:
            return
        # In the object's coordinates a ray is base + W * direction, W being the camera's w, and the base is linear in
        # the position on the canvas: so are the cell where the ray crosses level 0 and that level's W.
        x = (np.arange(left, right, dtype=np.float32) - camera.centre[0]) / camera.scale - float(shift[0] + pivot[0])
        y = (np.arange(top, bottom, dtype=np.float32) - camera.centre[1]) / camera.scale - float(shift[1] + pivot[1])
        inverse = place.turn.T
        direction = inverse[:, 2]
        drift = direction[:2] / direction[2]  # sideways motion per mm of level
        per_x, per_y = ((inverse[:2, axis] - drift * inverse[2, axis]) / relief.cell for axis in (0, 1))
        start = (pivot[:2] - drift * pivot[2] - np.array(relief.origin)) / relief.cell
        column = (float(per_x[0]) * x[None, :] + (float(per_y[0]) * y + float(start[0]))[:, None]).ravel()
        row = (float(per_x[1]) * x[None, :] + (float(per_y[1]) * y + float(start[1]))[:, None]).ravel()
        column_drift, row_drift = (float(step) for step in drift / relief.cell)

        hit, level = _march(relief, column, row, column_drift, row_drift)
        if not hit.size:
            return
        column, row = column[hit], row[hit]
        samples = relief.sample(relief.packed, column + column_drift * level, row + row_drift * level)  # (N, 9)
        from_top, from_left = np.divmod(hit, right - left)
        base = float(inverse[2, 0]) * x[from_left] + float(inverse[2, 1]) * y[from_top]
        depth = (samples[:, 0] - float(pivot[2]) - base) / float(direction[2]) + float(pivot[2] + shift[2])
        distance = camera.distance - depth
        cells = (from_top + top) * self.size + from_left + left
        nearer = distance < self.distance.ravel()[cells]
        cells, samples = cells[nearer], samples[nearer]
        normal = np.empty((3, len(cells)), dtype=np.float32)
        normal[0], normal[1], normal[2] = -samples[:, 1], -samples[:, 2], 1
        normal /= np.sqrt(normal[0] ** 2 + normal[1] ** 2 + 1)
        self.distance.reshape(-1)[cells] = distance[nearer]
        for axis, turned in enumerate(self.normal.reshape(3, -1)):
            along = [float(place.turn[axis, source]) * normal[source] for source in range(3)]
            turned[cells] = along[0] + along[1] + along[2]
        self.surface.reshape(len(CHANNELS), -1)[:, cells] = samples[:, 3:].T


def _march(
    relief: Relief, column: np.ndarray, row: np.ndarray, column_drift: float, row_drift: float
) -> tuple[np.ndarray, np.ndarray]:
    """First level at which each ray is inside the relief: indices of the rays that hit (N,), their levels (N,)."""
    span = relief.top - relief.bottom
    steps = int(np.clip(np.ceil(span * np.hypot(column_drift, row_drift) / 2), 1, _MAX_STEPS))
    levels = np.linspace(relief.top, relief.bottom - 0.5, steps + 1).astype(np.float32)[1:]
    found = np.full(column.shape, -1, dtype=np.int32)
    waiting = np.arange(column.size)
    for step, level in enumerate(levels):
        # + 0.5: the nearest cell
        c = (column[waiting] + (column_drift * level + 0.5)).astype(np.int32)
        r = (row[waiting] + (row_drift * level + 0.5)).astype(np.int32)
        inside = (c >= 0) & (c < relief.columns) & (r >= 0) & (r < relief.rows)
        index = np.where(inside, r * relief.columns + c, 0)
        reached = inside & (relief.blocked.take(index) >= level)
        found[waiting[reached]] = step
        waiting = waiting[~reached]
        if not waiting.size:
            break
    hit = np.flatnonzero(found >= 0)
    below = levels[found[hit]]
    above = np.where(found[hit] > 0, levels[found[hit] - 1], relief.top).astype(np.float32)
    gap_above = above - _height(relief, column[hit] + column_drift * above, row[hit] + row_drift * above)
    gap_below = below - _height(relief, column[hit] + column_drift * below, row[hit] + row_drift * below)
    fraction = np.clip(gap_above / np.maximum(gap_above - gap_below, 1e-3), 0, 1)
    return hit, above + fraction * (below - above)


def _height(relief: Relief, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    return relief.sample(relief.heights, column, row)[:, 0]


@dataclass(frozen=True)
class Light:
    """A session's light: a key light from one side and the light of the room, both coloured; sunlight is NIR, too."""

    direction: tuple[float, float, float]  # unit vector towards the key light
    key: float
    ambient: float
    colour: tuple[float, float, float]
    sun: float  # NIR that is not the sensor's own, relative to its lamp at the reference distance


def shade_visible(canvas: Canvas, light: Light) -> np.ndarray:
    """Linear light that reaches the RGB camera, (H, W, 3)."""
    x, y, w = light.direction
    normal = canvas.normal
    facing = np.maximum(normal[0] * x + normal[1] * y + normal[2] * w, -0.15) + 0.15  # wrapped: skin scatters
    sky = 0.75 - 0.25 * normal[1]
    irradiance = light.key * facing / 1.15 + light.ambient * sky
    length = math.sqrt(x * x + y * y + (w + 1) ** 2)
    half = (x / length, y / length, (w + 1) / length)
    mirror = normal[0] * half[0] + normal[1] * half[1] + normal[2] * half[2]
    highlight = canvas.surface[GLOSS] * light.key * np.exp(24 * (mirror - 1))
    glow = canvas.surface[GLOW]
    strength = irradiance * (1 - 0.97 * glow) + 0.9 * glow
    colour = np.array(light.colour, dtype=np.float32)
    image = canvas.surface[:3] * strength + highlight
    image *= (colour[:, None, None] - 1) * (1 - glow) + 1  # a screen brings its own colour
    return np.moveaxis(image, 0, -1)


def shade_nir(canvas: Canvas, light: Light, camera: Camera) -> np.ndarray:
    """NIR radiance at the sensor, (H, W): a lamp beside the lens whose light falls off with the squared distance."""
    cells = np.arange(canvas.size, dtype=np.float32)
    x = ((camera.centre[0] - cells) / camera.scale / camera.distance)[None, :]  # towards the lens, per unit of w
    y = ((camera.centre[1] - cells) / camera.scale / camera.distance)[:, None]
    facing = (canvas.normal[2] + canvas.normal[0] * x + canvas.normal[1] * y) / np.sqrt(1 + x**2 + y**2)
    facing = np.maximum(facing, 0).astype(np.float32)
    lamp = (camera.distance / canvas.distance) ** 2
    image = canvas.surface[NIR] * (lamp * (0.15 + 0.85 * facing) + light.sun)
    image += canvas.surface[GLOSS] * (lamp * np.exp(200 * (facing - 1)))
    return image
