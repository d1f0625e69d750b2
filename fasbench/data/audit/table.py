"""Table: the metadata of a data set's rows as columns, from a prepared store or from the rows of official lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fasbench.data.lists import ListRow, Trial
from fasbench.data.loading import part_rows
from fasbench.data.record import ATTACK, MODALITIES, SPLITS
from fasbench.data.spec import DatasetSpec

if TYPE_CHECKING:
    from fasbench.data.store import Store

COLUMNS = ("id", "split", "label", "attack", "attack_fine", "subject", "presenter", "video", "frame", "session", "race")


@dataclass(frozen=True)
class Table:
    """Rows of one data set. Text columns hold "" where the data set does not say.

    Beside `COLUMNS` there are the derived `row` (the id without the mark of a repetition), `recording` (split and
    video), `device`, `species`, `presented_by`, `frames_in_video` and `modalities`.
    """

    name: str
    columns: Mapping[str, np.ndarray]  # (N,) each
    store: Store | None = None
    store_rows: np.ndarray | None = None  # (N,): where the rows stand in the store

    def __len__(self) -> int:
        return len(self.columns["id"])

    def __getitem__(self, column: str) -> np.ndarray:
        return self.columns[column]

    def splits(self) -> tuple[str, ...]:
        """The splits that have rows, in the fixed order."""
        there = set(self["split"])
        return tuple(split for split in SPLITS if split in there)

    def part(self, split: str) -> str:
        return f"{self.name}/{split}"

    def select(self, chosen: np.ndarray) -> Table:
        """The rows at `chosen` (indices or a bool mask)."""
        columns = {name: values[chosen] for name, values in self.columns.items()}
        rows = None if self.store_rows is None else self.store_rows[chosen]
        return Table(self.name, columns, self.store, rows)

    def each_split(self) -> Iterator[tuple[str, Table]]:
        for split in self.splits():
            yield split, self.select(self["split"] == split)

    def attacks(self) -> Table:
        return self.select(self["label"] == ATTACK)


def table_of_store(name: str, store: Store, spec: DatasetSpec, truth: Mapping[str, Trial] | None = None) -> Table:
    """The rows of a prepared store, without those the protocol drops."""
    rows = np.concatenate([part_rows(store.column, split, spec.drop) for split in SPLITS])
    columns = {column: store.column(column)[rows] for column in (*COLUMNS, "pixels_sha256")}
    present = store.present[rows]
    kinds = ["+".join(m for m, there in zip(MODALITIES, row, strict=True) if there) for row in present.tolist()]
    columns["modalities"] = _text(kinds)
    return Table(name, columns | _derived(name, columns, truth), store, rows)


def table_of_list(name: str, rows: Sequence[ListRow], truth: Mapping[str, Trial] | None = None) -> Table:
    """The rows of a data set's official lists."""
    columns = {column: _text([getattr(row, column) or "" for row in rows]) for column in COLUMNS}
    for column in ("label", "frame"):
        columns[column] = np.array([getattr(row, column) for row in rows], np.int64)
    columns["modalities"] = _text([""] * len(rows))
    return Table(name, columns | _derived(name, columns, truth))


def _derived(name: str, columns: Mapping[str, np.ndarray], truth: Mapping[str, Trial] | None) -> dict[str, np.ndarray]:
    rows = _text([text.partition("#")[0] for text in columns["id"]])
    recordings = _text([f"{split} {video}" for split, video in zip(columns["split"], columns["video"], strict=True)])
    frames = Counter(recording for recording, _ in set(zip(recordings, rows, strict=True)))
    return {
        "row": rows,
        "recording": recordings,
        "frames_in_video": _text([str(frames[recording]) for recording in recordings]),
        "presented_by": _presented_by(columns),
        "device": _text([_device(name, video) for video in columns["video"]]),
        "species": _text([_species(video, truth or {}) for video in columns["video"]]),
    }


def _presented_by(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """self, other or support; "" where the data set never says who presents its attacks."""
    if not (columns["presenter"][columns["label"] == ATTACK] != "").any():
        return _text([""] * len(columns["id"]))
    pairs = zip(columns["presenter"], columns["subject"], strict=True)
    return _text(["support" if not who else "self" if who == shown else "other" for who, shown in pairs])


def _device(name: str, video: str) -> str:
    """CeFA's device digit: `<race>_<id>_<device>_<session>_<pai>`, or of masks, where the same digits mean other
    cameras, `<kind>_<id>_<dress>_<glasses>_<device>_<session>_<light>`.
    """
    digits = video.rpartition("/")[2].split("_")
    if name != "cefa" or len(digits) not in (5, 7):
        return ""
    return digits[2] if len(digits) == 5 else f"mask-{digits[4]}"


def _species(video: str, truth: Mapping[str, Trial]) -> str:
    """PADISI-Face's instrument, `m5<class><species>`, from its ground truth; the store has the class only."""
    trial = truth.get(video.rpartition("/")[2])
    return trial.code if trial else ""


def _text(values: Sequence[str]) -> np.ndarray:
    found = np.empty(len(values), object)
    found[:] = values
    return found
