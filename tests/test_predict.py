"""Predictions for loose images: the run's very scores at the run's very thresholds, or a refusal that helps."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import fasbench.cli as cli
from fasbench.data.loose import sample_of_files, samples_of_csv, samples_of_folder
from fasbench.errors import ConfigError, DataError, FasbenchError
from fasbench.plan import Request
from fasbench.predict import find_result, never_delivered, predict
from fasbench.results import Result, read_result
from fasbench.runner import run
from fasbench.scorefile import read_scores
from fasbench.trained import TrainedRun, open_run
from tests.conftest import LINEAR, TINY_PROTOCOL
from tests.test_folder_run import write_lab

QUICK = ("train.epochs=3", "train.steps_per_epoch=4", "train.batch_size=8", "model.image_size=32")
MODALITIES = ("rgb", "depth", "ir")
RGB_ONLY = "  rgb-only: {absent: [depth, ir]}\n  dazzled: {absent: [ir], degrade: {depth-noise: 3}}\n"


class Made:
    """A run of the tiny protocol: split lm-k with seeds 0 and 1, split kl-m with seed 0, and its test images."""

    def __init__(self, root: Path) -> None:
        self.protocol = root / "tiny.yaml"
        self.protocol.write_text(TINY_PROTOCOL + RGB_ONLY)
        self.method = root / "linear_method.py"
        shutil.copy(LINEAR.rpartition(":")[0], self.method)
        self.request = Request(
            method=f"{self.method}:Linear", protocol=str(self.protocol), sets=QUICK, out=root / "runs", device="cpu"
        )
        for protocol, seeds in (("lm-k/full", (0, 1)), ("lm-k/no-depth", (0,)), ("lm-k/depth-hidden", (0,))):
            (outcome,) = run(replace(self.request, protocol=f"{self.protocol}/{protocol}", seeds=seeds))
        run(replace(self.request, protocol=f"{self.protocol}/lm-k/dazzled"))
        run(replace(self.request, protocol=f"{self.protocol}/kl-m/full"))
        self.folder = outcome.plan.folder
        self.rows = outcome.plan.trainings[0].rows.test
        self.images = root / "images"
        self.ids = dump(self.images, self.rows, np.arange(len(self.rows)))

    def options(self) -> dict[str, str]:
        return {"method": self.request.method, "protocol": str(self.protocol)}

    def open(self, **choice) -> TrainedRun:
        return open_run(self.folder, **{"split": "lm-k", "seed": 0, **self.options(), **choice})

    def scores(self, condition: str, selection: str = "source-val") -> dict[str, float]:
        test = read_scores(self.folder / f"scores/lm-k/{condition}/seed-0/{selection}.parquet").test
        return dict(zip(test.ids, test.scores, strict=True))

    def result(self, condition: str) -> Result:
        return read_result(self.folder / f"results/lm-k/{condition}/seed-0/source-val.json")


def dump(folder: Path, rows, positions: np.ndarray) -> dict[str, str]:
    """Write the images at `positions` as rgb/, depth/, ir/ of PNG files; returns the record's id of every stem."""
    (group,) = rows.read(positions)
    for modality, images in zip(MODALITIES, (group.rgb, group.depth, group.ir), strict=True):
        (folder / modality).mkdir(parents=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / modality / f"{number:03}.png")
    return {f"{number:03}": text for number, text in enumerate(rows["id"][positions])}


@pytest.fixture(scope="module")
def made(tmp_path_factory, data_root):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASBENCH_DATA", str(data_root))
        return Made(tmp_path_factory.mktemp("made"))


@pytest.fixture
def sample(made, tmp_path):
    """Copies of the first sample's files, by modality."""
    return {name: Path(shutil.copy(made.images / name / "000.png", tmp_path / f"{name}.png")) for name in MODALITIES}


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the runs that may be damaged; returns the run's folder in it."""
    shutil.copytree(made.request.out, tmp_path / "runs")
    return tmp_path / "runs" / made.folder.relative_to(made.request.out)


