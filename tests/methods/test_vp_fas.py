"""VP-FAS (reconstruction): budget, every pattern's prompts against a plain loop, regularisation, missing modalities."""

import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from fasbench.baselines.vp_fas.method import VPFAS, inconsistency, kept_only, pattern_of
from torch.nn import functional as F

from fasbench.data.sample import Batch, Inputs
from fasbench.registry import methods
from fasbench.summary import title

TINY = {"backbone": "test_vit", "pretrained": False, "length": 4, "bottleneck": 8, "image_size": 64}
P = 16  # patches of an image
# By their number: 1 for rgb, 2 for depth, 4 for ir, less 1.
PATTERNS = [[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]]
FULL = 6


def build(**settings):
    torch.manual_seed(0)
    return VPFAS(VPFAS.Config(**{**TINY, **settings}), ("a", "b"))


def full_size(**settings):
    with torch.device("meta"):
        return VPFAS(VPFAS.Config(pretrained=False, **settings), ("a", "b"))


def awake(method):
    """With prompts and contextual terms that do something, and norms that differ from each other."""
    with torch.no_grad():
        for module in method.vit.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.normal_(mean=1.0, std=0.3)
                module.bias.normal_(std=0.3)
        method.prompts.normal_()
        method.tokens.modality.normal_(std=0.5)
        method.head.weight.normal_()
        for part in method.contextual:
            part.up.weight.normal_(std=0.3)
            part.up.bias.normal_(std=0.3)
    return method


def inputs_of(count=7, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randn(count, 3, 64, 64, generator=generator) for _ in range(3)]
    return Inputs.of(images, torch.ones(count, 3, dtype=torch.bool), torch.zeros(3, 3))


def with_present(inputs, present):
    return Inputs.of(inputs.images(), torch.tensor(present, dtype=torch.bool), inputs.black)


def batch_of(inputs, label=None):
    rows = torch.arange(len(inputs))
    return Batch(inputs, rows % 2 if label is None else label, rows % 2, ("live",) * len(inputs))


def count(parameters):
    return sum(p.numel() for p in parameters)


def trained(method):
    return count(p for p in method.parameters() if p.requires_grad)


# --- budget -----------------------------------------------------------------------------------------------------------


def test_parameter_counts():
    method = full_size()
    assert method.prompts.numel() == 645_120 == 7 * 12 * 10 * 768
    assert count(method.contextual.parameters()) == 599_424 == 12 * (768 * 32 + 32 + 32 * 768 + 768)
    assert count(method.head.parameters()) == 1_538
    assert count(method.tokens.parameters()) == 2_304
    assert trained(method) == 1_248_386
    assert count(method.vit.parameters()) == 85_798_656
    assert trained(method) < 0.04 * 85_798_656  # the abstract's budget
    assert full_size(prompts="modality").prompts.numel() == 276_480
    assert trained(full_size(contextual="off")) == 648_962
    assert trained(full_size(length=20)) < 0.04 * 85_798_656


def test_the_card_has_the_counts():
    method = full_size()
    card = (methods()["vp-fas"].config_path.parent / "README.md").read_text()
    assert f"{trained(method):,}" in card
    assert f"{count(method.parameters()):,}" in card


def test_it_is_shown_as_a_reconstruction():
    entry = methods()["vp-fas"]
    assert "VP-FAS (reconstruction)" in entry.config()["title"]
    assert VPFAS.fidelities == ("reconstruction",)
    assert VPFAS.Config().fidelity == "reconstruction"
    evaluation = SimpleNamespace(method="vp-fas", protocol="p", version=1, partial=False)
    result = SimpleNamespace(evaluation=evaluation, fidelity=VPFAS.Config().fidelity, synthetic=False)
    assert title([result], "source-val", "frame").startswith("vp-fas (reconstruction) on p@1")
    assert (entry.config_path.parent / "README.md").read_text().startswith("# VP-FAS (reconstruction)\n")


