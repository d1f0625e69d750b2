"""Sensor degradations: what stored images look like when a camera, the light or the rig is worse than in training.

    degrade(group, ids, {"sunlight": 3, "blur": 1})

They act on stored uint8 images of any data set. Lengths are shares of the image's side and random patterns live on
grids of fixed size, so a row looks alike at 64 and at 224 px. A row's randomness comes from (kind, id) alone: it is the
same in any batch, and the same at every severity, so a higher severity is more of the same. Every modality is degraded
from itself: what a row lacks changes nothing in the rest, and nothing is invented where a modality is absent. Nothing
looks at the class, so no degradation tells live from attack.

Hole = depth 0 = no measurement. Depth is never averaged, where that would be a surface nobody measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import fft, ndimage, sparse

from fasbench.data.record import MODALITIES
from fasbench.errors import ConfigError, problem_list, suggest
from fasbench.resources import sha256

if TYPE_CHECKING:
    from fasbench.data.loading import Group

CONDITIONS_VERSION = 1  # raise it whenever the pixels change: results of different versions are not comparable
SEVERITIES = (1, 2, 3, 4, 5)
Images = dict[str, np.ndarray]  # images of one row by modality: those that exist and that the degradation touches

_GRAIN = 112  # sensor pixels across the picture: a face crop of a VGA sensor
_GAMMA = 2.2  # of stored colour; stored infrared is taken as linear
_LINEAR = ((np.arange(256) / 255) ** _GAMMA).astype(np.float32)


class Degradation(NamedTuple):
    """One kind. `apply(images, severity, rng)` returns the images, changed."""

    title: str
    modalities: tuple[str, ...]  # what it touches
    models: str
    apply: Callable[[Images, int, np.random.Generator], Images]


def degrade(group: Group, ids: Sequence[str], kinds: Mapping[str, int]) -> Group:
    """`group` with the degradations applied, in the order of DEGRADATIONS. The images given are not changed.

    Args:
        group: G rows of uint8 images of one size.
        ids: their record ids; a repeated list row (`id#2`) is degraded as the first.
        kinds: severity (1 .. 5) by name.

    Raises:
        ConfigError: unknown kinds or severities, all of them together.
    """
    if problems := degradation_problems(kinds):
        raise ConfigError(problem_list("these sensor degradations are not possible:", problems))
    chosen = [(name, kind) for name, kind in DEGRADATIONS.items() if name in kinds]
    touched = {m for _, kind in chosen for m in kind.modalities}
    result = {m: getattr(group, m).copy() for m in MODALITIES if m in touched}
    for row, (text, present) in enumerate(zip(ids, group.present, strict=True)):
        exists = [m for m, there in zip(MODALITIES, present, strict=True) if there]
        for name, kind in chosen:
            images = {m: result[m][row] for m in kind.modalities if m in exists}
            if images:
                rng = np.random.default_rng(int(sha256("degradation", name, text.split("#")[0])[:32], 16))
                for m, image in kind.apply(images, kinds[name], rng).items():
                    result[m][row] = image
    return group._replace(**result)


def degradation_problems(kinds: Mapping[str, int]) -> list[str]:
    """What is wrong with a choice of degradations; empty when it is sound."""
    problems = []
    for name, severity in kinds.items():
        if name not in DEGRADATIONS:
            problems.append(f"unknown '{name}'.{suggest(name, DEGRADATIONS)} Known: {', '.join(DEGRADATIONS)}")
        if type(severity) is not int or severity not in SEVERITIES:  # True and 1.0 are equal to 1, but not meant
            problems.append(f"severity {severity!r} of '{name}': expected a whole number from 1 to {SEVERITIES[-1]}")
    return problems


def _sunlight(images: Images, severity: int, rng: np.random.Generator) -> Images:
    """Strong sun from one side; its border is a cast shadow's, which runs through the picture and knows no geometry.

    RGB: lit / shade = 1 + gain in linear light; the automatic exposure takes 30 % of it back. NIR: the exposure is
    shared by the lamp's image v and the sun's, v^0.3: the same surfaces with little of the lamp's fall-off. Depth: the
    sun's shot noise drowns the projected pattern or the modulation, first as noise, then as holes.
    """
    gain = (0.6, 1.3, 2.5, 4.2, 7.0)[severity - 1]  # full sun against open shade: 8 times the light
    share = (0.15, 0.28, 0.42, 0.56, 0.7)[severity - 1]  # in a band-pass at 850 nm, the sun rivals a lamp's W/m2
    shot = (0.01, 0.015, 0.02, 0.025, 0.03)[severity - 1]  # NIR noise at white
    axial = (1.0, 2.0, 3.0, 4.5, 6.0)[severity - 1]  # standard deviation of lit depth, grey values
    hole = (1.4, 1.2, 1.05, 0.9, 0.8)[severity - 1]  # loses some 9, 25, 43, 63, 75 % of lit depth
    shape = _shape(images)
    y, x = _coordinates(shape)
    towards, waves, blobs, ripple = rng.uniform(0, 2 * np.pi), *(_field(rng, shape, cells) for cells in (6, 14, 28))
    grain = _field(rng, shape)
    lit = 1 / (1 + np.exp(-(np.cos(towards) * x + 0.6 * np.sin(towards) * y + 0.07 * waves) / 0.035))  # 0 shade .. 1
    if "rgb" in images:
        exposure = (1 + gain * lit) / (1 + 0.3 * gain)
        images["rgb"] = _encoded(_LINEAR[images["rgb"]] * exposure[..., None])
    if "ir" in images:
        sun = 320 * (images["ir"] / 255) ** 0.3 * (0.25 + 0.75 * lit)
        mixed = (1 - share) * images["ir"] + share * sun
        images["ir"] = _stored(mixed + shot * np.sqrt(255 * mixed) * grain)
    if "depth" in images:
        noisy = _with_axial_noise(images["depth"], axial * lit * ripple)
        images["depth"] = np.where(lit + 0.3 * blobs > hole, 0, noisy)
    return images


def _ir_saturation(images: Images, severity: int, rng: np.random.Generator) -> Images:
    """The face too near to the lamp, or reflecting: gain in the middle of the picture, clipping, blooming.

    v' = v (1 + (gain - 1) exp(-r^2 / 2 s^2)), s = 0.25 sides (a lamp's cone). Of what exceeds white, a fifth is not
    drained and spills to the neighbours.
    """
    gain = (1.15, 1.3, 1.5, 1.8, 2.2)[severity - 1]  # light goes with 1 / distance^2: 2.2 = two thirds of the distance
    image = images["ir"]
    y, x = _coordinates(image.shape)
    row, column = rng.normal(0, 0.05, 2)
    bright = image * (1 + (gain - 1) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 0.25**2)))
    spilled = ndimage.gaussian_filter(np.maximum(bright - 255, 0), 0.025 * _side(image.shape))
    return {"ir": _stored(bright + 0.2 * spilled)}


def _blur(images: Images, severity: int, rng: np.random.Generator) -> Images:
    """Motion along a line, with defocus: PSF = line * Gaussian, in stored values as in ImageNet-C.

    There motion reaches about 20 of 224 px = 0.09, and discs of radius 3 .. 10 px a deviation of 0.007 .. 0.022; a face
    is smaller than its objects. Depth: a pixel reports one of the surfaces (or holes) that passed it during the
    exposure, chosen at random: edges fray, no surface is invented.
    """
    path = (0.015, 0.028, 0.042, 0.058, 0.075)[severity - 1]  # sides
    spread = (0.003, 0.006, 0.009, 0.012, 0.015)[severity - 1]  # standard deviation, sides
    shape, direction = _shape(images), rng.uniform(0, np.pi)
    moment = np.clip(0.4 * _field(rng, shape, 40), -0.5, 0.5)  # of the exposure
    motion = path * _side(shape) * np.array([np.sin(direction), np.cos(direction)])  # pixels: rows, columns
    for name in ("rgb", "ir"):
        if name in images:
            images[name] = _stored(_convolved(images[name], motion, spread * _side(shape)))
    if "depth" in images:
        rows, columns = np.indices(shape) + np.rint(motion[:, None, None] * moment).astype(int)
        images["depth"] = images["depth"][rows.clip(0, shape[0] - 1), columns.clip(0, shape[1] - 1)]
    return images


def _low_light(images: Images, severity: int, rng: np.random.Generator) -> Images:
    """Few photons in RGB: shot and read noise (Gaussian for Poisson), then an automatic gain; NIR and depth are active.

    In linear light: n = x electrons, x' = brightness (n + sqrt(n + read^2) z) / electrons.
    """
    white = (500, 220, 110, 60, 35)[severity - 1]  # electrons; well lit 10,000, ImageNet-C's shot noise has 60 .. 3
    brightness = (0.8, 0.68, 0.57, 0.48, 0.4)[severity - 1]  # what the gain does not bring back
    chroma = (0.9, 0.75, 0.6, 0.45, 0.3)[severity - 1]  # colour that the camera's noise reduction leaves
    read_noise = 1.5  # electrons, a usual CMOS sensor
    grain = np.stack([_field(rng, _shape(images)) for _ in range(3)], axis=-1)
    electrons = white * _LINEAR[images["rgb"]]
    electrons += np.sqrt(electrons + read_noise**2) * grain
    colour = brightness / white * electrons
    grey = np.average(colour, axis=-1, weights=(0.2126, 0.7152, 0.0722))[..., None]
    return {"rgb": _encoded(grey + chroma * (colour - grey))}


def _depth_noise(images: Images, severity: int, rng: np.random.Generator) -> Images:
    """Axial noise: half of its power a pixel's own (time of flight), half over a matching window; then steps.

    A range of 0.6 to 1.1 m makes a grey value 2 to 4 mm. Kinect's axial noise is 1.2 mm at 0.4 m and 4 mm at 1.6 m
    (Nguyen et al. 2012): severity 1 is a weak sensor, 5 one far beyond its range. The noise does not grow over the
    picture with the distance: data sets disagree on whether near is bright. Holes stay, and no new ones appear.
    """
    deviation = (1.5, 3.0, 5.0, 7.5, 10.0)[severity - 1]  # grey values
    step = (1, 2, 3, 5, 7)[severity - 1]  # of disparity, grey values
    image = images["depth"]
    noise = np.sqrt(0.5) * (_field(rng, image.shape) + _field(rng, image.shape, 28))
    return {"depth": _with_axial_noise(image, deviation * noise, step, phase=rng.random())}


def _depth_holes(images: Images, severity: int, rng: np.random.Generator) -> Images:
    """Missing depth: blobs (specular or absorbing regions) that start at edges, where rays graze, miss or are occluded.

    The pixels with the highest blob + edge are lost until the share is reached: holes of a severity hold those of the
    lower ones.
    """
    lost = (0.04, 0.1, 0.2, 0.32, 0.45)[severity - 1]  # of the measured depth
    image = images["depth"]
    blobs = _field(rng, image.shape, 11) + 0.25 * _field(rng, image.shape)
    window = 2 * round(0.015 * _side(image.shape)) + 3  # an edge reaches 0.03 sides
    jump = ndimage.maximum_filter(image, window) - ndimage.minimum_filter(image, window)
    score = np.where(image > 0, blobs + 0.9 * np.minimum(jump / 40, 1), -np.inf)
    kept = np.count_nonzero(image == 0) + round((1 - lost) * np.count_nonzero(image))
    return {"depth": np.where(score > np.partition(score, kept - 1, axis=None)[kept - 1], 0, image)}


def _misalignment(images: Images, severity: int, rng: np.random.Generator) -> Images:
    """Depth and NIR, from one camera beside the RGB camera, shifted (mostly along the rows) and scaled alike.

    Lenses 25 mm apart that see 200 mm of scene differ by 0.12 sides if nobody corrects it; a calibration for another
    distance leaves a part. Depth takes the nearest pixel, and holes from outside; NIR is interpolated, its border
    continued.
    """
    distance = (0.015, 0.03, 0.045, 0.06, 0.08)[severity - 1] * _side(_shape(images))  # pixels
    scale = (0.008, 0.015, 0.025, 0.035, 0.05)[severity - 1]
    sideways, larger = rng.choice([-1, 1], 2)
    shift = distance * np.array([rng.uniform(-0.4, 0.4), sideways])  # rows, columns
    centre, zoom = (np.array(_shape(images)) - 1) / 2, np.full(2, 1 / (1 + larger * scale))
    borders = {"depth": {"order": 0, "mode": "constant"}, "ir": {"order": 1, "mode": "nearest"}}
    offset = centre - (centre + shift) * zoom  # a pixel p shows what was at p zoom + offset
    return {name: ndimage.affine_transform(image, zoom, offset, **borders[name]) for name, image in images.items()}


# In the order in which they are applied: light, optics, sensor, registration.
DEGRADATIONS: dict[str, Degradation] = {
    "sunlight": Degradation("sunlight", MODALITIES, "strong ambient light from one side, outdoors", _sunlight),
    "ir-saturation": Degradation("NIR saturation", ("ir",), "an overexposed face: lamp too near", _ir_saturation),
    "blur": Degradation("motion blur", MODALITIES, "a face moving during the exposure, out of focus", _blur),
    "low-light": Degradation("low light", ("rgb",), "few photons under automatic exposure", _low_light),
    "depth-noise": Degradation("depth noise", ("depth",), "axial noise and coarse depth steps", _depth_noise),
    "depth-holes": Degradation("depth holes", ("depth",), "no return at edges and in blobs", _depth_holes),
    "misalignment": Degradation("misalignment", ("depth", "ir"), "depth and NIR not registered to RGB", _misalignment),
}


def _shape(images: Images) -> tuple[int, int]:
    """Height and width."""
    height, width, *_ = next(iter(images.values())).shape
    return height, width


def _side(shape: tuple[int, ...]) -> int:
    """The length everything is relative to: the shorter side in pixels."""
    return min(shape[:2])


def _coordinates(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Rows (H, 1) and columns (1, W) from the centre, in sides."""
    y, x = ((np.arange(size) + 0.5 - size / 2) / _side(shape) for size in shape[:2])
    return y[:, None], x[None, :]


