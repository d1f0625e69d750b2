"""Contact sheets of prepared stores: what a training will see, to be looked at before it is started.

A row of a sheet is a class (bona fide, or a coarse attack) and a split, a column one sample: RGB, depth, infrared. The
choice is the same every time; a CSV beside the sheet names the samples. Sheets of licensed data lie below the data
root, with the stores they are made of, and nowhere else: their licences forbid showing them.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fasbench.data.catalog import find_prepared, make_source, prepare_command
from fasbench.data.licensed import LICENSED
from fasbench.data.record import MODALITIES, SPLITS
from fasbench.data.status import Prepared, prepared_stores
from fasbench.data.store import Store, store_path
from fasbench.errors import ConfigError, DataError, problem_list, suggest
from fasbench.protocol import Protocol
from fasbench.registry import dataset_names, find_evaluations, unknown
from fasbench.resources import data_root, sha256, write_atomic

COLUMNS = 4  # samples of a class and split
LABEL_WIDTH, GAP, LINE = 150, 10, 22  # pixels
SEAM = 2  # pixels between the modalities of a sample
LARGEST = 112  # pixels: height and width of an image on the sheet


def previews(target: str, out: Path | None = None) -> list[Path]:
    """Write a sheet of every store that `target` stands for.

    Args:
        target: a data set that is prepared, or a protocol (any prefix, or a file).
        out: the folder to write to, for data without a licence; None = `previews` below the data root.

    Raises:
        ConfigError: nothing of that name, or licensed data and `out`.
        DataError: nothing is prepared, or a store is damaged.
    """
    stores = _stores(target)
    licensed = [store.name for store in map(Prepared.of, stores) if store.licensed]
    folder = data_root() / "previews"
    if out is not None and licensed:
        raise ConfigError(
            f"--out: {', '.join(dict.fromkeys(licensed))} is licensed, its previews are written to {folder} only. "
            "Leave --out away"
        )
    written = []
    for store in stores:
        path = (out or folder) / f"{store.path.name}.png"
        content = io.BytesIO()
        contact_sheet(store).save(content, "png")
        write_atomic(path, content.getvalue())
        write_atomic(path.with_suffix(".csv"), sheet_rows(store))
        written.append(path)
    if out is None:
        write_atomic(folder / ".gitignore", "*\n")  # in case the data root lies in somebody's repository
    return written


def contact_sheet(store: Store) -> Image.Image:
    """The sheet of one store, with the licence's notice above and below."""
    bands = _bands(store)
    side = min(LARGEST, max(store.shape))
    triplet = 3 * side + 2 * SEAM
    width = LABEL_WIDTH + COLUMNS * (triplet + GAP)
    notices = _notices(store, width)
    height = len(bands) * (side + GAP) + 2 * LINE * len(notices) + LINE + GAP
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, notice in enumerate(notices):
        for top in (number * LINE, height - (len(notices) - number) * LINE):
            draw.text((6, top + 3), notice, fill="firebrick", font_size=12)
    for column in range(COLUMNS):
        for number, modality in enumerate(MODALITIES):
            left = LABEL_WIDTH + column * (triplet + GAP) + number * (side + SEAM)
            draw.text((left + 2, LINE * len(notices) + 3), modality, fill="dimgray", font_size=12)
    for number, (attack, split, rows) in enumerate(bands):
        top = LINE * (len(notices) + 1) + number * (side + GAP)
        count = int(((store.column("attack") == attack) & (store.column("split") == split)).sum())
        draw.text((6, top + side // 2 - 27), f"{attack}\n{split}\n{count:,} rows", fill="black", font_size=15)
        for column, row in enumerate(rows):
            left = LABEL_WIDTH + column * (triplet + GAP)
            sheet.paste(_triplet(store, int(row), side), (left, top))
    return sheet


def sheet_rows(store: Store) -> str:
    """Which samples a sheet shows, as CSV: class, split, column (from 1), attack in full, id."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["attack", "split", "column", "attack_fine", "id"])
    for attack, split, rows in _bands(store):
        for column, row in enumerate(rows, start=1):
            writer.writerow([attack, split, column, store.column("attack_fine")[row], store.column("id")[row]])
    return text.getvalue()


def _bands(store: Store) -> list[tuple[str, str, np.ndarray]]:
    """Class, split and rows of each row of the sheet, bona fide first."""
    return [
        (attack, split, rows)
        for attack in sorted(set(store.column("attack")), key=lambda name: (name != "live", name))
        for split in SPLITS
        if len(rows := choose(store, attack, split))
    ]


def choose(store: Store, attack: str, split: str, count: int = COLUMNS) -> np.ndarray:
    """Rows of a class and split, in the order of a hash of their id: of as many kinds of the attack, then of as many
    persons or instruments as there are.
    """
    rows = np.flatnonzero((store.column("attack") == attack) & (store.column("split") == split))
    hashed = sorted(rows.tolist(), key=lambda row: sha256(str(store.column("id")[row])))
    earlier: Counter[tuple[str, str]] = Counter()  # samples of a kind or unit before this one
    turns: list[tuple[int, int, int, int]] = []  # how many of its kind and unit came before, place in the order, row
    for row in hashed:
        keys = [(name, store.column(name)[row]) for name in ("attack_fine", "unit")]
        turns.append((*(earlier[key] for key in keys), len(turns), row))
        earlier.update(keys)
    return np.array([turn[-1] for turn in sorted(turns)[:count]], np.int64)


def _triplet(store: Store, row: int, side: int) -> Image.Image:
    """RGB, depth and infrared of a row side by side; grey with a word where the sensor delivered nothing."""
    triplet = Image.new("RGB", (3 * side + 2 * SEAM, side), "silver")
    images = store.record(row).images
    for number, modality in enumerate(MODALITIES):
        image, left = images[modality], number * (side + SEAM)
        if image is None:
            place = (left + 6, side // 2 - 8)
            ImageDraw.Draw(triplet).text(place, f"no {modality}", fill="black", font_size=13)
        else:
            picture = Image.fromarray(image).convert("RGB")
            triplet.paste(picture.resize((side, side), Image.Resampling.BILINEAR), (left, 0))
    return triplet


def _notices(store: Store, width: int) -> list[str]:
    """What is shown and, of licensed data, what the licence asks; in lines that fit `width` pixels."""
    facts = Prepared.of(store)
    options = [f"{name} {value}" for name, value in facts.options.items() if name in ("layout", "crop")]
    partial = [f"PARTIAL: {facts.skipped:,} rows were skipped"] if facts.skipped else []
    what = ", ".join([f"{store.shape[0]} x {store.shape[1]} px", *options, *partial])
    licence = textwrap.wrap(LICENSED[store.name].notice(), width // 7) if store.name in LICENSED else []
    return [f"{store.path.name}: {what}. RGB, depth, infrared", *licence]


def _stores(target: str) -> list[Store]:
    """Stores of a data set, or those that a protocol reads."""
    known = [*LICENSED, *dataset_names()]
    there = [store for store in prepared_stores() if store.name == target and not store.problem]
    if there:
        return [Store.open(store.path) for store in there]
    if target in known:
        raise DataError(f"{target} is not prepared: {_how_to_prepare(target)}")
    if "/" not in target and not target.endswith(".yaml") and suggest(target, known):
        raise unknown("data set", target, known, "fasbench data status")
    paths: dict[Path, None] = {}
    problems: dict[str, None] = {}
    for protocol, pairs in find_evaluations(target):
        for name in protocol.datasets_of(split for split, _ in pairs):
            spec = protocol.datasets[name]
            if spec.list_files:
                found = find_prepared(name, spec)
            else:
                path = store_path(make_source(name, spec, protocol.folder), data_root())
                found = [path] if path.is_dir() else []
            paths |= dict.fromkeys(found)
            if not found:
                remedy = (
                    f"fasbench data prepare {protocol.path}" if spec.csv else _how_to_prepare(name, spec.size, protocol)
                )
                problems[f"{name} is not prepared: {remedy}"] = None
    if problems:
        raise DataError(problem_list(f"{target}: nothing to show of {len(problems)} data set(s)", list(problems)))
    return [Store.open(path) for path in paths]


def _how_to_prepare(name: str, size: str | None = None, protocol: Protocol | None = None) -> str:
    if name in LICENSED:
        return prepare_command(name, protocol=protocol)
    return f"fasbench data prepare {name}" + (f" --size {size}" if size else "")
