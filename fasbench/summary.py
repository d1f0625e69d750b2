"""The table of a run: split x condition and the mean over splits, with a legend that says what every number is."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fasbench.metrics import POLICIES, Interval
from fasbench.protocol import Headline
from fasbench.replicates import mean_interval
from fasbench.results import Result

Level = dict[str, Any]
UNRELIABLE = "†"


@dataclass(frozen=True)
class Column:
    header: str
    meaning: str
    value: Callable[[Level], float | None]
    replicates: str | None = None  # under which a result keeps them; None: the table shows no interval


def _policy(policy: str, metric: str) -> Callable[[Level], float | None]:
    return lambda level: level["policies"][policy][metric]


def columns(headline: Headline) -> tuple[Column, ...]:
    """What the table shows, with the protocol's own threshold policy in front."""
    policy = headline.policy
    return (
        Column("HTER", f"(APCER + BPCER) / 2 on test at the {policy} threshold", _policy(policy, "hter"), "hter"),
        Column("APCER", "attacks accepted at that threshold, all types pooled", _policy(policy, "apcer")),
        Column("BPCER", "bona fide rejected at that threshold", _policy(policy, "bpcer")),
        Column("AUC", "area under the test ROC", lambda level: level["auc"], "auc"),
        Column("TPR@1%", "largest TPR with FPR <= 1 % on the test ROC", lambda lv: lv["tpr_at_fpr"]["1%"]["value"]),
        Column("HTER@.5", "HTER at the constant threshold 0.5", _policy("fixed@0.5", "hter")),
        Column("EER*", "HTER at the test set's own EER threshold: oracle, never ranked", _policy("test-eer", "hter")),
    )


@dataclass(frozen=True)
class Row:
    """One line of the table: cells in percent, as (mean, sd over seeds or None), None = not available."""

    split: str
    condition: str
    cells: tuple[tuple[float, float | None] | None, ...]
    intervals: tuple[Interval | None, ...] = ()  # of the cells, as shares of 1
    live: int | None = None
    attack: int | None = None
    epochs: str = ""


def table(results: list[Result], selection: str, level: str) -> list[Row]:
    """Rows in the order of the results, then one mean over splits for each condition that has several."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result.evaluation.selection == selection:
            groups.setdefault((result.evaluation.split, result.evaluation.condition), []).append(result)
    shown = columns(results[0].headline)
    rows = [_row(split, condition, members, level, shown) for (split, condition), members in groups.items()]
    means = []
    for condition in dict.fromkeys(condition for _, condition in groups):
        of_condition = {s: members for (s, c), members in groups.items() if c == condition}
        if len(of_condition) > 1:
            cells = tuple(_mean_cell(of_condition, column, level) for column in shown)
            intervals = tuple(_interval(_same_seeds(of_condition), column, level) for column in shown)
            means.append(Row(f"mean of {len(of_condition)}", condition, cells, intervals))
    return rows + means


def _row(split: str, condition: str, members: list[Result], level: str, shown: tuple[Column, ...]) -> Row:
    levels = [member.metrics["levels"][level] for member in members]
    counts = levels[0]["counts"]
    epochs = ", ".join(str(member.evaluation.epoch) for member in members)
    cells = tuple(_cell([column.value(values) for values in levels]) for column in shown)
    intervals = tuple(_interval([members], column, level) for column in shown)
    return Row(split, condition, cells, intervals, counts["live"], counts["attack"], epochs)


def _cell(values: list[float | None]) -> tuple[float, float | None] | None:
    """Mean over seeds in percent, with the sample standard deviation when there are several."""
    known = [100 * value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None


def _interval(splits: list[list[Result]], column: Column, level: str) -> Interval | None:
    """The bootstrap interval of the mean over splits of the mean over seeds; seeds and trainings stay as they are."""
    if column.replicates is None or not all(splits):
        return None
    name = f"{level}/{column.replicates}"
    reasons = [_unreliable(result, column.replicates, level) for members in splits for result in members]
    reason = next((text for text in reasons if text), None)
    return mean_interval([[result.replicates for result in members] for members in splits], name, reason)


def _unreliable(result: Result, metric: str, level: str) -> str | None:
    """Why a result's interval is unreliable; None if it is not, or if there is none."""
    if not result.replicates:
        return None
    block = result.metrics["levels"][level]
    intervals = (block if metric == "auc" else block["policies"][result.headline.policy])["intervals"]
    return intervals[metric]["unreliable"] if metric in intervals else None


def _same_seeds(splits: dict[str, list[Result]]) -> list[list[Result]]:
    """The results of the seeds that every split has."""
    seeds = set.intersection(*({member.evaluation.seed for member in members} for members in splits.values()))
    return [[member for member in members if member.evaluation.seed in seeds] for members in splits.values()]


