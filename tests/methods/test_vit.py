"""The three ViTs: counts, each against a plain transcription of its equations, missing modalities, losses, presets."""

import dataclasses
import math
from functools import cache

import pytest
import timm
import torch
from fasbench.baselines.vit.cross_attention import fuse
from fasbench.baselines.vit.method import VARIANTS, ViT
from torch.nn import functional as F

from fasbench import contract
from fasbench.config import resolve
from fasbench.data.record import MODALITIES
from fasbench.data.sample import Batch, Inputs
from fasbench.registry import MethodEntry, methods

TINY = {"backbone": "test_vit", "pretrained": False, "image_size": 64}
BLACK = -0.996
SETS = [[0, 1, 2], [0, 1], [0, 2], [1, 2], [0], [1], [2]]

_render = cache(contract._records)


def build(variant, **settings):
    torch.manual_seed(0)
    return ViT(ViT.Config(**{**TINY, "variant": variant, **settings}), ("a", "b")).eval()


def full_size(variant, **settings):
    with torch.device("meta"):
        return ViT(ViT.Config(pretrained=False, variant=variant, **settings), ("a", "b"))


def inputs_of(count=4, size=64):
    generator = torch.Generator().manual_seed(1)
    images = [torch.randn(count, 3, size, size, generator=generator) for _ in range(3)]
    return Inputs.of(images, torch.ones(count, 3, dtype=torch.bool), torch.full((3, 3), BLACK))


def with_present(inputs, present):
    return Inputs.of(inputs.images(), torch.tensor(present, dtype=torch.bool), inputs.black)


def holding(inputs, modalities):
    """The same samples with these modalities alone."""
    return with_present(inputs, [[m in modalities for m in range(3)]] * len(inputs))


def batch_of(inputs, label=None):
    label = torch.arange(len(inputs)) % 2 if label is None else torch.tensor(label)
    return Batch(inputs, label, torch.zeros_like(label), ("live",) * len(label))


def count(parameters):
    return sum(p.numel() for p in parameters)


def trained(module):
    return count(p for p in module.parameters() if p.requires_grad)


# --- parameters -------------------------------------------------------------------------------------------------------


def test_parameters_of_the_joint_sequence():
    method = full_size("joint")
    assert count(method.parameters()) == trained(method) == 85_802_498
    assert count(method.network.tokens.parameters()) == 3 * 768
    probe = full_size("joint", train_trunk=False)
    assert count(probe.parameters()) == 85_802_498
    assert trained(probe) == 768 * 2 + 2


def test_parameters_of_cross_attention():
    method = full_size("cross-attention")
    assert count(method.network.fusion.parameters()) == 5_310_720
    assert count(method.network.head.parameters()) == 1_538
    assert count(method.parameters()) == trained(method) == 91_109_378
    assert 91_109_378 + 2 * 768 == 91_110_914  # with the norm that the release holds and never applies


def test_parameters_of_three_branches():
    method = full_size("three-branch")
    assert trained(method) == 10_308_680
    assert count(method.parameters()) == 10_308_680 + 11 * 7_087_872
    assert [trained(block) for block in method.network.blocks] == [0] * 11 + [7_087_872]
    assert trained(method.network.norm) == 1_536
    adapters = [*method.network.beside_attention, *method.network.beside_mlp]
    assert len(adapters) == 24
    assert {count(adapter.parameters()) for triple in adapters for adapter in triple} == {13_640}
    whole = full_size("three-branch", train_trunk=True)
    assert trained(whole) == count(whole.parameters())


# --- (C) joint --------------------------------------------------------------------------------------------------------


def test_one_modality_alone_is_an_ordinary_vit():
    method, inputs = build("joint"), inputs_of()
    plain = timm.create_model("test_vit", num_classes=0, img_size=64).eval()
    plain.load_state_dict(method.network.vit.state_dict())
    head = method.network.head
    for m in range(3):
        z = plain(inputs.images()[m]) @ head.weight.T + head.bias
        expected = 1 / (1 + torch.exp(z[:, 0] - z[:, 1]).double())
        assert torch.allclose(method.score(holding(inputs, [m])), expected, atol=1e-6)


