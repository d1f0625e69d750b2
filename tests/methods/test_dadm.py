"""DADM: mutual-information masks, aligned angles, hyperplanes, ReGrad by information."""

import copy
import functools
import math

import pytest
import timm
import torch
from fasbench.baselines.dadm import method as dadm
from fasbench.baselines.dadm.losses import angle_loss, information_loss
from fasbench.baselines.dadm.mask import MutualMask
from fasbench.baselines.dadm.method import DADM
from torch.nn import functional as F

from fasbench.data.sample import Batch, Inputs
from fasbench.device import make_accelerator

SOURCES = ("cefa", "padisi", "surf")
TINY = {"backbone": "test_vit", "pretrained": False, "image_size": 32, "mask_channels": 8}
NAMES = ("rgb", "depth", "ir")
BLOCKS = 2


@functools.cache
def small_vit():
    with torch.random.fork_rng(devices=()):  # the first method is built like every other
        torch.manual_seed(0)
        return timm.create_model("test_vit", num_classes=0, img_size=32, depth=BLOCKS, dynamic_img_size=False)


@pytest.fixture(autouse=True)
def _short_trunk(monkeypatch):
    monkeypatch.setattr(dadm, "build_vit", lambda *_: copy.deepcopy(small_vit()))


def build(awake=True, sources=SOURCES, **settings):
    """A small method, with adapters that do something unless they are to sleep."""
    torch.manual_seed(0)
    method = DADM(DADM.Config(**{**TINY, **settings}), sources)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in method.named_parameters():
            if awake and ".up." in name:
                p.normal_(std=0.3, generator=generator)
    return method


def inputs_of(count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randn(count, 3, 32, 32, generator=generator) for _ in range(3)]
    return Inputs.of(images, torch.ones(count, 3, dtype=torch.bool), torch.full((3, 3), -0.996))


def batch_of(inputs):
    rows = torch.arange(len(inputs))
    return Batch(inputs, rows % 2, rows % 3, ("live",) * len(inputs))


def started(count=12, **settings):
    """A method with prototypes, and its batch."""
    method, batch = build(**settings), batch_of(inputs_of(count))
    method.on_epoch_start(0, iter([batch_of(inputs_of(12, seed=5))]))
    return method, batch


