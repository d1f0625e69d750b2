"""The Adaptive Multimodal Adapter: one convolution over the maps of all modalities, weighed anew for each of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.layers.adapters import start_bottleneck
from fasbench.layers.clip import quick_gelu
from fasbench.layers.convolution import convolve_tokens, to_map, to_tokens

_THETA = (0.0, 1.0, 0.5, 0.4)  # share of the independent convolution for 0, 1, 2, 3 modalities: released code


class AdaptiveMultimodalAdapter(nn.Module):
    """AMA(n), with phi = QuickGELU and Z_m the map of modality m in z = phi(W_d n + b_d):

        U = w * [Z_rgb; Z_depth; Z_ir]                       one 3 x 3 convolution, 3d -> d
        a = sigmoid(C GAP([Z_rgb; Z_depth; Z_ir]))           a weight in (0, 1) for each modality
        intended:  phi(W_u drop(a_m U) + b_u),  class token  phi(W_u drop(z_class) + b_u)
        released:  W_u drop(phi(a_m U)) + b_u,  class token  W_u drop(phi(w * [z_class; z_class; z_class])) + b_u

    Every modality gets the same U and differs in a scalar only. W_u and b_u start at 0, and so does the branch.
    An absent modality's Z is 0: U is then w restricted to the others, and a is computed from them.

    Args:
        width: of the trunk's tokens.
        channels: d.
        flexible: theta (w' * Z_m) + (1 - theta) a_m U in place of a_m U, w' a d -> d convolution that the modalities
            share and theta 0.4, 0.5 or 1 for three, two or one of them: the release's variant for missing modalities.
        released: the adapter as in the released file, else as in the paper's Figure 1.
    """

    def __init__(self, width: int, channels: int, dropout: float, flexible: bool, released: bool) -> None:
        super().__init__()
        self.released = released
        self.down = nn.Linear(width, channels)  # W_d
        self.fusion = nn.Conv2d(3 * channels, channels, 3, padding=1, bias=False)  # w
        self.weighting = nn.Linear(3 * channels, 3, bias=False)  # C
        self.independent = nn.Conv2d(channels, channels, 3, padding=1, bias=False) if flexible else None  # w'
        self.dropout = nn.Dropout(dropout)
        self.up = nn.Linear(channels, width)  # W_u
        start_bottleneck([self.down], self.up)
        self.register_buffer("theta", torch.tensor(_THETA), persistent=False)

    def forward(self, n: Tensor, active: list[int], present: Tensor) -> Tensor:
        """Output of the branch, (B, 1 + A P, D).

        Args:
            n: (B, 1 + A P, D) normalised tokens: class token, then the patches of each active modality.
            active: the A modalities in the sequence, in their order.
            present: (B, A) bool, which of them each sample has.
        """
        y = self.mix(quick_gelu(self.down(n)), active, present)
        if self.released:  # defect 2: the paper has a GELU behind both 1 x 1 convolutions
            return self.up(self.dropout(quick_gelu(y)))
        return quick_gelu(self.up(self.dropout(y)))

    def mix(self, z: Tensor, active: list[int], present: Tensor) -> Tensor:
        """What the modalities tell each other: (B, 1 + A P, d) -> (B, 1 + A P, d)."""
        count = len(active)
        first, maps = z[:, :1], z[:, 1:].unflatten(1, (count, -1))  # (B, 1, d), (B, A, P, d)
        maps = torch.where(present[:, :, None, None], maps, 0.0)
        replicas = torch.where(present[:, None, :, None], first[:, :, None], 0.0).flatten(2)  # (B, 1, A d)
        stacked = maps.transpose(1, 2).flatten(2)  # (B, P, A d)
        w = self.fusion.weight.unflatten(1, (3, -1))[:, active].flatten(1, 2)  # (d, A d, 3, 3)
        fused = convolve_tokens(torch.cat([replicas, stacked], dim=1), w)  # (B, 1 + P, d)
        a = self._weights(stacked.mean(1), active)  # (B, A)
        patches = a[:, :, None, None] * fused[:, None, 1:]  # a_m U, (B, A, P, d)
        # Defect 1: in the paper the class token goes around convolution and weights.
        class_token = fused[:, :1] if self.released else first
        if self.independent is not None:
            theta = self.theta[present.sum(1)][:, None, None]  # (B, 1, 1)
            own = to_tokens(self.independent(to_map(maps.flatten(0, 1)))).unflatten(0, (-1, count))  # (B, A, P, d)
            patches = theta[..., None] * own + (1 - theta[..., None]) * patches
            if self.released:
                own_class = convolve_tokens(first, self.independent.weight)
                class_token = theta * own_class + (1 - theta) * class_token
        return torch.cat([class_token, patches.flatten(1, 2)], dim=1)

    def _weights(self, pooled: Tensor, active: list[int]) -> Tensor:
        """a (B, A) of GAP([Z]) (B, A d): the rows and columns of C that belong to the active modalities."""
        c = self.weighting.weight.unflatten(1, (3, -1))[active][:, active]  # (A, A, d)
        return torch.sigmoid(F.linear(pooled, c.flatten(1)))

    def freeze_unread(self) -> None:
        """Freeze what only patches pass, for the last block: only the class token is read behind it."""
        unread = [self.weighting] if self.released else [self.weighting, self.fusion]
        if self.independent is not None and not self.released:
            unread.append(self.independent)
        for module in unread:
            module.requires_grad_(False)
