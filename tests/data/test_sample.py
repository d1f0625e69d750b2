"""Inputs: absent modalities are zeros or black, and samples are picked with everything that belongs to them."""

import pytest
import torch

from fasbench.data.sample import Batch, Inputs

PRESENT = torch.tensor([[True, True, True], [True, False, True], [False, True, False]])
BLACK = torch.tensor([[-1.0, -2, -3], [-4, -5, -6], [-7, -8, -9]])  # modality x channel


def raw():
    """Three samples of 3 x 2 x 2, no value is 0 or black."""
    return [torch.arange(36.0).reshape(3, 3, 2, 2) + 100 * (m + 1) for m in range(3)]


@pytest.fixture
def inputs():
    return Inputs.of(raw(), PRESENT, BLACK)


def test_of_zeroes_what_is_absent_and_keeps_the_rest(inputs):
    assert len(inputs) == 3
    for m, (image, given) in enumerate(zip(inputs.images(), raw(), strict=True)):
        for sample in range(3):
            expected = given[sample] if PRESENT[sample, m] else torch.zeros(3, 2, 2)
            assert torch.equal(image[sample], expected)


def test_of_zeroes_absent_values_that_are_not_finite():
    images = raw()
    images[1][1] = float("nan")
    images[0][2] = float("inf")
    inputs = Inputs.of(images, PRESENT, BLACK)
    assert not inputs.depth[1].any() and not inputs.rgb[2].any()


def test_filled_zero_is_the_inputs_themselves(inputs):
    assert inputs.filled("zero") is inputs


def test_filled_black_puts_each_modality_s_black_where_it_is_absent_and_nowhere_else(inputs):
    filled = inputs.filled("black")
    for m, (image, before) in enumerate(zip(filled.images(), inputs.images(), strict=True)):
        for sample in range(3):
            expected = before[sample] if PRESENT[sample, m] else BLACK[m][:, None, None].expand(3, 2, 2)
            assert torch.equal(image[sample], expected)
    assert torch.equal(filled.present, PRESENT)  # black images do not make a modality present
    assert not inputs.depth[1].any()  # the inputs themselves are unchanged


def test_black_images_are_zeros_again_for_who_asks_without(inputs):
    for image, before in zip(inputs.filled("black").without().images(), inputs.images(), strict=True):
        assert torch.equal(image, before)


@pytest.mark.parametrize("rows", [torch.tensor([2, 0, 0]), torch.tensor([True, False, True])], ids=["indices", "mask"])
def test_select_takes_images_and_presence_of_the_same_samples(inputs, rows):
    chosen = inputs.select(rows)
    assert len(chosen) == len(inputs.present[rows])
    for image, before in zip(chosen.images(), inputs.images(), strict=True):
        assert torch.equal(image, before[rows])
    assert torch.equal(chosen.present, PRESENT[rows])
    assert torch.equal(chosen.black, BLACK)


@pytest.mark.parametrize("gone", [(), ("ir",), ("rgb", "depth")])
def test_without_takes_modalities_from_every_sample_and_gives_none_back(inputs, gone):
    left = inputs.without(*gone)
    for m, name in enumerate(("rgb", "depth", "ir")):
        if name in gone:
            assert not left.present[:, m].any() and not left.images()[m].any()
        else:
            assert torch.equal(left.present[:, m], PRESENT[:, m])
            assert torch.equal(left.images()[m], inputs.images()[m])
    assert torch.equal(inputs.present, PRESENT)


def test_a_batch_is_as_long_as_its_labels(inputs):
    assert len(Batch(inputs, torch.tensor([1, 0, 0]), torch.tensor([0, 0, 1]), ("live", "print", "mask"))) == 3
