"""Finding and Report: what an audit hands out, and which findings the protocol documents."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from fasbench.protocol import Protocol
from fasbench.yamlfile import Strict

Severity = Literal["leak", "shortcut", "duplicate", "pixels", "info"]
SEVERITIES: tuple[Severity, ...] = ("leak", "shortcut", "duplicate", "pixels", "info")
EXAMPLES = 3

# Known issues of the bundled protocols that explain a finding, by the finding's id. A pattern ends in the values it was
# written for wherever there are some, so that another value of the same field is new.
KNOWN: dict[str, tuple[str, ...]] = {
    "class-not-in-every-split/cefa/flexiblemask+rigidmask": ("cefa-masks-in-test-only", "masks-in-every-test"),
    "class-not-in-every-split/wmca/papermask": ("wmca-paper-masks-in-test-only",),
    "incomplete-subjects/cefa/validation": ("cefa-stray-row",),
    "incomplete-subjects/surf/*": ("surf-not-the-official-attack-split",),
    "not-as-documented/cefa/race": ("cefa-no-east-asia", "not-the-official-protocols"),
    "not-as-documented/surf/attacks": ("surf-not-the-official-attack-split",),
    "presenter-is-subject/wmca/*": ("wmca-presenters-in-every-split",),
    "presenter-overlap/wmca/*": ("wmca-presenters-in-every-split",),
    "repeated-rows/cefa/test": ("cefa-duplicates", "surf-and-cefa-duplicates"),
    "repeated-rows/surf/t*": ("surf-duplicates", "surf-and-cefa-duplicates"),
    "shortcut/cefa/session=2": ("cefa-outdoor-is-attack",),
    "shortcut/cefa/device=*": ("cefa-device-equals-label",),
    "shortcut/cefa/frames_in_video=1": (
        "cefa-masks-in-test-only",
        "more-masks-than-official",
        "frames-are-chosen-on-disk",
    ),
    "shortcut/wmca/session=04": ("wmca-session-4-has-no-bona-fide",),
    "species-not-in-every-split/padisi/m50105+m50106+m50110": ("padisi-classes-differ-between-splits",),
    "unusual-frames/wmca/*": ("wmca-unmatched-frame-numbers",),
}


class Finding(Strict):
    """One thing that is wrong with the data, or worth knowing about them."""

    id: str = Field(description="kind/data set/what, the same in every run")
    severity: Severity
    dataset: str
    parts: tuple[str, ...] = Field(description="<data set>/<split> it is found in")
    count: int
    counted: str = Field(description="what `count` counts: rows, videos, subjects, ...")
    examples: tuple[str, ...] = Field(max_length=EXAMPLES)
    explanation: str
    affects: tuple[str, ...] = Field((), description="splits of the protocol in which it matters")
    known: str | None = Field(None, description="the protocol's known issue that explains it; None = new")
    shared: tuple[str, ...] = Field((), exclude=True, description="leaks: every value found, to match against permits")

    @property
    def kind(self) -> str:
        return self.id.partition("/")[0]

    @property
    def new(self) -> bool:
        """Undocumented, a defect (`info` is none), and of concern to some split of the protocol."""
        return self.known is None and self.severity != "info" and bool(self.affects)


class Audited(Strict):
    """What of a data set was looked at."""

    rows: int
    metadata: Literal["store", "lists"]
    pixels: int = Field(description="rows whose images were read")


class Report(Strict):
    """What an audit found in one protocol's data."""

    protocol: str
    datasets: dict[str, Audited]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = Field(description="what was not looked at, and what no audit can see")

    @property
    def new(self) -> tuple[Finding, ...]:
        """Defects the protocol should document and does not."""
        return tuple(finding for finding in self.findings if finding.new)


def first(values: Iterable[str]) -> tuple[str, ...]:
    """The examples of a finding: the first few values in sorted order."""
    return tuple(sorted(set(values))[:EXAMPLES])


def placed(finding: Finding, protocol: Protocol) -> Finding:
    """A finding with the protocol's splits it matters in, and the known issue that explains it."""
    return finding.model_copy(
        update={"affects": tuple(_affected(finding, protocol)), "known": known_issue(finding, protocol)}
    )


def _affected(finding: Finding, protocol: Protocol) -> list[str]:
    """A leak matters where two of its parts stand in different roles, anything else where a part is used."""
    needed = 2 if finding.severity == "leak" else 1
    found = []
    for name, split in protocol.splits.items():
        roles = {role for role in ("train", "validation", "test") if set(getattr(split, role)) & set(finding.parts)}
        if len(roles) >= needed:
            found.append(name)
    return found


def known_issue(finding: Finding, protocol: Protocol) -> str | None:
    """The issue that permits every shared value, or that the table `KNOWN` names and the protocol has."""
    kind = finding.kind.removeprefix("overlap-")
    for issue in protocol.known_issues:
        permitted = issue.permits.get(kind, ())  # type: ignore[call-overload]
        if finding.shared and set(finding.shared) <= set(permitted):
            return issue.id
    there = {issue.id for issue in protocol.known_issues}
    candidates = [name for pattern, names in KNOWN.items() if fnmatchcase(finding.id, pattern) for name in names]
    return next((name for name in candidates if name in there), None)
