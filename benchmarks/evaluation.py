"""How fast is the evaluator, and how much memory does it take?

    python benchmarks/evaluation.py                       # the table 10^3 ... 10^7, the two targets, the two ratios
    python benchmarks/evaluation.py --sizes 12564 --replicates 1000

Made-up scores: half validation of three domains, half test of two, 300 persons a domain, five frames a video, four
attack types, twelve species, three races. Everything `evaluate` gives is computed: both levels, all policies, slices by
attack, species, domain and race, and 1,000 replicates of all of it (none for 10^7). Each size runs in a process of its
own, so that the peak memory is its own; it includes the scores and numpy. "CPU of it" is what all cores spent together:
where others use the machine too, the time without them is about half of it on two cores.

The ratios are to what one would write first, on the same scores in the same process: a loop over all thresholds for one
EER, and scikit-learn's `roc_auc_score` once a replicate on the resampled rows, which gives the AUC of one level and
nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import numpy as np

from fasbench.metrics import Scores, eer, evaluate
from fasbench.metrics.draws import Units

TARGETS = {12_564: "2 s", 1_000_000: "60 s, 2 GB"}


def made(samples: int, domains: tuple[str, ...], seed: int) -> Scores:
    """Clustered scores; units and videos are numbers, as in the score files of licensed data."""
    generator = np.random.default_rng(seed)
    videos = -(-samples // 5)
    video = np.arange(samples) // 5
    unit = generator.integers(0, min(300 * len(domains), videos), videos)
    label = generator.integers(0, 2, videos)
    kind = np.where(label == 1, "live", np.array(["print", "replay", "mask", "makeup"])[unit % 4])
    species = np.where(label == 1, "", np.char.add(kind, generator.integers(0, 3, videos).astype(str)))
    shift = generator.normal(0, 0.5, unit.max() + 1)[unit] + 2 * label - 1
    return Scores(
        scores=1 / (1 + np.exp(-(generator.normal(0, 1, samples) + shift[video]))),
        labels=label[video],
        units=unit[video],
        videos=video,
        domains=np.array(domains)[unit % len(domains)][video],
        attacks=kind[video],
        groups={"attack_fine": species[video], "race": np.array(["A", "B", "C"])[unit % 3][video]},
    )


def one_size(samples: int, replicates: int) -> dict[str, float]:
    """Seconds to make and check the scores, and to evaluate them; of all cores in the latter; peak memory in bytes."""
    started = time.perf_counter()
    validation = made(samples // 2, ("k", "l", "m"), 0)
    test = made(samples - samples // 2, ("n", "o"), 1)
    checked, used = time.perf_counter(), time.process_time()
    evaluate(validation, test, replicates=replicates)
    seconds, used = time.perf_counter() - checked, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"made": checked - started, "seconds": seconds, "used": used, "peak": peak}


def loop_eer(scores: np.ndarray, labels: np.ndarray) -> float:
    """The EER as one would write it first: every threshold counts all samples."""
    attacks, live = scores[labels == 0], scores[labels == 1]
    best = (2.0, 2.0)
    for threshold in np.append(np.unique(scores), np.inf):
        far, frr = (attacks >= threshold).mean(), (live < threshold).mean()
        best = min(best, (abs(far - frr), (far + frr) / 2))
    return best[1]


def ratios(samples: int, draws: int) -> None:
    """Times of the plain implementations beside ours."""
    from sklearn.metrics import roc_auc_score

    test = made(samples, ("n", "o"), 1)
    started = time.perf_counter()
    loop_eer(test.scores, test.labels)
    loop = time.perf_counter() - started
    started = time.perf_counter()
    eer(test.scores, test.labels)
    ours = time.perf_counter() - started
    print(f"EER of {samples:,} scores: loop over thresholds {loop:.2f} s, ours {ours:.4f} s, ratio {loop / ours:,.0f}")

    units, persons = Units.of(test, "test"), test.codes("persons").codes
    order = np.argsort(persons, kind="stable")
    started = time.perf_counter()
    for times in units.draw(range(draws)):
        rows = np.repeat(order, times[persons[order]])
        roc_auc_score(test.labels[rows], test.scores[rows])
    sklearn = (time.perf_counter() - started) / draws
    validation = made(samples, ("k", "l", "m"), 0)
    started = time.perf_counter()
    evaluate(validation, test, replicates=0)
    once = time.perf_counter() - started
    started = time.perf_counter()
    evaluate(validation, test, replicates=1000)
    each = (time.perf_counter() - started - once) / 1000
    print(
        f"one replicate of {samples:,} test scores: roc_auc_score {1000 * sklearn:.2f} ms for the AUC of one level; "
        f"ours {1000 * each:.2f} ms for every number of both levels, with as many validation scores: "
        f"ratio {sklearn / each:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [1000, 10_000, 12_564, 100_000, 1_000_000, 10_000_000]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes, help="scores, validation and test together")
    parser.add_argument("--replicates", type=int, help="default: 1,000, and none for 10^7")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)  # measure one size, in this process
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one_size(given.one, given.replicates)))
        return
    print(f"{len(os.sched_getaffinity(0))} cores, numpy {np.__version__}")
    print("    scores  replicates  evaluate (s)  CPU of it (s)  scores checked (s)  peak memory (MB)  target")
    for size in given.sizes:
        replicates = given.replicates if given.replicates is not None else 1000 * (size < 10_000_000)
        command = [sys.executable, __file__, "--one", str(size), "--replicates", str(replicates)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        times = f"{found['seconds']:12.2f}  {found['used']:13.2f}  {found['made']:18.2f}"
        print(f"{size:10,}  {replicates:10,}  {times}  {found['peak'] / 1e6:16,.0f}  {TARGETS.get(size, '')}")
    if given.sizes == sizes:
        ratios(12_564, 100)


if __name__ == "__main__":
    main()