def of_loss(method, batch, *names):
    """Gradient of a sum of losses; permutations are drawn anew, but alike."""
    torch.manual_seed(3)
    losses = method.loss(batch)
    named = {n: p for n, p in method.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(sum(losses[name] for name in names), list(named.values()), allow_unused=True)
    return dict(zip(named, found, strict=True))


def reaches(gradient):
    return gradient is not None and bool(gradient.any())


# --- architecture -----------------------------------------------------------------------------------------------------


def test_parameter_counts(monkeypatch):
    monkeypatch.setattr(dadm, "build_vit", lambda name, _, size: timm.create_model(name, num_classes=0, img_size=size))
    with torch.device("meta"):
        method = DADM(DADM.Config(), SOURCES)
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    images, test_head = 2 * 3 * 224 * 224, 2 * 3 * 768  # the release's: unused, and the mean of the others
    assert trained + images == 188_045_088
    assert sum(p.numel() for p in method.parameters()) + images + test_head == 267_788_064
    assert sum(p.numel() for p in method.masks.parameters()) == 36 * 4_991_488
    assert sum(p.numel() for p in method.adapters.parameters()) == 36 * 13_640


def test_at_the_start_a_feature_is_the_plain_vits_whatever_the_masks():
    method, inputs = build(awake=False).eval(), inputs_of(3)
    vit = copy.deepcopy(small_vit()).eval()
    with torch.no_grad():
        found = method.encode(inputs).features
        for m, image in enumerate(inputs.images()):
            vit.pos_embed.copy_(method.streams[m].position)
            assert torch.allclose(found[m], vit(image), atol=1e-5)


def test_a_block_hears_the_masked_attention_of_both_others():
    """x' = h + MLP(LN2(h)) + adapter(z), z the mean of the two aligned outputs, straight from the definition."""
    method, inputs = build().eval(), inputs_of(2)
    method.blocks, method.masks, method.adapters = method.blocks[:1], method.masks[:1], method.adapters[:1]
    b, masks, adapters = method.blocks[0], method.masks[0], method.adapters[0]
    with torch.no_grad():
        x = [method.streams[m](image) for m, image in enumerate(inputs.images())]
        a = [b.attn(b.norm1(one)) for one in x]
        r_d, r_i, d_i = (masks[name] for name in ("rgb_depth", "rgb_ir", "depth_ir"))
        z = [
            (r_d(a[0], a[1])[0].tokens + r_i(a[0], a[2])[0].tokens) / 2,
            (r_d(a[0], a[1])[1].tokens + d_i(a[1], a[2])[0].tokens) / 2,
            (r_i(a[0], a[2])[1].tokens + d_i(a[1], a[2])[1].tokens) / 2,
        ]
        found = method.encode(inputs).features
        for m in range(3):
            h = x[m] + a[m]
            expected = method.norm(h + b.mlp(b.norm2(h)) + adapters[m](z[m]))[:, 0]
            assert torch.allclose(found[m], expected, atol=1e-5)


def mask_of(channels=4, width=6):
    torch.manual_seed(0)
    mask = MutualMask(width, channels).eval()
    with torch.no_grad():
        for name, buffer in mask.named_buffers():  # as after some training
            if name.endswith("running_mean"):
                buffer.normal_()
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return mask, *torch.randn(2, 3, 5, width)


def test_masks_are_soft_and_leave_the_class_token():
    mask, a, b = mask_of()
    seen = []
    mask.mask.register_forward_hook(lambda *given: seen.append(given[-1]))
    inputs = []
    mask.out[0].register_forward_hook(lambda _, given, __: inputs.append(given[0]))
    first, _ = mask(a, b)
    assert bool(((seen[0] > 0) & (seen[0] < 1)).all())
    masked = inputs[0][..., :6]
    assert torch.equal(masked[:, 0], a[:, 0])
    expected = a[:, 1:] * seen[0][:, :6].flatten(2).transpose(1, 2)
    assert torch.allclose(masked[:, 1:], expected)
    assert torch.allclose(first.information, masked.mean(1))


def test_a_mask_by_its_definition():
    """Every layer written out, with the statistics of evaluation."""
    mask, a, b = mask_of()

    def normed(image, norm):
        mean, variance = norm.running_mean[:, None, None], norm.running_var[:, None, None]
        return (image - mean) / (variance + 1e-5).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]

    def convolved(image, layer, norm, **settings):
        return normed(F.conv2d(image, layer.weight, layer.bias, **settings), norm)

    with torch.no_grad():
        image = torch.cat([a, b], -1)[:, 1:].transpose(1, 2).unflatten(2, (2, 2))
        g = convolved(image, mask.interaction[0], mask.interaction[1], padding=1, groups=12).relu()
        g = convolved(g, mask.interaction[3], mask.interaction[4]).relu()
        g = convolved(g, mask.interaction[6], mask.interaction[7], padding=1).relu()
        m = convolved(g, mask.mask[0], mask.mask[1], padding=1).relu()
        m = convolved(m, mask.mask[3], mask.mask[4], padding=1).relu()
        m = torch.sigmoid(convolved(m, mask.mask[6], mask.mask[7], padding=1)).flatten(2).transpose(1, 2)
        joint = torch.cat([a[:, :1], b[:, :1]], -1) @ mask.class_interaction.weight.T + mask.class_interaction.bias
        joint = torch.cat([joint, g.flatten(2).transpose(1, 2)], 1)
        for one, (x, found) in enumerate(zip((a, b), mask(a, b), strict=True)):
            aligned = torch.cat([x[:, :1], x[:, 1:] * m[..., 6 * one : 6 * one + 6]], 1)
            parts = torch.cat([aligned, joint[..., 2 * one : 2 * one + 2]], -1)
            expected = parts @ mask.out[one].weight.T + mask.out[one].bias
            assert torch.allclose(found.tokens, expected, atol=1e-5)
            assert torch.allclose(found.information, aligned.mean(1), atol=1e-6)


