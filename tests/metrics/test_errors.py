"""Error rates by hand: APCER, BPCER, HTER, ACER, the worst attack, rates at a target."""

import pytest

from fasbench.errors import ConfigError, DataError
from fasbench.metrics import acer, acer_max, apcer, apcer_max, bpcer, bpcer_at_apcer, hter, tpr_at_fpr

# Threshold 0.5. print: 0.1, 0.2, 0.5*, 0.9*  -> 2/4   (* accepted: 0.5 counts, score >= threshold)
#                mask:  0.4, 0.7*              -> 1/2
#                live:  0.3 rejected, 0.5, 0.6, 0.8, 0.95 -> 1/5
SCORES = [0.1, 0.2, 0.5, 0.9, 0.4, 0.7, 0.3, 0.5, 0.6, 0.8, 0.95]
LABELS = [0] * 6 + [1] * 5
ATTACKS = ["print"] * 4 + ["mask"] * 2 + ["live"] * 5
UNITS = ["a", "b", "c", "c", "d", "e", "a", "b", "c", "d", "e"]


def test_rates_by_hand():
    assert apcer(SCORES, LABELS, 0.5) == 3 / 6
    assert apcer(SCORES, LABELS, 0.5, ATTACKS) == {"mask": 1 / 2, "print": 2 / 4}
    assert bpcer(SCORES, LABELS, 0.5) == 1 / 5
    # (3/6 + 1/5) / 2 = (0.5 + 0.2) / 2 = 0.35
    assert hter(SCORES, LABELS, 0.5) == acer(SCORES, LABELS, 0.5) == 0.35


def test_worst_attack_by_hand():
    # At 0.6: print 1/4 (0.9), mask 1/2 (0.7), BPCER 2/5 (0.3, 0.5). print has 3 units (a, b, c), mask 2 (d, e).
    worst = apcer_max(SCORES, LABELS, 0.6, ATTACKS, UNITS, minimum_units=2)
    assert (worst.value, worst.attack, worst.left_out) == (1 / 2, "mask", ())
    assert acer_max(SCORES, LABELS, 0.6, ATTACKS, UNITS, minimum_units=2) == pytest.approx((1 / 2 + 2 / 5) / 2)
    worst = apcer_max(SCORES, LABELS, 0.6, ATTACKS, UNITS, minimum_units=3)
    assert (worst.value, worst.attack, worst.left_out) == (1 / 4, "print", ("mask",))


def test_worst_attack_needs_twenty_units():
    def of(count):
        return apcer_max([0.9] * count, [0] * count, 0.5, ["print"] * count, list(range(count)))

    assert of(20).value == 1.0
    few = of(19)
    assert (few.value, few.attack, few.left_out) == (None, None, ("print",))
    assert few.reason == "undefined: no attack type has 20 units (print: 19)"
    assert acer_max(SCORES, LABELS, 0.5, ATTACKS, UNITS) is None


def test_one_class_is_undefined_not_nan():
    with pytest.raises(DataError, match="no attacks"):
        apcer([0.5], [1], 0.5)
    with pytest.raises(DataError, match="no attacks"):
        apcer([0.5], [1], 0.5, ["live"])
    with pytest.raises(DataError, match="no bona fide"):
        bpcer([0.5], [0], 0.5)
    with pytest.raises(DataError, match="no bona fide"):
        hter([0.5], [0], 0.5)
    assert apcer([0.5], [0], 0.5) == 1.0
    assert bpcer([0.5], [1], 0.5) == 0.0


def test_threshold_and_columns_are_checked():
    with pytest.raises(DataError, match="threshold is not a number"):
        bpcer([0.5], [1], float("nan"))
    with pytest.raises(DataError, match="attacks 1"):
        apcer([0.5, 0.6], [0, 0], 0.5, ["print"])


