"""The numbers of one level (frame or video) under many weightings of its units: the inside of the bootstrap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fasbench.errors import ConfigError
from fasbench.metrics.curve import TOLERANCE
from fasbench.metrics.errors import MINIMUM_UNITS
from fasbench.metrics.policies import POLICIES
from fasbench.metrics.scores import Scores
from fasbench.metrics.slices import SliceSums, slice_counts, slicings
from fasbench.metrics.weighted import Ranked, Weighted

Path = tuple[str, ...]  # of a number: ("policies", "source-eer", "hter"), as in the result of `evaluate`
FPR_TARGETS = {"10%": 0.1, "1%": 0.01, "0.1%": 0.001}
SLICE_POLICIES = ("source-eer", "test-eer")  # a transferred threshold, and the oracle's
APCER_TARGETS = {"10%": 0.1, "5%": 0.05, "1%": 0.01}  # BPCER10, BPCER20, BPCER100


class Level:
    """Validation and test of one level, sorted; `measure` gives every number for weights of their units."""

    def __init__(
        self, validation: Scores, test: Scores, policies: Sequence[str], slice_policies: Sequence[str] | None = None
    ) -> None:
        self.validation, self.test, self.policies = validation, test, tuple(policies)
        self.slice_policies = choose_slice_policies(self.policies, slice_policies)
        domains, units = validation.codes("domains"), validation.codes("persons").codes
        self.source = Ranked(validation.scores, validation.labels, units, domains.codes, len(domains.values))
        persons = test.codes("persons").codes
        self.target = Ranked(test.scores, test.labels, persons, np.zeros(len(persons), dtype=np.intp))
        self.slices = [SliceSums(slicing, test) for slicing in slicings(test)]
        self.counts = {  # of every slicing, group by group
            sums.slicing.name: [slice_counts(test, sums.slicing, g) for g in range(len(sums.slicing.groups))]
            for sums in self.slices
        }

    def full(self) -> dict[Path, float]:
        """Every number of the data as they are, each unit counted once; nan where undefined."""
        ones = [
            np.ones((1, len(part.codes("persons").values)), dtype=np.int64) for part in (self.validation, self.test)
        ]
        return {path: float(values[0]) for path, values in self.measure(*ones).items()}

    def measure(self, validation: np.ndarray, test: np.ndarray) -> dict[Path, np.ndarray]:
        """Every number by its path, (R,) each, for unit weights (R, units) of both parts; nan where undefined."""
        source, target = self.source.weigh(validation), self.target.weigh(test)
        found: dict[Path, np.ndarray] = {}
        oracle = self._test_roc(target, found)
        at = self._thresholds(source, oracle)
        far, frr = target.rates(np.searchsorted(self.target.distinct, at, side="left"))
        for q, policy in enumerate(self.policies):
            defined = np.isfinite(at[:, q])
            apcer, bpcer = (np.where(defined, rate[:, q], np.nan) for rate in (far, frr))
            half = (apcer + bpcer) / 2
            rates = {"threshold": at[:, q], "apcer": apcer, "bpcer": bpcer, "hter": half, "acer": half}
            found |= {("policies", policy, name): values for name, values in rates.items()}
        for sums in self.slices:
            self._slice(sums, test, at, target, found)
        return found

    def _test_roc(self, target: Weighted, found: dict[Path, np.ndarray]) -> np.ndarray:
        """What is read off the test ROC; returns the thresholds (R,) of the test's own EER."""
        goals = sorted({*FPR_TARGETS.values(), *APCER_TARGETS.values()})
        limits = np.array(goals) + TOLERANCE

        def holds(k: np.ndarray) -> np.ndarray:
            far, frr = target.rates(k)
            return np.concatenate([far[:, :1] - frr[:, :1] <= TOLERANCE, far[:, 1:] <= limits], axis=1)

        k = target.first(holds, 1 + len(goals))
        value, threshold = target.crossing(k[:, :1])
        lacking = _lacking(target, "both")
        found["eer",] = np.where(lacking, np.nan, value[:, 0])
        frr = target.rates(k[:, 1:])[1]
        live, rejected = target.live[:, 0], target.below(1, k[:, 1:]).sum(axis=0)
        for name, goal in FPR_TARGETS.items():
            column = goals.index(goal)
            with np.errstate(invalid="ignore"):
                tpr = (live - rejected[:, column]) / live
            found["tpr_at_fpr", name] = np.where(self._enough_attacks(target, goal), tpr, np.nan)
        for name, goal in APCER_TARGETS.items():
            rate = np.where(self._enough_attacks(target, goal), frr[:, goals.index(goal)], np.nan)
            found["bpcer_at_apcer", name] = rate
        return np.where(lacking, np.nan, threshold[:, 0])

    @staticmethod
    def _enough_attacks(target: Weighted, goal: float) -> np.ndarray:
        """As in `errors.tpr_at_fpr`: the target must allow at least one attack."""
        return goal * target.attack[:, 0] * (1 + 1e-9) >= 1

    def _thresholds(self, source: Weighted, oracle: np.ndarray) -> np.ndarray:
        """The threshold of every policy in every replicate, (R, policies)."""
        at = np.full((len(oracle), len(self.policies)), np.nan)
        searched = [(q, POLICIES[name]) for q, name in enumerate(self.policies) if POLICIES[name].uses == "validation"]
        rules = [policy.rule for _, policy in searched]
        balanced = np.array([policy.balanced for _, policy in searched])
        limits = np.array([policy.value or 0.0 for _, policy in searched]) + TOLERANCE
        equal, least = (np.array([rule == name for rule in rules]) for name in ("eer", "bpcer"))

        def holds(k: np.ndarray) -> np.ndarray:
            far, frr = source.rates(k, balanced)
            return np.where(equal, far - frr <= TOLERANCE, np.where(least, frr > limits, far <= limits))

        if searched:
            k = source.first(holds, len(searched))
            chosen = np.empty(k.shape)
            if equal.any():
                chosen[:, equal] = source.crossing(k[:, equal], balanced[equal])[1]
            if not equal.all():  # for a limit on BPCER the last candidate within it, just before the first beyond
                chosen[:, ~equal] = source.thresholds((k - least)[:, ~equal])
            for column, (q, policy) in enumerate(searched):
                needs = "both" if policy.rule == "eer" else "live" if policy.rule == "bpcer" else "attack"
                at[:, q] = np.where(_lacking(source, needs), np.nan, chosen[:, column])
        for q, name in enumerate(self.policies):
            if POLICIES[name].uses == "nothing":
                at[:, q] = POLICIES[name].value
            elif POLICIES[name].uses == "test":
                at[:, q] = oracle
        return at

    def _slice(
        self, sums: SliceSums, test: np.ndarray, at: np.ndarray, target: Weighted, found: dict[Path, np.ndarray]
    ) -> None:
        """The numbers of every group of a slicing, the worst group, and from the attack types the pooled AUC."""
        name = sums.slicing.name
        # The APCER of each attack type is reported for every policy, other slices for those chosen.
        policies = self.policies if name == "attack" else self.slice_policies
        at = at[:, [self.policies.index(policy) for policy in policies]]
        rates = sums.measure(test, at, target)
        if name == "attack":
            with np.errstate(invalid="ignore"):
                pairs = 2 * target.live[:, 0] * target.attack[:, 0]
                found["auc",] = np.minimum(rates.won.sum(axis=1) / pairs, 1.0)
        for g, group in enumerate(sums.slicing.groups):
            found["slices", name, "groups", group, "auc"] = rates.auc[:, g]
        for q, policy in enumerate(policies):
            defined = np.isfinite(at[:, q])[:, None]
            apcer = np.where(defined, rates.apcer[:, q], np.nan)
            bpcer = np.where(defined, rates.bpcer[:, q], np.nan)
            shown = {"apcer": apcer, "hter": (apcer + bpcer) / 2}
            if not sums.slicing.of_attacks:  # that of all attack slices is the one of the whole test
                shown["bpcer"] = bpcer
            for g, group in enumerate(sums.slicing.groups):
                place = ("slices", name, "groups", group, "policies", policy)
                found |= {(*place, metric): values[:, g] for metric, values in shown.items()}
            enough = [enough_units(counts, sums.slicing.of_attacks) for counts in self.counts[name]]
            worst = _highest(shown["apcer" if sums.slicing.of_attacks else "hter"][:, enough])
            found["slices", name, "worst", policy] = worst
            if name == "attack":
                found["policies", policy, "apcer_max"] = worst
                found["policies", policy, "acer_max"] = (worst + found["policies", policy, "bpcer"]) / 2