@pytest.mark.parametrize(("modalities", "tokens"), [([0, 1, 2], 589), ([0, 2], 393), ([1], 197)])
def test_the_sequence_holds_what_is_there(modalities, tokens):
    method = build("joint", image_size=224)
    seen = []
    method.network.vit.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    method.score(holding(inputs_of(1, size=224), modalities))
    assert seen == [tokens]


def test_modalities_may_be_swapped_at_first():
    method, inputs = build("joint"), inputs_of()
    swapped = Inputs(inputs.ir, inputs.rgb, inputs.depth, inputs.present, inputs.black)
    assert torch.allclose(method.score(inputs), method.score(swapped), atol=1e-6)
    torch.nn.init.normal_(method.network.tokens.modality)
    assert (method.score(inputs) - method.score(swapped)).abs().max() > 1e-4


# --- (A) cross-attention ----------------------------------------------------------------------------------------------


def maps(seed=0, scale=1.0, width=6, patches=4):
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(2, width, patches, generator=generator) for _ in range(3)]


def plain_fusion(rgb, depth, ir):
    """X_R + softmax(X_D X_R^T) X_R + softmax(X_I X_R^T) X_R, number by number."""
    result = rgb.double().clone()
    for b in range(len(rgb)):
        for x in (depth[b].double(), ir[b].double()):
            for channel in range(x.shape[0]):
                logits = [float((x[channel] * row).sum()) for row in rgb[b].double()]
                weights = [math.exp(value - max(logits)) for value in logits]
                for weight, row in zip(weights, rgb[b].double(), strict=True):
                    result[b, channel] += weight / sum(weights) * row
    return result


def test_fusion_is_what_it_says():
    x = maps()
    assert torch.allclose(fuse(*x).double(), plain_fusion(*x), atol=1e-5)


def test_depth_only_chooses_among_the_channels_of_rgb():
    rgb, depth, _ = maps()
    blank = torch.zeros_like(depth)
    mean = rgb.mean(dim=1, keepdim=True).expand_as(rgb)
    assert torch.allclose(fuse(rgb, blank, blank), rgb + 2 * mean, atol=1e-6)  # all channels weigh the same
    chosen = (depth @ rgb.mT).argmax(dim=-1)  # (B, D)
    one_hot = torch.stack([rgb[b, chosen[b]] for b in range(2)])
    assert torch.allclose(fuse(rgb, 1e4 * depth, blank), rgb + one_hot + mean, atol=1e-5)


def test_fusion_does_not_mind_the_order_of_the_patches():
    order = torch.tensor([2, 0, 3, 1])
    x = maps()
    assert torch.allclose(fuse(*(each[:, :, order] for each in x)), fuse(*x)[:, :, order], atol=1e-6)


def test_fusion_stays_in_fp32_under_autocast():
    x = maps(scale=40.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = fuse(*(each.bfloat16() for each in x))
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), plain_fusion(*(each.bfloat16() for each in x)), atol=1e-3)


def test_cross_attention_is_what_it_says():
    method, inputs = build("cross-attention"), inputs_of()
    network, head = method.network, method.network.head
    drop2d, convolution, norm, relu = network.fusion
    torch.nn.init.normal_(norm.running_mean)
    assert (drop2d.p, network.dropout.p, type(relu)) == (0.3, 0.3, torch.nn.ReLU)
    features = []
    for image in inputs.images():
        x = network.vit.patch_embed.proj(image).flatten(2).mT  # (B, 16, D)
        x = torch.cat([network.vit.cls_token.expand(4, -1, -1), x], dim=1) + network.vit.pos_embed
        for block in network.vit.blocks:
            x = block(x)
        features.append(x[:, 1:].mT)  # no final norm, no class token
    fused = plain_fusion(*(f.detach() for f in features)).float().reshape(4, 64, 4, 4)
    mixed = F.conv2d(fused, convolution.weight, convolution.bias, padding=1)
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None, None]
    mixed = ((mixed - norm.running_mean[:, None, None]) * scale + norm.bias[:, None, None]).clamp_min(0)
    z = mixed.sum((2, 3)) / 16 @ head.weight.T + head.bias
    assert torch.allclose(network(inputs)[0], z, atol=1e-4)