class TestTprAtFpr:
    def test_by_hand(self):
        # 10 attacks: 0.0, 0.1, ..., 0.9. FPR <= 20 % lets 0.9 and 0.8 pass: the threshold is in (0.7, 0.8].
        # Of live 0.65, 0.72, 0.75, 0.85 the lowest threshold above 0.7 accepts three: TPR = 3/4.
        scores, labels = [i / 10 for i in range(10)] + [0.65, 0.72, 0.75, 0.85], [0] * 10 + [1] * 4
        found = tpr_at_fpr(scores, labels, 0.2)
        assert (found.value, found.attacks, found.needed, found.coarse) == (3 / 4, 10, 5, True)
        assert bpcer_at_apcer(scores, labels, 0.2).value == 1 / 4

    def test_tied_attacks_are_not_split(self):
        # One of 10 attacks may pass, but the two best tie at 0.9: none may, so live 0.9 is rejected too. TPR = 1/2.
        found = tpr_at_fpr([0.1] * 8 + [0.9, 0.9, 0.9, 0.95], [0] * 10 + [1, 1], 0.1)
        assert found.value == 1 / 2

    def test_no_interpolation(self):
        # FPR 15 % lies between 1/10 (TPR 1/2) and 2/10 (TPR 1): the value at 1/10 counts.
        scores, labels = [0.1] * 8 + [0.5, 0.9] + [0.4, 0.6], [0] * 10 + [1, 1]
        assert tpr_at_fpr(scores, labels, 0.15).value == 1 / 2

    @pytest.mark.parametrize(
        ("attacks", "target", "defined", "coarse"),
        [
            (99, 0.01, False, True),
            (100, 0.01, True, True),  # exactly one attack may pass
            (999, 0.01, True, True),
            (1000, 0.01, True, False),  # exactly ten
            (9, 0.1, False, True),
            (10, 0.1, True, True),
            (99, 0.1, True, True),
            (100, 0.1, True, False),
            (999, 0.001, False, True),
            (1000, 0.001, True, True),
            (0, 0.1, False, True),
        ],
    )
    def test_when_it_is_undefined_or_coarse(self, attacks, target, defined, coarse):
        found = tpr_at_fpr([0.1] * attacks + [0.9], [0] * attacks + [1], target)
        assert (found.value is not None, found.coarse) == (defined, coarse)
        assert found.needed == {0.01: 100, 0.1: 10, 0.001: 1000}[target]
        if not defined:
            assert found.reason == f"undefined: {found.needed} attacks are needed, there are {attacks}"

    @pytest.mark.parametrize("target", [0.29, 0.07, 0.57, 0.1, 0.001])
    def test_decimal_targets_do_not_round_down(self, target):
        # 0.29 * 100 = 28.999999999999996 in floating point, but 29 of 100 attacks may pass. Attacks 1 ... N; the live
        # sample shares the score of the last attack that may pass.
        attacks = 1000
        may_pass = round(target * attacks)
        live = attacks - may_pass + 1
        scores, labels = [*range(1, attacks + 1), live], [0] * attacks + [1]
        assert tpr_at_fpr(scores, labels, target).value == 1.0
        assert tpr_at_fpr([*range(1, attacks + 1), live - 1], labels, target).value == 0.0

    def test_one_attack_may_pass_despite_rounding(self):
        assert 1 / 49 * 49 < 1  # in floating point
        found = tpr_at_fpr([0.1] * 49 + [0.9], [0] * 49 + [1], 1 / 49)
        assert (found.value, found.needed) == (1.0, 49)

    def test_without_live_samples(self):
        assert tpr_at_fpr([0.1] * 10, [0] * 10, 0.1).reason == "undefined: there are no bona fide samples"

    @pytest.mark.parametrize("target", [0, 1, 1.5, -0.1])
    def test_target_is_a_share(self, target):
        with pytest.raises(ConfigError, match="not between 0 and 1"):
            tpr_at_fpr([0.1, 0.9], [0, 1], target)
