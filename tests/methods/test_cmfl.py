"""CMFL: parameters, the cross-modal weight by hand, and which head scores what."""

import itertools
import math

import pytest
import torch
from fasbench.baselines.cmfl.method import CMFL, DEPTH, IR, RGB, cross_modal_weight, mean_where
from timm.models.densenet import DenseNet
from torch.nn import functional as F

from fasbench.config import AugmentConfig, resolve
from fasbench.data.sample import Batch, Inputs
from fasbench.layers import densenet
from fasbench.registry import find_method

SMALL = {"image_size": 64, "pretrained": False, "growth": 4, "blocks": (1, 2)}
LIVE = torch.tensor([1.0])
BOTH = torch.ones(1, 2, dtype=torch.bool)


def build(**settings):
    torch.manual_seed(0)
    return CMFL(CMFL.Config(**{**SMALL, **settings}), ("a", "b"))


def inputs_of(count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randint(2, 256, (count, 3, 64, 64), generator=generator) / 255 for _ in range(3)]
    images[1:] = [image[:, :1].expand(-1, 3, -1, -1) for image in images[1:]]
    return Inputs.of(images, torch.ones(count, 3, dtype=torch.bool), torch.zeros(3, 3))


def batch_of(inputs, label=(1, 0, 1, 0)):
    label = torch.tensor(label)
    return Batch(inputs, label, torch.zeros_like(label), ("live",) * len(inputs))


def logit(probability):
    return math.log(probability / (1 - probability))


