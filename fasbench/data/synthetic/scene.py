"""What surrounds a presentation: the session's light, a room, somebody's neck and shoulders; and photos of faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from fasbench.data.synthetic.face import Expression
from fasbench.data.synthetic.head import Person, head, ramp
from fasbench.data.synthetic.materials import CHANNELS, GLOSS, NIR, cloth, surface, triple
from fasbench.data.synthetic.render import Camera, Canvas, Light, Placement, Relief, rotation, shade_visible

FACE_HEIGHT = 232.0  # mm from the top of the skull to the chin of an average head: the unit of framing
NECK = (0.0, 45.0, -20.0)  # what a head turns about, mm
PHOTO_SPAN = 340.0  # mm that a photo covers in each direction
PHOTO_SIZE = 200  # its side in pixels


@dataclass(frozen=True)
class Motion:
    """Pose and expression of one frame. Degrees and mm."""

    yaw: float
    pitch: float
    roll: float
    shift: tuple[float, float, float]
    expression: Expression

    def place(self, pivot: tuple[float, float, float] = NECK) -> Placement:
        return Placement(rotation(self.yaw, self.pitch, self.roll), self.shift, pivot)


Drawing = list[tuple[Relief, Placement]]  # what moves, where it is in one frame
Mover = Callable[[Motion], Drawing]


@dataclass(frozen=True)
class Stage:
    """Who presents what, and where it is drawn."""

    identity: Person  # the face shown
    presenter: Person | None  # None = the instrument stands on a support
    camera: Camera
    base: Canvas  # the room; whatever stays still for a whole video is drawn onto it
    rng: np.random.Generator  # of the instrument


def random_light(rng: np.random.Generator, ambient: tuple[float, float], sun: tuple[float, float]) -> Light:
    """A session's light. `ambient` is the range of the share of light without direction, `sun` that of NIR daylight."""
    azimuth, height = rng.uniform(-1.1, 1.1), rng.uniform(0.1, 0.9)
    direction = np.array([np.sin(azimuth) * np.cos(height), -np.sin(height), np.cos(azimuth) * np.cos(height)])
    share, warmth = rng.uniform(*ambient), rng.uniform(-0.14, 0.14)
    return Light(
        direction=triple(direction),
        key=float(1.3 * (1 - share)),
        ambient=float(1.1 * share),
        colour=(1 + warmth, 1.0, 1 - warmth),
        sun=float(rng.uniform(*sun)),
    )


def random_motion(rng: np.random.Generator) -> Motion:
    """A video's mean pose and expression: within 14 degrees of frontal."""
    yaw, pitch, roll = np.clip(rng.normal(0, [7, 5, 4]), -14, 14)
    expression = Expression(
        mouth_open=float(max(0, rng.uniform(-0.8, 0.6))),
        smile=float(rng.uniform(-0.35, 0.9)),
        brow_raise=float(rng.uniform(-0.8, 0.8)),
        eyelid=float(rng.uniform(0.8, 1.05)),
        gaze=float(rng.uniform(-2, 2)),
    )
    return Motion(float(yaw), float(pitch), float(roll), (0.0, 0.0, 0.0), expression)


def jitter(motion: Motion, rng: np.random.Generator, amount: float = 1.0) -> Motion:
    """The next frame of a video: the pose within 20 degrees, the expression near the video's."""
    turn = np.clip(np.array([motion.yaw, motion.pitch, motion.roll]) + amount * rng.normal(0, [3, 2, 1.5]), -20, 20)
    mouth, smile, brow, gaze = amount * rng.normal(0, [0.12, 0.15, 0.2, 1.0])
    blink = rng.random() < 0.06 * amount
    mean = motion.expression
    expression = Expression(
        mouth_open=float(np.clip(mean.mouth_open + mouth, 0, 1)),
        smile=float(np.clip(mean.smile + smile, -0.5, 1)),
        brow_raise=float(np.clip(mean.brow_raise + brow, -1, 1)),
        eyelid=0.25 if blink else mean.eyelid,
        gaze=float(np.clip(mean.gaze + gaze, -3, 3)),
    )
    yaw, pitch, roll = triple(turn)
    return Motion(yaw, pitch, roll, triple(amount * rng.normal(0, [2.0, 2.0, 5.0])), expression)


def room(camera: Camera, rng: np.random.Generator) -> Canvas:
    """A wall 0.5 to 1.6 m behind the face, with furniture, pictures and a lamp or window here and there."""
    size = camera.size // 2  # out of focus: drawn at half the canvas's resolution
    x = np.linspace(-1, 1, size, dtype=np.float32)
    wall = camera.distance + rng.uniform(500, 1600)
    distance = np.repeat(wall + rng.uniform(-250, 250) * x[None, :], size, axis=0)
    base = rng.uniform(0.12, 0.7) * (1 + 0.25 * rng.uniform(-1, 1, 3))
    colours = np.empty((len(CHANNELS), size, size), dtype=np.float32)
    colours[:] = surface(base, rng.uniform(0.3, 0.75))[:, None, None]
    for _ in range(rng.integers(2, 7)):
        width, height = rng.uniform(0.15, 0.9, 2) * size
        left, top = rng.uniform(-0.2, 1.0, 2) * size
        rows = slice(int(max(top, 0)), int(max(top + height, 0)))
        columns = slice(int(max(left, 0)), int(max(left + width, 0)))
        material = cloth(rng)
        if rng.random() < 0.12:
            material = surface(rng.uniform(0.7, 1.0) * np.ones(3), 0.3, 0, 0.8)  # a window or a lamp
        colours[:, rows, columns] = material[:, None, None]
        distance[rows, columns] -= rng.uniform(0, 0.35) * (wall - camera.distance)
    shade = zoom(gaussian_filter(rng.standard_normal((12, 12)), 1.0), size / 12 + 0.1, order=1)[:size, :size]
    grain = rng.standard_normal((size, size), dtype=np.float32)
    colours[: NIR + 1] *= np.exp(0.6 * shade + rng.uniform(0.01, 0.08) * grain).astype(np.float32)
    colours[: NIR + 1] = gaussian_filter(colours[: NIR + 1], (0, 0.6, 0.6), truncate=2)
    canvas = Canvas(camera.size)
    canvas.normal[2] = 1
    canvas.distance[:] = distance.repeat(2, axis=0).repeat(2, axis=1)
    canvas.surface[:] = colours.repeat(2, axis=1).repeat(2, axis=2)
    return canvas


