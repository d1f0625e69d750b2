"""The result record: every number of one evaluation with all that produced it. JSON, schema-versioned."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import pydantic

import fasbench
from fasbench.errors import ConfigError, DataError
from fasbench.protocol import Headline
from fasbench.resources import canonical_json, sha256, write_json_lines
from fasbench.scorefile import ScoreMeta
from fasbench.yamlfile import Strict, validate

LIBRARIES = ("accelerate", "datasets", "numpy", "open_clip_torch", "pillow", "scipy", "timm", "torch")


class Provenance(Strict):
    """Where the numbers come from. Holds no absolute path, host or user name."""

    fasbench: str
    git_sha: str | None = pydantic.Field(
        None, description="of the checkout fasbench was run from; None = installed wheel"
    )
    git_dirty: bool | None = None
    method_sha256: str = pydantic.Field(description="of the method's source files")
    protocol_sha256: str
    data: dict[str, str] = pydantic.Field(description="data set -> content hash of its prepared store")
    training_key: str
    initial_weights_sha256: str
    weights_sha256: str = pydantic.Field(description="of the checkpoint that was scored")
    versions: dict[str, int | str] = pydantic.Field(
        description="of training, scoring, metrics and shared layers: results of different ones share no table"
    )
    limit_videos: int | None = pydantic.Field(None, description="of a partial run")
    conditions_version: int | None = pydantic.Field(None, description="of the sensor degradations; None: undisturbed")
    config: dict[str, Any]
    libraries: dict[str, str]


class Runtime(Strict):
    """Not part of the content: differs between machines and repetitions."""

    device: str
    training_seconds: float
    scoring_seconds: float
    peak_memory_bytes: int | None = None


class Result(Strict):
    """One evaluation: protocol / split / condition x seed x selection."""

    # a metric that is NaN must fail in canonical_json, not become the null of an undefined one
    model_config = pydantic.ConfigDict(ser_json_inf_nan="constants")

    schema_version: Literal[1] = 1
    evaluation: ScoreMeta
    synthetic: bool = pydantic.Field(
        description="True when the data are rendered: the numbers say nothing about real data"
    )
    headline: Headline = Headline()
    preset: str
    sets: tuple[str, ...] = pydantic.Field((), description="settings changed by --set, on top of the preset")
    fidelity: str
    tied_epochs: int = pydantic.Field(description="epochs that share the selected epoch's validation EER")
    metrics: dict[str, Any]
    replicates: dict[str, str] = pydantic.Field(
        {}, description="of the headline numbers: see fasbench.replicates, for intervals of means over splits and seeds"
    )
    rows_sha256: str
    scores_sha256: str
    provenance: Provenance
    runtime: Runtime
    content_sha256: str = ""

    @property
    def name(self) -> str:
        """protocol/split/condition."""
        e = self.evaluation
        return f"{e.protocol}/{e.split}/{e.condition}"

    def content_hash(self) -> str:
        """Hash of everything but the runtime."""
        return sha256(canonical_json(self.model_dump(mode="json", exclude={"runtime", "content_sha256"})))

    def write(self, path: Path) -> Result:
        """Write with its content hash; returns the record as written."""
        sealed = self.model_copy(update={"content_sha256": self.content_hash()})
        write_json_lines(path, sealed.model_dump(mode="json"))
        return sealed


def read_result(path: Path) -> Result:
    """Read and check a result record.

    Raises:
        DataError: not a result record, or changed after it was written.
    """
    try:
        result = validate(Result, json.loads(path.read_text(encoding="utf-8")), str(path))
        content_hash = result.content_hash()  # refuses NaN and infinity
    except (OSError, ValueError, RecursionError, ConfigError) as error:
        raise DataError(f"{path}: not a result record: {error}") from None
    if content_hash != result.content_sha256:
        raise DataError(f"{path}: the content does not match its hash: it was edited. Run the evaluation again")
    return result


@cache
def code_version() -> tuple[str | None, bool | None]:
    """(git sha, dirty) of the checkout this package lies in; (None, None) for an installed one.

    Asked for the package's own folder, never for the caller's.
    """
    root = Path(fasbench.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None, None
    try:
        sha, status = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return sha, bool(status)


def _git(root: Path, *arguments: str) -> str:
    """Output of a git command about `root`, whatever repository the caller's environment points at."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # A kill in the middle must not leave a lock in the user's repository.
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


@cache
def library_versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
