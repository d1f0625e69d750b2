"""fasbench compare: runs over what they share, and refusals where a comparison would mislead."""

import json
from pathlib import Path

import pytest
from made_runs import make_run, part
from quick_runs import QUICK, request
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

import fasbench.cli as cli
from fasbench.comparison import compare_runs
from fasbench.errors import ConfigError, DataError
from fasbench.metrics import compare
from fasbench.results import read_result
from fasbench.runner import run
from fasbench.scorefile import read_scores

FEW = {"permutations": 499, "replicates": 40}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A good, a poor and another good method."""
    root = tmp_path_factory.mktemp("compared")
    qualities = {"good": 2.0, "poor": 0.5, "fair": 2.0}
    return [make_run(root / name, name, quality) for name, quality in qualities.items()]


def test_the_better_method_is_named_and_equal_ones_tie(runs):
    found = compare_runs(runs, **FEW)
    ranking = found.rankings["full"]
    assert ranking.ranks("hter") == {"good": 1, "fair": 1, "poor": 3}
    assert ranking.matrix("auc")["good"] == {"poor": "win", "fair": "tie"}
    assert found.tests == len(ranking.rows) == 6  # three pairs, two metrics
    (row,) = [row for row in ranking.rows if (row.a, row.b, row.metric) == ("good", "poor", "auc")]
    expected = []
    for split in ("lm-k", "kl-m"):
        good, poor = (part(f"{split}/test", quality, 0) for quality in (2.0, 0.5))
        expected.append(roc_auc_score(good.labels, good.scores) - roc_auc_score(poor.labels, poor.scores))
    assert row.difference == pytest.approx(sum(expected) / 2, abs=1e-12)
    assert row.p_value == 1 / 500 and row.p_holm == pytest.approx(6 * row.p_value)
    assert row.interval.low < row.difference < row.interval.high
    assert found.verdicts("full")[0].startswith("good is better than poor: HTER ")


def test_two_runs_give_what_compare_gives(runs):
    found = compare_runs(runs[:2], level="video", **FEW).rankings["full"].rows[0]
    files = [{p.parts[-4]: read_scores(p) for p in (run / "scores").rglob("*.parquet")} for run in runs[:2]]
    methods = [{(split, 0): (f.validation, f.test) for split, f in of.items()} for of in files]
    alone = compare(*methods, "hter", "source-eer", "video", FEW["permutations"], FEW["replicates"])
    assert (found.difference, found.p_value, found.interval) == (alone.difference, alone.p_value, alone.interval)


def test_what_not_all_runs_have_is_left_out_and_said(runs, tmp_path):
    more = make_run(tmp_path / "more", "more", 1.0, splits=("lm-k",), seeds=(0, 1), conditions=("full", "no-ir"))
    found = compare_runs([runs[0], more], **FEW)
    assert found.shared == {"full": (("lm-k", 0),)}
    assert "full: left out of good, as not all runs have it: kl-m seed 0" in found.notes
    assert "full: left out of more, as not all runs have it: lm-k seed 1" in found.notes
    live = int(part("lm-k/test", 2.0, 0).labels.sum())
    assert found.counts["full"] == (live, live)  # as many attacks


def test_holm_is_over_all_conditions_of_a_command(tmp_path):
    conditions = ("full", "no-ir")
    pair = [
        make_run(tmp_path / name, name, quality, splits=("lm-k",), conditions=conditions)
        for name, quality in {"one": 2.0, "two": 0.5}.items()
    ]
    found = compare_runs(pair, **FEW)
    assert found.tests == 4
    assert [row.p_holm for name in conditions for row in found.rankings[name].rows] == pytest.approx([4 / 500] * 4)
    assert compare_runs(pair, condition="full", **FEW).tests == 2
    with pytest.raises(ConfigError, match=r"--condition no-irr: .* Did you mean 'no-ir'\?"):
        compare_runs(pair, condition="no-irr", **FEW)


def test_runs_that_may_not_share_a_table_are_refused_with_all_reasons(runs, tmp_path):
    other = make_run(tmp_path / "other", "other", 1.0, splits=("lm-k",), meta={"version": 2, "partial": True})
    with pytest.raises(ConfigError) as caught:
        compare_runs([runs[0], other], **FEW)
    assert "different protocols: good: test/made@1; other: test/made@2" in str(caught.value)
    assert "different extents of the data: good: all of the data; other: a part of the data" in str(caught.value)
    path = next((other / "results").rglob("*.json"))
    result = read_result(path)
    result.model_copy(update={"metrics": result.metrics | {"metrics_version": 1}}).write(path)
    with pytest.raises(ConfigError, match="different metrics versions: good: version 2; other: version 1"):
        compare_runs([runs[0], other], **FEW)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "test-eer"}, "policy 'test-eer' reads the test labels"),
        ({"selection": "oracle"}, "selection 'oracle' is the epoch that is best on the test set"),
        ({"selection": "last"}, "has no results of selection 'last'. It has: source-val"),
        ({"level": "clip"}, "'clip' cannot be compared"),
    ],
)
def test_what_cannot_be_compared_is_refused(runs, options, message):
    with pytest.raises(ConfigError) as caught:
        compare_runs(runs[:2], **options, **FEW)
    assert message in str(caught.value)


def test_one_run_twice_is_refused(runs):
    with pytest.raises(ConfigError, match="named twice"):
        compare_runs([runs[0], runs[0]])
    with pytest.raises(ConfigError, match="at least two runs"):
        compare_runs(runs[:1])


def test_a_score_file_that_is_not_the_result_s_is_refused(runs, tmp_path):
    other = make_run(tmp_path / "other", "other", 1.0, splits=("lm-k",))
    source = next((runs[0] / "scores/lm-k").rglob("*.parquet"))
    next((other / "scores").rglob("*.parquet")).write_bytes(source.read_bytes())
    with pytest.raises(DataError, match=r"(?s)fasbench verify .*not the file its result was computed from"):
        compare_runs([runs[0], other], **FEW)


def test_runs_of_one_method_go_by_their_folders(tiny_protocol, linear_method, tmp_path):
    """From training to verdict, by the command line."""
    folders = []
    for rate in ("0.01", "0.0001"):
        changed = request(linear_method, f"{tiny_protocol}/lm-k/full", tmp_path, sets=(*QUICK, f"optim.lr={rate}"))
        folders.append(run(changed)[0].plan.folder)
    cli._register()
    command = ["compare", *map(str, folders), "--permutations", "99", "--replicates", "20"]
    shown = CliRunner().invoke(cli.app, command)
    assert shown.exit_code == 0, shown.output
    for folder in folders:
        assert f"Note: {folder.name}: {folder}, preset tiny" in shown.output
    assert "test/tiny@1, full: frame level, policy source-eer, selection source-val" in shown.output
    assert "SYNTHETIC DATA" in shown.output and "Read with care" in shown.output  # two persons
    found = json.loads(CliRunner().invoke(cli.app, [*command, "--json"]).stdout)
    full = found["conditions"]["full"]
    assert full["shared"] == [{"split": "lm-k", "seed": 0}] and len(full["comparisons"]) == 2
    assert set(full["ranks"]["hter"]) == {folder.name for folder in folders}
