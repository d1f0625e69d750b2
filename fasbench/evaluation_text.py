"""What `fasbench evaluate` prints: tables as rows of text, and lines. Every number with what stands behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from fasbench.evaluation import ORACLE_POLICY, Evaluated

Numbers = dict[str, Any]
UNRELIABLE = "†"
_NEVER_RANKED = "never ranked"


class Table(NamedTuple):
    title: str
    headers: list[str]
    rows: list[list[str]]


def title(found: Evaluated) -> str:
    marks = [
        mark
        for mark, on in ((" - SYNTHETIC DATA", found.synthetic), (f" - PARTIAL DATA, {_NEVER_RANKED}", found.partial))
        if on
    ]
    return f"{found.method} on {found.protocol}/{found.split}/{found.condition}{''.join(marks)}"


def behind(found: Evaluated, level: str) -> str:
    """The whole tuple behind the numbers of a level."""
    counts = found.metrics["levels"][level]["counts"]
    seed = "unknown" if found.seed is None else str(found.seed)
    return (
        f"{level} level: {found.protocol}, policy {found.headline}, selection {found.selection}, seed {seed}, metrics "
        f"version {found.metrics['metrics_version']}; {counts['live']:,} live / {counts['attack']:,} attack of "
        f"{counts['units']:,} units in {counts['videos']:,} videos, worth {counts['live_effective_units']:.1f} / "
        f"{counts['attack_effective_units']:.1f} equal units (live / attack)"
    )


def tables(found: Evaluated, level: str) -> Iterator[Table]:
    """Thresholds and error rates, what the test ROC says, and the slices."""
    numbers = found.metrics["levels"][level]
    yield _policies(found, numbers)
    yield _ranking(numbers)
    yield from _slices(found, numbers)


def _policies(found: Evaluated, numbers: Numbers) -> Table:
    headers = ["policy", "threshold", "HTER", "APCER", "BPCER", "worst attack type", "its APCER"]
    rows = []
    for name in sorted(numbers["policies"], key=lambda name: (name != found.headline, name == ORACLE_POLICY)):
        point = numbers["policies"][name]
        mark = f" (ORACLE, {_NEVER_RANKED})" if point["oracle"] else " (headline)" if name == found.headline else ""
        limits = point["intervals"]
        rows.append(
            [
                f"{name}{mark}",
                _plain(point["threshold"]),
                *(_percent(point[rate], limits.get(rate)) for rate in ("hter", "apcer", "bpcer")),
                point["apcer_max_attack"] or "n/a",
                _percent(point["apcer_max"], limits.get("apcer_max")),
            ]
        )
    return Table("Error rates, in percent, with 95 % intervals", headers, rows)


def _ranking(numbers: Numbers) -> Table:
    rows = [
        ["AUC", _percent(numbers["auc"], numbers["intervals"].get("auc"))],
        [f"EER (ORACLE, {_NEVER_RANKED})", _percent(numbers["eer"], numbers["intervals"].get("eer"))],
    ]
    for key, text in (("tpr_at_fpr", "TPR@FPR"), ("bpcer_at_apcer", "BPCER@APCER")):
        for target, rate in numbers[key].items():
            value = _percent(rate["value"], rate["interval"]) + (" (coarse)" if rate["coarse"] else "")
            if rate["value"] is None:
                value = f"n/a: {rate['reason'].removeprefix('undefined: ')}"
            rows.append([f"{text} {target}, test ROC", value])
    return Table("Read off the test scores", ["metric", "percent"], rows)


def _slices(found: Evaluated, numbers: Numbers) -> Iterator[Table]:
    for name, slices in numbers["slices"].items():
        worst = slices["worst"][found.headline]
        rates = ["hter", "apcer"] if worst["metric"] == "apcer" else ["hter", "apcer", "bpcer"]  # slices of attacks
        rows = []
        for group, block in slices["groups"].items():
            counts = block["counts"]
            cells = [group, f"{counts['live']:,}/{counts['attack']:,}"]
            cells.append(f"{counts['live_effective_units']:.1f}/{counts['attack_effective_units']:.1f}")
            cells.append(_percent(block["auc"], block["intervals"].get("auc")))
            point = block["policies"][found.headline]
            cells += [_percent(point[rate], point["intervals"].get(rate)) for rate in rates]
            rows.append(cells)
        rows += [[group, reason] for group, reason in slices["suppressed"].items()]
        said = (
            f"worst {worst['group']}, {worst['metric'].upper()} {_percent(worst['value'], worst['interval'])}"
            if worst["group"] is not None
            else f"worst n/a: {worst['reason'].removeprefix('undefined: ')}"
        )
        headers = [name, "live/attack", "effective units", "AUC", *(rate.upper() for rate in rates)]
        yield Table(f"Slices by {name}, at the threshold of {found.headline}: {said}", headers, rows)


def legend(found: Evaluated) -> list[str]:
    """What was checked, what was not, and how the numbers are to be read."""
    count = found.metrics["bootstrap"]["replicates"]
    lines = [f"Check: {text}." for text in found.checks]
    lines += [f"Note: {text}." for text in found.notes]
    if count:
        lines.append(
            f"[low, high]: 95 % percentile bootstrap over units, {count:,} replicates, thresholds estimated again in "
            f"each; {UNRELIABLE} fewer than 20 effective units: unreliable, likely too narrow."
        )
    lines.append(
        "The HTER of an attack slice is (its APCER + the BPCER of all bona fide samples) / 2. ORACLE: the threshold is "
        "chosen on the test set itself."
    )
    return lines + [f"Warning: {text}." for text in found.warnings]


def _percent(value: float | None, around: Numbers | None = None) -> str:
    if value is None:
        return "n/a"
    text = f"{100 * value:.2f}"
    if around is None or around["low"] is None:
        return text
    return f"{text} [{100 * around['low']:.2f}, {100 * around['high']:.2f}]{UNRELIABLE if around['unreliable'] else ''}"


def _plain(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.6g}"
