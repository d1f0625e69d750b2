"""`fasbench new-method`: what it writes works at once."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import fasbench
from fasbench.contract import check_method
from fasbench.errors import ConfigError
from fasbench.new_method import new_method
from fasbench.registry import find_method


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(fasbench.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-m", *map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_the_folder_it_writes_passes_the_three_commands_it_prints(tmp_path):
    result = run("fasbench", "new-method", "my-method", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "my_method").iterdir()) == [
        "README.md",
        "config.yaml",
        "method.py",
        "test_my_method.py",
    ]
    check, test, train = (line.strip() for line in result.stdout.splitlines()[1:])
    assert check == "fasbench check method my_method/method.py:MyMethod"
    checked = run(*shlex.split(check), cwd=tmp_path)
    assert checked.returncode == 0 and "the contract holds" in checked.stdout, checked.stdout
    assert test == "python -m pytest my_method"
    tested = run("pytest", "-q", "-p", "no:cacheprovider", "my_method", cwd=tmp_path)
    assert tested.returncode == 0, tested.stdout
    assert train == "fasbench run --method my_method/method.py:MyMethod --protocol synth/fixed/lmn-k"


def test_what_it_writes_is_about_60_lines_of_python_and_as_the_project_s_is(tmp_path):
    new_method("my-method", tmp_path / "x")
    python = "\n".join(path.read_text() for path in (tmp_path / "x").glob("*.py"))
    assert 50 <= len(python.splitlines()) <= 70
    assert "$" not in "".join(path.read_text() for path in (tmp_path / "x").iterdir())
    assert max(map(len, python.splitlines())) <= 120


@pytest.mark.parametrize(
    ("name", "folder", "class_name"), [("flip-v2", "flip_v2", "FlipV2"), ("new++", "newpp", "Newpp")]
)
def test_names_become_folders_and_classes_as_in_the_zoo(name, folder, class_name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = new_method(name)
    assert (written.folder, written.class_name) == (Path(folder), class_name)
    entry = find_method(f"{folder}/method.py:{class_name}")
    assert entry.load().__name__ == class_name
    assert entry.config()["methods"] == {name: class_name}
    first = next(check_method(entry))
    assert first.problem == ""


@pytest.mark.parametrize(
    "name", ["", "MyMethod", "my_method", "2d", "-a", "a-", "a--b", "a/b", "a.b", "a++b", "++", "ä"]
)
def test_an_illegal_name_says_what_is_legal(name, tmp_path):
    with pytest.raises(ConfigError, match="lower-case letters, digits and single hyphens"):
        new_method(name, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["erm", "e-rm", "mmdg++", "none", "method", "model-config"])
def test_a_taken_name_is_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="is taken"):
        new_method(name, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "config.yaml").write_text("mine")
    with pytest.raises(ConfigError, match=r"has config\.yaml already: nothing is overwritten"):
        new_method("my-method", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    with pytest.raises(ConfigError, match="is a file: choose a folder"):
        new_method("my-method", tmp_path / "config.yaml")
