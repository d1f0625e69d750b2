"""The bootstrap: every replicate equals the plain computation on the rows that it draws; draws are shared."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from made_scores import drawn, made_scores

from fasbench.errors import ConfigError, DataError
from fasbench.metrics import (
    POLICIES,
    Interval,
    Scores,
    apcer,
    auc,
    bootstrap,
    bpcer,
    bpcer_at_apcer,
    chunks,
    eer,
    hter,
    interval,
    mean_replicates,
    threshold,
    tpr_at_fpr,
)
from fasbench.metrics.bootstrap import sort_levels
from fasbench.metrics.draws import Units, random_numbers
from fasbench.metrics.levels import APCER_TARGETS, FPR_TARGETS

GOLDEN = [3415688556, 41459550, 2502606179]


def plain(validation: Scores, test: Scores) -> dict[tuple[str, ...], float]:
    """Numbers of one level from the public functions alone, by the paths of a Bootstrap; undefined ones left out."""
    found = {("auc",): auc(test.scores, test.labels), ("eer",): eer(test.scores, test.labels).value}
    for name, target in FPR_TARGETS.items():
        found["tpr_at_fpr", name] = tpr_at_fpr(test.scores, test.labels, target).value
    for name, target in APCER_TARGETS.items():
        found["bpcer_at_apcer", name] = bpcer_at_apcer(test.scores, test.labels, target).value
    for policy, rule in POLICIES.items():
        part = test if rule.oracle else validation
        at = threshold(policy, part.scores, part.labels, part.domains).value
        rates = {"hter": hter, "apcer": apcer, "bpcer": bpcer}
        found["policies", policy, "threshold"] = at
        found |= {("policies", policy, name): rate(test.scores, test.labels, at) for name, rate in rates.items()}
        for name, column in (("attack", test.attacks), ("attack_fine", test.groups["attack_fine"])):
            for kind, rate in apcer(test.scores, test.labels, at, column).items():
                place = ("slices", name, "groups", kind, "policies", policy)
                found[(*place, "apcer")] = rate
                found[(*place, "hter")] = (rate + bpcer(test.scores, test.labels, at)) / 2
        for name, column in (("domain", test.domains), ("race", test.groups["race"])):
            for group in np.unique(column):
                rows = column == group
                if len(np.unique(test.labels[rows])) == 2:
                    rate = hter(test.scores[rows], test.labels[rows], at)
                    found["slices", name, "groups", str(group), "policies", policy, "hter"] = rate
    for name, column in (("attack", test.attacks), ("attack_fine", test.groups["attack_fine"])):
        for kind in np.unique(column[test.labels == 0]):
            rows = (test.labels == 1) | (column == kind)
            found["slices", name, "groups", str(kind), "auc"] = auc(test.scores[rows], test.labels[rows])
    for group in np.unique(test.domains):
        rows = test.domains == group
        if len(np.unique(test.labels[rows])) == 2:
            found["slices", "domain", "groups", str(group), "auc"] = auc(test.scores[rows], test.labels[rows])
    return {path: value for path, value in found.items() if value is not None}


@pytest.mark.parametrize("grid", [5, 40, None])
@pytest.mark.parametrize("seed", range(4))
def test_a_replicate_is_the_plain_computation_on_the_rows_drawn(grid, seed):
    validation = made_scores(seed, 15, ("l", "m", "n"), grid=grid)
    test = made_scores(seed + 100, 96, ("k", "o"), grid=grid, groups=True)
    found = bootstrap(validation, test, replicates=12, slice_policies=tuple(POLICIES))
    parts = {"frame": (validation, test), "video": (validation.by_video(), test.by_video())}
    weights = [Units.of(p, n).draw(range(12)) for p, n in ((validation, "validation"), (test, "test"))]
    for level, (source, target) in parts.items():
        of_level = {path[1:]: values for path, values in found.arrays.items() if path[0] == level}
        for r in range(12):
            expected = plain(drawn(source, weights[0][r]), drawn(target, weights[1][r]))
            for path in expected:
                assert of_level[path][r] == pytest.approx(expected[path], abs=1e-13), (level, r, path)
            # what the plain computation calls undefined is nan, never a number
            roots = [path for path in of_level if path[0] in ("auc", "eer", "tpr_at_fpr", "bpcer_at_apcer")]
            assert {path for path in roots if np.isnan(of_level[path][r])} == set(roots) - set(expected)


def test_full_weights_are_the_data_themselves():
    validation = made_scores(1, 15, ("l", "m"))
    test = made_scores(2, 130, ("k", "o"), groups=True)
    level = sort_levels(validation, test, tuple(POLICIES), slice_policies=tuple(POLICIES))["frame"]
    found, expected = level.full(), plain(validation, test)
    assert {path for path in expected if path[0] == "slices" and path[1] == "race"} <= set(
        found
    )  # 20 people of each, in both classes
    assert {path: found[path] for path in expected} == pytest.approx(expected, abs=1e-13)


def test_scores_that_are_all_equal_in_a_replicate():
    # Two live and two attack units; a replicate may draw one of each: then it has one distinct score, or two.
    part = Scores(
        [0.2, 0.5, 0.5, 0.9], [0, 0, 1, 1], list("abcd"), list("abcd"), ["k"] * 4, ["print"] * 2 + ["live"] * 2
    )
    found = bootstrap(part, part, replicates=80)
    weights = [Units.of(part, name).draw(range(80)) for name in ("validation", "test")]
    alone = 0
    for r in range(80):
        source, target = (drawn(part, times[r]) for times in weights)
        assert found.arrays["frame", "auc"][r] == auc(target.scores, target.labels)
        for policy in ("source-eer", "source-eer-balanced", "source-bpcer@1%", "source-fpr@1%"):
            at = threshold(policy, source.scores, source.labels, source.domains).value
            assert found.arrays["frame", "policies", policy, "threshold"][r] == at
        alone += len(set(source.scores)) == 1
    assert alone


def test_draws_depend_on_domain_part_and_replicate_alone():
    one = made_scores(3, 12, ("k",))
    # Another split: the same units of k, with other scores, fewer frames, another order of rows and one domain more.
    other = made_scores(4, 24, ("k", "l"))
    labels = {(u, label) for u, label in zip(one.units.tolist(), one.labels.tolist(), strict=True)}
    rows = [(u, label, "k") for u, label in sorted(labels, reverse=True)] + [("x", 1, "l"), ("y", 0, "l")]
    units, truth, domains = (list(column) for column in zip(*rows, strict=True))
    videos, kinds = [f"v{i}" for i in range(len(rows))], ["live" if label else "mask" for label in truth]
    again = Scores(np.linspace(0, 1, len(rows)), truth, units, videos, domains, kinds)
    first, second = Units.of(one, "test").draw(range(50)), Units.of(again, "test").draw(range(50))
    np.testing.assert_array_equal(first, second[:, : first.shape[1]])  # domain k comes first
    assert (Units.of(one, "validation").draw(range(50)) != first).any()
    assert (Units.of(other, "test").draw(range(50))[:, : first.shape[1]] != first).any()
    np.testing.assert_array_equal(Units.of(one, "test").draw([7, 49]), first[[7, 49]])
    np.testing.assert_array_equal(Units.of(one.by_video(), "test").draw(range(50)), first)


def test_draws_keep_the_size_of_every_stratum():
    units = Units.of(made_scores(5, 31, ("k", "l")), "test")
    counts = units.draw(range(200))
    for _, strata in units.strata:
        for stratum in strata:
            assert (counts[:, stratum].sum(axis=1) == len(stratum)).all()
            if len(stratum):
                assert counts[:, stratum].mean(axis=0) == pytest.approx(np.ones(len(stratum)), abs=0.35)


def test_draws_never_change():
    """Stored intervals must come out the same on every machine and with every numpy."""
    assert random_numbers(("k", "test", 0), 3).tolist() == GOLDEN
    code = "from fasbench.metrics.draws import random_numbers; print(random_numbers(('k', 'test', 0), 3).tolist())"
    other = os.environ | {"PYTHONHASHSEED": "12345"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=other, check=True)
    assert done.stdout.strip() == str(GOLDEN)


def test_threads_and_chunks_do_not_matter(monkeypatch):
    validation, test = made_scores(1, 12, ("l",)), made_scores(2, 24, ("k",))
    plain_run = bootstrap(validation, test, replicates=30)
    monkeypatch.setattr(chunks, "_MOST", 7)
    for threads in (1, 3):
        again = bootstrap(validation, test, replicates=30, threads=threads)
        for path, values in plain_run.arrays.items():
            np.testing.assert_array_equal(again.arrays[path], values)


def test_a_method_shifted_and_stretched_has_the_same_replicates():
    validation, test = made_scores(1, 12, ("l",), grid=None), made_scores(2, 24, ("k",), grid=None)
    moved = [replace(part, scores=part.scores * 4 - 1) for part in (validation, test)]
    one, other = bootstrap(validation, test, replicates=30), bootstrap(*moved, replicates=30)
    for path, values in one.arrays.items():
        if path[-1] != "threshold" and "fixed@0.5" not in path:
            np.testing.assert_allclose(other.arrays[path], values, atol=1e-12)


def test_few_attacks_make_replicates_degenerate_and_they_are_counted():
    # 10 attacks allow FPR 10 %; units of 1, 2, 3 and 4 attacks give replicates with fewer, where it is undefined.
    units = ["a"] + ["b"] * 2 + ["c"] * 3 + ["d"] * 4 + ["p", "q"]
    kinds, videos = ["print"] * 10 + ["live"] * 2, [f"v{i}" for i in range(12)]
    part = Scores(np.linspace(0, 1, 12), [0] * 10 + [1] * 2, units, videos, ["k"] * 12, kinds)
    found = bootstrap(part, part, replicates=200)
    values = found.arrays["frame", "tpr_at_fpr", "10%"]
    attacks = Units.of(part, "test").draw(range(200))[:, :4] @ [1, 2, 3, 4]
    np.testing.assert_array_equal(np.isnan(values), attacks < 10)
    around = found.interval("frame", "tpr_at_fpr", "10%")
    assert (around.low, around.high, around.degenerate) == (None, None, (attacks < 10).sum())
    assert around.undefined == f"undefined in {(attacks < 10).sum()} of 200 replicates"


def test_a_few_degenerate_replicates_leave_the_percentiles_of_the_others():
    values = np.append(np.arange(101.0), [np.nan] * 5)
    assert interval(values) == Interval(2.5, 97.5, degenerate=5)
    assert interval(np.append(values, np.nan)).undefined == "undefined in 6 of 107 replicates"
    assert interval(np.full(3, np.nan)).low is None


def test_the_mean_over_splits_is_taken_draw_by_draw():
    # Two splits that share their test domain: their replicates rise and fall together, so the mean keeps the spread.
    validation, test = made_scores(1, 12, ("l",)), made_scores(2, 24, ("k",))
    one = bootstrap(validation, test, replicates=100).arrays["frame", "auc"]
    other = bootstrap(made_scores(3, 12, ("m",)), test, replicates=100).arrays["frame", "auc"]
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(mean_replicates([one, other]), one)
    with pytest.raises(DataError, match="found 2, 3"):
        mean_replicates([np.zeros(2), np.zeros(3)])
    with pytest.raises(DataError, match="found none"):
        mean_replicates([])


def test_units_of_two_domains_with_one_name_are_two():
    part = Scores([0.1, 0.9, 0.4, 0.8], [0, 1, 0, 1], [1, 1, 1, 1], list("abcd"), list("kkll"), ["print", "live"] * 2)
    assert Units.of(part, "test").count == part.counts()["units"] == 2


def test_one_class_and_one_sample_give_nan_and_no_warning():
    live = Scores([0.2, 0.4], [1, 1], ["a", "b"], ["v", "w"], ["k"] * 2, ["live"] * 2)
    attacks = Scores([0.3], [0], ["c"], ["x"], ["k"], ["print"])
    for validation in (live, attacks):
        for test in (live, attacks):
            found = bootstrap(validation, test, replicates=3).arrays
            assert np.isnan(found["frame", "auc"]).all() and np.isnan(found["frame", "eer"]).all()
            assert np.isnan(found["frame", "policies", "source-eer", "hter"]).all()
            rate = found["frame", "policies", "fixed@0.5", "bpcer" if test is live else "apcer"]
            assert rate.tolist() == ([1.0] * 3 if test is live else [0.0] * 3)
            at = found["frame", "policies", "source-bpcer@1%", "threshold"]
            assert np.isnan(at).all() == (validation is attacks)


def test_the_request_is_checked():
    part = made_scores(1)
    with pytest.raises(ConfigError, match="replicates 0"):
        bootstrap(part, part, replicates=0)
    with pytest.raises(ConfigError, match="Did you mean 'test-eer'"):
        bootstrap(part, part, ["test-err"])
