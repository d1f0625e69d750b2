"""The pages on metrics: their examples run, they name everything public, and the commands they show exist."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fasbench.cli as cli
import fasbench.metrics
from fasbench.metrics import EER_VARIANTS, METRICS_VERSION, POLICIES, TPR_VARIANTS, evaluate
from fasbench.metrics.scores import Scores

DOCS = Path(__file__).parents[2] / "docs"
METRICS, FOOTGUNS = ((DOCS / name).read_text() for name in ("metrics.md", "footguns.md"))
COMMANDS = sorted(set(re.findall(r"^ *(fasbench [^\n#]*?) *(?:  #.*)?$", METRICS + FOOTGUNS, re.MULTILINE)))


@pytest.mark.parametrize(("name", "text"), [("metrics.md", METRICS), ("footguns.md", FOOTGUNS)])
def test_examples_run(name, text):
    """All blocks of a page in one go: later ones use the names of earlier ones."""
    blocks = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    examples = doctest.DocTestParser().get_doctest(blocks, {}, name, name, 0)
    assert len(examples.examples) > 20
    assert doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(examples).failed == 0


def test_the_page_describes_this_version():
    assert f"**metrics version {METRICS_VERSION}**" in METRICS


def test_every_public_name_policy_and_variant_is_described():
    helpers = {
        "Bootstrap", "Comparison", "Interval", "Ranking", "METRICS_VERSION", "EER_VARIANTS", "TPR_VARIANTS", "POLICIES",
        "curve", "interval", "mean_replicates", "evaluate_with_replicates", "rank_methods", "verdict",
    }  # fmt: skip
    for name in set(fasbench.metrics.__all__) - helpers:
        assert re.search(rf"\b{name}\b", METRICS), name
    for name in (*POLICIES, *EER_VARIANTS, *TPR_VARIANTS):
        assert re.search(rf"[`\"]{re.escape(name)}[`\"]", METRICS), name


def test_the_schema_names_every_key_of_a_result():
    schema = re.search(r"```text\n(metrics_version.*?)```", METRICS, re.DOTALL)[1]
    part = Scores([0.1, 0.9], [0, 1], ["a", "b"], ["v", "w"], ["k"] * 2, ["print", "live"])
    found = evaluate(part, part, replicates=2)
    frame = found["levels"]["frame"]
    rate = frame["tpr_at_fpr"]["10%"]
    blocks = [found, found["bootstrap"], found["levels"], frame, rate, frame["tpr_at_fpr"], frame["bpcer_at_apcer"]]
    blocks += [frame["policies"]["source-eer"], frame["policies"]["source-eer"]["apcer_per_attack"]["print"]]
    blocks += [frame["slices"]["attack"], frame["validation"], frame["intervals"]["auc"]]
    words = set(re.findall(r"[a-z_@0-9.%-]*[a-z_@0-9%]", schema))
    assert {key for block in blocks for key in block} - words == set()


def test_footguns_are_numbered_and_each_says_what_to_do():
    numbers = [int(number) for number in re.findall(r"^### (\d+)\. ", FOOTGUNS, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 25
    for section in re.split(r"^### ", FOOTGUNS, flags=re.MULTILINE)[1:]:
        for part in ("**Symptom.**", "**Why.**", "**Here.**"):
            assert part in section, section.splitlines()[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_shown_exists(command):
    cli._register()
    words = shlex.split(command)[1:]
    verb = words[: 2 if words[0] in ("list", "data", "check", "show") else 1]
    shown = CliRunner().invoke(cli.app, [*verb, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    for option in [word for word in words if word.startswith("--")]:
        assert option in shown.output


def test_links_between_pages_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", METRICS + FOOTGUNS):
        assert (DOCS / target).exists(), target
