"""Every bundled method keeps the contract, has its model card, and scores as it did when it was written.

After a change that is meant to change scores, store the new ones and look at the difference before you commit it:

    FASBENCH_UPDATE_GOLDEN=1 python -m pytest tests/methods
"""

import json
import math
import os
from functools import cache
from pathlib import Path

import pytest
import torch

from fasbench import contract
from fasbench.registry import methods
from fasbench.resources import bundled

GOLDEN = Path(__file__).with_name("golden.json")
TOLERANCE = 4e-3  # of the log-odds of a score (0.001 at 0.5), between machines and versions of torch
SPREAD = 0.1  # or this share of their spread: the first steps of Adam amplify rounding, which follows the threads
BUNDLED = {name: entry for name, entry in methods().items() if entry.origin == "bundled"}

_render = cache(contract._records)


@pytest.fixture(autouse=True)
def _rendered_once(monkeypatch):
    monkeypatch.setattr(contract, "_records", _render)


@pytest.fixture(params=BUNDLED)
def entry(request):
    return BUNDLED[request.param]


def folder_name(name):
    """`mmdg++` -> `mmdgpp`, `flip-v` -> `flip_v`."""
    return name.replace("++", "pp").replace("-", "_")


def test_there_are_bundled_methods():
    assert "erm" in BUNDLED


def test_the_contract_holds(entry):
    assert [(clause.clause, clause.problem) for clause in contract.check_method(entry) if clause.problem] == []


def test_the_folder_holds_card_configuration_and_class(entry):
    folder = entry.config_path.parent
    assert folder.parent == bundled("baselines")
    siblings = [name for name, other in BUNDLED.items() if other.config_path == entry.config_path]
    assert folder.name in map(folder_name, siblings) or all(
        folder_name(name).startswith(f"{folder.name}_") for name in siblings
    )
    assert {"method.py", "config.yaml", "README.md"} <= {path.name for path in folder.iterdir()}
    assert entry.load().__module__.startswith(f"fasbench.baselines.{folder.name}.")
    assert {"paper", "tiny"} <= set(entry.config()["presets"])
    assert (folder / "README.md").read_text().startswith("# ")


def tiny_scores(entry):
    """Scores of the contract's 16 samples after two steps on them with the tiny preset, seed 0."""
    subject = contract._Subject(entry)
    method, _ = subject.train(2)
    with torch.inference_mode():
        return [round(score, 8) for score in method.score(subject.inputs()).tolist()]


def log_odds(scores):
    """Of two steps' scores, which may all lie near 0 or 1."""
    return [math.log(score / (1 - score)) for score in scores]


def test_scores_are_those_stored(entry):
    found = tiny_scores(entry)
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
    if os.environ.get("FASBENCH_UPDATE_GOLDEN"):
        lines = [f'  "{name}": {json.dumps(scores)}' for name, scores in sorted({**golden, entry.name: found}.items())]
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        pytest.skip("stored")
    stored = log_odds(golden[entry.name])
    spread = max(stored) - min(stored)
    assert log_odds(found) == pytest.approx(stored, abs=max(TOLERANCE, SPREAD * spread))
    assert spread > 10 * TOLERANCE  # else the comparison says nothing


def test_every_stored_score_belongs_to_a_method():
    assert set(json.loads(GOLDEN.read_text())) == set(BUNDLED)