# --- what is predicted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("selection", ["source-val", "last"])
@pytest.mark.parametrize(("condition", "left"), [("full", MODALITIES), ("no-depth", ("rgb", "ir"))])
def test_images_of_the_test_set_get_the_scores_of_the_score_file(made, tmp_path, condition, left, selection):
    for name in left:
        shutil.copytree(made.images / name, tmp_path / name)
    found = predict(made.open(selection=selection), samples_of_folder(tmp_path))
    expected = made.scores(condition, selection)
    assert len(found.predictions) == len(made.ids) > 20
    for prediction in found.predictions:
        assert prediction.score == pytest.approx(expected[made.ids[prediction.id]], abs=1e-6)
        assert prediction.condition == condition


def test_the_decision_is_the_score_at_the_headline_threshold_of_the_sample_s_own_condition(made, tmp_path):
    images = shutil.copytree(made.images, tmp_path / "images")
    for stem in ("001", "002"):
        (images / "depth" / f"{stem}.png").unlink()
    found = predict(made.open(), samples_of_folder(images))
    assert [p.id for p in found.predictions] == sorted(made.ids)
    assert [p.condition for p in found.predictions[:4]] == ["full", "no-depth", "no-depth", "full"]
    for p in found.predictions:
        stored = made.result(p.condition).metrics["levels"]["frame"]["policies"]["source-eer"]
        assert (p.policy, p.threshold) == ("source-eer", stored["threshold"])
        assert p.decision == ("live" if p.score >= p.threshold else "attack")
    assert {p.decision for p in found.predictions} == {"live", "attack"}
    assert "trained on rendered faces: says nothing about real ones" in found.notes


@pytest.mark.parametrize("policy", ["source-eer-balanced", "source-bpcer@1%", "fixed@0.5"])
def test_another_policy_brings_its_own_threshold(made, sample, policy):
    (prediction,) = predict(made.open(), sample_of_files(sample), policy=policy).predictions
    stored = made.result("full").metrics["levels"]["frame"]["policies"][policy]
    assert (prediction.policy, prediction.threshold) == (policy, stored["threshold"])


def test_what_is_missing_is_known_so_the_threshold_set_knowing_it_is_taken(made):
    opened = made.open()
    assert {r.evaluation.condition for r in opened.results} == {"full", "no-depth", "depth-hidden", "dazzled"}
    for results in (opened.results, opened.results[::-1]):
        chosen = find_result(replace(opened, results=results), frozenset({"depth"}))
        assert chosen is not None and chosen.evaluation.condition == "no-depth"
    hidden = tuple(r for r in opened.results if r.evaluation.condition != "no-depth")
    chosen = find_result(replace(opened, results=hidden), frozenset({"depth"}))
    assert chosen is not None and chosen.evaluation.condition == "depth-hidden"


def test_one_result_is_a_run_of_one_condition(made, sample):
    path = made.folder / "results/lm-k/depth-hidden/seed-0/last.json"
    del sample["depth"]
    found = predict(open_run(path, **made.options()), sample_of_files(sample))
    assert [p.condition for p in found.predictions] == ["depth-hidden"]
    assert "selection last (epoch 3)" in found.title


def test_a_run_with_one_split_and_seed_needs_no_choice(made, copy):
    shutil.rmtree(copy / "results/lm-k")
    (result, *_) = open_run(copy, **made.options()).results
    assert (result.evaluation.split, result.evaluation.seed, result.evaluation.selection) == ("kl-m", 0, "source-val")


