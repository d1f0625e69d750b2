"""Numbers that papers print, read from `leaderboards/published/*.csv`: one typed row a number.

The files hold what stands in the sources. Here, and only here, protocols and splits get fasbench's names, printed means
are compared with the cells beside them, and what is doubtful is marked. The folder's README says what each file is.
"""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from fasbench.errors import DataError, problem_list, suggest
from fasbench.resources import bundled

COLUMNS = (
    "method",
    "venue",
    "year",
    "protocol",
    "subprotocol",
    "metric",
    "value_percent",
    "source_title",
    "source_year",
    "source_table",
    "source_ref",
    "verified_in",
)
METRICS = (
    "HTER",
    "AUC",
    "ACER",
    "APCER",
    "BPCER",
    "NPCER",
    "TPR@FPR=1%",
    "TPR@FPR=1e-2",
    "TPR@FPR=1e-3",
    "TPR@FPR=1e-4",
)
DISPUTED = "disputed.csv"
DISPUTED_COLUMNS = ("file", "method", "protocol", "subprotocol", "metric", "why")

# As the files spell them -> fasbench's protocol. Same lists, not the same evaluation: see `Published`.
_PROTOCOLS = {
    "MMDG-P1 fixed modalities": "mmdg/fixed",
    "MMDG-P2 missing modalities at test (mean of the 4 leave-one-out targets)": "mmdg/missing",
    "MMDG-P3 limited source domains": "mmdg/limited",
    "MMDG-P1 fixed modalities (OWN splits, not the MMDG lists: see README)": "MMDG's data sets, splits of its own",
}
_CONDITIONS = {"missing D": "no-depth", "missing I": "no-ir", "missing D&I": "rgb-only"}
_WMCA = "WMCA intra, modality "


@dataclass(frozen=True)
class Published:
    """One number of one table.

    Numbers of `mmdg/*` are, as far as is known, equal error rates of the test set at the epoch that is best on it:
    compare them with the oracle rows of fasbench (selection `oracle`, policy `test-eer`), never with its headline.
    """

    file: str
    line: int
    method: str  # as the source spells it
    venue: str  # of the method: "CVPR 2024"; "" where not known
    protocol: str  # fasbench's id where the lists are the same, else as printed
    split: str  # fasbench's (`cps-w`), `mean`, or as printed
    condition: str  # fasbench's (`no-depth`), or the modalities used ("RGB+Depth")
    metric: str  # one of METRICS
    printed: str  # percent, digit by digit
    source: str  # title of the publication that prints it
    source_year: int
    table: str
    reference: str
    read_in: str  # what was read: the paper, a picture of its table, somebody's note
    subprotocol: str  # as the file spells split or condition
    disputed: str = ""  # why the number is doubtful; empty = no reason known

    @property
    def value(self) -> float:
        """Percent."""
        return float(self.printed)

    @property
    def secondary(self) -> bool:
        """Whether the source itself was not read, only what somebody wrote about it."""
        return self.read_in.startswith("SECONDARY")

    @property
    def decimals(self) -> int:
        return len(self.printed.partition(".")[2])


def load_published(folder: Path | None = None) -> list[Published]:
    """Every published number, in the order of files and lines.

    Args:
        folder: the CSV files; None = those that come with fasbench.
    Raises:
        DataError: wrong columns, a value that is no percentage, a number given twice, a dispute about none: all
            problems together, each with file and line.
    """
    folder = folder or bundled("leaderboards") / "published"
    problems: list[str] = []
    rows: list[Published] = []
    for path in sorted(folder.glob("*.csv")):
        if path.name != DISPUTED:
            rows += _read(path, problems)
    _refuse_repeated(rows, problems)
    rows = _with_wrong_means(rows)
    rows = _with_disputes(rows, folder / DISPUTED, problems)
    if problems:
        raise DataError(problem_list(f"{folder}: {len(problems)} problem(s)", problems))
    return rows


def of_methods(rows: Iterable[Published], names: Iterable[str]) -> list[Published]:
    """The rows of the methods that sources call by one of `names`.

    Raises:
        DataError: a name that no source prints.
    """
    rows, names = list(rows), list(names)
    known = {row.method for row in rows}
    if unknown := [name for name in names if name not in known]:
        raise DataError(f"no published number of '{unknown[0]}'.{suggest(unknown[0], known)}")
    return [row for row in rows if row.method in names]


