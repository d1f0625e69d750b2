"""fasbench verify: are the numbers of a run those of its score files?"""

from __future__ import annotations

from pathlib import Path

import typer

from fasbench.cli import EXIT_DATA, app


@app.command()
def verify(
    run: Path = typer.Argument(help="The folder of a run (runs/<protocol>/<run>)."),
    limit: int = typer.Option(5, min=1, help="How many differences of one result are shown."),
) -> None:
    """Compute every number of a run again from its stored scores, and compare; exit code 3 if anything differs.

    Compared are every metric, interval and slice, the replicates, and the hashes of result, scores and rows. That the
    scores are what the weights give is not: that takes the data.
    """
    from fasbench.verification import verify_run

    count = numbers = replicates = wrong = 0
    for found in verify_run(run):
        count, numbers, replicates = count + 1, numbers + found.numbers, replicates + found.replicates
        wrong += not found.sound
        state = "ok   " if found.sound else "WRONG"
        typer.echo(
            f"{state} {found.name}: {found.numbers:,} numbers and {found.replicates:,} replicates computed again"
        )
        for problem in found.problems[:limit]:
            typer.echo(f"      {problem}")
        if len(found.problems) > limit:
            typer.echo(f"      ... and {len(found.problems) - limit:,} more")
    typer.echo(f"{count} result(s), {numbers:,} numbers and {replicates:,} replicates: {wrong or 'none'} wrong")
    if wrong:
        raise typer.Exit(EXIT_DATA)
