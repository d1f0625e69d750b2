"""U-Adapter++ of MMDG++: its uncertainty, its choice of a query, and its steps as written."""

import pytest
import torch
from fasbench.baselines.mmdgpp.adapter import Drawn, GaussianQuery
from mmdgpp_samples import adapter_of, build, reaches


def test_certainty_of_unit_variance():
    adapter = adapter_of().eval()
    drawn = adapter._draw(torch.randn(2, 3, 5, 8), torch.zeros(2, 3, 5, 8), candidate=0)
    assert drawn.certainty.unique().tolist() == pytest.approx([0.0821], abs=1e-4)  # exp(-2.5)


def test_certainty_falls_with_the_variance():
    adapter = adapter_of().eval()
    spread = torch.linspace(-8, 2, 50)[:, None].expand(50, 8)
    certainty = adapter._draw(torch.zeros(50, 8), spread, candidate=0).certainty[:, 0]
    assert bool((certainty[1:] < certainty[:-1]).all())
    assert 0 <= float(certainty.min()) < float(certainty.max()) <= 1


def test_draws_have_the_distribution_of_k_explicit_samples():
    """Mean and unbiased variance of K drawn samples, against numbers drawn the long way (two-sample tests)."""
    from scipy.stats import ks_2samp, pearsonr

    k, count = 8, 4000
    torch.manual_seed(0)
    mean, log_variance = torch.full((count, 1), 0.7), torch.full((count, 1), -0.4)
    adapter = adapter_of(samples=k, rate=1.0).train()
    drawn = adapter._draw(mean, log_variance, candidate=0)
    variance = -drawn.certainty.log()
    samples = mean + (log_variance / 2).exp() * torch.randn(count, k)
    assert ks_2samp(drawn.value[:, 0], samples.mean(1)).pvalue > 0.01
    assert ks_2samp(variance[:, 0], samples.var(1)).pvalue > 0.01
    assert abs(pearsonr(drawn.value[:, 0], variance[:, 0]).statistic) < 0.05


def test_uncertainty_carries_no_gradient_but_the_mean_of_samples_does():
    adapter = adapter_of().train()
    mean, log_variance = torch.randn(4, 8, requires_grad=True), torch.randn(4, 8, requires_grad=True)
    drawn = adapter._draw(mean, log_variance, candidate=0)
    assert not drawn.certainty.requires_grad
    drawn.value.sum().backward()
    assert torch.equal(mean.grad, torch.ones(4, 8))
    assert bool(log_variance.grad.all())


def test_an_uncertain_query_gets_the_mean_of_the_values_and_other_rows_are_left_alone():
    adapter = adapter_of().eval()
    z = torch.randn(1, 5, 8)
    asked = torch.randn(2, 1, 5, 8)
    doubted = asked.clone()
    doubted[:, :, 2] = 0  # c = 0
    before, after = adapter._attend(asked, z), adapter._attend(doubted, z)
    expected = adapter.value(z).mean(1)
    assert torch.allclose(after[:, :, 2], expected.expand(2, 1, 8), atol=1e-6)
    others = [0, 1, 3, 4]
    assert torch.equal(before[:, :, others], after[:, :, others])


def test_attention_is_that_of_eight_heads_of_one_dimension():
    adapter = adapter_of().eval()
    z, asked = torch.randn(3, 5, 8), torch.randn(2, 3, 5, 8)
    k, v = adapter.key(z), adapter.value(z)
    logits = torch.einsum("abid,bjd->abdij", asked, k)
    expected = torch.einsum("abdij,bjd->abid", logits.softmax(-1), v)
    assert torch.allclose(adapter._attend(asked, z), expected, atol=1e-5)


def candidates(certainty_auxiliary, certainty_own, count=20_000):
    shape = (2, 1, count, 1)
    auxiliary = Drawn(torch.ones(2, 1, count, 8), torch.full(shape, certainty_auxiliary))
    own = Drawn(torch.zeros(2, 1, count, 8), torch.full(shape, certainty_own))
    return auxiliary, own


@pytest.mark.parametrize(("c_a", "c_o"), [(0.6, 0.2), (0.1, 0.3), (0.5, 0.5)])
def test_in_training_the_auxiliary_is_chosen_in_proportion_to_its_certainty(c_a, c_o):
    torch.manual_seed(0)
    chosen = adapter_of().train()._choose(*candidates(c_a, c_o))
    rate, expected = float(chosen.value.mean()), c_a / (c_a + c_o)
    assert abs(rate - expected) < 3 * (expected * (1 - expected) / 40_000) ** 0.5
    assert torch.equal(chosen.certainty[..., 0] == torch.tensor(c_a), chosen.value[..., 0] == 1) or c_a == c_o


