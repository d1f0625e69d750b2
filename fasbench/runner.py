"""The main path: plan -> train -> score -> evaluate -> record. Read `run` from top to bottom.

What is complete and intact is never repeated: trainings lie in folders named by everything that determines them
(`<out>/trainings/<key>`), and an evaluation is skipped when its result belongs to that training and its score file is
the one the result was computed from.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import fasbench
from fasbench import metrics, training
from fasbench.config import Config, resolve
from fasbench.data.catalog import open_stores
from fasbench.data.loading import SplitRows, open_split
from fasbench.device import describe_device, make_accelerator, peak_memory, resolve_precision
from fasbench.errors import ConfigError, DataError
from fasbench.method import Method
from fasbench.protocol import Protocol
from fasbench.registry import MethodEntry, find_evaluations, find_method
from fasbench.resources import canonical_json, sha256, sha256_file, write_atomic
from fasbench.results import Provenance, Result, Runtime, code_version, library_versions, read_result
from fasbench.scorefile import ScoreFile, ScoreMeta
from fasbench.scoring import as_scores, score_rows
from fasbench.seeding import seed_torch
from fasbench.summary import markdown

if TYPE_CHECKING:
    from accelerate import Accelerator


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


class Reporter:
    """What the runner tells the outside; this one is silent. See `fasbench.cli.progress` for the one people see."""

    def preparing(self, dataset: str, done: int, total: int) -> None: ...

    def training_starts(self, plan: Plan, planned: Planned) -> None: ...

    def training_event(self, event: dict[str, Any]) -> None: ...

    def evaluated(self, result: Result, fresh: bool) -> None: ...

    def skipped(self, protocol: Protocol, reason: str) -> None: ...


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

    @property
    def epochs_done(self) -> int:
        state = training.read_state(self.folder)
        return state.epoch if state else 0


@dataclass(frozen=True)
class Plan:
    """Everything a request comes to on one protocol."""

    protocol: Protocol
    entry: MethodEntry
    kind: type[Method]
    config: Config[Any]
    preset: str
    partial: bool
    folder: Path  # of scores, results and report
    skipped: str | None  # the method's reason not to run here
    trainings: list[Planned] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    plan: Plan
    results: list[Result]


def run(request: Request, reporter: Reporter | None = None) -> list[Outcome]:
    """Carry a request out; one outcome a protocol, with its results, fresh and earlier, in the protocol's order."""
    reporter = reporter or Reporter()
    outcomes = []
    for plan in make_plans(request, reporter):
        accelerator = make_accelerator(request.device, plan.config.train.precision)
        results: list[Result] = []
        for planned in plan.trainings:
            state = train(plan, planned, accelerator, reporter)
            results += score_and_evaluate(plan, planned, state, accelerator, reporter)
        if results:
            write_atomic(plan.folder / "report.md", markdown(read_results(plan)))
        outcomes.append(Outcome(plan, results))
    return outcomes


# --- plan -------------------------------------------------------------------------------------------------------------


def make_plans(request: Request, reporter: Reporter) -> list[Plan]:
    """One plan a protocol: data opened (and prepared), configuration resolved, trainings keyed."""
    entry = find_method(request.method)
    kind = entry.load()
    plans = []
    for protocol, pairs in find_evaluations(request.protocol):
        config, preset = resolve_config(entry, kind, protocol, request)
        folder = request.out / str(protocol) / _run_name(entry, preset, config, request.limit_videos)
        reason = kind.skip(protocol)
        plan = Plan(protocol, entry, kind, config, preset, request.limit_videos is not None, folder, reason)
        plans.append(plan)
        if reason:
            reporter.skipped(protocol, reason)
            continue
        splits = list(dict.fromkeys(split for split, _ in pairs))
        stores = open_stores(protocol, protocol.datasets_of(splits), progress=reporter.preparing)
        for split in splits:
            rows = open_split(protocol, split, stores, request.limit_videos)
            conditions = tuple(condition for s, condition in pairs if s == split)
            for seed in request.seeds:
                weights = weights_sha256(build_method(kind, config, rows.sources, seed))
                key = training_key(entry, config, weights, rows, seed)
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
    seed_torch(seed, "weights")
    return kind(config.model, sources)


def weights_sha256(method: Method) -> str:
    """Hash of every tensor of the method: pretrained, frozen and random ones."""
    parts: list[str | bytes] = []
    for name, value in sorted(method.state_dict().items()):
        raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        parts += [name, str(value.dtype), str(tuple(value.shape)), raw]
    return sha256(*parts)


def training_key(entry: MethodEntry, config: Config[Any], weights: str, rows: SplitRows, seed: int) -> str:
    """What a training depends on, as 16 hex digits; the test data are not part of it."""
    settings = config.model_dump(mode="json")
    settings["train"].pop("score_batch_size")
    return sha256(
        str(training.TRAINING_VERSION),
        entry.source_sha256(),
        canonical_json(settings),
        weights,
        rows.train.content_sha256(),
        rows.validation.content_sha256(),
        ",".join(rows.sources),
        str(seed),
    )[:16]


# --- train ------------------------------------------------------------------------------------------------------------


def train(plan: Plan, planned: Planned, accelerator: Accelerator, reporter: Reporter) -> training.State:
    """Train, or take the finished training of the same key."""
    state = training.read_state(planned.folder)
    if state is not None and state.epoch >= plan.config.train.epochs:
        return state
    if accelerator.num_processes > 1:
        raise ConfigError(
            "fasbench trains on one process: start one run for each device, e.g. with --seeds or a split each"
        )
    reporter.training_starts(plan, planned)
    task = training.Task(
        method=build_method(plan.kind, plan.config, planned.rows.sources, planned.seed),
        config=plan.config,
        train=planned.rows.train,
        validation=planned.rows.validation,
        sources=planned.rows.sources,
        seed=planned.seed,
        folder=planned.folder,
    )
    try:
        return training.train(task, accelerator, reporter.training_event)
    finally:
        accelerator.free_memory()


