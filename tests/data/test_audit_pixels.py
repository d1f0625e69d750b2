"""The audit of images that are not what they are called: copies, gray, empty, dark ones, one under two names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from audited import Faces, Spoil, seen
from cefa_tree import profile_path
from faces import face
from PIL import Image
from typer.testing import CliRunner

import fasbench.cli as cli
from fasbench.data.audit.measure import luma, measure
from fasbench.data.audit.pixels import COPY
from fasbench.data.catalog import find_sources
from fasbench.data.lists import read_list
from fasbench.data.record import LIVE, SPLITS
from fasbench.data.store import prepare
from fasbench.resources import sha256_file


def spoilt(root: Path, spoil: Spoil) -> dict:
    return seen(root, Faces(spoil=spoil))


def test_sound_images_have_no_findings(tmp_path):
    assert seen(tmp_path, Faces()) == {}


def test_infrared_that_is_really_colour(tmp_path):
    """The public test loaders that build the infrared image from the colour image."""
    finding = spoilt(tmp_path, lambda images, index: {**images, "ir": luma(images["rgb"])})["ir-is-rgb/synth-k"]
    assert (finding.severity, finding.count, finding.new) == ("pixels", 60, True)
    assert "every pixel equal in 60" in finding.explanation


def test_infrared_that_is_colour_with_another_contrast_in_some_rows(tmp_path):
    def spoil(images, index):
        return {**images, "ir": (images["rgb"][..., 0] // 2 + 30).astype(np.uint8)} if index < 6 else images

    finding = spoilt(tmp_path, spoil)["ir-is-rgb/synth-k"]
    assert (
        finding.count == 6 and finding.parts == ("synth-k/train",) and "every pixel equal in 0" in finding.explanation
    )


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda images, index: {**images, "depth": images["ir"]}, "ir-is-depth/synth-k"),
        (lambda images, index: {**images, "rgb": images["rgb"][..., :1].repeat(3, 2)}, "rgb-is-gray/synth-k"),
        (lambda images, index: {**images, "rgb": images["rgb"][..., ::-1]}, "rgb-is-bgr/synth-k"),
        (lambda images, index: {**images, "ir": 0 * images["ir"]}, "empty/synth-k/ir"),
        (lambda images, index: {**images, "ir": 0 * images["ir"] + 255}, "saturated/synth-k/ir"),
        (lambda images, index: {**images, "depth": images["depth"] // 4}, "dark/synth-k/depth"),
    ],
)
def test_images_that_are_not_what_they_are_called(tmp_path, spoil, name):
    finding = spoilt(tmp_path, spoil)[name]
    assert finding.severity == "pixels" and finding.count > 0


@pytest.mark.parametrize("modality", ["rgb", "depth", "ir"])
def test_rows_whose_image_is_nearly_empty_among_others_that_are_not(tmp_path, modality):
    """Noise of a few gray levels is not one value, and the data set as a whole is bright."""
    findings = spoilt(
        tmp_path, lambda images, index: {**images, modality: images[modality] % 9} if index < 3 else images
    )
    finding = findings.pop(f"empty/synth-k/{modality}")
    assert (finding.count, finding.parts, finding.new) == (3, ("synth-k/train",), True)
    assert findings == {}


def test_an_absent_modality_is_not_an_empty_one(tmp_path):
    assert spoilt(tmp_path, lambda images, index: {**images, "ir": None}) == {}


def test_a_modality_that_only_one_class_has_is_a_shortcut(tmp_path):
    findings = spoilt(tmp_path, lambda images, index: {**images, "ir": images["ir"] if index % 2 else None})
    (finding,) = findings.values()
    assert finding.id.startswith("shortcut/synth-k/modalities")


def test_the_same_images_under_two_names(tmp_path):
    """The first test frame shows what the first training frame shows; in row 2 only infrared is that of row 0."""
    first = Faces().read(0).images

    def spoil(images, index):
        return first if index == 40 else {**images, "ir": first["ir"]} if index == 2 else images

    findings = spoilt(tmp_path, spoil)
    assert findings["same-pixels/synth-k/test+train"].severity == "leak"
    assert findings["same-pixels/synth-k/test+train"].count == 2
    assert findings["same-ir/synth-k/test+train"].count == 3
    assert "same-rgb/synth-k/test+train" not in findings  # said already: every modality is the same


# --- copies that are not equal in any pixel ---------------------------------------------------------------------------


def smooth(name: str, index: int) -> dict[str, np.ndarray]:
    return face(index, 96, 72, 60)


def stretched(gray: np.ndarray) -> np.ndarray:
    """Cut to another box, 3 px narrower and 2 px lower than it was, and brought to the same size again."""
    height, width = gray.shape
    image = Image.fromarray(gray).resize((width, height), Image.Resampling.BILINEAR, box=(3, 0, width, height - 2))
    return np.asarray(image)


COPIES = {
    "equal": lambda gray: gray,
    "moved by a pixel": lambda gray: np.roll(gray, (1, -1), (0, 1)),
    "cut to another box": stretched,
    "negative": lambda gray: 255 - gray,
    "negative and moved": lambda gray: np.roll(255 - gray, 1, 1),
    "darker": lambda gray: (gray * 0.4 + 40 * (gray > 0)).astype(np.uint8),
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("modality", ["ir", "depth"])
def test_a_copy_is_found_wherever_it_was_moved_and_negative_too(tmp_path, copy, modality):
    change: Callable = COPIES[copy]
    source = Faces(draw=smooth, spoil=lambda images, _: {**images, modality: change(luma(images["rgb"]))})
    finding = seen(tmp_path, source)[f"{modality}-is-rgb/synth-k"]
    assert finding.count >= 57 and finding.new


def test_smooth_faces_seen_by_two_sensors_are_no_copies(tmp_path):
    source = Faces(draw=smooth)
    store = prepare(source, tmp_path, workers=1)
    assert seen(tmp_path, source) == {}
    alike = measure(store, np.arange(len(store))).alike
    assert np.median(alike[:, 1]) > 0.5 and alike.max() < COPY - 0.01


def test_embedded_sensors_are_far_from_being_copies_of_each_other(data_root):
    """Colour and infrared of synthetic data sets are rendered from two materials and two lights."""
    for source in find_sources(["synth-k", "synth-l", "synth-m", "synth-n"], size="tiny"):
        store = prepare(source, data_root)
        alike = measure(store, np.flatnonzero(store.column("label") == LIVE)).alike
        assert np.nanmax(alike) < COPY - 0.02, source.name


def test_attacks_that_look_alike_to_two_sensors_are_no_copies_unless_bona_fide_faces_are(tmp_path):
    """A print in carbon ink is black to both; the lamp of the sensor is brightest in the middle."""
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    lamp = 1 - 0.2 * (x**2 + y**2)

    def spoil(images, index):
        return images if index % 2 else {**images, "ir": (luma(images["rgb"]) * lamp).astype(np.uint8)}

    def spoil_one_more(images, index):
        return {**images, "ir": luma(images["rgb"])} if index == 1 else spoil(images, index)

    assert spoilt_smooth(tmp_path / "a", spoil) == {}
    assert spoilt_smooth(tmp_path / "b", spoil_one_more)["ir-is-rgb/synth-k"].count > 20


def spoilt_smooth(root: Path, spoil: Spoil) -> dict:
    return seen(root, Faces(draw=smooth, spoil=spoil))


# --- the public loaders' mistake, in a tree as it lies on disk --------------------------------------------------------

PROTOCOL = """
id: test/cefa
version: 1
title: made-up faces
datasets:
  cefa:
    lists:
{lists}
splits:
  c-c: {{train: [cefa/train], validation: [cefa/validation], test: [cefa/test]}}
