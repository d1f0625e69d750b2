"""PADISI-Face on disk: the multi-spectral package, one `.npz` a sample, named as distributed or by its trial alone."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

import numpy as np

from fasbench.data.layouts.base import Layout, MissingFiles
from fasbench.data.layouts.search import file_names, folders
from fasbench.data.lists import ListRow
from fasbench.errors import DataError, problem_list

SHAPE = (1, 22, 320, 256)  # of `data`: samples, channels, H, W
CHANNELS = ("blue", "green", "red", "near infrared", "depth")  # the first five: the two of the RealSense come last
DEPTH = 2  # levels below the root at which the files may lie
_SEARCHED = f" in the folder or down to {DEPTH} levels below it, with the suffix in small letters"

# Channels are scaled to [0, 1] by the bit depth of their camera. The images of the literature (DADM's conversion, and
# those of the protocols that build on it) are rounded up, not to the nearest: 0 alone stays 0. Computed in the file's
# own floating-point type, as there: k / 255 becomes k again, whereas in a wider type most would become k + 1.
QUANTISATION = "ceil(255 * x)"

_TRIAL = r"(?P<trial>[0-9a-z]{8})"
_NAMES = {
    "<trial id>.npz": re.compile(rf"{_TRIAL}\.npz"),
    "ID_<transaction id>_<trial id>_<trial name>.npz": re.compile(rf"ID_[0-9a-z]+_{_TRIAL}_\w+\.npz"),
}
# What numpy and zipfile raise for damaged, encrypted and pickled content.
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error)


class _Padisi(Layout):
    """Files of `data`, (1, 22, 320, 256) floating point in [0, 1]; one frame a sample.

    The files lie in the root or up to two levels below it; they are indexed once, when the layout is made.

    Raises:
        DataError: there is no such file, or a sample is there twice, under whatever name.
    """

    searched = _SEARCHED

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        index: dict[str, list[str]] = {}
        own = 0
        for folder in folders(root, DEPTH):
            for name in file_names(folder):
                for form, pattern in _NAMES.items():
                    if match := pattern.fullmatch(name):
                        index.setdefault(match["trial"], []).append((folder / name).relative_to(root).as_posix())
                        own += form == self.expects
        if not own:
            raise DataError(f"{root}: no file {self.expects}{self.searched}")
        problems = [f"{trial}: {', '.join(files)}" for trial, files in index.items() if len(files) > 1]
        if problems:
            title = f"{root}: {len(problems)} sample(s) are there more than once. Keep one file of each"
            raise DataError(problem_list(title, problems, limit=20))
        self._index = {trial: file for trial, (file,) in index.items()}

    @classmethod
    def found(cls, root: Path) -> bool:
        pattern = _NAMES[cls.expects]
        return any(pattern.fullmatch(name) for folder in folders(root, DEPTH) for name in file_names(folder))

    def files(self, row: ListRow) -> tuple[str, ...]:
        """The one file of the sample.

        Raises:
            MissingFiles: it is not there.
        """
        trial = row.video.removeprefix("padisi/")
        file = self._index.get(trial)
        if file is None:
            raise MissingFiles(f"no {self.expects.replace('<trial id>', trial)}{self.searched}")
        if not _NAMES[self.expects].fullmatch(Path(file).name):
            raise MissingFiles(
                f"no {self.expects.replace('<trial id>', trial)}, but {file}: name all files in one of the two ways"
            )
        return (file,)

    def read(self, row: ListRow) -> dict[str, np.ndarray]:
        (file,) = self.files(row)
        try:
            blue, green, red, ir, depth = _eight_bits(_load(self.root / file))
        except DataError as error:
            raise DataError(f"{file}: {error}") from error
        return {"rgb": np.stack([red, green, blue], axis=-1), "depth": depth, "ir": ir}


class PadisiByTrial(_Padisi):
    """Files renamed to the trial id, as the official lists of MMDG have them."""

    name = "npz-by-trial"
    expects = "<trial id>.npz"


class PadisiByTransaction(_Padisi):
    """Files as they are distributed; a list row's trial id is the part of the name after the transaction's."""

    name = "npz-by-transaction"
    expects = "ID_<transaction id>_<trial id>_<trial name>.npz"


def _load(path: Path) -> np.ndarray:
    """The channels that are used, (5, H, W)."""
    try:
        with zipfile.ZipFile(path) as archive:  # np.load would take other kinds of files too
            keys = [name.removesuffix(".npy") for name in archive.namelist()]
        if "data" not in keys:
            raise DataError(f"holds {', '.join(keys) or 'nothing'}, expected the array 'data'")
        with np.load(path, allow_pickle=False) as arrays:
            data = np.asarray(arrays["data"])
    except _UNREADABLE as error:
        raise DataError(f"cannot be read as an npz archive of arrays ({error})") from error
    if data.shape != SHAPE or data.dtype.kind != "f":
        raise DataError(f"'data' is {data.dtype} of shape {data.shape}, expected floating point of shape {SHAPE}")
    return np.asarray(data[0, : len(CHANNELS)])


def _eight_bits(planes: np.ndarray) -> np.ndarray:
    """Values in [0, 1] -> uint8 by `QUANTISATION`."""
    problems = []
    for name, plane in zip(CHANNELS, planes, strict=True):
        low, high = plane.min(), plane.max()
        if not (low >= 0 and high <= 1):  # not a number: neither holds
            problems.append(f"{name} has values from {low:g} to {high:g}")
    if problems:
        raise DataError(f"{', '.join(problems)}: expected 0 to 1")
    return np.ceil(255 * planes).astype(np.uint8)
