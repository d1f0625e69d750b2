"""Official lists that name videos: what they say, which frames are taken, and what becomes of videos without any."""

from __future__ import annotations

from pathlib import Path

import cefa_tree
import coded
import made_up_videos
import numpy as np
import pytest
from made_up_videos import CODES, MASKS, listed
from quick_runs import request
from typer.testing import CliRunner

import fasbench.cli as cli
from fasbench.data.audit import audit
from fasbench.data.catalog import find_prepared, listed_sources
from fasbench.data.lists import ListRow, protocol_rows
from fasbench.data.lists.grammar import NO_FRAME, parse_cefa_video
from fasbench.data.lists.videos import read_video_lists
from fasbench.data.sources.frames import spread
from fasbench.data.store import Store, prepare
from fasbench.errors import ConfigError, DataError
from fasbench.protocol import load_protocol
from fasbench.runner import run

NUMBERS = (1, 2, 5, 10, 11, 12, 20, 21, 40)  # of the frames written; the middles of three sections are 2, 11, 21
TAKEN = [2, 11, 21]


# --- lists ------------------------------------------------------------------------------------------------------------


def read(tmp_path: Path, *lists: list[str]) -> list[ListRow]:
    paths = [tmp_path / f"{number}.txt" for number in range(len(lists))]
    for path, lines in zip(paths, lists, strict=True):
        path.write_text("\n".join(lines) + "\n")
    return read_video_lists(paths, "cefa", "test")


def test_a_row_says_everything_of_a_video_but_its_frames(tmp_path):
    rows = {row.video: row for row in read(tmp_path, listed("test", CODES))}
    assert len(rows) == 3 * 2 * 4 + 3 and all(row.is_video and row.frame == NO_FRAME for row in rows.values())
    live, mask = rows["cefa/3_301_1_1_1"], rows["cefa/2_008_1_1_2_1_2"]
    assert (live.id, live.label, live.attack, live.race, live.session) == ("cefa/3_301_1_1_1", 1, "live", "EA", "1")
    assert live.subject == live.unit == live.presenter == "cefa/EA-301" and live.split == "test"
    assert live.depth == "CeFA/CeFA-Race/EA/EA-301/3_301_1_1_1/depth/*.jpg"
    assert (mask.label, mask.attack, mask.race, mask.unit) == (0, "flexiblemask", None, "cefa/Silicone-Mask-008")
    assert mask.rgb == "CeFA/CeFA-Mask/Silicone-Mask/008/2_008_1_1_2_1_2/profile/*.jpg"


def test_several_lists_are_one_set_of_videos_in_their_order(tmp_path):
    prints, replays = listed("test", CODES[:3]), listed("test", (CODES[0], CODES[3]))
    names = [row.id for row in read(tmp_path, prints, replays)]
    assert len(names) == len(set(names)) == 27
    assert names[: len(prints)] == [row.id for row in read(tmp_path, prints)]


def test_every_line_that_is_wrong_is_named(tmp_path):
    good = "CASIA_CeFA/Ethnicity/AF/AF-300/1_300_1_1_1/color 0"
    wrong = {
        good.replace(
            " 0", " 1"
        ): "color 1', where 0 is bona fide and 1 an attack: as a row, label 0 contradicts the name: 1_1_1",
        good.replace("/color", "/depth"): "is no cefa video, expected CASIA_CeFA/Ethnicity/AF/AF-900/1_900_1_1_1/color",
        good.replace("1_300", "2_300"): "'2_300_1_1_1' names race 2 but lies in the folder AF",
        good.replace(" 0", "  0"): "expected the folder of a video and a label, 0 (bona fide) or 1 (attack)",
        good.removesuffix(" 0"): "expected the folder of a video and a label",
        "../" + good: "is no cefa video",
    }
    with pytest.raises(DataError) as caught:
        read(tmp_path, [good, *wrong, good])
    text = str(caught.value)
    for number, reason in enumerate(wrong.values(), start=2):
        assert any(f"0.txt:{number}: " in line and reason in line for line in text.splitlines()), (reason, text)
    assert f"0.txt:{len(wrong) + 2}: '{good}': the video is listed twice" in text
    with pytest.raises(DataError, match=r"0\.txt: the list is empty"):
        read_video_lists([_empty(tmp_path / "0.txt")], "cefa", "test")


def _empty(path: Path) -> Path:
    path.write_text("")
    return path


