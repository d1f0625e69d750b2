"""The four synthetic data sets: what differs between them, as tables. How they are rendered is the same code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Domain:
    """One data set. Ranges are uniform; live and attack videos draw from the same ones."""

    name: str
    attacks: tuple[str, ...]  # cycled through; a repeated name is that much more frequent
    melanin: tuple[float, float]  # parameters of a beta distribution over 0 (light) .. 1 (dark)
    distance: tuple[float, float]  # face to camera, mm
    framing: tuple[float, float]  # height of the face in units of the picture
    ambient: tuple[float, float]  # share of light without direction
    sun: tuple[float, float]  # NIR daylight relative to the sensor's own lamp
    # RGB camera
    exposure: float  # mean linear brightness that the automatic exposure aims at
    white_balance: float  # standard deviation of the gains' error
    rgb_noise: float
    blur: tuple[float, float]  # pixels
    jpeg: tuple[int, int]  # quality
    # depth and NIR camera
    depth_sensor: str  # structured-light | time-of-flight | stereo
    near: float  # mm
    far: float  # mm
    depth_noise: float  # mm at 500 mm
    parallax: float  # pixels of shift between a point at the face's distance and one twice as far
    nir_exposure: float
    nir_noise: float
    vignette: float


DOMAINS = {
    domain.name: domain
    for domain in (
        Domain(
            name="synth-k",
            attacks=("print-flat", "replay", "print-cut", "print-curved", "rigidmask", "glasses", "replay"),
            melanin=(1.3, 3.0),
            distance=(420, 700),
            framing=(0.60, 0.72),
            ambient=(0.45, 0.8),
            sun=(0.0, 0.05),
            exposure=0.22,
            white_balance=0.02,
            rgb_noise=0.008,
            blur=(0.3, 0.6),
            jpeg=(85, 95),
            depth_sensor="structured-light",
            near=350,
            far=1150,
            depth_noise=0.8,
            parallax=3.0,
            nir_exposure=0.28,
            nir_noise=0.008,
            vignette=0.35,
        ),
        Domain(
            name="synth-l",
            attacks=("print-flat", "replay", "print-curved", "fakehead", "rigidmask", "replay"),
            melanin=(2.0, 1.6),
            distance=(500, 900),
            framing=(0.55, 0.70),
            ambient=(0.25, 0.6),
            sun=(0.0, 0.15),
            exposure=0.17,
            white_balance=0.06,
            rgb_noise=0.016,
            blur=(0.4, 0.9),
            jpeg=(60, 85),
            depth_sensor="time-of-flight",
            near=400,
            far=1500,
            depth_noise=2.2,
            parallax=1.5,
            nir_exposure=0.25,
            nir_noise=0.018,
            vignette=0.55,
        ),
        Domain(
            name="synth-m",
            attacks=("print-flat", "print-cut", "replay", "print-curved", "glasses", "rigidmask", "fakehead"),
            melanin=(1.2, 1.2),
            distance=(450, 800),
            framing=(0.58, 0.74),
            ambient=(0.2, 0.75),
            sun=(0.1, 0.6),
            exposure=0.27,
            white_balance=0.04,
            rgb_noise=0.012,
            blur=(0.3, 1.0),
            jpeg=(45, 80),
            depth_sensor="stereo",
            near=380,
            far=1300,
            depth_noise=1.5,
            parallax=-4.5,
            nir_exposure=0.34,
            nir_noise=0.014,
            vignette=0.2,
        ),
        Domain(
            name="synth-n",
            attacks=("flexiblemask", "print-flat", "papermask", "replay", "fakehead", "papermask", "flexiblemask"),
            melanin=(1.6, 2.2),
            distance=(400, 650),
            framing=(0.55, 0.75),
            ambient=(0.3, 0.8),
            sun=(0.0, 0.3),
            exposure=0.20,
            white_balance=0.05,
            rgb_noise=0.014,
            blur=(0.3, 0.8),
            jpeg=(50, 92),
            depth_sensor="time-of-flight",
            near=300,
            far=1000,
            depth_noise=1.6,
            parallax=2.2,
            nir_exposure=0.30,
            nir_noise=0.012,
            vignette=0.45,
        ),
    )
}
NAMES = tuple(DOMAINS)
UNSEEN = ("flexiblemask", "papermask")  # attacks of synth-n that no other set has


@dataclass(frozen=True)
class Size:
    """How much of every data set is rendered, and how large."""

    pixels: int
    subjects: tuple[int, int, int]  # train, validation, test
    live_videos: int  # per subject
    attack_videos: int  # per subject


SIZES = {
    "tiny": Size(64, (2, 2, 2), 2, 3),
    "demo": Size(96, (12, 4, 8), 4, 6),
    "full": Size(128, (30, 10, 20), 6, 10),
}
FRAMES = 3  # per video
