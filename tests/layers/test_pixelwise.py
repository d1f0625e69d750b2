"""Maps, their targets and their losses, against explicit kernels and numbers by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from fasbench.layers.pixelwise import (
    absolute_depth_loss,
    contrastive_depth_loss,
    face_mask,
    grey,
    map_target,
    pixel_values,
    pixelwise_bce,
)
from fasbench.method import ModelConfig


def eight_kernels():
    kernels = torch.zeros(8, 1, 3, 3)
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)]
    for kernel, place in zip(kernels, places, strict=True):
        kernel[0, 1, 1] = -1
        kernel[(0, *place)] = 1
    return kernels


def test_contrastive_loss_is_that_of_eight_kernels():
    torch.manual_seed(0)
    s, t = torch.rand(3, 9, 7), torch.rand(3, 9, 7)
    contrast_s, contrast_t = (F.conv2d(x[:, None], eight_kernels()) for x in (s, t))  # (3, 8, 7, 5)
    expected = ((contrast_s - contrast_t) ** 2).mean()
    assert contrastive_depth_loss(s, t).item() == pytest.approx(expected.item(), rel=1e-5)


def test_contrastive_loss_of_one_bright_pixel():
    s = torch.zeros(1, 3, 3)
    s[0, 0, 1] = 2.0  # one of 8 differences to the only inner pixel is 2
    assert contrastive_depth_loss(s, torch.zeros(1, 3, 3)).item() == pytest.approx(4 / 8)
    assert absolute_depth_loss(s, torch.zeros(1, 3, 3)).item() == pytest.approx(4 / 9)


def test_a_constant_difference_has_no_contrast():
    t = torch.rand(2, 6, 6)
    assert contrastive_depth_loss(t + 0.25, t).item() == pytest.approx(0, abs=1e-12)
    assert absolute_depth_loss(t + 0.25, t).item() == pytest.approx(0.0625)
    assert contrastive_depth_loss(t, t).item() == absolute_depth_loss(t, t).item() == 0


def test_map_losses_are_fp32():
    s = torch.zeros(1, 4, 4, dtype=torch.bfloat16)
    assert absolute_depth_loss(s, torch.ones(1, 4, 4)).dtype == torch.float32
    assert contrastive_depth_loss(s, torch.ones(1, 4, 4)).dtype == torch.float32
    assert pixelwise_bce(s, torch.tensor([1])).dtype == torch.float32


def test_pixelwise_cross_entropy():
    assert pixelwise_bce(torch.zeros(2, 14, 14), torch.tensor([0, 1])).item() == pytest.approx(math.log(2))
    z = torch.tensor([[[math.log(3), 0.0]], [[math.log(3), 0.0]]])  # m = 3/4, 1/2
    expected = (math.log(4 / 3) + math.log(2) + math.log(4) + math.log(2)) / 4  # first live, second attack
    assert pixelwise_bce(z, torch.tensor([1, 0])).item() == pytest.approx(expected)


def test_targets():
    live = torch.tensor([[[1.0, 0.5]], [[1.0, 0.5]], [[0.0, 0.25]]])
    label = torch.tensor([1, 0, 1])
    assert map_target(label, live).tolist() == [[[1, 0.5]], [[0, 0]], [[0, 0.25]]]


def test_the_mask_leaves_out_a_black_border():
    image = torch.zeros(1, 1, 64, 64)
    image[..., 8:56, 16:48] = 1.0  # the darkest grey that is not black
    expected = torch.zeros(8, 8)
    expected[1:7, 2:6] = 1
    assert torch.equal(face_mask(image, 8)[0], expected)
    assert not face_mask(image * 0.4, 8).any()


def test_pixel_values_undo_the_normalisation():
    config = ModelConfig()
    levels = torch.tensor([0.0, 1.0, 128.0, 255.0]).expand(1, 3, 1, 4)
    mean, std = (torch.tensor(x)[:, None, None] for x in (config.mean, config.std))
    assert torch.allclose(pixel_values((levels / 255 - mean) / std, config), levels, atol=1e-3)


def test_grey_is_luma():
    colours = 255 * torch.eye(3)[:, :, None, None]  # red, green, blue
    assert grey(colours).flatten().tolist() == pytest.approx([76.245, 149.685, 29.07])
    assert grey(torch.full((1, 3, 2, 2), 7.0)).flatten().tolist() == pytest.approx([7] * 4)