@pytest.mark.parametrize("contextual", ["prompt", "convolution"])
def test_only_prompts_contextual_parts_modality_embeddings_and_head_are_trained(contextual):
    """Property 1."""
    method = awake(build(contextual=contextual, drop=1.0))
    method.loss(batch_of(inputs_of()))["total"].backward()
    reached = {name for name, p in method.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert reached == {name for name, p in method.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in reached} == {"prompts", "contextual", "tokens", "head"}


# --- the network ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def reference(method, inputs, row):
    """e of one sample: its own tokens, no masks, block by block with timm's own modules."""
    vit = timm.create_model("test_vit", num_classes=0, img_size=64, dynamic_img_size=False).eval()
    vit.load_state_dict(method.vit.state_dict())
    have = inputs.present[row].nonzero()[:, 0].tolist()
    pattern = PATTERNS.index(inputs.present[row].int().tolist())
    x = [vit.cls_token + vit.pos_embed[:, :1]]
    for m in have:
        x.append(vit.patch_embed(inputs.images()[m][row : row + 1]) + vit.pos_embed[:, 1:] + method.tokens.modality[m])
    x = torch.cat(x, dim=1)
    for number, block in enumerate(vit.blocks):
        if number >= method.prompts.shape[1]:
            x = block(x)
            continue
        if method.config.prompts == "pattern":
            p = method.prompts[pattern, number]
        else:
            p = sum(method.prompts[m, number] for m in have)
        n = block.norm1(x)
        if method.config.contextual == "prompt":
            part = method.contextual[number]
            c = n[0, 1:].mean(0)
            hidden = F.gelu(part.down.weight @ c + part.down.bias)
            p = p + (part.up.weight @ hidden + part.up.bias)
        if method.config.contextual == "convolution":
            part, parts = method.contextual[number], [x[:, :1]]
            for k in range(len(have)):
                rows = slice(1 + P * k, 1 + P * (k + 1))
                z = F.silu(1.702 * part.down(n[:, rows])) / 1.702
                u = F.conv2d(z.reshape(1, 4, 4, 8).permute(0, 3, 1, 2), part.convolution.weight, padding=1)
                parts.append(x[:, rows] + part.up(F.silu(1.702 * u.permute(0, 2, 3, 1).reshape(1, P, 8)) / 1.702))
            x = torch.cat(parts, dim=1)
        x = block(torch.cat([x[:, :1], p[None], x[:, 1:]], dim=1))
        x = torch.cat([x[:, :1], x[:, 1 + len(p) :]], dim=1)
    return vit.norm(x)[:, 0]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"prompts": "modality"},
        {"contextual": "convolution"},
        {"contextual": "off"},
        {"prompted_blocks": 2},
        {"prompted_blocks": 0},
    ],
)
@torch.no_grad()
def test_every_sample_gets_the_prompts_of_its_own_pattern(settings):
    """All seven patterns in one batch, and each alone (property 6)."""
    method = awake(build(**settings)).eval()
    inputs = with_present(inputs_of(), PATTERNS)
    together = method.features(inputs)
    for row in range(7):
        expected = reference(method, inputs, row)
        assert torch.allclose(together[row : row + 1], expected, atol=1e-4)
        assert torch.allclose(method.features(inputs.select(torch.tensor([row]))), expected, atol=1e-4)
    logits = method.head(together).double()
    assert torch.allclose(method.score(inputs), logits.softmax(1)[:, 1], atol=1e-9)
    assert len(method.score(inputs).unique()) == 7


@torch.no_grad()
def test_at_the_start_the_contextual_term_is_nothing():
    """Property 2."""
    inputs = with_present(inputs_of(), PATTERNS)
    plain, contextual, convolved = (build(contextual=kind).eval() for kind in ("off", "prompt", "convolution"))
    for method in (contextual, convolved):
        method.load_state_dict(plain.state_dict(), strict=False)
        assert torch.allclose(method.features(inputs), plain.features(inputs), atol=1e-6)
        assert not torch.allclose(awake(method).features(inputs), plain.features(inputs), atol=1e-2)


@torch.no_grad()
def test_without_prompts_it_is_the_frozen_vit():
    """Property 2."""
    method = build(prompted_blocks=0).eval()
    plain = timm.create_model("test_vit", num_classes=0, img_size=64, dynamic_img_size=False).eval()
    plain.load_state_dict(method.vit.state_dict())
    inputs = inputs_of().without("rgb", "depth")
    assert torch.allclose(method.features(inputs), plain(inputs.ir), atol=1e-5)


@torch.no_grad()
def test_the_sequence_does_not_grow():
    """Properties 3 and 6: 1 + n + patches inside a block, 1 + patches between prompted and other blocks."""
    method, lengths = build(prompted_blocks=4).eval(), []
    for block in method.vit.blocks:
        block.attn.register_forward_hook(lambda module, given, output: lengths.append(given[0].shape[1]))
    method.features(inputs_of(2).without("depth"))
    assert lengths == [1 + 4 + 2 * P] * 4 + [1 + 2 * P] * 2


@pytest.mark.parametrize("pattern", range(FULL))
@torch.no_grad()
def test_absent_modalities_are_not_read(pattern):
    """Property 3, among complete samples: whatever the absent images hold."""
    method = awake(build()).eval()
    complete = inputs_of(4)
    inputs = with_present(complete, [PATTERNS[FULL], PATTERNS[pattern]] * 2)
    rubbish = Inputs(*complete.images(), inputs.present, inputs.black)
    assert torch.equal(method.features(rubbish), method.features(inputs))
    assert not torch.allclose(method.features(complete)[1], method.features(inputs)[1], atol=1e-2)


@torch.no_grad()
def test_patterns_have_prompts_of_their_own():
    """Property 5."""
    inputs = with_present(inputs_of(), PATTERNS)
    assert pattern_of(inputs.present).tolist() == list(range(7))
    method = awake(build()).eval()
    before = method.features(inputs)
    for pattern in range(7):
        method.prompts[pattern].add_(1)
        after = method.features(inputs)
        assert (after != before).any(1).nonzero()[:, 0].tolist() == [pattern]
        before = after


# --- training ---------------------------------------------------------------------------------------------------------


