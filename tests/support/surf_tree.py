"""CASIA-SURF as it lies on disk, for any rows: names of all releases, JPEG, faces cut out, coded content.

What is written is documented (the official lists, the challenge's readme), not read from the layouts.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import coded
from coded import Sheet

from fasbench.data.lists import ListRow

# Colour is cut out by another mask than depth and infrared: another size. No wide borders.
SHEETS = {"rgb": Sheet(14, top=3, left=2), "depth": Sheet(8, right=1), "ir": Sheet(8, right=1)}
SPLITS = {"train": "Training", "validation": "Val", "test": "Testing"}
MODALITIES = {"rgb": "color", "depth": "depth", "ir": "ir"}


def crop_path(row: ListRow, modality: str) -> str:
    """`CASIA-SURF-CROP/fake_part/fake_val_part/CLKJ_AS9001/06_enm_b.rssdk/color/181.jpg`."""
    return {"rgb": row.rgb, "depth": row.depth, "ir": row.ir}[modality]


def subject_path(row: ListRow, modality: str, above: str = "", digits: int = 1) -> str:
    """`[Data/]Training/fake_part/CLKJ_AS9001/06_enm_b.rssdk/color/181.jpg`."""
    kind = "real" if row.label else "fake"
    clip = row.video.removeprefix("surf/") + ".rssdk"
    folder = f"{above}{SPLITS[row.split]}/{kind}_part/{clip}/{MODALITIES[modality]}"
    return f"{folder}/{row.frame:0{digits}d}.jpg"


def anonymous_path(row: ListRow, modality: str) -> str:
    """`Val/0000/000012-color.jpg`: twelve stands for any number, the line of the list here."""
    return f"{SPLITS[row.split]}/0000/{row.line:06d}-{MODALITIES[modality]}.jpg"


def write_crops(root: Path, rows: list[ListRow], **options: bool) -> None:
    coded.write(root, rows, crop_path, SHEETS, **options)


def write_challenge(root: Path, rows: list[ListRow], **options: bool) -> None:
    """The first release: subjects in Training, anonymous names in Val and Testing."""
    coded.write(root, [row for row in rows if row.split == "train"], subject_path, SHEETS, **options)
    coded.write(root, [row for row in rows if row.split != "train"], anonymous_path, SHEETS, **options)


def write_data(root: Path, rows: list[ListRow], above: str = "Data/", digits: int = 4, **options: bool) -> None:
    """The later release: subjects everywhere, frame numbers padded with zeros."""
    coded.write(root, rows, partial(subject_path, above=above, digits=digits), SHEETS, **options)
