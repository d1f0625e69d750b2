"""From a data set's name in a protocol to its prepared store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fasbench.data.licensed import LICENSED
from fasbench.data.lists.folder import list_problems, needed_lists
from fasbench.data.sources import Source
from fasbench.data.spec import DatasetSpec, Drop
from fasbench.errors import ConfigError, DataError, problem_list, suggest
from fasbench.protocol import ROLES, Part, Protocol
from fasbench.resources import canonical_json, data_root, lists_root
from fasbench.yamlfile import validate

if TYPE_CHECKING:
    from fasbench.data.lists import ListRow
    from fasbench.data.sources.listed import OnMissing
    from fasbench.data.store import Store

Progress = Callable[[str, int, int], None]  # data set, rows done, rows in all


def make_source(name: str, spec: DatasetSpec, folder: Path) -> Source:
    """The source of a data set; `folder` is what `spec.csv` is relative to.

    Raises:
        DataError: the CSV is not sound.
    """
    if spec.csv is not None:
        from fasbench.data.sources.folder import FolderSource

        ranges = {str(modality): limits for modality, limits in spec.range.items()}
        return FolderSource(folder / spec.csv, name, image_size=spec.image_size, ranges=ranges)
    from fasbench.data.synthetic import SyntheticSource

    return SyntheticSource(name, spec.size or "demo")


def find_sources(
    targets: list[str], size: str = "demo", image_size: int | None = None, ranges: list[str] | None = None
) -> list[Source]:
    """Sources by name: a built-in data set, a CSV file, or a protocol (then all its data sets).

    Args:
        targets: `synth-k`, `./faces.csv`, `synth/fixed` or `./mine.yaml`.
        size: of embedded data sets named directly.
        image_size: side in pixels that images of a CSV are resized to.
        ranges: raw ranges of 16-bit images of a CSV, as `depth=300:1500`.

    Raises:
        ConfigError: an unknown name or a malformed range.
        DataError: a CSV is not sound, or a data set is licensed.
    """
    from fasbench.registry import dataset_names, find_evaluations, unknown

    sources: list[Source] = []
    for target in targets:
        if target in dataset_names():
            sources.append(make_source(target, validate(DatasetSpec, {"size": size}, "--size"), Path()))
        elif target in LICENSED:
            raise DataError(
                f"{target} cannot be prepared without its files: fasbench data prepare {target} --from FOLDER. "
                f"{LICENSED[target].how_to_get()}"
            )
        elif target.endswith(".csv"):
            options = {"csv": target, "image_size": image_size, "range": parse_ranges(ranges or [])}
            sources.append(make_source(Path(target).stem, validate(DatasetSpec, options, target), Path()))
        elif "/" not in target and suggest(target, dataset_names()):  # more like a data set than like a protocol
            raise unknown("data set", target, dataset_names(), "fasbench list datasets")
        else:
            for protocol, _ in find_evaluations(target):
                _refuse_licensed(protocol, list(protocol.datasets))
                own = {name: spec for name, spec in protocol.datasets.items() if not spec.list_files}
                sources += [make_source(name, spec, protocol.folder) for name, spec in own.items()]
    return sources


def parse_ranges(items: list[str]) -> dict[str, tuple[float, float]]:
    ranges: dict[str, tuple[float, float]] = {}
    for item in items:
        try:
            modality, text = item.split("=")
            low, high = (float(number) for number in text.split(":"))
        except ValueError:
            raise ConfigError(f"--range {item}: expected modality=low:high, e.g. depth=300:1500") from None
        ranges[modality] = (low, high)
    return ranges


def listed_sources(
    name: str,
    root: Path,
    layout: str | None = None,
    image_size: int = 224,
    crop: str | None = None,
    on_missing: str = "error",
    protocol: str | None = None,
    ranges: list[str] | None = None,
) -> list[Source]:
    """Sources of a licensed data set: one for each set of lists that a bundled protocol names, or the one given.

    Lists of videos have to be asked for by their protocol: they need the whole data set, and make a store of their own.

    Args:
        root: the user's copy of the data set.
        layout: a variant's name, where `root` holds several.
        crop: see `fasbench.data.layouts.crop`; None = the literature's for this data set.
        on_missing: `error` or `skip`.
        protocol: a protocol's name or file; None = all that are bundled. Of rows that it does not take, files may be
            missing.
        ranges: of 16-bit image files, as `depth=300:1500`; the documented trees hold 8-bit ones.

    Raises:
        ConfigError: an unknown crop, policy or protocol, or a malformed range.
        DataError: no layout below `root`, or lists that are missing, differ or do not say enough.
    """
    from fasbench.data.layouts import find_layout
    from fasbench.data.layouts.crop import check_crop
    from fasbench.data.lists import protocol_rows
    from fasbench.data.sources.frames import with_frames
    from fasbench.data.sources.listed import ListedSource
    from fasbench.protocol import load_protocol
    from fasbench.registry import find_evaluations, protocols

    if on_missing not in ("error", "skip"):
        raise ConfigError(f"--on-missing {on_missing}: expected error or skip")
    cut = check_crop(crop) if crop else None
    found = find_layout(name, root, layout)
    found.ranges = parse_ranges(ranges or [])
    sources: dict[str, Source] = {}
    bundled = [load_protocol(path) for path in protocols().values()] if protocol is None else []
    for one in bundled or [one for one, _ in find_evaluations(protocol or "")]:
        spec = one.datasets.get(name)
        if spec is None or not spec.list_files or (protocol is None and spec.videos):
            continue
        lists = spec.lists_sha256
        if canonical_json(lists) not in sources:
            verbatim = one.model_copy(update={"datasets": {name: spec.model_copy(update={"drop": Drop()})}})
            parts = protocol_rows(verbatim, [name], lists_root())
            rows = [row for part in parts.values() for row in part]
            if spec.videos:
                rows = with_frames(rows, found, spec.videos.frames)
            policy = cast("OnMissing", on_missing)
            needed = _taken(one, name, parts) if protocol and not spec.videos else None
            sources[canonical_json(lists)] = ListedSource(name, rows, lists, found, image_size, cut, policy, needed)
    if not sources:
        raise ConfigError(f"--protocol {protocol}: it does not use {name}. Those that do: {', '.join(_users(name))}")
    return list(sources.values())


def _taken(protocol: Protocol, name: str, parts: Mapping[Part, list[ListRow]]) -> frozenset[str]:
    """Ids of the rows of a data set that any split of the protocol takes."""
    from fasbench.data.lists.rows import choose_rows, drop_rows

    found: set[str] = set()
    for split in protocol.splits.values():
        for role in ROLES:
            for part in split.parts(role):
                if part.dataset == name:
                    rows = drop_rows(parts[part], protocol.datasets[name].drop, part.split)
                    chosen = choose_rows(rows, split.rules(role))
                    found |= {row.id for row in (rows if chosen is None else chosen)}
    return frozenset(found)


def _users(name: str) -> list[str]:
    """Bundled protocols that read a licensed data set by its lists."""
    from fasbench.protocol import load_protocol
    from fasbench.registry import protocols

    loaded = {text: load_protocol(path) for text, path in protocols().items()}
    return [text for text, one in loaded.items() if name in one.datasets and one.datasets[name].list_files]


def target(protocol: Protocol) -> str:
    """What a user types for a protocol: its id, or the file where that is not bundled."""
    from fasbench.registry import protocols

    return protocol.id if protocol.id in protocols() else str(protocol.path)


def prepare_command(name: str, protocol: Protocol | None = None, options: Mapping[str, str] | None = None) -> str:
    """What to type to prepare a licensed data set; `options` are those of an earlier store.

    The protocol is named where it has to be: a file of one's own, or one whose lists name videos.
    """
    given = {option: value for option, value in (options or {}).items() if (option, value) != ("on-missing", "error")}
    if protocol is not None and (target(protocol) != protocol.id or protocol.datasets[name].videos):
        given["protocol"] = target(protocol)
    return f"fasbench data prepare {name} --from FOLDER" + "".join(f" --{key} {value}" for key, value in given.items())


def open_stores(
    protocol: Protocol, names: list[str], root: Path | None = None, progress: Progress | None = None
) -> dict[str, Store]:
    """The stores of the named data sets, preparing what can be prepared without the user's help.

    Raises:
        DataError: files that cannot be read, or licensed data sets that are not there, all of them in one list.
    """
    from fasbench.data.store import Store, prepare

    _refuse_licensed(protocol, names)
    stores, problems = {}, []
    for name in names:
        if protocol.datasets[name].list_files:
            stores[name] = Store.open(find_prepared(name, protocol.datasets[name], root)[0])
            continue
        report = partial(progress, name) if progress else None
        try:
            source = make_source(name, protocol.datasets[name], protocol.folder)
            stores[name] = prepare(source, root or data_root(), progress=report)
        except DataError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise DataError("\n".join(map(str, problems)))
    return stores


def find_prepared(name: str, spec: DatasetSpec, root: Path | None = None) -> list[Path]:
    """Prepared stores of a licensed data set whose rows are those of the protocol's lists, complete ones first."""
    found = []
    for path in sorted((root or data_root()).glob(f"{name}-*/manifest.json")):
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            if manifest["recipe"].get("lists_sha256") == spec.lists_sha256:
                found.append((manifest["skipped"]["rows"], path.parent))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue  # a damaged store is as good as none
    return [folder for _, folder in sorted(found)]