def test_swapping_inputs_and_weights_swaps_the_outputs():
    mask, a, b = mask_of()
    other, swap = copy.deepcopy(mask), torch.cat([torch.arange(6, 12), torch.arange(6)])
    halves = torch.tensor([2, 3, 0, 1])
    with torch.no_grad():
        for module in (other.interaction[0], other.interaction[1], other.mask[6], other.mask[7]):
            tensors = [*module.parameters(), *(t for t in module.buffers() if t.ndim)]
            for tensor in tensors:  # everything that counts channels of [i; j]
                tensor.copy_(tensor[swap])
        other.interaction[3].weight.copy_(other.interaction[3].weight[:, swap])
        other.class_interaction.weight.copy_(other.class_interaction.weight[halves][:, swap])
        other.class_interaction.bias.copy_(other.class_interaction.bias[halves])
        for module in (other.interaction[6], other.interaction[7]):  # G's halves
            for tensor in [*module.parameters(), *(t for t in module.buffers() if t.ndim)]:
                tensor.copy_(tensor[halves])
        other.mask[0].weight.copy_(other.mask[0].weight[:, halves])
        other.out = other.out[::-1]
        (i, j), (j_other, i_other) = mask(a, b), other(b, a)
    for found, expected in ((i_other, i), (j_other, j)):
        assert torch.allclose(found.tokens, expected.tokens, atol=1e-5)
        assert torch.allclose(found.information, expected.information, atol=1e-5)
    assert not torch.allclose(i.tokens, j.tokens, atol=1e-2)


# --- losses -----------------------------------------------------------------------------------------------------------


def plain_angle_loss(features, label, domain, summed):
    """The definition, entry by entry."""
    unit, total = F.normalize(features, dim=-1), 0.0
    present = sorted(set(domain.tolist()))
    rows = {(d, c): [i for i in range(len(label)) if label[i] == c and domain[i] == d] for d in present for c in (0, 1)}
    pairs = [(d, e) for d in present for e in present if d < e]

    def combine(values):
        return sum(values) if summed else sum(values) / len(values)

    for d, e in pairs:
        for c, tau in ((1, 1.0), (0, 0.85)):
            if not (rows[d, c] and rows[e, c]):
                continue
            for m in range(3):
                total += combine(
                    [((unit[m, i] @ unit[m, j]).item() - tau) ** 2 for i in rows[d, c] for j in rows[e, c]]
                )
            for m, n in ((0, 1), (0, 2), (1, 2)):
                entries = [[(unit[m, i] @ unit[n, j]).item() for i in rows[g, c] for j in rows[g, c]] for g in (d, e)]
                total += combine([(x - y) ** 2 for x in entries[0] for y in entries[1]])
    return total / len(pairs) if len(present) > 2 or not summed else total


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("domains", [2, 3])
def test_the_angle_loss_by_its_definition(released, domains):
    torch.manual_seed(0)
    features = torch.randn(3, 13, 4)
    rows = torch.arange(13)
    label, domain = (rows % 2), (rows // 2 % domains)
    found = angle_loss(features, label, domain, released)
    assert found.item() == pytest.approx(plain_angle_loss(features, label, domain, released), rel=1e-4)


def test_aligned_features_have_no_angle_loss():
    live = F.normalize(torch.randn(3, 1, 5), dim=-1).expand(3, 6, 5)
    label, domain = torch.ones(6, dtype=torch.long), torch.tensor([0, 0, 1, 1, 2, 2])
    assert angle_loss(live, label, domain).item() == pytest.approx(0, abs=1e-6)
    # spoof features at the wanted angle: cosine 0.85 between two domains, the same in all modalities
    pair = torch.tensor([[1.0, 0.0], [0.85, math.sqrt(1 - 0.85**2)]])
    assert angle_loss(pair.expand(3, 2, 2), torch.zeros(2).long(), torch.tensor([0, 1])).item() < 1e-10
    assert angle_loss(pair.expand(3, 2, 2), torch.ones(2).long(), torch.tensor([0, 1])).item() > 0.05


def test_a_class_that_one_domain_lacks():
    """12: with three domains the release leaves it out for all of them."""
    torch.manual_seed(0)
    features, domain = torch.randn(3, 3, 4), torch.tensor([0, 1, 2])
    label = torch.tensor([1, 1, 0])
    assert angle_loss(features, label, domain, released=True).item() == 0
    assert angle_loss(features, label, domain).item() > 0
    one = angle_loss(features.requires_grad_(True), label, torch.zeros(3).long())
    one.backward()  # a single domain: 0, and no error
    assert one.item() == 0


def test_the_information_loss_by_hand():
    i, j = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [0.0]])
    # (i' + j') / 2 is 0 and 1 in some order; its mean 0.5
    assert information_loss([(i, j)]).item() == pytest.approx(math.log((1 + math.e) / 2) - 0.5, rel=1e-5)
    assert information_loss([(i, j), (i, j)]).item() == pytest.approx(2 * math.log((1 + math.e) / 2) - 1, rel=1e-5)


