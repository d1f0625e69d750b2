"""What the image trees of CeFA and CASIA-SURF share: one JPEG a frame and modality, in one folder a modality."""

from __future__ import annotations

import re
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from fasbench.data.layouts.base import Layout, MissingFiles
from fasbench.data.layouts.crop import Crop
from fasbench.data.layouts.search import BROKEN_LINK, file_names, is_broken_link, raise_together
from fasbench.data.lists import ListRow
from fasbench.data.record import MODALITIES
from fasbench.data.sources.images import read_image
from fasbench.errors import DataError

SMALLEST = 16  # px: the shorter side of an image that can still be a face
STRETCH = 2.0  # by how much depth and infrared may be narrower or wider than colour: other masks cut, sensors differ
_FRAME = re.compile(r"([0-9]{1,8})\.jpg")  # the number of a frame, padded with any count of zeros


def base_folder(root: Path, holders: tuple[str, ...], parts: tuple[str, ...]) -> str | None:
    """The first of `holders` (relative to the root; "" is the root itself) that holds one of the folders `parts`."""
    for holder in holders:
        if any((root / holder / part).is_dir() for part in parts):
            return holder
    return None


def join(*folders: str) -> str:
    return "/".join(folder for folder in folders if folder)


class TripletLayout(Layout):
    """One JPEG a frame and modality: `<video's folder>/{<colour>,depth,ir}/<frame>.jpg`.

    A frame is found by its number, with any count of leading zeros; two such files of one frame are an error.
    """

    colour: ClassVar[str]  # the folder of colour images
    digits: ClassVar[int]  # of a frame's number as this variant is documented
    default_crop: ClassVar[Crop]  # what the literature does to these images

    @abstractmethod
    def folder(self, row: ListRow) -> str:
        """The folder of a row's video, relative to the root.

        Raises:
            DataError: there are several.
        """

    def files(self, row: ListRow) -> tuple[str, ...]:
        """The three files.

        Raises:
            DataError: there are several of a frame, or several folders of a video.
        """
        video = self.folder(row)
        found, problems = [], []
        for name in (self.colour, "depth", "ir"):
            try:
                found.append(self._frame(join(video, name), row.frame))
            except DataError as error:
                problems.append(error)
        raise_together(problems)
        return tuple(found)

    def read(self, row: ListRow) -> dict[str, np.ndarray]:
        images: dict[str, np.ndarray] = {}
        missing, wrong = [], []
        for modality, file in zip(MODALITIES, self.files(row), strict=True):
            if not (self.root / file).is_file():
                missing.append(f"{modality} {self.shown(file)}: {self._absence(file)}")
                continue
            try:
                images[modality] = read_image(self.root / file, modality, None, self.ranges.get(modality))
                _check_size(images[modality], images.get("rgb"))
            except DataError as error:
                wrong.append(f"{modality} {self.shown(file)}: {error}")
        if wrong:  # not MissingFiles, even if some are: a damaged file is never left out silently
            raise DataError("; ".join(wrong + missing))
        if missing:
            reason = self.why_missing(row)
            raise MissingFiles("; ".join(missing) + (f". {reason}" if reason else ""))
        return images

    def frames(self, row: ListRow) -> list[int]:
        folders = [join(self.folder(row), name) for name in (self.colour, "depth", "ir")]
        numbers = dict(zip(MODALITIES, map(self._numbers, folders), strict=True))
        shared = sorted(set.intersection(*numbers.values()))
        if not shared:
            missing = [
                f"{modality} {self.shown(folder)}: {self._absence(f'{folder}/*.jpg')}"
                for modality, folder in zip(MODALITIES, folders, strict=True)
                if not numbers[modality]
            ]
            counts = ", ".join(f"{modality} has {len(found)}" for modality, found in numbers.items())
            raise MissingFiles("; ".join(missing) or f"no frame number that all modalities have: {counts}")
        return shared

    def why_missing(self, row: ListRow) -> str:
        """What this variant knows about the absence of a row; "" = nothing."""
        return ""

    def _frame(self, folder: str, frame: int) -> str:
        place = self.root / folder
        there = file_names(place) if place.is_dir() else []
        names = [name for name in there if (match := _FRAME.fullmatch(name)) and int(match[1]) == frame]
        if len(names) > 1:
            raise DataError(f"{self.shown(folder)}: {' and '.join(names)} are one frame, expected one file. Keep one")
        return join(folder, names[0] if names else f"{frame:0{self.digits}d}.jpg")

    def _numbers(self, folder: str) -> set[int]:
        """The numbers of the frames in a folder; none if it is not there."""
        place = self.root / folder
        names = file_names(place) if place.is_dir() else []
        return {int(match[1]) for name in names if (match := _FRAME.fullmatch(name))}

    def _absence(self, file: str) -> str:
        """What is there in place of a file."""
        path = self.root / file
        if is_broken_link(path):
            return BROKEN_LINK
        if path.exists():
            return "is not a file"
        parents = [self.root / parent for parent in Path(file).parents]  # from the frame's folder up to the root
        for upper, lower in zip(parents[::-1], parents[-2::-1], strict=False):
            if not lower.is_dir():
                where = self.shown(upper.relative_to(self.root).as_posix())
                return f"no folder '{lower.name}' in {'the root' if where == '.' else where}"
        names = file_names(path.parent)
        frames = sorted(self._numbers(Path(file).parent.as_posix()))
        if not frames:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            there = f"{', '.join(names[:3])}{more}: none is named <number>.jpg" if names else "nothing"
            return f"no such file; the folder holds {there}"
        span = f"frame {frames[0]}" if len(frames) == 1 else f"{len(frames)} frames, from {frames[0]} to {frames[-1]}"
        return f"no such file, nor one with other leading zeros; the folder holds {span}"


def _check_size(image: np.ndarray, rgb: np.ndarray | None) -> None:
    """Raise a DataError if an image is too small for a face, or not of the shape its colour image lets expect."""
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST:
        raise DataError(f"is {height} px high and {width} px wide, expected a face of at least {SMALLEST} px")
    if rgb is not None:
        stretch = (height / width) / (rgb.shape[0] / rgb.shape[1])
        if not 1 / STRETCH <= stretch <= STRETCH:
            raise DataError(
                f"is {height} px high and {width} px wide, its colour image {rgb.shape[0]} px high and {rgb.shape[1]} "
                "px wide: not the same part of one frame"
            )
