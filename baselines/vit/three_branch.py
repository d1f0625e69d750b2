"""(B) Three branches through one ViT, with an adapter at each attention and MLP; they meet in the head alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fasbench.data.record import MODALITIES
from fasbench.layers.adapters import ConvolutionalAdapter
from fasbench.layers.vit import Stream
from fasbench.method import Inputs


class ThreeBranch(nn.Module):
    """A class beside MMDG's and DADM's networks in their releases; adapters after S-Adapter (Cai et al., TIFS 2024).

    For every modality m the same blocks, adapters A_m, A_m' of its own in each:
        x <- x + MHSA(LN1 x) + LN1(A_m(LN1 x)),   x <- x + MLP(LN2 x) + LN2(A_m'(LN2 x))
        f_m = class token of LN(x);  z = W [f_rgb; f_depth; f_ir] + b;  z_m = W_m f_m + b_m

    The norm behind an adapter is the block's own, so the branch starts at the norm's bias, not at 0. The last block and
    the final norm are trained whatever the others are. Absent modalities are black images.
    """

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self.streams = nn.ModuleList(Stream(vit, train_projection=True) for _ in MODALITIES)
        self.blocks, self.norm = vit.blocks, vit.norm.requires_grad_(True)
        self.blocks[-1].requires_grad_(True)
        width = vit.embed_dim
        self.beside_attention, self.beside_mlp = (
            nn.ModuleList(nn.ModuleList(ConvolutionalAdapter(width) for _ in MODALITIES) for _ in vit.blocks)
            for _ in range(2)
        )
        self.head = nn.Linear(len(MODALITIES) * width, 2)
        self.own_heads = nn.ModuleList(nn.Linear(width, 2) for _ in MODALITIES)

    def forward(self, inputs: Inputs) -> Tensor:
        """(4, B, 2): of the common head, then of rgb, depth, ir."""
        images = inputs.filled("black").images()
        x = torch.stack([stream(image) for stream, image in zip(self.streams, images, strict=True)])  # (3, B, N, D)
        for block, attention_adapters, mlp_adapters in zip(
            self.blocks, self.beside_attention, self.beside_mlp, strict=True
        ):
            n = block.norm1(x)
            x = x + block.attn(n.flatten(0, 1)).view_as(x) + block.norm1(_each(attention_adapters, n))
            n = block.norm2(x)
            x = x + block.mlp(n) + block.norm2(_each(mlp_adapters, n))
        f = self.norm(x[:, :, 0])  # (3, B, D)
        own = [head(f_m) for head, f_m in zip(self.own_heads, f, strict=True)]
        return torch.stack([self.head(torch.cat(list(f), dim=-1)), *own])


def _each(adapters: Any, n: Tensor) -> Tensor:
    """The adapter of each modality on its tokens, (3, B, N, D)."""
    return torch.stack([adapter(n_m) for adapter, n_m in zip(adapters, n, strict=True)])
