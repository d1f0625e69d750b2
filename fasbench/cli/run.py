"""fasbench run: train, score and evaluate a method on a protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from fasbench.cli import EXIT_INTERRUPTED, app
from fasbench.errors import ConfigError

if TYPE_CHECKING:
    from fasbench.plan import Overwrite
    from fasbench.runner import Outcome


@app.command()
def run(
    method: str = typer.Option(..., "--method", "-m", help="A method's name, or path/to/file.py:Class."),
    protocol: str = typer.Option(
        ...,
        "--protocol",
        "-p",
        help="Any prefix of protocol/split/condition (synth/fixed/lmn-k), an alias, or ./file.yaml.",
    ),
    preset: str | None = typer.Option(None, help="The method's preset; the protocol says which by default."),
    sets: list[str] = typer.Option([], "--set", help="Override a setting: --set optim.lr=1e-4. Repeatable."),
    seeds: str = typer.Option("0", help="Seeds, e.g. 0 or 0,1,2."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:1."),
    precision: str | None = typer.Option(None, help="Training precision: auto, fp32 or bf16. Scores are always fp32."),
    out: Path = typer.Option(Path("runs"), help="Where trainings, scores and results go."),
    limit_videos: int | None = typer.Option(
        None, min=1, help="Use only the first N videos of each data set and class: a partial run, never ranked."
    ),
    overwrite: str = typer.Option(
        "only-missing",
        help="only-missing: keep what is complete and intact, do the rest. never: as that, but stop before an earlier "
        "result of another training would be replaced. always: train and score anew.",
    ),
    oracle: bool = typer.Option(
        False,
        "--oracle",
        help="Also evaluate the epoch that is best on the test set, as the literature does. Marked, never ranked; "
        "every epoch is scored on the test set.",
    ),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Train nothing: prepare the data, show what would be done and what is done."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the results as JSON on standard output."),
) -> None:
    """Train, score and evaluate a method on a protocol. What is complete is not repeated."""
    from rich.console import Console

    from fasbench.cli.progress import ProgressReporter, print_outcomes, print_plan
    from fasbench.plan import Request, make_plans
    from fasbench.runner import refuse_to_replace
    from fasbench.runner import run as run_request

    request = Request(
        method=method,
        protocol=protocol,
        preset=preset,
        sets=tuple(sets),
        seeds=_parse_seeds(seeds),
        device=device,
        precision=precision,
        out=out,
        limit_videos=limit_videos,
        overwrite=_parse_overwrite(overwrite),
        oracle=oracle,
    )
    with ProgressReporter(Console(stderr=True)) as reporter:
        if dry_run:
            plans = make_plans(request, reporter.preparing)
            if request.overwrite == "never":
                refuse_to_replace(plans, request.oracle)
        else:
            try:
                outcomes = run_request(request, reporter)
            except KeyboardInterrupt:
                command = "The same command" + (", without --overwrite," if overwrite == "always" else "")
                reporter.console.print(f"Interrupted. {command} goes on from the last finished epoch.")
                raise typer.Exit(EXIT_INTERRUPTED) from None
    console = Console()
    if dry_run:
        print_plan(plans, console, anew=request.overwrite == "always")
    elif as_json:
        typer.echo(json.dumps([as_json_object(outcome) for outcome in outcomes], indent=2))
    else:
        print_outcomes(outcomes, console)


def as_json_object(outcome: Outcome) -> dict[str, Any]:
    """What `--json` prints of a protocol: the reason it was skipped, or its results."""
    return {
        "protocol": str(outcome.plan.protocol),
        "skipped": outcome.plan.skipped,
        "results": [result.model_dump(mode="json") for result in outcome.results],
    }


def _parse_overwrite(text: str) -> Overwrite:
    if text not in ("only-missing", "never", "always"):
        raise ConfigError(f"--overwrite {text}: expected only-missing, never or always")
    return cast("Overwrite", text)


def _parse_seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        seeds = (-1,)
    if min(seeds) < 0 or max(seeds) >= 2**32 or len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {text}: expected different whole numbers from 0 to 2^32 - 1, e.g. 0,1,2")
    return seeds