def test_a_csv_has_paths_beside_it_and_other_columns(made, sample, tmp_path):
    lines = ["id,label,rgb,depth,ir", "a#1,1,rgb.png,depth.png,ir.png", "a#2,,rgb.png,,ir.png", "", "b,0,rgb.png,,"]
    (tmp_path / "faces.csv").write_text("\n".join(lines[:3]) + "\n")
    found = predict(made.open(), samples_of_csv(tmp_path / "faces.csv"))
    scores = [made.scores(condition)[made.ids["000"]] for condition in ("full", "no-depth")]
    assert [p.id for p in found.predictions] == ["a#1", "a#2"]  # not a repeated row, as it would be in a list
    assert [p.score for p in found.predictions] == pytest.approx(scores, abs=1e-6)
    (tmp_path / "faces.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"1 sample\(s\) with rgb, e.g. row 5 \('b'\): the run was evaluated for"):
        predict(made.open(), samples_of_csv(tmp_path / "faces.csv"))


def test_sixteen_bits_and_other_sizes_are_read_as_the_store_reads_them(made, sample):
    depth = np.asarray(Image.open(sample["depth"])).astype(np.uint16)
    Image.fromarray(300 + 4 * depth).save(sample["depth"])  # 0 .. 255 become 300 .. 1320
    ranges = {"depth": (300.0, 1320.0)}
    expected = made.scores("full")[made.ids["000"]]
    (prediction,) = predict(made.open(), sample_of_files(sample), ranges=ranges).predictions
    assert prediction.score == pytest.approx(expected, abs=1e-6)
    for path in sample.values():
        with Image.open(path) as image:
            width, height = image.size
            image.resize((2 * width, 2 * height), Image.Resampling.NEAREST).save(path)
    (prediction,) = predict(made.open(), sample_of_files(sample), ranges=ranges, resize=True).predictions
    assert prediction.score == pytest.approx(expected, abs=0.02)


def test_files_that_the_store_resized_get_the_same_scores_when_they_are_resized_here(tmp_path, linear_method):
    write_lab(tmp_path, videos=2, frames=1)  # 60 px, 16-bit depth; the protocol says 48 px and the range
    protocol = str(tmp_path / "mine.yaml")
    (outcome,) = run(Request(linear_method, f"{protocol}/own/full", sets=QUICK, out=tmp_path / "runs", device="cpu"))
    opened, faces = open_run(outcome.plan.folder, method=linear_method, protocol=protocol), tmp_path / "lab.csv"
    found = predict(opened, samples_of_csv(faces), ranges={"depth": (300, 1500)}, resize=True)
    scores = {f"lab/{prediction.id}": prediction.score for prediction in found.predictions}
    test = read_scores(outcome.plan.folder / "scores/own/full/seed-0/source-val.parquet").test
    assert len(scores) == 20 and len(test.ids) == 4
    assert [scores[identity] for identity in test.ids] == pytest.approx(test.scores, abs=1e-6)
    assert not any("rendered" in note or "range" in note for note in found.notes)

    other = predict(opened, samples_of_csv(faces), ranges={"depth": (0, 1500)}, resize=True)
    assert "lab was prepared with depth=300:1500, not with depth=0:1500" in other.notes
    with pytest.raises(DataError) as refusal:
        predict(opened, samples_of_csv(faces))
    assert "40 problem(s)" in str(refusal.value)
    assert "row 21 ('s9-v1-0'): rgb 60 x 60 px, depth 60 x 60 px, ir 60 x 60 px: the run expects 48 x 48 px" in str(
        refusal.value
    )
    assert "e.g. --range depth=300:1500. The run's data: lab depth=300:1500" in str(refusal.value)


def test_without_the_prepared_data_the_model_s_own_size_is_expected(made, sample, tmp_path, monkeypatch):
    monkeypatch.setenv("FASBENCH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="the run expects 32 x 32 px"):
        predict(made.open(), sample_of_files(sample))
    found = predict(made.open(), sample_of_files(sample), resize=True)
    (note,) = [note for note in found.notes if "are gone" in note]
    assert "(synth-k, synth-l, synth-m): the model's own input size, 32 x 32 px" in note


def test_a_modality_the_data_never_held_is_not_missed(made, sample):
    opened = made.open()
    manifests = opened.manifests()
    assert never_delivered(opened, manifests) == frozenset()
    for manifest in manifests.values():
        for part in manifest["splits"].values():
            part["present"]["ir"] = 0
    assert never_delivered(opened, manifests) == frozenset({"ir"})
    chosen = find_result(opened, frozenset({"ir"}), missing=frozenset({"ir"}))
    assert chosen is not None and chosen.evaluation.condition == "full"
    assert find_result(opened, frozenset(), missing=frozenset({"ir"})) is None
    del manifests["synth-k"]
    assert never_delivered(opened, manifests) == frozenset()  # nobody can tell


# --- refusals: the samples --------------------------------------------------------------------------------------------


def test_every_problem_of_the_input_stands_in_one_message(made, tmp_path):
    images = shutil.copytree(made.images, tmp_path / "images")
    (images / "rgb/000.png").write_bytes(b"not an image")
    Image.new("L", (20, 20)).save(images / "ir/001.png")
    (images / "ir/002.png").unlink()
    for name in MODALITIES:
        Image.new("RGB" if name == "rgb" else "L", (20, 24)).save(images / name / "003.png")
    Image.fromarray(np.full((24, 20), 700, np.uint16)).save(images / "depth/003.png")
    shutil.copy(images / "rgb/004.png", images / "depth/004.png")
    shutil.copy(images / "rgb/005.png", images / "rgb/005.jpg")
    (images / "ir/006.webp").write_bytes(b"")
    (images / "depth/more").mkdir()
    (images / "nir").mkdir()
    with pytest.raises(DataError) as refusal:
        predict(made.open(), samples_of_folder(images))
    side = made.rows.stores[0].shape[0]
    for text in (
        "nothing was scored: 9 problem(s)",
        f"'000': rgb {images}/rgb/000.png: is not an image that can be read",
        f"'001': the modalities differ in size: rgb {side} x {side} px, depth {side} x {side} px, ir 20 x 20 px",
        "1 sample(s) with rgb + depth, e.g. '002': the run was evaluated for rgb + depth + ir (full), rgb + ir "
        "(no-depth, depth-hidden). Its protocol has no such condition: give a copy",
        "'003': rgb 24 x 20 px, depth 24 x 20 px, ir 24 x 20 px: the run expects",
        f"'003': depth {images}/depth/003.png: has 16 bits",
        "e.g. --range depth=300:1500. Use the one the run's data were prepared with",
        f"'004': depth {images}/depth/004.png: looks like a colour image in the depth column",
        "'005' has two rgb files: 005.jpg and 005.png",
        "ir/006.webp is not PNG, JPEG, BMP, TIFF by its name",
        "depth/more is a folder: expected image files",
    ):
        assert text in str(refusal.value)
    assert "dazzled" not in str(refusal.value)  # takes infrared away too, but depth is degraded


def test_a_condition_that_was_not_evaluated_is_refused_with_the_command_that_adds_it(made, copy, sample):
    def refusal(opened, **files) -> str:
        with pytest.raises(DataError) as raised:
            predict(opened, sample_of_files(files))
        return str(raised.value)

    options = {**made.options(), "split": "lm-k", "seed": 1}
    text = refusal(open_run(copy, **options), rgb=sample["rgb"], ir=sample["ir"])
    assert "with rgb + ir, e.g. 'rgb': the run was evaluated for rgb + depth + ir (full)." in text
    command = "fasbench run " + text.partition("fasbench run ")[2].splitlines()[0]
    assert f"{made.protocol}/lm-k/no-depth --preset tiny --set train.epochs=3" in command
    assert command.endswith(f"--precision fp32 --seeds 1 --out {copy.parents[2]}")
    cli._register()
    assert CliRunner().invoke(cli.app, [*command.split()[1:], "--device", "cpu"]).exit_code == 0
    files = {"rgb": sample["rgb"], "ir": sample["ir"]}
    (prediction,) = predict(open_run(copy, **options), sample_of_files(files)).predictions
    assert prediction.condition == "no-depth"

    text = refusal(made.open(), depth=sample["depth"], ir=sample["ir"])
    assert "give a copy of tiny.yaml an id of its own and, under conditions, 'no-rgb: {absent: [rgb]}'" in text
    text = refusal(made.open(), rgb=sample["rgb"])
    assert f"{made.protocol}/lm-k/rgb-only" in text
    single = open_run(made.folder / "results/lm-k/full/seed-0/last.json", **made.options())
    assert "Name the run's folder, not one result" in refusal(single, rgb=sample["rgb"])


def test_a_modality_the_data_never_held_is_refused(made, sample, monkeypatch):
    monkeypatch.setattr("fasbench.predict.never_delivered", lambda run, manifests: frozenset({"ir"}))
    with pytest.raises(DataError, match=r"for rgb \+ depth \(full\), rgb \(.*Its data hold no ir: leave it out"):
        predict(made.open(), sample_of_files(sample))


def test_resizing_does_not_make_two_pictures_one(made, sample):
    Image.new("L", (80, 40)).save(sample["ir"])
    with pytest.raises(DataError, match=r"the modalities differ in shape .* they do not show the same picture"):
        predict(made.open(), sample_of_files(sample), resize=True)


def test_one_file_for_two_modalities_is_refused(made, sample):
    files = {"rgb": sample["rgb"], "depth": sample["depth"], "ir": sample["depth"]}
    with pytest.raises(DataError, match=r"depth\.png is given for two modalities"):
        predict(made.open(), sample_of_files(files))


def test_a_range_is_for_sixteen_bits_and_rises(made, sample):
    with pytest.raises(DataError, match="has 8 bits, but a range is given for depth"):
        predict(made.open(), sample_of_files(sample), ranges={"depth": (300, 1500)})
    with pytest.raises(ConfigError) as refusal:
        predict(made.open(), sample_of_files(sample), ranges={"dept": (0, 1), "ir": (5, 5)})
    assert "'dept': only depth and ir files have 16 bits. Did you mean 'depth'?" in str(refusal.value)
    assert "ir=5:5 does not rise" in str(refusal.value)


def test_no_modality_given():
    with pytest.raises(ConfigError, match=r"no modality is given: at least one of --rgb, --depth and --ir"):
        sample_of_files({"rgb": None})


def test_a_folder_without_the_three_folders_or_without_images(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        samples_of_folder(tmp_path / "nowhere")
    (tmp_path / "IR_images").mkdir()
    with pytest.raises(DataError, match=r"expected the folders rgb, depth, ir in it.* It has: IR_images"):
        samples_of_folder(tmp_path)
    (tmp_path / "rgb").mkdir()
    (tmp_path / "rgb/.hidden").write_text("")
    with pytest.raises(DataError, match="no image file in rgb"):
        samples_of_folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "column 'id' is missing"),
        ("id;rgb;depth\n", "not separated by commas"),
        ("ID,colour\n1,a.png\n", "no modality is given: none of the columns rgb, depth, ir is there"),
        ("id,rgb,rgb\n", "column 'rgb' occurs twice"),
        ("id,rgb\n", "there are no rows below the header"),
        ("id,rgb\n\xe9", "cannot be read as a UTF-8 CSV file"),
    ],
)
def test_a_csv_that_is_none_is_refused(tmp_path, text, problem):
    path = tmp_path / "faces.csv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=problem):
        samples_of_csv(path)


