"""Work on many replicates, some at a time on every core."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_ROOM = 1 << 22  # samples x replicates at once: 32 MB a column
_MOST, _LEAST = 128, 4


def in_chunks(compute: Callable[[range], T], count: int, samples: int, threads: int | None = None) -> list[T]:
    """`compute` of ranges that cover 0 ... count - 1, in order, on `threads` threads (default: one a core).

    Threads, because numpy lets others run while it counts. A chunk is large for few samples, so that numpy's work
    outweighs Python's, and small for many, so that memory stays bounded.

    >>> in_chunks(sum, 5, samples=10)
    [10]
    """
    size = min(max(_ROOM // samples, _LEAST), _MOST)
    chunks = [range(start, min(start + size, count)) for start in range(0, count, size)]
    with ThreadPoolExecutor(threads or _cores()) as pool:
        return list(pool.map(compute, chunks))


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
