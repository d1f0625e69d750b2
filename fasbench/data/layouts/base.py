"""Layout: where one variant of a licensed data set keeps the images of a list row, and how they are decoded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from fasbench.data.layouts.crop import Crop
from fasbench.data.lists import ListRow
from fasbench.errors import DataError


class MissingFiles(DataError):
    """Files or frames of a row that are not there; `--on-missing skip` leaves such rows out, counted."""


class Layout(ABC):
    """One variant of a data set below its root folder.

    A layout must be picklable: preparation reads from several processes. It may keep what neighbouring rows share (an
    open container of one video), but what `read` gives must not depend on the order of calls.
    """

    name: ClassVar[str]  # stands in manifests and messages: `hdf5`, `image-tree`
    expects: ClassVar[str]  # the tree, for people: what must lie below the root
    rules: ClassVar[int] = 1  # raise it when the same files give other pixels
    default_crop: ClassVar[Crop] = "none"  # the literature's way with this data set
    searched: ClassVar[str] = ""  # where and for what a folder is searched, if not exactly where `expects` says

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ranges: Mapping[str, tuple[float, float]] = {}  # of 16-bit image files: raw values that become 0 and 255

    @classmethod
    @abstractmethod
    def found(cls, root: Path) -> bool:
        """Whether this variant lies below `root`. Looks at a few folders, not at every file."""

    @abstractmethod
    def files(self, row: ListRow) -> tuple[str, ...]:
        """The files of a row, relative to the root, in the order rgb, depth, ir (one file may hold several)."""

    def shown(self, path: str) -> str:
        """A path as messages may print it."""
        return path

    def frames(self, row: ListRow) -> list[int]:
        """The numbers, ascending, of the frames that a video has in every modality; for rows of video lists.

        Raises:
            MissingFiles: there is none.
            DataError: the video's folder is not clear.
        """
        raise NotImplementedError(f"{self.name} has no official list of videos")

    @abstractmethod
    def read(self, row: ListRow) -> dict[str, np.ndarray]:
        """The images of a row, uint8: `rgb` (H, W, 3) in the order red, green, blue; `depth` and `ir` (H, W).

        Sizes may differ between the modalities; nothing is resized here.

        Raises:
            MissingFiles: names every file or frame that is not there.
            DataError: names every file that cannot be read or holds something else (shape, type, channels).
        """
