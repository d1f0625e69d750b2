"""A finished run, opened again: its results, its protocol, and its method with the trained weights, or why not."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fasbench import training
from fasbench.config import Config
from fasbench.errors import ConfigError, DataError, FasbenchError, problem_list, suggest
from fasbench.method import Method
from fasbench.plan import build_method, weights_sha256
from fasbench.protocol import Protocol
from fasbench.registry import MethodEntry, find_evaluations, find_method, methods, protocols
from fasbench.resources import data_root
from fasbench.results import Result, read_result
from fasbench.versions import current_versions
from fasbench.yamlfile import validate


@dataclass(frozen=True)
class TrainedRun:
    """One training of a run, with what it was evaluated for. Opened by `open_run`."""

    out: Path  # `--out` of fasbench run: holds trainings/
    results: tuple[Result, ...]  # of one split, seed and selection: one a condition
    single: bool  # the run was named by one result
    protocol: Protocol
    protocol_name: str  # what `fasbench run --protocol` takes
    entry: MethodEntry
    method_name: str  # what `fasbench run --method` takes

    def command(self, condition: str | None = None) -> str:
        """The `fasbench run` that evaluates this training, under one condition or all."""
        result = self.results[0]
        e = result.evaluation
        words = ["fasbench", "run", "--method", self.method_name]
        words += ["--protocol", "/".join([self.protocol_name, e.split, *([condition] if condition else [])])]
        words += ["--preset", result.preset]
        for item in result.sets:
            words += ["--set", item]
        # What `auto` came to is part of the run's name; said outright, it is the same on another device.
        words += ["--precision", result.provenance.config["train"]["precision"], "--seeds", str(e.seed)]
        if result.provenance.limit_videos is not None:
            words += ["--limit-videos", str(result.provenance.limit_videos)]
        if self.out != Path("runs"):
            words += ["--out", str(self.out)]
        return shlex.join(words)

    def folder(self, result: Result) -> Path:
        """The folder of a result's training.

        Raises:
            FasbenchError: the checkpoint is not there, or not intact.
        """
        key, epoch = result.provenance.training_key, result.evaluation.epoch
        folder = self.out / "trainings" / key
        state = training.read_state(folder)
        if state is None or state.files.get(training.weights_file(epoch - 1)) != result.provenance.weights_sha256:
            raise FasbenchError(
                f"the weights of the run are gone: {folder} holds no checkpoint of epoch {epoch}, or another one than "
                f"the result was computed with. Train again: {self.command()}"
            )
        return folder

    def method(self, result: Result, device: torch.device) -> Method:
        """The method as it was trained, with the weights of the result's epoch.

        Raises:
            ConfigError: the configuration is no longer legal.
            FasbenchError: the checkpoint is gone, or what it does not hold is no longer the same.
        """
        folder = self.folder(result)
        kind = self.entry.load()
        name = f"configuration of {result.name}"
        config: Config[Any] = validate(Config[kind.Config], result.provenance.config, name)  # type: ignore[name-defined]
        split = self.protocol.splits[result.evaluation.split]
        method = build_method(kind, config, split.sources, result.evaluation.seed)
        frozen = set(method.state_dict()) - set(training.stored_names(method))
        if frozen and weights_sha256(method) != result.provenance.initial_weights_sha256:
            raise FasbenchError(
                f"{self.entry.name} starts from other weights than in the run, and the checkpoint does not hold its "
                f"frozen ones ({len(frozen)} tensors, e.g. {min(frozen)}). Restore them, or train again: "
                f"{self.command()}"
            )
        training.load_weights(method, folder, result.evaluation.epoch - 1)
        return method.to(device)

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Manifests of the run's prepared data, by data set: those that are still in the data folder."""
        found = {}
        for name, content in self.results[0].provenance.data.items():
            for path in sorted(data_root().glob(f"{name}-*/manifest.json")):
                try:
                    manifest = json.loads(path.read_text(encoding="utf-8"))
                    if manifest["name"] == name and manifest["content_sha256"] == content:
                        found[name] = manifest
                except (OSError, ValueError, LookupError, TypeError):
                    continue  # a damaged store: as good as gone
        return found


def open_run(
    path: Path,
    split: str | None = None,
    seed: int | None = None,
    selection: str | None = None,
    method: str | None = None,
    protocol: str | None = None,
) -> TrainedRun:
    """Open a run by its folder, or by one result in it; no weights are loaded and no method is imported.

    Args:
        split, seed: may be left out where the run has one.
        selection: None = the protocol's headline selection.
        method: `path/to/file.py:Class` of a method that is not registered.
        protocol: the file of a protocol that is not bundled.

    Raises:
        ConfigError: not a run, an ambiguous or unknown choice, or a method or protocol that changed since.
        DataError: no result can be read.
    """
    results, out, single = _read_run(path)
    results = _choose(results, split, seed, selection)
    found, protocol_name = _find_protocol(results[0], protocol)
    entry, method_name = _find_method(results[0], method)
    run = TrainedRun(out, tuple(results), single, found, protocol_name, entry, method_name)
    source = entry.source_sha256()
    for what, current in (
        (f"protocol {found}", lambda r: r.provenance.protocol_sha256 == found.sha256),
        (f"the source of method '{entry.name}'", lambda r: r.provenance.method_sha256 == source),
        ("fasbench (training, scoring, metrics or layers)", lambda r: r.provenance.versions == current_versions()),
    ):
        # Results that an earlier change left behind are passed over, as in reports.
        kept = tuple(result for result in run.results if current(result))
        if not kept:
            raise ConfigError(
                f"{what} changed since the run: its weights and thresholds belong to the old one. Restore that, or "
                f"run again: {run.command()}"
            )
        run = replace(run, results=kept)
    return run


