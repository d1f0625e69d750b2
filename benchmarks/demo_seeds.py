"""What `make demo` reaches over several seeds: test AUC of MMDG++ and of the plainest method, with its interval.

    python benchmarks/demo_seeds.py                                    # synth/fixed/lmn-k, seeds 0, 1, 2
    python benchmarks/demo_seeds.py --protocol synth/fixed --methods mmdg++

Trainings that are complete in --out are not repeated. The interval is a percentile bootstrap of the mean AUC over the
seeds: the test subjects are drawn anew (together for all seeds and methods), the trainings stay. The standard deviation
over the seeds stands beside it. Of several conditions the first is taken. SYNTHETIC DATA: the numbers compare software,
they say nothing about real faces.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from fasbench.metrics import Scores, auc
from fasbench.plan import Request
from fasbench.runner import run
from fasbench.scorefile import read_scores

DRAWS = 2000


def seed_scores(method: str, protocol: str, seeds: tuple[int, ...], out: Path) -> dict[str, list[Scores]]:
    """Test scores of every split, one a seed, under its first condition, at the epoch chosen by source validation."""
    found: dict[str, list[Scores]] = {}
    for outcome in run(Request(method, protocol, seeds=seeds, out=out)):
        for planned in outcome.plan.trainings:  # split by split, and seed by seed
            condition = planned.conditions[0]
            folder = outcome.plan.folder / "scores" / planned.split / condition / f"seed-{planned.seed}"
            name = f"{outcome.plan.protocol}/{planned.split}/{condition}"
            found.setdefault(name, []).append(read_scores(folder / "source-val.parquet").test)
    return found


def strata(scores: Scores) -> list[list[np.ndarray]]:
    """Rows of every test unit, grouped into units with bona fide frames only, attacks only, and both."""
    rows = [np.flatnonzero(scores.units == unit) for unit in np.unique(scores.units)]
    kinds = [frozenset(scores.labels[r].tolist()) for r in rows]
    return [
        [r for r, kind in zip(rows, kinds, strict=True) if kind == wanted] for wanted in sorted(set(kinds), key=sorted)
    ]


def interval(scores: list[Scores]) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean AUC over the seeds, whose rows must be the same."""
    if not all(np.array_equal(s.units, scores[0].units) for s in scores):
        raise SystemExit("the score files of the seeds have different test units: were they made from the same data?")
    rng, groups = np.random.default_rng(0), strata(scores[0])
    means = []
    for _ in range(DRAWS):
        drawn = [group[unit] for group in groups for unit in rng.integers(len(group), size=len(group))]
        rows = np.concatenate(drawn)
        means.append(np.mean([auc(s.scores[rows], s.labels[rows]) for s in scores]))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", default="synth/fixed/lmn-k")
    parser.add_argument("--methods", nargs="+", default=["mmdg++", "erm"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs"))
    given = parser.parse_args()
    print("SYNTHETIC DATA. Test AUC in percent, preset tiny, epoch by source validation")
    for method in given.methods:
        for split, scores in seed_scores(method, given.protocol, tuple(given.seeds), given.out).items():
            each = np.array([auc(s.scores, s.labels) for s in scores])
            low, high = interval(scores)
            values = ", ".join(f"{100 * value:.1f}" for value in each)
            print(f"{method:8} {split}  {100 * each.mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]", end="  ")
            spread = f"{100 * each.std(ddof=1):.1f}" if len(each) > 1 else "n/a"
            print(f"{len(np.unique(scores[0].units))} test units; seeds {values}, sd {spread}")


if __name__ == "__main__":
    main()
