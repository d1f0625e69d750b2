"""CASIA-SURF CeFA as it lies on disk, for any rows: names of both trees, JPEG, wide black borders, coded content.

What is written is documented (the official lists, the video lists of CASIA-FAS-Dataset), not read from the layouts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import coded
from coded import Sheet

from fasbench.data.lists import ListRow

# The borders of each modality are its own, and so are the sizes: rgb 88 x 112, depth and ir 80 x 104.
SHEETS = {
    "rgb": Sheet(8, top=16, bottom=24, left=8, right=40),
    "depth": Sheet(8, top=8, bottom=24, left=24, right=16),
    "ir": Sheet(8, top=24, bottom=8, left=16, right=24),
}


def profile_path(row: ListRow, modality: str, digits: int = 4) -> str:
    """`CeFA/CeFA-Race/AF/AF-900/1_900_1_1_1/profile/0026.jpg`."""
    folder = {"rgb": row.rgb, "depth": row.depth, "ir": row.ir}[modality].rpartition("/")[0]
    return f"{folder}/{row.frame:0{digits}d}.jpg"


def color_path(row: ListRow, modality: str, digits: int = 4, cards: Mapping[str, str] | None = None) -> str:
    """`CASIA_CeFA/Ethnicity/AF/AF-900[-<identity card>]/1_900_1_1_1/color/0026.jpg`."""
    path = profile_path(row, modality, digits)
    for old, new in (("CeFA/CeFA-Race", "Ethnicity"), ("CeFA/CeFA-Mask", "Mask"), ("/profile/", "/color/")):
        path = path.replace(old, new)
    for subject, card in (cards or {}).items():
        path = path.replace(f"/{subject}/", f"/{subject}-{card}/")
    return f"CASIA_CeFA/{path}"


def write_profile(root: Path, rows: list[ListRow], digits: int = 4, **options: bool) -> None:
    coded.write(root, rows, partial(profile_path, digits=digits), SHEETS, **options)


def write_color(
    root: Path, rows: list[ListRow], digits: int = 4, cards: Mapping[str, str] | None = None, **options: bool
) -> None:
    coded.write(root, rows, partial(color_path, digits=digits, cards=cards), SHEETS, **options)


def frames_of(video: ListRow, numbers: Iterable[int]) -> list[ListRow]:
    """Rows of a video's frames, in the grammar of the frame lists, of a row of a list of videos."""
    folder = video.rgb.removesuffix("/profile/*.jpg")
    return [
        replace(
            video,
            id=f"{video.video}/{number}",
            frame=number,
            rgb=f"{folder}/profile/{number:04d}.jpg",
            depth=f"{folder}/depth/{number:04d}.jpg",
            ir=f"{folder}/ir/{number:04d}.jpg",
        )
        for number in numbers
    ]
