"""PADISI-Face on disk: the channels in their documented order, with 8 bits as in the literature."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import padisi_tree as tree
import pytest

from fasbench.data.layouts.base import Layout
from fasbench.data.layouts.padisi import PadisiByTransaction, PadisiByTrial
from fasbench.data.lists import ListRow, read_list

VARIANTS = {True: PadisiByTrial, False: PadisiByTransaction}  # by_trial
LISTS = Path(os.environ.get("FASBENCH_LISTS", "nowhere"))
needs_lists = pytest.mark.skipif(
    not LISTS.is_dir(), reason="FASBENCH_LISTS does not name a folder with the official lists"
)
FIRST = tree.TRIALS[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples under both names, in two folders."""
    folder = tmp_path_factory.mktemp("padisi")
    for by_trial in VARIANTS:
        tree.write(folder / str(by_trial), by_trial=by_trial)
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> list[ListRow]:
    return tree.rows(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def assert_read(layout: Layout, rows: list[ListRow]) -> None:
    for row in rows:
        images = layout.read(row)
        for modality, image in tree.expected(row).items():
            assert images[modality].dtype == np.uint8
            assert np.array_equal(images[modality], image), (row.id, modality)


@pytest.mark.parametrize("by_trial", VARIANTS)
def test_every_sample_is_read_under_both_names(by_trial, made, rows):
    root = made / str(by_trial)
    assert VARIANTS[by_trial].found(root)
    assert not VARIANTS[not by_trial].found(root)
    layout = VARIANTS[by_trial](root)
    assert_read(layout, rows)
    assert_read(pickle.loads(pickle.dumps(layout)), rows[::-1])
    assert layout.files(rows[0]) == (tree.file_name(FIRST, by_trial),)


def test_files_may_lie_two_levels_deeper(made, rows, root):
    shutil.copytree(made / "True", root / "a" / "b")
    assert PadisiByTrial.found(root)
    layout = PadisiByTrial(root)
    assert layout.files(rows[0]) == (f"a/b/{FIRST}.npz",)
    assert_read(layout, rows[:1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_of_eight_bits_come_back_and_others_are_rounded_up(dtype, rows, root):
    """Were float32 computed as float64, nearly every k / 255 would become k + 1."""
    array = tree.data(FIRST, dtype)
    array[0, 4].flat[:256] = np.arange(256).astype(dtype) / dtype(255)
    array[0, 4].flat[256:259] = 0, 0.001, 0.999
    np.savez_compressed(root / f"{FIRST}.npz", data=array)
    depth = PadisiByTrial(root).read(rows[0])["depth"]
    assert depth.flat[:256].tolist() == list(range(256))
    assert depth.flat[256:259].tolist() == [0, 1, 255]


@needs_lists
@pytest.mark.parametrize("by_trial", VARIANTS)
def test_rows_of_the_official_lists(by_trial, tmp_path):
    """Files of 5 channels' content take long to write, so every row is found but only some are read."""
    splits = {"train": "train", "val": "validation", "test": "test"}
    rows = [
        row
        for name, split in splits.items()
        for row in read_list(LISTS / f"MMDG-Benchmark/P-{name}.txt", "padisi", split)
    ]
    read = rows[::100]
    tree.write(tmp_path, map(tree.trial_of, read), by_trial)
    for row in rows:
        (tmp_path / tree.file_name(tree.trial_of(row), by_trial)).touch()
    layout = VARIANTS[by_trial](tmp_path)
    assert len({layout.files(row) for row in rows}) == len(rows) == 2029
    assert_read(layout, read)
