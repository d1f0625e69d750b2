"""fasbench data info, status, verify, preview: what they say, and that no licensed picture leaves its place."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import wmca_tree
from made_up import SPLITS
from made_up import write as write_made_up
from PIL import Image
from typer.testing import CliRunner

import fasbench.cli as cli
from fasbench.data import preview, status
from fasbench.data.catalog import listed_sources, make_source
from fasbench.data.info import describe_dataset
from fasbench.data.licensed import LICENSED
from fasbench.data.preview import choose, previews
from fasbench.data.record import MODALITIES
from fasbench.data.spec import DatasetSpec
from fasbench.data.store import Store, prepare
from fasbench.data.verify import verify_target
from fasbench.errors import ConfigError, DataError

OPTIONS = "--from FOLDER --layout image-tree --crop none --image-size 32"
ROWS = 17  # of the made-up lists: eight recordings of two frames, and a repeated row


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The protocol on made-up lists, as the only one there is; and the rows of its lists."""
    monkeypatch.setenv("FASBENCH_LISTS", str(tmp_path / "lists"))
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path / "stores"))
    protocol, rows = write_made_up(tmp_path)
    monkeypatch.setattr(status, "protocols", lambda: {"test/licensed": protocol})
    status.bundled_protocols.cache_clear()
    yield protocol, rows
    status.bundled_protocols.cache_clear()


def prepare_wmca(protocol: Path, rows, change=lambda rows: rows, **options) -> Store:
    """The made-up data set, prepared; `change` alters the rows that are read: they are no longer those of the lists."""
    root = protocol.parent / "copy"
    if not root.exists():
        wmca_tree.write_images(root, rows)
    (source,) = listed_sources("wmca", root, protocol=str(protocol), **{"image_size": 32, **options})
    source.rows = change(source.rows)
    return prepare(source, protocol.parent / "stores", workers=1)


def fasbench(*arguments: str) -> tuple[int, str]:
    cli._register()
    ran = CliRunner().invoke(cli.app, list(arguments), env={"COLUMNS": "200"})
    if ran.exception and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran.exit_code, ran.output


# --- verify -----------------------------------------------------------------------------------------------------------


def test_a_protocol_whose_data_are_right(mine):
    protocol, rows = mine
    store = prepare_wmca(protocol, rows)
    code, text = fasbench("data", "verify", str(protocol))
    assert code == 0
    assert f"wmca: ok\n  {store.path.name} is intact (pixels not read, --deep does): {ROWS} rows, 32 x 32 px" in text
    assert "layout image-tree, crop none, 0 MB (train 8, validation 4, test 5)" in text
    assert "test/licensed@1/w-k: ok\n  train 8, validation 4, test 4 rows, no undeclared leak\n" in text
    assert "What to do" not in text
    code, text = fasbench("data", "verify", "wmca", "--deep")
    assert code == 0 and "wmca for test/licensed: ok" in text and "is intact (every pixel read)" in text


def test_the_hashes_that_a_protocol_states_are_compared(mine):
    protocol, rows = mine
    prepare_wmca(protocol, rows)
    wrong = "rows_sha256: {test: " + "0" * 64 + "}}"
    protocol.write_text(protocol.read_text().replace("test: [wmca/test]}", f"test: [wmca/test], {wrong}"))
    code, text = fasbench("data", "verify", f"{protocol}/w-k")
    assert code == 3 and "test/licensed@1/w-k: NOT as it should be" in text
    found = re.search(r"test: rows_sha256 expected 0{64}, found (\w{64}): other rows or labels", text)
    protocol.write_text(protocol.read_text().replace("0" * 64, found[1]))
    code, text = fasbench("data", "verify", f"{protocol}/w-k")
    assert code == 0 and "no undeclared leak; rows_sha256 of test as stated" in text


