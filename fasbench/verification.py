"""fasbench verify: every result of a run, computed again from its score file and compared number by number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fasbench.errors import DataError
from fasbench.evaluation import evaluate_scores
from fasbench.metrics import METRICS_VERSION, POLICIES
from fasbench.replicates import pack, unpack
from fasbench.resources import sha256_file
from fasbench.results import Result, read_result
from fasbench.runfolder import place_of, result_files, scores_of
from fasbench.scorefile import ScoreFile, read_scores

TOLERANCE = 1e-9  # another processor or library may add in another order
_MISSING = object()


@dataclass
class Verified:
    """What was compared of one result, and what differs."""

    name: str  # of the file, relative to the run
    numbers: int = 0  # compared, of the metrics
    replicates: int = 0  # compared, behind the headline numbers
    problems: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.problems


def verify_run(run: Path) -> Iterator[Verified]:
    """Verify every result of a run, one after the other; then name the score files that no result stands for.

    Raises:
        ConfigError: not a run's folder.
    """
    files = result_files(run)
    for path in files:
        yield verify_result(run, path)
    known = {scores_of(run, path) for path in files}
    for path in sorted((run / "scores").rglob("*.parquet")):
        if path not in known:
            yield Verified(str(path.relative_to(run)), problems=["a score file without a result"])


def verify_result(run: Path, path: Path) -> Verified:
    """Compute one result again from its score file and compare: hashes, what it is of, every number, the replicates."""
    found = Verified(str(path.relative_to(run)))
    try:
        result = read_result(path)
    except DataError as error:  # the content hash, too
        found.problems.append(str(error))
        return found
    if path.relative_to(run / "results") != place_of(result.evaluation):
        found.problems.append(f"it lies in the place of another: expected results/{place_of(result.evaluation)}")
    scores_path = scores_of(run, path)
    if not scores_path.is_file():
        found.problems.append(f"its score file is gone: {scores_path.relative_to(run)}")
        return found
    if (digest := sha256_file(scores_path)) != result.scores_sha256:
        found.problems.append(f"scores_sha256: the result says {result.scores_sha256}, the score file has {digest}")
    try:
        scores = read_scores(scores_path)
    except DataError as error:
        found.problems.append(str(error))
        return found
    if scores.meta != result.evaluation:
        found.problems += [
            f"{name}: the result says {value}, the score file {getattr(scores.meta, name)}"
            for name, value in result.evaluation
            if value != getattr(scores.meta, name)
        ]
    if (digest := scores.rows_sha256()) != result.rows_sha256:
        found.problems.append(f"rows_sha256: the result says {result.rows_sha256}, the score file has {digest}")
    version = result.metrics.get("metrics_version")
    if version != METRICS_VERSION:
        found.problems.append(
            f"its numbers are of metrics version {version} and cannot be computed again with version "
            f"{METRICS_VERSION}: install the fasbench that wrote it ({result.provenance.fasbench}), or run it again"
        )
        return found
    _compare(found, result, scores)
    return found


def _compare(found: Verified, result: Result, scores: ScoreFile) -> None:
    """Every number of the metrics, then the replicates."""
    stored = result.metrics
    try:
        policies = tuple(name for name in POLICIES if name in stored["levels"]["frame"]["policies"])
        replicates = int(stored["bootstrap"]["replicates"])
    except (LookupError, TypeError, ValueError) as error:
        found.problems.append(f"metrics: not what fasbench writes ({type(error).__name__}: {error})")
        return
    policy = result.headline.policy
    numbers, drawn = evaluate_scores(scores.validation, scores.test, policy, policies, replicates)
    for place, said, computed in walk(stored, numbers):
        found.numbers += 1
        if not _same(said, computed):
            found.problems.append(f"{place}: the result says {_shown(said)}, computed again {_shown(computed)}")
    if drawn is None:
        return
    packed = pack(drawn, policy)
    for name in sorted(packed.keys() | result.replicates.keys()):
        said, computed = unpack(result.replicates, name), unpack(packed, name)
        if said is None or computed is None:
            found.problems.append(f"replicates {name}: only in {'what is computed' if said is None else 'the result'}")
        elif said.shape != computed.shape or not np.allclose(said, computed, rtol=0, atol=2e-5, equal_nan=True):
            found.problems.append(f"replicates {name}: other values than computed again")
        else:
            found.replicates += len(said)


def walk(said: Any, computed: Any, place: str = "metrics") -> Iterator[tuple[str, Any, Any]]:
    """Every leaf of two JSON values side by side, with its place; what only one has stands beside `_MISSING`."""
    if isinstance(said, dict) and isinstance(computed, dict):
        for key in sorted(said.keys() | computed.keys()):
            yield from walk(said.get(key, _MISSING), computed.get(key, _MISSING), f"{place}.{key}")
    elif isinstance(said, list) and isinstance(computed, list) and len(said) == len(computed):
        for number, pair in enumerate(zip(said, computed, strict=True)):
            yield from walk(*pair, f"{place}[{number}]")
    else:
        yield place, said, computed


def _same(said: Any, computed: Any) -> bool:
    floats = [value for value in (said, computed) if isinstance(value, float | int) and not isinstance(value, bool)]
    if len(floats) == 2:
        return math.isclose(said, computed, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return type(said) is type(computed) and bool(said == computed)


def _shown(value: Any) -> str:
    return "nothing" if value is _MISSING else repr(value)
