"""The contract every method is held to, on the CPU, on rendered faces: `fasbench check method` and our own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fasbench.config import Config, resolve
from fasbench.data.loading import Group, to_inputs
from fasbench.data.record import MODALITIES, Record
from fasbench.data.sample import Batch, Inputs
from fasbench.device import make_accelerator
from fasbench.errors import FasbenchError
from fasbench.method import Method
from fasbench.protocol import Condition, DatasetSpec, Protocol, Split
from fasbench.registry import MethodEntry
from fasbench.scoring import check_scores
from fasbench.seeding import seed_everything
from fasbench.training import make_optimizer, stored_names, train_step

SOURCES = ("synth-l", "synth-m")
BATCH = 16
STEPS = 10
TOLERANCE = 1e-5  # of a score, between batch compositions
ABSENCES = [absent for size in (1, 2) for absent in combinations(MODALITIES, size)]


@dataclass(frozen=True)
class Check:
    """One clause of the contract; `problem` is empty when it holds."""

    clause: str
    problem: str = ""


class _Broken(Exception):
    """A clause does not hold."""


def check_method(entry: MethodEntry) -> Iterator[Check]:
    """Hold a method to the contract, clause by clause, with its `tiny` preset. Takes seconds."""
    subject = _Subject(entry)
    for clause in (
        _configuration,
        _builds,
        _backward_is_declared,
        _losses,
        _repeatable,
        _learns,
        _gradients,
        _scores,
        _independent_of_batch,
        _state,
        _missing_modalities,
    ):
        text = (clause.__doc__ or "").strip()
        try:
            clause(subject)
        except (_Broken, FasbenchError) as problem:
            yield Check(text, str(problem))
        except Exception as error:  # a stranger's code may raise anything; the clause names where
            yield Check(text, f"{type(error).__name__}: {error}")
        else:
            yield Check(text)
            continue
        if clause is _configuration:
            return  # nothing can be built


class _Subject:
    """The method under test and the one batch it is tested on."""

    def __init__(self, entry: MethodEntry) -> None:
        self.entry = entry
        self.kind = entry.load()
        self._records = _records()

    def config(self, preset: str = "tiny") -> Config[Any]:
        return resolve(self.kind.Config, self.entry.config(), preset, {}, [], f"configuration of {self.entry.name}")

    def build(self, seed: int = 0) -> Method:
        seed_everything(seed, "weights")
        return self.kind(self.config().model, SOURCES)

    def inputs(self) -> Inputs:
        rgb, depth, ir = (np.stack([getattr(record, name) for record in self._records]) for name in MODALITIES)
        group = Group(np.arange(BATCH), rgb, depth, ir, np.ones((BATCH, 3), bool))
        return to_inputs([group], self.config().model, torch.device("cpu"))

    def batch(self) -> Batch:
        return Batch(
            inputs=self.inputs(),
            label=torch.tensor([record.label for record in self._records]),
            domain=torch.tensor([SOURCES.index(record.domain) for record in self._records]),
            attack=tuple(record.attack for record in self._records),
        )

    def train(self, steps: int, after_step: Callable[[Method], None] | None = None) -> tuple[Method, list[float]]:
        """The method after so many steps on the one batch, and its total loss before each and at the end."""
        method, batch = self.build(), self.batch()
        accelerator = make_accelerator("cpu", "fp32")
        optimizer = make_optimizer(list(method.parameter_groups()), self.config().optim)
        method.train()
        method.on_epoch_start(0, iter([batch]))
        totals = []
        for step in range(steps):
            seed_everything(0, "step", 0, 0)  # the same draws each time: only the weights differ
            totals.append(float(train_step(method, batch, optimizer, accelerator)["total"]))
            if after_step is not None:
                after_step(method)
            method.on_step_end(step)
        seed_everything(0, "step", 0, 0)
        totals.append(float(method.loss(batch)["total"].detach()))
        return method.eval(), totals

    def score_once(self, method: Method) -> None:
        """What a validation between two steps does."""
        _score(method.eval(), self.inputs())
        method.train()


def _records() -> list[Record]:
    """Eight records of each source, half bona fide, all modalities present."""
    from fasbench.data.synthetic import SyntheticSource

    chosen: list[Record] = []
    for name in SOURCES:
        source = SyntheticSource(name, "tiny")
        wanted = {0: BATCH // 4, 1: BATCH // 4}
        for index in range(0, len(source), 2):
            record = source.read(index)
            if wanted[record.label]:
                wanted[record.label] -= 1
                chosen.append(record)
            if not any(wanted.values()):
                break
    return chosen


def _configuration(subject: _Subject) -> None:
    """config.yaml is valid for the presets `paper` and `tiny`, and the fidelity is one the method knows"""
    for preset in ("paper", "tiny"):
        fidelity = subject.config(preset).model.fidelity
        if fidelity not in subject.kind.fidelities:
            raise _Broken(f"preset {preset}: fidelity '{fidelity}' is not in {subject.kind.fidelities}")


def _builds(subject: _Subject) -> None:
    """it builds, and builds the same weights again from the same seed"""
    first, second = subject.build().state_dict(), subject.build().state_dict()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    if different:
        raise _Broken(f"different weights from one seed: {', '.join(different[:5])}. Draw them with torch, in __init__")


def _backward_is_declared(subject: _Subject) -> None:
    """custom_backward is True exactly when backward is overridden"""
    overridden = subject.kind.backward is not Method.backward
    if overridden != subject.kind.custom_backward:
        raise _Broken(
            f"backward is {'' if overridden else 'not '}overridden, custom_backward is {subject.kind.custom_backward}"
        )


def _losses(subject: _Subject) -> None:
    """loss returns finite scalars with a `total`"""
    method = subject.build().train()
    method.on_epoch_start(0, iter([subject.batch()]))
    losses = method.loss(subject.batch())
    if "total" not in losses:
        raise _Broken(f"no 'total' among {sorted(losses)}")
    for name, value in losses.items():
        if value.shape != () or not torch.isfinite(value.detach()):
            raise _Broken(f"'{name}' is {value.detach()}, expected one finite number")


def _repeatable(subject: _Subject) -> None:
    """the same steps from the same seed give the same weights, also after scoring in between"""
    first, second = (subject.train(3, after)[0].state_dict() for after in (None, subject.score_once))
    different = [name for name in first if not torch.equal(first[name], second[name])]
    if different:
        raise _Broken(f"{', '.join(different[:5])} differ. Keep no state of scoring, and draw from seeded generators")


def _learns(subject: _Subject) -> None:
    """ten steps on one batch lower its loss"""
    _, totals = subject.train(STEPS)
    if not totals[-1] < totals[0]:
        raise _Broken(f"total loss {totals[0]:.4f} before, {totals[-1]:.4f} after {STEPS} steps")


def _gradients(subject: _Subject) -> None:
    """every trainable parameter gets a gradient within three steps"""
    dead: dict[str, None] = {}

    def note(method: Method) -> None:
        dead.update({name: None for name, p in method.named_parameters() if p.requires_grad and name not in alive})
        for name, parameter in method.named_parameters():
            if parameter.grad is not None and bool(parameter.grad.any()):
                alive.add(name)
                dead.pop(name, None)

    alive: set[str] = set()
    subject.train(3, note)
    if dead:
        raise _Broken(f"{len(dead)} without one, e.g. {', '.join(list(dead)[:5])}. Set requires_grad=False or use them")


def _scores(subject: _Subject) -> None:
    """score gives one finite float64 in [0, 1] a sample, twice the same, and needs no gradient"""
    method, _ = subject.train(2)
    inputs = subject.inputs()
    first, second = _score(method, inputs), _score(method, inputs)
    if not torch.equal(first, second):
        raise _Broken(f"two calls differ by up to {float((first - second).abs().max()):.2g}: draw nothing in eval mode")


def _independent_of_batch(subject: _Subject) -> None:
    """a score does not depend on the other samples of the batch, their number or their order"""
    method, _ = subject.train(2)
    inputs = subject.inputs()
    together = _score(method, inputs)
    alone = torch.cat([_score(method, inputs.select(torch.tensor([row]))) for row in range(len(inputs))])
    backwards = torch.arange(len(inputs) - 1, -1, -1)
    _same(together, alone, "batches of 16 and of 1")
    _same(together, _score(method, inputs.select(backwards))[backwards], "an order and its reverse")


def _state(subject: _Subject) -> None:
    """parameters and buffers are the whole state: loaded into a new instance they give the same scores"""
    method, _ = subject.train(2)
    restored = subject.build()
    names, tensors = stored_names(restored), method.state_dict()
    restored.load_state_dict({name: tensors[name].clone() for name in names}, strict=False)
    _same(_score(method, subject.inputs()), _score(restored.eval(), subject.inputs()), "a method and its restored copy")


def _missing_modalities(subject: _Subject) -> None:
    """absent modalities are handled per sample, or the method skips protocols that take them away, with a reason"""
    method, _ = subject.train(2)
    inputs = subject.inputs()
    for absent in ABSENCES:
        reason = subject.kind.skip(_protocol_without(absent))
        if reason is not None:
            if not reason.strip():
                raise _Broken(f"skip refuses no-{'-'.join(absent)} without saying why")
            continue
        reduced = inputs.without(*absent)
        mixed = _score(method, _mix(inputs, reduced))
        without = f"without {', '.join(absent)}"
        _same(mixed[1::2], _score(method, reduced)[1::2], f"samples {without}, among complete ones and not")
        _same(mixed[::2], _score(method, inputs)[::2], f"complete samples, among samples {without} and not")


def _protocol_without(absent: tuple[str, ...]) -> Protocol:
    return Protocol(
        id="contract/missing",
        version=1,
        title="a condition that takes modalities away",
        datasets={name: DatasetSpec(size="tiny") for name in SOURCES},
        splits={"l-m": Split(train=("synth-l/train",), validation=("synth-l/validation",), test=("synth-m/test",))},
        conditions={"without": Condition.model_validate({"absent": absent})},
    )


def _mix(complete: Inputs, reduced: Inputs) -> Inputs:
    """Even rows of `complete`, odd rows of `reduced`."""
    odd = torch.arange(len(complete)) % 2 == 1
    pairs = zip(complete.images(), reduced.images(), strict=True)
    images = [torch.where(odd[:, None, None, None], partial, full) for full, partial in pairs]
    return Inputs.of(images, torch.where(odd[:, None], reduced.present, complete.present), complete.black)


def _score(method: Method, inputs: Inputs) -> Tensor:
    with torch.no_grad():
        result = method.score(inputs)
    check_scores(method, result, len(inputs))
    return result


def _same(first: Tensor, second: Tensor, what: str) -> None:
    difference = float((first - second).abs().max())
    if difference > TOLERANCE:
        raise _Broken(f"{what}: scores differ by {difference:.2g}, more than {TOLERANCE:g}")
