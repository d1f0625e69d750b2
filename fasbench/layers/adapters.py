"""Adapters: small trained layers beside the frozen ones of a transformer. Their output is 0 until the first step."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.layers.clip import quick_gelu
from fasbench.layers.convolution import CentralDifferenceConv2d, convolve_tokens


class ConvolutionalAdapter(nn.Module):
    """A(x) = U drop(phi(CDC(phi(D x)))), D: width -> channels, U: channels -> width, phi = QuickGELU.

    The convolution sees the patches as an image. U starts at zero. Source: S-Adapter (Cai et al., TIFS 2024), as the
    three-branch ViT and DADM use it.
    """

    def __init__(self, width: int, channels: int = 8, theta: float = 0.7, dropout: float = 0.1) -> None:
        super().__init__()
        self.down = nn.Linear(width, channels)
        self.convolution = CentralDifferenceConv2d(channels, channels, theta)
        self.dropout = nn.Dropout(dropout)
        self.up = nn.Linear(channels, width)
        start_bottleneck([self.down], self.up)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) tokens, class token first -> (B, N, D)."""
        mixed = convolve_tokens(quick_gelu(self.down(x)), self.convolution.folded())
        return self.up(self.dropout(quick_gelu(mixed)))


def start_bottleneck(down: list[nn.Linear], up: nn.Linear) -> None:
    """The usual start of an adapter: Xavier-uniform in front, zeros behind, no bias."""
    for layer in down:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    nn.init.zeros_(up.weight)
    nn.init.zeros_(up.bias)


def scalar_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention with a head for each channel, scale 1: (B, Q, d) asks (B, N, d) keys and values; (B, Q, d)."""
    q, k, v = (x.transpose(1, 2)[..., None] for x in (query, key, value))  # the fused kernel takes (B, d, N, 1)
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., 0].transpose(1, 2)
