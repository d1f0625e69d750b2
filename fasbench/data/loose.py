"""Loose image files: samples of no data set, gathered from files, a folder or a CSV, and decoded to be scored."""

from __future__ import annotations

import csv as csv_module
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from fasbench.data.loading import Group, Rows
from fasbench.data.record import MODALITIES
from fasbench.data.sources.images import FORMATS, SIXTEEN_BITS, Range, header_shape, read_image
from fasbench.errors import ConfigError, DataError, problem_list, suggest

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SAME_ASPECT = 1.02  # rounding to whole pixels changes a side ratio by less, another crop by more
Shape = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Sample:
    """The image files of one presentation; a modality without a file is absent."""

    id: str
    files: dict[str, Path]  # in the order of MODALITIES
    place: str = ""  # how errors call it, if not by its id

    @property
    def absent(self) -> frozenset[str]:
        return frozenset(MODALITIES) - frozenset(self.files)

    @property
    def name(self) -> str:
        return self.place or f"'{self.id}'"


@dataclass
class Gathered:
    """Samples, what is wrong with the input around them, and what a reader should know about it."""

    samples: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# --- gathering --------------------------------------------------------------------------------------------------------


def sample_of_files(files: Mapping[str, Path | None]) -> Gathered:
    """One sample of up to three files, named by the first.

    Raises:
        ConfigError: there is none.
    """
    given = {modality: path for modality in MODALITIES if (path := files.get(modality)) is not None}
    if not given:
        raise ConfigError("no modality is given: at least one of --rgb, --depth and --ir, or --folder, or --csv")
    return Gathered([Sample(next(iter(given.values())).stem, given)])


def samples_of_folder(folder: Path) -> Gathered:
    """The samples of `folder/rgb`, `folder/depth` and `folder/ir`, matched by file stem and sorted by it.

    Nothing in the three folders is passed over but hidden files: an image that is not recognised would make its
    modality absent, and another threshold would hold.

    Raises:
        DataError: no such folder, or it has none of the three.
    """
    if not folder.is_dir():
        raise DataError(f"--folder {folder}: no such folder")
    places = {modality: folder / modality for modality in MODALITIES if (folder / modality).is_dir()}
    others = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name not in places)
    if not places:
        found = f" It has: {', '.join(others)}" if others else ""
        raise DataError(f"--folder {folder}: expected the folders rgb, depth, ir in it, at least one of them.{found}")
    gathered, files = Gathered(), dict[str, dict[str, Path]]()
    for modality, place in places.items():
        for path in sorted(entry for entry in place.iterdir() if not entry.name.startswith(".")):
            if path.is_dir():
                gathered.problems.append(f"{modality}/{path.name} is a folder: expected image files")
            elif path.suffix.lower() not in SUFFIXES:
                gathered.problems.append(f"{modality}/{path.name} is not {', '.join(FORMATS)} by its name")
            elif (first := files.setdefault(path.stem, {}).setdefault(modality, path)) != path:
                gathered.problems.append(f"'{path.stem}' has two {modality} files: {first.name} and {path.name}")
    gathered.samples = [Sample(stem, files[stem]) for stem in sorted(files)]
    if not files and not gathered.problems:
        raise DataError(f"--folder {folder}: no image file in {', '.join(places)}")
    if others:
        gathered.notes.append(f"not read: {', '.join(others)} in {folder}; only rgb, depth and ir are")
    return gathered


