"""PG-IRM: domain hyperplanes drawn towards the farthest other one."""

import math

import pytest
import torch
from torch.nn import functional as F

from fasbench.layers.irm import draw_together


def directions(*degrees, length=1.0):
    return [length * torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))]]) for d in degrees]


def angle(head):
    return math.degrees(math.atan2(float(head[0, 1]), float(head[0, 0])))


def test_each_moves_to_the_farthest_other_all_at_once():
    heads = directions(0, 10, 90)
    draw_together(heads, 0.9)
    # by hand: 0.9 (1, 0) + 0.1 (0, 1); 0.9 u(10) + 0.1 (0, 1); 0.9 (0, 1) + 0.1 (1, 0), of the old first one
    c, s = math.cos(math.radians(10)), math.sin(math.radians(10))
    assert angle(heads[0]) == pytest.approx(math.degrees(math.atan2(0.1, 0.9)), abs=1e-4)
    assert angle(heads[1]) == pytest.approx(math.degrees(math.atan2(0.9 * s + 0.1, 0.9 * c)), abs=1e-4)
    assert angle(heads[2]) == pytest.approx(math.degrees(math.atan2(0.9, 0.1)), abs=1e-4)


def test_norms_of_rows_are_kept_and_similarity_does_not_fall():
    torch.manual_seed(0)
    heads = [torch.nn.Parameter(torch.randn(2, 6) * scale) for scale in (0.5, 1, 7)]
    before = [head.detach().clone() for head in heads]

    def similarity(weights):
        return [F.cosine_similarity(weights[i], weights[j], dim=1).mean().item() for i, j in ((0, 1), (0, 2), (1, 2))]

    first = sum(similarity(heads))
    for _ in range(50):
        draw_together(heads, 0.995)
    assert sum(similarity(heads)) > first
    for head, old in zip(heads, before, strict=True):
        assert torch.allclose(head.norm(dim=1), old.norm(dim=1), rtol=1e-5)
        assert not torch.allclose(head, old)


def test_far_is_measured_over_all_rows():
    """Row 0 alone would say the third, the sum says the second."""
    heads = [torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[0.6, 0.8], [-1, 0]]), torch.tensor([[0, 1.0], [1, 0]])]
    draw_together(heads, 0.5)
    assert torch.allclose(heads[0][0], F.normalize(torch.tensor([1.6, 0.8]), dim=0))


@pytest.mark.parametrize("heads", [directions(0, 50, 120, length=3.0), directions(20)])
def test_alpha_one_and_a_single_head_change_nothing(heads):
    before = [head.clone() for head in heads]
    draw_together(heads, 1.0)
    assert all(torch.allclose(head, old, atol=1e-6) for head, old in zip(heads, before, strict=True))


def test_of_two_each_is_the_others_farthest():
    heads = directions(0, 60)
    draw_together(heads, 0.5)
    assert [angle(head) for head in heads] == pytest.approx([30, 30], abs=1e-4)