# --- (B) three branches -----------------------------------------------------------------------------------------------


def awake(method):
    """With adapters that do something, and norms that differ from the plain ones."""
    torch.manual_seed(1)
    for module in method.modules():
        if type(module).__name__ == "ConvolutionalAdapter":
            torch.nn.init.normal_(module.up.weight, std=0.3)
        if isinstance(module, torch.nn.LayerNorm):
            torch.nn.init.normal_(module.weight, mean=1.0, std=0.3)
            torch.nn.init.normal_(module.bias, std=0.3)
    return method


def test_three_branches_are_what_they_say():
    method, inputs = awake(build("three-branch")), inputs_of()
    network, features = method.network, []
    for m, image in enumerate(inputs.images()):
        x = network.streams[m](image)
        for number, block in enumerate(network.blocks):
            n = block.norm1(x)
            x = x + block.attn(n) + block.norm1(network.beside_attention[number][m](n))
            n = block.norm2(x)
            x = x + block.mlp(n) + block.norm2(network.beside_mlp[number][m](n))
        features.append(network.norm(x)[:, 0])
    own = [f @ head.weight.T + head.bias for f, head in zip(features, network.own_heads, strict=True)]
    together = torch.cat(features, dim=1) @ network.head.weight.T + network.head.bias
    z = network(inputs)
    assert torch.allclose(z, torch.stack([together, *own]), atol=1e-5)
    expected = torch.softmax(together.double(), dim=1)[:, 1]
    assert torch.allclose(method.score(inputs), expected, atol=1e-6)


def test_the_branch_of_an_adapter_starts_at_the_bias_of_the_norm():
    method = build("three-branch")
    network = method.network
    for block in network.blocks:
        torch.nn.init.normal_(block.norm1.bias)
        torch.nn.init.normal_(block.norm2.bias)
    inputs = inputs_of()
    before = network(inputs)
    x = network.streams[0](inputs.rgb)
    for block in network.blocks:
        x = x + block.attn(block.norm1(x)) + block.norm1.bias
        x = x + block.mlp(block.norm2(x)) + block.norm2.bias
    assert torch.allclose(before[1], network.own_heads[0](network.norm(x[:, 0])), atol=1e-5)


def test_branches_exchange_nothing_before_the_common_head():
    method, inputs = awake(build("three-branch")), inputs_of()
    z, other = method.network(inputs), method.network(dataclasses.replace(inputs, depth=inputs.depth + 1.0))
    assert torch.equal(z[[1, 3]], other[[1, 3]])  # rgb, ir
    assert (z[0] - other[0]).abs().min() > 1e-5
    assert (z[2] - other[2]).abs().min() > 1e-5


# --- missing modalities -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("modalities", SETS[1:])
def test_pixels_of_an_absent_modality_do_not_count(variant, modalities):
    method = awake(build(variant))
    reduced = holding(inputs_of(), modalities)
    noise = {name: torch.randn_like(reduced.rgb) for m, name in enumerate(MODALITIES) if m not in modalities}
    other = dataclasses.replace(reduced, **noise)
    assert torch.equal(method.score(reduced), method.score(other))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_of_mixed_samples_scores_as_each_alone(variant):
    method, inputs = awake(build(variant)), inputs_of(len(SETS))
    mixed = with_present(inputs, [[m in held for m in range(3)] for held in SETS])
    alone = torch.cat([method.score(mixed.select(torch.tensor([row]))) for row in range(len(SETS))])
    assert torch.allclose(method.score(mixed), alone, atol=1e-6)