"""


def write_cefa(root: Path, quality: int, infrared: Callable[[dict], np.ndarray]) -> Path:
    """CeFA's tree `root/copy` of smooth faces on black borders, its lists, and a protocol, whose file is returned."""
    entries, rows = [], []
    (root / "lists").mkdir()
    for number, split in enumerate(SPLITS):
        videos = [
            f"CeFA/CeFA-Race/AF/AF-9{number}{person}/1_9{number}{person}_{kind}"
            for person in range(4)
            for kind in ("1_1_1", "3_1_4")
        ]
        lines = [
            " ".join(
                [*(f"{video}/{folder}/0026.jpg" for folder in ("profile", "depth", "ir")), video[-1:].replace("4", "0")]
            )
            for video in videos
        ]
        path = root / "lists" / f"{split}.txt"
        path.write_text("\r\n".join(lines))
        rows += read_list(path, "cefa", split)
        entries.append(f"      {split}: {{file: {split}.txt, sha256: {sha256_file(path)}}}")
    for seed, row in enumerate(rows):
        images = face(seed, 320, 210, 170)
        for modality, image in (("rgb", images["rgb"]), ("depth", images["depth"]), ("ir", infrared(images))):
            path = root / "copy" / profile_path(row, modality)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path, quality=quality)
    protocol = root / "mine.yaml"
    protocol.write_text(PROTOCOL.format(lists="\n".join(entries)))
    return protocol


@pytest.mark.parametrize("quality", [75, 90])
def test_colour_written_into_cefas_infrared_is_found_though_each_image_is_cut_to_its_own_box(
    tmp_path, monkeypatch, quality
):
    monkeypatch.setenv("FASBENCH_LISTS", str(tmp_path / "lists"))
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path / "stores"))
    protocol = write_cefa(tmp_path, quality, lambda images: luma(images["rgb"]))
    shown = audited_by_command(tmp_path, protocol)
    assert shown.exit_code == 3
    assert re.search(r"ir-is-rgb/cefa: \d+ rows in cefa/train, cefa/validation, cefa/test \(NEW\)", shown.output)
    (report,) = json.loads(fasbench("data", "audit", str(protocol), "--json").stdout)
    (finding,) = (finding for finding in report["findings"] if finding["id"] == "ir-is-rgb/cefa")
    assert finding["count"] > 0.8 * 24 and "every pixel equal in 0" in finding["explanation"]


def test_cefas_own_infrared_is_no_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("FASBENCH_LISTS", str(tmp_path / "lists"))
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path / "stores"))
    shown = audited_by_command(tmp_path, write_cefa(tmp_path, 90, lambda images: images["ir"]))
    assert "is-rgb" not in shown.output and "is-depth" not in shown.output, shown.output


def audited_by_command(root: Path, protocol: Path):
    """What `data audit` prints of the tree once it is prepared, with the crop that is CeFA's default."""
    ran = fasbench("data", "prepare", "cefa", "--from", str(root / "copy"), "--protocol", str(protocol))
    assert ran.exit_code == 0, ran.output
    return fasbench("data", "audit", str(protocol))


def fasbench(*arguments: str):
    cli._register()
    return CliRunner().invoke(cli.app, list(arguments))
