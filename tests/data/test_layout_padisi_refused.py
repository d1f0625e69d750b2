"""PADISI-Face on disk: whatever is missing, there twice or not as documented is named."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import padisi_tree as tree
import pytest

from fasbench.data.layouts import find_layout
from fasbench.data.layouts.base import Layout, MissingFiles
from fasbench.data.layouts.padisi import PadisiByTransaction, PadisiByTrial
from fasbench.data.lists import ListRow
from fasbench.errors import DataError

VARIANTS = (PadisiByTrial, PadisiByTransaction)
FIRST = tree.TRIALS[0]
SEARCHED = "in the folder or down to 2 levels below it, with the suffix in small letters"


@pytest.fixture
def rows(tmp_path: Path) -> list[ListRow]:
    return tree.rows(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def error(layout: Layout, row: ListRow) -> str:
    with pytest.raises(DataError) as caught:
        layout.read(row)
    assert type(caught.value) is DataError
    return str(caught.value)


# --- what is missing, or there twice ----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_is_found_elsewhere(variant, root):
    for place in (root, root / "nowhere"):
        assert not variant.found(place)
        with pytest.raises(DataError, match=f"no file {variant.expects} {SEARCHED}"):
            variant(place)


def test_a_sample_that_is_not_there_or_under_the_other_name_is_missing(rows, root):
    (root / tree.file_name(tree.TRIALS[0], True)).touch()
    other = tree.file_name(tree.TRIALS[1], False)
    (root / other).touch()
    layout = PadisiByTrial(root)
    with pytest.raises(MissingFiles) as caught:
        layout.read(rows[1])
    assert str(caught.value) == f"no {tree.TRIALS[1]}.npz, but {other}: name all files in one of the two ways"
    with pytest.raises(MissingFiles, match=f"^no {tree.TRIALS[2]}.npz {SEARCHED}$"):
        layout.files(rows[2])
    with pytest.raises(MissingFiles, match=f"^no ID_<transaction id>_{tree.TRIALS[2]}_<trial name>.npz {SEARCHED}$"):
        PadisiByTransaction(root).read(rows[2])


def test_files_too_deep_or_with_a_suffix_in_capitals_are_told_where_they_are_looked_for(root):
    (root / "a/b/c").mkdir(parents=True)
    for path in (root / f"{FIRST}.NPZ", root / f"a/b/c/{FIRST}.npz"):
        path.touch()
    with pytest.raises(DataError) as caught:
        find_layout("padisi", root)
    assert f"  - npz-by-trial: <trial id>.npz {SEARCHED}" in str(caught.value).splitlines()
    (root / f"a/b/{FIRST}.npz").touch()
    assert find_layout("padisi", root).name == "npz-by-trial"


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_sample_that_is_there_twice_is_ambiguous(variant, root):
    for by_trial in (True, False):
        (root / tree.file_name(FIRST, by_trial)).touch()
    with pytest.raises(DataError) as caught:
        variant(root)
    title, problem = str(caught.value).splitlines()
    assert title == f"{root}: 1 sample(s) are there more than once. Keep one file of each"
    assert problem == f"  - {FIRST}: {FIRST}.npz, {tree.file_name(FIRST, False)}"


# --- what is something else -------------------------------------------------------------------------------------------

SHAPE = (1, 22, 320, 256)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"data": np.zeros((1, 3, 320, 256))}, "'data' is float64 of shape (1, 3, 320, 256), expected floating point "),
        ({"data": np.zeros((22, 320, 256))}, "'data' is float64 of shape (22, 320, 256), expected floating point of "),
        (
            {"data": np.zeros((1, 22, 256, 320))},
            f"(1, 22, 256, 320), expected floating point of shape {SHAPE}",
        ),
        ({"data": np.zeros(SHAPE, np.uint8)}, f"'data' is uint8 of shape {SHAPE}, expected floating point of shape "),
        ({"Data": np.zeros(3), "labels": np.zeros(3)}, "holds Data, labels, expected the array 'data'"),
        ({"data": np.array([None])}, "cannot be read as an npz archive of arrays (Object arrays cannot be loaded"),
        ({}, "holds nothing, expected the array 'data'"),
    ],
)
def test_other_arrays_are_refused(rows, root, arrays, text):
    np.savez_compressed(root / f"{FIRST}.npz", **arrays)
    assert error(PadisiByTrial(root), rows[0]).startswith(f"{FIRST}.npz: ")
    assert text in error(PadisiByTrial(root), rows[0])


def test_values_outside_zero_and_one_are_refused_in_the_channels_that_are_read(rows, root):
    array = tree.data(FIRST)
    array[0, 2, 5, 5], array[0, 3, 0, 0], array[0, 3, 0, 1], array[0, 4, 9, 9] = 1.25, -0.5, 1, np.nan
    array[0, 7] = np.nan
    np.savez_compressed(root / f"{FIRST}.npz", data=array)
    assert error(PadisiByTrial(root), rows[0]) == (
        f"{FIRST}.npz: red has values from 0 to 1.25, near infrared has values from -0.5 to 1, "
        "depth has values from nan to nan: expected 0 to 1"
    )


def _pickle(content: bytes) -> bytes:
    return pickle.dumps(np.zeros(3))


def _npy(content: bytes) -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(SHAPE, np.float32))
    return file.getvalue()


def _no_array(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.npy", b"something else")
    return file.getvalue()


DAMAGES = {
    "truncated": lambda content: content[:-100],
    "flipped": lambda content: content[:2000] + bytes([content[2000] ^ 255]) + content[2001:],
    "empty": lambda content: b"",
    "pickle": _pickle,
    "npy": _npy,
    "no array": _no_array,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_and_other_kinds_of_files_are_refused(damage, rows, root):
    tree.write(root, [FIRST])
    path = root / f"{FIRST}.npz"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    text = error(PadisiByTrial(root), rows[0])
    assert text.startswith(f"{FIRST}.npz: ")
    assert "cannot be read as an npz archive of arrays (" in text or "expected floating point of shape" in text
