"""MMDG++ where modalities are missing, from all samples of a batch or from some."""

import pytest
import torch
from mmdgpp_samples import DEPTH, adapter_of, awake, batch_of, build, inputs_of, of_loss, reaches, step

from fasbench.data.sample import Batch, Inputs
from fasbench.device import make_accelerator
from fasbench.layers.regrad import RELEASED_EPSILON, modulate

NAMES = ("rgb", "depth", "ir")


@pytest.mark.parametrize("fidelity", ["intended", "released"])
def test_a_missing_modality_is_not_looked_at(fidelity):
    method = awake(build(fidelity=fidelity)).train()
    inputs = inputs_of()
    kept = torch.tensor([True, False, True]).expand(6, 3)
    found = []
    for filler in (0.0, 5.0):
        images = [image.clone() for image in inputs.images()]
        images[DEPTH] = torch.full_like(images[DEPTH], filler)
        torch.manual_seed(0)
        encoded = method.encode(Inputs(*images, kept, inputs.black))  # not `of`, which would write zeros
        found.append((encoded, method.logits(encoded, kept)))
    (first, logits), (second, same) = found
    assert first.active == [0, 2]
    assert torch.equal(first.features, second.features) and torch.equal(logits, same)


def test_a_missing_modality_per_sample():
    """In a mixed batch too, depth of the samples that lack it changes nothing, and the rest get their own gradient."""
    method = awake(build()).eval()
    inputs = inputs_of()
    kept = torch.ones(6, 3, dtype=torch.bool)
    kept[::2, DEPTH] = False
    images = [image.clone() for image in inputs.images()]
    images[DEPTH][::2] = 100.0
    mixed = Inputs(*images, kept, inputs.black)
    assert torch.allclose(method.score(mixed), method.score(Inputs.of(images, kept, inputs.black)), atol=1e-12)
    lacking = method.score(inputs.without("depth"))
    assert torch.allclose(method.score(mixed)[::2], lacking[::2], atol=1e-6)
    assert torch.allclose(method.score(mixed)[1::2], method.score(inputs)[1::2], atol=1e-6)
    assert not torch.allclose(lacking, method.score(inputs), atol=1e-3)


def test_an_absent_auxiliary_is_replaced_by_the_own_tokens():
    adapter = adapter_of().eval()
    own, a, b = torch.randn(3, 2, 5, 16)
    yes, no = torch.tensor([True, True]), torch.tensor([False, False])
    whole, _ = adapter(own, [a, None], [yes, no], 5)
    masked, _ = adapter(own, [a, b], [yes, no], 5)
    assert torch.equal(whole, masked)
    # W_a is not used: with equal candidates, asking oneself as A or O is the same.
    adapter.candidate_auxiliary.load_state_dict(adapter.candidate_own.state_dict())
    before, _ = adapter(own, [None, None], [no, no], 5)
    torch.nn.init.normal_(adapter.down_auxiliary.weight, std=9.0)
    after, _ = adapter(own, [None, None], [no, no], 5)
    assert torch.equal(before, after)


def test_the_head_sees_exact_zeros_for_a_missing_modality():
    method = build().eval()
    seen = []
    method.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    method.score(inputs_of().without("depth"))
    blocks = seen[0].unflatten(1, (3, -1))
    assert not bool(blocks[:, DEPTH].any())
    assert torch.allclose(blocks[:, [0, 2]].norm(dim=-1), torch.ones(6, 2), atol=1e-5)


def test_nothing_of_a_missing_modality_is_trained():
    method = awake(build())
    batch = batch_of(inputs_of().without("depth"))
    losses, _ = step(method, batch)
    assert {name for name in losses if "depth" in name} == set()
    assert all(p.grad is None for p in method.streams[DEPTH].parameters())
    assert all(reaches(p.grad) for p in method.streams[0].parameters() if p.requires_grad and p.shape)


def test_means_are_over_the_samples_that_have_the_modality():
    method = awake(build()).eval()
    inputs = inputs_of()
    kept = torch.ones(6, 3, dtype=torch.bool)
    kept[:4, DEPTH] = False
    some = Inputs.of(inputs.images(), kept, inputs.black)
    rows = torch.tensor([4, 5])
    alone = method.loss(Batch(some.select(rows), rows % 2, rows % 3, ("live",) * 2))
    mixed = method.loss(batch_of(some))
    for name in ("alignment_depth", "reliability_depth"):
        assert mixed[name].item() == pytest.approx(alone[name].item(), rel=1e-4)


# --- gradients --------------------------------------------------------------------------------------------------------


def sample(batch, row):
    """A batch of one sample."""
    one = torch.tensor([row])
    return Batch(batch.inputs.select(one), batch.label[one], batch.domain[one], batch.attack[row : row + 1])


