"""Checkpoint x condition -> scores. A method sees images only, in shuffled order, in fp32."""

from __future__ import annotations

import numpy as np
import torch

from fasbench.data.conditions import degrade
from fasbench.data.loading import Rows, to_inputs
from fasbench.data.record import presented_by
from fasbench.data.taxonomy import family
from fasbench.errors import FasbenchError
from fasbench.method import Method
from fasbench.metrics import Scores
from fasbench.protocol import Condition
from fasbench.seeding import numpy_generator

FULL = Condition()  # every sensor as it is
SCORING_VERSION = 1  # raise it when a change here, of the loading or of `live_probability` changes scores


def score_rows(
    method: Method, rows: Rows, device: torch.device, batch_size: int, condition: Condition = FULL
) -> np.ndarray:
    """The method's score of every row under a condition, (N,) float64.

    The order is shuffled by a fixed seed: in the official lists neighbours share a label, so a method whose score
    depends on the rest of its batch would gain from it. A repeated list row (`id#2`) inherits the first one's score.

    Raises:
        FasbenchError: the method returns anything but one finite float64 score in [0, 1] a sample.
    """
    ids = np.array([text.split("#")[0] for text in rows["id"]])
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    order = first[numpy_generator(0, "score-order").permutation(len(first))]
    scores = np.full(len(rows), np.nan)
    method.eval()
    # no_grad, not inference_mode: what a method caches while scoring must be usable in training. TF32 would cut the
    # mantissa of fp32 convolutions to 10 bits, and scores would depend on the batch size.
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for start in range(0, len(order), batch_size):
            positions = order[start : start + batch_size]
            groups = rows.read(positions)
            if condition.degrade:
                groups = [degrade(group, rows["id"][positions[group.where]], condition.degrade) for group in groups]
            inputs = to_inputs(groups, method.config, device, condition.absent)
            result = method.score(inputs)
            check_scores(method, result, len(positions))
            scores[positions] = result.cpu().numpy()
    return scores[first][inverse]


def check_scores(method: Method, result: torch.Tensor, count: int) -> None:
    """Raise FasbenchError unless `result` is one finite float64 score in [0, 1] for each of `count` samples."""
    name = type(method).__name__
    if not isinstance(result, torch.Tensor) or result.shape != (count,) or result.dtype != torch.float64:
        found = f"{result.dtype} {tuple(result.shape)}" if isinstance(result, torch.Tensor) else type(result).__name__
        raise FasbenchError(f"{name}.score returned {found}, expected float64 ({count},). See live_probability")
    legal = (result >= 0) & (result <= 1)  # False for NaN
    if not bool(legal.all()):
        raise FasbenchError(f"{name}.score returned {float(result[~legal][0])}, expected values in [0, 1]")


def as_scores(rows: Rows, scores: np.ndarray) -> Scores:
    """Scores with the columns of their rows, and the groups that slices are made of where the data set knows them."""
    columns = {name: rows[name] for name in ("attack_fine", "race")}
    columns["attack_family"] = np.array([family(attack) for attack in rows["attack"]], dtype=object)
    columns["presented_by"] = presented_by(rows["domain"], rows["label"], rows["presenter"])
    groups = {name: column for name, column in columns.items() if (column != "").any()}
    return Scores(
        scores, rows["label"], rows["unit"], rows["video"], rows["domain"], rows["attack"], rows["id"], groups=groups
    )
