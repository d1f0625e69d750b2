"""cefa/*: CeFA's protocols 1, 2 and 4 by its own lists of videos: their layout, and their videos against every list.

What needs the lists reads $FASBENCH_LISTS and is skipped without it; they are not part of this repository.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import cefa_tree
import pytest
from quick_runs import request

from fasbench.data.audit import audit
from fasbench.data.catalog import listed_sources
from fasbench.data.info import steps
from fasbench.data.lists import ListRow, protocol_rows
from fasbench.data.lists.facts import describe
from fasbench.data.lists.folder import copy_lists, find_list, lists_at, needed_lists
from fasbench.data.lists.rows import choose_rows
from fasbench.data.spec import VideoCounts
from fasbench.data.store import prepare
from fasbench.errors import DataError
from fasbench.protocol import Protocol, Role, load_protocol
from fasbench.registry import find_evaluations, protocols
from fasbench.runner import run

NAMES = ("cefa/1", "cefa/2", "cefa/4")
ROLES: tuple[Role, ...] = ("train", "validation", "test")
MASKS = ("rigidmask", "flexiblemask")
LISTS = Path(os.environ.get("FASBENCH_LISTS", "nowhere"))
FILE = "CASIA_CeFA/protocol/CASIA_CeFA@p{}_video_{}.txt"
FILES: dict[Role, str] = {"train": "train", "validation": "dev", "test": "test"}

needs_lists = pytest.mark.skipif(
    not find_list(LISTS, FILE.format("2.1", "train")).is_file(),
    reason="FASBENCH_LISTS does not name a folder with CeFA's lists of videos",
)


def load(name: str) -> Protocol:
    return load_protocol(protocols()[name])


@cache
def rows_of(role: Role) -> list[ListRow]:
    """All three protocols read the same lists."""
    (rows,) = (rows for part, rows in protocol_rows(load("cefa/1"), ["cefa"], LISTS).items() if part.split == role)
    return rows


# --- layout -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_protocol_says_what_it_is_and_what_is_known_of_it(name):
    protocol = load(name)
    assert protocol.id == name and protocol.version == 1 and "WACV 2021" in protocol.reference
    assert f"protocol {name[-1]}, three frames a video" in protocol.title and list(protocol.conditions) == ["full"]
    assert [issue.id for issue in protocol.known_issues] == [
        "three-frames-a-video",
        "frames-are-chosen-on-disk",
        "cefa-device-equals-label",
        "cefa-outdoor-is-attack",
        "masks-in-every-test",
        "threshold-rule-not-stated",
        "validation-shows-the-source-only",
    ]
    assert protocol.datasets == load("cefa/1").datasets  # one prepared store serves all
    videos = protocol.datasets["cefa"].videos
    assert videos is not None and videos.frames == 3 and set(videos.lists) == set(videos.expect) == set(ROLES)
    for split in protocol.splits.values():
        assert [getattr(split, role) for role in ROLES] == [(f"cefa/{role}",) for role in ROLES]


def test_ethnicities_and_attacks_are_kept_apart_and_masks_are_in_every_test():
    ethnicity, attack, both = map(load, NAMES)
    for name, source, targets in (
        ("af", "AF", ("CA", "EA", "")),
        ("ca", "CA", ("AF", "EA", "")),
        ("ea", "EA", ("AF", "CA", "")),
    ):
        keep = {"train": {"race": (source,)}, "validation": {"race": (source,)}, "test": {"race": targets}}
        assert ethnicity.splits[name].keep == both.splits[name].keep == keep
        assert ethnicity.splits[name].unseen == () and both.splits[name].unseen == ("print", *MASKS)
    unseen = {name: split.unseen for name, split in attack.splits.items()}
    assert unseen == {"print-replay": ("replay", *MASKS), "replay-print": ("print", *MASKS)}


def test_the_family_is_not_the_substitute_on_mmdg_s_lists():
    assert [protocol.id for protocol, _ in find_evaluations("cefa")] == list(NAMES)
    other = load("cefa-af-ca/cross-both")
    assert other.datasets["cefa"].lists_sha256 != load("cefa/4").datasets["cefa"].lists_sha256
    assert other.lists_source != load("cefa/4").lists_source


def test_without_the_lists_the_protocol_is_shown_and_every_missing_file_named(tmp_path, monkeypatch, linear_method):
    monkeypatch.setenv("FASBENCH_LISTS", str(tmp_path / "lists"))
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path / "stores"))
    protocol = load("cefa/1")
    facts = describe(protocol, list(protocol.evaluations()), tmp_path / "lists")
    assert all(isinstance(part.counts, VideoCounts) and not part.counted for part in facts.parts)
    with pytest.raises(DataError) as caught:
        run(request(linear_method, "cefa/1/ea", tmp_path / "runs"))
    for text in (facts.notes[0], str(caught.value)):
        for file in FILES.values():
            assert FILE.format("2.1", file) in text and FILE.format("2.2", file) in text
        assert "by 'fasbench data lists' (https://github.com/liuajian/CASIA-FAS-Dataset at commit a80d13caf691)" in text
    command = "fasbench data prepare cefa --from FOLDER --protocol cefa/1"
    assert f"Then: {command}" in str(caught.value) and steps("cefa", protocol) == ["fasbench data lists", command]


def test_a_folder_with_the_lists_of_one_repository_will_do(tmp_path):
    """Whoever has CeFA's lists only, or MMDG's only, can copy and check those."""
    (source := tmp_path / "mine").mkdir()
    needed = needed_lists(load(name) for name in ("cefa/1", "mmdg/fixed"))
    assert lists_at(source, needed) == needed
    (source / "C-test.txt").write_text("not the list\n")
    there = lists_at(source, needed)
    assert len(there) == 12 and {one.source for one in there} == {load("mmdg/fixed").lists_source}
    with pytest.raises(DataError, match="not the 12 lists"):
        copy_lists(source, tmp_path / "cache", there)


# --- the official lists -----------------------------------------------------------------------------------------------


def official(name: str, role: Role) -> dict[str, int]:
    """Label by video of one official list, 1 = bona fide, read without fasbench's grammar."""
    lines = find_list(LISTS, FILE.format(name, FILES[role])).read_text().splitlines()
    found = {folder.split("/")[-2]: 1 - int(label) for folder, label in map(str.split, lines)}
    assert len(found) == len(lines)
    return found


