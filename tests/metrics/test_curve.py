"""AUC, EER, ROC: numbers worked out by hand, scikit-learn, and an exhaustive search for the EER rule."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from fasbench.errors import DataError
from fasbench.metrics import auc, curve, eer, roc


def labelled(attacks, live):
    return [*attacks, *live], [0] * len(attacks) + [1] * len(live)


class TestByHand:
    def test_three_against_three(self):
        scores, labels = labelled([0.1, 0.2, 0.6], [0.4, 0.8, 0.9])
        # Pairs won by the live sample: 0.4 beats 0.1 and 0.2 = 2; 0.8 beats 3; 0.9 beats 3. 8 of 9.
        assert auc(scores, labels) == 8 / 9
        # t = 0.5, between 0.4 and 0.6: attack 0.6 is accepted, FAR = 1/3; live 0.4 is rejected, FRR = 1/3.
        point = eer(scores, labels)
        assert (point.value, point.far, point.frr) == (1 / 3, 1 / 3, 1 / 3)
        assert (point.threshold, point.gap) == pytest.approx((0.5, 0.2))

    def test_rates_that_never_meet(self):
        # t     0.2  0.4  0.6  0.75  0.85  0.95
        # FAR   1    1/2  1/2  0     0     0
        # FRR   0    0    1/3  1/3   2/3   1        |FAR - FRR| is least, 1/6, at 0.6; EER = (1/2 + 1/3) / 2 = 5/12.
        scores, labels = labelled([0.3, 0.7], [0.5, 0.8, 0.9])
        points = curve(scores, labels)
        assert points.thresholds.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.75, 0.85, 0.95])
        assert points.far.tolist() == [1, 1 / 2, 1 / 2, 0, 0, 0]
        assert points.frr.tolist() == [0, 0, 1 / 3, 1 / 3, 2 / 3, 1]
        point = eer(scores, labels)
        assert (point.value, point.threshold, point.gap) == pytest.approx((5 / 12, 0.6, 0.2))

    def test_equal_imbalance_takes_the_smaller_sum(self):
        # 0.35: FAR 1/4, FRR 0, sum 1/4. 0.6: FAR 1/4, FRR 1/2, sum 3/4. Both |FAR - FRR| = 1/4.
        point = eer(*labelled([0.1, 0.2, 0.3, 0.8], [0.4, 0.9]))
        assert (point.value, point.threshold) == pytest.approx((1 / 8, 0.35))

    @pytest.mark.parametrize(
        ("middle", "threshold", "gap", "far", "frr"),
        [
            # Scores 0.1 (attack), `middle` (one of each), 0.9 (live): the candidates around `middle` have (FAR, FRR)
            # (1/2, 0) and (0, 1/2), a full tie. They cover (0.1, 0.9]; its centre is 0.5.
            (0.7, 0.5, 0.6, 0.5, 0.0),  # 0.5 lies in (0.1, 0.7]
            (0.3, 0.5, 0.6, 0.0, 0.5),  # 0.5 lies in (0.3, 0.9]
            (0.5, 0.5, 0.4, 0.5, 0.0),  # the centre is a score, which it accepts: (0.1, 0.5]
        ],
    )
    def test_full_tie_takes_the_centre(self, middle, threshold, gap, far, frr):
        point = eer(*labelled([0.1, middle], [middle, 0.9]))
        assert (point.threshold, point.gap) == pytest.approx((threshold, gap))
        assert (point.value, point.far, point.frr) == (0.25, far, frr)

    def test_centre_on_a_score_is_that_score_despite_rounding(self):
        # (0.1 + 0.5) / 2 = 0.3, and with another offset and scale the sum would round to one side or the other.
        for scale, offset in [(1, 0), (0.1, 0.7), (1 / 3, 1e3), (7.7, -0.3)]:
            low, middle, high = (scale * s + offset for s in (0.1, 0.3, 0.5))
            assert eer(*labelled([low, middle], [middle, high])).threshold == middle

    def test_perfect_and_inverted(self):
        assert auc(*labelled([0.1, 0.2], [0.8, 0.9])) == 1.0
        assert eer(*labelled([0.1, 0.2], [0.8, 0.9])).value == 0.0
        # Inverted: between the classes every attack is accepted (FAR 1) and every live sample rejected (FRR 1).
        assert auc(*labelled([0.8, 0.9], [0.1, 0.2])) == 0.0
        assert eer(*labelled([0.8, 0.9], [0.1, 0.2])).value == 1.0

    @pytest.mark.parametrize("score", [0.0, 0.5, 1e-300, -3.0])
    def test_constant_scores(self, score):
        # Accept everything (FAR 1, FRR 0) ties with accept nothing (FAR 0, FRR 1): EER = 1/2, threshold = the score.
        scores, labels = labelled([score] * 3, [score] * 2)
        point = eer(scores, labels)
        assert auc(scores, labels) == 0.5
        assert (point.value, point.threshold, point.gap) == (0.5, score, np.inf)
        assert curve(scores, labels).thresholds.tolist() == [score, np.nextafter(score, np.inf)]

    def test_minus_zero_is_zero(self):
        assert curve([-0.0, 0.0, 1.0], [0, 1, 1]).scores.tolist() == [0.0, 1.0]
        assert auc([-0.0, 0.0], [0, 1]) == 0.5

    def test_roc(self):
        # t above 0.9: (0, 0); 0.7: live 0.9 (0, 1/2); 0.3: the tie at 0.5 enters as a whole (1/2, 1); below: (1, 1).
        fpr, tpr, thresholds = roc(*labelled([0.1, 0.5], [0.5, 0.9]))
        assert (fpr.tolist(), tpr.tolist()) == ([0, 0, 0.5, 1], [0, 0.5, 1, 1])
        assert thresholds.tolist() == pytest.approx([1.1, 0.7, 0.3, -0.1])


class TestAgainstScikitLearn:
    @pytest.mark.parametrize("levels", [2, 7, 40, 100_000])
    @pytest.mark.parametrize("weighting", ["none", "whole", "fractional"])
    def test_auc_and_roc(self, levels, weighting):
        generator = np.random.default_rng(levels)
        labels = generator.integers(0, 2, 500)
        scores = (generator.integers(0, levels, 500) + labels * levels // 3) / levels
        weights = {
            "none": None,
            "whole": generator.integers(1, 9, 500),
            "fractional": generator.random(500) + 0.01,
        }[weighting]
        assert auc(scores, labels, weights) == pytest.approx(
            roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12
        )
        fpr, tpr, thresholds = roc(scores, labels, weights)
        expected = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
        np.testing.assert_allclose(fpr, expected[0], atol=1e-12)
        np.testing.assert_allclose(tpr, expected[1], atol=1e-12)
        # Its thresholds are the scores themselves; ours lie in the gap below each, and decide alike.
        assert (thresholds[1:] <= expected[2][1:]).all()
        assert (thresholds[1:-1] > expected[2][2:]).all()


def exhaustive_eer(scores, labels):
    """The rule of the design in exact arithmetic, each candidate counted anew: (EER, exact threshold)."""
    distinct = sorted({Fraction(score) for score in scores})
    half_first, half_last = (distinct[1] - distinct[0]) / 2, (distinct[-1] - distinct[-2]) / 2
    edges = [distinct[0] - 2 * half_first, *distinct, distinct[-1] + 2 * half_last]
    rated = []
    for lower, upper in pairwise(edges):
        threshold = (lower + upper) / 2
        far = Fraction(sum(s >= threshold for s, l in zip(scores, labels, strict=True) if l == 0), labels.count(0))
        frr = Fraction(sum(s < threshold for s, l in zip(scores, labels, strict=True) if l == 1), labels.count(1))
        rated.append((abs(far - frr), far + frr, lower, upper))
    best = min(rated)[:2]
    tied = [row for row in rated if row[:2] == best]
    return best[1] / 2, (tied[0][2] + tied[-1][3]) / 2


def test_eer_rule_against_exhaustive_search():
    generator = np.random.default_rng(20)
    ties = 0
    for trial in range(400):
        n, levels = int(generator.integers(3, 30)), int(generator.integers(2, 40))
        labels = [0, 1, *generator.integers(0, 2, n).tolist()]
        scores = [0.0, 1 / 64, *(generator.integers(-levels, levels, n) / 64).tolist()]
        if trial % 4 == 0:  # mirrored samples make full ties likely
            scores, labels = scores + [-s for s in scores], labels + [1 - l for l in labels]
        value, threshold = exhaustive_eer(scores, labels)
        point = eer(scores, labels)
        assert point.value == pytest.approx(float(value), abs=1e-15)
        assert point.threshold == float(threshold)
        ties += threshold in {Fraction(s) for s in scores}
    assert ties > 10  # the rare branch was visited


def assert_claims_hold(scores, labels, points):
    scores, labels = np.asarray(scores), np.asarray(labels)
    for k, threshold in enumerate(points.thresholds):
        assert points.candidate(threshold) == k
        assert (scores[labels == 0] >= threshold).sum() == points.false_accepts[k]
        assert (scores[labels == 1] < threshold).sum() == points.false_rejects[k]


@pytest.mark.parametrize("start", [0.5, 1.0, -1.0, 0.0, 1e-310, 1e16, np.nextafter(1.0, 0.0)])
def test_decisions_are_as_claimed_between_adjacent_floats(start):
    scores = [start]
    for _ in range(5):
        scores.append(float(np.nextafter(scores[-1], np.inf)))
    labels = [0, 1, 0, 0, 1, 1]
    points = curve(scores, labels)
    assert_claims_hold(scores, labels, points)
    # After the second of the two inner attacks: FAR 0, FRR 1/3. Before it: FAR 1/3, FRR 1/3, the EER.
    point = eer(scores, labels)
    assert (point.value, point.threshold) == (1 / 3, scores[3])
    assert (point.lower, point.upper) == (scores[2], scores[3])


def test_interval_of_any_threshold():
    points = curve([0.2, 0.4, 0.8], [0, 0, 1])
    assert points.interval(0.5) == (0.4, 0.8)
    assert points.interval(0.8) == (0.4, 0.8)  # 0.8 still accepts 0.8
    assert points.interval(0.1) == (-np.inf, 0.2)
    assert points.interval(0.9) == (0.8, np.inf)


def test_curve_of_one_class_gives_the_rate_that_exists():
    points = curve([0.2, 0.4], [0, 0])
    assert points.far.tolist() == [1.0, 0.5, 0.0]
    for undefined in (lambda: points.frr, lambda: points.tpr, points.auc, points.eer):
        with pytest.raises(DataError, match="no bona fide"):
            undefined()
    with pytest.raises(DataError, match="no attacks"):
        auc([0.3], [1])


def test_all_problems_are_reported_together():
    with pytest.raises(DataError) as caught:
        auc([0.1, np.nan, np.inf], [0, 2, 1, 1], [1, -1, 1])
    text = str(caught.value)
    assert "scores 3, labels 4, weights 3" in text
    assert "scores: 2 not finite, first at position 1" in text
    assert "labels: 1 neither 1 (bona fide) nor 0 (attack), first at position 1" in text
    assert "weights: 1 negative" in text


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([], [], "no samples"),
        (["0.1"], [1], "instead of numbers"),
        ([None], [1], "instead of numbers"),
        ([[0.1]], [[1]], r"shape \(1, 1\)"),
        ([0.1], ["1"], "labels: <U1 instead of the numbers"),
        ([0.1], [0.5], "neither 1"),
    ],
)
def test_bad_input(scores, labels, message):
    with pytest.raises(DataError, match=message):
        curve(scores, labels)


def test_weights_of_zero_only():
    with pytest.raises(DataError, match="all are 0"):
        curve([0.1, 0.2], [0, 1], [0, 0])
