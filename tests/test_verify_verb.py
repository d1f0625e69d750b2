"""fasbench verify: what a run says is what its score files give, and whatever was changed is named."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_runs import make_run
from quick_runs import request
from typer.testing import CliRunner

import fasbench.cli as cli
from fasbench.errors import ConfigError
from fasbench.results import read_result
from fasbench.runner import run
from fasbench.scorefile import read_scores
from fasbench.verification import verify_run, walk


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", "one", 1.0, splits=("lm-k",))


def only(folder: Path) -> Path:
    (path,) = (folder / "results").rglob("*.json")
    return path


def problems(folder: Path) -> list[str]:
    return [problem for found in verify_run(folder) for problem in found.problems]


def reseal(path: Path, **changes: object) -> None:
    """A forged result: changed, with a content hash that fits."""
    read_result(path).model_copy(update=changes).write(path)


def test_a_run_of_the_runner_is_verified(tiny_protocol, linear_method, tmp_path):
    (outcome,) = run(request(linear_method, f"{tiny_protocol}/lm-k/full", tmp_path / "runs"))
    found = list(verify_run(outcome.plan.folder))
    assert [one.name for one in found] == [f"results/lm-k/full/seed-0/{name}.json" for name in ("last", "source-val")]
    assert all(one.sound and one.numbers > 500 and one.replicates == 4000 for one in found)


def test_a_score_that_was_changed_is_found_in_the_hash_and_in_the_numbers(made):
    path = next((made / "scores").rglob("*.parquet"))
    file = read_scores(path)
    changed = file.test.scores.copy()
    changed[file.test.labels == 1] = 0.999  # every bona fide sample accepted
    replace(file, test=replace(file.test, scores=changed)).write(path)
    found = problems(made)
    assert found[0].startswith("scores_sha256: the result says ")
    assert any(re.match(r"metrics\.levels\.frame\.auc: the result says 0\.\d+, computed again 1\.0", p) for p in found)
    assert not any(problem.startswith("rows_sha256") for problem in found)  # the rows are the same


def test_a_forged_number_is_found_though_the_content_hash_fits(made):
    path = only(made)
    numbers = json.loads(json.dumps(read_result(path).metrics))
    numbers["levels"]["frame"]["policies"]["source-eer"]["hter"] -= 0.01
    numbers["levels"]["video"]["slices"]["attack_family"]["groups"]["flat"]["counts"]["attack"] += 1
    del numbers["levels"]["frame"]["policies"]["fixed@0.5"]["gap"]
    reseal(path, metrics=numbers)
    found = problems(made)
    assert [problem.partition(":")[0] for problem in found] == [
        "metrics.levels.frame.policies.fixed@0.5.gap",
        "metrics.levels.frame.policies.source-eer.hter",
        "metrics.levels.video.slices.attack_family.groups.flat.counts.attack",
    ]
    assert "the result says nothing, computed again" in found[0]


def test_forged_replicates_and_rows_are_found(made):
    path = only(made)
    result = read_result(path)
    reseal(
        path,
        replicates={**result.replicates, "frame/auc": result.replicates["frame/hter"]},
        rows_sha256="0" * 64,
    )
    found = problems(made)
    assert found[0].startswith("rows_sha256: the result says 0000")
    assert found[1:] == ["replicates frame/auc: other values than computed again"]


def test_an_edited_result_is_found_by_its_content_hash(made):
    path = only(made)
    path.write_text(path.read_text().replace('"preset": "tiny"', '"preset": "paper"'))
    (problem,) = problems(made)
    assert problem.endswith("the content does not match its hash: it was edited. Run the evaluation again")


def test_files_in_the_wrong_place_are_found(made):
    path = only(made)
    other = path.with_name("last.json")
    path.rename(other)
    found = problems(made)
    assert found[0] == "it lies in the place of another: expected results/lm-k/full/seed-0/source-val.json"
    assert found[1] == "its score file is gone: scores/lm-k/full/seed-0/last.parquet"
    assert found[2:] == ["a score file without a result"]


def test_numbers_of_another_metrics_version_are_not_judged(made):
    path = only(made)
    reseal(path, metrics=read_result(path).metrics | {"metrics_version": 1})
    (problem,) = problems(made)
    assert problem.startswith("its numbers are of metrics version 1 and cannot be computed again with version 2")


def test_the_exit_code_says_it(made, tmp_path):
    cli._register()
    sound = CliRunner().invoke(cli.app, ["verify", str(made)])
    assert sound.exit_code == 0 and sound.output.startswith("ok    results/lm-k/full/seed-0/source-val.json: ")
    assert re.search(r"1 result\(s\), [\d,]+ numbers and 160 replicates: none wrong\n$", sound.output)
    only(made).write_text("{}")
    wrong = CliRunner().invoke(cli.app, ["verify", str(made)])
    assert wrong.exit_code == 3 and "WRONG results/" in wrong.output and "1 wrong" in wrong.output


def test_a_folder_that_is_no_run_is_refused(made):
    with pytest.raises(ConfigError, match=r"not a run's folder.*It holds these runs:\n  - .*run"):
        list(verify_run(made.parent))


def test_leaves_are_walked_in_pairs():
    one, other = {"a": [1, 2], "b": {"c": 1}}, {"a": [1, 3], "b": {}}
    assert [place for place, said, computed in walk(one, other) if said != computed] == ["metrics.a[1]", "metrics.b.c"]
    assert [place for place, *_ in walk({"a": [1]}, {"a": [1, 2]})] == ["metrics.a"]
