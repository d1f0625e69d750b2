"""MC-PixBiS: parameters, stacked channels, pixel-wise and binary loss by hand, scores and missing modalities."""

import itertools
import math

import pytest
import torch
from fasbench.baselines.mc_pixbis.method import MCPixBiS
from pydantic import ValidationError

from fasbench.config import AugmentConfig, resolve
from fasbench.data.sample import Batch, Inputs
from fasbench.registry import find_method

SMALL = {"image_size": 64, "pretrained": False, "growth": 4, "blocks": (1, 2)}


def build(**settings):
    torch.manual_seed(0)
    return MCPixBiS(MCPixBiS.Config(**{**SMALL, **settings}), ("a", "b"))


def inputs_of(count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randint(2, 256, (count, 3, 64, 64), generator=generator) / 255 for _ in range(3)]
    images[1:] = [image[:, :1].expand(-1, 3, -1, -1) for image in images[1:]]
    return Inputs.of(images, torch.ones(count, 3, dtype=torch.bool), torch.zeros(3, 3))


def batch_of(inputs, label=(1, 0, 1, 0)):
    label = torch.tensor(label)
    return Batch(inputs, label, torch.zeros_like(label), ("live",) * len(inputs))


def test_the_paper_preset_has_the_published_settings():
    config = resolve(MCPixBiS.Config, find_method("mc-pixbis").config(), "paper", {}, [], "mc-pixbis")
    model, optim, train, augment = config.model, config.optim, config.train, config.augment
    assert (optim.name, optim.lr, optim.weight_decay) == ("adam", 1e-4, 1e-6)
    assert (optim.schedule, train.epochs, train.batch_size, train.steps_per_epoch) == ("constant", 25, 32, None)
    assert augment == AugmentConfig(flip=0.5, shift=0, gamma=(1, 1))
    assert (model.weight, model.scored, model.pretrained, model.image_size) == (0.5, "pixel", True, 224)


@pytest.mark.parametrize(("channels", "count"), [(3, 3_198_726), (4, 3_203_430), (5, 3_208_134)])
def test_parameter_counts_at_full_size(channels, count, monkeypatch):
    assert MCPixBiS.channels == 5
    monkeypatch.setattr(MCPixBiS, "channels", channels)
    with torch.device("meta"):
        method = MCPixBiS(MCPixBiS.Config(pretrained=False), ("a",))
        assert method.pixel(method.encoder(torch.zeros(2, channels, 224, 224))).shape == (2, 1, 14, 14)
    assert sum(p.numel() for p in method.parameters()) == count


def test_the_map_has_a_pixel_for_every_16():
    z, output = build().logits(inputs_of())
    assert z.shape == (4, 4, 4) and output.shape == (4,)
    with pytest.raises(ValidationError, match="multiple of 16"):
        build(image_size=72)


def test_every_channel_starts_from_the_same_kernel():
    kernel = build().encoder.conv0.weight
    assert kernel.shape[1] == 5
    assert all(torch.equal(kernel[:, c], kernel[:, 0]) for c in range(5))


def test_channels_are_rgb_depth_infrared():
    inputs = inputs_of()
    stacked = build().stack(inputs)
    assert stacked.shape == (4, 5, 64, 64)
    assert torch.equal(stacked[:, :3], inputs.rgb)
    for channel, image in ((3, inputs.depth), (4, inputs.ir)):  # the median in the middle, three deviations the limits
        grey = 255 * image[0, 0].double()
        median = grey.quantile(0.5)
        spread = (grey - median).abs().quantile(0.5)
        expected = ((grey - median + 3 * spread) / (6 * spread)).clamp(0, 1)
        assert torch.allclose(stacked[0, channel].double(), expected, atol=1e-4)


def test_the_loss_by_hand(monkeypatch):
    method = build(weight=0.25)
    z = torch.zeros(4, 4, 4)  # m = 1/2 everywhere: log 2 whatever the label
    z[0, 0, 0] = math.log(3)  # m = 3/4 in one of 64 pixels, of a live sample
    output = torch.tensor([math.log(3), math.log(3), 0.0, 0.0])
    monkeypatch.setattr(method, "logits", lambda inputs: (z, output))
    losses = method.loss(batch_of(inputs_of()))
    pixel = (63 * math.log(2) + math.log(4 / 3)) / 64
    binary = (math.log(4 / 3) + math.log(4) + 2 * math.log(2)) / 4
    assert losses["pixel"].item() == pytest.approx(pixel)
    assert losses["binary"].item() == pytest.approx(binary)
    assert losses["total"].item() == pytest.approx(0.25 * pixel + 0.75 * binary)


def test_the_binary_output_reads_the_map_after_its_sigmoid():
    method = build().eval()
    with torch.no_grad():
        z, output = method.logits(inputs_of())
        expected = (1 / (1 + torch.exp(-z))).flatten(1) @ method.binary.weight[0] + method.binary.bias
    assert torch.allclose(output, expected, atol=1e-6)


def test_scores_are_the_map_the_binary_output_or_their_mean():
    inputs, scores = inputs_of(), {}
    for scored in ("pixel", "binary", "combined"):
        method = build(scored=scored).eval()
        with torch.no_grad():
            scores[scored] = method.score(inputs)
            z, output = method.logits(inputs)
    m, p = 1 / (1 + torch.exp(-z.double())), 1 / (1 + torch.exp(-output.double()))
    assert torch.allclose(scores["pixel"], m.sum((1, 2)) / 16, atol=1e-12)
    assert torch.allclose(scores["binary"], p, atol=1e-12)
    assert torch.allclose(scores["combined"], (m.sum((1, 2)) / 16 + p) / 2, atol=1e-12)
    assert MCPixBiS.Config().scored == "pixel"


def test_sure_scores_still_differ():
    method = build().eval()
    torch.nn.init.zeros_(method.pixel.weight)
    scores = []
    for bias in (20.0, 21.0):
        torch.nn.init.constant_(method.pixel.bias, bias)
        with torch.no_grad():
            scores.append(method.score(inputs_of())[0].item())
    assert scores[0] < scores[1] < 1


def test_an_absent_modality_is_a_channel_of_zeros_after_the_normalisation():
    """Also where zeros of the input are not black, as with ImageNet's mean."""
    inputs = inputs_of()
    for method in (build(), build(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))):
        for name, channels in (("rgb", slice(0, 3)), ("depth", slice(3, 4)), ("ir", slice(4, 5))):
            stacked = method.stack(inputs.without(name))
            assert not stacked[:, channels].any()
            assert [bool(stacked[:, c].any()) for c in range(5)].count(False) == channels.stop - channels.start


@pytest.mark.parametrize("m", range(3))
def test_what_is_absent_is_not_looked_at(m):
    method, whole = build().eval(), inputs_of()
    present = whole.present.clone()
    present[:, m] = False
    unclean = Inputs(*whole.images(), present, whole.black)
    with torch.no_grad():
        assert torch.equal(method.score(unclean), method.score(Inputs.of(whole.images(), present, whole.black)))
        assert not torch.allclose(method.score(unclean), method.score(whole), atol=1e-9)


def test_losses_are_finite_whatever_is_absent():
    method = build()
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
            assert all(torch.isfinite(p.grad).all() for p in method.parameters())
