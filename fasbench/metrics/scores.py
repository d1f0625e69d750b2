"""Scores: the aligned columns of one part (validation or test) of a score file, checked as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fasbench.metrics.arrays import label_problems, length_problems, positions, raise_problems, score_problems

PER_VIDEO = ("labels", "units", "domains", "attacks")  # what all frames of a video must agree on


@dataclass(frozen=True, eq=False)
class Scores:
    """Columns of N samples. Anything numpy can read as an array is accepted.

    Raises one DataError listing every problem: unequal lengths, no rows, scores not finite, labels other than 0 and 1,
    missing entries, labels that contradict the attack type, videos with two labels (units, domains, attack types),
    repeated ids.

    >>> Scores([0.9, 0.2], [1, 0], ["p1", "p1"], ["v1", "v2"], ["synth-k"] * 2, ["live", "print"]).labels.tolist()
    [1, 0]
    """

    scores: np.ndarray  # (N,) higher = more live
    labels: np.ndarray  # (N,) 1 = bona fide, 0 = attack
    units: np.ndarray  # (N,) the person or instrument that a bootstrap resamples
    videos: np.ndarray  # (N,)
    domains: np.ndarray  # (N,) source data set
    attacks: np.ndarray  # (N,) coarse attack type; "live" (or empty) at bona fide samples
    ids: np.ndarray | None = None  # (N,) unique, for comparisons of two methods; not needed to evaluate one

    def __post_init__(self) -> None:
        columns = {name: np.asarray(values) for name, values in vars(self).items() if values is not None}
        problems = length_problems(columns)
        if not problems:  # the remaining checks read columns side by side
            problems += score_problems(columns["scores"]) + label_problems(columns["labels"])
            problems += _text_problems(columns)
        if not problems:
            columns = {name: _settled(name, column) for name, column in columns.items()}
            problems += _contradictions(columns) + _video_problems(columns) + _repeated_ids(columns)
        raise_problems("in the scores", problems)
        for name, column in columns.items():
            object.__setattr__(self, name, column)

    def by_video(self) -> Scores:
        """One row a video with the mean score of its frames; ids become the videos.

        The mean is taken over sorted scores as lowest + mean(score - lowest): the order of the rows then has no
        influence, and equal scores stay equal whatever the number of frames, so no tie is broken by rounding.
        """
        videos, first, position, frames = np.unique(
            self.videos, return_index=True, return_inverse=True, return_counts=True
        )
        order = np.lexsort((self.scores, position))
        lowest = self.scores[order][np.cumsum(frames) - frames]
        excess = np.bincount(position[order], self.scores[order] - lowest[position[order]])
        columns = {name: getattr(self, name)[first] for name in PER_VIDEO}
        return Scores(scores=lowest + excess / frames, videos=videos, ids=videos, **columns)

    def counts(self) -> dict[str, int]:
        """Samples, units and videos, in all and of each class."""
        live = self.labels == 1
        numbers = {"samples": len(live), "live": int(live.sum()), "attack": int((~live).sum())}
        for name in ("units", "videos"):
            column = getattr(self, name)
            numbers[name] = len(np.unique(column))
            numbers[f"live_{name}"] = len(np.unique(column[live]))
            numbers[f"attack_{name}"] = len(np.unique(column[~live]))
        return numbers | {"domains": len(np.unique(self.domains))}


def _text_problems(columns: dict[str, np.ndarray]) -> list[str]:
    """Units, videos, domains and ids must be filled in everywhere, attack types at attacks."""
    problems = []
    for name in ("units", "videos", "domains", "attacks", "ids"):
        if name in columns:
            missing = _missing(columns[name])
            if name == "attacks":
                missing &= columns["labels"] == 0
            problems += positions(name, "missing", missing)
    return problems


def _missing(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind == "f":
        return np.isnan(column)
    if column.dtype.kind == "O":  # None, NaN (the only value unequal to itself) or empty
        return np.array([value is None or value != value or value == "" for value in column], dtype=bool)
    return np.asarray(column == "") if column.dtype.kind in "US" else np.zeros(len(column), dtype=bool)


def _settled(name: str, column: np.ndarray) -> np.ndarray:
    """The column in its final type: scores float64, labels int64, attacks text, others integers or text."""
    if name == "scores":
        return column.astype(np.float64)
    if name == "labels":
        return column.astype(np.int64)
    if name == "attacks":
        return np.where(_missing(column), "", column.astype(str))
    return column.astype(str) if column.dtype.kind == "O" else column


def _contradictions(columns: dict[str, np.ndarray]) -> list[str]:
    """A file with swapped labels has live rows with attack types and attacks called live."""
    live, named_live = columns["labels"] == 1, columns["attacks"] == "live"
    has_type = ~np.isin(columns["attacks"], ["live", ""])
    return positions("attacks", "labelled 0 (attack) but called 'live'", ~live & named_live) + positions(
        "attacks", "labelled 1 (bona fide) but with an attack type", live & has_type
    )


def _video_problems(columns: dict[str, np.ndarray]) -> list[str]:
    """Frames of one video must agree, or its mean score means nothing."""
    videos, first, position = np.unique(columns["videos"], return_index=True, return_inverse=True)
    problems = []
    for name in PER_VIDEO:
        column = columns[name]
        mixed = np.unique(position[column != column[first][position]])
        if len(mixed):
            example = videos[mixed[0]]
            values = ", ".join(str(value) for value in np.unique(column[columns["videos"] == example]))
            problems.append(f"videos: {len(mixed)} with more than one of {name}, first {example} ({values})")
    return problems


def _repeated_ids(columns: dict[str, np.ndarray]) -> list[str]:
    if "ids" not in columns:
        return []
    ids, counts = np.unique(columns["ids"], return_counts=True)
    repeated = ids[counts > 1]
    return [f"ids: {len(repeated)} occur more than once, first {repeated[0]}"] if len(repeated) else []
