"""MM-CDCN: parameters, maps and targets, the released crossing of branches, missing modalities, the dead map."""

import itertools

import pytest
import torch
from fasbench.baselines.mm_cdcn.method import DEPTH, IR, MMCDCN, RGB
from torch.nn import functional as F

from fasbench.config import AugmentConfig, resolve
from fasbench.data.augment import augment
from fasbench.data.sample import Batch, Inputs
from fasbench.registry import find_method

SMALL = {"image_size": 32, "width": 4, "map_size": 8}
BLACK = -127.5 / 128


def build(**settings):
    torch.manual_seed(0)
    return MMCDCN(MMCDCN.Config(**{**SMALL, **settings}), ("a", "b"))


def inputs_of(count=4, size=32, seed=0):
    """Pixels 1..255, so that nothing is black."""
    generator = torch.Generator().manual_seed(seed)
    images = [(torch.randint(1, 256, (count, 3, size, size), generator=generator) - 127.5) / 128 for _ in range(3)]
    return Inputs.of(images, torch.ones(count, 3, dtype=torch.bool), torch.full((3, 3), BLACK))


def batch_of(inputs, label=(1, 0, 1, 0)):
    label = torch.tensor(label)
    return Batch(inputs, label, torch.zeros_like(label), ("live",) * len(inputs))


def changed(inputs, m):
    """The same with other pixels in modality m."""
    images = list(inputs.images())
    images[m] = images[m].flip(0)
    return Inputs(*images, inputs.present, inputs.black)


def parameters(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def test_the_paper_preset_has_the_published_settings():
    config = resolve(MMCDCN.Config, find_method("mm-cdcn").config(), "paper", {}, [], "mm-cdcn")
    model, optim, train, augment = config.model, config.optim, config.train, config.augment
    assert (optim.name, optim.lr, optim.weight_decay) == ("adam", 1e-4, 5e-5)
    assert (optim.schedule, optim.step_epochs, optim.step_factor, optim.warmup_steps) == ("step", 20, 0.5, 0)
    assert (train.epochs, train.batch_size, train.steps_per_epoch) == (50, 9, None)
    assert (augment.shift, augment.gamma, augment.photometric) == (40, (0.5, 1.5), ("rgb", "depth", "ir"))
    assert (augment.flip, augment.erase, augment.cutout, model.image_size, model.map_size) == (0.5, 0.5, 49, 256, 32)


def test_parameter_counts_at_full_size():
    with torch.device("meta"):
        method = MMCDCN(MMCDCN.Config(), ("a",))
    assert parameters(method) == 6_955_528
    assert {parameters(branch) for branch in method.branches} == {1_727_960}
    assert {parameters(part) for part in (*method.reduce, method.fusion)} == {442_624}
    assert parameters(method.last) == 1_152
    assert {module.theta for module in method.modules() if hasattr(module, "theta")} == {0.7}


def test_images_are_normalised_to_minus_1_and_1():
    config = MMCDCN.Config()
    for level, expected in ((0, -0.99609), (1, 0.99609)):
        found = [(level - m) / s for m, s in zip(config.mean, config.std, strict=True)]
        assert found == pytest.approx([expected] * 3, abs=1e-5)


def plain_unit(x, unit):
    """CDC as the response to the image less theta times that of the centre; batch normalisation; ReLU."""
    (convolution, norm, _), w = unit, unit[0].weight
    x = F.conv2d(x, w, padding=1) - 0.7 * F.conv2d(x, w.sum((2, 3), keepdim=True))
    assert convolution.bias is None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return F.relu((x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None])


def test_the_map_is_that_of_plain_convolutions_and_maximum_pooling():
    method, inputs = build().train(), inputs_of()
    method.loss(batch_of(inputs))  # gives running statistics that are not 0 and 1
    method.eval()
    reduced = []
    with torch.no_grad():
        for branch, reduce, x in zip(method.branches, method.reduce, inputs.images(), strict=True):
            x, levels = plain_unit(x, branch.stem), []
            for block in branch.blocks:
                for unit in block[:3]:
                    x = plain_unit(x, unit)
                x = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, 2).unfold(3, 3, 2).amax((-2, -1))  # not negative: zeros pad
                levels.append(F.interpolate(x, (8, 8), mode="bilinear", align_corners=False))
            reduced.append(plain_unit(torch.cat(levels, 1), reduce))
        x = plain_unit(torch.cat([reduced[m] for m in (RGB, IR, DEPTH)], 1), method.fusion)
        w = method.last.weight
        expected = F.relu(F.conv2d(x, w, padding=1) - 0.7 * F.conv2d(x, w.sum((2, 3), keepdim=True)))[:, 0]
        assert torch.allclose(method.face_map(inputs), expected, atol=1e-6)
    assert float(expected.max()) > 1e-3


