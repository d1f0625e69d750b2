"""Is what was prepared what a protocol asks for? Every store of a protocol or data set, checked against its lists.

What is found is told in the words of the requirement: "4,800 rows expected, 4,797 found, first 3 missing: ...".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fasbench.data.catalog import find_prepared, make_source, prepare_command
from fasbench.data.info import GROUND_TRUTH_COMMAND, steps
from fasbench.data.licensed import LICENSED
from fasbench.data.lists import ListRow, protocol_rows
from fasbench.data.lists.folder import find_list
from fasbench.data.loading import part_rows
from fasbench.data.record import SPLITS
from fasbench.data.spec import DatasetSpec, Drop
from fasbench.data.splits import open_split, part_counts
from fasbench.data.status import Prepared, families, has_ground_truth, list_sets, prepared_stores
from fasbench.data.store import Store, store_path
from fasbench.errors import DataError, suggest
from fasbench.protocol import ROLES, Part, Protocol
from fasbench.registry import dataset_names, find_evaluations, unknown
from fasbench.resources import data_root, lists_root

_SHOWN = 3  # rows named in a message; the rest is counted
_COMPARED = ("label", "attack", "attack_fine", "subject", "unit", "video", "session", "race")  # in lists and stores


@dataclass
class Check:
    """What was found about one data set, or one split of a protocol."""

    name: str
    facts: list[str] = field(default_factory=list)  # in order, or good to know
    problems: list[str] = field(default_factory=list)
    remedies: list[str] = field(default_factory=list)
    store: Store | None = None


def verify_target(target: str, deep: bool = False) -> Iterator[Check]:
    """Check everything `target` stands for, data set by data set.

    Args:
        target: a protocol (any prefix, or a file), or a licensed or embedded data set.
        deep: read every pixel, and compare it with the hash taken when it was prepared.

    Raises:
        ConfigError: nothing of that name, or a broken protocol file.
    """
    known = [*LICENSED, *dataset_names()]
    if target in known:
        yield from _dataset(target, deep)
    elif "/" not in target and not target.endswith(".yaml") and suggest(target, known):
        raise unknown("data set", target, known, "fasbench list datasets")
    else:
        for protocol, pairs in find_evaluations(target):
            yield from _protocol(protocol, pairs, deep)


def _protocol(protocol: Protocol, pairs: list[tuple[str, str]], deep: bool) -> Iterator[Check]:
    checks = []
    for name in protocol.datasets_of(split for split, _ in pairs):
        check = _part_of_protocol(protocol, name, deep)
        checks.append(check)
        yield check
    stores = {check.name: check.store for check in checks if check.store is not None and not check.problems}
    if len(stores) < len(checks):  # a split of such data sets would only repeat what is wrong with them
        return
    for split in dict.fromkeys(split for split, _ in pairs):
        check = Check(f"{protocol}/{split}")
        conditions = [condition for name, condition in pairs if name == split]
        try:
            rows = open_split(protocol, split, conditions, stores)
        except DataError as error:
            check.problems.append(str(error))
        else:
            roles = zip(("train", "validation", "test"), rows.parts(), strict=True)
            counts = ", ".join(f"{role} {len(part):,}" for role, part in roles)
            stated = sorted(protocol.splits[split].rows_sha256, reverse=True)
            hashes = f"; rows_sha256 of {' and '.join(stated)} as stated" if stated else ""
            check.facts.append(f"{counts} rows, no undeclared leak{hashes}")
        yield check


def _part_of_protocol(protocol: Protocol, name: str, deep: bool) -> Check:
    """One data set of a protocol; `store` of the check is the one a run would read."""
    spec = protocol.datasets[name]
    if spec.list_files:
        return _listed(protocol, name, deep)
    check = Check(name)
    try:
        path = store_path(make_source(name, spec, protocol.folder), data_root())
    except DataError as error:
        check.problems.append(str(error))
        return check
    if path.is_dir():
        _add_store(check, path, deep)
    else:
        what = protocol.path if spec.csv else protocol.id
        check.facts.append(f"not prepared yet: the first run does it, or fasbench data prepare {what}")
    return check


def _dataset(name: str, deep: bool) -> Iterator[Check]:
    """Every store of a data set. A licensed one should be prepared for one set of lists at least."""
    stores = [store for store in prepared_stores() if store.name == name]
    sets = [one for one in list_sets(name) if find_prepared(name, one.spec)]
    for one in sets:
        check = _listed(one.protocols[0], name, deep, whole=True)
        check.name += f" for {families(protocol.id for protocol in one.protocols)}"
        yield check
    checked = {path for one in sets for path in find_prepared(name, one.spec)}
    for store in stores:
        if store.path not in checked:
            check = Check(store.path.name)
            if (opened := _add_store(check, store.path, deep)) is not None:
                check.problems += _skipped(opened)
            yield check
    if not stores and name in LICENSED:
        yield _listed(list_sets(name)[0].protocols[0], name, deep, whole=True)
    elif not stores:
        yield Check(name, [f"not prepared yet: the first run does it, or fasbench data prepare {name}"])


def _listed(protocol: Protocol, name: str, deep: bool, whole: bool = False) -> Check:
    """A licensed data set: prepared once, intact, and with the rows of its lists.

    Args:
        whole: every row of the lists is wanted, not only those that some split of the protocol takes.
    """
    check, spec = Check(name), protocol.datasets[name]
    rows = _list_rows(check, protocol, name)
    found = find_prepared(name, spec)
    if not found:
        check.problems.append(f"not prepared. {LICENSED[name].how_to_get()}")
        check.remedies += steps(name, protocol)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        check.problems.append(f"prepared in {len(found)} ways, {names}: a run would not know which to read")
        check.remedies.append(f"Move all but one of {names} out of {data_root()}")
    for path in found:
        store = _add_store(check, path, deep, protocol)
        if store is None:
            continue
        check.facts += _frames_a_video(store, spec)
        again = prepare_command(name, protocol, Prepared.of(store).options)
        if not whole and _skipped(store) and not _takes_skipped(protocol, name, store):
            absent = set(store.skipped("id").tolist())
            wanted = {part: [row for row in listed if row.id not in absent] for part, listed in rows.items()}
            problems = list(_row_problems(store, wanted))
            check.facts.append(f"{len(absent):,} rows were skipped when it was prepared; no split here takes one")
            check.problems += problems
            if problems:
                check.remedies.append(f"{again} --overwrite")
            continue
        problems = list(_row_problems(store, rows)) or list(_count_problems(protocol, name, store))
        check.problems += problems + _skipped(store)
        if _skipped(store):
            check.remedies.append(
                f"Complete your copy of {name}, then: {again.replace(' --on-missing skip', '')}. Or keep it as it is: "
                "results on it are partial and never ranked"
            )
        elif problems:
            check.remedies.append(f"{again} --overwrite")
    return check


def _list_rows(check: Check, protocol: Protocol, name: str) -> dict[Part, list[ListRow]]:
    """The rows of the data set's lists with nothing dropped, as stores have them; empty where they are not at hand."""
    spec = protocol.datasets[name]
    files = [file.file for files in spec.list_files.values() for file in files]
    absent = [file for file in files if not find_list(lists_root(), file).is_file()]
    if absent:
        check.facts.append(f"no {', '.join(absent)}: rows cannot be compared with the lists, see fasbench data lists")
        return {}
    if has_ground_truth(name) is False:
        check.facts.append(f"no ground truth: subjects and attacks cannot be compared, see {GROUND_TRUTH_COMMAND}")
    verbatim = protocol.model_copy(update={"datasets": {name: spec.model_copy(update={"drop": Drop()})}})
    try:
        return protocol_rows(verbatim, [name], lists_root())
    except DataError as error:
        check.problems.append(str(error))
        check.remedies.append("fasbench data lists")
        return {}


