"""ReGrad: gradients of per-modality losses, projected on each other before they are added (MMDG, CVPR 2024; MMDG++).

The rule acts tensor by tensor. Gradients here are (..., P): flat tensors of one shape and owner, any number at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Rule = Literal["4", "3", "2", "1", "pairwise", "off"]
RELEASED_EPSILON = 1e-8  # defect B21: absolute, so that small gradients lose most of their projection


def project(a: Tensor, b: Tensor, epsilon: float = 0.0) -> tuple[Tensor, Tensor]:
    """proj_b(a) = (<a, b> / (|b|^2 + epsilon)) b, 0 for b = 0; and <a, b> (..., 1)."""
    dot, square = (a * b).sum(-1, keepdim=True), (b * b).sum(-1, keepdim=True) + epsilon
    return torch.where(square > 0, dot / square, 0.0) * b, dot


def modulate(a: Tensor, b: Tensor, rule: Rule = "4", epsilon: float = 0.0) -> Tensor:
    """P(a|b): the part of gradient a that does not harm b.

    Rule 4: proj_b(a) if <a, b> > 0, else a - proj_b(a). Rule 1: always a - proj_b(a). Rule 2: only a positive
    projection. Rule 3: a without a negative projection.
    """
    along, dot = project(a, b, epsilon)
    if rule == "1":
        return a - along
    if rule == "2":
        return torch.where(dot > 0, along, 0.0)
    if rule == "3":
        return torch.where(dot < 0, a - along, a)
    return torch.where(dot > 0, along, a - along)


def gradients_of(
    losses: Mapping[int, Tensor], tensors: Sequence[nn.Parameter]
) -> dict[int, dict[nn.Parameter, Tensor]]:
    """g_j: the gradient of the loss of each modality for the tensors it reaches. The graph is kept."""
    gradients = {}
    for j, loss in losses.items():
        found = torch.autograd.grad(loss, tensors, retain_graph=True, allow_unused=True)
        gradients[j] = {p: g for p, g in zip(tensors, found, strict=True) if g is not None}
    return gradients


def add_rebalanced(
    owned: Iterable[nn.Parameter],
    owner: int,
    gradients: Mapping[int, Mapping[nn.Parameter, Tensor]],
    momentum: Sequence[float],
    reliability: Sequence[Tensor | float],
    rule: Rule = "4",
    epsilon: float = 0.0,
) -> None:
    """Add G_m to `p.grad` of a modality's tensors: each by itself, those of one shape at once.

    Args:
        owned: tensors of modality m; one that no loss reaches is left alone.
        gradients: of the loss of each modality that is compared, for the tensors it reaches.

    The others as in `rebalance`.
    """
    by_shape: dict[torch.Size, list[nn.Parameter]] = {}
    for p in owned:
        if any(p in reached for reached in gradients.values()):
            by_shape.setdefault(p.shape, []).append(p)
    for tensors in by_shape.values():
        stacked = {
            j: torch.stack([reached[p] if p in reached else torch.zeros_like(p) for p in tensors]).flatten(1)
            for j, reached in gradients.items()
        }  # (T, P) each
        for p, g in zip(tensors, rebalance(stacked, owner, momentum, reliability, rule, epsilon), strict=True):
            p.grad = g.view_as(p) if p.grad is None else p.grad + g.view_as(p)


def rebalance(
    gradients: Mapping[int, Tensor],
    owner: int,
    momentum: Sequence[float],
    reliability: Sequence[Tensor | float],
    rule: Rule = "4",
    epsilon: float = 0.0,
) -> Tensor:
    """G_m of the tensors owned by modality m, to be added to the gradient of the classification loss.

    m slow: G_m = g_m + sum_j k_j P(g_j|g_m);  m fast: G_m = k_m P(g_m | sum_j g_j) + sum_j g_j,  j over the others.
    m is fast iff its loss is strictly the smallest. Rule 1 projects on each other gradient apart, and takes the mean.

    Rule `off` adds all gradients as they are. Rule `pairwise` is the MMDG paper's Eq. 5, the slower of two being the
    base: with j, g_m + k_j P(g_j|g_m) if j is faster, else k_m P(g_m|g_j) + g_j. With three modalities the parts of g_m
    are averaged over the pairs (our reading).

    Args:
        gradients: g_j (..., P) of the loss of each available modality; zeros where it does not reach the tensor.
        owner: m, one of them.
        momentum: loss of each modality, averaged over time; the smallest converges fastest.
        reliability: k_j in [0, 1] of each modality.
    """
    own = gradients[owner]
    others = [j for j in gradients if j != owner]
    if not others:
        return own
    if rule == "off":
        return torch.stack(list(gradients.values())).sum(0)
    slower = {j: momentum[owner] < momentum[j] for j in others}  # than the owner
    if rule == "pairwise":
        parts = [reliability[owner] * modulate(own, gradients[j], "4", epsilon) if slower[j] else own for j in others]
        received = [
            gradients[j] if slower[j] else reliability[j] * modulate(gradients[j], own, "4", epsilon) for j in others
        ]
        return torch.stack(parts).mean(0) + torch.stack(received).sum(0)
    if not all(slower.values()):
        received = [reliability[j] * modulate(gradients[j], own, rule, epsilon) for j in others]
        return own + torch.stack(received).sum(0)
    rest = torch.stack([gradients[j] for j in others])
    bases = rest if rule == "1" else rest.sum(0, keepdim=True)
    kept = modulate(own, bases, rule, epsilon).mean(0)
    return reliability[owner] * kept + rest.sum(0)
