"""fasbench compare: is one method better than another, or could it be the choice of persons?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fasbench.cli import app

if TYPE_CHECKING:
    from fasbench.comparison import Compared


@app.command()
def compare(
    runs: list[Path] = typer.Argument(help="Folders of two runs or more (runs/<protocol>/<run>)."),
    level: str | None = typer.Option(None, help="frame or video; default: the protocol's."),
    policy: str | None = typer.Option(None, help="Threshold policy of the HTER; default: the protocol's. No oracle."),
    selection: str | None = typer.Option(None, help="Which epoch, source-val or last; default: the protocol's."),
    condition: str | None = typer.Option(None, help="One condition; default: every one that the runs share."),
    permutations: int = typer.Option(9999, min=99, help="Of the test; the smallest p-value is 1 / (1 + this)."),
    replicates: int = typer.Option(1000, min=1, help="Of the bootstrap behind the intervals."),
    as_json: bool = typer.Option(False, "--json", help="Print everything as JSON on standard output."),
) -> None:
    """Paired tests of every pair of runs by HTER and AUC, over all splits and seeds that they share.

    Persons (or instruments) are swapped between the methods as wholes; p-values are corrected for everything that one
    command compares (Holm).
    """
    from fasbench.comparison import compare_runs

    found = compare_runs(runs, level, policy, selection, condition, permutations, replicates)
    if as_json:
        typer.echo(json.dumps(found.as_json_object(), indent=2))
    else:
        print_compared(found)


def print_compared(found: Compared) -> None:
    """For every condition the verdicts, wins and losses, and ranks; then the notes."""
    from rich.console import Console

    from fasbench.cli.tables import print_line, print_rows

    console = Console()
    for condition, ranking in found.rankings.items():
        print_line(console, found.behind(condition), "bold")
        for text in found.verdicts(condition):
            print_line(console, f"  {text}")
        for metric in ranking.metrics:
            matrix, ranks = ranking.matrix(metric), ranking.ranks(metric)
            rows = [
                [name, *("-" if other == name else matrix[name][other] for other in matrix), str(ranks[name])]
                for name in sorted(matrix, key=ranks.__getitem__)
            ]
            print_line(console, "")
            print_rows(console, [f"{metric.upper()}: row against column", *matrix, "rank"], rows)
        print_line(console, "")
    print_line(
        console,
        f"Permutation test, units swapped ({found.permutations:,} permutations); paired bootstrap intervals "
        f"({found.replicates:,} replicates); p corrected over {found.tests} test(s). Rank = 1 + the number of methods "
        "that are significantly better.",
    )
    for note in found.notes:
        print_line(console, f"Note: {note}")
