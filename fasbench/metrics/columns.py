"""Columns as integer codes: every text column is compared once, and everything after that works on small integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_MULTIPLIER = np.uint64(0x100000001B3)  # of the FNV-1a hash


@dataclass(frozen=True, eq=False)
class Codes:
    """A column (N,) as `values[codes]`, with where each value stands first."""

    values: np.ndarray  # (K,) the distinct values, sorted
    codes: np.ndarray  # (N,) intp
    first: np.ndarray  # (K,) position of the first row with that value

    def names(self) -> list[str]:
        """The values as text."""
        return [str(value) for value in self.values.tolist()]


def encode(column: np.ndarray) -> Codes:
    """What `np.unique` says of a column, without sorting N texts: hashes are sorted, then checked against the texts.

    >>> found = encode(np.array(["synth-l", "synth-k", "synth-l"]))
    >>> found.values.tolist(), found.codes.tolist(), found.first.tolist()
    (['synth-k', 'synth-l'], [1, 0, 1], [1, 0])
    """
    if column.dtype.kind == "U":
        _, first, codes = np.unique(_hashes(column), return_index=True, return_inverse=True)
        if _same_text(column, first, codes):
            order = np.argsort(column[first])
            rank = np.empty(len(order), dtype=np.intp)
            rank[order] = np.arange(len(order))
            return Codes(column[first][order], rank[codes], first[order])
    values, first, codes = np.unique(column, return_index=True, return_inverse=True)
    return Codes(values, codes, first)


def combine(left: Codes, right: Codes) -> Codes:
    """The pairs of two columns, sorted by the left one first; the values are positions (K, 2) in theirs.

    >>> pairs = combine(encode(np.array(["k", "k", "l"])), encode(np.array([7, 3, 7])))
    >>> pairs.codes.tolist(), pairs.values.tolist()
    ([1, 0, 2], [[0, 0], [0, 1], [1, 1]])
    """
    width = max(len(right.values), 1)
    found, first, codes = np.unique(left.codes * width + right.codes, return_index=True, return_inverse=True)
    return Codes(np.stack([found // width, found % width], axis=1), codes, first)


def repeated_values(column: np.ndarray) -> list[str]:
    """The values that occur more than once, sorted, as text."""
    if column.dtype.kind == "U" and len(np.unique(_hashes(column))) == len(column):
        return []  # different hashes are different texts
    values, counts = np.unique(column, return_counts=True)
    return [str(value) for value in values[counts > 1].tolist()]


def _hashes(column: np.ndarray) -> np.ndarray:
    """A 64-bit hash of each text, one character of all texts at a time."""
    column = np.ascontiguousarray(column)
    width = column.dtype.itemsize // 4
    letters = column.view(np.uint32).reshape(len(column), width) if width else np.zeros((len(column), 0), np.uint32)
    found = np.full(len(column), 0xCBF29CE484222325, dtype=np.uint64)
    for place in range(width):
        found ^= letters[:, place]
        found *= _MULTIPLIER
    return found


def _same_text(column: np.ndarray, first: np.ndarray, codes: np.ndarray, rows: int = 1 << 16) -> bool:
    """Whether equal codes mean equal texts: two texts might share a hash."""
    values = column[first]
    return all(
        bool((values[codes[start : start + rows]] == column[start : start + rows]).all())
        for start in range(0, len(column), rows)
    )
