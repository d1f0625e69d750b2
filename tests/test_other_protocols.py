"""flexmodal/*, wmca/*, surf/* and cefa-af-ca/*: their layout, and their rows against the originals' own lists.

What needs the lists reads $FASBENCH_LISTS and is skipped without it; neither MMDG's lists nor the originals' are part
of this repository.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from functools import cache
from pathlib import Path

import cefa_tree
import pytest
import surf_tree
import wmca_tree
from quick_runs import request

from fasbench.data.catalog import listed_sources
from fasbench.data.lists import ListRow, protocol_rows
from fasbench.data.lists.facts import describe
from fasbench.data.lists.folder import bundled_lists, check_lists, needed_lists
from fasbench.data.lists.rows import choose_rows
from fasbench.data.store import prepare
from fasbench.protocol import Condition, Part, Protocol, Role, load_protocol
from fasbench.registry import find_evaluations, protocols
from fasbench.resources import sha256_file
from fasbench.runner import run

FLEX = ("flexmodal/cross", "flexmodal/intra")
WMCA = ("wmca/grandtest", "wmca/unseen-attack")
CEFA = tuple(f"cefa-af-ca/cross-{what}" for what in ("attack", "both", "ethnicity"))
SURF = ("surf/official",)
NAMES = (*FLEX, *WMCA, *CEFA, *SURF)
ROLES: tuple[Role, ...] = ("train", "validation", "test")
ATTACKS = ("fakehead", "flexiblemask", "glasses", "papermask", "print", "replay", "rigidmask")  # of WMCA
MASKS = ("rigidmask", "flexiblemask")  # of CeFA

LISTS = Path(os.environ.get("FASBENCH_LISTS", "nowhere"))


def needs(folder: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not (LISTS / "MMDG-Benchmark").is_dir() or not (LISTS / folder).is_dir(),
        reason=f"FASBENCH_LISTS does not name a folder with the lists, or with {folder}",
    )


needs_lists = needs("MMDG-Benchmark")
needs_flex, needs_csv, needs_videos = (
    needs(folder) for folder in ("FlexModal_Protocols", "wmca-protocols-csv", "casia-video-lists")
)


def load(name: str) -> Protocol:
    return load_protocol(protocols()[name])


@cache
def rows_of(name: str) -> dict[Part, list[ListRow]]:
    protocol = load(name)
    return protocol_rows(protocol, protocol.datasets, LISTS)


def role_rows(name: str, split: str, role: Role) -> list[ListRow]:
    """What a role of a split takes."""
    chosen = load(name).splits[split]
    taken = choose_rows([row for part in chosen.parts(role) for row in rows_of(name)[part]], chosen.rules(role))
    assert taken is not None
    return taken


def videos(rows: list[ListRow]) -> dict[str, int]:
    """Label by video, without the data set's prefix."""
    return {row.video.partition("/")[2]: row.label for row in rows}


# --- layout -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_protocol_says_what_it_is_and_what_is_known_of_it(name):
    protocol = load(name)
    assert protocol.id == name and protocol.version == 1 and protocol.preset == "paper"
    assert protocol.title and protocol.reference and protocol.known_issues
    for spec in protocol.datasets.values():
        assert set(spec.lists) == set(spec.expect) == set(ROLES)
    assert sorted(protocol.datasets) == protocol.datasets_of(protocol.splits)  # nothing is asked for that is not used
    for split in protocol.splits.values():
        assert set(split.rows_sha256) == {"validation", "test"}


@pytest.mark.parametrize("name", NAMES)
def test_every_family_reads_the_lists_of_mmdg_so_that_prepared_data_are_shared(name):
    benchmark, protocol = load("mmdg/fixed"), load(name)
    assert protocol.lists_source == benchmark.lists_source
    for dataset, spec in protocol.datasets.items():
        assert spec.lists == benchmark.datasets[dataset].lists


def test_families_do_not_name_one_another():
    for family, names in (("flexmodal", FLEX), ("wmca", WMCA), ("cefa-af-ca", CEFA), ("surf", SURF)):
        assert [protocol.id for protocol, _ in find_evaluations(family)] == sorted(names)


