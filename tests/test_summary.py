"""The table: means over seeds and splits computed by hand, and a legend that says what the numbers are."""

from __future__ import annotations

import numpy as np
import pytest

from fasbench import summary
from fasbench.metrics import Bootstrap
from fasbench.protocol import Headline
from fasbench.replicates import pack
from fasbench.results import Result
from fasbench.scorefile import ScoreMeta


def result(split: str, seed: int, hter: float, condition: str = "full", tpr: float | None = 0.5, **fields) -> Result:
    """A result with HTER as given; only what a table reads is filled in."""
    rates = {"hter": hter, "apcer": hter, "bpcer": hter, "warnings": [], "threshold": 0.25, "gap": None}
    rates["apcer_per_attack"] = {"print": {"value": 0.5}, "replay": {"value": 0.0}}
    level = {
        "counts": {"live": 10, "attack": 40},
        "auc": 1 - hter,
        "tpr_at_fpr": {"1%": {"value": tpr, "coarse": True, "reason": None if tpr else "40 attacks, 100 needed"}},
        "policies": {name: dict(rates) for name in ("source-eer", "source-bpcer@1%", "fixed@0.5", "test-eer")},
        "validation": {"eer": 0.125},
        "warnings": [],
    }
    meta = ScoreMeta(
        method="erm",
        protocol="test/tiny",
        version=1,
        split=split,
        condition=condition,
        seed=seed,
        selection="last",
        epoch=3,
    )
    levels = {"metrics_version": 2, "bootstrap": {"replicates": 3}, "levels": {"frame": level, "video": level}}
    values = {"evaluation": meta, "metrics": levels}
    defaults = {"synthetic": True, "preset": "tiny", "fidelity": "intended", "tied_epochs": 1, "headline": Headline()}
    return Result.model_construct(**values, **(defaults | fields))


def texts(results: list[Result]) -> list[list[str]]:
    return [summary.row_texts(row) for row in summary.table(results, "last", "frame")]


def test_one_seed_is_shown_in_percent_with_counts_and_epoch():
    (row,) = texts([result("a", 0, 0.125)])
    assert row == ["a", "full", "12.50", "12.50", "12.50", "87.50", "50.00", "12.50", "12.50", "10/40", "3"]


def test_seeds_give_mean_and_sample_deviation():
    (row,) = texts([result("a", 0, 0.10), result("a", 1, 0.14)])
    assert row[2] == "12.00 ± 2.83"  # sqrt(((10-12)^2 + (14-12)^2) / (2-1)) = 2.828


def test_the_mean_over_splits_is_taken_seed_by_seed():
    results = [result("a", 0, 0.10), result("a", 1, 0.20), result("b", 0, 0.30), result("b", 1, 0.20)]
    mean = texts(results)[-1]
    assert mean[:2] == ["mean of 2", "full"]
    assert mean[2] == "20.00 ± 0.00"  # seed 0: (10 + 30) / 2, seed 1: (20 + 20) / 2


def test_conditions_are_averaged_apart_and_a_single_split_has_no_mean():
    results = [result("a", 0, 0.1), result("b", 0, 0.3), result("a", 0, 0.5, condition="no-ir")]
    assert [row[:3] for row in texts(results)][-1] == ["mean of 2", "full", "20.00"]
    assert sum(row[0].startswith("mean") for row in texts(results)) == 1


def test_what_cannot_be_measured_is_na_with_the_reason_and_spoils_the_mean():
    results = [result("a", 0, 0.1, tpr=None), result("b", 0, 0.3)]
    assert [row[6] for row in texts(results)] == ["n/a", "50.00", "n/a"]
    assert "n/a: TPR@1%, frame level, a: 40 attacks, 100 needed." in summary.legend(results, ("frame",))


def with_replicates(split: str, seed: int, values: list[float], unreliable: str | None = None, **fields) -> Result:
    """A result whose replicates of HTER are given, on both levels; those of AUC are 1 minus them."""
    hter = np.array(values)
    arrays = {("policies", "source-eer", "hter"): hter, ("auc",): 1 - hter}
    drawn = Bootstrap(len(values), {(lv, *path): v for lv in ("frame", "video") for path, v in arrays.items()})
    made = result(split, seed, hter.mean(), replicates=pack(drawn, "source-eer"), **fields)
    for level in made.metrics["levels"].values():
        level["intervals"] = {"auc": {"unreliable": None}}
        level["policies"]["source-eer"]["intervals"] = {"hter": {"unreliable": unreliable}}
    return made


