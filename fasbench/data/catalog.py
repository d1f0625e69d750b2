"""From a data set's name in a protocol to its prepared store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fasbench.data.sources import Source
from fasbench.errors import ConfigError, suggest
from fasbench.protocol import DatasetSpec, Protocol
from fasbench.resources import data_root
from fasbench.yamlfile import validate

if TYPE_CHECKING:
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
        DataError: a CSV is not sound.
    """
    from fasbench.registry import dataset_names, find_evaluations, unknown

    sources: list[Source] = []
    for target in targets:
        if target in dataset_names():
            sources.append(make_source(target, validate(DatasetSpec, {"size": size}, "--size"), Path()))
        elif target.endswith(".csv"):
            options = {"csv": target, "image_size": image_size, "range": _parse_ranges(ranges or [])}
            sources.append(make_source(Path(target).stem, validate(DatasetSpec, options, target), Path()))
        elif "/" not in target and suggest(target, dataset_names()):  # more like a data set than like a protocol
            raise unknown("data set", target, dataset_names(), "fasbench list datasets")
        else:
            for protocol, _ in find_evaluations(target):
                sources += [make_source(name, spec, protocol.folder) for name, spec in protocol.datasets.items()]
    return sources


def _parse_ranges(items: list[str]) -> dict[str, tuple[float, float]]:
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
        DataError: files that cannot be read, all of them in one list.
    """
    from fasbench.data.store import prepare

    stores = {}
    for name in names:
        source = make_source(name, protocol.datasets[name], protocol.folder)
        report = partial(progress, name) if progress else None
        stores[name] = prepare(source, root or data_root(), progress=report)
    return stores