def parameters(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def test_the_paper_preset_has_the_published_settings():
    config = resolve(CMFL.Config, find_method("cmfl").config(), "paper", {}, [], "cmfl")
    model, optim, train, augment = config.model, config.optim, config.train, config.augment
    assert (optim.name, optim.lr, optim.weight_decay) == ("adam", 1e-4, 1e-6)
    assert (optim.schedule, train.epochs, train.batch_size, train.steps_per_epoch) == ("constant", 25, 64, None)
    assert augment == AugmentConfig(flip=0.5, shift=0, gamma=(1, 1))
    assert (model.alpha, model.gamma, model.beta, model.modalities, model.image_size) == (1, 3, 0.5, "rgbd", 224)


def test_parameter_counts_at_full_size():
    with torch.device("meta"):
        method = CMFL(CMFL.Config(pretrained=False), ("a",))
        three = CMFL(CMFL.Config(pretrained=False, modalities="all"), ("a",))
    assert parameters(method) == 6_388_419
    assert [parameters(encoder) for encoder in method.encoders] == [3_198_144, 3_188_736]
    assert parameters(method.heads, method.joint) == 1_539
    assert parameters(three) == 6_388_419 + 3_188_736 + 2 * 384 + 1  # an encoder, its head, a longer joint head


def test_with_the_same_weights_depth_starts_from_the_mean_of_the_rgb_kernels(monkeypatch):
    def pretrained(growth, blocks):
        torch.manual_seed(7)
        return DenseNet(growth_rate=growth, block_config=(*blocks, 1), num_classes=0)

    monkeypatch.setattr(densenet, "_pretrained", pretrained)
    rgb, depth = (encoder.state_dict() for encoder in build(pretrained=True).encoders)
    colour, grey = rgb.pop("conv0.weight"), depth.pop("conv0.weight")
    assert (colour.shape[1], grey.shape[1]) == (3, 1)
    assert torch.allclose(grey, colour.sum(1, keepdim=True) / 3, atol=1e-7)
    assert not torch.equal(colour[:, 0], colour[:, 1])  # colour keeps its own kernels
    assert all(torch.equal(rgb[name], depth[name]) for name in rgb)


def test_the_weight_by_hand():
    p, q = torch.tensor(0.8), torch.tensor(0.6)
    assert cross_modal_weight(p, q).item() == pytest.approx(0.4114, abs=1e-4)  # 0.6 * 2 * 0.48 / 1.4
    assert cross_modal_weight(q, p).item() == pytest.approx(0.5486, abs=1e-4)
    assert cross_modal_weight(torch.tensor(1.0), torch.tensor(1.0)).item() == pytest.approx(1)
    assert cross_modal_weight(torch.tensor(1.0), torch.tensor(0.0)).item() == pytest.approx(0, abs=1e-8)
    assert cross_modal_weight(torch.tensor(0.0), torch.tensor(0.0)).item() == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("label", [1.0, 0.0])
def test_the_focal_loss_by_hand(label):
    """p_t = 0.8, q_t = 0.6, gamma 3: 0.5886^3 0.2231 = 0.04550 and 0.4514^3 0.5108 = 0.04699."""
    sign = 1 if label else -1
    z = sign * torch.tensor([[logit(0.8), logit(0.6)]])
    for logits in (z, z.flip(1)):  # swapped streams swap the two losses
        found = build().focal_loss(logits, torch.tensor([label]), BOTH).item()
        assert found == pytest.approx((0.045497 + 0.046994) / 2, abs=1e-5)


def test_gamma_0_is_cross_entropy():
    torch.manual_seed(0)
    z, y = 3 * torch.randn(8, 2), (torch.arange(8) % 2).float()
    p = torch.sigmoid(z)
    expected = -(y[:, None] * p.log() + (1 - y[:, None]) * (1 - p).log()).mean()  # = (BCE(p) + BCE(q)) / 2
    found = build(gamma=0.0).focal_loss(z, y, torch.ones(8, 2, dtype=torch.bool))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    doubled = build(gamma=0.0, alpha=2.0).focal_loss(z, y, torch.ones(8, 2, dtype=torch.bool))
    assert doubled.item() == pytest.approx(2 * expected.item(), rel=1e-5)


def test_two_sure_streams_have_no_loss_and_a_wrong_partner_does_not_relax():
    sure = build().focal_loss(torch.tensor([[30.0, 30.0]]), LIVE, BOTH)
    assert sure.item() == pytest.approx(0, abs=1e-12)
    z = torch.tensor([[logit(0.8), -40.0]])  # q_t = 0: both losses are cross-entropies
    expected = (-math.log(0.8) + 40) / 2
    assert build().focal_loss(z, LIVE, BOTH).item() == pytest.approx(expected, rel=1e-5)


def test_where_the_other_stream_is_absent_the_loss_is_cross_entropy():
    z = torch.tensor([[logit(0.8), 5.0], [logit(0.8), logit(0.6)]])
    present = torch.tensor([[True, False], [True, True]])
    expected = ((-math.log(0.8) + 0.045497) / 2 + 0.046994) / 2  # means over the samples with the stream
    found = build().focal_loss(z, torch.ones(2), present).item()
    assert found == pytest.approx(expected, abs=1e-5)


def test_three_streams_are_the_mean_over_ordered_pairs():
    p = [0.8, 0.6, 0.3]
    pairs = [(a, b) for a in p for b in p if a != b]
    expected = sum(-((1 - b * 2 * a * b / (a + b)) ** 3) * math.log(a) for a, b in pairs) / 6
    z = torch.tensor([[logit(x) for x in p]])
    found = build(modalities="all").focal_loss(z, LIVE, torch.ones(1, 3, dtype=torch.bool)).item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_gradient_passes_through_the_weight():
    z = torch.tensor([[logit(0.8), logit(0.6)]], requires_grad=True)
    build().focal_loss(z, LIVE, BOTH).backward()
    q, p = torch.tensor(0.6), torch.tensor(0.8)

    def total(z_p):  # by differences
        p = 1 / (1 + math.exp(-z_p))
        w_p, w_q = (a * 2 * 0.6 * p / (0.6 + p) for a in (0.6, p))
        return (-((1 - w_p) ** 3) * math.log(p) - (1 - w_q) ** 3 * math.log(0.6)) / 2

    step = 1e-4
    expected = (total(logit(float(p)) + step) - total(logit(float(p)) - step)) / (2 * step)
    assert z.grad[0, 0].item() == pytest.approx(expected, rel=1e-3)
    assert float(q) == pytest.approx(0.6)


def test_the_total_mixes_joint_and_focal_loss(monkeypatch):
    method = build(beta=0.25)
    own = torch.tensor([[logit(0.8), logit(0.6)]] * 4)
    monkeypatch.setattr(method, "logits", lambda inputs: (own, torch.full((4,), logit(0.9))))
    inputs = inputs_of()
    losses = method.loss(batch_of(inputs, (1, 1, 1, 1)))
    expected = 0.75 * -math.log(0.9) + 0.25 * (0.045497 + 0.046994) / 2
    assert losses["total"].item() == pytest.approx(expected, abs=1e-5)
    present = inputs.present.clone()
    present[1:, DEPTH] = False  # the joint loss is the first sample's
    reduced = Inputs.of(inputs.images(), present, inputs.black)
    monkeypatch.setattr(method, "logits", lambda inputs: (own, torch.tensor([logit(0.9), 9.0, 9.0, 9.0])))
    assert method.loss(batch_of(reduced, (1, 1, 1, 1)))["joint"].item() == pytest.approx(-math.log(0.9), abs=1e-5)


def test_embeddings_are_sigmoids_of_pooled_features_and_heads_see_them():
    method = build().eval()
    inputs = inputs_of()
    with torch.no_grad():
        features = method.encoders[RGB](inputs.rgb)
        e = torch.sigmoid(features.flatten(2).mean(2))
        embeddings = method.embed(inputs)
        assert torch.allclose(embeddings[:, 0], e, atol=1e-6)
        own, joint = method.logits(inputs)
        assert torch.allclose(own[:, 0], method.heads[0](e)[:, 0], atol=1e-6)
        expected = F.linear(torch.cat([embeddings[:, 0], embeddings[:, 1]], 1), method.joint.weight, method.joint.bias)
        assert torch.allclose(joint, expected[:, 0], atol=1e-6)


def test_depth_is_spread_over_the_unit_interval_whatever_the_normalisation():
    plain, imagenet = build(), build(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    inputs = inputs_of()
    found = plain.image(inputs, DEPTH)
    assert found.shape == (4, 1, 64, 64)
    assert (found.min().item(), found.max().item()) == pytest.approx((0.0, 1.0), abs=0.2)
    assert found.flatten(1).median(1).values.tolist() == pytest.approx([0.5] * 4, abs=0.01)
    mean, std = (torch.tensor(x)[:, None, None] for x in (imagenet.config.mean, imagenet.config.std))
    images = [(image - mean) / std for image in inputs.images()]
    normalised = Inputs(*images, inputs.present, inputs.black)
    assert torch.allclose(imagenet.image(normalised, DEPTH), found, atol=1e-3)
    assert torch.equal(plain.image(inputs, RGB), inputs.rgb)


def test_the_present_streams_own_head_scores():
    method = build().eval()
    inputs = inputs_of()
    with torch.no_grad():
        own, joint = method.logits(inputs)
        r, (p, q) = torch.sigmoid(joint.double()), torch.sigmoid(own.double()).T
        for absent, expected in (
            ((), r),
            (("ir",), r),
            (("depth",), p),
            (("depth", "ir"), p),
            (("rgb",), q),
            (("rgb", "ir"), q),
            (("rgb", "depth"), torch.full((4,), 0.5)),
        ):
            assert torch.allclose(method.score(inputs.without(*absent)), expected.double(), atol=1e-6), absent
    assert float((r - p).abs().min()) > 1e-3 and float((p - q).abs().min()) > 1e-3


def test_two_of_three_streams_are_averaged():
    method = build(modalities="all").eval()
    inputs = inputs_of()
    with torch.no_grad():
        own = torch.sigmoid(method.logits(inputs)[0].double())
        assert torch.allclose(method.score(inputs.without("rgb")), (own[:, 1] + own[:, 2]) / 2, atol=1e-6)
        assert torch.allclose(method.score(inputs.without("rgb", "depth")), own[:, IR], atol=1e-6)


def test_sure_scores_still_differ():
    method = build().eval()
    scores = []
    for bias in (20.0, 21.0):
        torch.nn.init.constant_(method.joint.bias, bias)
        with torch.no_grad():
            scores.append(method.score(inputs_of())[0].item())
    assert scores[0] < scores[1] < 1


def test_what_is_absent_is_not_looked_at():
    method = build().train()
    inputs = inputs_of()
    present = inputs.present.clone()
    present[2:, DEPTH] = False
    buffers = []
    for value in (0.0, 0.7):
        depth = inputs.depth.clone()
        depth[2:] = value
        torch.manual_seed(0)
        fresh = build()
        mixed = Inputs(inputs.rgb, depth, inputs.ir, present, inputs.black)
        losses = fresh.loss(batch_of(mixed))
        buffers.append((float(losses["total"].detach()), fresh.encoders[1].norm0.running_mean.clone()))
    assert buffers[0][0] == buffers[1][0]
    assert torch.equal(buffers[0][1], buffers[1][1])
    method.embed(inputs.select(torch.tensor([0, 1])))  # the statistics are those of the two samples with depth
    assert torch.allclose(method.encoders[1].norm0.running_mean, buffers[0][1], atol=1e-6)


@pytest.mark.parametrize("modalities", ["rgbd", "all"])
def test_losses_are_finite_whatever_is_absent(modalities):
    method = build(modalities=modalities)
    labels = itertools.cycle(((1, 0, 1, 0), (1, 1, 1, 1), (0, 0, 0, 0)))
    for absent in itertools.chain.from_iterable(itertools.combinations(("rgb", "depth", "ir"), k) for k in (0, 1, 2)):
        whole, reduced = inputs_of(), inputs_of().without(*absent)
        some = torch.tensor([True, False, False, False])
        for present in (reduced.present, torch.where(some[:, None], whole.present, reduced.present)):
            inputs = Inputs.of(whole.images(), present, whole.black)
            method.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                assert [x.dtype for x in method.logits(inputs)] == [torch.float32] * 2
                losses = method.loss(batch_of(inputs, next(labels)))
            losses["total"].backward()
            assert losses["total"].dtype == torch.float32
            assert all(torch.isfinite(value.detach()) for value in losses.values())
            assert all(p.grad is None or torch.isfinite(p.grad).all() for p in method.parameters())
            assert all(torch.isfinite(buffer).all() for buffer in method.buffers())


def test_a_mean_of_nothing_is_0():
    nobody = torch.tensor([False, False])
    assert mean_where(torch.tensor([3.0, float("nan")]), nobody).item() == 0
    assert mean_where(torch.tensor([3.0, 5.0]), torch.tensor([True, False])).item() == 3
