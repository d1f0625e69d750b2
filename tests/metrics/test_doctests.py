"""The examples in the docstrings run, and the metrics need no torch."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import fasbench.metrics

FOLDER = Path(fasbench.metrics.__file__).parent
MODULES = ["fasbench.metrics", *(f"fasbench.metrics.{path.stem}" for path in sorted(FOLDER.glob("[!_]*.py")))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
    assert module.__doc__


def test_every_public_function_has_an_example():
    finder = doctest.DocTestFinder(recurse=False)
    for name in fasbench.metrics.__all__:
        found = getattr(fasbench.metrics, name)
        if callable(found):
            assert any(test.examples for test in finder.find(found, name)), f"{name} has no doctest"


def test_metrics_import_no_torch():
    code = "import sys, fasbench.metrics; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=FOLDER.parents[1], check=False).returncode == 0
