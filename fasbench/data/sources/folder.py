"""Image files and a CSV: the source for data sets that fasbench does not know by name.

    id,subject,unit,video,attack,label,split,rgb,depth,ir
    0001,anna,anna,anna-1,live,1,train,rgb/0001.png,depth/0001.png,ir/0001.png
    0002,anna,mask-7,mask-7-1,rigidmask,0,train,rgb/0002.png,,ir/0002.png

The CSV (UTF-8, commas) *is* the data set. Image paths are relative to its folder; an empty cell = the sensor delivered
nothing. `attack` is a coarse class of the taxonomy, `/` and a name of your own after it if you like (`print/laser-a4`).
`unit` is what the bootstrap resamples: the person, or the instrument. The optional column `presenter` says who holds or
wears an attack. Rows of one video stand in the order of its frames.
"""

from __future__ import annotations

import csv as csv_module
import hashlib
import io
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from fasbench.data import taxonomy
from fasbench.data.record import MODALITIES, SPLITS, Record
from fasbench.data.sources.base import Source
from fasbench.data.sources.images import Range, header_shape, read_image
from fasbench.errors import ConfigError, DataError, problem_list, suggest
from fasbench.resources import sha256

COLUMNS = ("id", "subject", "unit", "video", "attack", "label", "split", *MODALITIES)
OPTIONAL = ("presenter", "session", "race")

_RULES = 1  # count up when the same files would be decoded differently, so that stores are prepared again
_ONE_VALUE_A_VIDEO = ("subject", "unit", "attack", "label", "split")
_SPLIT_WORDS = {
    **dict.fromkeys(("val", "valid", "dev", "devel", "development"), "validation"),
    **dict.fromkeys(("training", "tr"), "train"),
    **dict.fromkeys(("testing", "eval", "evaluation"), "test"),
}


