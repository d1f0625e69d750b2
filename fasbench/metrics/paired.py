"""The scores of one method over splits and seeds, made ready to be compared with another's on the same samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fasbench.errors import DataError, problem_list
from fasbench.metrics.bootstrap import bootstrap
from fasbench.metrics.curve import auc
from fasbench.metrics.errors import hter
from fasbench.metrics.intervals import mean_replicates, too_few_units
from fasbench.metrics.policies import POLICIES, threshold
from fasbench.metrics.scores import Scores
from fasbench.metrics.uncertainty import BOTH, NEEDED

Key = tuple[str, int]  # (split, seed)
Runs = Mapping[Key, tuple[Scores, Scores]]  # validation and test
Person = tuple[str, str]  # (domain, unit)


@dataclass(frozen=True, eq=False)
class Entry:
    """One split and seed of a method: its test samples in the order of their ids."""

    test: Scores
    validation: Scores
    order: np.ndarray  # (N,) rows of the test, sorted by id
    accepted: np.ndarray  # (N,) bool, at the method's own threshold, in that order
    ranks: np.ndarray  # (N,) mid-ranks of the scores, in that order
    values: dict[str, float]  # metric -> value

    @property
    def labels(self) -> np.ndarray:
        return self.test.labels[self.order]

    @property
    def ids(self) -> np.ndarray:
        return self.test.codes("ids").values


@dataclass(eq=False)
class Method:
    """A method with its entries; `policy` gives each its threshold, from its own validation scores."""

    name: str
    entries: dict[Key, Entry]
    policy: str
    level: str
    _replicates: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, runs: Runs, policy: str, level: str) -> Method:
        """Raises DataError where ids are missing, or where a number of an entry is undefined."""
        entries = {}
        for key in sorted(runs):
            validation, test = runs[key] if level == "frame" else (part.by_video() for part in runs[key])
            try:
                entries[key] = _entry(validation, test, policy)
            except DataError as problem:
                raise DataError(f"{_where(name, key)}: {problem}") from None
        return cls(name, entries, policy, level)

    def value(self, metric: str) -> float:
        """Mean over splits of the mean over seeds."""
        return float(self._mean({key: np.array([entry.values[metric]]) for key, entry in self.entries.items()})[0])

    def replicates(self, metric: str, count: int) -> np.ndarray:
        """Bootstrap replicates of `value`, (count,)."""
        if (metric, count) not in self._replicates:
            paths = {"auc": ("frame", "auc"), "hter": ("frame", "policies", self.policy, "hter")}
            found: dict[str, dict[Key, np.ndarray]] = {name: {} for name in paths}
            for key, entry in self.entries.items():  # an entry is of the right level already
                drawn = bootstrap(entry.validation, entry.test, [self.policy], count, levels=["frame"])
                for name, path in paths.items():
                    found[name][key] = drawn.arrays[path]
            self._replicates |= {(name, count): self._mean(arrays) for name, arrays in found.items()}
        return self._replicates[metric, count]

    @property
    def seeds(self) -> int:
        """The fewest trainings that stand behind a split."""
        return min(Counter(split for split, _ in self.entries).values())

    def unreliable(self, metric: str) -> str | None:
        """Why intervals and p-values are to be read with care; None if every class has enough units."""
        needed = [("test", kind) for kind in BOTH]
        if metric == "hter":  # its threshold is from validation
            needed += [("validation", kind) for kind in NEEDED[POLICIES[self.policy].rule]]
        for (split, _), entry in self.entries.items():
            counts = {"test": entry.test.counts(), "validation": entry.validation.counts()}
            if reason := too_few_units(counts, needed):
                return f"{split}: {reason}" if split else reason
        return None

    def weight(self, key: Key) -> float:
        """What an entry counts for in the mean over splits of the mean over seeds."""
        splits = [split for split, _ in self.entries]
        return 1 / (len(set(splits)) * splits.count(key[0]))

    def _mean(self, arrays: dict[Key, np.ndarray]) -> np.ndarray:
        splits = sorted({split for split, _ in arrays})
        return mean_replicates([mean_replicates([v for k, v in arrays.items() if k[0] == split]) for split in splits])


def _entry(validation: Scores, test: Scores, policy: str) -> Entry:
    if test.ids is None:
        raise DataError("a comparison needs the id of every test sample")
    order = np.argsort(test.codes("ids").codes)
    at = threshold(policy, validation.scores, validation.labels, validation.domains).value
    values = {"auc": auc(test.scores, test.labels), "hter": hter(test.scores, test.labels, at)}
    accepted = test.scores[order] >= at
    return Entry(test, validation, order, accepted, mid_ranks(test.scores[order]), values)


def mid_ranks(scores: np.ndarray) -> np.ndarray:
    """The rank of each score from 1, equal scores sharing the mean of theirs, (N,).

    >>> mid_ranks(np.array([0.2, 0.9, 0.2])).tolist()
    [1.5, 3.0, 1.5]
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def check_same_samples(a: Method, b: Method) -> None:
    """Raise one DataError unless both have the same splits, as many seeds, and the same samples.

    Validation samples are compared where both have ids of them.
    """
    if [split for split, _ in a.entries] != [split for split, _ in b.entries]:
        has = [f"{m.name} has {', '.join(f'{split} seed {seed}' for split, seed in m.entries)}" for m in (a, b)]
        raise DataError(problem_list("only the same splits with as many seeds of each can be compared", has))
    problems = []
    for (key, one), (_, other) in zip(a.entries.items(), b.entries.items(), strict=True):
        place = f"{key[0] or 'test'}, seed {key[1]}"
        chosen = (one.validation.ids, other.validation.ids)
        if chosen[0] is not None and chosen[1] is not None and set(chosen[0]) != set(chosen[1]):
            lengths = " and ".join(str(len(ids)) for ids in chosen if ids is not None)
            problems.append(f"{place}: thresholds from other validation samples ({lengths} of them)")
        if len(one.ids) != len(other.ids) or not np.array_equal(one.ids, other.ids):
            problems += [f"{place}: {line}" for line in _only_in(a.name, one, other) + _only_in(b.name, other, one)]
            continue
        for what, column in (("labels", "labels"), ("units", "units"), ("domains", "domains")):
            differ = np.flatnonzero(getattr(one.test, column)[one.order] != getattr(other.test, column)[other.order])
            if len(differ):
                problems.append(f"{place}: {len(differ)} samples with other {what}, first {one.ids[differ[0]]}")
    if problems:
        raise DataError(problem_list(f"{a.name} and {b.name} did not score the same samples", problems))


def _only_in(name: str, one: Entry, other: Entry) -> list[str]:
    missing = np.setdiff1d(one.ids, other.ids)
    examples = ", ".join(str(value) for value in missing[:3])
    count = f"{len(missing)} of {len(one.ids)} ids"
    return [f"{count} only in {name}, first {examples}"] if len(missing) else []


def persons(method: Method) -> dict[Key, np.ndarray]:
    """The unit of every sample, (N,) in the order of the ids: numbered over all entries, the same person once."""
    number: dict[Person, int] = {}
    found = {}
    for key, entry in method.entries.items():
        codes = entry.test.codes("persons")
        domains, units = entry.test.codes("domains").names(), entry.test.codes("units").names()
        here = [number.setdefault((domains[d], units[u]), len(number)) for d, u in codes.values.tolist()]
        found[key] = np.array(here, dtype=np.intp)[codes.codes][entry.order]
    return found


def _where(name: str, key: Key) -> str:
    return f"{name}, {key[0]}, seed {key[1]}" if key[0] else name
