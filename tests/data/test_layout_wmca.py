"""WMCA on disk: every image is the one a row names."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import wmca_tree as tree

from fasbench.data.layouts.base import Layout
from fasbench.data.layouts.wmca import WmcaImages, WmcaPackages
from fasbench.data.lists import ListRow, read_list
from fasbench.errors import DataError

NEAR = 4  # gray levels by which JPEG of quality 100 may change the blocks of the test images
LISTS = Path(os.environ.get("FASBENCH_LISTS", "nowhere"))
needs_lists = pytest.mark.skipif(
    not LISTS.is_dir(), reason="FASBENCH_LISTS does not name a folder with the official lists"
)
FIRST = tree.RECORDINGS[0]


@pytest.fixture
def rows(tmp_path: Path) -> list[ListRow]:
    return tree.rows(tmp_path)


@pytest.fixture
def root(tmp_path: Path, rows: list[ListRow]) -> Path:
    """Both variants below one folder: neither hinders the other."""
    tree.write_packages(tmp_path / "data", rows)
    tree.write_images(tmp_path / "data", rows)
    return tmp_path / "data"


def assert_read(layout: Layout, rows: list[ListRow]) -> None:
    tolerance = NEAR if isinstance(layout, WmcaImages) else 0
    for row in rows:
        images = layout.read(row)
        for modality, image in tree.expected(row).items():
            assert images[modality].dtype == np.uint8
            assert images[modality].shape == image.shape
            assert np.abs(images[modality].astype(int) - image).max() <= tolerance, (row.id, modality)


def file_in(package: str, recording: str = FIRST) -> str:
    return tree.container(Path(), package, recording).as_posix()


@pytest.mark.parametrize("variant", [WmcaPackages, WmcaImages])
def test_rows_in_any_order_give_the_images_they_name(variant, root, rows):
    assert variant.found(root)
    layout = variant(root)
    assert_read(layout, rows)
    assert_read(layout, random.Random(1).sample(rows, len(rows)))
    assert all((root / file).is_file() for row in rows for file in layout.files(row))


def test_the_files_of_a_row(root, rows):
    assert WmcaPackages(root).files(rows[0]) == (file_in(tree.RGB), file_in(tree.CDIT))
    paths = tuple(f"{FIRST}/{modality}/0012.jpg" for modality in ("color", "depth", "ir"))
    for folder, above in ((root, "WMCA-Image/R_CDIT/"), (root / "WMCA-Image", "R_CDIT/"), (root / tree.TREE, "")):
        assert WmcaImages.found(folder)
        assert WmcaImages(folder).files(rows[0]) == tuple(above + path for path in paths)
        assert_read(WmcaImages(folder), rows[:2])


@pytest.mark.parametrize("levels", ["", "face-station", "WMCA/face-station", f"{tree.CDIT}/WMCA/face-station"])
@pytest.mark.parametrize("above", ["", "IDIAP", "a/b"])
def test_packages_may_lie_deeper_and_lack_levels(tmp_path, rows, levels, above):
    tree.write_packages(tmp_path / "data" / above, rows[:4], levels)
    path = tree.container(tmp_path / "data" / above, tree.RGB, FIRST, levels)
    path.rename(path.with_suffix(".h5"))
    assert WmcaPackages.found(tmp_path / "data")
    assert_read(WmcaPackages(tmp_path / "data"), rows[:4])


def test_packages_on_two_disks_and_a_folder_without_permission(tmp_path, rows, monkeypatch):
    tree.write_packages(tmp_path / "disk", rows[:2])
    (tmp_path / "data" / "lost+found").mkdir(parents=True)
    _forbid(monkeypatch, "lost+found")
    for package in tree.PLANES:
        (tmp_path / "data" / package).symlink_to(tmp_path / "disk" / package)
    assert_read(WmcaPackages(tmp_path / "data"), rows[:2])


@pytest.mark.parametrize("variant", [WmcaPackages, WmcaImages])
def test_nothing_is_found_elsewhere(variant, tmp_path):
    (tmp_path / "empty").mkdir()
    assert not variant.found(tmp_path / "empty")
    assert not variant.found(tmp_path / "nowhere")
    with pytest.raises(DataError, match="nowhere"):
        variant(tmp_path / "nowhere")


def _forbid(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As for a user without rights; a test may run as root."""
    for function in (os.scandir, os.listdir):

        def guarded(folder, function=function):
            if Path(folder).name == name:
                raise PermissionError(13, "Permission denied", str(folder))
            return function(folder)

        monkeypatch.setattr(os, function.__name__, guarded)


def test_a_container_is_opened_once_a_video_and_process(root, rows, monkeypatch):
    opened = []
    file = h5py.File
    monkeypatch.setattr(
        h5py, "File", lambda path, *args, **options: opened.append(path) or file(path, *args, **options)
    )
    layout = WmcaPackages(root)
    assert_read(layout, rows)  # two frames a recording, two packages
    assert len(opened) == 2 * len(tree.RECORDINGS)
    assert_read(layout, rows[-1:])
    assert len(opened) == 2 * len(tree.RECORDINGS)
    monkeypatch.setattr(os, "getpid", lambda: 0)  # as after a fork
    assert_read(layout, rows[-1:])
    assert len(opened) == 2 * len(tree.RECORDINGS) + 2


def _read(layout: Layout, row: ListRow) -> dict[str, np.ndarray]:
    return layout.read(row)


def test_a_layout_with_an_open_container_reads_in_other_processes(root, rows):
    layout = WmcaPackages(root)
    assert_read(layout, rows[:1])
    copy = pickle.loads(pickle.dumps(layout))
    assert_read(copy, rows[1:2])
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        for row, images in zip(rows, pool.map(_read, [copy] * len(rows), rows), strict=True):
            assert all(np.array_equal(images[modality], image) for modality, image in tree.expected(row).items())
    assert_read(layout, rows)
    process = multiprocessing.get_context("fork").Process(target=assert_read, args=(layout, rows))  # open containers
    process.start()
    process.join()
    assert process.exitcode == 0
    assert_read(pickle.loads(pickle.dumps(WmcaImages(root))), rows[:1])


@needs_lists
@pytest.mark.parametrize("variant", [WmcaPackages, WmcaImages])
def test_rows_of_the_official_lists(variant, tmp_path):
    paths = [(LISTS / f"MMDG-Benchmark/W-{file}.txt", split) for file, split in (("train", "train"), ("test", "test"))]
    rows = [row for path, split in paths for row in read_list(path, "wmca", split)[::20]]
    assert len(rows) > 150
    write = tree.write_packages if variant is WmcaPackages else tree.write_images
    write(tmp_path, rows)
    assert_read(variant(tmp_path), rows)
