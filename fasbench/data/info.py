"""Everything a user should know about one data set before and after it is here, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from fasbench.data.catalog import prepare_command, target
from fasbench.data.layouts import LAYOUTS
from fasbench.data.licensed import LICENSED
from fasbench.data.status import (
    Prepared,
    bundled_protocols,
    families,
    has_ground_truth,
    list_sets,
    prepared_stores,
    users,
)
from fasbench.data.synthetic.domains import DOMAINS, FRAMES, SIZES
from fasbench.data.taxonomy import lookup
from fasbench.protocol import Protocol
from fasbench.registry import dataset_names, unknown
from fasbench.resources import lists_root

_ROW_BYTES = 251_200  # of a store at 224 px: three images and the metadata, measured
GROUND_TRUTH_COMMAND = "fasbench data lists --ground-truth padisi_USC_FACE_ground_truth.csv"


def describe_dataset(name: str) -> Iterator[tuple[str, str]]:
    """(heading, text) by (heading, text); a heading is "" where the text belongs to the one before.

    Raises:
        ConfigError: neither a licensed nor an embedded data set.
    """
    if name not in LICENSED and name not in dataset_names():
        raise unknown("data set", name, [*LICENSED, *dataset_names()], "fasbench list datasets")
    stores = [store for store in prepared_stores() if store.name == name and not store.problem]
    yield from _licensed(name, stores) if name in LICENSED else _embedded(name, stores)


def steps(name: str, protocol: Protocol | None = None) -> list[str]:
    """What to type, one after the other, until a licensed data set is prepared (for a protocol)."""
    sets = list_sets(name)
    if protocol is not None:
        sets = [one for one in sets if one.spec.lists_sha256 == protocol.datasets[name].lists_sha256]
    lists = ["fasbench data lists"] if any(one.problems for one in sets if protocol or not one.spec.videos) else []
    truth = [GROUND_TRUTH_COMMAND] if has_ground_truth(name) is False else []
    return [*lists, *truth, prepare_command(name, protocol)]


def known_defects(name: str) -> list[str]:
    """Of the images, then of the lists: known issues of the protocols whose id begins with the data set's name.

    Where protocols word one differently, mmdg's text is taken.
    """
    issues: dict[str, str] = {}
    for protocol in sorted(bundled_protocols(), key=lambda one: not one.id.startswith("mmdg/")):
        for issue in protocol.known_issues if name in protocol.datasets else ():
            if issue.id.startswith(f"{name}-"):
                issues.setdefault(issue.id, issue.text)
    return [*LICENSED[name].defects, *issues.values()]


def _licensed(name: str, stores: list[Prepared]) -> Iterator[tuple[str, str]]:
    licensed = LICENSED[name]
    yield "data set", f"{licensed.title} (letter {licensed.letter})"
    yield "licence", licensed.terms
    yield "how to get it", licensed.obtained
    yield "reference", licensed.reference
    yield "sensors", licensed.sensors
    yield "subjects", licensed.people
    yield from _under("read from", [f"{one.name}: {one.expects} (crop {one.default_crop})" for one in LAYOUTS[name]])
    yield from _under("known defects", known_defects(name))
    for one in list_sets(name):
        used = families(protocol.id for protocol in one.protocols)
        state = f"not at hand: {'; '.join(one.problems)}" if one.problems else f"at hand in {lists_root()}"
        rows = sum(part.rows or 0 for part in one.spec.expect.values())
        size = f"{rows:,} rows, about {rows * _ROW_BYTES / 1e9:.1f} GB at 224 px; " if rows else ""
        asked = f" (prepared with --protocol {target(one.protocols[0])} only)" if one.spec.videos else ""
        yield "lists", f"of {used}{asked}: {size}{state}"
    if (truth := has_ground_truth(name)) is not None:
        yield "ground truth", "at hand" if truth else f"not at hand: {GROUND_TRUTH_COMMAND}"
    yield from _prepared(stores)
    yield from _under("next", [f"fasbench data verify {name}"] if stores else steps(name))


def _embedded(name: str, stores: list[Prepared]) -> Iterator[tuple[str, str]]:
    domain = DOMAINS[name]
    yield "data set", f"{name}: rendered faces, made by fasbench from a seed. They say nothing about real faces"
    yield "licence", "Apache-2.0, as fasbench"
    yield "sensors", f"a colour camera, a {domain.depth_sensor} depth camera, its near infrared"
    attacks = dict.fromkeys(lookup("synth", attack).coarse for attack in domain.attacks)
    yield "attacks", ", ".join(attacks)
    for size, given in SIZES.items():
        rows = sum(given.subjects) * (given.live_videos + given.attack_videos) * FRAMES
        yield (
            "sizes" if size == "tiny" else "",
            f"{size}: {sum(given.subjects)} subjects, {rows:,} rows of {given.pixels} x {given.pixels} px",
        )
    yield "used by", families(users(name))
    yield from _prepared(stores)
    yield "next", f"fasbench data preview {name}" if stores else f"fasbench data prepare {name}"


def _prepared(stores: list[Prepared]) -> Iterator[tuple[str, str]]:
    texts = [f"{one.path.name}: {one}; for {families(one.serves) or 'no bundled protocol'}" for one in stores]
    yield from _under("prepared", texts or ["no"])


def _under(heading: str, texts: list[str]) -> Iterator[tuple[str, str]]:
    for number, text in enumerate(texts):
        yield "" if number else heading, text
