"""Licensed data from their files to a result: generated files in the true layouts, prepared, checked and run."""

from __future__ import annotations

import os
from pathlib import Path

import cefa_tree
import coded
import numpy as np
import padisi_tree
import pytest
import surf_tree
import wmca_tree
from made_up import SPLITS
from made_up import write as write_made_up
from PIL import Image
from quick_runs import request

from fasbench.data.audit import audit
from fasbench.data.catalog import listed_sources
from fasbench.data.lists import protocol_rows
from fasbench.data.lists.folder import ground_truth_of
from fasbench.data.store import Store, prepare
from fasbench.data.verify import verify_target
from fasbench.errors import ConfigError, DataError
from fasbench.protocol import load_protocol
from fasbench.registry import protocols
from fasbench.runner import run

LISTS = os.environ.get("FASBENCH_LISTS")


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A protocol on made-up WMCA lists, and the rows of every list."""
    monkeypatch.setenv("FASBENCH_LISTS", str(tmp_path / "lists"))
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path / "stores"))
    return write_made_up(tmp_path)


def sources(protocol: Path, root: Path, **options):
    return listed_sources("wmca", root, protocol=str(protocol), **{"image_size": 128, **options})


def test_files_become_records_with_everything_their_names_say(made_up, tmp_path):
    protocol, rows = made_up
    wmca_tree.write_packages(tmp_path / "wmca", rows)
    (source,) = sources(protocol, tmp_path / "wmca")
    store = prepare(source, tmp_path / "stores")
    assert len(store) == len(rows) + 1  # the repeated row is prepared, and dropped by the protocol
    for number, row in enumerate(rows):
        record, expected = store.record(number), wmca_tree.expected(row)
        for modality, image in expected.items():
            np.testing.assert_array_equal(record.images[modality], image, err_msg=f"{row.id} {modality}")
        assert (record.id, record.split, record.label) == (row.id, row.split, row.label)
        assert (record.subject, record.unit, record.video) == (row.subject, row.unit, row.video)
        assert (record.attack, record.session) == (row.attack, row.session)
    assert store.record(len(rows)).id.endswith("#2")
    assert store.verify(deep=True) == []


def test_a_protocol_finds_the_prepared_store_and_drops_what_it_says(made_up, tmp_path, linear_method):
    protocol, rows = made_up
    with pytest.raises(DataError, match=r"wmca: WMCA is licensed: .*Then: fasbench data prepare wmca --from FOLDER"):
        run(request(linear_method, protocol, tmp_path / "runs"))
    wmca_tree.write_images(tmp_path / "wmca", rows)
    (source,) = sources(protocol, tmp_path / "wmca")
    prepare(source, tmp_path / "stores")
    (outcome,) = run(request(linear_method, protocol, tmp_path / "runs"))
    result = outcome.results[0]
    assert not result.evaluation.partial and not result.synthetic
    assert result.metrics["levels"]["frame"]["counts"]["live"] == 2  # one recording, two frames, the repeat dropped
    prepare(sources(protocol, tmp_path / "wmca", image_size=64)[0], tmp_path / "stores")
    with pytest.raises(DataError, match=r"wmca: prepared in 2 ways, wmca-\w+, wmca-\w+\. Move all but one out of"):
        run(request(linear_method, protocol, tmp_path / "runs"))


def test_missing_files_are_one_error_or_skipped_counted_and_partial(made_up, tmp_path, linear_method):
    protocol, rows = made_up
    wmca_tree.write_images(tmp_path / "wmca", rows)
    for row in rows[:2]:
        (tmp_path / "wmca" / row.depth).unlink()
    with pytest.raises(DataError, match="wmca: 2 problem") as error:
        prepare(sources(protocol, tmp_path / "wmca")[0], tmp_path / "stores")
    assert all(row.id in str(error.value) for row in rows[:2])
    assert not list((tmp_path / "stores").glob("wmca-*"))
    (source,) = sources(protocol, tmp_path / "wmca", on_missing="skip")
    store = prepare(source, tmp_path / "stores")
    assert len(store) == len(rows) - 1 and store.manifest["skipped"]["rows"] == 2
    assert rows[0].id in store.manifest["skipped"]["first"][0]
    (outcome,) = run(request(linear_method, protocol, tmp_path / "runs"))
    assert all(result.evaluation.partial for result in outcome.results)
    assert "PARTIAL DATA, never ranked" in (outcome.plan.folder / "report.md").read_text()
    (tmp_path / "wmca" / rows[3].ir).write_bytes(b"not a picture")  # damage is never skipped
    with pytest.raises(DataError, match="wmca: 1 problem"):
        prepare(source, tmp_path / "elsewhere")


def test_a_folder_without_the_data_set_names_what_it_should_hold(made_up, tmp_path):
    protocol, _ = made_up
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        sources(protocol, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"wmca was not found there\. Expected one of(.|\n)*hdf5: (.|\n)*image-tree: "):
        sources(protocol, tmp_path / "empty")


def test_several_variants_in_one_folder_are_for_the_user_to_choose(made_up, tmp_path):
    protocol, rows = made_up
    wmca_tree.write_packages(tmp_path / "wmca", rows)
    wmca_tree.write_images(tmp_path / "wmca", rows)
    with pytest.raises(DataError, match=r"in several ways: choose one of hdf5, image-tree with --layout"):
        sources(protocol, tmp_path / "wmca")
    assert sources(protocol, tmp_path / "wmca", layout="hdf5")[0].recipe()["layout"]["name"] == "hdf5"


def test_rows_that_no_split_takes_may_be_missing(made_up, tmp_path, linear_method):
    """Session 01 is in no training here: a copy without its files is whole for this protocol, and not for another."""
    protocol, rows = made_up
    narrow = protocol.with_name("narrow.yaml")
    test = "test: [wmca/test]"
    narrow.write_text(protocol.read_text().replace(test, f'{test}, keep: {{train: {{session: ["02"]}}}}'))
    left_out = [row for row in rows if row.split == "train" and row.session == "01"]
    wmca_tree.write_images(tmp_path / "wmca", [row for row in rows if row not in left_out])
    with pytest.raises(DataError, match=f"wmca: {len(left_out)} problem"):
        prepare(sources(protocol, tmp_path / "wmca")[0], tmp_path / "stores")
    (source,) = sources(narrow, tmp_path / "wmca")
    store = prepare(source, tmp_path / "stores")
    assert store.skipped("id").tolist() == [row.id for row in left_out] and source.on_missing == "error"
    for file, partial in ((narrow, False), (protocol, True)):
        (outcome,) = run(request(linear_method, file, tmp_path / file.stem))
        assert {result.evaluation.partial for result in outcome.results} == {partial}
        problems = [problem for check in verify_target(str(file), deep=False) for problem in check.problems]
        assert bool(problems) == partial


def test_files_of_16_bits_take_a_range_which_is_part_of_the_recipe(made_up, tmp_path):
    protocol, rows = made_up
    wmca_tree.write_images(tmp_path / "wmca", rows)
    raw = np.full((128, 128), 700, np.uint16)
    raw[:, :64] = 900
    for row in rows:
        Image.fromarray(raw).save(tmp_path / "wmca" / row.depth, "PNG")
    with pytest.raises(DataError, match=r"values 700 to 900\) and needs a range .* --range depth=300:1500"):
        prepare(sources(protocol, tmp_path / "wmca")[0], tmp_path / "stores")
    (source,) = sources(protocol, tmp_path / "wmca", ranges=["depth=500:1010"])
    store = prepare(source, tmp_path / "stores")
    assert source.recipe()["ranges"] == {"depth": [500, 1010]} and store.manifest["recipe"] == source.recipe()
    assert set(np.unique(store.record(0).depth)) == {100, 200}  # (700 - 500) / 510 and (900 - 500) / 510 of 255


def test_a_copy_that_was_completed_is_read_again(made_up, tmp_path):
    protocol, rows = made_up
    wmca_tree.write_images(tmp_path / "wmca", rows)
    absent = tmp_path / "wmca" / rows[0].depth
    content = absent.read_bytes()
    absent.unlink()
    (source,) = sources(protocol, tmp_path / "wmca", on_missing="skip")
    partial = prepare(source, tmp_path / "stores")
    assert partial.manifest["skipped"]["rows"] and partial.manifest["on_missing"] == "skip"
    (source,) = sources(protocol, tmp_path / "wmca")
    with pytest.raises(DataError, match=r"Complete your copy of wmca\. To do without .*: --on-missing skip"):
        prepare(source, tmp_path / "stores")
    assert Store.open(partial.path).manifest == partial.manifest  # what was there is still there
    absent.write_bytes(content)
    complete = prepare(source, tmp_path / "stores")
    assert complete.path == partial.path and len(complete) == len(rows) + 1
    assert complete.manifest["skipped"]["rows"] == 0 and complete.manifest["on_missing"] == "error"


def test_many_problems_are_counted_and_listed_in_a_file(made_up, tmp_path, monkeypatch):
    protocol, rows = made_up
    monkeypatch.setattr("fasbench.data.store._SHOWN", 3)
    wmca_tree.write_images(tmp_path / "wmca", rows)
    for row in rows[:5]:
        (tmp_path / "wmca" / row.ir).unlink()
    (source,) = sources(protocol, tmp_path / "wmca")
    with pytest.raises(DataError) as caught:
        prepare(source, tmp_path / "stores")
    whole = tmp_path / "stores" / "problems-wmca.txt"
    title, *named, last, _ = str(caught.value).splitlines()
    assert title == f"wmca: 5 problem(s) in {len(rows) + 1} rows, nothing was written" and len(named) == 3
    assert last == f"  ... and 2 more: all of them are in {whole}"
    assert [line.split(":")[0] for line in whole.read_text().splitlines()] == [row.id for row in rows[:5]]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"layout": "hdf"}, r"no such layout of wmca\. Did you mean 'hdf5'"),
        ({"protocol": "surf/official"}, "not use wmca"),
    ],
)
def test_names_that_do_not_fit_the_data_set(made_up, tmp_path, options, text):
    wmca_tree.write_images(tmp_path / "wmca", made_up[1])
    with pytest.raises(ConfigError, match=text):
        listed_sources("wmca", tmp_path / "wmca", **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [({"crop": "own-bx"}, "Did you mean 'own-box'"), ({"on_missing": "ignore"}, "expected error or skip")],
)
def test_mistyped_options(made_up, tmp_path, options, text):
    protocol, rows = made_up
    wmca_tree.write_images(tmp_path / "wmca", rows)
    with pytest.raises(ConfigError, match=text):
        sources(protocol, tmp_path / "wmca", **options)


# --- the official lists -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not LISTS, reason="FASBENCH_LISTS is not set: the official lists are not at hand")
def test_every_data_set_goes_from_its_files_to_a_result_on_the_official_lists(tmp_path, monkeypatch):
    """About a hundred videos of every data set, in the layout the lists name: prepared, compared with what was written,
    verified, audited, and MMDG++ run on mmdg/fixed/cps-w.
    """
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path / "stores"))
    protocol = load_protocol(protocols()["mmdg/fixed"])
    assert ground_truth_of("padisi", protocol.datasets["padisi"], Path(LISTS)) is not None
    parts = protocol_rows(protocol, protocol.datasets, Path(LISTS))
    for name, write in (
        ("cefa", cefa_tree.write_profile),
        ("padisi", lambda root, rows: padisi_tree.write(root, map(padisi_tree.trial_of, rows))),
        ("surf", surf_tree.write_crops),
        ("wmca", wmca_tree.write_packages),
    ):
        chosen = []
        for split in SPLITS:
            rows = [row for part, listed in parts.items() if part == (name, split) for row in listed]
            for label in (0, 1):
                videos = list(dict.fromkeys(row.video for row in rows if row.label == label))
                chosen += [row for row in rows if row.video in videos[:: max(1, len(videos) // 16)][:16]]
        write(tmp_path / name, chosen)
        (source,) = listed_sources(name, tmp_path / name, image_size=128, on_missing="skip")
        store = prepare(source, tmp_path / "stores")
        written = {row.rgb for row in chosen}
        there = [row for part, listed in parts.items() if part.dataset == name for row in listed if row.rgb in written]
        assert len(source) - store.manifest["skipped"]["rows"] == len(there) >= 50
        for column in ("id", "split", "label", "video", "subject", "unit", "session", "race", "attack"):
            expected = [getattr(row, column) for row in there]
            assert store.column(column).tolist() == ["" if value is None else value for value in expected], column
        for number, row in enumerate(there):
            compare(name, row, store.record(number).images)
        (check,) = (check for check in verify_target(name, deep=True) if check.store is not None)
        assert check.problems and all("row" in problem for problem in check.problems)  # those that were skipped
        assert "is intact (every pixel read)" in check.facts[-1]
    report = audit(protocol)
    assert {audited.metadata for audited in report.datasets.values()} == {"store"} and len(report.datasets) == 4
    assert not [finding.id for finding in report.new if finding.severity in ("leak", "duplicate")]
    settings = ("train.epochs=1", "train.steps_per_epoch=2", "train.batch_size=8")
    quick = {"preset": "tiny", "sets": settings, "limit_videos": 2}
    (outcome,) = run(request("mmdg++", "mmdg/fixed/cps-w", tmp_path / "runs", **quick))
    assert {result.evaluation.selection for result in outcome.results} == {"source-val", "last"}
    assert all(result.evaluation.partial and not result.synthetic for result in outcome.results)
    assert outcome.results[0].metrics["levels"]["frame"]["counts"]["live"] > 0


def compare(name, row, images):
    """That a prepared row shows what was written for it: no other frame, modality, channel or person."""
    if name in ("cefa", "surf"):
        for modality, image in images.items():
            assert np.array_equal(coded.said(image), coded.bits(row, modality)), (row.id, modality)
        return
    for modality, image in {"padisi": padisi_tree, "wmca": wmca_tree}[name].expected(row).items():
        method = Image.Resampling.NEAREST if modality == "depth" else Image.Resampling.BILINEAR
        expected = np.asarray(Image.fromarray(image).resize((128, 128), method))
        np.testing.assert_array_equal(images[modality], expected, err_msg=f"{row.id} {modality}")
