"""U-Adapter++: a bottleneck beside the MLP through which a modality asks another one, as far as it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.layers.adapters import scalar_attention, start_bottleneck
from fasbench.layers.clip import quick_gelu
from fasbench.layers.convolution import CentralDifferenceConv2d, convolve_tokens


class GaussianQuery(nn.Module):
    """A candidate query: each token and channel is N(mu, exp(s)), mu = M q, s = S q, q = Q z."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(channels, channels, bias=False)  # Q
        self.mean = nn.Linear(channels, channels, bias=False)  # M
        self.log_variance = nn.Linear(channels, channels, bias=False)  # S

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """mu and s of z (..., d). Clamped, or exp(s) overflows for a token far from the training data."""
        q = self.query(z)
        return self.mean(q), self.log_variance(q).clamp(-10, 10)


class Drawn(NamedTuple):
    """What the samples of a candidate come to."""

    value: Tensor  # mean of the samples, (..., d)
    certainty: Tensor  # exp(-r u), u their variance averaged over the channels, (..., 1)


class UAdapterPlusPlus(nn.Module):
    """A_m(own <- auxiliary) of one modality and block.

    Args:
        width: D of the trunk.
        channels: d of the bottleneck, also the number of attention heads (of one dimension each).
        samples: K; None takes the closed form (K = infinity) in training too.
        rate: r; 0 switches the uncertainty off: every certainty is 1, and candidate A is always taken.
        selection: `auxiliary` always takes candidate A instead of choosing by certainty.
        released: defects B1 and B10 as in the released code.
        seed: of the draws that B10 makes at evaluation.
    """

    def __init__(
        self,
        width: int,
        channels: int = 8,
        samples: int | None = 50,
        rate: float = 2.5,
        theta: float = 0.5,
        selection: Literal["certainty", "auxiliary"] = "certainty",
        released: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.samples, self.rate, self.released, self.seed = samples, rate, released, seed
        self.always_auxiliary = selection == "auxiliary" or rate == 0
        self.down_own = nn.Linear(width, channels)  # W_o
        self.down_auxiliary = nn.Linear(width, channels)  # W_a
        self.norm_own = nn.LayerNorm(channels)  # LN_o
        self.norm_auxiliary = nn.LayerNorm(channels)  # LN_a, used again after the attention (B11)
        self.candidate_auxiliary = GaussianQuery(channels)  # candidate A
        self.candidate_own = GaussianQuery(channels)  # candidate O
        self.key = nn.Linear(channels, channels, bias=False)  # K
        self.value = nn.Linear(channels, channels, bias=False)  # V
        self.project = nn.Linear(channels, channels)
        self.linear = nn.Linear(channels, channels)  # L
        self.convolution = CentralDifferenceConv2d(channels, channels, theta)
        self.up = nn.Linear(channels, width)
        start_bottleneck([self.down_own, self.down_auxiliary, self.linear], self.up)

    def forward(
        self, own: Tensor, auxiliaries: Sequence[Tensor | None], available: Sequence[Tensor], tokens: int
    ) -> tuple[Tensor, Tensor]:
        """Sum of the outputs for both auxiliaries, and the modality's reliability.

        Args:
            own: n_own (B, N, D), tokens of the modality itself.
            auxiliaries: n_aux (B, Q, D) of the two others; None where no sample has the modality.
            available: for each of them which samples have it, (B,) bool. The others ask themselves: z_own stands in
                for z_aux.
            tokens: Q, how many of the first tokens are wanted: N, or 1 for the class token alone.
        Returns:
            (B, Q, D), and the class token's certainty averaged over both calls, (B,), without gradient.
        """
        z_own = self.norm_own(quick_gelu(self.down_own(own)))  # (B, N, d)
        downs = [None if n is None else self.norm_auxiliary(quick_gelu(self.down_auxiliary(n))) for n in auxiliaries]
        with torch.autocast(own.device.type, enabled=False):  # d is small, and exp wants all its digits
            z_own = z_own.float()
            z_query = z_own[:, :tokens]  # (B, Q, d)
            z_aux = torch.stack(
                [
                    z_query if z is None else torch.where(has[:, None, None], z.float(), z_query)
                    for z, has in zip(downs, available, strict=True)
                ]
            )  # (2, B, Q, d)
            query, reliability = self._query(z_query, z_aux)
            t = self.project(self._attend(query, z_own)) + z_query
            t = t + self.linear(self.norm_auxiliary(t))
            activated = quick_gelu(self._convolve(t)).sum(0)  # (B, Q, d): the last layer is linear, so sum before it
        return F.linear(activated, self.up.weight, 2 * self.up.bias), reliability

    def _query(self, z_own: Tensor, z_aux: Tensor) -> tuple[Tensor, Tensor]:
        """c* q* of z_own (B, Q, d) and z_aux (2, B, Q, d) for every token, (2, B, Q, d), and the reliability (B,)."""
        auxiliary = self._draw(*self.candidate_auxiliary(z_aux), candidate=0)
        own = self._draw(*(x.expand_as(z_aux) for x in self.candidate_own(z_own)), candidate=1)  # drawn in each call
        chosen = auxiliary if self.always_auxiliary else self._choose(auxiliary, own)
        # B7: the released reliability is the chosen query's, which in training is what the other modalities said.
        reliability = (chosen if self.released else own).certainty[:, :, 0, 0].mean(0)
        return chosen.certainty * chosen.value, reliability

    def _choose(self, auxiliary: Drawn, own: Drawn) -> Drawn:
        """Token by token: at random in training, by the higher certainty at evaluation (a tie goes to the own)."""
        if not self.training:
            take_auxiliary = auxiliary.certainty > own.certainty
        elif self.released:  # B1: the released probability (c_A + c_O) / c_A is never below 1
            take_auxiliary = torch.ones_like(own.certainty, dtype=torch.bool)
        else:
            chance = auxiliary.certainty / (auxiliary.certainty + own.certainty).clamp_min(1e-30)
            take_auxiliary = torch.rand_like(chance) < chance
        return Drawn(*(torch.where(take_auxiliary, a, o) for a, o in zip(auxiliary, own, strict=True)))

    def _draw(self, mean: Tensor, log_variance: Tensor, candidate: int) -> Drawn:
        """Mean and variance of K samples, drawn from their exact distributions without drawing the samples.

        For Gaussian samples the two are independent: mu + exp(s/2) e with e ~ N(0, 1/K), and exp(s) chi2_{K-1}/(K-1).
        """
        variance = log_variance.detach().exp()
        if self.samples is None or not (self.training or self.released):
            return Drawn(mean, self._certainty(variance))
        k = self.samples
        if self.training:
            noise = torch.randn_like(mean)
            chi2 = torch.distributions.Chi2(mean.new_tensor(float(k - 1)), validate_args=False).sample(mean.shape)
        else:
            # B10: the released code samples at evaluation. The draws are the same for every sample and every call: a
            # score must not depend on the rest of the batch.
            generator = torch.Generator().manual_seed(2 * self.seed + candidate)
            shape = (mean.shape[0], 1, *mean.shape[2:])
            noise = torch.randn(shape, generator=generator).to(mean.device)
            draws = torch.randn((k - 1, *shape), generator=generator)
            chi2 = draws.square().sum(0).to(mean.device)
        value = mean + (log_variance / 2).exp() * noise / math.sqrt(k)
        return Drawn(value, self._certainty(variance * chi2 / (k - 1)))

    def _certainty(self, variance: Tensor) -> Tensor:
        return torch.exp(-self.rate * variance.mean(-1, keepdim=True))

    def _attend(self, query: Tensor, z_own: Tensor) -> Tensor:
        """Attention of (2, B, Q, d) queries over own tokens (B, N, d), d heads of one dimension, scale 1."""
        k, v = (x.repeat(2, 1, 1) for x in (self.key(z_own), self.value(z_own)))
        return scalar_attention(query.flatten(0, 1), k, v).view_as(query)

    def _convolve(self, t: Tensor) -> Tensor:
        """The convolution over the patches of (2, B, Q, d)."""
        return convolve_tokens(t.flatten(0, 1), self.convolution.folded()).view_as(t)
