"""Do the 95 % intervals cover, and do the tests reject 5 % where there is nothing to find? By simulation.

    python benchmarks/coverage.py                       # 12, 30 and 100 units, 400 made-up data sets of each
    python benchmarks/coverage.py --data-sets 2000 --units 12 30 100 300

Each unit (person) has a shift of its own, and 20 frames that scatter around it: half of them bona fide, half attacks.
So frames are not independent, and an interval over frames would be far too short (the last column shows how far). The
truth is the same number on 20,000 units of the same kind, at a threshold chosen on as many others. Validation has as
many units as the test, drawn anew for each data set. The second table is the size of the paired tests: two methods that
are equally good, but see the same persons with errors of their own, on two scales of scores; the share of p-values
below 5 %.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from fasbench.metrics import Scores, auc, bootstrap, compare, hter, threshold

FRAMES = 20
PATHS = {
    "AUC": ("frame", "auc"),
    "EER": ("frame", "eer"),
    "HTER, source-eer": ("frame", "policies", "source-eer", "hter"),
    "APCER, source-eer": ("frame", "policies", "source-eer", "apcer"),
}


def simulate(generator: np.random.Generator, units: int, as_units: str = "person") -> Scores:
    """Scores of `units` persons: a shift a person and class, and noise a frame."""
    person = np.repeat(np.arange(units), FRAMES)
    label = np.tile(np.repeat([1, 0], FRAMES // 2), units)
    shift = generator.normal(0, 0.7, (units, 2))[person, label]
    return scored(label + shift + generator.normal(0, 0.7, len(person)), label, person, as_units)


def scored(values: np.ndarray, label: np.ndarray, person: np.ndarray, as_units: str = "person") -> Scores:
    frame = np.arange(len(label))
    unit = person if as_units == "person" else frame
    return Scores(values, label, unit, frame, np.full(len(label), "k"), np.where(label == 1, "live", "print"), frame)


def truth() -> dict[str, float]:
    """The numbers that the intervals should cover."""
    generator = np.random.default_rng(1)
    validation, test = simulate(generator, 20_000), simulate(generator, 20_000)
    at = threshold("source-eer", validation.scores, validation.labels).value
    accepted = test.scores[test.labels == 0] >= at
    own = threshold("test-eer", test.scores, test.labels).value
    return {
        "AUC": auc(test.scores, test.labels),
        "EER": hter(test.scores, test.labels, own),
        "HTER, source-eer": hter(test.scores, test.labels, at),
        "APCER, source-eer": float(accepted.mean()),
    }


def covered(units: int, replicates: int, true: dict[str, float], seed: int) -> list[bool]:
    """Whether each interval of one made-up data set covers; the last one has every frame as a unit."""
    generator = np.random.default_rng((units, seed))
    validation, test = simulate(generator, units), simulate(generator, units)
    found = []
    for as_units in ("person", "frame"):
        parts = [scored(p.scores, p.labels, p.units, as_units) for p in (validation, test)]
        drawn = bootstrap(*parts, ["source-eer"], replicates, levels=["frame"], threads=1)
        for name, path in PATHS.items():
            if as_units == "person" or name == "AUC":
                around = drawn.interval(*path)
                assert around.low is not None and around.high is not None
                found.append(around.low <= true[name] <= around.high)
    return found


def p_values(units: int, permutations: int, seed: int) -> tuple[float, float]:
    """p-values of HTER and AUC for two methods that are equally good."""
    generator = np.random.default_rng((7, units, seed))
    person = np.repeat(np.arange(units), FRAMES)
    label = np.tile(np.repeat([1, 0], FRAMES // 2), units)
    sides = []
    parts = [generator.normal(0, 0.5, (units, 2))[person, label] for _ in range(2)]  # what both see: validation, test
    for scale, offset in ((1.0, 0.0), (0.2, 5.0)):
        methods = []
        for shared in parts:
            own = generator.normal(0, 0.5, (units, 2))[person, label] + generator.normal(0, 0.7, len(person))
            methods.append(scored((label + shared + own) * scale + offset, label, person))
        sides.append(tuple(methods))
    found = [compare(*sides, metric, permutations=permutations, replicates=1).p_value for metric in ("hter", "auc")]
    return found[0], found[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[12, 30, 100])
    parser.add_argument("--data-sets", type=int, default=400)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--permutations", type=int, default=499)
    given = parser.parse_args()
    true, number = truth(), given.data_sets
    error = 100 * (0.95 * 0.05 / number) ** 0.5
    print(f"Coverage of 95 % intervals in percent, {number} data sets each (standard error {error:.1f})")
    print("units  " + "  ".join(f"{name:>18}" for name in (*PATHS, "AUC, frames as units")))
    with ProcessPoolExecutor() as pool:
        for units in given.units:
            rows = list(pool.map(partial(covered, units, given.replicates, true), range(number), chunksize=5))
            shares = 100 * np.mean(rows, axis=0)
            print(f"{units:5}  " + "  ".join(f"{share:18.1f}" for share in shares), flush=True)
        print(f"\nSize of the paired tests in percent at level 5 %, {number} pairs of methods each")
        print("units        HTER         AUC")
        for units in given.units:
            found = np.array(list(pool.map(partial(p_values, units, given.permutations), range(number), chunksize=5)))
            share = 100 * (found < 0.05).mean(axis=0)
            print(f"{units:5}  {share[0]:10.1f}  {share[1]:10.1f}", flush=True)


if __name__ == "__main__":
    main()
