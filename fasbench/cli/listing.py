"""fasbench list: the methods, protocols and data sets there are."""

from __future__ import annotations

import typer

from fasbench.cli import app

listing = typer.Typer(
    no_args_is_help=True, help="List methods, protocols, data sets or attacks.", rich_markup_mode=None
)
app.add_typer(listing, name="list")


@listing.command("methods")
def list_methods() -> None:
    """Methods that `fasbench run --method` knows by name."""
    from fasbench.about import about
    from fasbench.registry import methods

    rows, plugins = [], []
    for name, entry in methods().items():
        method = about(entry)
        trained = "" if method.trained is None else _rounded(method.trained)
        sees = "all" if len(method.modalities) == 3 else "\n".join(method.modalities)
        cells = [method.venue, sees, method.backbone, trained]
        rows.append([name, *(cell or "-" for cell in (*cells, "\n".join(method.fidelities), method.weights))])
        if entry.origin == "plugin":
            plugins.append(name)
    _print(["method", "venue", "sees", "backbone", "trained", "fidelity", "weights"], rows)
    if plugins:
        typer.echo(f"from plugins: {', '.join(plugins)}")
    typer.echo(
        "With the preset paper. sees: of rgb, depth, ir. trained: parameters.\n"
        "weights: here, to download (on first use), or none needed.\n"
        "More: fasbench show method NAME"
    )


@listing.command("protocols")
def list_protocols() -> None:
    """Protocols, and whether they can run on this machine. `fasbench show protocol` tells all of one."""
    from fasbench.data.catalog import lacking
    from fasbench.protocol import load_protocol
    from fasbench.registry import protocols

    rows = []
    for path in protocols().values():
        protocol = load_protocol(path)
        missing = lacking(protocol)
        counts = [str(len(protocol.splits)), str(len(protocol.conditions))]
        rows.append([str(protocol), protocol.title, *counts, f"no: {missing}" if missing else "yes"])
    _print(["protocol", "title", "splits", "conditions", "runs here"], rows)
    if any(row[-1] != "yes" for row in rows):
        typer.echo("no: the data sets to prepare first. fasbench data info NAME says how")


@listing.command("datasets")
def list_datasets() -> None:
    """Built-in and licensed data sets. A folder with a CSV is a data set too: see the README."""
    from fasbench.data.licensed import LICENSED
    from fasbench.registry import dataset_names

    rows = [[name, "embedded, rendered (synthetic)"] for name in dataset_names()]
    _print(["data set", "kind"], rows + [[name, licensed.how_to_get()] for name, licensed in LICENSED.items()])


@listing.command("attacks")
def list_attacks() -> None:
    """Attack classes of the taxonomy, as the `attack` column of a CSV spells them."""
    from fasbench.data.taxonomy import COARSE

    _print(["attack", "meaning"], [[name, meaning] for name, meaning in COARSE.items()])


def _rounded(count: int) -> str:
    return f"{count / 1e6:.3g} M" if count >= 1e5 else f"{count / 1e3:.3g} k"


def _print(headers: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, header in enumerate(headers):  # a name is to be copied whole
        table.add_column(header, no_wrap=number == 0 or header == "fidelity", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
