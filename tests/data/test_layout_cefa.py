"""CASIA-SURF CeFA: both trees give the images of exactly the row asked for, and every fault is named."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import cefa_tree
import numpy as np
import pytest
from cefa_tree import SHEETS, color_path, profile_path, write_color, write_profile
from coded import bits, check, damage, draw, said
from PIL import Image

from fasbench.data.layouts.base import MissingFiles
from fasbench.data.layouts.cefa import CefaColor, CefaProfile
from fasbench.data.layouts.crop import content_box, crop_frame
from fasbench.data.lists import ListRow, read_list
from fasbench.errors import DataError

VIDEOS = [
    ("CeFA-Race/AF/AF-900/1_900_1_1_1", 1),
    ("CeFA-Race/AF/AF-900/1_900_3_1_4", 0),
    ("CeFA-Race/CA/CA-900/2_900_1_1_1", 1),
    ("CeFA-Race/EA/EA-901/3_901_3_2_2", 0),
    ("CeFA-Mask/3D-Mask/900/1_900_1_0_2_1_3", 0),
    ("CeFA-Mask/Silicone-Mask/900/2_900_1_0_2_1_3", 0),
]
CARD = "199902310017"


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[ListRow]:
    """Frames 3 and 26 of six videos, in the grammar of the official lists."""
    lines = []
    for video, label in VIDEOS:
        for frame in (3, 26):
            paths = [f"CeFA/{video}/{modality}/{frame:04d}.jpg" for modality in ("profile", "depth", "ir")]
            lines.append(" ".join([*paths, str(label)]))
    path = tmp_path_factory.mktemp("list") / "list.txt"
    path.write_text("\r\n".join(lines))
    return read_list(path, "cefa", "test")


def test_content_differs_between_all_images(rows):
    assert len({bits(row, modality).tobytes() for row in rows for modality in SHEETS}) == 3 * len(rows)


VARIANTS = [
    (CefaProfile, write_profile, {}, ""),
    (CefaProfile, write_profile, {}, "CeFA"),
    (CefaProfile, write_profile, {"digits": 1, "three_channels": True}, ""),
    (CefaColor, write_color, {}, ""),
    (CefaColor, write_color, {"digits": 1}, "CASIA_CeFA"),
    (CefaColor, write_color, {"digits": 6, "cards": {"EA-901": CARD, "AF-900": CARD}}, "CASIA_CeFA"),
]


@pytest.mark.parametrize(("layout", "write", "options", "below"), VARIANTS)
def test_every_row_gives_its_own_images(layout, write, options, below, rows, tmp_path):
    write(tmp_path, rows, **options)
    assert layout.found(tmp_path / below)
    reader = pickle.loads(pickle.dumps(layout(tmp_path / below)))
    for row in (*rows, *rows[::-1]):
        files = reader.files(row)
        assert [Path(file).parts[-2] for file in files] == [layout.colour, "depth", "ir"]
        assert all((tmp_path / below / file).is_file() for file in files)
        check(row, reader.read(row), SHEETS)


def test_only_the_tree_that_is_there_is_found(rows, tmp_path):
    write_profile(tmp_path / "a", rows)
    write_color(tmp_path / "b", rows[:1])
    assert (CefaProfile.found(tmp_path / "a"), CefaColor.found(tmp_path / "a")) == (True, False)
    assert (CefaProfile.found(tmp_path / "b"), CefaColor.found(tmp_path / "b")) == (False, True)
    assert not CefaProfile.found(tmp_path / "nowhere") and not CefaProfile.found(tmp_path)


def test_files_are_named_even_where_they_are_missing(rows, tmp_path):
    assert CefaProfile(tmp_path).files(rows[0]) == (rows[0].rgb, rows[0].depth, rows[0].ir)
    expected = tuple(color_path(rows[8], modality) for modality in SHEETS)
    assert CefaColor(tmp_path).files(rows[8]) == expected


def test_the_crops_of_the_literature_and_the_aligned_ones(rows, tmp_path):
    write_profile(tmp_path, rows)
    for row in rows:
        images = CefaProfile(tmp_path).read(row)
        for modality, image in crop_frame(images, CefaProfile.default_crop).items():
            spread = 2 if modality == "rgb" else 0  # JPEG's subsampled colour reaches one pixel into the border
            assert image.shape[:2] == (48 + spread, 64 + spread)
            assert np.array_equal(said(image), bits(row, modality))
        assert content_box(images["rgb"]) == (15, 65, 7, 73)  # of 88 x 112 pixels; depth and ir have 80 x 104
        aligned = crop_frame(images, "rgb-box")
        assert np.array_equal(aligned["depth"], images["depth"][13:60, 6:68])
        assert np.array_equal(aligned["ir"], images["ir"][13:60, 6:68])


# --- faults -----------------------------------------------------------------------------------------------------------


def fault(tmp_path: Path, row: ListRow, layout=CefaProfile) -> DataError:
    with pytest.raises(DataError) as raised:
        layout(tmp_path).read(row)
    return raised.value


FAULTS = [
    ("depth", "truncated", "cannot be read (image file is truncated"),
    ("rgb", "gray", "gray image in the rgb column: expected colour"),
    ("depth", "colour", "looks like a colour image in the depth column: its channels differ by up to 18"),
    ("ir", "colour", "looks like a colour image in the ir column"),
]


@pytest.mark.parametrize(("modality", "kind", "text"), FAULTS)
def test_a_spoilt_file_is_named(modality, kind, text, rows, tmp_path):
    write_profile(tmp_path, rows[:2])
    damage(tmp_path / profile_path(rows[0], modality), kind)
    error = fault(tmp_path, rows[0])
    assert not isinstance(error, MissingFiles)
    assert str(error).startswith(f"{modality} {profile_path(rows[0], modality)}: {text}")
    check(rows[1], CefaProfile(tmp_path).read(rows[1]), SHEETS)


def test_a_missing_modality_and_a_missing_frame_are_missing(rows, tmp_path):
    write_profile(tmp_path, rows[:2])
    damage(tmp_path / rows[0].depth, "missing")
    error = fault(tmp_path, rows[0])
    absent = "no such file, nor one with other leading zeros; the folder holds frame 26"
    assert isinstance(error, MissingFiles) and str(error) == f"depth {rows[0].depth}: {absent}"
    damage(tmp_path / rows[0].rgb, "missing")
    assert str(fault(tmp_path, rows[0])) == f"rgb {rows[0].rgb}: {absent}; depth {rows[0].depth}: {absent}"
    damage(tmp_path / rows[1].rgb, "missing")
    assert str(fault(tmp_path, rows[1])) == f"rgb {rows[1].rgb}: no such file; the folder holds nothing"


def test_files_that_are_no_frames_are_named(rows, tmp_path):
    write_profile(tmp_path, rows[:2])
    folder = (tmp_path / rows[0].ir).parent
    for path in folder.iterdir():
        path.rename(path.with_suffix(".JPG"))
    text = f"ir {rows[0].ir}: no such file; the folder holds 0003.JPG, 0026.JPG: none is named <number>.jpg"
    assert str(fault(tmp_path, rows[0])) == text
    for number in (4, 5):
        (folder / f"{number:04d}.png").touch()
    assert "holds 0003.JPG, 0004.png, 0005.png and 1 more: none is" in str(fault(tmp_path, rows[0]))


def test_a_link_to_nowhere_is_called_one(rows, tmp_path):
    write_profile(tmp_path, rows[:2])
    path = tmp_path / rows[0].depth
    path.unlink()
    path.symlink_to(tmp_path / "nowhere.jpg")
    error = fault(tmp_path, rows[0])
    assert isinstance(error, MissingFiles)
    assert str(error) == f"depth {rows[0].depth}: is a broken link: the file it leads to is not there"


def test_two_files_of_one_frame_are_an_error(rows, tmp_path):
    write_color(tmp_path, rows[:1], cards={"AF-900": CARD})
    write_color(tmp_path, rows[:1], digits=8, cards={"AF-900": CARD})
    error = fault(tmp_path, rows[0], CefaColor)
    assert not isinstance(error, MissingFiles)
    folder = "CASIA_CeFA/Ethnicity/AF/AF-900-*/1_900_1_1_1"
    same = "00000003.jpg and 0003.jpg are one frame, expected one file. Keep one"
    assert str(error) == "; ".join(f"{folder}/{name}: {same}" for name in ("color", "depth", "ir"))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ((2, 3), "is 3 px high and 2 px wide, expected a face of at least 16 px"),
        ((200, 15), "is 15 px high and 200 px wide, expected a face of at least 16 px"),
        ((120, 40), "is 40 px high and 120 px wide, its colour image 88 px high and 112 px wide: not the same part"),
        ((40, 120), "is 120 px high and 40 px wide, its colour image 88 px high and 112 px wide: not the same part"),
    ],
)
def test_sizes_that_no_face_has_are_refused(size, text, rows, tmp_path):
    write_profile(tmp_path, rows[:1])
    for path in (rows[0].depth, rows[0].ir):
        Image.new("L", size, 90).save(tmp_path / path)
    found = str(fault(tmp_path, rows[0]))
    assert f"depth {rows[0].depth}: {text}" in found and f"ir {rows[0].ir}: {text}" in found


def test_a_damaged_file_beside_a_missing_one_is_not_only_missing(rows, tmp_path):
    write_profile(tmp_path, rows[:1])
    damage(tmp_path / rows[0].depth, "missing")
    damage(tmp_path / rows[0].ir, "truncated")
    error = fault(tmp_path, rows[0])
    assert not isinstance(error, MissingFiles)
    assert f"ir {rows[0].ir}: cannot be read" in str(error) and f"depth {rows[0].depth}: no such file" in str(error)


def test_missing_folders_are_named_from_the_top(rows, tmp_path):
    write_profile(tmp_path, rows[:1])
    assert "no folder '1_900_3_1_4' in CeFA/CeFA-Race/AF/AF-900" in str(fault(tmp_path, rows[2]))
    assert "no folder 'CA' in CeFA/CeFA-Race" in str(fault(tmp_path, rows[4]))
    assert "no folder 'CeFA-Mask' in CeFA" in str(fault(tmp_path, rows[8]))
    assert "no folder 'CASIA_CeFA' in the root" in str(fault(tmp_path, rows[0], CefaColor))


def test_identity_cards_are_never_printed(rows, tmp_path):
    write_color(tmp_path, rows[:1], cards={"AF-900": CARD})
    damage(tmp_path / color_path(rows[0], "ir", cards={"AF-900": CARD}), "truncated")
    assert str(fault(tmp_path, rows[0], CefaColor)).startswith(
        "ir CASIA_CeFA/Ethnicity/AF/AF-900-*/1_900_1_1_1/ir/0003.jpg"
    )
    assert "in CASIA_CeFA/Ethnicity/AF/AF-900-*" in str(fault(tmp_path, rows[2], CefaColor))
    write_color(tmp_path, rows[:1], cards={"AF-900": "2000"})
    assert str(fault(tmp_path, rows[0], CefaColor)) == (
        "CASIA_CeFA/Ethnicity/AF/AF-900-*: 2 folders of one subject, expected one. "
        "Keep the right one, or name it AF-900"
    )


def test_gray_files_with_slightly_unequal_channels_are_gray(rows, tmp_path):
    write_profile(tmp_path, rows[:1])
    image = draw(rows[0], "ir", SHEETS["ir"]).astype(int)[..., None] + [0, 3, 1]
    Image.fromarray(image.astype(np.uint8)).save(tmp_path / rows[0].ir, quality=95)
    check(rows[0], CefaProfile(tmp_path).read(rows[0]), SHEETS)


@pytest.mark.skipif("FASBENCH_LISTS" not in os.environ, reason="needs the official lists in $FASBENCH_LISTS")
@pytest.mark.parametrize(("layout", "write"), [(CefaProfile, cefa_tree.write_profile), (CefaColor, write_color)])
def test_rows_of_the_official_lists(layout, write, tmp_path):
    lists = Path(os.environ["FASBENCH_LISTS"]) / "MMDG-Benchmark"
    rows = [row for name, split in (("C-val", "validation"), ("C-test", "test")) for row in some(lists, name, split)]
    write(tmp_path, rows)
    for row in rows:
        check(row, layout(tmp_path).read(row), SHEETS)


def some(lists: Path, name: str, split: str) -> list[ListRow]:
    rows = read_list(lists / f"{name}.txt", "cefa", split)
    return [*rows[:: len(rows) // 60], *rows[-30:]]
