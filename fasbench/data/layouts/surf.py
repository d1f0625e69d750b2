"""CASIA-SURF on disk: the tree the official lists name, and the releases of the challenge.

Images are faces cut out by the data set's authors, on black. A colour image and the depth and infrared images of its
frame differ in size and are not aligned pixel by pixel.
"""

from __future__ import annotations

from pathlib import Path

from fasbench.data.layouts.triplet import TripletLayout, base_folder, join
from fasbench.data.lists import ListRow

PARTS = ("real_part", "fake_part")
FOLDERS = {"train": "Training", "validation": "Val", "test": "Testing"}
# The attacks, by the first two characters of a folder, that the challenge released in each split. The lists of the
# MMDG protocols have all six in all three.
ATTACKS = {"train": ("04", "05", "06"), "validation": ("01", "02", "03"), "test": ("01", "02", "03")}


class _SurfTree(TripletLayout):
    colour = "color"
    digits = 1
    default_crop = "none"


class SurfCrops(_SurfTree):
    """The tree that the official lists name, with the splits as folders."""

    name = "crop-tree"
    expects = (
        "CASIA-SURF-CROP/{real,fake}_part/{real,fake}_{train,val,test}_part/<subject>/<folder>.rssdk/"
        "{color,depth,ir}/<frame>.jpg"
    )
    _holders = ("", "CASIA-SURF-CROP")
    _parts = tuple(f"{part}/{part[:4]}_{split}_part" for part in PARTS for split in ("train", "val", "test"))

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        base = base_folder(root, self._holders, self._parts)
        self._base = self._holders[-1] if base is None else base

    @classmethod
    def found(cls, root: Path) -> bool:
        return base_folder(root, cls._holders, cls._parts) is not None

    def folder(self, row: ListRow) -> str:
        _, *folders, _, _ = row.rgb.split("/")
        return join(self._base, *folders)


class SurfChallenge(_SurfTree):
    """The challenge's `Training/`, and the later release with folders of subjects in `Val/` and `Testing/` too.

    The challenge's own `Val/` and `Testing/` have anonymous names (`Val/0000/000000-color.jpg`): which subject and clip
    they show is not known, so their rows are missing. So are, in both releases, the rows of attacks that a split of the
    challenge does not have. The later release pads frame numbers with zeros; assumed, for want of documentation: the
    number is still that of the official lists.
    """

    name = "challenge-tree"
    expects = (
        "{Training,Val,Testing}/{real,fake}_part/<subject>/<folder>.rssdk/{color,depth,ir}/<frame>.jpg, by itself or "
        "below Data, CASIA_SURF or CASIA_SURF/Data"
    )
    _holders = ("", "Data", "CASIA_SURF/Data", "CASIA_SURF")
    _parts = tuple(f"{folder}/{part}" for folder in FOLDERS.values() for part in PARTS)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._base = base_folder(root, self._holders, self._parts) or ""

    @classmethod
    def found(cls, root: Path) -> bool:
        return base_folder(root, cls._holders, cls._parts) is not None

    def folder(self, row: ListRow) -> str:
        _, part, _, subject, clip, _, _ = row.rgb.split("/")
        return join(self._base, FOLDERS[row.split], part, subject, clip)

    def why_missing(self, row: ListRow) -> str:
        folder = FOLDERS[row.split]
        split = self.root / self._base / folder
        if split.is_dir() and not any((split / part).is_dir() for part in PARTS):
            return (
                f"{folder}/ has anonymous names, as the challenge released it: they do not say which subject and clip "
                f"they show, so no {row.split} row of a list can be found there. Use CASIA-SURF-CROP or the later "
                "release with folders of subjects"
            )
        clip = row.rgb.split("/")[4]
        if clip.startswith("real") or clip[:2] in ATTACKS[row.split]:
            return ""
        return (
            f"The challenge released only the attacks {', '.join(ATTACKS[row.split])} in {folder}/, and this row is of "
            f"{clip}. CASIA-SURF-CROP has all six"
        )
