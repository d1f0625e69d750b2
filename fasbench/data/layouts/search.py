"""What layouts share: looking for folders, and saying what is missing so that a user sees why."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from fasbench.data.layouts.base import MissingFiles
from fasbench.errors import DataError


def folders(root: Path, depth: int, enter: Callable[[Path], bool] = lambda folder: True) -> Iterator[Path]:
    """`root` and the folders down to `depth` levels below it, nearest first; links are followed.

    Args:
        enter: whether to look into a folder (it is listed either way).
    """
    level = [root] if root.is_dir() else []
    while level:
        yield from level
        depth -= 1
        level = [] if depth < 0 else [below for folder in level if enter(folder) for below in _subfolders(folder)]


def file_names(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where a user may not look (`lost+found` at the top of a disk)."""
    try:
        return sorted(os.listdir(folder))
    except PermissionError:
        return []


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except PermissionError:
        return []


BROKEN_LINK = "is a broken link: the file it leads to is not there"


def is_broken_link(path: Path) -> bool:
    """Whether a link lies there that leads to nothing: `ls` lists it, and yet there is no file."""
    return path.is_symlink() and not path.exists()


def nearest(frame: int, names: Mapping[int, str]) -> str:
    """The frames around one that is not there, so that a shifted numbering is seen.

    >>> nearest(12, {number: f"{number:04d}.jpg" for number in (3, 10, 11, 14)})
    'Nearest of the 4 that are there: 0010.jpg, 0011.jpg, 0014.jpg'
    """
    if not names:
        return "There is no frame at all"
    before = sorted(number for number in names if number < frame)[-2:]
    after = sorted(number for number in names if number >= frame)[:2]
    return f"Nearest of the {len(names)} that are there: {', '.join(names[number] for number in before + after)}"


def raise_together(problems: list[DataError]) -> None:
    """All problems of a row as one error: MissingFiles only if nothing else is wrong, because such rows may be skipped.

    Raises:
        MissingFiles, DataError: there are problems.
    """
    if problems:
        missing = all(isinstance(problem, MissingFiles) for problem in problems)
        raise (MissingFiles if missing else DataError)("; ".join(map(str, problems)))
