"""What `make demo` reaches over several seeds: test AUC of MMDG++ and of the plainest method, with its interval.

    python benchmarks/demo_seeds.py                                    # synth/fixed/lmn-k, seeds 0, 1, 2
    python benchmarks/demo_seeds.py --protocol synth/fixed --methods mmdg++

Trainings that are complete in --out are not repeated. The interval is the unit bootstrap of the mean AUC over the
seeds: the test subjects are drawn anew (together for all seeds and methods), the trainings stay; * = unreliable, for
fewer than 20 effective subjects. The standard deviation over the seeds stands beside it. Of several conditions the
first is taken. SYNTHETIC DATA: the numbers compare software, they say nothing about real faces.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from fasbench import metrics
from fasbench.metrics import Interval, auc, bootstrap, mean_replicates
from fasbench.metrics.intervals import too_few_units
from fasbench.plan import Request
from fasbench.runner import run
from fasbench.scorefile import ScoreFile, read_scores


def seed_scores(method: str, protocol: str, seeds: tuple[int, ...], out: Path) -> dict[str, list[ScoreFile]]:
    """Scores of every split, one file a seed, under its first condition, at the epoch chosen by source validation."""
    found: dict[str, list[ScoreFile]] = {}
    for outcome in run(Request(method, protocol, seeds=seeds, out=out)):
        for planned in outcome.plan.trainings:  # split by split, and seed by seed
            condition = planned.conditions[0]
            folder = outcome.plan.folder / "scores" / planned.split / condition / f"seed-{planned.seed}"
            name = f"{outcome.plan.protocol}/{planned.split}/{condition}"
            found.setdefault(name, []).append(read_scores(folder / "source-val.parquet"))
    return found


def interval(runs: list[ScoreFile]) -> Interval:
    """95 % interval of the mean AUC over the seeds, whose test rows must be the same."""
    first = runs[0].test
    if not all(np.array_equal(run.test.units, first.units) for run in runs):
        raise SystemExit("the score files of the seeds have different test units: were they made from the same data?")
    drawn = [bootstrap(run.validation, run.test, ["source-eer"], levels=["frame"]) for run in runs]
    counts = {"test": first.counts()}
    few = too_few_units(counts, [("test", "live"), ("test", "attack")])
    return metrics.interval(mean_replicates([one.arrays["frame", "auc"] for one in drawn]), few)


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
            each = np.array([auc(one.test.scores, one.test.labels) for one in scores])
            found = interval(scores)
            assert found.low is not None and found.high is not None  # an AUC is never degenerate
            low, high, mark = found.low, found.high, "*" if found.unreliable else ""
            values = ", ".join(f"{100 * value:.1f}" for value in each)
            print(f"{method:8} {split}  {100 * each.mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]{mark}", end="  ")
            spread = f"{100 * each.std(ddof=1):.1f}" if len(each) > 1 else "n/a"
            print(f"{scores[0].test.counts()['units']} test units; seeds {values}, sd {spread}")


if __name__ == "__main__":
    main()
