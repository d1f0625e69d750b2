"""The unit bootstrap: how much every number would vary with other persons and instruments.

Units are drawn as `fasbench.metrics.draws` says, in validation and in test; every threshold is estimated again in every
replicate, from the validation scores (or for the oracle the test scores) of the units drawn. Trainings stay as they
are: the interval says nothing of other training data or other seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fasbench.errors import ConfigError
from fasbench.metrics.chunks import in_chunks
from fasbench.metrics.draws import Units
from fasbench.metrics.intervals import Interval, interval
from fasbench.metrics.levels import Level, Path
from fasbench.metrics.policies import POLICIES, get_policy
from fasbench.metrics.scores import Scores

REPLICATES = 1000
LEVELS = ("frame", "video")


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """The replicates of every number of an evaluation, (replicates,) each, nan where undefined.

    A number goes by its level and its place in the result of `evaluate`: `("frame", "auc")`,
    `("video", "tpr_at_fpr", "1%")`, `("frame", "policies", "source-eer", "hter")`,
    `("frame", "slices", "attack", "groups", "print", "policies", "source-eer", "apcer")`.

    >>> Bootstrap(2, {("frame", "auc"): np.array([0.5, 0.6])}).interval("frame", "auc").high  # 0.5 + 97.5 % of 0.1
    0.5975
    """

    replicates: int
    arrays: dict[Path, np.ndarray]

    def interval(self, *path: str, unreliable: str | None = None) -> Interval:
        """The 95 % percentile interval of a number."""
        return interval(self.arrays[path], unreliable)


def bootstrap(
    validation: Scores,
    test: Scores,
    policies: Sequence[str] = tuple(POLICIES),
    replicates: int = REPLICATES,
    levels: Sequence[str] = LEVELS,
    threads: int | None = None,
    slice_policies: Sequence[str] | None = None,
) -> Bootstrap:
    """Replicates of every number that `evaluate` gives for the test, at every level.

    Which types and groups may be the worst is decided once, by the units of the data themselves. The result does not
    depend on `threads` (default: as many as there are cores). Raises ConfigError for an unknown policy, or for a number
    of replicates below 1.

    >>> attacks = ["print", "print", "live", "live"]
    >>> part = Scores([0.1, 0.7, 0.6, 0.9], [0, 0, 1, 1], list("abcd"), list("wxyz"), ["k"] * 4, attacks)
    >>> found = bootstrap(part, part, replicates=100).interval("frame", "auc")  # pairs won: 3 of 4
    >>> found.low, found.high
    (0.0, 1.0)
    """
    for name in policies:
        get_policy(name)
    return resample(sort_levels(validation, test, policies, levels, slice_policies), replicates, threads)


def sort_levels(
    validation: Scores,
    test: Scores,
    policies: Sequence[str],
    levels: Sequence[str] = LEVELS,
    slice_policies: Sequence[str] | None = None,
) -> dict[str, Level]:
    """Validation and test of every level, sorted once for all replicates."""
    parts = {"frame": (validation, test)}
    if "video" in levels:
        parts["video"] = validation.by_video(), test.by_video()
    return {name: Level(*parts[name], policies, slice_policies) for name in levels}


def resample(levels: dict[str, Level], replicates: int = REPLICATES, threads: int | None = None) -> Bootstrap:
    """`bootstrap` of levels that are sorted already. All levels have the same units, and share their draws."""
    if replicates < 1:
        raise ConfigError(f"replicates {replicates}: at least 1 is needed (1,000 for percentiles of 95 %)")
    one = next(iter(levels.values()))
    units = Units.of(one.validation, "validation"), Units.of(one.test, "test")

    def chunk(numbers: range) -> dict[Path, np.ndarray]:
        weights = [part.draw(numbers) for part in units]
        return {
            (name, *path): values for name, level in levels.items() for path, values in level.measure(*weights).items()
        }

    samples = max(len(level.validation.scores) + len(level.test.scores) for level in levels.values())
    found = in_chunks(chunk, replicates, samples, threads)
    return Bootstrap(replicates, {path: np.concatenate([part[path] for part in found]) for path in found[0]})