def _add_store(check: Check, path: Path, deep: bool, protocol: Protocol | None = None) -> Store | None:
    """Open a store and check it against its own manifest; what is wrong goes to `check`."""
    try:
        store = Store.open(path)
        problems = store.verify(deep)
    except DataError as error:
        check.problems.append(str(error))
        return None
    facts = Prepared.of(store)
    if problems:
        more = f" and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
        check.problems.append(f"{path.name} is damaged: {'; '.join(problems[:_SHOWN])}{more}")
        licensed = prepare_command(store.name, protocol, facts.options)
        command = licensed if facts.licensed else f"fasbench data prepare {store.name}"
        check.remedies.append(f"{command} --overwrite")
        return None
    splits = ", ".join(f"{split} {part['rows']:,}" for split, part in store.manifest["splits"].items())
    how = "every pixel read" if deep else "pixels not read, --deep does"
    check.facts.append(f"{path.name} is intact ({how}): {facts} ({splits})")
    check.store = store
    return store


def _row_problems(store: Store, rows: dict[Part, list[ListRow]]) -> Iterator[str]:
    """Rows of the lists that the store lacks or has otherwise, and rows it has beyond them; of video lists, videos."""
    splits = store.column("split")
    for (name, split), listed in rows.items():
        by_video = any(row.is_video for row in listed)  # then a row's id is its video
        what = "videos" if by_video else "rows"
        here = np.flatnonzero(splits == split)
        identifiers = store.column("video" if by_video else "id")[here].tolist()
        places = dict(zip(identifiers, here.tolist(), strict=True))
        found = len(places) if by_video else len(here)
        missing = [row.id for row in listed if row.id not in places]
        if missing or found != len(listed):
            yield f"{name}/{split}: {len(listed):,} {what} expected, {found:,} found{_named(missing, 'missing')}"
        surplus = sorted(set(places) - {row.id for row in listed})
        if surplus:
            yield f"{name}/{split}: {len(surplus):,} {what} that are in no list{_named(surplus, 'of them')}"
        for column in _COMPARED:
            values = store.column(column)
            shared = [(row, getattr(row, column)) for row in listed if row.id in places]
            other = [row.id for row, value in shared if value is not None and values[places[row.id]] != value]
            if other:
                text = f"{len(other):,} {what} with another {column} than the lists say"
                yield f"{name}/{split}: {text}{_named(other, 'of them')}"