def _table(path: Path, columns: tuple[str, ...], problems: list[str]) -> list[tuple[int, dict[str, str]]]:
    """(line, cells) of a CSV file with exactly these columns."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        if tuple(reader.fieldnames or ()) != columns:
            problems.append(f"{path.name}:1: expected the columns {','.join(columns)}")
            return []
        found = []
        try:
            for cells in reader:
                if None in cells or None in cells.values():
                    problems.append(f"{path.name}:{reader.line_num}: expected {len(columns)} cells")
                else:
                    found.append((reader.line_num, {name: text.strip() for name, text in cells.items()}))
        except csv.Error as error:
            problems.append(f"{path.name}:{reader.line_num}: not readable as CSV: {error}")
        return found


def _read(path: Path, problems: list[str]) -> list[Published]:
    rows = []
    for line, cells in _table(path, COLUMNS, problems):
        wrong = []
        value = cells["value_percent"]
        if not value.replace(".", "", 1).isdecimal() or not 0 <= float(value) <= 100:
            wrong.append(f"value_percent: '{value}' is no percentage")
        if cells["metric"] not in METRICS:
            wrong.append(f"metric: unknown '{cells['metric']}'.{suggest(cells['metric'], METRICS)}")
        if not cells["source_year"].isdecimal():
            wrong.append(f"source_year: '{cells['source_year']}' is no year")
        wrong += [f"{name}: empty" for name in ("method", "protocol", "subprotocol", "source_title") if not cells[name]]
        problems += [f"{path.name}:{line}: {text}" for text in wrong]
        if wrong:
            continue
        protocol, split, condition = _place(cells["protocol"], cells["subprotocol"])
        rows.append(
            Published(
                file=path.name,
                line=line,
                method=cells["method"],
                venue="" if cells["venue"] == "unknown" else f"{cells['venue']} {cells['year']}",
                protocol=protocol,
                split=split,
                condition=condition,
                metric=cells["metric"],
                printed=value,
                source=cells["source_title"],
                source_year=int(cells["source_year"]),
                table=cells["source_table"],
                reference=cells["source_ref"],
                read_in=cells["verified_in"],
                subprotocol=cells["subprotocol"],
            )
        )
    return rows


def _place(protocol: str, subprotocol: str) -> tuple[str, str, str]:
    """(protocol, split, condition) of what a file calls protocol and subprotocol."""
    if protocol.startswith(_WMCA):
        return "WMCA", subprotocol, protocol.removeprefix(_WMCA)
    if protocol not in _PROTOCOLS:
        return protocol, "mean" if subprotocol == "Average" else subprotocol, "full"
    if subprotocol in _CONDITIONS:
        return _PROTOCOLS[protocol], "mean", _CONDITIONS[subprotocol]
    split = subprotocol.replace("->", "-").lower() if "->" in subprotocol else subprotocol.replace("Average", "mean")
    return _PROTOCOLS[protocol], split, "full"


def _refuse_repeated(rows: list[Published], problems: list[str]) -> None:
    first: dict[tuple[str, ...], int] = {}
    for row in rows:
        key = (row.file, row.method, row.protocol, row.split, row.condition, row.metric)
        if key in first:
            problems.append(f"{row.file}:{row.line}: the number of line {first[key]} again")
        first.setdefault(key, row.line)


def _with_wrong_means(rows: list[Published]) -> list[Published]:
    """Disputes every printed mean and deviation that its own cells contradict by over one unit of the last digit."""
    groups: dict[tuple[str, ...], list[Published]] = defaultdict(list)
    for row in rows:
        groups[row.file, row.method, row.protocol, row.condition, row.metric].append(row)
    checked = []
    for row in rows:
        group = groups[row.file, row.method, row.protocol, row.condition, row.metric]
        word, parts = _parts(row.subprotocol, group)
        values = [part.value for part in parts]
        if len(values) > 1:
            unit = 10.0 ** -max(row.decimals, min(part.decimals for part in parts))
            candidates = [statistics.mean(values)]
            if word == "deviation":
                candidates = [statistics.stdev(values), statistics.pstdev(values)]
            if min(abs(row.value - candidate) for candidate in candidates) > unit + 1e-9:
                row = replace(row, disputed=f"the {word} of the cells beside it is {candidates[0]:.2f}")
        checked.append(row)
    return checked


def _parts(subprotocol: str, group: list[Published]) -> tuple[str, list[Published]]:
    """What a printed mean or deviation is made of; nothing for any other cell."""
    if subprotocol == "Average":
        return "mean", [row for row in group if row.subprotocol != "Average"]
    for ending, word in ((" mean", "mean"), (" std", "deviation"), (" Avg", "mean"), (" Std", "deviation")):
        if subprotocol.endswith(ending):
            start = subprotocol.removesuffix(ending) + ("_" if ending[1].isupper() else " ")
            summaries = {f"{start}mean", f"{start}std"}
            return word, [r for r in group if r.subprotocol.startswith(start) and r.subprotocol not in summaries]
    return "", []


def _with_disputes(rows: list[Published], path: Path, problems: list[str]) -> list[Published]:
    """Adds the reasons that people gave; an empty cell of theirs stands for anything."""
    if not path.is_file():
        return rows
    for line, cells in _table(path, DISPUTED_COLUMNS, problems):
        protocol = _place(cells["protocol"], "")[0]
        wanted = {**cells, "protocol": protocol}
        named = [name for name in DISPUTED_COLUMNS[:-1] if cells[name]]
        if not cells["file"] or not cells["why"]:
            problems.append(f"{path.name}:{line}: needs a file and a reason (why)")
            continue
        hits = [all(getattr(row, name) == wanted[name] for name in named) for row in rows]
        if not any(hits):
            problems.append(f"{path.name}:{line}: there is no such number")
        rows = [_doubted(row, cells["why"]) if hit else row for row, hit in zip(rows, hits, strict=True)]
    return rows


def _doubted(row: Published, why: str) -> Published:
    return replace(row, disputed=f"{why}; {row.disputed}" if row.disputed else why)
