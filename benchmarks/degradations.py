"""The sensor degradations as a picture, to be looked at, and how fast they are.

    python benchmarks/degradations.py protocols/synth/degradations.png

A row is a degradation, with one line for every modality it touches; the columns are a live and an attack face of the
embedded data, clean and at severity 1, 3 and 5. Misaligned images are shown over the RGB image.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fasbench.data.conditions import DEGRADATIONS, SEVERITIES, degrade
from fasbench.data.loading import Group
from fasbench.data.record import MODALITIES
from fasbench.data.synthetic import SyntheticSource
from fasbench.data.synthetic.domains import FRAMES

FACES = (("synth-m", "live"), ("synth-m", "print-cut"))
SHOWN = (0, 1, 3, 5)  # severities; 0 = clean
LABEL_WIDTH, HEADER, GAP, WIDE_GAP = 120, 44, 4, 14  # pixels
SPEED_SIZE, SPEED_ROWS = 112, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="the PNG to write")
    options = parser.parse_args()
    write_sheet(options.path)
    print(f"{options.path}: {options.path.stat().st_size / 1000:.0f} kB")
    print(f"rows per second of processor time, {SPEED_SIZE} px, severity {SEVERITIES[-1]}:")
    for kind in DEGRADATIONS:
        print(f"  {kind:16}{rows_per_second(kind):8,.0f}")


def face(dataset: str, attack: str) -> tuple[Group, str]:
    """The first frame of the class, as a group of one, and its id."""
    source = SyntheticSource(dataset, "demo")
    index = next(i for i in range(len(source)) if source.videos[i // FRAMES].attack == attack)
    record = source.read(index)
    rgb, depth, ir = (image[None] for image in record.images.values() if image is not None)
    return Group(np.arange(1), rgb, depth, ir, np.ones((1, 3), bool)), record.id


def write_sheet(path: Path) -> None:
    faces = [face(*chosen) for chosen in FACES]
    height, width = faces[0][0].ir.shape[1:]
    lines = sum(len(kind.modalities) for kind in DEGRADATIONS.values())
    block = len(SHOWN) * (width + GAP) + WIDE_GAP
    total = HEADER + lines * (height + GAP) + len(DEGRADATIONS) * WIDE_GAP
    sheet = Image.new("RGB", (LABEL_WIDTH + len(faces) * block, total), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (dataset, attack) in enumerate(FACES):
        left = LABEL_WIDTH + number * block
        draw.text((left, 4), f"{attack}, {dataset}", fill="black", font_size=14)
        for column, severity in enumerate(SHOWN):
            text = f"severity {severity}" if severity else "clean"
            draw.text((left + column * (width + GAP), 24), text, fill="black", font_size=12)
    top = HEADER
    for name, kind in DEGRADATIONS.items():
        draw.text((6, top + 6), name, fill="black", font_size=14)
        for modality in kind.modalities:
            text = f"{modality} over rgb" if name == "misalignment" else modality
            draw.text((6, top + height // 2), text, fill="grey", font_size=12)
            for number, (group, row) in enumerate(faces):
                for column, severity in enumerate(SHOWN):
                    shown = degrade(group, [row], {name: severity}) if severity else group
                    image = Image.fromarray(getattr(shown, modality)[0])
                    if name == "misalignment":
                        image = Image.blend(Image.fromarray(shown.rgb[0]), image.convert("RGB"), 0.5)
                    sheet.paste(image, (LABEL_WIDTH + number * block + column * (width + GAP), top))
            top += height + GAP
        top += WIDE_GAP
    sheet.point(lambda value: 5 * round(value / 5)).save(path, optimize=True)  # steps nobody sees halve the file


def rows_per_second(kind: str) -> float:
    """Rows degraded in a second, the best of five passes over random images at the highest severity."""
    rng = np.random.default_rng(0)
    shape = (SPEED_ROWS, SPEED_SIZE, SPEED_SIZE)
    rgb, depth, ir = (rng.integers(0, 256, (*shape, *rest), np.uint8) for rest in ((3,), (), ()))
    group = Group(np.arange(SPEED_ROWS), rgb, depth, ir, np.ones((SPEED_ROWS, len(MODALITIES)), bool))
    ids = [f"noise/{row}/0" for row in range(SPEED_ROWS)]
    seconds = []
    for _ in range(5):
        start = time.process_time()
        degrade(group, ids, {kind: SEVERITIES[-1]})
        seconds.append(time.process_time() - start)
    return SPEED_ROWS / min(seconds)


if __name__ == "__main__":
    main()
