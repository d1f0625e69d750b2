"""The three CLIPs: what is trained, embeddings against open_clip's own, missing modalities, sentences, rates."""

import copy
import math

import open_clip
import pytest
import torch
from fasbench.baselines.clip import method as clip_module
from fasbench.baselines.clip.method import CLIP, LIVE_SENTENCES, SPOOF_SENTENCES, CLIPProbe, CLIPText
from torch.nn import functional as F

from fasbench import contract
from fasbench.config import resolve
from fasbench.data.sample import Batch, Inputs
from fasbench.registry import methods
from fasbench.training import make_optimizer

KINDS = {"clip": CLIP, "clip-lp": CLIPProbe, "clip-text": CLIPText}
TINY = {"clip": "fasbench-tiny", "pretrained": None, "image_size": 64}
SETS = [[0, 1, 2], [0, 1], [0, 2], [1, 2], [0], [1], [2]]


def build(name, **settings):
    torch.manual_seed(0)
    return KINDS[name](KINDS[name].Config(**{**TINY, **settings}), ("a", "b")).eval()


def full_size(name, monkeypatch):
    """The method of the preset `paper` on the meta device: shapes without weights."""

    def build_clip(name, pretrained, image_size):
        return open_clip.create_model(name, force_image_size=image_size, device="meta").requires_grad_(False)

    monkeypatch.setattr(clip_module, "build_clip", build_clip)
    return KINDS[name](resolve(KINDS[name].Config, methods()[name].config(), "paper", {}, [], name).model, ("a", "b"))


def untouched(seed=0):
    """open_clip's own model with the weights that `build` draws."""
    torch.manual_seed(seed)
    return open_clip.create_model("fasbench-tiny", force_image_size=64).eval()


def inputs_of(count=4):
    generator = torch.Generator().manual_seed(1)
    images = [torch.randn(count, 3, 64, 64, generator=generator) for _ in range(3)]
    return Inputs.of(images, torch.ones(count, 3, dtype=torch.bool), torch.zeros(3, 3))


def with_present(inputs, present):
    return Inputs.of(inputs.images(), torch.tensor(present, dtype=torch.bool), inputs.black)


def mixed_of(inputs):
    return with_present(inputs, [[m in held for m in range(3)] for held in SETS[: len(inputs)]])


def batch_of(inputs, label=None):
    label = torch.arange(len(inputs)) % 2 if label is None else torch.tensor(label)
    return Batch(inputs, label, torch.zeros_like(label), ("live",) * len(label))


def count(parameters):
    return sum(p.numel() for p in parameters)


# --- what is trained --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "trained", "total"),
    [
        ("clip", 86_195_714, 86_195_714),
        ("clip-lp", 3_074, 86_195_714),
        ("clip-text", 86_192_640, 86_192_640),  # the text encoder is used once and not kept
    ],
)
def test_parameter_counts(name, trained, total, monkeypatch):
    monkeypatch.setattr(open_clip, "tokenize", lambda texts: torch.zeros(len(texts), 77, dtype=torch.long))
    with torch.device("meta"):
        method = full_size(name, monkeypatch)
    assert count(p for p in method.parameters() if p.requires_grad) == trained
    assert count(method.parameters()) == total
    assert count(method.visual.parameters()) == 86_192_640
    assert 3_074 == 3 * 512 * 2 + 2


def test_the_probe_leaves_clip_as_it_is():
    method = build("clip-lp")
    method.loss(batch_of(inputs_of()))["total"].backward()
    assert all(p.grad is None for p in method.visual.parameters())
    assert all(p.grad.any() for p in method.head.parameters())
    trained = build("clip")
    trained.loss(batch_of(inputs_of()))["total"].backward()
    assert all(p.grad is not None and p.grad.any() for p in trained.visual.parameters())


@pytest.mark.parametrize(("name", "rates"), [("clip", [5e-6, 1e-4]), ("clip-lp", [1e-3]), ("clip-text", [5e-6])])
def test_learning_rates_of_encoder_and_head(name, rates):
    method = build(name)
    optim = resolve(KINDS[name].Config, methods()[name].config(), "paper", {}, [], name).optim
    groups = [dict(group) for group in method.parameter_groups()]
    assert [optim.lr * group.get("lr_scale", 1) for group in groups] == pytest.approx(rates)
    assert optim.weight_decay == 5e-5
    reached = [p for group in make_optimizer(groups, optim).param_groups for p in group["params"]]
    assert {id(p) for p in reached} == {id(p) for p in method.parameters() if p.requires_grad}
    if name != "clip-text":
        assert {id(p) for p in groups[-1]["params"]} == {id(p) for p in method.head.parameters()}


# --- embeddings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_embeddings_are_open_clips(name):
    method, plain, inputs = build(name), untouched(), inputs_of()
    found = method.embed(inputs)
    for m, image in enumerate(inputs.images()):
        expected = plain.encode_image(image)
        assert torch.allclose(found[:, m], expected / expected.norm(dim=-1, keepdim=True), atol=1e-4)


def test_norms_of_embeddings():
    method, inputs = build("clip"), inputs_of(len(SETS))
    assert torch.allclose(method.embed(inputs).norm(dim=-1), torch.ones(len(SETS), 3), atol=1e-5)
    norms = method.embed(mixed_of(inputs)).flatten(1).norm(dim=-1)
    expected = torch.tensor([3, 2, 2, 2, 1, 1, 1]).sqrt()
    assert torch.allclose(norms, expected, atol=1e-5)


