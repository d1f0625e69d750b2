"""The rows of a split, by role, checked against what the protocol says about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from fasbench.data.keys import key_lines, rows_sha256
from fasbench.data.loading import Rows, part_rows
from fasbench.data.record import ATTACK, LIVE, MODALITIES
from fasbench.data.spec import Counts, PartCounts, VideoCounts
from fasbench.errors import DataError, problem_list
from fasbench.protocol import LEAKS, ROLES, Part, Protocol, Role

if TYPE_CHECKING:
    from fasbench.data.store import Store


@dataclass(frozen=True)
class SplitRows:
    """The rows of a split; `sources` are the data sets trained on, sorted.

    `incomplete`: it takes rows that were skipped when their data set was prepared, so results on it are partial.
    """

    train: Rows
    validation: Rows
    test: Rows
    sources: tuple[str, ...]
    incomplete: bool

    def parts(self) -> tuple[Rows, Rows, Rows]:
        return self.train, self.validation, self.test


def skipped_rows(protocol: Protocol, split: str, role: Role, stores: dict[str, Store]) -> dict[str, int]:
    """How many rows that a split takes were left out when its data sets were prepared; data sets without any are not
    named."""
    spec = protocol.splits[split]
    counts: Counter[str] = Counter()
    for part in spec.parts(role):
        store, drop = stores[part.dataset], protocol.datasets[part.dataset].drop
        counts[part.dataset] += len(part_rows(store.skipped, part.split, drop, spec.rules(role)))
    return +counts


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
    parts = {role: split.parts(role) for role in ROLES}
    problems: list[str] = []
    for part in sorted({part for role in parts.values() for part in role}):
        problems += _count_problems(protocol, part, stores[part.dataset])
    rows = {
        role: Rows(
            parts[role],
            stores,
            limit_videos,
            rules=split.rules(role),
            drops={name: spec.drop for name, spec in protocol.datasets.items()},
        )
        for role in ROLES
    }
    problems += _choice_problems(protocol, name, stores)
    for role in ("train", "validation"):
        for label in sorted({0, 1} - set(rows[role]["label"].tolist())):
            problems.append(f"{role} has no {'bona fide' if label else 'attack'} rows: both classes are needed")
    whole = {role: not skipped_rows(protocol, name, role, stores) for role in ROLES}
    if limit_videos is None:
        problems += _row_problems(protocol, name, {role: found for role, found in rows.items() if whole[role]})
    problems += _leaks(protocol, rows)
    for condition in conditions:
        problems += _nothing_left(protocol, condition, rows)
    if problems:
        file = f" ({protocol.path})" if protocol.path.name else ""
        raise DataError(problem_list(f"{protocol}/{name}{file}: {len(problems)} problem(s)", problems))
    return SplitRows(rows["train"], rows["validation"], rows["test"], split.sources, not all(whole.values()))


def _choice_problems(protocol: Protocol, name: str, stores: dict[str, Store]) -> Iterator[str]:
    """Values that the split chooses rows by and that no row has: a slip in the protocol, or other data."""
    split = protocol.splits[name]
    for role in ROLES:
        lacking = skipped_rows(protocol, name, role, stores)
        skipped = [f"{count:,} rows of {dataset} were skipped" for dataset, count in lacking.items()]
        why = f" ({', '.join(skipped)} when it was prepared)" if skipped else ""
        for rule in split.rules(role):
            columns = [stores[part.dataset].column(rule.column)[_of(stores, part)] for part in split.parts(role)]
            found = sorted(set(np.concatenate(columns).tolist()))
            for value in rule.values if rule.keep else ():
                if value in found:
                    continue
                if value in split.unseen:
                    yield f"{role} has no rows of the unseen attack '{value}'{why}"
                else:
                    known = ", ".join(map(repr, found))
                    yield f"keep: {role} has no rows with {rule.column} '{value}'{why}. Found: {known}"


def _of(stores: dict[str, Store], part: Part) -> np.ndarray:
    return np.flatnonzero(stores[part.dataset].column("split") == part.split)


def part_counts(store: Store, rows: np.ndarray, by_video: bool = False) -> Counts:
    """What `rows` of a store hold, in rows or in videos."""
    distinct = {f"{column}s": len(set(store.column(column)[rows])) for column in ("video", "subject", "unit")}
    if by_video:
        rows = rows[np.unique(store.column("video")[rows].astype(str), return_index=True)[1]]
    labels, attacks = store.column("label")[rows], store.column("attack")[rows]
    counts = {
        "live": int((labels == LIVE).sum()),
        "attack": int((labels == ATTACK).sum()),
        "attacks": dict(Counter(attacks[labels == ATTACK].tolist())),
        **distinct,
    }
    return VideoCounts.model_validate(counts) if by_video else PartCounts.model_validate({"rows": len(rows), **counts})


def _count_problems(protocol: Protocol, part: Part, store: Store) -> Iterator[str]:
    spec = protocol.datasets[part.dataset]
    here = part_rows(store.column, part.split, spec.drop)
    if not len(here):
        yield f"{part.dataset} has no rows in '{part.split}'"
    expected = spec.expected(part.split)
    if expected is None or store.manifest["skipped"]["rows"]:
        return
    for difference in expected.differences(part_counts(store, here, by_video=spec.videos is not None)):
        yield f"{part.dataset}/{part.split}: {difference}"


def _row_problems(protocol: Protocol, name: str, rows: dict[Role, Rows]) -> Iterator[str]:
    """Parts whose ids and labels are not those the protocol names by their hash."""
    for role, chosen in rows.items():
        expected = protocol.splits[name].rows_sha256.get(role)  # type: ignore[arg-type]
        lines = key_lines(str(protocol), role, chosen["id"].tolist(), chosen["label"].tolist()) if expected else []
        if expected and rows_sha256(lines) != expected:
            yield f"{role}: rows_sha256 expected {expected}, found {rows_sha256(lines)}: other rows or labels"


def _leaks(protocol: Protocol, rows: dict[Role, Rows]) -> Iterator[str]:
    """Subjects, videos or rows that stand in two roles, but for those that a known issue names."""
    for first, second in combinations(ROLES, 2):
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


def _nothing_left(protocol: Protocol, condition: str, rows: dict[Role, Rows]) -> Iterator[str]:
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
