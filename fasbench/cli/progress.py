"""What a person sees while fasbench works, and the tables it prints."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from fasbench import summary
from fasbench.plan import Plan, Planned
from fasbench.results import Result
from fasbench.runner import ORACLE, Outcome, Reporter


class ProgressReporter(Reporter):
    """Live progress: data preparation, then loss, validation EER and AUC, samples/s and the share of time waiting."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=10),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,  # a log gets one line a data set and one an epoch instead
        )
        self.tasks: dict[str, TaskID] = {}
        self.name = ""
        self.validation = ""

    def __enter__(self) -> ProgressReporter:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def _update(self, name: str, done: int, total: int, note: str = "") -> None:
        if name not in self.tasks:
            if not self.console.is_terminal and not name.startswith("train"):
                self.console.print(f"{name}: {total:,} rows", highlight=False)
            self.tasks[name] = self.progress.add_task(name, total=total, note="")
        self.progress.update(self.tasks[name], completed=done, total=total, note=note)

    def preparing(self, dataset: str, done: int, total: int) -> None:
        self._update(f"prepare {dataset}", done, total, f"{done:,} of {total:,} rows")

    def training_starts(self, plan: Plan, planned: Planned) -> None:
        self.name = f"train {planned.split} seed {planned.seed}"
        self.validation = ""
        rows = planned.rows
        counts = f"{len(rows.train):,} training rows, {len(rows.validation):,} validation, {len(rows.test):,} test"
        where = f"{plan.entry.name} on {plan.protocol}/{planned.split}, seed {planned.seed}"
        self.console.print(f"{where}: {counts}; training {planned.key}", highlight=False, soft_wrap=True)

    def training_kept(self, planned: Planned) -> None:
        self.console.print(f"training {planned.key}: complete, not repeated", highlight=False)

    def training_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            self.validation = f"val EER {100 * event['eer']:.1f}% AUC {100 * event['auc']:.1f}%"
            if not self.console.is_terminal:  # no live bar in a log: one line an epoch
                self.console.print(f"  epoch {event['epoch']}/{event['of']}: {self.validation}", highlight=False)
            return
        speed = f"{event['samples_per_second']:.0f} samples/s, {100 * event['data_wait']:.0f}% waiting"
        done, total = (event["epoch"] - 1) * event["of"] + event["step"], event["epochs"] * event["of"]
        self._update(self.name, done, total, f"loss {event['losses']['total']:.3f} {self.validation} {speed}")

    def evaluated(self, result: Result, fresh: bool) -> None:
        if not fresh:
            e = result.evaluation
            self.console.print(f"{result.name} seed {e.seed} {e.selection}: complete, not repeated", highlight=False)


def print_outcomes(outcomes: list[Outcome], console: Console) -> None:
    """The headline table of every protocol, its legend, and where the rest lies."""
    for outcome in outcomes:
        if not outcome.results:
            console.print(f"{outcome.plan.protocol}: skipped: {outcome.plan.skipped}", highlight=False)
            continue
        headline = outcome.plan.protocol.headline
        shown = [r for r in outcome.results if r.evaluation.selection in (headline.selection, ORACLE)]
        for selection in dict.fromkeys(result.evaluation.selection for result in shown):
            _print_table(shown, selection, headline.level, console)
        console.print()
        for line in summary.legend(shown, (headline.level,)):
            console.print(f"  {line}", highlight=False, soft_wrap=True)
        console.print("Report with both levels, both selections and every attack type:")
        console.print(str(outcome.plan.folder / "report.md"), highlight=False, soft_wrap=True)


def _print_table(results: list[Result], selection: str, level: str, console: Console) -> None:
    console.print()
    console.print(summary.title(results, selection, level), style="bold", highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, header in enumerate(summary.headers(results)):
        table.add_column(header, justify="left" if number < 2 else "right", no_wrap=True)
    for row in summary.table(results, selection, level):
        table.add_row(*summary.row_texts(row), style="bold" if row.split.startswith("mean of ") else None)
    needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    console.width = max(console.width, needed)  # cropped numbers are worse than wrapped lines
    console.print(table)


def print_plan(plans: list[Plan], console: Console, anew: bool = False) -> None:
    """What a run would do, and what of it is done; `anew`: that would be done again."""
    for plan in plans:
        if plan.skipped:
            console.print(f"{plan.protocol}: {plan.entry.name} is skipped: {plan.skipped}", highlight=False)
            continue
        table = Table(title=f"{plan.entry.name} ({plan.preset}) on {plan.protocol}", title_justify="left", box=None)
        for header in ("split", "seed", "training", "epochs", "train / validation / test rows", "conditions"):
            table.add_column(header)
        for planned in plan.trainings:
            rows = planned.rows
            table.add_row(
                planned.split,
                str(planned.seed),
                planned.key,
                f"{planned.epochs_done} of {plan.config.train.epochs} done" + (", would be discarded" if anew else ""),
                f"{len(rows.train):,} / {len(rows.validation):,} / {len(rows.test):,}",
                ", ".join(planned.conditions),
            )
        console.print(table)
        console.print(f"Results: {plan.folder}", highlight=False, soft_wrap=True)
