"""The `slices` of a result: each group with its counts, numbers and intervals, and which group is the worst.

`slices`: slicing -> `groups`, `worst`, `suppressed`:

- `groups`: name -> `counts`, `auc`, and `policies`: name -> `hter` and `apcer`, and unless the slices are of attacks
  `bpcer`; the `hter` of an attack slice is (its APCER + the BPCER of all bona fide samples) / 2;
- `worst`: policy -> `group`, `metric`, `value`, `left_out` (groups with fewer than 20 units of a class that the metric
  is about), `reason`, `interval` (of the highest value of each replicate, whichever group has it);
- `suppressed`: name -> why its numbers are not shown.
"""

from __future__ import annotations

import math
from typing import Any

from fasbench.metrics.errors import MINIMUM_UNITS
from fasbench.metrics.levels import Level, enough_units
from fasbench.metrics.policies import POLICIES
from fasbench.metrics.slices import Slicing
from fasbench.metrics.uncertainty import BOTH, Uncertainty


def slice_report(level: Level, uncertainty: Uncertainty) -> dict[str, Any]:
    """Every slicing of a level, as plain JSON."""
    numbers = level.full()
    report = {}
    for slicing in (sums.slicing for sums in level.slices):
        counts = level.counts[slicing.name]
        report[slicing.name] = {
            "groups": {
                name: _group(slicing, name, counts[g], level, numbers, uncertainty)
                for g, name in enumerate(slicing.groups)
            },
            "worst": {policy: _worst(slicing, policy, level, numbers, uncertainty) for policy in level.slice_policies},
            "suppressed": slicing.suppressed,
        }
    return report


def _group(
    slicing: Slicing,
    name: str,
    counts: dict[str, int | float],
    level: Level,
    numbers: dict[tuple[str, ...], float],
    uncertainty: Uncertainty,
) -> dict[str, Any]:
    place = ("slices", slicing.name, "groups", name)
    block = {"counts": counts, **_known(["auc"], place, numbers, counts)}
    metrics = ["hter", "apcer"] if slicing.of_attacks else ["hter", "apcer", "bpcer"]
    policies = {}
    for policy in level.slice_policies:
        here = (*place, "policies", policy)
        policies[policy] = uncertainty.add(_known(metrics, here, numbers, counts), here, POLICIES[policy], counts)
    return uncertainty.add(block, place, None, counts) | {"policies": policies}


def _known(
    metrics: list[str], place: tuple[str, ...], numbers: dict[tuple[str, ...], float], counts: dict[str, int | float]
) -> dict[str, Any]:
    """The numbers at a place; None where undefined, with the reason."""
    paths = {name: (*place, name) for name in metrics}
    values = {name: numbers[path] for name, path in paths.items()}
    lacking = [what for what, key in (("bona fide samples", "live"), ("attacks", "attack")) if not counts[key]]
    reason = f"undefined: there are no {' and no '.join(lacking)}" if lacking else "undefined: there is no threshold"
    undefined = {name: reason for name, value in values.items() if math.isnan(value)}
    return {name: None if name in undefined else value for name, value in values.items()} | {"undefined": undefined}


def _worst(
    slicing: Slicing, policy: str, level: Level, numbers: dict[tuple[str, ...], float], uncertainty: Uncertainty
) -> dict[str, Any]:
    metric, classes = ("apcer", ("attack",)) if slicing.of_attacks else ("hter", BOTH)
    counts = dict(zip(slicing.groups, level.counts[slicing.name], strict=True))
    enough = [name for name in slicing.groups if enough_units(counts[name], slicing.of_attacks)]
    values = {name: numbers["slices", slicing.name, "groups", name, "policies", policy, metric] for name in enough}
    values = {name: value for name, value in values.items() if not math.isnan(value)}
    worst = max(values, key=values.__getitem__) if values else None
    missing = "undefined: there is no threshold" if enough else f"undefined: no group has {MINIMUM_UNITS} units"
    block = {
        "group": worst,
        "metric": metric,
        "value": values[worst] if worst is not None else None,
        "left_out": [name for name in slicing.groups if name not in enough],
        "reason": None if worst is not None else missing,
    }
    place = ("slices", slicing.name, "worst", policy)
    return uncertainty.add_one(block, place, classes, POLICIES[policy], counts[worst] if worst is not None else None)
