"""What the image trees of CeFA and CASIA-SURF share: one JPEG a frame and modality, in one folder a modality."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from fasbench.data.layouts.base import Layout, MissingFiles
from fasbench.data.layouts.crop import Crop, content_box
from fasbench.data.lists import ListRow
from fasbench.data.record import MODALITIES
from fasbench.data.sources.images import read_image
from fasbench.errors import DataError

MOST_DIGITS = 8  # to which a frame's number may be padded with zeros


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

    A frame is found by its number: first as this variant pads it, then with any other count of leading zeros.
    """

    colour: ClassVar[str]  # the folder of colour images
    digits: ClassVar[int]  # of a frame's number as this variant is documented
    default_crop: ClassVar[Crop]  # what the literature does to these images
    may_be_black: ClassVar[tuple[str, ...]] = ()  # modalities of which an all-black image may be what the sensor saw

    @abstractmethod
    def folder(self, row: ListRow) -> str:
        """The folder of a row's video, relative to the root.

        Raises:
            DataError: there are several.
        """

    def files(self, row: ListRow) -> tuple[str, ...]:
        video = self.folder(row)
        return tuple(self._frame(join(video, name), row.frame) for name in (self.colour, "depth", "ir"))

    def read(self, row: ListRow) -> dict[str, np.ndarray]:
        images: dict[str, np.ndarray] = {}
        missing, wrong = [], []
        for modality, file in zip(MODALITIES, self.files(row), strict=True):
            if not (self.root / file).is_file():
                missing.append(f"{modality} {self.shown(file)}: {self._absence(file)}")
                continue
            try:
                images[modality] = read_image(self.root / file, modality, None, None)
                if modality not in self.may_be_black:
                    content_box(images[modality])
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

    def shown(self, path: str) -> str:
        """A path as messages may print it."""
        return path

    def why_missing(self, row: ListRow) -> str:
        """What this variant knows about the absence of a row; "" = nothing."""
        return ""

    def _frame(self, folder: str, frame: int) -> str:
        names = [f"{frame:0{digits}d}.jpg" for digits in (self.digits, *range(1, MOST_DIGITS + 1))]
        for name in dict.fromkeys(names):
            if (self.root / folder / name).is_file():
                return join(folder, name)
        return join(folder, names[0])

    def _numbers(self, folder: str) -> set[int]:
        """The numbers of the frames in a folder; none if it is not there."""
        stems = [path.stem for path in (self.root / folder).glob("*.jpg")]
        return {int(stem) for stem in stems if stem.isdecimal() and len(stem) <= MOST_DIGITS}

    def _absence(self, file: str) -> str:
        """What is there in place of a file."""
        path = self.root / file
        if path.exists():
            return "is not a file"
        parents = [self.root / parent for parent in Path(file).parents]  # from the frame's folder up to the root
        for upper, lower in zip(parents[::-1], parents[-2::-1], strict=False):
            if not lower.is_dir():
                where = self.shown(upper.relative_to(self.root).as_posix())
                return f"no folder '{lower.name}' in {'the root' if where == '.' else where}"
        frames = sorted(self._numbers(Path(file).parent.as_posix()))
        if not frames:
            return "no such file; the folder holds no frames at all"
        span = f"frame {frames[0]}" if len(frames) == 1 else f"{len(frames)} frames, from {frames[0]} to {frames[-1]}"
        return f"no such file, nor one with other leading zeros; the folder holds {span}"
