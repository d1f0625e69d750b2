"""fasbench report: a run as one HTML file."""

from __future__ import annotations

from pathlib import Path

import typer

from fasbench.cli import app


@app.command()
def report(
    run: Path = typer.Argument(..., help="The folder of a run (runs/<protocol>/<run>)."),
    out: Path | None = typer.Option(None, help="The HTML file; default: report.html in the run's folder."),
    level: str | None = typer.Option(None, help="frame or video; default: the protocol's."),
    selection: str | None = typer.Option(None, help="Which epoch: source-val, last, oracle; default: the protocol's."),
) -> None:
    """Write a run as one HTML file: tables, ROC and DET, scores and thresholds, calibration, slices.

    The file needs no network and holds no names, images or paths.
    """
    from fasbench.report import write_report

    typer.echo(f"Report written to {write_report(run, out, level, selection)}")
