"""Which gradient reaches which tensor of MMDG++, how ReGrad balances them, and the momentum that decides it."""

import pytest
import torch
from mmdgpp_samples import DEPTH, ROOT, awake, batch_of, build, gradients, inputs_of, of_loss, owned, reaches, step
from torch.nn import functional as F

from fasbench.device import make_accelerator


def test_gradients_reach_what_the_table_says():
    """Section 6.6: the cross-modal parts exist for tokens, positions and all adapters but the last block's."""
    method = awake(build()).train()
    batch = batch_of(inputs_of(12))  # in a small one all may happen to ask themselves
    found = {m: of_loss(method, batch, f"alignment_{name}") for m, name in enumerate(("rgb", "depth", "ir"))}
    classification = of_loss(method, batch, "classification")
    last = len(method.streams[0].adapters) - 1
    for owner in range(3):
        for name, _ in method.streams[owner].named_parameters():
            full_name, others = f"streams.{owner}.{name}", [j for j in range(3) if j != owner]
            cross = not (name in ("projection", "prompts") or name.startswith(f"adapters.{last}."))
            assert reaches(found[owner][full_name]), full_name
            assert {reaches(found[j][full_name]) for j in others} == {cross}, full_name
            assert reaches(classification[full_name]) == (name != "prompts"), full_name
    for name in ("head.weight", "head.bias"):
        assert reaches(classification[name])
        assert not any(reaches(found[m][name]) for m in range(3))


def test_gradients_are_balanced_as_written():
    """Every owned tensor: the gradient of L, plus ReGrad of the three losses' own gradients."""
    method = awake(build(samples=None)).eval()  # nothing is drawn: every pass sees the same
    batch = batch_of(inputs_of())
    per_loss = [of_loss(method, batch, f"alignment_{name}") for name in ("rgb", "depth", "ir")]
    losses = method.loss(batch)
    kappa = [float(losses[f"reliability_{name}"]) for name in ("rgb", "depth", "ir")]
    values = [losses[f"alignment_{name}"].item() for name in ("rgb", "depth", "ir")]
    classification = of_loss(method, batch, "classification")
    method.zero_grad()
    method.backward(method.loss(batch), make_accelerator("cpu", "fp32"))

    def damped(a, b):  # P(a|b)
        dot, square = float((a * b).sum()), float((b * b).sum())
        along = dot / square * b if square else 0 * b
        return along if dot > 0 else a - along

    checked = 0
    for name, p in method.named_parameters():
        if not name.startswith("streams."):
            continue
        if p.grad is None:  # S gets none without samples
            assert "log_variance" in name
            continue
        m = int(name.split(".")[1])
        g = [torch.zeros_like(p) if one[name] is None else one[name] for one in per_loss]
        j, k = (other for other in range(3) if other != m)
        if values[m] < min(values[j], values[k]):
            expected = kappa[m] * damped(g[m], g[j] + g[k]) + g[j] + g[k]
        else:
            expected = g[m] + kappa[j] * damped(g[j], g[m]) + kappa[k] * damped(g[k], g[m])
        if classification[name] is not None:
            expected = expected + classification[name]
        scale = float(expected.abs().max())
        assert torch.allclose(p.grad, expected, rtol=1e-3, atol=1e-4 * scale), name
        checked += 1
    assert checked > 100


def modulated_names(method, batch):
    _, alone = step(method, batch)
    return {
        name
        for name, p in method.named_parameters()
        if p.requires_grad
        and reaches(p.grad)
        and not (alone[name] is not None and torch.allclose(p.grad, alone[name], rtol=1e-4, atol=1e-9))
    }


def test_intended_regrad_reaches_every_owned_tensor():
    method = awake(build())
    assert modulated_names(method, batch_of(inputs_of(12))) == owned(method, "tokens") | owned(method, "adapters")


@pytest.mark.parametrize("settings", [{"fidelity": "released"}, {"modulated": "tokens"}])
def test_released_regrad_reaches_twelve_tensors(settings):
    """B3"""
    method = awake(build(**settings))
    found = modulated_names(method, batch_of(inputs_of(12)))
    assert found == owned(method, "tokens")
    assert len(found) == 12


def test_the_defect_can_be_mended_alone():
    method = awake(build(fidelity="released", modulated="all"))
    assert modulated_names(method, batch_of(inputs_of(12))) & owned(method, "adapters")


