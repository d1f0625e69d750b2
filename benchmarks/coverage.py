"""Do the 95 % intervals cover, and do the tests reject 5 % where there is nothing to find? By simulation.

    python benchmarks/coverage.py                       # 12, 30 and 100 units, 400 made-up data sets of each
    python benchmarks/coverage.py --data-sets 2000 --units 12 30 100 300

Each unit (person) has a shift of its own, and 20 frames that scatter around it: half of them bona fide, half attacks.
So frames are not independent, and an interval over frames would be far too short (a column shows how far). The truth is
the same number on 20,000 units of the same kind, at a threshold chosen on as many others. Validation has as many units
as the test, drawn anew for each data set. "APCER of 2 %" is a rare error, at the threshold 0.5: few units show it, and
its interval is too short. Such intervals are marked as unreliable; the last column counts those that miss and are not.

The second table is the size of the paired tests: two methods that are equally good, but see the same persons with
errors of their own, on two scales of scores; the share of p-values below 5 %. "Shifted" has 20 validation units only,
and a test whose scores lie elsewhere, so that every error of a threshold counts: p-values alone find too much there,
claims (p and the interval agree) do not.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from fasbench.metrics import Scores, auc, bootstrap, compare, evaluate, hter, threshold

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


def rare(units: int, replicates: int, seed: int) -> tuple[bool, bool]:
    """Whether the interval of an APCER of 2 % covers, and whether it misses without a mark."""
    generator = np.random.default_rng((3, units, seed))
    test = simulate(generator, units)
    level = 2.054 * (2 * 0.7**2) ** 0.5  # 98 % of the attacks lie below 0.5
    lowered = scored(np.where(test.labels == 1, test.scores, test.scores + 0.5 - level), test.labels, test.units)
    level = evaluate(lowered, lowered, ["fixed@0.5"], replicates)["levels"]["frame"]
    around = level["policies"]["fixed@0.5"]["intervals"]["apcer"]
    covers = around["low"] <= 0.02 <= around["high"]
    return covers, not covers and around["unreliable"] is None


def two_methods(seed: tuple[int, ...], units: tuple[int, int], shift: float = 0.0) -> list[tuple[Scores, Scores]]:
    """Validation and test of two methods that are equally good; the test's scores are shifted."""
    generator = np.random.default_rng(seed)
    persons = [np.repeat(np.arange(count), FRAMES) for count in units]
    labels = [np.tile(np.repeat([1, 0], FRAMES // 2), count) for count in units]

    def of_persons(part: int) -> np.ndarray:
        return generator.normal(0, 0.5, (units[part], 2))[persons[part], labels[part]]

    shared = [of_persons(part) for part in range(2)]  # what both methods see: validation, test
    sides = []
    for scale, offset in ((1.0, 0.0), (0.2, 5.0)):
        parts = []
        for part, moved in ((0, 0.0), (1, shift)):
            own = of_persons(part) + generator.normal(0, 0.7, len(persons[part]))
            values = (labels[part] + moved + shared[part] + own) * scale + offset
            parts.append(scored(values, labels[part], persons[part]))
        sides.append((parts[0], parts[1]))
    return sides


def p_values(units: int, permutations: int, seed: int) -> tuple[float, float]:
    """p-values of HTER and AUC for two methods that are equally good."""
    sides = two_methods((7, units, seed), (units, units))
    found = [compare(*sides, metric, permutations=permutations, replicates=1).p_value for metric in ("hter", "auc")]
    return found[0], found[1]


def shifted(units: int, permutations: int, seed: int) -> tuple[bool, bool]:
    """Of a shifted test with 20 validation units: whether HTER has p < 5 %, and whether one is called better."""
    row = compare(*two_methods((8, units, seed), (20, units), 1.0), "hter", permutations=permutations, replicates=400)
    return row.significant, row.better is not None


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
    names = (*PATHS, "AUC, frames as units", "APCER of 2 %", "misses unmarked")
    print("units  " + "  ".join(f"{name:>18}" for name in names))
    with ProcessPoolExecutor() as pool:
        for units in given.units:
            rows = list(pool.map(partial(covered, units, given.replicates, true), range(number), chunksize=5))
            low = list(pool.map(partial(rare, units, given.replicates), range(number), chunksize=5))
            shares = 100 * np.concatenate([np.mean(rows, axis=0), np.mean(low, axis=0)])
            print(f"{units:5}  " + "  ".join(f"{share:18.1f}" for share in shares), flush=True)
        print(f"\nSize of the paired tests in percent at level 5 %, {number} pairs of methods each")
        print("units        HTER         AUC  HTER, shifted  claims, shifted")
        for units in given.units:
            found = np.array(list(pool.map(partial(p_values, units, given.permutations), range(number), chunksize=5)))
            share = 100 * (found < 0.05).mean(axis=0)
            moved = 100 * np.mean(
                list(pool.map(partial(shifted, units, given.permutations), range(number), chunksize=5)), axis=0
            )
            print(f"{units:5}  {share[0]:10.1f}  {share[1]:10.1f}  {moved[0]:13.1f}  {moved[1]:15.1f}", flush=True)


if __name__ == "__main__":
    main()
