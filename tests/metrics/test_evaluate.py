"""evaluate(): one small case by hand, and the cases where numbers are undefined."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from made_scores import made_scores

from fasbench.errors import ConfigError
from fasbench.metrics import METRICS_VERSION, POLICIES, Scores, evaluate, evaluate_with_replicates, interval


def part(rows):
    """Scores from rows `video: (scores of its frames, attack type)`; the unit is the video."""
    frames = [(score, kind, video) for video, (scores, kind) in rows.items() for score in scores]
    scores, attacks, videos = (list(column) for column in zip(*frames, strict=True))
    labels = [int(kind == "live") for kind in attacks]
    return Scores(scores, labels, videos, videos, ["k"] * len(scores), attacks)


VALIDATION = part({"a": ([0.1, 0.3], "print"), "b": ([0.38, 0.82], "live"), "c": ([0.9], "live")})
TEST = part(
    {
        "p": ([0.2, 0.3], "print"),
        "q": ([0.7, 0.15], "mask"),
        "r": ([0.6, 0.9], "live"),
        "s": ([0.32, 0.1], "live"),
    }
)


def test_by_hand():
    result = evaluate(VALIDATION, TEST, replicates=0)
    assert result["metrics_version"] == METRICS_VERSION == 2
    assert list(result["levels"]) == ["frame", "video"]

    frame = result["levels"]["frame"]
    assert (frame["counts"]["samples"], frame["counts"]["live"], frame["counts"]["attack"]) == (8, 4, 4)
    # Attacks 0.15 0.2 0.3 0.7, live 0.1 0.32 0.6 0.9. Pairs won: 0.1 none; 0.32 three; 0.6 three; 0.9 four.
    assert frame["auc"] == 10 / 16
    # (FAR, FRR): 0.175 (3/4, 1/4), 0.25 (1/2, 1/4), 0.31 (1/4, 1/4): EER 1/4.
    assert frame["eer"] == 1 / 4
    # Validation frames 0.1 0.3 | 0.38 0.82 0.9: separable, threshold 0.34, gap 0.08 (not over 0.1: no warning).
    source = frame["policies"]["source-eer"]
    assert (source["threshold"], source["gap"]) == pytest.approx((0.34, 0.08))
    assert source["warnings"] == []
    # At 0.34 the attack 0.7 passes (1/4); live 0.1 and 0.32 are rejected (2/4).
    assert (source["apcer"], source["bpcer"], source["hter"], source["acer"]) == (1 / 4, 1 / 2, 3 / 8, 3 / 8)
    assert source["apcer_per_attack"] == {
        "mask": {"value": 1 / 2, "n": 2, "units": 1, "interval": None},
        "print": {"value": 0.0, "n": 2, "units": 1, "interval": None},
    }
    assert (source["apcer_max"], source["acer_max"]) == (None, None)
    assert source["undefined"]["acer_max"] == "undefined: no attack type has 20 units (mask: 1, print: 1)"
    assert source["apcer_max_left_out"] == ["mask", "print"]
    # At 0.5: attack 0.7 (1/4), live 0.1 and 0.32 (2/4).
    assert frame["policies"]["fixed@0.5"]["hter"] == 3 / 8
    assert frame["policies"]["fixed@0.5"]["undefined"]["gap"] == "undefined: a fixed threshold has no gap"
    # The oracle: threshold 0.31, FAR 1/4, FRR 1/4.
    oracle = frame["policies"]["test-eer"]
    assert (oracle["threshold"], oracle["hter"], oracle["oracle"]) == (pytest.approx(0.31), 1 / 4, True)
    assert frame["validation"]["auc"] == 1.0
    assert frame["validation"]["eer"] == 0.0

    video = result["levels"]["video"]
    # Means: p 0.25, q 0.425 (attacks); r 0.75, s 0.21 (live). Pairs won: r two, s none: 2/4.
    assert (video["counts"]["samples"], video["auc"]) == (4, 0.5)
    # Validation means: a 0.2 | b 0.6, c 0.9: threshold 0.4, gap 0.4. It accepts q (1/2) and rejects s (1/2).
    source = video["policies"]["source-eer"]
    assert (source["threshold"], source["gap"]) == pytest.approx((0.4, 0.4))
    assert (source["apcer"], source["bpcer"], source["hter"]) == (1 / 2, 1 / 2, 1 / 2)
    assert "validation is separable" in source["warnings"][0]


def everything(value):
    yield value
    if isinstance(value, dict):
        for key, inner in value.items():
            assert type(key) is str
            yield from everything(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from everything(inner)


def test_result_is_plain_json():
    result = evaluate(VALIDATION, TEST)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert {type(value) for value in everything(result)} <= {dict, list, str, int, float, bool, type(None)}


@pytest.mark.parametrize("level", ["frame", "video"])
def test_every_none_has_a_reason(level):
    one_class = [part({"a": ([0.2, 0.4], "print")}), part({"a": ([0.2, 0.4], "live")}), part({"a": ([0.2], "live")})]
    for validation in [VALIDATION, *one_class]:
        for test in [TEST, *one_class]:
            found = evaluate(validation, test, replicates=5)["levels"][level]
            for block in (found, found["validation"], *found["policies"].values()):
                missing = {name for name, value in block.items() if value is None and name != "apcer_max_attack"}
                assert missing == set(block["undefined"])
            for rate in (*found["tpr_at_fpr"].values(), *found["bpcer_at_apcer"].values()):
                assert (rate["value"] is None) == (rate["reason"] is not None) == (rate["interval"] is None)
            groups = [group for slices in found["slices"].values() for group in slices["groups"].values()]
            for block in (*groups, *(numbers for group in groups for numbers in group["policies"].values())):
                missing = {name for name, value in block.items() if value is None}
                assert missing == set(block["undefined"]) and not missing & set(block["intervals"])
            for block in (found, *found["policies"].values()):
                assert not set(block["intervals"]) & set(block["undefined"])
            for slices in found["slices"].values():
                assert all((w["value"] is None) == (w["reason"] is not None) for w in slices["worst"].values())


def test_one_class_in_test():
    attacks_only = evaluate(VALIDATION, part({"a": ([0.2, 0.6], "print")}))["levels"]["frame"]
    source = attacks_only["policies"]["source-eer"]
    assert (attacks_only["auc"], attacks_only["eer"], source["hter"], source["bpcer"]) == (None, None, None, None)
    assert source["apcer"] == 1 / 2  # 0.6 passes the threshold 0.34
    assert source["undefined"]["hter"] == "undefined: there are no bona fide samples"
    assert attacks_only["policies"]["test-eer"]["threshold"] is None

    live_only = evaluate(VALIDATION, part({"a": ([0.2, 0.6, 0.7], "live")}))["levels"]["frame"]
    source = live_only["policies"]["source-eer"]
    assert (source["apcer"], source["bpcer"], source["apcer_per_attack"]) == (None, 1 / 3, {})
    assert source["undefined"]["apcer_max"] == "undefined: no attack type has 20 units (there are no attacks)"
    assert live_only["tpr_at_fpr"]["10%"]["reason"] == "undefined: 10 attacks are needed, there are 0"


def test_one_class_in_validation():
    policies = evaluate(part({"a": ([0.2], "live")}), TEST)["levels"]["frame"]["policies"]
    assert policies["source-eer"]["hter"] is None
    assert policies["source-eer"]["undefined"]["hter"] == (
        "validation: undefined: both classes are needed, there are no attacks"
    )
    assert policies["source-bpcer@1%"]["hter"] is not None
    assert policies["fixed@0.5"]["hter"] is not None
    assert policies["test-eer"]["hter"] is not None


def test_single_sample_everywhere():
    single = part({"a": ([0.5], "live")})
    frame = evaluate(single, single)["levels"]["frame"]
    assert frame["policies"]["fixed@0.5"]["bpcer"] == 0.0  # 0.5 >= 0.5
    assert frame["counts"]["samples"] == 1


def test_constant_scores_are_legal_at_both_levels():
    constant = part({"a": ([0.1] * 3, "print"), "b": ([0.1], "live"), "c": ([0.1] * 7, "live")})
    for level in evaluate(constant, constant)["levels"].values():
        assert (level["auc"], level["eer"]) == (0.5, 0.5)
        assert level["policies"]["source-eer"]["threshold"] == 0.1
        assert level["warnings"] == ["all validation scores are equal: the method separates nothing"]


def test_inverted_scores_are_pointed_out():
    inverted = part({"a": ([0.9, 0.7], "print"), "b": ([0.1, 0.8], "live")})
    warnings = evaluate(inverted, TEST)["levels"]["frame"]["warnings"]
    assert warnings == ["validation AUC is 0.250: scores look inverted (higher must mean more live)"]
    assert evaluate(VALIDATION, TEST)["levels"]["frame"]["warnings"] == []


def test_worst_attack_with_enough_units():
    rows = {f"p{i}": ([0.6 if i < 5 else 0.1], "print") for i in range(20)}
    rows |= {f"m{i}": ([0.6], "mask") for i in range(19)} | {
        f"l{i}": ([0.2 if i < 2 else 0.9], "live") for i in range(10)
    }
    source = evaluate(VALIDATION, part(rows))["levels"]["frame"]["policies"]["source-eer"]
    # print 5/20 over 20 units; mask 19/19 has 19 units and is left out. BPCER 2/10.
    assert (source["apcer_max"], source["apcer_max_attack"], source["apcer_max_left_out"]) == (0.25, "print", ["mask"])
    assert source["acer_max"] == pytest.approx((0.25 + 0.2) / 2)
    assert source["apcer"] == 24 / 39


def test_row_order_does_not_matter():
    generator = np.random.default_rng(3)
    labels = np.repeat(generator.integers(0, 2, 40), 3)
    columns = {
        "scores": generator.random(120).round(2),
        "labels": labels,
        "units": np.repeat(np.arange(40) % 9, 3),
        "videos": np.repeat(np.arange(40), 3),
        "domains": np.repeat(np.where(np.arange(40) % 2, "c", "s"), 3),
        "attacks": np.where(labels == 1, "live", "print"),
    }
    order = generator.permutation(120)
    shuffled = Scores(**{name: column[order] for name, column in columns.items()})
    plain = Scores(**columns)
    assert evaluate(shuffled, shuffled, replicates=50) == evaluate(plain, plain, replicates=50)


def test_bpcer_at_apcer_by_hand():
    # 20 attacks: 0.05 ... 1.00; live 0.5, 0.92, 0.96, 0.99. APCER 10 %: two may pass, 0.95 and 1.00; the threshold lies
    # above 0.90, and 0.5 is rejected (1/4). 5 %: one may pass, 1.00; above 0.95, so 0.5 and 0.92 (2/4). 1 %: n/a.
    rows = {f"a{i}": ([i / 20], "print") for i in range(1, 21)}
    rows |= {f"l{i}": ([score], "live") for i, score in enumerate((0.5, 0.92, 0.96, 0.99))}
    found = evaluate(VALIDATION, part(rows), replicates=20)["levels"]["frame"]
    rates = found["bpcer_at_apcer"]
    assert (rates["10%"]["value"], rates["5%"]["value"], rates["1%"]["value"]) == (0.25, 0.5, None)
    assert rates["1%"]["reason"] == "undefined: 100 attacks are needed, there are 20"
    assert (
        rates["1%"]["interval"] is None and rates["10%"]["interval"]["low"] <= 0.25 <= rates["10%"]["interval"]["high"]
    )


def test_intervals_stand_beside_their_numbers():
    validation, test = made_scores(1, 90, ("l", "m")), made_scores(2, 90, ("k",))
    metrics, found = evaluate_with_replicates(validation, test, replicates=100)
    assert metrics["bootstrap"] == {"replicates": 100, "confidence": 0.95}
    for level in ("frame", "video"):
        block = metrics["levels"][level]
        assert set(block["intervals"]) == {"auc", "eer"}
        assert block["intervals"]["auc"] == asdict(interval(found.arrays[level, "auc"]))
        source = block["policies"]["source-eer"]
        names = {"threshold", "hter", "acer", "apcer", "bpcer", "apcer_max", "acer_max"}
        assert set(source["intervals"]) == names
        for name in names:
            assert source["intervals"][name]["low"] <= source[name] <= source["intervals"][name]["high"]
            assert source["intervals"][name]["unreliable"] is None
        assert source["apcer_per_attack"]["mask"]["interval"]["low"] < source["apcer_per_attack"]["mask"]["value"]
        assert block["policies"]["fixed@0.5"]["intervals"]["threshold"]["low"] == 0.5
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert evaluate(validation, test, replicates=0)["levels"]["frame"]["intervals"] == {}


def test_few_effective_units_are_unreliable_with_the_reason():
    few = evaluate(VALIDATION, TEST, replicates=10)["levels"]["frame"]
    assert few["intervals"]["auc"]["unreliable"] == "fewer than 20 effective units: test live 2.0, test attack 2.0"
    source = few["policies"]["source-eer"]["intervals"]
    # live validation: units of 2 and 1 frames, 9 / 5
    assert source["bpcer"]["unreliable"] == (
        "fewer than 20 effective units: test live 2.0, validation live 1.8, validation attack 1.0"
    )
    assert source["threshold"]["unreliable"].endswith("units: validation live 1.8, validation attack 1.0")
    assert few["policies"]["fixed@0.5"]["intervals"]["apcer"]["unreliable"].endswith("units: test attack 2.0")
    many = evaluate(made_scores(1, 90), made_scores(2, 90), replicates=10)["levels"]["frame"]
    assert many["intervals"]["auc"]["unreliable"] is None
    oracle = few["policies"]["test-eer"]["intervals"]["bpcer"]["unreliable"]  # its threshold rests on both classes
    assert "validation" not in oracle and "test live" in oracle


def test_policies_can_be_chosen():
    frame = evaluate(VALIDATION, TEST, ["source-eer"])["levels"]["frame"]
    assert list(frame["policies"]) == ["source-eer"]
    assert list(evaluate(VALIDATION, TEST, replicates=0)["levels"]["frame"]["policies"]) == list(POLICIES)
    with pytest.raises(ConfigError, match="Did you mean 'test-eer'"):
        evaluate(VALIDATION, TEST, ["test-eeer"])
