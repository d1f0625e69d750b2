"""Does a run that was killed, and started again, end as one that never was? SIGKILL at random moments of real runs.

    python benchmarks/kill.py                           # 50 trials of erm, about 25 minutes on two cores
    python benchmarks/kill.py --trials 10 --method mmdg++ --seed 1

Two runs go uninterrupted first: they must agree, and the faster is the measure. Every trial then starts the same
command with an empty output folder and an empty data folder, kills it one to three times, each time at a moment drawn
uniformly over the measured duration, and at last lets it finish. So start-up, preparing the data, training,
checkpoints, scores, results and the report are all hit, in proportion to the time they take. Half of the kills take the
whole process group, as a machine that goes down does; the other half the main process alone, which leaves its workers
orphaned.

What the trial ends with must be what the uninterrupted run left: score files, checkpoints, prepared data and the report
byte for byte, results but for their `runtime` block. A line a trial says where its kills fell, and which files only the
killed runs left. The exit code is 1, and the folders of the trial are kept, if anything differs.

Reached so far, in parts, on two cores that others were using too: 38 trials of erm, and 6 of
`tests/linear_method.py` with `--size demo`; 73 kills came in time. Nothing differed, and no file was left.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from fingerprint import differences, fingerprint, leftovers  # noqa: E402

from fasbench.training import read_state  # noqa: E402

PROTOCOL = """
id: test/kill
version: 1
title: three embedded data sets, one unseen
preset: tiny
datasets: {synth-k: {size: SIZE}, synth-l: {size: tiny}, synth-m: {size: tiny}}
splits:
  lm-k:
    train: [synth-l/train, synth-m/train]
    validation: [synth-l/validation, synth-m/validation]
    test: [synth-k/test]
conditions:
  full: {}
  no-depth: {absent: [depth]}
"""
STORES = 3
SETTINGS = (
    "train.epochs=4",
    "train.steps_per_epoch=5",
    "train.batch_size=8",
    "train.score_batch_size=16",
    "model.image_size=32",
)
TOO_LATE = "too late"
TIMEOUT = 900  # seconds; a run that takes longer hangs


class Trial:
    """A folder of its own, and the command that works in it."""

    def __init__(self, folder: Path, arguments: list[str], size: str) -> None:
        folder.mkdir()
        self.out, self.data = folder / "runs", folder / "data"
        protocol = folder / "kill.yaml"
        protocol.write_text(PROTOCOL.replace("SIZE", size))
        command = ["run", "--protocol", str(protocol), "--out", str(self.out), "--device", "cpu", *arguments]
        self.command = [sys.executable, "-m", "fasbench", *command]

    def start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "FASBENCH_DATA": str(self.data)}
        return subprocess.Popen(  # in a process group of its own, which can be killed without killing this one
            self.command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> float:
        """Run to the end; the seconds it took."""
        started = time.perf_counter()
        process = self.start()
        _, errors = process.communicate(timeout=TIMEOUT)
        if process.returncode:
            raise SystemExit(f"exit code {process.returncode}:\n{errors}")
        return time.perf_counter() - started

    def kill(self, moment: float, group: bool) -> str:
        """Kill a run after `moment` seconds; what was to be done next, or TOO_LATE if it had ended."""
        process = self.start()
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            return self.stage()
        finally:
            assert process.stderr is not None
            process.stderr.close()
        return TOO_LATE

    def stage(self) -> str:
        """What was to be done next, by what has been written."""
        if len(list(self.data.glob("synth-*/manifest.json"))) < STORES:
            return "preparing" if any(self.data.glob("*")) else "starting"
        folders = list(self.out.glob("trainings/*"))
        if not folders:
            return "planning"
        state = read_state(folders[0])
        epochs = int(SETTINGS[0].partition("=")[2])
        if state is None or state.epoch < epochs:
            return "training"
        return "ending" if list(self.out.rglob("report.md")) else "scoring"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50, help="runs that are killed (default: 50)")
    parser.add_argument("--method", default="erm", help="a method's name, or path/to/file.py:Class (default: erm)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument(
        "--size",
        choices=["tiny", "demo"],
        default="tiny",
        help="of the test data: tiny is prepared by one process, demo (8 s more) by two (default: tiny)",
    )
    options = parser.parse_args()

    arguments = ["--method", options.method]
    for setting in SETTINGS:
        arguments += ["--set", setting]
    draw = random.Random(options.seed)
    folder = Path(tempfile.mkdtemp(prefix="fasbench-kill-"))
    whole, again = (Trial(folder / name, arguments, options.size) for name in ("uninterrupted", "again"))
    duration = min(whole.finish(), again.finish())  # the first also reads the libraries from the disk
    expected = fingerprint(whole.out, whole.data)
    if differences(expected, fingerprint(again.out, again.data)):
        raise SystemExit(f"two uninterrupted runs differ: {folder}")
    print(f"{options.method}: {duration:.1f} s uninterrupted, {len(expected)} files", flush=True)

    stages: Counter[str] = Counter()
    left: Counter[str] = Counter()
    failed = []
    for number in range(1, options.trials + 1):
        trial = Trial(folder / f"trial-{number}", arguments, options.size)
        notes: list[str] = []
        for _ in range(draw.randint(1, 3)):
            moment, group = draw.uniform(0, duration), draw.random() < 0.5
            started = time.perf_counter()
            stage = trial.kill(moment, group)
            if stage == TOO_LATE and not notes:  # the measure was taken on a busier machine
                duration = time.perf_counter() - started
            stages[stage] += 1
            notes.append(f"{moment:.2f} s {stage} ({'group' if group else 'process'})")
            if stage == TOO_LATE:  # nothing is left to interrupt
                break
        trial.finish()
        found = fingerprint(trial.out, trial.data)
        wrong, extra = differences(expected, found), leftovers(expected, found)
        left.update(Path(name).name for name in extra)
        verdict = f"DIFFERS: {', '.join(wrong)}; see {trial.out.parent}" if wrong else "same"
        print(f"trial {number:3}: killed at {', '.join(notes)}: {verdict}", *extra, sep="\n    left: ", flush=True)
        if wrong:
            failed.append(number)
        else:
            shutil.rmtree(trial.out.parent)
    hits = ", ".join(f"{count} {stage}" for stage, count in stages.most_common())
    print(f"{options.trials} trials, {stages.total()} kills ({hits}): {len(failed)} differ; {left.total()} files left")
    if failed:
        raise SystemExit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
