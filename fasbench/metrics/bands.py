"""The band around a ROC or DET curve: what the bootstrap of its other numbers says at every FPR."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fasbench.errors import ConfigError, DataError
from fasbench.metrics.bootstrap import REPLICATES
from fasbench.metrics.chunks import in_chunks
from fasbench.metrics.curve import TOLERANCE
from fasbench.metrics.draws import Units
from fasbench.metrics.intervals import CONFIDENCE
from fasbench.metrics.scores import Scores
from fasbench.metrics.weighted import Ranked


def roc_band(test: Scores, fpr: ArrayLike, replicates: int = REPLICATES) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(low, tpr, high)`, (Q,) each: the largest TPR with FPR <= each of `fpr` (Q,), and its 95 % percentile interval.

    Pointwise: the band holds the curve at each FPR with 95 %, not everywhere at once. For a DET curve plot the probit
    of 1 - TPR over that of FPR; low and high then change places. The draws are those of `bootstrap`. Raises ConfigError
    for an FPR outside [0, 1], DataError when a class is missing.

    >>> attacks = ["mask", "mask", "live", "live"]
    >>> part = Scores([0.1, 0.7, 0.6, 0.9], [0, 0, 1, 1], list("abcd"), list("wxyz"), ["k"] * 4, attacks)
    >>> low, tpr, high = roc_band(part, [0.0, 0.5], replicates=100)
    >>> low.tolist(), tpr.tolist(), high.tolist()
    ([0.0, 0.0], [0.5, 1.0], [1.0, 1.0])
    """
    goals = np.asarray(fpr, dtype=np.float64)
    if goals.ndim != 1 or not ((goals >= 0) & (goals <= 1)).all():
        raise ConfigError("fpr: expected rates between 0 and 1, as a list")
    if replicates < 1:
        raise ConfigError(f"replicates {replicates}: at least 1 is needed")
    if len(np.unique(test.labels)) < 2:
        raise DataError("undefined: both classes are needed")
    persons = test.codes("persons")
    ranked = Ranked(test.scores, test.labels, persons.codes, np.zeros(len(persons.codes), dtype=np.intp))
    units = Units.of(test, "test")

    def best(weights: np.ndarray) -> np.ndarray:
        curves = ranked.weigh(weights)
        return 1 - curves.rates(curves.first(lambda k: curves.rates(k)[0] <= goals + TOLERANCE, len(goals)))[1]

    drawn = in_chunks(lambda numbers: best(units.draw(numbers)), replicates, len(test.scores))
    tail = round(50 * (1 - CONFIDENCE), 9)
    low, high = np.percentile(np.concatenate(drawn), [tail, 100 - tail], axis=0)
    return low, best(np.ones((1, units.count), dtype=np.int64))[0], high
