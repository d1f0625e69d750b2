"""`fasbench show protocol` and `fasbench data lists`, on a made-up list and without any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fasbench.cli as cli
from fasbench.data.lists import folder
from fasbench.data.lists.folder import Needed
from fasbench.data.spec import ListFile
from fasbench.errors import DataError
from fasbench.resources import sha256


def row(recording: str, frame: int) -> str:
    paths = [f"WMCA-Image/R_CDIT/{recording}/{modality}/{frame:04d}.jpg" for modality in ("color", "depth", "ir")]
    return " ".join([*paths, str(int("_0_" in recording))])


LISTS = {
    "train": [row("901_01_000_0_00", 1), row("901_01_902_2_81", 1), row("901_01_902_2_81", 1)],
    "validation": [row("902_01_000_0_00", 1), row("901_01_902_2_81", 1)],
}
PROTOCOL = """\
id: test/shown
version: 1
title: two made-up lists
datasets:
  wmca:
    lists:
      train: {{file: Bench/W-train.txt, sha256: {train}}}
      validation: {{file: Bench/W-validation.txt, sha256: {validation}}}
    expect:
      train: {{rows: 3, live: 1, attack: 2, videos: 2}}
  synth-k:
    size: tiny
    expect:
      test: {{rows: 9, live: 3, attack: 6}}
splits:
  w-k: {{train: [wmca/train], validation: [wmca/validation], test: [synth-k/test]}}
conditions:
  full: {{}}
  no-ir: {{absent: [ir]}}
known_issues:
  - {{id: lent, text: a mask was lent, permits: {{id: [wmca/901_01_902_2_81/1], video: [wmca/901_01_902_2_81]}}}}