def samples_of_csv(path: Path) -> Gathered:
    """The samples of a CSV (UTF-8, commas) with the columns id, rgb, depth, ir; others are ignored.

    Paths are relative to the CSV's folder; an empty cell or a missing column = the modality is absent.

    Raises:
        DataError: the file cannot be read, or its header lacks what is needed.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [[cell.strip() for cell in line] for line in csv_module.reader(file, strict=True)]
    except (OSError, UnicodeDecodeError, csv_module.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"--csv {path}: cannot be read as a UTF-8 CSV file ({reason})") from None
    header = lines[0] if lines else []
    if problems := list(_header_problems(header)):
        raise DataError(problem_list(f"--csv {path}: {len(problems)} problem(s) in the header (row 1)", problems))
    gathered, ids = Gathered(), dict[str, int]()
    for number, cells in enumerate(lines[1:], start=2):
        if not any(cells):
            continue
        if len(cells) != len(header):
            gathered.problems.append(f"row {number}: {len(cells)} cells, but the header has {len(header)}")
            continue
        row = dict(zip(header, cells, strict=True))
        files = {modality: path.parent / row[modality] for modality in MODALITIES if row.get(modality)}
        if not row["id"]:
            gathered.problems.append(f"row {number}: id is empty")
        elif ids.setdefault(row["id"], number) != number:
            gathered.problems.append(f"row {number}: id '{row['id']}' was already given in row {ids[row['id']]}")
        if files:
            gathered.samples.append(Sample(row["id"], files, f"row {number} ('{row['id']}')"))
        else:
            gathered.problems.append(f"row {number}: no modality is given: {', '.join(MODALITIES)} are all empty")
    if not gathered.samples and not gathered.problems:
        raise DataError(f"--csv {path}: there are no rows below the header")
    return gathered


def _header_problems(header: list[str]) -> Iterator[str]:
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        yield "the cells are not separated by commas. Save the file with commas"
        return
    if "id" not in header:
        yield f"column 'id' is missing.{suggest('id', header)}"
    if not set(header) & set(MODALITIES):
        yield f"no modality is given: none of the columns {', '.join(MODALITIES)} is there"
    for name in ("id", *MODALITIES):
        if header.count(name) > 1:
            yield f"column '{name}' occurs twice"


# --- decoding ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decoding:
    """How files become the images a run was trained on.

    Args:
        shapes: sizes (H, W) that are taken as they are, at least one.
        resize: let files of other sizes be resized, as `fasbench data prepare --image-size` does; to the largest of
            `shapes`, which loses least.
        ranges: per modality, the raw values of 16-bit files that become 0 and 255.
        known_ranges: the ranges the run's data were prepared with, for the error: modality -> `lab depth=300:1500`.

    Raises:
        ConfigError: a range that makes no sense.
    """

    shapes: tuple[Shape, ...]
    resize: bool = False
    ranges: Mapping[str, Range] = field(default_factory=dict)
    known_ranges: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        for modality, (low, high) in self.ranges.items():
            if modality not in ("depth", "ir"):
                problems.append(f"'{modality}': only depth and ir files have 16 bits.{suggest(modality, MODALITIES)}")
            elif not (low < high and math.isfinite(low) and math.isfinite(high)):
                problems.append(f"{modality}={low:g}:{high:g} does not rise")
        if problems:
            raise ConfigError(problem_list("--range: what is given makes no sense", problems))

    def problems(self, sample: Sample) -> list[str]:
        """Everything in which the files of a sample are not what can be scored; every file is decoded."""
        found, shapes = [], dict[str, Shape]()
        for modality, path in sample.files.items():
            try:
                shapes[modality] = header_shape(path)
                if modality != "rgb" and modality not in self.ranges and _has_sixteen_bits(path):
                    known = self.known_ranges.get(modality)
                    hint = f"The run's data: {known}" if known else "Use the one the run's data were prepared with"
                    raise DataError(
                        f"has 16 bits: say which raw values become 0 and 255, e.g. --range {modality}=300:1500. {hint}"
                    )
                read_image(path, modality, None, self.ranges.get(modality))
            except DataError as error:
                found.append(f"{modality} {path}: {error}")
        repeated = [path for path, count in Counter(sample.files.values()).items() if count > 1]
        found += [f"{path} is given for two modalities" for path in repeated]
        return [f"{sample.name}: {text}" for text in (*found, *self._size_problems(shapes))]

    def _size_problems(self, shapes: dict[str, Shape]) -> Iterator[str]:
        sizes = ", ".join(f"{modality} {_pixels(shape)}" for modality, shape in shapes.items())
        aspects = [height / width for height, width in shapes.values()]
        if self.resize:
            if aspects and max(aspects) > SAME_ASPECT * min(aspects):
                yield f"the modalities differ in shape ({sizes}): they do not show the same picture"
        elif len(set(shapes.values())) > 1:
            yield f"the modalities differ in size: {sizes}. If they show the same picture, --resize makes them one size"
        elif any(shape not in self.shapes for shape in shapes.values()):
            expected = " or ".join(_pixels(shape) for shape in self.shapes)
            yield f"{sizes}: the run expects {expected}. Crop it as the run's data are, or let --resize resize it"

    def read(self, sample: Sample) -> dict[str, np.ndarray]:
        """The images of a sample without problems, uint8 of one size.

        Raises:
            DataError: a file changed since it was checked.
        """
        shapes = {header_shape(path) for path in sample.files.values()}
        fits = len(shapes) == 1 and shapes <= set(self.shapes)
        target = None if fits else max(self.shapes, key=math.prod)
        return {
            modality: read_image(path, modality, target, self.ranges.get(modality))
            for modality, path in sample.files.items()
        }


def _pixels(shape: Shape) -> str:
    return f"{shape[0]} x {shape[1]} px"


def _has_sixteen_bits(path: Path) -> bool:
    with Image.open(path, formats=FORMATS) as image:
        return image.mode in SIXTEEN_BITS


class LooseRows(Rows):
    """Samples as rows without labels: as much of `Rows` as scoring needs, the images decoded when they are read."""

    def __init__(self, samples: list[Sample], decoding: Decoding) -> None:
        self.samples = samples
        self.decoding = decoding
        self.store_row = np.arange(len(samples))
        # Not the samples' own ids, in which a '#' is a character like any other: see scoring.score_rows.
        self.columns = {"id": np.array([str(row) for row in range(len(samples))], dtype=object)}
        self.present = np.array([[name in sample.files for name in MODALITIES] for sample in samples])  # (N, 3)

    def read(self, positions: np.ndarray) -> list[Group]:
        """The images at `positions`, grouped by size; zeros where a modality is absent."""
        images = [self.decoding.read(self.samples[position]) for position in positions]
        shapes = [next(iter(found.values())).shape[:2] for found in images]
        groups = []
        for shape in sorted(set(shapes)):
            where = np.array([place for place, other in enumerate(shapes) if other == shape])
            planes = {
                name: np.stack(
                    [images[place].get(name, np.zeros((*shape, 3) if name == "rgb" else shape, np.uint8))
                     for place in where]
                )
                for name in MODALITIES
            }  # fmt: skip
            groups.append(Group(where, planes["rgb"], planes["depth"], planes["ir"], self.present[positions[where]]))
        return groups
