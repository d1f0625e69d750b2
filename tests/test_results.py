"""Result records: sealed by a hash of all but the runtime; where the code came from."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

import fasbench
from fasbench.errors import DataError
from fasbench.results import LIBRARIES, Provenance, Result, Runtime, code_version, library_versions, read_result
from fasbench.scorefile import ScoreMeta

RESULT = Result(
    evaluation=ScoreMeta(
        method="erm",
        protocol="synth/fixed",
        version=1,
        split="lmn-k",
        condition="no-depth",
        seed=0,
        selection="source-val",
        epoch=3,
    ),
    synthetic=True,
    preset="tiny",
    fidelity="intended",
    tied_epochs=1,
    metrics={"frame": {"hter": 0.1 + 0.2, "auc": 1e-17, "apcer": {"print": None}}, "note": "é \U0001f600 0x1"},
    rows_sha256="r" * 64,
    scores_sha256="s" * 64,
    provenance=Provenance(
        fasbench="0.1.0",
        git_sha="a" * 40,
        git_dirty=False,
        method_sha256="m" * 64,
        protocol_sha256="p" * 64,
        data={"synth-k": "d" * 64},
        training_key="t" * 64,
        initial_weights_sha256="w" * 64,
        weights_sha256="c" * 64,
        versions={"training": 1, "layers": "0" * 16},
        config={"optim": {"lr": 1e-4}, "augment": {"gamma": [0.5, 1.5]}},
        libraries={"torch": "2.0"},
    ),
    runtime=Runtime(device="cpu", training_seconds=1.5, scoring_seconds=0.25),
)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    RESULT.write(path)
    return path


def edit(path: Path, *keys: str, value: object) -> None:
    """Change one value of a JSON file."""
    data = json.loads(path.read_text())
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(data))


def test_what_goes_in_comes_out(tmp_path):
    sealed = RESULT.write(tmp_path / "result.json")
    assert read_result(tmp_path / "result.json") == sealed
    assert sealed.content_sha256 == sealed.content_hash()
    assert sealed.model_copy(update={"content_sha256": ""}) == RESULT


def test_the_name_of_a_result_is_that_of_its_evaluation():
    assert RESULT.name == "synth/fixed/lmn-k/no-depth"


def test_rewriting_a_read_record_gives_the_same_bytes(record):
    before = record.read_bytes()
    read_result(record).write(record)
    assert record.read_bytes() == before


EDITS = {
    "a metric": ("metrics", "frame", "hter"),
    "the seed": ("evaluation", "seed"),
    "what it was computed from": ("scores_sha256",),
    "the rows": ("rows_sha256",),
    "ties": ("tied_epochs",),
    "a data set": ("provenance", "data", "synth-k"),
    "the configuration": ("provenance", "config", "optim", "lr"),
    "the hash itself": ("content_sha256",),
}


@pytest.mark.parametrize("keys", EDITS.values(), ids=EDITS)
def test_an_edited_record_is_refused(record, keys):
    edit(record, *keys, value="7" if keys[-1].endswith(("sha256", "synth-k")) else 7)
    with pytest.raises(DataError, match=rf"{record}: the content does not match its hash: it was edited"):
        read_result(record)


def test_the_runtime_is_no_part_of_the_content(record):
    edit(record, "runtime", "training_seconds", value=99.0)
    edit(record, "runtime", "device", value="NVIDIA H100")
    assert read_result(record).runtime.device == "NVIDIA H100"
    other = RESULT.model_copy(update={"runtime": Runtime(device="x", training_seconds=0, scoring_seconds=0)})
    assert other.content_hash() == RESULT.content_hash()


def test_reformatting_is_no_edit(record):
    record.write_text(json.dumps(json.loads(record.read_text()), indent=None))
    read_result(record)


def test_an_unknown_key_is_refused(record):
    edit(record, "metrcis", value={})
    with pytest.raises(DataError, match=r"metrcis: unknown key\. Did you mean 'metrics'"):
        read_result(record)


def test_another_schema_version_is_refused(record):
    edit(record, "schema_version", value=2)
    with pytest.raises(DataError, match="schema_version"):
        read_result(record)


@pytest.mark.parametrize(
    "content",
    [b"", b"not json", b"[1]", b"{}", b"\xff", b"[" * 100_000, b'{"a": 1'],
    ids=["empty", "text", "list", "no fields", "not UTF-8", "endless nesting", "cut off"],
)
def test_what_is_no_record_is_refused(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"result\.json: not a result record"):
        read_result(path)


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.json: not a result record"):
        read_result(tmp_path / "nowhere.json")


@pytest.mark.parametrize("spelling", ["NaN", "Infinity", "1e999"])
def test_numbers_json_cannot_hold_are_refused(record, spelling):
    record.write_text(re.sub(r'"auc":[^,]+', f'"auc":{spelling}', record.read_text()))
    with pytest.raises(DataError):
        read_result(record)


def test_a_metric_that_is_not_finite_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        RESULT.model_copy(update={"metrics": {"auc": float("nan")}}).write(tmp_path / "result.json")
    assert list(tmp_path.iterdir()) == []


# --- provenance -------------------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch) -> Path:
    """A folder that code_version takes for the one fasbench lies in; the caller stands elsewhere."""
    root = tmp_path / "checkout"
    (root / "fasbench").mkdir(parents=True)
    (root / "fasbench" / "__init__.py").write_text("")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(fasbench, "__file__", str(root / "fasbench" / "__init__.py"))
    monkeypatch.chdir(elsewhere)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    code_version.cache_clear()
    yield root
    code_version.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_an_installed_package_has_no_commit(package):
    git(package.parent, "init", "--quiet")  # a repository further up is not ours
    git(package.parent, "commit", "--quiet", "--allow-empty", "--message", "not ours")
    assert code_version() == (None, None)


@pytest.mark.parametrize("dirty", [False, True])
def test_the_commit_is_that_of_the_package_not_of_the_caller(package, dirty):
    for folder in (package, Path.cwd()):
        git(folder, "init", "--quiet")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--allow-empty", "--message", str(folder))
    if dirty:
        (package / "fasbench" / "new.py").write_text("x = 1\n")
    sha = git(package, "rev-parse", "HEAD")
    assert sha != git(Path.cwd(), "rev-parse", "HEAD")
    assert code_version() == (sha, dirty)


def test_a_repository_without_a_commit_has_none(package):
    git(package, "init", "--quiet")
    assert code_version() == (None, None)


@pytest.mark.usefixtures("package")
def test_a_machine_without_git_has_none(package, monkeypatch):
    (package / ".git").mkdir()

    def missing(*arguments, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    assert code_version() == (None, None)


def test_library_versions_name_python_and_only_known_libraries():
    found = library_versions()
    assert {"python", "numpy", "torch"} <= set(found) <= {"python", *LIBRARIES}
    assert all(re.match(r"\d+\.\d+", version) for version in found.values())