def test_one_encoder_for_all_modalities():
    inputs = inputs_of()
    same = Inputs(inputs.rgb, inputs.rgb, inputs.rgb, inputs.present, inputs.black)
    v = build("clip").embed(same)
    assert torch.allclose(v[:, 0], v[:, 1], atol=1e-6)
    assert torch.allclose(v[:, 0], v[:, 2], atol=1e-6)


# --- missing modalities -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_pixels_of_an_absent_modality_do_not_count(name):
    method, reduced = build(name), inputs_of().without("depth")
    noise = Inputs(reduced.rgb, torch.randn_like(reduced.rgb), reduced.ir, reduced.present, reduced.black)
    assert torch.equal(method.score(reduced), method.score(noise))
    assert not method.embed(noise)[:, 1].any()


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_of_mixed_samples_scores_as_each_alone(name):
    method, mixed = build(name), mixed_of(inputs_of(len(SETS)))
    alone = torch.cat([method.score(mixed.select(torch.tensor([row]))) for row in range(len(SETS))])
    assert torch.allclose(method.score(mixed), alone, atol=1e-6)


@pytest.mark.parametrize("name", ["clip", "clip-lp"])
def test_the_head_reads_zeros_where_a_modality_is_absent(name):
    method, plain, inputs = build(name), untouched(), inputs_of()
    rgb, ir = (F.normalize(plain.encode_image(image), dim=-1) for image in (inputs.rgb, inputs.ir))
    z = torch.cat([rgb, torch.zeros_like(rgb), ir], dim=1) @ method.head.weight.T + method.head.bias
    expected = torch.softmax(z.double(), dim=1)[:, 1]
    assert torch.allclose(method.score(inputs.without("depth")), expected, atol=1e-6)


# --- sentences --------------------------------------------------------------------------------------------------------


def test_scores_of_sentences():
    method, plain, inputs = build("clip-text"), untouched(), inputs_of()
    classes = []
    for sentences in (SPOOF_SENTENCES, LIVE_SENTENCES):
        assert len(set(sentences)) == 6
        one_by_one = [plain.encode_text(open_clip.get_tokenizer("fasbench-tiny")([text]))[0] for text in sentences]
        mean = sum(one_by_one) / 6
        classes.append(mean / mean.norm())
    assert torch.allclose(method.text, torch.stack(classes), atol=1e-5)
    for held in SETS:
        cosines = torch.stack(
            [
                torch.stack([torch.cosine_similarity(plain.encode_image(inputs.images()[m]), t) for t in classes], 1)
                for m in held
            ]
        )  # (A, B, 2)
        s = float(method.scale) * cosines.mean(0).double()
        expected = 1 / (1 + torch.exp(s[:, 0] - s[:, 1]))
        found = method.score(with_present(inputs, [[m in held for m in range(3)]] * 4))
        assert torch.allclose(found, expected, atol=1e-5)


def test_with_the_same_text_for_both_classes_nothing_can_be_told():
    method = build("clip-text")
    method.text[1] = method.text[0]
    assert torch.allclose(method.score(inputs_of()), torch.full((4,), 0.5, dtype=torch.float64), atol=1e-6)


def test_text_and_scale_are_frozen_but_saved():
    method = build("clip-text")
    before = copy.deepcopy(method.state_dict())
    assert {name for name, _ in method.named_parameters()} == {
        f"visual.{n}" for n, _ in method.visual.named_parameters()
    }
    assert {"text", "scale"} <= set(before)
    assert float(method.scale) == pytest.approx(1 / 0.07, rel=1e-4)  # open_clip's start; OpenAI's weights hold 100
    subject = contract._Subject(methods()["clip-text"])
    trained, _ = subject.train(2)
    fresh = subject.build()
    assert torch.equal(trained.text, fresh.text)
    assert torch.equal(trained.scale, fresh.scale)


# --- losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_the_loss_is_one_cross_entropy(name):
    method, inputs = build(name), inputs_of()
    p = method.score(inputs).tolist()
    expected = -sum(math.log(p[row] if row % 2 else 1 - p[row]) for row in range(4)) / 4
    losses = method.loss(batch_of(inputs))
    assert set(losses) == {"total"}
    assert float(losses["total"].detach()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_losses_and_gradients_are_finite_whatever_is_absent(name, precision):
    method, inputs = build(name).train(), inputs_of()
    for reduced, label in ((mixed_of(inputs), None), (inputs.without("rgb", "ir"), [0, 0, 0, 0])):
        method.zero_grad()
        with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            total = method.loss(batch_of(reduced, label))["total"]
            assert method.embed(reduced).dtype == torch.float32
        total.backward()
        assert torch.isfinite(total.detach())
        assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def test_scores_do_not_saturate():
    method = build("clip")
    with torch.no_grad():
        method.head.weight.mul_(0)
        method.head.bias.copy_(torch.tensor([0.0, 25.0]))
    score = float(method.score(inputs_of())[0].detach())
    assert score == pytest.approx(1 - math.exp(-25), abs=1e-15)
    assert score < 1
