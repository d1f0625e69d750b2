"""Flat instruments: prints, bent or cut or neither, and screens, held in hands or standing on a pole.

They stand where the front of a face would be (`FRONT`), so that their distance says nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fasbench.data.synthetic.face import Expression
from fasbench.data.synthetic.head import Person, head
from fasbench.data.synthetic.materials import NIR, displayed, printed, random_ink, surface
from fasbench.data.synthetic.render import Placement, Relief
from fasbench.data.synthetic.scene import Drawing, Motion, Mover, Stage, behind, photo, photo_cells, torso

FRONT = 88.0  # w of flat instruments, mm


def _sheet(surface_map: np.ndarray, pixel: float, bend: float = 0.0, upright: bool = True) -> Relief:
    """A sheet at FRONT with the given surface, `pixel` mm a cell, bent on a cylinder of curvature `bend` (1/mm)."""
    rows, columns = surface_map.shape[:2]
    height = np.full((rows, columns), FRONT, dtype=np.float32)
    if bend:
        count = columns if upright else rows
        position = (np.arange(count) - (count - 1) / 2) * pixel
        arc = np.arcsin(np.clip(position * bend, -0.98, 0.98)) / abs(bend) * np.sign(bend)  # length along the paper
        source = arc / pixel + (count - 1) / 2
        visible = (source >= 0) & (source <= count - 1)
        chosen = np.clip(np.rint(source), 0, count - 1).astype(int)
        drop = (1 - np.sqrt(1 - np.clip(position * bend, -0.98, 0.98) ** 2)) / bend
        edge = drop[visible].max() if bend > 0 else drop[visible].min()
        drop = drop - 0.6 * edge  # about as far, on average, as a flat sheet
        surface_map = surface_map[:, chosen] if upright else surface_map[chosen]
        height -= (drop[None, :] if upright else drop[:, None]).astype(np.float32)
        mask = np.broadcast_to(visible[None, :] if upright else visible[:, None], height.shape)
    else:
        mask = np.ones(height.shape, dtype=bool)
    return Relief(height, mask, surface_map, (-(columns - 1) / 2 * pixel, -(rows - 1) / 2 * pixel), pixel)


def _hold(stage: Stage, width: float, height: float) -> list[Relief]:
    """Draws whoever or whatever holds a sheet of `width` x `height` mm; returns the hands at its edges."""
    rng = stage.rng
    if stage.presenter is None:  # a pole and a clamp
        rod = np.broadcast_to(surface((0.05, 0.05, 0.06), 0.15, 0.1), (90, 6, 6)).copy()
        mask = np.ones((90, 6), dtype=bool)
        stage.base.put(Relief(np.full(mask.shape, FRONT - 70.0), mask, rod, (-9.0, 60.0), 3.0), stage.camera)
        return []
    distant = behind(stage.camera, float(rng.uniform(60, 220)))
    offset = (float(rng.normal(0, 25)), float(rng.uniform(-10, 60)), 0.0)
    place = Placement(np.eye(3), offset)
    stage.base.put(torso(stage.presenter, rng), distant, place)
    stage.base.put(head(stage.presenter, Expression()).relief(), distant, place)
    return [
        _hand(stage.presenter, side, side * width / 2, float(rng.uniform(-0.05, 0.35)) * height) for side in (-1, 1)
    ]


def _hand(person: Person, side: int, edge: float, middle: float) -> Relief:
    """A fist at the sheet's `edge` (x in mm) with its thumb on the sheet; `side` is -1 left, 1 right."""
    cell = 2.0
    x = np.arange(-40, 56.1, cell)[None, :]  # outwards from the sheet's edge
    y = np.arange(-40, 40.1, cell)[:, None]
    thumb_y = y + 6 + 0.25 * x
    thumb = np.sqrt(np.maximum(100 - thumb_y**2 - np.maximum(np.abs(x - 4) - 26, 0) ** 2, 0))
    knuckles = 1 + 0.12 * np.cos(2 * np.pi * y / 17)  # four fingers, curled around the edge
    palm = 1 - ((x - 22) / (24 * knuckles)) ** 2 - (y / 34) ** 2
    height = np.where(thumb > 0, FRONT + thumb, FRONT - 24 + 26 * np.sqrt(np.maximum(palm, 0)))
    tone = person.complexion
    colours = np.broadcast_to(surface(tone.rgb, tone.nir, tone.gloss), (*height.shape, 6)).copy()
    seams = np.where(thumb > 0, 0.8 + 0.02 * thumb, 0.72 + 0.28 * (knuckles - 0.88) / 0.24)
    colours[..., : NIR + 1] *= seams[..., None]
    mask = (thumb > 0) | (palm > 0)
    left = edge - 40 if side > 0 else edge - 56
    if side < 0:
        height, mask, colours = height[:, ::-1], mask[:, ::-1], colours[:, ::-1]
    return Relief(height, mask, colours, (left, middle - 40), cell)


