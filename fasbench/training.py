"""The training loop: train, validate on the sources, keep the last and the best epoch, resume after an interruption."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from filelock import FileLock
from safetensors.torch import load_file, save

from fasbench import metrics
from fasbench.config import Config, OptimConfig
from fasbench.data.loading import Rows, epoch_order, train_batch
from fasbench.data.sample import Batch
from fasbench.errors import FasbenchError
from fasbench.method import Method
from fasbench.resources import sha256_file, write_json
from fasbench.scoring import score_rows
from fasbench.seeding import numpy_generator, seed_everything, torch_generator

TRAINING_VERSION = 1  # raise it when a change of this file or of the loading changes what is learnt
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Task:
    """One training: a method with its weights at step 0, its data, and the folder its key names."""

    method: Method
    config: Config[Any]
    train: Rows
    validation: Rows
    sources: tuple[str, ...]
    seed: int
    folder: Path
    observe: Callable[[str, Method], None] | None = None
    """Called with the hash of each epoch's checkpoint before the epoch counts as finished; must change nothing."""


@dataclass
class State:
    """What is on disk of a training; written last, after the files it names."""

    epoch: int  # epochs finished
    history: list[dict[str, float]]  # validation after each epoch
    weights: list[str]  # sha256 of each epoch's checkpoint, also of those that are no longer kept
    files: dict[str, str]  # file name -> sha256
    seconds: float

    @property
    def best(self) -> int:
        """Epoch (from 0) with the lowest validation EER; ties by AUC, cross-entropy, then the earlier."""
        return min(range(len(self.history)), key=lambda e: (_rank(self.history[e]), e))

    def tied(self) -> int:
        """How many epochs share the best epoch's EER."""
        return sum(entry["eer"] == self.history[self.best]["eer"] for entry in self.history)


def _rank(entry: dict[str, float]) -> tuple[float, float, float]:
    return entry["eer"], -entry["auc"], entry["cross_entropy"]


def read_state(folder: Path) -> State | None:
    """The state of the training in `folder`; None if it never finished an epoch or its files are not intact."""
    try:
        state = State(**json.loads((folder / "state.json").read_text()))
        intact = all(sha256_file(folder / name) == digest for name, digest in state.files.items())
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return state if intact else None


def discard(folder: Path) -> None:
    """Forget a training, so that it starts anew."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        (folder / "state.json").unlink(missing_ok=True)  # without it the rest counts for nothing


def train(task: Task, accelerator: Accelerator, report: Report) -> State:
    """Run the training to its last epoch, from where it stands.

    Raises:
        FasbenchError: the loss is not finite, or nothing is trained.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(task.folder / ".lock"):  # a second run of the same training waits, and finds it done
        return _train(task, accelerator, report)


