"""PG-IRM: the hyperplanes of the domains are drawn together after each step (SA-FAS, CVPR 2023; DADM, ICCV 2025)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def draw_together(heads: Sequence[Tensor], alpha: float) -> None:
    """Move each domain's hyperplane a little towards the farthest other one, in place, all at once.

    u_e = w_e / |w_e|;  j(e) = argmin_{k != e} <u_e, u_k>;  w_e <- |w_e| normalise(alpha u_e + (1 - alpha) u_j(e)).
    Norms are taken row by row and kept; <.,.> sums over the rows. Biases are not moved. A single head stays.

    Args:
        heads: weights w_e of one linear layer for each domain, (R, D) each; R = 1 for one output.
        alpha: in [0, 1]; 1 changes nothing.
    """
    if len(heads) < 2:
        return
    weights = torch.stack([head.float() for head in heads])  # (E, R, D)
    unit = F.normalize(weights, dim=-1)
    similarity = (unit.flatten(1) @ unit.flatten(1).T).fill_diagonal_(torch.inf)  # (E, E)
    far = unit[similarity.argmin(dim=1)]  # (E, R, D)
    moved = weights.norm(dim=-1, keepdim=True) * F.normalize(alpha * unit + (1 - alpha) * far, dim=-1)
    for head, new in zip(heads, moved, strict=True):
        head.copy_(new)