def test_the_regularisation_is_one_minus_the_cosine():
    """Property 4, and two samples by hand: 45 and 90 degrees."""
    e_s = torch.tensor([[3.0, 0.0], [0.0, 2.0]], requires_grad=True)
    e_full = torch.tensor([[1.0, 1.0], [5.0, 0.0]], requires_grad=True)
    loss = inconsistency(e_s, e_full)
    assert loss.item() == pytest.approx(((1 - math.sqrt(0.5)) + 1) / 2, abs=1e-6)
    loss.backward()
    assert e_full.grad is None
    assert bool(e_s.grad.any())
    assert inconsistency(e_full, e_full).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("pattern", range(7))
def test_the_loss_is_both_classifications_and_the_regularisation(pattern, monkeypatch):
    method = awake(build(regularisation=0.7))
    monkeypatch.setattr(method, "draw_pattern", lambda: torch.tensor(PATTERNS[pattern], dtype=torch.bool))
    inputs, label = inputs_of(4), torch.tensor([1, 0, 0, 1])
    losses = method.loss(batch_of(inputs, label))
    kept = with_present(inputs, [PATTERNS[pattern]] * 4)
    e = [np.concatenate([reference(method, given, row).numpy() for row in range(4)]) for given in (inputs, kept)]
    weight, bias = (value.detach().numpy().astype(float) for value in (method.head.weight, method.head.bias))

    def cross_entropy(features):
        z = features @ weight.T + bias
        return np.mean(
            [
                np.log(np.exp(row - row.max()).sum()) + row.max() - row[y]
                for row, y in zip(z, label.tolist(), strict=True)
            ]
        )

    norms = np.linalg.norm(e[0], axis=1) * np.linalg.norm(e[1], axis=1)
    mmr = np.mean(1 - (e[0] * e[1]).sum(1) / norms)
    assert losses["consistency"].item() == pytest.approx(mmr, abs=1e-4)
    assert (losses["consistency"].item() == 0) == (pattern == FULL)
    assert losses["total"].item() == pytest.approx(
        (cross_entropy(e[0]) + cross_entropy(e[1])) / 2 + 0.7 * mmr, rel=1e-4
    )


@pytest.mark.parametrize("contextual", ["prompt", "convolution", "off"])
@torch.no_grad()
def test_what_nothing_is_dropped_from_has_one_embedding(contextual):
    """In training too: so one forward pass stands for both, and L_mmr is 0."""
    method, inputs = awake(build(contextual=contextual)).train(), inputs_of()
    assert torch.equal(method.features(inputs), method.features(inputs))


@pytest.mark.parametrize("drop_rgb", [True, False])
def test_a_batch_draws_one_pattern(drop_rgb):
    """All three with probability 1 - 0.5, and the others alike; colour is always there in the flexible benchmark."""
    method = build(drop_rgb=drop_rgb)
    torch.manual_seed(0)
    drawn = Counter(PATTERNS.index(method.draw_pattern().int().tolist()) for _ in range(3000))
    others = [0, 1, 2, 3, 4, 5] if drop_rgb else [0, 2, 4]
    assert set(drawn) == {*others, FULL}
    assert drawn[FULL] == pytest.approx(1500, abs=110)  # 4 standard deviations
    for pattern in others:
        expected = 1500 / len(others)
        assert drawn[pattern] == pytest.approx(expected, abs=4 * math.sqrt(expected))
    assert build(drop=0.0).draw_pattern().all()


def test_a_sample_that_would_be_left_with_nothing_keeps_all_it_has():
    inputs = with_present(inputs_of(3), [[1, 1, 0], [0, 1, 1], [1, 1, 1]])
    reduced = kept_only(inputs, torch.tensor([True, False, False]))
    assert reduced.present.int().tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert not bool(reduced.depth[0].any())
    assert torch.equal(reduced.depth[1], inputs.depth[1])


@pytest.mark.parametrize("present", [PATTERNS[FULL], PATTERNS[5], None])
@pytest.mark.parametrize("contextual", ["prompt", "convolution"])
@pytest.mark.parametrize("autocast", [False, True])
def test_losses_are_finite(present, contextual, autocast):
    """Also with one class, without a modality, and under bf16."""
    method = awake(build(contextual=contextual, drop=1.0))
    inputs = with_present(inputs_of(), PATTERNS if present is None else [present] * 7)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        losses = method.loss(batch_of(inputs, torch.zeros(7).long()))
    losses["total"].backward()
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert all(bool(torch.isfinite(loss)) for loss in losses.values())
    assert all(bool(torch.isfinite(p.grad).all()) for p in method.parameters() if p.grad is not None)


def test_scores_do_not_saturate():
    method = awake(build()).eval()
    with torch.no_grad():
        gap = method.head(method.features(inputs_of())).diff().abs().max()
        method.head.weight.mul_(30 / gap)
        scores = method.score(inputs_of())
    assert scores.dtype == torch.float64
    assert float(scores.min()) > 0
    assert float(scores.max()) < 1
    assert len(scores.unique()) == 7
