"""Which way depth runs: bright where a thing is near, or dark. Judged by bona fide faces, whose middle is nearest.

A part whose rows disagree, a data set that contradicts its documentation, and parts that contradict each other are
findings. What could not be judged is said in notes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from fasbench.data.audit.pixels import Measured
from fasbench.data.audit.report import Finding, first
from fasbench.data.record import LIVE
from fasbench.data.synthetic.domains import NAMES

NEAR_IS_BRIGHT, NEAR_IS_DARK = 1, -1
# What a data set's documentation says; of the licensed ones none does.
DOCUMENTED = dict.fromkeys(NAMES, NEAR_IS_BRIGHT)
WORDS = {NEAR_IS_BRIGHT: "bright", NEAR_IS_DARK: "dark"}

CLEAR = 2.0  # gray levels that the middle differs from what is around it, from which a row has a direction
FEW = 5  # rows below which a part has no direction
AGREED = 0.8  # share of a part's rows that must have the same direction for it to be the part's
MIXED = 3  # rows the other way round from which a part that is not agreed is mixed: fewer may be odd poses


class Directions(NamedTuple):
    """Of one part."""

    part: str
    dataset: str
    towards: int  # what most rows have; 0 = too few of them have a direction
    other: tuple[str, ...]  # ids of the rows the other way round
    rows: int  # that have a direction

    @property
    def agreed(self) -> int:
        """The part's direction, 0 where it has none."""
        return self.towards if self.rows and 1 - len(self.other) / self.rows >= AGREED else 0

    @property
    def mixed(self) -> bool:
        return self.towards != 0 and not self.agreed and len(self.other) >= MIXED


def directions(samples: Mapping[str, Measured]) -> list[Directions]:
    """Of every part whose images were read."""
    found = []
    for table, measures in samples.values():
        for split in table.splits():
            clear = (table["split"] == split) & (table["label"] == LIVE) & (np.abs(measures.rising) >= CLEAR)
            signs = np.sign(measures.rising[clear]).astype(int)
            towards = (1 if signs.sum() >= 0 else -1) if len(signs) >= FEW else 0
            other = tuple(table["id"][clear][signs != towards]) if towards else ()
            found.append(Directions(table.part(split), table.name, towards, other, len(signs)))
    return found


def depth_findings(found: list[Directions]) -> Iterator[Finding]:
    """Rows, data sets and parts whose depth runs the other way."""
    for part in found:
        if part.mixed:
            yield Finding(
                id=f"depth-is-mixed/{part.part}",
                severity="pixels",
                dataset=part.dataset,
                parts=(part.part,),
                count=len(part.other),
                counted="rows",
                examples=first(part.other),
                explanation=f"Near is {WORDS[part.towards]} in the depth of {part.rows - len(part.other)} bona fide "
                f"rows looked at, {WORDS[-part.towards]} in that of {len(part.other)}: some were likely inverted.",
            )
    wrong = [part for part in found if part.agreed and part.agreed != DOCUMENTED.get(part.dataset, part.agreed)]
    for dataset in sorted({part.dataset for part in wrong}):
        there = WORDS[-DOCUMENTED[dataset]]
        reason = f"Near is {there} in the depth of bona fide faces; by its documentation it is the other way round."
        yield _inverted([part for part in wrong if part.dataset == dataset], reason)
    bright, dark = ([part for part in found if part.agreed == sign and part not in wrong] for sign in (1, -1))
    if bright and dark:
        yield _inverted(
            min(dark, bright, key=len),
            f"Bona fide faces are brighter than their surroundings in the depth of {_names(bright)}, darker in that of "
            f"{_names(dark)}: near is bright in one and dark in the other.",
        )


def _inverted(parts: list[Directions], explanation: str) -> Finding:
    names = "+".join(sorted({part.dataset for part in parts}))
    return Finding(
        id=f"depth-is-inverted/{names}",
        severity="pixels",
        dataset=names,
        parts=tuple(part.part for part in parts),
        count=len(parts),
        counted="parts",
        examples=first(part.part for part in parts),
        explanation=explanation,
    )


def depth_notes(found: list[Directions]) -> Iterator[str]:
    """What an inverted depth could hide behind."""
    if not found:
        return
    untold = [part for part in found if not part.agreed and not part.mixed]
    if untold:
        yield f"which way depth runs could not be told in {_names(untold)}: too few bona fide faces show it"
    free = [part for part in found if part.agreed and part.dataset not in DOCUMENTED]
    for sign, word in WORDS.items():
        if parts := [part for part in free if part.agreed == sign]:
            yield (
                f"near is {word} in the depth of {_names(parts)}; which way is right is not documented, so it was "
                "compared with the other parts only: if all are inverted, nothing tells"
            )
    yield "depth and infrared swapped with each other were not looked for: preview shows it to the eye"


def _names(parts: list[Directions]) -> str:
    return ", ".join(part.part for part in parts)