@pytest.mark.parametrize("variant", ["cross-attention", "three-branch"])
def test_an_absent_modality_is_a_black_image(variant):
    method, inputs = awake(build(variant)), inputs_of()
    black = dataclasses.replace(inputs, ir=torch.full_like(inputs.ir, BLACK))
    assert torch.equal(method.score(inputs.without("ir")), method.score(black))
    assert (method.score(inputs) - method.score(black)).abs().max() > 1e-6


# --- losses -----------------------------------------------------------------------------------------------------------


def cross_entropy(z, label):
    return math.log(sum(math.exp(value) for value in z)) - z[label]


def test_each_head_learns_from_the_samples_that_have_its_modality():
    method = build("three-branch")
    z = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    method.network.forward = lambda _: z
    present = [[True, True, False], [True, False, False], [False, True, False]]
    losses = method.loss(batch_of(with_present(inputs_of(3), present), [1, 0, 1]))
    every = [[cross_entropy(z[h, b].tolist(), label) for b, label in enumerate([1, 0, 1])] for h in range(4)]
    expected = {
        "classification": sum(every[0]) / 3,
        "classification_rgb": (every[1][0] + every[1][1]) / 2,
        "classification_depth": (every[2][0] + every[2][2]) / 2,
        "classification_ir": 0.0,
    }
    expected["total"] = sum(expected.values())
    assert {name: float(value) for name, value in losses.items()} == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("variant", ["joint", "cross-attention"])
def test_the_loss_of_the_others_is_one_cross_entropy(variant):
    method, batch = build(variant), batch_of(inputs_of())
    z = method.network(batch.inputs)[0].tolist()
    expected = sum(cross_entropy(row, label) for row, label in zip(z, [0, 1, 0, 1], strict=True)) / 4
    losses = method.loss(batch)
    assert set(losses) == {"total", "classification"}
    assert float(losses["total"].detach()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_losses_and_gradients_are_finite_whatever_is_absent(variant, precision):
    method = build(variant).train()
    inputs = inputs_of()
    mixed = with_present(inputs, [[m in held for m in range(3)] for held in SETS[3:]])
    for reduced, label in (
        (mixed, None),
        (holding(inputs, [1]), [0, 0, 0, 0]),
        (holding(inputs, [0, 2]), [1, 1, 1, 1]),
    ):
        method.zero_grad()
        with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            losses = method.loss(batch_of(reduced, label))
        losses["total"].backward()
        assert all(torch.isfinite(value.detach()) for value in losses.values())
        assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


# --- presets ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Variant(MethodEntry):
    """The method with the presets of one variant as its `paper` and `tiny`."""

    suffix: str = ""

    def config(self):
        file = super().config()
        return {**file, "presets": {name: file["presets"][name + self.suffix] for name in ("paper", "tiny")}}


@pytest.mark.parametrize("name", ["cross-attention", "three-branch"])  # `joint` is held to it with all methods
def test_the_contract_holds_for_the_other_variants(name, monkeypatch):
    monkeypatch.setattr(contract, "_records", _render)
    entry = Variant(**vars(methods()["vit"]), suffix=f"-{name}")
    assert {entry.config()["presets"][preset]["model"]["variant"] for preset in ("paper", "tiny")} == {name}
    assert [(clause.clause, clause.problem) for clause in contract.check_method(entry) if clause.problem] == []


def test_modalities_are_dropped_where_the_publication_does():
    file = methods()["vit"].config()
    presets = file["presets"]
    dropped = {p: resolve(ViT.Config, file, p, {}, [], "vit").train.modality_dropout for p in presets}
    of_flex_modal = {"paper-cross-attention", "tiny-cross-attention"}
    assert dropped == {p: {"depth": 0.5, "ir": 0.5} if p in of_flex_modal else {} for p in presets}
