"""fasbench data: prepare data sets, get the official lists."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import typer

from fasbench.cli import app

data = typer.Typer(no_args_is_help=True, help="Prepare data sets, get the official lists.", rich_markup_mode=None)
app.add_typer(data, name="data")


@data.command("prepare")
def prepare_command(
    targets: list[str] = typer.Argument(
        ..., help="Data sets (synth-k), protocols (synth/fixed, ./mine.yaml) or a CSV (./faces.csv)."
    ),
    size: str = typer.Option("demo", help="Embedded data sets: tiny, demo or full."),
    image_size: int | None = typer.Option(
        None, help="CSV and licensed data: resize every image to this square, in pixels; licensed data: 224 by default."
    ),
    ranges: list[str] = typer.Option([], "--range", help="CSV: raw range of 16-bit images, e.g. depth=300:1500."),
    root: Path | None = typer.Option(None, "--from", help="Licensed data: the folder that holds your copy."),
    protocol: str | None = typer.Option(
        None, help="Licensed data: the protocol whose lists are read; default: every bundled one."
    ),
    layout: str | None = typer.Option(None, help="Licensed data: which variant, where the folder holds several."),
    crop: str | None = typer.Option(None, help="Licensed data: own-box, rgb-box or none; default: the literature's."),
    on_missing: str = typer.Option(
        "error", help="Licensed data: skip leaves out rows whose files are not there; results on them are partial."
    ),
    out: Path | None = typer.Option(None, help="Where stores go; default $FASBENCH_DATA, else the user's cache."),
    workers: int = typer.Option(2, min=1, help="Processes that read."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Write the store anew even if it is there."),
) -> None:
    """Read data sets once into memory-mapped stores. What is there already is only checked."""
    from rich.console import Console

    from fasbench.cli.progress import ProgressReporter
    from fasbench.data.catalog import find_sources, listed_sources
    from fasbench.data.licensed import LICENSED
    from fasbench.data.store import prepare
    from fasbench.errors import ConfigError
    from fasbench.resources import data_root

    console = Console()
    if root is not None:
        if len(targets) != 1 or targets[0] not in LICENSED:
            raise ConfigError(f"--from goes with one licensed data set: {', '.join(LICENSED)}")
        sources = listed_sources(targets[0], root, layout, image_size or 224, crop, on_missing, protocol)
    else:
        sources = find_sources(targets, size=size, image_size=image_size, ranges=ranges)
    with ProgressReporter(Console(stderr=True)) as reporter:
        for source in sources:
            report = partial(reporter.preparing, source.name)
            store = prepare(source, out or data_root(), workers=workers, overwrite=overwrite, progress=report)
            splits = ", ".join(f"{name} {part['rows']:,}" for name, part in store.manifest["splits"].items())
            size = f"{store.shape[0]} x {store.shape[1]} px"
            console.print(f"{store.name}: {len(store):,} rows ({splits}), {size}", highlight=False)
            if skipped := store.manifest["skipped"]["rows"]:
                console.print(f"  {skipped:,} rows were skipped, e.g. {store.manifest['skipped']['first'][0]}")
            console.print(f"  {store.path}", highlight=False, soft_wrap=True)


@data.command("lists")
def lists_command(
    source: Path | None = typer.Option(
        None, "--from", help="A folder with the lists (a checkout of their repository); default: download them."
    ),
    ground_truth: Path | None = typer.Option(
        None, "--ground-truth", help="PADISI-Face's ground-truth CSV; sample, attack code and participant are kept."
    ),
    check: bool = typer.Option(False, "--check", help="Only check the lists that are there, or those of --from."),
) -> None:
    """Get the official lists of the licensed data sets, checked by their hashes. They go to $FASBENCH_LISTS, else the
    user's cache; fasbench does not ship them.
    """
    from fasbench.data.lists import folder as lists
    from fasbench.data.lists import read_ground_truth
    from fasbench.resources import lists_root

    needed, target = lists.bundled_lists(), lists_root()
    if check:
        lists.check_lists(source or target, needed)
        typer.echo(f"{len(needed)} lists, all as the protocols name them: {source or target}")
    else:
        new = lists.copy_lists(source, target, needed) if source else lists.download_lists(target, needed)
        typer.echo(f"{len(needed)} lists, {new} of them new: {target}")
    if ground_truth:
        samples = len(read_ground_truth(ground_truth)) if check else lists.copy_ground_truth(ground_truth, target)
        typer.echo(f"PADISI-Face's ground truth: {samples:,} samples")
