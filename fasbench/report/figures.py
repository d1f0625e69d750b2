"""The figures of one evaluation: ROC, DET, score histograms with thresholds, calibration. Scores in, inline SVG out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from scipy.special import expit, logit, ndtri

from fasbench.metrics import Scores, det, roc, roc_band
from fasbench.report.svg import WIDTH, Axis, Plot, draw, path, steps

GRID = 160  # FPRs at which a band is computed, on a linear and again on a logarithmic scale
BINS = 40  # of a histogram
CALIBRATION_BINS = 10
MOST_ODDS = 10.0  # log-odds at the end of an axis, a score of 0.99995
FEW = 10  # samples of a calibration bin; fewer are drawn hollow
LANE, ROW = 13, 34  # heights in drawing units: of a threshold's name, of a histogram
_RATES = (0.001, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99)


@dataclass(frozen=True)
class Point:
    """Where the threshold of a policy falls."""

    policy: str
    threshold: float
    apcer: float | None
    bpcer: float | None
    oracle: bool
    headline: bool

    @property
    def css(self) -> str:
        return "oracle" if self.oracle else "headline" if self.headline else "other"

    @property
    def name(self) -> str:
        return f"{self.policy} (oracle)" if self.oracle else self.policy


def curves(key: str, where: str, test: Scores, points: Sequence[Point], replicates: int) -> list[Markup]:
    """ROC with linear and with logarithmic FPR axis, and DET, each with its bootstrap band.

    Drawn as stairs: at each FPR the largest TPR reached with no more, never in between. Raises DataError when a class
    is missing.
    """
    fpr, tpr, _ = roc(test.scores, test.labels)
    lowest = max(0.5 / max(int((test.labels == 0).sum()), 1), 1e-4)  # half an attack: where the log axis starts
    goals = np.unique(np.concatenate([np.linspace(0, 1, GRID), np.geomspace(lowest, 1, GRID), _thinned(fpr)]))
    low, _, high = roc_band(test, goals, replicates) if replicates else (None, None, None)
    share = [(value, f"{100 * value:g}") for value in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    decades = [(10.0**k, f"{100 * 10.0**k:g}") for k in range(-4, 1) if 10.0**k >= lowest]
    true_rate = Axis("TPR = 1 − BPCER, %", 0, 1, share)
    probit = [(rate, f"{100 * rate:g}") for rate in _RATES]
    shown = [
        ("roc", "ROC", Axis("FPR = APCER of all attacks, %", 0, 1, share), true_rate),
        ("log", "ROC, log axis", Axis("FPR = APCER of all attacks, % (log)", lowest, 1, decades, np.log10), true_rate),
        (
            "det",
            "DET",
            Axis("APCER of all attacks, % (probit)", 0.001, 0.99, probit, ndtri),
            Axis("BPCER, % (probit)", 0.001, 0.99, probit, ndtri),
        ),
    ]
    figures = []
    for name, title, x, y in shown:
        plot = Plot(x, y, height=320)
        plot.axes()
        on_det = name == "det"
        floor = {"roc": 0.0, "log": lowest / 2, "det": 1e-6}[name]  # 0 has no place on a log or probit axis

        def vertical(rate: np.ndarray, on_det: bool = on_det) -> np.ndarray:
            return np.clip(1 - rate, 1e-6, 1 - 1e-6) if on_det else rate

        def across(rate: np.ndarray, floor: float = floor, on_det: bool = on_det) -> np.ndarray:
            return np.clip(rate, floor, 1 - 1e-6 if on_det else 1)

        if low is not None and high is not None:
            x_band, low_band = steps(across(goals), vertical(low))
            plot.area(x_band, low_band, steps(goals, vertical(high))[1], "band")
        chance = np.geomspace(1e-4, 0.999, 200)
        plot.line(chance, vertical(chance), "chance")
        plot.line(*steps(across(fpr), vertical(tpr)), "curve")
        for point in sorted(points, key=lambda point: point.headline):  # on top, where several fall on one place
            if point.apcer is not None and point.bpcer is not None:
                up = np.clip(point.bpcer, 1e-6, 1 - 1e-6) if on_det else 1 - point.bpcer
                said = f"{point.name}: APCER {100 * point.apcer:.2f} %, BPCER {100 * point.bpcer:.2f} %"
                plot.dot(float(across(np.array(point.apcer))), float(up), f"dot {point.css}", said, point.oracle)
        if on_det and not len(det(test.scores, test.labels)[0]):
            plot.text(WIDTH / 2, 130, "no threshold makes errors of both kinds", "label middle halo")
        figures.append(plot.svg(f"{key}-{name}", f"{title} of {where}", _curve_alt(title, where, points, replicates)))
    return figures


def _thinned(values: np.ndarray) -> np.ndarray:
    """All distinct values where they are few: the band then has the very stairs of the curve."""
    distinct = np.unique(values)
    return distinct if len(distinct) <= 2 * GRID else distinct[:0]


def _curve_alt(title: str, where: str, points: Sequence[Point], replicates: int) -> str:
    band = f", with a 95 % band from {replicates:,} bootstrap replicates" if replicates else ""
    found = [
        f"{p.name}: APCER {100 * p.apcer:.1f} %, BPCER {100 * p.bpcer:.1f} %"
        for p in points
        if p.apcer is not None and p.bpcer is not None
    ]
    return f"{title} of the test scores of {where}{band}. Operating points: {'; '.join(found) or 'none'}."


def score_axis(parts: Sequence[Scores]) -> Axis:
    """The axis of scores: 0 to 1, as log-odds where most crowd at the ends; other scales from lowest to highest."""
    scores = np.concatenate([part.scores for part in parts])
    low, high = float(scores.min()), float(scores.max())
    if low < 0 or high > 1:
        spread = (high - low) or 1.0
        ends = low - 0.02 * spread, high + 0.02 * spread
        return Axis("score", *ends, [(value, f"{value:.3g}") for value in np.linspace(low, high, 5)])
    if np.mean((scores < 0.02) | (scores > 0.98)) <= 0.5:
        return Axis("score", 0, 1, [(value, f"{value:g}") for value in (0, 0.25, 0.5, 0.75, 1)])
    inner = scores[(scores > 0) & (scores < 1)]
    reach = float(np.clip(np.abs(logit(inner)).max() if len(inner) else 0, 3, MOST_ODDS))
    ticks, room = [(0.5, "0.5")], reach / 4  # labels of 0.9999 need a quarter of half the axis
    for tail in (0.1, 0.01, 0.001, 1e-4, 1e-5):
        if logit(ticks[-1][0]) + room < logit(1 - tail) <= reach:
            ticks += [(tail, f"{tail:f}".rstrip("0")), (1 - tail, f"{1 - tail:.5f}".rstrip("0"))]
    end = float(expit(reach))
    return Axis("score, log-odds axis; the ends hold what lies beyond", 1 - end, end, ticks, logit)


def histogram(key: str, title: str, part: Scores, kinds: Sequence[str], axis: Axis, points: Sequence[Point]) -> Markup:
    """Scores of bona fide samples and of each attack type, row by row, under the thresholds of the policies.

    Each row is scaled to its own highest bin.
    """
    rows = [("live", part.labels == 1), *((kind, (part.labels == 0) & (part.attacks == kind)) for kind in kinds)]
    top = 8.0 + LANE * len(points)
    plot = Plot(axis, Axis("", 0, 1, ()), height=top + ROW * len(rows) + 44, left=82, top=top, bottom=44)
    plot.axes(y_grid=False)
    inner = np.clip(axis.share(part.scores), 0, 1)
    said = []
    for number, (name, chosen) in enumerate(rows):
        foot = top + ROW * (number + 1)
        count = int(chosen.sum())
        label = name if len(name) <= 13 else name[:12] + "…"
        plot.front.append(
            draw('<text class="row end" x="76" y="{}">{}<title>{}</title></text>', f"{foot - 15:g}", label, name)
        )
        plot.text(76, foot - 4, f"n = {count:,}", "small end")
        plot.back.append(draw('<path class="grid" d="M82 {}H350"/>', f"{foot:g}"))
        if not count:
            continue
        heights = np.histogram(inner[chosen], BINS, (0, 1))[0]
        heights = heights / heights.max() * (ROW - 5)
        edges = plot.left + plot.width * np.linspace(0, 1, BINS + 1)
        outline = np.column_stack([np.repeat(edges, 2), foot - np.concatenate([[0], np.repeat(heights, 2), [0]])])
        css = "live" if name == "live" else "attack"
        outline = outline[np.append(True, (np.diff(outline, axis=0) != 0).any(axis=1))]
        plot.inside.append(draw('<path class="fill {}" d="{}Z"/>', css, path(outline)))
        said.append(f"{name} median {np.median(part.scores[chosen]):.3g}")
    _thresholds(plot, axis, points)
    drawn = ", ".join(f"{point.name} {point.threshold:.4g}" for point in points)
    return plot.svg(key, title, f"{title}. {'; '.join(said)}. Thresholds: {drawn or 'none'}.")


def _thresholds(plot: Plot, axis: Axis, points: Sequence[Point]) -> None:
    """A line for each threshold, its name in a lane of its own above the rows, so that no two names meet.

    From the left, lines reach up to ever lower lanes with their names to the right; from the right likewise.
    """
    foot = plot.top + plot.depth
    placed = sorted((float(np.clip(axis.share(point.threshold), 0, 1)), n, point) for n, point in enumerate(points))
    left = [one for one in placed if one[0] < 0.5]
    right = [one for one in placed if one[0] >= 0.5][::-1]
    for lane, (share, _, point) in enumerate([*left, *right]):
        x, y = plot.left + plot.width * share, 6.0 + LANE * lane
        aside = axis.share(point.threshold) - share  # beyond the axis: drawn at its end, with an arrow
        name = f"{'← ' if aside < 0 else ''}{point.name}: {point.threshold:.3g}{' →' if aside > 0 else ''}"
        line = '<path class="threshold {}" d="M{:.1f} {:.1f}V{:.1f}"/>'
        plot.front.insert(0, Markup(line).format(point.css, x, y, foot))
        on_left = share < 0.5
        side = "start" if on_left else "end"
        plot.text(x + (4 if on_left else -4), y + 7, name, f"lane {side} halo {point.css}")


@dataclass(frozen=True)
class Calibration:
    """Scores read as probabilities of being live: bins of equal width, and the expected calibration error."""

    counts: np.ndarray  # (bins,)
    score: np.ndarray  # (bins,) mean score; nan where empty
    live: np.ndarray  # (bins,) share of bona fide samples; nan where empty

    @classmethod
    def of(cls, part: Scores, bins: int = CALIBRATION_BINS) -> Calibration | None:
        """None for scores outside [0, 1].

        >>> part = Scores([0.25, 0.25, 1.0], [0, 1, 1], ["a"] * 3, list("abc"), ["k"] * 3, ["print", "live", "live"])
        >>> round(Calibration.of(part).error, 4)  # 2/3 of the samples are off by 1/4, the others by nothing
        0.1667
        """
        if part.scores.min() < 0 or part.scores.max() > 1:
            return None
        place = np.minimum((part.scores * bins).astype(int), bins - 1)
        counts = np.bincount(place, minlength=bins)
        with np.errstate(invalid="ignore"):
            score, live = (np.bincount(place, of, bins) / counts for of in (part.scores, part.labels))
        return cls(counts, score, live)

    @property
    def error(self) -> float:
        """ECE = sum over bins of n / N x |share live - mean score|. Source: Naeini et al., AAAI (2015)."""
        return float(np.nansum(self.counts * np.abs(self.live - self.score)) / self.counts.sum())


def calibration(key: str, where: str, validation: Calibration, test: Calibration) -> Markup:
    """The reliability diagram of validation and test, with the test's counts below."""
    ticks = [(value, f"{value:g}") for value in (0, 0.25, 0.5, 0.75, 1)]
    plot = Plot(Axis("score", 0, 1, ticks), Axis("share live", 0, 1, ticks), height=320, bottom=98)
    plot.axes()
    foot = plot.top + plot.depth
    plot.line([0, 1], [0, 1], "chance")
    for part, name, css in ((validation, "validation", "validation"), (test, "test", "curve")):
        known = part.counts > 0
        plot.line(part.score[known], part.live[known], f"{css} thin")
        for n, x, y in zip(part.counts[known], part.score[known], part.live[known], strict=True):
            few = " few" if n < FEW else ""
            said = f"{name}: {n:,} samples, mean score {x:.3f}, share live {y:.3f}"
            plot.dot(x, y, f"dot {css}{few}", said, hollow=part is validation)
    tallest, slot = max(int(test.counts.max()), 1), plot.width / len(test.counts)
    for number, count in enumerate(test.counts):
        x, height = plot.left + slot * number, 26 * count / tallest
        box = '<rect class="fill neutral" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
        plot.back.append(Markup(box).format(x + 2, foot + 86 - height, slot - 4, height))
        plot.text(x + slot / 2, foot + 82 - height, f"{count:,}", "small middle halo")
    plot.text(plot.left - 5, foot + 84, "test n", "small end")
    alt = f"Reliability diagram of {where}: ECE {test.error:.3f} on test, {validation.error:.3f} on validation."
    return plot.svg(key, f"Calibration of {where}", alt)
