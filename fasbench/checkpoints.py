"""Scores of a training's checkpoints: of those that are kept, and on request of every epoch as it comes.

An epoch chosen by the test set is what much of the literature reports. It is computed here to compare with it, marked
everywhere, and never ranked with numbers that did not see the test set.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from fasbench import metrics, training
from fasbench.data.conditions import CONDITIONS_VERSION
from fasbench.data.splits import SplitRows
from fasbench.errors import FasbenchError
from fasbench.method import Method
from fasbench.plan import Plan, Planned, build_method
from fasbench.protocol import Condition
from fasbench.resources import sha256, write_atomic
from fasbench.scoring import as_scores, score_rows

ROLES = ("validation", "test")


class Checkpoints:
    """Scores of a training's checkpoints. Each is loaded when it is needed, and nothing is scored twice."""

    def __init__(self, plan: Plan, planned: Planned, device: torch.device, epochs: EpochScores | None = None) -> None:
        self.plan = plan
        self.planned = planned
        self.device = device
        self.epochs = epochs
        self._method: Method | None = None
        self._loaded: int | None = None
        self._scores: dict[tuple[int, str, str], metrics.Scores] = {}

    def scores(self, epoch: int, role: str, condition: Condition) -> metrics.Scores:
        """Scores of the `validation` or `test` rows by the checkpoint of `epoch`, as the role sees the condition."""
        seen = condition.of(role)
        key = (epoch, role, seen.key)
        if key not in self._scores:
            rows = getattr(self.planned.rows, role)
            if self.epochs is not None:  # of an epoch that oracle selection chose, the weights may be gone
                scores = self.epochs.scores(epoch, role, condition)
            else:
                batch_size = self.plan.config.train.score_batch_size
                scores = score_rows(self._load(epoch), rows, self.device, batch_size, seen)
            self._scores[key] = as_scores(rows, scores)
        return self._scores[key]

    def _load(self, epoch: int) -> Method:
        if self._method is None:
            method = build_method(self.plan.kind, self.plan.config, self.planned.rows.sources, self.planned.seed)
            self._method = method.to(self.device)
        if self._loaded != epoch:
            training.load_weights(self._method, self.planned.folder, epoch)
            self._loaded = epoch
        return self._method


class EpochScores:
    """Scores of a training's checkpoints as they come, under the conditions that are to be evaluated.

    Args:
        folder: of the training.
        rows: of its split.
        conditions: by name.
        batch_size: of scoring.
    """

    def __init__(
        self, folder: Path, rows: SplitRows, conditions: dict[str, Condition], device: torch.device, batch_size: int
    ) -> None:
        self.folder = folder
        self.rows = rows
        self.conditions = conditions
        self.device = device
        self.batch_size = batch_size

    def note(self, epoch: int, method: Method) -> None:
        """Score the checkpoint of `epoch` (from 0), before the training counts it as finished."""
        for role in ROLES:
            for condition in {c.of(role).key: c.of(role) for c in self.conditions.values()}.values():
                scores = score_rows(method, getattr(self.rows, role), self.device, self.batch_size, condition)
                buffer = io.BytesIO()
                np.save(buffer, scores, allow_pickle=False)
                write_atomic(self._path(epoch, role, condition), buffer.getvalue())

    def require(self, epochs: Iterable[int]) -> None:
        """Raise FasbenchError unless every one of the epochs has been noted, and is intact."""
        lacking = [
            epoch + 1
            for epoch in epochs
            if any(self._read(epoch, role, c.of(role)) is None for role in ROLES for c in self.conditions.values())
        ]
        if lacking:
            raise FasbenchError(
                f"oracle selection needs the test scores of every epoch, and training {self.folder.name} went without "
                f"them in epoch(s) {', '.join(map(str, lacking))}. Train it again: --oracle --overwrite always"
            )

    def scores(self, epoch: int, role: str, condition: Condition) -> np.ndarray:
        """Scores of the rows of a role under what the role sees of a condition, (N,)."""
        scores = self._read(epoch, role, condition.of(role))
        assert scores is not None, "see require"
        return scores

    def choose(self, condition: Condition, epochs: int) -> tuple[int, int]:
        """The epoch (from 0) with the lowest frame-level EER on the test set, and how many share it.

        Ties go to the higher AUC, then to the earlier epoch.
        """
        labels = self.rows.test["label"]
        ranks = []
        for epoch in range(epochs):
            scores = self.scores(epoch, "test", condition)
            ranks.append((metrics.eer(scores, labels).value, -metrics.auc(scores, labels), epoch))
        best = min(ranks)
        return best[2], sum(rank[0] == best[0] for rank in ranks)

    def _read(self, epoch: int, role: str, condition: Condition) -> np.ndarray | None:
        """What was noted; None if it was not, or is damaged."""
        try:
            scores = np.load(self._path(epoch, role, condition), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return scores if scores.shape == (len(getattr(self.rows, role)),) else None

    def _path(self, epoch: int, role: str, condition: Condition) -> Path:
        rows = getattr(self.rows, role).content_sha256()
        key = sha256(rows, condition.key, str(CONDITIONS_VERSION))[:16]
        return self.folder / "epochs" / key / f"{epoch + 1}.npy"
