"""The four embedded data sets as sources: which videos exist, and how one of their frames is rendered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fasbench.data.record import ATTACK, LIVE, SPLITS, Record
from fasbench.data.sources.base import Source
from fasbench.data.synthetic.attacks import ON_SUPPORT, PRESENTATIONS, STATIC
from fasbench.data.synthetic.domains import DOMAINS, FRAMES, NAMES, SIZES, Domain, Size
from fasbench.data.synthetic.head import Person, random_person
from fasbench.data.synthetic.render import OVERSAMPLING, Camera, Canvas, Light, shade_nir, shade_visible
from fasbench.data.synthetic.scene import FACE_HEIGHT, Motion, Mover, Stage, jitter, random_light, random_motion, room
from fasbench.data.synthetic.sensors import Session, depth_image, infrared_view, nir_image, random_session, rgb_image
from fasbench.data.taxonomy import lookup
from fasbench.errors import ConfigError, suggest

GENERATOR_VERSION = 1  # raise it whenever the pixels change: results of different versions are not comparable


@dataclass(frozen=True)
class Video:
    """One row of the index: what is presented, by whom. Numbers are subjects of the same data set."""

    name: str  # <domain>/<subject>/<fine>-<number>
    split: str
    subject: int
    presenter: int | None  # None = on a support
    number: int  # among the subject's videos
    attack: str  # the fine class


class SyntheticSource(Source):
    """`name` is one of synth-k, synth-l, synth-m, synth-n; `size` one of tiny, demo, full.

    Rows are ordered by subject, video, frame. Every row depends on (seed, name, subject, video, frame) alone.

    Raises:
        ConfigError: unknown name or size.
    """

    def __init__(self, name: str, size: str = "demo", seed: int = 0) -> None:
        if name not in DOMAINS:
            raise ConfigError(f"no synthetic data set '{name}'.{suggest(name, DOMAINS)} Known: {', '.join(DOMAINS)}")
        if size not in SIZES:
            raise ConfigError(f"no size '{size}' of {name}.{suggest(size, SIZES)} Known: {', '.join(SIZES)}")
        self.name, self.size, self.seed = name, size, seed
        self.shape = (SIZES[size].pixels, SIZES[size].pixels)

    def recipe(self) -> dict[str, Any]:
        return {
            "source": "synthetic",
            "generator_version": GENERATOR_VERSION,
            "name": self.name,
            "size": self.size,
            "seed": self.seed,
        }

    @property
    def videos(self) -> tuple[Video, ...]:
        """The index, without rendering anything."""
        return _index(self.name, self.size, self.seed)

    def __len__(self) -> int:
        return len(self.videos) * FRAMES

    def read(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} records, there is no {index}")
        video, frame = self.videos[index // FRAMES], index % FRAMES
        scene = _scene(self.name, self.size, self.seed, index // FRAMES)
        rgb, depth, ir = scene.render(frame)
        classes = lookup("synth", video.attack)
        subject = subject_name(self.name, video.subject)
        return Record(
            id=f"{video.name}/{frame}",
            domain=self.name,
            split=video.split,
            label=LIVE if video.attack == "live" else ATTACK,
            attack=classes.coarse,
            attack_fine=classes.fine,
            subject=subject,
            presenter="" if video.presenter is None else subject_name(self.name, video.presenter),
            unit=subject,
            video=video.name,
            frame=frame,
            rgb=rgb,
            depth=depth,
            ir=ir,
        )


def subject_name(name: str, subject: int) -> str:
    return f"{name}/s{subject:03d}"


def _stream(seed: int, name: str, subject: int, video: int = 0, frame: int = 0) -> np.random.SeedSequence:
    """The randomness of one thing. Videos and frames count from 1; 0 stands for what they share."""
    return np.random.SeedSequence([seed, NAMES.index(name), subject, video, frame])


@lru_cache(maxsize=16)
def _index(name: str, size: str, seed: int) -> tuple[Video, ...]:
    return tuple(_videos(DOMAINS[name], SIZES[size], seed))


def _videos(domain: Domain, size: Size, seed: int) -> Iterator[Video]:
    first = 0
    for split, count in zip(SPLITS, size.subjects, strict=True):
        for subject in range(first, first + count):
            rng = np.random.default_rng(_stream(seed, domain.name, subject))
            others = [other for other in range(first, first + count) if other != subject]
            start = subject * size.attack_videos
            mix = [domain.attacks[(start + number) % len(domain.attacks)] for number in range(size.attack_videos)]
            numbers: dict[str, int] = {}
            for number, attack in enumerate(["live"] * size.live_videos + mix):
                presenter: int | None = int(rng.choice(others))  # drawn for all, so that no draw depends on the class
                supported = rng.random() < 0.3
                if attack in ("live", "glasses"):
                    presenter = subject
                elif attack == "fakehead" or (attack in ON_SUPPORT and supported):
                    presenter = None
                numbers[attack] = numbers.get(attack, -1) + 1
                video = f"{subject_name(domain.name, subject)}/{attack}-{numbers[attack]}"
                yield Video(video, split, subject, presenter, number, attack)
        first += count


@lru_cache(maxsize=64)
def _person(name: str, seed: int, subject: int) -> Person:
    # A stream of its own: the index draws from the subject's, too.
    rng = np.random.default_rng(_stream(seed, name, subject).spawn(1)[0])
    return random_person(rng, float(rng.beta(*DOMAINS[name].melanin)))


@dataclass
class _Scene:
    """One video, ready to render its frames."""

    domain: Domain
    camera: Camera
    light: Light
    session: Session
    base: Canvas  # room, shoulders: what does not move
    mover: Mover
    motions: tuple[Motion, ...]
    seeds: tuple[np.random.SeedSequence, ...]  # of the frames' noise

    def render(self, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """RGB (H, W, 3), depth (H, W), NIR (H, W), uint8."""
        rng = np.random.default_rng(self.seeds[frame])
        canvas = self.base.copy()
        for relief, place in self.mover(self.motions[frame]):
            canvas.put(relief, self.camera, place)
        light = shade_visible(canvas, self.light) * float(np.exp(rng.normal(0, 0.04)))  # daylight drifts
        radiance = shade_nir(canvas, self.light, self.camera)
        view = infrared_view(canvas.distance, self.camera.distance, self.domain, self.session)
        return (
            rgb_image(light, self.domain, self.session, rng),
            depth_image(canvas.distance[view], radiance[view], light[..., 1][view], self.domain, rng),
            nir_image(radiance[view], self.domain, self.session, rng),
        )


@lru_cache(maxsize=2)
def _scene(name: str, size: str, seed: int, index: int) -> _Scene:
    """Everything of a video that its frames share. What surrounds the presentation comes from streams of its own."""
    domain, pixels = DOMAINS[name], SIZES[size].pixels
    video = _index(name, size, seed)[index]
    streams = _stream(seed, name, video.subject, video.number + 1).spawn(4)
    surroundings, instrument, session_rng, motion_rng = map(np.random.default_rng, streams)
    side = OVERSAMPLING * pixels
    offset = [float(value) for value in np.clip(surroundings.normal(0, 0.02, 2), -0.05, 0.05)]
    camera = Camera(
        size=side,
        scale=float(surroundings.uniform(*domain.framing)) * side / FACE_HEIGHT,
        centre=(side * (0.49 + offset[0]), side * (0.49 + offset[1])),
        distance=float(surroundings.uniform(*domain.distance)) + 90,  # to the ears; the face is 90 mm nearer
    )
    light = random_light(surroundings, domain.ambient, domain.sun)
    base = room(camera, surroundings)
    presenter = None if video.presenter is None else _person(name, seed, video.presenter)
    stage = Stage(_person(name, seed, video.subject), presenter, camera, base, instrument)
    mover = PRESENTATIONS[video.attack](stage)
    mean = random_motion(motion_rng)
    amount = 0.2 if video.attack in STATIC else 1.0
    motions = tuple(jitter(mean, motion_rng, amount) for _ in range(FRAMES))
    seeds = tuple(_stream(seed, name, video.subject, video.number + 1, frame + 1) for frame in range(FRAMES))
    return _Scene(domain, camera, light, random_session(domain, session_rng), base, mover, motions, seeds)
