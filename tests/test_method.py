"""The interface of a method: its score of two logits, and what its hooks do unless they are overridden."""

import pytest
import torch
from torch import nn

from fasbench.method import Method, ModelConfig, live_probability


def logits(gaps):
    """(B, 2) float32 with z_live - z_spoof = gap."""
    return torch.stack([torch.zeros(len(gaps)), torch.tensor(gaps, dtype=torch.float32)], dim=1)


def test_the_score_is_the_softmax_probability_of_live():
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) * 3
    torch.testing.assert_close(live_probability(z), z.double().softmax(dim=1)[:, 1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_score_is_float64_whatever_the_logits_are(dtype):
    result = live_probability(torch.tensor([[1.0, 2.0], [0.0, 0.0]], dtype=dtype))
    assert result.dtype == torch.float64 and result.shape == (2,)
    assert result[1] == 0.5


@pytest.mark.parametrize("sign", [1, -1])
def test_scores_still_rank_where_a_float32_softmax_is_saturated(sign):
    gaps = [sign * (17 + k / 4) for k in range(53)]  # 17 to 30
    scores = live_probability(logits(gaps))
    assert scores.unique().numel() == 53
    assert bool((scores.diff() * sign > 0).all())
    assert scores.min() > 0 and scores.max() < 1
    if sign == 1:
        assert logits(gaps).softmax(dim=1)[:, 1].unique().tolist() == [1.0]  # what is avoided


def test_large_logits_do_not_overflow():
    scores = live_probability(torch.tensor([[1e30, -1e30], [-1e30, 1e30], [1e30, 1e30]]))
    assert scores.tolist() == [0, 1, 0.5]


class Plain(Method):
    def __init__(self):
        super().__init__(ModelConfig(), ("a", "b"))
        self.trained = nn.Linear(2, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)

    def loss(self, batch):
        return {"total": self.trained.weight.sum() * batch, "other": self.trained.bias.sum()}


def test_the_default_backward_minimises_the_total_alone():
    class Recorder:
        def backward(self, loss):
            loss.backward()

    method = Plain()
    method.backward(method(2.0), Recorder())  # calling the module gives its losses
    assert method.trained.weight.grad.tolist() == [[2, 2], [2, 2]]
    assert method.trained.bias.grad is None


def test_the_default_parameters_are_those_that_are_not_frozen():
    method = Plain()
    (group,) = method.parameter_groups()
    assert [id(p) for p in group["params"]] == [id(method.trained.weight), id(method.trained.bias)]
    assert set(group) == {"params"}


def test_a_method_keeps_its_sources_and_skips_no_protocol():
    method = Plain()
    assert method.sources == ("a", "b") and method.config == ModelConfig()
    assert method.skip(None) is None
    assert method.on_epoch_start(0, iter([])) is None and method.on_step_end(0) is None
    assert method.custom_backward is False and method.fidelities == ("intended",)


@pytest.mark.parametrize("name", ["loss", "score"])
def test_what_a_method_must_define_says_so(name):
    with pytest.raises(NotImplementedError, match=rf"Method does not define {name}\("):
        getattr(Method(ModelConfig(), ()), name)(None)
