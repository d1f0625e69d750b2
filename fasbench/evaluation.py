"""Every number of a score file: of our own runs, and of any system's that follows a protocol.

`evaluate_scores` is what the runner records and what `fasbench verify` computes again; `evaluate_file` takes a file of
unknown origin, checks it against its protocol as far as this machine can, and says how far that was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasbench import metrics
from fasbench.anyscores import AnyScores, notes_on, read_any_scores
from fasbench.data.keys import row_key, rows_sha256
from fasbench.errors import ConfigError, DataError, problem_list, suggest
from fasbench.expected import check_rows
from fasbench.metrics import POLICIES, Bootstrap, Scores
from fasbench.metrics.bootstrap import REPLICATES
from fasbench.metrics.policies import get_policy
from fasbench.protocol import Protocol
from fasbench.registry import find_evaluations
from fasbench.resources import sha256_file
from fasbench.scorefile import PARTS

ORACLE_POLICY = "test-eer"
UNKNOWN = "unknown"


def evaluate_scores(
    validation: Scores,
    test: Scores,
    headline: str,
    policies: Sequence[str] = tuple(POLICIES),
    replicates: int = REPLICATES,
) -> tuple[dict[str, Any], Bootstrap | None]:
    """All metrics, with slices at the headline policy's threshold and the oracle's."""
    sliced = [policy for policy in dict.fromkeys((headline, ORACLE_POLICY)) if policy in policies]
    return metrics.evaluate_with_replicates(validation, test, policies, replicates, sliced)


@dataclass(frozen=True)
class Evaluated:
    """A score file with its numbers, and all that stands behind them."""

    method: str
    protocol: Protocol
    split: str
    condition: str
    selection: str
    seed: int | None
    partial: bool
    headline: str  # the policy that is shown first
    metrics: dict[str, Any]  # as `fasbench.metrics.evaluate` gives them
    checks: tuple[str, ...]  # what of the rows was compared with the protocol, and with what
    notes: tuple[str, ...]
    rows_sha256: str
    scores_sha256: str

    @property
    def synthetic(self) -> bool:
        datasets = self.protocol.datasets_of([self.split])
        return any(self.protocol.datasets[name].synthetic for name in datasets)

    @property
    def warnings(self) -> list[str]:
        """Of the scores ("look inverted") and of the headline threshold."""
        level = self.metrics["levels"]["frame"]
        return list(dict.fromkeys([*level["warnings"], *level["policies"][self.headline]["warnings"]]))

    def as_json_object(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "protocol": str(self.protocol),
            "protocol_sha256": self.protocol.sha256,
            "split": self.split,
            "condition": self.condition,
            "selection": self.selection,
            "seed": self.seed,
            "partial": self.partial,
            "synthetic": self.synthetic,
            "headline": {"level": self.protocol.headline.level, "policy": self.headline},
            "checks": list(self.checks),
            "notes": list(self.notes),
            "rows_sha256": self.rows_sha256,
            "scores_sha256": self.scores_sha256,
            "metrics": self.metrics,
        }


def evaluate_file(
    path: Path,
    protocol_name: str,
    split: str | None = None,
    condition: str | None = None,
    policies: Sequence[str] = (),
    replicates: int = REPLICATES,
) -> Evaluated:
    """Evaluate any score file as one evaluation of a protocol.

    Args:
        protocol_name: any name of one protocol, `mmdg/fixed`, `p1/cps-w` or `./mine.yaml`.
        split, condition: where neither the name nor the file's metadata say it; a protocol that has one needs none.
        policies: which thresholds; none = all. The first one is the headline; the oracle is always computed.

    Raises:
        ConfigError: an unknown name, or one that leaves open which evaluation is meant.
        DataError: everything that is wrong with the file, in one list.
    """
    for policy in policies:
        get_policy(policy)
    protocol, pairs = _one_protocol(protocol_name)
    found = read_any_scores(path)
    problems = list(found.problems)
    split, condition = (
        _which(kind, given, getattr(found.told, kind), [pair[number] for pair in pairs], protocol, problems)
        for number, (kind, given) in enumerate((("split", split), ("condition", condition)))
    )
    problems += _other_protocol(found, protocol)
    rows = {part: found.rows(part) for part in PARTS}
    wrong, checks = check_rows(protocol, split, rows, found.hashed, found.told.partial)
    problems += wrong
    if problems:
        title = f"{path}: cannot be evaluated as {protocol}/{split}/{condition}: {len(problems)} problem(s)"
        raise DataError(problem_list(title, problems))

    chosen = tuple(policies) or tuple(name for name in POLICIES if found.domains or not POLICIES[name].balanced)
    headline = chosen[0] if policies else protocol.headline.policy
    if not found.domains and (headline not in chosen or any(POLICIES[name].balanced for name in chosen)):
        raise ConfigError(f"{path}: no domains are given, which source-eer-balanced needs: --policy source-eer")
    chosen = tuple(dict.fromkeys((*chosen, ORACLE_POLICY)))
    numbers, _ = evaluate_scores(found.parts["validation"], found.parts["test"], headline, chosen, replicates)
    return Evaluated(
        method=found.told.method or path.stem,
        protocol=protocol,
        split=split,
        condition=condition,
        selection=found.told.selection or UNKNOWN,
        seed=found.told.seed,
        partial=found.told.partial,
        headline=headline,
        metrics=numbers,
        checks=tuple(checks),
        notes=tuple(notes_on(found)),
        rows_sha256=_rows_sha256(found, protocol),
        scores_sha256=sha256_file(path),
    )


def _one_protocol(name: str) -> tuple[Protocol, list[tuple[str, str]]]:
    found = find_evaluations(name)
    if len(found) > 1:
        raise ConfigError(f"--protocol {name}: which one? {', '.join(str(protocol.id) for protocol, _ in found)}")
    return found[0]


def _which(
    kind: str, given: str | None, told: str | None, named: list[str], protocol: Protocol, problems: list[str]
) -> str:
    """The split or condition: what the user says, what the protocol's name says, what the file says, or the only one.

    A file that says another is a problem.
    """
    known = list(dict.fromkeys(named))
    if given is not None and given not in known:
        raise ConfigError(f"--{kind} {given}: not in {protocol}.{suggest(given, known)} It has: {', '.join(known)}")
    chosen = given or (known[0] if len(known) == 1 else told)
    if chosen is None:
        raise ConfigError(f"--{kind}: say of which the scores are. {protocol} has: {', '.join(known)}")
    if chosen not in known:
        raise DataError(f"the file says it is of {kind} '{told}', which {protocol} does not have: {', '.join(known)}")
    if told is not None and told != chosen:
        problems.append(f"the file says it is of {kind} '{told}', not '{chosen}'")
    return chosen


def _other_protocol(found: AnyScores, protocol: Protocol) -> list[str]:
    """A file may leave out what it belongs to, but not belong to something else."""
    told = found.told
    problems = []
    if told.protocol is not None and told.protocol != protocol.id:
        problems.append(f"the file says it is of protocol {told.protocol}, not {protocol.id}")
    elif told.version is not None and told.version != protocol.version:
        problems.append(f"the file says it is of {protocol.id}@{told.version}, not of {protocol}")
    return problems


def _rows_sha256(found: AnyScores, protocol: Protocol) -> str:
    """As `ScoreFile.rows_sha256`: over the keys and labels of both parts."""
    lines = []
    for part in PARTS:
        scores = found.parts[part]
        assert scores.ids is not None
        names = scores.ids.tolist()
        keys = names if found.hashed else [row_key(str(protocol), part, name) for name in names]
        lines += [f"{key} {label}" for key, label in zip(keys, scores.labels.tolist(), strict=True)]
    return rows_sha256(lines)
