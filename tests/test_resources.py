"""Bundled folders, hashes, and files that are never half-written."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from fasbench.resources import (
    bundled,
    canonical_json,
    data_root,
    sha256,
    sha256_file,
    sha256_files,
    write_atomic,
    write_json,
)


@pytest.mark.parametrize("folder", ["baselines", "protocols", "leaderboards"])
def test_bundled_folders_are_found_from_anywhere(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = bundled(folder)
    assert path.is_dir()
    assert path.is_absolute()
    assert path.name == folder


def test_bundled_folders_hold_what_they_promise():
    assert (bundled("baselines") / "erm" / "method.py").is_file()
    assert (bundled("protocols") / "synth" / "fixed.yaml").is_file()


def test_an_installation_without_its_data_says_so():
    with pytest.raises(FileNotFoundError, match="installed without its 'nowhere' folder"):
        bundled("nowhere")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FASBENCH_DATA": "/data/fas", "XDG_CACHE_HOME": "/cache", "HOME": "/home/me"}, "/data/fas"),
        ({"FASBENCH_DATA": "~/fas", "HOME": "/home/me"}, "/home/me/fas"),
        ({"FASBENCH_DATA": "", "XDG_CACHE_HOME": "/cache", "HOME": "/home/me"}, "/cache/fasbench/data"),
        ({"HOME": "/home/me"}, "/home/me/.cache/fasbench/data"),
    ],
)
def test_where_prepared_data_lie(environment, expected, monkeypatch):
    for name in ("FASBENCH_DATA", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert data_root() == Path(expected)


def test_canonical_json_has_one_spelling():
    assert canonical_json({"b": [1, 0.5, None], "a": {"y": True, "x": "é"}}) == (
        r'{"a":{"x":"\u00e9","y":true},"b":[1,0.5,null]}'
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_canonical_json_refuses_what_json_cannot_hold(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"x": value})


def test_sha256_of_one_part_is_the_plain_hash():
    expected = hashlib.sha256(b"abc").hexdigest()
    assert sha256("abc") == sha256(b"abc") == expected


def test_sha256_keeps_its_parts_apart():
    parts = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc")]
    assert len({sha256(*each) for each in parts}) == len(parts)
    assert sha256("a", "b") == hashlib.sha256(b"a\0b").hexdigest()


def test_sha256_file_reads_the_whole_file(tmp_path):
    content = bytes(range(256)) * 5000  # more than one block
    path = tmp_path / "large"
    path.write_bytes(content)
    assert sha256_file(path) == hashlib.sha256(content).hexdigest()


def test_sha256_files_depends_on_names_and_contents_only(tmp_path):
    def folder(name: str, **contents: str) -> str:
        root = tmp_path / name
        root.mkdir()
        for file, text in contents.items():
            (root / file).write_text(text)
        return sha256_files([root / file for file in contents], root)

    first = folder("first", a="1", b="2")
    assert folder("elsewhere", b="2", a="1") == first
    others = [folder("swapped", a="2", b="1"), folder("renamed", a="1", c="2"), folder("fewer", a="1")]
    assert len({first, *others}) == 4


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("content", "expected"), [("é\n", "é\n".encode()), (b"\0\xff", b"\0\xff")])
def test_write_atomic_makes_folders_and_replaces(tmp_path, content, expected):
    path = tmp_path / "deep" / "er" / "file"
    write_atomic(path, "old and longer than the new content")
    write_atomic(path, content)
    assert path.read_bytes() == expected
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, function):
    path = tmp_path / "file"
    write_atomic(path, "old")

    def fail(*arguments):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match="the disk is full"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_is_complete_before_it_takes_the_name(tmp_path, monkeypatch):
    seen = []
    replace = os.replace

    def watch(source, target):
        seen.append((Path(source).read_text(), Path(source).parent, Path(target).exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    write_atomic(tmp_path / "file", "whole")
    assert seen == [("whole", tmp_path, False)]


def test_write_json_is_sorted_and_ends_with_a_line(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"b": 1, "a": [2]})
    text = path.read_text()
    assert json.loads(text) == {"a": [2], "b": 1}
    assert text.index('"a"') < text.index('"b"')
    assert text.endswith("}\n")


def test_write_json_refuses_nan_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
