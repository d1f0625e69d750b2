"""Instruments with a shape of their own: masks, a mannequin's head, glasses with printed eyes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from fasbench.data.synthetic import face
from fasbench.data.synthetic.face import CELL, GRID_X, GRID_Y, Expression, random_shape
from fasbench.data.synthetic.head import Person, Shell, head, ramp, random_person
from fasbench.data.synthetic.materials import GLOSS, NIR, Complexion, paint, printed, random_ink, surface, triple
from fasbench.data.synthetic.render import Relief
from fasbench.data.synthetic.scene import Drawing, Motion, Mover, Stage, random_motion, torso


def _region(shape: face.FaceShape, share: float, top: float, below: float) -> np.ndarray:
    """The part of a head's grid that a mask covers: `share` of the outline's width, from `top` to `below` the chin."""
    half_width = share * face.outline(shape, shape.chin_y + below)[:, None]
    return (np.abs(GRID_X)[None, :] < half_width) & (GRID_Y[:, None] > top + 0.004 * GRID_X[None, :] ** 2)


def _eye_holes(shape: face.FaceShape, width: float, height: float) -> np.ndarray:
    x = np.abs(GRID_X)[None, :] - shape.eye_spacing
    return (x / width) ** 2 + ((GRID_Y[:, None] - 1) / height) ** 2 < 1


def _room_for(wearer: Person) -> np.ndarray:
    """The height a mask needs to clear the wearer's face, (rows, columns)."""
    return gaussian_filter(face.height_map(wearer.shape, Expression())[0], 1.5) - 1


def _worn(stage: Stage, mask_height: np.ndarray, covered: np.ndarray, colours: np.ndarray, thick: float) -> Mover:
    """A stiff mask over the presenter's head: it keeps its shape, and stands off the face by `thick` mm."""
    wearer = stage.presenter or stage.identity
    stage.base.put(torso(wearer, stage.rng), stage.camera)
    height = np.maximum(mask_height, _room_for(wearer)) + thick
    mask = Shell(height, covered, colours).relief()

    def move(motion: Motion) -> Drawing:
        place = motion.place()
        felt = replace(motion.expression, mouth_open=0.25 * motion.expression.mouth_open)  # there is no room for more
        return [(head(wearer, felt).relief(), place), (mask, place)]

    return move


def papermask(stage: Stage) -> Mover:
    """A folded print of the identity's face: a coarse polyhedron of paper."""
    rng, shape = stage.rng, stage.identity.shape
    shell = head(stage.identity, replace(random_motion(rng).expression, mouth_open=0.0))
    step = int(rng.integers(12, 18))  # cells between folds
    coarse = gaussian_filter(shell.height, step / 3)[::step, ::step]
    folded = zoom(np.pad(coarse, ((0, 2), (0, 2)), mode="edge"), step, order=1, grid_mode=True, mode="nearest")
    offset = step // 2
    folded = folded[offset : offset + shell.height.shape[0], offset : offset + shell.height.shape[1]]
    covered = _region(shape, 0.93, float(rng.uniform(-85, -60)), 4)
    needed = (_room_for(stage.presenter or stage.identity) - folded)[covered]
    folded += float(np.clip(np.percentile(needed, 99), 0, 18))  # paper does not follow a nose: it stands off
    lit = 0.82 + 0.010 * np.clip(shell.height - gaussian_filter(shell.height, 7), -12, 12)  # the photo's own shading
    flat_photo = np.clip(shell.surface[..., :3] * lit[..., None], 0, 1)
    colours = printed(flat_photo, random_ink(rng), float(rng.uniform(0.62, 0.82)), rng)
    if rng.random() < 0.5:
        covered &= ~_eye_holes(shape, 15, 8)
    return _worn(stage, folded, covered, colours, 2.5)


def rigidmask(stage: Stage) -> Mover:
    """A painted resin mask of the identity, the presenter's eyes behind its holes."""
    rng, identity = stage.rng, stage.identity
    smooth = replace(identity.complexion, texture=0.25, blood=0.8, gloss=float(rng.uniform(0.08, 0.2)))
    model = replace(identity, complexion=smooth, hair_style="bald", stubble=0.4 * identity.stubble)
    shell = head(model, Expression(smile=float(rng.uniform(-0.2, 0.4))))
    colours = shell.surface.copy()
    resin = rng.uniform(0.3, 0.6)
    colours[..., NIR] = resin * (0.75 + 0.25 * colours[..., NIR] / identity.complexion.nir)
    colours[..., GLOSS] = smooth.gloss
    covered = _region(identity.shape, 0.95, float(rng.uniform(-95, -72)), 3)
    hole = _eye_holes(identity.shape, 15.5, 8.5)
    rim = _eye_holes(identity.shape, 18, 11) & ~hole
    colours[rim, : NIR + 1] *= 0.7
    covered &= ~hole
    if rng.random() < 0.4:
        x, y = GRID_X[None, :], GRID_Y[:, None]
        covered &= (x / 24) ** 2 + ((y - identity.shape.mouth_y - 2) / 6) ** 2 > 1
    return _worn(stage, shell.height, covered, colours, float(rng.uniform(5, 8)))


