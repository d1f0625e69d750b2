"""A quick run on the tiny protocol, and a reporter that counts what it did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fasbench.plan import Request
from fasbench.runner import Reporter

QUICK = ("train.epochs=3", "train.steps_per_epoch=4", "train.batch_size=8", "model.image_size=32")


def request(method: str, protocol: Path | str, out: Path, **changes) -> Request:
    return replace(Request(method=method, protocol=str(protocol), sets=QUICK, out=out, device="cpu"), **changes)


class Log(Reporter):
    """Counts what the runner reports."""

    def __init__(self):
        self.trained, self.fresh, self.kept = [], [], []

    def training_starts(self, plan, planned):
        self.trained.append((planned.split, planned.seed))

    def evaluated(self, result, fresh):
        (self.fresh if fresh else self.kept).append(result.name)
