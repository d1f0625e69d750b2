"""The prepared store: what goes in comes out, and nothing half-written or damaged is ever taken for a store."""

import filecmp
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fasbench.data import shards
from fasbench.data.record import METADATA, MODALITIES, Record
from fasbench.data.sources.base import Source
from fasbench.data.store import Images, Store, prepare, store_path
from fasbench.errors import DataError


class MemorySource(Source):
    """`rows` small records: 4 frames a video, print and live in turn, and all 7 patterns of modalities in turn."""

    name = "memory"
    shape = (5, 4)

    def __init__(self, rows=300, changes=None):
        self.rows = rows
        self.changes = changes or {}  # index -> fields to replace, or an exception to raise
        self.reads = 0

    def recipe(self):
        return {"kind": "memory", "rows": self.rows}

    def __len__(self):
        return self.rows

    def read(self, index):
        self.reads += 1
        change = self.changes.get(index, {})
        if isinstance(change, Exception):
            raise change
        return replace(self.record(index), **change)

    def record(self, index):
        video, frame = divmod(index, 4)
        rng = np.random.default_rng(index)
        present = index % 7 + 1  # bits: rgb, depth, ir
        label = video % 2
        return Record(
            id=f"memory/v{video}/{frame}",
            domain="memory",
            split=("train", "validation", "test")[video % 3],
            label=label,
            attack="live" if label else "print",
            attack_fine="live" if label else "Büttenpapier",
            subject=f"memory/s{video // 2}",
            presenter="",
            unit=f"memory/u{video // 2}",
            video=f"memory/v{video}",
            frame=frame,
            rgb=rng.integers(0, 256, (5, 4, 3), np.uint8) if present & 1 else None,
            depth=rng.integers(0, 256, (5, 4), np.uint8) if present & 2 else None,
            ir=rng.integers(0, 256, (5, 4), np.uint8) if present & 4 else None,
        )


@pytest.fixture
def source():
    return MemorySource()


@pytest.fixture
def store(source, tmp_path):
    return prepare(source, tmp_path, workers=1)


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(shards, "_BATCH_BYTES", 5 * 5 * 4 * 10)  # ten rows a record batch: thirteen in each of 3 files


def assert_same(record, expected):
    assert {name: getattr(record, name) for name in METADATA} == {name: getattr(expected, name) for name in METADATA}
    for modality, image in expected.images.items():
        if image is None:
            assert record.images[modality] is None
        else:
            np.testing.assert_array_equal(record.images[modality], image)


def test_every_row_comes_back_as_it_went_in(source, small_batches, tmp_path):
    store = prepare(source, tmp_path, workers=1)
    assert store._table.column("rgb").num_chunks == 13 + 13 + 5
    assert len(store) == 300
    for row in range(300):
        assert_same(store.record(row), source.record(row))


def test_read_takes_rows_in_any_order(source, store):
    rows = np.array([299, 0, 0, 131, 6])
    images = store.read(rows)
    assert [image.shape for image in images] == [(5, 5, 4, 3), (5, 5, 4), (5, 5, 4), (5, 3)]
    for k, row in enumerate(rows):
        for m, (modality, image) in enumerate(source.record(row).images.items()):
            assert images.present[k, m] == (image is not None)
            np.testing.assert_array_equal(getattr(images, modality)[k], 0 if image is None else image)
    np.testing.assert_array_equal(store.present[rows], images.present)


def test_read_into_existing_arrays_overwrites_all_of_them(store):
    rows = np.arange(7)  # each pattern of presence once
    full = Images(*(np.full_like(image, 1) for image in store.read(rows)))
    written = store.read(rows, out=full)
    assert all(mine is given for mine, given in zip(written, full, strict=True))
    for image, expected in zip(full, store.read(rows), strict=True):
        np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("rows", [[-1], [300], [0, 1000]])
def test_read_refuses_rows_that_do_not_exist(store, rows):
    with pytest.raises(IndexError, match="300 rows"):
        store.read(np.array(rows))


def test_read_refuses_a_mask(store):
    with pytest.raises(IndexError, match=r"np\.flatnonzero"):
        store.read(store.column("label") == 1)


def test_reading_no_rows_gives_empty_arrays(store):
    assert [len(image) for image in store.read(np.array([], dtype=np.int64))] == [0, 0, 0, 0]