def _mean_cell(splits: dict[str, list[Result]], column: Column, level: str) -> tuple[float, float | None] | None:
    """Mean over splits, for each seed that every split has; then over seeds."""
    by_seed = [
        {m.evaluation.seed: column.value(m.metrics["levels"][level]) for m in members} for members in splits.values()
    ]
    seeds = sorted(set.intersection(*(set(values) for values in by_seed)))
    means = []
    for seed in seeds:
        values = [values[seed] for values in by_seed]
        means.append(None if None in values else statistics.fmean(v for v in values if v is not None))
    return _cell(means) if means else None


def cell_text(cell: tuple[float, float | None] | None, around: Interval | None = None) -> str:
    if cell is None:
        return "n/a"
    mean, deviation = cell
    text = f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"
    if around is None or around.low is None or around.high is None:
        return text
    return f"{text} [{100 * around.low:.2f}, {100 * around.high:.2f}]{UNRELIABLE if around.unreliable else ''}"


def row_texts(row: Row, intervals: bool = False) -> list[str]:
    """A row as it is printed, in the order of `headers`."""
    counts = f"{row.live}/{row.attack}" if row.live is not None else ""
    around = row.intervals if intervals and row.intervals else (None,) * len(row.cells)
    cells = [cell_text(cell, its_interval) for cell, its_interval in zip(row.cells, around, strict=True)]
    return [row.split, row.condition, *cells, counts, row.epochs]


def headers(results: list[Result]) -> list[str]:
    return ["split", "condition", *(column.header for column in columns(results[0].headline)), "live/attack", "epoch"]


def selection_text(selection: str) -> str:
    return "ORACLE (epoch chosen on the test set, never ranked)" if selection == "oracle" else selection


def title(results: list[Result], selection: str, level: str) -> str:
    first = results[0]
    e = first.evaluation
    rendered = {result.synthetic for result in results}
    synthetic = "PARTLY SYNTHETIC DATA" if len(rendered) > 1 else "SYNTHETIC DATA"
    marks = [mark for mark, on in ((synthetic, True in rendered), ("PARTIAL DATA, never ranked", e.partial)) if on]
    fidelity = "" if first.fidelity == "intended" else f" ({first.fidelity})"
    text = f"{e.method}{fidelity} on {e.protocol}@{e.version}, {level} level, selection {selection_text(selection)}"
    return " - ".join([text, *marks])


def legend(results: list[Result], levels: tuple[str, ...]) -> list[str]:
    """What the numbers are: the whole tuple behind every one of them."""
    first = results[0]
    seeds = sorted({result.evaluation.seed for result in results})
    spread = ", mean ± standard deviation over them" if len(seeds) > 1 else ""
    changed = f" with {', '.join(first.sets)}" if first.sets else ""
    tied = max((result.tied_epochs for result in results if result.evaluation.selection != "oracle"), default=1)
    lines = [
        f"All numbers in percent. Seeds: {', '.join(map(str, seeds))}{spread}. Preset {first.preset}{changed}, "
        f"metrics version {first.metrics['metrics_version']}.",
        *(f"{column.header}: {column.meaning}." for column in columns(first.headline)),
        f"{first.headline.policy}: {POLICIES[first.headline.policy].description}. Validation is scored under the "
        "test's condition where the device knows what is absent.",
        "Selection source-val: the epoch with the lowest source-validation EER (all sensors); last: the last epoch. "
        "No test label is used for either.",
    ]
    if any(result.evaluation.selection == "oracle" for result in results):
        lines.append(
            "Selection oracle: the epoch with the lowest EER on the test set itself, for each split and condition. It "
            "shows what the literature's way of selecting would print; it is never ranked."
        )
    lines += _unequal_seeds(results)
    coarse = {r.evaluation.split for r in results if r.metrics["levels"]["frame"]["tpr_at_fpr"]["1%"]["coarse"]}
    if coarse:
        lines.append(f"TPR@1% is coarse for {', '.join(sorted(coarse))}: 1 % of the attacks are fewer than 10.")
    lines += [f"n/a: TPR@1%, {place}: {reason}." for place, reason in _unmeasured(results, levels)]
    if tied > 1:
        lines.append(f"Up to {tied} epochs share the selected epoch's validation EER; AUC, then cross-entropy decided.")
    if rendered := dict.fromkeys(result.evaluation.split for result in results if result.synthetic):
        everywhere = all(result.synthetic for result in results)
        which = "The data" if everywhere else f"The data of {', '.join(rendered)} and of every mean over splits"
        lines.append(f"{which} are rendered: these numbers compare software, they say nothing about real faces.")
    warnings = dict.fromkeys(warning for result in results for warning in _warnings(result))
    return lines + [f"Warning: {warning}" for warning in warnings]