def test_flex_modal_trains_once_with_modalities_missing_and_tests_four_sets_of_sensors():
    intra, cross = load("flexmodal/intra"), load("flexmodal/cross")
    assert (
        intra.conditions
        == cross.conditions
        == {
            "rgb-only": Condition(absent=("depth", "ir")),
            "no-ir": Condition(absent=("ir",)),
            "no-depth": Condition(absent=("depth",)),
            "full": Condition(),
        }
    )
    assert all(condition.validation == "same" for condition in intra.conditions.values())
    assert intra.training == cross.training == {"train": {"modality_dropout": {"depth": 0.5, "ir": 0.5}}}
    (one,), (other,) = intra.splits.values(), cross.splits.values()
    assert one.train == other.train == ("surf/train", "cefa/train")  # in the order of the mixed list
    assert one.validation == other.validation == ("surf/validation", "cefa/validation")
    assert one.test == ("surf/test", "cefa/test") and other.test == ("wmca/train", "wmca/validation", "wmca/test")
    assert (intra.headline.policy, cross.headline.policy) == ("source-eer", "fixed@0.5")


def test_wmca_leaves_out_each_of_its_attacks_once_and_accepts_99_percent_of_the_development_set():
    protocol = load("wmca/unseen-attack")
    assert {name: split.unseen for name, split in protocol.splits.items()} == {name: (name,) for name in ATTACKS}
    (whole,) = load("wmca/grandtest").splits.values()
    for split in (whole, *protocol.splits.values()):
        assert [split.parts(role) for role in ROLES] == [(Part("wmca", role),) for role in ROLES]
    assert {load(name).headline.policy for name in WMCA} == {"source-bpcer@1%"}


def test_cefa_keeps_the_ethnicities_apart_and_masks_for_the_test():
    ethnicity, attack, both = (load(f"cefa-af-ca/cross-{name}") for name in ("ethnicity", "attack", "both"))
    for name, (source, target) in {"af-ca": ("AF", "CA"), "ca-af": ("CA", "AF")}.items():
        keep = {"train": {"race": (source,)}, "validation": {"race": (source,)}, "test": {"race": (target, "")}}
        assert ethnicity.splits[name].keep == both.splits[name].keep == keep
        assert ethnicity.splits[name].unseen == () and both.splits[name].unseen == ("print", *MASKS)
    unseen = {name: split.unseen for name, split in attack.splits.items()}
    assert unseen == {"print-replay": ("replay", *MASKS), "replay-print": ("print", *MASKS)}
    assert all("official" in load(name).known_issues[0].id for name in CEFA)


# --- MMDG's lists -----------------------------------------------------------------------------------------------------


@needs_lists
@pytest.mark.parametrize("name", NAMES)
def test_every_count_and_hash_is_that_of_the_lists(name):
    protocol = load(name)
    facts = describe(protocol, list(protocol.evaluations()), LISTS)
    assert facts.problems == facts.notes == ()
    for part in facts.parts:
        dataset, split = part.part.split("/")
        assert part.counted and part.counts == protocol.datasets[dataset].expect[split]  # type: ignore[index]
    assert facts.rows_sha256 == {split: spec.rows_sha256 for split, spec in protocol.splits.items()}
    assert all(shared.known == shared.count for shared in facts.shared)
    if name in FLEX:  # the stray row, verbatim
        assert {shared.kind for shared in facts.shared} == {"subject", "video", "id"}
    else:
        assert facts.shared == ()
    assert bool(facts.chosen) == any(split.unseen or split.keep for split in protocol.splits.values())


@needs_lists
def test_no_family_needs_a_list_that_mmdg_does_not():
    families = [load(name) for name in (*NAMES, "mmdg/fixed")]
    assert needed_lists(families) == needed_lists([load("mmdg/fixed")])
    assert len(bundled_lists()) == 12 + 6  # and those of cefa/*
    check_lists(LISTS, bundled_lists())


# --- Flex-Modal's own lists -------------------------------------------------------------------------------------------


def flex(name: str) -> list[list[str]]:
    """The rows of a list of Flex-Modal as they are written."""
    return [line.split() for line in (LISTS / "FlexModal_Protocols" / f"{name}.txt").read_text().splitlines()]


def written(rows: list[ListRow]) -> list[list[str]]:
    return [[row.rgb, row.depth, row.ir, str(row.label)] for row in rows]


@needs_flex
@pytest.mark.parametrize(
    ("role", "file", "number"), [("train", "train", 11097), ("validation", "val", 4501), ("test", "test", 19303)]
)
def test_the_mixed_lists_are_our_rows_in_their_order(role, file, number):
    rows = role_rows("flexmodal/intra", "sc-sc", role)
    assert len(rows) == number and written(rows) == flex(f"CASIA-SURF_CeFA_{file}")
    if role != "test":
        assert [row.id for row in role_rows("flexmodal/cross", "sc-w", role)] == [row.id for row in rows]