def test_all_bad_rows_of_a_csv_are_told(tmp_path):
    path = tmp_path / "faces.csv"
    path.write_text("id,rgb,depth\na,a.png,\na,b.png,\n,c.png,\nb,,\nc,c.png\n")
    assert samples_of_csv(path).problems == [
        "row 3: id 'a' was already given in row 2",
        "row 4: id is empty",
        "row 5: no modality is given: rgb, depth, ir are all empty",
        "row 6: 2 cells, but the header has 3",
    ]
    with pytest.raises(DataError, match=r"nowhere\.csv: cannot be read .*No such file"):
        samples_of_csv(tmp_path / "nowhere.csv")


# --- refusals: the run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        (
            {"split": None, "seed": None},
            r"the run has 2 splits: choose one with --split.*split: kl-m, lm-k\n  seed: 0,",
        ),
        ({"seed": None}, "the run has 2 seeds: choose one with --seed"),
        ({"split": "ml-k"}, "the run has no split 'ml-k'. Did you mean 'lm-k'?"),
        ({"split": "kl-m", "seed": 1}, "the run has no seed '1' for split kl-m"),
        ({"selection": "best"}, "the run has no selection 'best' for split lm-k.*selection: last, source-val"),
        ({"selection": "oracle"}, "a device has no labels to choose it by"),
        ({"protocol": None}, "protocol test/tiny, which is not bundled: name its file, --protocol FILE"),
        ({"protocol": "synth/fixed"}, "the run is of protocol test/tiny@1, but 'synth/fixed' is synth/fixed@"),
        ({"method": None}, r"method 'linear', which is not registered: --method path/to/file.py:Class"),
        ({"method": "erm"}, "--method erm is method 'erm', but the run is of 'linear'"),
    ],
)
def test_a_choice_the_run_does_not_have_is_answered_with_what_it_has(made, choice, problem):
    with pytest.raises(ConfigError, match=f"(?s){problem}"):
        made.open(**choice)


