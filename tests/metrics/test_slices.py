"""Slices: their numbers from the definitions, which groups are shown, and which is the worst."""

import numpy as np
import pytest
from made_scores import made_scores

from fasbench.errors import ConfigError, DataError
from fasbench.metrics import POLICIES, Scores, apcer, auc, bpcer, evaluate, hter


def frame(validation, test, replicates=0):
    policies = ["source-eer", "fixed@0.5"]
    return evaluate(validation, test, policies, replicates, policies)["levels"]["frame"]


def test_slices_are_the_metrics_of_their_samples():
    test = made_scores(2, 150, ("k", "l"), groups=True)
    found = frame(made_scores(1, 60), test)
    assert list(found["slices"]) == ["attack", "domain", "attack_fine", "race"]
    at = found["policies"]["source-eer"]["threshold"]
    columns = {"attack": test.attacks, "attack_fine": test.groups["attack_fine"]}
    for name, column in columns.items():
        groups = found["slices"][name]["groups"]
        assert list(groups) == sorted(set(column[test.labels == 0].tolist()))
        for kind, group in groups.items():
            rows = (test.labels == 1) | (column == kind)
            assert group["auc"] == pytest.approx(auc(test.scores[rows], test.labels[rows]), abs=1e-15)
            assert group["policies"]["source-eer"]["apcer"] == apcer(test.scores[rows], test.labels[rows], at)
            assert set(group["policies"]["source-eer"]) == {"hter", "apcer", "undefined", "intervals"}
            assert group["policies"]["source-eer"]["hter"] == pytest.approx(
                (group["policies"]["source-eer"]["apcer"] + found["policies"]["source-eer"]["bpcer"]) / 2, abs=1e-15
            )
            assert group["counts"]["attack"] == (column == kind).sum()
            assert group["counts"]["attack_units"] == len(set(test.units[column == kind]))
            assert group["counts"]["live"] == (test.labels == 1).sum()
    for name, column in {"domain": test.domains, "race": test.groups["race"]}.items():
        for text, group in found["slices"][name]["groups"].items():
            rows = column == text
            of_group = test.scores[rows], test.labels[rows]
            assert group["auc"] == pytest.approx(auc(*of_group), abs=1e-15)
            for metric in (hter, apcer, bpcer):
                assert group["policies"]["source-eer"][metric.__name__] == metric(*of_group, at)
            assert group["counts"]["live_units"] == len(set(test.units[rows & (test.labels == 1)]))


def test_attack_slices_say_what_the_policies_say():
    found = frame(made_scores(1, 60), made_scores(2, 90), replicates=20)
    for policy, numbers in found["policies"].items():
        slices = found["slices"]["attack"]
        for kind, rate in numbers["apcer_per_attack"].items():
            group = slices["groups"][kind]["policies"][policy]
            assert (group["apcer"], group["intervals"]["apcer"]) == (rate["value"], rate["interval"])
        worst = slices["worst"][policy]
        assert (worst["value"], worst["group"]) == (numbers["apcer_max"], numbers["apcer_max_attack"])
        assert worst["left_out"] == numbers["apcer_max_left_out"]
        assert worst["interval"] == numbers["intervals"]["apcer_max"]


def test_families_and_presenters_divide_the_attacks_only():
    # By hand, threshold 0.5: bona fide 0.9 0.4 (BPCER 1/2); flat 0.6 0.2 (APCER 1/2); masks 0.7 (1) on a support.
    groups = {
        "attack_family": ["", "", "flat", "flat", "mask"],
        "presented_by": ["", "", "person", "person", "support"],
    }
    kinds = ["live", "live", "print", "replay", "papermask"]
    test = Scores(
        [0.9, 0.4, 0.6, 0.2, 0.7], [1, 1, 0, 0, 0], list("aabcd"), list("vwxyz"), ["k"] * 5, kinds, groups=groups
    )
    slices = frame(test, test)["slices"]
    assert list(slices) == ["attack", "attack_family", "presented_by"]
    for name, group, rates, won in (
        ("attack_family", "flat", {"apcer": 0.5, "hter": 0.5}, 3 / 4),  # pairs: 0.9 beats both, 0.4 beats 0.2
        ("attack_family", "mask", {"apcer": 1.0, "hter": 0.75}, 1 / 2),
        ("presented_by", "person", {"apcer": 0.5, "hter": 0.5}, 3 / 4),
        ("presented_by", "support", {"apcer": 1.0, "hter": 0.75}, 1 / 2),
    ):
        found = slices[name]["groups"][group]
        assert {metric: found["policies"]["fixed@0.5"][metric] for metric in rates} == rates
        assert found["auc"] == won and found["counts"]["live"] == 2


def test_slices_are_made_for_the_policies_asked_for():
    validation, test = made_scores(1, 60), made_scores(2, 90, ("k", "l"))
    whole = evaluate(validation, test, replicates=20)["levels"]["frame"]
    for slices in whole["slices"].values():
        assert list(slices["worst"]) == ["source-eer", "test-eer"]
        assert all(list(group["policies"]) == ["source-eer", "test-eer"] for group in slices["groups"].values())
    every = evaluate(validation, test, replicates=20, slice_policies=tuple(POLICIES))["levels"]["frame"]
    assert {name: its for name, its in every.items() if name != "slices"} == {
        name: its for name, its in whole.items() if name != "slices"
    }
    group = every["slices"]["domain"]["groups"]["k"]["policies"]
    assert list(group) == list(POLICIES)
    assert group["test-eer"] == whole["slices"]["domain"]["groups"]["k"]["policies"]["test-eer"]
    assert list(evaluate(validation, test, ["fixed@0.5"], 0)["levels"]["frame"]["slices"]["attack"]["worst"]) == []
    with pytest.raises(ConfigError, match="slices by policy 'test-eer', which is not evaluated"):
        evaluate(validation, test, ["fixed@0.5"], 0, ["test-eer"])