def test_rows_that_were_skipped_are_named_with_the_reason_and_what_to_do(mine):
    protocol, rows = mine
    wmca_tree.write_images(protocol.parent / "copy", rows)
    for row in rows[:5]:
        (protocol.parent / "copy" / row.depth).unlink()
    store = prepare_wmca(protocol, rows, on_missing="skip")
    code, text = fasbench("data", "verify", str(protocol))
    assert code == 3
    first = ", ".join(row.id for row in rows[:3])
    assert f"  wmca/train: 8 rows expected, 3 found, first 3 missing: {first}\n" in text
    assert f"  5 rows were skipped when {store.path.name} was prepared, for: {rows[0].id}: depth " in text
    assert "Complete your copy of wmca, then: fasbench" in text
    assert f"{OPTIONS} --protocol {protocol}. Or keep it as it is: results on it are partial and never ranked" in text
    assert "w-k" not in text  # the split would only repeat it
    _, text = fasbench("data", "status")
    assert f"{store.path.name}: 12 rows, 32 x 32 px, layout image-tree, crop none, 5 rows skipped, 0 MB" in text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda rows: rows[:-2],
            r"wmca/test: 5 rows expected, 3 found, missing: wmca/905_02_000_4_07/24, wmca/905_\S+#2",
        ),
        (
            lambda rows: [*rows, replace(rows[-1], id="wmca/999/1")],
            r"wmca/test: 5 rows expected, 6 found\n.* 1 rows that are in no list, namely: wmca/999/1",
        ),
        (
            lambda rows: [replace(row, attack="print") if row.label == 0 else row for row in rows],
            r"wmca/train: 4 rows with another attack than the lists say, first 3 of them: wmca/901_01_000_4_02/12, ",
        ),
        (
            lambda rows: [replace(rows[0], unit="wmca/other"), *rows[1:]],
            r"wmca/train: 1 rows with another unit than the lists say, namely: wmca/901_01_000_0_00/12\n",
        ),
    ],
)
def test_rows_that_are_not_those_of_the_lists(mine, change, text):
    protocol, rows = mine
    prepare_wmca(protocol, rows, change)
    code, output = fasbench("data", "verify", "wmca")
    assert code == 3 and re.search(text, output), output
    assert f"  fasbench data prepare wmca {OPTIONS} --protocol {protocol} --overwrite\n" in output


def test_counts_that_a_protocol_expects_otherwise(mine):
    protocol, rows = mine
    prepare_wmca(protocol, rows)
    expect = "    expect: {test: {rows: 5, live: 3, attack: 2}}\n    drop:"  # the protocol drops the repeated row
    protocol.write_text(protocol.read_text().replace("    drop:", expect))
    code, text = fasbench("data", "verify", str(protocol))
    assert code == 3 and "wmca/test: rows expected 5, found 4\n  wmca/test: live expected 3, found 2\n" in text


def test_without_its_lists_a_store_is_checked_as_far_as_it_goes(mine):
    protocol, rows = mine
    prepare_wmca(protocol, rows)
    listed = protocol.parent / "lists" / "test.txt"
    content = listed.read_bytes()
    listed.unlink()
    code, text = fasbench("data", "verify", str(protocol))
    assert code == 0 and "no test.txt: rows cannot be compared with the lists, see fasbench data lists" in text
    listed.write_bytes(content + b"\r\n")
    code, text = fasbench("data", "verify", str(protocol))
    assert code == 3 and "list differs: expected sha256" in text and "What to do:\n  fasbench data lists\n" in text


def test_damage(mine):
    protocol, rows = mine
    store = prepare_wmca(protocol, rows)
    (shard,) = store.path.glob("*.arrow")
    content = shard.read_bytes()
    pixels = store.read(np.array([3])).ir[0].tobytes()
    place = content.index(pixels)
    shard.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    assert fasbench("data", "verify", "wmca")[0] == 0  # told by the pixels only
    code, text = fasbench("data", "verify", "wmca", "--deep")
    assert code == 3 and f"{store.path.name} is damaged: row 3 ({rows[3].id}): the pixels are not those that" in text
    assert f"--image-size 32 --protocol {protocol} --overwrite" in text
    shard.write_bytes(content[:-8])
    code, text = fasbench("data", "verify", str(protocol))
    assert (
        code == 3 and "is not an intact store" in text and "Run `fasbench data prepare` again to write it anew" in text
    )
    (store.path / "manifest.json").write_text("{")
    code, text = fasbench("data", "verify", "wmca")
    assert code == 3 and f"{store.path.name}: NOT as it should be" in text and "is not an intact store" in text
    code, text = fasbench("data", "status")
    assert code == 0 and f"{store.path.name}: its manifest.json cannot be read (" in text


