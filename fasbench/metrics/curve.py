"""The error curve: one sort, exact ties; AUC, EER and ROC are read from it.

Convention: `scores` (N,) float64, higher = more live; `labels` (N,) 1 = bona fide (live), 0 = attack; a sample is
accepted as live iff `score >= threshold`. `weights` (N,) >= 0 count samples: weight 2 is the sample given twice,
weight 0 the sample left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fasbench.errors import DataError
from fasbench.metrics.arrays import checked

# Rates nearer than this are equal. Whole counts come nowhere near it (distinct rates differ by 1 / (live x attack));
# it absorbs the rounding of sums of fractional weights and of decimal targets such as 0.01.
TOLERANCE = 1e-12


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, the error rates there, and the range of thresholds that decide alike: `lower < t <= upper`."""

    value: float
    threshold: float
    lower: float
    upper: float
    far: float
    frr: float

    @property
    def gap(self) -> float:
        """Width of the interval of thresholds that make the same decisions; infinite outside all scores."""
        return self.upper - self.lower


@dataclass(frozen=True, eq=False)
class Curve:
    """What every threshold that matters accepts and rejects.

    M distinct scores allow M + 1 decisions. Candidate k accepts the distinct scores k, k+1, ..., so candidate 0 accepts
    everything and candidate M nothing. Counts are int64 for whole weights, float64 otherwise.
    """

    scores: np.ndarray  # (M,) the distinct scores, ascending
    live_at: np.ndarray  # (M,) live samples with that score, weighted
    attack_at: np.ndarray  # (M,) attacks with that score, weighted
    thresholds: np.ndarray  # (M + 1,) candidates, ascending
    false_accepts: np.ndarray  # (M + 1,) attacks accepted at each candidate, weighted
    false_rejects: np.ndarray  # (M + 1,) live samples rejected at each candidate, weighted

    @property
    def live(self) -> float:
        """Weighted number of live samples."""
        return self.false_rejects[-1].item()

    @property
    def attack(self) -> float:
        """Weighted number of attacks."""
        return self.false_accepts[0].item()

    @property
    def far(self) -> np.ndarray:
        """False acceptance rate (FAR, FPR, pooled APCER) = attacks accepted / attacks, at each candidate (M + 1,)."""
        if not self.attack:
            raise DataError("undefined: there are no attacks")
        return self.false_accepts / self.attack

    @property
    def frr(self) -> np.ndarray:
        """False rejection rate (FRR, BPCER) = live rejected / live, at each candidate (M + 1,)."""
        if not self.live:
            raise DataError("undefined: there are no bona fide samples")
        return self.false_rejects / self.live

    @property
    def tpr(self) -> np.ndarray:
        """True positive rate = live accepted / live = 1 - FRR, at each candidate (M + 1,)."""
        if not self.live:
            raise DataError("undefined: there are no bona fide samples")
        return (self.live - self.false_rejects) / self.live

    def candidate(self, threshold: float) -> int:
        """The candidate that makes the same decisions as `threshold`: the number of distinct scores below it."""
        return int(np.searchsorted(self.scores, threshold, side="left"))

    def interval(self, threshold: float) -> tuple[float, float]:
        """`(lower, upper)`: every t with lower < t <= upper makes the same decisions as `threshold`."""
        k = self.candidate(threshold)
        lower = self.scores[k - 1] if k > 0 else -np.inf
        upper = self.scores[k] if k < len(self.scores) else np.inf
        return float(lower), float(upper)

    def auc(self) -> float:
        """Area under the ROC; see `auc`."""
        self._needs_both_classes()
        below = np.cumsum(self.attack_at) - self.attack_at
        pairs_won_twice = (self.live_at * (2 * below + self.attack_at)).sum().item()
        return min(1.0, pairs_won_twice / (2 * self.live * self.attack))

    def eer(self) -> OperatingPoint:
        """The equal error rate and its threshold; see `eer`."""
        self._needs_both_classes()
        far, frr = self.far, self.frr
        imbalance, total = np.abs(far - frr), far + frr
        tied = imbalance <= imbalance.min() + TOLERANCE
        best = np.flatnonzero(tied & (total <= total[tied].min() + TOLERANCE))
        threshold = float(self.thresholds[best[0]]) if len(best) == 1 else self._centre(best[0], best[-1])
        k = self.candidate(threshold)
        lower, upper = self.interval(threshold)
        value = (far[k].item() + frr[k].item()) / 2
        return OperatingPoint(value, threshold, lower, upper, far[k].item(), frr[k].item())

    def _centre(self, first: int, last: int) -> float:
        """Centre of the scores covered by the tied candidates first..last.

        FAR - FRR falls strictly from candidate to candidate, so at most two tie, FAR and FRR swapped; and they are the
        outermost two only if all scores are equal, where the threshold is that score and accepts everything.
        A centre that meets the score between the two (equally spaced scores) is set to it exactly: otherwise rounding
        would decide on which side it falls, and an affine map of the scores could change decisions.
        """
        if len(self.scores) == 1:
            return float(self.scores[0])
        lower, upper = self.scores[max(first, 1) - 1], self.scores[min(last, len(self.scores) - 1)]
        centre = midpoints(lower, upper)
        between = self.scores[first:last]
        nearest = between[np.abs(between - centre).argmin()]
        return float(nearest if abs(nearest - centre) <= 1e-9 * (upper - lower) else centre)

    def _needs_both_classes(self) -> None:
        if not (self.live and self.attack):
            missing = "attacks" if self.live else "bona fide samples"
            raise DataError(f"undefined: both classes are needed, there are no {missing}")


