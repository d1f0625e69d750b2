"""The rows that a protocol's split scores, as far as this machine knows them, and whether a file has the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fasbench.data.catalog import find_prepared, make_source
from fasbench.data.keys import row_key, rows_sha256
from fasbench.data.lists.rows import choose_rows, protocol_rows
from fasbench.errors import FasbenchError
from fasbench.protocol import Part, Protocol
from fasbench.resources import data_root, lists_root
from fasbench.scorefile import PARTS

COLUMNS = ("id", "label", "unit", "video", "domain", "attack")


class Expected(NamedTuple):
    """The rows of one part."""

    columns: dict[str, np.ndarray]  # (N,) each; a column that is not known everywhere is left out
    source: str  # where they are from


def expected_rows(protocol: Protocol, split: str, part: str) -> Expected | None:
    """The rows that a split takes for `validation` or `test`; None: neither lists nor prepared data are at hand.

    Nothing is prepared or downloaded.
    """
    spec = protocol.splits[split]
    found, sources = [], []
    for one in spec.parts(part):
        rows = _listed(protocol, split, one, part) or _stored(protocol, split, one, part)
        if rows is None:
            return None
        found.append(rows.columns)
        sources.append(rows.source)
    known = [name for name in COLUMNS if all(name in columns for columns in found)]
    columns = {name: np.concatenate([columns[name] for columns in found]) for name in known}
    return Expected(columns, " and ".join(dict.fromkeys(sources)))


def _listed(protocol: Protocol, split: str, part: Part, role: str) -> Expected | None:
    if not protocol.datasets[part.dataset].lists:
        return None
    try:
        rows = protocol_rows(protocol, [part.dataset], lists_root())[part]
    except FasbenchError:  # not there, or others
        return None
    kept = choose_rows(rows, protocol.splits[split].rules(role))  # type: ignore[arg-type]
    if kept is None:
        return None
    columns = {name: [row.dataset if name == "domain" else getattr(row, name) for row in kept] for name in COLUMNS}
    known = {name: values for name, values in columns.items() if None not in values}
    return Expected({name: np.array(values) for name, values in known.items()}, "the official lists")


def _stored(protocol: Protocol, split: str, part: Part, role: str) -> Expected | None:
    from fasbench.data.store import Store, store_path

    spec = protocol.datasets[part.dataset]
    try:
        if spec.lists:
            path = find_prepared(part.dataset, spec)[0]
        else:
            path = store_path(make_source(part.dataset, spec, protocol.folder), data_root())
        store = Store.open(path)
    except (FasbenchError, IndexError):  # not prepared, or damaged
        return None
    if store.manifest["skipped"]["rows"]:
        return None
    from fasbench.data.loading import part_rows

    rules = protocol.splits[split].rules(role)  # type: ignore[arg-type]
    rows = part_rows(store.column, part.split, spec.drop, rules)
    columns = {name: store.column(name)[rows] for name in COLUMNS}
    texts = {name: column if name == "label" else column.astype(str) for name, column in columns.items()}
    return Expected(texts, "the prepared data")


def check_rows(
    protocol: Protocol, split: str, parts: Mapping[str, Mapping[str, np.ndarray]], hashed: bool, partial: bool
) -> tuple[list[str], list[str]]:
    """Problems of a file's rows, and one line a part that says what was checked.

    Args:
        parts: `validation` and `test` -> columns (N,) of the file, as `COLUMNS`.
        hashed: `id` holds keys; units, videos and domains are then not comparable.
        partial: rows may be missing.
    """
    problems: list[str] = []
    checks: list[str] = []
    for part in PARTS:
        rows = {name: _text(column) if name != "label" else column for name, column in parts[part].items()}
        expected = expected_rows(protocol, split, part)
        stated = protocol.splits[split].rows_sha256.get(part)  # type: ignore[call-overload]
        if expected is not None:
            found, compared = _differences(protocol, part, rows, expected, hashed, partial)
            problems += [f"{part}: {text}" for text in found]
            whole = "every row is there" if not partial else "every row is one of the protocol's (a part of them)"
            checks.append(f"{part}: {whole}, {', '.join(compared)} compared with {expected.source}")
        elif stated is not None and not partial:
            labels = [_label(value) for value in rows["label"].tolist()]
            keys = rows["id"].tolist() if hashed else [row_key(str(protocol), part, text) for text in rows["id"]]
            lines = [f"{key} {label}" for key, label in zip(keys, labels, strict=True)]
            if rows_sha256(lines) != stated:
                problems.append(
                    f"{part}: other rows or labels than {protocol}/{split}: rows_sha256 is {rows_sha256(lines)}, "
                    f"expected {stated}. With the official lists ('fasbench data lists') it can be said which"
                )
            checks.append(f"{part}: rows and labels are the protocol's, all of them (rows_sha256)")
        else:
            checks.append(
                f"{part}: NOT CHECKED that the rows are the protocol's: no rows_sha256 "
                "for them, no official lists and no prepared data at hand"
            )
    return problems, checks


def _differences(
    protocol: Protocol, part: str, rows: dict[str, np.ndarray], expected: Expected, hashed: bool, partial: bool
) -> tuple[list[str], list[str]]:
    """What differs, and the names of the columns that were compared."""
    names = expected.columns["id"].tolist()
    keys = [row_key(str(protocol), part, name) for name in names] if hashed else names
    place = {key: number for number, key in enumerate(keys)}
    ids = rows["id"].tolist()
    problems = []
    surplus = sorted(set(ids) - set(place))
    if surplus:
        problems.append(f"{len(surplus)} ids that the protocol does not have, first {_first(surplus)}")
    missing = sorted(set(place) - set(ids))
    if missing and not partial:
        problems.append(f"{len(missing)} of the protocol's {len(place)} rows are missing, first {_first(missing)}")
    compared: list[str] = [name for name in ("label", "attack", "unit", "video", "domain") if name in expected.columns]
    if hashed:
        compared = [name for name in compared if name in ("label", "attack")]
    both = [(here, place[key]) for here, key in enumerate(ids) if key in place]
    at, of = (np.array(numbers, dtype=np.intp) for numbers in (zip(*both, strict=True) if both else ([], [])))
    for name in compared:
        here, there = rows[name][at], expected.columns[name][of]
        wrong = np.flatnonzero(here != there)
        if name == "attack":  # an empty type is legal for bona fide samples
            wrong = wrong[(here[wrong] != "") | (there[wrong] != "live")]
        if len(wrong):
            first = wrong[0]
            problems.append(
                f"{name}: {len(wrong)} rows differ from the protocol's, first {ids[at[first]]}: "
                f"'{here[first]}' instead of '{there[first]}'"
            )
    return problems, compared


def _text(column: np.ndarray) -> np.ndarray:
    """The column as text, "" for null."""
    return np.array(["" if value is None else str(value) for value in column.tolist()], dtype=str)


def _label(value: float) -> str:
    return str(int(value)) if value == value and float(value).is_integer() else str(value)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3])
