"""Score files of any system: read with whatever metadata they have, and everything that is wrong with them gathered.

The columns are those of `fasbench.scorefile`. Files that must carry no names (licensed data) have the hashed column
`key` instead of `id` (see `fasbench.data.keys`) and no `domain`; `unit` and `video` are then numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fasbench.data.taxonomy import COARSE, family
from fasbench.errors import ConfigError, DataError, problem_list
from fasbench.metrics import Scores
from fasbench.scorefile import COLUMNS, GROUPS, PARTS, column_problems, read_table
from fasbench.yamlfile import Strict, validate

UNKNOWN_DOMAIN = "unknown"


class Told(Strict):
    """What a file's metadata say; whatever they do not say is None."""

    method: str | None = None
    protocol: str | None = None
    version: int | None = None
    split: str | None = None
    condition: str | None = None
    seed: int | None = None
    selection: str | None = None
    epoch: int | None = None
    partial: bool = False


@dataclass(frozen=True)
class AnyScores:
    """A score file as far as it could be read; `parts` lacks those with problems."""

    path: Path
    told: Told
    hashed: bool  # rows go by `key` instead of `id`
    domains: bool  # the domain of every row is said
    columns: dict[str, np.ndarray]  # (N,) each, `part` among them
    parts: dict[str, Scores]
    problems: list[str]

    def rows(self, part: str) -> dict[str, np.ndarray]:
        """The columns of one part, as they stand in the file."""
        here = self.columns["part"] == part
        return {name: column[here] for name, column in self.columns.items()}


def read_any_scores(path: Path) -> AnyScores:
    """Read a score file without asking for more than evaluation needs.

    Raises:
        DataError: it is no table, or columns are missing: nothing else can be said then.
    """
    table, meta = read_table(path, ours=False)
    hashed = "key" in table.column_names and "id" not in table.column_names
    optional = ("domain",) if hashed else ()
    wanted = ["key" if hashed and name == "id" else name for name in (*COLUMNS, "part")]
    read = [name for name in (*wanted, *GROUPS) if name in table.column_names]
    if problems := column_problems(table, [name for name in wanted if name not in optional], read):
        raise DataError(
            problem_list(
                f"{path}: not a score file, expected the columns {', '.join((*COLUMNS, 'part'))} "
                "(of licensed data without names: key instead of id, and no domain)",
                problems,
            )
        )
    columns = {name: np.array(table.column(name).to_pylist()) for name in read}
    if hashed:
        columns["id"] = columns.pop("key")
    problems = []
    for name in ("label", "score"):
        columns[name], wrong = _numbers(columns[name], name)
        problems += wrong
    told, wrong = _told(meta, path)
    domains = "domain" in columns
    if not domains:
        columns["domain"] = np.full(len(columns["id"]), UNKNOWN_DOMAIN)
    names = columns["part"].astype(str)
    problems += wrong + [f"part '{name}': expected validation or test" for name in sorted(set(names) - set(PARTS))]
    found = AnyScores(path, told, hashed, domains, columns | {"part": names}, {}, problems)
    for part in PARTS:
        _add_part(found, part)
    return found


def _numbers(column: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """The column as numbers, nan where there is none, and what is none."""
    if column.dtype.kind in "biuf":
        return column, []
    numbers, wrong = np.full(len(column), np.nan), []
    for place, value in enumerate(column.tolist()):
        try:
            numbers[place] = np.nan if value is None else float(value)
        except (TypeError, ValueError):
            wrong.append(place)
    first = f"first in row {wrong[0] + 1}: '{column[wrong[0]]}'" if wrong else ""
    return numbers, [f"{name}: {len(wrong)} that are no numbers, {first}"] if wrong else []


def _told(meta: dict[str, Any], path: Path) -> tuple[Told, list[str]]:
    try:
        return validate(Told, meta, f"{path} (metadata)"), []
    except ConfigError as error:
        return Told(), [str(error)]


def _add_part(found: AnyScores, part: str) -> None:
    """The Scores of one part, or what is wrong with it: duplicates and a lacking class are told besides all else."""
    rows = found.rows(part)
    groups = {name: rows[name] for name in GROUPS if name in rows}
    if "attack_family" not in groups:
        families = [family(str(attack)) for attack in rows["attack"].tolist()]
        groups["attack_family"] = np.array(families, dtype=str)
    try:
        found.parts[part] = Scores(**{field: rows[column] for column, field in COLUMNS.items()}, groups=groups)
    except DataError as error:
        found.problems.append(f"{part}: {error}")
        if "occur more than once" not in str(error):
            values, counts = np.unique(rows["id"].astype(str), return_counts=True)
            if (counts > 1).any():
                count, first = int((counts > 1).sum()), values[counts > 1][0]
                found.problems.append(f"{part}: ids: {count} occur more than once, first {first}")
    lacking = [name for name, label in (("bona fide", 1), ("attack", 0)) if not (rows["label"] == label).any()]
    if len(rows["label"]) and lacking:
        found.problems.append(f"{part}: there are no {lacking[0]} samples: both classes are needed")


def notes_on(found: AnyScores) -> list[str]:
    """What a reader must know about the file, though it can be evaluated."""
    notes = []
    scores = found.columns["score"]
    low, high = float(scores.min()), float(scores.max())
    if low < 0 or high > 1:
        notes.append(
            f"scores lie in [{low:.4g}, {high:.4g}], not in [0, 1]: fixed@0.5 says nothing, and width of a gap no more"
        )
    kinds = set(found.columns["attack"][found.columns["label"] == 0].astype(str).tolist())
    if unknown := sorted(kinds - set(COARSE)):
        notes.append(
            f"attack types that the taxonomy does not know, and that have no family: {', '.join(unknown[:10])}"
        )
    if not found.domains:
        notes.append(
            "the file does not say which data set a row is of: validation counts as one, source-eer-balanced is left "
            "out, and intervals draw other units than those of files that say it"
        )
    return notes
