"""PADISI-Face's files under both names people have, with content that tells what it is. Trial ids are invented.

Channels 0 to 4 are 8 x 8 blocks of values drawn from (trial, channel); the others are one value each, number / 22, so
that a channel that should not be read is seen. The value of a block is (k - 0.7) / 255, which becomes k rounded up,
k - 1 otherwise.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fasbench.data.lists import ListRow, read_list

H, W = 320, 256
CHANNELS = 22
NAMES = ("blue", "green", "red", "near infrared", "depth")
TRIALS = ("0123abcd", "z00000f1", "90909090", "deadbeef")


def rows(folder: Path, trials: Iterable[str] = TRIALS) -> list[ListRow]:
    """Rows of a list of these samples, live and attack in turn, by way of a list file."""
    path = folder / "list.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{trial}.npz\t{number % 2}\n" for number, trial in enumerate(trials)))
    return read_list(path, "padisi", "train")


def trial_of(row: ListRow) -> str:
    return row.video.removeprefix("padisi/")


def levels(trial: str, channel: int) -> np.ndarray:
    """What a channel holds once it has 8 bits, uint8 (320, 256); 0 and 255 occur."""
    rng = np.random.default_rng(zlib.crc32(f"{trial} {channel}".encode()))
    blocks = rng.integers(0, 256, (8, 8), np.uint8)
    blocks[0, 0], blocks[7, 7] = 0, 255
    return np.kron(blocks, np.ones((H // 8, W // 8), np.uint8))


def expected(row: ListRow) -> dict[str, np.ndarray]:
    """What a layout should give for a row."""
    blue, green, red, ir, depth = (levels(trial_of(row), channel) for channel in range(5))
    return {"rgb": np.stack([red, green, blue], axis=-1), "depth": depth, "ir": ir}


def data(trial: str, dtype: Any = np.float32) -> np.ndarray:
    """(1, 22, 320, 256), as it lies in a file."""
    array = np.empty((1, CHANNELS, H, W), dtype)
    for channel in range(5):
        array[0, channel] = np.maximum(0, levels(trial, channel) - 0.7) / 255
    for channel in range(5, CHANNELS):
        array[0, channel] = channel / CHANNELS
    return array


def file_name(trial: str, by_trial: bool) -> str:
    """The name people give a file, or the one it is distributed with."""
    transaction = f"{zlib.crc32(trial.encode()):08x}" * 5
    return f"{trial}.npz" if by_trial else f"ID_{transaction}_{trial}_FACE_SMILE_WITHOUT_GLASS.npz"


def write(folder: Path, trials: Iterable[str] = TRIALS, by_trial: bool = True, dtype: Any = np.float32) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for trial in trials:
        np.savez_compressed(folder / file_name(trial, by_trial), data=data(trial, dtype))
