"""Keeps the model cards in step with what they quote: published numbers and measured costs.

    python benchmarks/cards.py --write     # after a change of leaderboards/published or baselines/costs.json
    python benchmarks/cards.py --check     # names the cards that are out of step

A card (`baselines/*/README.md`) has the lines `<!-- published:start -->` and `<!-- published:end -->`, and the same
with `measured`; what stands between them is written here. A card without them is left alone. Which published rows
belong to a method says `published_as` in its config.yaml.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fasbench.about import costs
from fasbench.config import MethodFile
from fasbench.errors import DataError
from fasbench.leaderboard.published import Published, load_published, of_methods
from fasbench.resources import bundled, write_atomic
from fasbench.yamlfile import load_yaml, validate

ORACLE = (
    "As far as is known, numbers of `mmdg/*` are equal error rates of the test set at the epoch that was best on it: "
    "compare them with `--oracle` rows (`test-eer`) only."
)
RECONSTRUCTION = (
    "They are the original's. What is implemented here is a reconstruction: its numbers are not to be set against them."
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help="bring the cards up to date")
    what.add_argument("--check", action="store_true", help="exit with 1 if one is not")
    parser.add_argument("folders", nargs="*", help="of baselines/ (default: all)")
    options = parser.parse_args()
    cards = [path for path in sorted(bundled("baselines").glob("*/README.md")) if _wanted(path, options.folders)]
    stale = [path for path in cards if updated(path) != path.read_text(encoding="utf-8")]
    for path in stale:
        print(f"{'written' if options.write else 'out of date'}: {path.parent.name}/{path.name}")
        if options.write:
            write_atomic(path, updated(path))
    if stale and options.check:
        print("bring them up to date: python benchmarks/cards.py --write")
    return int(bool(stale) and options.check)


def _wanted(path: Path, folders: list[str]) -> bool:
    return not folders or path.parent.name in folders


def updated(path: Path) -> str:
    """The card with both blocks as they should be."""
    file = validate(MethodFile, load_yaml(path.with_name("config.yaml"))[0], str(path.with_name("config.yaml")))
    text = path.read_text(encoding="utf-8")
    if _has(text, "published"):
        rows = of_methods(load_published(), file.published_as)
        reconstruction = file.model.get("fidelity") == "reconstruction"
        text = _replaced(text, "published", published_block(rows, reconstruction))
    if _has(text, "measured"):
        text = _replaced(text, "measured", measured_block({name: costs().get(name) for name in file.methods}))
    return text


def _has(text: str, block: str) -> bool:
    return f"<!-- {block}:start -->" in text


def _replaced(text: str, block: str, content: str) -> str:
    start, end = f"<!-- {block}:start -->", f"<!-- {block}:end -->"
    found, count = re.subn(f"{start}.*?{end}", lambda _: f"{start}\n{content}\n{end}", text, flags=re.DOTALL)
    if count != 1:
        raise DataError(f"expected {start} and {end} once in the card, found {count} times")
    return found


# --- published --------------------------------------------------------------------------------------------------------


def published_block(rows: list[Published], reconstruction: bool = False) -> str:
    """A table for each protocol, what is disputed, and the sources."""
    if not rows:
        return "Published: none public that could be read."
    rows = sorted(rows, key=lambda row: row.source_year)
    notes: list[str] = []
    lines = ["Published, in percent as printed:"]
    for protocol in dict.fromkeys(row.protocol for row in sorted(rows, key=_order)):
        lines += ["", *_table([row for row in rows if row.protocol == protocol], notes)]
    if reconstruction:
        lines += ["", RECONSTRUCTION]
    if any(row.protocol.startswith("mmdg/") for row in rows):
        lines += ["", ORACLE]
    if notes:
        lines += ["", "Disputed: " + "; ".join(f"({number}) {note}" for number, note in enumerate(notes, 1)) + "."]
    lines += ["", "Sources:", ""]
    for file in dict.fromkeys(row.file for row in rows):
        lines.append(_source([row for row in rows if row.file == file]))
    return "\n".join(lines)


def _order(row: Published) -> int:
    """MMDG's protocols in their order, then the others as they come."""
    known = ("mmdg/fixed", "mmdg/missing", "mmdg/limited")
    return known.index(row.protocol) if row.protocol in known else len(known)