def test_the_report_shows_intervals_of_hter_and_auc():
    # Replicates 10, 20, 30 %: percentiles 2.5 and 97.5 lie 5 % of a step inside the ends.
    report = summary.markdown([with_replicates("a", 0, [0.1, 0.2, 0.3])])
    assert "| a | full | 20.00 [10.50, 29.50] | 20.00 | 20.00 | 80.00 [70.50, 89.50] |" in report
    assert "95 % percentile bootstrap, 3 replicates" in report and "†" not in report
    assert "[" not in texts([with_replicates("a", 0, [0.1, 0.2, 0.3])])[0][2]  # not in the terminal's table


def test_the_interval_of_a_mean_is_that_of_the_means_of_each_draw():
    # Seeds of a: means 0.2, 0.2, 0.2. With b, draw by draw: (0.2 + 0.1) / 2, (0.2 + 0.2) / 2, (0.2 + 0.3) / 2.
    results = [
        with_replicates("a", 0, [0.1, 0.2, 0.3]),
        with_replicates("a", 1, [0.3, 0.2, 0.1]),
        with_replicates("b", 0, [0.1, 0.2, 0.3]),
        with_replicates("b", 1, [0.1, 0.2, 0.3]),
    ]
    first, _, mean = summary.table(results, "last", "frame")
    assert (first.intervals[0].low, first.intervals[0].high) == pytest.approx((0.2, 0.2))
    assert (mean.intervals[0].low, mean.intervals[0].high) == pytest.approx((0.1525, 0.2475))
    # Seed 2 of b has no partner: the mean is of the other two.
    more = [*results, with_replicates("b", 2, [0.9, 0.9, 0.9])]
    assert summary.table(more, "last", "frame")[-1].intervals[0] == mean.intervals[0]
    # One result without replicates: no interval of the mean.
    assert summary.table([*results[:3], result("b", 1, 0.2)], "last", "frame")[-1].intervals[0] is None


def test_unreliable_intervals_are_marked_with_the_reason():
    few = with_replicates("a", 0, [0.1, 0.2, 0.3], unreliable="fewer than 20 effective units: test live 8.0")
    report = summary.markdown([few, with_replicates("b", 0, [0.1, 0.2, 0.3])])
    assert "20.00 [10.50, 29.50]† |" in report
    marked = [line for line in report.splitlines() if line.startswith("| mean of 2")]
    assert all("]† |" in line for line in marked)
    assert "- † a frame HTER, a video HTER: fewer than 20 effective units: test live 8.0." in report
    assert "| b | full | 20.00 [10.50, 29.50] |" in report


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "SYNTHETIC DATA"),
        ({"fidelity": "reconstruction"}, "erm (reconstruction)"),
    ],
)
def test_the_title_carries_the_marks(fields, text):
    assert text in summary.title([result("a", 0, 0.1, **fields)], "last", "frame")


def test_the_protocol_s_policy_is_the_one_shown_and_explained():
    results = [result("a", 0, 0.1, headline=Headline(policy="source-bpcer@1%"))]
    legend = "\n".join(summary.legend(results, ("frame",)))
    assert "at the source-bpcer@1% threshold" in legend and "source-eer" not in legend


def test_the_report_holds_both_levels_and_the_legend():
    report = summary.markdown([result("a", 0, 0.1)])
    assert "## Selection last, frame level" in report and "## Selection last, video level" in report
    assert "TPR@1% is coarse for a: 1 % of the attacks are fewer than 10." in report
    assert "| a | full | 0 | last | 0.25 | n/a | 12.5 | print 50.0, replay 0.0 |" in report


def test_rendered_splits_are_marked_wherever_they_stand():
    mixed = [result("real", 0, 0.1, synthetic=False), result("rendered", 0, 0.2)]
    assert summary.title(mixed, "last", "frame").endswith("PARTLY SYNTHETIC DATA")
    assert "The data of rendered and of every mean over splits are rendered" in "\n".join(
        summary.legend(mixed, ("frame",))
    )
    real = [result("real", 0, 0.1, synthetic=False)]
    assert "SYNTHETIC" not in summary.title(real, "last", "frame")


def test_unequal_seeds_are_said():
    results = [result("a", 0, 0.1), result("a", 1, 0.2), result("b", 0, 0.3)]
    legend = "\n".join(summary.legend(results, ("frame",)))
    assert "Not every split has every seed, and a mean over splits takes those that all have: a 0, 1; b 0." in legend
    assert "Not every split" not in "\n".join(summary.legend(results[:2], ("frame",)))


def test_the_oracle_is_marked_in_every_part_of_a_report():
    chosen = result("a", 0, 0.1)
    chosen = chosen.model_copy(update={"evaluation": chosen.evaluation.model_copy(update={"selection": "oracle"})})
    report = summary.markdown([result("a", 0, 0.1), chosen])
    lines = [line for line in report.splitlines() if "oracle" in line.lower() and line.startswith(("#", "| a"))]
    assert len(lines) == 4 and all("ORACLE" in line for line in lines)  # title, two sections, operating points