def test_what_is_not_a_run_is_refused(made, tmp_path):
    with pytest.raises(ConfigError, match="no such file or folder"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=f"(?s)not a run's folder.*It holds these runs:.*{made.folder.name}"):
        open_run(made.request.out)
    moved = tmp_path / "last.json"
    shutil.copy(made.folder / "results/lm-k/full/seed-0/last.json", moved)
    with pytest.raises(ConfigError, match=r"expected <run's folder>/results/lm-k/full/seed-0/last\.json"):
        open_run(moved)
    shutil.copytree(made.folder, tmp_path / "alone")
    with pytest.raises(ConfigError, match="expected <out>/test/tiny@1/<run>"):
        open_run(tmp_path / "alone")
    moved.write_text("{}")
    with pytest.raises(DataError, match=r"(?s)no result can be read.*not a result record"):
        open_run(moved)


def test_the_oracle_policy_and_unknown_ones_are_refused(made, sample):
    with pytest.raises(ConfigError, match=r"labels of the test set, which no device has .* Choose one of: source-eer,"):
        predict(made.open(), sample_of_files(sample), policy="test-eer")
    with pytest.raises(ConfigError, match=r"no threshold policy 'source-err'. Did you mean 'source-eer'\?"):
        predict(made.open(), sample_of_files(sample), policy="source-err")


