"""The folder of a run: results/<split>/<condition>/seed-<n>/<selection>.json, and below scores/ their score files."""

from __future__ import annotations

from pathlib import Path

from fasbench.errors import ConfigError, problem_list
from fasbench.scorefile import ScoreMeta


def result_files(run: Path) -> list[Path]:
    """The results of a run, sorted by path.

    Raises:
        ConfigError: not a run's folder; those that lie below are named.
    """
    if not run.is_dir():
        raise ConfigError(f"{run}: no such folder. Name a run: runs/<protocol>/<run>")
    if files := sorted((run / "results").rglob("*.json")):
        return files
    below = sorted({str(found.parent) for depth in range(1, 5) for found in run.glob("*/" * depth + "results")})
    here = problem_list(" It holds these runs:", below, limit=20) if below else ""
    raise ConfigError(f"{run}: not a run's folder, there is no result in {run / 'results'}.{here}")


def scores_of(run: Path, result: Path) -> Path:
    """The score file that belongs to a result."""
    return run / "scores" / result.relative_to(run / "results").with_suffix(".parquet")


def place_of(meta: ScoreMeta) -> Path:
    """Where a result belongs, relative to `results`, and without the ending its score file relative to `scores`."""
    return Path(meta.split) / meta.condition / f"seed-{meta.seed}" / f"{meta.selection}.json"
