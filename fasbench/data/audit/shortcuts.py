"""Metadata that tell the label: a method that picks up what they stand for need not look at the face."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fasbench.data.audit.report import Finding, first
from fasbench.data.audit.table import Table
from fasbench.data.record import ATTACK, LIVE

# Fields, and what their values stand for in the images. Subjects and attack classes are none: the first do not recur
# in another split, the second are the label.
FIELDS = {
    "session": "the place and the light of the recording",
    "race": "the ethnicity of the subject",
    "device": "the recording pipeline",
    "frames_in_video": "how the frames were chosen",
    "modalities": "which sensors delivered an image",
    "presented_by": "who holds or wears it (bona fide is always presented by the person shown)",
}
COVERAGE = 0.05  # of a split's rows: a value rarer than that decides little
CHANCE = 1e-3  # how likely so many videos of one label may be by chance
GAIN = 0.05  # accuracy above the majority's from which a field tells the label
FEW = 10  # videos below which a value says nothing about its label: such values count as one


class Association(NamedTuple):
    """How much a field tells about the label in one split."""

    only: dict[str, int]  # value -> the one label it occurs with
    rows: int  # with one of these values
    majority: float  # accuracy of always saying the commoner label
    accuracy: float  # of the commoner label at each value
    information: float  # share of the label's entropy the field explains, 0 to 1

    @property
    def telling(self) -> bool:
        return bool(self.only) or self.accuracy >= self.majority + GAIN


def associate(part: Table, field: str) -> Association | None:
    """The association of a field with the label in one split; None where it cannot differ or there is one label."""
    said = part.select(part[field] != "")
    if len(set(said[field])) < 2 or len(set(said["label"])) < 2:
        return None
    values, labels = said[field], said["label"]
    videos = Counter(value for value, _ in set(zip(values, said["recording"], strict=True)))
    only = {
        value: int(labels[values == value][0])
        for value in sorted(videos)
        if _one_label(said, values == value, videos[value], len(part))
    }
    pooled = np.array([value if videos[value] >= FEW else "" for value in values], object)
    counts = np.array([[np.sum(labels[pooled == value] == label) for label in (ATTACK, LIVE)] for value in set(pooled)])
    return Association(
        only=only,
        rows=int(np.isin(values, list(only)).sum()),
        majority=counts.sum(axis=0).max() / len(said),
        accuracy=counts.max(axis=1).sum() / len(said),
        information=_information(counts),
    )


def _one_label(said: Table, chosen: np.ndarray, videos: int, rows: int) -> bool:
    """Whether a value occurs with one label only, in enough rows and videos for that to be no chance."""
    labels = said["label"]
    if chosen.sum() < COVERAGE * rows or len(set(labels[chosen])) > 1:
        return False
    return float(np.mean(labels == labels[chosen][0])) ** videos < CHANCE


def _information(counts: np.ndarray) -> float:
    """Mutual information of value and label / entropy of the label, from (values, labels) counts."""

    def entropy(weights: np.ndarray) -> float:
        shares = weights[weights > 0] / weights.sum()
        return float(-(shares * np.log(shares)).sum())

    given = sum(row.sum() / counts.sum() * entropy(row) for row in counts)
    return 1 - given / entropy(counts.sum(axis=0))


def shortcuts(table: Table) -> Iterator[Finding]:
    """Fields that tell the label in some split of a data set, one finding a field."""
    for field, meaning in FIELDS.items():
        found = {split: associate(part, field) for split, part in table.each_split()}
        telling = {split: one for split, one in found.items() if one is not None and one.telling}
        if telling:
            yield _finding(table, field, meaning, telling)


def _finding(table: Table, field: str, meaning: str, telling: dict[str, Association]) -> Finding:
    values = sorted({value for one in telling.values() for value in one.only})
    chosen = np.isin(table["split"], list(telling)) & (np.isin(table[field], values) | (not values))
    by_split = "; ".join(f"{split}: {_described(one)}" for split, one in telling.items())
    definition = field == "presented_by"  # no defect of the data, but worth knowing where presenters recur
    return Finding(
        id=f"shortcut/{table.name}/{field}" + (f"={','.join(values)}" if values else ""),
        severity="info" if definition else "shortcut",
        dataset=table.name,
        parts=tuple(table.part(split) for split in telling),
        count=int(chosen.sum()),
        counted="rows",
        examples=first(table["row"][chosen]),
        explanation=f"{field.replace('_', ' ')}, that is {meaning}, tells the label. {by_split}.",
    )


def _described(one: Association) -> str:
    only = ", ".join(_words(value, label) for value, label in one.only.items()) or "no value has one label only"
    return (
        f"{only}, the field alone is right for {one.accuracy:.1%} of the rows (majority {one.majority:.1%}) and "
        f"explains {one.information:.0%} of the label's entropy"
    )


def _words(value: str, label: int) -> str:
    return f"'{value}' occurs with {'bona fide' if label == LIVE else 'attacks'} only"
