"""What the page says: every number as text, every figure in its place. The templates only lay it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fasbench import summary
from fasbench.report.section import section
from fasbench.report.text import interval_text, without_folders
from fasbench.results import Result
from fasbench.scorefile import ScoreFile


def page(
    chosen: Sequence[tuple[Result, ScoreFile]],
    level: str,
    selection: str,
    every: Sequence[Result],
    left_out: Sequence[str] = (),
) -> str:
    """The HTML of one selection and level of a run.

    Args:
        every: the results of all selections.
    """
    results = [result for result, _ in chosen]
    environment = Environment(
        loader=PackageLoader("fasbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        title=without_folders(summary.title(results, selection, level)),
        head=_head(results, level, selection),
        table=_table(results, level, selection),
        legend=_legend(results, level, selection, every),
        left_out=list(left_out),
        sections=[section(f"e{n}", result, scores, level) for n, (result, scores) in enumerate(chosen, 1)],
        provenance=_provenance(results),
    )


def _head(results: list[Result], level: str, selection: str) -> dict[str, Any]:
    first = results[0]
    e = first.evaluation
    rendered = {result.synthetic for result in results}
    marks = []
    if True in rendered:
        marks.append("PARTLY SYNTHETIC DATA" if False in rendered else "SYNTHETIC DATA")
    if any(result.evaluation.partial for result in results):
        marks.append("PARTIAL DATA, never ranked")
    if selection == "oracle":
        marks.append("ORACLE: epoch chosen on the test set, never ranked")
    if first.fidelity != "intended":
        marks.append(first.fidelity.upper())
    return {
        "method": e.method,
        "marks": marks,
        "facts": [
            ("method", f"{e.method} ({first.fidelity})"),
            ("protocol", f"{e.protocol}@{e.version}"),
            ("level", f"{level}{' (mean score of its frames)' if level == 'video' else ''}"),
            ("selection", summary.selection_text(selection)),
            ("threshold policy", first.headline.policy),
            ("seeds", ", ".join(map(str, sorted({result.evaluation.seed for result in results})))),
            ("preset", without_folders(", ".join([first.preset, *first.sets]))),
            ("metrics version", str(first.metrics["metrics_version"])),
        ],
    }


def _table(results: list[Result], level: str, selection: str) -> dict[str, Any]:
    """Splits x conditions; a cell is its number and its interval."""
    rows, shown = [], summary.columns(results[0].headline)
    for row in summary.table(results, selection, level):
        places = [
            n
            for n, result in enumerate(results)
            if (result.evaluation.split, result.evaluation.condition) == (row.split, row.condition)
        ]
        around: list[dict[str, Any] | None] = [vars(its) if its else None for its in row.intervals]
        if len(places) == 1:  # its own intervals: packed replicates are rounded, and would differ in the last digit
            around = [_own_interval(results[places[0]], level, column.replicates) for column in shown]
        cells = [
            (summary.cell_text(cell), interval_text(its))
            for cell, its in zip(row.cells, around or [None] * len(row.cells), strict=True)
        ]
        counts = "" if row.live is None else f"{row.live:,} / {row.attack:,}"
        rows.append({"row": row, "cells": cells, "counts": counts, "anchor": f"e{places[0] + 1}" if places else None})
    return {"columns": shown, "rows": rows}


def _own_interval(result: Result, level: str, metric: str | None) -> dict[str, Any] | None:
    """The interval of a table's number in the result itself."""
    block = result.metrics["levels"][level]
    intervals: dict[str, Any] = (block if metric == "auc" else block["policies"][result.headline.policy])["intervals"]
    return intervals.get(metric or "")


def _legend(results: list[Result], level: str, selection: str, every: Sequence[Result]) -> list[str]:
    """The legend of the summary, and what an interval is. Warnings stand where they belong, in the sections."""
    known = results if selection != "oracle" else list(every)
    lines = [line for line in summary.legend(known, (level,)) if not line.startswith("Warning: ")]
    count = results[0].metrics["bootstrap"]["replicates"]
    if count:
        lines.append(
            f"[low, high]: 95 % percentile bootstrap, {count:,} replicates: persons (or instruments) of test and "
            "validation are drawn anew, and thresholds estimated again each time. The trainings stay: the interval "
            f"says nothing of other trainings. {summary.UNRELIABLE} unreliable, likely too narrow: the reason stands "
            "in the section."
        )
    return [without_folders(line) for line in lines]


def _provenance(results: list[Result]) -> dict[str, Any]:
    """What is the same for all results, and what differs from one to the next."""
    p = results[0].provenance
    state = {None: "", True: " (with local changes)", False: ""}[p.git_dirty]
    data = {name: digest for result in results for name, digest in result.provenance.data.items()}
    shared = [
        ("fasbench", f"{p.fasbench}, {p.git_sha or 'installed'}{state}"),
        ("method source", p.method_sha256),
        ("protocol", p.protocol_sha256),
        ("versions", ", ".join(f"{name} {value}" for name, value in p.versions.items())),
        *((f"data: {name}", digest) for name, digest in sorted(data.items())),
        ("libraries", ", ".join(f"{name} {value}" for name, value in p.libraries.items())),
    ]
    headers = ("training", "initial weights", "weights", "rows", "scores")
    rows = []
    for result in results:
        e, its = result.evaluation, result.provenance
        hashes = (its.training_key, its.initial_weights_sha256, its.weights_sha256)
        rows.append((f"{e.split} / {e.condition} / {e.seed}", (*hashes, result.rows_sha256, result.scores_sha256)))
    return {"shared": shared, "headers": headers, "rows": rows}
