"""Scores of a training's checkpoints: of those that are kept, and on request of every epoch as it comes.

An epoch chosen by the test set is what much of the literature reports. It is computed here to compare with it, marked
everywhere, and never ranked with numbers that did not see the test set.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from fasbench import metrics, training
from fasbench.data.conditions import CONDITIONS_VERSION
from fasbench.data.loading import Rows
from fasbench.data.splits import SplitRows
from fasbench.errors import FasbenchError
from fasbench.method import Method
from fasbench.plan import Plan, Planned, build_method
from fasbench.protocol import Condition
from fasbench.resources import sha256, write_atomic
from fasbench.scoring import SCORING_VERSION, as_scores, score_rows

ROLES = ("validation", "test")


class Checkpoints:
    """Scores of a training's checkpoints. Each is loaded when it is needed, and nothing is scored twice."""

    def __init__(
        self, plan: Plan, planned: Planned, state: training.State, device: torch.device, epochs: EpochScores | None
    ) -> None:
        self.plan = plan
        self.planned = planned
        self.state = state
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
            if self.epochs is not None and training.weights_file(epoch) not in self.state.files:
                scores = self.epochs.scores(self.state.weights[epoch], rows, seen)  # the weights are gone
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
    """Scores of every checkpoint of a training, noted as they come, under all conditions that are to be evaluated.

    A note is named by the checkpoint's hash, so it never passes for that of other weights.

    Args:
        folder: of the training.
        targets: the rows and conditions of every protocol that evaluates the training.
        batch_size: of scoring.
    """

    def __init__(
        self, folder: Path, targets: Sequence[tuple[SplitRows, Condition]], device: torch.device, batch_size: int
    ) -> None:
        self.folder = folder
        self.needed = {
            self._key(getattr(rows, role), condition.of(role)): (getattr(rows, role), condition.of(role))
            for rows, condition in targets
            for role in ROLES
        }
        self.device = device
        self.batch_size = batch_size

    def note(self, weights: str, method: Method) -> None:
        """Score the method, whose checkpoint has the hash `weights`."""
        for key, (rows, condition) in self.needed.items():
            scores = score_rows(method, rows, self.device, self.batch_size, condition)
            buffer = io.BytesIO()
            np.savez(buffer, scores=scores, sha256=np.array(_content_sha256(scores)))
            write_atomic(self._path(key, weights), buffer.getvalue())

    def require(self, checkpoints: Sequence[str]) -> None:
        """Raise FasbenchError unless all the checkpoints have been noted, and the notes are intact."""
        lacking = [
            epoch
            for epoch, weights in enumerate(checkpoints, start=1)
            if any(self._read(key, weights, len(rows)) is None for key, (rows, _) in self.needed.items())
        ]
        if lacking:
            raise FasbenchError(
                f"oracle selection needs the test scores of every epoch, and training {self.folder.name} went without "
                f"them in epoch(s) {', '.join(map(str, lacking))}. Train it again: --oracle --overwrite always"
            )

    def scores(self, weights: str, rows: Rows, condition: Condition) -> np.ndarray:
        """What was noted of a checkpoint, (N,)."""
        scores = self._read(self._key(rows, condition), weights, len(rows))
        assert scores is not None, "see require"
        return scores

    def choose(self, checkpoints: Sequence[str], test: Rows, condition: Condition) -> tuple[int, int]:
        """The epoch (from 0) with the lowest frame-level EER on the test rows, and how many share it.

        Ties go to the higher AUC, then to the earlier epoch.
        """
        labels = test["label"]
        ranks = []
        for epoch, weights in enumerate(checkpoints):
            scores = self.scores(weights, test, condition)
            ranks.append((metrics.eer(scores, labels).value, -metrics.auc(scores, labels), epoch))
        best = min(ranks)
        return best[2], sum(rank[0] == best[0] for rank in ranks)

    def _key(self, rows: Rows, condition: Condition) -> str:
        versions = f"{CONDITIONS_VERSION} {SCORING_VERSION}"
        return sha256(rows.content_sha256(), condition.key, versions)[:16]

    def _read(self, key: str, weights: str, rows: int) -> np.ndarray | None:
        """What was noted; None if it was not, or is damaged."""
        try:
            with np.load(self._path(key, weights), allow_pickle=False) as note:
                scores, digest = note["scores"], str(note["sha256"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return scores if scores.shape == (rows,) and digest == _content_sha256(scores) else None

    def _path(self, key: str, weights: str) -> Path:
        return self.folder / "epochs" / key / f"{weights[:16]}.npz"


def _content_sha256(scores: np.ndarray) -> str:
    return hashlib.sha256(scores.tobytes()).hexdigest()
