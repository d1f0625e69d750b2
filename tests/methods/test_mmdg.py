"""MMDG: U-Adapter, MC-dropout certainty, prototype losses, ReGrad, missing modalities."""

import copy
import functools
import math

import pytest
import timm
import torch
from fasbench.baselines.mmdg import method as mmdg
from fasbench.baselines.mmdg.adapter import DropoutCertainty, UAdapter
from fasbench.baselines.mmdg.method import MMDG
from torch.nn import functional as F

from fasbench.data.sample import Batch, Inputs
from fasbench.device import make_accelerator
from fasbench.layers.regrad import RELEASED_EPSILON
from fasbench.training import stored_names

SOURCES = ("cefa", "padisi", "surf")
TINY = {"backbone": "test_vit", "pretrained": False, "image_size": 32}
NAMES = ("rgb", "depth", "ir")
BLOCKS = 3  # of test_vit's six


@functools.cache
def small_vit():
    with torch.random.fork_rng(devices=()):  # the first method is built like every other
        torch.manual_seed(0)
        return timm.create_model("test_vit", num_classes=0, img_size=32, depth=BLOCKS, dynamic_img_size=False)


@pytest.fixture(autouse=True)
def _short_trunk(monkeypatch):
    monkeypatch.setattr(mmdg, "build_vit", lambda *_: copy.deepcopy(small_vit()))


def build(awake=True, **settings):
    """A small method, with adapters that do something unless they are to sleep."""
    torch.manual_seed(0)
    method = MMDG(MMDG.Config(**{**TINY, **settings}), SOURCES)
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


def started(count=6, **settings):
    """A method with prototypes, and its batch."""
    method, batch = build(**settings), batch_of(inputs_of(count))
    method.on_epoch_start(0, iter([batch_of(inputs_of(12, seed=5))]))
    return method, batch


def follow(method, batch):
    method.zero_grad()
    losses = method.loss(batch)
    method.backward(losses, make_accelerator("cpu", "fp32"))
    return losses