def test_a_result_of_oracle_selection_is_refused(made, copy):
    result = read_result(copy / "results/lm-k/full/seed-0/last.json")
    oracle = result.model_copy(update={"evaluation": result.evaluation.model_copy(update={"selection": "oracle"})})
    path = copy / "results/lm-k/full/seed-0/oracle.json"
    oracle.write(path)
    with pytest.raises(ConfigError, match="best on the test set"):
        open_run(path, **made.options())


def test_a_policy_without_a_threshold_is_refused_with_the_stored_reason(made, sample):
    opened = made.open()
    results = []
    for result in opened.results:
        metrics = json.loads(json.dumps(result.metrics))
        policies = metrics["levels"]["frame"]["policies"]
        policies["source-eer"] |= {"threshold": None, "undefined": {"threshold": "validation: no attack"}}
        del policies["fixed@0.5"]
        results.append(result.model_copy(update={"metrics": metrics}))
    opened = replace(opened, results=tuple(results))
    with pytest.raises(ConfigError, match=r"has no threshold by 'source-eer': validation: no attack"):
        predict(opened, sample_of_files(sample))
    with pytest.raises(ConfigError, match=r"holds no policy 'fixed@0.5', only: source-bpcer@1%, source-eer, "):
        predict(opened, sample_of_files(sample), policy="fixed@0.5")


@pytest.mark.parametrize("damage", ["gone", "edited"])
def test_weights_that_are_gone_or_edited_are_refused_with_the_command_that_trains_again(made, copy, sample, damage):
    opened = open_run(copy, split="lm-k", seed=0, **made.options())
    folder = opened.folder(opened.results[0])
    for path in folder.glob("weights-*"):
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(
        FasbenchError, match=r"holds no checkpoint of epoch \d, or (.|\n)*Train again: fasbench run --m"
    ):
        predict(opened, sample_of_files(sample))


def test_another_version_of_fasbench_is_refused(made, monkeypatch):
    monkeypatch.setattr("fasbench.versions.SCORING_VERSION", 99)
    with pytest.raises(ConfigError, match=r"fasbench \(training, scoring, metrics or layers\) changed since the run"):
        made.open()


