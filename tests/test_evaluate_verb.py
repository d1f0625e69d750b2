"""fasbench evaluate: any system's score file, checked as far as the machine can, with every number."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from made_up import write as write_made_up
from quick_runs import request
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

import fasbench.cli as cli
from fasbench.data.keys import key_lines, row_key, rows_sha256
from fasbench.errors import ConfigError, DataError
from fasbench.evaluation import evaluate_file
from fasbench.evaluation_text import behind, legend, tables, title
from fasbench.results import read_result
from fasbench.runner import run
from fasbench.scorefile import read_scores

PROTOCOL = """
id: test/rows
version: 3
title: two embedded data sets
datasets:
  synth-k: {{size: tiny}}
  synth-l: {{size: tiny}}
splits:
  l-k:
    train: [synth-l/train]
    validation: [synth-l/validation]
    test: [synth-k/test]
    rows_sha256: {hashes}
conditions:
  full: {{}}
  no-ir: {{absent: [ir]}}
"""
# Two persons a part, a live video of two frames each, one print and one mask.
# Validation separates at 0.5; at that threshold the test accepts one of four attacks and rejects one of four bona fide:
# APCER 1/4, BPCER 1/4, HTER 1/4. Pairs won by bona fide: 4 + 4 + 4 (0.9, 0.8, 0.6) + 3 (0.4 loses to 0.7 only; and
# 0.6 loses to 0.7): 4 + 4 + 3 + 3 = 14 of 16.
ROWS = [
    # person, video, attack, scores in validation, in test
    ("p1", "live", "live", (0.9, 0.8), (0.9, 0.8)),
    ("p2", "live", "live", (0.7, 0.6), (0.6, 0.4)),
    ("p1", "print", "print", (0.4, 0.3), (0.3, 0.2)),
    ("m1", "mask", "rigidmask", (0.2, 0.1), (0.7, 0.1)),
]


def table(**changes: list) -> dict[str, list]:
    found: dict[str, list] = {
        name: [] for name in ("id", "unit", "video", "domain", "attack", "label", "score", "part")
    }
    for part, domain, place in (("validation", "synth-l", 3), ("test", "synth-k", 4)):
        for row in ROWS:
            for frame, score in enumerate(row[place]):
                video = f"{domain}/{row[0]}-{row[1]}"
                values = (f"{video}/{frame}", f"{domain}/{row[0]}", video, domain, row[2], int(row[2] == "live"))
                for name, value in zip(found, (*values, score, part), strict=True):
                    found[name].append(value)
    return found | changes


def hashes(part: str) -> str:
    rows = table()
    here = [n for n, name in enumerate(rows["part"]) if name == part]
    lines = key_lines("test/rows@3", part, [rows["id"][n] for n in here], [rows["label"][n] for n in here])
    return rows_sha256(lines)


@pytest.fixture
def protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """It knows its rows by their hashes; nothing is prepared."""
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path / "stores"))
    path = tmp_path / "rows.yaml"
    path.write_text(PROTOCOL.format(hashes=json.dumps({part: hashes(part) for part in ("validation", "test")})))
    return path


@pytest.fixture(autouse=True)
def no_data(tmp_path, monkeypatch):
    monkeypatch.setenv("FASBENCH_LISTS", str(tmp_path / "nowhere"))


def write(path: Path, columns: dict[str, list], meta: dict | None = None) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
        if meta is not None:
            path.with_suffix(".yaml").write_text(json.dumps(meta))
    else:
        found = pa.table(columns)
        if meta is not None:
            found = found.replace_schema_metadata({b"fasbench": json.dumps(meta).encode()})
        parquet.write_table(found, path)
    return path


def refusal(path: Path, protocol: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        evaluate_file(path, f"{protocol}/l-k/full", **options)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_of_another_system_gets_the_numbers_computed_by_hand(kind, protocol, tmp_path):
    path = write(tmp_path / f"theirs.{kind}", table(extra=["x"] * 16))
    found = evaluate_file(path, str(protocol), condition="full", replicates=0)
    assert (found.method, found.split, found.condition) == ("theirs", "l-k", "full")  # the only split
    assert (found.selection, found.seed) == ("unknown", None)
    frame = found.metrics["levels"]["frame"]
    point = frame["policies"]["source-eer"]
    assert (point["threshold"], point["apcer"], point["bpcer"], point["hter"]) == (0.5, 0.25, 0.25, 0.25)
    rows = table()
    assert frame["auc"] == 14 / 16 == roc_auc_score(rows["label"][8:], rows["score"][8:])
    families = frame["slices"]["attack_family"]["groups"]
    assert families["flat"]["policies"]["source-eer"] == {
        "apcer": 0.0, "hter": 0.125, "undefined": {}, "intervals": {}
    }  # fmt: skip
    assert families["mask"]["policies"]["source-eer"]["hter"] == (0.5 + 0.25) / 2
    assert found.checks == tuple(
        f"{part}: rows and labels are the protocol's, all of them (rows_sha256)" for part in ("validation", "test")
    )


def test_everything_wrong_is_told_at_once(protocol, tmp_path):
    rows = table()
    rows["score"][0] = float("nan")
    rows["id"][1] = rows["id"][0]
    rows["label"][12:] = [1] * 4
    rows["attack"][12:] = ["live"] * 4
    text = refusal(write(tmp_path / "bad.csv", rows, {"protocol": "mmdg/fixed", "split": "cps-w"}), protocol)
    for problem in (
        "cannot be evaluated as test/rows@3/l-k/full: ",
        "scores: 1 not finite, first at position 0",
        "validation: ids: 1 occur more than once, first synth-l/p1-live/0",
        "test: there are no attack samples: both classes are needed",
        "the file says it is of split 'cps-w', not 'l-k'",
        "the file says it is of protocol mmdg/fixed, not test/rows",
        "validation: other rows or labels than test/rows@3/l-k: rows_sha256 is ",
        "test: other rows or labels than test/rows@3/l-k: rows_sha256 is ",
    ):
        assert problem in text
    rows = table(score=["high", *table()["score"][1:]])
    assert "score: 1 that are no numbers, first in row 1: 'high'" in refusal(write(tmp_path / "x.csv", rows), protocol)


def test_missing_columns_are_named_together(protocol, tmp_path):
    rows = table()
    del rows["unit"], rows["score"]
    text = refusal(write(tmp_path / "bad.parquet", rows), protocol)
    assert "column 'unit' is missing" in text and "column 'score' is missing" in text
    assert "expected the columns id, unit, video, domain, attack, label, score, part" in text


def test_a_part_that_is_not_there_is_a_problem(protocol, tmp_path):
    rows = {name: values[:8] for name, values in table().items()}
    assert "test: 1 problem in the scores\n  - no samples" in refusal(write(tmp_path / "half.csv", rows), protocol)


def test_files_of_licensed_data_without_names_are_read_by_their_keys(protocol, tmp_path):
    rows = table()
    keys = [row_key("test/rows@3", part, name) for part, name in zip(rows["part"], rows["id"], strict=True)]
    numbers = {name: np.unique(rows[name], return_inverse=True)[1].tolist() for name in ("unit", "video")}
    plain = {name: rows[name] for name in ("label", "attack", "score", "part")}
    found = evaluate_file(
        write(tmp_path / "hashed.parquet", {"key": keys, **numbers, **plain}), f"{protocol}/l-k/full", replicates=0
    )
    named = evaluate_file(write(tmp_path / "named.parquet", rows), f"{protocol}/l-k/full", replicates=0)
    frame, other = (one.metrics["levels"]["frame"] for one in (found, named))
    assert frame["policies"]["source-eer"] == other["policies"]["source-eer"]
    assert "source-eer-balanced" not in frame["policies"] and "source-eer-balanced" in other["policies"]
    assert found.rows_sha256 == named.rows_sha256 and "rows_sha256" in found.checks[0]
    assert any("does not say which data set" in note for note in found.notes)
    keys[0] = "0" * 16
    changed = write(tmp_path / "changed.parquet", {"key": keys, **numbers, **plain})
    assert "validation: other rows or labels" in refusal(changed, protocol)


def test_scores_the_wrong_way_round_get_a_warning(protocol, tmp_path):
    rows = table(score=[1 - score for score in table()["score"]])
    found = evaluate_file(write(tmp_path / "inverted.csv", rows), f"{protocol}/l-k/full", replicates=0)
    assert found.warnings[0] == "validation AUC is 0.000: scores look inverted (higher must mean more live)"
    assert f"Warning: {found.warnings[0]}." in legend(found)


def test_what_cannot_be_checked_is_said(protocol, tmp_path):
    protocol.write_text(PROTOCOL.format(hashes="{}"))
    path = write(tmp_path / "theirs.csv", table(score=[10 * score for score in table()["score"]]))
    found = evaluate_file(path, f"{protocol}/l-k/full", replicates=0)
    assert all("NOT CHECKED that the rows are the protocol's" in check for check in found.checks)
    assert any("scores lie in [1, 9], not in [0, 1]" in note for note in found.notes)


def test_which_evaluation_is_meant_must_be_said(protocol, tmp_path):
    path = write(tmp_path / "theirs.csv", table())
    with pytest.raises(ConfigError, match=r"--condition: say of which the scores are\. test/rows@3 has: full, no-ir"):
        evaluate_file(path, str(protocol))
    with pytest.raises(ConfigError, match=r"--condition no-i: .* Did you mean 'no-ir'\?"):
        evaluate_file(path, str(protocol), condition="no-i")
    with pytest.raises(ConfigError, match="which one"):
        evaluate_file(path, "synth")
    with pytest.raises(ConfigError, match="no threshold policy 'eer'"):
        evaluate_file(path, str(protocol), policies=["eer"])
    told = write(tmp_path / "told.csv", table(), {"condition": "no-ir", "selection": "last", "seed": 7})
    found = evaluate_file(told, str(protocol), replicates=0, policies=["fixed@0.5"])
    assert (found.condition, found.selection, found.seed, found.headline) == ("no-ir", "last", 7, "fixed@0.5")
    assert list(found.metrics["levels"]["frame"]["policies"]) == ["fixed@0.5", "test-eer"]
    assert "policy fixed@0.5, selection last, seed 7, metrics version 2; 4 live / 4 attack" in behind(found, "frame")


def test_official_lists_say_which_rows_differ(tmp_path, monkeypatch):
    """Without prepared data, the lists tell ids, labels, units, videos, data sets and attacks apart."""
    monkeypatch.setenv("FASBENCH_LISTS", str(tmp_path / "lists"))
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path / "stores"))
    protocol, listed = write_made_up(tmp_path)
    kept = [row for row in listed if row.split != "train"]
    columns = {
        "id": [row.id for row in kept],
        "unit": [row.unit for row in kept],
        "video": [row.video for row in kept],
        "domain": ["wmca"] * len(kept),
        "attack": [row.attack if row.label == 0 else "" for row in kept],
        "label": [row.label for row in kept],
        "score": np.linspace(0, 1, len(kept)).tolist(),
        "part": [row.split for row in kept],
    }
    found = evaluate_file(write(tmp_path / "w.csv", columns), str(protocol), replicates=0)
    assert found.checks[1] == (
        "test: every row is there, label, attack, unit, video, domain compared with the official lists"
    )
    test = columns["part"].index("test")
    columns["id"][test] = "wmca/other/1"
    columns["unit"][-1] = columns["unit"][-2] = "wmca/somebody"
    with pytest.raises(DataError) as caught:
        evaluate_file(write(tmp_path / "wrong.csv", columns), str(protocol))
    assert "test: 1 ids that the protocol does not have, first wmca/other/1" in str(caught.value)
    assert "test: 1 of the protocol's 4 rows are missing, first wmca/" in str(caught.value)
    assert "test: unit: 2 rows differ from the protocol's, first wmca/" in str(caught.value)
    assert "'wmca/somebody' instead of 'wmca/4_07'" in str(caught.value)


def test_a_file_of_a_run_gets_the_numbers_of_its_result(tiny_protocol, linear_method, tmp_path):
    (outcome,) = run(request(linear_method, f"{tiny_protocol}/lm-k/no-depth", tmp_path / "runs"))
    folder = outcome.plan.folder
    path = folder / "scores/lm-k/no-depth/seed-0/source-val.parquet"
    result = read_result(folder / "results/lm-k/no-depth/seed-0/source-val.json")
    found = evaluate_file(path, str(tiny_protocol))
    assert found.metrics == result.metrics
    assert (found.rows_sha256, found.scores_sha256) == (result.rows_sha256, result.scores_sha256)
    assert found.checks[0].endswith("compared with the prepared data")
    assert (folder / "results/lm-k/no-depth/seed-0/source-val.json").stat().st_size < 100_000
    slicings = {"attack", "attack_fine", "attack_family", "presented_by"}
    assert set(result.metrics["levels"]["frame"]["slices"]) == slicings
    assert title(found) == "linear on test/tiny@1/lm-k/no-depth - SYNTHETIC DATA"
    names = [one.title.partition(",")[0] for one in tables(found, "video")]
    assert names[2:] == [f"Slices by {name}" for name in ("attack", "attack_fine", "attack_family", "presented_by")]
    file = read_scores(path)
    swapped = replace(file, test=replace(file.test, ids=file.test.ids[::-1]))
    swapped.write(tmp_path / "swapped.parquet")
    with pytest.raises(DataError, match=r"test: label: \d+ rows differ from the protocol's, first synth-k/"):
        evaluate_file(tmp_path / "swapped.parquet", str(tiny_protocol))


def test_the_command_prints_tables_or_json_and_fails_with_3(protocol, tmp_path):
    cli._register()
    path = write(tmp_path / "theirs.csv", table())
    command = ["evaluate", str(path), "--protocol", f"{protocol}/l-k/full", "--replicates", "20"]
    shown = CliRunner().invoke(cli.app, command)
    assert shown.exit_code == 0, shown.output
    for text in (
        "theirs on test/rows@3/l-k/full - SYNTHETIC DATA",
        "frame level: test/rows@3, policy source-eer, selection unknown, seed unknown, metrics version 2; 4 live / 4",
        "test-eer (ORACLE, never ranked)",
        "TPR@FPR 1%, test ROC",
        "n/a: 100 attacks are needed, there are 4",
        "Slices by attack_family, at the threshold of source-eer: worst n/a: no group has 20 units",
        "video level: ",
    ):
        assert text in shown.output
    found = json.loads(CliRunner().invoke(cli.app, [*command, "--json"]).stdout)
    assert found["metrics"]["bootstrap"]["replicates"] == 20 and found["protocol"] == "test/rows@3"
    bad = write(tmp_path / "bad.csv", table(label=[1] * 16))
    command = [sys.executable, "-m", "fasbench", "evaluate", str(bad), "-p", f"{protocol}/l-k/full"]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert failed.returncode == 3 and "labelled 1 (bona fide) but with an attack type" in failed.stderr