def test_a_modality_that_no_row_has(tmp_path):
    source = MemorySource(5, {index: {"ir": None, "rgb": np.zeros((5, 4, 3), np.uint8)} for index in range(5)})
    store = prepare(source, tmp_path)
    assert not store.present[:, 2].any() and store.present[:, 0].all()
    assert not store.read(np.arange(5)).ir.any()
    assert store.verify(deep=True) == []


def test_columns(store):
    assert store.column("label").dtype == np.int64 and store.column("frame").dtype == np.int64
    assert store.column("frame")[:6].tolist() == [0, 1, 2, 3, 0, 1]
    assert store.column("attack_fine")[0] == "Büttenpapier"
    assert len(set(store.column("sha256"))) == 300
    with pytest.raises(KeyError, match="no metadata column 'subjects'"):
        store.column("subjects")
    with pytest.raises(ValueError, match="read-only"):
        store.column("label")[0] = 5


def test_any_number_of_workers_writes_the_same_bytes(source, small_batches, tmp_path):
    seen = []
    one = prepare(source, tmp_path / "1", workers=1)
    two = prepare(source, tmp_path / "2", workers=2, progress=lambda *done: seen.append(done))
    three = prepare(source, tmp_path / "3", workers=3)
    assert len(one.manifest["files"]) == 3
    for other in (two, three):
        assert other.manifest == one.manifest
        for name in one.manifest["files"]:
            assert filecmp.cmp(one.path / name, other.path / name, shallow=False)
    assert seen[-1] == (300, 300)
    assert two.column("id").tolist() == [source.record(row).id for row in range(300)]


def test_the_content_hash_follows_the_content(store, tmp_path):
    hashes = {store.manifest["content_sha256"]}
    pixel = MemorySource().record(6).rgb.copy()
    pixel[0, 0, 0] ^= 1
    changes = [
        {"rgb": pixel},
        {"frame": 77},
        {"presenter": "memory/x"},
        {"rgb": None},
        {"depth": np.zeros((5, 4), "u1")},
    ]
    for number, change in enumerate(changes):
        changed = prepare(MemorySource(300, {6: change}), tmp_path / str(number), workers=1)
        hashes.add(changed.manifest["content_sha256"])
    assert len(hashes) == 6


def test_equal_images_have_equal_pixel_hashes(tmp_path):
    images = MemorySource().record(6).images
    store = prepare(MemorySource(9, {8: images}), tmp_path)
    assert store.column("pixels_sha256")[8] == store.column("pixels_sha256")[6]
    assert store.column("sha256")[8] != store.column("sha256")[6]
    assert len(set(store.column("pixels_sha256"))) == 8


def test_the_pixel_hash_knows_shape_and_modality():
    wide, high = np.zeros((2, 8), np.uint8), np.zeros((4, 4), np.uint8)
    none = {"rgb": None, "depth": None, "ir": None}
    images = [none, none | {"depth": wide}, none | {"depth": high}, none | {"ir": wide}]
    assert len({shards.pixel_hash(image) for image in images}) == 4


def test_an_existing_store_is_opened_without_reading(store, source, tmp_path):
    reads = source.reads
    again = prepare(source, tmp_path)
    assert source.reads == reads and again.path == store.path
    prepare(source, tmp_path, workers=1, overwrite=True)
    assert source.reads == 2 * reads
    assert [path.name for path in tmp_path.iterdir()] == [store.path.name]


def test_another_recipe_is_another_folder(source, tmp_path):
    assert store_path(source, tmp_path) != store_path(MemorySource(299), tmp_path)
    assert store_path(source, tmp_path).name.startswith("memory-")
    assert len(store_path(source, tmp_path).name) == len("memory-") + 12


def test_the_manifest_counts(tmp_path):
    manifest = prepare(MemorySource(26), tmp_path).manifest  # videos 0 to 6, the last with two frames
    assert (manifest["rows"], manifest["videos"], manifest["subjects"], manifest["units"]) == (26, 7, 4, 4)
    assert manifest["shape"] == [5, 4] and manifest["name"] == "memory"
    assert manifest["recipe"] == {"kind": "memory", "rows": 26}
    assert manifest["counts"] == [
        {"split": "test", "attack": "live", "label": 1, "rows": 4},
        {"split": "test", "attack": "print", "label": 0, "rows": 4},
        {"split": "train", "attack": "live", "label": 1, "rows": 4},
        {"split": "train", "attack": "print", "label": 0, "rows": 6},
        {"split": "validation", "attack": "live", "label": 1, "rows": 4},
        {"split": "validation", "attack": "print", "label": 0, "rows": 4},
    ]
    # Test: videos 2 and 5, rows 8 to 11 and 20 to 23, presence patterns 2 3 4 5 and 7 1 2 3.
    present = {"rgb": 5, "depth": 5, "ir": 3}
    assert manifest["splits"]["test"] == {"rows": 8, "videos": 2, "subjects": 2, "units": 2, "present": present}


