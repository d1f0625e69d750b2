"""Threshold policies: which operating point stands behind a number. Pure functions of scores.

Validation policies transfer a threshold from the source domains' validation scores; the oracle `test-eer` reads the
test set and is marked by type, so that no table can rank it with the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from fasbench.errors import ConfigError, DataError, suggest
from fasbench.metrics.arrays import checked
from fasbench.metrics.curve import Curve, curve
from fasbench.metrics.errors import highest_candidate, lowest_candidate

WIDE_GAP = 0.1  # of scores in [0, 1]; design: evaluation rules


@dataclass(frozen=True)
class Policy:
    """How a threshold is chosen. `uses` says whose scores it reads; an `oracle` reads the test set."""

    name: str
    uses: Literal["validation", "nothing", "test"]
    description: str
    rule: Literal["eer", "bpcer", "fpr", "fixed"]
    value: float | None = None  # the limit of the error rate, or the fixed threshold
    balanced: bool = False  # each domain x class weighs the same

    @property
    def oracle(self) -> bool:
        """True for policies that read the test set."""
        return self.uses == "test"


@dataclass(frozen=True)
class Threshold:
    """A chosen threshold; `lower < t <= upper` make the same decisions on the scores it was chosen from."""

    value: float
    lower: float | None = None
    upper: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def gap(self) -> float | None:
        """`upper - lower`: None for a fixed threshold, infinite outside all scores."""
        return None if self.lower is None or self.upper is None else self.upper - self.lower


_ALL = (
    Policy("source-eer", "validation", "EER threshold of pooled source validation (the headline)", "eer"),
    Policy(
        "source-eer-balanced",
        "validation",
        "EER threshold of source validation, each domain x class weighing the same",
        "eer",
        balanced=True,
    ),
    Policy("source-bpcer@1%", "validation", "largest threshold with BPCER <= 1 % on source validation", "bpcer", 0.01),
    Policy("source-fpr@1%", "validation", "lowest threshold with FPR <= 1 % on source validation", "fpr", 0.01),
    Policy("fixed@0.5", "nothing", "the threshold 0.5, whatever the scores", "fixed", 0.5),
    Policy("test-eer", "test", "ORACLE: EER threshold of the test scores themselves", "eer"),
)
POLICIES: dict[str, Policy] = {policy.name: policy for policy in _ALL}


def get_policy(name: str) -> Policy:
    """The policy of that name.

    >>> get_policy("source-err")
    Traceback (most recent call last):
    fasbench.errors.ConfigError: no threshold policy 'source-err'. Did you mean 'source-eer'? Known: \
source-eer, source-eer-balanced, source-bpcer@1%, source-fpr@1%, fixed@0.5, test-eer
    """
    if name not in POLICIES:
        hint = suggest(name, POLICIES)
        raise ConfigError(f"no threshold policy '{name}'.{hint} Known: {', '.join(POLICIES)}")
    return POLICIES[name]


def threshold(
    policy: str,
    scores: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    domains: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Threshold:
    """The threshold t of a policy; a sample is accepted as live iff s >= t.

    `scores` and `labels` (N,) are those of the part that the policy uses: validation for `source-*`, test for
    `test-eer`, none for `fixed@0.5`; `source-eer-balanced` also needs `domains`. Thresholds are candidates of
    `fasbench.metrics.curve.curve`: `source-eer` as in `eer`; `source-bpcer@1%` the largest candidate with BPCER <= 1 %;
    `source-fpr@1%` the lowest with FPR <= 1 %. Source: the evaluation rules in fasbench's design.

    Raises ConfigError for an unknown policy, DataError for bad arrays or when a class that the policy needs is missing.

    >>> chosen = threshold("source-eer", [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    >>> round(chosen.value, 3), round(chosen.gap, 3), len(chosen.warnings)
    (0.5, 0.6, 1)
    """
    found = get_policy(policy)
    if found.rule == "fixed" and found.value is not None:
        return Threshold(found.value)
    if scores is None or labels is None:
        raise DataError(f"policy '{policy}' needs the {found.uses} scores and labels")
    if found.balanced:
        if domains is None:
            raise DataError(f"policy '{policy}' needs the domain of every {found.uses} sample")
        weights = balanced_weights(labels, domains, weights)
    return curve_threshold(found, curve(scores, labels, weights))


def curve_threshold(policy: Policy, points: Curve) -> Threshold:
    """`threshold` from the curve of the part that the policy uses, weighted already where the policy is balanced."""
    if policy.rule == "fixed" and policy.value is not None:
        return Threshold(policy.value)
    value = _choose(policy, points)
    lower, upper = points.interval(value)
    return Threshold(value, lower, upper, (*_few_samples(policy, points), *_loose(policy, points, value)))


def _choose(policy: Policy, points: Curve) -> float:
    """The threshold among the candidates of the curve. Candidate 0 rejects nothing and the last accepts nothing."""
    if policy.value is None:
        return points.eer().threshold
    if policy.rule == "bpcer":
        k = highest_candidate(points, policy.value)
    else:
        k = lowest_candidate(points, policy.value)
    return float(points.thresholds[k])


def balanced_weights(labels: ArrayLike, domains: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
    """w_i = 1 / #{j of the same domain and class}: every domain x class that occurs sums to 1.

    FAR is then the mean of the FARs of the domains with attacks, FRR that of the domains with bona fide samples.
    Given weights are kept within each domain x class.

    >>> balanced_weights([0, 0, 1, 0], ["c", "c", "c", "s"]).tolist()
    [0.5, 0.5, 1.0, 1.0]
    """
    _, truth, counts, names = checked(np.zeros(np.size(labels)), labels, weights, domains=domains)
    cell = np.unique(names, return_inverse=True)[1] * 2 + truth
    total = np.bincount(cell, counts)[cell]
    return np.divide(counts, total, out=np.zeros(len(total)), where=total > 0)


def _few_samples(policy: Policy, points: Curve) -> list[str]:
    """A limit of 1 % means "none at all" for fewer than 100 samples."""
    if policy.value is None:
        return []
    what, count = ("bona fide samples", points.live) if policy.rule == "bpcer" else ("attacks", points.attack)
    if policy.value * count >= 1:
        return []
    return [
        f"{policy.value:.0%} of {count:g} {policy.uses} {what} is less than one: no error is allowed"
        f" ({math.ceil(1 / policy.value)} are needed)"
    ]


def _loose(policy: Policy, points: Curve, value: float) -> list[str]:
    """Warn where the scores leave the threshold open: outside all of them, or in a wide gap."""
    lower, upper = points.interval(value)
    if math.isinf(lower):
        return [f"the threshold accepts every {policy.uses} sample, as would any other up to {upper:.6g}"]
    if math.isinf(upper):
        return [f"the threshold rejects every {policy.uses} sample, as would any other above {lower:.6g}"]
    # The limit is meant for probabilities; other scales have no agreed unit.
    if upper - lower <= WIDE_GAP or points.scores[0] < 0 or points.scores[-1] > 1:
        return []
    k = points.candidate(value)
    separable = points.live and points.attack and not points.false_accepts[k] and not points.false_rejects[k]
    state = "is separable" if separable else "leaves a gap"
    return [
        f"{policy.uses} {state}: any threshold in ({lower:.6g}, {upper:.6g}] is legal and decides alike there,"
        " but not on other data"
    ]
