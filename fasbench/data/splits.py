"""The rows of a split, by role, checked against what the protocol says about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fasbench.data.keys import key_lines, rows_sha256
from fasbench.data.loading import Rows
from fasbench.data.record import ATTACK, LIVE, MODALITIES
from fasbench.data.spec import PartCounts
from fasbench.errors import DataError, problem_list
from fasbench.protocol import LEAKS, Part, Protocol

if TYPE_CHECKING:
    from fasbench.data.store import Store


@dataclass(frozen=True)
class SplitRows:
    """The rows of a split; `sources` are the data sets trained on, sorted."""

    train: Rows
    validation: Rows
    test: Rows
    sources: tuple[str, ...]

    def parts(self) -> tuple[Rows, Rows, Rows]:
        return self.train, self.validation, self.test


def open_split(
    protocol: Protocol,
    name: str,
    conditions: Iterable[str],
    stores: dict[str, Store],
    limit_videos: int | None = None,
) -> SplitRows:
    """The rows of a split, checked.

    Counts and row hashes are those the protocol expects, train and validation hold both classes, no undeclared leak,
    and under every condition each row keeps at least one modality.

    Raises:
        DataError: all of that is wrong, in one list.
    """
    split = protocol.splits[name]
    parts = {role: split.parts(role) for role in ("train", "validation", "test")}
    problems: list[str] = []
    for part in sorted({part for role in parts.values() for part in role}):
        problems += _count_problems(protocol, part, stores[part.dataset])
    rows = {
        role: Rows(
            parts[role],
            stores,
            limit_videos,
            only=split.unseen if role == "test" else (),
            without=split.unseen if role != "test" else (),
        )
        for role in parts
    }
    for attack in split.unseen if limit_videos is None else ():
        if attack not in rows["test"]["attack"]:
            problems.append(f"test has no rows of the unseen attack '{attack}'")
    for role in ("train", "validation"):
        for label in sorted({0, 1} - set(rows[role]["label"].tolist())):
            problems.append(f"{role} has no {'bona fide' if label else 'attack'} rows: both classes are needed")
    if limit_videos is None:
        problems += _row_problems(protocol, name, rows)
    problems += _leaks(protocol, rows)
    for condition in conditions:
        problems += _nothing_left(protocol, condition, rows)
    if problems:
        file = f" ({protocol.path})" if protocol.path.name else ""
        raise DataError(problem_list(f"{protocol}/{name}{file}: {len(problems)} problem(s)", problems))
    return SplitRows(rows["train"], rows["validation"], rows["test"], split.sources)


def _count_problems(protocol: Protocol, part: Part, store: Store) -> Iterator[str]:
    here = store.column("split") == part.split
    if not here.any():
        yield f"{part.dataset} has no rows in '{part.split}'"
    expected = protocol.datasets[part.dataset].expect.get(part.split)  # type: ignore[call-overload]
    if expected is None:
        return
    labels, attacks = store.column("label")[here], store.column("attack")[here]
    found = PartCounts(
        rows=int(here.sum()),
        live=int((labels == LIVE).sum()),
        attack=int((labels == ATTACK).sum()),
        attacks=dict(Counter(attacks[labels == ATTACK].tolist())),
        **{f"{column}s": len(set(store.column(column)[here])) for column in ("video", "subject", "unit")},
    )
    for difference in expected.differences(found):
        yield f"{part.dataset}/{part.split}: {difference}"


def _row_problems(protocol: Protocol, name: str, rows: dict[str, Rows]) -> Iterator[str]:
    """Parts whose ids and labels are not those the protocol names by their hash."""
    for role, expected in protocol.splits[name].rows_sha256.items():
        lines = key_lines(str(protocol), role, rows[role]["id"].tolist(), rows[role]["label"].tolist())
        if rows_sha256(lines) != expected:
            yield f"{role}: rows_sha256 expected {expected}, found {rows_sha256(lines)}: other rows or labels"


def _leaks(protocol: Protocol, rows: dict[str, Rows]) -> Iterator[str]:
    """Subjects, videos or rows that stand in two roles, but for those that a known issue names."""
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        for key in LEAKS:
            permitted = {value for issue in protocol.known_issues for value in issue.permits.get(key, ())}  # type: ignore[call-overload]
            shared = sorted(_values(rows[first], key) & _values(rows[second], key) - permitted)
            if shared:
                yield (
                    f"leak: {len(shared)} {key}(s) in both {first} and {second}, e.g. '{shared[0]}'. Separate them, or "
                    f"document them under known_issues with 'permits: {{{key}: [{shared[0]}, ...]}}'"
                )


def _values(rows: Rows, key: str) -> set[str]:
    """Values of a column; a repeated list row (`id#2`) is the row it repeats."""
    return {value.split("#")[0] for value in rows[key]} if key == "id" else set(rows[key])


def _nothing_left(protocol: Protocol, condition: str, rows: dict[str, Rows]) -> Iterator[str]:
    """Rows whose every modality is missing, in the data or by the condition: any score of them would be made up."""
    rule = protocol.conditions[condition]
    absent = np.array([name in rule.absent for name in MODALITIES])
    for role in ("validation", "test"):
        if role == "validation" and rule.validation == "full":
            continue
        empty = ~(rows[role].present & ~absent).any(axis=1)
        if empty.any():
            example = rows[role]["id"][empty][0]
            yield f"{condition}: {int(empty.sum())} {role} row(s) have no modality left, e.g. '{example}'"
