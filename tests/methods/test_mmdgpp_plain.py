"""MMDG++ against the plain transcription of its definition in benchmarks/: written apart, computed the long way."""

import importlib.util
import math
from pathlib import Path

import open_clip
import pytest
import torch
from fasbench.baselines.mmdgpp.convert import released_name, to_release
from mmdgpp_samples import SOURCES, awake, batch_of, build, inputs_of
from torch.nn import functional as F

from fasbench.device import make_accelerator
from fasbench.layers.clip import build_clip

PLAIN = Path(__file__).parents[2] / "benchmarks" / "mmdgpp_plain.py"


@pytest.fixture
def pair():
    """Ours and the plain model with the same weights, in the closed form."""
    spec = importlib.util.spec_from_file_location("mmdgpp_plain", PLAIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ours = awake(build()).eval()
    with torch.no_grad():
        ours.clip.logit_scale.fill_(math.log(100))
    plain = module.PlainMMDGpp(
        build_clip("fasbench-tiny", None, 64), open_clip.get_tokenizer("fasbench-tiny"), len(SOURCES)
    )
    plain.load_state_dict(to_release(ours.state_dict()), strict=True)
    plain.epsilon = 1e-30
    return ours, plain.eval()


def test_logits_alignment_and_reliability(pair):
    ours, plain = pair
    inputs = inputs_of(8)
    with torch.no_grad():
        features, kappa = plain.features(*inputs.images())
        encoded = ours.encode(inputs)
        for found, expected in zip(encoded.features, features, strict=True):
            assert torch.allclose(found, F.normalize(expected, dim=-1), atol=1e-5)
        assert torch.allclose(ours.logits(encoded, inputs.present), plain.logits(features), atol=1e-5)
        assert [encoded.reliability[m].item() for m in range(3)] == pytest.approx(kappa.tolist(), rel=1e-5)
        batch = batch_of(inputs)
        total, parts, _ = plain.losses(inputs.images(), batch.label, ours.text_class[batch.label, batch.domain])
        losses = ours.loss(batch)
    found = [losses[name].item() for name in ("classification", "alignment_rgb", "alignment_depth", "alignment_ir")]
    assert found == pytest.approx([total.item(), *(part.item() for part in parts)], rel=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_of_two_steps(pair, seed):
    ours, plain = pair
    accelerator = make_accelerator("cpu", "fp32")
    optimizers = [torch.optim.SGD([p for p in m.parameters() if p.requires_grad], lr=0.05) for m in pair]
    for number in range(2):
        plain.load_state_dict(to_release(ours.state_dict()))  # else a step would magnify rounding
        batch = batch_of(inputs_of(8, seed=10 * seed + number))
        ours.zero_grad()
        ours.backward(ours.loss(batch), accelerator)
        optimizers[0].step()
        target = ours.text_class[batch.label, batch.domain]
        plain.train_step(optimizers[1], batch.inputs.images(), batch.label, target)
        assert ours.momentum.tolist() == pytest.approx(plain.momentum, rel=1e-4)
        expected = {name: p.grad for name, p in plain.named_parameters()}
        for name, p in ours.named_parameters():
            reference = expected[released_name(name)]
            assert (p.grad is None) == (reference is None), name
            if reference is not None:
                scale = reference.abs().max()
                assert torch.allclose(p.grad, reference, rtol=1e-3, atol=1e-3 * scale), name
