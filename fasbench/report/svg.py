"""A plot as inline SVG: axes, lines, bands, points. Colours are classes of the page's style sheet.

Drawn here and not by a plotting library because the page must follow the reader's light or dark surroundings, keep its
text as text, and be the same bytes everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

WIDTH = 360  # of every figure, in drawing units: a phone shows them at about 1:1, so text stays legible
TOLERANCE = 0.15  # drawing units that a simplified line may be off


def identity(values: np.ndarray) -> np.ndarray:
    return values


@dataclass(frozen=True)
class Axis:
    """One axis: its range and labelled ticks in data units; `warp` makes it linear on the page (log, probit)."""

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    warp: Callable[[np.ndarray], np.ndarray] = identity

    def share(self, values: Any) -> np.ndarray:
        """Where values lie along the axis: 0 = low end, 1 = high end."""
        low, high = self.warp(np.array([self.low, self.high], dtype=np.float64))
        return (self.warp(np.asarray(values, dtype=np.float64)) - low) / (high - low)


class Plot:
    """A plot area with two axes. What is drawn by `line` and `area` is clipped to it.

    >>> ticks = [(0, "0"), (1, "1")]
    >>> plot = Plot(Axis("x", 0, 1, ticks), Axis("y", 0, 1, ticks), height=300)
    >>> plot.line([0, 0.5, 1], [0, 0.5, 1], "curve")  # what lies on a straight line is left out
    >>> 'd="M46 252L350 8"' in plot.svg("f1", "Title", "What it shows")
    True
    """

    def __init__(self, x: Axis, y: Axis, height: float, left: float = 46, top: float = 8, bottom: float = 48) -> None:
        self.x, self.y, self.height = x, y, height
        self.left, self.top = left, top
        self.width, self.depth = WIDTH - left - 10, height - top - bottom
        self.back: list[Markup] = []
        self.inside: list[Markup] = []
        self.front: list[Markup] = []

    def px(self, values: Any) -> np.ndarray:
        return self.left + self.width * self.x.share(values)

    def py(self, values: Any) -> np.ndarray:
        return self.top + self.depth * (1 - self.y.share(values))

    def axes(self, y_grid: bool = True) -> None:
        """Frame, grid lines, tick labels and axis labels."""
        right, foot = self.left + self.width, self.top + self.depth
        for value, label in self.x.ticks:
            at = _n(self.px(value))
            self.back.append(draw('<path class="grid" d="M{} {}V{}"/>', at, _n(self.top), _n(foot)))
            self.text(self.px(value), foot + 14, label, "tick middle")
        for value, label in self.y.ticks if y_grid else ():
            at = _n(self.py(value))
            self.back.append(draw('<path class="grid" d="M{} {}H{}"/>', _n(self.left), at, _n(right)))
            self.text(self.left - 5, self.py(value) + 3.5, label, "tick end")
        box = (_n(self.left), _n(self.top), _n(self.width), _n(self.depth))
        self.back.append(draw('<rect class="frame" x="{}" y="{}" width="{}" height="{}"/>', *box))
        self.text(self.left + self.width / 2, foot + 32, self.x.label, "label middle")
        if self.y.label:
            place = f"translate(11 {_n(self.top + self.depth / 2)}) rotate(-90)"
            self.back.append(draw('<text class="label middle" transform="{}">{}</text>', place, self.y.label))

    def line(self, xs: Any, ys: Any, css: str) -> None:
        """A line through points in data units."""
        self.inside.append(draw('<path class="{}" d="{}"/>', css, path(simplify(self._points(xs, ys)))))

    def area(self, xs: Any, lows: Any, highs: Any, css: str) -> None:
        """The region between two lines over the same xs."""
        outline = [*simplify(self._points(xs, lows)), *simplify(self._points(xs, highs))[::-1]]
        self.inside.append(draw('<path class="{}" d="{}Z"/>', css, path(outline)))

    def dot(self, x: float, y: float, css: str, title: str, hollow: bool = False) -> None:
        """A point in data units, with what it is on hover; a hollow one is a diamond. Kept inside the plot area."""
        at = np.clip(self.px(x), self.left, self.left + self.width).item()
        up = np.clip(self.py(y), self.top, self.top + self.depth).item()
        shape = (
            f"M{_n(at - 5)} {_n(up)}l5 -5l5 5l-5 5Z"
            if hollow
            else f"M{_n(at - 4)} {_n(up)}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z"
        )
        self.front.append(draw('<path class="{}" d="{}"><title>{}</title></path>', css, shape, title))

    def text(self, x: Any, y: Any, text: str, css: str) -> None:
        """Text at a place in drawing units."""
        self.front.append(draw('<text class="{}" x="{}" y="{}">{}</text>', css, _n(x), _n(y), text))

    def svg(self, key: str, title: str, alt: str) -> Markup:
        """The figure. `key` is unique in the page; `alt` says in words what there is to see."""
        clip = (_n(self.left), _n(self.top), _n(self.width), _n(self.depth))
        clipped = draw('<svg x="{}" y="{}" width="{}" height="{}" viewBox="{} {} {} {}">', *clip, *clip)
        head = draw(
            '<svg viewBox="0 0 {} {}" role="img" aria-labelledby="{}-t {}-d"><title id="{}-t">{}</title>'
            '<desc id="{}-d">{}</desc>',
            *(WIDTH, _n(self.height), key, key, key, title, key, alt),
        )
        parts = [head, *self.back, clipped, *self.inside, Markup("</svg>"), *self.front, Markup("</svg>")]
        return Markup("").join(parts)

    def _points(self, xs: Any, ys: Any) -> np.ndarray:
        return np.column_stack([self.px(xs), self.py(ys)])


def draw(template: str, *values: object) -> Markup:
    """A piece of SVG; the values are escaped.

    >>> draw("<text>{}</text>", "a < b")
    Markup('<text>a &lt; b</text>')
    """
    return Markup(template).format(*values)


def steps(xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of a staircase that keeps each y until the next x.

    >>> [values.tolist() for values in steps(np.array([0, 1]), np.array([5, 6]))]
    [[0, 1, 1], [5, 5, 6]]
    """
    return np.repeat(xs, 2)[1:], np.repeat(ys, 2)[:-1]


def simplify(points: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray:
    """The points (N, 2) that a line needs to stay within the tolerance.

    Source: Douglas and Peucker, Cartographica 10 (1973).

    >>> simplify(np.array([[0, 0], [1, 0.01], [2, 0], [2, 3]])).tolist()
    [[0.0, 0.0], [2.0, 0.0], [2.0, 3.0]]
    """
    points = np.asarray(points, dtype=np.float64)
    cells = np.round(points / tolerance)
    fresh = np.append(True, (np.diff(cells, axis=0) != 0).any(axis=1))
    fresh[-1:] = True
    points = points[fresh]
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, -1]] = True
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        along = points[last] - points[first]
        rest = points[first + 1 : last] - points[first]
        length = np.hypot(*along)
        if length:
            away = np.abs(along[0] * rest[:, 1] - along[1] * rest[:, 0]) / length
        else:
            away = np.hypot(rest[:, 0], rest[:, 1])
        farthest = int(away.argmax())
        if away[farthest] > tolerance:
            middle = first + 1 + farthest
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    return points[keep]


def path(points: Any) -> str:
    """Points (N, 2) in drawing units as the `d` of a path."""
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _n(value: Any) -> str:
    """A number in drawing units, to a tenth."""
    text = f"{float(value):.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