# --- score and evaluate -----------------------------------------------------------------------------------------------


def score_and_evaluate(
    plan: Plan, planned: Planned, state: training.State, accelerator: Accelerator, reporter: Reporter
) -> list[Result]:
    """Every condition x selection of a training: score file, then the result computed from it."""
    results = []
    epochs = {"source-val": state.best, "last": state.epoch - 1}
    method: Method | None = None
    for selection, epoch in epochs.items():
        full: metrics.Scores | None = None  # validation scores without a condition, shared by the conditions
        loaded = False
        for condition in planned.conditions:
            meta = ScoreMeta(
                method=plan.entry.name,
                protocol=plan.protocol.id,
                version=plan.protocol.version,
                split=planned.split,
                condition=condition,
                seed=planned.seed,
                selection=selection,
                epoch=epoch + 1,
                partial=plan.partial,
            )
            place = Path(planned.split) / condition / f"seed-{planned.seed}" / selection
            score_path = plan.folder / "scores" / place.with_suffix(".parquet")
            result_path = plan.folder / "results" / place.with_suffix(".json")
            if (earlier := _complete(plan, planned, meta, score_path, result_path)) is not None:
                results.append(earlier)
                reporter.evaluated(earlier, fresh=False)
                continue
            if method is None:
                method = build_method(plan.kind, plan.config, planned.rows.sources, planned.seed).to(accelerator.device)
            if not loaded:
                training.load_weights(method, planned.folder, epoch)
                loaded = True
            started = time.perf_counter()
            rule = plan.protocol.conditions[condition]

            def score(role: str, absent: tuple[str, ...], method: Method = method) -> metrics.Scores:
                rows = getattr(planned.rows, role)
                batch = plan.config.train.score_batch_size
                return as_scores(rows, score_rows(method, rows, accelerator.device, batch, absent))

            if rule.validation == "same" and rule.absent:
                validation = score("validation", rule.absent)
            else:
                validation = full = full or score("validation", ())
            scores = ScoreFile(meta, validation, score("test", rule.absent))
            scores.write(score_path)
            result = _record(plan, planned, state, scores, score_path, accelerator, time.perf_counter() - started)
            results.append(result.write(result_path))
            reporter.evaluated(results[-1], fresh=True)
    return results


def _complete(plan: Plan, planned: Planned, meta: ScoreMeta, score_path: Path, result_path: Path) -> Result | None:
    """The earlier result, if it belongs to this training, protocol and metrics, and its score file is intact."""
    if not (score_path.is_file() and result_path.is_file()):
        return None
    try:
        result = read_result(result_path)
    except DataError:
        return None
    same = (
        result.evaluation == meta
        and result.provenance.training_key == planned.key
        and result.provenance.protocol_sha256 == plan.protocol.sha256
        and result.provenance.data == data_sha256(planned)
        and result.metrics.get("metrics_version") == metrics.METRICS_VERSION
        and result.scores_sha256 == sha256_file(score_path)
    )
    return result if same else None


def _record(
    plan: Plan,
    planned: Planned,
    state: training.State,
    scores: ScoreFile,
    score_path: Path,
    accelerator: Accelerator,
    seconds: float,
) -> Result:
    """Metrics of a score file, with everything that produced it."""
    sha, dirty = code_version()
    return Result(
        evaluation=scores.meta,
        synthetic=any(plan.protocol.datasets[name].synthetic for name in data_sha256(planned)),
        headline=plan.protocol.headline,
        preset=plan.preset,
        fidelity=plan.config.model.fidelity,
        tied_epochs=state.tied() if scores.meta.selection == "source-val" else 1,
        metrics=metrics.evaluate(scores.validation, scores.test),
        rows_sha256=scores.rows_sha256(),
        scores_sha256=sha256_file(score_path),
        provenance=Provenance(
            fasbench=fasbench.__version__,
            git_sha=sha,
            git_dirty=dirty,
            method_sha256=plan.entry.source_sha256(),
            protocol_sha256=plan.protocol.sha256,
            data=data_sha256(planned),
            training_key=planned.key,
            initial_weights_sha256=planned.initial_weights_sha256,
            config=plan.config.model_dump(mode="json"),
            libraries=library_versions(),
        ),
        runtime=Runtime(
            device=describe_device(accelerator.device),
            training_seconds=round(state.seconds, 3),
            scoring_seconds=round(seconds, 3),
            peak_memory_bytes=peak_memory(accelerator.device),
        ),
    )


def data_sha256(planned: Planned) -> dict[str, str]:
    """Content hash of every data set that trains, selects or tests."""
    rows = planned.rows
    stores = {store.name: store for part in (rows.train, rows.validation, rows.test) for store in part.stores}
    return {name: stores[name].manifest["content_sha256"] for name in sorted(stores)}


def read_results(plan: Plan) -> list[Result]:
    """Every result in the plan's folder that belongs to its protocol as it is now, in the protocol's order."""
    order = {pair: position for position, pair in enumerate(plan.protocol.evaluations())}
    found = [read_result(path) for path in sorted((plan.folder / "results").rglob("*.json"))]
    current = [result for result in found if result.provenance.protocol_sha256 == plan.protocol.sha256]
    return sorted(current, key=lambda result: order[result.evaluation.split, result.evaluation.condition])