def _train(task: Task, accelerator: Accelerator, report: Report) -> State:
    config, folder = task.config, task.folder
    stored = stored_names(task.method)
    # Not `prepare_model`, which would compute a method's `forward` in bf16 in scoring too; `train_step` casts itself.
    method = task.method.to(accelerator.device)
    groups = [{**group, "params": list(group["params"])} for group in method.parameter_groups()]
    if not any(len(group["params"]) for group in groups):
        raise FasbenchError(f"{type(method).__name__}.parameter_groups() holds no parameter: nothing would be trained")
    optimizer = make_optimizer(groups, config.optim)
    state = read_state(folder) or State(0, [], [], {}, 0.0)
    if state.epoch:
        load_weights(method, folder, state.epoch - 1)
        optimizer.load_state_dict(
            torch.load(folder / _optimizer_file(state.epoch), map_location="cpu", weights_only=True)
        )
    optimizer = accelerator.prepare_optimizer(optimizer)
    steps = config.train.steps_per_epoch or max(1, len(task.train) // config.train.batch_size)
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:

        def note(event: dict[str, Any]) -> None:
            log.write(json.dumps(event) + "\n")
            log.flush()
            report(event)

        for epoch in range(state.epoch, config.train.epochs):
            started = time.perf_counter()
            _train_epoch(task, method, optimizer, groups, accelerator, epoch, steps, note)
            scores = score_rows(method, task.validation, accelerator.device, config.train.score_batch_size)
            entry = validation_entry(scores, task.validation["label"])
            state.history.append(entry)
            state.epoch = epoch + 1
            state.seconds += time.perf_counter() - started
            state.weights.append(_save_weights(method, stored, folder / weights_file(epoch)))
            if task.observe is not None:
                task.observe(state.weights[-1], method)
            _save_state(state, optimizer, folder)
            note({"event": "epoch", "epoch": epoch + 1, "of": config.train.epochs, **entry})
    return state


def _train_epoch(
    task: Task,
    method: Method,
    optimizer: Any,
    groups: list[dict[str, Any]],
    accelerator: Accelerator,
    epoch: int,
    steps: int,
    note: Report,
) -> None:
    config = task.config
    method.train()
    seed_everything(task.seed, "epoch", epoch)
    method.on_epoch_start(epoch, _look(task, accelerator, epoch, steps))
    method.train()
    order = epoch_order(len(task.train), steps, config.train.batch_size, numpy_generator(task.seed, "order", epoch))
    total_steps = steps * config.train.epochs
    waited, started = 0.0, time.perf_counter()
    for step, positions in enumerate(order):
        number = epoch * steps + step
        seed_everything(task.seed, "step", epoch, step)
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()  # or the step before would count as waiting for data
        before = time.perf_counter()
        augmentation = (config.augment, torch_generator(task.seed, "augment", epoch, step))
        dropout = (config.train.modality_dropout, torch_generator(task.seed, "modality-dropout", epoch, step))
        batch = train_batch(
            task.train, positions, task.sources, config.model, augmentation, accelerator.device, dropout
        )
        waited += time.perf_counter() - before
        lr = config.optim.lr * lr_factor(config.optim, number, total_steps, config.train.epochs)
        for group, described in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] = lr * described.get("lr_scale", 1.0)
        try:
            losses = train_step(method, batch, optimizer, accelerator)
        except NotFinite as error:
            raise FasbenchError(f"{error} at epoch {epoch + 1}, step {step}. Try a lower optim.lr") from None
        method.on_step_end(number)
        if (step + 1) % 10 == 0 or step + 1 == steps:
            elapsed = time.perf_counter() - started
            note(
                {
                    "event": "step",
                    "epoch": epoch + 1,
                    "step": step + 1,
                    "of": steps,
                    "epochs": config.train.epochs,
                    "losses": {name: float(value) for name, value in losses.items()},
                    "samples_per_second": (step + 1) * config.train.batch_size / elapsed,
                    "data_wait": waited / elapsed,
                }
            )


def _look(task: Task, accelerator: Accelerator, epoch: int, steps: int) -> Iterator[Batch]:
    """An epoch of batches for `Method.on_epoch_start`: no order, augmentation or draw of the training itself."""
    config, draws = task.config, torch_generator(task.seed, "look", epoch)
    order = epoch_order(len(task.train), steps, config.train.batch_size, numpy_generator(task.seed, "look", epoch))
    dropout = (config.train.modality_dropout, draws)
    for positions in order:
        yield train_batch(
            task.train, positions, task.sources, config.model, (config.augment, draws), accelerator.device, dropout
        )


class NotFinite(FasbenchError):
    """The loss is NaN or infinite."""


def train_step(
    method: Method, batch: Batch, optimizer: torch.optim.Optimizer, accelerator: Accelerator
) -> dict[str, torch.Tensor]:
    """One step of the optimiser on a batch; returns the losses, detached.

    Raises:
        NotFinite: before any weight is touched.
    """
    with accelerator.autocast():
        losses = method.loss(batch)
    if "total" not in losses:
        raise FasbenchError(f"{type(method).__name__}.loss returned no 'total'. Try: fasbench check method")
    detached = {name: value.detach() for name, value in losses.items()}
    if not torch.isfinite(detached["total"]).all():
        values = {name: float(value) for name, value in detached.items()}
        raise NotFinite(f"the loss is not finite: {values}")
    optimizer.zero_grad(set_to_none=True)
    method.backward(losses, accelerator)
    optimizer.step()
    return detached


