"""Model cards quote published numbers and costs as they are: `python benchmarks/cards.py --write` mends them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from fasbench.about import costs
from fasbench.errors import DataError
from fasbench.leaderboard.published import Published
from fasbench.registry import methods
from fasbench.resources import bundled

FOLDERS = sorted(path.parent for path in bundled("baselines").glob("*/README.md"))
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "cards.py"


@pytest.fixture(scope="module")
def cards() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_cards", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_card_is_up_to_date(cards, folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    if ":start -->" not in text:
        pytest.skip("quotes nothing")
    assert cards.updated(folder / "README.md") == text, "run: python benchmarks/cards.py --write"


def test_costs_are_those_of_bundled_methods():
    assert set(costs()) <= {name for name, entry in methods().items() if entry.origin == "bundled"}
    for cost in costs().values():
        assert "parameters" not in cost or 0 < cost["trained"] <= cost["parameters"]


def number(method="M", split="cps-w", metric="HTER", printed="1.0", file="a.csv", year=2024, **more) -> Published:
    place = {"protocol": "mmdg/fixed", "condition": "full", "subprotocol": split, **more}
    text = {
        "source": f"Paper {file}",
        "table": "Table 1",
        "reference": "doi",
        "read_in": "the paper",
        "venue": "CVPR 2024",
    }
    return Published(
        file=file, line=2, method=method, split=split, metric=metric, printed=printed, source_year=year, **text, **place
    )


def test_a_table_has_splits_across_and_sources_down_oldest_first(cards):
    rows = [
        number(printed="7.00", file="later.csv", year=2026),
        number(printed="5.50"),
        number(printed="90.1", metric="AUC"),
        number(split="mean", printed="6.00", disputed="it is wrong"),
        number(split="psw-c", printed="6.50"),
    ]
    lines = cards.published_block(rows).splitlines()
    table = lines.index("| `mmdg/fixed`: HTER / AUC | cps-w | psw-c | mean | source |")
    assert lines[table + 2 : table + 4] == [
        "| M | 5.50 / 90.1 | 6.50 / - | 6.00 (1) / - | `a` |",
        "| M | 7.00 / - | - | - | `later` |",
    ]
    assert "Disputed: (1) it is wrong." in lines
    assert "- [`a`](../../leaderboards/published/a.csv): *Paper a.csv*, Table 1; doi; read in: the paper" in lines
    assert any("equal error rates of the test set" in line for line in lines)


def test_a_reprint_is_no_row_of_its_own(cards):
    rows = [number(), number(split="psw-c", printed="2.0"), number(file="b.csv", year=2025)]
    block = cards.published_block(rows)
    assert "| M | 1.0 | 2.0 | `a`, `b` |" in block and "[`b`]" in block
    again = cards.published_block([*rows, number(file="c.csv", year=2026, printed="1.1")])
    assert "| M | 1.1 | - | `c` |" in again


def test_missing_modalities_are_columns_and_wmca_s_modalities_rows(cards):
    missing = [number(protocol="mmdg/missing", split="mean", condition=name) for name in ("no-depth", "no-ir")]
    block = cards.published_block([*missing, number(protocol="WMCA", split="LOO unseen mean", condition="RGB+IR")])
    assert "| `mmdg/missing`, means over the four targets: HTER | no-depth | no-ir | source |" in block
    assert "| M | 1.0 | 1.0 | `a` |" in block
    assert "| WMCA: HTER | unseen mean | source |" in block and "| M, RGB+IR | 1.0 | `a` |" in block


def test_what_nobody_printed_or_measured_is_said_to_be_missing(cards):
    assert cards.published_block([]) == "Published: none public that could be read."
    assert cards.measured_block({"m": None}) == "Cost: not measured."


def test_a_reconstruction_does_not_claim_the_original_s_numbers(cards):
    assert "a reconstruction" in cards.published_block([number()], reconstruction=True)
    assert "reconstruction" not in cards.published_block([number()])


def test_measured_costs_say_on_what(cards):
    place = {"batch": 2, "precision": "fp32", "hardware": "a CPU", "versions": "torch 2"}
    cost = {"sources": 3, "image_size": 224, "parameters": 1234567, "trained": 89, "gflops": 10.88}
    gpu = {
        **place,
        "hardware": "a GPU",
        "batch": 16,
        "precision": "bf16",
        "peak_mib": 9000,
        "samples_per_second": 321.4,
    }
    block = cards.measured_block({"m": {**cost, "cpu": {**place, "peak_mib": 715}, "cuda": gpu}})
    assert (
        "| `m` | 1,234,567 | 89 | 10.9 | 715 MiB (fp32, batch 2) | 9,000 MiB, 321 samples/s (bf16, batch 16) |" in block
    )
    assert "CPU: a CPU, torch 2; GPU: a GPU, torch 2." in block
    late = {"cpu": {"skipped": "took over 900 s"}}
    assert "| not measured: took over 900 s | not measured |" in cards.measured_block({"m": {**cost, **late}})
    assert cards.measured_block({"m": late}) == "Cost: not measured."


def test_a_card_with_half_a_pair_of_markers_is_an_error(cards):
    with pytest.raises(DataError, match="expected <!-- published:start --> and <!-- published:end --> once"):
        cards._replaced("<!-- published:start -->", "published", "x")
