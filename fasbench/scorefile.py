"""The score file: the unit of exchange. Metrics are always computed from such a file, ours and submitted alike.

Columns: id, unit, video, domain, attack, label, score, part (`validation` or `test`); key: (part, id). Parquet with the
metadata inside, or CSV with the metadata in `<name>.yaml` beside it.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from fasbench.errors import ConfigError, DataError, problem_list
from fasbench.metrics import Scores
from fasbench.resources import sha256, write_atomic
from fasbench.yamlfile import Strict, load_yaml, validate

COLUMNS = {
    "id": "ids",
    "unit": "units",
    "video": "videos",
    "domain": "domains",
    "attack": "attacks",
    "label": "labels",
    "score": "scores",
}
PARTS = ("validation", "test")
_META_KEY = b"fasbench"


class ScoreMeta(Strict):
    """What the scores belong to."""

    method: str
    protocol: str = Field(description="id of the protocol, without version")
    version: int
    split: str
    condition: str
    seed: int
    selection: str = Field(description="how the checkpoint was chosen: source-val, last, ...")
    epoch: int = Field(description="the epoch chosen, from 1")
    partial: bool = False


@dataclass(frozen=True)
class ScoreFile:
    """Scores of the source validation rows and of the test rows, with what they belong to."""

    meta: ScoreMeta
    validation: Scores
    test: Scores

    def rows_sha256(self) -> str:
        """Hash over the sorted (part, id, label) lines: two files with the same hash scored the same rows."""
        lines = []
        for part, scores in zip(PARTS, (self.validation, self.test), strict=True):
            assert scores.ids is not None  # from_columns requires them
            lines += [f"{part}\0{i}\0{label}" for i, label in zip(scores.ids, scores.labels.tolist(), strict=True)]
        return sha256("\n".join(sorted(lines)))

    def write(self, path: Path) -> None:
        """Write `.parquet` or `.csv` (with its `.yaml`), atomically."""
        columns = {
            name: np.concatenate([getattr(self.validation, field), getattr(self.test, field)])
            for name, field in COLUMNS.items()
        }
        columns["part"] = np.repeat(PARTS, [len(self.validation.scores), len(self.test.scores)])
        if path.suffix == ".csv":
            buffer = io.StringIO(newline="")
            writer = csv.writer(buffer)
            writer.writerow(columns)
            writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
            write_atomic(path.with_suffix(".yaml"), json.dumps(self.meta.model_dump(), indent=2) + "\n")
            write_atomic(path, buffer.getvalue())
            return
        import pyarrow as pa
        import pyarrow.parquet as parquet

        table = pa.table({name: pa.array(column.tolist()) for name, column in columns.items()})
        table = table.replace_schema_metadata({_META_KEY: self.meta.model_dump_json().encode()})
        sink = pa.BufferOutputStream()
        parquet.write_table(table, sink)
        write_atomic(path, sink.getvalue().to_pybytes())


def read_scores(path: Path) -> ScoreFile:
    """Read and check a score file.

    Raises:
        DataError: not a score file, or its columns are not sound; all problems in one list.
    """
    columns, meta = _read_csv(path) if path.suffix == ".csv" else _read_parquet(path)
    missing = [name for name in (*COLUMNS, "part") if name not in columns]
    if missing:
        raise DataError(f"{path}: missing column(s) {', '.join(missing)}. Expected {', '.join(COLUMNS)}, part")
    part = columns["part"]
    problems = [f"part '{name}': expected validation or test" for name in sorted(set(part.tolist()) - set(PARTS))]
    parts = []
    for name in PARTS:
        try:
            here = part == name
            parts.append(Scores(**{field: columns[column][here] for column, field in COLUMNS.items()}))
        except DataError as error:
            problems.append(f"{name}: {error}")
    try:
        checked = validate(ScoreMeta, meta, f"{path} (metadata)")
    except ConfigError as error:
        problems.append(str(error))
    if problems:
        raise DataError(problem_list(f"{path}: not a sound score file", problems))
    return ScoreFile(checked, *parts)


def _read_parquet(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        table = parquet.ParquetFile(path).read()
        meta = json.loads((table.schema.metadata or {}).get(_META_KEY, b"{}"))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a Parquet score file: {error}") from None
    fields = [field for field in table.schema if field.name in (*COLUMNS, "part")]
    _refuse_repeated(path, [field.name for field in fields])
    if nested := [field.name for field in fields if pa.types.is_nested(field.type)]:
        raise DataError(f"{path}: column(s) {', '.join(nested)} hold lists or structures, expected plain values")
    return {field.name: np.array(table.column(field.name).to_pylist()) for field in fields}, meta


def _read_csv(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a byte order mark
            header, *rows = list(csv.reader(file))
        _refuse_repeated(path, header)
        columns = {name: np.array(values) for name, values in zip(header, zip(*rows, strict=True), strict=True)}
        for name, kind in (("score", np.float64), ("label", np.int64)):
            if name in columns:
                columns[name] = columns[name].astype(kind)
        return columns, load_yaml(path.with_suffix(".yaml"))[0]
    except (OSError, ValueError, csv.Error, ConfigError) as error:
        raise DataError(f"{path}: not a CSV score file: {error}") from None


def _refuse_repeated(path: Path, names: list[str]) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: column(s) {', '.join(repeated)} stand more than once")