def test_in_a_mixed_batch_a_gradient_is_the_mean_of_those_of_the_samples():
    """Every alignment loss, for every tensor: over the samples that have the modality, each taken alone."""
    method = awake(build(samples=None)).eval()
    inputs = inputs_of(6)
    patterns = [(1, 1, 1), (1, 0, 1), (0, 1, 1), (1, 0, 0), (1, 1, 0), (0, 0, 1)]
    batch = batch_of(Inputs.of(inputs.images(), torch.tensor(patterns, dtype=torch.bool), inputs.black))
    for m, name in enumerate(NAMES):
        having = [row for row, pattern in enumerate(patterns) if pattern[m]]
        alone = [of_loss(method, sample(batch, row), f"alignment_{name}") for row in having]
        for tensor, found in of_loss(method, batch, f"alignment_{name}").items():
            each = [one[tensor] for one in alone if one[tensor] is not None]
            if not each:
                assert found is None, tensor
                continue
            expected = torch.stack(each).sum(0) / len(having)
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-5 * float(expected.abs().max()) + 1e-9)
            assert reaches(found) == reaches(expected), tensor


def test_what_no_sample_can_ask_is_not_trained():
    """B23: half of the samples have RGB only, half depth only, so nobody hears another modality."""
    method = awake(build())
    inputs = inputs_of(6)
    kept = torch.tensor(3 * [(1, 0, 0)] + 3 * [(0, 1, 0)], dtype=torch.bool)
    step(method, batch_of(Inputs.of(inputs.images(), kept, inputs.black)))
    for m in (0, 1):
        for adapter in method.streams[m].adapters:
            assert [p.grad for p in adapter.down_auxiliary.parameters()] == [None, None]
            assert reaches(adapter.down_own.weight.grad)
        assert reaches(method.streams[m].class_token.grad)
    assert all(p.grad is None for p in method.streams[2].parameters())


# --- who is fast ------------------------------------------------------------------------------------------------------


def balanced(method, inputs, momentum):
    """What ReGrad adds to RGB's class token and prompts, the gradients of the losses for both, and RGB's kappa."""
    batch = batch_of(inputs)
    method._average = lambda losses: None  # the momentum stays as it is
    method.momentum.copy_(torch.tensor(momentum))
    losses = method.loss(batch)
    kappa = {name: float(losses[f"reliability_{name}"]) for name in NAMES if f"reliability_{name}" in losses}
    per_loss = {name: of_loss(method, batch, f"alignment_{name}") for name in kappa}
    classification = of_loss(method, batch, "classification")["streams.0.class_token"]
    method.zero_grad()
    method.backward(losses, make_accelerator("cpu", "fp32"))
    token, prompts = method.streams[0].class_token.grad - classification, method.streams[0].prompts.grad
    return token, prompts, per_loss, kappa


TOKEN, PROMPTS = "streams.0.class_token", "streams.0.prompts"


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-4 * float(expected.abs().max()))


def test_the_fast_one_is_the_fastest_of_those_available():
    """B24: depth, which is missing, would be the fastest. So RGB's gradients are damped."""
    token, prompts, g, kappa = balanced(build(samples=None).eval(), inputs_of().without("depth"), (1.0, 0.1, 3.0))
    assert 0 < kappa["rgb"] < 0.9
    close(prompts, kappa["rgb"] * g["rgb"][PROMPTS])
    assert not reaches(g["ir"][TOKEN])  # adapters give nothing yet
    close(token, kappa["rgb"] * g["rgb"][TOKEN])


def test_the_slower_one_is_not_damped():
    _, prompts, g, _ = balanced(build(samples=None).eval(), inputs_of().without("depth"), (3.0, 0.1, 1.0))
    close(prompts, g["rgb"][PROMPTS])


def test_in_the_release_a_missing_modality_is_the_fastest():
    """B24: nobody who is there is fast, so the slow rule is taken for RGB."""
    released = {"fidelity": "released", "samples": None}
    token, prompts, g, _ = balanced(build(**released).eval(), inputs_of().without("depth"), (1.0, 0.1, 3.0))
    assert prompts is None  # B4
    close(token, g["rgb"][TOKEN])
    token, _, g, kappa = balanced(awake(build(**released)).eval(), inputs_of().without("depth"), (1.0, 0.1, 3.0))
    received = modulate(g["ir"][TOKEN], g["rgb"][TOKEN], epsilon=RELEASED_EPSILON)
    assert reaches(received)
    close(token, g["rgb"][TOKEN] + kappa["ir"] * received)


@pytest.mark.parametrize("fidelity", ["intended", "released"])
@pytest.mark.parametrize("momentum", [(1.0, 2.0, 3.0), (3.0, 2.0, 1.0), (1.0, 0.0, 0.0)])
def test_alone_a_modality_keeps_its_gradient_whatever_the_momentum(fidelity, momentum):
    method = awake(build(fidelity=fidelity, samples=None)).eval()
    token, _, g, kappa = balanced(method, inputs_of().without("depth", "ir"), momentum)
    assert kappa["rgb"] < 0.9
    close(token, g["rgb"][TOKEN])