def test_information_loss_is_nothing_for_constants_and_knows_no_shift():
    torch.manual_seed(0)
    i, j = torch.randn(2, 8, 5)
    values = []
    for shift in (0.0, 3.0, 500.0):  # exp(500) would be infinite
        torch.manual_seed(1)
        values.append(information_loss([(i + shift, j + shift)]).item())
    assert values[0] > 0
    assert values == pytest.approx([values[0]] * 3, abs=1e-3)
    assert information_loss([(torch.full((8, 5), 0.3), torch.full((8, 5), 0.3))]).item() == pytest.approx(0, abs=1e-6)


def test_the_losses_are_put_together_as_written():
    method, batch = started()
    method.eval()
    torch.manual_seed(3)
    losses, encoded = method.loss(batch), method.encode(batch.inputs)
    joint = torch.cat(list(encoded.features), -1)
    each = [
        F.cross_entropy(method.heads[int(d)](x[None]), y[None])
        for x, y, d in zip(joint, batch.label, batch.domain, strict=True)
    ]
    assert losses["classification"].item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-4)
    angle = plain_angle_loss(encoded.features, batch.label, batch.domain, summed=False)
    assert losses["angle"].item() == pytest.approx(0.2 * angle, rel=1e-3)
    torch.manual_seed(3)
    mi = {pair: information_loss(tokens).item() for pair, tokens in encoded.information.items()}
    target = torch.where(batch.label == 1, 1, torch.tensor([0, 2, 3])[batch.domain])
    for m, pairs in enumerate((((0, 1), (0, 2)), ((0, 1), (1, 2)), ((0, 2), (1, 2)))):
        distance = (encoded.features[m][:, None] - method.prototypes.vectors[m]).norm(dim=-1)
        expected = 0.3 * (F.cross_entropy(-distance, target).item() + 0.5 * (mi[pairs[0]] + mi[pairs[1]]) / 2)
        assert losses[f"modality_{NAMES[m]}"].item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("fidelity", "expected"), [("intended", (1.5, 2.5, 3.0)), ("released", (1.0, 2.0, 4.0))])
def test_the_information_loss_of_a_modality(monkeypatch, fidelity, expected):
    """7: that of its two pairs; released, 12 for rgb, 13 for depth, 23 for infrared. Weight 0.3 x 0.5."""
    found = []
    for values in ((0.0, 0.0, 0.0), (1.0, 2.0, 4.0)):  # of 12, 13, 23
        method, batch = started(fidelity=fidelity)
        method.eval()
        given = map(torch.tensor, values)
        monkeypatch.setattr(dadm, "information_loss", lambda _, given=given: next(given))
        losses = method.loss(batch)
        found.append([losses[f"modality_{name}"].item() for name in NAMES])
    assert [b - a for a, b in zip(*found, strict=True)] == pytest.approx([0.15 * e for e in expected], abs=1e-5)


def test_reliability_is_the_mean_information():
    method, batch = started()
    method.eval()
    losses, information = method.loss(batch), method.encode(batch.inputs).information
    of = {  # of the pairs (i, j): 0 for i, 1 for j
        "rgb": [t[0] for pair in ((0, 1), (0, 2)) for t in information[pair]],
        "depth": [t[1] for t in information[0, 1]] + [t[0] for t in information[1, 2]],
        "ir": [t[1] for pair in ((0, 2), (1, 2)) for t in information[pair]],
    }
    for name, tokens in of.items():
        assert losses[f"reliability_{name}"].item() == pytest.approx(torch.stack(tokens).mean().item(), abs=1e-7)
        assert not losses[f"reliability_{name}"].requires_grad


# --- domains ----------------------------------------------------------------------------------------------------------


def test_a_domains_samples_train_their_own_head_only():
    method, batch = started()
    two = batch.domain != 1
    part = Batch(batch.inputs.select(two), batch.label[two], batch.domain[two], ("live",) * int(two.sum()))
    found = of_loss(method, part, "classification")
    assert [reaches(found[f"heads.{d}.weight"]) for d in range(3)] == [True, False, True]
    assert found["heads.1.weight"] is None
    whole = of_loss(method.eval(), batch, "classification")["heads.0.weight"]
    own = batch.domain == 0
    alone = Batch(batch.inputs.select(own), batch.label[own], batch.domain[own], ("live",) * int(own.sum()))
    found = of_loss(method, alone, "classification")["heads.0.weight"]
    assert torch.allclose(whole, found * int(own.sum()) / len(batch), atol=1e-6)


