"""Threshold policies by hand."""

import math

import numpy as np
import pytest

from fasbench.errors import ConfigError, DataError
from fasbench.metrics import POLICIES, eer, threshold
from fasbench.metrics.policies import balanced_weights

# c: attacks 0.1 0.2 0.3 0.4, live 0.35 0.9; s: attack 0.6, live 0.8
SCORES = [0.1, 0.2, 0.3, 0.4, 0.35, 0.9, 0.6, 0.8]
LABELS = [0, 0, 0, 0, 1, 1, 0, 1]
DOMAINS = ["c"] * 6 + ["s"] * 2


def test_table():
    assert list(POLICIES) == [
        "source-eer",
        "source-eer-balanced",
        "source-bpcer@1%",
        "source-fpr@1%",
        "fixed@0.5",
        "test-eer",
    ]
    assert [name for name, policy in POLICIES.items() if policy.oracle] == ["test-eer"]
    assert all(name == policy.name and policy.description for name, policy in POLICIES.items())


def test_pooled_eer():
    # 0.375: FAR 2/5, FRR 1/3, difference 1/15. 0.5: FAR 1/5, FRR 1/3, difference 2/15.
    assert threshold("source-eer", SCORES, LABELS).value == pytest.approx(0.375)
    assert threshold("test-eer", SCORES, LABELS).value == pytest.approx(0.375)


def test_balanced_eer():
    # FAR = (FAR_c + FAR_s) / 2, FRR likewise.
    # 0.375: FAR (1/4 + 1)/2 = 0.625, FRR (1/2 + 0)/2 = 0.25, difference 0.375
    # 0.5:   FAR (0 + 1)/2 = 0.5,     FRR 0.25,               difference 0.25, sum 0.75
    # 0.7:   FAR 0,                   FRR 0.25,               difference 0.25, sum 0.25  <- the smaller sum
    assert threshold("source-eer-balanced", SCORES, LABELS, DOMAINS).value == pytest.approx(0.7)


def test_balanced_weights():
    # c has 4 attacks and 2 live, s one of each: every domain x class sums to 1.
    assert balanced_weights(LABELS, DOMAINS).tolist() == [0.25, 0.25, 0.25, 0.25, 0.5, 0.5, 1, 1]
    # Given weights keep their proportions inside a domain x class; an empty one stays empty.
    assert balanced_weights([0, 0, 1, 1], ["c", "c", "c", "s"], [3, 1, 2, 0]).tolist() == [0.75, 0.25, 1, 0]


def test_balanced_equals_pooled_for_one_domain_and_needs_domains():
    assert threshold("source-eer-balanced", SCORES, LABELS, ["c"] * 8).value == eer(SCORES, LABELS).threshold
    with pytest.raises(DataError, match="needs the domain of every validation sample"):
        threshold("source-eer-balanced", SCORES, LABELS)


def test_one_percent_of_two_hundred():
    scores, labels = [*range(1, 201), 0, 201], [1] * 200 + [0, 0]
    # Two of 200 live samples may be rejected, 1 and 2: the largest candidate is between 2 and 3.
    chosen = threshold("source-bpcer@1%", scores, labels)
    assert (chosen.value, chosen.lower, chosen.upper, chosen.warnings) == (2.5, 2, 3, ())
    # Two of 200 attacks may be accepted, 199 and 200: the lowest candidate is between 198 and 199.
    scores, labels = [*range(1, 201), 0, 201], [0] * 200 + [1, 1]
    chosen = threshold("source-fpr@1%", scores, labels)
    assert (chosen.value, chosen.lower, chosen.upper, chosen.warnings) == (198.5, 198, 199, ())


def test_few_samples_for_one_percent():
    chosen = threshold("source-fpr@1%", [0.5] * 99 + [0.55], [0] * 99 + [1])
    assert chosen.value == pytest.approx(0.525)
    assert chosen.warnings == ("1% of 99 validation attacks is less than one: no error is allowed (100 are needed)",)
    assert threshold("source-fpr@1%", [0.5] * 100 + [0.55], [0] * 100 + [1]).warnings == ()
    chosen = threshold("source-bpcer@1%", [0.5] * 99 + [0.45], [1] * 99 + [0])
    assert "1% of 99 validation bona fide samples is less than one" in chosen.warnings[0]


def test_thresholds_outside_all_scores():
    # The best score is an attack's: only a threshold above it has FPR 0. It lies as far outside as the nearest midpoint
    # is inside: 0.8 + (0.8 - 0.6) / 2.
    chosen = threshold("source-fpr@1%", [0.2, 0.6, 0.8], [0, 1, 0])
    assert chosen.value == pytest.approx(0.9)
    assert math.isinf(chosen.gap)
    assert chosen.warnings[-1] == "the threshold rejects every validation sample, as would any other above 0.8"
    chosen = threshold("source-bpcer@1%", [0.2, 0.6, 0.8], [1, 0, 1])
    assert chosen.value == pytest.approx(0.0)
    assert chosen.warnings[-1] == "the threshold accepts every validation sample, as would any other up to 0.2"


def test_gap_warnings():
    chosen = threshold("source-eer", [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert (chosen.value, chosen.gap) == pytest.approx((0.5, 0.6))
    assert chosen.warnings == (
        "validation is separable: any threshold in (0.2, 0.8] is legal and decides alike there, but not on other data",
    )
    # Two of six decided wrongly, with the same hole in the middle.
    chosen = threshold("source-eer", [0.1, 0.2, 0.85, 0.15, 0.8, 0.9], [0, 0, 0, 1, 1, 1])
    assert "validation leaves a gap: any threshold in (0.2, 0.8]" in chosen.warnings[0]
    assert threshold("source-eer", [0.45, 0.54], [0, 1]).warnings == ()
    # Not probabilities: no unit to call 6 wide.
    assert threshold("source-eer", [-3, -2, 4, 5], [0, 0, 1, 1]).warnings == ()


def test_fixed():
    chosen = threshold("fixed@0.5")
    assert (chosen.value, chosen.gap, chosen.warnings) == (0.5, None, ())


def test_unknown_and_incomplete():
    with pytest.raises(ConfigError, match=r"no threshold policy 'source-eerr'\. Did you mean 'source-eer'\?"):
        threshold("source-eerr")
    with pytest.raises(DataError, match="'source-eer' needs the validation scores"):
        threshold("source-eer")
    with pytest.raises(DataError, match="no attacks"):
        threshold("source-eer", [0.1], [1])
    with pytest.raises(DataError, match="not finite"):
        threshold("source-eer", [np.nan, 0.5], [0, 1])


def test_one_class_serves_the_policies_that_need_only_that():
    assert threshold("source-bpcer@1%", [0.2, 0.4], [1, 1]).upper == 0.2
    assert threshold("source-fpr@1%", [0.2, 0.4], [0, 0]).lower == 0.4
