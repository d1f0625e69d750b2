"""fasbench data: get the official lists, prepare data sets, and see what is there."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import typer

from fasbench.cli import EXIT_DATA, app

data = typer.Typer(
    no_args_is_help=True, help="Get the official lists, prepare data sets, see what is there.", rich_markup_mode=None
)
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
    ranges: list[str] = typer.Option(
        [], "--range", help="CSV and licensed data: raw range of 16-bit images, e.g. depth=300:1500."
    ),
    root: Path | None = typer.Option(None, "--from", help="Licensed data: the folder that holds your copy."),
    protocol: str | None = typer.Option(
        None, help="Licensed data: the protocol whose lists are read; default: every bundled one that lists frames."
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
    from fasbench.registry import unknown
    from fasbench.resources import data_root

    console = Console()
    licensed_only = {"--protocol": protocol, "--layout": layout, "--crop": crop}
    licensed_only["--on-missing"] = on_missing if on_missing != "error" else None
    unused = [option for option, value in licensed_only.items() if value and root is None]
    if unused:
        raise ConfigError(f"{', '.join(unused)}: for licensed data, with --from FOLDER only")
    if root is not None:
        if len(targets) != 1:
            raise ConfigError(f"--from goes with one licensed data set, not with {len(targets)}: {' '.join(targets)}")
        if targets[0] not in LICENSED:
            raise unknown("licensed data set", targets[0], LICENSED, "fasbench data status")
        sources = listed_sources(targets[0], root, layout, image_size or 224, crop, on_missing, protocol, ranges)
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
                first = store.manifest["skipped"]["first"][0]
                console.print(f"  {skipped:,} rows were skipped, e.g. {first}", markup=False, soft_wrap=True)
            # .get: stores of earlier versions did not count them
            if empty := store.manifest.get("empty_depth", {}).get("rows", 0):
                first = store.manifest["empty_depth"]["first"][0]
                console.print(f"  {empty:,} rows have an empty depth image, e.g. {first}", markup=False, soft_wrap=True)
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
    there = lists.lists_at(source or target, needed) if source or check else needed
    if check:
        lists.check_lists(source or target, there)
        typer.echo(f"{len(there)} lists, all as the protocols name them: {source or target}")
    else:
        new = lists.copy_lists(source, target, there) if source else lists.download_lists(target, there)
        typer.echo(f"{len(there)} lists, {new} of them new: {target}")
    for repository in dict.fromkeys(str(one.source) for one in needed if one not in there):
        typer.echo(f"Not there: any list of {repository}")
    if ground_truth:
        samples = len(read_ground_truth(ground_truth)) if check else lists.copy_ground_truth(ground_truth, target)
        typer.echo(f"PADISI-Face's ground truth: {samples:,} samples")


@data.command("info")
def info_command(
    name: str = typer.Argument(..., help="wmca, cefa, padisi, surf, or an embedded one (synth-k)."),
) -> None:
    """What a data set is, how to get it, what is known to be wrong with it, what is at hand, and what to type next."""
    from fasbench.data.info import describe_dataset

    for heading, text in describe_dataset(name):
        typer.echo(f"{heading:<14} {text}")


@data.command("status")
def status_command() -> None:
    """All data sets at a glance: lists, ground truth, prepared stores, the protocols they serve. Reads no pixel."""
    from rich.console import Console

    from fasbench.cli.show import print_table
    from fasbench.data.status import families, prepared_stores, status
    from fasbench.resources import data_root, lists_root

    stores, console = prepared_stores(), Console()
    rows = [[one.name, one.lists, one.ground_truth, str(one.stores), families(one.protocols)] for one in status(stores)]
    print_table(console, ["data set", "lists", "ground truth", "stores", "protocols"], rows)
    for store in stores:
        serves = families(store.serves) or "no bundled protocol"
        typer.echo(f"{store.path.name}: {store.problem or f'{store}; for {serves}'}")
    typer.echo(
        f"Lists: {lists_root()}\nStores: {data_root()}\nMore: fasbench data info NAME, fasbench data verify NAME"
    )


@data.command("verify")
def verify_command(
    target: str = typer.Argument(..., help="A protocol (mmdg/fixed, ./mine.yaml) or a data set (wmca, synth-k)."),
    deep: bool = typer.Option(False, "--deep", help="Read every pixel and compare it with the hash of its row."),
) -> None:
    """Check what is prepared: stores intact, every row of the lists there, counts and hashes as the protocol says."""
    from fasbench.data.verify import verify_target

    remedies: dict[str, None] = {}
    wrong = False
    for check in verify_target(target, deep):
        typer.echo(f"{check.name}: {'NOT as it should be' if check.problems else 'ok'}")
        for text in check.problems + check.facts:
            typer.echo(f"  {text}")
        wrong |= bool(check.problems)
        remedies |= dict.fromkeys(check.remedies)
    for number, remedy in enumerate(remedies):
        typer.echo(f"  {remedy}" if number else f"What to do:\n  {remedy}")
    if wrong:
        raise typer.Exit(EXIT_DATA)


@data.command("preview")
def preview_command(
    target: str = typer.Argument(..., help="A prepared data set (wmca, synth-k) or a protocol (synth/fixed)."),
    out: Path | None = typer.Option(
        None, help="Folder to write to; default: previews/ among the prepared data. Not for licensed data."
    ),
) -> None:
    """Contact sheets: some samples of every class and split. Those of licensed data stay with the prepared data."""
    from fasbench.data.preview import previews

    for path in previews(target, out):
        typer.echo(str(path))
