"""Where a user's copy of the official lists lies: checking it, copying it in, downloading it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

from fasbench.data.lists.reading import GROUND_TRUTH_COLUMNS, Trial, read_ground_truth
from fasbench.data.spec import DatasetSpec, ListFile, ListsSource
from fasbench.errors import DataError, problem_list
from fasbench.protocol import Protocol
from fasbench.resources import sha256, sha256_file, write_atomic

_GROUND_TRUTH = "padisi/padisi_USC_FACE_ground_truth"  # any ending: PADISI's own file, or the three columns we keep
_LIMIT = 50_000_000  # bytes; the largest list has 3 MB
_TIMEOUT = 30  # seconds


class Needed(NamedTuple):
    """A list that some protocol names."""

    list: ListFile
    source: ListsSource | None

    @property
    def remedy(self) -> str:
        """What to do when the list is missing or another."""
        return f"get it by 'fasbench data lists' ({self.source})" if self.source else "get it from its authors"


def needed_lists(protocols: Iterable[Protocol]) -> list[Needed]:
    """Every list the protocols name, each once, in the order of their names."""
    found = {
        Needed(file, protocol.lists_source)
        for protocol in protocols
        for spec in protocol.datasets.values()
        for files in spec.list_files.values()
        for file in files
    }
    return sorted(found, key=lambda needed: needed.list.file)


def bundled_lists() -> list[Needed]:
    """Every list the bundled protocols name."""
    from fasbench.protocol import load_protocol
    from fasbench.registry import protocols

    return needed_lists(load_protocol(path) for path in protocols().values())


def find_list(folder: Path, file: str) -> Path:
    """A list in a folder that has the authors' layout, or holds the files without it, itself or one level below.

    The first of these places if the list is in none.
    """
    name = Path(file).name
    places = [folder / file, folder / name, *sorted(folder.glob(f"*/{name}"))]
    return next((place for place in places if place.is_file()), places[0])


def lists_at(folder: Path, lists: list[Needed]) -> list[Needed]:
    """The lists of every repository of which the folder has one at least; all lists if it has none of any."""
    there = {needed.source for needed in lists if find_list(folder, needed.list.file).is_file()}
    return [needed for needed in lists if not there or needed.source in there]


def list_problems(folder: Path, lists: Iterable[Needed]) -> list[str]:
    """What is missing in a folder, or is not what the protocols were made with."""
    problems = []
    missing: dict[str, list[str]] = {}  # by remedy
    for needed in lists:
        path, expected = find_list(folder, needed.list.file), needed.list.sha256
        if not path.is_file():
            missing.setdefault(needed.remedy, []).append(needed.list.file)
        elif (found := sha256_file(path)) != expected:
            problems.append(f"{path}: list differs: expected sha256 {expected}, found {found}, {needed.remedy}")
    problems += [f"{folder}: no {', '.join(files)}: {remedy}" for remedy, files in missing.items()]
    return problems


def check_lists(folder: Path, lists: list[Needed]) -> None:
    """Raise a DataError with every list that is missing or differs."""
    if problems := list_problems(folder, lists):
        raise DataError(problem_list(f"{folder}: not the {len(lists)} lists of the protocols", problems))


def copy_lists(source: Path, target: Path, lists: list[Needed]) -> int:
    """Copy a user's lists, all or none; returns how many were not there yet.

    Raises:
        DataError: every list that is missing or differs; nothing is copied then.
    """
    if not source.is_dir():
        raise DataError(f"{source}: no such folder. Give a checkout of the lists' repository")
    check_lists(source, lists)
    missing = [needed for needed in lists if list_problems(target, [needed])]
    for needed in missing:
        write_atomic(target / needed.list.file, find_list(source, needed.list.file).read_bytes())
    return len(missing)


def download_lists(target: Path, lists: list[Needed]) -> int:
    """Download the lists that are not there yet from their public repository; returns how many those were.

    Raises:
        DataError: every list that could not be downloaded or differs. Sound ones are kept.
    """
    missing = [needed for needed in lists if list_problems(target, [needed])]
    problems = []
    for needed in missing:
        if needed.source is None:
            problems.append(f"{needed.list.file}: no lists_source in the protocol, {needed.remedy}")
            continue
        url = needed.source.url(needed.list.file)
        try:
            content = _fetch(url)
        except HTTPError as error:
            problems.append(f"{url}: {error.code} {error.reason}")
            continue
        except (OSError, HTTPException) as error:  # no network: the other lists would only wait for their timeouts
            raise DataError(
                f"{url} cannot be downloaded: {getattr(error, 'reason', error)}. Try again with a network, or clone "
                f"{needed.source} on another machine and run: fasbench data lists --from PATH"
            ) from None
        if (found := sha256(content)) == needed.list.sha256:
            write_atomic(target / needed.list.file, content)
        else:
            problems.append(f"{url}: list differs: expected sha256 {needed.list.sha256}, found {found}")
    if problems:
        title = (
            f"{len(problems)} of {len(missing)} lists could not be downloaded, the others are in {target}; give your "
            "own copy by --from PATH"
        )
        raise DataError(problem_list(title, problems))
    return len(missing)


def _fetch(url: str) -> bytes:
    with urlopen(url, timeout=_TIMEOUT) as response:
        content: bytes = response.read(_LIMIT)
    return content


def find_ground_truth(folder: Path) -> Path | None:
    """PADISI-Face's ground truth beside the lists, if the user has put it there."""
    prefix = folder / _GROUND_TRUTH
    return next(iter(sorted(prefix.parent.glob(f"{prefix.name}*.csv"))), None)


def copy_ground_truth(csv_path: Path, target: Path) -> int:
    """Copy what the protocols need of PADISI-Face's ground truth; returns the number of samples.

    Only trial, attack code and participant are copied: age, gender and ethnicity stay where they are.
    """
    trials = read_ground_truth(csv_path)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(GROUND_TRUTH_COLUMNS)
    writer.writerows([trial, *truth] for trial, truth in trials.items())
    write_atomic(target / f"{_GROUND_TRUTH}.csv", text.getvalue())
    return len(trials)


def ground_truth_of(name: str, spec: DatasetSpec, folder: Path) -> dict[str, Trial] | None:
    """The ground truth for a data set that needs one and whose user has it."""
    path = find_ground_truth(folder) if name == "padisi" and spec.list_files else None
    return read_ground_truth(path) if path else None
