"""The mixture of experts that MMDA uses 16 times: in its fusion, in every layer of U-DSA, in its classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EXPERTS, CONSTANTS, USED = 4, 3, 2
SURE = 0.2  # a second expert with at least this weight is always used
BALANCE, ROUTER_Z = 1e-2, 1e-3  # weights of the auxiliary losses


def rms_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean x^2) over the last dimension, in fp32."""
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class MixtureOfExperts(nn.Module):
    """m(x) = sum over the two likeliest experts i of w_i E_i(x), the router being p = softmax(G x).

    E_1..E_4: W_2 (b * gain * GELU(a)) with [b; a] = W_1 RMSNorm(x).  E_5..E_7: a learnt vector, whatever x is.
    w = (g_1, s g_2), g = the two largest p, made to sum to 1; s = 1 with probability min(1, g_2 / 0.2), else 0.
    There are few tokens and all experts see them all: what is not chosen has weight 0.

    Args:
        width: D.
        number: 0, 1, ...: which of the model's mixtures this is.
    """

    def __init__(self, width: int, number: int, released: bool) -> None:
        super().__init__()
        hidden = width * 8 // 3
        self.released = released
        self.draw = (number + 1) * 0.6180339887 % 1  # golden ratio: the draws of 16 mixtures are spread evenly
        self.gate = nn.Linear(width, EXPERTS + CONSTANTS, bias=False)  # G
        self.norm = nn.Parameter(torch.ones(EXPERTS, 1, width))
        self.inner = nn.Parameter(torch.empty(EXPERTS, width, 2 * hidden))  # W_1
        self.inner_bias = nn.Parameter(torch.empty(EXPERTS, 1, 2 * hidden))
        self.gain = nn.Parameter(torch.ones(EXPERTS, 1, hidden))
        self.outer = nn.Parameter(torch.empty(EXPERTS, hidden, width))  # W_2
        self.outer_bias = nn.Parameter(torch.empty(EXPERTS, 1, width))
        self.constants = nn.Parameter(torch.empty(CONSTANTS, width))
        for weight, bias in ((self.inner, self.inner_bias), (self.outer, self.outer_bias)):
            bound = weight.shape[1] ** -0.5  # as nn.Linear does
            nn.init.uniform_(weight, -bound, bound)
            nn.init.uniform_(bias, -bound, bound)
        nn.init.normal_(self.constants, std=0.02)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(T, D) tokens -> (T, D) in fp32, and the call's auxiliary loss."""
        weights, auxiliary = self.route(x)
        outputs = self.experts(x)
        with torch.autocast(x.device.type, enabled=False):
            chosen = torch.einsum("te,etd->td", weights[:, :EXPERTS], outputs.float())
            return chosen + weights[:, EXPERTS:] @ self.constants, auxiliary

    def experts(self, x: Tensor) -> Tensor:
        """E_1..E_4 of all tokens, (4, T, D)."""
        value, gate = torch.baddbmm(self.inner_bias, rms_norm(x) * self.norm, self.inner).chunk(2, dim=-1)
        return torch.baddbmm(self.outer_bias, value * self.gain * F.gelu(gate), self.outer)

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weight of every expert, (T, 7), and 10^-2 balance + 10^-3 z.

        balance = 7 sum_i f_i mean(p_i), f_i being the share of tokens whose first choice is i; z = mean logsumexp^2.
        """
        with torch.autocast(x.device.type, enabled=False):
            logits = self.gate(x.float())
        p = logits.softmax(-1)
        top, chosen = p.topk(USED, dim=-1)  # (T, 2)
        first, second = (top / top.sum(-1, keepdim=True)).unbind(-1)
        second = torch.where(self._use_second(second), second, 0.0)
        weights = torch.zeros_like(p).scatter(-1, chosen, torch.stack([first, second], dim=-1))
        share = F.one_hot(chosen[:, 0], p.shape[-1]).float().mean(0)
        balance = p.shape[-1] * (share * p.mean(0)).sum()
        return weights, BALANCE * balance + ROUTER_Z * logits.logsumexp(-1).square().mean()

    def _use_second(self, weight: Tensor) -> Tensor:
        """s, (T,) bool: at random in training, always at evaluation."""
        if self.training:
            return torch.rand_like(weight) < weight / SURE
        if self.released:  # 8: random at evaluation. One draw a mixture, for all samples, so that a score is its own
            return weight > self.draw * SURE
        return torch.ones_like(weight, dtype=torch.bool)
