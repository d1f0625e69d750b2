"""The score file: the unit of exchange. Metrics are always computed from such a file, ours and submitted alike.

Columns: id, unit, video, domain, attack, label, score, part (`validation` or `test`); key: (part, id). Optional, for
slices: attack_fine, attack_family, presented_by (person or support), race; empty where not known. Parquet with the
metadata inside, or CSV with the metadata in `<name>.yaml` beside it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from fasbench.data.keys import key_lines, rows_sha256
from fasbench.errors import ConfigError, DataError, problem_list
from fasbench.metrics import Scores
from fasbench.resources import write_atomic
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
GROUPS = ("attack_fine", "attack_family", "presented_by", "race")
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
        """Hash over the sorted lines `key label`: two files with the same hash scored the same rows.

        It needs the keys only, so it can be computed from files that carry no ids; see `fasbench.data.keys`.
        """
        protocol = f"{self.meta.protocol}@{self.meta.version}"
        lines = []
        for part, scores in zip(PARTS, (self.validation, self.test), strict=True):
            assert scores.ids is not None  # read and written with ids always
            lines += key_lines(protocol, part, scores.ids.tolist(), scores.labels.tolist())
        return rows_sha256(lines)

    def write(self, path: Path) -> None:
        """Write `.parquet` or `.csv` (with its `.yaml`), atomically."""
        columns = {
            name: np.concatenate([getattr(self.validation, field), getattr(self.test, field)])
            for name, field in COLUMNS.items()
        }
        for name in GROUPS:
            if name in self.validation.groups or name in self.test.groups:
                columns[name] = np.concatenate([_group(part, name) for part in (self.validation, self.test)])
        columns["part"] = np.repeat(PARTS, [len(self.validation.scores), len(self.test.scores)])
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet

        table = pa.table({name: pa.array(column.tolist()) for name, column in columns.items()})
        sink = pa.BufferOutputStream()
        if path.suffix == ".csv":
            write_atomic(path.with_suffix(".yaml"), json.dumps(self.meta.model_dump(), indent=2) + "\n")
            pa.csv.write_csv(table, sink)
        else:
            meta = {_META_KEY: self.meta.model_dump_json().encode()}
            pa.parquet.write_table(table.replace_schema_metadata(meta), sink)
        write_atomic(path, sink.getvalue().to_pybytes())


def _group(part: Scores, name: str) -> np.ndarray:
    """A column of groups; empty where the part does not have it."""
    return part.groups.get(name, np.full(len(part.scores), ""))


def read_scores(path: Path) -> ScoreFile:
    """Read and check a score file.

    Raises:
        DataError: not a score file, or its columns are not sound; all problems in one list.
    """
    table, meta = read_table(path)
    names = [name for name in table.column_names if name in (*COLUMNS, *GROUPS, "part")]
    if problems := column_problems(table, (*COLUMNS, "part"), names):
        expected = ", ".join((*COLUMNS, "part"))
        raise DataError(problem_list(f"{path}: not a score file, expected the columns {expected}", problems))
    columns = {name: np.array(table.column(name).to_pylist()) for name in names}
    part = columns["part"]
    problems = [f"part '{name}': expected validation or test" for name in sorted(set(part.tolist()) - set(PARTS))]
    parts = []
    for name in PARTS:
        try:
            here = part == name
            known = {field: columns[column][here] for column, field in COLUMNS.items()}
            parts.append(
                Scores(**known, groups={column: columns[column][here] for column in GROUPS if column in names})
            )
        except DataError as error:
            problems.append(f"{name}: {error}")
    try:
        checked = validate(ScoreMeta, meta, f"{path} (metadata)")
    except ConfigError as error:
        problems.append(str(error))
    if problems:
        raise DataError(problem_list(f"{path}: not a sound score file", problems))
    return ScoreFile(checked, *parts)


def column_problems(table: Any, required: Sequence[str], read: Sequence[str]) -> list[str]:
    """Columns that are missing, or that are read and stand twice or hold no plain values."""
    names = table.column_names
    problems = [f"column '{name}' is missing" for name in required if name not in names]
    problems += [f"column '{name}' stands more than once" for name in sorted(set(read)) if names.count(name) > 1]
    fields = [field for field in table.schema if field.name in read and field.type.num_fields]
    return problems + [f"column '{field.name}' holds lists or structures, expected plain values" for field in fields]


def read_table(path: Path, ours: bool = True) -> tuple[Any, dict[str, Any]]:
    """The file as a pyarrow.Table, and its metadata.

    Args:
        ours: False: any system's, which may come without metadata; every column of a CSV is read as text.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    try:
        if path.suffix == ".csv":
            types = {name: pa.string() for name in (*COLUMNS, *GROUPS, "part")} | {
                "label": pa.int64(),
                "score": pa.float64(),
            }
            if not ours:
                with pa.csv.open_csv(path) as found:
                    types = dict.fromkeys(found.schema.names, pa.string())
            options = pa.csv.ConvertOptions(column_types=types, null_values=[])  # "nan" is a number here
            sidecar = path.with_suffix(".yaml")
            meta = load_yaml(sidecar)[0] if ours or sidecar.is_file() else {}
            return pa.csv.read_csv(path, convert_options=options), meta
        table = pa.parquet.ParquetFile(path).read()  # read_table would take folders too
        return table, json.loads((table.schema.metadata or {}).get(_META_KEY, b"{}"))
    except (OSError, ValueError, pa.ArrowException, ConfigError) as error:
        kind = "CSV" if path.suffix == ".csv" else "Parquet"
        raise DataError(f"{path}: not a {kind} score file: {error}") from None