def test_the_hyperplanes_are_drawn_together_after_a_step():
    method = build()
    before = [head.weight.clone() for head in method.heads]
    method.on_step_end(0)
    cosine = [
        [F.cosine_similarity(ws[i], ws[j], dim=1).mean().item() for i, j in ((0, 1), (0, 2), (1, 2))]
        for ws in (before, [head.weight for head in method.heads])
    ]
    assert sum(cosine[1]) > sum(cosine[0])
    for head, old in zip(method.heads, before, strict=True):
        assert torch.allclose(head.weight.norm(dim=1), old.norm(dim=1), rtol=1e-5)
    still = build(alpha=1.0)
    still.on_step_end(0)
    assert all(torch.allclose(h.weight, old, atol=1e-6) for h, old in zip(still.heads, before, strict=True))


def test_heads_are_those_of_the_sources_but_three_in_the_release():
    """10"""
    assert len(build(sources=SOURCES[:2]).heads) == 2
    assert len(build(sources=SOURCES[:2], fidelity="released").heads) == 3


def test_the_score_is_that_of_the_mean_head():
    method, inputs = build().eval(), inputs_of()
    with torch.no_grad():
        joint = torch.cat(list(method.encode(inputs).features), -1)
        logits = torch.stack([head(joint) for head in method.heads]).mean(0)
        assert torch.allclose(method.score(inputs).float(), logits.softmax(1)[:, 1], atol=1e-6)


# --- scores -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fidelity", ["intended", "released"])
def test_scores_are_repeatable_and_independent_of_the_batch(fidelity):
    method, inputs = build(fidelity=fidelity).eval(), inputs_of(8)
    with torch.no_grad():
        scores = method.score(inputs)
        assert torch.equal(method.score(inputs), scores)
        alone = torch.cat([method.score(inputs.select(torch.tensor([row]))) for row in range(8)])
    assert torch.allclose(alone, scores, atol=1e-6)
    assert scores.std() > 1e-3


def test_black_images_stand_for_missing_modalities():
    method, inputs = build().eval(), inputs_of()
    black = Inputs(inputs.rgb, inputs.depth, torch.full_like(inputs.ir, -0.996), inputs.present, inputs.black)
    assert torch.equal(method.score(inputs.without("ir")), method.score(black))
    kept = torch.ones(6, 3, dtype=torch.bool)
    kept[1::2, 2] = False
    mixed = method.score(Inputs.of(inputs.images(), kept, inputs.black))
    assert torch.allclose(mixed[1::2], method.score(black)[1::2], atol=1e-6)
    assert torch.allclose(mixed[::2], method.score(inputs)[::2], atol=1e-6)


@pytest.mark.parametrize("fidelity", ["intended", "released"])
@pytest.mark.parametrize("change", ["no depth", "one class", "one domain", "one modality in some"])
def test_losses_are_finite_and_followed_for_odd_batches(fidelity, change):
    method, batch = started(6, fidelity=fidelity)
    label, domain, inputs = batch.label, batch.domain, batch.inputs
    if change == "no depth":
        inputs = inputs.without("depth")
    elif change == "one class":
        label = torch.zeros_like(label)
    elif change == "one domain":
        domain = torch.ones_like(domain)
    else:
        inputs = Inputs.of(inputs.images(), torch.eye(3, dtype=torch.bool).repeat(2, 1), inputs.black)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = method.loss(Batch(inputs, label, domain, batch.attack))
    method.backward(losses, make_accelerator("cpu", "fp32"))
    assert all(bool(torch.isfinite(value)) for value in losses.values())
    assert all(bool(torch.isfinite(p.grad).all()) for p in method.parameters() if p.grad is not None)


# --- training ---------------------------------------------------------------------------------------------------------


def test_training_runs_in_training_mode_but_not_in_the_release():
    """1: there batch norm keeps its initial statistics for ever."""
    for fidelity, moved in (("intended", True), ("released", False)):
        method, batch = started(fidelity=fidelity)
        assert method.training
        statistics = {name: b.clone() for name, b in method.named_buffers() if "running" in name}
        method.loss(batch)
        changed = [
            name for name, b in method.named_buffers() if "running" in name and not torch.equal(b, statistics[name])
        ]
        assert len(changed) == (len(statistics) if moved else 0)
        assert method.training == moved


