"""Every draw has its own seed, and the seeds are the same on every machine and in every release."""

import itertools

import numpy as np
import pytest
import torch

from fasbench.seeding import PURPOSES, derive, numpy_generator, seed_everything, torch_generator


def test_seeds_differ_by_seed_purpose_epoch_and_step():
    seeds = [derive(seed, purpose) for seed in range(3) for purpose in ("weights", "score-order")]
    seeds += [derive(seed, "order", epoch) for seed in range(3) for epoch in range(20)]
    for purpose in ("step", "augment"):
        seeds += [
            derive(s, purpose, *position) for s in range(3) for position in itertools.product(range(20), range(20))
        ]
    assert len(set(seeds)) == len(seeds) == 6 + 60 + 2 * 1200
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, "weights"), 7896617691693857887),
        ((0, "order", 3), 5276725955892761082),
        ((1, "step", 2, 5), 5200341024293651883),
        ((7, "augment", 0, 1), 4249939329373217311),
        ((0, "score-order"), 2494635221133837528),
        ((3, "modality-dropout", 1, 2), 7316082550301443845),
    ],
)
def test_seeds_are_stable(arguments, expected):
    """A change here changes every training: raise training.TRAINING_VERSION with it."""
    assert derive(*arguments) == expected


def test_an_unknown_purpose_is_an_error():
    assert len(set(PURPOSES)) == len(PURPOSES)
    with pytest.raises(ValueError):
        derive(0, "sampling")


@pytest.mark.parametrize(
    "draw",
    [
        lambda *where: numpy_generator(*where).random(4),
        lambda *where: torch.rand(4, generator=torch_generator(*where)).numpy(),
        lambda *where: (seed_everything(*where), torch.rand(4).numpy())[1],
    ],
    ids=["numpy", "torch", "global"],
)
def test_generators_repeat_at_a_position_and_differ_at_another(draw):
    first, again, other = draw(0, "step", 1, 2), draw(0, "step", 1, 2), draw(0, "step", 1, 3)
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_own_generators_leave_the_global_one_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    torch.rand(3, generator=torch_generator(5, "augment", 0, 0))
    assert torch.equal(torch.get_rng_state(), state)
