"""ReGrad's algebra: golden values of the published rules, and what must hold for any gradients."""

import pytest
import torch

from fasbench.layers.regrad import RELEASED_EPSILON, modulate, project, rebalance

SLOW, FAST = [2.0, 1.0, 3.0], [1.0, 2.0, 3.0]  # momentum that makes modality 0 slow, or fast
ZERO = torch.zeros(2)


def grad(*values):
    return torch.tensor(values, dtype=torch.float32)


@pytest.mark.parametrize(
    ("g_j", "g_k", "momentum", "reliability", "expected"),
    [
        ((1, 1), (-1, 1), SLOW, (0, 0.5, 0.25), (1.5, 0.25)),
        ((1, 1), (-1, 1), FAST, (0.5, 0, 0), (0.5, 2)),
        ((1, 1), (0, 1), FAST, (0.5, 0, 0), (1.1, 2.2)),
        ((-1, 1), (0, 1), FAST, (0.5, 0, 0), (-0.6, 2.2)),
    ],
)
@pytest.mark.parametrize("epsilon", [0.0, RELEASED_EPSILON])
def test_golden_values(g_j, g_k, momentum, reliability, expected, epsilon):
    gradients = {0: grad(1, 0), 1: grad(*g_j), 2: grad(*g_k)}
    found = rebalance(gradients, 0, momentum, reliability, epsilon=epsilon)
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("rule", "momentum", "expected"),
    # By hand, for g_m = (1, 0), g_j = (1, 1), g_k = (-1, 1), all reliabilities 0.5.
    [
        # (1,0) + 0.5 (0,1) + 0.5 (0,1)
        ("1", SLOW, (1, 1)),
        # 0.5 mean((1,0) - 0.5 (1,1), (1,0) + 0.5 (-1,1)) + (0,2) = 0.5 (0.5, 0) + (0, 2)
        ("1", FAST, (0.25, 2)),
        # (1,0) + 0.5 (1,0) + 0
        ("2", SLOW, (1.5, 0)),
        # <(1,0), (0,2)> = 0: nothing is kept of g_m
        ("2", FAST, (0, 2)),
        # (1,0) + 0.5 (1,1) + 0.5 (0,1)
        ("3", SLOW, (1.5, 1)),
        ("3", FAST, (0.5, 2)),
        # j (1) is faster, k (3) slower than m (2): own mean((1,0), 0.5 P(g_m|g_k)) + 0.5 P(g_j|g_m) + g_k, where
        # <g_m, g_k> < 0: P(g_m|g_k) = (1,0) + 0.5 (-1,1) = (0.5, 0.5), and P(g_j|g_m) = (1,0)
        ("pairwise", SLOW, (0.625 + 0.5 - 1, 0.125 + 1)),
        # m is the fastest: 0.5 mean(P(g_m|g_j), P(g_m|g_k)) + g_j + g_k, P(g_m|g_j) = (0.5, 0.5)
        ("pairwise", FAST, (0.25, 0.25 + 2)),
    ],
)
def test_other_rules_by_hand(rule, momentum, expected):
    gradients = {0: grad(1, 0), 1: grad(1, 1), 2: grad(-1, 1)}
    found = rebalance(gradients, 0, momentum, (0.5, 0.5, 0.5), rule=rule)
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_same_direction_is_kept_whole():
    assert torch.allclose(modulate(grad(3, 3), grad(0.5, 0.5)), grad(3, 3))


def test_conflict_leaves_the_orthogonal_part():
    torch.manual_seed(0)
    for _ in range(20):
        a, b = torch.randn(2, 7)
        a = a - 2 * (a @ b).clamp_min(0) / (b @ b) * b  # now in conflict
        assert abs(float(modulate(a, b) @ b)) < 1e-4


def test_orthogonal_is_kept_whole():
    assert torch.equal(modulate(grad(0, 2), grad(1, 0)), grad(0, 2))


def test_slow_without_reliability_keeps_its_own():
    gradients = {0: grad(1, 2), 1: grad(3, 4), 2: grad(5, 6)}
    assert torch.equal(rebalance(gradients, 0, SLOW, (0, 0, 0)), grad(1, 2))