def _named(identifiers: list[str], what: str) -> str:
    """`, first 3 missing: a, b, c`, of more than three."""
    if not identifiers:
        return ""
    first = f"first {_SHOWN} {what}" if len(identifiers) > _SHOWN else what if what == "missing" else "namely"
    return f", {first}: {', '.join(identifiers[:_SHOWN])}"


def _count_problems(protocol: Protocol, name: str, store: Store) -> Iterator[str]:
    """Counts that the protocol expects of what it does not drop."""
    spec = protocol.datasets[name]
    for split in SPLITS:
        expected = spec.expected(split)
        if expected is not None:
            rows = part_rows(store.column, split, spec.drop)
            for difference in expected.differences(part_counts(store, rows, by_video=spec.videos is not None)):
                yield f"{name}/{split}: {difference}"


def _frames_a_video(store: Store, spec: DatasetSpec) -> list[str]:
    """How many frames of its videos a store has, where the lists do not say."""
    if spec.videos is None:
        return []
    counts = Counter(Counter(store.column("video").tolist()).values())
    frames = ", ".join(f"{number} of {videos:,}" for number, videos in sorted(counts.items(), reverse=True))
    return [f"frames taken of a video, at most {spec.videos.frames}: {frames} videos"]


def _takes_skipped(protocol: Protocol, name: str, store: Store) -> bool:
    """Whether some split of the protocol takes a row that was skipped."""
    drop = protocol.datasets[name].drop
    return any(
        len(part_rows(store.skipped, part.split, drop, split.rules(role)))
        for split in protocol.splits.values()
        for role in ROLES
        for part in split.parts(role)
        if part.dataset == name
    )


def _skipped(store: Store) -> list[str]:
    """How many rows were left out when the store was prepared, and why, for the first of them."""
    skipped = store.manifest["skipped"]
    if not skipped["rows"]:
        return []
    reasons = "; ".join(skipped["first"][:_SHOWN])
    return [f"{skipped['rows']:,} rows were skipped when {store.path.name} was prepared, for: {reasons}"]
