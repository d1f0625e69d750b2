"""What a request comes to: protocols opened, configurations resolved, trainings named by all that determines them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

import fasbench
from fasbench import training
from fasbench.config import Config, resolve
from fasbench.data.catalog import Progress, open_stores
from fasbench.data.splits import SplitRows, open_split
from fasbench.device import resolve_precision
from fasbench.errors import ConfigError
from fasbench.method import Method
from fasbench.protocol import Protocol
from fasbench.registry import MethodEntry, find_evaluations, find_method
from fasbench.resources import canonical_json, sha256, sha256_files
from fasbench.seeding import seed_everything

Overwrite = Literal["only-missing", "never", "always"]


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    method: str
    protocol: str  # any prefix of protocol/split/condition, or a file
    preset: str | None = None
    sets: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    device: str = "auto"
    precision: str | None = None
    out: Path = Path("runs")
    limit_videos: int | None = None
    overwrite: Overwrite = "only-missing"
    oracle: bool = False  # evaluate the epoch that is best on the test set as well


@dataclass(frozen=True)
class Planned:
    """One training and the conditions it is evaluated under."""

    split: str
    seed: int
    rows: SplitRows
    conditions: tuple[str, ...]
    initial_weights_sha256: str
    folder: Path  # of the training; its name is the training key

    @property
    def key(self) -> str:
        return self.folder.name

    def data_sha256(self) -> dict[str, str]:
        """Content hash of every data set that trains, selects or tests."""
        stores = {store.name: store for part in self.rows.parts() for store in part.stores}
        return {name: stores[name].manifest["content_sha256"] for name in sorted(stores)}

    @property
    def epochs_done(self) -> int:
        state = training.read_state(self.folder)
        return state.epoch if state else 0


@dataclass(frozen=True)
class Plan:
    """Everything a request comes to on one protocol."""

    protocol: Protocol
    entry: MethodEntry
    method_sha256: str  # of the source as it was loaded
    kind: type[Method]
    config: Config[Any]
    preset: str
    sets: tuple[str, ...]
    limit_videos: int | None
    folder: Path  # of scores, results and report
    skipped: str | None  # the method's reason not to run here
    trainings: list[Planned] = field(default_factory=list)


def make_plans(request: Request, preparing: Progress | None = None) -> list[Plan]:
    """One plan a protocol: data opened (and prepared), configuration resolved, trainings keyed."""
    entry = find_method(request.method)
    chosen = find_evaluations(request.protocol)  # before torch is loaded: a mistyped name answers at once
    kind, source = entry.load(), entry.source_sha256()
    plans = []
    for protocol, pairs in chosen:
        config, preset = resolve_config(entry, kind, protocol, request)
        plan = Plan(
            protocol=protocol,
            entry=entry,
            method_sha256=source,
            kind=kind,
            config=config,
            preset=preset,
            sets=request.sets,
            limit_videos=request.limit_videos,
            folder=request.out / str(protocol) / _run_name(entry, preset, config, request.limit_videos),
            skipped=kind.skip(protocol),
        )
        plans.append(plan)
        if plan.skipped:
            continue
        splits = list(dict.fromkeys(split for split, _ in pairs))
        stores = open_stores(protocol, protocol.datasets_of(splits), progress=preparing)
        for split in splits:
            conditions = tuple(condition for s, condition in pairs if s == split)
            rows = open_split(protocol, split, conditions, stores, request.limit_videos)
            for seed in request.seeds:
                weights = weights_sha256(build_method(kind, config, rows.sources, seed))
                key = training_key(plan, weights, rows, seed)
                plan.trainings.append(Planned(split, seed, rows, conditions, weights, request.out / "trainings" / key))
    return plans


def resolve_config(
    entry: MethodEntry, kind: type[Method], protocol: Protocol, request: Request
) -> tuple[Config[Any], str]:
    """The configuration and the preset it came from; the precision is settled for the device.

    Raises:
        ConfigError: unknown keys or presets, or a fidelity the method does not know.
    """
    preset = request.preset or protocol.preset
    sets = [*request.sets, *([f"train.precision={request.precision}"] if request.precision else [])]
    config = resolve(kind.Config, entry.config(), preset, protocol.training, sets, f"configuration of {entry.name}")
    if config.model.fidelity not in kind.fidelities:
        raise ConfigError(
            f"{entry.name} knows model.fidelity {', '.join(kind.fidelities)}, not '{config.model.fidelity}'"
        )
    precision = resolve_precision(config.train.precision, request.device)
    return config.model_copy(update={"train": config.train.model_copy(update={"precision": precision})}), preset


def _run_name(entry: MethodEntry, preset: str, config: Config[Any], limit_videos: int | None) -> str:
    """`erm-tiny-1a2b3c4d`: two configurations never share a folder."""
    return f"{entry.name}-{preset}-{sha256(canonical_json(config.model_dump(mode='json')), str(limit_videos))[:8]}"


def build_method(kind: type[Method], config: Config[Any], sources: tuple[str, ...], seed: int) -> Method:
    """The method with its weights at step 0, the same for the same seed."""
    seed_everything(seed, "weights")
    return kind(config.model, sources)


def weights_sha256(method: Method) -> str:
    """Hash of every tensor of the method: pretrained, frozen and random ones."""
    lines = []
    for name, value in sorted(method.state_dict().items()):
        raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        lines.append(f"{name} {value.dtype} {tuple(value.shape)} {hashlib.sha256(raw).hexdigest()}")
    return sha256("\n".join(lines))


def shared_layers_sha256() -> str:
    """Hash of `fasbench.layers`, which methods are built from."""
    folder = Path(fasbench.__file__).parent / "layers"
    return sha256_files(folder.rglob("*.py"), folder)


def training_key(plan: Plan, weights: str, rows: SplitRows, seed: int) -> str:
    """What a training depends on, as 16 hex digits; the test data are not part of it."""
    settings = plan.config.model_dump(mode="json")
    settings["train"].pop("score_batch_size")
    return sha256(
        str(training.TRAINING_VERSION),
        plan.method_sha256,
        plan.entry.class_name,  # a file may define several methods
        shared_layers_sha256(),
        canonical_json(settings),
        weights,
        rows.train.content_sha256(),
        rows.validation.content_sha256(),
        ",".join(rows.sources),
        str(seed),
    )[:16]