def test_released_training_always_takes_the_auxiliary():
    """B1"""
    chosen = adapter_of(released=True).train()._choose(*candidates(0.1, 0.9))
    assert float(chosen.value.mean()) == 1


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize(("c_a", "c_o", "auxiliary"), [(0.9, 0.1, 1), (0.1, 0.9, 0), (0.5, 0.5, 0)])
def test_at_evaluation_the_more_certain_is_chosen_and_a_tie_goes_to_the_own(released, c_a, c_o, auxiliary):
    chosen = adapter_of(released=released).eval()._choose(*candidates(c_a, c_o, 10))
    assert float(chosen.value.mean()) == auxiliary


@pytest.mark.parametrize(("released", "alive"), [(False, True), (True, False)])
def test_the_own_candidate_learns(released, alive):
    """B1 leaves its weights without a gradient."""
    adapter = adapter_of(released=released).train()
    own = torch.randn(2, 5, 16)
    everyone = torch.ones(2, dtype=torch.bool)
    output, _ = adapter(own, [torch.randn(2, 5, 16), torch.randn(2, 5, 16)], [everyone, everyone], 5)
    output.square().sum().backward()
    assert {reaches(p.grad) for p in adapter.candidate_own.parameters()} == {alive}
    assert {reaches(p.grad) for p in adapter.candidate_auxiliary.parameters()} == {True}
    if released:  # B23: zeros, so that an optimiser with weight decay moves them
        assert all(p.grad is not None for p in adapter.candidate_own.parameters())


def test_an_adapter_computes_the_steps_as_written():
    """Closed form, both auxiliaries, token by token in plain loops."""
    adapter = adapter_of().eval()
    torch.nn.init.normal_(adapter.up.bias)
    torch.manual_seed(1)
    own, a, b = torch.randn(3, 2, 5, 16)
    everyone = torch.ones(2, dtype=torch.bool)
    found, reliability = adapter(own, [a, b], [everyone, everyone], 5)

    def phi(t):
        return t * torch.sigmoid(1.702 * t)

    expected, certainties = torch.zeros_like(own), []
    for aux in (a, b):
        z_o = adapter.norm_own(phi(adapter.down_own(own)))
        z_a = adapter.norm_auxiliary(phi(adapter.down_auxiliary(aux)))
        queries = []
        for candidate, z in ((adapter.candidate_auxiliary, z_a), (adapter.candidate_own, z_o)):
            q = candidate.query(z)
            variance = candidate.log_variance(q).exp().mean(-1)
            queries.append((candidate.mean(q), torch.exp(-2.5 * variance)))
        (mu_a, c_a), (mu_o, c_o) = queries
        certainties.append(c_o[:, 0])
        t = torch.zeros_like(z_o)
        for n in range(2):
            for i in range(5):
                mu, c = (mu_a[n, i], c_a[n, i]) if c_a[n, i] > c_o[n, i] else (mu_o[n, i], c_o[n, i])
                for head in range(8):
                    weights = (c * mu[head] * adapter.key(z_o)[n, :, head]).softmax(0)
                    t[n, i, head] = weights @ adapter.value(z_o)[n, :, head]
        t = adapter.project(t) + z_o
        t = t + adapter.linear(adapter.norm_auxiliary(t))
        patches = adapter.convolution(t[:, 1:].transpose(1, 2).reshape(2, 8, 2, 2)).flatten(2).transpose(1, 2)
        class_token = adapter.convolution(t[:, 0, :, None, None])[:, :, 0, 0]
        expected += adapter.up(phi(torch.cat([class_token[:, None], patches], dim=1)))
    assert torch.allclose(found, expected, atol=1e-4)
    assert torch.allclose(reliability, torch.stack(certainties).mean(0), atol=1e-6)


def test_the_class_token_alone_is_the_first_of_all_tokens():
    adapter = adapter_of().eval()
    own, a, b = torch.randn(3, 2, 5, 16)
    everyone = torch.ones(2, dtype=torch.bool)
    all_tokens, reliability = adapter(own, [a, b], [everyone, everyone], 5)
    one, same = adapter(own, [a[:, :1], b[:, :1]], [everyone, everyone], 1)
    assert torch.allclose(one, all_tokens[:, :1], atol=1e-5)
    assert torch.equal(reliability, same)


