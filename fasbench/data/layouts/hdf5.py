"""HDF5 containers of many frames, read strictly: the shape and type that are documented, or an error."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fasbench.data.layouts.base import MissingFiles
from fasbench.data.layouts.search import nearest
from fasbench.errors import DataError

if TYPE_CHECKING:
    import h5py

_UNREADABLE = (OSError, KeyError, RuntimeError, TypeError, ValueError)  # what h5py raises for damaged files
_FRAME = re.compile(r"Frame_(0|[1-9]\d*)")


class Frames:
    """Frames of files with keys `Frame_<i>`, each with a data set `array`, as the libraries of Idiap write them.

    The file read last stays open, because the rows of a video follow each other. It is not pickled, and a forked
    process opens its own.
    """

    def __init__(self) -> None:
        self._last: tuple[tuple[int, Path], h5py.File] | None = None  # its process and path

    def read(self, path: Path, frame: int, channels: tuple[str, ...], size: int) -> np.ndarray:
        """The array of one frame, uint8 (channels, size, size).

        Raises:
            MissingFiles: there is no such frame; names those near it.
            DataError: the file cannot be read or holds something else.
        """
        import h5py  # here, because it takes as long to import as a short command to run

        key = f"Frame_{frame}"
        try:
            container = self._open(path)
            if key not in container:
                names = {int(found[1]): name for name in container if (found := _FRAME.fullmatch(name))}
                raise MissingFiles(f"no {key}. {nearest(frame, names)}")
            array = container.get(f"{key}/array")
            if not isinstance(array, h5py.Dataset):
                raise DataError(f"{key} has no data set 'array'")
            expected = (len(channels), size, size)
            if array.shape != expected or array.dtype != np.uint8:
                raise DataError(
                    f"{key} is {array.dtype} of shape {array.shape}, expected uint8 of shape {expected}: "
                    f"{', '.join(channels)}"
                )
            return np.asarray(array[()])
        except _UNREADABLE as error:
            raise DataError(f"cannot be read as HDF5 ({error})") from error

    def _open(self, path: Path) -> h5py.File:
        import h5py

        wanted = (os.getpid(), path)
        if self._last is not None:
            held, container = self._last
            if held == wanted:
                return container
            self._last = None
            container.close()
        container = h5py.File(path, "r", locking=False)  # data sets often lie on disks that refuse locks
        self._last = wanted, container
        return container

    def __getstate__(self) -> dict[str, Any]:
        return {"_last": None}
