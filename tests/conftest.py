"""Shared fixtures. Stores of the embedded data are prepared once a session, in a temporary folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded; see fasbench.cli.main

HERE = Path(__file__).parent
LINEAR = f"{HERE / 'linear_method.py'}:Linear"

TINY_PROTOCOL = """
id: test/tiny
version: 1
title: two embedded data sets, one unseen
preset: tiny
datasets:
  synth-k: {size: tiny}
  synth-l: {size: tiny}
  synth-m: {size: tiny}
splits:
  lm-k:
    train: [synth-l/train, synth-m/train]
    validation: [synth-l/validation, synth-m/validation]
    test: [synth-k/test]
  kl-m:
    train: [synth-k/train, synth-l/train]
    validation: [synth-k/validation, synth-l/validation]
    test: [synth-m/test]
conditions:
  full: {}
  no-depth: {absent: [depth]}
  depth-hidden: {absent: [depth], validation: full}
"""


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's stores lie; also $FASBENCH_DATA for the commands that tests start."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def _own_data_root(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASBENCH_DATA", str(data_root))


@pytest.fixture
def tiny_protocol(tmp_path: Path) -> Path:
    """A protocol file over the embedded data at their smallest."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_PROTOCOL)
    return path


@pytest.fixture
def linear_method() -> str:
    """`--method` of a method that trains in milliseconds."""
    return LINEAR
