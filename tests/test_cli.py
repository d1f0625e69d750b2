"""The command line as a user meets it: exit codes, messages, help."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import fasbench.cli as cli

QUICK = ["--set", "train.epochs=2", "--set", "train.steps_per_epoch=2", "--set", "model.image_size=32"]


def fasbench(*arguments: str, cwd=None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fasbench", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["run", "-m", "emr", "-p", "synth/fixed"], 2, "unknown method 'emr'. Did you mean 'erm'?"),
        (["run", "-m", "erm", "-p", "synth/fixd"], 2, "unknown protocol 'synth/fixd'. Did you mean 'synth/fixed'?"),
        (["run", "-m", "erm", "-p", "synth/fixed/lmn-q"], 2, "synth/fixed has no split 'lmn-q'"),
        (
            ["run", "-m", "erm", "-p", "synth/fixed", "--set", "optim.rl=1"],
            2,
            "optim.rl: unknown key. Did you mean 'lr'",
        ),
        (["run", "-m", "erm", "-p", "synth/fixed", "--preset", "huge"], 2, "no preset 'huge'. Presets: paper, tiny"),
        (["run", "-m", "erm", "-p", "synth/fixed", "--seeds", "0,x"], 2, "--seeds 0,x: expected"),
        (["run", "-m", "erm", "-p", "synth/fixed", "--device", "cuda:9"], 2, "--device cuda:9: this machine has"),
        (["run", "-m", "nowhere.py:X", "-p", "synth/fixed"], 2, "no file nowhere.py"),
        (["check", "protocol", "nowhere.yaml"], 2, "nowhere.yaml: no such file"),
        (["data", "prepare", "synth-q"], 2, "synth-q"),
        (["data", "prepare", "nowhere.csv"], 3, "nowhere.csv: cannot be read"),
        (["run", "-p", "synth/fixed"], 2, "Missing option '--method'"),
        (["run", "-m", "erm", "-p", "mmdg/fixed"], 3, "wmca: WMCA is licensed: accept the licence at https://"),
        (
            ["run", "-m", "erm", "-p", "mmdg/fixed/cps-w", "--dry-run"],
            3,
            "Then: fasbench data prepare wmca --from FOLDER",
        ),
        (["run", "-m", "erm", "-p", "p2"], 3, "mmdg/missing@1 cannot be run here, see 'fasbench show protocol"),
        (
            ["data", "prepare", "wmca"],
            3,
            "wmca cannot be prepared without its files: fasbench data prepare wmca --from FOLDER. WMCA",
        ),
        (
            ["data", "prepare", "synth-k", "--from", "."],
            2,
            "unknown licensed data set 'synth-k'",
        ),
        (["data", "prepare", "synth-k", "--crop", "none"], 2, "--crop: for licensed data, with --from FOLDER only"),
        (["data", "prepare", "wmca", "--from", "."], 3, ".: wmca was not found there. Expected one of"),
        (["data", "prepare", "mmdg/limited"], 3, "mmdg/limited@1 cannot be run here"),
        (["data", "lists", "--from", ".", "--check"], 3, ".: not the 18 lists of the protocols"),
        (["data", "lists", "--from", ".", "--ground-truth", "x.csv"], 3, "no MMDG-Benchmark/C-test.txt, MMDG-"),
        (["verify", "nowhere"], 2, "nowhere: no such folder. Name a run: runs/<protocol>/<run>"),
        (["compare", "nowhere"], 2, "a comparison needs at least two runs"),
        (["compare", "nowhere", "elsewhere"], 2, "nowhere: no such folder"),
        (["evaluate", "nowhere.csv", "-p", "synth/fixed/lmn-k/full"], 3, "nowhere.csv: not a CSV score file"),
        (["evaluate", "x.csv", "-p", "synth/fixed", "--policy", "eer"], 2, "no threshold policy 'eer'. Did you mean"),
        (["evaluate", "x.csv", "-p", "synth/fixd"], 2, "unknown protocol 'synth/fixd'. Did you mean 'synth/fixed'?"),
        (["show", "protocol", "mmdg/fixd"], 2, "unknown protocol 'mmdg/fixd'. Did you mean 'mmdg/fixed'?"),
    ],
)
def test_a_mistake_ends_with_its_exit_code_and_a_message_that_helps(arguments, code, text, tmp_path):
    result = fasbench(*arguments, cwd=tmp_path)
    assert result.returncode == code, result.stderr
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_on_licensed_data_says_that_the_lists_are_missing_too(tmp_path, monkeypatch):
    monkeypatch.setenv("FASBENCH_LISTS", str(tmp_path / "nowhere"))
    result = fasbench("run", "-m", "erm", "-p", "mmdg/fixed", "--dry-run", cwd=tmp_path)
    assert result.returncode == 3
    assert "no MMDG-Benchmark/C-test.txt, " in result.stderr and "get it by 'fasbench data lists'" in result.stderr


def test_help_and_listing_do_not_import_torch():
    code = (
        "import sys, fasbench.cli as cli; cli._register(); "
        "from typer.testing import CliRunner; r = CliRunner().invoke(cli.app, sys.argv[1:]); "
        "assert r.exit_code == 0, r.output; assert 'torch' not in sys.modules and 'datasets' not in sys.modules"
    )
    without_torch = [
        "--help",
        "list protocols",
        "list methods",
        "list attacks",
        "run --help",
        "compare --help",
        "show protocol mmdg",
    ]
    for arguments in (command.split() for command in without_torch):
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, timeout=60)


def test_listing_names_what_there_is():
    cli._register()
    runner = CliRunner()
    assert "synth/fixed@1" in runner.invoke(cli.app, ["list", "protocols"]).output
    assert "erm" in runner.invoke(cli.app, ["list", "methods"]).output
    datasets = runner.invoke(cli.app, ["list", "datasets"]).output
    assert "synth-k" in datasets and "WMCA is licensed" in datasets
    assert "flexiblemask" in runner.invoke(cli.app, ["list", "attacks"]).output


def test_dry_run_says_what_is_done_and_trains_nothing(tiny_protocol, linear_method, tmp_path):
    command = ["run", "-m", linear_method, "-p", f"{tiny_protocol}/lm-k/full", "--device", "cpu", *QUICK]
    before = fasbench(*command, "--dry-run", cwd=tmp_path)
    assert before.returncode == 0 and "0 of 2 done" in before.stdout and not (tmp_path / "runs").exists()
    assert fasbench(*command, cwd=tmp_path).returncode == 0
    assert "2 of 2 done" in fasbench(*command, "--dry-run", cwd=tmp_path).stdout


def test_json_is_on_standard_output_and_progress_is_not(tiny_protocol, linear_method, tmp_path):
    command = ["run", "-m", linear_method, "-p", f"{tiny_protocol}/lm-k/full", "--device", "cpu", "--json", *QUICK]
    result = fasbench(*command, cwd=tmp_path)
    (outcome,) = json.loads(result.stdout)
    assert outcome["protocol"] == "test/tiny@1" and outcome["skipped"] is None
    records = outcome["results"]
    assert [r["evaluation"]["selection"] for r in records] == ["source-val", "last"]
    assert "val EER" in result.stderr


def test_check_method_fails_with_the_clause_that_is_broken(linear_method, tmp_path):
    path = tmp_path / "broken.py"
    text = open(linear_method.rpartition(":")[0]).read()  # noqa: SIM115
    path.write_text(text.replace("return live_probability(", "return torch.sigmoid("))
    result = fasbench("check", "method", f"{path}:Linear")
    assert result.returncode == 4
    assert "FAIL  score gives one finite float64" in result.stdout and "See live_probability" in result.stdout
    assert "ok    ten steps on one batch lower its loss" in result.stdout


def test_an_interrupted_run_says_that_it_can_go_on(tiny_protocol, linear_method, tmp_path):
    command = ["run", "-m", linear_method, "-p", f"{tiny_protocol}/lm-k/full", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fasbench", *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch 1/20" in line:
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert "The same command goes on from the last finished epoch." in rest and "Traceback" not in rest
    result = fasbench(*command, "--set", "train.epochs=20", cwd=tmp_path)
    assert result.returncode == 0 and "epoch 1/20" not in result.stderr and "epoch 20/20" in result.stderr


def test_two_runs_of_the_same_training_at_once_train_it_once(tiny_protocol, linear_method, tmp_path):
    command = ["run", "-m", linear_method, "-p", f"{tiny_protocol}/lm-k/full", "--device", "cpu"]
    start = [sys.executable, "-m", "fasbench", *command]
    both = [subprocess.Popen(start, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (process.communicate(timeout=120)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0] and first == second
    (log,) = (tmp_path / "runs/trainings").glob("*/log.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == list(range(1, 21))


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_an_output_folder_that_cannot_be_made_is_an_error_without_a_traceback(
    where, tiny_protocol, linear_method, tmp_path
):
    (tmp_path / "file").write_text("in the way")
    command = [
        "run",
        "-m",
        linear_method,
        "-p",
        f"{tiny_protocol}/lm-k/full",
        "--device",
        "cpu",
        "--out",
        where,
        *QUICK,
    ]
    result = fasbench(*command, cwd=tmp_path)
    assert result.returncode == 4 and "Traceback" not in result.stderr and "file" in result.stderr


def test_a_method_file_that_cannot_be_imported_says_why(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import torch\nclass Broken(\n")
    result = fasbench("check", "method", f"{path}:Broken")
    assert result.returncode == 2 and "cannot be imported: SyntaxError" in result.stderr