@needs_flex
def test_the_cross_test_is_every_row_of_wmca():
    rows = role_rows("flexmodal/cross", "sc-w", "test")
    assert len(rows) == len({row.id for row in rows}) == 5037
    assert sorted(written(rows)) == sorted(flex("WMCA_test"))


@needs_flex
@pytest.mark.parametrize("attack", ATTACKS)
def test_the_seven_attack_lists_are_our_attack_classes(attack):
    rows = [row for row in role_rows("flexmodal/cross", "sc-w", "test") if row.attack == attack]
    assert sorted(written(rows)) == sorted(flex(f"WMCA_test_{attack}"))
    assert {row.label for row in rows} == {0}


@needs_flex
def test_the_stray_row_is_where_the_known_issue_says():
    (issue,) = (issue for issue in load("flexmodal/intra").known_issues if issue.permits)
    validation, test = (role_rows("flexmodal/intra", "sc-sc", role) for role in ("validation", "test"))
    assert validation[3300].id == test[12564].id == issue.permits["id"][0]
    assert "Row 3301 " in issue.text and "row 12565 " in issue.text


# --- WMCA's own protocols ---------------------------------------------------------------------------------------------

GROUPS: dict[Role, str] = {"train": "train", "validation": "dev", "test": "eval"}


def recordings(name: str) -> dict[str, dict[str, tuple[int, str]]]:
    """Recording -> (label, attack), by group of one of Idiap's CSVs."""
    found: dict[str, dict[str, tuple[int, str]]] = {group: {} for group in GROUPS.values()}
    with (LISTS / "wmca-protocols-csv" / f"PROTOCOL-{name}.csv").open(newline="") as file:
        for path, attack, kind, group in csv.reader(file):
            name = {"bonafide": "live", "prints": "print"}.get(kind.split("/")[-1], kind.split("/")[-1])
            found[group][path.split("/")[-1]] = (1 - int(attack), name)
    return found


def found_recordings(name: str, split: str, role: Role) -> dict[str, tuple[int, str]]:
    rows = role_rows(name, split, role)
    return {row.video.partition("/")[2]: (row.label, row.attack or "") for row in rows}


@needs_csv
def test_the_recordings_of_grandtest_are_idiap_s():
    official = recordings("grandtest")
    for role, group in GROUPS.items():
        assert found_recordings("wmca/grandtest", "w-w", role) == official[group]
        assert set(Counter(row.video for row in role_rows("wmca/grandtest", "w-w", role)).values()) == {3}
    assert [len(official[group]) for group in GROUPS.values()] == [565, 557, 557]


@needs_csv
@pytest.mark.parametrize("attack", ATTACKS)
def test_the_recordings_without_an_attack_are_idiap_s(attack):
    official = recordings("LOO_prints" if attack == "print" else f"LOO_{attack}")
    for role, group in GROUPS.items():
        assert found_recordings("wmca/unseen-attack", attack, role) == official[group]
        assert (attack in {kind for _, kind in official[group].values()}) == (role == "test")
    assert {kind for _, kind in official["eval"].values()} == {"live", attack}


@needs_csv
def test_the_files_name_idiap_s_csvs_by_content_and_count():
    grandtest, unseen = (protocols()[name].read_text() for name in WMCA)
    folder = LISTS / "wmca-protocols-csv"
    assert sha256_file(folder / "PROTOCOL-grandtest.csv") in grandtest
    for attack in ATTACKS:
        name = "LOO_prints" if attack == "print" else f"LOO_{attack}"
        counts = ", ".join(str(len(recordings(name)[group])) for group in GROUPS.values())
        assert f"  {attack}:  # {name}: {counts}; {sha256_file(folder / f'PROTOCOL-{name}.csv')}\n" in unseen


@needs_lists
def test_without_paper_masks_nothing_is_left_out_of_the_training():
    for role in ("train", "validation"):
        whole, papermask = role_rows("wmca/grandtest", "w-w", role), role_rows("wmca/unseen-attack", "papermask", role)
        assert [row.id for row in papermask] == [row.id for row in whole]


# --- the video lists of CASIA-SURF and CeFA ---------------------------------------------------------------------------

FILES: dict[Role, str] = {"train": "train", "validation": "dev", "test": "test"}


