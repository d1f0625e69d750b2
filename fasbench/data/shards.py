"""Writing the Arrow files of a store: its columns, the hashes of a row, and the processes that fill the files.

The rows are cut into files by their number alone, and into record batches by the image size alone, so the bytes do not
depend on how many processes wrote them. `datasets` and `pyarrow` are imported where they are used: they cost a second.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fasbench.data.layouts.crop import is_black
from fasbench.data.record import METADATA, MODALITIES, Record, check_record
from fasbench.data.sources.base import Skipped, Source
from fasbench.errors import DataError

COLUMNS = (*METADATA, *MODALITIES, "pixels_sha256", "sha256")
INTEGERS = ("label", "frame")  # every other metadata column is text

_MOST_FILES = 64  # each open file holds a descriptor: 64 a store stays far below the usual limit of 1,024
_FEWEST_ROWS = 128  # below that, starting a second process costs more than it saves
_BATCH_BYTES = 32 * 2**20  # pixels in a record batch: far below the 2 GiB that 32-bit offsets can address

Progress = Callable[[int, int], None]  # (rows done, rows in all)


def features() -> Any:
    """The columns of a store as `datasets.Features`: text, int64, and nullable binary for the pixels."""
    from datasets import Features, Value

    kinds = {**dict.fromkeys(INTEGERS, "int64"), **dict.fromkeys(MODALITIES, "binary")}
    return Features({column: Value(kinds.get(column, "string")) for column in COLUMNS})


def pixel_hash(images: Mapping[str, np.ndarray | None]) -> str:
    """SHA-256 over the shapes and pixels of the modalities that exist: equal for rows that show the same images."""
    digest = hashlib.sha256()
    for modality in MODALITIES:
        image = images[modality]
        digest.update(f"{modality} {None if image is None else image.shape}\n".encode())
        if image is not None:
            digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def row_hash(metadata: Mapping[str, Any], pixels_sha256: str) -> str:
    """SHA-256 over everything a row says: its metadata in the order of `METADATA`, then its pixel hash."""
    values = [int(metadata[name]) if name in INTEGERS else metadata[name] for name in METADATA]
    return hashlib.sha256(json.dumps([*values, pixels_sha256]).encode()).hexdigest()


class Report(NamedTuple):
    """What became of some rows, in their order."""

    problems: list[str]
    skipped: list[dict[str, Any]]  # the metadata of each row, and why: `reason`
    keys: list[tuple[str, str]]  # (split, id) of the rows that could be read
    empty_depth: list[str]  # ids of the rows whose depth is there and shows nothing


def write_shards(source: Source, folder: Path, workers: int, progress: Progress | None = None) -> Report:
    """Read every record of `source` and write `data-00000-of-00008.arrow` ... into `folder`, in the source's order.

    Returns:
        What is wrong with the rows, duplicate ids last, and what was skipped. The files are complete, and worth
        keeping, only when there are no problems.

    Raises:
        DataError: a worker process was killed.
    """
    total = len(source)
    size = max(_FEWEST_ROWS, -(-total // _MOST_FILES))
    ranges = [range(start, min(start + size, total)) for start in range(0, total, size)]
    names = [f"data-{number:05d}-of-{len(ranges):05d}.arrow" for number in range(len(ranges))]
    tasks = [(rows, folder / name) for rows, name in zip(ranges, names, strict=True)]
    progress = progress or (lambda done, total: None)
    write = _write_serially if min(workers, len(tasks)) <= 1 else _write_in_processes
    reports = write(source, tasks, workers, progress)
    problems = [problem for report in reports for problem in report.problems]
    skipped = [reason for report in reports for reason in report.skipped]
    keys = [key for report in reports for key in report.keys]
    empty_depth = [name for report in reports for name in report.empty_depth]
    # Official lists name a few rows in two splits: that is a leak, which protocols judge, but not a broken store.
    repeated = [(key, count) for key, count in Counter(keys).items() if count > 1]
    problems += [f"id '{name}' occurs {count} times in {split}" for (split, name), count in repeated]
    return Report(problems, skipped, keys, empty_depth)


_Task = tuple[range, Path]  # the rows of one file, and where it goes


def _write_serially(source: Source, tasks: list[_Task], workers: int, progress: Progress) -> list[Report]:
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        progress(done, len(source))

    return [_write_shard(source, rows, path, tick) for rows, path in tasks]


def _write_shard(source: Source, rows: range, path: Path, tick: Callable[[], None]) -> Report:
    import pyarrow
    from datasets.arrow_writer import ArrowWriter

    height, width = source.shape
    batch_rows = max(1, _BATCH_BYTES // (5 * height * width))
    schema = features().arrow_schema
    report = Report([], [], [], [])
    batch: list[dict[str, Any]] = []
    with ArrowWriter(features=features(), path=str(path), writer_batch_size=batch_rows) as writer:
        for index in rows:
            try:
                record = source.read(index)
            except Skipped as reason:
                report.skipped.append({**reason.metadata, "reason": str(reason)})
            except DataError as error:
                report.problems.append(str(error))
            else:
                report.keys.append((record.split, record.id))
                found = _problems(record, source)
                report.problems.extend(f"{record.id}: {problem}" for problem in found)
                if not found:
                    batch.append(_row(record))
                    if record.depth is not None and is_black(record.depth):
                        report.empty_depth.append(record.id)
            if len(batch) == batch_rows or (batch and index == rows[-1]):
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))
                batch.clear()
            tick()
        writer.finalize()
    return report


def _problems(record: Record, source: Source) -> list[str]:
    texts = [name for name in METADATA if name not in INTEGERS]
    problems = [f"{name} is not text" for name in texts if not isinstance(getattr(record, name), str)]
    if problems:
        return problems
    if record.domain != source.name:
        problems.append(f"domain is '{record.domain}', but the data set is '{source.name}'")
    return problems + check_record(record, source.shape)


def _row(record: Record) -> dict[str, Any]:
    metadata = {name: getattr(record, name) for name in METADATA}
    pixels = {name: None if image is None else image.tobytes() for name, image in record.images.items()}
    pixels_sha256 = pixel_hash(record.images)
    return {**metadata, **pixels, "pixels_sha256": pixels_sha256, "sha256": row_hash(metadata, pixels_sha256)}


def _write_in_processes(source: Source, tasks: list[_Task], workers: int, progress: Progress) -> list[Report]:
    import datasets.arrow_writer  # noqa: F401  # imported once here instead of once in every forked worker

    # Forked workers need neither to import nor to unpickle the source. macOS frameworks do not survive a fork.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    done = context.Value("q", 0)
    pool = ProcessPoolExecutor(min(workers, len(tasks)), context, _start_worker, (source, done))
    try:
        futures = [pool.submit(_write_in_worker, rows, path) for rows, path in tasks]
        pending = set(futures)
        while pending:
            finished, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()  # an exception of the source that is not a DataError is a bug: stop at once
            progress(done.value, len(source))
        return [future.result() for future in futures]
    except BrokenProcessPool:
        raise DataError(
            f"{source.name}: a process of the preparation was killed, most likely for lack of memory. "
            f"Prepare again with fewer than {workers} workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_worker: tuple[Source, Any] | None = None  # in a worker process: the source, and the shared number of rows done


def _start_worker(source: Source, done: Any) -> None:
    global _worker
    _worker = (source, done)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """A worker whose parent was killed would wait for its next task for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write_in_worker(rows: range, path: Path) -> Report:
    assert _worker is not None
    source, done = _worker

    def tick() -> None:
        with done.get_lock():
            done.value += 1

    return _write_shard(source, rows, path, tick)
