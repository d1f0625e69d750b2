"""The main path: plan -> train -> score -> evaluate -> record. Read `run` from top to bottom.

What is complete and intact is never repeated: trainings lie in folders named by everything that determines them
(`<out>/trainings/<key>`), and an evaluation is kept when its result belongs to that training and its score file is the
one the result was computed from.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import fasbench
from fasbench import metrics, training
from fasbench.device import describe_device, make_accelerator, peak_memory
from fasbench.errors import ConfigError, DataError
from fasbench.method import Method
from fasbench.plan import Plan, Planned, Request, build_method, make_plans
from fasbench.resources import sha256_file, write_atomic
from fasbench.results import Provenance, Result, Runtime, code_version, library_versions, read_result
from fasbench.scorefile import ScoreFile, ScoreMeta, read_scores
from fasbench.scoring import as_scores, score_rows
from fasbench.summary import markdown

if TYPE_CHECKING:
    from accelerate import Accelerator

SELECTIONS = ("source-val", "last")  # which epoch is evaluated; neither looks at the test data


class Reporter:
    """What the runner tells the outside; this one is silent. See `fasbench.cli.progress` for the one people see."""

    def preparing(self, dataset: str, done: int, total: int) -> None: ...

    def training_starts(self, plan: Plan, planned: Planned) -> None: ...

    def training_kept(self, planned: Planned) -> None: ...

    def training_event(self, event: dict[str, Any]) -> None: ...

    def evaluated(self, result: Result, fresh: bool) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """A plan and its results, fresh and earlier ones; none if the method skips the protocol."""

    plan: Plan
    results: list[Result]


def run(request: Request, reporter: Reporter | None = None) -> list[Outcome]:
    """Carry a request out; one outcome a protocol, with the results in the protocol's order."""
    reporter = reporter or Reporter()
    outcomes = []
    for plan in make_plans(request, reporter.preparing):
        accelerator = make_accelerator(request.device, plan.config.train.precision)
        results: list[Result] = []
        for planned in plan.trainings:
            state = train(plan, planned, accelerator, reporter)
            checkpoints = Checkpoints(plan, planned, accelerator.device)
            for selection in SELECTIONS:
                epoch = state.best if selection == "source-val" else state.epoch - 1
                for condition in planned.conditions:
                    evaluation = Evaluation(plan, planned, state, condition, selection, epoch)
                    earlier = evaluation.earlier()
                    results.append(earlier or evaluation.record(checkpoints))
                    reporter.evaluated(results[-1], fresh=earlier is None)
        if results:
            write_atomic(plan.folder / "report.md", markdown(read_results(plan)))
        outcomes.append(Outcome(plan, results))
    return outcomes


def train(plan: Plan, planned: Planned, accelerator: Accelerator, reporter: Reporter) -> training.State:
    """Train, or take the finished training of the same key."""
    state = training.read_state(planned.folder)
    if state is not None and state.epoch >= plan.config.train.epochs:
        reporter.training_kept(planned)
        return state
    if accelerator.num_processes > 1:
        raise ConfigError("fasbench trains on one process: start a run for each device, with a seed or a split each")
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


class Checkpoints:
    """Scores of a training's checkpoints. Each is loaded when it is needed, and nothing is scored twice."""

    def __init__(self, plan: Plan, planned: Planned, device: torch.device) -> None:
        self.plan = plan
        self.planned = planned
        self.device = device
        self._method: Method | None = None
        self._loaded: int | None = None
        self._scores: dict[tuple[int, str, tuple[str, ...]], metrics.Scores] = {}

    def scores(self, epoch: int, role: str, absent: tuple[str, ...]) -> metrics.Scores:
        """Scores of the `validation` or `test` rows by the checkpoint of `epoch`, without the absent modalities."""
        key = (epoch, role, absent)
        if key not in self._scores:
            rows = getattr(self.planned.rows, role)
            batch_size = self.plan.config.train.score_batch_size
            scores = score_rows(self._load(epoch), rows, self.device, batch_size, absent)
            self._scores[key] = as_scores(rows, scores)
        return self._scores[key]

    def _load(self, epoch: int) -> Method:
        if self._method is None:
            method = build_method(self.plan.kind, self.plan.config, self.planned.rows.sources, self.planned.seed)
            self._method = method.to(self.device)
        if self._loaded != epoch:
            training.load_weights(self._method, self.planned.folder, epoch)
            self._loaded = epoch
        return self._method


