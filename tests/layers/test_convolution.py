"""Central difference convolution against its definition."""

import pytest
import torch
from torch.nn import functional as F

from fasbench.layers.convolution import CentralDifferenceConv2d


@pytest.mark.parametrize("theta", [0.0, 0.5, 1.0])
def test_equals_the_convolution_of_differences(theta):
    torch.manual_seed(0)
    layer = CentralDifferenceConv2d(3, 4, theta)
    x = torch.randn(2, 3, 6, 7)
    centre = torch.einsum("oi,bihw->bohw", layer.weight.sum((2, 3)), x)
    expected = F.conv2d(x, layer.weight, padding=1) - theta * centre
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_theta_1_sees_no_constant():
    layer = CentralDifferenceConv2d(3, 4, theta=1.0)
    interior = layer(torch.full((1, 3, 5, 5), 7.0))[:, :, 1:-1, 1:-1]
    assert torch.allclose(interior, torch.zeros_like(interior), atol=1e-5)


def test_parameters_are_those_of_a_3x3_kernel():
    assert sum(p.numel() for p in CentralDifferenceConv2d(8, 8, 0.5).parameters()) == 576
