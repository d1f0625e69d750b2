"""AMA: counts, the adapter against a plain transcription of its equations, missing modalities, fidelity."""

import numpy as np
import pytest
import timm
import torch
from fasbench.baselines.ama.adapter import AdaptiveMultimodalAdapter
from fasbench.baselines.ama.method import AMA
from torch.nn import functional as F

from fasbench.config import resolve
from fasbench.data.loading import Group, to_inputs
from fasbench.data.sample import Batch, Inputs
from fasbench.registry import methods

TINY = {"backbone": "test_vit", "pretrained": False, "channels": 8, "image_size": 64}
PATCHES = 16  # of an image: 4 x 4
SETS = [[0, 1, 2], [0, 1], [0, 2], [1, 2], [0], [1], [2]]


def build(**settings):
    torch.manual_seed(0)
    return AMA(AMA.Config(**{**TINY, **settings}), ("a", "b"))


def full_size(**settings):
    with torch.device("meta"):
        return AMA(AMA.Config(pretrained=False, **settings), ("a", "b"))


def adapter_of(fidelity="intended", flexible=False, width=12, channels=4):
    torch.manual_seed(0)
    adapter = AdaptiveMultimodalAdapter(width, channels, 0.1, flexible, fidelity == "released")
    torch.nn.init.normal_(adapter.up.weight, std=0.5)
    torch.nn.init.normal_(adapter.up.bias, std=0.5)
    torch.nn.init.normal_(adapter.weighting.weight, std=2)
    return adapter.eval()


def awake(method):
    """With adapters that do something, and norms that differ from each other."""
    with torch.no_grad():
        for module in method.vit.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.normal_(mean=1.0, std=0.3)
                module.bias.normal_(std=0.3)
        for pair in method.adapters:
            for adapter in pair:
                adapter.up.weight.normal_(std=0.3)
                adapter.up.bias.normal_(std=0.3)
                adapter.weighting.weight.normal_(std=2)
        method.tokens.modality.normal_(std=0.5)
        method.head.weight.normal_()
    return method


def inputs_of(count=4, size=64):
    generator = torch.Generator().manual_seed(1)
    images = [torch.randn(count, 3, size, size, generator=generator) for _ in range(3)]
    return Inputs.of(images, torch.ones(count, 3, dtype=torch.bool), torch.zeros(3, 3))


def with_present(inputs, present):
    return Inputs.of(inputs.images(), torch.tensor(present, dtype=torch.bool), inputs.black)


def count(parameters):
    return sum(p.numel() for p in parameters)


# --- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("d", "one", "all_24", "with_head"), [(8, 14_864, 356_736, 358_274), (64, 210_304, 5_047_296, 5_048_834)]
)
@pytest.mark.parametrize("fidelity", ["intended", "released"])
def test_parameter_counts(d, one, all_24, with_head, fidelity):
    method = full_size(channels=d, fidelity=fidelity)
    assert {count(adapter.parameters()) for pair in method.adapters for adapter in pair} == {one}
    assert one == (768 * d + d) + (768 * d + 768) + 27 * d * d + 9 * d
    assert count(method.adapters.parameters()) == all_24
    assert count(method.adapters.parameters()) + count(method.head.parameters()) == with_head
    assert count(method.vit.parameters()) == 85_798_656
    # The modality embeddings are ours; nothing behind the last block reads what only patches pass.
    unread = 2 * (9 * d + (27 * d * d if fidelity == "intended" else 0))
    assert count(p for p in method.parameters() if p.requires_grad) == with_head + 3 * 768 - unread
    assert count(method.parameters()) == 85_798_656 + with_head + 3 * 768


def test_the_card_has_the_counts():
    method = full_size()
    card = (methods()["ama"].config_path.parent / "README.md").read_text()
    assert f"{count(p for p in method.parameters() if p.requires_grad):,}" in card
    assert f"{count(method.parameters()):,}" in card


def test_the_flexible_adapter_has_one_more_convolution():
    assert count(adapter_of(flexible=True).parameters()) - count(adapter_of().parameters()) == 9 * 4 * 4


