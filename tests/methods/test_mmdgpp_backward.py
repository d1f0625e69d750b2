"""How MMDG++'s losses are followed: what `loss` hands to `backward`, ReGrad switched off, its epsilon, checkpoints."""

import copy

import pytest
import torch
from mmdgpp_samples import awake, batch_of, build, gradients, inputs_of, of_loss, owned, reaches, step

from fasbench.device import make_accelerator
from fasbench.layers.regrad import RELEASED_EPSILON
from fasbench.training import stored_names

ALIGNMENT = ("alignment_rgb", "alignment_depth", "alignment_ir")


def backward(method, losses):
    method.zero_grad()
    method.backward(losses, make_accelerator("cpu", "fp32"))
    return gradients(method)


def closed(**settings):
    """Nothing is drawn: every pass sees the same."""
    return awake(build(samples=None, **settings)).eval()


def close(found, expected, name):
    assert torch.allclose(found, expected, rtol=1e-3, atol=2e-4 * float(expected.abs().max()) + 1e-9), name


# --- from loss to backward --------------------------------------------------------------------------------------------


def test_losses_of_an_earlier_batch_can_be_followed():
    method, other = closed(), closed()
    first = method.loss(batch_of(inputs_of(seed=0)))
    method.loss(batch_of(inputs_of(seed=1)))
    found = backward(method, first)
    expected = backward(other, other.loss(batch_of(inputs_of(seed=0))))
    for name, g in expected.items():
        assert (found[name] is None) == (g is None), name
        if g is not None:
            close(found[name], g, name)


def test_backward_wants_what_loss_returned():
    method = closed()
    losses = method.loss(batch_of(inputs_of()))
    with pytest.raises(AssertionError, match="backward takes what loss returned"):
        method.backward(dict(losses), make_accelerator("cpu", "fp32"))


def test_a_method_can_be_copied_after_its_loss():
    method = closed()
    losses = method.loss(batch_of(inputs_of()))
    again = copy.deepcopy(method)
    backward(method, losses)
    assert torch.equal(again.score(inputs_of()), method.score(inputs_of()))
    assert all(p.grad is None for p in again.parameters())


def test_the_total_is_the_sum_of_the_losses_and_reaches_the_prompts():
    method = closed()
    losses = method.loss(batch_of(inputs_of()))
    terms = [losses[name].item() for name in ("classification", *ALIGNMENT)]
    assert losses["total"].item() == pytest.approx(sum(terms), rel=1e-5)
    losses["total"].backward()
    assert all(reaches(stream.prompts.grad) for stream in method.streams)
    for m, name in enumerate(ALIGNMENT):
        expected = of_loss(method, batch_of(inputs_of()), name)[f"streams.{m}.prompts"]
        close(method.streams[m].prompts.grad, expected, name)


# --- ReGrad -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "summed"),
    [
        ({}, ("tokens", "adapters")),
        ({"train_visual": True}, ("tokens", "adapters")),
        ({"modulated": "tokens"}, ("tokens",)),
        ({"fidelity": "released"}, ("tokens",)),  # B3
        ({"fidelity": "released", "modulated": "all"}, ("tokens", "adapters")),
    ],
)
def test_without_regrad_the_losses_are_summed_for_what_is_modulated(settings, summed):
    """All else, the head and a trained trunk too, keeps the gradient of the classification loss."""
    method = closed(regrad="off", **settings)
    batch = batch_of(inputs_of())
    classification, *alignment = (of_loss(method, batch, name) for name in ("classification", *ALIGNMENT))
    modulated = set().union(*(owned(method, kind) for kind in summed))
    found = backward(method, method.loss(batch))
    for name, g in found.items():
        parts = [classification, *alignment] if name in modulated else [classification]
        terms = [part[name] for part in parts if part[name] is not None]
        assert (g is None) == (not terms), name
        if terms:
            close(g, torch.stack(terms).sum(0), name)
    if "train_visual" in settings:
        trunk = [name for name, g in found.items() if name.startswith("clip.visual.") and reaches(g)]
        assert any(reaches(alignment[0][name]) for name in trunk)  # the sum would have been something else


@pytest.mark.parametrize(
    ("fidelity", "kept"),
    [("intended", 1.0), ("released", 1e-10 / (1e-10 + RELEASED_EPSILON))],
)
def test_of_tiny_gradients_the_release_loses_the_projection(fidelity, kept):
    """B21: RGB, slow, receives depth's gradient of the same direction, of length 1e-5, as far as epsilon lets it."""
    method = build(fidelity=fidelity)
    method.momentum.copy_(torch.tensor([2.0, 1.0, 3.0]))
    token = method.streams[0].class_token
    tiny = torch.zeros_like(token)
    tiny[0] = 1e-5
    method._balance(0, [token], {0: {token: tiny}, 1: {token: tiny}, 2: {}}, [1.0, 1.0, 1.0])
    assert float(token.grad[0]) == pytest.approx((1 + kept) * 1e-5, rel=1e-3)


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fidelity", ["intended", "released"])
def test_momentum_survives_a_checkpoint(fidelity):
    method, restored = build(fidelity=fidelity), build(fidelity=fidelity)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    step(method, batch_of(inputs_of()), optimizer)
    assert not torch.equal(method.momentum, restored.momentum)
    saved = {name: tensor.clone() for name, tensor in method.state_dict().items() if name in stored_names(method)}
    restored.load_state_dict(saved, strict=False)
    assert torch.equal(restored.momentum, method.momentum)
    assert torch.equal(restored.eval().score(inputs_of()), method.eval().score(inputs_of()))
    assert not [name for name in saved if name.startswith("clip.")]  # frozen, and built again
