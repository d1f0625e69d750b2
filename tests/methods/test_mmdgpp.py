"""MMDG++ as a whole: counts, initialisation, missing modalities, inference, fidelity and ablations."""

import pytest
import torch
from fasbench.baselines.mmdgpp.adapter import UAdapterPlusPlus
from mmdgpp_samples import DEPTH, FULL, SOURCES, adapter_of, awake, batch_of, build, inputs_of, owned, reaches, step
from torch.nn import functional as F

from fasbench.data.sample import Batch, Inputs
from fasbench.layers.regrad import RELEASED_EPSILON


@pytest.fixture(scope="module")
def full():
    return build(**FULL)


@pytest.mark.parametrize(
    ("sources", "settings", "trainable"),
    [
        (SOURCES, {}, 2_406_914),  # 4 text classes
        (SOURCES[:2], {}, 2_399_234),  # 3
        (SOURCES, {"fidelity": "released"}, 2_414_594),  # 5
    ],
)
def test_parameter_counts(sources, settings, trainable):
    method = build(sources, **FULL, **settings)
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == trainable
    frozen = sum(p.numel() for p in method.parameters() if not p.requires_grad)
    assert frozen == 149_620_737
    if settings:
        assert trainable + frozen == 152_035_331  # with an RGB class token of its own: 768 more than the release


def test_parameter_count_of_an_adapter():
    assert sum(p.numel() for p in UAdapterPlusPlus(768).parameters()) == 20_480


@pytest.mark.parametrize("present", [(1, 1, 1), (1, 0, 1), (0, 0, 1)])
def test_at_the_start_a_feature_is_clips_own(full, present):
    full.eval()
    inputs = inputs_of(2, size=224)
    kept = torch.tensor(present, dtype=torch.bool).expand(2, 3)
    encoded = full.encode(Inputs.of(inputs.images(), kept, inputs.black))
    assert encoded.active == [m for m in range(3) if present[m]]
    with torch.no_grad():
        for m, feature in zip(encoded.active, encoded.features, strict=True):
            plain = F.normalize(full.clip.encode_image(inputs.images()[m]), dim=-1)
            assert torch.allclose(feature, plain, atol=1e-4)


@pytest.mark.parametrize("fidelity", ["intended", "released"])
def test_a_missing_modality_is_not_looked_at(fidelity):
    method = awake(build(fidelity=fidelity)).train()
    inputs = inputs_of()
    kept = torch.tensor([True, False, True]).expand(6, 3)
    found = []
    for filler in (0.0, 5.0):
        images = [image.clone() for image in inputs.images()]
        images[DEPTH] = torch.full_like(images[DEPTH], filler)
        torch.manual_seed(0)
        encoded = method.encode(Inputs(*images, kept, inputs.black))  # not `of`, which would write zeros
        found.append((encoded, method.logits(encoded, kept)))
    (first, logits), (second, same) = found
    assert first.active == [0, 2]
    assert torch.equal(first.features, second.features) and torch.equal(logits, same)


def test_a_missing_modality_per_sample():
    """In a mixed batch too, depth of the samples that lack it changes nothing, and the rest get their own gradient."""
    method = awake(build()).eval()
    inputs = inputs_of()
    kept = torch.ones(6, 3, dtype=torch.bool)
    kept[::2, DEPTH] = False
    images = [image.clone() for image in inputs.images()]
    images[DEPTH][::2] = 100.0
    mixed = Inputs(*images, kept, inputs.black)
    assert torch.allclose(method.score(mixed), method.score(Inputs.of(images, kept, inputs.black)), atol=1e-12)
    lacking = method.score(inputs.without("depth"))
    assert torch.allclose(method.score(mixed)[::2], lacking[::2], atol=1e-6)
    assert torch.allclose(method.score(mixed)[1::2], method.score(inputs)[1::2], atol=1e-6)
    assert not torch.allclose(lacking, method.score(inputs), atol=1e-3)


def test_an_absent_auxiliary_is_replaced_by_the_own_tokens():
    adapter = adapter_of().eval()
    own, a, b = torch.randn(3, 2, 5, 16)
    yes, no = torch.tensor([True, True]), torch.tensor([False, False])
    whole, _ = adapter(own, [a, None], [yes, no], 5)
    masked, _ = adapter(own, [a, b], [yes, no], 5)
    assert torch.equal(whole, masked)
    # W_a is not used: with equal candidates, asking oneself as A or O is the same.
    adapter.candidate_auxiliary.load_state_dict(adapter.candidate_own.state_dict())
    before, _ = adapter(own, [None, None], [no, no], 5)
    torch.nn.init.normal_(adapter.down_auxiliary.weight, std=9.0)
    after, _ = adapter(own, [None, None], [no, no], 5)
    assert torch.equal(before, after)


