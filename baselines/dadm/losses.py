"""The two losses of DADM's own: angles between the features of domains, and the information tokens of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

TAU = {1: 1.0, 0: 0.85}  # cosine of features of one class and two domains: live, spoof


def angle_loss(features: Tensor, label: Tensor, domain: Tensor, released: bool = False) -> Tensor:
    """L_ang: the angles between features of two domains are pulled to a common one, class by class.

    For domains d, e and class c, f_m unit features of modality m, C_d = (cos(f_m, f_m')) over samples of d, of c:
        sum_m mean (cos(f_m^d, f_m^e) - tau_c)^2 + sum_{m < m'} mean (C_d entry - C_e entry)^2
    over all pairs of samples, and all pairs of entries. Summed over the classes, averaged over the pairs of domains.

    Args:
        features: (3, B, D).
        label, domain: (B,).
        released: defect 12. Sums in place of the means, so that the scale is about B^4; and a class that one domain
            lacks is left out for all of them where three domains are in the batch.
    """
    unit = F.normalize(features.float(), dim=-1)
    present = domain.unique().tolist()
    pairs = list(combinations(present, 2))
    total = unit.sum() * 0
    for c, tau in TAU.items():
        groups = {d: unit[:, (label == c) & (domain == d)] for d in present}  # (3, n, D) each
        if released and len(present) > 2 and not all(group.shape[1] for group in groups.values()):
            continue
        for d, e in pairs:
            if groups[d].shape[1] and groups[e].shape[1]:
                total = total + _between(groups[d], groups[e], tau, released)
    return total / max(1, len(pairs))


def _between(first: Tensor, second: Tensor, tau: float, summed: bool) -> Tensor:
    """Of (3, n, D) and (3, k, D), unit features of one class in two domains."""
    across = (first @ second.mT - tau).square()  # (3, n, k)
    result = across.sum() if summed else across.mean((1, 2)).sum()
    for m, other in combinations(range(3), 2):
        within = [(group[m] @ group[other].T).flatten() for group in (first, second)]  # n^2 and k^2 cosines
        # The mean over all couples of (x - y)^2 is var x + var y + (mean x - mean y)^2: no n^2 k^2 differences.
        spread = sum(x.var(correction=0) for x in within) + (within[0].mean() - within[1].mean()).square()
        result = result + (spread * len(within[0]) * len(within[1]) if summed else spread)
    return result


def information_loss(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """MI of one pair of modalities, summed over the blocks: log mean exp((i' + j') / 2) - mean((i + j) / 2).

    i, j are information tokens (B, D), i', j' their rows in random orders; means over batch and channels. At least 0,
    and 0 for constant tokens: minimising it shrinks their variance. It is no estimate of mutual information.
    """
    total = torch.zeros((), device=pairs[0][0].device)
    for i, j in pairs:
        i, j = i.float(), j.float()
        orders = [torch.randperm(len(i), device=i.device) for _ in range(2)]
        shuffled = ((i[orders[0]] + j[orders[1]]) / 2).flatten()
        log_mean = torch.logsumexp(shuffled, dim=0) - torch.log(shuffled.new_tensor(float(len(shuffled))))
        total = total + log_mean - ((i + j) / 2).mean()
    return total
