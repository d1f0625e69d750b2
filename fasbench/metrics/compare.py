"""compare(): does one method do better than another on the same samples, or could it be the choice of persons?

The test swaps the two methods within whole units (persons, instruments), the same units in every split and seed: if the
methods are alike, it does not matter which is called which. What is swapped is on one scale for both methods: for the
AUC the mid-rank of a sample among the samples of its method, for the HTER whether it was accepted at the method's own
threshold. Raw scores are not: a method whose scores lie elsewhere would look different for that alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fasbench.errors import ConfigError, suggest
from fasbench.metrics.bootstrap import REPLICATES
from fasbench.metrics.chunks import in_chunks
from fasbench.metrics.draws import random_numbers
from fasbench.metrics.intervals import Interval, interval
from fasbench.metrics.paired import Method, Runs, check_same_samples, persons
from fasbench.metrics.policies import get_policy
from fasbench.metrics.scores import Scores
from fasbench.metrics.weighted import Pairs

PERMUTATIONS = 9999
LEVEL = 0.05  # of significance, after Holm's correction
METRICS = {"hter": "lower", "auc": "higher"}  # which is better


@dataclass(frozen=True)
class Comparison:
    """Two methods by one metric. `difference` = value of a - value of b.

    >>> Comparison("x", "y", "hter", 0.10, 0.15, -0.05, Interval(-0.08, -0.02), 0.001, 40).better
    'x'
    """

    a: str
    b: str
    metric: str
    value_a: float
    value_b: float
    difference: float
    interval: Interval  # of the difference, from the paired bootstrap
    p_value: float
    units: int  # that were swapped
    p_holm: float | None = None  # corrected for all comparisons of a table
    seeds: int = 1  # trainings of each method behind every split

    @property
    def significant(self) -> bool:
        """Whether the p-value, corrected if it is one of several, is below 5 %."""
        return (self.p_value if self.p_holm is None else self.p_holm) < LEVEL

    @property
    def better(self) -> str | None:
        """The method that is significantly better, or None.

        The interval must not hold 0 either. A swap leaves the thresholds as they are, the bootstrap does not: with few
        validation units, thresholds of methods that are alike differ by chance, and the swaps alone would find that.
        """
        low, high = self.interval.low, self.interval.high
        if not self.significant or self.difference == 0 or low is None or high is None or low <= 0 <= high:
            return None
        return self.a if (self.difference < 0) == (METRICS[self.metric] == "lower") else self.b

    def turned(self) -> Comparison:
        """The same comparison, b before a."""
        low, high = self.interval.low, self.interval.high
        ends = None if high is None else -high, None if low is None else -low
        return replace(
            self,
            a=self.b,
            b=self.a,
            value_a=self.value_b,
            value_b=self.value_a,
            difference=-self.difference,
            interval=replace(self.interval, low=ends[0], high=ends[1]),
        )


def compare(
    a: Runs | tuple[Scores, Scores],
    b: Runs | tuple[Scores, Scores],
    metric: Literal["hter", "auc"] = "hter",
    policy: str = "source-eer",
    level: Literal["frame", "video"] = "frame",
    permutations: int = PERMUTATIONS,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Comparison:
    """Two-sided paired permutation test over units, with the difference and its paired bootstrap interval.

    `a` and `b` are `(validation, test)`, or several of them as `{(split, seed): (validation, test)}`: then the mean
    over splits of the mean over seeds is compared, and a unit is swapped in all of them together. Seeds are paired in
    order.
    With S the set of swapped units and D(S) the difference of the swapped methods,
    p = (1 + #{S: |D(S)| >= |D|}) / (1 + permutations). Thresholds are not chosen again after a swap; in the bootstrap
    they are. Sources: Bandos, Rockette and Gur, Statistics in Medicine 24 (2005), swapping ranks; Phipson and Smyth,
    Statistical Applications in Genetics and Molecular Biology 9 (2010), the + 1. Both say how far other persons could
    change the result; other trainings could too, which only more seeds show.

    Raises ConfigError for an unknown metric or policy and for an oracle policy, DataError when the two did not score
    the same samples (which ones, and how many), when ids are missing, or when a class is.

    >>> attacks, ids = ["print"] * 4 + ["live"] * 4, list("stuvwxyz")
    >>> rest = [0] * 4 + [1] * 4, ids, ids, ["k"] * 8, attacks, ids
    >>> good = Scores([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9], *rest)
    >>> poor = Scores([0.9, 0.2, 0.8, 0.4, 0.6, 0.1, 0.3, 0.7], *rest)
    >>> found = compare((good, good), (poor, poor), "auc")
    >>> found.difference, round(found.p_value, 1)  # pairs won: 16 of 16 and 5 of 16
    (0.6875, 0.1)
    """
    check_request([metric], policy, level, permutations)
    one, other = (Method.of(name, as_runs(runs), policy, level) for name, runs in (("the first", a), ("the second", b)))
    return compare_methods(one, other, metric, permutations, replicates, seed)


def as_runs(given: Runs | tuple[Scores, Scores]) -> Runs:
    return {("", 0): given} if isinstance(given, tuple) else given


def check_request(metrics: Sequence[str], policy: str, level: str, permutations: int = PERMUTATIONS) -> None:
    """Raise ConfigError unless this can be compared."""
    if permutations < 1:
        raise ConfigError(f"permutations {permutations}: at least 1 is needed (9,999 for p-values down to 0.0001)")
    for name, known in ((level, ["frame", "video"]), *((metric, list(METRICS)) for metric in metrics)):
        if name not in known:
            raise ConfigError(f"'{name}' cannot be compared.{suggest(name, known)} Known: {', '.join(known)}")
    if get_policy(policy).oracle:
        raise ConfigError(f"policy '{policy}' reads the test labels: methods are not compared by it")


def compare_methods(a: Method, b: Method, metric: str, permutations: int, replicates: int, seed: int) -> Comparison:
    """`compare` of methods that are prepared already."""
    check_same_samples(a, b)
    difference = a.value(metric) - b.value(metric)
    owners = persons(a)
    count = 1 + max(int(codes.max()) for codes in owners.values())
    swapped = _swapped_auc if metric == "auc" else _swapped_hter
    others = swapped(a, b, owners, count, permutations, seed)
    # Sums in another order differ by rounding; a swap that changes nothing must count as no smaller.
    as_large = int((np.abs(others) >= abs(difference) - 1e-12).sum())
    drawn = a.replicates(metric, replicates) - b.replicates(metric, replicates)
    return Comparison(
        a=a.name,
        b=b.name,
        metric=metric,
        value_a=a.value(metric),
        value_b=b.value(metric),
        difference=difference,
        interval=interval(drawn, a.unreliable(metric) or b.unreliable(metric)),
        p_value=(1 + as_large) / (1 + permutations),
        units=count,
        seeds=a.seeds,
    )


def swaps(numbers: range, units: int, seed: int) -> np.ndarray:
    """Which units change sides in each permutation, (R, units) int64 of 0 and 1."""
    rows = []
    for number in numbers:
        words = random_numbers(("swap", seed, number), -(-units // 32)).astype("<u4")
        rows.append(np.unpackbits(words.view(np.uint8), count=units))
    return np.stack(rows).astype(np.int64)


def _swapped_hter(
    a: Method, b: Method, owners: dict[tuple[str, int], np.ndarray], units: int, count: int, seed: int
) -> np.ndarray:
    """Differences of HTER after swapping decisions, (count,): each unit adds its errors to one side or the other."""
    share = np.zeros(units)  # of each unit in the difference
    for (key, one), other in zip(a.entries.items(), b.entries.values(), strict=True):
        attack = one.labels == 0
        errors = (one.accepted == attack).astype(np.float64) - (
            other.accepted == attack
        )  # accepted attack, or rejected
        sizes = np.where(attack, attack.sum(), (~attack).sum())
        share += a.weight(key) * np.bincount(owners[key], errors / (2 * sizes), minlength=units)
    return np.concatenate(in_chunks(lambda numbers: (1 - 2 * swaps(numbers, units, seed)) @ share, count, units))


def _swapped_auc(
    a: Method, b: Method, owners: dict[tuple[str, int], np.ndarray], units: int, count: int, seed: int
) -> np.ndarray:
    """Differences of AUC after swapping mid-ranks, (count,).

    Every sample stands in the pairs twice, with its rank by a and with its rank by b, as of two units; a permutation
    gives one of the two the weight 1 on the first side, and the other on the second.
    """
    total = np.zeros(count)
    for (key, one), other in zip(a.entries.items(), b.entries.values(), strict=True):
        pairs = Pairs(
            np.concatenate([one.ranks, other.ranks]),
            np.tile(one.labels, 2),
            np.concatenate([owners[key], owners[key] + units]),
        )

        def differences(numbers: range, pairs: Pairs = pairs) -> np.ndarray:
            swapped = swaps(numbers, units, seed)
            sides = np.concatenate([1 - swapped, swapped], axis=1), np.concatenate([swapped, 1 - swapped], axis=1)
            return pairs.auc(sides[0]) - pairs.auc(sides[1])

        total += a.weight(key) * np.concatenate(in_chunks(differences, count, 2 * len(one.ranks)))
    return total
