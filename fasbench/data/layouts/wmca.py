"""WMCA on disk: Idiap's two preprocessed packages, or the image tree that the official lists name.

Either holds faces of 128 x 128 px, 8 bits a channel; anything else is another preprocessing, and an error. A frame that
is not there is an error, never a black image.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fasbench.data.layouts.base import Layout, MissingFiles
from fasbench.data.layouts.hdf5 import Frames
from fasbench.data.layouts.search import (
    BROKEN_LINK,
    file_names,
    folders,
    is_broken_link,
    nearest,
    raise_together,
)
from fasbench.data.lists import ListRow
from fasbench.data.sources.images import read_image
from fasbench.errors import DataError, problem_list

SIZE = 128  # pixels, height and width
RECORDING = re.compile(r"\d{3}_\d{2}_\d{3}_\d_\d{2}")  # CCC_SS_PPP_T_AA
SUFFIXES = (".hdf5", ".h5")
MISSING = "is missing. Give the folder that holds both packages"
PACKAGE_DEPTH = 3  # levels below the root at which a package may lie: <root>/a/b/<package>
DAY_DEPTH = 4  # levels below a package at which recordings may lie; as distributed: WMCA/face-station/<day>


class Package(NamedTuple):
    folder: str
    modalities: str  # what is read from it
    channels: tuple[str, ...]  # the first axis of a frame


RGB = Package("preprocessed-face-station_RGB", "rgb", ("red", "green", "blue"))
CDIT = Package("preprocessed-face-station_CDIT", "depth, ir", ("gray", "depth", "infrared", "thermal"))


class WmcaPackages(Layout):
    """The packages `preprocessed-face-station_RGB` and `..._CDIT`: one HDF5 file a recording, a key a frame.

    The frame number of a list row is the key's, in both packages. Their files are indexed once, when the layout is
    made, because the lists do not name the day of a recording.

    Raises:
        DataError: a package is missing, or a package or a recording is there twice.
    """

    name = "hdf5"
    expects = " and ".join(f"{package.folder}/WMCA/face-station/<DD.MM.YY>/<recording>.hdf5" for package in (RGB, CDIT))

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        problems: list[str] = []
        self._files = {package: _index(root, package, problems) for package in (RGB, CDIT)}
        self._frames = {package: Frames() for package in (RGB, CDIT)}
        if problems:
            raise DataError(problem_list(f"{root}: {len(problems)} problem(s) with WMCA's HDF5 packages", problems))

    @classmethod
    def found(cls, root: Path) -> bool:
        """One package will do: making the layout then says that the other is missing."""
        return any(_packages(root, package) for package in (RGB, CDIT))

    def files(self, row: ListRow) -> tuple[str, ...]:
        """The file in the RGB package and that in the CDIT package.

        Raises:
            MissingFiles: a package lacks the recording.
        """
        found, problems = [], []
        for package in (RGB, CDIT):
            try:
                found.append(self._file(row, package))
            except DataError as error:
                problems.append(error)
        raise_together(problems)
        return tuple(found)

    def read(self, row: ListRow) -> dict[str, np.ndarray]:
        planes: dict[str, np.ndarray] = {}
        problems: list[DataError] = []
        for package in (RGB, CDIT):
            try:
                planes |= zip(package.channels, self._frame(row, package), strict=True)
            except DataError as error:
                problems.append(error)
        raise_together(problems)
        rgb = np.stack([planes["red"], planes["green"], planes["blue"]], axis=-1)  # (H, W, 3)
        return {"rgb": rgb, "depth": planes["depth"], "ir": planes["infrared"]}

    def _file(self, row: ListRow, package: Package) -> str:
        recording = row.video.removeprefix("wmca/")
        if recording not in self._files[package]:
            names = " or ".join(recording + suffix for suffix in SUFFIXES)
            raise MissingFiles(f"{package.modalities}: no {names} in {package.folder}")
        return self._files[package][recording]

    def _frame(self, row: ListRow, package: Package) -> np.ndarray:
        """One frame of one package, (channels, H, W)."""
        file = self._file(row, package)
        try:
            return self._frames[package].read(self.root / file, row.frame, package.channels, SIZE)
        except DataError as error:
            raise type(error)(f"{package.modalities} {file}: {error}") from error


class WmcaImages(Layout):
    """The JPEG files that the lists name, converted from the two packages: a file's number is its frame's key.

    The root may also be the folder WMCA-Image or R_CDIT itself. A colour or infrared image that is black all over
    counts as missing: a published converter writes such images for frames that a package lacks. Depth is not judged, it
    may be one hole.

    Raises:
        DataError: the tree is not there, or there twice.
    """

    name = "image-tree"
    expects = "WMCA-Image/R_CDIT/<recording>/{color,depth,ir}/<frame, 4 digits>.jpg"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        places = _trees(root)
        if len(places) != 1:
            found = f"WMCA's images are there twice, in {' and '.join(places)}" if places else "no WMCA images"
            raise DataError(f"{root}: {found}: expected {self.expects}")
        self._above = "WMCA-Image/R_CDIT/".removesuffix(places[0])  # of the lists' paths, what lies above the root

    @classmethod
    def found(cls, root: Path) -> bool:
        return bool(_trees(root))

    def files(self, row: ListRow) -> tuple[str, ...]:
        return tuple(path.removeprefix(self._above) for path in (row.rgb, row.depth, row.ir))

    def read(self, row: ListRow) -> dict[str, np.ndarray]:
        images: dict[str, np.ndarray] = {}
        problems: list[DataError] = []
        for modality, file in zip(("rgb", "depth", "ir"), self.files(row), strict=True):
            try:
                images[modality] = self._image(self.root / file, modality, row.frame)
            except DataError as error:
                problems.append(type(error)(f"{modality} {file}: {error}"))
        raise_together(problems)
        return images

    def _image(self, path: Path, modality: str, frame: int) -> np.ndarray:
        if not path.parent.is_dir():
            raise MissingFiles("no such folder")
        if is_broken_link(path):
            raise MissingFiles(BROKEN_LINK)
        if not path.is_file():
            names = {int(file.stem): file.name for file in path.parent.iterdir() if re.fullmatch("[0-9]+", file.stem)}
            raise MissingFiles(f"no such file. {nearest(frame, names)}")
        image = read_image(path, modality, None, self.ranges.get(modality))
        if image.shape[:2] != (SIZE, SIZE):
            height, width = image.shape[:2]
            raise DataError(f"is {height} px high and {width} px wide, expected {SIZE} x {SIZE} px")
        if modality != "depth" and not image.any():
            raise MissingFiles("is black all over, as converters write a frame that is not in the HDF5 package")
        return image


def _packages(root: Path, package: Package) -> list[Path]:
    """Where a package lies: folders of its name, but not one in another."""

    def enter(folder: Path) -> bool:
        return folder.name not in (RGB.folder, CDIT.folder) and not RECORDING.fullmatch(folder.name)

    return [folder for folder in folders(root, PACKAGE_DEPTH, enter) if folder.name == package.folder]


def _index(root: Path, package: Package, problems: list[str]) -> dict[str, str]:
    """The files of a package by recording, relative to the root."""
    places = _packages(root, package)
    if len(places) != 1:
        where = f"is there {len(places)} times: {', '.join(map(str, places))}" if places else MISSING
        problems.append(f"the package {package.folder} (for {package.modalities}) {where}")
        return {}
    index: dict[str, str] = {}
    for folder in folders(places[0], DAY_DEPTH):
        for path in map(folder.joinpath, file_names(folder)):
            if path.suffix in SUFFIXES and RECORDING.fullmatch(path.stem):
                file = path.relative_to(root).as_posix()
                if (first := index.setdefault(path.stem, file)) != file:
                    problems.append(f"recording {path.stem} is there twice: {first} and {file}. Keep one")
    if not index:
        problems.append(f"{places[0]} holds no recording: expected WMCA/face-station/<DD.MM.YY>/<recording>.hdf5")
    return index


def _trees(root: Path) -> list[str]:
    """Where the folders of the recordings lie below the root; "" = in it."""
    places = [place for place in ("WMCA-Image/R_CDIT/", "R_CDIT/") if (root / place).is_dir()]
    recordings = [name for name in file_names(root) if RECORDING.fullmatch(name)] if root.is_dir() else []
    if any((root / recording / "color").is_dir() for recording in recordings[:10]):
        places.append("")
    return places
