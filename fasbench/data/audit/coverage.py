"""What one split has and another lacks, and what a data set's documentation promises but the rows do not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from fasbench.data.audit.report import Finding, first
from fasbench.data.audit.table import Table
from fasbench.data.record import SPLITS

USUAL = 0.95  # share from which what nearly all have counts as the rule

# Values of the data sets' own papers: Liu et al., WACV 2021 (CeFA); Zhang et al., CVPR 2019 (CASIA-SURF).
DOCUMENTED_RACES = {"cefa": ("AF", "CA", "EA")}
_FIRST, _LAST = ("01_e_s", "02_e_b", "03_en_s"), ("04_en_b", "05_enm_s", "06_enm_b")
DOCUMENTED_ATTACKS = {"surf": dict(zip(SPLITS, (_LAST, _FIRST, _FIRST), strict=True))}


def coverage(table: Table) -> Iterator[Finding]:
    """All of it for one data set."""
    yield from _classes(table)
    yield from _species(table)
    yield from _races(table)
    yield from _official_attacks(table)
    yield from _incomplete_subjects(table)
    yield from _unusual_frames(table)


def _classes(table: Table) -> Iterator[Finding]:
    """Coarse attack classes that some splits lack."""
    attacks = table.attacks()
    partial = _not_everywhere(attacks, "attack", table.splits())
    if partial:
        yield _partial(table, attacks, "attack", partial, "class-not-in-every-split", "attack classes")


def _species(table: Table) -> Iterator[Finding]:
    """Fine classes or species that some splits lack, of the coarse classes that all have.

    Data sets that keep every instrument in one split, as they keep persons, have nothing to report.
    """
    attacks = table.attacks()
    classes = list(_not_everywhere(attacks, "attack", table.splits()))
    attacks = attacks.select(~np.isin(attacks["attack"].astype(str), classes))
    column = "species" if (attacks["species"] != "").all() else "attack_fine"
    partial = _not_everywhere(attacks, column, table.splits())
    if partial and set(attacks[column]) - {*partial, ""}:
        yield _partial(table, attacks, column, partial, "species-not-in-every-split", "species of attacks")


def _not_everywhere(attacks: Table, column: str, splits: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Value -> the splits that have it, of those that not all have."""
    there = {name: set(attacks[column][attacks["split"] == name]) - {""} for name in splits}
    values = sorted(set().union(*there.values()))
    where = {value: tuple(split for split in splits if value in there[split]) for value in values}
    return {value: found for value, found in where.items() if found != splits}


def _partial(
    table: Table, attacks: Table, column: str, partial: dict[str, tuple[str, ...]], kind: str, counted: str
) -> Finding:
    """A finding about values that some splits lack; those that training lacks, if any, give it its name."""
    unseen = [value for value, splits in partial.items() if "train" not in splits]
    rows = Counter(attacks[column])

    def held(values: list[str]) -> str:
        return "; ".join(f"{value} ({rows[value]} rows) in {' and '.join(partial[value])} only" for value in values)

    other = [value for value in partial if value not in unseen]
    texts = [f"Not in train, so unseen attacks for a method trained on it: {held(unseen)}."] if unseen else []
    texts += [f"In train, but not everywhere: {held(other)}."] if other else []
    return Finding(
        id=f"{kind}/{table.name}/{'+'.join(unseen or other)}",
        severity="info",
        dataset=table.name,
        parts=tuple(table.part(split) for split in table.splits() if any(split in found for found in partial.values())),
        count=len(partial),
        counted=counted,
        examples=first(attacks["row"][np.isin(attacks[column].astype(str), list(partial))]),
        explanation=" ".join(texts),
    )


def _races(table: Table) -> Iterator[Finding]:
    missing = sorted(set(DOCUMENTED_RACES.get(table.name, ())) - set(table["race"]))
    if missing:
        yield Finding(
            id=f"not-as-documented/{table.name}/race",
            severity="info",
            dataset=table.name,
            parts=tuple(map(table.part, table.splits())),
            count=len(missing),
            counted="ethnicities",
            examples=tuple(missing),
            explanation=f"No row of {', '.join(missing)}, which the data set's paper describes: results say nothing "
            "about these people.",
        )


def _official_attacks(table: Table) -> Iterator[Finding]:
    documented = DOCUMENTED_ATTACKS.get(table.name, {})
    other = {}
    for split, part in table.each_split():
        surplus = sorted(set(part.attacks()["attack_fine"]) - set(documented.get(split, ())))
        if documented and surplus:
            other[split] = surplus
    if other:
        attacks = sorted({attack for surplus in other.values() for attack in surplus})
        yield Finding(
            id=f"not-as-documented/{table.name}/attacks",
            severity="info",
            dataset=table.name,
            parts=tuple(table.part(split) for split in other),
            count=len(attacks),
            counted="attacks",
            examples=first(attacks),
            explanation="Attacks that the data set's own protocol keeps out of a split: "
            + "; ".join(f"{split} has {', '.join(surplus)}" for split, surplus in other.items())
            + ". Results cannot be compared with those of the official split.",
        )


def _incomplete_subjects(table: Table) -> Iterator[Finding]:
    """Subjects without a presentation that nearly all others of their split have."""
    for split, part in table.each_split():
        shown: dict[str, set[str]] = {}
        for subject, attack in zip(part["subject"], part["attack_fine"], strict=True):
            if subject:
                shown.setdefault(subject, set()).add(attack)
        having = Counter(attack for attacks in shown.values() for attack in attacks)
        rule = {attack for attack, subjects in having.items() if subjects >= USUAL * len(shown)}
        lacking = {subject: sorted(rule - attacks) for subject, attacks in shown.items() if rule - attacks}
        if lacking:
            lost = Counter(attack for attacks in lacking.values() for attack in attacks)
            yield Finding(
                id=f"incomplete-subjects/{table.name}/{split}",
                severity="info",
                dataset=table.name,
                parts=(table.part(split),),
                count=sum(lost.values()),
                counted="missing presentations",
                examples=first(lacking),
                explanation=f"{len(lacking)} of {len(shown)} subjects lack presentations that nearly all others have: "
                + ", ".join(f"{attack} {number}" for attack, number in sorted(lost.items()))
                + ".",
            )


def _unusual_frames(table: Table) -> Iterator[Finding]:
    """Videos sampled at other frames than nearly all others of a data set."""
    sampled: dict[str, set[int]] = {}
    for recording, frame in zip(table["recording"], table["frame"].tolist(), strict=True):
        sampled.setdefault(recording, set()).add(frame)
    patterns = Counter(tuple(sorted(frames)) for frames in sampled.values())
    usual, videos = patterns.most_common(1)[0]
    if USUAL * len(sampled) <= videos < len(sampled):
        other = sorted(name for name, frames in sampled.items() if tuple(sorted(frames)) != usual)
        yield Finding(
            id=f"unusual-frames/{table.name}/{'+'.join(dict.fromkeys(name.split(' ')[0] for name in other))}",
            severity="info",
            dataset=table.name,
            parts=tuple(table.part(split) for split in SPLITS if any(name.split(" ")[0] == split for name in other)),
            count=len(other),
            counted="videos",
            examples=first(name.split(" ", 1)[1] for name in other),
            explanation=f"{videos} of {len(sampled)} videos are sampled at frames {', '.join(map(str, usual))}, these "
            "at others: frames may be missing, or numbered differently in depth and infrared. Compare them by eye.",
        )