def test_fast_without_reliability_takes_the_others():
    gradients = {0: grad(1, 2), 1: grad(3, 4), 2: grad(5, 6)}
    assert torch.equal(rebalance(gradients, 0, FAST, (0, 0, 0)), grad(8, 10))


@pytest.mark.parametrize("rule", ["4", "3", "2", "1", "pairwise", "off"])
@pytest.mark.parametrize("order", [(1, 2, 0), (2, 0, 1), (0, 2, 1)])
def test_permuting_the_modalities_permutes_the_result(rule, order):
    torch.manual_seed(0)
    gradients, momentum, kappa = torch.randn(3, 9), [0.3, 0.1, 0.2], [0.2, 0.5, 0.9]
    permuted = {new: gradients[old] for new, old in enumerate(order)}
    for new, old in enumerate(order):
        expected = rebalance(dict(enumerate(gradients)), old, momentum, kappa, rule)
        found = rebalance(permuted, new, [momentum[i] for i in order], [kappa[i] for i in order], rule)
        assert torch.allclose(found, expected, atol=1e-6)


def test_a_tie_has_no_fast_modality():
    gradients = {0: grad(1, 0), 1: grad(1, 1), 2: grad(-1, 1)}
    tie = rebalance(gradients, 0, [1.0, 1.0, 3.0], (0.5, 0.5, 0.25))
    assert torch.equal(tie, rebalance(gradients, 0, SLOW, (0.5, 0.5, 0.25)))


def test_alone_it_keeps_its_gradient():
    assert torch.equal(rebalance({1: grad(1, 2)}, 1, FAST, (0, 0, 0)), grad(1, 2))


@pytest.mark.parametrize("momentum", [SLOW, FAST])
def test_off_adds_the_gradients_as_they_are(momentum):
    gradients = {0: grad(1, 2), 1: grad(-3, 4), 2: grad(5, -7)}
    assert rebalance(gradients, 0, momentum, (0, 0.5, 0.25), rule="off").tolist() == [3, -1]
    assert rebalance({0: grad(1, 2), 2: grad(5, -7)}, 2, momentum, (0, 0, 0), rule="off").tolist() == [6, -5]
    assert rebalance({0: grad(1, 2)}, 0, momentum, (0, 0, 0), rule="off").tolist() == [1, 2]


def test_of_two_the_faster_is_damped():
    gradients = {0: grad(1, 0), 2: grad(-1, 1)}  # modality 1 would be the fastest, but is missing
    found = rebalance(gradients, 0, [1.0, 0.0, 3.0], (0.5, 0, 0))
    assert found.tolist() == pytest.approx([0.5 * 0.5 - 1, 0.5 * 0.5 + 1])


def test_without_the_others_gradients_the_fast_one_is_only_scaled():
    """B22: prompts and projections of the fast modality."""
    assert torch.equal(rebalance({0: grad(1, 2), 1: ZERO, 2: ZERO}, 0, FAST, (0.25, 1, 1)), grad(0.25, 0.5))
    assert torch.equal(rebalance({0: grad(1, 2), 1: ZERO, 2: ZERO}, 0, SLOW, (0.25, 1, 1)), grad(1, 2))


def test_tiny_gradients_keep_their_projection_but_not_in_the_release():
    """B21: with an absolute epsilon, 1e-8 over |g|^2 + 1e-8 is lost; at |g| = 2.8e-5 only 7 % remain."""
    a = b = grad(2.8e-5, 0)
    assert torch.allclose(project(a, b)[0], a)
    kept = project(a, b, RELEASED_EPSILON)[0][0] / a[0]
    assert float(kept) == pytest.approx(2.8e-5**2 / (2.8e-5**2 + 1e-8), rel=1e-4)
    assert 0.07 < float(kept) < 0.08


def test_tensors_are_treated_one_by_one():
    torch.manual_seed(0)
    stacked = {j: torch.randn(5, 4) for j in range(3)}
    together = rebalance(stacked, 1, SLOW, (0.3, 0.4, 0.5))
    for row in range(5):
        alone = rebalance({j: g[row] for j, g in stacked.items()}, 1, SLOW, (0.3, 0.4, 0.5))
        assert torch.allclose(together[row], alone)
