"""(C) One ViT over one sequence of the tokens of all modalities."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fasbench.layers.vit import JointTokens, attention_mask
from fasbench.method import Inputs


class Joint(nn.Module):
    """x = [class; patches of rgb; of depth; of ir] through the ViT;  z = W LN(x_class) + b.

    Projection and positions are shared; an embedding of the modality, 0 at first, is added. Our definition, after the
    trunk in AMA's figure. Tokens of an absent modality are left out, or hidden from every query where others of the
    batch have them. With a frozen trunk this is a linear probe.
    """

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self.vit = vit
        self.tokens = JointTokens(vit.embed_dim).requires_grad_(vit.cls_token.requires_grad)
        self.head = nn.Linear(vit.embed_dim, 2)

    def forward(self, inputs: Inputs) -> Tensor:
        """(1, B, 2)"""
        sequence = self.tokens(self.vit, inputs)
        x, mask = sequence.tokens, attention_mask(sequence.kept)  # (B, 1 + A P, D)
        for block in self.vit.blocks:
            x = block(x, attn_mask=mask)
        return self.head(self.vit.norm(x[:, 0]))[None]
