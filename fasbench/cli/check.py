"""fasbench check: hold a stranger's file to the contract."""

from __future__ import annotations

import typer

from fasbench.cli import EXIT_FAILED, app

check = typer.Typer(no_args_is_help=True, help="Check a method or a protocol file.", rich_markup_mode=None)
app.add_typer(check, name="check")


@check.command("method")
def check_method_command(method: str = typer.Argument(..., help="A method's name, or path/to/file.py:Class.")) -> None:
    """Hold a method to the contract every baseline is tested with; takes seconds on a CPU."""
    from fasbench.contract import check_method
    from fasbench.registry import find_method

    broken = 0
    for clause in check_method(find_method(method)):
        broken += bool(clause.problem)
        typer.echo(f"{'FAIL' if clause.problem else 'ok  '}  {clause.clause}")
        if clause.problem:
            typer.echo(f"      {clause.problem}")
    if broken:
        typer.echo(f"{method}: {broken} clause(s) broken", err=True)
        raise typer.Exit(EXIT_FAILED)
    typer.echo(f"{method}: the contract holds")


@check.command("protocol")
def check_protocol_command(path: str = typer.Argument(..., help="A protocol file, ./mine.yaml.")) -> None:
    """Check a protocol file; nothing is read but the file."""
    from pathlib import Path

    from fasbench.protocol import load_protocol

    protocol = load_protocol(Path(path))
    typer.echo(
        f"{protocol}: {len(protocol.splits)} split(s), {len(protocol.conditions)} condition(s), no problem found"
    )
