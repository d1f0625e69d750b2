"""Strict decoding of image files: what a file holds is what is read, or it is an error. Pillow only.

Nothing is guessed. A gray file where colour is expected, a colour file where depth is expected, transparency, and
16-bit values without a range are refused: each of them is a known way to train on the wrong pixels without noticing.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fasbench.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")
CHROMA_NOISE = 8  # gray levels by which the channels of a gray image saved as a colour JPEG may differ

Range = tuple[float, float]
_TRANSPARENT = "has transparent pixels: what lies behind them is not defined. Save it without alpha"
# What Pillow raises for damaged files, depending on where in the file the damage is.
_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error, Image.DecompressionBombError)


def header_shape(path: Path) -> tuple[int, int]:
    """(H, W) of the image once it stands upright.

    Raises:
        DataError: there is no such file, or it is not an image.
    """
    with _open(path) as image:
        try:
            turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientations 5 to 8 swap the axes
        except _UNREADABLE as error:
            raise DataError(f"cannot be read ({error})") from error
        return (image.width, image.height) if turned else (image.height, image.width)


def read_image(path: Path, modality: str, shape: tuple[int, int] | None, value_range: Range | None) -> np.ndarray:
    """One file as uint8: (H, W, 3) for rgb, (H, W) for depth and ir. EXIF orientation is applied.

    Args:
        modality: rgb | depth | ir.
        shape: (H, W) to resize to; None keeps the size. rgb and ir: bilinear, antialiased. depth: nearest neighbour,
            so that holes (0) and the two sides of an edge never blend into surfaces that do not exist.
        value_range: raw values of 16-bit depth and ir that become 0 and 255; linear between, clipped outside. A hole
            (raw 0) stays 0, as long as the range starts at 0 or above.

    Raises:
        DataError: says what is wrong with the file's content; the caller adds which file.
    """
    with _open(path) as opened:
        if (frames := getattr(opened, "n_frames", 1)) > 1 and opened.format != "MPO":  # a phone's JPEG with a preview
            raise DataError(f"holds {frames} images, expected one")
        if opened.mode not in SIXTEEN_BITS and any(";16" in str(tile[3]) for tile in opened.tile):
            raise DataError(
                "has several channels of 16 bits, of which Pillow drops half. Save it with 8 bits a channel"
            )
        try:
            image = ImageOps.exif_transpose(opened)
        except _UNREADABLE as error:
            raise DataError(f"cannot be read ({error})") from error
        image = _eight_bits_gray(image, modality, value_range)
        image = _opaque(image)
        image = _colour(image) if modality == "rgb" else _gray(image, modality)
        return np.asarray(image if shape is None else resized(image, modality, shape))


def resized(image: Image.Image, modality: str, shape: tuple[int, int]) -> Image.Image:
    """rgb and ir: bilinear, antialiased. depth: nearest neighbour, see `read_image`."""
    if image.size == (shape[1], shape[0]):
        return image
    method = Image.Resampling.NEAREST if modality == "depth" else Image.Resampling.BILINEAR
    return image.resize((shape[1], shape[0]), method)


def _open(path: Path) -> Image.Image:
    if not path.is_file():
        raise DataError("no such file")
    try:
        return Image.open(path, formats=FORMATS)
    except _UNREADABLE as error:
        raise DataError(f"is not an image that can be read ({', '.join(FORMATS)})") from error


def _eight_bits_gray(image: Image.Image, modality: str, value_range: Range | None) -> Image.Image:
    """Map 16-bit gray to 8 bits; leave everything else as it is."""
    if image.mode not in SIXTEEN_BITS:
        if value_range is not None:
            raise DataError(f"has 8 bits, but a range is given for {modality}, which applies to 16-bit files only")
        return image
    if image.has_transparency_data:
        raise DataError(_TRANSPARENT)
    if modality == "rgb":
        raise DataError("gray image in the rgb column (16 bits): expected colour with 8 bits a channel")
    raw = np.asarray(image).astype(np.float64)
    if value_range is None:
        raise DataError(
            f"has 16 bits (values {raw.min():.0f} to {raw.max():.0f}) and needs a range to become 8 bits. Give the raw "
            f"values that become 0 and 255, the same for all files: `range: {{{modality}: [300, 1500]}}` in a "
            f"protocol, --range {modality}=300:1500 at the prompt"
        )
    low, high = value_range
    scaled = np.floor((raw - low) / (high - low) * 255 + 0.5)
    return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))


def _opaque(image: Image.Image) -> Image.Image:
    """Drop an alpha channel that says nothing; resolve palettes, to gray where all their colours are gray."""
    palette = image.mode in ("P", "PA")
    if image.has_transparency_data:
        gray = image.mode in ("1", "L", "LA")
        image = image.convert("LA" if gray else "RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise DataError(_TRANSPARENT)
        image = image.convert("L" if gray else "RGB")
    if palette:
        image = image.convert("RGB")
        return image.convert("L") if _channel_difference(image) == 0 else image
    return image


def _colour(image: Image.Image) -> Image.Image:
    if image.mode == "L":
        raise DataError("gray image in the rgb column: expected colour")
    if image.mode != "RGB":
        raise DataError(f"has the colour mode {image.mode}, expected RGB with 8 bits a channel")
    return image


def _gray(image: Image.Image, modality: str) -> Image.Image:
    if image.mode == "L":
        return image
    if image.mode != "RGB":
        raise DataError(f"has the colour mode {image.mode}, expected gray with 8 or 16 bits")
    difference = _channel_difference(image)
    if difference > CHROMA_NOISE:
        raise DataError(
            f"looks like a colour image in the {modality} column: its channels differ by up to {difference} gray levels"
        )
    return image.convert("L")  # the luma: exact for equal channels, and what the JPEG coder started from


def _channel_difference(image: Image.Image) -> int:
    pixels = np.asarray(image).astype(np.int16)  # (H, W, 3)
    return int((pixels.max(axis=2) - pixels.min(axis=2)).max())
