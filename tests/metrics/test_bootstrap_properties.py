"""What must hold for the replicates of any scores, with many ties: the invariances of the numbers themselves."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fasbench.metrics import Scores, bootstrap, compare, eer
from fasbench.metrics.draws import Units
from fasbench.metrics.weighted import Ranked

repeatable = settings(derandomize=True, deadline=None, max_examples=25)
curve_example = settings(derandomize=True, deadline=None, max_examples=200)


@st.composite
def parts(draw, grid=20):
    """Scores on a grid of sixteenths, in up to six units of two classes; both classes occur."""
    rows = draw(
        st.lists(st.tuples(st.integers(0, grid), st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=30)
    )
    rows += [(draw(st.integers(0, grid)), label, 6) for label in (0, 1)]
    scores, labels, units = (np.array(column) for column in zip(*rows, strict=True))
    frames = np.arange(len(rows))
    kinds = np.where(labels == 1, "live", np.where(units % 2 == 0, "print", "mask"))
    return Scores(scores / 16, labels, units, frames, ["k"] * len(rows), kinds, frames)


def mapped(part: Scores, scores: np.ndarray) -> Scores:
    columns = (part.labels, part.units, part.videos, part.domains, part.attacks, part.ids)
    return Scores(scores, *columns)


def ranking_only(path: tuple[str, ...]) -> bool:
    """Numbers that no transferred threshold goes into."""
    return path[1] in ("auc", "eer", "tpr_at_fpr", "bpcer_at_apcer") or path[-1] == "auc"


@repeatable
@given(parts(), parts(), st.lists(st.integers(1, 1000), min_size=21, max_size=21))
def test_increasing_maps_change_no_replicate_of_a_ranking_number(validation, test, steps):
    table = np.cumsum(steps)
    plain = bootstrap(validation, test, ["source-eer"], 10, ["frame"])
    moved = bootstrap(
        *(mapped(part, table[(part.scores * 16).astype(int)]) for part in (validation, test)),
        ["source-eer"],
        10,
        ["frame"],
    )
    for path in filter(ranking_only, plain.arrays):
        np.testing.assert_array_equal(moved.arrays[path], plain.arrays[path])


@repeatable
@given(parts(), parts(grid=40), st.sampled_from([0.25, 4.0, 64.0]), st.integers(-5, 5))
def test_increasing_affine_maps_change_no_replicate_but_the_thresholds(validation, test, scale, offset):
    policies = ["source-eer", "source-eer-balanced", "source-bpcer@1%", "source-fpr@1%", "test-eer"]
    plain = bootstrap(validation, test, policies, 10, ["frame"])
    moved = bootstrap(
        *(mapped(part, part.scores * scale + offset) for part in (validation, test)), policies, 10, ["frame"]
    )
    for path, values in plain.arrays.items():
        expected = values * scale + offset if path[-1] == "threshold" else values
        np.testing.assert_allclose(moved.arrays[path], expected, atol=1e-12)


@repeatable
@given(parts(), parts(), st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_repeating_all_of_them_matters(validation, test, random):
    order = list(range(len(test.scores)))
    random.shuffle(order)
    plain = bootstrap(validation, test, ["source-eer"], 10, ["frame"])
    names = ("scores", "labels", "units", "videos", "domains", "attacks")
    shuffled = Scores(*(getattr(test, name)[order] for name in names))
    twice = Scores(*(np.tile(getattr(test, name), 2) for name in names))
    moved = bootstrap(validation, shuffled, ["source-eer"], 10, ["frame"]).arrays
    doubled = bootstrap(validation, twice, ["source-eer"], 10, ["frame"]).arrays
    for path, values in plain.arrays.items():
        np.testing.assert_array_equal(moved[path], values)
        if path[1] not in ("tpr_at_fpr", "bpcer_at_apcer"):  # with twice the attacks these may become defined
            np.testing.assert_allclose(doubled[path], values, atol=1e-13)


@repeatable
@given(parts(), parts())
def test_rates_are_between_0_and_1_and_fit_together(validation, test):
    arrays = bootstrap(validation, test, replicates=10, levels=["frame"]).arrays
    for path, values in arrays.items():
        if path[-1] != "threshold":
            assert ((values >= 0) & (values <= 1) | np.isnan(values)).all(), path
    place = ("frame", "policies", "source-eer")
    rates = {name: arrays[(*place, name)] for name in ("apcer", "bpcer", "hter")}
    np.testing.assert_allclose(rates["hter"], (rates["apcer"] + rates["bpcer"]) / 2, atol=1e-15)
    np.testing.assert_allclose(arrays["frame", "policies", "test-eer", "hter"], arrays["frame", "eer"], atol=1e-15)


@curve_example
@given(parts(), st.data())
def test_the_crossing_is_the_eer_of_the_rows_that_have_weight(part, data):
    count = len(part.codes("persons").values)
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)))
    weights[-1] = max(weights[-1], 1)  # the unit with both classes
    codes = part.codes("persons").codes
    ranked = Ranked(part.scores, part.labels, codes, np.zeros(len(codes), dtype=np.intp)).weigh(weights[None])
    first = ranked.first(lambda k: np.subtract(*ranked.rates(k)) <= 1e-12, 1)
    value, threshold = ranked.crossing(first)
    expected = eer(np.repeat(part.scores, weights[codes]), np.repeat(part.labels, weights[codes]))
    assert (value.item(), threshold.item()) == (expected.value, expected.threshold)


@repeatable
@given(parts(), parts(), st.integers(0, 5))
def test_swapping_the_methods_mirrors_a_comparison(validation, test, seed):
    noise = np.random.default_rng(seed).integers(0, 5, len(test.scores)) / 16
    one, other = (validation, test), (validation, mapped(test, test.scores + noise))
    for metric in ("auc", "hter"):
        there = compare(one, other, metric, permutations=49, replicates=5)
        back = compare(other, one, metric, permutations=49, replicates=5)
        assert (back.difference, back.p_value) == (-there.difference, there.p_value)
        assert 1 / 50 <= there.p_value <= 1


def test_draws_have_the_mean_of_the_data():
    rows = np.arange(60)
    kinds = np.where(rows % 2 == 1, "live", "print")
    part = Scores(rows / 60, rows % 2, rows // 3, rows, ["k"] * 60, kinds)
    counts = Units.of(part, "test").draw(range(2000))
    assert np.abs(counts.mean(axis=0) - 1).max() < 5 / 2000**0.5  # variance of a count is below 1