@pytest.mark.parametrize("size", [224, 256])
def test_the_map_is_32_by_32_for_either_size(size):
    with torch.device("meta"):
        levels = MMCDCN(MMCDCN.Config(), ("a",)).branches[0](torch.zeros(2, 3, size, size))
    assert [tuple(x.shape[1:]) for x in levels] == [(128, size // k, size // k) for k in (2, 4, 8)]
    with torch.no_grad():
        assert build(image_size=size, map_size=32).eval().face_map(inputs_of(1, size)).shape == (1, 32, 32)


def test_a_map_is_never_negative_and_a_score_is_its_mean():
    method = build().eval()
    inputs = inputs_of()
    with torch.no_grad():
        s = method.face_map(inputs)
        assert float(s.min()) >= 0 and 0 < float((s > 0).float().mean()) < 1
        assert torch.allclose(method.score(inputs), s.double().sum((1, 2)) / 64, atol=1e-12)


@pytest.mark.parametrize(("fidelity", "crossed"), [("intended", False), ("released", True)])
def test_defect_1_depth_takes_its_middle_level_from_rgb(fidelity, crossed):
    method = build(fidelity=fidelity).eval()
    inputs = inputs_of()
    with torch.no_grad():
        before, after = method.reduced(inputs), method.reduced(changed(inputs, RGB))
        assert torch.equal(before[IR], after[IR])
        assert not torch.equal(before[RGB], after[RGB])
        assert torch.equal(before[DEPTH], after[DEPTH]) != crossed


def test_released_depth_is_its_first_and_last_level_around_rgbs_middle_one():
    method = build(fidelity="released").eval()
    inputs = inputs_of()
    with torch.no_grad():
        depth, rgb = method.branches[DEPTH](inputs.depth), method.branches[RGB](inputs.rgb)
        parts = [F.interpolate(x, (8, 8), mode="bilinear") for x in (depth[0], rgb[1], depth[2])]
        assert torch.allclose(method.reduced(inputs)[DEPTH], method.reduce[DEPTH](torch.cat(parts, 1)), atol=1e-6)


def test_the_order_of_the_fusion_is_rgb_infrared_depth():
    method = build().eval()
    inputs = inputs_of()
    seen = []
    method.fusion.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        method.face_map(inputs)
        maps = method.reduced(inputs)
    assert torch.equal(seen[0], torch.cat([maps[RGB], maps[IR], maps[DEPTH]], dim=1))


def bordered():
    """Samples whose RGB image is black but for the middle: 2 of 8 map pixels on each side."""
    inputs = inputs_of()
    rgb = torch.full_like(inputs.rgb, BLACK)
    rgb[..., 8:24, 8:24] = inputs.rgb[..., 8:24, 8:24]
    return Inputs(rgb, inputs.depth, inputs.ir, inputs.present, inputs.black)


def test_the_loss_compares_with_the_face_region_and_its_contrasts(monkeypatch):
    method = build()
    torch.manual_seed(1)
    s = torch.rand(4, 8, 8)
    monkeypatch.setattr(method, "face_map", lambda inputs: s)
    face = torch.zeros(8, 8)
    face[2:6, 2:6] = 1
    t = torch.stack([face, torch.zeros(8, 8), face, torch.zeros(8, 8)])  # attacks: zeros
    patches = [F.unfold(x[:, None], 3).unflatten(1, (9, 1)) for x in (s, t)]  # (4, 9, 1, 36)
    contrasts = [(p - p[:, 4:5])[:, [0, 1, 2, 3, 5, 6, 7, 8]] for p in patches]
    absolute, contrastive = ((s - t) ** 2).mean(), ((contrasts[0] - contrasts[1]) ** 2).mean()
    losses = method.loss(batch_of(bordered()))
    assert losses["absolute"].item() == pytest.approx(absolute.item(), rel=1e-5)
    assert losses["contrastive"].item() == pytest.approx(contrastive.item(), rel=1e-5)
    assert losses["total"].item() == pytest.approx((absolute + contrastive).item(), rel=1e-5)
    s.copy_(t)
    assert method.loss(batch_of(bordered()))["total"].item() == 0


def test_a_flip_takes_image_and_mask_along():
    inputs = inputs_of()
    rgb = inputs.rgb.clone()
    rgb[..., :8] = BLACK
    flipped = [x * 128 + 127.5 for x in (rgb, inputs.depth, inputs.ir)]
    always = AugmentConfig(flip=1, shift=0, gamma=(1, 1))
    flipped = [(x - 127.5) / 128 for x in augment(flipped, always, torch.Generator())]
    assert torch.allclose(flipped[DEPTH], inputs.depth.flip(-1), atol=1e-4)
    method = build()
    masks = [method.mask(Inputs(x, inputs.depth, inputs.ir, inputs.present, inputs.black)) for x in (rgb, flipped[0])]
    assert torch.equal(masks[1], masks[0].flip(-1))
    assert not masks[0][..., :2].any() and masks[0][..., 2:].all()


def test_a_higher_map_is_a_higher_score_up_to_1(monkeypatch):
    for fidelity in ("intended", "released"):
        method = build(fidelity=fidelity)
        scores = []
        for level in (0.0, 0.2, 0.2 + 1e-9, 0.9, 3.0):
            level_map = torch.full((4, 8, 8), level, dtype=torch.float64)
            monkeypatch.setattr(method, "face_map", lambda inputs, s=level_map: s)
            scores.append(method.score(inputs_of())[0].item())
        assert scores == pytest.approx([0, 0.2, 0.2, 0.9, 1])
        assert scores[2] > scores[1]


def test_defect_5_the_released_score_is_divided_by_the_face(monkeypatch):
    intended, released = build(), build(fidelity="released")
    for method in (intended, released):
        monkeypatch.setattr(method, "face_map", lambda inputs: torch.full((4, 8, 8), 0.1))
    assert intended.score(bordered()).tolist() == pytest.approx([0.1] * 4)
    assert released.score(bordered()).tolist() == pytest.approx([0.4] * 4)  # 16 of 64 pixels are face
    empty = inputs_of()
    empty = Inputs(torch.full_like(empty.rgb, BLACK), empty.depth, empty.ir, empty.present, empty.black)
    assert released.score(empty).tolist() == pytest.approx([0.1] * 4)
    assert released.score(inputs_of().without("rgb")).tolist() == pytest.approx([0.1] * 4)


def test_defect_6_a_dead_map_has_no_gradient():
    method = build()
    with torch.no_grad():  # the last convolution sees positive values; theta 0.7 leaves a negative response
        method.last.weight.fill_(-1.0)
        method.last.theta = 0.0
    losses = method.loss(batch_of(inputs_of()))
    losses["total"].backward()
    assert losses["alive"].item() == 0
    assert not any(p.grad is not None and p.grad.any() for p in method.parameters())
    assert method.eval().score(inputs_of()).tolist() == [0] * 4


def test_an_absent_modality_is_black_or_dropped():
    inputs = inputs_of()
    black = Inputs(inputs.rgb, torch.full_like(inputs.depth, BLACK), inputs.ir, inputs.present, inputs.black)
    filled, dropped = build().eval(), build(missing="drop").eval()
    with torch.no_grad():
        absent = inputs.without("depth")
        assert torch.allclose(filled.score(absent), filled.score(black), atol=1e-9)
        assert torch.equal(dropped.score(inputs), filled.score(inputs))
        assert float(dropped.reduced(absent)[DEPTH].abs().max()) == 0
        assert float(filled.reduced(absent)[DEPTH].abs().max()) > 0
        assert not torch.equal(dropped.score(absent), filled.score(absent))


@pytest.mark.parametrize("fidelity", ["intended", "released"])
@pytest.mark.parametrize("m", [RGB, DEPTH, IR])
def test_what_is_absent_is_not_looked_at(m, fidelity):
    method, whole = build(fidelity=fidelity).eval(), bordered()
    present = whole.present.clone()
    present[:, m] = False
    unclean = Inputs(*whole.images(), present, whole.black)
    clean = Inputs.of(whole.images(), present, whole.black)
    with torch.no_grad():
        assert torch.equal(method.score(unclean), method.score(clean))
        assert torch.equal(method.mask(unclean), method.mask(clean))


@pytest.mark.parametrize("missing", ["black", "drop"])
def test_losses_are_finite_whatever_is_absent(missing):
    method = build(missing=missing)
    labels = itertools.cycle(((1, 0, 1, 0), (1, 1, 1, 1), (0, 0, 0, 0)))
    for absent in itertools.chain.from_iterable(itertools.combinations(("rgb", "depth", "ir"), k) for k in (1, 2)):
        whole, reduced = inputs_of(), inputs_of().without(*absent)
        some = torch.tensor([True, False, True, False])
        for present in (reduced.present, torch.where(some[:, None], whole.present, reduced.present)):
            inputs = Inputs.of(whole.images(), present, whole.black)
            method.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                assert method.face_map(inputs).dtype == torch.float32
                losses = method.loss(batch_of(inputs, next(labels)))
            losses["total"].backward()
            assert losses["total"].dtype == torch.float32
            assert all(torch.isfinite(value.detach()) for value in losses.values())
            assert all(p.grad is None or torch.isfinite(p.grad).all() for p in method.parameters())


def test_without_rgb_a_live_target_is_1_everywhere(monkeypatch):
    method = build(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))  # zeros, an absent image, are black then
    monkeypatch.setattr(method, "face_map", lambda inputs: torch.ones(4, 8, 8))
    inputs = inputs_of().without("rgb")
    assert method.loss(batch_of(inputs, (1, 1, 1, 1)))["total"].item() == 0
    assert method.loss(batch_of(inputs, (1, 1, 0, 0)))["total"].item() == pytest.approx(0.5)
