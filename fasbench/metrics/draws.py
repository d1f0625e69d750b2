"""Which units a bootstrap replicate draws, and how often: the same for every method, condition and split.

The units (persons, instruments) of a domain are drawn with replacement within three strata: units with bona fide
samples only, with attacks only, and with both. So no replicate loses a class that the data have. A draw is seeded by
the domain, the part, the number of the replicate and the stratum, and by nothing else: wherever the same units of a
domain are validated or tested, the same ones are drawn. Units go by their order: files that number them instead of
naming them must number them in the order of the names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fasbench.metrics.scores import Scores

STRATA = ("live only", "attack only", "both")


@dataclass(frozen=True, eq=False)
class Units:
    """The units of one part, sorted by domain, then by name or number."""

    part: str  # validation or test
    count: int
    strata: tuple[tuple[str, tuple[np.ndarray, ...]], ...]  # of each domain: the units of each of STRATA

    @classmethod
    def of(cls, scores: Scores, part: str) -> Units:
        """The units of a part. A part has the same ones per frame and per video."""
        persons = scores.codes("persons")
        count, live = len(persons.values), scores.labels == 1
        has_live, has_attack = (np.bincount(persons.codes[rows], minlength=count) > 0 for rows in (live, ~live))
        kind = np.where(has_live & has_attack, 2, np.where(has_attack, 1, 0))
        domain = persons.values[:, 0]
        strata = []
        for number, name in enumerate(scores.codes("domains").names()):
            members = np.flatnonzero(domain == number)
            strata.append((name, tuple(members[kind[members] == which] for which in range(len(STRATA)))))
        return cls(part, count, tuple(strata))

    def draw(self, replicates: Iterable[int]) -> np.ndarray:
        """How often each unit is drawn in each of the replicates, (R, units) int64.

        >>> part = Scores([0.1, 0.2, 0.8], [0, 0, 1], ["a", "b", "c"], ["v", "w", "x"], ["k"] * 3, ["mask"] * 2 + [""])
        >>> Units.of(part, "test").draw(range(3)).tolist()  # one live unit: drawn once; two attack units: two draws
        [[1, 1, 1], [1, 1, 1], [2, 0, 1]]
        """
        rows = []
        for replicate in replicates:
            counts = np.zeros(self.count, dtype=np.int64)
            for domain, strata in self.strata:
                for kind, stratum in zip(STRATA, strata, strict=True):
                    size = len(stratum)
                    if size:
                        numbers = random_numbers((domain, self.part, replicate, kind), size)
                        drawn = (numbers * np.uint64(size)) >> np.uint64(32)
                        counts[stratum] = np.bincount(drawn.astype(np.intp), minlength=size)
            rows.append(counts)
        return np.stack(rows) if rows else np.zeros((0, self.count), dtype=np.int64)


def random_numbers(seed: tuple[str | int, ...], count: int) -> np.ndarray:
    """`count` random numbers of 32 bits, (count,) uint64, that depend on the seed and on nothing else.

    The hash is not Python's (which differs from process to process), and the bits are those of PCG64 itself, which
    numpy never changes; it may change how `Generator` turns them into draws. Number x size >> 32 is a draw below
    `size`; the bias, below size / 2^32, is out of sight.
    """
    digest = hashlib.sha256(json.dumps(seed).encode()).digest()
    return np.random.PCG64(int.from_bytes(digest[:16], "big")).random_raw(count) >> np.uint64(32)
