"""What stands in two splits of a data set, and what stands in one of them twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations, permutations

import numpy as np

from fasbench.data.audit.report import Finding, first
from fasbench.data.audit.table import Table
from fasbench.data.record import LIVE
from fasbench.protocol import LEAKS

_COLUMN = {"subject": "subject", "video": "video", "id": "row"}
_PLURAL = {"subject": "subjects", "video": "videos", "id": "frames"}


def leaks(table: Table) -> Iterator[Finding]:
    """Everything that two splits of one data set share."""
    parts = dict(table.each_split())
    for one, other in combinations(parts, 2):
        yield from _overlaps(parts[one], parts[other], (one, other))
        yield from _shared_presenters(parts[one], parts[other], (one, other))
    for one, other in permutations(parts, 2):
        yield from _presenters_shown(parts[one], parts[other], (one, other))


def _overlaps(one: Table, other: Table, splits: tuple[str, str]) -> Iterator[Finding]:
    for kind in LEAKS:
        shared = _values(one, _COLUMN[kind]) & _values(other, _COLUMN[kind])
        if shared:
            yield _leak(
                f"overlap-{kind}",
                one,
                splits,
                shared,
                _PLURAL[kind],
                f"{len(shared)} {_PLURAL[kind]} in both {splits[0]} and {splits[1]}: what is learnt or chosen on "
                "one is tested on the other.",
            )


def _shared_presenters(one: Table, other: Table, splits: tuple[str, str]) -> Iterator[Finding]:
    """People who wear or hold attacks in both splits, though the identities shown may differ."""
    shared = (_presenters(one) & _presenters(other)) - _shared_subjects(one, other)
    if shared:
        presented = other.select(other["label"] != LIVE)
        by_person = presented.select(presented["presenter"] != "")
        known = _values(by_person.select(np.isin(by_person["presenter"], sorted(shared))), "video")
        yield _leak(
            "presenter-overlap",
            one,
            splits,
            shared,
            "people",
            f"{len(shared)} people present attacks in both {splits[0]} and {splits[1]}: {len(known)} of the "
            f"{len(_values(by_person, 'video'))} {splits[1]} attack videos with a person are presented by one of them.",
        )


def _presenters_shown(one: Table, other: Table, splits: tuple[str, str]) -> Iterator[Finding]:
    """People who present attacks in one split and are the bona fide subject in the other."""
    everyone = _values(other.select(other["label"] == LIVE), "subject")
    shared = (_presenters(one) & everyone) - _shared_subjects(one, other)
    if shared:
        yield _leak(
            "presenter-is-subject",
            one,
            splits,
            shared,
            "people",
            f"{len(shared)} of the {len(everyone)} bona fide persons of {splits[1]} present attacks in {splits[0]}: "
            f"hair, body and clothes are of a person seen with the other label.",
        )


def _leak(
    kind: str, table: Table, splits: tuple[str, str], shared: set[str], counted: str, explanation: str
) -> Finding:
    return Finding(
        id=f"{kind}/{table.name}/{splits[0]}+{splits[1]}",
        severity="leak",
        dataset=table.name,
        parts=tuple(table.part(split) for split in splits),
        count=len(shared),
        counted=counted,
        examples=first(shared),
        explanation=explanation,
        shared=tuple(sorted(shared)),
    )


def _shared_subjects(one: Table, other: Table) -> set[str]:
    """People shown in both splits: `_overlaps` reports them, whatever else they do."""
    return _values(one, "subject") & _values(other, "subject")


def _presenters(table: Table) -> set[str]:
    return _values(table.select(table["label"] != LIVE), "presenter")


def _values(table: Table, column: str) -> set[str]:
    """The values a data set states; "" is none."""
    return set(table[column]) - {""}


def repeated_rows(table: Table) -> Iterator[Finding]:
    """Rows listed several times in one split."""
    for split, part in table.each_split():
        times = Counter(part["row"])
        repeated = {row: number for row, number in times.items() if number > 1}
        if repeated:
            surplus = sum(repeated.values()) - len(repeated)
            live = len(
                {row for row, label in zip(part["row"], part["label"], strict=True) if label == LIVE} & {*repeated}
            )
            yield Finding(
                id=f"repeated-rows/{table.name}/{split}",
                severity="duplicate",
                dataset=table.name,
                parts=(table.part(split),),
                count=surplus,
                counted="surplus rows",
                examples=first(repeated),
                explanation=f"{len(repeated)} frames ({live} bona fide) are listed up to {max(repeated.values())} "
                f"times: {surplus} rows too many, each weighs as much as an own frame.",
            )


def same_pixels(tables: Sequence[Table]) -> Iterator[Finding]:
    """Different frames whose images are the same in every modality, within and across data sets."""
    groups: dict[str, dict[str, tuple[str, int]]] = {}  # hash -> row -> (part, label)
    for table in tables:
        if "pixels_sha256" in table.columns:
            names = (table.part(split) for split in table["split"])
            for digest, row, part, label in zip(
                table["pixels_sha256"], table["row"], names, table["label"].tolist(), strict=True
            ):
                groups.setdefault(digest, {})[row] = (part, label)
    yield from same_images([group for group in groups.values() if len(group) > 1], "same-pixels", "every modality")


def same_images(groups: Sequence[dict[str, tuple[str, int]]], kind: str, what: str) -> Iterator[Finding]:
    """Findings of groups of different rows, each row with its part and label, that show the same image.

    One finding for each combination of parts: several parts make it a leak.
    """
    by_parts: dict[tuple[str, ...], list[dict[str, tuple[str, int]]]] = {}
    for group in groups:
        by_parts.setdefault(tuple(sorted({part for part, _ in group.values()})), []).append(group)
    for parts, found in sorted(by_parts.items()):
        rows = [row for group in found for row in group]
        both = sum(len({label for _, label in group.values()}) > 1 for group in found)
        datasets = "+".join(sorted({part.rpartition("/")[0] for part in parts}))
        contradiction = f" {both} of the images have both labels." if both else ""
        yield Finding(
            id=f"{kind}/{datasets}/{'+'.join(part.rpartition('/')[2] for part in parts)}",
            severity="leak" if len(parts) > 1 else "duplicate",
            dataset=datasets,
            parts=parts,
            count=len(rows),
            counted="rows",
            examples=first(rows),
            explanation=f"{len(rows)} rows of different frames show only {len(found)} different images in {what}."
            + contradiction,
        )
