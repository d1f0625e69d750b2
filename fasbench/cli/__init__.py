"""The command line: one file a verb, which parses, calls and prints. Heavy imports stay inside the verbs."""

from __future__ import annotations

import os
import sys

import typer

from fasbench.errors import ConfigError, DataError, FasbenchError

app = typer.Typer(
    name="fasbench",
    help="The benchmark suite for multimodal face anti-spoofing (RGB + depth + infrared).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)

EXIT_CONFIG, EXIT_DATA, EXIT_FAILED, EXIT_INTERRUPTED = 2, 3, 4, 130


def _version(show: bool) -> None:
    if show:
        import fasbench

        typer.echo(f"fasbench {fasbench.__version__}")
        raise typer.Exit


EXIT_CODES = "Exit codes: 0 done, 2 wrong name, option or configuration, 3 wrong data, 4 failed, 130 interrupted."


@app.callback(epilog=EXIT_CODES)
def _main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def _register() -> None:
    from fasbench.cli import (  # noqa: F401 - each adds its verbs to `app`
        audit,
        check,
        compare,
        data,
        evaluate,
        listing,
        new_method,
        predict,
        report,
        run,
        show,
        verify,
    )


def main() -> None:
    """Entry point: errors a user can act on are printed without a traceback and set the exit code."""
    # Threads that spin while they wait starve each other on a shared machine (measured: half the speed with one busy
    # core, a twentieth with two); set before torch is loaded, and only if the user has not.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _register()
    try:
        app()
    except ConfigError as error:
        _fail(error, EXIT_CONFIG)
    except DataError as error:
        _fail(error, EXIT_DATA)
    except (FasbenchError, OSError) as error:  # OSError: a full disk, a folder that cannot be written
        _fail(error, EXIT_FAILED)


def _fail(error: Exception, code: int) -> None:
    typer.echo(f"Error: {error}", err=True)
    sys.exit(code)
