"""Images that say what they show: 48 bits of (subject, video, frame, modality) as blocks that survive JPEG.

Any mix-up of frames, modalities or subjects gives other bits. Colour images are redder than green and greener than
blue everywhere, so that swapped channels show too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fasbench.data.lists import ListRow
from fasbench.data.record import MODALITIES

ROWS, COLUMNS = 6, 8
DARK, BRIGHT = 90, 210


class Sheet(NamedTuple):
    """The side of a block and the widths of the black borders, in pixels."""

    cell: int
    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def inside(self, image: np.ndarray) -> np.ndarray:
        """What the borders enclose."""
        height, width = image.shape[:2]
        return image[self.top : height - self.bottom, self.left : width - self.right]


def bits(row: ListRow, modality: str) -> np.ndarray:
    """(6, 8) bool, of this frame and modality alone."""
    digest = hashlib.sha256(f"{row.subject} {row.video} {row.frame} {modality}".encode()).digest()
    return np.unpackbits(np.frombuffer(digest[:ROWS], np.uint8)).reshape(ROWS, COLUMNS).astype(bool)


def draw(row: ListRow, modality: str, sheet: Sheet) -> np.ndarray:
    """uint8, (H, W, 3) for rgb, (H, W) for depth and ir."""
    blocks = np.where(bits(row, modality), BRIGHT, DARK).repeat(sheet.cell, 0).repeat(sheet.cell, 1)
    image = np.pad(blocks, ((sheet.top, sheet.bottom), (sheet.left, sheet.right)))
    if modality == "rgb":
        image = np.stack([image, image * 3 // 4, image // 3], axis=2)
    return image.astype(np.uint8)


def said(image: np.ndarray) -> np.ndarray:
    """The bits of an image without borders, at any scale."""
    if image.ndim == 3:
        red, green, blue = image.astype(int).mean(axis=(0, 1))
        assert red > green + 20 > blue + 40, "the colour channels are swapped"
        image = image[..., 0]
    y = ((np.arange(ROWS) + 0.5) * image.shape[0] / ROWS).astype(int)
    x = ((np.arange(COLUMNS) + 0.5) * image.shape[1] / COLUMNS).astype(int)
    return image[np.ix_(y, x)] > (DARK + BRIGHT) // 2


def check(row: ListRow, images: Mapping[str, np.ndarray], sheets: Mapping[str, Sheet]) -> None:
    """That these are the images of a row, as `write` wrote them."""
    assert list(images) == list(MODALITIES)
    for modality, image in images.items():
        written = draw(row, modality, sheets[modality])
        assert image.dtype == np.uint8 and image.shape == written.shape, (row.id, modality)
        assert np.array_equal(said(sheets[modality].inside(image)), bits(row, modality)), (row.id, modality)


def write(
    root: Path,
    rows: Iterable[ListRow],
    place: Callable[[ListRow, str], str],
    sheets: Mapping[str, Sheet],
    three_channels: bool = False,
) -> None:
    """JPEG files of rows at `place(row, modality)` below `root`; gray images as colour files where asked."""
    for row in rows:
        for modality in MODALITIES:
            image = Image.fromarray(draw(row, modality, sheets[modality]))
            path = root / place(row, modality)
            path.parent.mkdir(parents=True, exist_ok=True)
            (image.convert("RGB") if three_channels else image).save(path, "JPEG", quality=95)


def damage(path: Path, kind: str) -> None:
    """Spoil one file: missing, truncated, gray, colour, black."""
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        with Image.open(path) as image:
            shape = (image.height, image.width)
        spoilt = {
            "gray": np.full(shape, 120, np.uint8),
            "colour": np.full((*shape, 3), (200, 60, 20), np.uint8),
            "black": np.full((*shape, 3), 3, np.uint8),
        }[kind]
        Image.fromarray(spoilt).save(path, "JPEG", quality=95)
