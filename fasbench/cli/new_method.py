"""fasbench new-method: a working method to start from."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from fasbench.cli import app


@app.command("new-method")
def new_method_command(
    name: str = typer.Argument(..., help="What it is called: lower-case letters, digits and hyphens, e.g. my-method."),
    folder: Path | None = typer.Option(None, help="Where to write it. [default: ./NAME, with _ for -]"),
) -> None:
    """Write a small method that works, with its settings, card and test. Change it from there."""
    from fasbench.new_method import new_method

    written = new_method(name, folder)
    method = shlex.quote(f"{written.folder / 'method.py'}:{written.class_name}")
    typer.echo(f"Written: {', '.join(written.files)} in {written.folder}. Next:")
    typer.echo(f"  fasbench check method {method}")
    typer.echo(f"  python -m pytest {shlex.quote(str(written.folder))}")
    typer.echo(f"  fasbench run --method {method} --protocol synth/fixed/lmn-k")
