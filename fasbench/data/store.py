"""The prepared store: every record of a data set at one size, memory-mapped, read at the speed of a copy.

A store is a folder `<name>-<hash of the recipe>/` with Arrow files, one row a record: the metadata columns of `Record`,
the pixels of `rgb`, `depth`, `ir` as raw uint8 in C order (null = the sensor delivered nothing), and two hashes. Its
`manifest.json` is written last and says what the files must hold. A store is never changed after it was written.

    store = prepare(source, Path("stores"))          # reads the source once; later calls only open the store
    rgb, depth, ir, present = store.read(np.array([3, 1, 4]))

Decoding and resizing happen here once, not in every epoch: `benchmarks/loading.py` measures what that is worth.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fasbench
from fasbench.data import atomic, shards
from fasbench.data.record import METADATA, MODALITIES, SPLITS, Record
from fasbench.data.sources.base import Source
from fasbench.errors import DataError, problem_list
from fasbench.resources import canonical_json, sha256, write_atomic, write_json

SCHEMA = 2  # of the folder; another number means another format, and another folder
MANIFEST = "manifest.json"
SKIPPED = "skipped.json"  # metadata of the rows whose files were not there
_SHOWN = 20  # problems in a message; more of them go to a file


class Images(NamedTuple):
    """A batch of B rows as uint8; a modality that is absent is all zeros, and `present` is False."""

    rgb: np.ndarray  # (B, H, W, 3)
    depth: np.ndarray  # (B, H, W)
    ir: np.ndarray  # (B, H, W)
    present: np.ndarray  # (B, 3) bool, in the order of MODALITIES


class Store:
    """A prepared store, open for reading. Safe to share with forked processes; pickles as its path."""

    def __init__(self, path: Path, manifest: dict[str, Any], table: Any) -> None:
        self.path = path
        self.manifest = manifest
        self.name: str = manifest["name"]
        height, width = manifest["shape"]
        self.shape: tuple[int, int] = (height, width)
        self._table = table
        self._columns: dict[str, np.ndarray] = {}
        self._pixels = [
            _Pixels(table.column(name), (height, width, 3) if name == "rgb" else (height, width)) for name in MODALITIES
        ]
        self.present = np.stack([pixels.slot >= 0 for pixels in self._pixels], axis=1)  # (N, 3)
        self.present.setflags(write=False)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Map the store at `path` into memory; no pixel is read.

        Raises:
            DataError: there is no intact store at `path`.
        """
        import pyarrow

        path = Path(path)
        try:
            manifest = _read_manifest(path)
            return cls(path, manifest, _map_table(path, manifest))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, pyarrow.ArrowException) as error:
            reason = f"{error.strerror}: {Path(error.filename).name}" if isinstance(error, FileNotFoundError) else error
            raise DataError(
                f"{path} is not an intact store ({reason}). Run `fasbench data prepare` again to write it anew"
            ) from error

    def __len__(self) -> int:
        return self._table.num_rows

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {len(self)} rows of {self.shape[0]} x {self.shape[1]} px)"

    def __reduce__(self) -> tuple[Any, ...]:
        return Store.open, (self.path,)

    def column(self, name: str) -> np.ndarray:
        """A metadata column or hash as a read-only (N,) array: int64 for label and frame, else objects of str."""
        if name not in self._columns:
            if name not in shards.COLUMNS or name in MODALITIES:
                known = [column for column in shards.COLUMNS if column not in MODALITIES]
                raise KeyError(f"no metadata column '{name}'; there are {', '.join(known)}")
            kind = np.int64 if name in shards.INTEGERS else object
            values = np.array(self._table.column(name).to_pylist(), dtype=kind)
            values.setflags(write=False)
            self._columns[name] = values
        return self._columns[name]

    def skipped(self, name: str) -> np.ndarray:
        """A metadata column of the rows that preparation left out, (S,)."""
        if not self.manifest["skipped"]["rows"]:
            return np.array([], dtype=np.int64 if name in shards.INTEGERS else object)
        rows = json.loads((self.path / SKIPPED).read_text(encoding="utf-8"))
        return np.array([row[name] for row in rows], dtype=np.int64 if name in shards.INTEGERS else object)

    def read(self, rows: np.ndarray, out: Images | None = None) -> Images:
        """The images of `rows`, (B,) integers in any order, repeats allowed.

        Pass `out` to write into existing arrays, such as an earlier batch or views of pinned memory; for batches of
        hundreds of rows, that halves the time.

        Raises:
            IndexError: `rows` are not integers, or one is negative or beyond the end.
        """
        rows = np.asarray(rows)
        if rows.size and rows.dtype.kind not in "iu":  # a mask would silently become rows 0 and 1
            raise IndexError(f"rows are integers, not {rows.dtype}; np.flatnonzero makes them of a mask")
        rows = rows.astype(np.int64, copy=False)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of a store with {len(self)} rows")
        if out is None:
            rgb, depth, ir = (np.empty((len(rows), *pixels.shape), np.uint8) for pixels in self._pixels)
            out = Images(rgb, depth, ir, np.empty((len(rows), 3), bool))
        for pixels, images in zip(self._pixels, out, strict=False):
            pixels.read(rows, images)
        np.take(self.present, rows, axis=0, out=out.present)
        return out

    def record(self, row: int) -> Record:
        """One row as a record; the images are copies."""
        images = self.read(np.array([row]))
        pixels = {name: images[k][0] if images.present[0, k] else None for k, name in enumerate(MODALITIES)}
        metadata = {name: self.column(name)[row] for name in METADATA}
        return Record(**{**metadata, **{name: int(metadata[name]) for name in shards.INTEGERS}, **pixels})

    def dataset(self) -> Any:
        """The same rows as a `datasets.Dataset`, for its tools; pixels are the raw bytes of `shape`."""
        from datasets import Dataset, concatenate_datasets

        return concatenate_datasets([Dataset.from_file(str(self.path / name)) for name in self.manifest["files"]])

    def verify(self, deep: bool = False) -> list[str]:
        """Everything in which the manifest and the data disagree; `deep` reads every pixel and recomputes hashes."""
        problems = [
            f"{key}: the manifest says {self.manifest.get(key)!r}, the data {value!r}"
            for key, value in _summary(self).items()
            if self.manifest.get(key) != value
        ]
        return problems + (self._wrong_hashes() if deep else [])

    def _wrong_hashes(self) -> list[str]:
        problems = []
        for row in range(len(self)):
            record = self.record(row)
            metadata = {name: getattr(record, name) for name in METADATA}
            pixels_sha256 = shards.pixel_hash(record.images)
            if pixels_sha256 != self.column("pixels_sha256")[row]:
                problems.append(f"row {row} ({record.id}): the pixels are not those that were written")
            elif shards.row_hash(metadata, pixels_sha256) != self.column("sha256")[row]:
                problems.append(f"row {row} ({record.id}): the metadata is not what was written")
        return problems


