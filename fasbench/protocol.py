"""Protocol: which data train, select and test a method, and what its sensors deliver at test. Read from YAML.

A protocol (`synth/fixed`) has splits (`lmn-k`: trained on synth-l, -m, -n, tested on synth-k) and conditions (`full`,
`no-depth`). One evaluation is named protocol/split/condition. `protocols/README.md` documents the file format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, PrivateAttr, model_validator

from fasbench.data.choice import Column, Rule
from fasbench.data.licensed import LICENSED
from fasbench.data.record import MODALITIES, SPLITS
from fasbench.data.spec import DatasetSpec, ListsSource
from fasbench.errors import ConfigError, suggest
from fasbench.resources import canonical_json, sha256
from fasbench.yamlfile import Key, Strict, load_yaml, merge, validate, where

LEAKS = ("subject", "video", "id")  # what must not stand in two of train, validation and test
_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Values = Annotated[tuple[str, ...], Field(min_length=1)]
_PROTOCOL_ID = re.compile(rf"{_NAME.pattern}(/{_NAME.pattern})*")


class Part(NamedTuple):
    """One split of one data set, written `synth-l/train` in a protocol."""

    dataset: str
    split: str


Role = Literal["train", "validation", "test"]
ROLES: tuple[Role, ...] = ("train", "validation", "test")


class Split(Strict):
    """Training and validation data (the sources) and the test data (the target), as `<data set>/<split>`."""

    train: tuple[str, ...] = Field(min_length=1)
    validation: tuple[str, ...] = Field(min_length=1)
    test: tuple[str, ...] = Field(min_length=1)
    unseen: tuple[str, ...] = Field(
        (), description="coarse attacks kept out of train and validation; test holds these attacks and bona fide only"
    )
    keep: dict[Role, dict[Column, _Values]] = Field(
        default={}, description="rows to keep, by role: those whose every column named has one of the values"
    )
    rows_sha256: dict[Literal["validation", "test"], _Sha256] = Field(
        default={}, description="hash over the scored rows' sorted lines `key label`; see fasbench.data.keys"
    )

    def parts(self, role: str) -> tuple[Part, ...]:
        return tuple(Part(*text.rsplit("/", 1)) for text in getattr(self, role))

    def rules(self, role: Role) -> tuple[Rule, ...]:
        """Which rows of its parts `train`, `validation` or `test` takes; none = all."""
        rules = [Rule(column, values) for column, values in self.keep.get(role, {}).items()]
        if self.unseen and role == "test":
            rules.append(Rule("attack", ("live", *self.unseen)))
        elif self.unseen:
            rules.append(Rule("attack", self.unseen, keep=False))
        return tuple(rules)

    @property
    def sources(self) -> tuple[str, ...]:
        """Data sets trained on, in sorted order: a batch's `domain` indexes them."""
        return tuple(sorted({part.dataset for part in self.parts("train")}))


