"""One split x condition x seed of the page: its numbers as text, its figures, its bars."""

from __future__ import annotations

from typing import Any

from fasbench.errors import DataError
from fasbench.metrics import POLICIES, Scores
from fasbench.report import figures
from fasbench.report.figures import Calibration, Point
from fasbench.report.text import NA, interval_text, percent, rate
from fasbench.results import Result
from fasbench.scorefile import ScoreFile

_SLICINGS = {"attack_fine": "attack species", "presented_by": "what presents it"}


def section(key: str, result: Result, scores: ScoreFile, level: str) -> dict[str, Any]:
    """Everything about one split x condition x seed."""
    e, block = result.evaluation, result.metrics["levels"][level]
    validation, test = scores.validation, scores.test
    if level == "video":
        validation, test = validation.by_video(), test.by_video()
    headline = result.headline.policy
    policies = {name: block["policies"][name] for name in POLICIES if name in block["policies"]}
    point = policies[headline]
    where = f"{e.split}, {e.condition}, seed {e.seed}"
    around = (*block["intervals"].values(), *point["intervals"].values())
    return {
        "key": key,
        "evaluation": e,
        "tied": result.tied_epochs,
        "warnings": [*block["warnings"], *point["warnings"]],
        "unreliable": _merged([its["unreliable"] for its in around if its["unreliable"]]),
        "numbers": _numbers(block, point),
        "counts": {"test": block["counts"], "validation": block["validation"]["counts"]},
        "validation": {name: percent(block["validation"][name]) for name in ("auc", "eer")},
        "headline": headline,
        "policies": [_policy(name, its, headline) for name, its in policies.items()],
        "figures": _figures(key, where, validation, test, policies, headline, result),
        "confusion": _confusion(test, point["threshold"]),
        "ranking": _ranking(block),
        "attacks": _bars(point["apcer_per_attack"]),
        "worst_attack": point["apcer_max_attack"],
        "apcer_max": rate(point, "apcer_max"),
        "slices": [
            shown
            for name, its in block["slices"].items()
            if name != "attack" and (shown := _slices(name, its, headline))
        ],
    }


def _merged(reasons: list[str]) -> list[str]:
    """Reasons that start alike in one line: an AUC lacks test units, an HTER the same and those of validation.

    >>> _merged(["fewer than 20: test live 8.0", "fewer than 20: test live 8.0, validation live 12.0"])
    ['fewer than 20: test live 8.0, validation live 12.0']
    """
    parts: dict[str, dict[str, None]] = {}
    for reason in reasons:
        head, _, tail = reason.partition(": ")
        parts.setdefault(head, {}).update(dict.fromkeys(tail.split(", ")))
    return [f"{head}: {', '.join(tails)}" for head, tails in parts.items()]


def _numbers(block: dict[str, Any], point: dict[str, Any]) -> list[dict[str, Any]]:
    """The few numbers a section opens with."""
    shown = [("HTER", point, "hter"), ("APCER", point, "apcer"), ("BPCER", point, "bpcer"), ("AUC", block, "auc")]
    return [{"name": title, **rate(of, name)} for title, of, name in shown]


def _policy(name: str, its: dict[str, Any], headline: str) -> dict[str, Any]:
    rates = [rate(its, metric) for metric in ("hter", "apcer", "bpcer", "apcer_max")]
    return {
        "name": name,
        "description": POLICIES[name].description,
        "oracle": its["oracle"],
        "headline": name == headline,
        "threshold": NA if its["threshold"] is None else f"{its['threshold']:.4g}",
        "gap": NA if its["gap"] is None else f"{its['gap']:.2g}",
        "reason": its["undefined"].get("threshold") if its["threshold"] is None else None,
        "rates": rates,
        "warnings": its["warnings"],
    }