def test_all_problems_of_all_rows_are_in_one_error(tmp_path):
    wrong_size, wrong_type = np.zeros((4, 4), np.uint8), np.zeros((5, 4))
    changes = {
        3: DataError("a.png: no such file"),
        130: {"split": "dev", "depth": wrong_size},
        131: {"ir": wrong_type},
        200: {"id": "memory/v0/0", "split": "train"},  # in another split it would be a leak, not a broken store
        299: {"domain": "other"},
        298: {"presenter": None},
        297: {"rgb": None, "depth": None, "ir": None},
    }
    for workers in (1, 2):
        with pytest.raises(DataError) as caught:
            prepare(MemorySource(300, changes), tmp_path, workers=workers)
        text = str(caught.value)
        assert [line.strip() for line in text.splitlines()][:2] == [
            "memory: 12 problem(s) in 300 rows, nothing was written",
            "- a.png: no such file",
        ]
        for part in (
            "split is 'dev'",
            "depth is uint8 (4, 4), expected uint8 (5, 4)",
            "ir is float64",
            "id 'memory/v0/0' occurs 2 times in train",
            "domain is 'other', but the data set is 'memory'",
            "presenter is not text",
            "no modality exists",
        ):
            assert part in text
        assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_source_is_not_hidden(tmp_path):
    for workers in (1, 2):
        with pytest.raises(ZeroDivisionError):
            prepare(MemorySource(300, {140: ZeroDivisionError()}), tmp_path, workers=workers)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_source_is_refused(tmp_path):
    with pytest.raises(DataError, match="no rows"):
        prepare(MemorySource(0), tmp_path)


