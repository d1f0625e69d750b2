"""A licensed data set: the rows of its official lists, read through the layout the user has, at one size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from PIL import Image

from fasbench.data.layouts.base import Layout, MissingFiles
from fasbench.data.layouts.crop import BLACK, Crop, crop_frame, is_black
from fasbench.data.lists import ListRow
from fasbench.data.record import Record
from fasbench.data.sources.base import Skipped, Source
from fasbench.data.sources.images import resized
from fasbench.errors import DataError, problem_list

OnMissing = Literal["error", "skip"]
_RULES = 1  # raise it when the same files give other pixels, or other frames of a video


class ListedSource(Source):
    """The rows of a data set's lists.

    Args:
        name: cefa, padisi, surf or wmca.
        rows: of every list, in the order train, validation, test; nothing dropped. Of video lists, the frames chosen;
            a row of a video is one without frames.
        lists_sha256: of each split's lists; see `DatasetSpec`.
        layout: how the files lie.
        image_size: side of the square every image is resized to, without regard to its aspect ratio.
        crop: what is cut away first; None takes the layout's default.
        on_missing: what becomes of a row whose files are not there. `skip` leaves it out: results of splits that take
            such a row are partial.
        needed: ids of the rows that are wanted; others are left out in any case if their files are not there. None =
            all.

    Raises:
        DataError: rows without subject or attack class (PADISI-Face's lists need its ground truth).
    """

    def __init__(
        self,
        name: str,
        rows: list[ListRow],
        lists_sha256: Mapping[str, str],
        layout: Layout,
        image_size: int = 224,
        crop: Crop | None = None,
        on_missing: OnMissing = "error",
        needed: frozenset[str] | None = None,
    ) -> None:
        self.name = name
        self.shape = (image_size, image_size)
        self.rows = rows
        self.lists_sha256 = dict(lists_sha256)
        self.layout = layout
        self.crop: Crop = crop or layout.default_crop
        self.on_missing = on_missing
        self.needed = needed
        self.remedy = (
            f"Complete your copy of {name}. To do without rows whose files are missing: --on-missing skip; results are "
            "then partial and never ranked"
        )
        unknown = [row.id for row in rows if row.subject is None or row.unit is None or row.attack is None]
        if unknown:
            raise DataError(
                problem_list(
                    f"{name}: the lists do not say who {len(unknown)} row(s) show, or which attack. Give the data "
                    "set's ground truth: fasbench data lists --ground-truth padisi_USC_FACE_ground_truth.csv",
                    unknown,
                    limit=3,
                )
            )

    def recipe(self) -> dict[str, Any]:
        recipe: dict[str, Any] = {
            "kind": "listed",
            "rules": _RULES,
            "lists_sha256": self.lists_sha256,
            "layout": {"name": self.layout.name, "rules": self.layout.rules},
            "crop": {"box": self.crop, "black": BLACK},
            "image_size": self.shape[0],
        }
        if self.layout.ranges:
            recipe["ranges"] = {modality: list(limits) for modality, limits in self.layout.ranges.items()}
        return recipe

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> Record:
        row = self.rows[index]
        try:
            if row.is_video:
                self.layout.frames(row)  # says why there are none
                raise DataError("its frames came while the data set was read. Prepare again")
            images = self.layout.read(row)
            self._check_content(row, images)
            images = crop_frame(images, self.crop)
        except MissingFiles as error:
            if self.on_missing == "skip" or (self.needed is not None and row.id not in self.needed):
                raise Skipped(f"{row.id}: {error}", self._metadata(row)) from error
            raise DataError(f"{row.id}: {error}") from error
        except DataError as error:
            raise DataError(f"{row.id}: {error}") from error
        pixels = {
            modality: np.asarray(resized(Image.fromarray(image), modality, self.shape))
            for modality, image in images.items()
        }
        return Record(**self._metadata(row), rgb=pixels.get("rgb"), depth=pixels.get("depth"), ir=pixels.get("ir"))

    def _check_content(self, row: ListRow, images: Mapping[str, np.ndarray]) -> None:
        """Raise a DataError if colour or infrared is black: that is a converter's stand-in or a damaged file, no face.

        Depth is not judged: that of a screen or of glossy paper may be a single hole. Stores count such rows.
        """
        black = [modality for modality in ("rgb", "ir") if modality in images and is_black(images[modality])]
        if black:
            files = self.layout.files(row)  # rgb first, infrared last; one file may hold several
            places = {"rgb": self.layout.shown(files[0]), "ir": self.layout.shown(files[-1])}
            reason = f"is black all over (no value above {BLACK}), expected a face"
            raise DataError("; ".join(f"{modality} {places[modality]}: {reason}" for modality in black))

    def _metadata(self, row: ListRow) -> dict[str, Any]:
        """The fields of a Record that are no images."""
        return {
            "id": row.id,
            "domain": self.name,
            "split": row.split,
            "label": row.label,
            "attack": row.attack,
            "attack_fine": row.attack_fine or row.attack,
            "subject": row.subject,
            "presenter": row.presenter,
            "unit": row.unit,
            "video": row.video,
            "frame": row.frame,
            "session": row.session or "",
            "race": row.race or "",
        }
