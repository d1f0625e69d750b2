"""Slices: the numbers of one attack species, one target domain, one group of people. Which groups, and their counts.

An attack slice holds the attacks of one type (or species, family, ...) against all bona fide samples. A slice by domain
or by another column of `Scores.groups` holds all samples of that group. Thresholds are those of the whole test: one
device has one threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fasbench.metrics.scores import GROUP, Scores, effective_units
from fasbench.metrics.weighted import Tally, Weighted

MINIMUM_PEOPLE = 20  # smaller groups of people of one race are not shown
PRIVATE = ("race",)
OF_ATTACKS = ("attack", "attack_fine", "attack_family", "presented_by")  # these say nothing of bona fide samples


@dataclass(frozen=True, eq=False)
class Slicing:
    """One way to divide the test: `attack`, `domain`, or a column of `Scores.groups`."""

    name: str
    groups: tuple[str, ...]  # the names of those that are shown
    codes: np.ndarray  # (N,) the group of every sample, -1 = in none that is shown
    of_attacks: bool  # the groups divide the attacks only: every one stands against all bona fide samples
    suppressed: dict[str, str]  # groups that are not shown, and why

    def rows(self, g: int, labels: np.ndarray) -> np.ndarray:
        """The samples of a slice, (N,) bool."""
        return (self.codes == g) | (labels == 1) if self.of_attacks else self.codes == g


def slicings(test: Scores) -> list[Slicing]:
    """Every way to divide this test: by attack type always, by domain if there are several, by its `groups`."""
    names = [("attacks", "attack")]
    if len(test.codes("domains").values) > 1:
        names.append(("domains", "domain"))
    names += [(GROUP + name, name) for name in test.groups]
    return [_slicing(test, column, name) for column, name in names]


def _slicing(test: Scores, column: str, name: str) -> Slicing:
    of_attacks = name in OF_ATTACKS
    found = test.codes(column)
    codes, names = found.codes.copy(), found.names()
    if of_attacks:
        codes[test.labels == 1] = -1
    if of_attacks or column.startswith(GROUP):
        nobody = [number for number, text in enumerate(names) if text == ""]  # live samples, or not known
        codes[np.isin(codes, nobody)] = -1
    kept = np.flatnonzero(np.bincount(codes[codes >= 0], minlength=len(names)))
    hidden = _too_few_people(test, codes, kept) if name in PRIVATE else {}
    shown = [number for number in kept.tolist() if number not in hidden]
    place = np.full(len(names) + 1, -1)
    place[shown] = np.arange(len(shown))
    reasons = {names[number]: reason for number, reason in hidden.items()}
    return Slicing(name, tuple(names[number] for number in shown), place[codes], of_attacks, reasons)


def _too_few_people(test: Scores, codes: np.ndarray, kept: np.ndarray) -> dict[int, str]:
    """Groups of fewer than 20 people in a class, and as many more as it takes that none follows by difference."""
    people = {number: _fewest(test, codes == number) for number in kept.tolist()}
    hidden = {
        number: f"not shown: fewer than {MINIMUM_PEOPLE} people"
        for number, count in people.items()
        if count < MINIMUM_PEOPLE
    }
    rest = sorted((count, number) for number, count in people.items() if number not in hidden)
    while hidden and rest and sum(people[number] for number in hidden) < MINIMUM_PEOPLE:
        hidden[rest.pop(0)[1]] = "not shown: the numbers of a smaller group would follow by difference"
    return hidden


def _fewest(test: Scores, rows: np.ndarray) -> int:
    """Units of the class that has fewer of them, of those that the rows hold: a rate is about one class."""
    persons = test.codes("persons").codes
    counts = [len(np.unique(persons[rows & (test.labels == label)])) for label in (0, 1)]
    return min(count for count in counts if count)


def slice_counts(test: Scores, slicing: Slicing, g: int) -> dict[str, int | float]:
    """Samples, units and effective units of each class in a slice."""
    rows = slicing.rows(g, test.labels)
    counts: dict[str, int | float] = {}
    for kind, label in (("live", 1), ("attack", 0)):
        units = test.codes("persons").codes[rows & (test.labels == label)]
        counts[kind] = len(units)
        counts[f"{kind}_units"] = len(np.unique(units))
        counts[f"{kind}_effective_units"] = effective_units(units)
    return counts


class SliceRates(NamedTuple):
    """What `SliceSums.measure` returns. nan where a class of the slice has no weight."""

    auc: np.ndarray  # (R, G)
    apcer: np.ndarray  # (R, Q, G)
    bpcer: np.ndarray  # (R, Q, G), or (R, Q, 1) where all groups share the bona fide samples
    won: np.ndarray  # (R, G) twice the weighted pairs won


class SliceSums:
    """Rates and AUC of every group of a slicing under many weightings of the units. R, Q, n, G as in `weighted`."""

    def __init__(self, slicing: Slicing, test: Scores) -> None:
        units, count = test.codes("persons").codes, max(len(slicing.groups), 1)
        self.slicing = slicing
        attack = (test.labels == 0) & (slicing.codes >= 0)
        self.attack = Tally(test.scores[attack], units[attack], slicing.codes[attack], count)
        if slicing.of_attacks:  # one group of bona fide samples, whatever the number of groups of attacks
            live = test.labels == 1
            self.live = Tally(test.scores[live], units[live], np.zeros(int(live.sum()), dtype=np.intp), 1)
        else:
            live = (test.labels == 1) & (slicing.codes >= 0)
            self.live = Tally(test.scores[live], units[live], slicing.codes[live], count)
        # Where each attack stands among the bona fide samples of its slice: first not below it, first above it.
        self.left, self.right = (np.empty(len(self.attack.scores), dtype=np.intp) for _ in range(2))
        for g in range(count):
            here = slice(self.attack.starts[g], self.attack.starts[g + 1])
            among, start = self.live.group(self._live_group(g)), self.live.starts[self._live_group(g)]
            self.left[here] = start + np.searchsorted(among, self.attack.scores[here], side="left")
            self.right[here] = start + np.searchsorted(among, self.attack.scores[here], side="right")
        self.ties = not np.array_equal(self.left, self.right)

    def _live_group(self, g: int) -> int:
        return 0 if self.slicing.of_attacks else g

    def measure(self, units: np.ndarray, at: np.ndarray, pooled: Weighted) -> SliceRates:
        """The numbers of every slice for unit weights (R, units), at thresholds (R, Q).

        `pooled` are the curves of the whole test under these weights.
        """
        attack_weights = self.attack.weights(units)
        attack_sums = self.attack.cumulated(attack_weights)
        # One group of bona fide samples is sorted as the whole test's is.
        live_sums = pooled.sums[0] if self.slicing.of_attacks else self.live.cumulated(self.live.weights(units))
        live, attack = self.live.totals(live_sums), self.attack.totals(attack_sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            bpcer = _below(self.live, live_sums, at) / live[:, None, :]
            apcer = (attack[:, None, :] - _below(self.attack, attack_sums, at)) / attack[:, None, :]
            won = self._twice_won(attack_weights, live_sums, live)
            return SliceRates(np.minimum(won / (2 * live * attack), 1.0), apcer, bpcer, won)

    def _twice_won(self, weights: np.ndarray, live_sums: np.ndarray, live: np.ndarray) -> np.ndarray:
        """Twice the pairs (bona fide, attack) of each group that the bona fide sample wins, ties counted half, (R, G).

        An attack loses to the weight above it: twice that is 2 x total - (weight below) - (weight not above).
        """
        below = live_sums.take(self.left, axis=1)
        if self.ties:
            below += live_sums.take(self.right, axis=1)
        else:
            below *= 2
        found = np.empty((len(weights), self.attack.groups), dtype=np.int64)
        for g in range(self.attack.groups):
            here = slice(self.attack.starts[g], self.attack.starts[g + 1])
            start = live_sums[:, self.live.starts[self._live_group(g)]]
            lost = np.einsum("rn,rn->r", weights[:, here], below[:, here])
            found[:, g] = 2 * (live[:, self._live_group(g)] + start) * weights[:, here].sum(axis=1) - lost
        return found


def _below(tally: Tally, sums: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The weight of each group below thresholds, (R, n + 1), (R, Q) -> (R, Q, G)."""
    rows = np.arange(len(sums))[:, None, None]
    return sums[rows, tally.positions(thresholds)] - sums[:, tally.starts[:-1]][:, None, :]
