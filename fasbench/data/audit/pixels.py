"""Modalities that are not what they are called, judged by measures of the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from fasbench.data.audit.leaks import same_images
from fasbench.data.audit.measure import PAIRS, Measures
from fasbench.data.audit.report import Finding, first
from fasbench.data.audit.table import Table
from fasbench.data.record import LIVE, MODALITIES
from fasbench.data.sources.images import CHROMA_NOISE

COPY = 0.995  # correlation from which one modality is the other, perhaps with another contrast and noise of JPEG
DARK = 100  # gray level that a modality should reach somewhere in the data set
SATURATED = 0.5  # share of pixels at the upper end from which an image is burnt out
AGREED = 0.8  # share of bona fide rows that must agree on a direction of depth for it to be one
FEW = 5  # rows below which no direction is told

Measured = tuple[Table, Measures]  # the sampled rows and what was measured on them


def pixel_findings(name: str, sample: Measured) -> Iterator[Finding]:
    """Everything that can be told from one data set's images."""
    table, measures = sample
    for column, (one, other) in enumerate(PAIRS):
        copies = np.nan_to_num(measures.likeness[:, column]) >= COPY
        equal = int(measures.equal[:, column].sum())
        yield from _rows(
            f"{other}-is-{one}/{name}",
            table,
            copies,
            f"{other} shows what {one} shows: correlation of {COPY} or more in {{share}} of the rows looked at, every "
            f"pixel equal in {equal}. A loader or converter has likely read one modality twice.",
        )
    gray = measures.chroma <= CHROMA_NOISE
    yield from _rows(
        f"rgb-is-gray/{name}", table, gray, "The three colour channels are the same in {share} of the rows looked at."
    )
    for column, modality in enumerate(MODALITIES):
        yield from _rows(
            f"empty/{name}/{modality}",
            table,
            measures.spread[:, column] == 0,
            f"{modality} has one value in every pixel (in {{share}} of the rows looked at), yet counts as present.",
        )
        yield from _rows(
            f"saturated/{name}/{modality}",
            table,
            measures.saturated[:, column] >= SATURATED,
            f"Half of {modality} or more is burnt out in {{share}} of the rows looked at.",
        )
        peaks = measures.peak[:, column]
        if not np.isnan(peaks).all() and 0 < np.nanmax(peaks) <= DARK:
            reason = f"{modality} never exceeds {int(np.nanmax(peaks))} of 255: scaled twice, or by a wrong range?"
            yield from _rows(f"dark/{name}/{modality}", table, ~np.isnan(peaks), reason)
    yield from _swapped_channels(name, sample)


def _rows(identifier: str, table: Table, chosen: np.ndarray, explanation: str) -> Iterator[Finding]:
    """A finding about the chosen rows, if there are any."""
    if chosen.any():
        splits = [split for split in table.splits() if (chosen & (table["split"] == split)).any()]
        yield Finding(
            id=identifier,
            severity="pixels",
            dataset=table.name,
            parts=tuple(map(table.part, splits)),
            count=int(chosen.sum()),
            counted="rows",
            examples=first(table["id"][chosen]),
            explanation=explanation.replace("{share}", f"{chosen.mean():.1%}"),
        )


def _swapped_channels(name: str, sample: Measured) -> Iterator[Finding]:
    """Faces are redder than blue under nearly any light; blue ones are colour images read in the wrong order."""
    table, measures = sample
    colour = (table["label"] == LIVE) & (measures.chroma > CHROMA_NOISE)
    blue = colour & (measures.warmth < 0)
    if colour.sum() >= FEW and blue.sum() > 0.5 * colour.sum():
        yield from _rows(
            f"rgb-is-bgr/{name}",
            table,
            blue,
            f"{int(blue.sum())} of {int(colour.sum())} bona fide faces are bluer than red: red and blue are likely "
            "swapped.",
        )


def depth_directions(samples: Mapping[str, Measured]) -> Iterator[Finding]:
    """Parts whose bona fide faces are near = bright where most parts have near = dark, or the reverse."""
    directions: dict[str, int] = {}
    for table, measures in samples.values():
        for split in table.splits():
            rising = measures.rising[(table["split"] == split) & (table["label"] == LIVE)]
            signs = np.sign(rising[~np.isnan(rising)])
            if len(signs) >= FEW and abs(signs.sum()) >= (2 * AGREED - 1) * len(signs):
                directions[table.part(split)] = int(np.sign(signs.sum()))
    bright, dark = ([part for part, sign in directions.items() if sign == wanted] for wanted in (1, -1))
    if bright and dark:
        fewer = min(dark, bright, key=len)
        names = sorted({part.rpartition("/")[0] for part in fewer})
        yield Finding(
            id=f"depth-is-inverted/{'+'.join(names)}",
            severity="pixels",
            dataset="+".join(names),
            parts=tuple(fewer),
            count=len(fewer),
            counted="parts",
            examples=first(fewer),
            explanation=f"Bona fide faces are brighter than their surroundings in the depth of {', '.join(bright)}, "
            f"darker in that of {', '.join(dark)}: near is bright in one and dark in the other.",
        )


def repeated_images(samples: Mapping[str, Measured]) -> Iterator[Finding]:
    """One modality's image under different frames whose other modalities differ: files mixed up, or frames stuck."""
    for column, modality in enumerate(MODALITIES):
        groups: dict[str, dict[str, tuple[str, int]]] = {}
        whole: dict[str, set[str]] = {}
        for table, measures in samples.values():
            parts = [table.part(split) for split in table["split"]]
            labels, hashes = table["label"].tolist(), table["pixels_sha256"]
            for row, part, label, all_pixels, digest in zip(
                table["row"], parts, labels, hashes, measures.digest[:, column], strict=True
            ):
                if digest:
                    groups.setdefault(digest, {})[row] = (part, label)
                    whole.setdefault(digest, set()).add(all_pixels)
        mixed = [group for digest, group in groups.items() if len(group) > 1 and len(whole[digest]) > 1]
        yield from same_images(mixed, f"same-{modality}", modality)
