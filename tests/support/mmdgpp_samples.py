"""Small MMDG++ models and batches that several test files use."""

import functools

import open_clip
import pytest
import torch
from fasbench.baselines.mmdgpp import method as mmdgpp
from fasbench.baselines.mmdgpp.adapter import UAdapterPlusPlus
from fasbench.baselines.mmdgpp.method import MMDGpp

from fasbench.data.sample import Batch, Inputs
from fasbench.device import make_accelerator

SOURCES = ("casia", "padisi", "wmca")
FULL = {"clip": "ViT-B-16-quickgelu", "image_size": 224}
TINY = {"clip": "fasbench-tiny", "pretrained": None, "image_size": 64}
DEPTH = 1
ROOT = "up"  # the zero-initialised layer of an adapter


def build(sources=SOURCES, **settings):
    torch.manual_seed(0)
    return MMDGpp(MMDGpp.Config(**{**TINY, **settings}), sources)


@functools.cache
def without_memory(sources=SOURCES, **settings):
    """The same, its CLIP and what is copied from it on the meta device: names, shapes and counts at full size."""

    def build_clip(name, pretrained, image_size):
        return open_clip.create_model(name, force_image_size=image_size, device="meta").requires_grad_(False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmdgpp, "build_clip", build_clip)
        return build(sources, **settings)


def awake(method):
    """The method with adapters that do something: non-zero up-projections."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for stream in method.streams:
            for adapter in stream.adapters:
                adapter.up.weight.normal_(std=0.2, generator=generator)
                adapter.up.bias.normal_(std=0.2, generator=generator)
    return method


def inputs_of(count=6, seed=0, size=64):
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randn(count, 3, size, size, generator=generator) for _ in range(3)]
    return Inputs.of(images, torch.ones(count, 3, dtype=torch.bool), torch.zeros(3, 3))


def batch_of(inputs):
    rows = torch.arange(len(inputs))
    return Batch(inputs, rows % 2, rows % len(SOURCES), ("live",) * len(inputs))


def step(method, batch, optimizer=None):
    """Losses and gradients of one step, and the gradients of the classification loss alone."""
    method.train()
    random = torch.get_rng_state()
    losses = method.loss(batch)
    method.zero_grad()
    losses["classification"].backward()
    alone = {name: p.grad for name, p in method.named_parameters() if p.requires_grad}
    torch.set_rng_state(random)
    losses = method.loss(batch)
    method.zero_grad()
    method.backward(losses, make_accelerator("cpu", "fp32"))
    if optimizer is not None:
        optimizer.step()
    return losses, alone


def gradients(method):
    return {name: p.grad for name, p in method.named_parameters() if p.requires_grad}


def of_loss(method, batch, name):
    """Gradient of one loss for every trainable tensor, None where it does not reach."""
    named = {n: p for n, p in method.named_parameters() if p.requires_grad}
    return dict(
        zip(named, torch.autograd.grad(method.loss(batch)[name], list(named.values()), allow_unused=True), strict=True)
    )


def reaches(gradient):
    return gradient is not None and bool(gradient.any())


def adapter_of(width=16, **settings):
    torch.manual_seed(0)
    adapter = UAdapterPlusPlus(width, **settings)
    torch.nn.init.normal_(adapter.up.weight)
    return adapter


def owned(method, kind):
    """Names of the tensors of all streams: `tokens` (class tokens, positions, projections, prompts) or `adapters`."""
    names = [name for name, p in method.named_parameters() if name.startswith("streams.") and p.requires_grad]
    return {name for name in names if ("adapters" in name) == (kind == "adapters")}
