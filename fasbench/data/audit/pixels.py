"""Modalities that are not what they are called, judged by measures of the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from fasbench.data.audit.leaks import same_images
from fasbench.data.audit.measure import PAIRS, Measures
from fasbench.data.audit.report import Finding, first
from fasbench.data.audit.table import Table
from fasbench.data.layouts.crop import BLACK
from fasbench.data.record import LIVE, MODALITIES
from fasbench.data.sources.images import CHROMA_NOISE

# Correlation in the same place (`alike`) from which one modality is the other, perhaps negative, with another contrast
# or noise of JPEG: nine in ten copies have more on simulated smooth faces, each cut to its own box. Two sensors stay
# well below, because skin and light differ: infrared brings its own lamp, and brows, lips and make-up fade in it. On
# the same simulated faces they have 0.94 at most, on bona fide faces of the embedded data sets 0.92 (infrared and
# depth: 0.95). A flat attack may look the same to both: carbon ink is black to either, a screen is one bright or dark
# rectangle (0.99 in the embedded data sets). So attacks count from `COPY` where bona fide rows do, else from `SURE`.
COPY, SURE = 0.98, 0.995
DARK = 100  # gray level that a modality should reach somewhere in the data set
SATURATED = 0.5  # share of pixels at the upper end from which an image is burnt out
FEW = 5  # coloured bona fide rows below which nothing is said about the order of channels

Measured = tuple[Table, Measures]  # the sampled rows and what was measured on them


def pixel_findings(name: str, sample: Measured) -> Iterator[Finding]:
    """Everything that can be told from one data set's images."""
    table, measures = sample
    for column, (one, other) in enumerate(PAIRS):
        alike = np.nan_to_num(measures.alike[:, column])
        enough = COPY if (alike[table["label"] == LIVE] >= COPY).any() else SURE
        equal = int(measures.equal[:, column].sum())
        yield from _rows(
            f"{other}-is-{one}/{name}",
            table,
            alike >= enough,
            f"{other} shows what {one} shows, perhaps a little moved: correlation of {enough} or more in {{share}} of "
            f"the rows looked at, every pixel equal in {equal}. A loader or converter has likely read one modality "
            "twice.",
        )
    gray = (measures.chroma <= CHROMA_NOISE) & (measures.spread[:, 0] > BLACK)
    yield from _rows(
        f"rgb-is-gray/{name}", table, gray, "The three colour channels are the same in {share} of the rows looked at."
    )
    for column, modality in enumerate(MODALITIES):
        yield from _rows(
            f"empty/{name}/{modality}",
            table,
            measures.spread[:, column] <= BLACK,
            f"{modality} shows nothing in {{share}} of the rows looked at: its pixels differ by {BLACK} of 255 gray "
            "levels at most, yet it counts as present.",
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
