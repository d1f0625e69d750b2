"""fasbench show: what a protocol consists of, and the card of a method."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from fasbench.cli import EXIT_DATA, app

if TYPE_CHECKING:
    from rich.console import Console

    from fasbench.data.lists.facts import Facts

show = typer.Typer(no_args_is_help=True, help="Show a protocol or a method's card.", rich_markup_mode=None)
app.add_typer(show, name="show")


@show.command("protocol")
def show_protocol(
    name: str = typer.Argument(
        ..., help="Any prefix of protocol/split/condition (mmdg/fixed/cps-w), an alias (p1), or ./file.yaml."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON array, one object a protocol."),
) -> None:
    """Splits, conditions, data sets and known issues; counted from the official lists where they are at hand."""
    from rich.console import Console

    from fasbench.data.lists.facts import describe
    from fasbench.registry import find_evaluations
    from fasbench.resources import lists_root

    found = [describe(protocol, pairs, lists_root()) for protocol, pairs in find_evaluations(name)]
    if as_json:
        typer.echo(json.dumps([facts.model_dump(mode="json") for facts in found], indent=2))
    else:
        for facts in found:
            print_facts(facts, Console())
    if any(facts.problems for facts in found):
        raise typer.Exit(EXIT_DATA)


@show.command("method")
def show_method(method: str = typer.Argument(..., help="A method's name, or path/to/file.py:Class.")) -> None:
    """The method's card: reference, idea, deviations, licence, published numbers, cost, traps."""
    from rich.console import Console
    from rich.markdown import Markdown

    from fasbench.about import about, card
    from fasbench.registry import find_method

    entry = find_method(method)
    facts, console = about(entry), Console()
    console.print(f"{facts.name}  {facts.title}".rstrip(), style="bold", highlight=False, markup=False)
    lines = {
        "venue": facts.venue,
        "modalities": ", ".join(facts.modalities),
        "backbone": facts.backbone,
        "fidelity": ", ".join(facts.fidelities),
        "presets": ", ".join(facts.presets),
    }
    for name, text in lines.items():
        if text:
            console.print(f"  {name}: {text}", highlight=False, markup=False)
    path = card(entry)
    if path is None:
        console.print("It has no card: there is no README.md beside its config.yaml.")
        return
    console.print()
    console.print(Markdown(path.read_text(encoding="utf-8")))


def print_facts(facts: Facts, console: Console) -> None:
    """The facts as tables and lines."""

    def line(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    def table(headers: list[str], rows: list[list[str]]) -> None:
        print_table(console, headers, rows)

    from fasbench.data.spec import PartCounts

    headline = facts.headline
    console.print(f"{facts.protocol}  {facts.title}", style="bold", highlight=False, markup=False, soft_wrap=True)
    line(f"  reference: {facts.reference or '-'}")
    line(f"  preset {facts.preset}; headline: HTER, {headline.level} level, {headline.policy}, {headline.selection}\n")
    splits = [[name, *(" ".join(getattr(split, role)) for role in _ROLES)] for name, split in facts.splits.items()]
    table(["split", *_ROLES], splits)
    for name, split in facts.splits.items():
        if split.unseen:
            line(
                f"  {name}: {', '.join(split.unseen)} not in train and validation; tested with bona fide and these only"
            )
        for role, columns in split.keep.items():
            rules = "; ".join(f"{column} {', '.join(map(_said, values))}" for column, values in columns.items())
            line(f"  {name}: of {role} only {rules}")
    conditions = []
    for name, condition in facts.conditions.items():
        degraded = ", ".join(f"{kind} severity {severity}" for kind, severity in condition.degrade.items())
        conditions.append([name, ", ".join(condition.absent) or "-", degraded or "-", condition.validation])
    table(["condition", "absent", "degraded", "threshold from validation"], conditions)
    table(["data set", "what it is"], [[name, kind] for name, kind in facts.datasets.items()])
    counts, attacks = [], []
    for part in (*facts.parts, *facts.chosen):
        if part.counts:
            numbers = [getattr(part.counts, name, None) for name in _COUNTS] + [part.duplicates]
            counts.append([part.part, *("?" if number is None else f"{number:,}" for number in numbers)])
            classes = ", ".join(f"{name} {number:,}" for name, number in (part.counts.attacks or {}).items())
            attacks.append([part.part, classes or "?"])
    counted = any(part.counted for part in facts.parts)
    if any(part.counts and not isinstance(part.counts, PartCounts) for part in facts.parts):
        line("Where rows are '?' the lists name videos: all counts are videos then, and frames come from the files.")
    line("Rows, counted from the lists:" if counted else "Rows, as the protocol expects them:")
    table(["part", *_COUNTS, "duplicates"], counts)
    table(["part", "attack rows of each class"], attacks)
    for shared in facts.shared:
        known = "known" if shared.known == shared.count else f"{shared.known} of them known"
        both = " and ".join(shared.splits)
        line(f"  leak: {shared.count} {shared.kind}(s) in both {both} of {shared.dataset} ({known})")
    if counted and not facts.shared:
        line("  leaks: none between the splits of a data set")
    line("Known issues:" if facts.known_issues else "Known issues: none")
    for issue in facts.known_issues:
        line(f"  {issue.id}: {issue.text}")
    for note in facts.notes:
        line(f"Note: {note}")
    for problem in facts.problems:
        line(f"Problem: {problem}")


def _said(value: str) -> str:
    return value or "(not said)"


_ROLES = ("train", "validation", "test")
_COUNTS = ("rows", "live", "attack", "videos", "subjects", "units")


def print_table(console: Console, headers: list[str], rows: list[list[str]]) -> None:
    """A table without lines, and a blank line."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for header in headers:
        right = header in (*_COUNTS, "duplicates")
        table.add_column(header, justify="right" if right else "left", no_wrap=right or header == "part")
    for row in rows:
        table.add_row(*row)
    console.print(table, highlight=False, markup=False)
    console.print()