class _Pixels:
    """One modality: where in the mapped memory the image of each row lies."""

    def __init__(self, column: Any, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.blocks: list[np.ndarray] = []  # one a record batch: (images present in it, *shape), a view
        length = int(np.prod(shape))
        block, slot = [], []
        for chunk in column.chunks:
            _, offsets, data = chunk.buffers()
            starts = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1].astype(np.int64)
            valid = np.asarray(chunk.is_valid())
            if not np.array_equal(np.diff(starts), np.where(valid, length, 0)):
                raise ValueError(f"an image does not have the {length} bytes of {' x '.join(map(str, shape))}")
            pixels = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)[starts[0] : starts[-1]]
            block.append(np.full(len(chunk), len(self.blocks)))
            slot.append(np.where(valid, np.cumsum(valid) - 1, -1))
            self.blocks.append(pixels.reshape(valid.sum(), *shape))
        self.block = np.concatenate(block)  # (N,)
        self.slot = np.concatenate(slot)  # (N,); -1 = the row has no such image

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        places = zip(self.block[rows].tolist(), self.slot[rows].tolist(), strict=True)
        for image, (block, slot) in zip(out, places, strict=True):
            if slot >= 0:
                image[...] = self.blocks[block][slot]
            else:
                image.fill(0)


def prepare(
    source: Source,
    root: Path,
    *,
    workers: int = 2,
    progress: shards.Progress | None = None,
    overwrite: bool = False,
) -> Store:
    """Read every record of `source` into a store below `root`, or open the store that is already there.

    A store that lacks rows is read again: the files may have come since.

    Args:
        workers: processes that read; the bytes written do not depend on it.
        progress: called with (rows done, rows in all), now and then.
        overwrite: write the store anew even if an intact one exists (not while others are about to open it).

    Raises:
        DataError: everything that is wrong with any row, in one message. Nothing is left behind.
    """
    recipe = source.recipe()
    path = store_path(source, root)
    if not overwrite and (store := _complete(path)) is not None:
        return store
    if len(source) == 0:
        raise DataError(f"{source.name}: the source has no rows")
    with atomic.new_folder(path, keep=lambda there: not overwrite and _complete(there) is not None) as folder:
        report = shards.write_shards(source, folder, workers, progress)
        if report.problems:
            raise DataError(_report(source, report.problems, Path(root)))
        if not report.keys:
            reasons = [row["reason"] for row in report.skipped]
            title = f"{source.name}: every row would be skipped, nothing was written"
            raise DataError(problem_list(title, reasons, limit=_SHOWN))
        if source.recipe() != recipe:
            raise DataError(f"{source.name}: the files changed while they were read. Prepare again")
        _write_manifest(folder, source, recipe, report)
    return Store.open(path)