class FolderSource(Source):
    """The records of a CSV of image files (format: see the top of this file and `images.read_image`).

    Args:
        csv: the list; its folder holds the images.
        name: the data set's name, e.g. `my-lab`.
        image_size: (H, W), or one number for both, to which every image is resized (the aspect ratio is not kept).
            None: all images must have one size already.
        ranges: per modality, the raw values of 16-bit files that become 0 and 255, e.g. `{"depth": (300, 1500)}`.

    Raises:
        ConfigError: a name, size or range that makes no sense.
        DataError: everything that is wrong with the CSV, in one message. Missing and unreadable image files are
            reported by `read`.
    """

    def __init__(
        self,
        csv: Path,
        name: str,
        image_size: int | tuple[int, int] | None = None,
        ranges: Mapping[str, Range] | None = None,
    ) -> None:
        self.csv = Path(csv).absolute()
        self.name = name
        self.image_size: tuple[int, int] | None = (image_size,) * 2 if isinstance(image_size, int) else image_size
        self.ranges = {modality: (float(low), float(high)) for modality, (low, high) in (ranges or {}).items()}
        _check_arguments(name, self.image_size, self.ranges)
        try:
            content = self.csv.read_bytes()
        except OSError as error:
            raise DataError(f"{self.csv}: cannot be read ({error.strerror})") from error
        self._csv_sha256 = sha256(content)
        self._rows = _parse(content, self.csv, name)
        self.shape = self.image_size or self._first_shape()

    def recipe(self) -> dict[str, Any]:
        return {
            "kind": "folder",
            "rules": _RULES,
            "csv_sha256": self._csv_sha256,
            "image_size": None if self.image_size is None else list(self.image_size),
            "ranges": {modality: list(value_range) for modality, value_range in sorted(self.ranges.items())},
            "files_sha256": self._fingerprint(),
        }

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int) -> Record:
        row = self._rows[index]
        images: dict[str, np.ndarray | None] = dict.fromkeys(MODALITIES)
        problems = []
        for modality, file in row.files.items():
            try:
                image = read_image(self.csv.parent / file, modality, self.image_size, self.ranges.get(modality))
                if image.shape[:2] != self.shape:
                    raise DataError(
                        f"is {_pixels(image.shape)}, but the first image is {_pixels(self.shape)}. Make all files one "
                        "size, or let every image be resized with `image_size`"
                    )
                images[modality] = image
            except DataError as error:
                problems.append(f"{modality} {file}: {error}")
        if problems:
            raise DataError(f"row {row.number}: {'; '.join(problems)}")
        return Record(**row.metadata, rgb=images["rgb"], depth=images["depth"], ir=images["ir"])

    def _first_shape(self) -> tuple[int, int]:
        for row in self._rows:
            for file in row.files.values():
                try:
                    return header_shape(self.csv.parent / file)
                except DataError:
                    continue
        first = next(iter(self._rows[0].files.values()))
        raise DataError(
            f"{self.csv}: not one of the image files can be read. The first should be {self.csv.parent / first}: paths "
            "are relative to the folder of the CSV"
        )

    def _fingerprint(self) -> str:
        """Changes when any image file does, as far as size and time of change tell."""
        digest = hashlib.sha256()
        for file in sorted({file for row in self._rows for file in row.files.values()}):
            try:
                status = (self.csv.parent / file).stat()
                digest.update(f"{file}\n{status.st_size} {status.st_mtime_ns}\n".encode())
            except OSError:
                digest.update(f"{file}\nmissing\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class _Row:
    number: int  # as a spreadsheet shows it; the header is row 1
    metadata: dict[str, Any]  # of the record
    files: dict[str, str]  # modality -> relative path, only of those that exist


def _pixels(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} px high and {shape[1]} px wide"


def _check_arguments(name: str, image_size: tuple[int, int] | None, ranges: Mapping[str, Range]) -> None:
    problems = []
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        problems.append(f"the name '{name}' is not made of letters, digits, '.', '_' and '-' alone")
    if image_size is not None and (len(image_size) != 2 or min(image_size) < 1):
        problems.append(f"the image size {image_size} is not one or two positive numbers of pixels")
    for modality, (low, high) in ranges.items():
        if modality not in ("depth", "ir"):
            why = " (rgb files have 8 bits)" if modality == "rgb" else suggest(modality, MODALITIES)
            problems.append(f"a range for '{modality}' is not possible, only for depth and ir{why}")
        elif not low < high:
            problems.append(f"the range of {modality} does not rise: {low:g} to {high:g}")
    if problems:
        raise ConfigError(problem_list(f"data set '{name}': {len(problems)} problem(s)", problems))


def _parse(content: bytes, path: Path, name: str) -> list[_Row]:
    """The rows of the CSV; every problem of the whole file in one DataError."""
    try:
        lines = list(csv_module.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}: line {line} is not UTF-8. Save the file as 'CSV UTF-8'") from error
    except csv_module.Error as error:
        raise DataError(f"{path}: not a CSV file ({error})") from error
    # A spreadsheet's row number counts blank rows too.
    table = [(number, [cell.strip() for cell in line]) for number, line in enumerate(lines, start=1)]
    table = [(number, cells) for number, cells in table if any(cells)]
    if not table or table[0][0] != 1:
        raise DataError(f"{path}: row 1 is empty; it should be the header {','.join(COLUMNS)}")
    header = table[0][1]
    if problems := _header_problems(header):
        raise DataError(problem_list(f"{path}: {len(problems)} problem(s) in the header (row 1)", problems))
    if len(table) == 1:
        raise DataError(f"{path}: there are no rows below the header")

    problems, rows = [], []
    for number, cells in table[1:]:
        if len(cells) != len(header):
            problems.append(f"row {number}: {len(cells)} cells, but the header has {len(header)}")
        else:
            rows.append((number, dict(zip(header, cells, strict=True))))
    for number, row in rows:
        problems.extend(f"row {number}: {problem}" for problem in _row_problems(row))
    problems += _contradictions(rows)
    if problems:
        raise DataError(problem_list(f"{path}: {len(problems)} problem(s)", problems))
    frames: Counter[str] = Counter()
    parsed = []
    for number, row in rows:
        parsed.append(_record_row(number, row, name, frames[row["video"]]))
        frames[row["video"]] += 1
    return parsed


def _header_problems(header: list[str]) -> list[str]:
    if len(header) == 1 and re.search(r"[;\t]", header[0]):
        return ["the cells are not separated by commas. Save the file with commas"]
    unknown = [column for column in header if column not in COLUMNS + OPTIONAL]
    missing = [column for column in COLUMNS if column not in header]
    problems = [f"column '{column}' is missing" for column in missing]
    known = ", ".join(COLUMNS + OPTIONAL)
    problems += [f"unknown column '{name}'.{suggest(name, (*missing, *OPTIONAL))} Known: {known}" for name in unknown]
    repeated = [column for column, count in Counter(header).items() if count > 1]
    return problems + [f"column '{column}' occurs twice" for column in repeated]


def _row_problems(row: Mapping[str, str]) -> list[str]:
    problems = [f"{column} is empty" for column in ("id", "subject", "unit", "video") if not row[column]]
    if "#" in row["id"]:
        problems.append(f"id '{row['id']}' contains '#', which marks repeated rows of official lists")
    if row["split"] not in SPLITS:
        near = _SPLIT_WORDS.get(row["split"].lower())
        hint = f" Did you mean '{near}'?" if near else suggest(row["split"].lower(), SPLITS)
        problems.append(f"split is '{row['split']}', expected {', '.join(SPLITS)}.{hint}")
    if row["label"] not in ("0", "1"):
        problems.append(f"label is '{row['label']}', expected 1 (bona fide) or 0 (attack)")
    try:
        coarse = taxonomy.parse(row["attack"]).coarse
    except DataError as error:
        problems.append(str(error))
    else:
        if row["label"] in ("0", "1") and (row["label"] == "1") != (coarse == "live"):
            problems.append(f"label {row['label']} contradicts attack '{row['attack']}' (live is 1, any attack is 0)")
        if coarse == "live" and row.get("presenter", "") not in ("", row["subject"]):
            problems.append(f"presenter '{row['presenter']}' is not the subject '{row['subject']}' of a bona fide row")
    files = {modality: row[modality] for modality in MODALITIES if row[modality]}
    if not files:
        problems.append(f"{', '.join(MODALITIES)} are all empty: at least one image is needed")
    for modality, file in files.items():
        if "\\" in file or PurePosixPath(file).is_absolute() or PureWindowsPath(file).drive:
            problems.append(f"{modality} '{file}' is not a path relative to the CSV, with / between folders")
        elif ".." in PurePosixPath(file).parts:
            problems.append(f"{modality} '{file}' leaves the folder of the CSV")
    repeated = [file for file, count in Counter(files.values()).items() if count > 1]
    return problems + [f"'{file}' is given for two modalities" for file in repeated]


def _contradictions(rows: list[tuple[int, dict[str, str]]]) -> list[str]:
    """Ids that occur twice, and videos whose rows disagree about what they show."""
    problems = []
    ids: dict[str, int] = {}
    videos: dict[str, tuple[int, dict[str, str]]] = {}
    for number, row in rows:
        if row["id"] and ids.setdefault(row["id"], number) != number:
            problems.append(f"row {number}: id '{row['id']}' was already given in row {ids[row['id']]}")
        first, before = videos.setdefault(row["video"], (number, row))
        if row["video"]:
            problems += [
                f"row {number}: {column} '{row[column]}' of video '{row['video']}' is '{before[column]}' in row {first}"
                for column in _ONE_VALUE_A_VIDEO
                if row[column] != before[column]
            ]
    return problems


def _record_row(number: int, row: Mapping[str, str], name: str, frame: int) -> _Row:
    attack = taxonomy.parse(row["attack"])
    presenter = row.get("presenter") or (row["subject"] if attack.coarse == "live" else "")
    metadata = {
        "id": f"{name}/{row['id']}",
        "domain": name,
        "split": row["split"],
        "label": int(row["label"]),
        "attack": attack.coarse,
        "attack_fine": attack.fine,
        "subject": f"{name}/{row['subject']}",
        "presenter": f"{name}/{presenter}" if presenter else "",
        "unit": f"{name}/{row['unit']}",
        "video": f"{name}/{row['video']}",
        "frame": frame,
        "session": row.get("session", ""),
        "race": row.get("race", ""),
    }
    return _Row(number, metadata, {modality: row[modality] for modality in MODALITIES if row[modality]})
