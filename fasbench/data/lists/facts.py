"""What a protocol comes to: its splits, conditions and data sets, counted from the lists where they are at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from pydantic import Field

from fasbench.data.licensed import LICENSED
from fasbench.data.lists.folder import find_list, needed_lists
from fasbench.data.lists.reading import ListRow
from fasbench.data.lists.rows import choose_rows, count_rows, protocol_rows, split_sha256
from fasbench.data.record import SPLITS
from fasbench.data.spec import PartCounts, VideoCounts
from fasbench.protocol import LEAKS, ROLES, Condition, Headline, KnownIssue, Part, Protocol, Split
from fasbench.yamlfile import Strict


class PartFacts(Strict):
    """One part (`cefa/test`)."""

    part: str
    counted: bool = Field(description="True: counted from the list; False: what the protocol expects")
    counts: PartCounts | VideoCounts | None = Field(
        None, description="None: the protocol expects nothing; without `rows`: the lists name videos, which are counted"
    )
    duplicates: int | None = Field(None, description="surplus rows: a frame listed three times has two")


class Shared(Strict):
    """What stands in two splits of one data set."""

    dataset: str
    splits: tuple[str, str]
    kind: str = Field(description="subject, video or id")
    count: int
    known: int = Field(description="how many of them a known issue names")


class Facts(Strict):
    """Everything `fasbench show protocol` shows."""

    protocol: str
    title: str
    reference: str
    preset: str
    headline: Headline
    splits: dict[str, Split]
    conditions: dict[str, Condition]
    datasets: dict[str, str]
    parts: tuple[PartFacts, ...]
    chosen: tuple[PartFacts, ...] = Field(description="what a split takes that does not take all: `unseen`, `keep`")
    shared: tuple[Shared, ...]
    rows_sha256: dict[str, dict[str, str]] = Field(description="of the lists at hand, by split and part")
    known_issues: tuple[KnownIssue, ...]
    notes: tuple[str, ...] = Field(description="what is not at hand, and how to get it")
    problems: tuple[str, ...] = Field(description="where the lists contradict the protocol")


def describe(protocol: Protocol, pairs: Sequence[tuple[str, str]], folder: Path) -> Facts:
    """The facts of the chosen (split, condition) pairs.

    Args:
        folder: the lists, `resources.lists_root()`; where one is missing, the protocol's own counts are shown.

    Raises:
        DataError: a list is there but not the one the protocol names, or malformed.
    """
    splits = {name: protocol.splits[name] for name, _ in pairs}
    conditions = {name: protocol.conditions[name] for _, name in pairs}
    names = protocol.datasets_of(splits)
    missing = _missing(protocol, names, folder)
    rows = {} if missing else protocol_rows(protocol, names, folder)
    found = [(name, role, value) for name in splits for role, value in split_sha256(protocol, name, rows)]
    parts = [_part(protocol, Part(name, split), rows) for name in names for split in SPLITS]
    notes = (
        [
            f"The lists are not at hand ({len(missing)} missing: {', '.join(missing)}): the counts are those the "
            f"protocol expects. Get them by 'fasbench data lists'"
            + (f" ({protocol.lists_source})" if protocol.lists_source else "")
        ]
        if missing
        else []
    )
    if any(row.subject is None for part in rows.values() for row in part):
        notes.append(
            "PADISI-Face's participants and attack classes are not in its lists: give its ground truth by 'fasbench "
            "data lists --ground-truth padisi_USC_FACE_ground_truth.csv'"
        )
    return Facts(
        protocol=str(protocol),
        title=protocol.title,
        reference=protocol.reference,
        preset=protocol.preset,
        headline=protocol.headline,
        splits=splits,
        conditions=conditions,
        datasets={name: _kind(protocol, name) for name in names},
        parts=tuple(part for part in parts if part),
        chosen=tuple(_chosen(splits, rows)),
        shared=tuple(_shared(protocol, names, rows)),
        rows_sha256={name: {role: value for n, role, value in found if n == name} for name in splits},
        known_issues=protocol.known_issues,
        notes=tuple(notes),
        problems=tuple(_problems(protocol, rows, found)),
    )


def _missing(protocol: Protocol, names: list[str], folder: Path) -> list[str]:
    """Files of the protocol's lists that are not in the folder."""
    chosen = protocol.model_copy(update={"datasets": {name: protocol.datasets[name] for name in names}})
    files = [needed.list.file for needed in needed_lists([chosen])]
    return [file for file in files if not find_list(folder, file).is_file()]


def _kind(protocol: Protocol, name: str) -> str:
    spec = protocol.datasets[name]
    if spec.list_files:
        rule = f". Its lists name videos: {spec.videos.frames} frames of each are taken" if spec.videos else ""
        return f"{LICENSED[name].how_to_get()} ({LICENSED[name].reference}){rule}"
    return "embedded, rendered (synthetic)" if spec.synthetic else f"a folder of images with {spec.csv}"


def _part(protocol: Protocol, part: Part, rows: dict[Part, list[ListRow]]) -> PartFacts | None:
    """None: the protocol does not use the part and knows nothing about it."""
    name = f"{part.dataset}/{part.split}"
    if part in rows:
        duplicates = sum("#" in row.id for row in rows[part])
        return PartFacts(part=name, counted=True, counts=count_rows(rows[part]), duplicates=duplicates)
    counts = protocol.datasets[part.dataset].expected(part.split)
    return PartFacts.model_validate({"part": name, "counted": False, "counts": counts}) if counts else None


def _chosen(splits: dict[str, Split], rows: dict[Part, list[ListRow]]) -> Iterator[PartFacts]:
    """Rows that the roles of a split take, where its rules leave some out."""
    for name, split in splits.items():
        for role in ROLES:
            parts, rules = split.parts(role), split.rules(role)
            if not rules or not all(part in rows for part in parts):
                continue
            taken = choose_rows([row for part in parts for row in rows[part]], rules)
            if taken is not None:
                surplus = sum("#" in row.id for row in taken)
                yield PartFacts(part=f"{name} {role}", counted=True, counts=count_rows(taken), duplicates=surplus)


def _shared(protocol: Protocol, names: list[str], rows: dict[Part, list[ListRow]]) -> Iterator[Shared]:
    for name in names:
        for first, second in combinations(SPLITS, 2):
            for kind in LEAKS:
                one, other = (_values(rows.get(Part(name, split), []), kind) for split in (first, second))
                permitted = {value for issue in protocol.known_issues for value in issue.permits.get(kind, ())}  # type: ignore[call-overload]
                if both := one & other:
                    known = len(both & permitted)
                    yield Shared(dataset=name, splits=(first, second), kind=kind, count=len(both), known=known)


def _values(rows: list[ListRow], kind: str) -> set[str]:
    """Known values of a column; a repeated row (`id#2`) is the row it repeats."""
    values = {getattr(row, kind) for row in rows} - {None}
    return {value.split("#")[0] for value in values}


def _problems(protocol: Protocol, rows: dict[Part, list[ListRow]], found: list[tuple[str, str, str]]) -> Iterator[str]:
    for part, listed in rows.items():
        expected = protocol.datasets[part.dataset].expected(part.split)
        for difference in expected.differences(count_rows(listed)) if expected else ():
            yield f"{part.dataset}/{part.split}: {difference}"
    for split, role, value in found:
        stated = protocol.splits[split].rows_sha256.get(role)  # type: ignore[call-overload]
        if stated not in (None, value):
            yield f"{split}: rows_sha256.{role} expected {stated}, found {value}"
