"""Input checks of the metrics: every public function passes its arrays through here, once, at the border."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fasbench.errors import DataError, problem_list


def checked(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None, **columns: ArrayLike
) -> tuple[np.ndarray, ...]:
    """`(scores, labels, weights, *columns)` as aligned arrays (N,): float64, int64, int64 or float64, as they are.

    Without weights every sample counts once. Whole weights stay integers, so that counts of them are exact.
    Raises one DataError that lists every problem.

    >>> checked([0.2, float("nan")], [0, 1, 2])
    Traceback (most recent call last):
    fasbench.errors.DataError: 3 problems in the arrays given to a metric
      - lengths differ: scores 2, labels 3
      - scores: 1 not finite, first at position 1
      - labels: 1 neither 1 (bona fide) nor 0 (attack), first at position 2
    """
    given = {"scores": scores, "labels": labels} | ({} if weights is None else {"weights": weights}) | columns
    arrays = {name: np.asarray(values) for name, values in given.items()}
    problems = length_problems(arrays) + score_problems(arrays["scores"]) + label_problems(arrays["labels"])
    if weights is not None:
        problems += _weight_problems(arrays["weights"])
    raise_problems("in the arrays given to a metric", problems)
    if weights is None:
        arrays["weights"] = np.ones(len(arrays["scores"]), dtype=np.int64)
    whole = arrays["weights"].dtype.kind in "biu"
    return (
        arrays["scores"].astype(np.float64, copy=False),
        arrays["labels"].astype(np.int64, copy=False),
        arrays["weights"].astype(np.int64 if whole else np.float64, copy=False),
        *(arrays[name] for name in columns),
    )


def raise_problems(where: str, problems: list[str]) -> None:
    """Raise one DataError with all problems, if there are any."""
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise DataError(problem_list(f"{count} {where}", problems))


def length_problems(arrays: dict[str, np.ndarray]) -> list[str]:
    """The arrays must be one-dimensional, of one length, and not empty."""
    shaped = [f"{name}: shape {array.shape}, expected (N,)" for name, array in arrays.items() if array.ndim != 1]
    if shaped:
        return shaped
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        return ["lengths differ: " + ", ".join(f"{name} {length}" for name, length in lengths.items())]
    return ["no samples"] if not any(lengths.values()) else []


def score_problems(scores: np.ndarray) -> list[str]:
    """Scores must be finite numbers; text and nulls are refused, not converted."""
    if scores.dtype.kind not in "biuf":
        return [f"scores: {scores.dtype} instead of numbers"]
    return positions("scores", "not finite", ~np.isfinite(scores))


def label_problems(labels: np.ndarray) -> list[str]:
    """Labels must be 1 or 0."""
    if labels.dtype.kind not in "biuf":
        return [f"labels: {labels.dtype} instead of the numbers 1 (bona fide) and 0 (attack)"]
    return positions("labels", "neither 1 (bona fide) nor 0 (attack)", (labels != 0) & (labels != 1))


def positions(name: str, what: str, wrong: np.ndarray) -> list[str]:
    """One line that counts the wrong entries of an array and says where the first one is."""
    found = np.flatnonzero(wrong)
    return [f"{name}: {len(found)} {what}, first at position {found[0]}"] if len(found) else []


def _weight_problems(weights: np.ndarray) -> list[str]:
    if weights.dtype.kind not in "biuf":
        return [f"weights: {weights.dtype} instead of numbers"]
    problems = positions("weights", "negative or not finite", ~(np.isfinite(weights) & (weights >= 0)))
    return problems if problems or not weights.size or weights.any() else ["weights: all are 0"]