class Condition(Strict):
    """What the sensors deliver at test.

    `validation: same` sets the threshold on validation data under the same condition (the device knows what is
    absent); `full` on undisturbed validation data (the device does not know), the default where something is degraded.
    """

    absent: tuple[Literal["rgb", "depth", "ir"], ...] = ()
    degrade: dict[str, int] = Field(
        default={}, description="sensor degradations, severity 1 to 5; see fasbench.data.conditions"
    )
    validation: Literal["same", "full"] = "same"

    @model_validator(mode="before")
    @classmethod
    def _degradation_is_not_noticed(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("degrade"):
            return {"validation": "full", **values}
        return values

    @model_validator(mode="after")
    def _something_left(self) -> Condition:
        if set(self.absent) == set(MODALITIES):
            raise ValueError("every modality is absent: at least one must remain")
        return self

    def of(self, role: str) -> Condition:
        """The condition that `validation` or `test` rows are scored under."""
        return Condition() if role == "validation" and self.validation == "full" else self

    @property
    def key(self) -> str:
        """What it does to a row, in one text."""
        return canonical_json({"absent": sorted(self.absent), "degrade": self.degrade})


class KnownIssue(Strict):
    """A documented defect of the data or lists. `permits` names the subjects, videos or ids that may leak."""

    id: str
    text: str
    permits: dict[Literal["subject", "video", "id"], tuple[str, ...]] = {}


class Headline(Strict):
    """The number a table shows first. Selection and policy never see the test data."""

    level: Literal["frame", "video"] = "frame"
    policy: Literal["source-eer", "source-eer-balanced", "source-bpcer@1%", "source-fpr@1%", "fixed@0.5"] = "source-eer"
    selection: Literal["source-val", "last"] = "source-val"


class Protocol(Strict):
    id: str = Field(pattern=f"^{_PROTOCOL_ID.pattern}$")
    version: int = Field(ge=1)
    title: str
    reference: str = ""
    lists_source: ListsSource | None = Field(None, description="where the lists of licensed data sets come from")
    datasets: dict[str, DatasetSpec] = Field(min_length=1)
    splits: dict[str, Split] = Field(min_length=1)
    conditions: dict[str, Condition] = Field(default={"full": Condition()}, min_length=1)
    preset: str = Field("paper", description="the methods' preset unless --preset says otherwise")
    training: dict[str, Any] = Field(default={}, description="training rules: config keys every method must obey")
    headline: Headline = Headline()
    known_issues: tuple[KnownIssue, ...] = ()
    _path: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """Folder of the file: paths in it are relative to this."""
        return self._path.resolve().parent

    @property
    def path(self) -> Path:
        """The file, as it was named."""
        return self._path

    @property
    def sha256(self) -> str:
        """Hash of all that changes a number; prose may be mended without a new version."""
        prose = {"title", "reference", "lists_source", "known_issues"}
        return sha256(canonical_json(self.model_dump(mode="json", exclude=prose)))

    def __str__(self) -> str:
        return f"{self.id}@{self.version}"

    def datasets_of(self, splits: Iterable[str]) -> list[str]:
        """Names of the data sets that the splits touch, sorted."""
        return sorted({part.dataset for name in splits for role in ROLES for part in self.splits[name].parts(role)})

    def evaluations(self) -> Iterator[tuple[str, str]]:
        """(split, condition) in the order of the file."""
        for split in self.splits:
            for condition in self.conditions:
                yield split, condition


def load_protocol(path: Path) -> Protocol:
    """Read and check a protocol file.

    Raises:
        ConfigError: every problem of the file, with its line.
    """
    from fasbench.registry import protocols

    data, lines = _load_with_includes(path, ())
    protocol = validate(Protocol, data, str(path), lines, _contradictions)
    bundled = protocols().get(protocol.id)
    if bundled is not None and bundled.resolve() != path.resolve():
        place = where(str(path), lines, ("id",))
        raise ConfigError(f"{place}: '{protocol.id}' is a bundled protocol's id: results would pass for its own")
    protocol._path = path
    return protocol


def _load_with_includes(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], dict[Key, int]]:
    """A file with the files it includes laid under it, the last one uppermost; lines are those of its own keys."""
    if path.resolve() in seen:
        raise ConfigError(f"{path}: includes itself")
    data, lines = load_yaml(path)
    include = data.pop("include", [])
    names = [include] if isinstance(include, str) else include
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{where(str(path), lines, ('include',))}: include takes a relative path or a list of them")
    base: dict[str, Any] = {}
    for name in names:
        base = merge(base, _load_with_includes(path.parent / name, (*seen, path.resolve()))[0])
    data = merge(base, data)
    return data, lines


