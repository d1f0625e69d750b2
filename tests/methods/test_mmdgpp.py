"""MMDG++ as a whole: counts, initialisation, inference, fidelity and ablations."""

import pytest
import torch
from fasbench.baselines.mmdgpp.adapter import UAdapterPlusPlus
from mmdgpp_samples import FULL, SOURCES, awake, batch_of, build, inputs_of, owned, step, without_memory
from torch.nn import functional as F

from fasbench.data.sample import Inputs
from fasbench.layers.regrad import RELEASED_EPSILON


@pytest.mark.parametrize(
    ("sources", "settings", "trainable"),
    [
        (SOURCES, {}, 2_406_914),  # 4 text classes
        (SOURCES[:2], {}, 2_399_234),  # 3
        (("cefa", "padisi", "surf"), {"fidelity": "released"}, 2_414_594),  # 5
    ],
)
def test_parameter_counts(sources, settings, trainable):
    method = without_memory(sources, **FULL, **settings)
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == trainable
    frozen = sum(p.numel() for p in method.parameters() if not p.requires_grad)
    assert frozen == 149_620_737
    if settings:
        assert trainable + frozen == 152_035_331  # with an RGB class token of its own: 768 more than the release


def test_parameter_count_of_an_adapter():
    assert sum(p.numel() for p in UAdapterPlusPlus(768).parameters()) == 20_480


def test_at_the_start_a_feature_is_clips_own():
    method = build(**FULL).eval()
    inputs = inputs_of(1, size=224)
    with torch.no_grad():
        plain = [F.normalize(method.clip.encode_image(image), dim=-1) for image in inputs.images()]
        for present in ((1, 1, 1), (1, 0, 1), (0, 0, 1)):
            kept = torch.tensor([present], dtype=torch.bool)
            encoded = method.encode(Inputs.of(inputs.images(), kept, inputs.black))
            assert encoded.active == [m for m in range(3) if present[m]]
            for m, feature in zip(encoded.active, encoded.features, strict=True):
                assert torch.allclose(feature, plain[m], atol=1e-4)


@pytest.mark.parametrize("fidelity", ["intended", "released"])
def test_scores_are_repeatable_and_independent_of_the_batch(fidelity, monkeypatch):
    method = awake(build(fidelity=fidelity)).eval()
    monkeypatch.setattr(method.text, "forward", None)  # the text encoder is not called
    inputs = inputs_of(16)
    with torch.no_grad():
        scores = method.score(inputs)
        assert torch.equal(method.score(inputs), scores)
        alone = torch.cat([method.score(inputs.select(torch.tensor([row]))) for row in range(16)])
    assert torch.allclose(alone, scores, atol=1e-5)
    assert float(scores.std()) > 1e-4


def test_the_score_is_softmax_of_live():
    method = awake(build()).eval()
    inputs = inputs_of()
    with torch.no_grad():
        logits = method.logits(method.encode(inputs), inputs.present)
        assert torch.allclose(method.score(inputs).float(), logits.softmax(1)[:, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "different"),
    [
        ({"fidelity": "released"}, {"momentum"}),  # and a fifth text class
        ({"sources": SOURCES[:2]}, set()),
        ({"prompts": "symmetric"}, set()),
        ({"prompts": "fixed"}, set()),
        ({"prompt_std": 0.02}, set()),
        ({"samples": None, "rate": 0.0, "selection": "auxiliary", "theta": 1.0, "regrad": "off"}, set()),
    ],
)
def test_one_seed_gives_the_same_initial_weights_but_for_the_prompts(settings, different):
    plain, other = build().state_dict(), build(**settings).state_dict()
    assert plain.keys() == other.keys()
    prompts = {f"streams.{m}.prompts" for m in range(3)}
    unequal = {n for n in plain if plain[n].shape != other[n].shape or not torch.equal(plain[n], other[n])}
    assert unequal - prompts == different
    assert (prompts <= unequal) == (settings.get("samples", 0) is not None)


def test_nobody_is_fast_before_the_first_loss():
    assert build().momentum.tolist() == [float("inf")] * 3
    assert build(fidelity="released").momentum.tolist() == [0] * 3


def same_weights(**settings):
    """Intended and released with equal tensors; prompts of the fifth class only in the released one."""
    intended, released = awake(build(**settings)), awake(build(fidelity="released", **settings))
    state = intended.state_dict()
    for m in range(3):
        state[f"streams.{m}.prompts"] = torch.cat([state[f"streams.{m}.prompts"], torch.zeros(1, 5, 64)])
    state.pop("momentum")
    released.load_state_dict(state, strict=False)
    return intended, released


def test_without_samples_intended_and_released_give_the_same_scores():
    """In the closed form, what is left at evaluation is B6 and B7, and those are ReGrad's."""
    intended, released = (method.eval() for method in same_weights(samples=None))
    assert torch.equal(intended.score(inputs_of()), released.score(inputs_of()))