def test_prototypes_are_renewed_each_epoch_or_in_the_release_each_batch():
    """4"""
    intended, batch = build(), batch_of(inputs_of(12))
    intended.on_epoch_start(0, iter([batch]))
    assert all(module.training for module in intended.modules())  # 1
    before = intended.prototypes.vectors.clone()
    intended.loss(batch)
    assert torch.equal(intended.prototypes.vectors, before)
    fresh = build().eval()  # the same weights and statistics, which looking has not moved
    with torch.no_grad():
        features = fresh.encode(batch.inputs).features
    for m in range(3):
        assert torch.allclose(before[m, 1], features[m][batch.label == 1].mean(0), atol=1e-5)
    released, batch = started(fidelity="released")
    assert not bool(released.prototypes.vectors.any())
    released.loss(batch)
    with torch.no_grad():
        features = released.eval().encode(batch.inputs).features
    for m in range(3):
        expected = features[m][batch.label == 1].mean(0)
        assert torch.allclose(released.prototypes.vectors[m, 1], expected, atol=1e-5)


def owner_of(name):
    first, number, *rest = name.split(".")
    if first == "streams":
        return int(number)
    if first == "adapters":
        return int(rest[0])
    return {"rgb_depth": 1, "rgb_ir": 2, "depth_ir": 2}[rest[0]] if first == "masks" else None


@pytest.mark.parametrize("fidelity", ["intended", "released"])
@pytest.mark.parametrize("information", [(0.3, -0.2, 0.9), (-0.4, -0.1, -0.3), (1.5, 0.2, 0.4)])
def test_gradients_are_balanced_as_written(fidelity, information):
    """The slow rule for the most informative modality, the fast rule for the two others. 6: reliabilities outside
    [0, 1], all negative ones too, do not change which that is."""
    method, batch = started(fidelity=fidelity)
    method.loss(batch)  # released: from now on in evaluation mode
    method.eval()
    method.prototypes.momentum = 1.0  # released: so that they stay between the passes below
    method.prototypes.vectors[2] = method.prototypes.vectors[1]  # and can be swapped
    found = [of_loss(method, batch, f"modality_{name}") for name in NAMES]
    classification = of_loss(method, batch, "classification", "angle")
    torch.manual_seed(3)
    losses = method.loss(batch)
    losses.update({f"reliability_{name}": torch.tensor(value) for name, value in zip(NAMES, information, strict=True)})
    method.zero_grad()
    method.backward(losses, make_accelerator("cpu", "fp32"))
    kappa = [value if fidelity == "released" else min(max(value, 0.0), 1.0) for value in information]
    epsilon = 1e-8 if fidelity == "released" else 0.0

    def damped(a, b):  # P(a|b)
        dot, square = float((a * b).sum()), float((b * b).sum()) + epsilon
        along = dot / square * b if square else 0 * b
        return along if dot > 0 else a - along

    modulated, slow = set(), information.index(max(information))
    for name, p in method.named_parameters():
        if not p.requires_grad:
            assert p.grad is None
            continue
        expected, m = classification[name], owner_of(name)
        expected = torch.zeros_like(p) if expected is None else expected
        if m is not None and (fidelity == "intended" or name.startswith("streams")):
            g = [torch.zeros_like(p) if one[name] is None else one[name] for one in found]
            j, k = (other for other in range(3) if other != m)
            if m == slow:
                added = g[m] + kappa[j] * damped(g[j], g[m]) + kappa[k] * damped(g[k], g[m])
            else:
                added = kappa[m] * damped(g[m], g[j] + g[k]) + g[j] + g[k]
            expected = expected + added
            modulated.add(name.split(".")[0])
        assert torch.allclose(p.grad, expected, rtol=2e-3, atol=2e-4 * float(expected.abs().max()) + 1e-9), name
    assert modulated == ({"streams"} if fidelity == "released" else {"streams", "masks", "adapters"})


def test_every_trainable_tensor_learns():
    method, batch = started()
    method.backward(method.loss(batch), make_accelerator("cpu", "fp32"))
    without = [name for name, p in method.named_parameters() if p.requires_grad and not reaches(p.grad)]
    assert without == []
