"""Intervals from bootstrap replicates: percentiles, means over splits and seeds, and when not to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fasbench.errors import DataError

CONFIDENCE = 0.95
MINIMUM_EFFECTIVE = 20  # units of a class; with fewer, the intervals are known to be too short
MAXIMUM_DEGENERATE = 0.05  # of the replicates; with more, the percentiles are those of a selection


@dataclass(frozen=True)
class Interval:
    """A 95 % percentile interval. `low` and `high` are None, with the reason in `undefined`, where there is none.

    `degenerate` counts the replicates in which the number was undefined (a species dropped out, too few attacks for a
    target FPR); the percentiles are of the others. `unreliable` says why an interval is not to be trusted.

    >>> Interval(0.1, 0.2).unreliable is None
    True
    """

    low: float | None
    high: float | None
    degenerate: int = 0
    unreliable: str | None = None
    undefined: str | None = None


def interval(replicates: np.ndarray, unreliable: str | None = None) -> Interval:
    """The 2.5 % and 97.5 % percentiles (linear interpolation) of the replicates (R,) that are not nan.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. With more than 5 % of the
    replicates degenerate there is no interval, because a selection of replicates has other percentiles than all.
    An interval of no width is unreliable: an error that no unit shows is in no replicate either, and yet with n units a
    rate of 3 / n goes unseen in one of twenty data sets.

    >>> interval(np.arange(101.0))
    Interval(low=2.5, high=97.5, degenerate=0, unreliable=None, undefined=None)
    >>> interval(np.array([0.5, np.nan, 0.7])).undefined
    'undefined in 1 of 3 replicates'
    >>> interval(np.zeros(3)).unreliable
    'all replicates agree: what no unit shows, none can repeat'
    """
    known = replicates[~np.isnan(replicates)]
    degenerate = len(replicates) - len(known)
    if degenerate > MAXIMUM_DEGENERATE * len(replicates) or not len(known):
        reason = f"undefined in {degenerate} of {len(replicates)} replicates"
        return Interval(None, None, degenerate, unreliable, reason)
    tail = round(50 * (1 - CONFIDENCE), 9)
    low, high = np.percentile(known, [tail, 100 - tail])
    if low == high:
        unreliable = unreliable or "all replicates agree: what no unit shows, none can repeat"
    return Interval(float(low), float(high), degenerate, unreliable)


def mean_replicates(replicates: Sequence[np.ndarray]) -> np.ndarray:
    """Replicate r of a mean over splits, or over seeds: the mean of their replicates r, (R,).

    This is right because replicate r draws the same units wherever they stand: the sources that two splits share, and
    the one test set of several seeds, vary together. nan where any of them is. Raises DataError unless all have the
    same number of replicates, at least one.

    >>> mean_replicates([np.array([0.1, 0.2]), np.array([0.3, np.nan])]).tolist()
    [0.2, nan]
    """
    lengths = sorted({len(values) for values in replicates})
    if len(lengths) != 1 or lengths == [0]:
        raise DataError(f"a mean needs replicates of one number, found {', '.join(map(str, lengths)) or 'none'}")
    total = np.sum(np.stack(replicates), axis=0, dtype=np.float64)
    return np.asarray(total / len(replicates))


def too_few_units(counts: dict[str, dict[str, int | float]], classes: Sequence[tuple[str, str]]) -> str | None:
    """Why an interval is unreliable: the (part, class) pairs it rests on with fewer than 20 effective units, or None.

    >>> counts = {"test": {"live_effective_units": 8.0, "attack_effective_units": 31.5}}
    >>> too_few_units(counts, [("test", "live"), ("test", "attack")])
    'fewer than 20 effective units: test live 8.0'
    """
    few = [
        f"{part} {kind} {counts[part][f'{kind}_effective_units']:.1f}"
        for part, kind in classes
        if counts[part][f"{kind}_effective_units"] < MINIMUM_EFFECTIVE
    ]
    return f"fewer than {MINIMUM_EFFECTIVE} effective units: {', '.join(few)}" if few else None
