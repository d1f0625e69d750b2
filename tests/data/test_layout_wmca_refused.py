"""WMCA on disk: whatever is missing, or not as documented, is named."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import wmca_tree as tree
from PIL import Image

from fasbench.data.layouts.base import Layout, MissingFiles
from fasbench.data.layouts.wmca import MISSING, WmcaImages, WmcaPackages
from fasbench.data.lists import ListRow
from fasbench.errors import DataError

FIRST = tree.RECORDINGS[0]


@pytest.fixture
def rows(tmp_path: Path) -> list[ListRow]:
    return tree.rows(tmp_path, tree.RECORDINGS[:2])


@pytest.fixture
def root(tmp_path: Path, rows: list[ListRow]) -> Path:
    """Both variants below one folder."""
    tree.write_packages(tmp_path / "data", rows)
    tree.write_images(tmp_path / "data", rows)
    return tmp_path / "data"


def error(layout: Layout, row: ListRow, kind: type[DataError] = DataError) -> str:
    with pytest.raises(DataError) as caught:
        layout.read(row)
    assert type(caught.value) is kind
    return str(caught.value)


def file_in(package: str) -> str:
    return tree.container(Path(), package, FIRST).as_posix()


# --- what is missing --------------------------------------------------------------------------------------------------


def test_a_frame_that_a_package_lacks_is_missing_and_its_neighbours_are_named(root, rows):
    with h5py.File(root / file_in(tree.CDIT), "a") as file:
        del file["Frame_12"]
        file.copy("Frame_13", "Frame_9")
    layout = WmcaPackages(root)
    assert error(layout, rows[0], MissingFiles) == (
        f"depth, ir {file_in(tree.CDIT)}: no Frame_12. Nearest of the 4 that are there: Frame_9, Frame_13, Frame_24"
    )
    (root / file_in(tree.RGB)).unlink()
    with h5py.File(root / file_in(tree.RGB), "w"):
        pass
    text = error(WmcaPackages(root), rows[0], MissingFiles)
    assert text.startswith(f"rgb {file_in(tree.RGB)}: no Frame_12. There is no frame at all; depth, ir ")
    assert np.array_equal(layout.read(rows[2])["depth"], tree.expected(rows[2])["depth"])


def test_a_recording_that_a_package_lacks_is_missing(root, rows):
    (root / file_in(tree.CDIT)).unlink()
    layout = WmcaPackages(root)
    text = f"depth, ir: no {FIRST}.hdf5 or {FIRST}.h5 in {tree.CDIT}"
    assert error(layout, rows[0], MissingFiles) == text
    with pytest.raises(MissingFiles, match=r"^depth, ir: no "):
        layout.files(rows[0])


def test_a_missing_package_is_one_error(root):
    (root / tree.RGB).rename(root / "elsewhere")
    assert WmcaPackages.found(root)
    with pytest.raises(DataError) as caught:
        WmcaPackages(root)
    assert str(caught.value).splitlines()[1:] == [f"  - the package {tree.RGB} (for rgb) {MISSING}"]
    (root / tree.RGB).mkdir()
    with pytest.raises(DataError, match=rf"{tree.RGB} holds no recording: expected WMCA/face-station/"):
        WmcaPackages(root)


def test_an_image_that_is_not_there_is_missing_and_its_neighbours_are_named(root, rows):
    folder = root / tree.TREE / FIRST
    (folder / "depth/0012.jpg").rename(folder / "depth/0010.jpg")
    (folder / "ir").rename(folder / "infrared")
    path = f"{tree.TREE}/{FIRST}"
    assert error(WmcaImages(root), rows[0], MissingFiles) == (
        f"depth {path}/depth/0012.jpg: no such file. Nearest of the 2 that are there: 0010.jpg, 0024.jpg; "
        f"ir {path}/ir/0012.jpg: no such folder"
    )


def test_a_link_to_nowhere_is_called_one(root, rows):
    path = root / rows[0].ir
    path.unlink()
    path.symlink_to(root / "nowhere.jpg")
    text = f"ir {rows[0].ir}: is a broken link: the file it leads to is not there"
    assert error(WmcaImages(root), rows[0], MissingFiles) == text


def test_black_stand_ins_of_missing_frames_are_missing_but_black_depth_is_not(root, rows):
    for modality, image in (("color", Image.new("RGB", (128, 128))), ("ir", Image.new("L", (128, 128)))):
        image.save(root / tree.TREE / FIRST / modality / "0012.jpg")
    text = error(WmcaImages(root), rows[0], MissingFiles)
    assert text.count("is black all over") == 2
    Image.new("L", (128, 128)).save(root / rows[1].depth)
    assert not WmcaImages(root).read(rows[1])["depth"].any()


# --- what is something else -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "array", "text"),
    [
        (tree.RGB, np.zeros((128, 128, 3), np.uint8), "Frame_12 is uint8 of shape (128, 128, 3), expected uint8 of"),
        (tree.RGB, np.zeros((4, 128, 128), np.uint8), "expected uint8 of shape (3, 128, 128): red, green, blue"),
        (
            tree.CDIT,
            np.zeros((3, 128, 128), np.uint8),
            "expected uint8 of shape (4, 128, 128): gray, depth, infrared",
        ),
        (tree.CDIT, np.zeros((4, 128, 128), np.uint16), "Frame_12 is uint16 of shape (4, 128, 128), expected uint8"),
        (tree.CDIT, np.zeros((4, 224, 224), np.float64), "Frame_12 is float64 of shape (4, 224, 224), expected uint8"),
        (tree.CDIT, None, "Frame_12 has no data set 'array'"),
    ],
)
def test_other_arrays_are_refused(root, rows, package, array, text):
    with h5py.File(root / file_in(package), "a") as file:
        del file["Frame_12"]
        if array is None:
            file["Frame_12"] = np.zeros((4, 128, 128), np.uint8)  # the array itself, without its group
        else:
            file["Frame_12/array"] = array
    place = "rgb" if package == tree.RGB else "depth, ir"
    found = error(WmcaPackages(root), rows[0])
    assert found.startswith(f"{place} {file_in(package)}: Frame_12 ")
    assert text in found


def test_damaged_containers_are_refused_even_where_a_frame_is_missing_too(root, rows):
    path = root / file_in(tree.CDIT)
    path.write_bytes(path.read_bytes()[:-1000])
    with h5py.File(root / file_in(tree.RGB), "a") as file:
        del file["Frame_12"]
    text = error(WmcaPackages(root), rows[0])
    assert f"; depth, ir {file_in(tree.CDIT)}: cannot be read as HDF5 (" in text
    path.write_bytes(b"")
    assert "cannot be read as HDF5" in error(WmcaPackages(root), rows[1])


def test_packages_and_recordings_that_are_there_twice_are_named(root, rows):
    again = root / tree.CDIT / f"{FIRST}.h5"
    again.touch()
    with pytest.raises(DataError) as caught:
        WmcaPackages(root)
    first = f"{tree.CDIT}/{FIRST}.h5"
    assert f"recording {FIRST} is there twice: {first} and {file_in(tree.CDIT)}. Keep one" in str(caught.value)
    again.unlink()
    (root / "old" / tree.RGB).mkdir(parents=True)
    with pytest.raises(DataError, match=rf"package {tree.RGB} \(for rgb\) is there 2 times: .*/old/"):
        WmcaPackages(root)


def test_an_image_tree_that_is_there_twice_or_not_at_all_is_refused(root, tmp_path):
    (root / "R_CDIT").mkdir()
    with pytest.raises(DataError, match="there twice, in WMCA-Image/R_CDIT/ and R_CDIT/"):
        WmcaImages(root)
    with pytest.raises(DataError, match="no WMCA images: expected WMCA-Image/R_CDIT/<recording>"):
        WmcaImages(tmp_path)


@pytest.mark.parametrize(
    ("modality", "image", "text"),
    [
        ("color", Image.new("L", (128, 128), 9), "gray image in the rgb column"),
        ("ir", Image.new("RGB", (128, 128), (90, 9, 9)), "looks like a colour image in the ir column"),
        ("depth", Image.new("L", (640, 480), 9), "is 480 px high and 640 px wide, expected 128 x 128 px"),
    ],
)
def test_other_images_are_refused(root, rows, modality, image, text):
    image.save(root / tree.TREE / FIRST / modality / "0012.jpg", quality=100)
    name = "rgb" if modality == "color" else modality
    assert error(WmcaImages(root), rows[0]).startswith(f"{name} {tree.TREE}/{FIRST}/{modality}/0012.jpg: {text}")


def test_a_truncated_image_is_refused_even_where_another_is_missing(root, rows):
    path = root / rows[0].rgb
    path.write_bytes(path.read_bytes()[:1000])
    (root / rows[0].ir).unlink()
    text = error(WmcaImages(root), rows[0])
    assert text.startswith(f"rgb {rows[0].rgb}: cannot be read (")
    assert f"; ir {rows[0].ir}: no such file. Nearest of the 1 that are there: 0024.jpg" in text
