"""The literature's EER and TPR@FPR, by name: to reproduce a printed number, and to see what a definition is worth.

fasbench ranks by none of them. All read the test ROC: the EER of the test set is the oracle policy `test-eer`, whatever
the formula. `fasbench` is our own definition, for comparison. Released ROC code walks thresholds downwards from above
the highest score; a variant that takes "the first" of several equals takes the highest threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fasbench.errors import ConfigError, DataError, suggest
from fasbench.metrics.arrays import checked
from fasbench.metrics.curve import curve, eer, roc
from fasbench.metrics.errors import tpr_at_fpr

Roc = tuple[np.ndarray, np.ndarray]  # (FPR, TPR), from (0, 0) to (1, 1)


@dataclass(frozen=True)
class Variant:
    """A definition by name: who uses it, what it does, and how it differs from ours."""

    name: str
    used_by: str
    formula: str
    difference: str
    compute: Callable[..., float]


def _corners(scores: ArrayLike, labels: ArrayLike) -> Roc:
    """The ROC as scikit-learn's `roc_curve` gives it: without points on a straight line between two others.

    As there, the point (0, 0) is not one of the two: the highest score always has its point.
    """
    fpr, tpr, _ = roc(scores, labels)
    bend = np.ones(len(fpr), dtype=bool)
    # Whole counts: on a line iff both second differences are 0 (scikit-learn's test).
    positives, negatives = np.round(tpr * np.sum(labels)), np.round(fpr * np.sum(1 - np.asarray(labels)))
    bend[2:-1] = (np.diff(positives[1:], 2) != 0) | (np.diff(negatives[1:], 2) != 0)
    return fpr[bend], tpr[bend]


def _balanced_point(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """(FPR, TPR) of the first ROC point with the smallest |TPR + FPR - 1|."""
    fpr, tpr = _corners(scores, labels)
    best = int(np.argmin(np.abs(tpr + fpr - 1)))
    return float(fpr[best]), float(tpr[best])


def _ours(scores: ArrayLike, labels: ArrayLike) -> float:
    return eer(scores, labels).value


def _dadm(scores: ArrayLike, labels: ArrayLike) -> float:
    fpr, tpr = _balanced_point(scores, labels)
    return (fpr + 1 - tpr) / 2


def _grid(scores: ArrayLike, labels: ArrayLike) -> float:
    points = curve(scores, labels)
    k = np.searchsorted(points.scores, np.append(np.arange(10001) / 10000, 1.1), side="left")
    far, frr = points.far[k], points.frr[k]
    best = int(np.argmin(np.abs(frr - far)))
    return float(far[best] + frr[best]) / 2


def _nearest_threshold(scores: ArrayLike, labels: ArrayLike) -> float:
    fpr, tpr = _corners(scores, labels)
    return float(fpr[np.argmin(np.abs((1 - tpr) - fpr))])


def _interpolated(scores: ArrayLike, labels: ArrayLike) -> float:
    fpr, tpr = _corners(scores, labels)
    excess = fpr + tpr - 1  # rises from -1 to 1; the root lies on the line to the first point that is not below 0
    after = int(np.argmax(excess >= 0))
    share = excess[after - 1] / (excess[after - 1] - excess[after])
    return float(fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))


def _ours_at(scores: ArrayLike, labels: ArrayLike, target: float) -> float:
    found = tpr_at_fpr(scores, labels, target)
    if found.value is None:
        raise DataError(str(found.reason))
    return found.value


def _nearest_position(scores: ArrayLike, labels: ArrayLike, target: float) -> float:
    values, truth, _ = checked(scores, labels)
    live = truth[np.argsort(-values, kind="stable")] == 1
    fpr, tpr = np.cumsum(~live) / (~live).sum(), np.cumsum(live) / live.sum()
    return float(tpr[np.argmin(np.abs(fpr - target))])


def _interpolated_at(scores: ArrayLike, labels: ArrayLike, target: float) -> float:
    return float(np.interp(target, *roc(scores, labels)[:2]))


EER_VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("fasbench", "fasbench", "(FAR + FRR) / 2 where |FAR - FRR| is least, then FAR + FRR", "none", _ours),
        Variant(
            "dadm",
            "DADM, MMDA, SSAN, GAC-FAS, SA-FAS (printed as HTER)",
            "(FPR + 1 - TPR) / 2 at the ROC point where |TPR + FPR - 1| is least",
            "the same criterion, but the corners of the ROC only, and of two equals the higher threshold; where no tie "
            "and no long straight run of the ROC is near, the value is ours",
            _dadm,
        ),
        Variant(
            "grid",
            "SSDG, ViTAF, FLIP (printed as HTER)",
            "(FAR + FRR) / 2 at the threshold of 0, 0.0001, ..., 1 and 1.1 where |FRR - FAR| is least; of equals, we "
            "think, the first",
            "thresholds between grid points are not tried: far off where scores crowd near 0 or 1, or leave [0, 1]",
            _grid,
        ),
        Variant(
            "nearest-threshold",
            "much released code: fpr[argmin |fnr - fpr|]",
            "FPR at the ROC point where |FNR - FPR| is least",
            "one of the two errors instead of their mean: off by half the gap between them",
            _nearest_threshold,
        ),
        Variant(
            "interpolated",
            "IADG and others: brentq(lambda x: 1 - x - interp1d(fpr, tpr)(x), 0, 1)",
            "x where the straight lines between ROC points cross TPR = 1 - x",
            "a rate that no threshold reaches; the curve is continuous, so FPR and FNR are equal there",
            _interpolated,
        ),
    )
}
TPR_VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("fasbench", "fasbench", "largest TPR with FPR <= target", "none", _ours_at),
        Variant(
            "flex-modal",
            "Flex-Modal, DADM",
            "TPR at the position of the sorted scores whose FPR is nearest to the target, the first of several",
            "FPR may exceed the target; samples with equal scores are split in the order of the rows, so the value may "
            "depend on that order (here: as given); no minimum count: with few attacks it is TPR at FPR = 0",
            _nearest_position,
        ),
        Variant(
            "interpolated",
            "np.interp(target, fpr, tpr)",
            "TPR on the straight lines between ROC points",
            "a rate that no threshold reaches; no minimum count; where TPR jumps at FPR = target, the largest",
            _interpolated_at,
        ),
    )
}


def eer_variant(name: str, scores: ArrayLike, labels: ArrayLike) -> float:
    """The EER by another definition; see `EER_VARIANTS`.

    Raises ConfigError for an unknown name, DataError for bad arrays or when a class is missing.

    >>> scores, labels = [0.1, 0.2, 0.6, 0.4, 0.8, 0.9, 0.95], [0, 0, 0, 1, 1, 1, 1]
    >>> [round(eer_variant(name, scores, labels), 4) for name in EER_VARIANTS]
    [0.2917, 0.2917, 0.2917, 0.3333, 0.25]
    """
    return _find(name, EER_VARIANTS).compute(*_both_classes(scores, labels))


def tpr_variant(name: str, scores: ArrayLike, labels: ArrayLike, target: float) -> float:
    """TPR@FPR by another definition; see `TPR_VARIANTS`.

    Raises ConfigError for an unknown name or a target outside (0, 1), DataError for bad arrays, when a class is
    missing, or (ours) when there are too few attacks.

    >>> scores, labels = [0.1, 0.2, 0.3, 0.6, 0.5, 0.7], [0, 0, 0, 0, 1, 1]
    >>> [tpr_variant(name, scores, labels, 0.3) for name in TPR_VARIANTS]  # nearest: FPR 1/4, first with TPR 1/2
    [1.0, 0.5, 1.0]
    """
    variant = _find(name, TPR_VARIANTS)
    if not 0 < target < 1:
        raise ConfigError(f"target {target} is not between 0 and 1: write 1 % as 0.01")
    return variant.compute(*_both_classes(scores, labels), target)


def _find(name: str, variants: dict[str, Variant]) -> Variant:
    if name not in variants:
        raise ConfigError(f"no variant '{name}'.{suggest(name, variants)} Known: {', '.join(variants)}")
    return variants[name]


def _both_classes(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    values, truth, _ = checked(scores, labels)
    if len(np.unique(truth)) < 2:
        raise DataError("undefined: both classes are needed")
    return values, truth