def of_loss(method, batch, name):
    named = {n: p for n, p in method.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(method.loss(batch)[name], list(named.values()), allow_unused=True)
    return dict(zip(named, found, strict=True))


def reaches(gradient):
    return gradient is not None and bool(gradient.any())


# --- architecture -----------------------------------------------------------------------------------------------------


def test_parameter_counts(monkeypatch):
    def on_meta(name, pretrained, size):
        assert name.startswith("vit_base_patch16_224")
        return timm.create_model(name, num_classes=0, img_size=size)

    monkeypatch.setattr(mmdg, "build_vit", on_meta)
    with torch.device("meta"):
        method = MMDG(MMDG.Config(), SOURCES)
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    assert trained == 8_513_666
    assert sum(p.numel() for p in method.parameters()) == 88_252_034
    assert sum(p.numel() for p in UAdapter(768).parameters()) == 20_072
    frozen = {name.split(".")[0] for name, p in method.named_parameters() if not p.requires_grad}
    assert frozen == {"blocks", "streams"}


def test_at_the_start_a_feature_is_the_plain_vits_with_new_positions():
    method, inputs = build(awake=False).eval(), inputs_of(3)
    vit = copy.deepcopy(small_vit()).eval()
    with torch.no_grad():
        found = method.encode(inputs).features
        for m, image in enumerate(inputs.images()):
            position = method.streams[m].position
            assert not torch.allclose(position, vit.pos_embed)
            vit.pos_embed.copy_(position)
            assert torch.allclose(found[m], vit(image), atol=1e-5)


def test_depth_reaches_infrared_only_through_rgb():
    method, inputs = build().eval(), inputs_of(2)
    other = Inputs.of((inputs.rgb, inputs.depth + 1, inputs.ir), inputs.present, inputs.black)
    states = []
    with torch.no_grad():
        for given in (inputs, other):
            x = {m: method.streams[m](image) for m, image in enumerate(given.images())}
            x, _ = method.block(0, x, given.present)
            y, _ = method.block(1, x, given.present)
            states.append((x, y))
    (first, second), (first_other, second_other) = states
    assert torch.equal(first[2], first_other[2])
    assert not torch.allclose(first[0], first_other[0], atol=1e-4)
    assert not torch.allclose(second[2], second_other[2], atol=1e-6)


def test_a_block_by_its_definition():
    """Straight from the equations, with the adapters' own formula written out."""
    method, inputs = build().eval(), inputs_of(2)

    def phi(t):
        return t * torch.sigmoid(1.702 * t)

    def adapter(a, own, aux, u):
        z_o, z_a = phi(a.down_own(own)), phi(a.down_auxiliary(aux))
        q, k, v = a.query(z_a), a.key(z_o), a.value(z_o)
        heads = []
        for head in range(8):
            logits = u[..., None] * q[..., head, None] * k[:, None, :, head]  # row i is damped by u_i
            heads.append((logits.softmax(-1) @ v[..., head, None])[..., 0])
        t = a.norm(a.project(torch.stack(heads, -1)) + z_o)
        w = a.convolution.weight
        image = t[:, 1:].transpose(1, 2).reshape(len(t), 8, 2, 2)
        centre = w.sum((2, 3))
        mapped = F.conv2d(image, w, padding=1) - 0.5 * torch.einsum("oi,bihw->bohw", centre, image)
        first = t[:, :1] @ (w[:, :, 1, 1] - 0.5 * centre).T
        return a.up(phi(torch.cat([first, mapped.flatten(2).transpose(1, 2)], 1)))

    with torch.no_grad():
        x = {m: method.streams[m](image) for m, image in enumerate(inputs.images())}
        found, _ = method.block(0, x, inputs.present)
        b, adapters = method.blocks[0], method.adapters[0]
        a = {m: b.attn(b.norm1(x[m])) for m in x}
        g = {m: b.norm2(x[m] + a[m]) for m in x}
        u = {m: torch.exp(-2.25 * math.sqrt(0.3 / 0.7) * a[m].abs()).mean(-1) for m in x}
        expected = {m: x[m] + a[m] + b.mlp(g[m]) for m in x}
        for own, aux in ((0, 1), (0, 2), (1, 0), (2, 0)):
            expected[own] = expected[own] + adapter(adapters[f"{NAMES[own]}_{NAMES[aux]}"], g[own], g[aux], u[aux])
    for m in x:
        assert torch.allclose(found[m], expected[m], atol=1e-5)


def test_an_adapter_drops_a_fifth_of_its_channels_in_training_only():
    torch.manual_seed(0)
    adapter = UAdapter(8).eval()
    with torch.no_grad():
        adapter.up.weight.copy_(torch.eye(8))
        own, aux, certainty = torch.randn(1, 5, 8), torch.randn(1, 5, 8), torch.rand(1, 5)
        whole = adapter(own, aux, certainty)
        adapter.train()
        drawn = torch.cat([adapter(own, aux, certainty) for _ in range(500)])
    kept = drawn != 0
    assert kept.float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert torch.allclose(drawn[kept], (whole / 0.8).expand_as(drawn)[kept], atol=1e-5)


def test_the_last_block_needs_the_class_token_only():
    method, inputs = build().eval(), inputs_of(2)
    with torch.no_grad():
        x = {m: method.streams[m](image) for m, image in enumerate(inputs.images())}
        short, _ = method.block(BLOCKS - 1, x, inputs.present)
        method.blocks.append(method.blocks[-1])  # now it is not the last
        whole, _ = method.block(BLOCKS - 1, x, inputs.present)
    for m in x:
        assert short[m].shape == (2, 1, 64)
        assert torch.allclose(short[m], whole[m][:, :1], atol=1e-5)


# --- uncertainty ------------------------------------------------------------------------------------------------------


def test_certainty_by_hand():
    """std of |a| = 1 is sqrt(3/7) = 0.6547."""
    u = DropoutCertainty(None, 2.25)(torch.tensor([[[0.0, 0.0], [1.0, -2.0]]]))
    expected = (math.exp(-2.25 * 0.654654) + math.exp(-4.5 * 0.654654)) / 2
    assert u.tolist() == [[1.0, pytest.approx(expected, rel=1e-5)]]


def test_the_closed_form_is_what_many_masks_give():
    torch.manual_seed(0)
    a = torch.tensor([0.3, -1.0, 2.5])
    drawn = F.dropout(a.expand(20_000, 3), 0.3).std(0)
    closed = -torch.log(torch.stack([DropoutCertainty(None, 1.0)(x.view(1, 1, 1)).squeeze() for x in a]))
    assert torch.allclose(closed, drawn, rtol=0.02)


def test_released_certainty_is_distributed_like_that_of_twenty_masks():
    torch.manual_seed(0)
    count = 40_000
    plain = torch.exp(-2.25 * F.dropout(torch.full((20, count), 0.8), 0.3).std(0))
    ours = DropoutCertainty(20, 2.25).train()(torch.full((count, 1, 1), 0.8)).flatten()
    for moment in (torch.mean, torch.std):
        assert moment(ours).item() == pytest.approx(moment(plain).item(), rel=0.03)
    assert bool(((ours > 0) & (ours <= 1)).all())


def test_only_the_release_draws_masks_twenty_of_them():
    """6"""
    for fidelity, samples in (("intended", None), ("released", 20)):
        certainties = [one for block in build(fidelity=fidelity).certainties for one in block]
        assert {(one.samples, one.dropout, one.rate) for one in certainties} == {(samples, 0.3, 2.25)}
        assert len({one.seed for one in certainties}) == 3 * BLOCKS


def test_larger_activations_are_less_certain():
    u = DropoutCertainty(None, 2.25)(torch.linspace(0, 4, 9).view(1, 9, 1))[0]
    assert u[0] == 1 and bool((u.diff() < 0).all()) and u[-1] > 0


def test_reliability_is_the_certainty_of_the_own_class_token_in_the_last_block():
    method, batch = started()
    method.eval()
    seen = []
    for m in range(3):
        method.certainties[-1][m].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    losses = method.loss(batch)
    for m, name in enumerate(NAMES):
        expected = torch.exp(-2.25 * math.sqrt(3 / 7) * seen[m][:, 0].abs()).mean()
        assert float(losses[f"reliability_{name}"]) == pytest.approx(expected.item(), rel=1e-5)
        assert not losses[f"reliability_{name}"].requires_grad


# --- scores -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fidelity", ["intended", "released"])
@pytest.mark.parametrize("missing", ["black", "skipped"])
def test_scores_are_repeatable_and_independent_of_the_batch(fidelity, missing):
    method, inputs = build(fidelity=fidelity, missing=missing).eval(), inputs_of(8)
    with torch.no_grad():
        scores = method.score(inputs)
        assert torch.equal(method.score(inputs), scores)
        alone = torch.cat([method.score(inputs.select(torch.tensor([row]))) for row in range(8)])
    assert torch.allclose(alone, scores, atol=1e-6)
    assert scores.std() > 1e-3


def test_released_scoring_draws_masks():
    """6: the same ones each time, but not the closed form."""
    intended, released = build().eval(), build(fidelity="released").eval()
    state = {name: tensor for name, tensor in intended.state_dict().items() if not name.startswith("prototypes")}
    released.load_state_dict(state, strict=False)
    assert not torch.equal(intended.score(inputs_of()), released.score(inputs_of()))


def test_black_images_stand_for_missing_modalities():
    method, inputs = build().eval(), inputs_of()
    black = Inputs(inputs.rgb, torch.full_like(inputs.depth, -0.996), inputs.ir, inputs.present, inputs.black)
    assert torch.equal(method.score(inputs.without("depth")), method.score(black))


@pytest.mark.parametrize("absent", [(0,), (1,), (2,), (1, 2)])
def test_skipped_modalities_are_not_looked_at(absent):
    """Per sample: odd rows lack the modality, and what stands in its place changes nothing."""
    method, inputs = build(missing="skipped").eval(), inputs_of()
    kept = torch.ones(6, 3, dtype=torch.bool)
    kept[1::2, list(absent)] = False
    scores = []
    for filler in (0.0, 50.0):
        images = [image.clone() for image in inputs.images()]
        for m in absent:
            images[m][1::2] = filler
        scores.append(method.score(Inputs(*images, kept, inputs.black)))
    assert torch.allclose(*scores, atol=1e-12)
    alone = method.score(inputs.without(*(NAMES[m] for m in absent)))
    assert torch.allclose(scores[0][1::2], alone[1::2], atol=1e-6)
    assert torch.allclose(scores[0][::2], method.score(inputs)[::2], atol=1e-6)
    assert not torch.allclose(alone, method.score(inputs), atol=1e-3)


@pytest.mark.parametrize("missing", ["black", "skipped"])
@pytest.mark.parametrize("change", ["no depth", "one class", "one domain", "one modality in some"])
def test_losses_are_finite_and_followed_for_odd_batches(missing, change):
    method, batch = started(missing=missing)
    label, domain, inputs = batch.label, batch.domain, batch.inputs
    if change == "no depth":
        inputs = inputs.without("depth")
    elif change == "one class":
        label = torch.zeros_like(label)
    elif change == "one domain":
        domain = torch.ones_like(domain)
    else:
        kept = torch.eye(3, dtype=torch.bool).repeat(2, 1)
        inputs = Inputs.of(inputs.images(), kept, inputs.black)
    method.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = method.loss(Batch(inputs, label, domain, batch.attack))
    method.backward(losses, make_accelerator("cpu", "fp32"))
    assert all(bool(torch.isfinite(value)) for value in losses.values())
    assert all(bool(torch.isfinite(p.grad).all()) for p in method.parameters() if p.grad is not None)
    assert ("prototypes_depth" in losses) == (missing == "black" or change != "no depth")


# --- prototypes -------------------------------------------------------------------------------------------------------


def test_prototypes_are_means_of_evaluation_mode():
    method, batch = build(), batch_of(inputs_of(12))
    method.train()
    method.on_epoch_start(0, iter([batch]))
    assert method.training
    assert all(module.training for module in method.modules())  # 4
    with torch.no_grad():
        features = method.eval().encode(batch.inputs).features
    live, spoof = batch.label == 1, (batch.label == 0) & (batch.domain == 2)
    for m in range(3):
        assert torch.allclose(method.prototypes.vectors[m, 1], features[m][live].mean(0), atol=1e-5)
        assert torch.allclose(method.prototypes.vectors[m, 3], features[m][spoof].mean(0), atol=1e-5)


def test_prototypes_count_the_samples_that_have_the_modality():
    kept = torch.ones(12, 3, dtype=torch.bool)
    kept[2::2, 1] = kept[1:10:2, 1] = False  # rows 0 (spoof) and 11 (live) have depth
    batch = batch_of(inputs_of(12))
    some = Batch(Inputs.of(batch.inputs.images(), kept, batch.inputs.black), batch.label, batch.domain, batch.attack)
    method = build(missing="skipped")
    method.on_epoch_start(0, iter([some]))
    with torch.no_grad():
        features = method.eval().encode(some.inputs).features
    assert torch.allclose(method.prototypes.vectors[1, :2], features[1][[0, 11]], atol=1e-5)
    assert method.prototypes.known[1].tolist() == [True, True, False, False]
    assert torch.allclose(method.prototypes.vectors[2, 1], features[2][1::2].mean(0), atol=1e-5)


def test_the_prototype_loss_is_weighted_and_of_its_own_modality():
    method, batch = started()
    method.eval()
    losses, features = method.loss(batch), method.encode(batch.inputs).features
    target = torch.where(batch.label == 1, 1, torch.tensor([0, 2, 3])[batch.domain])
    for m, name in enumerate(NAMES):
        distance = torch.cdist(features[m], method.prototypes.vectors[m], compute_mode="donot_use_mm_for_euclid_dist")
        expected = 0.3 * F.cross_entropy(-distance, target)
        assert losses[f"prototypes_{name}"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_losses_and_reliability_count_the_samples_that_have_the_modality():
    method, batch = started(missing="skipped")
    method.eval()
    kept = torch.ones(6, 3, dtype=torch.bool)
    kept[1:5, 1] = False  # rows 0 and 5 have depth
    whole = Batch(Inputs.of(batch.inputs.images(), kept, batch.inputs.black), batch.label, batch.domain, batch.attack)
    rows = kept[:, 1]
    part = Batch(whole.inputs.select(rows), batch.label[rows], batch.domain[rows], ("live",) * 2)
    losses, alone = method.loss(whole), method.loss(part)
    for name in ("prototypes_depth", "reliability_depth"):
        assert losses[name].item() == pytest.approx(alone[name].item(), rel=1e-4)
    assert losses["prototypes_ir"].item() != pytest.approx(alone["prototypes_ir"].item(), rel=1e-4)


def test_only_the_released_prototypes_keep_the_held_out_domain():
    """5"""
    assert build().prototypes.vectors.shape[1] == 4
    assert build(fidelity="released").prototypes.vectors.shape[1] == 5


# --- ReGrad -----------------------------------------------------------------------------------------------------------


def owner_of(name):
    """By the rules of the paper: streams and adapters belong to the modality that listens; the rest to nobody."""
    first, number, *rest = name.split(".")
    if first == "streams":
        return int(number)
    return NAMES.index(rest[0].split("_")[0]) if first == "adapters" else None


def test_gradients_reach_what_they_should():
    """L reaches all; SSP of m what m owns, and of j's adapters those early enough for their output to be heard by m: a
    block for each step from j, of which there are two between depth and infrared."""
    method, batch = started(12)
    method.train()
    found = [of_loss(method, batch, f"prototypes_{name}") for name in NAMES]
    classification = of_loss(method, batch, "classification")
    for name, g in classification.items():
        owner = owner_of(name)
        assert reaches(g), name
        if owner is None:
            assert all(reaches(one[name]) == (not name.startswith("head")) for one in found), name
        else:
            steps = [0 if m == owner else 1 if 0 in (m, owner) else 2 for m in range(3)]
            left = BLOCKS - 1 - int(name.split(".")[1]) if name.startswith("adapters.") else BLOCKS
            assert [reaches(one[name]) for one in found] == [step <= left for step in steps], name


@pytest.mark.parametrize("fidelity", ["intended", "released"])
@pytest.mark.parametrize("fast", [0, 1, 2])
def test_gradients_are_balanced_as_written(fidelity, fast):
    method, batch = started(fidelity=fidelity)
    method.eval()  # no dropout, and the released masks stay
    found = [of_loss(method, batch, f"prototypes_{name}") for name in NAMES]
    classification = of_loss(method, batch, "classification")
    losses = method.loss(batch)
    losses[f"prototypes_{NAMES[fast]}"] = 0.1 * losses[f"prototypes_{NAMES[fast]}"]  # now the smallest
    found[fast] = {name: g if g is None else 0.1 * g for name, g in found[fast].items()}
    method.zero_grad()
    method.backward(losses, make_accelerator("cpu", "fp32"))
    value = [losses[f"prototypes_{name}"].item() for name in NAMES]
    assert value[fast] == min(value)
    kappa = [losses[f"reliability_{name}"].item() for name in NAMES]
    epsilon = RELEASED_EPSILON if fidelity == "released" else 0.0

    def damped(a, b):  # P(a|b)
        dot, square = float((a * b).sum()), float((b * b).sum()) + epsilon
        along = dot / square * b if square else 0 * b
        return along if dot > 0 else a - along

    modulated = set()
    for name, p in method.named_parameters():
        if not p.requires_grad:
            assert p.grad is None
            continue
        expected, m = classification[name], owner_of(name)
        if m is not None and (fidelity == "intended" or name.startswith("streams")):
            g = [torch.zeros_like(p) if one[name] is None else one[name] for one in found]
            j, k = (other for other in range(3) if other != m)
            if m == fast:
                added = kappa[m] * damped(g[m], g[j] + g[k]) + g[j] + g[k]
            else:
                added = g[m] + kappa[j] * damped(g[j], g[m]) + kappa[k] * damped(g[k], g[m])
            expected = expected + added
            modulated.add(name)
        assert torch.allclose(p.grad, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())), name
    assert len(modulated) == (6 if fidelity == "released" else 6 + 4 * 14 * BLOCKS)


def test_the_defect_can_be_mended_alone():
    assert len(build(fidelity="released", modulated="all")._owned(0)) == 2 + 2 * 14 * BLOCKS
    assert len(build(modulated="tokens")._owned(0)) == 2


def test_nothing_of_a_skipped_modality_is_trained():
    method, batch = started(missing="skipped")
    follow(method, Batch(batch.inputs.without("depth"), batch.label, batch.domain, batch.attack))
    for name, p in method.named_parameters():
        if owner_of(name) == 1 or "rgb_depth" in name:
            assert p.grad is None, name
        elif p.requires_grad:
            assert reaches(p.grad), name


def test_prototypes_survive_a_checkpoint():
    method, _ = started()
    restored = build()
    saved = {name: tensor for name, tensor in method.state_dict().items() if name in stored_names(method)}
    restored.load_state_dict(saved, strict=False)
    assert torch.equal(restored.prototypes.vectors, method.prototypes.vectors)
    assert bool(restored.prototypes.known.all())
    assert not [name for name in saved if name.startswith("blocks.0.")]  # frozen, and built again
