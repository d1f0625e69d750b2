"""MMDA: its mixture of experts, MD2A, U-DSA, losses, missing modalities, and what differs in the released code."""

import functools
import math

import open_clip
import pytest
import torch
from fasbench.baselines.mmda import method as mmda
from fasbench.baselines.mmda.fusion import LAMBDA_0, MD2A, first_partner, random_partner
from fasbench.baselines.mmda.method import MMDA, smoothed
from fasbench.baselines.mmda.moe import MixtureOfExperts
from fasbench.baselines.mmda.texts import ClassTexts, sentences
from fasbench.baselines.mmda.udsa import UDSA, soft_alignment
from torch import nn
from torch.nn import functional as F

from fasbench import contract
from fasbench.data.sample import Batch, Inputs
from fasbench.registry import methods

FIDELITIES = ("intended", "released")
BLACK = -127.5 / 128


def build(fidelity="intended", **settings):
    torch.manual_seed(0)
    tiny = {"clip": "fasbench-tiny", "pretrained": None, "image_size": 64, "levels": 2}
    return MMDA(MMDA.Config(**{**tiny, "fidelity": fidelity, **settings}), ("a", "b"))


def inputs_of(count=6, present=None):
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(count, 3, 64, 64, generator=generator) for _ in range(3)]
    kept = torch.ones(count, 3) if present is None else torch.tensor(present)
    return Inputs.of(images, kept.bool(), torch.full((3, 3), BLACK))


