"""Official lists: what a row says, and what is refused. The names here are made up after the documented grammar."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from fasbench.data.lists import ListRow, Trial, grammar, read_ground_truth, read_list
from fasbench.data.lists.grammar import GRAMMARS, parse_cefa, parse_padisi, parse_surf, parse_wmca
from fasbench.data.lists.rows import count_rows, drop_rows
from fasbench.data.spec import Drop
from fasbench.data.taxonomy import TAXONOMY
from fasbench.errors import ConfigError, DataError

WMCA = "WMCA-Image/R_CDIT/{0}/{1}/{2:04d}.jpg"
CEFA = "CeFA/CeFA-Race/{0}/{1}/{2:04d}.jpg"
MASK = "CeFA/CeFA-Mask/{0}/{1}/{2:04d}.jpg"
SURF = "CASIA-SURF-CROP/{0}/{1}/{2}.jpg"
SURF_LIVE = "real_part/real_train_part/CLKJ_AS9001/real.rssdk"
SURF_CUT = "fake_part/fake_train_part/CLKJ_AS9001/02_e_b.rssdk"


def line(form: str, name: str, frame: int, label: int, colour: str = "color") -> str:
    """A row of three paths and a label."""
    return " ".join([*(form.format(name, modality, frame) for modality in (colour, "depth", "ir")), str(label)])


def wmca(recording: str, frame: int = 12, label: int = 0) -> str:
    return line(WMCA, recording, frame, label)


def cefa(folders: str, frame: int = 1, label: int = 0, form: str = CEFA) -> str:
    return line(form, folders, frame, label, "profile")


def surf(folders: str, frame: int = 1, label: int = 0) -> str:
    return line(SURF, folders, frame, label)


def read(tmp_path: Path, dataset: str, *lines: str, split: str = "train", **options) -> list[ListRow]:
    path = tmp_path / "list.txt"
    path.write_text("\r\n".join(lines))  # as most official lists: CRLF, no newline at the end
    return read_list(path, dataset, split, **options)


# --- what a row says --------------------------------------------------------------------------------------------------


def test_a_whole_row_of_an_attack_on_wmca(tmp_path):
    (row,) = read(tmp_path, "wmca", wmca("902_03_915_2_81", 36))
    assert row == ListRow(
        dataset="wmca",
        split="train",
        id="wmca/902_03_915_2_81/36",
        label=0,
        attack="flexiblemask",
        attack_fine="2_81",
        subject="wmca/902",
        presenter="wmca/915",
        session="03",
        unit="wmca/2_81",
        video="wmca/902_03_915_2_81",
        frame=36,
        race=None,
        rgb="WMCA-Image/R_CDIT/902_03_915_2_81/color/0036.jpg",
        depth="WMCA-Image/R_CDIT/902_03_915_2_81/depth/0036.jpg",
        ir="WMCA-Image/R_CDIT/902_03_915_2_81/ir/0036.jpg",
        line=1,
    )


# recording: attack, presenter, unit
WMCA_ROWS = {
    "902_01_000_0_01": ("live", "wmca/902", "wmca/902"),
    "902_01_000_3_04": ("print", "", "wmca/3_04"),  # on a support
    "902_01_915_3_05": ("replay", "wmca/915", "wmca/3_05"),  # type "photo", shown on a screen
    "902_01_915_1_13": ("rigidmask", "wmca/915", "wmca/1_13"),
    "902_01_915_1_16": ("glasses", "wmca/915", "wmca/1_16"),
    "902_01_000_2_07": ("fakehead", "", "wmca/2_07"),
    "902_01_915_2_11": ("papermask", "wmca/915", "wmca/2_11"),
}


@pytest.mark.parametrize(("recording", "expected"), WMCA_ROWS.items(), ids=WMCA_ROWS)
def test_wmca_s_unit_is_the_person_and_for_attacks_the_instrument(tmp_path, recording, expected):
    (row,) = read(tmp_path, "wmca", wmca(recording, label=int(expected[0] == "live")))
    assert (row.attack, row.presenter, row.unit) == expected
    assert row.subject == "wmca/902"


def test_every_instrument_of_the_taxonomy_is_read(tmp_path):
    codes = TAXONOMY["wmca"]
    rows = read(tmp_path, "wmca", *(wmca(f"902_01_000_{code}", label=int(code[0] == "0")) for code in codes))
    assert [(row.attack, row.attack_fine) for row in rows] == list(codes.values())


# folder: attack, fine, session
CEFA_ROWS = {
    "AF/AF-950/1_950_1_1_1": ("live", "live", "1", "AF"),
    "CA/CA-950/2_950_3_1_2": ("print", "cloth-indoor", "1", "CA"),
    "EA/EA-950/3_950_3_2_2": ("print", "cloth-outdoor", "2", "EA"),
    "AF/AF-950/1_950_3_1_4": ("replay", "replay-indoor", "1", "AF"),
}


@pytest.mark.parametrize(("folders", "expected"), CEFA_ROWS.items(), ids=CEFA_ROWS)
def test_cefa_s_unit_is_the_person(tmp_path, folders, expected):
    (row,) = read(tmp_path, "cefa", cefa(folders, 26, int(expected[0] == "live")))
    _, subject, video = folders.split("/")
    assert (row.attack, row.attack_fine, row.session, row.race) == expected
    assert (row.subject, row.unit, row.video) == (f"cefa/{subject}", f"cefa/{subject}", f"cefa/{video}")
    assert row.id == f"cefa/{video}/26"
    assert row.presenter == (f"cefa/{subject}" if row.label else "")
    assert row.rgb.endswith("/profile/0026.jpg")


@pytest.mark.parametrize(
    ("folders", "attack", "unit"),
    [
        ("3D-Mask/950/1_950_0_0_2_1_3", ("rigidmask", "3d-print-mask"), "cefa/3D-Mask-950"),
        ("Silicone-Mask/009/2_009_1_1_2_2_4", ("flexiblemask", "silicone-mask"), "cefa/Silicone-Mask-009"),
    ],
)
def test_cefa_s_masks_are_units_of_their_own(tmp_path, folders, attack, unit):
    (row,) = read(tmp_path, "cefa", cefa(folders, form=MASK), split="test")
    assert (row.attack, row.attack_fine) == attack
    assert row.subject == row.unit == unit
    assert (row.race, row.presenter) == (None, "")
    assert row.session == folders[-3]


def test_surf_s_unit_is_the_person_and_a_video_a_folder_of_theirs(tmp_path):
    live, cut = read(tmp_path, "surf", surf(SURF_LIVE, 131, 1), surf(SURF_CUT, 1))
    assert (live.id, live.video, live.attack) == ("surf/CLKJ_AS9001/real/131", "surf/CLKJ_AS9001/real", "live")
    assert (cut.id, cut.attack, cut.attack_fine) == ("surf/CLKJ_AS9001/02_e_b/1", "cutprint", "02_e_b")
    assert live.subject == live.unit == live.presenter == cut.subject == cut.unit == "surf/CLKJ_AS9001"
    assert cut.presenter == ""


@pytest.mark.parametrize(("folder", "split"), [("train", "train"), ("val", "validation"), ("test", "test")])
def test_surf_s_folders_name_the_split(tmp_path, folder, split):
    (row,) = read(tmp_path, "surf", surf(SURF_CUT.replace("train", folder)), split=split)
    assert row.split == split


def test_padisi_s_lists_alone_name_neither_participants_nor_attacks(tmp_path):
    live, attack = read(tmp_path, "padisi", "z0000001.npz\t1", "00000002.npz\t0")
    assert (live.id, live.video, live.frame) == ("padisi/z0000001/0", "padisi/z0000001", 0)
    assert (live.attack, attack.attack, attack.attack_fine) == ("live", None, None)
    assert (live.subject, live.unit, live.presenter) == (None, None, "")
    assert live.rgb == live.depth == live.ir == "z0000001.npz"
    counts = count_rows([live, attack])
    assert (counts.rows, counts.live, counts.videos) == (2, 1, 2)
    assert counts.subjects is counts.units is counts.attacks is None


def test_padisi_s_ground_truth_names_them(tmp_path):
    truth = {"00000001": Trial("m00000", "p1"), "00000002": Trial("m50603", "p1")}
    rows = read(tmp_path, "padisi", "00000001.npz\t1", "00000002.npz\t0", ground_truth=truth)
    assert [(row.attack, row.attack_fine) for row in rows] == [("live", "live"), ("makeup", "makeup")]
    assert {(row.subject, row.unit, row.presenter) for row in rows} == {("padisi/p1",) * 3}
    assert count_rows(rows).attacks == {"makeup": 1}


def test_repeated_rows_are_numbered(tmp_path):
    rows = read(tmp_path, "surf", *[surf(SURF_CUT, 1)] * 2, surf(SURF_CUT, 11), surf(SURF_CUT, 1))
    base = "surf/CLKJ_AS9001/02_e_b"
    assert [row.id for row in rows] == [f"{base}/1", f"{base}/1#2", f"{base}/11", f"{base}/1#3"]
    assert [row.line for row in rows] == [1, 2, 3, 4]


def test_a_list_may_end_with_or_without_a_newline(tmp_path):
    path = tmp_path / "list.txt"
    for end in ("", "\n", "\r\n"):
        path.write_bytes(("00000001.npz\t1\n00000002.npz\t0" + end).encode())
        assert len(read_list(path, "padisi", "test")) == 2


# --- what is refused --------------------------------------------------------------------------------------------------

LIVE = wmca("902_01_000_0_00", label=1)
MIXED = wmca("902_01_000_3_01").replace("ir/0012", "ir/0013")
REFUSED = {
    "label against the type": ("wmca", wmca("902_01_000_3_01", label=1), "label 1 contradicts the name: 3_01 is print"),
    "attack label of a live name": ("wmca", wmca("902_01_000_0_00"), "label 0 contradicts the name: 0_00 is live"),
    "surf label": ("surf", surf(SURF_LIVE), "label 0 contradicts the name: live is live"),
    "cefa label": ("cefa", cefa("AF/AF-950/1_950_1_1_1"), "label 0 contradicts the name: 1_1_1 is live"),
    "instrument": ("wmca", wmca("902_01_000_1_03"), "unknown wmca attack code '1_03'. Did you mean"),
    "cefa code": ("cefa", cefa("AF/AF-950/1_950_2_1_4"), "unknown cefa attack code '2_1_4'"),
    "surf folder": ("surf", surf(SURF_CUT.replace("02_e_b", "07_x")), "unknown surf attack code '07_x'"),
    "live with a presenter": (
        "wmca",
        wmca("902_01_915_0_00", label=1),
        "'902_01_915_0_00' is bona fide (type 0) but names presenter 915, not 000",
    ),
    "race": (
        "cefa",
        cefa("AF/AF-950/2_950_1_1_1", label=1),
        "'2_950_1_1_1' names race 2 but lies in the folder AF",
    ),
    "mask kind": (
        "cefa",
        cefa("3D-Mask/009/2_009_1_1_2_2_4", form=MASK),
        "'2_009_1_1_2_2_4' names kind 2 but lies in the folder 3D-Mask",
    ),
    "surf part": (
        "surf",
        surf(SURF_CUT.replace("02_e_b", "real")),
        "folder 'real' contradicts 'fake_part'",
    ),
    "surf split": (
        "surf",
        surf(SURF_CUT.replace("train", "test")),
        "lies in the test part, but this is a list for train",
    ),
    "another data set's name": (
        "wmca",
        surf(SURF_CUT),
        "is no wmca name, expected WMCA-Image/R_CDIT/<CCC_SS_PPP_T_AA>",
    ),
    "another person's video": ("cefa", cefa("AF/AF-950/1_951_1_1_1"), "is no cefa name, expected CeFA/CeFA-Race/"),
    "padisi name": ("padisi", "ABCDEF01.npz\t1", "'ABCDEF01.npz' is no padisi name"),
    "three modalities, two frames": (
        "wmca",
        MIXED,
        "ir/0013.jpg', expected 'WMCA-Image/R_CDIT/902_01_000_3_01/ir/0012",
    ),
    "no label": ("wmca", LIVE.removesuffix(" 1"), "expected colour, depth and ir paths and a label"),
    "a path missing": ("wmca", LIVE.partition(" ")[2], "expected colour, depth and ir paths and a label"),
    "another label": ("wmca", LIVE[:-1] + "2", "a label, 1 (bona fide) or 0 (attack)"),
    "padisi with three paths": ("padisi", LIVE, "expected a file name and a label"),
    "blank line": ("wmca", f"{LIVE}\n\n{LIVE}", "'': expected colour, depth and ir paths and a label"),
}


@pytest.mark.parametrize(("dataset", "text", "message"), REFUSED.values(), ids=REFUSED)
def test_a_row_that_is_not_sound_is_refused_with_its_line(tmp_path, dataset, text, message):
    with pytest.raises(DataError) as caught:
        read(tmp_path, dataset, text)
    title, problem = str(caught.value).splitlines()
    path = tmp_path / "list.txt"
    assert title == f"{path}: 1 problem(s) in this {dataset} list"
    number = 2 if text.count("\n") else 1
    assert problem.startswith(f"  - {path}:{number}: ") and message in problem


def test_all_problems_of_a_list_are_reported_together(tmp_path):
    with pytest.raises(DataError) as caught:
        read(tmp_path, "wmca", LIVE, wmca("902_01_000_0_00"), "nonsense", LIVE, MIXED)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith(": 3 problem(s) in this wmca list")
    assert [text.partition("list.txt:")[2].partition(":")[0] for text in lines[1:]] == ["2", "3", "5"]


def test_one_row_with_two_labels_is_a_contradiction(tmp_path):
    with pytest.raises(DataError, match=r"list\.txt:2: label 0 contradicts label 1 of the same row in line 1"):
        read(tmp_path, "padisi", "00000001.npz\t1", "00000001.npz\t0")


def test_padisi_s_labels_are_held_against_the_ground_truth(tmp_path):
    truth = {"00000001": Trial("m00000", "p1"), "00000003": Trial("m51001", "p1")}
    with pytest.raises(DataError) as caught:
        read(tmp_path, "padisi", "00000001.npz\t0", "00000002.npz\t0", "00000003.npz\t0", ground_truth=truth)
    first, second, third = str(caught.value).splitlines()[1:]
    assert first.endswith("label 0 contradicts the name: m000 is live (live); 1 = bona fide")
    assert second.endswith(":2: trial '00000002' is not in the ground truth")
    assert "unknown padisi attack code 'm510'" in third


def test_a_list_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.txt: cannot be read as an ASCII list"):
        read_list(tmp_path / "nowhere.txt", "wmca", "train")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"list\.txt: cannot be read as an ASCII list"):
        read_list(tmp_path / "list.txt", "wmca", "train")
    with pytest.raises(DataError, match=r"list\.txt: the list is empty"):
        read(tmp_path, "wmca", "")


def test_a_data_set_or_split_nobody_knows():
    with pytest.raises(ConfigError, match=r"no list grammar for 'wcma'\. Did you mean 'wmca'\? Known: cefa, padisi"):
        read_list(Path("x"), "wcma", "train")
    with pytest.raises(ConfigError, match="split 'val': expected one of train, validation, test"):
        read_list(Path("x"), "wmca", "val")


def test_every_grammar_s_example_is_a_name_it_reads():
    found = doctest.testmod(grammar)
    assert (found.failed, found.attempted) == (0, 6)
    assert parse_wmca(GRAMMARS["wmca"].form.replace("<CCC_SS_PPP_T_AA>", "901_01_000_0_00")).video == "901_01_000_0_00"
    assert all(parse_cefa(form) for form in GRAMMARS["cefa"].form.split(" or "))
    assert parse_surf(GRAMMARS["surf"].form).frame == 1
    assert parse_padisi("01234567.npz").video == "01234567"


# --- ground truth -----------------------------------------------------------------------------------------------------

HEADER = "transaction_id,trial_id,trial_name,ground_truth,participant_id,age\n"


def test_the_ground_truth_is_read_by_its_column_names(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text(f"{HEADER}t,00000001,FACE,m00000,p1,33\nt,00000002,FACE,m50105,p2,34\n")
    assert read_ground_truth(path) == {"00000001": Trial("m00000", "p1"), "00000002": Trial("m50105", "p2")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trial_id,code\n1,2\n", "no column ground_truth, participant_id: not PADISI-Face's ground truth"),
        (HEADER, "no rows"),
        (f"{HEADER}t,1,F,m00000,p1,3\nt,1,F,m00000,p1,3\n", ":3: trial '1' was already given"),
        (f"{HEADER}t,1,F,print,p1,3\n", ":2: ground_truth 'print': expected m00000 (bona fide) or m5 and four digits"),
        (f"{HEADER}t,1,F,m00000,,3\n", ":2: trial_id or participant_id is empty"),
        (f"{HEADER}t,1\n", ":2: trial_id or participant_id is empty"),
    ],
)
def test_a_ground_truth_that_is_not_sound(tmp_path, text, message):
    path = tmp_path / "truth.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_ground_truth(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_a_ground_truth_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_ground_truth(tmp_path / "nowhere.csv")


# --- dropping ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def four(tmp_path: Path) -> list[ListRow]:
    """Frames 1, 1 again, 11, 21."""
    return read(tmp_path, "surf", *(surf(SURF_CUT, frame) for frame in (1, 1, 11, 21)))


def frames(rows: list[ListRow]) -> list[int]:
    return [row.frame for row in rows]


def test_repeated_rows_can_be_dropped_and_the_first_stays(four):
    assert frames(drop_rows(four, Drop(), "train")) == [1, 1, 11, 21]
    kept = drop_rows(four, Drop(duplicates=True), "train")
    assert frames(kept) == [1, 11, 21] and not any("#" in row.id for row in kept)


def test_a_named_row_is_dropped_with_its_repetitions_and_from_its_split_only(four):
    drop = Drop(rows={"train": ("surf/CLKJ_AS9001/02_e_b/1",)})
    assert frames(drop_rows(four, drop, "train")) == [11, 21]
    assert frames(drop_rows(four, drop, "test")) == [1, 1, 11, 21]


def test_a_row_to_drop_that_is_not_there_is_an_error(four):
    with pytest.raises(DataError, match=r"drop\.rows\.train names surf/CLKJ_AS9001/02_e_b/2: not in the list"):
        drop_rows(four, Drop(rows={"train": ("surf/CLKJ_AS9001/02_e_b/2",)}), "train")
