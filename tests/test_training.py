"""The training loop: learning rates, optimisers, hooks, what is logged, and what a checkpoint holds."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fasbench import training
from fasbench.config import Config, ModelConfig, OptimConfig, TrainConfig
from fasbench.data.catalog import open_stores
from fasbench.data.splits import open_split
from fasbench.device import make_accelerator
from fasbench.errors import FasbenchError
from fasbench.protocol import load_protocol
from fasbench.registry import find_method
from fasbench.seeding import seed_everything

EPOCHS, STEPS, BATCH = 3, 12, 4


@pytest.fixture
def split(tiny_protocol, data_root):
    protocol = load_protocol(tiny_protocol)
    return open_split(protocol, "lm-k", ["full"], open_stores(protocol, protocol.datasets_of(["lm-k"]), data_root))


@pytest.fixture
def linear(linear_method):
    """The class of the method that trains in milliseconds."""
    return find_method(linear_method).load()


@pytest.fixture
def make_task(split, tmp_path):
    def make(kind, folder="training", **optim):
        config = Config[ModelConfig](
            model=ModelConfig(image_size=16),
            optim=OptimConfig(**{"lr": 1e-3, **optim}),
            train=TrainConfig(epochs=EPOCHS, steps_per_epoch=STEPS, batch_size=BATCH),
        )
        seed_everything(0, "weights")
        method = kind(config.model, split.sources)
        return training.Task(method, config, split.train, split.validation, split.sources, 0, tmp_path / folder)

    return make


def run(task, precision="fp32", report=lambda event: None):
    return training.train(task, make_accelerator("cpu", precision), report)


# --- learning rate and optimiser --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0, {0: 1, 5: 1, 11: 1}),
        ("constant", 4, {0: 0.25, 1: 0.5, 3: 1, 4: 1, 11: 1}),
        ("cosine", 0, {0: 1, 3: 0.8535533905932737, 6: 0.5, 9: 0.1464466094067262, 12: 0}),
        ("cosine", 4, {0: 0.25, 2: 0.75, 3: 1, 4: 1, 6: 0.8535533905932737, 8: 0.5, 12: 0}),
        ("cosine", 12, {0: 1 / 12, 11: 1, 12: 1}),
    ],
)
def test_the_learning_rate_factor_by_hand(schedule, warmup, expected):
    config = OptimConfig(schedule=schedule, warmup_steps=warmup)
    assert {step: training.lr_factor(config, step, 12, EPOCHS) for step in expected} == pytest.approx(expected)


def test_the_rate_drops_at_the_first_step_of_every_second_epoch():
    config = OptimConfig(schedule="step", step_epochs=2, step_factor=0.1)
    factors = [training.lr_factor(config, step, 12, 6) for step in range(12)]  # six epochs of two steps
    assert factors == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01])


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamw", "AdamW"), ("sgd", "SGD")])
def test_the_optimiser_is_the_configured_one(name, kind):
    groups = [{"params": [nn.Parameter(torch.zeros(2))]}, {"params": [nn.Parameter(torch.zeros(3))], "lr_scale": 10}]
    optimizer = training.make_optimizer(groups, OptimConfig(name=name, lr=0.5, weight_decay=0.25, momentum=0.75))
    assert type(optimizer).__name__ == kind
    assert [group["params"] for group in optimizer.param_groups] == [group["params"] for group in groups]
    for group in optimizer.param_groups:
        assert (group["lr"], group["weight_decay"]) == (0.5, 0.25)
        assert group.get("momentum", 0.75) == 0.75 and ("momentum" in group) == (name == "sgd")


@pytest.fixture
def optimizers(monkeypatch):
    """The optimisers that trainings make."""
    made, original = [], training.make_optimizer

    def spy(groups, config):
        made.append(original(groups, config))
        return made[-1]

    monkeypatch.setattr(training, "make_optimizer", spy)
    return made


@pytest.mark.parametrize("as_list", [list, iter], ids=["lists", "generators"])
def test_every_step_has_its_learning_rate_in_every_group(linear, make_task, optimizers, as_list):
    rates = []

    class Grouped(linear):
        def parameter_groups(self):
            yield {"params": as_list([self.head.weight])}
            yield {"params": as_list([self.head.bias]), "lr_scale": 0.1}

        def on_step_end(self, step):
            rates.append([group["lr"] for group in optimizers[0].param_groups])

    run(make_task(Grouped, schedule="cosine", warmup_steps=5, lr=0.01))
    config, total = OptimConfig(schedule="cosine", warmup_steps=5), EPOCHS * STEPS
    factors = [training.lr_factor(config, step, total, EPOCHS) for step in range(total)]
    assert rates == [pytest.approx([0.01 * factor, 0.001 * factor]) for factor in factors]


@pytest.mark.parametrize("groups", [[], [{"params": []}]])
def test_a_method_without_parameters_to_train_is_refused(linear, make_task, groups):
    class Empty(linear):
        def parameter_groups(self):
            return groups

    with pytest.raises(FasbenchError, match=r"Empty.parameter_groups\(\) holds no parameter"):
        run(make_task(Empty))


# --- the loop ---------------------------------------------------------------------------------------------------------


def test_hooks_are_called_with_their_counts_and_losses_in_training_mode(linear, make_task):
    calls = []

    class Hooked(linear):
        def on_epoch_start(self, epoch, batches):
            calls.append(("epoch", epoch))

        def loss(self, batch):
            assert self.training and len(batch) == BATCH
            calls.append("loss")
            return super().loss(batch)

        def on_step_end(self, step):
            calls.append(("step", step))

    run(make_task(Hooked))
    expected = []
    for epoch in range(EPOCHS):
        expected.append(("epoch", epoch))
        for step in range(STEPS):
            expected += ["loss", ("step", epoch * STEPS + step)]
    assert calls == expected


def test_a_custom_backward_is_called_once_a_step_and_its_gradients_are_used(linear, make_task):
    class Custom(linear):
        custom_backward = True
        calls = 0

        def backward(self, losses, accelerator):
            self.calls += 1
            assert set(losses) == {"total"} and self.head.bias.grad is None  # the last step's is cleared
            self.head.bias.grad = torch.tensor([1.0, -1.0])

    task = make_task(Custom, name="sgd", momentum=0, weight_decay=0, lr=0.5)
    weight, bias = task.method.head.weight.clone(), task.method.head.bias.clone()
    run(task)
    assert task.method.calls == EPOCHS * STEPS
    assert torch.equal(task.method.head.weight, weight)
    torch.testing.assert_close(task.method.head.bias, bias + EPOCHS * STEPS * torch.tensor([-0.5, 0.5]))


def test_the_log_holds_losses_speed_and_waiting_and_is_what_is_reported(linear, make_task):
    class TwoLosses(linear):
        def loss(self, batch):
            total = super().loss(batch)["total"]
            return {"total": total, "half": total / 2}

    task, reported = make_task(TwoLosses), []
    state = run(task, report=reported.append)
    lines = [json.loads(line) for line in (task.folder / "log.jsonl").read_text().splitlines()]
    assert lines == reported
    steps = [line for line in lines if line["event"] == "step"]
    assert [(line["epoch"], line["step"], line["of"]) for line in steps] == [
        (e, s, 12) for e in (1, 2, 3) for s in (10, 12)
    ]
    for line in steps:
        assert line["losses"]["half"] == pytest.approx(line["losses"]["total"] / 2) and line["losses"]["total"] > 0
        assert line["samples_per_second"] > 0 and 0 < line["data_wait"] < 1
    epochs = [line for line in lines if line["event"] == "epoch"]
    assert [(line["epoch"], line["of"]) for line in epochs] == [(1, 3), (2, 3), (3, 3)]
    assert [{name: line[name] for name in ("eer", "auc", "cross_entropy")} for line in epochs] == state.history


def test_bf16_computes_the_loss_in_bf16_and_scores_and_weights_in_fp32(linear, make_task):
    seen = {"loss": set(), "score": set()}

    class Watched(linear):
        def logits(self, inputs):
            logits = super().logits(inputs)
            seen["loss" if self.training else "score"].add(logits.dtype)
            return logits

    events = []
    task = make_task(Watched)
    before = task.method.head.weight.clone()
    run(task, "bf16", events.append)
    assert seen == {"loss": {torch.bfloat16}, "score": {torch.float32}}
    losses = [event["losses"]["total"] for event in events if event["event"] == "step"]
    assert torch.isfinite(torch.tensor(losses)).all()
    assert task.method.head.weight.dtype == torch.float32 and not torch.equal(task.method.head.weight, before)


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_frozen(linear):
    """A method with a frozen layer and a buffer that counts its steps."""

    class WithFrozen(linear):
        def __init__(self, config, sources):
            super().__init__(config, sources)
            self.frozen = nn.Linear(2, 2).requires_grad_(False)
            self.register_buffer("steps", torch.tensor(0))

        def logits(self, inputs):
            return self.frozen(super().logits(inputs))

        def on_step_end(self, step):
            self.steps += 1

    return WithFrozen


def test_a_checkpoint_holds_what_is_trained_and_buffers_but_nothing_frozen(with_frozen, make_task):
    task = make_task(with_frozen)
    run(task)
    tensors = load_file(task.folder / f"weights-{EPOCHS}.safetensors")
    assert set(tensors) == {"head.weight", "head.bias", "steps"}
    assert torch.equal(tensors["head.weight"], task.method.head.weight) and tensors["steps"] == EPOCHS * STEPS


def test_loaded_weights_are_those_of_the_epoch_and_frozen_ones_stay(with_frozen, make_task):
    task = make_task(with_frozen)
    run(task)
    fresh = make_task(with_frozen).method
    frozen = fresh.frozen.weight.clone()
    training.load_weights(fresh, task.folder, EPOCHS - 1)
    assert torch.equal(fresh.head.weight, task.method.head.weight) and fresh.steps == EPOCHS * STEPS
    assert torch.equal(fresh.frozen.weight, frozen)


@pytest.mark.parametrize(
    ("eers", "weights"),
    [([0.3, 0.1, 0.2], {1, 2}), ([0.3, 0.2, 0.1], {2}), ([0.1, 0.1, 0.1], {0, 2})],
    ids=["second-best", "last-best", "tie"],
)
def test_only_the_last_and_the_best_epoch_stay(linear, make_task, monkeypatch, eers, weights):
    entries = iter([{"eer": eer, "auc": 0.9, "cross_entropy": 0.5} for eer in eers])
    monkeypatch.setattr(training, "validation_entry", lambda scores, labels: next(entries))
    task = make_task(linear)
    state = run(task)
    files = {*(f"weights-{epoch + 1}.safetensors" for epoch in weights), "optimizer-3.pt"}
    assert {path.name for path in task.folder.iterdir()} == files | {"state.json", "log.jsonl", ".lock"}
    assert set(state.files) == files
    assert training.read_state(task.folder) == state


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["weights-3.safetensors", "optimizer-3.pt"])
@pytest.mark.parametrize(
    "damage",
    [flip_a_bit, lambda path: path.write_bytes(path.read_bytes()[:-1]), lambda path: path.unlink()],
    ids=["bit", "cut", "missing"],
)
def test_a_damaged_file_means_there_is_no_state(linear, make_task, name, damage):
    task = make_task(linear)
    run(task)
    assert training.read_state(task.folder).epoch == EPOCHS
    damage(task.folder / name)
    assert training.read_state(task.folder) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"epoch": 3}'])
def test_a_state_that_is_none_is_none(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    assert training.read_state(tmp_path) is None


def test_a_damaged_training_starts_again_and_ends_the_same(linear, make_task):
    task = make_task(linear)
    first = run(task)
    flip_a_bit(task.folder / "weights-3.safetensors")
    again = make_task(linear)
    assert run(again).history == first.history
    assert torch.equal(again.method.head.weight, task.method.head.weight)


def test_a_checkpoint_that_does_not_fit_is_refused(linear, with_frozen, make_task):
    small, large = make_task(linear, "small"), make_task(with_frozen, "large")
    run(small)
    run(large)
    with pytest.raises(FasbenchError, match=r"large: the checkpoint does not fit the method, e\.g\. steps"):
        training.load_weights(small.method, large.folder, EPOCHS - 1)  # it holds too much
    with pytest.raises(FasbenchError, match=r"small: the checkpoint does not fit the method, e\.g\. steps"):
        training.load_weights(large.method, small.folder, EPOCHS - 1)  # it holds too little