def _contradictions(protocol: Protocol) -> Iterator[tuple[Key, str]]:
    """What is well-formed but cannot be meant."""
    from fasbench.data.conditions import degradation_problems  # scipy: only to check a file
    from fasbench.data.synthetic import NAMES as EMBEDDED
    from fasbench.data.taxonomy import COARSE
    from fasbench.registry import dataset_names

    for name, spec in protocol.datasets.items():
        if not _NAME.fullmatch(name):
            yield ("datasets", name), f"data set name '{name}': use lower-case letters, digits, '-', '_', '.'"
        if spec.list_files or (name in LICENSED and spec.csv is None):
            yield from _list_contradictions(name, spec)
        elif spec.csv is None and name not in dataset_names():
            yield (
                ("datasets", name),
                f"unknown data set '{name}'.{suggest(name, [*dataset_names(), *LICENSED])} Built in: "
                f"{', '.join(dataset_names())}; licensed, by their lists: {', '.join(LICENSED)}; a folder data set "
                f"needs 'csv:'",
            )
        if name in EMBEDDED and spec.csv is None and spec.size is None:  # results on it are marked by its size
            yield ("datasets", name), f"'{name}' is rendered: say how much of it, 'size: tiny', 'demo' or 'full'"
    for kind, names in (("splits", protocol.splits), ("conditions", protocol.conditions)):
        for name in names:
            if not _NAME.fullmatch(name):
                yield (kind, name), f"name '{name}': use lower-case letters, digits, '-', '_', '.'"
    for name, condition in protocol.conditions.items():
        for problem in degradation_problems(condition.degrade):
            yield ("conditions", name, "degrade"), problem
    for name, split in protocol.splits.items():
        for attack in split.unseen:
            if attack not in COARSE or attack == "live":
                known = ", ".join(attack for attack in COARSE if attack != "live")
                yield ("splits", name, "unseen"), f"unknown attack '{attack}'.{suggest(attack, COARSE)} Known: {known}"
        for role, columns in split.keep.items():
            for attack in columns.get("attack", ()):
                if attack not in COARSE:
                    text = f"unknown attack '{attack}'.{suggest(attack, COARSE)} Known: {', '.join(COARSE)}"
                    yield ("splits", name, "keep", role, "attack"), text
        used: dict[str, str] = {}
        for role in ROLES:
            for position, text in enumerate(getattr(split, role)):
                key = ("splits", name, role, position)
                dataset, _, part = text.rpartition("/")
                if dataset not in protocol.datasets:
                    yield key, f"'{text}': no data set '{dataset}' under datasets.{suggest(dataset, protocol.datasets)}"
                elif part in SPLITS and (lists := protocol.datasets[dataset].list_files) and part not in lists:
                    place = f"datasets.{dataset}" + (".videos" if protocol.datasets[dataset].videos else "")
                    yield key, f"'{text}': {place}.lists names no list for '{part}'"
                if part not in SPLITS:
                    yield key, f"'{text}': expected <data set>/<split> with split one of {', '.join(SPLITS)}"
                if text in used:
                    yield key, f"'{text}' is already used for {used[text]}: train, validation and test must differ"
                used[text] = role


def _list_contradictions(name: str, spec: DatasetSpec) -> Iterator[tuple[Key, str]]:
    from fasbench.data.lists.grammar import VIDEO_GRAMMARS  # imports this module

    if name not in LICENSED:
        yield ("datasets", name), f"no list grammar for '{name}'.{suggest(name, LICENSED)} Known: {', '.join(LICENSED)}"
    if spec.videos and name not in VIDEO_GRAMMARS:
        known = ", ".join(VIDEO_GRAMMARS)
        yield ("datasets", name, "videos"), f"no grammar for video lists of '{name}'. Known: {known}"
    if not spec.list_files:
        yield ("datasets", name), f"'{name}' is defined by its lists: say 'lists: {{test: {{file: ..., sha256: ...}}}}'"
    for split, identifiers in spec.drop.rows.items():
        key = ("datasets", name, "drop", "rows", split)
        if split not in spec.lists:
            yield key, f"datasets.{name}.lists names no list for '{split}' to drop rows from"
        for identifier in identifiers:
            if not identifier.startswith(f"{name}/"):
                yield key, f"id '{identifier}' does not start with '{name}/'"