@pytest.mark.parametrize(
    ("absent", "reached"),
    [(("depth",), {0}), (("ir",), {0, 1}), (("depth", "ir"), {0}), (("rgb",), set())],
)
def test_released_regrad_with_a_missing_modality(absent, reached):
    """B4: only class tokens of the modalities before the first missing one; prompts get no gradient at all."""
    method = awake(build(fidelity="released"))
    found = modulated_names(method, batch_of(inputs_of(12).without(*absent)))
    assert found == {f"streams.{m}.class_token" for m in reached}
    assert not any(reaches(stream.prompts.grad) for stream in method.streams)


def test_released_missing_owners_get_zeros_not_none():
    """B23: with weight decay or momentum the optimiser still moves them."""
    method = awake(build(fidelity="released"))
    step(method, batch_of(inputs_of().without("depth")))
    grads = {name: p.grad for name, p in method.streams[DEPTH].named_parameters()}
    assert grads.pop("prompts") is None
    assert all(g is not None and not bool(g.any()) for g in grads.values())


def test_at_the_first_step_only_the_up_projections_of_adapters_learn():
    method = build()
    step(method, batch_of(inputs_of()))
    alive = {name for name in owned(method, "adapters") if reaches(gradients(method)[name])}
    assert alive == {name for name in owned(method, "adapters") if f".{ROOT}." in name}


@pytest.mark.parametrize("settings", [{}, {"train_visual": True}])
def test_every_trainable_tensor_has_a_gradient_after_the_second_step(settings):
    method = build(**settings)
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-3)
    batch = batch_of(inputs_of(8))
    for _ in range(2):
        step(method, batch, optimizer)
    assert [name for name, g in gradients(method).items() if not reaches(g)] == []
    assert all(p.grad is None for p in method.parameters() if not p.requires_grad)


def test_the_text_is_passed_once_and_gives_the_gradient_of_the_whole():
    method = awake(build(samples=None, regrad="off")).eval()
    batch = batch_of(inputs_of())
    method.backward(method.loss(batch), make_accelerator("cpu", "fp32"))
    found = [stream.prompts.grad.clone() for stream in method.streams]
    prompts = [stream.prompts for stream in method.streams]
    encoded = method.encode(batch.inputs)
    text = F.normalize(method.text(method.clip, [0, 1, 2], prompts), dim=-1)  # in the graph
    target = method.text_class[batch.label, batch.domain]
    scale = method.clip.logit_scale.exp()
    total = sum(F.cross_entropy(scale * v @ t.T, target) for v, t in zip(encoded.features, text, strict=True))
    for g, expected in zip(found, torch.autograd.grad(total, prompts), strict=True):
        assert torch.allclose(g, expected, atol=1e-5)


def test_momentum_converges_and_the_smallest_loss_stays_fast():
    method = build()
    for _ in range(10_000):
        method._average({0: 1.0, 1: 2.0, 2: 3.0})
        assert method.momentum[0] < method.momentum[1:].min()
    assert method.momentum.tolist() == pytest.approx([1, 2, 3])


def test_momentum_starts_at_the_first_loss_and_forgets_by_half():
    method = build()
    method._average({0: 4.0, 1: 2.0, 2: 1.0})
    assert method.momentum.tolist() == [4, 2, 1]
    method._average({0: 2.0, 1: 2.0, 2: 2.0})
    assert method.momentum.tolist() == [3, 2, 1.5]


def test_momentum_of_a_missing_modality_is_left_alone():
    method = build()
    method._average({0: 1.0, 2: 3.0})
    assert method.momentum.tolist() == [1, float("inf"), 3]
    method._average({1: 5.0})
    assert method.momentum.tolist() == [1, 5, 3]


def test_released_momentum_grows_without_end():
    """B2"""
    method = build(fidelity="released")
    for step_number in range(1, 1752):
        method._average({0: 1.0, 1: 2.0, 2: 3.0})
        if step_number == 1:
            assert method.momentum.tolist() == [0.5, 1, 1.5]
        if step_number == 1750:
            assert bool(torch.isfinite(method.momentum[0]))
    assert bool(torch.isinf(method.momentum[0]))


def test_released_momentum_of_a_missing_modality_decays():
    """B24"""
    method = build(fidelity="released")
    method._average({0: 1.0, 1: 2.0, 2: 3.0})
    method._average({0: 1.0, 2: 3.0})
    assert method.momentum[1] == 0.5