def test_the_released_reliability_is_the_last_blocks_chosen_certainty():
    """B6, B7"""
    intended, released = (method.eval() for method in same_weights(samples=None))
    notes = []

    def note(module, given, output):
        own, auxiliaries, *_ = given
        z_o = module.norm_own(F.silu(1.702 * module.down_own(own)) / 1.702)[:, :1]
        c_own = torch.exp(-module.rate * module.candidate_own(z_o)[1].exp().mean(-1))[:, 0]
        pairs = []
        for aux in auxiliaries:
            z_a = module.norm_auxiliary(F.silu(1.702 * module.down_auxiliary(aux[:, :1])) / 1.702)
            pairs.append(torch.exp(-module.rate * module.candidate_auxiliary(z_a)[1].exp().mean(-1))[:, 0])
        chosen = torch.stack([torch.maximum(c, c_own) for c in pairs]).mean(0)
        notes.append((c_own.mean(), chosen.mean()))

    handles = [a.register_forward_hook(note) for method in (intended, released) for a in method.streams[0].adapters]
    batch = batch_of(inputs_of())
    kappa = float(intended.loss(batch)["reliability_rgb"])
    assert kappa == pytest.approx(torch.stack([own for own, _ in notes]).mean().item(), rel=1e-4)
    notes.clear()
    kappa = float(released.loss(batch)["reliability_rgb"])
    assert kappa == pytest.approx(notes[-1][1].item(), rel=1e-4)
    assert len(handles) == 4


def test_only_the_released_epsilon_is_absolute():
    """B21"""
    assert build().epsilon == 0
    assert build(fidelity="released").epsilon == RELEASED_EPSILON


def test_released_evaluation_samples():
    """B10: with the same draws each time, the score differs from the closed form (which is the same, see above)."""
    intended, released = (method.eval() for method in same_weights())
    assert not torch.equal(intended.score(inputs_of()), released.score(inputs_of()))


@pytest.mark.parametrize(
    "settings",
    [
        {"adapter": False},
        {"rate": 0.0},
        {"selection": "auxiliary"},
        {"samples": 8},
        {"samples": None},
        *({"regrad": rule} for rule in ("off", "1", "2", "3", "pairwise")),
        {"prompts": "symmetric"},
        {"prompts": "fixed"},
        {"modulated": "tokens"},
        {"theta": 1.0},
    ],
)
def test_an_ablation_trains_and_changes_something(settings):
    plain, ablated = awake(build()), awake(build(**settings))
    shapes = {name: value.shape for name, value in ablated.state_dict().items()}
    fitting = {name: value for name, value in plain.state_dict().items() if shapes.get(name) == value.shape}
    ablated.load_state_dict(fitting, strict=False)
    results = []
    for method in (plain, ablated):
        torch.manual_seed(0)
        method.momentum.copy_(torch.tensor([3.0, 1.0, 2.0]))
        optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-2)
        for _ in range(2):
            step(method, batch_of(inputs_of()), optimizer)
        with torch.no_grad():
            results.append(method.eval().score(inputs_of()))
    assert bool(torch.isfinite(results[1]).all())
    assert not torch.equal(*results)


def test_beta_and_the_spread_of_prompts():
    method = build(beta=0.9, prompt_std=0.02)
    method._average({0: 1.0})
    method._average({0: 2.0})
    assert float(method.momentum[0]) == pytest.approx(1.1)
    assert method.streams[0].prompts.std().item() == pytest.approx(0.02, rel=0.1)
    assert build().streams[0].prompts.std().item() == pytest.approx(1, rel=0.1)


def test_without_uncertainty_every_certainty_is_one():
    method = awake(build(rate=0.0))
    losses = method.loss(batch_of(inputs_of()))
    assert [float(losses[f"reliability_{name}"]) for name in ("rgb", "depth", "ir")] == [1, 1, 1]


def test_without_uncertainty_rgb_still_asks_the_others_at_evaluation():
    """All certainties are equal then, and a tie would go to the own candidate."""
    method = awake(build(rate=0.0)).eval()
    inputs = inputs_of()
    changed = Inputs(inputs.rgb, inputs.depth.flip(0), inputs.ir, inputs.present, inputs.black)
    with torch.no_grad():
        before, after = method.encode(inputs).features, method.encode(changed).features
    assert float((before[0] - after[0]).abs().max()) > 1e-4


@pytest.mark.parametrize("fidelity", ["intended", "released"])
def test_cosines_and_losses_are_fp32_under_autocast(fidelity):
    method = awake(build(fidelity=fidelity)).eval()
    batch = batch_of(inputs_of())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        encoded = method.encode(batch.inputs)
        losses = method.loss(batch)
        score = method.score(batch.inputs)
    assert encoded.features.dtype == losses.text.dtype == torch.float32
    assert torch.allclose(encoded.features.norm(dim=-1), torch.ones(3, 6), atol=1e-6)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert score.dtype in (torch.float32, torch.float64)
    target = method.text_class[batch.label, batch.domain]
    for m, name in enumerate(("rgb", "depth", "ir")):
        cosines = encoded.features[m] @ F.normalize(losses.text[m], dim=-1).T
        expected = F.cross_entropy(method.clip.logit_scale.exp() * cosines, target)
        assert losses[f"alignment_{name}"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_without_adapters_there_are_none_and_reliability_is_one():
    method = build(adapter=False)
    assert owned(method, "adapters") == set()
    assert float(method.loss(batch_of(inputs_of()))["reliability_ir"]) == 1


def test_always_the_auxiliary_leaves_the_own_candidate_untrained():
    method = awake(build(selection="auxiliary"))
    step(method, batch_of(inputs_of()))
    assert all(p.grad is None for a in method.streams[0].adapters for p in a.candidate_own.parameters())
