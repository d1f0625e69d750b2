"""Kill a run at any moment and start it again: it ends as one that was never interrupted, bit for bit.

Real processes and real SIGKILLs, at points drawn by a seeded generator; marked slow, at every point there is.
`benchmarks/kill.py` does the same to the command itself.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fingerprint import differences, fingerprint, leftovers

from fasbench.training import read_state

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks processes that have loaded torch")

HERE = Path(__file__).parent
PROTOCOL = """
id: test/resume
version: 1
title: two embedded data sets, one unseen
preset: tiny
datasets: {synth-k: {size: tiny}, synth-l: {size: tiny}}
splits:
  l-k: {train: [synth-l/train], validation: [synth-l/validation], test: [synth-k/test]}
conditions:
  full: {}
  no-depth: {absent: [depth]}
"""
# Chosen so that the second of three epochs is the best: its checkpoint has to survive the third.
SETTINGS = (
    "train.epochs=3",
    "train.steps_per_epoch=5",
    "train.batch_size=6",
    "optim.lr=0.03",
    "model.image_size=16",
)
KILLED = -9  # exit code of a process that SIGKILL ended

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Carries a request out in a process of its own, which may be told when to die; see `support/killable.py`."""
    protocol = tmp_path_factory.mktemp("protocol") / "resume.yaml"
    protocol.write_text(PROTOCOL)
    method = f"{HERE / 'linear_method.py'}:Linear"
    common = {"method": method, "protocol": str(protocol), "sets": SETTINGS, "device": "cpu"}
    command = [sys.executable, str(HERE / "support" / "killable.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def carry_out(out: Path, data: Path, oracle: bool = False, **job: Any) -> dict[str, Any]:
            job = {"request": {**common, "oracle": oracle}, "out": str(out), "data": str(data), **job}
            stdin.write(json.dumps(job) + "\n")
            stdin.flush()
            return json.loads(stdout.readline())

        yield carry_out


@dataclass(frozen=True)
class Whole:
    """An uninterrupted run: what it left, and what happened in it."""

    data: Path
    oracle: bool
    seconds: float
    files: dict[str, str]
    preparation: list[str]  # events while the data were prepared
    rest: list[str]  # events after that

    @classmethod
    def of(cls, run: Run, folder: Path, data: Path, oracle: bool = False) -> Whole:
        out, written = folder / "runs", folder / "events.json"
        answer = run(out, data, oracle, events=str(written))
        assert answer["code"] == 0
        events = json.loads(written.read_text())
        ready = next(number for number, name in enumerate(events) if " runs/" in name)
        files = fingerprint(out, data)
        return cls(data, oracle, answer["seconds"], files, events[:ready], events[ready:])


@pytest.fixture(scope="module")
def whole(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    return Whole.of(run, folder, folder / "data")


@pytest.fixture(scope="module")
def whole_with_oracle(run: Run, whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Oracle selection keeps the scores of every epoch: more to write while it trains."""
    return Whole.of(run, tmp_path_factory.mktemp("oracle"), whole.data, oracle=True)


def check_it_ends_as(whole: Whole, run: Run, out: Path, data: Path) -> None:
    assert run(out, data, whole.oracle)["code"] == 0
    found = fingerprint(out, data)
    assert differences(whole.files, found) == []
    # A file that was being written, or a checkpoint that was about to be removed, may be left; nothing else.
    assert all(name.endswith(".tmp") or "/trainings/" in name for name in leftovers(whole.files, found))


@pytest.mark.parametrize("point", range(6))
def test_a_run_killed_in_training_scoring_or_writing_ends_as_an_uninterrupted_one(
    whole, whole_with_oracle, run, tmp_path, point
):
    """Killed one to three times; every second point leaves the last file half-written."""
    draw = random.Random(point)
    expected = whole if point < 4 else whole_with_oracle
    for number in range(1 + point % 3):
        kill_at = draw.randint(1, len(expected.rest))
        answer = run(tmp_path / "runs", whole.data, expected.oracle, kill_at=kill_at, tear=point % 2 == 1)
        assert answer["code"] == KILLED or (number > 0 and answer["code"] == 0), expected.rest[kill_at - 1]
    check_it_ends_as(expected, run, tmp_path / "runs", whole.data)


@pytest.mark.parametrize("point", range(2))
def test_a_run_killed_while_it_prepares_the_data_ends_as_an_uninterrupted_one(whole, run, tmp_path, point):
    kill_at = random.Random(100 + point).randint(1, len(whole.preparation))
    answer = run(tmp_path / "runs", tmp_path / "data", kill_at=kill_at, tear=point == 1)
    assert answer["code"] == KILLED, whole.preparation[kill_at - 1]
    check_it_ends_as(whole, run, tmp_path / "runs", tmp_path / "data")


@pytest.mark.parametrize("point", range(2))
def test_a_run_killed_by_the_clock_ends_as_an_uninterrupted_one(whole, run, tmp_path, point):
    seconds = random.Random(200 + point).uniform(0, whole.seconds)
    run(tmp_path / "runs", tmp_path / "data", kill_after=seconds)
    check_it_ends_as(whole, run, tmp_path / "runs", tmp_path / "data")


@pytest.mark.slow
@pytest.mark.parametrize("oracle", [False, True], ids=["", "oracle"])
@pytest.mark.parametrize("tear", [False, True], ids=["between writes", "in a write"])
def test_a_run_killed_at_any_event_ends_as_an_uninterrupted_one(whole, whole_with_oracle, run, tmp_path, tear, oracle):
    expected = whole_with_oracle if oracle else whole
    for kill_at, name in enumerate(expected.rest, start=1):
        out = tmp_path / f"runs-{kill_at}"
        assert run(out, whole.data, oracle, kill_at=kill_at, tear=tear)["code"] == KILLED, name
        check_it_ends_as(expected, run, out, whole.data)


def test_a_training_killed_in_its_second_epoch_goes_on_from_the_first(whole, run, tmp_path):
    saved = next(number for number, name in enumerate(whole.rest) if name.endswith("/state.json"))
    kill_at = 1 + [number for number, name in enumerate(whole.rest) if name == "forward" and number > saved][2]
    assert run(tmp_path / "runs", whole.data, kill_at=kill_at)["code"] == KILLED
    (training,) = (tmp_path / "runs" / "trainings").iterdir()
    state = read_state(training)
    assert state is not None and state.epoch == 1
    check_it_ends_as(whole, run, tmp_path / "runs", whole.data)
    log = [json.loads(line) for line in (training / "log.jsonl").read_text().splitlines()]
    assert [(line["event"], line["epoch"]) for line in log] == [
        (event, epoch) for epoch in (1, 2, 3) for event in ("step", "epoch")
    ]
