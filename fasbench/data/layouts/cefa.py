"""CASIA-SURF CeFA on disk: the tree the official lists name, and that of CASIA-FAS-Dataset.

Images show a face on wide black borders. They are read whole: cutting them is `fasbench.data.layouts.crop`'s.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from fasbench.data.layouts.triplet import TripletLayout, base_folder, join
from fasbench.data.lists import ListRow
from fasbench.errors import DataError

# AF-012-<identity card>: the number holds a person's date of birth and sex, and is never printed
_CARD = re.compile(r"(?<![^/])([A-Z]{2}-\d{3})-[^/]+")


class _CefaTree(TripletLayout):
    """`<race part>/<race>/<subject>/<video>` and `<mask part>/<kind>/<mask>/<video>`, below the root or the holder.

    A subject's folder may carry an identity card's number after the short name that the lists use: `AF-012` is found as
    `AF-012-<anything>` too, where no folder has the short name. Two such folders are an error.
    """

    digits = 4
    default_crop = "own-box"
    holder: ClassVar[str]
    parts: ClassVar[tuple[str, str]]  # the folder of the 2-D part and that of the masks

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        base = base_folder(root, ("", self.holder), self.parts)
        self._base = self.holder if base is None else base

    @classmethod
    def found(cls, root: Path) -> bool:
        return base_folder(root, ("", cls.holder), cls.parts) is not None

    def folder(self, row: ListRow) -> str:
        _, part, group, subject, video, _, _ = row.rgb.split("/")
        race, mask = self.parts
        upper = join(self._base, race if part == "CeFA-Race" else mask, group)
        return join(upper, self._subject(upper, subject) if part == "CeFA-Race" else subject, video)

    def shown(self, path: str) -> str:
        return _CARD.sub(r"\1-*", path)

    def _subject(self, upper: str, subject: str) -> str:
        """The name of a subject's folder."""
        if (self.root / upper / subject).is_dir():
            return subject
        found = [path.name for path in (self.root / upper).glob(f"{subject}-*") if path.is_dir()]
        if len(found) > 1:
            raise DataError(
                f"{join(upper, subject)}-*: {len(found)} folders of one subject, expected one. Keep the right one, or "
                f"name it {subject}"
            )
        return found[0] if found else subject


class CefaProfile(_CefaTree):
    """The tree that the official lists name; colour images lie in `profile`."""

    name = "profile-tree"
    expects = (
        "CeFA/CeFA-Race/<race>/<subject>/<video>/{profile,depth,ir}/<frame, 4 digits>.jpg and "
        "CeFA/CeFA-Mask/{3D-Mask,Silicone-Mask}/<mask>/<video>/{profile,depth,ir}/<frame, 4 digits>.jpg"
    )
    colour = "profile"
    holder = "CeFA"
    parts = ("CeFA-Race", "CeFA-Mask")


class CefaColor(_CefaTree):
    """The tree of CASIA-FAS-Dataset; colour images lie in `color`.

    Its video lists document the folders down to `color`. Subjects, videos and masks are named as in the other
    tree. Assumed, for want of documentation: an image's number is the frame's number in the official lists; the files
    are JPEG and end in `.jpg`.
    """

    name = "color-tree"
    expects = (
        "CASIA_CeFA/Ethnicity/<race>/<subject>/<video>/{color,depth,ir}/<frame>.jpg and "
        "CASIA_CeFA/Mask/{3D-Mask,Silicone-Mask}/<mask>/<video>/{color,depth,ir}/<frame>.jpg"
    )
    colour = "color"
    holder = "CASIA_CeFA"
    parts = ("Ethnicity", "Mask")