def lacking(protocol: Protocol) -> str:
    """The data sets that a protocol lacks on this machine; empty when it can run."""
    missing = [name for name, spec in protocol.datasets.items() if spec.list_files and not find_prepared(name, spec)]
    return ", ".join(missing)


def _refuse_licensed(protocol: Protocol, names: list[str]) -> None:
    """Raise a DataError that says what the licensed data sets among `names` lack, and which have several stores."""
    problems = []
    for name in names:
        spec = protocol.datasets[name]
        stores = find_prepared(name, spec) if spec.list_files else []
        if spec.list_files and not stores:
            needed = needed_lists([protocol.model_copy(update={"datasets": {name: spec}})])
            problems += [f"{name}: {problem}" for problem in list_problems(lists_root(), needed)]
            problems.append(f"{name}: {LICENSED[name].how_to_get()}. Then: {prepare_command(name, protocol)}")
        if len(stores) > 1:
            problems.append(
                f"{name}: prepared in {len(stores)} ways, {', '.join(store.name for store in stores)}. Move all but "
                f"one out of {stores[0].parent} ('fasbench data status' tells them apart)"
            )
    if problems:
        title = f"{protocol} cannot be run here, see 'fasbench show protocol {target(protocol)}'"
        raise DataError(problem_list(title, problems))
