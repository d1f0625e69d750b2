"""From a run's folder to its page: results and score files read and checked, one selection and level chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fasbench.errors import ConfigError, DataError, problem_list, suggest
from fasbench.metrics import METRICS_VERSION
from fasbench.protocol import load_protocol
from fasbench.registry import protocols
from fasbench.report.page import page
from fasbench.resources import canonical_json, sha256_file, write_atomic
from fasbench.results import Result, read_result
from fasbench.scorefile import ScoreFile, read_scores

LEVELS = ("frame", "video")


@dataclass(frozen=True)
class Evaluated:
    """One evaluation of a run: its result, and the score file that the result was computed from."""

    result: Result
    scores: ScoreFile


def write_report(run: Path, out: Path | None = None, level: str | None = None, selection: str | None = None) -> Path:
    """Write the report of a run; returns where it lies: `out`, or `report.html` in the run's folder.

    Raises:
        ConfigError: not a run, or no such level or selection.
        DataError: nothing in it can be shown.
    """
    target = out or run / "report.html"
    if target.is_dir():
        raise ConfigError(f"--out {target}: is a folder, expected a file such as {target / 'report.html'}")
    write_atomic(target, render(*read_run(run), level, selection))
    return target


def render(
    evaluated: Sequence[Evaluated], left_out: Sequence[str] = (), level: str | None = None, selection: str | None = None
) -> str:
    """The page of evaluations that may share a table.

    Args:
        left_out: what else the run's folder holds, and why it is not shown.
        level, selection: None = those of the protocol's headline.
    """
    results = [one.result for one in evaluated]
    headline = results[0].headline
    level = level or headline.level
    if level not in LEVELS:
        raise ConfigError(f"--level {level}: expected frame or video")
    known = list(dict.fromkeys(result.evaluation.selection for result in results))
    selection = selection or (headline.selection if headline.selection in known else known[0])
    if selection not in known:
        raise ConfigError(
            f"--selection {selection}: the run has none.{suggest(selection, known)} Known: {', '.join(known)}"
        )
    chosen = [(one.result, one.scores) for one in evaluated if one.result.evaluation.selection == selection]
    return page(chosen, level, selection, results, left_out)


def read_run(run: Path) -> tuple[list[Evaluated], list[str]]:
    """The sound evaluations in a run's folder that may share a table, in the protocol's order; what is left out, why.

    Where the folder holds results of several sources or versions, those of which there are most are taken.
    """
    files = sorted((run / "results").rglob("*.json"))
    if not files:
        if not run.exists():
            raise ConfigError(f"{run}: no such folder")
        below = sorted({str(found.parent) for depth in range(1, 5) for found in run.glob("*/" * depth + "results")})
        here = problem_list(" It holds these runs:", below, limit=20) if below else ""
        raise ConfigError(f"{run}: not a run's folder, there is no result in {run / 'results'}.{here}")
    found, problems = {}, []
    for file in files:
        place = file.relative_to(run / "results").with_suffix("").as_posix()
        try:
            found[place] = _read(file, run / "scores" / f"{place}.parquet")
        except DataError as error:
            problems.append((place, str(error)))
    if not found:
        raise DataError(problem_list(f"{run}: no evaluation can be shown", [text for _, text in problems], limit=20))
    # The errors name files of this machine, the page does not.
    left_out = [f"{place}: no sound result with the score file it was computed from" for place, _ in problems]
    kinds = {place: _kind(one.result) for place, one in found.items()}
    common = Counter(kinds.values()).most_common(1)[0][0]
    data: dict[str, str] = {}
    kept = []
    for place, one in found.items():
        hashes = one.result.provenance.data
        if kinds[place] != common:
            left_out.append(f"{place}: of another method source, protocol, configuration or version of fasbench")
        elif any(data.get(name, digest) != digest for name, digest in hashes.items()):
            left_out.append(f"{place}: of other data")
        else:
            data |= hashes
            kept.append(one)
    version = kept[0].result.metrics["metrics_version"]
    if version != METRICS_VERSION:
        raise DataError(
            f"{run}: its numbers are of metrics version {version}, this fasbench computes version {METRICS_VERSION}. "
            "Run the same `fasbench run` again: trainings are kept, scores are evaluated anew"
        )
    return _ordered(kept), left_out


def _read(file: Path, scores: Path) -> Evaluated:
    """Raises DataError unless the result is sound, and the score file the one it was computed from."""
    result = read_result(file)
    try:
        same = result.scores_sha256 == sha256_file(scores)
    except OSError as error:
        raise DataError(f"{scores}: {error.strerror or error}") from None
    if not same:
        raise DataError(f"{scores}: not the score file that {file} was computed from")
    read = read_scores(scores)
    if read.meta != result.evaluation:
        raise DataError(f"{scores}: says it is of another evaluation than {file}")
    return Evaluated(result, read)


def _kind(result: Result) -> str:
    """What results that share a table agree on."""
    e, p = result.evaluation, result.provenance
    shared = (e.method, e.protocol, e.version, p.protocol_sha256, p.method_sha256, result.fidelity, result.preset)
    return canonical_json([*shared, result.sets, p.versions, p.limit_videos, result.metrics["metrics_version"]])


def _ordered(evaluated: list[Evaluated]) -> list[Evaluated]:
    """In the order of the protocol, if it is bundled and still the same; else by name, `full` first."""
    first = evaluated[0].result
    order: list[tuple[str, str]] = []
    file = protocols().get(first.evaluation.protocol)
    if file is not None:
        protocol = load_protocol(file)
        if protocol.sha256 == first.provenance.protocol_sha256:
            order = list(protocol.evaluations())

    def position(one: Evaluated) -> tuple[int, str, bool, str, int]:
        e = one.result.evaluation
        place = order.index((e.split, e.condition)) if (e.split, e.condition) in order else len(order)
        return place, e.split, e.condition != "full", e.condition, e.seed

    return sorted(evaluated, key=position)
