"""CASIA-SURF: all releases give the images of exactly the row asked for, and what a release lacks is explained."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from coded import bits, check, damage
from PIL import Image
from surf_tree import SHEETS, crop_path, subject_path, write_challenge, write_crops, write_data

from fasbench.data.layouts.base import MissingFiles
from fasbench.data.layouts.surf import SurfChallenge, SurfCrops
from fasbench.data.lists import ListRow, read_list
from fasbench.errors import DataError

CLIPS = {
    "train": ["real", "04_en_b", "05_enm_s", "06_enm_b", "01_e_s"],  # the last one is not in the challenge's release
    "validation": ["real", "01_e_s", "06_enm_b"],
    "test": ["real", "02_e_b", "03_en_s"],
}
NOT_RELEASED = {("train", "01_e_s"), ("validation", "06_enm_b")}
FOLDERS = {"train": "train", "validation": "val", "test": "test"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[ListRow]:
    """Frames 1 and 121 of each clip of one subject a split, in the grammar of the official lists."""
    read = []
    for number, (split, clips) in enumerate(CLIPS.items(), start=1):
        lines = []
        for clip in clips:
            kind = "real" if clip == "real" else "fake"
            folder = f"{kind}_part/{kind}_{FOLDERS[split]}_part/CLKJ_AS900{number}/{clip}.rssdk"
            for frame in (1, 121):
                paths = [f"CASIA-SURF-CROP/{folder}/{modality}/{frame}.jpg" for modality in ("color", "depth", "ir")]
                lines.append(" ".join([*paths, str(int(kind == "real"))]))
        path = tmp_path_factory.mktemp("list") / f"{split}.txt"
        path.write_text("\r\n".join(lines))
        read += read_list(path, "surf", split)
    return read


def released(rows: list[ListRow]) -> list[ListRow]:
    return [row for row in rows if (row.split, row.video.split("/")[-1]) not in NOT_RELEASED]


def test_content_differs_between_all_images(rows):
    assert len({bits(row, modality).tobytes() for row in rows for modality in SHEETS}) == 3 * len(rows)


VARIANTS = [
    (SurfCrops, write_crops, {}, ""),
    (SurfCrops, write_crops, {"three_channels": True}, "CASIA-SURF-CROP"),
    (SurfChallenge, write_data, {}, ""),
    (SurfChallenge, write_data, {}, "Data"),
    (SurfChallenge, write_data, {"above": "CASIA_SURF/Data/", "digits": 6}, ""),
    (SurfChallenge, write_data, {"above": "CASIA_SURF/", "digits": 1}, ""),
    (SurfChallenge, write_data, {"above": "", "digits": 1}, ""),
]


@pytest.mark.parametrize(("layout", "write", "options", "below"), VARIANTS)
def test_every_row_gives_its_own_images(layout, write, options, below, rows, tmp_path):
    write(tmp_path, rows, **options)
    root = tmp_path / below
    assert layout.found(root)
    assert not ({SurfCrops: SurfChallenge, SurfChallenge: SurfCrops}[layout]).found(root)
    reader = pickle.loads(pickle.dumps(layout(root)))
    for row in (*rows, *rows[::-1]):
        files = reader.files(row)
        assert [Path(file).parts[-2] for file in files] == ["color", "depth", "ir"]
        assert all((root / file).is_file() for file in files)
        images = reader.read(row)
        assert images["rgb"].shape[:2] != images["depth"].shape == images["ir"].shape
        check(row, images, SHEETS)


def test_files_are_named_even_where_they_are_missing(rows, tmp_path):
    assert SurfCrops(tmp_path).files(rows[3]) == (rows[3].rgb, rows[3].depth, rows[3].ir)
    expected = tuple(subject_path(rows[3], modality) for modality in SHEETS)
    assert SurfChallenge(tmp_path).files(rows[3]) == expected
    assert expected[0] == "Training/fake_part/CLKJ_AS9001/04_en_b.rssdk/color/121.jpg"
    assert not SurfCrops.found(tmp_path) and not SurfChallenge.found(tmp_path)


def fault(layout: SurfCrops | SurfChallenge, row: ListRow) -> DataError:
    with pytest.raises(DataError) as raised:
        layout.read(row)
    return raised.value


def test_the_first_release_has_only_training_by_name(rows, tmp_path):
    write_challenge(tmp_path, released(rows))
    layout = SurfChallenge(tmp_path)
    assert SurfChallenge.found(tmp_path)
    for row in released(rows):
        if row.split == "train":
            check(row, layout.read(row), SHEETS)
        else:
            error = fault(layout, row)
            folder = {"validation": "Val", "test": "Testing"}[row.split]
            assert isinstance(error, MissingFiles)
            assert f"rgb {subject_path(row, 'rgb')}: no folder" in str(error)
            assert str(error).endswith(
                f"{folder}/ has anonymous names, as the challenge released it: they do not say which subject and clip "
                f"they show, so no {row.split} row of a list can be found there. Use CASIA-SURF-CROP or the later "
                "release with folders of subjects"
            )


def test_attacks_that_the_challenge_held_back_are_explained(rows, tmp_path):
    write_data(tmp_path, released(rows))
    held_back = [row for row in rows if row not in released(rows)]
    assert len(held_back) == 4
    train, validation = fault(SurfChallenge(tmp_path), held_back[0]), fault(SurfChallenge(tmp_path), held_back[2])
    assert isinstance(train, MissingFiles) and isinstance(validation, MissingFiles)
    assert str(train).endswith(
        "The challenge released only the attacks 04, 05, 06 in Training/, and this row is of 01_e_s.rssdk. "
        "CASIA-SURF-CROP has all six"
    )
    assert "only the attacks 01, 02, 03 in Val/, and this row is of 06_enm_b.rssdk" in str(validation)


FAULTS = [
    ("depth", "truncated", "cannot be read (image file is truncated"),
    ("rgb", "gray", "gray image in the rgb column: expected colour"),
    ("depth", "colour", "looks like a colour image in the depth column: its channels differ by up to 18"),
]


@pytest.mark.parametrize(("modality", "kind", "text"), FAULTS)
def test_a_spoilt_file_is_named(modality, kind, text, rows, tmp_path):
    write_crops(tmp_path, rows[:2])
    damage(tmp_path / crop_path(rows[0], modality), kind)
    error = fault(SurfCrops(tmp_path), rows[0])
    assert not isinstance(error, MissingFiles)
    assert str(error).startswith(f"{modality} {crop_path(rows[0], modality)}: {text}")
    check(rows[1], SurfCrops(tmp_path).read(rows[1]), SHEETS)


def test_a_depth_without_any_return_is_what_the_sensor_saw(rows, tmp_path):
    write_crops(tmp_path, rows[:1])
    damage(tmp_path / rows[0].depth, "black")
    assert SurfCrops(tmp_path).read(rows[0])["depth"].max() <= 8


def test_depth_of_a_few_pixels_is_refused(rows, tmp_path):
    write_crops(tmp_path, rows[:1])
    Image.new("L", (3, 2), 90).save(tmp_path / rows[0].depth)
    error = fault(SurfCrops(tmp_path), rows[0])
    assert str(error) == f"depth {rows[0].depth}: is 2 px high and 3 px wide, expected a face of at least 16 px"


def test_missing_frames_and_modalities_are_missing(rows, tmp_path):
    write_crops(tmp_path, rows[:2])
    damage(tmp_path / rows[1].ir, "missing")
    error = fault(SurfCrops(tmp_path), rows[1])
    assert isinstance(error, MissingFiles)
    assert str(error) == (f"ir {rows[1].ir}: no such file, nor one with other leading zeros; the folder holds frame 1")
    assert str(fault(SurfCrops(tmp_path), rows[-1])).startswith(
        f"rgb {rows[-1].rgb}: no folder 'fake_part' in CASIA-SURF-CROP"
    )


@pytest.mark.skipif("FASBENCH_LISTS" not in os.environ, reason="needs the official lists in $FASBENCH_LISTS")
@pytest.mark.parametrize(("layout", "write"), [(SurfCrops, write_crops), (SurfChallenge, write_data)])
def test_rows_of_the_official_lists(layout, write, tmp_path):
    lists = Path(os.environ["FASBENCH_LISTS"]) / "MMDG-Benchmark"
    rows = []
    for name, split in (("S-train", "train"), ("S-val", "validation"), ("S-test", "test")):
        every = read_list(lists / f"{name}.txt", "surf", split)
        rows += every[:: len(every) // 60]
    write(tmp_path, rows)
    for row in rows:
        check(row, layout(tmp_path).read(row), SHEETS)
