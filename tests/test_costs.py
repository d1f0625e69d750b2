"""`benchmarks/costs.py`: random weights whatever the option is called with, and operations as counted by hand."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fasbench.new_method import new_method

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "costs.py"


@pytest.fixture(scope="module")
def costs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_costs", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "off"), [("erm", False), ("mmdg++", None)])
def test_weights_are_random_whatever_the_option_takes(costs, name, off):
    config = costs.random_weights(name)
    assert config.model.pretrained is off
    assert config.model.image_size == 224  # else the preset paper


def test_operations_of_a_score_are_two_a_multiply_add(costs, tmp_path):
    new_method("my-method", tmp_path)
    name = f"{tmp_path / 'method.py'}:MyMethod"
    config = costs.random_weights(name)
    method = costs.find_method(name).load()(config.model, costs.SOURCES)
    convolution, head = 28 * 28 * 32 * (9 * 8 * 8), 32 * 2  # 224 / 8 = 28 patches a side, 32 channels, 2 classes
    assert costs.operations(method, config, torch.device("cpu")) == 2 * (convolution + head)


def test_a_method_is_measured_and_what_was_measured_elsewhere_is_kept(tmp_path):
    new_method("my-method", tmp_path)
    name, out = f"{tmp_path / 'method.py'}:MyMethod", tmp_path / "costs.json"
    out.write_text(json.dumps({name: {"cuda": {"peak_mib": 7}}, "other": {}}))
    subprocess.run([sys.executable, SCRIPT, name, "--out", out], check=True, capture_output=True)
    found = json.loads(out.read_text())
    assert set(found) == {name, "other"}
    cost = found[name]
    assert cost["parameters"] == cost["trained"] == 9 * 8 * 8 * 32 + 32 + 32 * 2 + 2
    assert cost["cuda"] == {"peak_mib": 7}
    assert (cost["cpu"]["batch"], cost["cpu"]["precision"]) == (2, "fp32")
    assert 1 < cost["cpu"]["peak_mib"] < 2000
