"""The audit of one protocol: tables of its data sets -> findings, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fasbench.data.audit.coverage import coverage
from fasbench.data.audit.leaks import leaks, repeated_rows, same_pixels
from fasbench.data.audit.report import SEVERITIES, Audited, Finding, Report, placed
from fasbench.data.audit.shortcuts import shortcuts
from fasbench.data.audit.table import Table, table_of_list, table_of_store
from fasbench.data.catalog import Progress, find_prepared, open_stores
from fasbench.data.choice import chosen
from fasbench.data.lists import protocol_rows
from fasbench.data.lists.folder import ground_truth_of, list_problems, needed_lists
from fasbench.errors import DataError, problem_list
from fasbench.protocol import ROLES, Protocol
from fasbench.resources import lists_root

if TYPE_CHECKING:
    from fasbench.data.audit.pixels import Measured

SAMPLE = 256  # rows of a data set whose images are read unless the audit is deep


def audit(
    protocol: Protocol,
    splits: Iterable[str] | None = None,
    deep: bool = False,
    root: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Audit the data sets of a protocol.

    Licensed data sets that are not prepared are audited by their lists, if those are at hand: without pixels.

    Args:
        splits: those whose data sets are audited, and in which a finding must matter; None = all, and all findings.
        deep: read the images of every row, not of `SAMPLE` rows a data set.
        root: where stores lie; None = `resources.data_root()`.
        progress: of embedded data sets that have to be rendered first.

    Raises:
        DataError: a data set with neither store nor lists, or a store that is damaged.
    """
    asked = list(splits or protocol.splits)
    names = protocol.datasets_of(asked)
    _needs_lists(protocol, names, root)
    tables = {**_listed_tables(protocol, _only_listed(protocol, names, root))}
    prepared = [name for name in names if name not in tables]
    notes = [
        f"{name} is not prepared here: audited by its lists, no image was read"
        + ("; they name videos, so that every row stands for a video" if protocol.datasets[name].videos else "")
        for name in tables
    ]
    for name, store in open_stores(protocol, prepared, root, progress).items():
        spec = protocol.datasets[name]
        tables[name] = table_of_store(name, store, spec, _ground_truth(protocol, name))
        if skipped := store.manifest.get("skipped", {}).get("rows", 0):
            notes.append(f"{name}: {skipped} rows were skipped when it was prepared, and are not audited")
    report = audit_tables(protocol, {name: _taken(protocol, tables[name]) for name in names}, deep, notes)
    if len(asked) == len(protocol.splits):
        return report
    return report.model_copy(update={"findings": tuple(f for f in report.findings if set(f.affects) & set(asked))})


def audit_tables(
    protocol: Protocol, tables: Mapping[str, Table], deep: bool = False, notes: Iterable[str] = ()
) -> Report:
    """Audit tables of the protocol's data sets: metadata of all of them, pixels of those that have a store."""
    samples = _samples(tables, deep)
    findings = {finding.id: finding for finding in (*_metadata(tables), *_pixels(samples))}
    order = sorted(findings.values(), key=lambda finding: (SEVERITIES.index(finding.severity), finding.id))
    return Report(
        protocol=str(protocol),
        datasets={
            name: Audited(
                rows=len(table),
                metadata="store" if table.store else "lists",
                pixels=len(samples[name][0]) if name in samples else 0,
            )
            for name, table in tables.items()
        },
        findings=tuple(placed(finding, protocol) for finding in order),
        notes=(*notes, *_blind_spots(tables, deep), *_unseen(samples)),
    )


def _taken(protocol: Protocol, table: Table) -> Table:
    """A table without rows that every split leaves out (`keep`, `unseen`); parts that no split uses stay whole."""
    taken = np.zeros(len(table), bool)
    used = set()
    for split in protocol.splits.values():
        for role in ROLES:
            for part in split.parts(role):
                if part.dataset == table.name:
                    used.add(part.split)
                    kept = chosen(split.rules(role), table.__getitem__, len(table))
                    taken |= kept & (table["split"] == part.split)
    return table.select(taken | ~np.isin(table["split"].astype(str), sorted(used)))


