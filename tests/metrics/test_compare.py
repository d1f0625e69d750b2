"""Paired tests: by hand and by enumeration, their size where there is nothing to find, and what they refuse."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from made_scores import made_scores

from fasbench.errors import ConfigError, DataError
from fasbench.metrics import Scores, auc, compare, holm, hter, rank_methods, threshold, verdict
from fasbench.metrics.compare import swaps

QUICK = {"permutations": 199, "replicates": 50}


def with_ids(scores: Scores, values: np.ndarray | None = None) -> Scores:
    ids = np.array([f"id{row:05}" for row in range(len(scores.scores))])
    return replace(scores, ids=ids, scores=scores.scores if values is None else values)


def two_methods(seed: int, units: int = 9, gain: float = 0.0):
    """(validation, test) of two methods on the same samples; the second is better by `gain`."""
    generator = np.random.default_rng(seed)
    first = with_ids(made_scores(seed, units)), with_ids(made_scores(seed + 1, units))
    second = tuple(
        with_ids(part, part.scores + generator.normal(0, 0.2, len(part.scores)) + gain * part.labels) for part in first
    )
    return first, second


def enumerated(first, second, metric: str) -> np.ndarray:
    """|difference| for every way to swap whole units, from the definitions."""
    (_, one), (_, other) = first, second
    units = np.unique(one.units, return_inverse=True)[1]
    labels, found = one.labels, []
    if metric == "auc":
        ranks = [np.array([(s < x).sum() + ((s == x).sum() + 1) / 2 for x in s]) for s in (one.scores, other.scores)]
    else:
        cuts = [threshold("source-eer", v.scores, v.labels).value for v, _ in (first, second)]
        ranks = [(part.scores >= cut).astype(float) for part, cut in zip((one, other), cuts, strict=True)]
    for choice in product((False, True), repeat=units.max() + 1):
        swap = np.array(choice)[units]
        sides = np.where(swap, ranks[1], ranks[0]), np.where(swap, ranks[0], ranks[1])
        values = [auc(side, labels) if metric == "auc" else hter(side, labels, 0.5) for side in sides]
        found.append(values[0] - values[1])
    return np.abs(found)


@pytest.mark.parametrize("metric", ["auc", "hter"])
def test_the_p_value_approaches_that_of_all_swaps(metric):
    first, second = two_methods(3, units=7, gain=0.15)
    differences = enumerated(first, second, metric)  # 2^7
    exact = (differences >= differences[0] - 1e-12).mean()
    found = compare(first, second, metric, permutations=9999, replicates=1)
    assert found.p_value == pytest.approx(exact, abs=0.02)  # 4 standard errors of 9,999 permutations
    assert abs(found.difference) == pytest.approx(differences[0], abs=1e-12)
    assert found.units == 7


def test_values_are_those_of_the_public_functions():
    first, second = two_methods(5)
    found = compare(first, second, "hter", **QUICK)
    for (validation, test), value in ((first, found.value_a), (second, found.value_b)):
        assert value == hter(
            test.scores, test.labels, threshold("source-eer", validation.scores, validation.labels).value
        )
    assert found.difference == found.value_a - found.value_b
    assert compare(first, second, "auc", **QUICK).value_a == auc(first[1].scores, first[1].labels)


def test_the_same_method_twice_shows_nothing():
    first, _ = two_methods(1)
    for metric in ("auc", "hter"):
        found = compare(first, first, metric, **QUICK)
        assert (found.difference, found.p_value, found.better) == (0, 1, None)
        assert (found.interval.low, found.interval.high) == (0, 0)


def test_a_scale_of_its_own_shows_nothing():
    """The same ranking and the same decisions on another scale are the same method."""
    first, _ = two_methods(1)
    moved = tuple(replace(part, scores=part.scores * 1024 - 512) for part in first)
    for metric in ("auc", "hter"):
        found = compare(first, moved, metric, **QUICK)
        assert (found.difference, found.p_value) == (0, 1)


def test_order_of_rows_and_of_methods_does_not_matter():
    first, second = two_methods(2, gain=0.1)
    order = np.random.default_rng(0).permutation(len(second[1].scores))
    names = ("scores", "labels", "units", "videos", "domains", "attacks", "ids")
    shuffled = second[0], Scores(**{name: getattr(second[1], name)[order] for name in names})
    for metric in ("auc", "hter"):
        found = compare(first, second, metric, **QUICK)
        assert compare(first, shuffled, metric, **QUICK) == found
        back = compare(second, first, metric, **QUICK)
        assert (back.difference, back.p_value) == (-found.difference, found.p_value)
        assert back.turned().interval.low == pytest.approx(found.interval.low)


def test_a_clear_gain_is_found_and_its_interval_is_on_one_side():
    first, second = two_methods(4, units=30, gain=0.6)
    for metric in ("auc", "hter"):
        found = compare(first, second, metric, **QUICK)
        assert found.p_value == 1 / 200 and found.better == "the second"
        assert found.interval.low * found.interval.high > 0


def test_size_where_there_is_nothing_to_find():
    """Two equally good methods on two scales: few p-values are small. 60 pairs, of which 3 are expected below 5 %."""
    small = {"auc": 0, "hter": 0}
    for seed in range(60):
        generator = np.random.default_rng(seed)
        person, label = np.repeat(np.arange(20), 6), np.tile([1, 1, 1, 0, 0, 0], 20)
        ids = np.arange(len(label))
        kinds = np.where(label == 1, "live", "print")

        def method(scale, generator=generator, person=person, label=label, ids=ids, kinds=kinds):
            parts = []
            for _ in range(2):
                shift = generator.normal(0, 0.7, (20, 2))[person, label] + generator.normal(0, 0.5, len(label))
                parts.append(Scores(scale * (label + shift), label, person, ids, ["k"] * len(ids), kinds, ids))
            return tuple(parts)

        one, other = method(1), method(100)
        for metric in small:
            small[metric] += compare(one, other, metric, permutations=99, replicates=1).p_value <= 0.05
    assert small["auc"] <= 8 and small["hter"] <= 8  # more than 8 of 60 at 5 %: one in 200 such tests


def test_splits_and_seeds_are_averaged_and_swapped_together():
    first, second = two_methods(6)
    third, fourth = two_methods(8)
    runs = {("x", 0): first, ("x", 1): second, ("y", 0): third, ("y", 1): fourth}
    others = {("x", 3): second, ("x", 5): first, ("y", 3): third, ("y", 5): third}
    found = compare(runs, others, "auc", **QUICK)
    value = {key: auc(test.scores, test.labels) for key, (_, test) in runs.items()}
    assert found.value_a == pytest.approx(sum(value.values()) / 4)
    # Split x holds both methods on both sides, so only y with seed 1 differs: a quarter of the difference.
    assert found.difference == pytest.approx((value["y", 1] - value["y", 0]) / 4)
    alone = compare({("y", 0): fourth}, {("y", 0): third}, "auc", **QUICK)
    assert found.difference == pytest.approx(alone.difference / 4)
    with pytest.raises(DataError, match="x seed 0"):
        compare(runs, {("x", 0): first}, "auc", **QUICK)


def test_other_samples_are_refused_with_counts_and_examples():
    first, second = two_methods(1)
    test = second[1]
    renamed = test.ids.copy()
    renamed[2] = "zz"
    with pytest.raises(DataError) as caught:
        compare(first, (second[0], replace(test, ids=renamed)), "auc")
    count = len(renamed)
    assert str(caught.value).splitlines() == [
        "the first and the second did not score the same samples",
        f"  - test, seed 0: 1 of {count} ids only in the first, first id00002",
        f"  - test, seed 0: 1 of {count} ids only in the second, first zz",
    ]
    units = np.where(test.units == "u000", "x", test.units)
    with pytest.raises(DataError, match="samples with other units, first id00000"):
        compare(first, (second[0], replace(test, units=units)), "auc")
    with pytest.raises(DataError, match="needs the id of every test sample"):
        compare(first, (second[0], replace(test, ids=None)))


def test_what_cannot_be_compared_is_refused():
    first, second = two_methods(1)
    with pytest.raises(ConfigError, match="'acc' cannot be compared"):
        compare(first, second, "acc")
    with pytest.raises(ConfigError, match="'test-eer' reads the test labels"):
        compare(first, second, policy="test-eer")
    live = with_ids(Scores([0.1, 0.2], [1, 1], ["a", "b"], ["v", "w"], ["k"] * 2, ["live"] * 2))
    with pytest.raises(DataError, match="the first: undefined: both classes are needed"):
        compare((first[0], live), (second[0], live))
    with pytest.raises(ConfigError, match="at least two"):
        rank_methods({"one": first})


def test_swaps_are_fair_and_reproducible():
    found = swaps(range(400), 40, seed=0)
    assert set(np.unique(found)) == {0, 1}
    assert found.mean(axis=0) == pytest.approx(np.full(40, 0.5), abs=0.12)
    np.testing.assert_array_equal(swaps(range(7, 9), 40, seed=0), found[7:9])
    assert (swaps(range(400), 40, seed=1) != found).any()


def test_holm_by_hand():
    # sorted 0.01 x 4 = 0.04, 0.015 x 3 = 0.045, 0.03 x 2 = 0.06, 0.5 x 1
    assert holm([0.5, 0.01, 0.03, 0.015]) == pytest.approx([0.5, 0.04, 0.06, 0.045])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(ConfigError, match=r"1\.2 is not between"):
        holm([0.1, 1.2])


def test_ranks_wins_and_words():
    first, second = two_methods(4, units=30, gain=0.6)
    third = tuple(replace(part, scores=part.scores + 0.0) for part in second)
    found = rank_methods({"poor": first, "good": second, "twin": third}, ["auc"], **QUICK)
    assert found.matrix("auc") == {
        "poor": {"good": "loss", "twin": "loss"},
        "good": {"poor": "win", "twin": "tie"},
        "twin": {"poor": "win", "good": "tie"},
    }
    assert found.ranks("auc") == {"poor": 3, "good": 1, "twin": 1}
    assert [row.p_holm for row in found.rows] == [3 / 200, 3 / 200, 1.0]
    texts = [verdict(row, found.tests()) for row in found.rows]
    assert texts[0].startswith("good is better than poor: AUC") and "corrected for 3 tests; 30 units" in texts[0]
    assert texts[2].startswith("No difference shown between good and twin")