def torso(person: Person, rng: np.random.Generator) -> Relief:
    """Neck, shoulders and clothes below a head, 4 mm a cell."""
    cell = 4.0
    x = np.arange(-270, 270.1, cell, dtype=np.float32)[None, :]
    y = np.arange(60, 330.1, cell, dtype=np.float32)[:, None]
    slope, collar, neck_line = rng.uniform(0.28, 0.45), rng.uniform(140, 158), rng.uniform(0, 0.9)
    across = np.abs(x) / person.shape.neck_width
    neck_mask = (across < 1) & (y < 200)
    neck = 62 * np.sqrt(np.maximum(1 - across**2, 0.001)) - 20
    shoulder_line = 138 + slope * np.maximum(np.abs(x) - 30, 0) + 0.0028 * np.maximum(np.abs(x) - 90, 0) ** 2
    body_mask = (y > shoulder_line) & (np.abs(x) < 225)
    body = 34 * np.sqrt(np.maximum(1 - (x / 235) ** 2, 0)) + 26 * np.sqrt(np.clip((y - shoulder_line) / 60, 0, 1)) - 25
    height = np.maximum(np.where(neck_mask, neck, -60), np.where(body_mask, body, -60))

    colours = np.zeros((*height.shape, len(CHANNELS)), dtype=np.float32)
    tone = person.complexion
    chin_shadow = 0.45 + 0.55 * ramp(y - 128, 40)
    colours[:] = surface(tone.rgb, tone.nir, 0.3 * tone.gloss)
    colours[..., : NIR + 1] *= chin_shadow[..., None]
    first, second = cloth(rng), cloth(rng)
    frequency = rng.choice([0.0, 0.0, 0.25, 0.5])
    angle = rng.uniform(0, np.pi)
    stripes = ramp(np.sin(frequency * (np.cos(angle) * x + np.sin(angle) * y)), 0.6) * (frequency > 0)
    fabric = first + stripes[..., None] * (second - first)
    folds = gaussian_filter(rng.standard_normal(height.shape, dtype=np.float32), (4, 2), truncate=2)
    fabric[..., : NIR + 1] *= np.exp(0.5 * folds / folds.std() * 0.35)[..., None]
    fabric[..., GLOSS:] = 0
    dressed = ramp(y - collar - (1 - np.minimum(np.abs(x) / 55, 1)) * 60 * neck_line + 0.12 * np.abs(x), 4)
    colours += dressed[..., None] * (fabric - colours)
    return Relief(height, neck_mask | body_mask, colours, (-270.0, 60.0), cell)


def behind(camera: Camera, depth: float) -> Camera:
    """The camera for things `depth` mm behind the presentation: they look smaller."""
    return replace(
        camera, scale=camera.scale * camera.distance / (camera.distance + depth), distance=camera.distance + depth
    )


def photo(person: Person, rng: np.random.Generator) -> np.ndarray:
    """A linear photo of a face, taken elsewhere: (PHOTO_SIZE, PHOTO_SIZE, 3) in [0, 1], the face in its middle."""
    camera = Camera(PHOTO_SIZE, PHOTO_SIZE / PHOTO_SPAN, (PHOTO_SIZE / 2, PHOTO_SIZE / 2), 800.0)
    canvas = room(camera, rng)
    canvas.put(torso(person, rng), camera)
    motion = jitter(random_motion(rng), rng, 0.5)
    canvas.put(head(person, motion.expression).relief(), camera, motion.place())
    image = shade_visible(canvas, random_light(rng, (0.3, 0.8), (0.0, 0.0)))
    middle = image[PHOTO_SIZE // 4 : 3 * PHOTO_SIZE // 4, PHOTO_SIZE // 4 : 3 * PHOTO_SIZE // 4]
    return np.clip(image * (0.33 / middle.mean()) ** 0.7, 0, 1)


def photo_cells(width: float, height: float, span: float) -> tuple[slice, slice, float]:
    """Which pixels of a photo a sheet of `width` x `height` mm shows when the whole photo would span `span` mm.

    Returns rows, columns and the size of one pixel on the sheet in mm.
    """
    pixel = span / PHOTO_SIZE
    columns, rows = (int(min(round(side / pixel / 2), PHOTO_SIZE // 2)) for side in (width, height))
    middle = PHOTO_SIZE // 2
    return slice(middle - rows, middle + rows), slice(middle - columns, middle + columns), pixel
