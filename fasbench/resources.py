"""Where bundled files lie, where prepared data lie, and how files are written: atomically, named by their content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fasbench


def bundled(folder: str) -> Path:
    """The folder `baselines`, `protocols` or `leaderboards`, in a checkout as in a wheel."""
    for root in fasbench.__path__:
        if (path := Path(root) / folder).is_dir():
            return path
    raise FileNotFoundError(f"fasbench is installed without its '{folder}' folder; reinstall it")


def data_root() -> Path:
    """Prepared stores: $FASBENCH_DATA, else the user's cache."""
    if root := os.environ.get("FASBENCH_DATA"):
        return Path(root).expanduser()
    return _cache() / "data"


def lists_root() -> Path:
    """Official lists of licensed data sets: $FASBENCH_LISTS, else the user's cache."""
    if root := os.environ.get("FASBENCH_LISTS"):
        return Path(root).expanduser()
    return _cache() / "lists"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fasbench"


def canonical_json(value: Any) -> str:
    """The one spelling of a JSON value that is hashed: sorted keys, no blanks, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(*parts: str | bytes) -> str:
    """Hash of the parts, separated by NUL so that ('ab', 'c') and ('a', 'bc') differ."""
    digest = hashlib.sha256()
    for position, part in enumerate(parts):
        digest.update(b"\0" if position else b"")
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_files(paths: Iterable[Path], root: Path) -> str:
    """Hash of several files' relative names and contents, independent of the order given."""
    lines = sorted(f"{path.relative_to(root).as_posix()} {sha256_file(path)}" for path in paths)
    return sha256("\n".join(lines))


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write so that a reader (or a kill at any moment) sees the old file or the whole new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json_lines(path: Path, value: dict[str, Any]) -> None:
    """One line for each key of the object: half the size of indented JSON where values are nested deeply."""
    lines = [f"{json.dumps(key)}: {canonical_json(value[key])}" for key in sorted(value)]
    write_atomic(path, "{\n" + ",\n".join(lines) + "\n}\n")


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")