def _report(source: Source, problems: list[str], root: Path) -> str:
    """What is wrong with the rows of a source, in a length that can be read; all of it in a file if that is cut."""
    title = f"{source.name}: {len(problems):,} problem(s) in {len(source):,} rows, nothing was written"
    text = problem_list(title, problems, limit=_SHOWN)
    if len(problems) > _SHOWN:
        path = root / f"problems-{source.name}.txt"
        write_atomic(path, "\n".join(problems) + "\n")
        text += f": all of them are in {path}"
    return f"{text}\n{source.remedy}" if source.remedy else text


def store_path(source: Source, root: Path) -> Path:
    """Where `prepare` puts the store of `source`: `<root>/<name>-<12 hex digits of the recipe's hash>`."""
    recipe = {"schema": SCHEMA, "name": source.name, "shape": list(source.shape), "recipe": source.recipe()}
    return Path(root) / f"{source.name}-{sha256(canonical_json(recipe))[:12]}"


def _summary(store: Store) -> dict[str, Any]:
    """The part of the manifest that follows from the data."""
    columns = {name: store.column(name) for name in ("split", "attack", "label", "video", "subject", "unit")}
    counts = Counter(zip(columns["split"], columns["attack"], columns["label"].tolist(), strict=True))
    splits = {}
    for split in SPLITS:
        inside = columns["split"] == split
        if inside.any():
            distinct = {f"{name}s": len(set(columns[name][inside])) for name in ("video", "subject", "unit")}
            present = dict(zip(MODALITIES, store.present[inside].sum(axis=0).tolist(), strict=True))
            splits[split] = {"rows": int(inside.sum()), **distinct, "present": present}
    return {
        "rows": len(store),
        "videos": len(set(columns["video"])),
        "subjects": len(set(columns["subject"])),
        "units": len(set(columns["unit"])),
        "splits": splits,
        "counts": [
            {"split": split, "attack": attack, "label": label, "rows": rows}
            for (split, attack, label), rows in sorted(counts.items())
        ],
        "content_sha256": sha256("".join(store.column("sha256"))),
    }


def _write_manifest(folder: Path, source: Source, recipe: Mapping[str, Any], report: shards.Report) -> None:
    if report.skipped:
        write_json(folder / SKIPPED, report.skipped)
    manifest = {
        "schema": SCHEMA,
        "name": source.name,
        "shape": list(source.shape),
        "recipe": recipe,
        "on_missing": source.on_missing,
        "skipped": {"rows": len(report.skipped), "first": [row["reason"] for row in report.skipped[:_SHOWN]]},
        "empty_depth": {"rows": len(report.empty_depth), "first": report.empty_depth[:_SHOWN]},
        "fasbench": fasbench.__version__,
        "files": {file.name: file.stat().st_size for file in sorted(folder.glob("*.arrow"))},
    }
    manifest |= _summary(Store(folder, manifest, _map_table(folder, manifest)))
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if manifest["schema"] != SCHEMA:
        raise ValueError(f"its format is number {manifest['schema']}, this fasbench reads {SCHEMA}")
    return manifest


def _map_table(folder: Path, manifest: Mapping[str, Any]) -> Any:
    """The files of a store as one `pyarrow.Table` in mapped memory."""
    import pyarrow

    tables = []
    for name, size in manifest["files"].items():
        found = (folder / Path(name).name).stat().st_size
        if found != size:
            raise ValueError(f"{name} has {found} bytes, expected {size}")
        with pyarrow.memory_map(str(folder / Path(name).name)) as file:
            tables.append(pyarrow.ipc.open_stream(file).read_all())
        if tuple(tables[-1].column_names) != shards.COLUMNS:
            raise ValueError(f"{name} has the columns {', '.join(tables[-1].column_names)}")
    table = pyarrow.concat_tables(tables)
    text = table.drop_columns(list(MODALITIES))  # `_Pixels` checks the offsets of the images
    text.validate(full=True)
    return table


def _complete(path: Path) -> Store | None:
    """The store at `path`, if it is there, intact and lacks no row."""
    if not path.is_dir():
        return None
    try:
        store = Store.open(path)
    except DataError:
        return None
    return None if store.verify() or store.manifest["skipped"]["rows"] else store