def _unequal_seeds(results: list[Result]) -> list[str]:
    """A line where splits have different seeds: their rows, and the means, are of fewer."""
    of_split: dict[str, set[int]] = {}
    for result in results:
        of_split.setdefault(result.evaluation.split, set()).add(result.evaluation.seed)
    if len({frozenset(seeds) for seeds in of_split.values()}) == 1:
        return []
    each = "; ".join(f"{split} {', '.join(map(str, sorted(seeds)))}" for split, seeds in of_split.items())
    return [f"Not every split has every seed, and a mean over splits takes those that all have: {each}."]


def _warnings(result: Result) -> list[str]:
    level = result.metrics["levels"]["frame"]
    e = result.evaluation
    where = f"{e.split}/{e.condition} seed {e.seed} {e.selection}"
    return [f"{where}: {text}" for text in (*level["warnings"], *level["policies"][result.headline.policy]["warnings"])]


def _unmeasured(results: list[Result], levels: tuple[str, ...]) -> list[tuple[str, str]]:
    """Where TPR@1% is missing, and why; splits that share a reason stand together."""
    splits: dict[tuple[str, str], dict[str, None]] = {}
    for result in results:
        for level in levels:
            rate = result.metrics["levels"][level]["tpr_at_fpr"]["1%"]
            if rate["value"] is None:
                splits.setdefault((level, rate["reason"]), {})[result.evaluation.split] = None
    return [(f"{level} level, {', '.join(names)}", reason) for (level, reason), names in splits.items()]


def markdown(results: list[Result], left_out: int = 0) -> str:
    """The report of a run folder: every selection and level, then the legend.

    Args:
        left_out: results in the folder that may not share a table with these.
    """
    selections = dict.fromkeys(selection_text(result.evaluation.selection) for result in results)
    blocks = [f"# {title(results, ' and '.join(selections), 'frame and video')}"]
    if left_out:
        blocks.append(f"{left_out} result(s) in this folder are left out: edited, or from another source or version.")
    for selection in dict.fromkeys(result.evaluation.selection for result in results):
        for level in ("frame", "video"):
            rows = [headers(results), *(row_texts(row, True) for row in table(results, selection, level))]
            blocks += [f"## Selection {selection_text(selection)}, {level} level", _markdown(rows)]
    blocks += ["## Operating points and attack types, frame level", _markdown(_points(results))]
    blocks += [
        "## Legend",
        "\n".join(f"- {line}" for line in legend(results, ("frame", "video")) + _about_intervals(results)),
    ]
    return "\n\n".join(blocks) + "\n"


def _about_intervals(results: list[Result]) -> list[str]:
    """What the intervals are, and where not to trust them."""
    if not any(result.replicates for result in results):
        return []
    count = next(result.metrics["bootstrap"]["replicates"] for result in results if result.replicates)
    lines = [
        f"[low, high]: 95 % percentile bootstrap, {count:,} replicates: the test's persons (or instruments) are drawn "
        "anew, and validation's, with the threshold estimated again each time. The trainings and their seeds stay: the "
        "interval says nothing of other trainings. Means over splits and seeds are taken draw by draw."
    ]
    places: dict[str, dict[str, None]] = {}
    for result in results:
        for level in ("frame", "video"):
            for metric in ("hter", "auc"):
                if reason := _unreliable(result, metric, level):
                    places.setdefault(reason, {})[f"{result.evaluation.split} {level} {metric.upper()}"] = None
    if places:
        lines.append(f"{UNRELIABLE} unreliable, likely too narrow (a mean with such a part is marked too):")
        lines += [f"{UNRELIABLE} {', '.join(where)}: {reason}." for reason, where in places.items()]
    return lines


def _points(results: list[Result]) -> list[list[str]]:
    """Where each result's headline threshold lies, and what it does to each attack type."""
    rows = [["split", "condition", "seed", "selection", "threshold", "gap", "validation EER", "APCER by attack type"]]
    for result in results:
        e, level = result.evaluation, result.metrics["levels"]["frame"]
        point = level["policies"][result.headline.policy]
        attacks = [f"{name} {100 * rate['value']:.1f}" for name, rate in point["apcer_per_attack"].items()]
        numbers = [_number(point["threshold"]), _number(point["gap"]), _number(level["validation"]["eer"], 100)]
        rows.append([e.split, e.condition, str(e.seed), selection_text(e.selection), *numbers, ", ".join(attacks)])
    return rows


def _number(value: float | None, scale: float = 1) -> str:
    return "n/a" if value is None else f"{scale * value:.4g}"


def _markdown(rows: list[list[str]]) -> str:
    """A Markdown table; the first row is the header."""
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
