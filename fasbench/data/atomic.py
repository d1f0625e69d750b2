"""Folders that appear complete or not at all.

The folder is filled under a temporary name beside its final one, flushed to disk, and renamed. A process that is
killed leaves only the temporary folder; the next one to work in the same place removes it.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_HOST = re.sub(r"[^A-Za-z0-9.]", "", platform.node())


@contextmanager
def new_folder(path: Path, keep: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes `path` when the block ends without an exception.

    What stands at `path` by then is replaced, unless `keep(path)` is true: then the new folder is discarded. So of two
    processes that make the same folder, the second to finish keeps the first one's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_remains(path.parent)
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in (*temporary.iterdir(), temporary):
            _flush(file)
        _install(temporary, path, keep)
        _flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _install(temporary: Path, path: Path, keep: Callable[[Path], bool]) -> None:
    for _ in range(10):  # others may install the same folder at the same time
        try:
            os.replace(temporary, path)  # fails when something stands there
            return
        except OSError:
            if not path.exists():
                raise
        if keep(path):
            return
        aside = _temporary(path)
        os.replace(path, aside)
        shutil.rmtree(aside, ignore_errors=True)
    raise FileExistsError(f"{path} is written again and again by other processes")


def _remove_remains(parent: Path) -> None:
    """Remove the temporary folders of this machine's dead processes; those of other machines cannot be judged."""
    for folder in parent.glob(".*.tmp"):
        found = re.fullmatch(rf"\..+\.{re.escape(_HOST)}-(\d+)-[0-9a-f]{{8}}\.tmp", folder.name)
        if found and not _alive(int(found[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    if os.name != "posix":
        return True  # on Windows, signal 0 would interrupt the process; leave its folder alone
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # alive, and somebody else's
    return True


def _flush(path: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