@dataclass(frozen=True)
class Evaluation:
    """One condition x selection of a training: its score file, and the result computed from it."""

    plan: Plan
    planned: Planned
    state: training.State
    condition: str
    selection: str
    epoch: int  # of the checkpoint, from 0

    @property
    def meta(self) -> ScoreMeta:
        return ScoreMeta(
            method=self.plan.entry.name,
            protocol=self.plan.protocol.id,
            version=self.plan.protocol.version,
            split=self.planned.split,
            condition=self.condition,
            seed=self.planned.seed,
            selection=self.selection,
            epoch=self.epoch + 1,
            partial=self.plan.partial,
        )

    @property
    def _place(self) -> Path:
        return Path(self.planned.split) / self.condition / f"seed-{self.planned.seed}" / self.selection

    @property
    def score_path(self) -> Path:
        return self.plan.folder / "scores" / self._place.with_suffix(".parquet")

    @property
    def result_path(self) -> Path:
        return self.plan.folder / "results" / self._place.with_suffix(".json")

    def earlier(self) -> Result | None:
        """The result on disk, if it belongs to this training, protocol and metrics, and its score file is intact."""
        if not (self.score_path.is_file() and self.result_path.is_file()):
            return None
        try:
            result = read_result(self.result_path)
        except DataError:
            return None
        same = (
            result.evaluation == self.meta
            and result.provenance.training_key == self.planned.key
            and result.provenance.data == self.planned.data_sha256()
            and _comparable(result, self.plan)
            and result.scores_sha256 == sha256_file(self.score_path)
        )
        return result if same else None

    def record(self, checkpoints: Checkpoints) -> Result:
        """Score, write the score file, evaluate it, write the result."""
        started = time.perf_counter()
        rule = self.plan.protocol.conditions[self.condition]
        known = rule.absent if rule.validation == "same" else ()  # what the device knows is missing
        validation = checkpoints.scores(self.epoch, "validation", known)
        test = checkpoints.scores(self.epoch, "test", rule.absent)
        ScoreFile(self.meta, validation, test).write(self.score_path)
        scores = read_scores(self.score_path)  # the numbers are those of the file, as anybody can recompute them
        result = Result(
            evaluation=self.meta,
            synthetic=any(self.plan.protocol.datasets[name].synthetic for name in self.planned.data_sha256()),
            headline=self.plan.protocol.headline,
            preset=self.plan.preset,
            sets=self.plan.sets,
            fidelity=self.plan.config.model.fidelity,
            tied_epochs=self.state.tied() if self.selection == "source-val" else 1,
            metrics=metrics.evaluate(scores.validation, scores.test),
            rows_sha256=scores.rows_sha256(),
            scores_sha256=sha256_file(self.score_path),
            provenance=self._provenance(),
            runtime=Runtime(
                device=describe_device(checkpoints.device),
                training_seconds=round(self.state.seconds, 3),
                scoring_seconds=round(time.perf_counter() - started, 3),
                peak_memory_bytes=peak_memory(checkpoints.device),
            ),
        )
        return result.write(self.result_path)

    def _provenance(self) -> Provenance:
        sha, dirty = code_version()
        return Provenance(
            fasbench=fasbench.__version__,
            git_sha=sha,
            git_dirty=dirty,
            method_sha256=self.plan.method_sha256,
            protocol_sha256=self.plan.protocol.sha256,
            data=self.planned.data_sha256(),
            training_key=self.planned.key,
            initial_weights_sha256=self.planned.initial_weights_sha256,
            config=self.plan.config.model_dump(mode="json"),
            libraries=library_versions(),
        )


def _comparable(result: Result, plan: Plan) -> bool:
    return (
        result.provenance.protocol_sha256 == plan.protocol.sha256
        and result.provenance.method_sha256 == plan.method_sha256
        and result.metrics["metrics_version"] == metrics.METRICS_VERSION
    )


def read_results(plan: Plan) -> list[Result]:
    """Every sound result in the plan's folder that may share a table with the plan's own, in the protocol's order.

    Left out: results of another protocol, method source or metrics version, and files that were edited or damaged.
    """
    order = {pair: position for position, pair in enumerate(plan.protocol.evaluations())}
    current = []
    for path in sorted((plan.folder / "results").rglob("*.json")):
        try:
            result = read_result(path)
        except DataError:
            continue
        if _comparable(result, plan):
            current.append(result)

    def position(result: Result) -> tuple[int, int, int]:
        e = result.evaluation
        return order[e.split, e.condition], SELECTIONS.index(e.selection), e.seed

    return sorted(current, key=position)
