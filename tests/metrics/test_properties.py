"""What must hold for any scores: invariances, symmetries, bounds."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fasbench.metrics import POLICIES, auc, curve, eer, threshold, tpr_at_fpr

repeatable = settings(derandomize=True, deadline=None, max_examples=200)
validation_policies = [name for name, policy in POLICIES.items() if policy.uses == "validation"]


@st.composite
def samples(draw, both_classes=True, grid=20):
    """(scores, labels): multiples of 1/16 with many ties, where midpoints and affine maps below are exact."""
    rows = draw(st.lists(st.tuples(st.integers(-grid, grid), st.integers(0, 1)), min_size=1, max_size=40))
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    if both_classes:
        assume(0 < labels.sum() < len(labels))
    return scores / 16, labels


@repeatable
@given(samples(), st.lists(st.integers(1, 1000), min_size=41, max_size=41), st.sampled_from([0.05, 0.1, 0.3, 0.5]))
def test_increasing_maps_change_no_ranking_metric(sample, steps, target):
    scores, labels = sample
    table = np.cumsum(steps)
    mapped = table[(scores * 16).astype(int) + 20]
    assert auc(mapped, labels) == auc(scores, labels)
    assert eer(mapped, labels).value == eer(scores, labels).value
    assert tpr_at_fpr(mapped, labels, target) == tpr_at_fpr(scores, labels, target)


@repeatable
@given(samples(), samples(both_classes=False, grid=40), st.sampled_from([0.25, 1, 3, 40]), st.integers(-5, 5))
def test_affine_maps_change_no_transferred_decision(validation, test, scale, offset):
    scores, labels = validation
    domains = np.where(np.arange(len(scores)) % 3 == 0, "c", "s")
    for policy in validation_policies:
        plain = threshold(policy, scores, labels, domains)
        mapped = threshold(policy, scores * scale + offset, labels, domains)
        assert mapped.value == pytest.approx(plain.value * scale + offset, abs=1e-12)
        np.testing.assert_array_equal(test[0] * scale + offset >= mapped.value, test[0] >= plain.value)


@repeatable
@given(samples())
def test_swapping_labels_and_negating_scores_is_a_mirror(sample):
    scores, labels = sample
    assert auc(-scores, 1 - labels) == auc(scores, labels)
    assert eer(-scores, 1 - labels).value == eer(scores, labels).value
    assert auc(scores, 1 - labels) == pytest.approx(1 - auc(scores, labels), abs=1e-15)


@repeatable
@given(samples())
def test_bounds_and_claims(sample):
    scores, labels = sample
    points, point = curve(scores, labels), eer(scores, labels)
    assert 0 <= auc(scores, labels) <= 1
    assert 0 <= point.value <= 1
    assert point.far == (scores[labels == 0] >= point.threshold).mean()
    assert point.frr == (scores[labels == 1] < point.threshold).mean()
    assert point.lower < point.threshold <= point.upper
    assert (np.diff(points.thresholds) > 0).all()
    assert (np.diff(points.far) <= 0).all() and (np.diff(points.frr) >= 0).all()
    assert (points.far[0], points.frr[0], points.far[-1], points.frr[-1]) == (1, 0, 0, 1)


@repeatable
@given(samples(), st.randoms(use_true_random=False))
def test_order_of_the_rows_does_not_matter(sample, random):
    scores, labels = sample
    order = list(range(len(scores)))
    random.shuffle(order)
    assert auc(scores[order], labels[order]) == auc(scores, labels)
    assert eer(scores[order], labels[order]) == eer(scores, labels)


@repeatable
@given(samples(), st.integers(2, 5))
def test_repeating_every_sample_changes_nothing(sample, times):
    scores, labels = sample
    many_scores, many_labels = np.repeat(scores, times), np.repeat(labels, times)
    assert auc(many_scores, many_labels) == auc(scores, labels)
    assert eer(many_scores, many_labels) == eer(scores, labels)


@repeatable
@given(samples(), st.data())
def test_weights_are_repetitions(sample, data):
    scores, labels = sample
    weights = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(scores), max_size=len(scores))))
    assume(weights[labels == 0].any() and weights[labels == 1].any())
    repeated = np.repeat(scores, weights), np.repeat(labels, weights)
    weighted, plain = curve(scores, labels, weights), curve(*repeated)
    for name in ("scores", "live_at", "attack_at", "thresholds", "false_accepts", "false_rejects"):
        np.testing.assert_array_equal(getattr(weighted, name), getattr(plain, name))
    # A common factor cancels, also where it makes every sum round.
    tenths = eer(scores, labels, weights * 0.1)
    assert tenths.threshold == eer(*repeated).threshold
    assert tenths.value == pytest.approx(eer(*repeated).value, abs=1e-12)
    assert auc(scores, labels, weights * 0.1) == pytest.approx(auc(*repeated), abs=1e-12)
    for policy in validation_policies:
        domains = np.full(len(scores), "c")
        by_weight = threshold(policy, scores, labels, domains, weights)
        by_rows = threshold(policy, *repeated, np.full(len(repeated[0]), "c"))
        assert (by_weight.value, by_weight.gap) == (by_rows.value, by_rows.gap)


@repeatable
@given(samples(), st.sampled_from([0.01, 0.1, 0.25, 0.5]))
def test_tpr_at_fpr_is_the_best_of_all_thresholds(sample, target):
    scores, labels = sample
    attacks, live = scores[labels == 0], scores[labels == 1]
    found = tpr_at_fpr(scores, labels, target)
    cuts = [*np.unique(scores), np.inf]
    best = max((live >= cut).mean() for cut in cuts if (attacks >= cut).sum() <= target * len(attacks) + 1e-9)
    assert found.value == (None if target * len(attacks) < 1 - 1e-9 else best)


@repeatable
@given(samples())
def test_limits_of_the_one_percent_policies(sample):
    scores, labels = sample
    attacks, live = scores[labels == 0], scores[labels == 1]  # fewer than 100 each: no error is allowed
    cut = threshold("source-bpcer@1%", scores, labels)
    assert (live >= cut.value).all()
    assert cut.upper == live.min()  # any higher threshold would reject the lowest live score
    cut = threshold("source-fpr@1%", scores, labels)
    assert (attacks < cut.value).all()
    assert cut.lower == attacks.max()
