"""The contract: the smallest method passes it, and each way to break a clause is found and named."""

import itertools
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from fasbench import contract
from fasbench.contract import check_method
from fasbench.method import Method, live_probability
from fasbench.registry import MethodEntry, find_method

CONFIG, BUILDS, BACKWARD, LOSS, REPEATS, LEARNS, GRADIENTS, SCORE, BATCH, STATE, MISSING = CLAUSES = (
    "config.yaml is valid for the presets `paper` and `tiny`, and the fidelity is one the method knows",
    "it builds, and builds the same weights again from the same seed",
    "custom_backward is True exactly when backward is overridden",
    "loss returns finite scalars with a `total`",
    "the same steps from the same seed give the same weights, also after scoring in between",
    "ten steps on one batch lower its loss",
    "every trainable parameter gets a gradient within three steps",
    "score gives one finite float64 in [0, 1] a sample, twice the same, and needs no gradient",
    "a score does not depend on the other samples of the batch, their number or their order",
    "parameters and buffers are the whole state: loaded into a new instance they give the same scores",
    "absent modalities are handled per sample, or the method skips protocols that take them away, with a reason",
)
SMALL = {"model": {"image_size": 16}, "presets": {"paper": {}, "tiny": {}}}


@pytest.fixture(scope="module")
def records():
    """The rendered faces of the contract; rendering them takes longer than a check."""
    return contract._records()


@pytest.fixture(autouse=True)
def _rendered_once(monkeypatch, records):
    monkeypatch.setattr(contract, "_records", lambda: records)


@dataclass(frozen=True)
class Given(MethodEntry):
    """An entry of a class that is already there."""

    kind: type[Method] = Method
    file: dict[str, Any] = field(default_factory=lambda: SMALL)

    def load(self):
        return self.kind

    def config(self):
        return self.file


def check(kind, file=SMALL):
    """Broken clauses with their problems."""
    entry = Given(
        name="broken", module="", class_name=kind.__name__, config_path=None, origin="file", kind=kind, file=file
    )
    return {clause.clause: clause.problem for clause in check_method(entry) if clause.problem}


@pytest.fixture
def linear(linear_method):
    """The class that the broken methods are made from."""
    return find_method(linear_method).load()


def test_the_smallest_method_keeps_every_clause(linear_method):
    checks = list(check_method(find_method(linear_method)))
    assert tuple(clause.clause for clause in checks) == CLAUSES
    assert [clause.problem for clause in checks] == [""] * len(CLAUSES)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model": {"image_sise": 16}}, "model.image_sise: unknown key. Did you mean 'image_size'?"),
        ({"optim": {"lr": -1}}, "optim.lr: Input should be greater than 0 (found -1)"),
        ({"presets": {"tiny": {}}}, "no preset 'paper'. Presets: tiny"),
        (
            {"presets": {"paper": {}, "tiny": {"train": {"batch": 3}}}},
            "train.batch: unknown key. Did you mean 'batch_size'?",
        ),
        ({"model": {"fidelity": "released"}}, "preset paper: fidelity 'released' is not in ('intended',)"),
    ],
    ids=["unknown-key", "illegal-value", "no-paper", "in-tiny-only", "fidelity"],
)
def test_a_broken_configuration_is_the_only_problem_reported(linear, change, problem):
    broken = check(linear, {**SMALL, **change})
    assert list(broken) == [CONFIG]
    assert problem in broken[CONFIG]


# --- one broken method for each clause --------------------------------------------------------------------------------


def unseeded(linear):
    numbers = itertools.count(1)

    class Unseeded(linear):
        def __init__(self, config, sources):
            super().__init__(config, sources)
            with torch.no_grad():
                self.head.bias.fill_(next(numbers))

    return Unseeded


def undeclared(linear):
    class Undeclared(linear):
        def backward(self, losses, accelerator):
            super().backward(losses, accelerator)

    return Undeclared


def declared_only(linear):
    class DeclaredOnly(linear):
        custom_backward = True

    return DeclaredOnly


