"""Several methods: every pair compared, corrected together, and what follows for their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from fasbench.errors import ConfigError
from fasbench.metrics.bootstrap import REPLICATES
from fasbench.metrics.compare import (
    METRICS,
    PERMUTATIONS,
    Comparison,
    as_runs,
    check_request,
    compare_methods,
)
from fasbench.metrics.paired import Method, Runs
from fasbench.metrics.scores import Scores


@dataclass(frozen=True)
class Ranking:
    """All comparisons of some methods, with p-values corrected over all pairs and metrics.

    >>> from fasbench.metrics.intervals import Interval
    >>> row = Comparison("x", "y", "hter", 0.10, 0.15, -0.05, Interval(-0.08, -0.02), 0.001, 40, p_holm=0.003)
    >>> Ranking(("x", "y"), ("hter",), (row,)).ranks("hter")
    {'x': 1, 'y': 2}
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[Comparison, ...]

    def matrix(self, metric: str) -> dict[str, dict[str, str]]:
        """`matrix[a][b]`: `win` where a is significantly better than b, `loss` where b is, else `tie`."""
        table: dict[str, dict[str, str]] = {name: {} for name in self.methods}
        for row in self.rows:
            if row.metric == metric:
                result = "tie" if row.better is None else "win" if row.better == row.a else "loss"
                table[row.a][row.b] = result
                table[row.b][row.a] = {"win": "loss", "loss": "win", "tie": "tie"}[result]
        return table

    def ranks(self, metric: str) -> dict[str, int]:
        """1 + the number of methods that are significantly better."""
        return {name: 1 + list(row.values()).count("loss") for name, row in self.matrix(metric).items()}

    def tests(self) -> int:
        """How many p-values the correction is over."""
        return len(self.rows)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the i-th smallest of m p-values times m - i + 1, made monotone, at most 1.

    The chance of any false claim among all those below 0.05 is then below 5 %, however the tests depend on each other.
    Source: Holm, Scandinavian Journal of Statistics 6 (1979). Raises ConfigError for a p-value outside [0, 1].

    >>> holm([0.01, 0.04, 0.03])  # 0.01 x 3, 0.03 x 2 and 0.04 x 1, which may not fall below 0.06
    [0.03, 0.06, 0.06]
    """
    wrong = [p for p in p_values if not 0 <= p <= 1]
    if wrong:
        raise ConfigError(f"p-value {wrong[0]} is not between 0 and 1")
    corrected, highest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, p_values[i] * (len(p_values) - place)))
        corrected[i] = highest
    return corrected


def rank_methods(
    methods: Mapping[str, Runs | tuple[Scores, Scores]],
    metrics: Sequence[str] = tuple(METRICS),
    policy: str = "source-eer",
    level: Literal["frame", "video"] = "frame",
    permutations: int = PERMUTATIONS,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Ranking:
    """`compare` for every pair and metric, Holm's correction over all of them.

    Raises ConfigError for fewer than two methods, and what `compare` raises.

    >>> ids = list("stuvwxyz")
    >>> part = Scores([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9], [0] * 4 + [1] * 4, ids, ids, ["k"] * 8,
    ...               ["print"] * 4 + ["live"] * 4, ids)
    >>> found = rank_methods({"one": (part, part), "two": (part, part)}, ["auc"])
    >>> found.matrix("auc"), found.ranks("auc")
    ({'one': {'two': 'tie'}, 'two': {'one': 'tie'}}, {'one': 1, 'two': 1})
    """
    if len(methods) < 2:
        raise ConfigError("a comparison needs at least two methods")
    check_request(metrics, policy, level, permutations)
    prepared = [Method.of(name, as_runs(runs), policy, level) for name, runs in methods.items()]
    rows = [
        compare_methods(a, b, metric, permutations, replicates, seed)
        for metric in metrics
        for a, b in combinations(prepared, 2)
    ]
    corrected = holm([row.p_value for row in rows])
    final = tuple(replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True))
    return Ranking(tuple(methods), tuple(metrics), final)


def verdict(row: Comparison, tests: int = 1) -> str:
    """A comparison in plain words; `tests` is how many p-values were corrected together.

    >>> from fasbench.metrics.intervals import Interval
    >>> print(verdict(Comparison("x", "y", "hter", 0.15, 0.10, 0.05, Interval(0.02, 0.08), 0.001, 40, 0.003), 3))
    y is better than x: HTER 10.00 % against 15.00 %, difference -5.00 points (95 % interval -8.00 to -2.00; \
p = 0.003, corrected for 3 tests; 40 units; one training each, another seed may turn it).
    >>> print(verdict(Comparison("x", "y", "auc", 0.9, 0.89, 0.01, Interval(-0.02, 0.04), 0.4, 40)))
    No difference shown between x and y: AUC 90.00 % against 89.00 %, difference +1.00 points (95 % interval -2.00 to \
+4.00; p = 0.4; 40 units; one training each, another seed may turn it). This does not prove them alike.
    """
    if row.better == row.b:
        row = row.turned()
    p = row.p_value if row.p_holm is None else row.p_holm
    low, high = row.interval.low, row.interval.high
    between = "no interval" if low is None or high is None else f"95 % interval {100 * low:+.2f} to {100 * high:+.2f}"
    corrected = f", corrected for {tests} tests" if tests > 1 else ""
    head = f"{row.a} is better than {row.b}" if row.better else f"No difference shown between {row.a} and {row.b}"
    trainings = "one training each, another seed may turn it" if row.seeds == 1 else f"{row.seeds} trainings each"
    doubt = " p is small, but the interval holds 0: thresholds vary too." if row.significant and not row.better else ""
    care = f" Read with care: {row.interval.unreliable}." if row.interval.unreliable else ""
    return (
        f"{head}: {row.metric.upper()} {100 * row.value_a:.2f} % against {100 * row.value_b:.2f} %, "
        f"difference {100 * row.difference:+.2f} points ({between}; p = {p:.2g}{corrected}; {row.units} units; "
        f"{trainings}).{'' if row.better else ' This does not prove them alike.'}{doubt}{care}"
    )
