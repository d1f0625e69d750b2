"""Prototypes of modalities and classes: the SSP loss and how the means move."""

import math

import pytest
import torch

from fasbench.data.sample import Batch, Inputs
from fasbench.layers.prototypes import Prototypes

SOURCES = ("cefa", "padisi", "surf")
EVERY = torch.ones(3, dtype=torch.bool)


def known(vectors, **settings):
    """Prototypes that stand at `vectors` (3, C, D)."""
    prototypes = Prototypes(SOURCES[: vectors.shape[1] - 1], vectors.shape[2], **settings)
    prototypes.vectors.copy_(vectors)
    prototypes.known.fill_(True)
    return prototypes


def features_of(*rows):
    """(3, B, 1): row b holds the features of sample b in rgb, depth, ir."""
    return torch.tensor(rows, dtype=torch.float32).T[..., None]


def batch_of(label, domain, size=4):
    image = torch.zeros(len(label), 3, size, size)
    inputs = Inputs(image, image, image, torch.ones(len(label), 3, dtype=torch.bool), torch.zeros(3, 3))
    return Batch(inputs, torch.tensor(label), torch.tensor(domain), ("live",) * len(label))


def test_the_loss_by_hand():
    """Distances 0, 3 and 5 of a feature at its own prototype; and of one between two prototypes."""
    prototypes = known(torch.tensor([[[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]]]).expand(3, -1, -1))
    found = prototypes.loss(0, torch.tensor([[0.0, 0.0]]), torch.tensor([0]))
    assert found.item() == pytest.approx(math.log(1 + math.exp(-3) + math.exp(-5)), abs=1e-5)
    both = prototypes.loss(1, torch.tensor([[0.0, 0.0], [1.5, 0.0]]), torch.tensor([0, 1]))
    far = math.hypot(1.5, 4)
    second = math.log(2 + math.exp(1.5 - far))
    assert both.item() == pytest.approx((found.item() + second) / 2, abs=1e-5)


def test_at_the_own_prototype_and_far_from_others_the_loss_is_nothing():
    vectors = 100 * torch.eye(3).expand(3, -1, -1)
    prototypes = known(vectors)
    features = vectors[2].clone().requires_grad_(True)
    loss = prototypes.loss(2, features, torch.arange(3))
    loss.backward()
    assert 0 <= loss.item() < 1e-6
    assert bool(torch.isfinite(features.grad).all())  # at distance 0


def test_classes_are_one_live_and_a_spoof_for_each_source():
    prototypes = Prototypes(SOURCES, 1)
    batch = batch_of([1, 1, 1, 0, 0, 0], [0, 1, 2, 0, 1, 2])
    assert prototypes.classes_of(batch).tolist() == [1, 1, 1, 0, 2, 3]
    assert prototypes.vectors.shape == (3, 4, 1)
    released = Prototypes(SOURCES, 1, released=True)  # wmca 0, cefa 2, surf 3, padisi 4
    assert released.classes_of(batch).tolist() == [1, 1, 1, 2, 4, 3]
    assert released.vectors.shape == (3, 5, 1)


def test_an_update_moves_by_four_fifths():
    """Old 0, new 1: 0.8; live samples of all domains are one class."""
    prototypes = known(torch.zeros(3, 4, 1))
    batch = batch_of([1, 1, 1, 0], [0, 1, 2, 1])
    features = features_of((0, 1, 2), (1, 1, 2), (2, 1, 2), (5, 10, 15))
    prototypes.update(features, prototypes.classes_of(batch), batch.inputs.present)
    assert prototypes.vectors[:, 1, 0].tolist() == pytest.approx([0.8, 0.8, 1.6])
    assert prototypes.vectors[:, 2, 0].tolist() == pytest.approx([4, 8, 12])
    assert prototypes.vectors[:, [0, 3]].tolist() == [[[0], [0]]] * 3


def test_the_first_mean_is_taken_whole_and_absent_classes_stay_as_they_are():
    prototypes = Prototypes(("a", "b"), 1)
    prototypes.update(features_of((1, 2, 3)), torch.tensor([1]), EVERY[None])
    assert prototypes.vectors[:, 1, 0].tolist() == [1, 2, 3]
    assert prototypes.known.tolist() == [[False, True, False]] * 3
    prototypes.update(features_of((7, 8, 9)), torch.tensor([2]), EVERY[None])
    assert prototypes.vectors[:, 1:, 0].tolist() == [[1, 7], [2, 8], [3, 9]]


