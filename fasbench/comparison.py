"""fasbench compare: the paired tests of `fasbench.metrics.compare` over whole runs, refused where it would mislead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from fasbench.errors import ConfigError, DataError, problem_list, suggest
from fasbench.metrics import METRICS_VERSION, Ranking, Scores, holm, rank_methods, verdict
from fasbench.metrics.bootstrap import REPLICATES
from fasbench.metrics.compare import METRICS, PERMUTATIONS, check_request
from fasbench.resources import sha256_file
from fasbench.results import Result, read_result
from fasbench.runfolder import result_files, scores_of
from fasbench.scorefile import read_scores

Key = tuple[str, int]  # (split, seed)
ORACLE = "oracle"


@dataclass(frozen=True)
class Run:
    """The sound results of a run folder."""

    path: Path
    name: str  # of the method, or of the folder where two runs are of one method
    results: tuple[tuple[Path, Result], ...]

    def of(self, condition: str) -> dict[Key, tuple[Path, Result]]:
        chosen = [(path, result) for path, result in self.results if result.evaluation.condition == condition]
        return {(result.evaluation.split, result.evaluation.seed): (path, result) for path, result in chosen}


@dataclass(frozen=True)
class Compared:
    """Every comparison of a command; p-values are corrected over all of them together."""

    protocol: str  # with its version
    level: str
    policy: str
    selection: str
    rankings: dict[str, Ranking]  # by condition
    shared: dict[str, tuple[Key, ...]]  # by condition: what was compared
    counts: dict[str, tuple[int, int]]  # by condition: live and attack samples of the tests, each split once
    permutations: int
    replicates: int
    notes: tuple[str, ...]

    @property
    def tests(self) -> int:
        return sum(ranking.tests() for ranking in self.rankings.values())

    def verdicts(self, condition: str) -> list[str]:
        return [verdict(row, self.tests) for row in self.rankings[condition].rows]

    def behind(self, condition: str) -> str:
        """The whole tuple behind the numbers of a condition."""
        splits: dict[str, list[str]] = {}
        for split, seed in self.shared[condition]:
            splits.setdefault(split, []).append(str(seed))
        which = "; ".join(f"{split} seed {', '.join(seeds)}" for split, seeds in splits.items())
        live, attack = self.counts[condition]
        return (
            f"{self.protocol}, {condition}: {self.level} level, policy {self.policy}, selection {self.selection}, "
            f"metrics version {METRICS_VERSION}; {which}; {live:,} live / {attack:,} attack"
        )

    def as_json_object(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "level": self.level,
            "policy": self.policy,
            "selection": self.selection,
            "metrics_version": METRICS_VERSION,
            "permutations": self.permutations,
            "replicates": self.replicates,
            "tests": self.tests,
            "notes": list(self.notes),
            "conditions": {
                condition: {
                    "shared": [{"split": split, "seed": seed} for split, seed in self.shared[condition]],
                    "live": self.counts[condition][0],
                    "attack": self.counts[condition][1],
                    "comparisons": [
                        asdict(row) | {"better": row.better, "verdict": text}
                        for row, text in zip(ranking.rows, self.verdicts(condition), strict=True)
                    ],
                    "matrix": {metric: ranking.matrix(metric) for metric in ranking.metrics},
                    "ranks": {metric: ranking.ranks(metric) for metric in ranking.metrics},
                }
                for condition, ranking in self.rankings.items()
            },
        }


def compare_runs(
    folders: Sequence[Path],
    level: str | None = None,
    policy: str | None = None,
    selection: str | None = None,
    condition: str | None = None,
    permutations: int = PERMUTATIONS,
    replicates: int = REPLICATES,
) -> Compared:
    """Compare runs over all splits and seeds that they share, condition by condition.

    Args:
        level, policy, selection: None = the protocol's headline.
        condition: None = all that the runs share.

    Raises:
        ConfigError: fewer than two runs, an oracle policy or selection, runs that share nothing, or that may not share
            a table: other protocols, versions of protocol or metrics, partial data beside whole; all of it.
        DataError: results or score files that are damaged, or that are not of the same samples.
    """
    runs, notes = _open(folders)
    first = runs[0].results[0][1]
    level, policy = level or first.headline.level, policy or first.headline.policy
    selection = selection or first.headline.selection
    check_request(tuple(METRICS), policy, level)
    if selection == ORACLE:
        raise ConfigError(
            "selection 'oracle' is the epoch that is best on the test set: methods are not compared by it"
        )
    runs = [_selected(run, selection) for run in runs]
    _refuse_mixtures(runs)
    rankings, shared, counts = {}, {}, {}
    for name in _conditions(runs, condition):
        keys, left_out = _shared(runs, name)
        notes += left_out
        if not keys:
            continue
        methods = {run.name: _scores(run, name, keys) for run in runs}
        chosen = cast('Literal["frame", "video"]', level)
        rankings[name] = rank_methods(methods, tuple(METRICS), policy, chosen, permutations, replicates)
        shared[name], counts[name] = tuple(keys), _counts(methods[runs[0].name], level)
    if not rankings:
        raise ConfigError(problem_list("the runs share no split and seed:", [_held(run) for run in runs]))
    if first.evaluation.partial:
        notes.append("PARTIAL DATA: nothing follows from this, and it is never ranked elsewhere")
    if any(result.synthetic for run in runs for _, result in run.results):
        notes.append("SYNTHETIC DATA: the data are rendered, the numbers say nothing about real faces")
    protocol = f"{first.evaluation.protocol}@{first.evaluation.version}"
    corrected = _corrected(rankings)
    return Compared(
        protocol, level, policy, selection, corrected, shared, counts, permutations, replicates, tuple(notes)
    )


def _open(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """The runs with names of their own."""
    if len(folders) < 2:
        raise ConfigError("a comparison needs at least two runs")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("a run is named twice: each is compared with the others, not with itself")
    runs, problems = [], []
    for folder in folders:
        results = []
        for path in result_files(folder):
            try:
                results.append((path, read_result(path)))
            except DataError as error:
                problems.append(str(error))
        if results:
            runs.append(Run(folder, results[0][1].evaluation.method, tuple(results)))
    if problems:
        raise DataError(problem_list("some results cannot be read", problems))
    for named in (lambda run: run.path.resolve().name, lambda run: str(run.path)):
        methods = [run.name for run in runs]
        runs = [replace(run, name=named(run)) if methods.count(run.name) > 1 else run for run in runs]
    notes = []
    for run in runs:
        fidelity = sorted({result.fidelity for _, result in run.results})
        presets = sorted({result.preset for _, result in run.results})
        notes.append(f"{run.name}: {run.path}, preset {', '.join(presets)}, fidelity {', '.join(fidelity)}")
    return runs, notes


def _selected(run: Run, selection: str) -> Run:
    known = sorted({result.evaluation.selection for _, result in run.results})
    if selection not in known:
        hint = suggest(selection, known)
        raise ConfigError(f"{run.path} has no results of selection '{selection}'.{hint} It has: {', '.join(known)}")
    chosen = [(path, result) for path, result in run.results if result.evaluation.selection == selection]
    return replace(run, results=tuple(chosen))


def _refuse_mixtures(runs: list[Run]) -> None:
    """Raise ConfigError unless all results may share one table."""
    problems = []
    kinds = {
        "protocols": lambda r: f"{r.evaluation.protocol}@{r.evaluation.version}",
        "contents of the protocol": lambda r: r.provenance.protocol_sha256[:16],
        "metrics versions": lambda r: f"version {r.metrics.get('metrics_version')}",
        "extents of the data": lambda r: "a part of the data" if r.evaluation.partial else "all of the data",
    }
    for what, of in kinds.items():
        found = {run.name: sorted({of(result) for _, result in run.results}) for run in runs}
        if len({value for values in found.values() for value in values}) > 1:
            each = "; ".join(f"{name}: {', '.join(values)}" for name, values in found.items())
            problems.append(f"different {what}: {each}")
    versions = {result.metrics.get("metrics_version") for run in runs for _, result in run.results}
    if versions != {METRICS_VERSION} and len(versions) == 1:
        problems.append(
            f"the runs are of metrics version {versions.pop()}, this fasbench computes version {METRICS_VERSION}: run "
            "them again, what is trained is kept"
        )
    if problems:
        raise ConfigError(problem_list("the runs cannot be compared", problems))


def _conditions(runs: list[Run], condition: str | None) -> list[str]:
    """The conditions that all runs have, or the one asked for."""
    of_each = [list(dict.fromkeys(result.evaluation.condition for _, result in run.results)) for run in runs]
    common = [name for name in of_each[0] if all(name in names for names in of_each)]
    if condition is not None and condition not in common:
        hint = suggest(condition, common)
        raise ConfigError(
            f"--condition {condition}: the runs do not share it.{hint} They do: {', '.join(common) or '-'}"
        )
    return [condition] if condition is not None else common


def _shared(runs: list[Run], condition: str) -> tuple[list[Key], list[str]]:
    """The (split, seed) pairs that all runs have, and a note on each run that has more."""
    of_each = {run.name: run.of(condition).keys() for run in runs}
    common = sorted(set.intersection(*(set(keys) for keys in of_each.values())))
    notes = []
    for name, keys in of_each.items():
        if surplus := sorted(set(keys) - set(common)):
            listed = ", ".join(f"{split} seed {seed}" for split, seed in surplus)
            notes.append(f"{condition}: left out of {name}, as not all runs have it: {listed}")
    return common, notes


def _held(run: Run) -> str:
    places = sorted({(r.evaluation.split, r.evaluation.condition, r.evaluation.seed) for _, r in run.results})
    return f"{run.name} has " + ", ".join(f"{split}/{condition} seed {seed}" for split, condition, seed in places)


def _scores(run: Run, condition: str, keys: Iterable[Key]) -> dict[Key, tuple[Scores, Scores]]:
    """The scores of a run, from the very files that its results were computed from."""
    held, found, problems = run.of(condition), {}, []
    for key in keys:
        path, result = held[key]
        scores_path = scores_of(run.path, path)
        try:
            scores = read_scores(scores_path)
        except DataError as error:
            problems.append(str(error))
            continue
        if sha256_file(scores_path) != result.scores_sha256:
            problems.append(f"{scores_path}: not the file its result was computed from")
        found[key] = scores.validation, scores.test
    if problems:
        raise DataError(problem_list(f"{run.path}: see 'fasbench verify {run.path}'", problems))
    return found


def _counts(scores: dict[Key, tuple[Scores, Scores]], level: str) -> tuple[int, int]:
    tests = {split: test if level == "frame" else test.by_video() for (split, _), (_, test) in scores.items()}
    live = sum(int(test.labels.sum()) for test in tests.values())
    return live, sum(len(test.labels) for test in tests.values()) - live


def _corrected(rankings: dict[str, Ranking]) -> dict[str, Ranking]:
    """Holm's correction over the pairs and metrics of all conditions together."""
    corrected = iter(holm([row.p_value for ranking in rankings.values() for row in ranking.rows]))
    return {
        name: replace(ranking, rows=tuple(replace(row, p_holm=next(corrected)) for row in ranking.rows))
        for name, ranking in rankings.items()
    }
