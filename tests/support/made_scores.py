"""Made-up scores for the tests of metrics: clustered in units, with ties, attack types and several domains."""

from __future__ import annotations

import numpy as np

from fasbench.metrics import Scores


def made_scores(
    seed: int,
    units: int = 12,
    domains: tuple[str, ...] = ("k",),
    per_unit: int = 8,
    grid: int | None = 20,
    kinds: tuple[str, ...] = ("print", "replay", "mask"),
    groups: bool = False,
) -> Scores:
    """Each unit has some videos of two frames; some units are live only, some attack only, some both.

    Args:
        grid: scores are multiples of 1 / grid, so that many tie; None = hardly any tie.
        groups: with `attack_fine` and `race`.
    """
    generator = np.random.default_rng(seed)
    rows: dict[str, list] = {name: [] for name in ("scores", "labels", "units", "videos", "domains", "attacks", "fine")}
    for unit in range(units):
        shift = generator.normal(0, 0.5)
        for video in range(generator.integers(1, per_unit + 1)):
            label = (1, 0, int(generator.integers(0, 2)))[unit % 3]
            kind = "live" if label else str(generator.choice(kinds))
            for _ in range(2):
                score = 1 / (1 + np.exp(-(generator.normal(label - 0.5, 1) + shift)))
                rows["scores"].append(round(score * grid) / grid if grid else score)
                rows["labels"].append(label)
                rows["units"].append(f"u{unit:03}")
                rows["videos"].append(f"u{unit:03}/{video}")
                rows["domains"].append(domains[unit // 3 % len(domains)])
                rows["attacks"].append(kind)
                rows["fine"].append("" if label else f"{kind}-{unit % 2}")
    extra = {"attack_fine": rows.pop("fine")}
    extra["race"] = ["AB"[int(unit[1:]) // 6 % 2] for unit in rows["units"]]
    return Scores(**rows, groups=extra if groups else {})


def drawn(scores: Scores, times: np.ndarray) -> Scores:
    """The rows of every unit repeated as often as it was drawn: what a replicate is, physically."""
    persons = scores.codes("persons").codes
    rows = np.repeat(np.arange(len(persons)), times[persons])
    copy = np.concatenate([np.arange(count) for count in times[persons]])
    columns = {name: getattr(scores, name)[rows] for name in ("scores", "labels", "units", "domains", "attacks")}
    videos = [f"{video}#{number}" for video, number in zip(scores.videos[rows], copy, strict=True)]
    return Scores(**columns, videos=videos, groups={name: column[rows] for name, column in scores.groups.items()})
