"""The embedded data sets: their index, their determinism, and the physics that separates live from attack."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from fasbench.data.record import SPLITS, Record, check_record
from fasbench.data.synthetic import NAMES, SyntheticSource, source
from fasbench.data.synthetic.domains import DOMAINS, FRAMES, UNSEEN
from fasbench.data.synthetic.preview import contact_sheet
from fasbench.data.taxonomy import TAXONOMY
from fasbench.errors import ConfigError

COUNTS = {"tiny": (30, 30, 30), "demo": (360, 120, 240), "full": (1440, 480, 960)}  # records per split


@cache
def read(name: str, index: int) -> Record:
    return SyntheticSource(name, "tiny").read(index)


def first_frames(attack: str, size: str = "tiny") -> list[Record]:
    """The first frame of every video of a fine class, over all data sets (never of a class that does not exist)."""
    records = []
    for name in NAMES:
        for number, video in enumerate(SyntheticSource(name, size).videos):
            if video.attack == attack:
                records.append(read(name, number * FRAMES))
    assert records
    return records


def face_area(image: np.ndarray) -> np.ndarray:
    """The middle of the picture: brows to chin of most faces. (H, W) -> (h, w)."""
    height, width = image.shape
    return image[int(0.38 * height) : int(0.68 * height), int(0.38 * width) : int(0.60 * width)].astype(float)


def plane_residual(depth: np.ndarray) -> float:
    """Standard deviation of the face's depth (grey levels) about its best plane; holes left out."""
    area = face_area(depth)
    rows, columns = np.nonzero(area)
    design = np.stack([rows, columns, np.ones(len(rows))], axis=1)
    values = area[rows, columns]
    return float(np.std(values - design @ np.linalg.lstsq(design, values, rcond=None)[0]))


def detail(image: np.ndarray) -> float:
    """Contrast of facial features: the coefficient of variation after a linear ramp is removed."""
    area = face_area(image)
    rows, columns = np.indices(area.shape)
    design = np.stack([rows.ravel(), columns.ravel(), np.ones(area.size)], axis=1)
    residual = area.ravel() - design @ np.linalg.lstsq(design, area.ravel(), rcond=None)[0]
    return float(residual.std() / area.mean())


def same(first: Record, second: Record) -> bool:
    images = zip(first.images.values(), second.images.values(), strict=True)
    return first.id == second.id and all(np.array_equal(a, b) for a, b in images)


# ---- the index


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", COUNTS)
def test_counts_and_splits(name: str, size: str) -> None:
    dataset = SyntheticSource(name, size)
    videos = dataset.videos
    assert len(dataset) == sum(COUNTS[size])
    assert len({video.name for video in videos}) == len(videos)
    subjects: dict[str, set[int]] = {}
    for split, count in zip(SPLITS, COUNTS[size], strict=True):
        chosen = [video for video in videos if video.split == split]
        assert len(chosen) * FRAMES == count
        assert 0.3 < np.mean([video.attack == "live" for video in chosen]) < 0.5
        presenters = {video.presenter for video in chosen if video.presenter is not None}
        subjects[split] = {video.subject for video in chosen} | presenters
    assert not subjects["train"] & subjects["validation"]
    assert not subjects["train"] & subjects["test"]
    assert not subjects["validation"] & subjects["test"]


@pytest.mark.parametrize("size", ["demo", "full"])
def test_every_split_has_every_attack_of_the_set(size: str) -> None:
    for name in NAMES:
        for split in SPLITS:
            seen = {video.attack for video in SyntheticSource(name, size).videos if video.split == split}
            assert seen == {"live", *DOMAINS[name].attacks}, (name, split)


def test_attacks_cover_the_taxonomy_and_some_are_unseen() -> None:
    attacks = {name: {video.attack for video in SyntheticSource(name).videos} for name in NAMES}
    assert set().union(*attacks.values()) == set(TAXONOMY["synth"])
    elsewhere = set().union(*(attacks[name] for name in NAMES if name != "synth-n"))
    assert attacks["synth-n"] - elsewhere == set(UNSEEN)


def test_names() -> None:
    for name in NAMES:
        for index in (0, len(SyntheticSource(name, "tiny")) - 1):
            record = read(name, index)
            assert record.id == f"{record.video}/{record.frame}"
            assert record.video.startswith(f"{record.subject}/{record.attack_fine}-")
            assert record.unit == record.subject
    assert read("synth-k", 0).video == "synth-k/s000/live-0"
    assert all(record.presenter == record.subject for record in first_frames("live") + first_frames("glasses"))
    assert all(record.presenter == "" for record in first_frames("fakehead"))


def test_recipe_names_what_determines_the_bytes() -> None:
    recipe = SyntheticSource("synth-k", "tiny", seed=3).recipe()
    expected = {"source", "generator_version", "name", "size", "seed"}
    assert set(recipe) == expected
    assert recipe["seed"] == 3


