"""fasbench predict: score images of one's own with a trained run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fasbench.cli import app
from fasbench.errors import ConfigError

if TYPE_CHECKING:
    from fasbench.predict import Predictions


@app.command()
def predict(
    run: Path = typer.Option(..., "--run", help="The folder of a run (runs/<protocol>/<run>), or one result in it."),
    rgb: Path | None = typer.Option(None, help="One sample: its colour image."),
    depth: Path | None = typer.Option(None, help="One sample: its depth image."),
    ir: Path | None = typer.Option(None, help="One sample: its infrared image."),
    folder: Path | None = typer.Option(
        None, help="Samples as files in its folders rgb, depth and ir, matched by their names without ending."
    ),
    csv: Path | None = typer.Option(None, help="Samples in a CSV with the columns id, rgb, depth, ir."),
    split: str | None = typer.Option(None, help="Which split's training, if the run has several."),
    seed: int | None = typer.Option(None, help="Which seed's training, if the run has several."),
    selection: str | None = typer.Option(None, help="Which epoch: source-val or last; default: the protocol's."),
    policy: str | None = typer.Option(None, help="Which threshold, e.g. source-bpcer@1%; default: the protocol's."),
    protocol: str | None = typer.Option(None, help="The protocol's file, if it is not bundled: ./mine.yaml."),
    method: str | None = typer.Option(None, help="The method, if it is not registered: path/to/file.py:Class."),
    ranges: list[str] = typer.Option([], "--range", help="Raw range of 16-bit images, e.g. depth=300:1500."),
    resize: bool = typer.Option(False, "--resize", help="Resize images that are not of the size of the run's data."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:1."),
    as_json: bool = typer.Option(False, "--json", help="Print the predictions as JSON on standard output."),
    out: Path | None = typer.Option(None, help="Write the predictions to a CSV file."),
) -> None:
    """Score images with a trained run: how live each is, and the decision at the run's threshold.

    Modalities that are not given are absent: the threshold is that of the condition which takes them away.
    """
    files = {"rgb": rgb, "depth": depth, "ir": ir}
    if (any(files.values()), folder is not None, csv is not None).count(True) > 1:
        raise ConfigError("give either the files of one sample (--rgb, --depth, --ir), or --folder, or --csv")

    from fasbench.data import loose
    from fasbench.data.catalog import parse_ranges
    from fasbench.predict import predict as predict_samples
    from fasbench.resources import write_atomic
    from fasbench.trained import open_run

    value_ranges = parse_ranges(ranges)
    if folder is not None:
        gathered = loose.samples_of_folder(folder)
    elif csv is not None:
        gathered = loose.samples_of_csv(csv)
    else:
        gathered = loose.sample_of_files(files)
    trained = open_run(run, split, seed, selection, method, protocol)
    predictions = predict_samples(trained, gathered, policy, value_ranges, resize, device)
    if out is not None:
        write_atomic(out, predictions.as_csv())
    if as_json:
        typer.echo(json.dumps(predictions.as_json_object(), indent=2))
    else:
        print_predictions(predictions, out)


def print_predictions(predictions: Predictions, out: Path | None) -> None:
    """The table and the notes; of predictions that went to a file, how many there are of each decision."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    console = Console()

    def line(text: str, style: str | None = None) -> None:
        console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    line(predictions.title, "bold")
    if out is None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for header in ("id", "score", "decision", "threshold", "policy", "condition"):
            table.add_column(header, justify="right" if header in ("score", "threshold") else "left", no_wrap=True)
        for p in predictions.predictions:
            table.add_row(p.id, f"{p.score:.6g}", p.decision, f"{p.threshold:.6g}", p.policy, p.condition)
        needed = Measurement.get(console, console.options.update(max_width=10_000, markup=False), table).maximum
        console.width = max(console.width, needed)  # a cropped id names nothing
        console.print(table, highlight=False, markup=False)
    else:
        decisions = [prediction.decision for prediction in predictions.predictions]
        counts = f"{decisions.count('live')} live, {decisions.count('attack')} attack"
        line(f"{len(decisions)} sample(s): {counts}; written to {out}")
    for note in predictions.notes:
        line(f"Note: {note}")