def flexiblemask(stage: Stage) -> Mover:
    """A silicone mask of the identity, moulded by the wearer's face: nearly right in shape, slightly wrong in NIR."""
    rng, identity = stage.rng, stage.identity
    wearer = stage.presenter or identity
    tone = identity.complexion
    silicone = replace(
        tone,
        rgb=triple(np.array(tone.rgb) * rng.normal(1, 0.05, 3)),
        nir=float(tone.nir + rng.choice([-1, 1]) * rng.uniform(0.06, 0.16)),
        texture=0.35,
        blood=0.6,
        gloss=float(rng.uniform(0.10, 0.2)),
    )
    model = replace(
        identity, shape=face.blend(identity.shape, wearer.shape, 0.35), complexion=silicone, iris_rgb=wearer.iris_rgb
    )
    ring = _eye_holes(model.shape, 18.5, 11) & ~_eye_holes(model.shape, 16, 9)
    stage.base.put(torso(wearer, rng), stage.camera)

    def move(motion: Motion) -> Drawing:
        felt = motion.expression  # the mask damps what the face below does
        shown = replace(
            felt, mouth_open=0.4 * felt.mouth_open, smile=0.3 * felt.smile, brow_raise=0.3 * felt.brow_raise
        )
        shell = head(model, shown)
        paint(shell.surface, 0.5 * ring.astype(np.float32), surface(np.array(silicone.rgb) * 0.3, 0.5 * silicone.nir))
        shell.height = gaussian_filter(shell.height, 1.0)
        return [(shell.relief(), motion.place())]

    return move


def fakehead(stage: Stage) -> Mover:
    """A mannequin, bald or with a wig, dressed; it never moves a muscle."""
    rng, identity = stage.rng, stage.identity
    tone = np.array(identity.complexion.rgb) * rng.normal(1, 0.06, 3)
    if rng.random() < 0.3:
        tone = rng.uniform(0.35, 0.75) * np.array([1.0, 0.97, 0.93])  # undisguised plastic
    gloss, blood = float(rng.uniform(0.12, 0.3)), float(rng.uniform(0.2, 0.9))
    plastic = Complexion(triple(tone), float(rng.uniform(0.4, 0.8)), gloss, 0.08, blood)
    style = identity.hair_style if rng.random() < 0.6 else "bald"
    model = replace(identity, complexion=plastic, hair_style=style, stubble=0.0, freckles=0.0)
    stage.base.put(torso(model, rng), stage.camera)
    shell = head(model, Expression())
    shell.height = gaussian_filter(shell.height, 1.2)
    relief = shell.relief()
    return lambda motion: [(relief, motion.place())]


def glasses(stage: Stage) -> Mover:
    """Paper glasses or a strip with somebody else's printed eyes over a live face."""
    rng, identity = stage.rng, stage.identity
    stage.base.put(torso(identity, rng), stage.camera)
    shape = identity.shape
    other = replace(random_person(rng, float(rng.uniform(0, 1))), shape=random_shape(rng))
    eyes = head(other, Expression()).surface[..., :3]
    colours = printed(eyes, random_ink(rng), float(rng.uniform(0.62, 0.82)), rng)
    x, y = np.abs(GRID_X)[None, :], GRID_Y[:, None]
    radius = ((x - shape.eye_spacing) / rng.uniform(22, 27)) ** 2 + ((y - 2) / rng.uniform(15, 20)) ** 2
    arms = (np.abs(y + 3) < 3) & (x > shape.eye_spacing) & (x < shape.head_width)
    bridge = (np.abs(y + 2) < 3) & (x < shape.eye_spacing)
    if rng.random() < 0.5:  # a strip of paper instead of glasses
        covered = (np.abs(y - 2) < rng.uniform(15, 22)) & (x < 0.86 * shape.head_width)
    else:
        frame = surface(rng.uniform(0.01, 0.5, 3), rng.uniform(0.1, 0.6), 0.1)
        lens = ramp(0.8 - radius, 0.1)
        colours = frame + lens[..., None] * (colours - frame)
        covered = (radius < 1) | arms | bridge
    own = face.height_map(shape, Expression())[0]
    level = own[(GRID_Y > -14)[:, None] & (GRID_Y < 14)[:, None] & (x < 40)].max() + 1.5
    height = np.where(x > 50, np.minimum(level, level - 0.9 * (x - 50)), level) * np.ones_like(y)
    height = np.maximum(height, np.where(x > 50, own + 2, 0))
    worn = Relief(height, covered, colours, (float(GRID_X[0]), float(GRID_Y[0])), CELL)

    def move(motion: Motion) -> Drawing:
        place = motion.place()
        return [(head(identity, motion.expression).relief(), place), (worn, place)]

    return move