def test_a_missing_modality_is_not_counted():
    prototypes = Prototypes(("a", "b"), 1)
    present = torch.tensor([[True, True, True], [True, False, True]])
    prototypes.update(features_of((1, 2, 3), (3, 99, 5)), torch.tensor([1, 1]), present)
    assert prototypes.vectors[:, 1, 0].tolist() == [2, 2, 4]


def test_the_release_swaps_the_memories_of_depth_and_infrared():
    released = known(torch.tensor([10.0, 20.0, 30.0])[:, None, None].expand(3, 5, 1).clone(), released=True)
    released.update(features_of((1, 2, 3)), torch.tensor([1]), EVERY[None])
    assert released.vectors[:, 1, 0].tolist() == pytest.approx([0.8 + 2, 1.6 + 6, 2.4 + 4])
    intended = known(torch.tensor([10.0, 20.0, 30.0])[:, None, None].expand(3, 4, 1).clone())
    intended.update(features_of((1, 2, 3)), torch.tensor([1]), EVERY[None])
    assert intended.vectors[:, 1, 0].tolist() == pytest.approx([0.8 + 2, 1.6 + 4, 2.4 + 6])


def test_what_has_no_prototype_stays_out_of_the_softmax_but_not_in_the_release():
    feature, label = torch.tensor([[1.0]]), torch.tensor([1])
    for released, terms in ((False, 1), (True, 5)):
        prototypes = Prototypes(SOURCES, 1, released=released)
        prototypes.update(features_of((1, 1, 1)), label, EVERY[None])
        # In the release four zero vectors, at distance 1, push from the origin.
        expected = math.log(1 + (terms - 1) * math.exp(-1))
        assert prototypes.loss(0, feature, label).item() == pytest.approx(expected, abs=1e-5)
    released = Prototypes(SOURCES, 1, released=True)
    for _ in range(2):
        released.update(features_of((1, 1, 1)), label, EVERY[None])
    released.update(features_of((1, 1, 1)), torch.tensor([2]), EVERY[None])
    assert released.vectors[0, 1].item() == pytest.approx(0.2)  # absent this time: decays towards zero


def test_samples_without_a_prototype_are_not_counted():
    prototypes = Prototypes(("a", "b"), 1)
    prototypes.update(features_of((0, 0, 0), (2, 2, 2)), torch.tensor([0, 1]), EVERY.expand(2, 3))
    features = torch.tensor([[0.5], [9.0]], requires_grad=True)
    loss = prototypes.loss(0, features, torch.tensor([0, 2]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1 + math.exp(0.5 - 1.5)), abs=1e-5)
    assert features.grad[0].item() != 0 and features.grad[1].item() == 0
    none = Prototypes(("a", "b"), 1).loss(0, features, torch.tensor([0, 1]))
    assert none.item() == 0 and none.requires_grad


def test_renewing_takes_the_first_and_about_half_of_the_batches():
    prototypes = Prototypes(("a", "b"), 1)
    torch.manual_seed(0)
    seen = []

    def encode(inputs):
        seen.append(len(inputs))
        return torch.ones(3, len(inputs), 1), inputs.present

    prototypes.renew((batch_of([1] * size, [0] * size) for size in range(1, 401)), encode)
    assert seen[0] == 1
    assert abs(len(seen) - 200) < 40  # 4 standard deviations
    assert prototypes.vectors[:, 1, 0].tolist() == [1, 1, 1]


def test_renewing_is_one_mean_over_all_samples():
    prototypes = known(torch.zeros(3, 3, 1))
    batches = [batch_of([1], [0]), batch_of([1, 1, 1], [0, 1, 0])]
    values = iter([torch.full((3, 1, 1), 6.0), torch.full((3, 3, 1), 2.0)])
    draws = iter([0.9, 0.1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand", lambda *_: torch.tensor(next(draws)))
        prototypes.renew(iter(batches), lambda inputs: (next(values), inputs.present))
    assert prototypes.vectors[:, 1, 0].tolist() == pytest.approx([0.8 * 3] * 3)  # (6 + 3 x 2) / 4


def test_prototypes_survive_a_checkpoint_and_are_not_trained():
    prototypes = known(torch.randn(3, 4, 2))
    assert list(prototypes.parameters()) == []
    restored = Prototypes(SOURCES, 2)
    restored.load_state_dict(prototypes.state_dict())
    assert torch.equal(restored.vectors, prototypes.vectors) and bool(restored.known.all())