def no_total(linear):
    class NoTotal(linear):
        def loss(self, batch):
            return {"ce": super().loss(batch)["total"]}

    return NoTotal


def nan_part(linear):
    class NanPart(linear):
        def loss(self, batch):
            return {**super().loss(batch), "part": torch.tensor(float("nan"))}

    return NanPart


def draws_from_the_system(linear):
    class Draws(linear):
        def loss(self, batch):
            return {"total": super().loss(batch)["total"] * (1 + random.SystemRandom().random() / 100)}

    return Draws


def keeps_state_of_scoring(linear):
    class Counts(linear):
        scored = 0

        def score(self, inputs):
            self.scored += 1
            return super().score(inputs)

        def loss(self, batch):
            return {"total": super().loss(batch)["total"] * (1 + self.scored)}

    return Counts


def nan_total(linear):
    class NanTotal(linear):
        def loss(self, batch):
            return {"total": super().loss(batch)["total"] * float("nan")}

    return NanTotal


def loss_a_sample(linear):
    class LossASample(linear):
        def loss(self, batch):
            return {**super().loss(batch), "part": torch.zeros(len(batch))}

    return LossASample


def climbs(linear):
    class Climbs(linear):
        custom_backward = True

        def backward(self, losses, accelerator):
            accelerator.backward(-losses["total"])

    return Climbs


def dead_parameter(linear):
    class DeadParameter(linear):
        def __init__(self, config, sources):
            super().__init__(config, sources)
            self.unused = nn.Linear(2, 2)

    return DeadParameter


def float32_score(linear):
    class Float32Score(linear):
        def score(self, inputs):
            return self.logits(inputs).softmax(dim=1)[:, 1]

    return Float32Score


def logit_score(linear):
    class LogitScore(linear):
        def score(self, inputs):
            return 5 + self.logits(inputs).double()[:, 1]

    return LogitScore


def draws_in_eval(linear):
    class DrawsInEval(linear):
        def score(self, inputs):
            return live_probability(self.logits(inputs) + 0.1 * torch.rand(len(inputs), 2))

    return DrawsInEval


def normalises_the_batch(linear):
    class NormalisesTheBatch(linear):
        def score(self, inputs):
            logits = self.logits(inputs)
            return live_probability(logits - logits.mean(dim=0))

    return NormalisesTheBatch


def depends_on_place(linear):
    class DependsOnPlace(linear):
        def score(self, inputs):
            return super().score(inputs) * (1 - torch.arange(len(inputs)) / 1000)

    return DependsOnPlace


def state_aside(linear):
    class StateAside(linear):
        steps = 0

        def on_step_end(self, step):
            self.steps += 1

        def score(self, inputs):
            return super().score(inputs) ** (1 + self.steps)

    return StateAside


def any_decides(linear):
    """A modality counts as there when anybody in the batch has it."""

    class AnyDecides(linear):
        def score(self, inputs):
            return live_probability(self.logits(inputs) + inputs.present.any(dim=0).float() @ torch.ones(3, 2).tril())

    return AnyDecides


def all_decide(linear):
    """A modality counts as there when everybody in the batch has it."""

    class AllDecide(linear):
        def score(self, inputs):
            gone = [
                name for name, there in zip(("rgb", "depth", "ir"), inputs.present.all(dim=0), strict=True) if not there
            ]
            return super().score(inputs.without(*gone))

    return AllDecide


def fails_when_absent(linear):
    class FailsWhenAbsent(linear):
        def score(self, inputs):
            if not inputs.present.all():
                raise RuntimeError("this network needs three images")
            return super().score(inputs)

    return FailsWhenAbsent


def nan_when_absent(linear):
    class NanWhenAbsent(linear):
        def score(self, inputs):
            return super().score(inputs) * (inputs.present[:, 1] / inputs.present[:, 1]).double()

    return NanWhenAbsent


def skips_silently(linear):
    class SkipsSilently(linear):
        @classmethod
        def skip(cls, protocol):
            return " "

    return SkipsSilently


