"""MAD normalisation: numbers by hand, holes, gains and degenerate images."""

import numpy as np
import pytest
import torch

from fasbench.layers.depth import mad_normalise, masked_median


def image_of(values):
    return torch.tensor(values, dtype=torch.float32)[None, None, None]


def test_three_deviations_become_black_and_white():
    # median 100, deviations 30, 10, 10, 0, 0, 0, 10, 10, 30: mad 10
    values = [70, 90, 90, 100, 100, 100, 110, 110, 130]
    found = mad_normalise(image_of(values)).flatten().tolist()
    assert found == pytest.approx([0, 85, 85, 127.5, 127.5, 127.5, 170, 170, 255], abs=1e-3)


def test_beyond_three_deviations_is_clipped():
    found = mad_normalise(image_of([20, 70, 90, 90, 100, 100, 100, 110, 110, 130, 200])).flatten().tolist()
    assert (found[0], found[-1]) == (0, 255)


def test_holes_stay_black_and_change_nothing():
    values = [70, 90, 90, 100, 100, 100, 110, 110, 130]
    whole = mad_normalise(image_of(values)).flatten()
    holed = mad_normalise(image_of([*[1] * 6, *values, 0])).flatten()
    assert torch.equal(holed[6:15], whole)
    assert holed[[0, 5, 15]].tolist() == [0] * 3
    shallow = mad_normalise(image_of([0, 10, 12, 14])).flatten()  # a hole stays black where median < 3 mad, too
    assert shallow[0] == 0


def test_a_gain_of_the_sensor_changes_nothing():
    torch.manual_seed(0)
    depth = 60 + 40 * torch.rand(2, 1, 8, 8)
    assert torch.allclose(mad_normalise(depth), mad_normalise(2 * depth + 30), atol=1e-2)


def test_images_without_spread_or_content():
    assert mad_normalise(torch.zeros(1, 1, 4, 4)).tolist() == torch.zeros(1, 1, 4, 4).tolist()
    assert mad_normalise(torch.full((1, 1, 4, 4), 90.0)).unique().tolist() == [127.5]


def test_each_image_has_its_own_statistics():
    torch.manual_seed(0)
    depth = 255 * torch.rand(3, 1, 8, 8)
    alone = torch.cat([mad_normalise(one[None]) for one in depth])
    assert torch.equal(mad_normalise(depth), alone)
    changed = torch.cat([depth[:1], depth[1:] / 3])
    assert torch.equal(mad_normalise(changed)[0], alone[0])


@pytest.mark.parametrize("count", [0, 1, 2, 7, 12])
def test_median_is_numpys(count):
    values = torch.tensor(np.random.default_rng(0).normal(size=12))
    counted = torch.arange(12) < count
    expected = np.median(values[:count].numpy()) if count else 0
    assert masked_median(values[None], counted[None]).item() == pytest.approx(expected)