def _figures(
    key: str,
    where: str,
    validation: Scores,
    test: Scores,
    policies: dict[str, dict[str, Any]],
    headline: str,
    result: Result,
) -> dict[str, Any]:
    """The figures, and for those that cannot be drawn the reason."""
    points = [
        Point(name, its["threshold"], its["apcer"], its["bpcer"], its["oracle"], name == headline)
        for name, its in policies.items()
        if its["threshold"] is not None
    ]
    found: dict[str, Any] = {"curves": [], "missing": None, "calibration": None, "error": None}
    try:
        found["curves"] = figures.curves(key, where, test, points, result.metrics["bootstrap"]["replicates"])
    except DataError as problem:
        found["missing"] = str(problem).removeprefix("undefined: ")
    kinds = sorted({str(kind) for part in (validation, test) for kind in part.attacks[part.labels == 0]})
    axis = figures.score_axis([validation, test])
    found["histograms"] = [
        figures.histogram(f"{key}-{name}", f"{name.capitalize()} scores of {where}", part, kinds, axis, points)
        for name, part in (("validation", validation), ("test", test))
    ]
    source, target = Calibration.of(validation), Calibration.of(test)
    if source is not None and target is not None:
        found["calibration"] = figures.calibration(f"{key}-cal", where, source, target)
        found["error"] = f"{target.error:.3f} on test, {source.error:.3f} on validation"
    return found


def _confusion(test: Scores, threshold: float | None) -> list[dict[str, Any]]:
    """Counts of what the threshold decides, a row for each class; none without a threshold."""
    if threshold is None:
        return []
    accepted = test.scores >= threshold
    rows = []
    for name, label in (("bona fide", 1), ("attack", 0)):
        passed, count = int(accepted[test.labels == label].sum()), int((test.labels == label).sum())
        cells = [(passed, label == 1), (count - passed, label == 0)]
        rows.append(
            {
                "name": name,
                "n": f"{count:,}",
                "cells": [
                    {
                        "n": f"{n:,}",
                        "share": percent(n / count) if count else NA,
                        "part": n / max(count, 1),
                        "right": ok,
                    }
                    for n, ok in cells
                ],
            }
        )
    return rows


def _ranking(block: dict[str, Any]) -> list[dict[str, Any]]:
    """What is read off the test's own curve."""
    rows = [{"name": "AUC", **rate(block, "auc")}, {"name": "EER", **rate(block, "eer")}]
    for family, title in (("tpr_at_fpr", "TPR at FPR ≤"), ("bpcer_at_apcer", "BPCER at APCER ≤")):
        for target, its in sorted(block[family].items(), key=lambda one: -one[1]["target"]):
            note = its["reason"] or ("coarse: fewer than 10 attacks may pass" if its["coarse"] else None)
            row = {"value": percent(its["value"]), "interval": interval_text(its["interval"]), "reason": note}
            goal = target.replace("%", "\u00a0%")  # a no-break space
            rows.append({"name": f"{title} {goal}", **row})
    return rows


def _bars(rates: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Bars of rates with one `value` and `interval`; `width`, `low` and `span` are percent of a bar's track."""
    rows = []
    for group, its in rates.items():
        around = its["interval"] or {"low": None, "high": None, "unreliable": None}
        row = {"name": group, "n": f"{its['n']:,}", "units": its["units"], "value": percent(its["value"])}
        row |= {"interval": interval_text(its["interval"]), "unreliable": around["unreliable"]}
        row |= {"width": None if its["value"] is None else percent(its["value"]), "low": None, "span": None}
        if around["low"] is not None:
            row |= {"low": percent(around["low"]), "span": percent(around["high"] - around["low"])}
        rows.append(row | {"reason": its.get("reason")})
    return rows


def _slices(slicing: str, its: dict[str, Any], headline: str) -> dict[str, Any] | None:
    """The groups of a slicing at the headline threshold; None if it was not sliced there."""
    if headline not in its["worst"]:
        return None
    worst = its["worst"][headline]
    metric = worst["metric"]
    classes = ("attack",) if metric == "apcer" else ("live", "attack")
    of = {"attack": ""} if metric == "apcer" else {"live": " live", "attack": " attack"}
    rates = {}
    for group, found in its["groups"].items():
        at, counts = found["policies"][headline], found["counts"]
        rates[group] = {
            "value": at[metric],
            "interval": at["intervals"].get(metric),
            "reason": at["undefined"].get(metric),
            "n": sum(counts[kind] for kind in classes),
            "units": ", ".join(f"{counts[f'{kind}_units']}{of[kind]}" for kind in classes),
        }
    return {
        "name": _SLICINGS.get(slicing, slicing.replace("_", " ")),
        "metric": metric.upper(),
        "rows": _bars(rates),
        "worst": {
            "group": worst["group"],
            "value": percent(worst["value"]),
            "interval": interval_text(worst["interval"]),
            "reason": (worst["reason"] or "").removeprefix("undefined: "),
        },
        "left_out": worst["left_out"],
        "suppressed": its["suppressed"],
    }