def test_identity_cards_are_not_in_the_grammar():
    with pytest.raises(DataError, match="is no cefa video"):
        parse_cefa_video("CASIA_CeFA/Ethnicity/AF/AF-900-199902310017/1_900_1_1_1/color")
    assert parse_cefa_video(MASKS[0])[0].video == "1_001_0_0_2_1_3"


# --- frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "places"), [(0, []), (1, [0]), (3, [0, 1, 2]), (4, [0, 2, 3]), (9, [1, 4, 7]), (100, [16, 50, 83])]
)
def test_frames_are_the_middles_of_equal_sections(number, places):
    assert spread(range(number), 3) == places
    for count in range(1, 8):
        chosen = spread(range(number), count)
        assert len(set(chosen)) == len(chosen) == min(number, count) and sorted(chosen) == chosen


# --- from files to a result -------------------------------------------------------------------------------------------


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """The protocol on made-up lists, and a row of every video."""
    monkeypatch.setenv("FASBENCH_LISTS", str(tmp_path / "lists"))
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path / "stores"))
    protocol = load_protocol(made_up_videos.write(tmp_path))
    parts = protocol_rows(protocol, ["cefa"], tmp_path / "lists")
    assert [len(rows) for rows in parts.values()] == [24, 24, 27]
    return protocol, [row for rows in parts.values() for row in rows]


def prepared(protocol, root: Path, **options) -> Store:
    (source,) = listed_sources("cefa", root, protocol=str(protocol.path), **{"image_size": 64, **options})
    return prepare(source, root.parent / "stores", workers=1)


def invoke(*arguments: str) -> tuple[int, str]:
    cli._register()
    ran = CliRunner().invoke(cli.app, list(arguments), env={"COLUMNS": "200"})
    if ran.exception and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran.exit_code, ran.output


def flat(rows: list[ListRow], numbers=NUMBERS) -> list[ListRow]:
    return [frame for row in rows for frame in cefa_tree.frames_of(row, numbers)]


@pytest.mark.parametrize("write", [cefa_tree.write_color, cefa_tree.write_profile])
def test_both_trees_give_the_same_frames_of_every_video(made_up, tmp_path, write):
    protocol, videos = made_up
    chosen = videos[::7] + videos[-3:]
    write(tmp_path / "cefa", flat(chosen))
    alone = cefa_tree.frames_of(chosen[0], [3, 4, 13])  # frames that one modality has alone are no frames
    write(tmp_path / "cefa", alone)
    for row in alone:
        for path in (tmp_path / "cefa").rglob(f"{row.video.partition('/')[2]}/depth/{row.frame:04d}.jpg"):
            path.unlink()
    store = prepared(protocol, tmp_path / "cefa", on_missing="skip", crop="own-box")
    expected = flat(chosen, TAKEN)
    assert store.column("id").tolist() == [row.id for row in expected]
    for number, row in enumerate(expected):
        record = store.record(number)
        assert (record.frame, record.video, record.race) == (row.frame, row.video, row.race or "")
        assert (record.subject, record.unit) == (row.subject, row.unit)
        assert (record.split, record.label, record.attack) == (row.split, row.label, row.attack)
        for modality, image in record.images.items():
            assert np.array_equal(coded.said(image), coded.bits(row, modality)), row.id
    assert store.manifest["skipped"]["rows"] == len(videos) - len(chosen)


def test_a_run_needs_nothing_but_the_lists_and_the_files(made_up, tmp_path, linear_method):
    protocol, videos = made_up
    with pytest.raises(DataError) as caught:
        run(request(linear_method, protocol.path, tmp_path / "runs"))
    assert f"Then: fasbench data prepare cefa --from FOLDER --protocol {protocol.path}" in str(caught.value)
    cefa_tree.write_color(tmp_path / "cefa", flat(videos, range(4)))
    store = prepared(protocol, tmp_path / "cefa")
    assert find_prepared("cefa", protocol.datasets["cefa"]) == [store.path]
    assert set(store.column("frame").tolist()) == {0, 2, 3} and len(store) == 3 * len(videos)
    (outcome,) = run(request(linear_method, protocol.path, tmp_path / "runs"))
    assert not outcome.results[0].evaluation.partial
    rows = outcome.plan.trainings[0].rows
    assert [len(part) for part in rows.parts()] == [3 * 2 * 2, 3 * 2 * 2, 3 * (4 * 3 + 3)]
    assert {unit.split("-")[0] for unit in rows.test["unit"]} == {"cefa/CA", "cefa/EA", "cefa/3D", "cefa/Silicone"}
    assert {unit.split("-")[0] for unit in rows.train["unit"]} == {"cefa/AF"}
    code, text = invoke("data", "verify", str(protocol.path))
    assert code == 0 and "frames taken of a video, at most 3: 3 of 75 videos" in text
    assert "test/videos@1/af: ok\n  train 12, validation 12, test 45 rows, no undeclared leak" in text


