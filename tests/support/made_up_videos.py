"""CeFA without a licence: made-up lists of videos as the official ones are, and a protocol that reads them."""

from __future__ import annotations

from pathlib import Path

from fasbench.resources import sha256_file

SPLITS = {"train": 0, "validation": 200, "test": 300}  # the first person of each
PEOPLE = 2  # of an ethnicity in a split
CODES = ("1_1_1", "3_1_2", "3_2_2", "3_1_4")
MASKS = (
    "CASIA_CeFA/Mask/3D-Mask/001/1_001_0_0_2_1_3/color",
    "CASIA_CeFA/Mask/3D-Mask/001/1_001_1_1_2_2_4/color",
    "CASIA_CeFA/Mask/Silicone-Mask/008/2_008_1_1_2_1_2/color",
)
PROTOCOL = """
id: test/videos
version: 1
title: made-up videos
preset: tiny
datasets:
  cefa:
    videos:
      frames: 3
      lists:
{lists}
      expect:
        train: {{videos: 24, live: 6, attack: 18, subjects: 6, units: 6, attacks: {{print: 12, replay: 6}}}}
        test: {{videos: 27, live: 6, attack: 21, subjects: 8, units: 8}}
splits:
  af:
    train: [cefa/train]
    validation: [cefa/validation]
    test: [cefa/test]
    keep: {{train: {{race: [AF]}}, validation: {{race: [AF]}}, test: {{race: [CA, EA, ""]}}}}
    unseen: [print, rigidmask, flexiblemask]
"""


def listed(split: str, codes: tuple[str, ...]) -> list[str]:
    """Lines of a list: people, and masks in the test; 0 = bona fide."""
    lines = [
        f"CASIA_CeFA/Ethnicity/{race}/{race}-{person:03d}/{digit}_{person:03d}_{code}/color {int(code != '1_1_1')}"
        for digit, race in enumerate(("AF", "CA", "EA"), start=1)
        for person in range(SPLITS[split], SPLITS[split] + PEOPLE)
        for code in codes
    ]
    return lines + [f"{mask} 1" for mask in MASKS if split == "test"]


def write(root: Path) -> Path:
    """`root/mine.yaml` and two lists of each split below `root/lists`: live and prints, live and replays."""
    folder = root / "lists"
    folder.mkdir()
    entries = []
    for split in SPLITS:
        entries.append(f"        {split}:")
        for name, codes in (("one", CODES[:3]), ("two", (CODES[0], CODES[3]))):
            path = folder / f"{split}@{name}.txt"
            path.write_text("\n".join(listed(split, codes)) + "\n")
            entries.append(f"          - {{file: Made/{path.name}, sha256: {sha256_file(path)}}}")
    protocol = root / "mine.yaml"
    protocol.write_text(PROTOCOL.format(lists="\n".join(entries)))
    return protocol
