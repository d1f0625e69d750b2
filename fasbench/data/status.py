"""What of the data is at hand on this machine: told from the manifests and the lists, no pixel is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from fasbench.data.catalog import make_source
from fasbench.data.licensed import LICENSED
from fasbench.data.lists.folder import find_ground_truth, list_problems, needed_lists
from fasbench.data.spec import DatasetSpec
from fasbench.data.store import MANIFEST, Store, store_path
from fasbench.protocol import Protocol, load_protocol
from fasbench.registry import dataset_names, protocols
from fasbench.resources import data_root, lists_root


class Prepared(NamedTuple):
    """A prepared store, as its manifest describes it."""

    path: Path
    name: str  # the data set
    manifest: dict[str, Any]
    serves: tuple[str, ...] = ()  # bundled protocols
    problem: str = ""  # why the manifest cannot be read

    @classmethod
    def of(cls, store: Store) -> Prepared:
        return cls(store.path, store.name, store.manifest)

    @property
    def rows(self) -> int:
        return int(self.manifest["rows"])

    @property
    def skipped(self) -> int:
        return int(self.manifest.get("skipped", {}).get("rows", 0))

    @property
    def bytes(self) -> int:
        return sum(self.manifest["files"].values())

    @property
    def options(self) -> dict[str, str]:
        """What it was prepared with, by the option's name: layout, crop, image-size, on-missing; licensed data only."""
        recipe = self.manifest["recipe"]
        if recipe.get("kind") != "listed":
            return {}
        return {
            "layout": recipe["layout"]["name"],
            "crop": recipe["crop"]["box"],
            "image-size": str(recipe["image_size"]),
            "on-missing": self.manifest["on_missing"],
        }

    @property
    def licensed(self) -> bool:
        return self.name in LICENSED or self.manifest["recipe"].get("kind") == "listed"

    def __str__(self) -> str:
        """`5,037 rows, 128 x 128 px, layout hdf5, crop none, 1,234 MB`."""
        height, width = self.manifest["shape"]
        options = [f"{name} {value}" for name, value in self.options.items() if name in ("layout", "crop")]
        skipped = [f"{self.skipped:,} rows skipped"] if self.skipped else []
        size = f"{self.bytes / 1e6:,.0f} MB"
        return ", ".join([f"{self.rows:,} rows", f"{height} x {width} px", *options, *skipped, size])


class ListSet(NamedTuple):
    """The lists that some protocols read a licensed data set by."""

    name: str
    spec: DatasetSpec
    protocols: tuple[Protocol, ...]

    @property
    def problems(self) -> list[str]:
        """Lists that are missing or differ."""
        one = self.protocols[0]
        needed = needed_lists([one.model_copy(update={"datasets": {self.name: self.spec}})])
        return list_problems(lists_root(), needed)


class Dataset(NamedTuple):
    """One data set at a glance."""

    name: str
    lists: str  # yes, no, or how many sets of them; - = it has none
    ground_truth: str  # yes or no; - = it needs none
    stores: int
    protocols: tuple[str, ...]


@cache
def bundled_protocols() -> tuple[Protocol, ...]:
    return tuple(load_protocol(path) for path in protocols().values())


def prepared_stores() -> list[Prepared]:
    """Every store below the data root, damaged ones too."""
    serving = {path.name: serves for path, serves in _embedded().items()}
    found = []
    for path in sorted(data_root().glob(f"*/{MANIFEST}")):
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            store = Prepared(path.parent, manifest["name"], manifest)
            serves = _by_lists(store) if "lists_sha256" in manifest["recipe"] else serving.get(path.parent.name, ())
            store = store._replace(serves=tuple(serves))
            str(store)  # whatever a table shows of it is there
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            name = path.parent.name.rpartition("-")[0]
            store = Prepared(path.parent, name, {}, problem=f"its {MANIFEST} cannot be read ({error})")
        found.append(store)
    return found


def list_sets(name: str) -> list[ListSet]:
    """The different sets of lists by which the bundled protocols read a licensed data set; lists of videos last."""
    found: dict[str, ListSet] = {}
    for protocol in bundled_protocols():
        spec = protocol.datasets.get(name)
        if spec is not None and spec.list_files:
            key = str(sorted(spec.lists_sha256.items()))
            old = found.get(key, ListSet(name, spec, ()))
            found[key] = old._replace(protocols=(*old.protocols, protocol))
    return sorted(found.values(), key=lambda one: one.spec.videos is not None)


def has_ground_truth(name: str) -> bool | None:
    """Whether the ground truth that a data set needs is beside the lists; None: it needs none."""
    return find_ground_truth(lists_root()) is not None if name == "padisi" else None


def status(stores: Iterable[Prepared]) -> Iterator[Dataset]:
    """Every data set fasbench knows by name, and those of the user that are prepared."""
    stores = list(stores)
    known = [*LICENSED, *dataset_names()]
    own = dict.fromkeys(store.name for store in stores if not store.problem and store.name not in known)
    for name in [*known, *own]:
        sets = list_sets(name)
        there = sum(not one.problems for one in sets)
        lists = "-" if not sets else ("yes" if there == len(sets) else "no" if not there else f"{there} of {len(sets)}")
        truth = {None: "-", True: "yes", False: "no"}[has_ground_truth(name)]
        count = sum(store.name == name for store in stores)
        yield Dataset(name, lists, truth, count, users(name))


def users(name: str) -> tuple[str, ...]:
    """The bundled protocols that use a data set."""
    return tuple(protocol.id for protocol in bundled_protocols() if name in protocol.datasets)


def families(names: Iterable[str]) -> str:
    """Names of protocols in short: a family of which all are named is written `mmdg/*`."""
    names = list(names)
    short = []
    for family in dict.fromkeys(name.partition("/")[0] for name in names):
        chosen = [name for name in names if name.partition("/")[0] == family]
        all_of_it = [protocol for protocol in protocols() if protocol.partition("/")[0] == family]
        short += [f"{family}/*"] if len(chosen) == len(all_of_it) > 1 else chosen
    return ", ".join(short)


def _by_lists(store: Prepared) -> Iterator[str]:
    for one in list_sets(store.name):
        if one.spec.lists_sha256 == store.manifest["recipe"]["lists_sha256"]:
            yield from (protocol.id for protocol in one.protocols)


def _embedded() -> dict[Path, tuple[str, ...]]:
    """Where the stores of the embedded data sets lie or would lie, and the protocols that use them."""
    found: dict[Path, tuple[str, ...]] = {}
    for protocol in bundled_protocols():
        for name, spec in protocol.datasets.items():
            if spec.synthetic:
                path = store_path(make_source(name, spec, protocol.folder), data_root())
                found[path] = (*found.get(path, ()), protocol.id)
    return found
