"""The protocols of the MMDG benchmark: their layout, and their numbers against the official lists.

What needs the lists reads $FASBENCH_LISTS and is skipped without it; the lists and their statistics are not part of
this repository.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fasbench.data.lists import ListRow, protocol_rows
from fasbench.data.lists.facts import describe
from fasbench.data.lists.folder import bundled_lists, check_lists, find_ground_truth, needed_lists
from fasbench.data.lists.rows import split_sha256
from fasbench.protocol import LEAKS, Condition, Part, Protocol, load_protocol
from fasbench.registry import find_evaluations, protocols

VERBATIM = ("mmdg/fixed", "mmdg/missing", "mmdg/limited", "mmdg/degraded")
CLEAN = tuple(name.replace("mmdg/", "mmdg-clean/") for name in VERBATIM[:3])
LETTERS = {"c": "cefa", "p": "padisi", "s": "surf", "w": "wmca"}
FILES = {"train": "train", "validation": "val", "test": "test"}
PARTS = [(letter, split) for letter in LETTERS for split in FILES]
STRAY = "cefa/1_300_1_1_1/26"

LISTS = Path(os.environ.get("FASBENCH_LISTS", "nowhere"))
needs_lists = pytest.mark.skipif(
    not LISTS.is_dir(), reason="FASBENCH_LISTS does not name a folder with the official lists"
)
needs_truth = pytest.mark.skipif(
    find_ground_truth(LISTS) is None, reason="PADISI-Face's ground truth is not beside the official lists"
)


def load(name: str) -> Protocol:
    return load_protocol(protocols()[name])


@cache
def rows_of(name: str) -> dict[Part, list[ListRow]]:
    protocol = load(name)
    return protocol_rows(protocol, protocol.datasets, LISTS)


def rows(letter: str, split: str, name: str = "mmdg/fixed") -> list[ListRow]:
    return rows_of(name)[Part(LETTERS[letter], split)]


@pytest.fixture(scope="module")
def stats() -> dict[str, Any]:
    """Counts of the lists by another program."""
    path = LISTS.parent / "list-stats.json"
    if not path.is_file():
        pytest.skip(f"no list-stats.json beside {LISTS.name}")
    return json.loads(path.read_text())


# --- layout -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*VERBATIM, *CLEAN])
def test_a_split_is_named_by_its_sources_and_targets(name):
    protocol = load(name)
    expected = ["cw-ps", "ps-cw"] if name.endswith("limited") else ["cps-w", "cpw-s", "csw-p", "psw-c"]
    assert list(protocol.splits) == expected
    for split_name, split in protocol.splits.items():
        sources, targets = ([LETTERS[letter] for letter in side] for side in split_name.split("-"))
        assert split.parts("train") == tuple(Part(source, "train") for source in sources)
        assert split.parts("validation") == tuple(Part(source, "validation") for source in sources)
        assert split.parts("test") == tuple(Part(target, "test") for target in targets)
        assert set(split.rows_sha256) == {"validation", "test"}


@pytest.mark.parametrize("family", ["mmdg", "mmdg-clean"])
def test_missing_modalities_are_missing_on_validation_data_too(family):
    missing, fixed = load(f"{family}/missing"), load(f"{family}/fixed")
    assert missing.conditions == {
        "no-depth": Condition(absent=("depth",), validation="same"),
        "no-ir": Condition(absent=("ir",), validation="same"),
        "rgb-only": Condition(absent=("depth", "ir"), validation="same"),
    }
    assert fixed.conditions == load(f"{family}/limited").conditions == {"full": Condition()}
    for name, split in fixed.splits.items():  # so the two protocols share their trainings
        assert missing.splits[name].train == split.train and missing.splits[name].validation == split.validation


@pytest.mark.parametrize("name", [*VERBATIM, *CLEAN])
def test_the_headline_is_honest_and_the_preset_the_paper_s(name):
    protocol = load(name)
    assert (protocol.preset, protocol.training) == ("paper", {})
    assert (protocol.headline.policy, protocol.headline.selection) == ("source-eer", "source-val")


@pytest.mark.parametrize(("alias", "name"), list(zip(("p1", "p2", "p3"), VERBATIM[:3], strict=True)))
def test_the_field_s_numbers_are_aliases(alias, name):
    ((protocol, _),) = find_evaluations(alias)
    assert protocol.id == name


def test_a_family_does_not_name_the_other():
    assert [protocol.id for protocol, _ in find_evaluations("mmdg")] == sorted(VERBATIM)
    assert [protocol.id for protocol, _ in find_evaluations("mmdg-clean")] == sorted(CLEAN)


@pytest.mark.parametrize(("name", "clean"), list(zip(VERBATIM[:3], CLEAN, strict=True)))
def test_the_clean_variant_reads_the_same_lists_and_drops_what_is_documented(name, clean):
    verbatim, cleaned = load(name), load(clean)
    for dataset, spec in verbatim.datasets.items():
        assert cleaned.datasets[dataset].lists == spec.lists
        assert not spec.drop.duplicates and not spec.drop.rows
    assert cleaned.datasets["cefa"].drop.rows == {"validation": (STRAY,)}
    assert {name for name, spec in cleaned.datasets.items() if spec.drop.duplicates} == {"cefa", "surf"}
    assert cleaned.known_issues == verbatim.known_issues
    hashes = [value for p in (verbatim, cleaned) for split in p.splits.values() for value in split.rows_sha256.values()]
    assert len(set(hashes)) == len(hashes)  # a key depends on the protocol


def test_the_one_leak_is_permitted_by_name():
    issues = [issue for issue in load("mmdg/fixed").known_issues if issue.permits]
    assert [issue.id for issue in issues] == ["cefa-stray-row"]
    assert issues[0].permits == {"subject": ("cefa/AF-300",), "video": ("cefa/1_300_1_1_1",), "id": (STRAY,)}


# --- the official lists -----------------------------------------------------------------------------------------------


@needs_lists
def test_the_lists_are_those_the_protocols_name():
    check_lists(LISTS, bundled_lists())


@needs_lists
@needs_truth
@pytest.mark.parametrize("name", [*VERBATIM, *CLEAN])
def test_every_count_and_hash_of_a_protocol_is_that_of_its_lists(name):
    protocol = load(name)
    facts = describe(protocol, list(protocol.evaluations()), LISTS)
    assert facts.problems == facts.notes == ()
    assert len(facts.parts) == 12 and all(part.counted for part in facts.parts)
    for part, listed in zip(facts.parts, rows_of(name).values(), strict=True):
        assert part.counts == protocol.datasets[part.part.split("/")[0]].expect[part.part.split("/")[1]]
        assert part.counts.rows == len(listed)
    assert facts.rows_sha256 == {split: spec.rows_sha256 for split, spec in protocol.splits.items()}


@needs_lists
@needs_truth
def test_padisi_s_labels_and_hashes_do_not_need_its_ground_truth(tmp_path):
    for needed in needed_lists([load("mmdg/fixed")]):
        (tmp_path / Path(needed.list.file).name).symlink_to(LISTS / needed.list.file)
    protocol = load("mmdg/fixed")
    found = protocol_rows(protocol, protocol.datasets, tmp_path)
    for split, spec in protocol.splits.items():
        assert dict(split_sha256(protocol, split, found)) == spec.rows_sha256
    facts = describe(protocol, list(protocol.evaluations()), tmp_path)
    assert facts.problems == () and "give its ground truth by" in facts.notes[0]
    (part,) = (part for part in facts.parts if part.part == "padisi/test")
    assert part.counts is not None and part.counts.rows == 667 and part.counts.attacks is None


@needs_lists
@pytest.mark.parametrize(("letter", "split"), PARTS)
def test_ids_are_different_and_prefixed(letter, split):
    listed, dataset = rows(letter, split), LETTERS[letter]
    assert len({row.id for row in listed}) == len(listed)
    for row in listed:
        assert all(value.startswith(f"{dataset}/") for value in (row.id, row.video, row.subject or f"{dataset}/"))
        assert row.id.split("#")[0] == f"{row.video}/{row.frame}"


@needs_lists
def test_the_clean_lists_hold_no_repeated_and_no_leaking_row():
    for part, listed in rows_of("mmdg-clean/fixed").items():
        verbatim = rows_of("mmdg/fixed")[part]
        dropped = {row.id for row in verbatim} - {row.id for row in listed}
        surplus = {row.id for row in verbatim if "#" in row.id}
        assert dropped == surplus | ({STRAY} if part == Part("cefa", "validation") else set())
    assert STRAY in {row.id for row in rows("c", "test", "mmdg-clean/fixed")}


@needs_lists
def test_the_stray_row_is_where_the_known_issue_says():
    (stray,) = (row for row in rows("c", "validation") if row.id == STRAY)
    assert (stray.line, stray.label) == (1201, 1)
    assert rows("c", "test")[0].id == STRAY
    facts = describe(load("mmdg/fixed"), [("cps-w", "full")], LISTS)
    assert [(s.dataset, s.splits, s.kind, s.count, s.known) for s in facts.shared] == [
        ("cefa", ("validation", "test"), kind, 1, 1) for kind in LEAKS
    ]
    clean = describe(load("mmdg-clean/fixed"), [("cps-w", "full")], LISTS)
    assert clean.shared == ()


# --- against the statistics of another program ------------------------------------------------------------------------

FINE = {  # what the statistics call CeFA's attacks
    "live": "live",
    "cloth-indoor": "print_cloth_indoor",
    "cloth-outdoor": "print_cloth_outdoor",
    "replay-indoor": "replay_indoor",
    "3d-print-mask": "3d_print_mask",
    "silicone-mask": "silicone_mask",
}


def attack_name(letter: str, row: ListRow) -> str:
    """An attack as the statistics spell it: W by class, S by folder, C by kind."""
    if letter == "w":
        return row.attack or ""
    return FINE[row.attack_fine or ""] if letter == "c" else row.attack_fine or ""


def videos(listed: list[ListRow]) -> list[ListRow]:
    """One row of each video."""
    return list({row.video: row for row in listed}.values())


@needs_lists
@pytest.mark.parametrize(("letter", "split"), PARTS)
def test_the_files_are_those_the_statistics_describe(letter, split, stats):
    file = load("mmdg/fixed").datasets[LETTERS[letter]].lists[split]
    described, listed = stats["files"][file.file], rows(letter, split)
    assert file.file == f"MMDG-Benchmark/{letter.upper()}-{FILES[split]}.txt"
    assert described["sha256"] == file.sha256
    assert described["rows"] == len(listed) == listed[-1].line
    assert described["exact_duplicate_rows"] == sum("#" in row.id for row in listed)
    assert load("mmdg/fixed").lists_source.commit == stats["sources"]["lxbuaa/mmdg_plus_plus"]  # type: ignore[union-attr]


@needs_lists
@pytest.mark.parametrize(("letter", "split"), [part for part in PARTS if part[0] != "p"])
def test_counts_of_c_s_w_are_those_of_the_statistics(letter, split, stats):
    expected, listed = stats["lists"][f"{letter.upper()}-{FILES[split]}"], rows(letter, split)
    assert expected["frames"] == len(listed)
    assert expected["videos"] == len(videos(listed))
    assert expected["subjects"] == len({row.subject for row in listed})
    assert expected["frames_by_label"] == Counter(str(row.label) for row in listed)
    assert expected["videos_by_label"] == Counter(str(row.label) for row in videos(listed))
    assert expected["frames_by_attack"] == Counter(attack_name(letter, row) for row in listed)
    assert expected["videos_by_attack"] == Counter(attack_name(letter, row) for row in videos(listed))
    assert expected["duplicate_rgb_paths"] == sum("#" in row.id for row in listed)
    lengths = Counter(row.video for row in listed).values()
    assert expected["frames_per_video_histogram"] == {str(n): count for n, count in Counter(lengths).items()}
    if letter == "c":
        people = [row for row in videos(listed) if row.race]
        assert expected["videos_by_race_and_label"] == Counter(f"{row.race}/{row.label}" for row in people)
        masks = {row.unit for row in listed if not row.race}
        assert expected.get("mask_identities", {}) == Counter(unit.split("/")[1][:-4] for unit in masks if unit)


@needs_lists
@needs_truth
@pytest.mark.parametrize("split", FILES)
def test_counts_of_p_are_those_of_the_statistics(split, stats):
    expected, listed = stats["padisi"][FILES[split]], rows("p", split)
    names = {
        "bona fide": "live",
        "paper": "paper",
        "makeup": "makeup",
        "tattoo": "tattoo",
        "partial funny eyes": "partial-funny-eyes",
        "partial paper glasses": "partial-paper-glasses",
        **{f"mask {kind}": f"mask-{kind}" for kind in ("mannequin", "half", "transparent", "silicone")},
    }
    assert expected["samples"] == len(listed) == len({row.video for row in listed})
    assert expected["labels"] == Counter(str(row.label) for row in listed)
    assert expected["participants"] == len({row.unit for row in listed})
    assert {names[name]: number for name, number in expected["by_pai"].items()} == Counter(
        row.attack_fine for row in listed
    )


@needs_lists
@pytest.mark.parametrize("letter", "csw")
def test_what_two_lists_share_is_what_the_statistics_say(letter, stats):
    for pair, expected in stats["split_overlaps"][letter.upper()].items():
        first, second = (rows(letter, next(s for s, file in FILES.items() if file == name)) for name in pair.split("|"))
        for kind, key in (("subject", "subjects"), ("video", "videos"), ("rgb", "frames_identical_path")):
            shared = {getattr(row, kind) for row in first} & {getattr(row, kind) for row in second}
            assert len(shared) == expected[key]


@needs_lists
@needs_truth
def test_padisi_s_lists_share_no_participant(stats):
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        expected = stats["padisi"][f"{FILES[first]}|{FILES[second]}"]
        assert len({row.unit for row in rows("p", first)} & {row.unit for row in rows("p", second)}) == 0
        assert expected["participants"] == expected["samples"] == 0


@needs_lists
@pytest.mark.parametrize("key", ["C-test", "S-train", "S-test"])
def test_the_repeated_rows_are_those_of_the_statistics(key, stats):
    letter, expected = key[0].lower(), stats["duplicate_rows_detail"][key]
    listed = rows(letter, key[2:])
    times = Counter(row.id.split("#")[0] for row in listed)
    repeated = [row for row in listed if times[row.id] > 1]  # the first of each
    assert expected["distinct_rows_repeated"] == len(repeated)
    assert expected["surplus_rows"] == sum("#" in row.id for row in listed)
    assert expected["max_multiplicity"] == max(times.values())
    assert expected["by_attack"] == Counter(attack_name(letter, row) for row in repeated)
    assert sorted(expected["rows"]) == sorted(row.rgb for row in repeated)


@needs_lists
def test_wmca_s_instruments_people_and_sessions_are_those_of_the_statistics(stats):
    everything = [row for split in FILES for row in videos(rows("w", split))]
    instruments: dict[str, Counter] = {}
    for row in everything:
        if not row.label:
            assert row.unit == f"wmca/{row.attack_fine}"
            instruments.setdefault(row.attack_fine or "", Counter())[row.attack] += 1
    assert instruments == stats["wmca_type_pai_to_attack"]
    for split, name in FILES.items():
        people, sampling = stats["wmca_people"][name], stats["wmca_sessions_and_sampling"][name]
        recorded = videos(rows("w", split))
        live, attacks = ([row for row in recorded if row.label == label] for label in (1, 0))
        assert people["bona_fide_clients"] == len({row.unit for row in live})
        assert people["client_ids_of_attacks"] == len({row.subject for row in attacks})
        assert people["presenters_non_000"] == len({row.presenter for row in attacks} - {""})
        assert sampling["live_videos_by_session"] == Counter(row.session for row in live)
        assert sampling["attack_videos_by_session"] == Counter(row.session for row in attacks)
        assert sampling["attack_videos_on_a_support (presenter 000)"] == sum(not row.presenter for row in attacks)
    trained = {row.presenter for row in rows("w", "train") if not row.label}
    tested = [row for row in videos(rows("w", "test")) if not row.label and row.presenter]
    shared = stats["wmca_people"]["train|test"]
    assert shared["attack_videos_of_test_with_human_presenter"] == len(tested)
    assert shared["attack_videos_of_test_presented_by_presenters_of_train"] == sum(
        row.presenter in trained for row in tested
    )
    assert not {row.unit for row in rows("w", "train")} & {row.unit for row in rows("w", "test")}


@needs_lists
def test_cefa_s_frames_a_video_are_those_of_the_statistics(stats):
    times = Counter(row.video for row in rows("c", "test"))
    found = Counter(f"{attack_name('c', row)}/{times[row.video]} frames" for row in videos(rows("c", "test")))
    assert found == stats["cefa_test_videos_by_kind_and_frames"]