def _field(rng: np.random.Generator, shape: tuple[int, ...], cells: int = _GRAIN) -> np.ndarray:
    """A Gaussian random field, (H, W), with `cells` grains along a side; the same grains at every image size.

    Unit variance where a grain is larger than a pixel; less where pixels average grains, as in any resized image.
    """
    rows, columns = (_weights(size, _side(shape), cells) for size in shape[:2])
    grains = rng.standard_normal((rows.shape[1], columns.shape[1]))
    return (columns @ (rows @ grains).T).T.astype(np.float32)


@lru_cache(maxsize=64)
def _weights(pixels: int, side: int, cells: int) -> sparse.csr_array:
    """How much of every grain a pixel sees along one axis, (pixels, grains): Gaussians as wide as both together.

    Sparse: a dense product would start the threads of BLAS, which cost more than they bring.
    """
    at = (np.arange(pixels) + 0.5) * cells / side
    spread = 0.5 * np.hypot(1, cells / side)
    weights = np.exp(-(((at[:, None] - np.arange(np.ceil(pixels * cells / side)) - 0.5) / spread) ** 2) / 2)
    weights[weights < 1e-4] = 0
    return sparse.csr_array(np.sqrt(np.sqrt(np.pi)) * weights / weights.sum(axis=1, keepdims=True))