def _table(rows: list[Published], notes: list[str]) -> list[str]:
    """Methods and sources down, splits across (conditions where a number is a mean over the splits)."""
    protocol = rows[0].protocol
    by_condition = protocol == "mmdg/missing"
    metrics = list(dict.fromkeys(row.metric for row in rows))
    cells: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in rows:
        name = row.method if by_condition or row.condition == "full" else f"{row.method}, {row.condition}"
        column = row.condition if by_condition else row.split
        cells.setdefault((name, row.file), {}).setdefault(column, {})[row.metric] = _cell(row, notes)
    columns = list(dict.fromkeys(column for found in cells.values() for column in found))
    columns.sort(key=lambda column: column == "mean")  # last, and the others as they come
    title = f"`{protocol}`" if protocol.startswith("mmdg/") else protocol
    means = ", means over the four targets" if by_condition else ""
    head = [f"{title}{means}: {' / '.join(metrics)}", *(column.replace("LOO ", "") for column in columns), "source"]
    table: dict[tuple[str, str], list[str]] = {}  # (method, first source) -> cells
    sources: dict[tuple[str, str], list[str]] = {}
    for (name, file), found in cells.items():
        values = [" / ".join(found.get(column, {}).get(metric, "-") for metric in metrics) for column in columns]
        values = [re.sub("^[-/ ]+$", "-", value) for value in values]
        same = (key for key, first in table.items() if key[0] == name and _reprints(values, first))
        key = next(same, (name, file))
        table.setdefault(key, values)
        sources.setdefault(key, []).append(f"`{_stem(file)}`")
    lines = [_row(head), _row(["---"] * len(head))]
    return lines + [_row([key[0], *values, ", ".join(sources[key])]) for key, values in table.items()]


def _reprints(values: list[str], first: list[str]) -> bool:
    """Whether a row says nothing that another one does not."""
    return all(value in ("-", other) for value, other in zip(values, first, strict=True))


def _cell(row: Published, notes: list[str]) -> str:
    if not row.disputed:
        return row.printed
    if row.disputed not in notes:
        notes.append(row.disputed)
    return f"{row.printed} ({notes.index(row.disputed) + 1})"


def _source(rows: list[Published]) -> str:
    tables = ", ".join(dict.fromkeys(row.table for row in rows))
    first = rows[0]
    read = first.read_in.removeprefix("SECONDARY: ")
    how = f"**secondary**, read in: {read}" if first.secondary else f"read in: {read}"
    link = f"[`{_stem(first.file)}`](../../leaderboards/published/{first.file})"
    return f"- {link}: *{first.source}*, {tables}; {first.reference}; {how}"


def _stem(file: str) -> str:
    return file.removesuffix(".csv")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


# --- measured ---------------------------------------------------------------------------------------------------------


def measured_block(found: dict[str, dict[str, Any] | None]) -> str:
    """Parameters, operations and memory of each method of the card, by `benchmarks/costs.py`."""
    measured = {name: cost for name, cost in found.items() if cost and "parameters" in cost}
    if not measured:
        return "Cost: not measured."
    head = ["preset `paper`", "parameters", "trained", "GFLOPs a score", "training step, CPU", "training step, GPU"]
    lines = [_row(head), _row(["---"] * len(head))]
    for name, cost in measured.items():
        cells = [f"{cost['parameters']:,}", f"{cost['trained']:,}", f"{cost['gflops']:.3g}"]
        lines.append(_row([f"`{name}`", *cells, _step(cost.get("cpu")), _step(cost.get("cuda"))]))
    places = dict.fromkeys(
        f"{device}: {cost[key]['hardware']}, {cost[key]['versions']}"
        for key, device in (("cpu", "CPU"), ("cuda", "GPU"))
        for cost in measured.values()
        if "hardware" in cost.get(key, {})
    )
    first = next(iter(measured.values()))
    return "\n".join(
        [
            *lines,
            "",
            f"Random weights, {first['sources']} sources, {first['image_size']} px. GFLOPs: of one triplet, "
            "a multiply-add is two. Training step: most memory held over that of a process without the method, weights "
            f"and optimiser state included. {'; '.join(places)}. `python benchmarks/costs.py` measures it again.",
        ]
    )


def _step(cost: dict[str, Any] | None) -> str:
    """What a device took, or why it did not."""
    if not cost or "skipped" in cost:
        return f"not measured: {cost['skipped']}" if cost else "not measured"
    speed = f", {cost['samples_per_second']:.0f} samples/s" if "samples_per_second" in cost else ""
    return f"{cost['peak_mib']:,} MiB{speed} ({cost['precision']}, batch {cost['batch']})"


if __name__ == "__main__":
    sys.exit(main())
