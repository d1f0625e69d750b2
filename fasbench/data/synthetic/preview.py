"""A contact sheet of the synthetic data sets, to be looked at.

    python -m fasbench.data.synthetic.preview sheet.png --size demo

A row is a data set and a class, a column a video: RGB, depth and NIR side by side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fasbench.data.synthetic.attacks import PRESENTATIONS
from fasbench.data.synthetic.domains import DOMAINS, FRAMES, NAMES
from fasbench.data.synthetic.source import SyntheticSource

LABEL_WIDTH, GAP = 150, 6  # pixels


def triplet(source: SyntheticSource, index: int) -> np.ndarray:
    """RGB, depth and NIR of one record side by side, (H, 3W, 3) uint8."""
    record = source.read(index)
    assert record.rgb is not None and record.depth is not None and record.ir is not None
    grey = [np.repeat(image[..., None], 3, axis=-1) for image in (record.depth, record.ir)]
    return np.concatenate([record.rgb, *grey], axis=1)


def contact_sheet(
    size: str, seed: int, path: Path | str, names: tuple[str, ...] = NAMES, columns: int = 4, scale: int = 1
) -> None:
    """Write a PNG: for every data set and class `columns` videos of different subjects, enlarged `scale` times."""
    rows: list[tuple[str, list[np.ndarray]]] = []
    for name in names:
        source = SyntheticSource(name, size, seed)
        for attack in PRESENTATIONS:
            if attack != "live" and attack not in DOMAINS[name].attacks:
                continue
            videos = [number for number, video in enumerate(source.videos) if video.attack == attack]
            first = {source.videos[number].subject: number for number in reversed(videos)}  # one video a subject
            chosen = sorted(first.values())[:columns]
            rows.append((f"{name}\n{attack}", [triplet(source, number * FRAMES) for number in chosen]))
    height, width = source.shape[0] * scale, 3 * source.shape[1] * scale
    sheet = Image.new("RGB", (LABEL_WIDTH + columns * (width + GAP), len(rows) * (height + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (label, images) in enumerate(rows):
        top = row * (height + GAP)
        draw.text((6, top + height // 2 - 12), label, fill="black", font_size=16)
        for column, image in enumerate(images):
            enlarged = Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (LABEL_WIDTH + column * (width + GAP), top))
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a contact sheet of the synthetic data sets.")
    parser.add_argument("path", type=Path, help="the PNG to write")
    parser.add_argument("--size", default="demo", help="tiny, demo or full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--names", nargs="+", default=NAMES, help="data sets, all by default")
    parser.add_argument("--columns", type=int, default=4, help="videos a row")
    parser.add_argument("--scale", type=int, default=1, help="enlargement")
    given = parser.parse_args()
    contact_sheet(given.size, given.seed, given.path, tuple(given.names), given.columns, given.scale)


if __name__ == "__main__":
    main()