def batch_of(inputs, domain=None):
    rows = torch.arange(len(inputs))
    return Batch(inputs, rows % 2, rows // 2 % 2 if domain is None else torch.tensor(domain), ("x",) * len(inputs))


def mixture(width=12, released=False):
    torch.manual_seed(0)
    moe = MixtureOfExperts(width, number=0, released=released)
    nn.init.normal_(moe.norm, mean=1, std=0.2)
    nn.init.normal_(moe.gain, mean=1, std=0.2)
    return moe


def md2a(released=False):
    torch.manual_seed(0)
    return MD2A(32, heads=4, number=0, released=released).eval()


# --- size -------------------------------------------------------------------------------------------------------------


@functools.cache
def without_memory(fidelity):
    """The paper's size on the meta device."""

    def build_clip(name, pretrained, image_size):
        return open_clip.create_model(name, force_image_size=image_size, device="meta").requires_grad_(False)

    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(mmda, "build_clip", build_clip)
        return MMDA(MMDA.Config(fidelity=fidelity), ("a", "b", "c"))


def count(module, trained=False):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_parameter_counts(fidelity):
    method = without_memory(fidelity)
    layers = [*method.udsa.refine, *method.udsa.remap]
    assert [count(layer) for layer in layers] == [9_464_828] * 14
    assert count(method.fusion) == 10_514_428
    assert count(method.classifier) == 8_413_182
    mixtures = [module for module in method.modules() if isinstance(module, MixtureOfExperts)]
    assert [count(moe) for moe in mixtures] == [8_412_156] * 16
    assert count(method.clip) == 149_620_737
    assert count(method) == 301_055_939
    assert len({moe.draw for moe in mixtures}) == 16


def test_the_intended_text_encoder_is_frozen():
    """6"""
    assert count(without_memory("released"), trained=True) == 301_055_939
    method = without_memory("intended")
    assert count(method, trained=True) == 151_435_202 + 86_192_640 + 1  # adapters, visual encoder, logit scale
    assert not method.clip.token_embedding.weight.requires_grad


# --- mixture of experts -----------------------------------------------------------------------------------------------


def test_a_mixture_token_by_token():
    moe, x = mixture().eval(), torch.randn(40, 12)
    expected, chosen_experts = [], set()
    for token in x:
        p = (moe.gate.weight @ token).exp()
        p = p / p.sum()
        chosen = p.argsort(descending=True)[:2].tolist()
        chosen_experts.update(chosen)
        output = torch.zeros(12)
        for i in chosen:
            if i >= 4:
                y = moe.constants[i - 4]
            else:
                n = token / (token**2).mean().sqrt() * moe.norm[i, 0]
                h = n @ moe.inner[i] + moe.inner_bias[i, 0]
                b, a = h[:32], h[32:]
                gelu = a * 0.5 * (1 + torch.erf(a / math.sqrt(2)))
                y = (b * moe.gain[i, 0] * gelu) @ moe.outer[i] + moe.outer_bias[i, 0]
            output = output + p[i] / p[chosen].sum() * y
        expected.append(output)
    assert chosen_experts == set(range(7))
    assert torch.allclose(moe(x)[0], torch.stack(expected), atol=1e-5)


def routed(released, second, tokens=4000):
    """A mixture whose router sees one constant and gives experts 0 and 5 the weights 1 - second and second."""
    moe = mixture(released=released)
    with torch.no_grad():
        moe.gate.weight.zero_()
        moe.gate.weight[:, 0] = -100.0
        moe.gate.weight[0, 0], moe.gate.weight[5, 0] = 0.0, math.log(second / (1 - second))
    return moe, torch.ones(tokens, 12)


@pytest.mark.parametrize(("second", "share"), [(0.1, 0.5), (0.05, 0.25), (0.25, 1.0)])
def test_in_training_the_second_expert_is_used_at_random(second, share):
    moe, x = routed(False, second)
    weights, _ = moe.route(x)
    used = weights[:, 5] > 0
    assert float(used.float().mean()) == pytest.approx(share, abs=0.04)
    assert torch.allclose(weights[:, 0], torch.tensor(1 - second))  # also where the second is not used
    assert torch.allclose(weights[used, 5], torch.tensor(second))


def test_at_evaluation_routing_is_the_same_for_all_samples():
    """8"""
    for second in (0.01, 0.1, 0.3):
        moe, x = routed(False, second)
        assert bool((moe.eval().route(x)[0][:, 5] > 0).all())
    used = []
    for second in (0.1, 0.12, 0.13, 0.3):  # the first mixture's draw is 0.618: used above 0.1236
        moe, x = routed(True, second)
        each = moe.eval().route(x)[0][:, 5] > 0
        assert len(set(each.tolist())) == 1
        used.append(bool(each[0]))
    assert used == [False, False, True, True]


def test_a_constant_expert_does_not_look_at_its_input():
    moe = mixture().eval()
    with torch.no_grad():
        moe.gate.weight.zero_()
        moe.gate.weight[4:6] = 3.0
    x = torch.rand(9, 12) + 0.5  # so that experts 4 and 5 win, and by as much
    assert torch.allclose(moe(x)[0], (moe.constants[0] + moe.constants[1]).expand(9, -1) / 2, atol=1e-6)
    assert moe.constants.std().item() == pytest.approx(0.02, rel=0.4)


def test_auxiliary_losses_of_a_mixture():
    moe, x = routed(False, 0.1)
    _, auxiliary = moe.route(x)  # all choose expert 0 first: f_0 = 1, p_0 = 0.9; logsumexp = -log 0.9
    assert auxiliary.item() == pytest.approx(0.01 * 7 * 0.9 + 0.001 * math.log(0.9) ** 2, rel=1e-4)


# --- MD2A -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("released", "temperature"), [(False, math.sqrt(8)), (True, math.sqrt(32))])
def test_differential_attention_head_by_head(released, temperature):
    """7: the temperature"""
    fusion = md2a(released)
    x, other = torch.randn(1, 3, 32), torch.randn(1, 3, 32)
    n, n_other = F.layer_norm(x[0], (32,)), F.layer_norm(other[0], (32,))
    q1, k1, q2, k2 = fusion.lambdas.detach()
    strength = torch.exp(q1 @ k1) - torch.exp(q2 @ k2) + 0.7836
    heads = []
    for h in range(4):
        rows = slice(8 * h, 8 * h + 8)
        q, k, v = (n @ layer.weight[rows].T for layer in (fusion.query, fusion.key, fusion.value))
        q_other, k_other = (n_other @ layer.weight[rows].T for layer in (fusion.partner_query, fusion.partner_key))
        own, noise = (q @ k.T / temperature).softmax(1), (q_other @ k_other.T / temperature).softmax(1)
        heads.append((own - strength * noise) @ v)
    found = fusion.attend(x, other, torch.ones(1, 3, dtype=torch.bool))
    assert torch.allclose(found[0], torch.cat(heads, dim=1), atol=1e-4)


def test_with_lambda_zero_attention_is_ordinary_and_with_shared_maps_it_shrinks():
    fusion, x, present = md2a(), torch.randn(5, 3, 32), torch.ones(5, 3, dtype=torch.bool)
    n = fusion.norm1(x)
    q, k, v = (layer(n).view(5, 3, 4, 8).transpose(1, 2) for layer in (fusion.query, fusion.key, fusion.value))
    ordinary = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(5, 3, 32)
    with torch.no_grad():
        fusion.lambdas.zero_()
        fusion.lambdas[2:, 0] = math.sqrt(math.log(1 + LAMBDA_0))  # 1 - (1 + lambda_0) + lambda_0
        assert fusion.strength().item() == pytest.approx(0, abs=1e-6)
        assert torch.allclose(fusion.attend(x, torch.randn(5, 3, 32), present), ordinary, atol=1e-6)
        fusion.lambdas.zero_()
        fusion.partner_query, fusion.partner_key = fusion.query, fusion.key
        assert torch.allclose(fusion.attend(x, x, present), (1 - 0.78361) * ordinary, atol=1e-5)


def test_the_vectors_of_lambda_start_small():
    torch.manual_seed(0)
    fusion = MD2A(256, heads=4, number=0, released=False)
    assert fusion.lambdas.std().item() == pytest.approx(0.1, rel=0.1)


def test_both_attention_maps_are_dropped_by_a_tenth():
    fusion, maps = md2a(), []
    assert fusion.dropout.p == 0.1
    fusion.dropout.register_forward_hook(lambda _, given, __: maps.append(given[0]))
    fusion.attend(torch.randn(5, 3, 32), torch.randn(5, 3, 32), torch.ones(5, 3, dtype=torch.bool))
    assert [tuple(one.shape) for one in maps] == [(5, 4, 3, 3)] * 2
    assert all(torch.allclose(one.sum(-1), torch.ones(5, 4, 3)) for one in maps)
    assert not torch.allclose(*maps)


def test_fusion_adds_the_residuals():
    """Y = X + X_1 + X_2 with X_1 = X + 0.2164 RMSNorm(...), so X counts twice."""
    fusion, x, rows = md2a(), torch.randn(4, 3, 32), torch.arange(4)
    present = torch.ones(4, 3, dtype=torch.bool)
    difference = fusion.attend(x, x, present)
    x1 = x + 0.216394 * difference / difference.pow(2).mean(-1, keepdim=True).sqrt()
    x2 = fusion.moe(F.layer_norm(x1, (32,)).flatten(0, 1))[0].view(4, 3, 32)
    expected = (x + x1 + x2).reshape(4, 96) @ fusion.project.weight.T + fusion.project.bias
    assert torch.allclose(fusion(x, rows, present)[0], expected, atol=1e-4)


def test_an_absent_modality_is_left_out_of_the_fusion():
    fusion, x, rows = md2a(), torch.randn(2, 3, 32), torch.arange(2)
    present = torch.tensor([[True, False, True], [True, True, True]])
    with torch.no_grad():
        before, auxiliary = fusion(x, rows, present)
        x[0, 1] += 5.0
        fusion.project.weight[:, 32:64] += 1.0
        after, auxiliary_after = fusion(x, rows, present)
    assert torch.equal(before[0], after[0])
    assert torch.equal(auxiliary, auxiliary_after)
    assert not torch.allclose(before[1], after[1])  # has the modality


def test_the_modalities_left_attend_to_each_other():
    fusion, x, present = md2a(), torch.randn(1, 3, 32), torch.tensor([[True, False, True]])
    n = fusion.norm1(x[0, ::2])
    q, k, v = (layer(n).view(2, 4, 8).transpose(0, 1) for layer in (fusion.query, fusion.key, fusion.value))
    q_other, k_other = (layer(n).view(2, 4, 8).transpose(0, 1) for layer in (fusion.partner_query, fusion.partner_key))
    own, noise = (F.scaled_dot_product_attention(*pair, v) for pair in ((q, k), (q_other, k_other)))
    expected = (own - fusion.strength() * noise).transpose(0, 1).reshape(2, 32)
    assert torch.allclose(fusion.attend(x, x, present)[0, ::2], expected, atol=1e-6)


def test_a_random_partner_is_another_of_the_domain_that_has_the_modalities():
    domain = torch.tensor([0, 1, 0, 1, 0, 2])
    present = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 1]]).bool()
    torch.manual_seed(0)
    seen = [set(column) for column in zip(*(random_partner(domain, present).tolist() for _ in range(60)), strict=True)]
    # 1 has depth, which 3, the other of its domain, lacks; nobody else is of domain 2.
    assert seen == [{2}, {1}, {0}, {1}, {0, 2}, {5}]


