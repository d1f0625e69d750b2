"""evaluate(): every number of one split x condition, from its validation and test scores. Plain JSON comes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from fasbench.errors import DataError
from fasbench.metrics.bootstrap import REPLICATES, Bootstrap, resample, sort_levels
from fasbench.metrics.columns import Codes
from fasbench.metrics.curve import Curve, curve
from fasbench.metrics.errors import (
    acer,
    apcer,
    attack_table,
    bpcer,
    curve_bpcer_at_apcer,
    curve_tpr_at_fpr,
    hter,
    worst_attack,
)
from fasbench.metrics.intervals import CONFIDENCE
from fasbench.metrics.levels import APCER_TARGETS, FPR_TARGETS, Level
from fasbench.metrics.policies import POLICIES, Policy, balanced_weights, curve_threshold, get_policy
from fasbench.metrics.scores import Scores
from fasbench.metrics.slice_report import slice_report
from fasbench.metrics.uncertainty import Uncertainty

METRICS_VERSION = 2


def evaluate(
    validation: Scores,
    test: Scores,
    policies: Sequence[str] = tuple(POLICIES),
    replicates: int = REPLICATES,
    slice_policies: Sequence[str] | None = None,
) -> dict[str, Any]:
    """All metrics of `test`, with thresholds from `validation`, per frame and per video (mean score).

    The result holds only dicts, lists, text, finite numbers, booleans and None:

    - `metrics_version`; `bootstrap`: `replicates`, `confidence`;
    - `levels`: `frame`, `video`, each with
        - `counts` (samples, units, videos, effective units), `auc`, `eer`;
        - `tpr_at_fpr`: `10%`, `1%`, `0.1%`, and `bpcer_at_apcer`: `10%`, `5%`, `1%` (BPCER10, BPCER20, BPCER100), each
          `value`, `target`, `attacks`, `needed`, `coarse`, `reason`, `interval`: read off the test ROC, as is `eer`;
        - `policies`: name -> `uses`, `oracle`, `threshold`, `gap`, `hter`, `apcer`, `bpcer`, `acer`, `acer_max`,
          `apcer_max`, `apcer_max_attack`, `apcer_max_left_out`, `warnings`, and `apcer_per_attack`: type -> `value`,
          `n`, `units`, `interval`;
        - `slices`: `attack`, `attack_fine`, `domain`, ... -> see `fasbench.metrics.slice_report`, at the thresholds of
          `slice_policies`: by default of `source-eer` and `test-eer`, those of them that are in `policies`;
        - `validation`: `counts`, `auc`, `eer`; `warnings`.

    A number that is undefined is None, and the `undefined` dict beside it gives the reason. Every block with
    `undefined` has `intervals` too (but for `validation`), and what has one `value` has one `interval`: `low`, `high`,
    `degenerate`, `unreliable`, `undefined`, see `fasbench.metrics.intervals.Interval`. With `replicates=0` `intervals`
    is empty and `interval` None. Raises ConfigError for an unknown policy, or slices by one that is not in
    `policies`.

    >>> attacks = ["print", "print", "live", "live"]
    >>> part = Scores([0.1, 0.4, 0.6, 0.9], [0, 0, 1, 1], list("abab"), list("wxyz"), ["k"] * 4, attacks)
    >>> frame = evaluate(part, part)["levels"]["frame"]
    >>> frame["auc"], frame["policies"]["source-eer"]["threshold"], frame["policies"]["test-eer"]["oracle"]
    (1.0, 0.5, True)
    >>> frame["intervals"]["auc"]["unreliable"]
    'fewer than 20 effective units: test live 2.0, test attack 2.0'
    >>> frame["policies"]["source-eer"]["undefined"]["apcer_max"]
    'undefined: no attack type has 20 units (print: 2)'
    """
    return evaluate_with_replicates(validation, test, policies, replicates, slice_policies)[0]


def evaluate_with_replicates(
    validation: Scores,
    test: Scores,
    policies: Sequence[str] = tuple(POLICIES),
    replicates: int = REPLICATES,
    slice_policies: Sequence[str] | None = None,
) -> tuple[dict[str, Any], Bootstrap | None]:
    """`evaluate`, and the replicates behind its intervals; None for `replicates=0`.

    >>> part = Scores([0.1, 0.9], [0, 1], ["a", "b"], ["v", "w"], ["k"] * 2, ["print", "live"])
    >>> metrics, drawn = evaluate_with_replicates(part, part, ["source-eer"], replicates=10)
    >>> drawn.arrays["frame", "policies", "source-eer", "hter"].tolist() == [0.0] * 10
    True
    """
    for name in policies:
        get_policy(name)
    levels = sort_levels(validation, test, policies, slice_policies=slice_policies)
    drawn = resample(levels, replicates) if replicates else None
    metrics = {
        "metrics_version": METRICS_VERSION,
        "bootstrap": {"replicates": replicates, "confidence": CONFIDENCE},
        "levels": {name: _level(level, Uncertainty(name, level, drawn)) for name, level in levels.items()},
    }
    return metrics, drawn


def _level(level: Level, uncertainty: Uncertainty) -> dict[str, Any]:
    validation, test = level.validation, level.test
    source, target = (curve(part.scores, part.labels) for part in (validation, test))
    weights = balanced_weights(validation.labels, validation.codes("domains").codes)
    curves = {"validation": source, "balanced": curve(validation.scores, validation.labels, weights), "test": target}
    targets = {"tpr_at_fpr": (FPR_TARGETS, curve_tpr_at_fpr), "bpcer_at_apcer": (APCER_TARGETS, curve_bpcer_at_apcer)}
    return {
        **uncertainty.add(_ranking(test, target)),
        **{
            name: {text: uncertainty.add_one(asdict(read(target, goal)), (name, text)) for text, goal in of.items()}
            for name, (of, read) in targets.items()
        },
        "policies": {name: _policy(POLICIES[name], level, curves, uncertainty) for name in level.policies},
        "slices": slice_report(level, uncertainty),
        "validation": _ranking(validation, source),
        "warnings": _warnings(source),
    }


def _ranking(part: Scores, points: Curve) -> dict[str, Any]:
    """What needs no transferred threshold: counts, AUC and EER."""
    undefined: dict[str, str] = {}
    return {
        "counts": part.counts(),
        "auc": _number("auc", points.auc, undefined),
        "eer": _number("eer", lambda: points.eer().value, undefined),
        "undefined": undefined,
    }


def _policy(policy: Policy, level: Level, curves: dict[str, Curve], uncertainty: Uncertainty) -> dict[str, Any]:
    """The threshold of one policy and the error rates of the test scores there."""
    head = {"uses": policy.uses, "oracle": policy.oracle}
    points = curves["test" if policy.oracle else "balanced" if policy.balanced else "validation"]
    try:
        chosen = curve_threshold(policy, points)
    except DataError as problem:  # the arrays are checked, so what is missing is a class
        reason = f"{policy.uses}: {problem}"
        names = ("threshold", "gap", "hter", "apcer", "bpcer", "acer", "acer_max", "apcer_max")
        rates = dict.fromkeys(names) | {"apcer_per_attack": {}, "apcer_max_attack": None, "apcer_max_left_out": []}
        return {**head, **rates, "undefined": dict.fromkeys(names, reason), "intervals": {}, "warnings": []}
    undefined: dict[str, str] = {}
    found = {
        **head,
        "threshold": chosen.value,
        "gap": _number("gap", lambda: _gap(chosen.gap), undefined),
        **_rates(level.test, chosen.value, undefined),
        "undefined": undefined,
        "warnings": list(chosen.warnings),
    }
    counts = dict(zip(level.slices[0].slicing.groups, level.counts["attack"], strict=True))
    for kind, rate in found["apcer_per_attack"].items():
        place = ("slices", "attack", "groups", kind, "policies", policy.name, "apcer")
        found["apcer_per_attack"][kind] = uncertainty.add_one(rate, place, ("attack",), policy, counts[kind])
    block = uncertainty.add(found, ("policies", policy.name), policy)
    if found["apcer_max_attack"] is not None:  # rests on the units of that type, not on those of all attacks
        own = {key: count for key, count in counts[found["apcer_max_attack"]].items() if key.startswith("attack")}
        worst = {name: found[name] for name in ("apcer_max", "acer_max")}
        of_worst = uncertainty.add(worst, ("policies", policy.name), policy, {**level.test.counts(), **own})
        block["intervals"] |= of_worst["intervals"]
    return block


def _rates(test: Scores, at: float, undefined: dict[str, str]) -> dict[str, Any]:
    """Error rates of the test scores at a threshold; reasons for undefined ones go to `undefined`."""
    scores, labels = test.scores, test.labels
    rejected = _number("bpcer", lambda: bpcer(scores, labels, at), undefined)
    attack = labels == 0
    kinds, owners = (
        Codes(column.values, column.codes[attack], column.first)
        for column in (test.codes("attacks"), test.codes("persons"))
    )
    table = attack_table(scores[attack] >= at, kinds, owners) if attack.any() else {}
    worst = worst_attack(table)
    if worst.value is None:
        undefined["apcer_max"] = str(worst.reason)
    if worst.value is None or rejected is None:
        undefined["acer_max"] = worst.reason or undefined["bpcer"]
    return {
        "hter": _number("hter", lambda: hter(scores, labels, at), undefined),
        "apcer": _number("apcer", lambda: apcer(scores, labels, at), undefined),
        "bpcer": rejected,
        "acer": _number("acer", lambda: acer(scores, labels, at), undefined),
        "acer_max": None if worst.value is None or rejected is None else (worst.value + rejected) / 2,
        "apcer_per_attack": {kind: asdict(rate) for kind, rate in table.items()},
        "apcer_max": worst.value,
        "apcer_max_attack": worst.attack,
        "apcer_max_left_out": list(worst.left_out),
    }


def _warnings(points: Curve) -> list[str]:
    """What the validation scores say about the method as a whole."""
    if len(points.scores) == 1:
        return ["all validation scores are equal: the method separates nothing"]
    if points.live and points.attack and points.auc() < 0.5:
        return [f"validation AUC is {points.auc():.3f}: scores look inverted (higher must mean more live)"]
    return []


def _number(name: str, compute: Callable[[], float], undefined: dict[str, str]) -> float | None:
    """The number, or None with the reason noted under its name."""
    try:
        return compute()
    except DataError as problem:
        undefined[name] = str(problem)
        return None


def _gap(gap: float | None) -> float:
    if gap is None:
        raise DataError("undefined: a fixed threshold has no gap")
    if math.isinf(gap):
        raise DataError("undefined: the threshold lies outside all scores")
    return gap
