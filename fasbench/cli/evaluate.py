"""fasbench evaluate: every number of a score file, whatever system wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fasbench.cli import app

if TYPE_CHECKING:
    from fasbench.evaluation import Evaluated


@app.command()
def evaluate(
    scores: Path = typer.Argument(
        help="Score file, CSV or Parquet: id, unit, video, domain, attack, label, score, part."
    ),
    protocol: str = typer.Option(
        ..., "--protocol", "-p", help="Whose rows were scored: protocol, protocol/split/condition, or ./file.yaml."
    ),
    split: str | None = typer.Option(None, help="The split, where neither --protocol nor the file says it."),
    condition: str | None = typer.Option(None, help="The condition the test was scored under, where nothing says it."),
    policy: list[str] = typer.Option([], "--policy", help="Threshold policy, repeatable; the first is the headline."),
    replicates: int = typer.Option(1000, min=0, help="Bootstrap replicates behind the intervals; 0 = no intervals."),
    as_json: bool = typer.Option(False, "--json", help="Print everything as JSON on standard output."),
) -> None:
    """Check a score file of any system against its protocol, and print every number.

    Score = how live, higher = more live; label 1 = bona fide; part = validation (for the threshold) or test. Metadata
    (method, split, condition, seed, selection) come from the Parquet file, or for x.csv from x.yaml, if they are there.
    """
    from fasbench.evaluation import evaluate_file

    found = evaluate_file(scores, protocol, split, condition, policy, replicates)
    if as_json:
        typer.echo(json.dumps(found.as_json_object(), indent=2))
    else:
        print_evaluated(found)


def print_evaluated(found: Evaluated) -> None:
    """Both levels, the protocol's own first, and the legend."""
    from rich.console import Console

    from fasbench.cli.tables import print_line, print_rows
    from fasbench.evaluation_text import behind, legend, tables, title

    console = Console()
    print_line(console, title(found), "bold")
    levels = sorted(found.metrics["levels"], key=lambda level: level != found.protocol.headline.level)
    for level in levels:
        print_line(console, "")
        print_line(console, behind(found, level), "bold")
        for table in tables(found, level):
            print_line(console, "")
            print_line(console, table.title)
            print_rows(console, table.headers, table.rows)
    print_line(console, "")
    for line in legend(found):
        print_line(console, line)