def test_a_licensed_data_set_that_is_not_prepared_or_prepared_twice(mine):
    protocol, rows = mine
    for target in ("wmca", str(protocol)):
        code, text = fasbench("data", "verify", target)
        assert code == 3 and "wmca: NOT as it should be\n  not prepared. WMCA is licensed: accept" in text
        assert text.endswith(f"What to do:\n  fasbench data prepare wmca --from FOLDER --protocol {protocol}\n")
    (protocol.parent / "lists" / "train.txt").unlink()
    assert "What to do:\n  fasbench data lists\n  fasbench data prepare wmca" in fasbench("data", "verify", "wmca")[1]
    first, second = sorted(prepare_named(protocol, rows, size) for size in (32, 48))
    code, text = fasbench("data", "verify", str(protocol))
    assert code == 3 and f"prepared in 2 ways, {first}, {second}: a run would not know which to read" in text
    assert f"  Move all but one of {first}, {second} out of {protocol.parent / 'stores'}\n" in text


def prepare_named(protocol: Path, rows, size: int) -> str:
    write_made_up(protocol.parent)
    return prepare_wmca(protocol, rows, image_size=size).path.name


def test_a_store_by_other_lists_is_checked_by_itself(mine):
    protocol, rows = mine
    store = prepare_wmca(protocol, rows)
    manifest = json.loads((store.path / "manifest.json").read_text())
    manifest["recipe"]["lists_sha256"]["test"] = "0" * 64
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    code, text = fasbench("data", "verify", "wmca")
    assert code == 0 and text.startswith(f"{store.path.name}: ok")
    assert "; for no bundled protocol" in fasbench("data", "status")[1]


def test_embedded_and_own_data(mine, tmp_path):
    text = fasbench("data", "verify", "synth-k")[1]
    assert text == "synth-k: ok\n  not prepared yet: the first run does it, or fasbench data prepare synth-k\n"
    (check, *_) = verify_target("synth/fixed/lmn-k")
    assert "fasbench data prepare synth/fixed" in check.facts[0]
    prepare(make_source("synth-k", DatasetSpec(size="tiny"), tmp_path), tmp_path / "stores", workers=1)
    (check,) = verify_target("synth-k", deep=True)
    assert "(every pixel read): 90 rows, 64 x 64 px" in check.facts[0]
    own = tmp_path / "own.yaml"
    own.write_text(
        "id: my/own\nversion: 1\ntitle: mine\npreset: tiny\ndatasets: {lab: {csv: lab.csv}}\n"
        "splits: {own: {train: [lab/train], validation: [lab/validation], test: [lab/test]}}\n"
    )
    code, text = fasbench("data", "verify", str(own))
    assert code == 3 and "lab.csv: cannot be read" in text


def test_names_that_nobody_knows():
    for verb in ("verify", "preview", "info"):
        with pytest.raises(ConfigError, match=r"unknown data set 'wmcaa'. Did you mean 'wmca'"):
            fasbench("data", verb, "wmcaa")
    with pytest.raises(ConfigError, match=r"unknown protocol 'mmdg/fixd'. Did you mean 'mmdg/fixed'"):
        fasbench("data", "verify", "mmdg/fixd")


# --- info and status --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LICENSED)
def test_info_says_what_it_is_and_the_next_command(name, tmp_path, monkeypatch):
    monkeypatch.setenv("FASBENCH_LISTS", str(tmp_path))
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path))
    code, text = fasbench("data", "info", name)
    licensed = LICENSED[name]
    assert code == 0
    for known in (licensed.title, licensed.terms, licensed.obtained, licensed.reference, licensed.sensors):
        assert known in text
    for layout in ("hdf5", "image-tree") if name == "wmca" else ():
        assert f"{layout}: " in text
    assert (" (crop own-box)" in text) == (name == "cefa")
    assert all(defect in text for defect in licensed.defects)
    assert "mmdg/*" in text and "not at hand: " in text
    commands = [line.strip() for line in text.partition("\nnext")[2].splitlines()]
    truth = ["fasbench data lists --ground-truth padisi_USC_FACE_ground_truth.csv"] if name == "padisi" else []
    assert commands == [
        "fasbench data lists",
        *truth,
        f"fasbench data prepare {name} --from FOLDER",
    ]