def make_optimizer(groups: list[dict[str, Any]], config: OptimConfig) -> torch.optim.Optimizer:
    """The configured optimiser over the method's parameter groups.

    Raises:
        FasbenchError: a group has a key that is not `params`, `lr_scale` or `weight_decay`.
    """
    if unknown := {key for group in groups for key in group} - {"params", "lr_scale", "weight_decay"}:
        names = ", ".join(sorted(unknown))
        raise FasbenchError(f"parameter_groups(): unknown key(s) {names}. Legal: params, lr_scale, weight_decay")
    trained = [{key: value for key, value in group.items() if key != "lr_scale"} for group in groups]
    if config.name == "sgd":
        return torch.optim.SGD(trained, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(trained, lr=config.lr, weight_decay=config.weight_decay)


def lr_factor(config: OptimConfig, step: int, total: int, epochs: int) -> float:
    """Linear warm-up to 1, then constant, in drops, or half a cosine down to 0: a function of the step alone.

    `total` steps are `epochs` epochs; a drop falls on the first step of an epoch.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "step":
        return float(config.step_factor ** (step * epochs // total // config.step_epochs))
    progress = (step - config.warmup_steps) / max(1, total - config.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))


def validation_entry(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """What selection looks at: EER, AUC and cross-entropy of the pooled source-validation frames."""
    clipped = np.clip(np.where(labels == 1, scores, 1 - scores), 1e-12, None)
    return {
        "eer": metrics.eer(scores, labels).value,
        "auc": metrics.auc(scores, labels),
        "cross_entropy": float(-np.log(clipped).mean()),
    }


# --- checkpoints ------------------------------------------------------------------------------------------------------


def weights_file(epoch: int) -> str:
    """Name of the checkpoint of an epoch (from 0) in the training's folder."""
    return f"weights-{epoch + 1}.safetensors"  # named from 1, as in tables


def _optimizer_file(epochs_done: int) -> str:
    return f"optimizer-{epochs_done}.pt"


def stored_names(method: Method) -> list[str]:
    """What a checkpoint of a freshly built method holds: buffers, and the parameters that are or will be trained.

    Frozen weights are not stored: they are built again, and the training key holds their hash.
    """
    grouped = {id(parameter) for group in method.parameter_groups() for parameter in group["params"]}
    frozen = {n for n, p in method.named_parameters() if not p.requires_grad and id(p) not in grouped}
    return [name for name in method.state_dict() if name not in frozen]


def _save_weights(method: Method, stored: list[str], path: Path) -> str:
    """Write a checkpoint; returns its hash."""
    tensors = method.state_dict()
    kept = {name: tensors[name].cpu().contiguous().clone() for name in stored}
    path.write_bytes(save(kept))  # save_file would hide it from the rest of a group
    return sha256_file(path)


def _save_state(state: State, optimizer: Any, folder: Path) -> None:
    """Last and best epoch; older files go only after the state that no longer names them is on disk."""
    torch.save(optimizer.state_dict(), folder / _optimizer_file(state.epoch))
    names = {weights_file(state.epoch - 1), weights_file(state.best), _optimizer_file(state.epoch)}
    state.files = {name: sha256_file(folder / name) for name in sorted(names)}
    write_json(folder / "state.json", vars(state))
    for path in (*folder.glob("weights-*"), *folder.glob("optimizer-*")):
        if path.name not in names:
            path.unlink()


def load_weights(method: Method, folder: Path, epoch: int) -> None:
    """Load the checkpoint of `epoch` (from 0) into a freshly built method."""
    saved, tensors = load_file(folder / weights_file(epoch)), method.state_dict()
    own = {name: tensors[name] for name in stored_names(method)}
    wrong = sorted(saved.keys() ^ own.keys())
    wrong += sorted(name for name in saved.keys() & own.keys() if saved[name].shape != own[name].shape)
    if wrong:
        raise FasbenchError(f"{folder}: the checkpoint does not fit the method, e.g. {', '.join(wrong[:5])}")
    method.load_state_dict(saved, strict=False)