def test_a_changed_method_or_protocol_is_refused(made, tmp_path):
    method = tmp_path / "linear_method.py"
    method.write_text(made.method.read_text().replace("import torch", "import torch  # changed", 1))
    with pytest.raises(ConfigError, match=r"(?s)the source of method 'linear' changed.*run again: fasbench run --meth"):
        made.open(method=f"{method}:Linear")
    protocol = tmp_path / "tiny.yaml"
    protocol.write_text(made.protocol.read_text().replace("validation: full", "validation: same"))
    with pytest.raises(ConfigError, match="protocol test/tiny@1 changed since the run"):
        made.open(protocol=str(protocol))


def test_a_method_whose_frozen_weights_changed_is_refused(made, tmp_path, sample):
    path = tmp_path / "frozen.py"
    source = made.method.read_text().replace("class Linear", "class Frozen")
    path.write_text(source.replace("2)\n", "2)\n        self.head.bias.requires_grad_(False)\n", 1))
    request = replace(made.request, method=f"{path}:Frozen", protocol=f"{made.protocol}/lm-k/full", out=tmp_path / "r")
    (outcome,) = run(request)
    opened = open_run(outcome.plan.folder, method=request.method, protocol=str(made.protocol))
    (prediction,) = predict(opened, sample_of_files(sample)).predictions
    place = "scores/lm-k/full/seed-0/source-val.parquet"
    test = read_scores(outcome.plan.folder / place).test
    assert prediction.score == pytest.approx(test.scores[list(test.ids).index(made.ids["000"])], abs=1e-6)
    (result,) = opened.results
    other = result.model_copy(
        update={"provenance": result.provenance.model_copy(update={"initial_weights_sha256": "0" * 64})}
    )
    with pytest.raises(FasbenchError, match=r"does not hold its frozen ones \(1 tensors, e.g. head.bias\)"):
        predict(replace(opened, results=(other,)), sample_of_files(sample))


# --- the command line -------------------------------------------------------------------------------------------------


def fasbench_predict(made: Made, *arguments: str):
    cli._register()
    options = ["--run", str(made.folder), "--split", "lm-k", "--seed", "0", "--device", "cpu"]
    named = ["--method", made.request.method, "--protocol", str(made.protocol)]
    return CliRunner().invoke(cli.app, ["predict", *options, *named, *arguments])


def test_the_command_prints_a_table_json_and_a_csv(made, sample, tmp_path):
    files = [text for name in MODALITIES for text in (f"--{name}", str(sample[name]))]
    table = fasbench_predict(made, *files)
    assert table.exit_code == 0, table.output
    title, header, row, *notes = table.output.splitlines()
    assert title.startswith("linear trained on test/tiny@1/lm-k, seed 0, selection source-val (epoch ")
    assert header.split() == ["id", "score", "decision", "threshold", "policy", "condition"]
    assert row.split()[0] == "rgb" and row.split()[-2:] == ["source-eer", "full"]
    assert "Note: trained on rendered faces: says nothing about real ones" in notes

    answer = json.loads(fasbench_predict(made, *files, "--json").stdout)
    (prediction,) = answer["predictions"]
    assert list(prediction) == header.split() and answer["synthetic"]
    assert answer["result_sha256"] == {"full": made.result("full").content_sha256}

    out = tmp_path / "scores.csv"
    written = fasbench_predict(made, "--folder", str(made.images), "--out", str(out))
    assert f"{len(made.ids)} sample(s): " in written.output
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == sorted(made.ids)
    assert float(rows[0]["score"]) == pytest.approx(prediction["score"], abs=1e-6)
    assert {name: rows[0][name] for name in ("decision", "policy", "condition")}.items() <= prediction.items()


def test_two_kinds_of_input_are_refused(made, sample):
    result = fasbench_predict(made, "--rgb", str(sample["rgb"]), "--folder", str(made.images))
    assert isinstance(result.exception, ConfigError)
    assert "give either the files of one sample (--rgb, --depth, --ir), or --folder, or --csv" in str(result.exception)


def test_wrong_images_end_with_the_exit_code_for_data(made, monkeypatch, capsys):
    command = ["fasbench", "predict", "--run", str(made.folder), "--split", "lm-k", "--seed", "0"]
    command += ["--method", made.request.method, "--protocol", str(made.protocol), "--rgb", "nowhere.png"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 3
    assert "'nowhere': rgb nowhere.png: no such file" in capsys.readouterr().err
