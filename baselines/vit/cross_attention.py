"""(A) Flex-Modal's ViT: depth and infrared choose which channels of RGB are mixed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fasbench.layers.convolution import to_map
from fasbench.method import Inputs


class CrossAttention(nn.Module):
    """Yu, Zhao, Cheng, Cheng, Zhao: Flexible-Modal Face Anti-Spoofing: A Benchmark. CVPRW 2023, arXiv 2202.08192.
    ViT with channel cross-attention, for three modalities.

    X_m (D, P): patches of modality m behind the last block of a shared ViT, without its final norm.
        S_j = softmax_rows(X_j X_R^T) (D, D),  Y_j = S_j X_R,  j = depth, ir;   F = X_R + Y_D + Y_I
        z = W drop(GAP(ReLU(BN(conv(drop2d(F)))))) + b

    Absent modalities are black images, in training and at test: the release has another value at test (defect 2, of
    its loader). Its infrared at test is RGB (defect 1, of its loader); none of that is here.
    """

    def __init__(self, vit: Any) -> None:
        super().__init__()
        vit.norm = nn.Identity()  # never applied in the release, which keeps its 2 D parameters
        self.vit = vit
        width = vit.embed_dim
        self.fusion = nn.Sequential(
            nn.Dropout2d(0.3), nn.Conv2d(width, width, kernel_size=3, padding=1), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(width, 2)

    def forward(self, inputs: Inputs) -> Tensor:
        """(1, B, 2)"""
        tokens = self.vit.forward_features(torch.cat(inputs.filled("black").images()))[:, 1:]  # (3 B, P, D)
        fused = fuse(*tokens.mT.chunk(3))  # (B, D, P)
        pooled = self.fusion(to_map(fused.mT)).mean(dim=(2, 3))  # (B, D)
        return self.head(self.dropout(pooled))[None]


def fuse(rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
    """F of patch maps X_R, X_D, X_I (B, D, P). In fp32: the logits are sums of P products, without a scale."""
    with torch.autocast(rgb.device.type, enabled=False):
        rgb = rgb.float()
        attended = [torch.softmax(x.float() @ rgb.mT, dim=-1) @ rgb for x in (depth, ir)]  # Y_j
        return torch.stack([rgb, *attended]).sum(0)
