"""Tables and lines on a console: nothing is cropped, nothing is taken for markup."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table


def print_line(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def print_rows(console: Console, headers: list[str], rows: list[list[str]]) -> None:
    """A table without lines; the console is widened where a number would be cropped."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    needed = Measurement.get(console, console.options.update(max_width=10_000, markup=False), table).maximum
    console.width = max(console.width, needed)
    console.print(table, highlight=False, markup=False)