def _flat(reliefs: list[Relief]) -> Mover:
    return lambda motion: [(relief, motion.place((0.0, 0.0, FRONT))) for relief in reliefs]


def _paper(stage: Stage) -> tuple[np.ndarray, float, float, float]:
    """A printed photo of the identity: surface map, mm per cell, and its width and height in mm."""
    rng = stage.rng
    width, height = rng.uniform(170, 235), rng.uniform(225, 285)
    rows, columns, pixel = photo_cells(width, height, 340.0)
    print_map = printed(photo(stage.identity, rng)[rows, columns], random_ink(rng), float(rng.uniform(0.62, 0.82)), rng)
    border = int(rng.choice([0, 0, 4, 8]))
    if border:
        blank = surface((0.8, 0.8, 0.78), float(print_map[..., NIR].max()), 0.02)
        print_map[:border], print_map[-border:] = blank, blank
        print_map[:, :border], print_map[:, -border:] = blank, blank
    return print_map, pixel, columns.stop * pixel - columns.start * pixel, rows.stop * pixel - rows.start * pixel


def print_flat(stage: Stage) -> Mover:
    print_map, pixel, width, height = _paper(stage)
    hands = _hold(stage, width, height)
    return _flat([_sheet(print_map, pixel), *hands])


def print_curved(stage: Stage) -> Mover:
    """Bent around an upright axis, towards the camera like a face or away from it; seldom around a level axis."""
    print_map, pixel, width, height = _paper(stage)
    hands = _hold(stage, 0.85 * width, height)
    bend = 1 / stage.rng.uniform(110, 240) * stage.rng.choice([1, 1, 1, -1])
    return _flat([_sheet(print_map, pixel, float(bend), bool(stage.rng.random() < 0.8)), *hands])


def print_cut(stage: Stage) -> Mover:
    """Eyes, and sometimes nose and mouth, cut out of a flat print; the presenter's own show through."""
    print_map, pixel, _, _ = _paper(stage)
    sheet = _sheet(print_map, pixel)
    rows, columns = print_map.shape[:2]
    x = (np.arange(columns) - (columns - 1) / 2)[None, :] * pixel
    y = (np.arange(rows) - (rows - 1) / 2)[:, None] * pixel
    shape = stage.identity.shape
    parts = ("e", "en", "enm")[stage.rng.integers(3)]
    hole = ((np.abs(x) - shape.eye_spacing) / 18) ** 2 + ((y - 1) / 10.5) ** 2 < 1
    if "n" in parts:
        hole |= (x / 17) ** 2 + ((y - 0.75 * shape.nose_length) / 22) ** 2 < 1
    if "m" in parts:
        hole |= (x / 30) ** 2 + ((y - shape.mouth_y - 3) / 15) ** 2 < 1
    sheet.blocked[hole.ravel()] = -np.inf
    wearer = stage.presenter or stage.identity
    stage.base.put(torso(wearer, stage.rng), stage.camera)
    back = -30.0 if "n" in parts else -45.0

    def move(motion: Motion) -> Drawing:
        own = replace(motion, shift=(motion.shift[0], motion.shift[1], motion.shift[2] + back))
        return [
            (head(wearer, motion.expression).relief(), own.place()),
            (sheet, motion.place((0.0, 0.0, FRONT))),
        ]

    return move


def replay(stage: Stage) -> Mover:
    """A tablet or monitor with a bezel, moire, and the reflection of a lamp."""
    rng = stage.rng
    width, height = rng.uniform(170, 225), rng.uniform(220, 270)
    rows, columns, pixel = photo_cells(width, height, 340.0)
    picture = photo(stage.identity, rng)[rows, columns]
    screen = displayed(picture * rng.uniform(0.8, 1.1), rng)
    y, x = np.indices(picture.shape[:2])
    centre = rng.uniform(0, 1, 2) * picture.shape[:2]
    spread = rng.uniform(10, 40, 2)
    lamp = np.exp(-0.5 * (((y - centre[0]) / spread[0]) ** 2 + ((x - centre[1]) / spread[1]) ** 2))
    screen[..., :3] += (rng.uniform(0, 0.35) * lamp)[..., None]
    bezel = int(rng.integers(5, 11))
    shade = rng.choice([0.015, 0.03, 0.5])
    frame = surface(shade * np.ones(3), rng.uniform(0.05, 0.12) if shade < 0.1 else 0.5, 0.1)
    framed = np.empty((screen.shape[0] + 2 * bezel, screen.shape[1] + 2 * bezel, 6), dtype=np.float32)
    framed[:] = frame
    framed[bezel:-bezel, bezel:-bezel] = screen
    hands = _hold(stage, framed.shape[1] * pixel, framed.shape[0] * pixel)
    return _flat([_sheet(framed, pixel), *hands])