def choose_slice_policies(policies: Sequence[str], chosen: Sequence[str] | None) -> tuple[str, ...]:
    """The policies that slices are made for; by default those of `SLICE_POLICIES` that are evaluated.

    Raises ConfigError for one that is not evaluated.
    """
    if chosen is None:
        return tuple(name for name in SLICE_POLICIES if name in policies)
    if missing := [name for name in chosen if name not in policies]:
        raise ConfigError(f"slices by policy '{missing[0]}', which is not evaluated. Evaluated: {', '.join(policies)}")
    return tuple(chosen)


def enough_units(counts: dict[str, int | float], of_attacks: bool) -> bool:
    """Whether a group can be the worst of its slicing: 20 units of each class that its number is about."""
    return counts["attack_units"] >= MINIMUM_UNITS and (of_attacks or counts["live_units"] >= MINIMUM_UNITS)


def _lacking(points: Weighted, needs: str) -> np.ndarray:
    """Where a class that is needed has no weight, (R,)."""
    no_live, no_attack = points.live[:, 0] == 0, points.attack[:, 0] == 0
    return (no_live & (needs != "attack")) | (no_attack & (needs != "live"))


def _highest(values: np.ndarray) -> np.ndarray:
    """The highest of each row (R, G), (R,); nan where one is nan (the number would be of other groups), or none."""
    return values.max(axis=1) if values.shape[1] else np.full(len(values), np.nan)
