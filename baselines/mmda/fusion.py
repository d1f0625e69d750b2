"""MD2A, modality-domain joint differential attention: three modality vectors become one, less their domain's noise."""

from __future__ import annotations

import math

import torch
from fasbench.baselines.mmda.moe import MixtureOfExperts, rms_norm
from torch import Tensor, nn

LAMBDA_0 = 0.8 - 0.6 * math.exp(-3.6)
DROPOUT = 0.1


class MD2A(nn.Module):
    """Attention between the modalities of a sample, minus that of a partner from the same domain.

    X = [v_rgb; v_depth; v_ir] of the sample, X' of its partner; n = LN1(X), n' = LN1(X').
    A = softmax(Q n (K n)^T / tau), A' = softmax(Q' n' (K' n')^T / tau), 16 heads.
    lambda = exp(l_q1 . l_k1) - exp(l_q2 . l_k2) + lambda_0.
    X_1 = X + (1 - lambda_0) RMSNorm((A - lambda A') V n);  X_2 = MoE(LN2(X_1));  Y = X + X_1 + X_2.
    e_0 = W vec(Y) + b.  An absent modality is no key, passes no expert, and its row of Y is 0.
    """

    def __init__(self, width: int, heads: int, number: int, released: bool) -> None:
        super().__init__()
        self.heads = heads
        # 7: the released temperature is that of the full width: attention is nearly uniform.
        self.temperature = math.sqrt(width if released else width // heads)  # tau
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.partner_query, self.partner_key = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.lambdas = nn.Parameter(torch.empty(4, width))  # l_q1, l_k1, l_q2, l_k2
        nn.init.normal_(self.lambdas, std=0.1)
        self.gain = nn.Parameter(torch.ones(width))  # of the RMSNorm
        self.dropout = nn.Dropout(DROPOUT)
        self.moe = MixtureOfExperts(width, number, released)
        self.project = nn.Linear(3 * width, width)  # W, b

    def forward(self, x: Tensor, partner: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """e_0 (B, D) and the auxiliary loss.

        Args:
            x: X, (B, 3, D) in fp32.
            partner: index of each sample's partner, (B,). It must have the sample's modalities.
            present: (B, 3) bool.
        """
        with torch.autocast(x.device.type, enabled=False):  # a difference of nearly equal maps
            difference = self.attend(x, x[partner], present)
        x1 = x + (1 - LAMBDA_0) * self.gain * rms_norm(difference)
        refined, auxiliary = self.moe(self.norm2(x1)[present])
        x2 = torch.zeros_like(x1)
        x2[present] = refined
        y = torch.where(present[..., None], x + x1 + x2, 0.0)
        return self.project(y.flatten(1)).float(), auxiliary

    def attend(self, x: Tensor, other: Tensor, present: Tensor) -> Tensor:
        """(A - lambda A') V n, the heads side by side: (B, 3, D).

        Args:
            x, other: X and X', (B, 3, D).
        """
        n, n_other = self.norm1(x), self.norm1(other)
        own = self._map(self.query(n), self.key(n), present)  # A (B, heads, 3, 3)
        noise = self._map(self.partner_query(n_other), self.partner_key(n_other), present)  # A'
        difference = self.dropout(own) - self.strength() * self.dropout(noise)
        return (difference @ self._split(self.value(n))).transpose(1, 2).flatten(2)

    def strength(self) -> Tensor:
        """lambda"""
        q1, k1, q2, k2 = self.lambdas
        return (q1 * k1).sum().exp() - (q2 * k2).sum().exp() + LAMBDA_0

    def _map(self, query: Tensor, key: Tensor, present: Tensor) -> Tensor:
        logits = self._split(query) @ self._split(key).transpose(-1, -2) / self.temperature
        absent = ~present[:, None, None, :]
        return logits.masked_fill(absent, torch.finfo(logits.dtype).min).softmax(-1)

    def _split(self, x: Tensor) -> Tensor:
        """(B, 3, D) -> (B, heads, 3, D / heads)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def random_partner(domain: Tensor, present: Tensor) -> Tensor:
    """For each sample another one of its domain that has all its modalities, at random; itself if there is none: (B,).

    Args:
        domain: (B,).
        present: (B, 3) bool.
    """
    itself = torch.arange(len(domain), device=domain.device)
    covers = (present[None] | ~present[:, None]).all(-1)  # (B, B): the column has what the row has
    legal = (domain[:, None] == domain) & covers & (itself[:, None] != itself)
    draw = torch.rand(legal.shape, device=domain.device).masked_fill(~legal, -1.0).argmax(1)
    return torch.where(legal.any(1), draw, itself)


def first_partner(domain: Tensor, together: Tensor) -> Tensor:
    """The first sample of the same domain and the same micro-batch, often the sample itself: (B,).

    Args:
        domain: (B,).
        together: (B, B) bool, whether two samples share a micro-batch.
    """
    return ((domain[:, None] == domain) & together).int().argmax(1)  # of equal ones, the first
