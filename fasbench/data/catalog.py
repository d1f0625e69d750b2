"""From a data set's name in a protocol to its prepared store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fasbench.data.licensed import LICENSED
from fasbench.data.lists.folder import list_problems, needed_lists
from fasbench.data.sources import Source
from fasbench.data.spec import DatasetSpec
from fasbench.errors import ConfigError, DataError, problem_list, suggest
from fasbench.protocol import Protocol
from fasbench.resources import data_root, lists_root
from fasbench.yamlfile import validate

if TYPE_CHECKING:
    from fasbench.data.store import Store

# Until there are readers of licensed images, their protocols are there to be shown and checked.
_NO_READER = "{}. This version of fasbench does not read its images yet"

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
            raise DataError(f"{target} cannot be prepared: {_NO_READER.format(LICENSED[target].how_to_get())}")
        elif target.endswith(".csv"):
            options = {"csv": target, "image_size": image_size, "range": parse_ranges(ranges or [])}
            sources.append(make_source(Path(target).stem, validate(DatasetSpec, options, target), Path()))
        elif "/" not in target and suggest(target, dataset_names()):  # more like a data set than like a protocol
            raise unknown("data set", target, dataset_names(), "fasbench list datasets")
        else:
            for protocol, _ in find_evaluations(target):
                _refuse_licensed(protocol, list(protocol.datasets))
                sources += [make_source(name, spec, protocol.folder) for name, spec in protocol.datasets.items()]
    return sources


def parse_ranges(items: list[str]) -> dict[str, tuple[float, float]]:
    ranges = {}
    for item in items:
        try:
            modality, text = item.split("=")
            low, high = (float(number) for number in text.split(":"))
        except ValueError:
            raise ConfigError(f"--range {item}: expected modality=low:high, e.g. depth=300:1500") from None
        ranges[modality] = (low, high)
    return ranges


def open_stores(
    protocol: Protocol, names: list[str], root: Path | None = None, progress: Progress | None = None
) -> dict[str, Store]:
    """The stores of the named data sets, preparing what is not there yet.

    Raises:
        DataError: files that cannot be read, or licensed data sets that are not there, all of them in one list.
    """
    from fasbench.data.store import prepare

    _refuse_licensed(protocol, names)
    stores, problems = {}, []
    for name in names:
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


def lacking(protocol: Protocol) -> str:
    """What a protocol lacks on this machine, in short; empty when it can run."""
    licensed = [name for name, spec in protocol.datasets.items() if spec.lists]
    if not licensed:
        return ""
    lists = " and lists" if list_problems(lists_root(), needed_lists([protocol])) else ""
    return f"images{lists} of {', '.join(licensed)} (fasbench list datasets)"


def _refuse_licensed(protocol: Protocol, names: list[str]) -> None:
    """Raise a DataError that says what the licensed data sets among `names` lack: images, and lists."""
    licensed = {name: protocol.datasets[name] for name in names if protocol.datasets[name].lists}
    if not licensed:
        return
    problems = [f"{name}: {_NO_READER.format(LICENSED[name].how_to_get())}" for name in licensed]
    needed = needed_lists([protocol.model_copy(update={"datasets": licensed})])
    problems += [f"lists: {problem}" for problem in list_problems(lists_root(), needed)]
    title = f"{protocol} cannot be run here, see 'fasbench show protocol {protocol.id}'"
    raise DataError(problem_list(f"{title}: {len(licensed)} data set(s) have no prepared store", problems))
