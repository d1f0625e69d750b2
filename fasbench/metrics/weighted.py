"""Counts and thresholds of many weightings of the same sorted scores at once: what makes a bootstrap fast.

A replicate gives every unit a whole weight, so its curve needs no sorting: the samples are sorted once, and cumulative
sums of weights in that order are the error counts at every threshold. Error rates are monotone in the threshold, so the
operating points are found by bisection. Everything is counted in int64: no rounding, whatever the order of the sums.

R = weightings, Q = queries of each, G = groups, n = samples of a class, M = distinct scores. Candidate k (0 ... M)
accepts the distinct scores k, k+1, ..., as in `fasbench.metrics.curve`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fasbench.metrics.curve import TOLERANCE, midpoints


class Tally:
    """The samples of one class in the order (group, score); sums of their weights."""

    def __init__(self, scores: np.ndarray, units: np.ndarray, groups: np.ndarray, count: int) -> None:
        order = np.lexsort((scores, groups)) if count > 1 else np.argsort(scores, kind="stable")
        self.scores = scores[order]  # (n,)
        self.units = units[order].astype(np.intp, copy=False)  # (n,)
        self.starts = np.concatenate([[0], np.cumsum(np.bincount(groups, minlength=count))])  # (G + 1,)

    @property
    def groups(self) -> int:
        return len(self.starts) - 1

    def group(self, g: int) -> np.ndarray:
        """The sorted scores of a group."""
        return self.scores[self.starts[g] : self.starts[g + 1]]

    def positions(self, thresholds: np.ndarray) -> np.ndarray:
        """Of each group, where the scores begin that a threshold accepts, counted from the first sample of the first
        group: (..., G) for thresholds of any shape."""
        found = np.empty((*thresholds.shape, self.groups), dtype=np.intp)
        for g in range(self.groups):
            found[..., g] = self.starts[g] + np.searchsorted(self.group(g), thresholds, side="left")
        return found

    def weights(self, units: np.ndarray) -> np.ndarray:
        """The weight of every sample, from those of the units: (R, units) -> (R, n)."""
        return units.take(self.units, axis=1)

    @staticmethod
    def cumulated(weights: np.ndarray) -> np.ndarray:
        """Sums of the first 0, 1, ..., n weights, (R, n) -> (R, n + 1)."""
        sums = np.empty((len(weights), weights.shape[1] + 1), dtype=np.int64)
        sums[:, 0] = 0
        np.cumsum(weights, axis=1, out=sums[:, 1:])
        return sums

    def totals(self, sums: np.ndarray) -> np.ndarray:
        """The weight of each group, (R, n + 1) -> (R, G)."""
        return np.diff(sums[:, self.starts], axis=1)


class Pairs:
    """The pairs (bona fide, attack) of a part: AUC under many weightings, where every class keeps some weight."""

    def __init__(self, scores: np.ndarray, labels: np.ndarray, units: np.ndarray) -> None:
        live = labels == 1
        nothing = np.zeros(len(scores), dtype=np.intp)
        self.live, self.attack = (Tally(scores[rows], units[rows], nothing[rows], 1) for rows in (live, ~live))
        self.left, self.right = (
            np.searchsorted(self.live.scores, self.attack.scores, side=side) for side in ("left", "right")
        )

    def auc(self, units: np.ndarray) -> np.ndarray:
        """AUC of each weighting of the units: (R, units) -> (R,)."""
        below = Tally.cumulated(self.live.weights(units))
        weights, live = self.attack.weights(units), below[:, -1]
        attack = weights.sum(axis=1)
        lost = np.einsum("rn,rn->r", weights, below.take(self.left, axis=1) + below.take(self.right, axis=1))
        return (2 * live * attack - lost) / (2 * live * attack)


class Ranked:
    """Both classes of one part over the same candidates, each grouped by domain (or all in one group)."""

    def __init__(
        self, scores: np.ndarray, labels: np.ndarray, units: np.ndarray, groups: np.ndarray, count: int = 1
    ) -> None:
        self.distinct, position = np.unique(scores, return_inverse=True)  # (M,)
        self.tallies, self.places = [], []  # of bona fide samples and of attacks
        for label in (1, 0):
            rows = labels == label
            tally = Tally(scores[rows], units[rows], groups[rows], count)
            below = np.zeros((count, len(self.distinct) + 1), dtype=np.int32)  # samples below each candidate
            for g in range(count):
                here = position[rows & (groups == g)]
                below[g, 1:] = np.cumsum(np.bincount(here, minlength=len(self.distinct)))
                below[g] += tally.starts[g]
            self.tallies.append(tally)
            self.places.append(below)

    def weigh(self, units: np.ndarray) -> Weighted:
        """The curves of R weightings, from the weights (R, units) of the units."""
        return Weighted(self, units)


class Weighted:
    """R curves of the same scores, one for each weighting of the units."""

    def __init__(self, ranked: Ranked, units: np.ndarray) -> None:
        self.ranked = ranked
        self.last = len(ranked.distinct)  # the candidate that accepts nothing
        self.sums = [tally.cumulated(tally.weights(units)) for tally in ranked.tallies]
        self.group_totals = [t.totals(sums) for t, sums in zip(ranked.tallies, self.sums, strict=True)]  # (R, G)
        self.live, self.attack = (totals.sum(axis=1, keepdims=True) for totals in self.group_totals)  # (R, 1)
        self.rows = np.arange(len(units))[:, None]

    def below(self, label: int, k: np.ndarray) -> np.ndarray:
        """Weight of a class (1 = bona fide, 0 = attack) below candidates k, of each group: (R, Q) -> (G, R, Q)."""
        which = 1 - label
        sums, places = self.sums[which], self.ranked.places[which]
        starts = self.ranked.tallies[which].starts
        return np.stack([sums[self.rows, places[g][k]] - sums[:, starts[g], None] for g in range(len(places))])

    def rates(self, k: np.ndarray, balanced: np.ndarray | bool = False) -> tuple[np.ndarray, np.ndarray]:
        """`(FAR, FRR)` at candidates k (R, Q): pooled, or the mean over the groups that have the class."""
        live, attack = self.below(1, k), self.below(0, k)
        with np.errstate(invalid="ignore"):  # 0 / 0, a class that the part does not have, is nan
            far = (self.attack - attack.sum(axis=0)) / self.attack
            frr = live.sum(axis=0) / self.live
            if np.any(balanced):
                far = np.where(balanced, 1 - _mean_over_groups(attack, self.group_totals[1]), far)
                frr = np.where(balanced, _mean_over_groups(live, self.group_totals[0]), frr)
        return far, frr

    def first(self, holds: Callable[[np.ndarray], np.ndarray], queries: int) -> np.ndarray:
        """The first candidate from which on `holds` is true, (R, Q); the last one if it never is."""
        low = np.zeros((len(self.rows), queries), dtype=np.intp)
        high = np.full_like(low, self.last)
        for _ in range(int(self.last).bit_length()):
            middle = (low + high) // 2
            found = holds(middle)
            high, low = np.where(found, middle, high), np.where(found, low, np.minimum(middle + 1, high))
        return low

    def neighbours(self, k: np.ndarray, above: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The last score with any weight below candidates k, and the first at or above candidates `above` (default: k).

        (R, Q) each; nan where there is none. Between the two neighbours of k all thresholds decide alike.
        """
        weights = [self._below(k), self._below(k if above is None else above)]
        wanted = np.concatenate([weights[0] - 1, weights[1]], axis=1)
        before, after = np.split(self.first(lambda j: self._below(j) > wanted, wanted.shape[1]), 2, axis=1)
        scores = self.ranked.distinct
        last = np.where(weights[0] > 0, scores[np.maximum(before - 1, 0)], np.nan)
        return last, np.where(weights[1] < self.live + self.attack, scores[np.maximum(after - 1, 0)], np.nan)

    def _below(self, k: np.ndarray) -> np.ndarray:
        """Weight of both classes together below candidates k, (R, Q)."""
        return self.below(1, k).sum(axis=0) + self.below(0, k).sum(axis=0)

    def crossing(self, k: np.ndarray, balanced: np.ndarray | bool = False) -> tuple[np.ndarray, np.ndarray]:
        """`(EER, threshold)`, (R, Q) each, where k is the first candidate with FAR <= FRR.

        The rule of `Curve.eer`: |FAR - FRR| is least at k or at the candidate before it; if both tie in FAR + FRR too,
        the threshold is the centre of the interval that they cover, or the score between them if that lies there.
        """
        before = np.maximum(k - 1, 0)  # the candidate before k: a score with weight lies between, as the rates differ
        imbalance, total = [], []
        for candidate in (before, k):
            far, frr = self.rates(candidate, balanced)
            imbalance.append(np.abs(far - frr))
            total.append(far + frr)
        least = np.minimum(*imbalance) + TOLERANCE
        tied = [values <= least for values in imbalance]
        lowest = np.minimum(*(np.where(t, v, np.inf) for t, v in zip(tied, total, strict=True))) + TOLERANCE
        first, second = (t & (v <= lowest) for t, v in zip(tied, total, strict=True))
        (lower, upper), between = self.neighbours(before, k), self.ranked.distinct[before]
        with np.errstate(invalid="ignore"):
            centre = midpoints(lower, upper)
            centre = np.where(np.abs(between - centre) <= 1e-9 * (upper - lower), between, centre)
            threshold = np.where(first & second, centre, np.where(first, midpoints(lower, between), between))
            threshold = np.where(second & ~first, midpoints(between, upper), threshold)
            value = np.where(first & ~(second & (threshold > between)), total[0], total[1]) / 2
        alone = np.isnan(lower) & np.isnan(upper)  # all scores with weight are equal
        return np.where(alone, 0.5, value), np.where(alone, between, threshold)

    def thresholds(self, k: np.ndarray) -> np.ndarray:
        """The candidates k as thresholds (R, Q): midpoints between scores with weight, or outside all of them."""
        lower, upper = self.neighbours(k)
        with np.errstate(invalid="ignore"):
            found = midpoints(lower, upper)
        ends = np.isnan(lower) | np.isnan(upper)
        if ends.any():
            found = np.where(np.isnan(lower), self._outside(upper, k * 0, above=False), found)
            found = np.where(np.isnan(upper), self._outside(lower, k * 0 + self.last, above=True), found)
        return found

    def _outside(self, edge: np.ndarray, k: np.ndarray, above: bool) -> np.ndarray:
        """The candidate below or above all scores, as far outside as the nearest midpoint is inside."""
        last, following = self.neighbours(k)
        outermost = last if above else following
        inner = self.ranked.distinct.searchsorted(np.nan_to_num(outermost))
        next_inside = self.neighbours(inner)[0] if above else self.neighbours(inner + 1)[1]
        with np.errstate(invalid="ignore"):
            if above:
                far_out = np.maximum(edge + (edge / 2 - next_inside / 2), np.nextafter(edge, np.inf))
                return np.where(np.isnan(next_inside), np.nextafter(edge, np.inf), far_out)
            return np.where(np.isnan(next_inside), edge, edge - (next_inside / 2 - edge / 2))


def _mean_over_groups(below: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Mean over the groups with the class of the share below: (G, R, Q), (R, G) -> (R, Q)."""
    there = (totals > 0).T[:, :, None]
    shares = np.divide(below, totals.T[:, :, None], out=np.zeros(below.shape), where=there)
    return shares.sum(axis=0) / there.sum(axis=0)