def _read_run(path: Path) -> tuple[list[Result], Path, bool]:
    """The sound results of a run, the folder all runs are in, and whether one result was named."""
    if not path.exists():
        raise ConfigError(f"--run {path}: no such file or folder")
    single = path.is_file()
    files = [path] if single else sorted((path / "results").rglob("*.json"))
    if not files:
        below = sorted({str(found.parent) for depth in range(1, 5) for found in path.glob("*/" * depth + "results")})
        here = problem_list(" It holds these runs:", below, limit=20) if below else ""
        raise ConfigError(f"--run {path}: not a run's folder, there is no result in {path / 'results'}.{here}")
    results, broken = [], []
    for file in files:
        try:
            results.append(read_result(file))
        except DataError as error:
            broken.append(str(error))
    if not results:
        raise DataError(problem_list(f"--run {path}: no result can be read", broken, limit=20))
    e = results[0].evaluation
    place = Path(e.protocol).parent / f"{Path(e.protocol).name}@{e.version}"
    run = path.resolve()
    if single:
        inside = Path("results") / e.split / e.condition / f"seed-{e.seed}" / f"{e.selection}.json"
        run = _strip(run, inside, f"--run {path}: expected <run's folder>/{inside}, where fasbench run put it")
    out = _strip(run.parent, place, f"--run {path}: expected <out>/{place}/<run>, where fasbench run put it")
    return results, _short(out), single


def _strip(path: Path, ending: Path, problem: str) -> Path:
    """`path` without its last components, which must be `ending`."""
    count = len(ending.parts)
    if path.parts[-count:] != ending.parts:
        raise ConfigError(f"{problem}: the trainings lie beside it")
    return path.parents[count - 1]


def _short(path: Path) -> Path:
    """Relative to the current folder where it is below it: it is printed in commands."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _choose(results: list[Result], split: str | None, seed: int | None, selection: str | None) -> list[Result]:
    """The results of one split, seed and selection.

    The splits, seeds and selections the run has stand in the error, all of them.
    """
    if selection == "oracle" or {r.evaluation.selection for r in results} == {"oracle"}:
        raise ConfigError(
            "selection 'oracle' is the epoch that is best on the test set: a device has no labels to choose it by. "
            "Leave --selection out for the protocol's headline selection"
        )
    if selection is None and len({r.evaluation.selection for r in results}) > 1:
        selection = results[0].headline.selection
    listing = "\n".join(
        f"  {name}: {', '.join(str(value) for value in sorted({getattr(r.evaluation, name) for r in results}))}"
        for name in ("split", "seed", "selection")
    )
    for name, wanted in (("split", split), ("seed", seed), ("selection", selection)):
        known = sorted({getattr(result.evaluation, name) for result in results})
        if wanted is None and len(known) > 1:
            raise ConfigError(f"the run has {len(known)} {name}s: choose one with --{name}. It has\n{listing}")
        if wanted is not None and wanted not in known:
            hint = suggest(str(wanted), [str(one) for one in known])
            chosen = "" if name == "split" else f" for split {results[0].evaluation.split}"
            raise ConfigError(f"the run has no {name} '{wanted}'{chosen}.{hint} It has\n{listing}")
        results = [result for result in results if wanted is None or getattr(result.evaluation, name) == wanted]
    return results


def _find_protocol(result: Result, name: str | None) -> tuple[Protocol, str]:
    """The run's protocol and the name it was found by."""
    e = result.evaluation
    if name is None and e.protocol not in protocols():
        raise ConfigError(f"the run is of protocol {e.protocol}, which is not bundled: name its file, --protocol FILE")
    name = name or e.protocol
    found = [protocol for protocol, _ in find_evaluations(name)]
    for protocol in found:
        if protocol.id == e.protocol and protocol.version == e.version:
            return protocol, name
    others = ", ".join(map(str, found))
    raise ConfigError(f"the run is of protocol {e.protocol}@{e.version}, but '{name}' is {others}")


def _find_method(result: Result, name: str | None) -> tuple[MethodEntry, str]:
    """The run's method, which is not imported, and the name it was found by."""
    run = result.evaluation.method
    if name is None and run not in methods():
        raise ConfigError(f"the run is of method '{run}', which is not registered: --method path/to/file.py:Class")
    entry = find_method(name or run)
    if entry.name != run:
        raise ConfigError(f"--method {name} is method '{entry.name}', but the run is of '{run}'")
    return entry, name or run