@pytest.mark.parametrize("fidelity", ["intended", "released"])
def test_only_adapters_head_and_modality_embeddings_are_trained(fidelity):
    method = awake(build(fidelity=fidelity, flexible=True))
    method.loss(Batch(inputs_of(), torch.tensor([0, 1, 0, 1]), torch.zeros(4).long(), ("live",) * 4))[
        "total"
    ].backward()
    reached = {name for name, p in method.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert reached == {name for name, p in method.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in reached} == {"adapters", "head", "tokens"}
    last = {name.split(".")[3] for name in reached if name.startswith("adapters.5.")}
    through = {"fusion", "independent"} if fidelity == "released" else set()
    assert last == {"down", "up"} | through


def test_the_trunk_is_trained_on_request():
    assert all(p.requires_grad for p in build(train_trunk=True).vit.parameters())


# --- the network ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fidelity", ["intended", "released"])
def test_at_the_start_it_is_the_frozen_vit(fidelity):
    """Property 1."""
    method = build(fidelity=fidelity).eval()
    plain = timm.create_model("test_vit", num_classes=0, img_size=64, dynamic_img_size=False).eval()
    plain.load_state_dict(method.vit.state_dict())
    inputs = inputs_of()
    with torch.no_grad():
        alone = method.features(inputs.without("depth", "ir"))
        assert torch.allclose(alone, plain(inputs.rgb), atol=1e-5)
        patches = [plain.patch_embed(image) + plain.pos_embed[:, 1:] for image in inputs.images()]
        first = (plain.cls_token + plain.pos_embed[:, :1]).expand(4, -1, -1)
        expected = plain.norm(plain.blocks(torch.cat([first, *patches], dim=1)))[:, 0]
        assert torch.allclose(method.features(inputs), expected, atol=1e-5)
        assert not torch.allclose(awake(method).features(inputs), expected, atol=1e-2)


def test_adapters_read_the_norms_beside_attention_and_mlp():
    """x + MHSA(n) + AMA(n), then x + FFN(n') + AMA'(n'): the blocks by hand, with constant adapters."""
    method = awake(build(fidelity="released")).eval()
    inputs = inputs_of(2)
    with torch.no_grad():
        x, present = method.tokens(method.vit, inputs).tokens, inputs.present
        for block, (first, second) in zip(method.vit.blocks, method.adapters, strict=True):
            n = block.norm1(x)
            h = x + block.attn(n) + first(n, [0, 1, 2], present)
            x = h + block.mlp(block.norm2(h)) + second(block.norm2(h), [0, 1, 2], present)
        expected = method.head(method.vit.norm(x)[:, 0])
        assert torch.allclose(method.logits(inputs), expected, atol=1e-5)
        assert torch.allclose(method.score(inputs), expected.double().softmax(1)[:, 1], atol=1e-5)


def test_the_loss_is_the_mean_cross_entropy():
    method = awake(build()).eval()
    inputs, label = inputs_of(), torch.tensor([1, 0, 0, 1])
    with torch.no_grad():
        z = method.logits(inputs).double().numpy()
        loss = method.loss(Batch(inputs, label, label, ("live",) * 4))["total"]
    expected = np.mean([np.log(np.exp(row).sum()) - row[y] for row, y in zip(z, label.tolist(), strict=True)])
    assert float(loss) == pytest.approx(expected, abs=1e-5)


def test_scores_do_not_saturate():
    method = awake(build()).eval()
    with torch.no_grad():
        method.head.weight.mul_(30 / (method.logits(inputs_of())[:, 1] - method.logits(inputs_of())[:, 0]).abs().max())
        scores = method.score(inputs_of())
    assert scores.dtype == torch.float64
    assert float(scores.max()) < 1
    assert len(scores.unique()) == 4


# --- the adapter ------------------------------------------------------------------------------------------------------


def gelu(x):
    return x * torch.sigmoid(1.702 * x)


def transcribed(adapter, n, have, fidelity, flexible):
    """AMA(n) of one sample (1 + A 16, D), pixel by pixel, with the weights of the modalities it has (in `have`)."""
    d = adapter.down.out_features
    z = gelu(n @ adapter.down.weight.T + adapter.down.bias)
    maps = {m: F.pad(z[1 + 16 * k : 17 + 16 * k].reshape(4, 4, d), (0, 0, 1, 1, 1, 1)) for k, m in enumerate(have)}
    w, c = adapter.fusion.weight, adapter.weighting.weight
    pooled = {m: z[1 + 16 * k : 17 + 16 * k].mean(0) for k, m in enumerate(have)}
    a = {m: torch.sigmoid(sum(c[m, d * j : d * j + d] @ pooled[j] for j in have)) for m in have}

    def taps(weight, source, row, column):
        return torch.einsum("oiyx,yxi->o", weight, source[row : row + 3, column : column + 3])

    out, theta = [], {1: 1.0, 2: 0.5, 3: 0.4}[len(have)] if flexible else 0.0
    for m in have:
        for row in range(4):
            for column in range(4):
                u = sum(taps(w[:, d * j : d * j + d], maps[j], row, column) for j in have)
                own = taps(adapter.independent.weight, maps[m], row, column) if flexible else 0.0
                out.append(theta * own + (1 - theta) * a[m] * u)
    if fidelity == "released":
        first = sum(w[:, d * j : d * j + d, 1, 1] @ z[0] for j in have)
        if flexible:
            first = theta * adapter.independent.weight[:, :, 1, 1] @ z[0] + (1 - theta) * first
        return gelu(torch.stack([first, *out])) @ adapter.up.weight.T + adapter.up.bias
    return gelu(torch.stack([z[0], *out]) @ adapter.up.weight.T + adapter.up.bias)


@pytest.mark.parametrize("have", SETS)
@pytest.mark.parametrize("flexible", [False, True])
@pytest.mark.parametrize("fidelity", ["intended", "released"])
@torch.no_grad()
def test_the_adapter_is_its_equations(fidelity, flexible, have):
    """Alone, and as one sample of a batch in which others have all modalities."""
    adapter = adapter_of(fidelity, flexible)
    n = torch.randn(3, 1 + 3 * 16, 12)
    kept = torch.tensor([True] + [m in have for m in range(3) for _ in range(16)])
    expected = transcribed(adapter, n[1, kept], have, fidelity, flexible)
    alone = adapter(n[1:2, kept], have, torch.ones(1, len(have), dtype=torch.bool))[0]
    assert torch.allclose(alone, expected, atol=1e-5)
    present = torch.tensor([[True] * 3, [m in have for m in range(3)], [True] * 3])
    assert torch.allclose(adapter(n, [0, 1, 2], present)[1, kept], expected, atol=1e-5)


@torch.no_grad()
def test_modalities_get_one_map_in_different_strength():
    """Property 3."""
    adapter = adapter_of()
    adapter._weights = lambda pooled, active: torch.tensor([[0.2, 0.5, 0.9]]).expand(len(pooled), -1)
    mixed = adapter.mix(torch.randn(2, 49, 4), [0, 1, 2], torch.ones(2, 3, dtype=torch.bool))
    rgb, depth, ir = mixed[:, 1:].unflatten(1, (3, 16)).unbind(1)
    assert torch.allclose(depth, 2.5 * rgb, atol=1e-6)
    assert torch.allclose(ir, 4.5 * rgb, atol=1e-6)


@torch.no_grad()
def test_a_patch_reaches_its_neighbours_in_all_modalities():
    """Property 4, with a = 1/2."""
    adapter = adapter_of()
    adapter.weighting.weight.zero_()
    z, present = torch.randn(1, 49, 4), torch.ones(1, 3, dtype=torch.bool)
    changed = z.clone()
    changed[0, 1 + 16 + 4 * 1 + 3] += 1  # row 1, last column of depth
    moved = (adapter.mix(z, [0, 1, 2], present) != adapter.mix(changed, [0, 1, 2], present))[0].any(-1)
    assert not moved[0]
    for m in range(3):
        where = moved[1 + 16 * m : 17 + 16 * m].reshape(4, 4).nonzero().tolist()
        assert where == [[row, column] for row in (0, 1, 2) for column in (2, 3)]


@torch.no_grad()
def test_the_weights_do_not_know_where_a_patch_is():
    """Property 5: order of the patches, the same in all modalities. They start near 1/2."""
    adapter, weights = adapter_of(), []
    plain = adapter._weights
    adapter._weights = lambda *given: weights.append(plain(*given)) or weights[-1]
    z, present, order = torch.randn(2, 49, 4), torch.ones(2, 3, dtype=torch.bool), torch.randperm(16)
    shuffled = torch.cat([z[:, :1], *(z[:, 1 + 16 * m : 17 + 16 * m][:, order] for m in range(3))], dim=1)
    for tokens in (z, shuffled):
        adapter.mix(tokens, [0, 1, 2], present)
    assert torch.allclose(*weights, atol=1e-6)
    assert float((weights[0] - 0.5).abs().max()) > 0.05
    fresh = AdaptiveMultimodalAdapter(12, 4, 0.1, False, False)
    assert torch.allclose(fresh._weights(z[:, 0].repeat(1, 3), [0, 1, 2]), torch.tensor(0.5), atol=0.3)


@torch.no_grad()
def test_without_the_fused_part_it_is_the_independent_adapter():
    """Property 6: theta = 1."""
    adapter = adapter_of(flexible=True)
    adapter.theta.fill_(1)
    z, present = torch.randn(1, 49, 4), torch.ones(1, 3, dtype=torch.bool)
    mixed = adapter.mix(z, [0, 1, 2], present)
    for m in range(3):
        image = z[:, 1 + 16 * m : 17 + 16 * m].reshape(1, 4, 4, 4).permute(0, 3, 1, 2)
        own = F.conv2d(image, adapter.independent.weight, padding=1).permute(0, 2, 3, 1).reshape(1, 16, 4)
        assert torch.allclose(mixed[:, 1 + 16 * m : 17 + 16 * m], own, atol=1e-6)


@torch.no_grad()
def test_intended_and_released_differ_in_the_two_places_only():
    intended, released = adapter_of(), adapter_of("released")
    z, present = torch.randn(1, 49, 4), torch.ones(1, 3, dtype=torch.bool)
    mixed = [adapter.mix(z, [0, 1, 2], present) for adapter in (intended, released)]
    assert torch.equal(mixed[0][:, 1:], mixed[1][:, 1:])
    assert torch.equal(mixed[0][:, 0], z[:, 0])  # defect 1
    w = released.fusion.weight[:, :, 1, 1]
    assert torch.allclose(mixed[1][:, 0], z[:, 0] @ (w[:, :4] + w[:, 4:8] + w[:, 8:]).T, atol=1e-6)
    n = 10 * torch.randn(1, 49, 12)
    assert float(intended(n, [0, 1, 2], present).min()) > -0.17  # defect 2: a GELU at the end
    assert float(released(n, [0, 1, 2], present).min()) < -0.5


# --- missing modalities -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("have", SETS[1:])
@pytest.mark.parametrize("settings", [{}, {"fidelity": "released"}, {"flexible": True}])
@torch.no_grad()
def test_absent_modalities_are_not_read(settings, have):
    """Alone and among complete samples, whatever the absent images hold."""
    method = awake(build(**settings)).eval()
    complete = inputs_of()
    rows = [[True] * 3, [m in have for m in range(3)], [True] * 3, [m in have for m in range(3)]]
    inputs = with_present(complete, rows)
    rubbish = Inputs(*complete.images(), inputs.present, inputs.black)
    logits = method.logits(inputs)
    assert torch.equal(method.logits(rubbish), logits)
    for row in range(4):
        alone = method.logits(inputs.select(torch.tensor([row])))
        assert torch.allclose(alone, logits[row : row + 1], atol=1e-4, rtol=1e-4)
    assert float((method.logits(complete)[1] - logits[1]).abs().max()) > 1e-2


def test_tokens_of_a_modality_that_nobody_has_are_left_out():
    method, lengths = build().eval(), []
    for block in method.vit.blocks:
        block.attn.register_forward_hook(lambda module, given, output: lengths.append(given[0].shape[1]))
    method.logits(inputs_of().without("depth"))
    assert lengths == [1 + 2 * PATCHES] * 6
    method.logits(inputs_of())
    assert lengths[6:] == [1 + 3 * PATCHES] * 6


@pytest.mark.parametrize("present", [[[1, 1, 1]] * 4, [[0, 1, 1]] * 4, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]])
@pytest.mark.parametrize("autocast", [False, True])
def test_losses_are_finite(present, autocast):
    """Also with one class, without a modality and under bf16."""
    method = awake(build(flexible=True))
    batch = Batch(with_present(inputs_of(), present), torch.ones(4).long(), torch.zeros(4).long(), ("live",) * 4)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = method.loss(batch)["total"]
    loss.backward()
    assert loss.dtype == torch.float32
    assert bool(torch.isfinite(loss))
    assert all(bool(torch.isfinite(p.grad).all()) for p in method.parameters() if p.grad is not None)


# --- input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["paper", "tiny"])
def test_infrared_comes_with_descriptors(preset):
    """Property 7: [grey, HOG, PLGF] in 0..255 before normalisation; blank in all three where absent."""
    model = resolve(AMA.Config, methods()["ama"].config(), preset, {}, [], "ama").model
    side = model.image_size
    ir = np.random.default_rng(0).integers(0, 256, (2, side, side), dtype=np.uint8)
    rgb = np.zeros((2, side, side, 3), np.uint8)
    group = Group(np.arange(2), rgb, ir, ir, np.array([[True] * 3, [True, True, False]]))
    inputs = to_inputs([group], model, torch.device("cpu"))
    pixels = inputs.ir[0] * 128 + 127.5
    assert torch.allclose(pixels[0], torch.from_numpy(ir[0]).float(), atol=1e-2)
    assert 0.5 < float((pixels[1].abs() < 0.1).float().mean()) < 0.9  # the drawn segments are sparse
    assert float(pixels[2].min()) == pytest.approx(1, abs=1e-2)
    assert float(pixels[2].max()) == pytest.approx(255, abs=1e-2)
    assert not bool(inputs.ir[1].any())
