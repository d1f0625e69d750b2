"""Error rates at a threshold (ISO/IEC 30107-3 and the literature's), and rates at a target of the other error.

Convention: a sample is accepted as live iff `score >= threshold`; `labels` 1 = bona fide, 0 = attack. The entries of
`attacks` and `units` at bona fide samples are not read by the APCER functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import ArrayLike

from fasbench.errors import ConfigError, DataError
from fasbench.metrics.arrays import checked
from fasbench.metrics.columns import Codes, combine, encode
from fasbench.metrics.curve import TOLERANCE, Curve, curve

MINIMUM_UNITS = 20  # an attack type with fewer units cannot be the maximum


@dataclass(frozen=True)
class AttackRate:
    """APCER of one attack type: `value` over `n` samples of `units` persons or instruments."""

    value: float
    n: int
    units: int


@dataclass(frozen=True)
class WorstAttack:
    """The highest APCER and its attack type; None with a reason when no type has enough units."""

    value: float | None
    attack: str | None
    left_out: tuple[str, ...]  # types with too few units
    reason: str | None = None


@dataclass(frozen=True)
class RateAtTarget:
    """A rate read off the test ROC; `value` is None, with a reason, where it cannot be measured."""

    value: float | None
    target: float
    attacks: int  # how many there are
    needed: int  # how many it takes
    coarse: bool  # fewer than 10 attacks may pass: one attack more or less moves the result
    reason: str | None = None


@overload
def apcer(scores: ArrayLike, labels: ArrayLike, threshold: float, attacks: None = None) -> float: ...
@overload
def apcer(scores: ArrayLike, labels: ArrayLike, threshold: float, attacks: ArrayLike) -> dict[str, float]: ...
def apcer(
    scores: ArrayLike, labels: ArrayLike, threshold: float, attacks: ArrayLike | None = None
) -> float | dict[str, float]:
    """APCER = attacks accepted / attacks: pooled, or a dict with one APCER per attack type when `attacks` is given.

    Source: ISO/IEC 30107-3, attack presentation classification error rate, there defined per species of attack
    instrument; the pooled value is the literature's (= FAR). Raises DataError when there are no attacks.

    >>> apcer([0.2, 0.7, 0.4, 0.9], [0, 0, 0, 1], 0.5, ["print", "print", "replay", "live"])
    {'print': 0.5, 'replay': 0.0}
    """
    if attacks is None:
        values, truth, _ = checked(scores, labels)
        return _share(values[truth == 0] >= _not_nan(threshold), "attacks")
    values, truth, _, kinds = checked(scores, labels, None, attacks=attacks)
    table = apcer_per_attack(values, truth, threshold, kinds, np.zeros(len(truth)))
    if not table:
        raise DataError("undefined: there are no attacks")
    return {kind: rate.value for kind, rate in table.items()}


def bpcer(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """BPCER = bona fide samples rejected / bona fide samples.

    Source: ISO/IEC 30107-3, bona fide presentation classification error rate (= FRR). Raises DataError when there are
    no bona fide samples.

    >>> bpcer([0.2, 0.6, 0.9, 0.5], [1, 1, 1, 0], 0.6)
    0.3333333333333333
    """
    values, truth, _ = checked(scores, labels)
    return _share(values[truth == 1] < _not_nan(threshold), "bona fide samples")


def hter(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """HTER = (FAR + FRR) / 2, the half total error rate at a threshold that was fixed beforehand.

    Source: the literature. Where papers print the test set's EER as "HTER", that is the policy `test-eer`. Raises
    DataError when a class is missing.

    >>> hter([0.2, 0.7, 0.6, 0.9], [0, 0, 1, 1], 0.5)  # (1/2 + 0/2) / 2
    0.25
    """
    return (apcer(scores, labels, threshold) + bpcer(scores, labels, threshold)) / 2


def acer(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """ACER = (pooled APCER + BPCER) / 2, equal to HTER.

    Source: the literature, not ISO/IEC 30107-3 (which keeps the two errors apart). Raises DataError when a class is
    missing.

    >>> acer([0.2, 0.7, 0.6, 0.9], [0, 0, 1, 1], 0.5)
    0.25
    """
    return hter(scores, labels, threshold)


def apcer_per_attack(
    scores: ArrayLike, labels: ArrayLike, threshold: float, attacks: ArrayLike, units: ArrayLike
) -> dict[str, AttackRate]:
    """APCER of each attack type with the samples and the distinct units (persons, instruments) behind it.

    Source: ISO/IEC 30107-3, APCER per species; here per coarse attack type. No attacks give an empty dict.

    >>> apcer_per_attack([0.2, 0.7], [0, 0], 0.5, ["print", "print"], ["anna", "anna"])
    {'print': AttackRate(value=0.5, n=2, units=1)}
    """
    values, truth, _, kinds, owners = checked(scores, labels, None, attacks=attacks, units=units)
    attack = truth == 0
    if not attack.any():
        return {}
    passed = values[attack] >= _not_nan(threshold)
    return attack_table(passed, encode(kinds[attack].astype(str)), encode(owners[attack]))


def attack_table(passed: np.ndarray, kinds: Codes, owners: Codes) -> dict[str, AttackRate]:
    """`apcer_per_attack` from what was accepted (N,) bool, and the attack types and units of the same N attacks.

    >>> kinds, owners = encode(np.array(["print", "print"])), encode(np.array(["anna", "bert"]))
    >>> attack_table(np.array([True, False]), kinds, owners)
    {'print': AttackRate(value=0.5, n=2, units=2)}
    """
    sizes = np.bincount(kinds.codes, minlength=len(kinds.values)).tolist()
    accepted = np.bincount(kinds.codes[passed], minlength=len(kinds.values)).tolist()
    units = np.bincount(combine(kinds, owners).values[:, 0], minlength=len(kinds.values)).tolist()
    return {
        name: AttackRate(accepted[kind] / sizes[kind], sizes[kind], units[kind])
        for kind, name in enumerate(kinds.names())
        if sizes[kind]
    }


def apcer_max(
    scores: ArrayLike,
    labels: ArrayLike,
    threshold: float,
    attacks: ArrayLike,
    units: ArrayLike,
    minimum_units: int = MINIMUM_UNITS,
) -> WorstAttack:
    """max over attack types of APCER, among the types with at least `minimum_units` units; the others are named.

    Source: ISO/IEC 30107-3, where the worst species of an attack potential decides; the minimum of 20 units is
    fasbench's, because the maximum over tiny groups measures how small they are.

    >>> apcer_max([0.7, 0.2, 0.8], [0, 0, 0], 0.5, ["print", "print", "mask"], ["a", "b", "c"], minimum_units=2)
    WorstAttack(value=0.5, attack='print', left_out=('mask',), reason=None)
    """
    return worst_attack(apcer_per_attack(scores, labels, threshold, attacks, units), minimum_units)


def worst_attack(table: dict[str, AttackRate], minimum_units: int = MINIMUM_UNITS) -> WorstAttack:
    """`apcer_max` from the table of `apcer_per_attack`; the first in alphabetical order among equals.

    >>> worst_attack({"mask": AttackRate(0.9, 12, 3)}).reason
    'undefined: no attack type has 20 units (mask: 3)'
    """
    left_out = tuple(kind for kind, rate in table.items() if rate.units < minimum_units)
    enough = [kind for kind in table if kind not in left_out]
    if not enough:
        sizes = ", ".join(f"{kind}: {rate.units}" for kind, rate in table.items()) or "there are no attacks"
        return WorstAttack(None, None, left_out, f"undefined: no attack type has {minimum_units} units ({sizes})")
    worst = max(enough, key=lambda kind: table[kind].value)
    return WorstAttack(table[worst].value, worst, left_out)


def acer_max(
    scores: ArrayLike,
    labels: ArrayLike,
    threshold: float,
    attacks: ArrayLike,
    units: ArrayLike,
    minimum_units: int = MINIMUM_UNITS,
) -> float | None:
    """ACER-max = (max APCER over attack types + BPCER) / 2, by the rule of `apcer_max`; None where that is undefined.

    Source: the literature (OULU-NPU, Boulkenafet et al., FG 2017), not ISO/IEC 30107-3.

    >>> attacks, units = ["print", "print", "mask", "live"], ["a", "b", "c", "d"]
    >>> acer_max([0.7, 0.2, 0.8, 0.3], [0, 0, 0, 1], 0.5, attacks, units, minimum_units=2)  # (1/2 + 1/1) / 2
    0.75
    """
    worst = apcer_max(scores, labels, threshold, attacks, units, minimum_units).value
    rejected = bpcer(scores, labels, threshold)
    return None if worst is None else (worst + rejected) / 2


def tpr_at_fpr(scores: ArrayLike, labels: ArrayLike, target: float) -> RateAtTarget:
    """TPR@FPR = max TPR(t) over thresholds t with FPR(t) <= target: no interpolation, ties of the score stay together.

    Source: the literature; a point of the test ROC, so no threshold could have been fixed beforehand. None when
    target x attacks < 1 (then only FPR = 0 would do), coarse when it is below 10.

    >>> tpr_at_fpr([0.1, 0.2, 0.3, 0.6, 0.5, 0.7], [0, 0, 0, 0, 1, 1], 0.25)  # one attack may pass: 0.6
    RateAtTarget(value=1.0, target=0.25, attacks=4, needed=4, coarse=True, reason=None)
    """
    return curve_tpr_at_fpr(curve(scores, labels), target)


def bpcer_at_apcer(scores: ArrayLike, labels: ArrayLike, target: float) -> RateAtTarget:
    """BPCER@APCER = min BPCER(t) over thresholds t with pooled APCER(t) <= target = 1 - TPR@FPR.

    Source: ISO/IEC 30107-3, BPCER at a fixed APCER; BPCER10, BPCER20 and BPCER100 are the targets 10 %, 5 % and 1 %.
    APCER is pooled over attack types. None and coarse as in `tpr_at_fpr`.

    >>> bpcer_at_apcer([0.1, 0.2, 0.3, 0.6, 0.5, 0.7], [0, 0, 0, 0, 1, 1], 0.2).reason
    'undefined: 5 attacks are needed, there are 4'
    >>> bpcer_at_apcer([0.1] * 9 + [0.6, 0.5, 0.7], [0] * 10 + [1, 1], 0.1).value  # BPCER10
    0.0
    """
    return _at_target(curve(scores, labels), target, accepted=False)


def curve_tpr_at_fpr(points: Curve, target: float) -> RateAtTarget:
    """`tpr_at_fpr` of a curve that exists already; its weights count as repetitions."""
    return _at_target(points, target, accepted=True)


def curve_bpcer_at_apcer(points: Curve, target: float) -> RateAtTarget:
    """`bpcer_at_apcer` of a curve that exists already; its weights count as repetitions."""
    return _at_target(points, target, accepted=False)


def _at_target(points: Curve, target: float, accepted: bool) -> RateAtTarget:
    """TPR (`accepted`) or BPCER at the lowest threshold with FPR <= target: both are best there."""
    if not 0 < target < 1:
        raise ConfigError(f"target {target} is not between 0 and 1: write 1 % as 0.01")
    # 0.1 * 30 > 3 and 0.29 * 100 < 29 in floating point: whole numbers count as reached.
    allowed = target * points.attack * (1 + 1e-9)
    attacks, needed, coarse = round(points.attack), math.ceil(1 / target * (1 - 1e-9)), allowed < 10
    if allowed < 1:
        reason = f"undefined: {needed} attacks are needed, there are {attacks}"
        return RateAtTarget(None, target, attacks, needed, coarse, reason)
    if not points.live:
        return RateAtTarget(None, target, attacks, needed, coarse, "undefined: there are no bona fide samples")
    rates = points.tpr if accepted else points.frr
    return RateAtTarget(rates[lowest_candidate(points, target)].item(), target, attacks, needed, coarse)


def lowest_candidate(points: Curve, target: float) -> int:
    """The lowest candidate with FAR <= target; there always is one, because the last candidate accepts nothing."""
    return int(np.argmax(points.far <= target + TOLERANCE))


def highest_candidate(points: Curve, target: float) -> int:
    """The highest candidate with FRR <= target; there always is one, because candidate 0 rejects nothing."""
    return int(np.flatnonzero(points.frr <= target + TOLERANCE)[-1])


def _share(flags: np.ndarray, of_what: str) -> float:
    if not len(flags):
        raise DataError(f"undefined: there are no {of_what}")
    return int(flags.sum()) / len(flags)


def _not_nan(threshold: float) -> float:
    if math.isnan(threshold):
        raise DataError("the threshold is not a number")
    return threshold
