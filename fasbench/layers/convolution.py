"""Central difference convolution (Yu et al., CVPR 2020)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class CentralDifferenceConv2d(nn.Conv2d):
    """CDC(x) = w * x - theta (sum_k w_k) x: a convolution of a pixel's differences to its neighbours.

    Equal to an ordinary convolution whose centre tap is w_c - theta sum(w), which is how it is computed.
    """

    def __init__(self, channels_in: int, channels_out: int, theta: float) -> None:
        super().__init__(channels_in, channels_out, kernel_size=3, padding=1, bias=False)
        self.theta = theta

    def folded(self) -> Tensor:
        """The ordinary kernel, (out, in, 3, 3)."""
        return self.weight - F.pad(self.theta * self.weight.sum(dim=(2, 3), keepdim=True), (1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.folded(), padding=1)