@pytest.mark.parametrize(
    ("make", "clause", "problem"),
    [
        (draws_from_the_system, REPEATS, "head.weight, head.bias differ"),
        (keeps_state_of_scoring, REPEATS, "Keep no state of scoring"),
        (undeclared, BACKWARD, "backward is overridden, custom_backward is False"),
        (declared_only, BACKWARD, "backward is not overridden, custom_backward is True"),
        (nan_part, LOSS, "'part' is nan, expected one finite number"),
        (loss_a_sample, LOSS, "'part' is tensor"),
        (climbs, LEARNS, "after 10 steps"),
        (dead_parameter, GRADIENTS, "2 without one, e.g. unused.weight, unused.bias"),
        (state_aside, STATE, "a method and its restored copy: scores differ by"),
        (any_decides, MISSING, "samples without rgb, among complete ones and not: scores differ by"),
        (all_decide, MISSING, "complete samples, among samples without rgb and not: scores differ by"),
        (fails_when_absent, MISSING, "RuntimeError: this network needs three images"),
        (nan_when_absent, MISSING, "NanWhenAbsent.score returned nan"),
        (skips_silently, MISSING, "skip refuses no-rgb without saying why"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_method_that_breaks_one_clause_is_told_that_one(linear, make, clause, problem):
    broken = check(make(linear))
    assert list(broken) == [clause]
    assert problem in broken[clause]


@pytest.mark.parametrize(
    ("make", "clause", "problem"),
    [
        (no_total, LOSS, "no 'total' among ['ce']"),
        (nan_total, LOSS, "'total' is nan, expected one finite number"),
        (nan_total, LEARNS, "the loss is not finite: {'total': nan}"),
        (float32_score, SCORE, "returned torch.float32 (16,), expected float64 (16,). See live_probability"),
        (logit_score, SCORE, "expected values in [0, 1]"),
        (draws_in_eval, SCORE, "draw nothing in eval mode"),
        (normalises_the_batch, BATCH, "batches of 16 and of 1: scores differ by"),
        (depends_on_place, BATCH, "batches of 16 and of 1: scores differ by"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_method_that_breaks_several_clauses_is_told_the_cause_too(linear, make, clause, problem):
    broken = check(make(linear))
    assert problem in broken[clause]
    assert not {CONFIG, BUILDS, BACKWARD} & set(broken)


def test_every_clause_has_a_broken_method():
    marks = [
        mark
        for test in (
            test_a_method_that_breaks_one_clause_is_told_that_one,
            test_a_method_that_breaks_several_clauses_is_told_the_cause_too,
        )
        for mark in test.pytestmark
    ]
    tested_apart = {CONFIG, BUILDS}
    assert {case[1] for mark in marks for case in mark.args[1]} == set(CLAUSES) - tested_apart


def test_a_method_that_needs_all_modalities_may_skip_with_a_reason(linear):
    class NeedsAll(fails_when_absent(linear)):
        @classmethod
        def skip(cls, protocol):
            return "needs all three sensors" if any(rule.absent for rule in protocol.conditions.values()) else None

    assert check(NeedsAll) == {}


def test_what_survives_the_training_may_be_a_buffer(linear):
    class Counted(linear):
        def __init__(self, config, sources):
            super().__init__(config, sources)
            self.register_buffer("steps", torch.tensor(0))

        def on_step_end(self, step):
            self.steps += 1

        def score(self, inputs):
            return super().score(inputs) ** (1 + self.steps)

    assert check(Counted) == {}


def test_weights_that_are_not_drawn_from_the_seed_are_noticed(linear):
    broken = check(unseeded(linear))
    assert broken[BUILDS].startswith("different weights from one seed: head.bias")
    assert set(broken) == {BUILDS, REPEATS}


def test_a_class_that_cannot_be_built_is_reported_clause_by_clause(linear):
    class Broken(linear):
        def __init__(self, config, sources):
            raise KeyError("backbone")

    broken = check(Broken)
    assert broken[BUILDS] == "KeyError: 'backbone'"
    assert set(broken) == set(CLAUSES) - {CONFIG, BACKWARD}
