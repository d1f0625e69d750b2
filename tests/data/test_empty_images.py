"""Black images of the licensed data sets: colour and infrared are an error in every layout, depth is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cefa_tree
import h5py
import numpy as np
import padisi_tree
import pytest
import surf_tree
import wmca_tree
from coded import damage
from made_up import write as write_made_up
from typer.testing import CliRunner

import fasbench.cli as cli
from fasbench.data.layouts import find_layout
from fasbench.data.lists import ListRow, read_list
from fasbench.data.sources.listed import ListedSource
from fasbench.data.store import prepare
from fasbench.errors import DataError

CEFA = "CeFA/CeFA-Race/AF/AF-900/1_900_1_1_1/{}/{:04d}.jpg"
SURF = "CASIA-SURF-CROP/real_part/real_train_part/CLKJ_AS9001/real.rssdk/{}/{}.jpg"


def triplet_rows(root: Path, name: str) -> list[ListRow]:
    pattern, colour = (CEFA, "profile") if name == "cefa" else (SURF, "color")
    lines = [
        " ".join([*(pattern.format(folder, frame) for folder in (colour, "depth", "ir")), "1"]) for frame in (1, 11)
    ]
    (root / "list.txt").write_text("\r\n".join(lines))
    return read_list(root / "list.txt", name, "train")


def blacken_file(root: Path, row: ListRow, modality: str) -> None:
    damage(root / {"rgb": row.rgb, "depth": row.depth, "ir": row.ir}[modality], "black")


def blacken_package(root: Path, row: ListRow, modality: str) -> None:
    package = wmca_tree.RGB if modality == "rgb" else wmca_tree.CDIT
    planes = {"rgb": slice(None), "depth": 1, "ir": 2}[modality]
    with h5py.File(wmca_tree.container(root, package, wmca_tree.recording_of(row)), "a") as file:
        array = file[f"Frame_{row.frame}/array"]
        array[planes] = np.zeros_like(array[planes])


def blacken_sample(root: Path, row: ListRow, modality: str) -> None:
    trial = padisi_tree.trial_of(row)
    data = padisi_tree.data(trial)
    data[0, {"rgb": slice(0, 3), "depth": 4, "ir": 3}[modality]] = 0
    np.savez_compressed(root / f"{trial}.npz", data=data)


Blacken = Callable[[Path, ListRow, str], None]


@pytest.fixture(params=["cefa", "surf", "wmca", "padisi"])
def copy(request, tmp_path) -> tuple[str, Path, list[ListRow], Blacken]:
    """A data set as it lies on disk, its rows, and what spoils a modality of one."""
    name, root = request.param, tmp_path / "copy"
    if name == "padisi":
        person = {"subject": "padisi/p1", "presenter": "padisi/p1", "unit": "padisi/p1"}  # of the ground truth
        rows = [
            replace(row, attack="print" if row.label == 0 else "live", **person) for row in padisi_tree.rows(tmp_path)
        ]
        blacken = blacken_sample
        padisi_tree.write(root)
    elif name == "wmca":
        rows, blacken = wmca_tree.rows(tmp_path), blacken_package
        wmca_tree.write_packages(root, rows)
    else:
        rows, blacken = triplet_rows(tmp_path, name), blacken_file
        (cefa_tree.write_profile if name == "cefa" else surf_tree.write_crops)(root, rows)
    return name, root, rows, blacken


def source_of(name: str, root: Path, rows: list[ListRow]) -> ListedSource:
    return ListedSource(name, rows, {}, find_layout(name, root), image_size=32, on_missing="skip")


@pytest.mark.parametrize("modality", ["rgb", "ir"])
def test_a_black_colour_or_infrared_image_is_an_error_even_where_missing_rows_are_skipped(copy, modality):
    name, root, rows, blacken = copy
    blacken(root, rows[0], modality)
    source = source_of(name, root, rows)
    with pytest.raises(DataError) as caught:
        source.read(0)
    assert type(caught.value) is DataError  # not Skipped
    text = "is black all over (no value above 8), expected a face"
    file = source.layout.files(rows[0])[0 if modality == "rgb" else -1]
    assert str(caught.value) == f"{rows[0].id}: {modality} {file}: {text}"
    source.read(1)


def test_all_black_modalities_of_a_row_are_told_together_and_no_identity_card(tmp_path):
    rows, cards = triplet_rows(tmp_path, "cefa"), {"AF-900": "199902310017"}
    cefa_tree.write_color(tmp_path, rows, cards=cards)
    for modality in ("rgb", "depth", "ir"):
        damage(tmp_path / cefa_tree.color_path(rows[0], modality, cards=cards), "black")
    with pytest.raises(DataError) as caught:
        source_of("cefa", tmp_path, rows).read(0)
    folder, text = (
        "CASIA_CeFA/Ethnicity/AF/AF-900-*/1_900_1_1_1",
        "is black all over (no value above 8), expected a face",
    )
    problems = "; ".join(f"{name} {folder}/{part}/0001.jpg: {text}" for name, part in (("rgb", "color"), ("ir", "ir")))
    assert str(caught.value) == f"{rows[0].id}: {problems}"


def test_an_empty_depth_is_read_and_counted(copy, tmp_path):
    name, root, rows, blacken = copy
    blacken(root, rows[1], "depth")
    store = prepare(source_of(name, root, rows), tmp_path / "stores", workers=1)
    assert store.manifest["empty_depth"] == {"rows": 1, "first": [rows[1].id]}
    assert store.record(1).depth.max() <= 8 < store.record(0).depth.max()
    assert store.present.all()


def test_prepare_says_how_many_rows_have_an_empty_depth(tmp_path, monkeypatch):
    monkeypatch.setenv("FASBENCH_LISTS", str(tmp_path / "lists"))
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path / "stores"))
    protocol, rows = write_made_up(tmp_path)
    wmca_tree.write_packages(tmp_path / "copy", rows)
    command = ["data", "prepare", "wmca", "--from", str(tmp_path / "copy"), "--protocol", str(protocol)]
    cli._register()
    ran = CliRunner().invoke(cli.app, [*command, "--image-size", "32"])
    assert ran.exit_code == 0 and "empty depth" not in ran.output, ran.output
    for row in rows[2:5]:
        blacken_package(tmp_path / "copy", row, "depth")
    ran = CliRunner().invoke(cli.app, [*command, "--image-size", "32", "--overwrite"])
    assert ran.exit_code == 0 and f"3 rows have an empty depth image, e.g. {rows[2].id}" in ran.output, ran.output
