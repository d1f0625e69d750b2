"""A folder of real image files with a CSV goes through the whole main path, from the command line."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PROTOCOL = """
id: my/own
version: 1
title: my own faces
preset: tiny
datasets:
  lab: {csv: lab.csv, image_size: 48, range: {depth: [300, 1500]}}
splits:
  own:
    train: [lab/train]
    validation: [lab/validation]
    test: [lab/test]
conditions:
  full: {}
  rgb-only: {absent: [depth, ir]}
"""


def write_lab(folder: Path, subjects: int = 10, videos: int = 4, frames: int = 3) -> list[dict[str, str]]:
    """Faces (blobs with relief) and prints (flat, blank in infrared) as the files that cameras write.

    JPEG colour, 16-bit PNG depth in millimetres, 8-bit PNG infrared.
    """
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:60j, -1:1:60j]
    face = np.clip(1 - (x / 0.6) ** 2 - (y / 0.8) ** 2, 0, 1)  # (60, 60) height of a head
    rows = []
    for subject in range(subjects):
        split = ("train", "validation", "test")[0 if subject < 6 else 1 if subject < 8 else 2]
        for video in range(videos):
            live = video % 2 == 0
            name = f"s{subject}-v{video}"
            for frame in range(frames):
                stem = f"{name}-{frame}"
                colour = 60 + 120 * face[..., None] * [1, 0.8, 0.7] + rng.normal(0, 6, (60, 60, 3))
                depth = 900 - (120 * face if live else 0) + rng.normal(0, 4, (60, 60))
                infrared = (160 * np.sqrt(face) if live else 120) + rng.normal(0, 6, (60, 60))
                for kind in ("rgb", "depth", "ir"):
                    (folder / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(colour.clip(0, 255).astype(np.uint8)).save(folder / f"rgb/{stem}.jpg", quality=92)
                Image.fromarray(depth.clip(1, 65535).astype(np.uint16)).save(folder / f"depth/{stem}.png")
                Image.fromarray(np.broadcast_to(infrared, (60, 60)).clip(0, 255).astype(np.uint8)).save(
                    folder / f"ir/{stem}.png"
                )
                rows.append(
                    {
                        "id": stem,
                        "subject": f"s{subject}",
                        "unit": f"s{subject}",
                        "video": name,
                        "attack": "live" if live else "print",
                        "label": str(int(live)),
                        "split": split,
                        "rgb": f"rgb/{stem}.jpg",
                        "depth": f"depth/{stem}.png",
                        "ir": f"ir/{stem}.png",
                    }
                )
    write_csv(folder / "lab.csv", rows)
    (folder / "mine.yaml").write_text(PROTOCOL)
    return rows


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def fasbench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fasbench", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    return folder, write_lab(folder)


def test_a_user_s_folder_trains_and_is_evaluated(lab):
    folder, rows = lab
    assert len(list(folder.rglob("*.png"))) + len(list(folder.rglob("*.jpg"))) == 3 * len(rows) == 360
    settings = ["--set", "train.epochs=4", "--set", "train.steps_per_epoch=10", "--set", "train.batch_size=16"]
    run = fasbench("run", "-m", "erm", "-p", "./mine.yaml", "--device", "cpu", "--json", *settings, cwd=folder)
    assert run.returncode == 0, run.stderr
    (outcome,) = json.loads(run.stdout)
    results = {(r["evaluation"]["condition"], r["evaluation"]["selection"]): r for r in outcome["results"]}
    full = results["full", "source-val"]["metrics"]["levels"]["frame"]
    assert full["counts"]["live"] == full["counts"]["attack"] == 12
    assert full["auc"] > 0.9  # flat, infrared-dark prints are easy to tell
    assert not results["full", "source-val"]["synthetic"]
    assert ("rgb-only", "last") in results
    assert str(folder) not in run.stdout  # no absolute path in a record
    again = fasbench("run", "-m", "erm", "-p", "./mine.yaml", "--device", "cpu", *settings, cwd=folder)
    assert "complete, not repeated" in again.stderr and "epoch 1/4" not in again.stderr
    assert "SYNTHETIC" not in again.stdout and "erm on my/own@1" in again.stdout


def test_every_bad_file_is_reported_at_once_and_nothing_is_prepared(tmp_path, data_root):
    rows = write_lab(tmp_path, subjects=10, videos=2, frames=1)
    (tmp_path / rows[0]["rgb"]).unlink()
    (tmp_path / rows[3]["depth"]).write_text("not an image")
    Image.new("RGB", (60, 60), (200, 10, 10)).save(tmp_path / rows[5]["ir"])
    before = set(data_root.iterdir())
    run = fasbench("run", "-m", "erm", "-p", "mine.yaml", "--device", "cpu", cwd=tmp_path)
    assert run.returncode == 3
    for number, file in ((2, rows[0]["rgb"]), (5, rows[3]["depth"]), (7, rows[5]["ir"])):
        assert f"row {number}: " in run.stderr and file in run.stderr
    assert "Traceback" not in run.stderr
    assert set(data_root.iterdir()) == before
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("permitted", [False, True])
def test_a_subject_in_train_and_test_is_a_leak_unless_documented(tmp_path, permitted):
    rows = write_lab(tmp_path, videos=2, frames=1)
    for row in rows:
        if row["subject"] == "s9":
            row["subject"] = "s0"
    write_csv(tmp_path / "lab.csv", rows)
    if permitted:
        issue = "known_issues: [{id: twins, text: s0 was recorded twice, permits: {subject: [lab/s0]}}]\n"
        (tmp_path / "mine.yaml").write_text(PROTOCOL + issue)
    run = fasbench("run", "-m", "erm", "-p", "mine.yaml", "--device", "cpu", "--dry-run", cwd=tmp_path)
    if permitted:
        assert run.returncode == 0, run.stderr
    else:
        assert run.returncode == 3
        assert "leak: 1 subject(s) in both train and test, e.g. 'lab/s0'" in run.stderr
        assert "permits: {subject: [lab/s0, ...]}" in run.stderr


def test_prepare_takes_the_csv_or_the_protocol(tmp_path):
    write_lab(tmp_path, videos=2, frames=1)
    options = ["--image-size", "48", "--range", "depth=300:1500"]
    by_csv = fasbench("data", "prepare", "lab.csv", *options, cwd=tmp_path)
    by_protocol = fasbench("data", "prepare", "./mine.yaml", cwd=tmp_path)
    assert by_csv.returncode == by_protocol.returncode == 0, by_csv.stderr + by_protocol.stderr
    assert by_csv.stdout == by_protocol.stdout  # one store, whichever way it is named
    assert "lab: 20 rows (train 12, validation 4, test 4), 48 x 48 px" in by_csv.stdout
