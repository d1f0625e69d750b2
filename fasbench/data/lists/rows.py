"""The rows of a protocol's parts: its lists, checked by their hashes, without what the protocol drops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from fasbench.data.choice import Rule, chosen
from fasbench.data.keys import key_lines, rows_sha256
from fasbench.data.lists.folder import check_lists, find_list, ground_truth_of, needed_lists
from fasbench.data.lists.reading import ListRow, read_list
from fasbench.data.lists.videos import read_video_lists
from fasbench.data.record import ATTACK, LIVE
from fasbench.data.spec import Drop, PartCounts, VideoCounts
from fasbench.errors import DataError, problem_list
from fasbench.protocol import Part, Protocol, Role


def protocol_rows(protocol: Protocol, names: Iterable[str], folder: Path) -> dict[Part, list[ListRow]]:
    """The rows of every listed part of the named data sets, in the order of their lists; of video lists one a video.

    Args:
        names: data sets of the protocol; those without lists are passed over.
        folder: the lists, and PADISI-Face's ground truth if the user has it; `resources.lists_root()`.

    Raises:
        DataError: lists that are missing, differ or are malformed, or rows to drop that are not there; all of them.
    """
    specs = {name: protocol.datasets[name] for name in names if protocol.datasets[name].list_files}
    check_lists(folder, needed_lists([protocol.model_copy(update={"datasets": specs})]))
    found: dict[Part, list[ListRow]] = {}
    problems = []
    for name, spec in specs.items():
        ground_truth = ground_truth_of(name, spec, folder)
        for split, files in spec.list_files.items():
            paths = [find_list(folder, file.file) for file in files]
            try:
                if spec.videos:
                    found[Part(name, split)] = read_video_lists(paths, name, split)
                else:
                    rows = read_list(paths[0], name, split, ground_truth)
                    found[Part(name, split)] = drop_rows(rows, spec.drop, split)
            except DataError as error:
                problems.append(str(error))
    if problems:
        raise DataError(problem_list(f"{protocol}: its lists cannot be used", problems))
    return found


def drop_rows(rows: list[ListRow], drop: Drop, split: str) -> list[ListRow]:
    """`rows` of one list without those a protocol drops; a row named there goes with its repetitions.

    Raises:
        DataError: a row to drop is not in the list.
    """
    named = set(drop.rows.get(split, ()))  # type: ignore[call-overload]
    if missing := sorted(named - {row.id for row in rows}):
        raise DataError(f"drop.rows.{split} names {', '.join(missing)}: not in the list")
    kept = [row for row in rows if row.id.split("#")[0] not in named]
    return [row for row in kept if not (drop.duplicates and "#" in row.id)]


def count_rows(rows: list[ListRow]) -> PartCounts | VideoCounts:
    """What `rows` hold, in videos where a row stands for one. Counts that need what the list does not say are None."""

    def distinct(values: Iterable[str | None]) -> int | None:
        different = set(values)
        return None if None in different else len(different)

    by_video = any(row.is_video for row in rows)
    counted = list({row.video: row for row in rows}.values()) if by_video else rows
    attacks = Counter(row.attack for row in counted if row.label == ATTACK)
    counts = {
        "live": sum(row.label == LIVE for row in counted),
        "attack": sum(row.label == ATTACK for row in counted),
        "videos": distinct(row.video for row in rows),
        "subjects": distinct(row.subject for row in rows),
        "units": distinct(row.unit for row in rows),
        "attacks": None if None in attacks else {name: attacks[name] for name in sorted(map(str, attacks))},
    }
    return VideoCounts.model_validate(counts) if by_video else PartCounts.model_validate({"rows": len(rows), **counts})


def split_sha256(protocol: Protocol, split: str, rows: dict[Part, list[ListRow]]) -> Iterator[tuple[str, str]]:
    """(`validation` or `test`, hash over its rows) of a split all of whose scored parts are in `rows`, as frames."""
    scored_roles: tuple[Role, ...] = ("validation", "test")
    for role in scored_roles:
        parts = protocol.splits[split].parts(role)
        if all(part in rows for part in parts):
            scored = choose_rows([row for part in parts for row in rows[part]], protocol.splits[split].rules(role))
            if scored is not None and not any(row.is_video for row in scored):
                lines = key_lines(str(protocol), role, (row.id for row in scored), (row.label for row in scored))
                yield role, rows_sha256(lines)


def choose_rows(rows: list[ListRow], rules: Sequence[Rule]) -> list[ListRow] | None:
    """The rows that a split's rules keep; None if they go by attacks that the lists at hand do not say."""
    named = {rule.column for rule in rules} & {"attack", "attack_fine"}
    if any(getattr(row, column) is None for row in rows for column in named):
        return None
    kept = chosen(rules, lambda name: np.array([getattr(row, name) or "" for row in rows]), len(rows))
    return [row for row, wanted in zip(rows, kept, strict=True) if wanted]
