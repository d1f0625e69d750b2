"""Scores: the aligned columns of one part (validation or test) of a score file, checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fasbench.metrics.arrays import label_problems, length_problems, positions, raise_problems, score_problems
from fasbench.metrics.columns import Codes, combine, encode, repeated_values

PER_VIDEO = ("labels", "units", "domains", "attacks")  # what all frames of a video must agree on
GROUP = "group "  # a column of `groups` goes by this and its name


@dataclass(frozen=True, eq=False)
class Scores:
    """Columns of N samples. Anything numpy can read as an array is accepted.

    A unit belongs to its domain: the same name in two domains is two units. `groups` are further columns to slice by,
    each with the group of every sample, empty where that is not known: `race`, `session`, or any other name.
    `attack_fine` (the data set's own species), `attack_family` and `presented_by` divide the attacks only.

    Raises one DataError listing every problem: unequal lengths, no rows, scores not finite, labels other than 0 and 1,
    missing entries, labels that contradict the attack type, videos with two labels (units, domains, attack types,
    groups), repeated ids.

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

    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    _codes: dict[str, Codes] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in (*PER_VIDEO, "scores", "videos", "ids")}
        taken = sorted({"attack", "domain"} & set(self.groups))  # slicings that every result has
        raise_problems("in the scores", [f"groups: '{name}' is taken, give it another name" for name in taken])
        given |= {GROUP + name: values for name, values in self.groups.items()}
        columns = {name: np.asarray(values) for name, values in given.items() if values is not None}
        columns = {"scores": columns.pop("scores"), **columns}  # named first where something is wrong
        problems = length_problems(columns)
        if not problems:  # the remaining checks read columns side by side
            problems += score_problems(columns["scores"]) + label_problems(columns["labels"])
            problems += _text_problems(columns)
        if not problems:
            columns = {name: _settled(name, column) for name, column in columns.items()}
            for name in ("scores", "videos", "ids", *PER_VIDEO):
                if name in columns:
                    object.__setattr__(self, name, columns[name])
            object.__setattr__(self, "groups", {name: columns[GROUP + name] for name in self.groups})
            problems += _contradictions(columns) + self._video_problems() + _repeated_ids(columns)
        raise_problems("in the scores", problems)

    def codes(self, name: str) -> Codes:
        """A column as integer codes, worked out once; `persons` are the units, each of its own domain."""
        if name not in self._codes:
            if name == "persons":
                self._codes[name] = combine(self.codes("domains"), self.codes("units"))
            else:
                grouped = name.startswith(GROUP)
                self._codes[name] = encode(self.groups[name.removeprefix(GROUP)] if grouped else getattr(self, name))
        return self._codes[name]

    def by_video(self) -> Scores:
        """One row a video with the mean score of its frames; ids become the videos.

        The mean is taken over sorted scores as lowest + mean(score - lowest): the order of the rows then has no
        influence, and equal scores stay equal whatever the number of frames, so no tie is broken by rounding.
        """
        videos = self.codes("videos")
        frames = np.bincount(videos.codes)
        order = np.lexsort((self.scores, videos.codes))
        lowest = self.scores[order][np.cumsum(frames) - frames]
        excess = np.bincount(videos.codes[order], self.scores[order] - lowest[videos.codes[order]])
        columns: dict[str, Any] = {name: getattr(self, name)[videos.first] for name in PER_VIDEO}
        groups = {name: column[videos.first] for name, column in self.groups.items()}
        mean = lowest + excess / frames
        return Scores(scores=mean, videos=videos.values, ids=videos.values, groups=groups, **columns)

    def counts(self) -> dict[str, int | float]:
        """Samples, units and videos, in all and of each class; and how many equal units they are worth (Kish).

        `(sum of n)^2 / sum of n^2` over the samples n of a class in each unit: a hundred frames of one person and one
        of each of nine others are worth 1.2 persons, not ten. Source: Kish, Survey Sampling (1965).
        """
        live = self.labels == 1
        numbers: dict[str, int | float] = {"samples": len(live), "live": int(live.sum()), "attack": int((~live).sum())}
        for name, column in (("units", self.codes("persons")), ("videos", self.codes("videos"))):
            numbers[name] = len(column.values)
            for kind, rows in (("live", live), ("attack", ~live)):
                numbers[f"{kind}_{name}"] = int((np.bincount(column.codes[rows]) > 0).sum())
        for kind, rows in (("live", live), ("attack", ~live)):
            numbers[f"{kind}_effective_units"] = effective_units(self.codes("persons").codes[rows])
        return numbers | {"domains": len(self.codes("domains").values)}

    def _video_problems(self) -> list[str]:
        """Frames of one video must agree, or its mean score means nothing."""
        videos = self.codes("videos")
        problems = []
        for name in (*PER_VIDEO, *(GROUP + name for name in self.groups)):
            column = self.codes(name)
            mixed = np.unique(videos.codes[column.codes != column.codes[videos.first][videos.codes]])
            if len(mixed):
                here = np.unique(column.codes[videos.codes == mixed[0]])
                values = ", ".join(str(value) for value in column.values[here])
                example = videos.values[mixed[0]]
                problems.append(f"videos: {len(mixed)} with more than one of {name}, first {example} ({values})")
        return problems


def effective_units(units: np.ndarray) -> float:
    """(sum of n)^2 / sum of n^2 over the samples n of each unit; `units` (N,) are the unit codes of the samples.

    >>> effective_units(np.array([0, 0, 1, 1])), effective_units(np.array([0, 0, 0, 1]))
    (2.0, 1.6)
    """
    sizes = np.bincount(units).astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(units) else 0.0


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
    """The column in its final type: scores float64, labels int64, attacks and groups text, others integers or text."""
    if name == "scores":
        return column.astype(np.float64)
    if name == "labels":
        return column.astype(np.int64)
    if name == "attacks" or name.startswith(GROUP):
        return column if column.dtype.kind == "U" else np.where(_missing(column), "", column.astype(str))
    return column.astype(str) if column.dtype.kind in "OS" else column


def _contradictions(columns: dict[str, np.ndarray]) -> list[str]:
    """A file with swapped labels has live rows with attack types and attacks called live."""
    live, named_live = columns["labels"] == 1, columns["attacks"] == "live"
    has_type = ~named_live & (columns["attacks"] != "")
    return positions("attacks", "labelled 0 (attack) but called 'live'", ~live & named_live) + positions(
        "attacks", "labelled 1 (bona fide) but with an attack type", live & has_type
    )


def _repeated_ids(columns: dict[str, np.ndarray]) -> list[str]:
    repeated = repeated_values(columns["ids"]) if "ids" in columns else []
    return [f"ids: {len(repeated)} occur more than once, first {repeated[0]}"] if repeated else []