def test_videos_without_frames_are_problems_or_skipped(made_up, tmp_path, linear_method):
    protocol, videos = made_up
    cefa_tree.write_profile(tmp_path / "cefa", flat(videos[:-2], range(3)))
    folder = tmp_path / "cefa" / videos[0].rgb.removesuffix("/profile/*.jpg")
    for modality, kept in (("depth", "0000.jpg"), ("ir", "0001.jpg")):
        for path in (folder / modality).iterdir():
            if path.name != kept:
                path.unlink()
    with pytest.raises(DataError) as caught:
        prepared(protocol, tmp_path / "cefa")
    text = str(caught.value)
    assert "cefa: 3 problem(s) in 219 rows, nothing was written" in text
    counts = "rgb has 3, depth has 1, ir has 1"
    assert f"{videos[0].id}: no frame number that all modalities have: {counts}" in text
    assert "cefa/3_301_3_1_4: rgb CeFA/CeFA-Race/EA/EA-301/3_301_3_1_4/profile: no folder '3_301_3_1_4' in " in text
    store = prepared(protocol, tmp_path / "cefa", on_missing="skip")
    assert store.manifest["skipped"]["rows"] == 3 and len(store) == 3 * (len(videos) - 3)
    code, text = invoke("data", "verify", str(protocol.path))
    assert code == 3 and f"cefa/train: 24 videos expected, 23 found, missing: {videos[0].id}\n" in text
    assert f"--on-missing error --protocol {protocol.path}" not in text
    assert "fasbench data prepare cefa --from FOLDER --layout profile-tree" in text
    assert f" --protocol {protocol.path}. Or keep it as it is" in text


def test_before_the_files_are_there_the_lists_can_be_shown_and_audited(made_up, tmp_path):
    protocol, _ = made_up
    code, text = invoke("show", "protocol", str(protocol.path))
    assert code == 0 and "Its lists name videos: 3 frames of each are taken" in " ".join(text.split())
    assert "all counts are videos" in text and "leaks: none" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("af test "))
    assert row == ["af", "test", "?", "4", "11", "15", "6", "6", "0"]
    report = audit(protocol, root=tmp_path / "none")
    assert report.datasets["cefa"].rows == 4 + 4 + 15 and "every row stands for a video" in report.notes[0]
    assert not [finding for finding in report.findings if finding.severity in ("leak", "duplicate")]


def test_lists_that_are_not_the_expected_ones_and_counts_that_differ(made_up, tmp_path):
    protocol, _ = made_up
    protocol.path.write_text(protocol.path.read_text().replace("videos: 24, live: 6", "videos: 25, live: 6"))
    code, text = invoke("show", "protocol", str(protocol.path))
    assert code == 3 and "Problem: cefa/train: videos expected 25, found 24" in text
    (tmp_path / "lists" / "test@two.txt").unlink()
    (tmp_path / "CASIA_CeFA" / "Mask").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no Made/test@two\.txt: get it from its authors"):
        listed_sources("cefa", tmp_path, protocol=str(protocol.path), layout="color-tree")


# --- the specification ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("frames: 3", "frames: 0", "datasets.cefa.videos.frames"),
        ("frames: 3", "frame: 3", "frame: unknown key. Did you mean 'frames'"),
        ("  cefa:", "  cefa:\n    drop: {duplicates: true}", "drop belongs to a data set with lists"),
        ("  cefa:", "  cefa:\n    size: tiny", "lists belong to a licensed data set"),
        (
            "  cefa:",
            "  cefa:\n    expect: {test: {rows: 1, live: 1, attack: 0}}",
            "lists and expect stand under",
        ),
        ("  cefa:", "  wmca:", "no grammar for video lists of 'wmca'. Known: cefa"),
        ("{videos: 24,", "{rows: 24, videos: 24,", "train.rows: unknown key"),
        ("        test:\n", "        tset:\n", "videos.lists.tset"),
        ("[cefa/validation]", "[cefa/validatoin]", "expected <data set>/<split>"),
    ],
)
def test_mistakes_in_a_protocol_are_named(made_up, old, new, text):
    protocol, _ = made_up
    protocol.path.write_text(protocol.path.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_protocol(protocol.path)
    assert text in str(caught.value)
