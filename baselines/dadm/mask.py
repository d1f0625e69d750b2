"""MIM: from two modalities a soft mask for each, which keeps what both find informative."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fasbench.layers.convolution import to_map, to_tokens


class Aligned(NamedTuple):
    """What a mask makes of the tokens of one modality."""

    tokens: Tensor  # (B, N, D)
    information: Tensor  # iota, mean of the masked tokens, (B, D)


class MutualMask(nn.Module):
    """MIM_ij of one pair of modalities in one block.

    G = conv([a_i; a_j]) over the map of the patches, masks = sigmoid(conv(G)), one value a channel and patch;
    masked patches and the untouched class token are [c_m; M_m * a_m];  iota_m is their mean over the tokens;
    tokens out = W_m [masked; interaction], the interaction a half of [C [c_i; c_j]; G] for each modality.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        both, half = 2 * width, channels // 2
        self.interaction = nn.Sequential(
            *_normed(nn.Conv2d(both, both, 3, padding=1, groups=both)),
            *_normed(nn.Conv2d(both, channels, 1)),
            *_normed(nn.Conv2d(channels, channels, 3, padding=1)),
        )
        self.mask = nn.Sequential(
            *_normed(nn.Conv2d(channels, half, 3, padding=1)),
            *_normed(nn.Conv2d(half, half, 3, padding=1)),
            nn.Conv2d(half, both, 3, padding=1),
            nn.BatchNorm2d(both),
            nn.Sigmoid(),
        )
        self.class_interaction = nn.Linear(both, channels)  # C
        self.out = nn.ModuleList(nn.Linear(width + half, width) for _ in range(2))  # W_i, W_j

    def forward(self, a_i: Tensor, a_j: Tensor) -> tuple[Aligned, Aligned]:
        """Tokens (B, N, D) of both, class token first."""
        pair = torch.cat([a_i, a_j], dim=-1)  # (B, N, 2 D)
        interaction = self.interaction(to_map(pair[:, 1:]))  # G (B, C, side, side)
        masks = to_tokens(self.mask(interaction)).chunk(2, dim=-1)  # (B, P, D) each
        joint = torch.cat([self.class_interaction(pair[:, :1]), to_tokens(interaction)], dim=1)  # (B, N, C)
        aligned = []
        for a, mask, part, out in zip((a_i, a_j), masks, joint.chunk(2, dim=-1), self.out, strict=True):
            masked = torch.cat([a[:, :1], mask * a[:, 1:]], dim=1)  # (B, N, D)
            aligned.append(Aligned(out(torch.cat([masked, part], dim=-1)), masked.mean(dim=1)))
        return aligned[0], aligned[1]


def _normed(convolution: nn.Conv2d) -> tuple[nn.Module, ...]:
    return convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()
