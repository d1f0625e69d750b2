"""U-DSA: the fused vector and the class texts go down a stack of layers and back up, to be aligned at every level."""

from __future__ import annotations

import torch
from fasbench.baselines.mmda.moe import MixtureOfExperts
from torch import Tensor, nn
from torch.nn import functional as F


class Layer(nn.Module):
    """R or M: x_1 = x + MHA(LN1(x)), x_2 = MoE(LN2(x_1)), output x + x_1 + x_2."""

    def __init__(self, width: int, heads: int, number: int, released: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads)
        self.moe = MixtureOfExperts(width, number, released)

    def forward(self, x: Tensor, peers: Tensor | None) -> tuple[Tensor, Tensor]:
        """(T, D) -> (T, D), and the auxiliary loss. `peers` (T, T) bool: whom a vector attends to; None = all."""
        n = self.norm1(x)
        attended, _ = self.attention(n, n, n, attn_mask=None if peers is None else ~peers, need_weights=False)
        x1 = x + attended
        x2, auxiliary = self.moe(self.norm2(x1))
        return x + x1 + x2, auxiliary


class UDSA(nn.Module):
    """Down e_l = R_l(e_{l-1}), l = 1..L; up u_L = e_L, u_{l-1} = M_l(u_l) + e_{l-1}. The final feature is u_0.

    Args:
        number: of the first of its 2 L mixtures of experts.
    """

    def __init__(self, width: int, heads: int, levels: int, number: int, released: bool) -> None:
        super().__init__()
        self.released = released
        self.refine = nn.ModuleList(Layer(width, heads, number + l, released) for l in range(levels))
        self.remap = nn.ModuleList(Layer(width, heads, number + levels + l, released) for l in range(levels))

    def down(self, x: Tensor, peers: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        """e_0..e_L of vectors (T, D), of images and of texts alike, and the auxiliary losses."""
        e, auxiliary = [x], []
        for layer in self.refine:
            refined, extra = layer(e[-1], peers)
            e.append(refined)
            auxiliary.append(extra)
        return e, auxiliary

    def up(self, e: list[Tensor], peers: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        """u_{L-1}..u_0 for e_0..e_L, and the auxiliary losses."""
        u, auxiliary = [e[-1]], []
        for l in range(len(self.remap), 0, -1):
            # 3: the released M_l reads the way down, so that u_0 = M_1(e_1) + e_0, whatever lies below.
            remapped, extra = self.remap[l - 1](e[l] if self.released else u[-1], peers)
            u.append(remapped + e[l - 1])
            auxiliary.append(extra)
        return u[1:], auxiliary


def soft_alignment(x: Tensor, texts: list[Tensor], scale: Tensor) -> Tensor:
    """RS2's logits a_c = scale max_k cos(x, t_{c,k}): (B, D) and a (K_c, D) for each class -> (B, classes), fp32."""
    with torch.autocast(x.device.type, enabled=False):
        unit = F.normalize(x.float(), dim=-1)
        return scale * torch.stack([(unit @ F.normalize(t.float(), dim=-1).T).amax(1) for t in texts], dim=1)
