"""U-Adapter: a bottleneck beside the MLP through which a modality listens to another one, as far as it is certain."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fasbench.layers.adapters import scalar_attention, start_bottleneck
from fasbench.layers.clip import quick_gelu
from fasbench.layers.convolution import CentralDifferenceConv2d, convolve_tokens


class DropoutCertainty(nn.Module):
    """How certain each token is, from n Monte-Carlo dropout masks on its attention output a.

    u = exp(-r std) per channel, std the unbiased standard deviation of the n samples a * mask / (1 - p), and its mean
    over the channels. An activation that k of n masks keep has std = |a| / (1 - p) sqrt(k (n - k) / (n (n - 1))), so
    that no sample is drawn but k ~ Binomial(n, 1 - p).

    Args:
        samples: n; None takes the closed form, std = sqrt(p / (1 - p)) |a|: the "uncertainty" of a fixed vector is its
            magnitude.
        rate: r.
        seed: of the masks at evaluation. They are the same for every sample and call, since a score must not depend on
            the rest of its batch.
    """

    def __init__(self, samples: int | None, rate: float, dropout: float = 0.3, seed: int = 0) -> None:
        super().__init__()
        self.samples, self.rate, self.dropout, self.seed = samples, rate, dropout, seed

    @torch.no_grad()
    def forward(self, a: Tensor) -> Tensor:
        """a (B, N, D) -> mean over the channels of u, (B, N), in (0, 1]."""
        a = a.float()
        p, n = self.dropout, self.samples
        if n is None:
            return torch.exp(-self.rate * math.sqrt(p / (1 - p)) * a.abs()).mean(-1)
        if self.training:
            kept = torch.binomial(torch.full_like(a, n), torch.full_like(a, 1 - p))
        else:
            trials = torch.full(a.shape[1:], float(n))
            generator = torch.Generator().manual_seed(self.seed)
            kept = torch.binomial(trials, torch.full_like(trials, 1 - p), generator=generator).to(a.device)
        std = a.abs() / (1 - p) * (kept * (n - kept) / (n * (n - 1))).sqrt()
        return torch.exp(-self.rate * std).mean(-1)


class UAdapter(nn.Module):
    """A(own, auxiliary, u) of one pair of modalities in one block.

    z_o = phi(W_o own), z_a = phi(W_a auxiliary);  q = Q z_a, k = K z_o, v = V z_o;  logits l_ij = u_i q_i k_j;
    t = CDC(LN(softmax(l) v + z_o));  A = U drop(phi(t)).  phi = QuickGELU, d heads of one dimension. U starts at zero.
    """

    def __init__(self, width: int, channels: int = 8, theta: float = 0.5, dropout: float = 0.2) -> None:
        super().__init__()
        self.down_own = nn.Linear(width, channels)  # W_o
        self.down_auxiliary = nn.Linear(width, channels)  # W_a
        self.query = nn.Linear(channels, channels, bias=False)  # Q
        self.key = nn.Linear(channels, channels, bias=False)  # K
        self.value = nn.Linear(channels, channels, bias=False)  # V
        self.project = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.convolution = CentralDifferenceConv2d(channels, channels, theta)
        self.dropout = nn.Dropout(dropout)
        self.up = nn.Linear(channels, width)  # U
        start_bottleneck([self.down_own, self.down_auxiliary], self.up)

    def forward(self, own: Tensor, auxiliary: Tensor, certainty: Tensor) -> Tensor:
        """
        Args:
            own: tokens that are asked, (B, N, D).
            auxiliary: the first Q tokens of the other modality, which ask, (B, Q, D).
            certainty: u of these, (B, Q).
        Returns:
            (B, Q, D)
        """
        z_own, z_aux = quick_gelu(self.down_own(own)), quick_gelu(self.down_auxiliary(auxiliary))
        with torch.autocast(own.device.type, enabled=False):  # d is small, and the convolution nearly cancels
            z_own, z_aux = z_own.float(), z_aux.float()  # (B, N, d), (B, Q, d)
            query = certainty[..., None] * self.query(z_aux)  # row i of the logits is damped by u_i
            heard = self.project(scalar_attention(query, self.key(z_own), self.value(z_own)))
            t = self.norm(heard + z_own[:, : query.shape[1]])
            t = convolve_tokens(t, self.convolution.folded())
        return self.up(self.dropout(quick_gelu(t)))
