"""Small data sets for the audit: a protocol that needs no list, and images of 60 frames of which some can be spoilt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fasbench.data.audit import audit_tables
from fasbench.data.audit.table import Table, table_of_store
from fasbench.data.record import Record
from fasbench.data.sources import Source
from fasbench.data.spec import DatasetSpec
from fasbench.data.store import prepare
from fasbench.protocol import Protocol

Images = dict[str, np.ndarray]
Spoil = Callable[[dict, int], dict]


def protocol_of(**changes) -> Protocol:
    """A protocol on one data set, named as an embedded one; what it says about its rows does not matter here."""
    parts = {"train": ["synth-k/train"], "validation": ["synth-k/validation"], "test": ["synth-k/test"]}
    return Protocol.model_validate(
        {
            "id": "test/audit",
            "version": 1,
            "title": "made up",
            "datasets": {"synth-k": {"size": "tiny"}},
            "splits": {"k-k": parts},
            **changes,
        }
    )


def disc(name: str, index: int) -> Images:
    """A disc before a wall, 24 px: bright in infrared and in depth (it is nearer), reddish in colour."""
    rng = np.random.default_rng([len(name), ord(name[-1]), index])
    y, x = np.mgrid[:24, :24]
    face = (y - 12) ** 2 + (x - 12) ** 2 < 60
    noise = rng.integers(0, 40, (24, 24, 5), np.uint8)
    depth = (np.where(face, 160, 80) + noise[..., 3]).astype(np.uint8)
    ir = (np.where(face, 140, 40) + noise[..., 4]).astype(np.uint8)
    rgb = (np.where(face[..., None], (180, 120, 90), (90, 140, 120)) + noise[..., :3]).astype(np.uint8)
    return {"rgb": rgb, "depth": depth, "ir": ir}


class Faces(Source):
    """60 rows, bona fide and attack in turn, 20 a split. `spoil` breaks the images of some."""

    def __init__(
        self,
        name: str = "synth-k",
        spoil: Spoil = lambda images, index: images,
        draw: Callable[[str, int], Images] = disc,
    ) -> None:
        self.name, self.spoil, self.draw = name, spoil, draw
        self.shape = draw(name, 0)["ir"].shape

    def recipe(self):
        return {"kind": "faces"}

    def __len__(self):
        return 60

    def read(self, index):
        images = self.spoil(self.draw(self.name, index), index)
        subject, label = f"{self.name}/s{index // 2}", index % 2
        video = f"{subject}-{label}"
        return Record(
            id=f"{video}/0",
            domain=self.name,
            split=("train", "validation", "test")[index // 20],
            label=label,
            attack="live" if label else "print",
            attack_fine="live" if label else "print-flat",
            subject=subject,
            presenter=subject,
            unit=subject,
            video=video,
            frame=0,
            **images,
        )


def table_of(source: Source, root: Path) -> Table:
    return table_of_store(source.name, prepare(source, root, workers=1), DatasetSpec(size="tiny"))


def seen(root: Path, *sources: Source) -> dict:
    """The findings about these data sets, by their ids."""
    tables = {source.name: table_of(source, root) for source in sources}
    return {finding.id: finding for finding in audit_tables(protocol_of(), tables, deep=True).findings}
