"""fasbench data audit: leaks, duplicates, shortcuts and modalities that are not what they are called."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from fasbench.cli import EXIT_DATA
from fasbench.cli.data import data

if TYPE_CHECKING:
    from rich.console import Console

    from fasbench.data.audit import Finding, Report


@data.command("audit")
def audit_command(
    name: str = typer.Argument(..., metavar="PROTOCOL", help="mmdg/fixed, a split of it, an alias (p1), ./file.yaml."),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON array, one object a protocol."),
    deep: bool = typer.Option(False, "--deep", help="Read the images of every row, not of 256 rows a data set."),
) -> None:
    """Look for leaks, duplicates, shortcuts and mixed-up modalities in a protocol's data.

    Every defect that matters in a split of the protocol is one it documents under known_issues, or NEW. Exit code 0 if
    all are documented, 3 if not; what is only worth knowing needs no documentation. Licensed data that are not prepared
    are audited by their lists.
    """
    from rich.console import Console

    from fasbench.cli.progress import ProgressReporter
    from fasbench.data.audit import audit
    from fasbench.registry import find_evaluations

    with ProgressReporter(Console(stderr=True)) as reporter:
        reports = [
            audit(protocol, dict(pairs), deep, progress=reporter.preparing)
            for protocol, pairs in find_evaluations(name)
        ]
    if as_json:
        typer.echo(json.dumps([report.model_dump(mode="json") for report in reports], indent=2))
    else:
        for report in reports:
            print_report(report, Console())
    if any(report.new for report in reports):
        raise typer.Exit(EXIT_DATA)


def print_report(report: Report, console: Console) -> None:
    """A report as lines, the gravest findings first."""

    def line(text: str, style: str = "") -> None:
        console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    line(report.protocol, "bold")
    for name, audited in report.datasets.items():
        line(f"  {name}: {audited.rows:,} rows from its {audited.metadata}, images of {audited.pixels:,} read")
    severity = None
    for finding in report.findings:
        if finding.severity != severity:
            severity = finding.severity
            line(f"\n{_TITLES[severity]}", "bold")
        for text in _lines(finding):
            line(text)
    line("")
    for note in report.notes:
        line(f"Note: {note}.")
    line(f"{len(report.findings)} findings, {len(report.new)} of them new defects")


_TITLES = {
    "leak": "Leaks",
    "shortcut": "Shortcuts: what tells the label without the face",
    "duplicate": "Duplicates",
    "pixels": "Pixels",
    "info": "Worth knowing",
}


def _lines(finding: Finding) -> list[str]:
    state = f"known: {finding.known}" if finding.known else "NEW" if finding.new else "not documented, need not be"
    affected = ", ".join(finding.affects) or "no split of this protocol"
    return [
        f"  {finding.id}: {finding.count:,} {finding.counted} in {', '.join(finding.parts)} ({state})",
        f"    {finding.explanation}",
        f"    e.g. {', '.join(finding.examples)}; matters in {affected}",
    ]