def test_info_names_the_defects_of_the_lists_that_protocols_know():
    headings = dict.fromkeys(heading for heading, _ in describe_dataset("wmca"))
    assert list(headings)[-2:] == ["prepared", "next"]
    assert any("presented by someone" in text for _, text in describe_dataset("wmca"))
    assert not any("presented by someone" in text for _, text in describe_dataset("surf"))


def test_info_of_what_is_prepared(mine, tmp_path):
    protocol, rows = mine
    store = prepare_wmca(protocol, rows)
    _, text = fasbench("data", "info", "wmca")
    assert (
        f"prepared       {store.path.name}: {ROWS} rows, 32 x 32 px, layout image-tree, crop none, 0 MB; for test"
        in text
    )
    assert "lists          of test/licensed: at hand in" in text and "next           fasbench data verify wmca" in text
    _, text = fasbench("data", "info", "synth-n")
    assert "They say nothing about real faces" in text and "tiny: 6 subjects, 90 rows of 64 x 64 px" in text
    assert "prepared       no\nnext           fasbench data prepare synth-n\n" in text


def test_status_shows_every_data_set_and_store_at_a_glance(mine, tmp_path):
    protocol, rows = mine
    store = prepare_wmca(protocol, rows)
    own = prepare(make_source("synth-k", DatasetSpec(size="tiny"), tmp_path), tmp_path / "stores", workers=1)
    code, text = fasbench("data", "status")
    table = {line.split()[0]: line.split()[1:] for line in text.splitlines()[1:9] if line.strip()}
    assert code == 0
    assert table["wmca"] == ["yes", "-", "1", "test/licensed"]
    assert table["padisi"][:3] == ["-", "no", "0"] and table["synth-k"] == ["-", "-", "1", "test/licensed"]
    assert f"{store.path.name}: {ROWS} rows" in text and "; for test/licensed\n" in text
    assert f"{own.path.name}: 90 rows, 64 x 64 px, 2 MB; for test/licensed\n" in text
    assert f"Lists: {tmp_path / 'lists'}\nStores: {tmp_path / 'stores'}\n" in text
    (tmp_path / "lists" / "test.txt").unlink()
    assert re.search(r"^wmca +no ", fasbench("data", "status")[1], re.MULTILINE)


# --- preview ----------------------------------------------------------------------------------------------------------


def files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


