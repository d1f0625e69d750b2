"""WMCA's files as they are distributed and as the lists name them, with content that tells what it is.

Every plane is 8 x 8 blocks of gray levels drawn from (recording, frame, plane), so that the wrong recording, frame,
modality or channel, a mirrored or a turned image never equals the right one. Names of recordings are invented.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from fasbench.data.lists import ListRow, read_list

RGB = "preprocessed-face-station_RGB"
CDIT = "preprocessed-face-station_CDIT"
TREE = "WMCA-Image/R_CDIT"
PLANES = {RGB: ("red", "green", "blue"), CDIT: ("gray", "depth", "infrared", "thermal")}
RECORDINGS = (
    "901_01_000_0_00",
    "901_02_000_0_01",
    "902_03_915_2_81",
    "902_03_000_3_05",
    "903_04_915_1_13",
    "903_07_000_4_18",
)


def rows(folder: Path, recordings: Iterable[str] = RECORDINGS, frames: Sequence[int] = (12, 24)) -> list[ListRow]:
    """Rows of a list of these recordings, by way of a list file."""
    lines = []
    for recording in recordings:
        for frame in frames:
            paths = [f"{TREE}/{recording}/{modality}/{frame:04d}.jpg" for modality in ("color", "depth", "ir")]
            lines.append(" ".join([*paths, str(int(recording[11] == "0"))]))
    path = folder / "list.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\r\n".join(lines))
    return read_list(path, "wmca", "train")


def plane(recording: str, frame: int, name: str, size: int = 128) -> np.ndarray:
    """What a channel of a frame holds, uint8 (size, size)."""
    rng = np.random.default_rng(zlib.crc32(f"{recording} {frame} {name}".encode()))
    return np.kron(rng.integers(0, 256, (8, 8), np.uint8), np.ones((size // 8, size // 8), np.uint8))


def expected(row: ListRow) -> dict[str, np.ndarray]:
    """What a layout should give for a row (JPEG: nearly)."""
    recording = recording_of(row)
    return {
        "rgb": np.stack([plane(recording, row.frame, name) for name in PLANES[RGB]], axis=-1),
        "depth": plane(recording, row.frame, "depth"),
        "ir": plane(recording, row.frame, "infrared"),
    }


def recording_of(row: ListRow) -> str:
    return row.video.removeprefix("wmca/")


def day(recording: str) -> str:
    """A recording day, DD.MM.YY, which no list names."""
    number = zlib.crc32(recording.encode())
    return f"{1 + number % 28:02d}.{1 + number // 28 % 12:02d}.18"


def container(root: Path, package: str, recording: str, levels: str = "WMCA/face-station/") -> Path:
    return root / package / levels / day(recording) / f"{recording}.hdf5"


def write_packages(root: Path, rows: Iterable[ListRow], levels: str = "WMCA/face-station/") -> None:
    """Both packages, with the frames of the rows and those after them."""
    frames: dict[str, set[int]] = {}
    for row in rows:
        frames.setdefault(recording_of(row), set()).update((row.frame, row.frame + 1))
    for package in PLANES:
        for recording, numbers in frames.items():
            path = container(root, package, recording, levels)
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                for number in sorted(numbers):
                    file[f"Frame_{number}/array"] = frame_array(package, recording, number)


def frame_array(package: str, recording: str, frame: int) -> np.ndarray:
    """(channels, 128, 128), as it lies in a container."""
    return np.stack([plane(recording, frame, name) for name in PLANES[package]])


def write_images(root: Path, rows: Iterable[ListRow]) -> None:
    """The image tree, JPEG of quality 100."""
    for row in rows:
        images = expected(row)
        for modality, file in (("rgb", row.rgb), ("depth", row.depth), ("ir", row.ir)):
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[modality]).save(path, quality=100, subsampling=0)