def curve(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Curve:
    """FAR(t) = #{attack: s >= t} / #attack and FRR(t) = #{live: s < t} / #live, for every t that matters.

    Candidates are the midpoints between adjacent distinct scores plus one below and one above all, as far outside as
    the nearest midpoint is inside (so that thresholds follow increasing affine maps of the scores). When all scores are
    equal there is no such distance: the candidates are that score and the next float above it.

    >>> points = curve([0.1, 0.5, 0.5, 0.9], [0, 0, 1, 1])
    >>> points.thresholds.round(3).tolist()
    [-0.1, 0.3, 0.7, 1.1]
    >>> points.far.tolist(), points.frr.tolist()
    ([1.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 1.0])
    """
    values, truth, counts = checked(scores, labels, weights)
    distinct, position = np.unique(values, return_inverse=True)
    live_at = np.bincount(position, counts * truth, len(distinct)).astype(counts.dtype)
    attack_at = np.bincount(position, counts * (1 - truth), len(distinct)).astype(counts.dtype)
    return curve_from_counts(distinct, live_at, attack_at)


def curve_from_counts(distinct: np.ndarray, live_at: np.ndarray, attack_at: np.ndarray) -> Curve:
    """The curve of sorted distinct scores (M,) with the weighted counts (M,) of each class; counts of 0 drop out."""
    counted = (live_at > 0) | (attack_at > 0)
    distinct, live_at, attack_at = distinct[counted], live_at[counted], attack_at[counted]
    rejected_live, rejected_attack = np.cumsum(live_at), np.cumsum(attack_at)
    return Curve(
        scores=distinct,
        live_at=live_at,
        attack_at=attack_at,
        thresholds=_candidates(distinct),
        false_accepts=np.append(rejected_attack[-1:], rejected_attack[-1] - rejected_attack),
        false_rejects=np.append(np.zeros_like(rejected_live[:1]), rejected_live),
    )


def auc(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> float:
    """AUC = P(s_live > s_attack) + 1/2 P(s_live = s_attack), the Mann-Whitney statistic.

    Source: Hanley and McNeil, Radiology 143 (1982). Raises DataError when a class is missing.

    >>> auc([0.1, 0.5, 0.5, 0.9], [0, 0, 1, 1])  # (2 + 1.5) / 4 pairs: 0.5 ties with one of two attacks
    0.875
    """
    return curve(scores, labels, weights).auc()


def eer(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> OperatingPoint:
    """EER = (FAR + FRR) / 2 at the candidate threshold that minimises |FAR - FRR|, then FAR + FRR.

    Source: the evaluation rules in fasbench's design. If two adjacent candidates tie, the threshold is the centre of
    the score interval that they cover together. Raises DataError when a class is missing.

    >>> point = eer([0.1, 0.2, 0.6, 0.4, 0.8, 0.9], [0, 0, 0, 1, 1, 1])
    >>> round(point.value, 4), round(point.threshold, 4), round(point.gap, 4)
    (0.3333, 0.5, 0.2)
    """
    return curve(scores, labels, weights).eer()


def roc(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(fpr, tpr, thresholds)`, FPR = FAR and TPR = 1 - FRR, from (0, 0) to (1, 1): M + 1 points for M distinct scores.

    Source: Fawcett, Pattern Recognition Letters 27 (2006). Raises DataError when a class is missing.

    >>> fpr, tpr, thresholds = roc([0.1, 0.5, 0.5, 0.9], [0, 0, 1, 1])
    >>> fpr.tolist(), tpr.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    points = curve(scores, labels, weights)
    return points.far[::-1], points.tpr[::-1], points.thresholds[::-1]


def det(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(probit(FAR), probit(FRR), thresholds)`: the DET curve on its normal-deviate axes, by ascending threshold.

    probit is the inverse of the standard normal distribution function: 0 at 50 %, -2.33 at 1 %. A rate of 0 or 1 has no
    place on these axes, so those points are left out; separable scores leave none. Source: Martin et al., Eurospeech
    (1997); ISO/IEC 19795-1. Raises DataError when a class is missing.

    >>> far, frr, thresholds = det([0.1, 0.5, 0.6, 0.9], [0, 1, 0, 1])
    >>> far.tolist(), frr.tolist(), thresholds.round(2).tolist()  # FAR 1/2 at both 0.3 and 0.55, FRR 0 and 1/2
    ([0.0], [0.0], [0.55])
    """
    from scipy.special import ndtri  # a quarter of a second, which no other metric needs

    points = curve(scores, labels, weights)
    far, frr = points.far, points.frr
    drawn = (far > 0) & (far < 1) & (frr > 0) & (frr < 1)
    return ndtri(far[drawn]), ndtri(frr[drawn]), points.thresholds[drawn]


def _candidates(distinct: np.ndarray) -> np.ndarray:
    """The thresholds (M + 1,) that stand for all decisions on M distinct scores: candidate k accepts scores[k:]."""
    if len(distinct) == 1:
        return np.append(distinct, np.nextafter(distinct, np.inf))
    below = distinct[0] - (distinct[1] / 2 - distinct[0] / 2)
    above = max(distinct[-1] + (distinct[-1] / 2 - distinct[-2] / 2), np.nextafter(distinct[-1], np.inf))
    return np.concatenate([[below], midpoints(distinct[:-1], distinct[1:]), [above]])


def midpoints(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Midpoints with lower < midpoint <= upper: between adjacent floats rounding may meet `lower`, which is wrong."""
    middle = lower / 2 + upper / 2  # (lower + upper) / 2 may overflow
    return np.where(middle > lower, middle, upper)