"""


@pytest.fixture
def lists(tmp_path: Path, monkeypatch) -> Path:
    """An empty folder that holds the lists from now on."""
    monkeypatch.setenv("FASBENCH_LISTS", str(tmp_path / "lists"))
    return tmp_path / "lists"


@pytest.fixture
def protocol(tmp_path: Path, lists: Path) -> Path:
    path = tmp_path / "shown.yaml"
    path.write_text(PROTOCOL.format(**{split: sha256("\n".join(lines)) for split, lines in LISTS.items()}))
    return path


def write(lists: Path) -> None:
    (lists / "Bench").mkdir(parents=True)
    for split, lines in LISTS.items():
        (lists / "Bench" / f"W-{split}.txt").write_text("\n".join(lines))


def invoke(*arguments: str):
    cli._register()
    return CliRunner().invoke(cli.app, list(arguments), env={"COLUMNS": "100"})


def show(path: Path | str, code: int = 0) -> dict:
    result = invoke("show", "protocol", str(path), "--json")
    assert result.exit_code == code, result.output
    (facts,) = json.loads(result.stdout)
    return facts


# --- show -------------------------------------------------------------------------------------------------------------


def test_with_the_lists_at_hand_everything_is_counted(protocol, lists):
    write(lists)
    facts = show(protocol)
    assert facts["problems"] == facts["notes"] == []
    parts = {part["part"]: part for part in facts["parts"]}
    assert list(parts) == ["synth-k/test", "wmca/train", "wmca/validation"]
    assert parts["wmca/train"] == {
        "part": "wmca/train",
        "counted": True,
        "duplicates": 1,
        "counts": {
            "rows": 3,
            "live": 1,
            "attack": 2,
            "videos": 2,
            "subjects": 1,
            "units": 2,
            "attacks": {"flexiblemask": 2},
        },
    }
    assert not parts["synth-k/test"]["counted"] and parts["synth-k/test"]["counts"]["rows"] == 9
    assert [(s["kind"], s["count"], s["known"]) for s in facts["shared"]] == [
        ("subject", 1, 0),
        ("video", 1, 1),
        ("id", 1, 1),
    ]
    assert list(facts["rows_sha256"]["w-k"]) == ["validation"]  # the rows of the test part are in no list


def test_the_hash_of_a_part_is_that_of_its_sorted_key_lines(protocol, lists):
    write(lists)
    ids = {"wmca/902_01_000_0_00/1": 1, "wmca/901_01_902_2_81/1": 0}
    lines = [f"{sha256('test/shown@1', 'validation', name)[:16]} {label}" for name, label in ids.items()]
    assert show(protocol)["rows_sha256"]["w-k"]["validation"] == sha256("\n".join(sorted(lines)))


def test_without_the_lists_the_expected_counts_are_shown_and_how_to_get_them(protocol):
    facts = show(protocol)
    assert [(part["part"], part["counted"]) for part in facts["parts"]] == [
        ("synth-k/test", False),
        ("wmca/train", False),
    ]
    assert facts["shared"] == [] and facts["rows_sha256"] == {"w-k": {}}
    assert facts["notes"] == [
        "The lists are not at hand (2 missing: Bench/W-train.txt, Bench/W-validation.txt): the counts are those the "
        "protocol expects. Get them by 'fasbench data lists'"
    ]


def test_what_the_lists_contradict_is_a_problem_and_an_exit_code(protocol, lists):
    write(lists)
    text = protocol.read_text().replace("rows: 3, live: 1", "rows: 4, live: 1")
    protocol.write_text(text.replace("[synth-k/test]}", f"[synth-k/test], rows_sha256: {{validation: {'0' * 64}}}}}"))
    facts = show(protocol, code=3)
    assert facts["problems"][0] == "wmca/train: rows expected 4, found 3"
    assert facts["problems"][1].startswith(f"w-k: rows_sha256.validation expected {'0' * 64}, found ")
    assert "Problem: wmca/train: rows expected 4, found 3" in invoke("show", "protocol", str(protocol)).stdout


def test_a_list_that_differs_is_an_error(protocol, lists):
    write(lists)
    (lists / "Bench" / "W-train.txt").write_text(row("901_01_000_0_00", 2))
    result = invoke("show", "protocol", str(protocol))
    assert isinstance(result.exception, DataError)
    assert "W-train.txt: list differs: expected sha256 " in str(result.exception)
    assert "get it from its authors" in str(result.exception)


def test_malformed_lists_and_rows_to_drop_are_reported_together(protocol, lists):
    write(lists)
    (lists / "Bench" / "W-train.txt").write_text("nonsense")
    text = protocol.read_text().replace(sha256("\n".join(LISTS["train"])), sha256("nonsense"))
    drop = "    drop: {rows: {validation: [wmca/none/1]}}\n    expect:"
    protocol.write_text(text.replace("    expect:", drop, 1))
    result = invoke("show", "protocol", str(protocol))
    assert "W-train.txt:1: 'nonsense': expected colour" in str(result.exception)
    assert "drop.rows.validation names wmca/none/1: not in the list" in str(result.exception)


def test_a_person_sees_the_same_as_text(protocol, lists):
    write(lists)
    shown = invoke("show", "protocol", f"{protocol}/w-k/no-ir").stdout
    assert shown.startswith("test/shown@1  two made-up lists\n")
    assert "wmca/train" in shown and "no-ir" in shown and "full  " not in shown
    assert "leak: 1 subject(s) in both train and validation of wmca (0 of them known)" in shown
    assert "leak: 1 video(s) in both train and validation of wmca (known)" in shown
    assert "WMCA is licensed: accept the licence at" in shown
    assert "lent: a mask was lent" in shown


def test_a_prefix_shows_every_protocol_below_it(lists):
    found = json.loads(invoke("show", "protocol", "mmdg", "--json").stdout)
    assert [facts["protocol"] for facts in found] == [
        f"mmdg/{name}@1" for name in ("degraded", "fixed", "limited", "missing")
    ]
    assert list(found[3]["conditions"]) == ["no-depth", "no-ir", "rgb-only"]
    assert list(show("p1/cps-w")["splits"]) == ["cps-w"]


def test_a_protocol_on_rendered_data_is_shown_too(lists):
    shown = invoke("show", "protocol", "synth/fixed").stdout
    assert "embedded, rendered (synthetic)" in shown and "Rows, as the protocol expects them:" in shown
    assert "Known issues: none" in shown


# --- data lists -------------------------------------------------------------------------------------------------------


@pytest.fixture
def one_list(monkeypatch) -> bytes:
    """The bundled protocols name one list for once."""
    content = row("901_01_000_0_00", 1).encode()
    needed = [Needed(ListFile(file="Bench/W-train.txt", sha256=sha256(content)), None)]
    monkeypatch.setattr(folder, "bundled_lists", lambda: needed)
    return content


def test_lists_are_taken_from_a_folder_and_checked(one_list, lists, tmp_path):
    (tmp_path / "W-train.txt").write_bytes(one_list)
    checked = invoke("data", "lists", "--from", str(tmp_path), "--check").stdout
    assert checked == f"1 lists, all as the protocols name them: {tmp_path}\n"
    assert not lists.exists()
    assert invoke("data", "lists", "--from", str(tmp_path)).stdout == f"1 lists, 1 of them new: {lists}\n"
    assert (lists / "Bench" / "W-train.txt").read_bytes() == one_list
    assert invoke("data", "lists", "--check").exit_code == 0
    assert invoke("data", "lists").stdout == f"1 lists, 0 of them new: {lists}\n"  # nothing to download


def test_lists_that_are_not_there_fail_the_check(one_list, lists):
    result = invoke("data", "lists", "--check")
    assert isinstance(result.exception, DataError) and "no Bench/W-train.txt" in str(result.exception)


def test_the_ground_truth_is_copied_beside_the_lists(one_list, lists, tmp_path):
    (tmp_path / "W-train.txt").write_bytes(one_list)
    truth = tmp_path / "truth.csv"
    truth.write_text("trial_id,ground_truth,participant_id,age\n00000001,m00000,p1,30\n")
    command = ["data", "lists", "--from", str(tmp_path), "--ground-truth", str(truth)]
    assert "PADISI-Face's ground truth: 1 samples" in invoke(*command, "--check").stdout
    assert folder.find_ground_truth(lists) is None
    assert "PADISI-Face's ground truth: 1 samples" in invoke(*command).stdout
    assert folder.find_ground_truth(lists) is not None
