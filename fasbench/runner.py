"""The main path: plan -> train -> score -> evaluate -> record. Read `run` from top to bottom.

What is complete and intact is never repeated: trainings lie in folders named by everything that determines them
(`<out>/trainings/<key>`), and an evaluation is kept when its result belongs to that training and its score file is the
one the result was computed from.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import fasbench
from fasbench import training
from fasbench.checkpoints import Checkpoints, EpochScores
from fasbench.data.conditions import CONDITIONS_VERSION
from fasbench.device import describe_device, make_accelerator, peak_memory
from fasbench.errors import ConfigError, DataError, FasbenchError, problem_list
from fasbench.evaluation import evaluate_scores
from fasbench.plan import Plan, Planned, Request, build_method, make_plans
from fasbench.replicates import pack
from fasbench.resources import sha256_file, write_atomic
from fasbench.results import Provenance, Result, Runtime, code_version, library_versions, read_result
from fasbench.scorefile import ScoreFile, ScoreMeta, read_scores
from fasbench.summary import markdown
from fasbench.versions import current_versions

if TYPE_CHECKING:
    from accelerate import Accelerator

SELECTIONS = ("source-val", "last")  # which epoch is evaluated; neither looks at the test data
ORACLE = "oracle"  # the epoch that is best on the test data: on request, marked, never ranked


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
    plans = make_plans(request, reporter.preparing)
    if request.overwrite == "never":
        refuse_to_replace(plans, request.oracle)
    renew = {planned.folder for plan in plans for planned in plan.trainings} if request.overwrite == "always" else set()
    outcomes = []
    for plan in plans:
        accelerator = make_accelerator(request.device, plan.config.train.precision)
        results: list[Result] = []
        for planned in plan.trainings:
            if planned.folder in renew:
                training.discard(planned.folder)
                renew.remove(planned.folder)  # protocols share trainings: once is enough
            epochs = every_epoch(plans, planned, accelerator.device) if request.oracle else None
            state = train(plan, planned, accelerator, reporter, epochs)
            if epochs is not None:
                epochs.require(state.weights)  # another run may have trained meanwhile, without them
            checkpoints = Checkpoints(plan, planned, state, accelerator.device, epochs)
            for evaluation in evaluations(plan, planned, state, epochs):
                earlier = None if request.overwrite == "always" else evaluation.earlier()
                results.append(earlier or evaluation.record(checkpoints))
                reporter.evaluated(results[-1], fresh=earlier is None)
        if results:
            write_atomic(plan.folder / "report.md", markdown(*read_results(plan)))
        outcomes.append(Outcome(plan, results))
    return outcomes


def refuse_to_replace(plans: list[Plan], oracle: bool) -> None:
    """Raise FasbenchError if a planned evaluation would replace a result or score file of another training."""
    stale = []
    for plan in plans:
        for planned in plan.trainings:
            for path, scores in _places(plan, planned, oracle):
                if not path.is_file() and not scores.is_file():
                    continue
                result = _belongs(path, plan, planned)
                if result is None or not scores.is_file() or result.scores_sha256 != sha256_file(scores):
                    stale.append(
                        f"{path}: edited, or from another method source, protocol, data or version of fasbench"
                    )
    if stale:
        raise FasbenchError(problem_list("--overwrite never: these results would be replaced", stale))


def every_epoch(plans: list[Plan], planned: Planned, device: torch.device) -> EpochScores:
    """The scores of every epoch of a training, under the conditions of all plans that share it."""
    sharing = [(plan, one) for plan in plans for one in plan.trainings if one.folder == planned.folder]
    targets = [(one.rows, plan.protocol.conditions[name]) for plan, one in sharing for name in one.conditions]
    return EpochScores(planned.folder, targets, device, sharing[0][0].config.train.score_batch_size)


def evaluations(
    plan: Plan, planned: Planned, state: training.State, epochs: EpochScores | None
) -> Iterator[Evaluation]:
    """What a finished training is evaluated for: selection by selection, condition by condition."""
    for condition in planned.conditions:
        yield Evaluation(plan, planned, state, condition, "source-val", state.best, state.tied())
    for condition in planned.conditions:
        yield Evaluation(plan, planned, state, condition, "last", state.epoch - 1)
    if epochs is not None:
        for condition in planned.conditions:
            rule = plan.protocol.conditions[condition]
            epoch, tied = epochs.choose(state.weights, planned.rows.test, rule)
            yield Evaluation(plan, planned, state, condition, ORACLE, epoch, tied)


def train(
    plan: Plan, planned: Planned, accelerator: Accelerator, reporter: Reporter, epochs: EpochScores | None = None
) -> training.State:
    """Train, or take the finished training of the same key."""
    state = training.read_state(planned.folder)
    if epochs is not None:
        epochs.require(state.weights if state else [])
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
        observe=epochs.note if epochs else None,
    )
    try:
        return training.train(task, accelerator, reporter.training_event)
    finally:
        accelerator.free_memory()


@dataclass(frozen=True)
class Evaluation:
    """One condition x selection of a training: its score file, and the result computed from it."""

    plan: Plan
    planned: Planned
    state: training.State
    condition: str
    selection: str
    epoch: int  # of the checkpoint, from 0
    tied: int = 1  # epochs that share what the selection looks at first

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
            partial=self.plan.limit_videos is not None or self.planned.rows.incomplete,
        )

    @property
    def score_path(self) -> Path:
        return _path(self.plan, self.planned, "scores", self.condition, f"{self.selection}.parquet")

    @property
    def result_path(self) -> Path:
        return _path(self.plan, self.planned, "results", self.condition, f"{self.selection}.json")

    def earlier(self) -> Result | None:
        """The result on disk, if it belongs to this training, protocol and metrics, and its score file is intact."""
        if not (self.score_path.is_file() and self.result_path.is_file()):
            return None
        result = _belongs(self.result_path, self.plan, self.planned)
        if result is None or result.evaluation != self.meta:
            return None
        if result.provenance.weights_sha256 != self.state.weights[self.epoch]:
            return None
        return result if result.scores_sha256 == sha256_file(self.score_path) else None

    def record(self, checkpoints: Checkpoints) -> Result:
        """Score, write the score file, evaluate it, write the result."""
        started = time.perf_counter()
        rule = self.plan.protocol.conditions[self.condition]
        validation = checkpoints.scores(self.epoch, "validation", rule)
        test = checkpoints.scores(self.epoch, "test", rule)
        ScoreFile(self.meta, validation, test).write(self.score_path)
        scores = read_scores(self.score_path)  # the numbers are those of the file, as anybody can recompute them
        policy = self.plan.protocol.headline.policy
        numbers, drawn = evaluate_scores(scores.validation, scores.test, policy)
        assert drawn is not None  # replicates are asked for
        result = Result(
            evaluation=self.meta,
            synthetic=any(self.plan.protocol.datasets[name].synthetic for name in self.planned.data_sha256()),
            headline=self.plan.protocol.headline,
            preset=self.plan.preset,
            sets=self.plan.sets,
            fidelity=self.plan.config.model.fidelity,
            tied_epochs=self.tied,
            metrics=numbers,
            replicates=pack(drawn, policy),
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
            weights_sha256=self.state.weights[self.epoch],
            versions=current_versions(),
            limit_videos=self.plan.limit_videos,
            conditions_version=_conditions_version(self.plan, self.condition),
            config=self.plan.config.model_dump(mode="json"),
            libraries=library_versions(),
        )


def _path(plan: Plan, planned: Planned, kind: str, condition: str, name: str) -> Path:
    return plan.folder / kind / planned.split / condition / f"seed-{planned.seed}" / name


def _places(plan: Plan, planned: Planned, oracle: bool) -> Iterator[tuple[Path, Path]]:
    """Result and score file of every evaluation."""
    for condition in planned.conditions:
        for selection in (*SELECTIONS, ORACLE) if oracle else SELECTIONS:
            yield (
                _path(plan, planned, "results", condition, f"{selection}.json"),
                _path(plan, planned, "scores", condition, f"{selection}.parquet"),
            )


def _belongs(path: Path, plan: Plan, planned: Planned) -> Result | None:
    """The result at `path` if it is sound and of this training, on these data."""
    try:
        result = read_result(path)
    except DataError:
        return None
    same = result.provenance.training_key == planned.key and result.provenance.data == planned.data_sha256()
    return result if same and _comparable(result, plan) else None


def _comparable(result: Result, plan: Plan) -> bool:
    """Whether a result may stand in one table with those of the plan."""
    provenance = result.provenance
    data = {name: digest for planned in plan.trainings for name, digest in planned.data_sha256().items()}
    return (
        provenance.protocol_sha256 == plan.protocol.sha256
        and provenance.method_sha256 == plan.method_sha256
        and provenance.versions == current_versions()
        and provenance.conditions_version == _conditions_version(plan, result.evaluation.condition)
        and all(data.get(name, digest) == digest for name, digest in provenance.data.items())
    )


def _conditions_version(plan: Plan, condition: str) -> int | None:
    return CONDITIONS_VERSION if plan.protocol.conditions[condition].degrade else None


def read_results(plan: Plan) -> tuple[list[Result], int]:
    """The results in the plan's folder that may share a table with its own, in the protocol's order, and the rest.

    Left out and only counted: results of another protocol, method source, data or version of fasbench, and those that
    were edited or whose score files are not the ones they were computed from.
    """
    order = {pair: position for position, pair in enumerate(plan.protocol.evaluations())}
    current, left_out = [], 0
    folder = plan.folder / "results"
    for path in sorted(folder.rglob("*.json")):
        scores = plan.folder / "scores" / path.relative_to(folder).with_suffix(".parquet")
        try:
            result = read_result(path)
            sound = _comparable(result, plan) and result.scores_sha256 == sha256_file(scores)
        except (DataError, OSError, KeyError):  # KeyError: a condition the protocol no longer has
            sound = False
        if sound:
            current.append(result)
        else:
            left_out += 1

    def position(result: Result) -> tuple[int, int, int]:
        e = result.evaluation
        return order[e.split, e.condition], (*SELECTIONS, ORACLE).index(e.selection), e.seed

    return sorted(current, key=position), left_out
