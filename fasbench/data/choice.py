"""Which rows of its parts a split takes. One rule for the rows of a list and for those of a prepared store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

Column = Literal["attack", "attack_fine", "race", "session"]


class Rule(NamedTuple):
    """Rows whose `column` is one of `values` are kept, or left out; "" = the data set does not say."""

    column: Column
    values: tuple[str, ...]
    keep: bool = True


def chosen(rules: Sequence[Rule], column: Callable[[Column], np.ndarray], rows: int) -> np.ndarray:
    """Which of so many rows every rule keeps, (rows,) bool; `column` gives the values of a column, (rows,)."""
    kept = np.ones(rows, bool)
    for rule in rules:
        kept &= np.isin(column(rule.column), rule.values) == rule.keep
    return kept