def test_a_source_that_changes_meanwhile_is_refused(tmp_path):
    class Changing(MemorySource):
        def recipe(self):
            return {"reads": self.reads}

    with pytest.raises(DataError, match="changed while they were read"):
        prepare(Changing(3), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_second_of_two_preparations_keeps_the_first_ones_store(tmp_path):
    class Overtaken(MemorySource):
        inode = None

        def read(self, index):
            if index == 2:  # while this one is half-way, another one starts and finishes
                self.inode = prepare(MemorySource(5), tmp_path).path.stat().st_ino
            return super().read(index)

    source = Overtaken(5)
    store = prepare(source, tmp_path)
    assert store.path.stat().st_ino == source.inode
    assert [path.name for path in tmp_path.iterdir()] == [store.path.name]


def test_a_killed_worker_is_an_error(tmp_path):
    class Killed(MemorySource):
        def read(self, index):
            if index == 140:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().read(index)

    with pytest.raises(DataError, match="fewer than 2 workers"):
        prepare(Killed(), tmp_path, workers=2)
    assert list(tmp_path.iterdir()) == []


SCRIPT = """
import os, sys, time
from pathlib import Path
import numpy as np
from fasbench.data.record import Record
from fasbench.data.sources.base import Source
from fasbench.data.store import prepare

class Slow(Source):
    name, shape = "slow", (2, 2)
    def recipe(self): return {}
    def __len__(self): return 300
    def read(self, index):
        if sys.argv[2] == "wait" and index % 128 == 50:
            (Path(sys.argv[1]) / f"pid-{os.getpid()}").touch()
            time.sleep(60)
        image = np.full((2, 2), index % 251, np.uint8)
        names = (f"slow/{index}", "slow", "train", 1, "live", "live", "slow/s", "slow/s", "slow/s", "slow/v")
        return Record(*names, index, None, image, image)

if __name__ == "__main__":
    prepare(Slow(), Path(sys.argv[1]) / "root", workers=2)
"""


def test_a_killed_preparation_leaves_no_store_and_the_next_succeeds(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(shards.__file__).parents[2])}
    environment.pop("HF_HOME", None)
    command = [sys.executable, str(script), str(tmp_path)]
    process = subprocess.Popen([*command, "wait"], env=environment)
    wait_for(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    workers = [int(path.name[4:]) for path in tmp_path.glob("pid-*")]
    process.kill()
    process.wait()
    wait_for(lambda: not any(running(worker) for worker in workers))  # workers do not outlive their parent
    (remains,) = (tmp_path / "root").iterdir()
    assert remains.name.endswith(".tmp") and list(remains.glob("*.arrow"))
    with pytest.raises(DataError):
        Store.open(remains)

    subprocess.run([*command, "go"], env=environment, check=True)
    (path,) = (tmp_path / "root").iterdir()
    store = Store.open(path)
    assert len(store) == 300 and store.verify(deep=True) == []
    assert not (tmp_path / "home").exists()  # nothing goes to a cache of Hugging Face


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def flip(path, needle, offset=0):
    """Flip one bit of the byte at `offset` behind the first occurrence of `needle`."""
    content = bytearray(path.read_bytes())
    place = content.index(needle) + offset
    content[place] ^= 1
    path.write_bytes(content)


def test_verify_finds_a_flipped_pixel(store):
    assert store.verify(deep=True) == []
    image = store.record(132).rgb
    flip(store.path / "data-00001-of-00003.arrow", image.tobytes(), offset=17)
    damaged = Store.open(store.path)
    assert damaged.verify() == []  # only reading every pixel can tell
    assert damaged.verify(deep=True) == ["row 132 (memory/v33/0): the pixels are not those that were written"]


def test_verify_finds_changed_metadata(store):
    flip(store.path / "data-00000-of-00003.arrow", b"memory/u7", offset=8)  # u7 -> u6, in a row of video 14
    problems = Store.open(store.path).verify(deep=True)
    assert [problem[:7] for problem in problems] == ["splits:", "row 56 "]
    assert problems[1] == "row 56 (memory/v14/0): the metadata is not what was written"


@pytest.mark.parametrize("key", ["rows", "videos", "splits", "counts", "content_sha256"])
def test_verify_finds_a_wrong_manifest_and_prepare_mends_it(store, source, tmp_path, key):
    manifest = json.loads((store.path / "manifest.json").read_text())
    manifest[key] = 7
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    (problem,) = Store.open(store.path).verify()
    assert problem.startswith(f"{key}: the manifest says 7, the data ")
    assert prepare(source, tmp_path, workers=1).verify() == []


def truncate(path):
    data = path / "data-00002-of-00003.arrow"
    data.write_bytes(data.read_bytes()[:-100])


def garble(path, found, instead):
    data = path / "data-00001-of-00003.arrow"
    content = data.read_bytes()
    assert found in content and len(found) == len(instead)
    data.write_bytes(content.replace(found, instead))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: (path / "manifest.json").unlink(), "manifest.json"),
        (lambda path: (path / "manifest.json").write_text("{"), "intact"),
        (lambda path: (path / "manifest.json").write_text("[]"), "intact"),
        (lambda path: (path / "manifest.json").write_text('{"schema": 99}'), "number 99"),
        (lambda path: (path / "data-00001-of-00003.arrow").unlink(), "data-00001-of-00003.arrow"),
        (truncate, "expected"),
        (lambda path: garble(path, b"attack_fine", b"attack_find"), "columns"),
        (lambda path: garble(path, b"memory/u17", b"memory/u1\xff"), "UTF"),
        (lambda path: garble(path, np.int32([20, 40, 60]).tobytes(), np.int32([20, 4000, 60]).tobytes()), "20 bytes"),
    ],
)
def test_a_damaged_store_is_refused_and_prepare_mends_it(store, source, tmp_path, damage, reason):
    damage(store.path)
    with pytest.raises(DataError, match=reason) as caught:
        Store.open(store.path)
    assert str(store.path) in str(caught.value) and "fasbench data prepare" in str(caught.value)
    mended = prepare(source, tmp_path, workers=1)
    assert mended.path == store.path and mended.verify(deep=True) == []
    assert [path.name for path in tmp_path.iterdir()] == [store.path.name]


def test_a_foreign_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"manifest\.json"):
        Store.open(tmp_path)
    with pytest.raises(DataError, match="fasbench data prepare"):
        Store.open(tmp_path / "nothing")


def test_a_store_pickles_as_its_path(store):
    copy = pickle.loads(pickle.dumps(store))
    assert_same(copy.record(12), store.record(12))
    assert len(pickle.dumps(store)) < 1000


def test_the_same_rows_as_a_hugging_face_dataset(store):
    dataset = store.dataset()
    assert len(dataset) == 300
    row = dataset[150]
    for name in METADATA:
        assert row[name] == store.column(name)[150]
    for modality in MODALITIES:
        image = store.record(150).images[modality]
        assert row[modality] == (None if image is None else image.tobytes())
