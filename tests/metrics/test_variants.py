"""The literature's EER and TPR@FPR by hand, and where they leave ours; DET points."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.metrics import roc_curve

from fasbench.errors import ConfigError, DataError
from fasbench.metrics import EER_VARIANTS, TPR_VARIANTS, det, eer, eer_variant, roc, tpr_at_fpr, tpr_variant

# Attacks 0.1 0.2 0.6, live 0.4 0.8 0.9 0.95. Between 0.4 and 0.6: FAR 1/3, FRR 1/4, and nowhere nearer.
SCORES, LABELS = [0.1, 0.2, 0.6, 0.4, 0.8, 0.9, 0.95], [0, 0, 0, 1, 1, 1, 1]


def test_eer_by_hand():
    found = {name: eer_variant(name, SCORES, LABELS) for name in EER_VARIANTS}
    assert found["fasbench"] == found["dadm"] == found["grid"] == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert found["nearest-threshold"] == pytest.approx(1 / 3)  # FPR alone
    # ROC from (0, 3/4) up to (1/3, 3/4): there TPR = 1 - FPR at FPR 1/4.
    assert found["interpolated"] == pytest.approx(1 / 4)


def test_tpr_at_fpr_by_hand():
    # Descending: 0.95 0.9 0.8 live, 0.6 attack (FPR 1/3), 0.4 live, 0.2 and 0.1 attacks. Target 0.25: nearest is 1/3,
    # first reached with TPR 3/4; ours has too few attacks (4 are needed).
    assert tpr_variant("flex-modal", SCORES, LABELS, 0.25) == 3 / 4
    assert tpr_variant("interpolated", SCORES, LABELS, 0.25) == 3 / 4
    with pytest.raises(DataError, match="4 attacks are needed, there are 3"):
        tpr_variant("fasbench", SCORES, LABELS, 0.25)
    # Over the target: 0.9 of an attack is "nearest" to one, and the TPR there is far above the one at FPR 0.
    scores, labels = [0.9, 0.5, 0.4, 0.3], [1, 0, 1, 1]
    assert tpr_variant("flex-modal", scores, labels, 0.6) == 1 / 3
    assert tpr_variant("interpolated", scores, labels, 0.6) == 1 / 3


def test_flex_modal_splits_ties_by_the_order_of_the_rows():
    assert tpr_variant("flex-modal", [0.5, 0.5], [1, 0], 0.4) == 1.0
    assert tpr_variant("flex-modal", [0.5, 0.5], [0, 1], 0.4) == 0.0  # FPR 1 everywhere: the first position


def test_a_grid_is_far_off_where_scores_crowd():
    scores, labels = [1e-6, 2e-6, 3e-6, 4e-6], [0, 0, 1, 1]
    assert eer(scores, labels).value == 0
    assert eer_variant("grid", scores, labels) == 0.5


repeatable = settings(derandomize=True, deadline=None, max_examples=150)


@repeatable
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1)), min_size=2, max_size=40))
def test_against_the_code_that_people_release(rows):
    scores, labels = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    assume(0 < labels.sum() < len(labels))
    fpr, tpr, _ = roc_curve(labels, scores)
    gaps = np.abs(tpr + fpr - 1)
    best = gaps <= gaps.min() + 1e-12  # among equals rounding decides in released code
    for name, values in (("dadm", (fpr[best] + 1 - tpr[best]) / 2), ("nearest-threshold", fpr[best])):
        assert np.abs(values - eer_variant(name, scores, labels)).min() < 1e-12
    released = brentq(lambda x: 1.0 - x - interp1d(fpr, tpr)(x), 0.0, 1.0) if tpr[0] + fpr[0] < 1 else 0.0
    # Where the ROC rises straight up, interp1d may take either end; then TPR = 1 - x has no crossing but the edge.
    assert eer_variant("interpolated", scores, labels) == pytest.approx(released, abs=1e-8)
    assert tpr_variant("interpolated", scores, labels, 0.3) == pytest.approx(np.interp(0.3, *roc(scores, labels)[:2]))


@repeatable
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1)), min_size=2, max_size=40))
def test_variants_are_rates_and_ours_is_ours(rows):
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    assume(0 < labels.sum() < len(labels))
    assert all(0 <= eer_variant(name, scores / 12, labels) <= 1 for name in EER_VARIANTS)
    assert eer_variant("fasbench", scores, labels) == eer(scores, labels).value
    if (labels == 0).sum() >= 3:
        assert all(0 <= tpr_variant(name, scores, labels, 0.4) <= 1 for name in TPR_VARIANTS)
        assert tpr_variant("fasbench", scores, labels, 0.4) == tpr_at_fpr(scores, labels, 0.4).value


def test_requests_are_checked():
    with pytest.raises(ConfigError, match=r"no variant 'dad'\. Did you mean 'dadm'"):
        eer_variant("dad", SCORES, LABELS)
    with pytest.raises(ConfigError, match=r"write 1 % as 0\.01"):
        tpr_variant("flex-modal", SCORES, LABELS, 1)
    with pytest.raises(DataError, match="both classes"):
        eer_variant("dadm", [0.1], [1])
    with pytest.raises(DataError, match="not finite"):
        tpr_variant("flex-modal", [0.1, np.nan], [0, 1], 0.1)


def test_det_points_are_the_probits_of_the_rates():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 200)
    scores = generator.normal(labels, 1).round(1)
    far, frr, thresholds = det(scores, labels)
    assert np.isfinite(far).all() and np.isfinite(frr).all() and (np.diff(thresholds) > 0).all()
    for x, y, t in zip(far, frr, thresholds, strict=True):
        assert norm.cdf(x) == pytest.approx((scores[labels == 0] >= t).mean())
        assert norm.cdf(y) == pytest.approx((scores[labels == 1] < t).mean())
    assert [len(points) for points in det([0.1, 0.9], [0, 1])] == [0, 0, 0]  # separable