@pytest.mark.parametrize(
    ("arguments", "hint"), [(("synth-q",), "synth-"), (("synth-k", "dmeo"), "Did you mean 'demo'")]
)
def test_wrong_names_are_refused(arguments: tuple[str, ...], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        SyntheticSource(*arguments)


def test_there_is_no_record_beyond_the_last() -> None:
    with pytest.raises(IndexError):
        SyntheticSource("synth-k", "tiny").read(90)


# ---- the bytes


@pytest.mark.parametrize("name", NAMES)
def test_records_are_sound_and_the_modalities_differ(name: str) -> None:
    for index in range(0, 90, 7):
        record = read(name, index)
        assert check_record(record, (64, 64)) == []
        assert record.rgb is not None and record.depth is not None and record.ir is not None
        grey = record.rgb.mean(axis=-1)
        for image in (grey, record.depth, record.ir):
            assert image.std() > 5
        assert np.abs(grey - record.ir).mean() > 8
        assert np.abs(record.depth.astype(float) - record.ir).mean() > 8
        assert not np.array_equal(record.rgb[..., 0], record.rgb[..., 2])


def _digests(dataset: SyntheticSource, indices: list[int]) -> list[Record]:
    return [dataset.read(index) for index in indices]


def test_bytes_do_not_depend_on_order_cache_or_process() -> None:
    indices = [40, 3, 41, 0, 77, 25]  # among them two frames of one video, out of order
    for name in ("synth-k", "synth-n"):
        dataset = SyntheticSource(name, "tiny")
        expected = [read(name, index) for index in indices]
        for cached in (source._scene, source._person, source._index):
            cached.cache_clear()
        assert all(map(same, expected, _digests(dataset, indices[::-1])[::-1]))
        copy = pickle.loads(pickle.dumps(dataset))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            assert all(map(same, expected, pool.submit(_digests, copy, indices).result()))


def test_a_pickle_carries_no_pictures() -> None:
    dataset = SyntheticSource("synth-k", "tiny")
    dataset.read(0)
    assert len(pickle.dumps(dataset)) < 500


def test_seeds_and_frames_differ() -> None:
    first, second = read("synth-k", 0), read("synth-k", 1)
    assert first.video == second.video and not same(first, second)
    other = SyntheticSource("synth-k", "tiny", seed=1).read(0)
    assert np.abs(first.images["rgb"].astype(float) - other.images["rgb"]).mean() > 10
    close = np.abs(first.images["rgb"].astype(float) - second.images["rgb"]).mean()
    assert 0 < close < 20  # the same person in the same room


# ---- the physics


def median(values: list[float]) -> float:
    return float(np.median(values))


def test_prints_fade_in_nir() -> None:
    def fading(records: list[Record]) -> float:
        """How much contrast the face keeps in NIR, relative to visible light."""
        return median([detail(r.ir) / detail(r.rgb.mean(axis=-1)) for r in records])

    live = fading(first_frames("live"))
    for attack in ("print-flat", "print-curved"):
        assert fading(first_frames(attack)) < 0.6 * live, attack


def test_screens_are_dark_in_nir() -> None:
    def darkness(records: list[Record]) -> float:
        return median([np.percentile(face_area(r.ir), 30) / face_area(r.rgb[..., 1]).mean() for r in records])

    assert darkness(first_frames("replay")) < 0.7 * darkness(first_frames("live"))


def test_only_flat_instruments_are_flat() -> None:
    residual = {
        attack: median([plane_residual(record.depth) for record in first_frames(attack)])
        for attack in ("live", "print-flat", "replay", "print-curved", "flexiblemask", "fakehead")
    }
    assert residual["print-flat"] < 0.4 * residual["live"]
    assert residual["replay"] < 0.4 * residual["live"]
    assert residual["print-flat"] < residual["print-curved"]
    for solid in ("flexiblemask", "fakehead"):
        assert residual[solid] > 0.5 * residual["live"]


def test_nearer_is_brighter_and_holes_are_zero() -> None:
    for record in first_frames("live"):
        assert record.depth is not None
        face, corner = face_area(record.depth), record.depth[:8, :8]
        measured = corner[corner > 0]
        assert np.median(face) > 80
        assert measured.size == 0 or np.median(face) > np.median(measured) + 20
        assert (record.depth == 0).any()  # edges and what lies beyond the range


def test_surroundings_do_not_tell_live_from_attack() -> None:
    """The left and right top corners show the room: their statistics must be one distribution for both classes."""

    def room(record: Record) -> list[float]:
        corners = [image[:6, columns] for image in record.images.values() for columns in (slice(0, 6), slice(-6, None))]
        return [float(corner.mean()) for corner in corners]

    live, attack = [], []
    for name in NAMES:
        for number, video in enumerate(SyntheticSource(name, "tiny").videos):
            (live if video.attack == "live" else attack).append(room(read(name, number * FRAMES)))
    live_rooms, attack_rooms = np.array(live), np.array(attack)
    error = np.sqrt(live_rooms.var(axis=0) / len(live_rooms) + attack_rooms.var(axis=0) / len(attack_rooms))
    difference = np.abs(live_rooms.mean(axis=0) - attack_rooms.mean(axis=0)) / np.maximum(error, 1.0)
    assert difference.max() < 3.5, difference


# ---- the contact sheet


def test_contact_sheet(tmp_path: Path) -> None:
    contact_sheet("tiny", 0, tmp_path / "sheet.png", names=("synth-n",), columns=1)
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
