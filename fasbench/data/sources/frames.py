"""Which frames of a video are taken where the official lists name videos only; the rule is `VideoLists`'s."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fasbench.data.layouts.base import Layout
from fasbench.data.lists import ListRow
from fasbench.errors import DataError


def spread(numbers: Sequence[int], count: int) -> list[int]:
    """`count` of the numbers, the middles of so many equal sections; all of them if there are no more than that.

    >>> spread([10, 11, 12, 13, 20, 21, 22, 23, 30], 3)
    [11, 20, 23]
    >>> spread([4, 9], 3)
    [4, 9]
    """
    if len(numbers) <= count:
        return list(numbers)
    return [numbers[(2 * k + 1) * len(numbers) // (2 * count)] for k in range(count)]


def with_frames(rows: Sequence[ListRow], layout: Layout, count: int) -> list[ListRow]:
    """Rows of videos -> rows of their frames, by what lies on disk.

    A video without frames stays as it is: reading it says what is wrong.
    """
    return [frame for row in rows for frame in _frames(row, layout, count)]


def _frames(row: ListRow, layout: Layout, count: int) -> Iterator[ListRow]:
    try:
        numbers = layout.frames(row)
    except DataError:
        yield row
        return
    for number in spread(numbers, count):
        rgb, depth, ir = (path.replace("*", f"{number:04d}") for path in (row.rgb, row.depth, row.ir))
        yield replace(row, id=f"{row.video}/{number}", frame=number, rgb=rgb, depth=depth, ir=ir)