def people(sizes: dict[str, int]) -> Scores:
    """So many people of each group, with one live sample and one attack each."""
    groups = [name for name, size in sizes.items() for _ in range(2 * size)]
    labels = np.tile([1, 0], sum(sizes.values()))
    units = np.repeat(np.arange(sum(sizes.values())), 2)
    scores = np.random.default_rng(0).random(len(labels))
    kinds = np.where(labels == 1, "live", "print")
    extra = {"race": groups, "presenter": groups}
    return Scores(scores, labels, units, np.arange(len(labels)), ["k"] * len(labels), kinds, groups=extra)


def test_race_is_shown_for_twenty_people_or_more():
    slices = frame(made_scores(1, 60), people({"A": 30, "B": 20, "": 5}), replicates=10)["slices"]
    assert list(slices["race"]["groups"]) == ["A", "B"] and slices["race"]["suppressed"] == {}
    assert "domain" not in slices  # there is one


def test_a_small_race_takes_the_next_one_with_it_so_that_no_difference_gives_it_away():
    slices = frame(made_scores(1, 60), people({"A": 30, "B": 25, "C": 19}), replicates=10)["slices"]
    assert list(slices["race"]["groups"]) == ["A"]
    assert slices["race"]["suppressed"] == {
        "B": "not shown: the numbers of a smaller group would follow by difference",
        "C": "not shown: fewer than 20 people",
    }
    assert slices["race"]["worst"]["source-eer"]["group"] == "A"
    # 12 + 19 people cannot be told apart by difference, so no further group has to go.
    slices = frame(made_scores(1, 60), people({"A": 30, "B": 12, "C": 19}))["slices"]
    assert list(slices["race"]["suppressed"]) == ["B", "C"]
    assert list(slices["presenter"]["groups"]) == ["A", "B", "C"]
    nobody = frame(made_scores(1, 60), people({"A": 3}), replicates=10)["slices"]["race"]
    assert nobody["groups"] == {} and nobody["worst"]["source-eer"]["value"] is None


def test_the_worst_group_needs_twenty_units_of_each_class():
    found = frame(made_scores(1, 60), people({"A": 30, "B": 12, "C": 25}), replicates=50)["slices"]["presenter"]
    worst, groups = found["worst"]["source-eer"], found["groups"]
    values = {name: group["policies"]["source-eer"]["hter"] for name, group in groups.items() if name != "B"}
    assert (worst["group"], worst["value"]) == (max(values, key=values.get), max(values.values()))
    assert (worst["metric"], worst["left_out"], worst["reason"]) == ("hter", ["B"], None)
    assert worst["interval"]["high"] >= groups[worst["group"]]["policies"]["source-eer"]["intervals"]["hter"]["high"]


def test_a_group_without_a_class_has_reasons():
    labels = np.array([1, 1, 0, 0, 1])
    test = Scores(
        [0.9, 0.2, 0.4, 0.6, 0.7],
        labels,
        list("abcde"),
        list("vwxyz"),
        ["k"] * 5,
        np.where(labels == 1, "live", "print"),
        groups={"session": ["1", "1", "2", "2", ""]},
    )
    groups = frame(made_scores(1, 60), test, replicates=10)["slices"]["session"]["groups"]
    first, second = (groups[name]["policies"]["fixed@0.5"] for name in "12")
    assert (first["bpcer"], first["apcer"], first["hter"]) == (0.5, None, None)
    assert (second["bpcer"], second["apcer"]) == (None, 0.5)
    assert groups["1"]["undefined"] == {"auc": "undefined: there are no attacks"}
    assert second["undefined"]["hter"] == "undefined: there are no bona fide samples"


def test_a_race_is_hidden_for_the_class_that_has_few_people():
    """Three persons and twenty masks of one race: a BPCER of it would be about three people."""
    scores = people({"A": 30, "B": 20})
    kept = np.ones(len(scores.scores), bool)
    live_of_b = np.flatnonzero((scores.groups["race"] == "B") & (scores.labels == 1))
    kept[live_of_b[3:]] = False
    columns = {
        name: getattr(scores, name)[kept] for name in ("scores", "labels", "units", "videos", "domains", "attacks")
    }
    part = Scores(**columns, groups={"race": scores.groups["race"][kept]})
    race = frame(made_scores(1, 60), part, replicates=10)["slices"]["race"]
    assert race["suppressed"]["B"] == "not shown: fewer than 20 people" and race["groups"] == {}


@pytest.mark.parametrize("name", ["attack", "domain"])
def test_a_group_may_not_take_the_name_of_a_slicing(name):
    with pytest.raises(DataError, match=f"groups: '{name}' is taken, give it another name"):
        Scores([0.1, 0.9], [0, 1], ["a", "b"], ["v", "w"], ["k"] * 2, ["print", "live"], groups={name: ["x", "y"]})


def test_the_worst_type_rests_on_its_own_units():
    test = made_scores(1, 60)
    policy = frame(made_scores(2, 60), test, replicates=20)["policies"]["source-eer"]
    worst = policy["apcer_max_attack"]
    assert worst is not None
    found, own = policy["intervals"]["apcer_max"], policy["apcer_per_attack"][worst]["interval"]
    assert (
        (found["unreliable"] is None)
        or "test attack" in found["unreliable"]
        or "units with errors" in found["unreliable"]
    )
    assert (found["unreliable"] is None) == (own["unreliable"] is None)