def test_the_released_partner_is_the_first_of_the_domain_in_its_micro_batch():
    """2"""
    rows = torch.arange(7)
    together = rows[:, None] // 3 == rows // 3
    assert first_partner(torch.tensor([0, 1, 0, 1, 1, 0, 1]), together).tolist() == [0, 1, 0, 3, 3, 5, 6]


# --- U-DSA ------------------------------------------------------------------------------------------------------------


class Times(nn.Module):
    """A layer that multiplies."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x, peers):
        return self.factor * x, torch.zeros(())


def stack(down, up, released):
    udsa = UDSA(8, heads=2, levels=2, number=0, released=released)
    udsa.refine, udsa.remap = (nn.ModuleList(Times(f) for f in factors) for factors in (down, up))
    e, _ = udsa.down(torch.ones(1, 8), None)
    return [float(x[0, 0]) for x in e + udsa.up(e, None)[0]]


def test_down_and_up():
    """3: e = 1, 2, 10; u_1 = 3 * 10 + 2; u_0 = 7 u_1 + 1, or as released 7 e_1 + 1."""
    assert stack((2, 5), (7, 3), released=False) == [1, 2, 10, 32, 225]
    assert stack((2, 5), (7, 3), released=True) == [1, 2, 10, 32, 15]
    assert stack((2, 5), (0, 0), released=False) == [1, 2, 10, 2, 1]  # without M, u_l = e_l


def test_a_layer_adds_its_residuals_and_attends_to_peers_only():
    torch.manual_seed(0)
    layer = UDSA(16, heads=4, levels=1, number=0, released=False).eval().refine[0]
    x = torch.randn(5, 16)
    n = F.layer_norm(x, (16,))
    attention = layer.attention
    alone = (n @ attention.in_proj_weight[32:].T) @ attention.out_proj.weight.T  # biases start at 0
    x1 = x + alone
    expected = x + x1 + layer.moe(F.layer_norm(x1, (16,)))[0]
    found = layer(x, torch.eye(5, dtype=torch.bool))[0]
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(layer(x, None)[0], found, atol=1e-3)


def test_soft_alignment():
    texts = [torch.tensor([[2.0, 0.0], [0.0, 5.0]]), torch.tensor([[-1.0, 0.0]])]
    x = torch.tensor([[3.0, 4.0], [-2.0, 0.0]])
    found = soft_alignment(x, texts, torch.tensor(100.0))  # cosines 0.6, 0.8 | -0.6; -1, 0 | 1
    assert torch.allclose(found, torch.tensor([[80.0, -60.0], [0.0, 100.0]]))


# --- texts and targets ------------------------------------------------------------------------------------------------


def test_sentences():
    """4"""
    spoof, live = sentences(released=False)
    assert (len(set(spoof)), len(set(live))) == (24, 24)
    assert not set(spoof) & set(live)
    assert all(any(word in text for word in ("spoof", "fake", "attack")) for text in spoof)
    released_spoof, released_live = sentences(released=True)
    assert released_spoof == spoof
    assert len(released_live) == 23
    assert released_live == [live[0] + live[1], *live[2:]]


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_text_features_are_clips(fidelity):
    method = build(fidelity)
    features = ClassTexts(fidelity == "released")(method.clip)
    assert [len(t) for t in features] == [24, 24 if fidelity == "intended" else 23]
    for found, texts in zip(features, sentences(fidelity == "released"), strict=True):
        assert torch.allclose(found, method.clip.encode_text(open_clip.tokenize(texts)), atol=1e-5)


def test_smoothed_targets():
    """5"""
    label = torch.tensor([1, 0])
    assert torch.allclose(smoothed(label, released=False), torch.tensor([[0.05, 0.95], [0.95, 0.05]]))
    assert torch.allclose(smoothed(label, released=True), torch.tensor([[0.1, 1.0], [1.0, 0.1]]))


def test_only_the_released_classifier_sees_the_magnitude():
    """3: the chain up doubles at every layer."""
    for fidelity, same in (("intended", True), ("released", False)):
        classifier, x = build(fidelity).classifier.eval(), torch.randn(8, 64)
        assert torch.allclose(classifier(x)[0], classifier(16_384 * x)[0], atol=1e-4) is same


# --- the whole --------------------------------------------------------------------------------------------------------


def test_there_are_15_levels_and_the_first_is_the_fused_vector():
    method = build(levels=7).eval()
    inputs = inputs_of(2)
    with torch.no_grad():
        levels, routing = method.encode(inputs)
        x = torch.stack([method.clip.encode_image(image) for image in inputs.images()], dim=1)
        e_0, _ = method.fusion(x, torch.arange(2), inputs.present)
    assert [tuple(x.shape) for x in levels] == [(2, 64)] * 15
    assert len(routing) == 15  # fusion, 7 R, 7 M
    assert torch.allclose(levels[0], e_0, atol=1e-5)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_the_losses(fidelity):
    method = build(fidelity).eval()
    batch = batch_of(inputs_of())
    high, low = (1.0, 0.1) if fidelity == "released" else (0.95, 0.05)

    def cross_entropy(logits, targets):
        return float(-(torch.tensor(targets) * (logits - logits.logsumexp(1, keepdim=True))).sum(1).mean())

    with torch.no_grad():
        losses = method.loss(batch)
        e_0, e_1, e_2, u_1, u_0 = method.encode(batch.inputs)[0]
        t = [method.clip.encode_text(open_clip.tokenize(texts)) for texts in sentences(fidelity == "released")]
        t_0, t_1, t_2 = zip(*(method.udsa.down(texts, None)[0] for texts in t), strict=True)
        targets = [[low, high] if label else [high, low] for label in batch.label.tolist()]
        alignment = 0.0
        for level, texts in ((e_0, t_0), (e_1, t_1), (e_2, t_2), (u_1, t_1), (u_0, t_0)):
            a = [[max(F.cosine_similarity(x, k, dim=0) for k in kind) / 0.07 for kind in texts] for x in level]
            alignment += cross_entropy(torch.tensor(a), targets)  # open_clip's initial scale is 1 / 0.07
        assert losses["alignment"].item() == pytest.approx(alignment, rel=1e-4)
        assert losses["classification"].item() == pytest.approx(
            cross_entropy(method.classifier(u_0)[0], targets), rel=1e-4
        )
        spoof, live = (method.classifier(kind)[0] for kind in t)
        of_texts = cross_entropy(spoof, [[0.9, 0.1]] * 24) + cross_entropy(live, [[0.1, 0.9]] * len(live))
        assert losses["texts"].item() == pytest.approx(of_texts, rel=1e-4)
        parts = [float(losses[name]) for name in ("classification", "alignment", "texts", "routing")]
        assert losses["total"].item() == pytest.approx(sum(parts), rel=1e-5)


def test_routing_of_every_call_is_paid_for():
    """With a router that knows nothing a call costs 0.01 + 0.001 log(7)^2; fusion, 2 R x 3, 2 M, classifier x 3."""
    method = build().eval()
    with torch.no_grad():
        for module in method.modules():
            if isinstance(module, MixtureOfExperts):
                module.gate.weight.zero_()
        routing = float(method.loss(batch_of(inputs_of()))["routing"])
    assert routing == pytest.approx(12 * (0.01 + 0.001 * math.log(7) ** 2), rel=1e-4)


@pytest.mark.parametrize(("fidelity", "heard"), [("released", {0, 1, 2}), ("intended", {0})])
def test_who_is_heard_in_training(fidelity, heard):
    """1: released, the samples of a micro-batch attend to each other. Domains differ, so all are their own partner."""
    method = build(fidelity).train()
    inputs = inputs_of()
    inputs.rgb.requires_grad_(True)
    levels, _ = method.encode(inputs, torch.arange(6))
    (gradient,) = torch.autograd.grad(levels[-1][0].sum(), inputs.rgb)
    assert {row for row in range(6) if bool(gradient[row].any())} == heard


def test_in_training_the_partner_is_heard():
    method = build().train()
    inputs = inputs_of()
    inputs.rgb.requires_grad_(True)
    levels, _ = method.encode(inputs, torch.tensor([0, 1, 1, 1, 0, 1]))
    (gradient,) = torch.autograd.grad(levels[0][0].sum(), inputs.rgb)
    assert {row for row in range(6) if bool(gradient[row].any())} == {0, 4}


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_scores_are_repeatable_and_independent_of_the_batch(fidelity):
    method = build(fidelity).eval()
    inputs = inputs_of(16)
    with torch.no_grad():
        scores = method.score(inputs)
        assert torch.equal(method.score(inputs), scores)
        alone = torch.cat([method.score(inputs.select(torch.tensor([row]))) for row in range(16)])
        backwards = method.score(inputs.select(torch.arange(15, -1, -1))).flip(0)
    assert scores.dtype == torch.float64
    assert torch.allclose(alone, scores, atol=1e-5)
    assert torch.allclose(backwards, scores, atol=1e-5)
    assert float(scores.std()) > 1e-4


def test_the_score_is_softmax_of_live_at_the_last_level():
    method, inputs = build().eval(), inputs_of()
    with torch.no_grad():
        u_0 = method.encode(inputs)[0][-1]
        logits, _ = method.classifier(u_0)
        assert torch.allclose(method.score(inputs).float(), logits.softmax(1)[:, 1], atol=1e-6)


def test_the_released_method_sees_black_images_and_the_intended_nothing():
    inputs = inputs_of(4)
    missing = inputs.without("depth")
    black = Inputs(inputs.rgb, torch.full_like(inputs.depth, BLACK), inputs.ir, inputs.present, inputs.black)
    with torch.no_grad():
        for fidelity, same in (("released", True), ("intended", False)):
            method = build(fidelity).eval()
            assert torch.allclose(method.score(missing), method.score(black), atol=1e-6) is same
            assert not torch.allclose(method.score(missing), method.score(inputs), atol=1e-6)


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("domain", [[0] * 6, [0, 1, 2, 0, 1, 2]])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_losses_are_finite_with_modalities_classes_and_domains_absent(fidelity, domain, precision):
    method = build(fidelity).train()
    present = [[1, 1, 1], [1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, 0], [1, 0, 1]]
    batch = batch_of(inputs_of(present=present), domain)
    batch = Batch(batch.inputs, torch.ones(6, dtype=torch.int64), batch.domain, batch.attack)
    with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
        losses = method.loss(batch)
    losses["total"].backward()
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert all(bool(torch.isfinite(loss)) for loss in losses.values())
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    assert gradients
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_the_released_method_keeps_the_contract_too():
    subject = contract._Subject(methods()["mmda"])
    plain = subject.config()
    subject.config = lambda preset="tiny": plain.model_copy(
        update={"model": plain.model.model_copy(update={"fidelity": "released", "levels": 2})}
    )
    assert subject.build().released
    for clause in (contract._learns, contract._gradients, contract._independent_of_batch, contract._missing_modalities):
        clause(subject)