def test_the_logarithm_of_the_variance_is_clamped():
    """So that no token, however far from those trained on, gives an infinite or a vanishing variance."""
    torch.manual_seed(0)
    query, z = GaussianQuery(8), torch.randn(100, 8)
    assert torch.equal(query(z)[1], query.log_variance(query.query(z)))
    mean, log_variance = query(1e6 * z)
    assert (log_variance.min().item(), log_variance.max().item()) == (-10, 10)
    assert mean.abs().max().item() > 1e3


# --- draws ------------------------------------------------------------------------------------------------------------


def drawn(adapter, candidate):
    return adapter._draw(torch.zeros(2, 1, 5, 8), torch.zeros(2, 1, 5, 8), candidate)


def test_released_draws_at_evaluation_are_their_own_for_each_candidate_and_auxiliary():
    """B10: the same in every call, but not for what the released code draws apart."""
    adapter = adapter_of(released=True).eval()
    auxiliary, own = drawn(adapter, 0), drawn(adapter, 1)
    for found in (auxiliary, own):
        assert not bool((found.value[0] == found.value[1]).any())  # one auxiliary's call, and the other's
        assert not bool((found.certainty[0] == found.certainty[1]).any())
    assert not bool((auxiliary.value == own.value).any())
    assert not bool((auxiliary.certainty == own.certainty).any())
    for again in (drawn(adapter, 0), drawn(adapter_of(released=True).eval(), 0)):
        assert torch.equal(again.value, auxiliary.value) and torch.equal(again.certainty, auxiliary.certainty)


def test_released_draws_at_evaluation_are_the_same_for_every_sample():
    adapter = adapter_of(released=True).eval()
    many = adapter._draw(torch.zeros(2, 3, 5, 8), torch.zeros(2, 3, 5, 8), 0)
    assert torch.equal(many.value, drawn(adapter, 0).value.expand(2, 3, 5, 8))
    assert torch.equal(many.certainty, drawn(adapter, 0).certainty.expand(2, 3, 5, 1))


def test_released_draws_at_evaluation_differ_between_adapters():
    adapters = [adapter for stream in build(fidelity="released").eval().streams for adapter in stream.adapters]
    values = [drawn(adapter, candidate).value for adapter in adapters for candidate in (0, 1)]
    assert len(values) == 12
    assert not [(i, j) for i in range(12) for j in range(i) if bool((values[i] == values[j]).any())]


def test_in_training_the_own_candidate_is_drawn_anew_for_each_auxiliary():
    adapter, seen = adapter_of().train(), []
    choose = adapter._choose
    adapter._choose = lambda *candidates: seen.append(candidates) or choose(*candidates)
    z = torch.randn(1, 5, 8)
    adapter._query(z, z.expand(2, 1, 5, 8))
    for candidate in seen[0]:
        assert not bool((candidate.value[0] == candidate.value[1]).any())
        assert not bool((candidate.certainty[0] == candidate.certainty[1]).any())


# --- precision --------------------------------------------------------------------------------------------------------


class Given(torch.nn.Module):
    """A down-projection with the same result in any precision."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            return self.inner(x.float())


def test_an_adapter_computes_in_fp32_under_autocast():
    """All between the projections down and up."""
    adapter, seen = adapter_of().eval(), []
    adapter.down_own, adapter.down_auxiliary = Given(adapter.down_own), Given(adapter.down_auxiliary)
    convolve = adapter._convolve
    adapter._convolve = lambda t: seen.append((t, convolve(t))) or seen[-1][1]
    own, a, b = torch.randn(3, 2, 5, 16)
    everyone = torch.ones(2, dtype=torch.bool)
    _, expected = adapter(own, [a, b], [everyone, everyone], 5)
    with torch.autocast("cpu", torch.bfloat16):
        output, reliability = adapter(own, [a, b], [everyone, everyone], 5)
    assert output.dtype == torch.bfloat16
    assert reliability.dtype == torch.float32
    torch.testing.assert_close(reliability, expected, rtol=0, atol=1e-6)
    for plain, under_autocast in zip(*seen, strict=True):
        torch.testing.assert_close(under_autocast, plain, rtol=0, atol=1e-6)  # and of the same type