def listed_videos(name: str, role: Role) -> dict[str, int]:
    """Label by video of a list that says 0 = bona fide; CeFA's masks are named by kind too."""
    path = LISTS / "casia-video-lists" / f"{name}_video_{FILES[role]}.txt"
    found = {}
    for line in path.read_text().splitlines():
        folder, label = line.split()
        *above, video, _ = folder.split("/")
        found[f"{above[-1]}/{video.removesuffix('.rssdk')}" if "SURF" in name else video] = 1 - int(label)
    return found


@needs_videos
@pytest.mark.parametrize(("role", "number"), [("train", 1200), ("validation", 400), ("test", 2391)])
def test_the_videos_of_surf_are_the_official_ones(role, number):
    official = listed_videos("CASIA_SURF@p1", role)
    assert videos(role_rows("surf/official", "s-s", role)) == official and len(official) == number


def is_mask(video: str) -> bool:
    return len(video.split("_")) == 7


@needs_videos
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("name", "split", "official"),
    [
        ("cross-ethnicity", "af-ca", "p1.1"),
        ("cross-ethnicity", "ca-af", "p1.3"),
        ("cross-attack", "print-replay", "p2.1"),
        ("cross-attack", "replay-print", "p2.2"),
        ("cross-both", "af-ca", "p4.1"),
        ("cross-both", "ca-af", "p4.3"),
    ],
)
def test_the_videos_of_cefa_are_the_official_ones_but_for_east_asia_and_more_masks(role, name, split, official):
    found, listed = videos(role_rows(f"cefa-af-ca/{name}", split, role)), listed_videos(f"CASIA_CeFA@{official}", role)
    people = {video: label for video, label in listed.items() if not is_mask(video)}
    east_asia = {video for video in people if video.startswith("3_")}
    assert {video: label for video, label in found.items() if not is_mask(video)} == {
        video: label for video, label in people.items() if video not in east_asia
    }
    masks, official_masks = ({video for video in names if is_mask(video)} for names in (found, listed))
    assert official_masks <= masks
    assert (len(masks), len(official_masks)) == ((1655, 1123) if role == "test" else (0, 0))


# --- from files to a result -------------------------------------------------------------------------------------------


@needs_lists
def test_protocols_of_every_family_run_on_the_same_prepared_data(tmp_path, monkeypatch, linear_method):
    """One video of every kind in the layout the lists name, prepared once a data set."""
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path / "stores"))
    trees = {"cefa": cefa_tree.write_profile, "surf": surf_tree.write_crops, "wmca": wmca_tree.write_packages}
    for name, write in trees.items():
        chosen = []
        for part, rows in rows_of("mmdg/fixed").items():
            kinds = {(row.attack_fine if name != "wmca" else row.attack, row.race): row.video for row in reversed(rows)}
            chosen += [row for row in rows if part.dataset == name and row.video in kinds.values()]
        write(tmp_path / name, chosen)
        (source,) = listed_sources(name, tmp_path / name, image_size=32, on_missing="skip")
        prepare(source, tmp_path / "stores")
    seen: dict[str, dict[str, set[str]]] = {}
    for evaluation in (
        "flexmodal/cross/sc-w/no-ir",
        "wmca/unseen-attack/papermask",
        "surf/official",
        "cefa-af-ca/cross-both/ca-af",
    ):
        (outcome,) = run(request(linear_method, evaluation, tmp_path / "runs", preset="tiny"))
        assert outcome.results and all(result.evaluation.partial for result in outcome.results)
        rows = outcome.plan.trainings[0].rows
        seen[evaluation] = {role: set(getattr(rows, role)["attack"]) for role in ROLES}
        if evaluation.startswith("flexmodal"):
            assert outcome.plan.config.train.modality_dropout == {"depth": 0.5, "ir": 0.5}
            assert set(rows.test["domain"]) == {"wmca"} and rows.sources == ("cefa", "surf")
        if evaluation.startswith("surf"):
            folders = {video.rpartition("/")[2] for video in rows.test["video"]}
            assert folders == {"real", "01_e_s", "02_e_b", "03_en_s"}
    assert seen["flexmodal/cross/sc-w/no-ir"]["test"] == {"live", *ATTACKS}
    assert seen["wmca/unseen-attack/papermask"]["test"] == {"live", "papermask"}
    assert seen["cefa-af-ca/cross-both/ca-af"] == {
        "train": {"live", "replay"},
        "validation": {"live", "replay"},
        "test": {"live", "print", *MASKS},
    }