def test_the_head_sees_exact_zeros_for_a_missing_modality():
    method = build().eval()
    seen = []
    method.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    method.score(inputs_of().without("depth"))
    blocks = seen[0].unflatten(1, (3, -1))
    assert not bool(blocks[:, DEPTH].any())
    assert torch.allclose(blocks[:, [0, 2]].norm(dim=-1), torch.ones(6, 2), atol=1e-5)


def test_nothing_of_a_missing_modality_is_trained():
    method = awake(build())
    batch = batch_of(inputs_of().without("depth"))
    losses, _ = step(method, batch)
    assert {name for name in losses if "depth" in name} == set()
    assert all(p.grad is None for p in method.streams[DEPTH].parameters())
    assert all(reaches(p.grad) for p in method.streams[0].parameters() if p.requires_grad and p.shape)


def test_means_are_over_the_samples_that_have_the_modality():
    method = awake(build()).eval()
    inputs = inputs_of()
    kept = torch.ones(6, 3, dtype=torch.bool)
    kept[:4, DEPTH] = False
    some = Inputs.of(inputs.images(), kept, inputs.black)
    rows = torch.tensor([4, 5])
    alone = method.loss(Batch(some.select(rows), rows % 2, rows % 3, ("live",) * 2))
    mixed = method.loss(batch_of(some))
    for name in ("alignment_depth", "certainty_depth"):
        assert mixed[name].item() == pytest.approx(alone[name].item(), rel=1e-4)


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


def test_released_and_intended_start_from_the_same_weights_but_for_the_prompts():
    intended, released = build().state_dict(), build(fidelity="released").state_dict()
    different = {
        n for n in intended if intended[n].shape != released[n].shape or not torch.equal(intended[n], released[n])
    }
    # The fifth class (B15) shifts the draws of what follows the first prompts, so compare shapes beyond it.
    reshaped = {n for n in intended if intended[n].shape != released[n].shape}
    assert reshaped == {f"streams.{m}.prompts" for m in range(3)}
    assert not {n for n in different if n.startswith("clip.")}
    assert intended["momentum"].tolist() == [float("inf")] * 3 and released["momentum"].tolist() == [0] * 3


def same_weights(**settings):
    """Intended and released with equal tensors; prompts of the fifth class only in the released one."""
    intended, released = awake(build(**settings)), awake(build(fidelity="released", **settings))
    state = intended.state_dict()
    for m in range(3):
        state[f"streams.{m}.prompts"] = torch.cat([state[f"streams.{m}.prompts"], torch.zeros(1, 5, 64)])
    state.pop("momentum")
    released.load_state_dict(state, strict=False)
    return intended, released


def test_without_uncertainty_and_selection_both_give_the_same_scores():
    """With K = infinity, what is left at evaluation is B6 and B7, and those are ReGrad's."""
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
    kappa = float(intended.loss(batch)["certainty_rgb"])
    assert kappa == pytest.approx(torch.stack([own for own, _ in notes]).mean().item(), rel=1e-4)
    notes.clear()
    kappa = float(released.loss(batch)["certainty_rgb"])
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
    assert float(method.streams[0].prompts.std()) == pytest.approx(0.02, rel=0.1)
    assert float(build().streams[0].prompts.std()) == pytest.approx(1, rel=0.1)


def test_without_uncertainty_every_certainty_is_one():
    method = awake(build(rate=0.0))
    losses = method.loss(batch_of(inputs_of()))
    assert [float(losses[f"certainty_{name}"]) for name in ("rgb", "depth", "ir")] == [1, 1, 1]


def test_without_adapters_there_are_none_and_reliability_is_one():
    method = build(adapter=False)
    assert owned(method, "adapters") == set()
    assert float(method.loss(batch_of(inputs_of()))["certainty_ir"]) == 1


def test_always_the_auxiliary_leaves_the_own_candidate_untrained():
    method = awake(build(selection="auxiliary"))
    step(method, batch_of(inputs_of()))
    assert all(p.grad is None for a in method.streams[0].adapters for p in a.candidate_own.parameters())