def _with_axial_noise(depth: np.ndarray, noise: np.ndarray, step: float = 1, phase: float = 0) -> np.ndarray:
    """Depth with noise added, rounded to steps, where it was measured."""
    noisy = step * (np.rint((depth + noise) / step - phase) + phase)
    return np.where(depth > 0, np.clip(np.rint(noisy), 1, 255), 0).astype(np.uint8)


def _convolved(image: np.ndarray, path: np.ndarray, spread: float) -> np.ndarray:
    """The image (H, W, ...) seen along a straight `path` (rows, columns) and through a Gaussian, borders continued."""
    pad = int(np.ceil(np.abs(path).max() / 2 + 3 * spread))
    padded = np.pad(image.astype(np.float32), [(pad, pad)] * 2 + [(0, 0)] * (image.ndim - 2), mode="edge")
    size = tuple(padded.shape[:2])
    v, u = fft.fftfreq(size[0])[:, None], fft.rfftfreq(size[1])[None, :]
    transfer = np.sinc(v * path[0] + u * path[1]) * np.exp(-2 * (np.pi * spread) ** 2 * (v**2 + u**2))
    spectrum = fft.rfft2(padded, axes=(0, 1)) * transfer.reshape(*transfer.shape, *[1] * (image.ndim - 2))
    return fft.irfft2(spectrum, size, axes=(0, 1))[pad : size[0] - pad, pad : size[1] - pad]


def _encoded(light: np.ndarray) -> np.ndarray:
    """Linear light as stored colour."""
    return _stored(255 * np.clip(light, 0, 1).astype(np.float32) ** np.float32(1 / _GAMMA))


def _stored(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