# Official list, protocol and split, videos in train, validation and test.
SUBPROTOCOLS = [
    ("p1.1", "cefa/1", "af", (800, 400, 2723)),
    ("p1.3", "cefa/1", "ca", (800, 400, 2723)),
    ("p1.5", "cefa/1", "ea", (800, 400, 2723)),
    ("p2.1", "cefa/2", "print-replay", (1800, 900, 2323)),
    ("p2.2", "cefa/2", "replay-print", (1200, 600, 2923)),
    ("p4.1", "cefa/4", "af", (400, 200, 2323)),
    ("p4.3", "cefa/4", "ca", (400, 200, 2323)),
    ("p4.5", "cefa/4", "ea", (400, 200, 2323)),
]


@needs_lists
@pytest.mark.parametrize(("listed", "name", "split", "counts"), SUBPROTOCOLS)
def test_the_videos_of_every_split_are_exactly_the_official_ones(listed, name, split, counts):
    protocol = load(name)
    for role, count in zip(ROLES, counts, strict=True):
        taken = choose_rows(rows_of(role), protocol.splits[split].rules(role))
        assert taken is not None and len(taken) == count
        assert {row.video.partition("/")[2]: row.label for row in taken} == official(listed.removeprefix("p"), role)
        masks = sum(row.attack in MASKS for row in taken)
        assert masks == (1123 if role == "test" else 0)
    assert ", ".join(map(str, counts)) in protocol.path.read_text()


@needs_lists
@pytest.mark.parametrize("role", ROLES)
def test_two_lists_name_every_video_of_all_eight(role):
    everything = {video for listed, *_ in SUBPROTOCOLS for video in official(listed.removeprefix("p"), role)}
    assert {row.video.partition("/")[2] for row in rows_of(role)} == everything


@needs_lists
@pytest.mark.parametrize("name", NAMES)
def test_every_count_is_that_of_the_lists_and_nothing_leaks(name, tmp_path):
    protocol = load(name)
    facts = describe(protocol, list(protocol.evaluations()), LISTS)
    assert facts.problems == facts.notes == facts.shared == ()
    assert [part.counts for part in facts.parts] == [protocol.datasets["cefa"].expected(role) for role in ROLES]
    assert all(part.counted for part in facts.parts) and not any(facts.rows_sha256.values())
    assert len({row.video for role in ROLES for row in rows_of(role)}) == 7123
    report = audit(protocol, root=tmp_path)
    assert report.new == () and {finding.known for finding in report.findings if finding.severity != "info"} == {
        "cefa-device-equals-label",
        "cefa-outdoor-is-attack",
    }


@needs_lists
def test_from_files_to_a_result_on_the_official_lists(tmp_path, monkeypatch, linear_method):
    """Some videos of every kind, East Asia among them, in the tree that the lists name; one store for all three."""
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path / "stores"))
    chosen = []
    for role in ROLES:
        kinds = {(row.attack_fine, row.race): row for row in reversed(rows_of(role))}
        chosen += [row for row in rows_of(role) if row in kinds.values()]
    frames = [frame for row in chosen for frame in cefa_tree.frames_of(row, range(3, 23))]
    cefa_tree.write_color(tmp_path / "cefa", frames)
    (source,) = listed_sources("cefa", tmp_path / "cefa", image_size=32, on_missing="skip", protocol="cefa/4")
    store = prepare(source, tmp_path / "stores")
    assert len(store) == 3 * len(chosen) and set(store.column("frame").tolist()) == {6, 13, 19}
    assert set(store.column("race").tolist()) == {"AF", "CA", "EA", ""}
    seen = {}
    for evaluation in ("cefa/1/ea", "cefa/2/print-replay", "cefa/4/ca"):
        (outcome,) = run(request(linear_method, evaluation, tmp_path / "runs", preset="tiny"))
        assert outcome.results and all(result.evaluation.partial for result in outcome.results)
        seen[evaluation] = [set(part["attack"]) for part in outcome.plan.trainings[0].rows.parts()]
    both = {"live", "print", "replay"}
    assert seen["cefa/1/ea"] == [both, both, {*both, *MASKS}]
    assert seen["cefa/2/print-replay"] == [both - {"replay"}, both - {"replay"}, {"live", "replay", *MASKS}]
    assert seen["cefa/4/ca"] == [both - {"print"}, both - {"print"}, {"live", "print", *MASKS}]
