"""Black borders: the box of a face image that is not black, and the three ways to cut a frame to it.

CASIA-SURF CeFA's images show a face on wide black borders, each modality with borders of its own. The literature (FLIP,
DADM) cuts every modality to its own box before anything else, so its three crops are not aligned with each other, and
its box ends one row and one column early. Here the box is whole, and which crop was made is part of a store's recipe.

| crop | what is kept |
|---|---|
| `own-box` | of each modality, its own box: the literature's, without its missing row and column |
| `rgb-box` | of every modality, the box of the colour image, in proportion where sizes differ: the alignment stays |
| `none` | everything |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np

from fasbench.errors import ConfigError, DataError, suggest

Crop = Literal["rgb-box", "own-box", "none"]
CROPS: tuple[Crop, ...] = get_args(Crop)

BLACK = 8  # gray levels: up to here a pixel is black. JPEG leaves a few in a black border, most of them beside the face


class Box(NamedTuple):
    """Rows top to bottom and columns left to right of an image; bottom and right are the first ones outside."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """The image inside the box: contiguous, so that the whole image need not be kept."""
        return np.ascontiguousarray(image[self.top : self.bottom, self.left : self.right])

    def scaled(self, old: tuple[int, int], new: tuple[int, int]) -> Box:
        """The box in an image of another size (H, W), rounded outwards to whole pixels.

        >>> Box(3, 7, 0, 5).scaled((10, 10), (5, 20))
        Box(top=1, bottom=4, left=0, right=10)
        """
        return Box(
            self.top * new[0] // old[0],
            -(-self.bottom * new[0] // old[0]),
            self.left * new[1] // old[1],
            -(-self.right * new[1] // old[1]),
        )


def is_black(image: np.ndarray) -> bool:
    """Whether no pixel exceeds `BLACK`: there is nothing on the image, whatever noise a camera or JPEG left."""
    return int(image.max()) <= BLACK


def content_box(image: np.ndarray) -> Box:
    """The smallest box with every pixel of which a channel exceeds `BLACK`.

    Args:
        image: uint8, (H, W) or (H, W, 3).

    Raises:
        DataError: there is no such pixel; the caller adds which file.

    >>> image = np.zeros((6, 8), np.uint8)
    >>> image[2:5, 1:8] = 200
    >>> content_box(image)
    Box(top=2, bottom=5, left=1, right=8)
    """
    content = np.asarray(image > BLACK)
    if content.ndim == 3:
        content = np.asarray(content.any(axis=2))  # (H, W)
    rows = np.flatnonzero(content.any(axis=1))
    columns = np.flatnonzero(content.any(axis=0))
    if not rows.size:
        raise DataError(f"is black all over (no value above {BLACK}), expected a face")
    return Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def check_crop(crop: str) -> Crop:
    """The same text, once it is one of `CROPS`.

    Raises:
        ConfigError: it is none of them.
    """
    for known in CROPS:
        if crop == known:
            return known
    raise ConfigError(f"no crop '{crop}'.{suggest(crop, CROPS)} Known: {', '.join(CROPS)}")


def crop_frame(images: Mapping[str, np.ndarray], crop: Crop) -> dict[str, np.ndarray]:
    """The images of one frame, cut as `crop` says (see the top of this file). Nothing is resized.

    Args:
        images: uint8 by modality, as a layout reads them: rgb (H, W, 3), depth and ir (H, W). Sizes may differ.

    Raises:
        ConfigError: an unknown crop.
        DataError: names every modality that is black all over where its box is asked for. Not depth: one that is a
            single hole has nothing that could be cut out, and stays whole.
    """
    if check_crop(crop) == "none":
        return dict(images)
    boxes: dict[str, Box] = {}
    problems = []
    for modality, image in images.items() if crop == "own-box" else [("rgb", images["rgb"])]:
        try:
            hole = modality == "depth" and is_black(image)
            boxes[modality] = Box(0, image.shape[0], 0, image.shape[1]) if hole else content_box(image)
        except DataError as error:
            problems.append(f"{modality} {error}")
    if problems:
        raise DataError(f"no box for the crop '{crop}': {'; '.join(problems)}")
    if crop == "rgb-box":
        size = images["rgb"].shape[:2]
        boxes = {modality: boxes["rgb"].scaled(size, image.shape[:2]) for modality, image in images.items()}
    return {modality: boxes[modality].of(image) for modality, image in images.items()}
