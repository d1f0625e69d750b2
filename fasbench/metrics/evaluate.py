"""evaluate(): every number of one split x condition, from its validation and test scores. Plain JSON comes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from fasbench.errors import DataError
from fasbench.metrics.curve import Curve, curve
from fasbench.metrics.errors import acer, apcer, apcer_per_attack, bpcer, curve_tpr_at_fpr, hter, worst_attack
from fasbench.metrics.policies import POLICIES, Threshold, get_policy, threshold
from fasbench.metrics.scores import Scores

METRICS_VERSION = 1
FPR_TARGETS = {"10%": 0.1, "1%": 0.01, "0.1%": 0.001}


def evaluate(validation: Scores, test: Scores, policies: Sequence[str] = tuple(POLICIES)) -> dict[str, Any]:
    """All metrics of `test`, with thresholds from `validation`, per frame and per video (mean score).

    The result holds only dicts, lists, text, finite numbers, booleans and None. A number that is undefined is None, and
    the `undefined` dict beside it gives the reason. `eer` and `tpr_at_fpr` of a level are read off the test ROC; HTER
    of a transferred threshold stands under `policies`. Raises ConfigError for an unknown policy.

    >>> attacks = ["print", "print", "live", "live"]
    >>> part = Scores([0.1, 0.4, 0.6, 0.9], [0, 0, 1, 1], list("abab"), list("wxyz"), ["k"] * 4, attacks)
    >>> frame = evaluate(part, part)["levels"]["frame"]
    >>> frame["auc"], frame["policies"]["source-eer"]["threshold"], frame["policies"]["test-eer"]["oracle"]
    (1.0, 0.5, True)
    >>> frame["policies"]["source-eer"]["undefined"]["apcer_max"]
    'undefined: no attack type has 20 units (print: 2)'
    """
    for name in policies:
        get_policy(name)
    return {
        "metrics_version": METRICS_VERSION,
        "levels": {
            "frame": _level(validation, test, policies),
            "video": _level(validation.by_video(), test.by_video(), policies),
        },
    }


def _level(validation: Scores, test: Scores, policies: Sequence[str]) -> dict[str, Any]:
    source, target = (curve(part.scores, part.labels) for part in (validation, test))
    return {
        **_ranking(test, target),
        "tpr_at_fpr": {name: asdict(curve_tpr_at_fpr(target, fpr)) for name, fpr in FPR_TARGETS.items()},
        "policies": {name: _policy(name, validation, test) for name in policies},
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


def _policy(name: str, validation: Scores, test: Scores) -> dict[str, Any]:
    """The threshold of one policy and the error rates of the test scores there."""
    policy = POLICIES[name]
    part = test if policy.uses == "test" else validation
    head = {"uses": policy.uses, "oracle": policy.oracle}
    try:
        chosen = threshold(name, part.scores, part.labels, part.domains)
    except DataError as problem:  # the arrays are checked, so what is missing is a class
        reason = f"{policy.uses}: {problem}"
        names = ("threshold", "gap", "hter", "apcer", "bpcer", "acer", "acer_max", "apcer_max")
        rates = dict.fromkeys(names) | {"apcer_per_attack": {}, "apcer_max_attack": None, "apcer_max_left_out": []}
        return {**head, **rates, "undefined": dict.fromkeys(names, reason), "warnings": []}
    undefined: dict[str, str] = {}
    return {
        **head,
        "threshold": chosen.value,
        "gap": _number("gap", lambda: _gap(chosen), undefined),
        **_rates(test, chosen.value, undefined),
        "undefined": undefined,
        "warnings": list(chosen.warnings),
    }


def _rates(test: Scores, at: float, undefined: dict[str, str]) -> dict[str, Any]:
    """Error rates of the test scores at a threshold; reasons for undefined ones go to `undefined`."""
    scores, labels = test.scores, test.labels
    rejected = _number("bpcer", lambda: bpcer(scores, labels, at), undefined)
    table = apcer_per_attack(scores, labels, at, test.attacks, test.units)
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


def _gap(chosen: Threshold) -> float:
    if chosen.gap is None:
        raise DataError("undefined: a fixed threshold has no gap")
    if math.isinf(chosen.gap):
        raise DataError("undefined: the threshold lies outside all scores")
    return chosen.gap