def _metadata(tables: Mapping[str, Table]) -> Iterator[Finding]:
    for table in tables.values():
        yield from leaks(table)
        yield from repeated_rows(table)
        yield from shortcuts(table)
        yield from coverage(table)
    yield from same_pixels(list(tables.values()))


def _pixels(samples: Mapping[str, Measured]) -> Iterator[Finding]:
    from fasbench.data.audit.depth import depth_findings, directions
    from fasbench.data.audit.pixels import pixel_findings, repeated_images

    for name, sample in samples.items():
        yield from pixel_findings(name, sample)
    yield from depth_findings(directions(samples))
    yield from repeated_images(samples)


def _unseen(samples: Mapping[str, Measured]) -> Iterator[str]:
    """What the images that were read could not tell."""
    from fasbench.data.audit.depth import depth_notes, directions

    yield from depth_notes(directions(samples))


def _samples(tables: Mapping[str, Table], deep: bool) -> dict[str, Measured]:
    """The rows whose images are read, and the measures of these."""
    from fasbench.data.audit.measure import measure

    found = {}
    for name, table in tables.items():
        if table.store is not None and table.store_rows is not None:
            rows = np.arange(len(table))
            if not deep and len(table) > SAMPLE:
                rows = np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))
            found[name] = (table.select(rows), measure(table.store, table.store_rows[rows]))
    return found


def _only_listed(protocol: Protocol, names: list[str], root: Path | None) -> list[str]:
    """Data sets without a store whose lists are at hand."""
    specs = {name: protocol.datasets[name] for name in names}
    missing = [name for name, spec in specs.items() if spec.list_files and not find_prepared(name, spec, root)]
    return [
        name
        for name in missing
        if not list_problems(
            lists_root(), needed_lists([protocol.model_copy(update={"datasets": {name: specs[name]}})])
        )
    ]


def _needs_lists(protocol: Protocol, names: list[str], root: Path | None) -> None:
    """Raise a DataError that names the data sets with neither store nor lists: lists are what is had first."""
    specs = {name: protocol.datasets[name] for name in names}
    missing = {name: spec for name, spec in specs.items() if spec.list_files and not find_prepared(name, spec, root)}
    problems = list_problems(lists_root(), needed_lists([protocol.model_copy(update={"datasets": missing})]))
    if problems:
        title = f"{protocol}: neither images nor lists of {', '.join(missing)} are here; the lists are enough to begin"
        raise DataError(problem_list(title, problems))


def _listed_tables(protocol: Protocol, names: list[str]) -> dict[str, Table]:
    parts = protocol_rows(protocol, names, lists_root())
    rows = {name: [row for part, listed in parts.items() if part.dataset == name for row in listed] for name in names}
    return {name: table_of_list(name, rows[name], _ground_truth(protocol, name)) for name in names}


def _ground_truth(protocol: Protocol, name: str) -> Mapping | None:
    return ground_truth_of(name, protocol.datasets[name], lists_root())


def _blind_spots(tables: Mapping[str, Table], deep: bool) -> Iterator[str]:
    """What was not looked at, and what could not be seen."""
    if not deep and any(table.store is not None and len(table) > SAMPLE for table in tables.values()):
        yield f"images of {SAMPLE} rows a data set were read, --deep reads all: rarer defects are not seen"
    if any(not (table["subject"] != "").all() for table in tables.values()):
        yield "rows without a subject: give PADISI-Face's ground truth by 'fasbench data lists --ground-truth FILE'"
    if "padisi" in tables and not (tables["padisi"]["species"] != "").all():
        yield "padisi: its species are in its ground truth only, which is not at hand"
    yield "frames of one video that belong to different moments cannot be told from single frames: not looked at"
    silent = [name for name, table in tables.items() if not (table["presented_by"] != "").any()]
    if silent:
        yield f"{', '.join(silent)}: who presents the attacks is not said, so presenters were not compared"