def test_previews_of_licensed_data_lie_with_the_stores_and_nowhere_else(mine, tmp_path, monkeypatch):
    protocol, rows = mine
    store = prepare_wmca(protocol, rows)
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    code, text = fasbench("data", "preview", "wmca")
    sheet = tmp_path / "stores" / "previews" / f"{store.path.name}.png"
    assert code == 0 and text == f"{sheet}\n"
    assert files(tmp_path) - before == {sheet, sheet.with_suffix(".csv"), sheet.parent / ".gitignore"}
    named = [line.split(",") for line in sheet.with_suffix(".csv").read_text().splitlines()]
    assert named[0] == ["attack", "split", "column", "attack_fine", "id"]
    assert named[1][:3] == ["live", "train", "1"] and named[1][4] in store.column("id")
    assert (sheet.parent / ".gitignore").read_text() == "*\n"  # even where the data root lies in a repository
    for target in ("wmca", str(protocol)):
        with pytest.raises(ConfigError, match=r"--out: wmca is licensed, its previews are written to .*previews only"):
            fasbench("data", "preview", target, "--out", str(tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere").exists()
    again = sheet.read_bytes()
    previews(str(protocol))
    assert sheet.read_bytes() == again
    assert [one.name for one in status.prepared_stores()] == ["wmca"]  # the folder of sheets is no store


def test_a_sheet_shows_every_class_and_split_and_the_licence(mine, monkeypatch):
    protocol, rows = mine
    store = prepare_wmca(protocol, rows)
    drawn = []
    monkeypatch.setattr(preview.ImageDraw.ImageDraw, "text", lambda self, place, text, **_: drawn.append(text))
    sheet = preview.contact_sheet(store)
    assert LICENSED["wmca"].notice() in " ".join(drawn) and " ".join(drawn).count("licensed images, for you alone") == 2
    bands = [text.split("\n") for text in drawn if "\n" in text]
    assert [tuple(band[:2]) for band in bands] == [(a, s) for a in ("live", "replay") for s in SPLITS]
    assert {tuple(band[:2]): band[2] for band in bands}["live", "train"] == "4 rows"
    assert drawn.count("ir") == preview.COLUMNS
    row = int(choose(store, "live", "train")[0])
    image, shown = store.record(row), np.asarray(sheet)
    notices = sum("\n" not in text and text not in MODALITIES for text in drawn) // 2
    top, left = preview.LINE * (notices + 1), preview.LABEL_WIDTH
    infrared = left + 2 * (32 + preview.SEAM)
    np.testing.assert_array_equal(shown[top : top + 32, left : left + 32], image.rgb)
    np.testing.assert_array_equal(shown[top : top + 32, infrared : infrared + 32, 1], image.ir)


def test_samples_are_of_as_many_persons_or_instruments_as_there_are(mine):
    protocol, rows = mine
    store = prepare_wmca(protocol, rows)
    chosen = choose(store, "replay", "train", 3)
    assert len(set(store.column("unit")[chosen][:2])) == 2  # both instruments before a second frame of one
    assert len(set(chosen.tolist())) == 3
    assert choose(store, "makeup", "train").size == 0


def test_a_modality_that_was_not_delivered_is_named(mine, monkeypatch):
    protocol, rows = mine
    store = prepare_wmca(protocol, rows)
    monkeypatch.setattr(Store, "record", lambda self, row, read=Store.record: replace(read(self, row), ir=None))
    drawn = []
    monkeypatch.setattr(preview.ImageDraw.ImageDraw, "text", lambda self, place, text, **_: drawn.append(text))
    preview.contact_sheet(store)
    assert "no ir" in drawn and "no rgb" not in drawn


def test_previews_of_embedded_data_go_anywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path / "stores"))
    with pytest.raises(DataError, match="synth-k is not prepared: fasbench data prepare synth-k"):
        fasbench("data", "preview", "synth-k")
    with pytest.raises(DataError, match=r"synth-l is not prepared: fasbench data prepare synth-l --size demo"):
        fasbench("data", "preview", "synth/fixed")
    store = prepare(make_source("synth-k", DatasetSpec(size="tiny"), tmp_path), tmp_path / "stores", workers=1)
    (path,) = previews("synth-k", tmp_path / "out")
    assert path == tmp_path / "out" / f"{store.path.name}.png" and not (tmp_path / "stores" / "previews").exists()
    with Image.open(path) as sheet:
        assert sheet.width == preview.LABEL_WIDTH + preview.COLUMNS * (3 * 64 + 2 * preview.SEAM + preview.GAP)


def test_previews_need_something_prepared(mine):
    protocol, _ = mine
    with pytest.raises(DataError, match="wmca is not prepared: fasbench data prepare wmca --from FOLDER"):
        fasbench("data", "preview", "wmca")
    with pytest.raises(
        DataError, match=r"nothing to show of 1 data set(.|\n)*wmca is not prepared: fasbench data prep"
    ):
        fasbench("data", "preview", str(protocol))


def test_no_verb_names_a_licensed_file_or_its_place(mine, tmp_path):
    """Ids of rows are named; paths of images, absolute or not, only where a reason for skipping holds one."""
    protocol, rows = mine
    prepare_wmca(protocol, rows)
    for verb in (["info", "wmca"], ["status"], ["verify", "wmca", "--deep"], ["verify", str(protocol)]):
        text = fasbench("data", *verb)[1]
        assert str(tmp_path / "copy") not in text
        assert not any(row.rgb in text or row.depth in text for row in rows)
