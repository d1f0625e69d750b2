"""A licensed data set without a licence: made-up WMCA recordings, their lists, and a protocol that reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import wmca_tree

from fasbench.data.lists import ListRow
from fasbench.resources import sha256_file

SPLITS = ("train", "validation", "test")

PROTOCOL = """
id: test/licensed
version: 1
title: made-up recordings
preset: tiny
datasets:
  wmca:
    lists:
{lists}
    drop: {{duplicates: true}}
  synth-k: {{size: tiny}}
splits:
  w-k: {{train: [wmca/train], validation: [wmca/validation], test: [wmca/test]}}
"""
# A client a split: bona fide and a replayed video of each.
RECORDINGS = {
    "train": ("901_01_000_0_00", "901_02_000_0_01", "901_01_000_4_02", "901_02_000_4_03"),
    "validation": ("903_01_000_0_00", "903_02_000_4_05"),
    "test": ("905_01_000_0_00", "905_02_000_4_07"),
}


def write(root: Path) -> tuple[Path, list[ListRow]]:
    """`root/mine.yaml` and `root/lists`, with the test list's first row repeated; the rows of every list without it."""
    folder = root / "lists"
    rows, entries = [], []
    for split in SPLITS:
        rows += [replace(row, split=split) for row in wmca_tree.rows(folder / split, RECORDINGS[split])]
        (path,) = (folder / split).iterdir()
        target = folder / f"{split}.txt"
        lines = path.read_text().splitlines()
        target.write_text("\r\n".join([*lines, lines[0]] if split == "test" else lines))
        entries.append(f"      {split}: {{file: {split}.txt, sha256: {sha256_file(target)}}}")
    protocol = root / "mine.yaml"
    protocol.write_text(PROTOCOL.format(lists="\n".join(entries)))
    return protocol, rows
