"""What README, CONTRIBUTING and docs/ tell a newcomer to type is what works."""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fasbench.cli as cli
from fasbench.config import MethodFile
from fasbench.data.layouts import LAYOUTS
from fasbench.data.layouts.crop import CROPS
from fasbench.data.licensed import LICENSED
from fasbench.data.sources.folder import COLUMNS
from fasbench.protocol import load_protocol
from fasbench.registry import protocols

ROOT = Path(__file__).parent.parent
README, CONTRIBUTING = ((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))
DATASETS = (ROOT / "docs" / "datasets.md").read_text()
PROTOCOLS = (ROOT / "protocols" / "README.md").read_text()
LINES = [
    line.strip().removeprefix("$ ").split("  #")[0].strip() for line in (README + CONTRIBUTING + DATASETS).splitlines()
]
COMMANDS = sorted({re.sub(r" {2,}.*", "", line) for line in LINES if line.startswith("fasbench ")})


def block(text: str, language: str, containing: str = "") -> str:
    """The first fenced block of a language that holds some text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return next(found for found in blocks if containing in found)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_shown_exists(command):
    cli._register()
    words = shlex.split(command)[1:]
    verb = words[: 2 if words[0] in ("list", "data", "check", "show") else 1]
    shown = CliRunner().invoke(cli.app, [*verb, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    for option in [word for word in words if word.startswith("--")]:
        assert option in shown.output


def test_the_commands_that_train_nothing_run(tmp_path):
    cheap = [c for c in COMMANDS if ("--dry-run" in c and "mmdg/" not in c) or c.startswith("fasbench list")]
    assert len(cheap) >= 3
    for command in cheap:
        if "synth/fixed" in command:
            continue  # renders the demo data: `make demo` does, in .ci/run
        subprocess.run([sys.executable, "-m", *shlex.split(command)], cwd=tmp_path, check=True, capture_output=True)


def test_the_make_targets_of_the_readme_exist_and_run_what_it_says():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test", "lint"):
        assert f"make {target}" in README + CONTRIBUTING and re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_readme_s_metrics_are_what_the_metrics_give():
    runner = doctest.DocTestRunner()
    examples = doctest.DocTestParser().get_doctest(block(README, "python"), {}, "README", "README.md", 0)
    assert len(examples.examples) == 5
    assert runner.run(examples).failed == 0


def test_the_readme_s_csv_and_protocol_are_legal(tmp_path):
    assert tuple(block(README, "csv").splitlines()[0].split(",")) == COLUMNS
    path = tmp_path / "mine.yaml"
    path.write_text(block(README, "yaml", "mine.yaml"))
    assert list(load_protocol(path).conditions) == ["full", "rgb-only"]


def test_the_protocol_in_the_schema_s_documentation_is_legal_and_complete(tmp_path):
    (tmp_path / "base.yaml").write_text("title: base\n")
    path = tmp_path / "mine.yaml"
    path.write_text(block(PROTOCOLS, "yaml"))
    protocol = load_protocol(path)
    assert protocol.title == "My own faces"
    shown = set(re.findall(r"^([a-z_]+):", block(PROTOCOLS, "yaml"), re.MULTILINE)) - {"include"}
    assert shown == set(type(protocol).model_fields)


def test_contributing_names_every_key_that_says_what_a_method_is():
    """What `fasbench new-method`, which it starts with, writes: see test_new_method.py."""
    keys = set(MethodFile.model_fields) - {"methods", "presets", "model", "optim", "train", "augment"}
    assert keys == set(re.findall(r"^\| `([a-z_]+)` \|", CONTRIBUTING, re.MULTILINE))


def test_the_page_on_data_sets_names_every_one_every_layout_and_every_crop():
    for name, layouts in LAYOUTS.items():
        assert f"**{LICENSED[name].title.split()[-1]}** — " in DATASETS
        for layout in layouts:
            assert f"`{layout.name}`" in DATASETS
    for crop in CROPS:
        assert f"`--crop {crop}`" in DATASETS


def test_sizes_on_the_page_are_those_of_the_lists():
    """A store's size is its rows times what a row was measured to take."""
    found = {head: re.search(rf"^\| {head} \|(.*)\|$", DATASETS, re.MULTILINE) for head in ("rows", "store at 224 px")}
    rows, sizes = (match[1] for match in found.values())
    expect = load_protocol(protocols()["mmdg/fixed"]).datasets
    counts = [sum(part.rows for part in expect[name].expect.values()) for name in ("wmca", "cefa", "padisi", "surf")]
    assert [int(text.replace(",", "")) for text in rows.split("|")] == counts
    assert [text.strip() for text in sizes.split("|")] == [f"{count * 251_200 / 1e9:.2f} GB" for count in counts]
