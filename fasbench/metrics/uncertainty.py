"""Puts intervals beside the numbers of a result, each with what makes it unreliable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from fasbench.metrics.bootstrap import Bootstrap
from fasbench.metrics.intervals import too_few_units
from fasbench.metrics.levels import Level
from fasbench.metrics.policies import Policy
from fasbench.metrics.scores import Scores, effective_units

BOTH = ("live", "attack")
RATES = ("apcer", "bpcer", "hter", "acer")
MINIMUM_ERRING = 5  # units; a rate that so few make has too short an interval, however many units there are
NEEDED = {"eer": BOTH, "bpcer": ("live",), "fpr": ("attack",), "fixed": ()}  # classes that a rule reads
# Which classes of the test a number is about.
CLASSES: Mapping[str, Sequence[str]] = {
    "auc": BOTH,
    "eer": BOTH,
    "threshold": (),
    "hter": BOTH,
    "acer": BOTH,
    "apcer": ("attack",),
    "bpcer": ("live",),
    "apcer_max": ("attack",),
    "acer_max": BOTH,
}


class Uncertainty:
    """The intervals of one level. Without replicates there are none, and the places for them stay empty."""

    def __init__(self, name: str, level: Level, drawn: Bootstrap | None) -> None:
        self.name, self.level, self.drawn = name, level, drawn
        self.counts = {"validation": level.validation.counts(), "test": level.test.counts()}
        self.balanced = self.counts | {"validation": _least_of_domains(level.validation)}

    def add(
        self,
        block: dict[str, Any],
        place: Sequence[str] = (),
        policy: Policy | None = None,
        counts: dict[str, int | float] | None = None,
    ) -> dict[str, Any]:
        """The block with `intervals` of the numbers in it that are known and that `CLASSES` names.

        Args:
            place: of the block in the level.
            policy: whose threshold the numbers stand at.
            counts: of the slice that the numbers are about; left out, of the whole test.
        """
        shown = [name for name in CLASSES if self.drawn and block.get(name) is not None]
        return block | {
            "intervals": {
                name: self._interval((*place, name), CLASSES[name], policy, counts, block[name]) for name in shown
            }
        }

    def add_one(
        self,
        block: dict[str, Any],
        place: Sequence[str],
        classes: Sequence[str] = BOTH,
        policy: Policy | None = None,
        counts: dict[str, int | float] | None = None,
    ) -> dict[str, Any]:
        """The block with the `interval` of its `value`; `classes` of the test are what the value is about."""
        known = self.drawn is not None and block["value"] is not None
        return block | {"interval": self._interval(place, classes, policy, counts, block["value"]) if known else None}

    def _interval(
        self,
        place: Sequence[str],
        classes: Sequence[str],
        policy: Policy | None,
        counts: dict[str, int | float] | None,
        value: float,
    ) -> dict[str, Any]:
        assert self.drawn is not None
        rests_on = [("test", kind) for kind in classes]
        if policy is not None and policy.uses == "validation":
            rests_on += [("validation", kind) for kind in NEEDED[policy.rule]]
        whole = self.balanced if policy is not None and policy.balanced else self.counts
        here = whole if counts is None else whole | {"test": counts}
        reason = too_few_units(here, rests_on)
        if policy is not None and policy.oracle:
            of_threshold = too_few_units(self.counts, [("test", kind) for kind in NEEDED[policy.rule]])
            reason = reason or of_threshold
        if reason is None and place[-1] in RATES:
            erring = value * sum(here["test"][f"{kind}_effective_units"] for kind in classes)
            if erring < MINIMUM_ERRING:
                reason = f"about {erring:.1f} units with errors, fewer than {MINIMUM_ERRING}"
        return asdict(self.drawn.interval(self.name, *place, unreliable=reason))


def _least_of_domains(part: Scores) -> dict[str, int | float]:
    """Effective units of each class in the domain that has fewest: a balanced threshold hangs on every domain alike."""
    domains, persons = part.codes("domains").codes, part.codes("persons").codes
    found: dict[str, int | float] = {}
    for kind, label in (("live", 1), ("attack", 0)):
        of_class = part.labels == label
        sizes = [effective_units(persons[of_class & (domains == number)]) for number in np.unique(domains[of_class])]
        found[f"{kind}_effective_units"] = min(sizes, default=0.0)
    return found
