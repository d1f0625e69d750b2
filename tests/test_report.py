"""The HTML report: its numbers are those of the results, its marks are there, and nothing else of the run is."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_scores import made_scores
from typer.testing import CliRunner

import fasbench.cli as cli
from fasbench.errors import ConfigError, DataError
from fasbench.metrics import Scores, evaluate_with_replicates
from fasbench.replicates import pack
from fasbench.report import read_run, render, write_report
from fasbench.resources import sha256_file
from fasbench.results import Provenance, Result, Runtime, read_result
from fasbench.runner import run
from fasbench.scorefile import ScoreFile, ScoreMeta
from tests.support.quick_runs import request

VOID = {"meta"}


def scores(seed: int, **changes) -> Scores:
    """Scores with ids, units and videos that no page may show."""
    made = made_scores(seed, **{"units": 24, "grid": 50, "groups": True, "domains": ("wmca",), **changes})
    people = np.char.add("secret-person-", made.units)
    return replace(
        made,
        units=people,
        videos=np.char.add("secret-video-", made.videos),
        ids=np.array([f"secret-id-{n}" for n in range(len(made.labels))]),
    )


def evaluation(
    folder: Path,
    split: str = "a",
    condition: str = "full",
    selection: str = "source-val",
    validation: Scores | None = None,
    test: Scores | None = None,
    **fields,
) -> Result:
    """Write one evaluation into a run's folder, as the runner does."""
    validation = scores(1) if validation is None else validation
    test = scores(2) if test is None else test
    meta = {"method": "erm", "protocol": "test/made", "version": 3, "seed": 0, "epoch": 2}
    meta |= {"split": split, "condition": condition, "selection": selection}
    meta |= {name: fields.pop(name) for name in ("partial", "seed") if name in fields}
    file = ScoreFile(ScoreMeta(**meta), validation, test)
    place = Path(split) / condition / f"seed-{meta['seed']}"
    path = folder / "scores" / place / f"{selection}.parquet"
    file.write(path)
    numbers, drawn = evaluate_with_replicates(validation, test, replicates=fields.pop("replicates", 40))
    provenance = Provenance(
        fasbench="0.1.0",
        git_sha="f" * 40,
        git_dirty=True,
        method_sha256="1" * 64,
        protocol_sha256="2" * 64,
        data={"wmca": "3" * 64},
        training_key="4" * 16,
        initial_weights_sha256="5" * 64,
        weights_sha256="6" * 64,
        versions={"metrics": 2},
        config={"model": {"weights": "/home/anna/weights.pt"}},
        libraries={"torch": "2.2"},
    )
    given = {"synthetic": True, "preset": "tiny", "fidelity": "intended", "tied_epochs": 1, "provenance": provenance}
    result = Result(
        evaluation=file.meta,
        metrics=numbers,
        replicates=pack(drawn, "source-eer") if drawn else {},
        rows_sha256=file.rows_sha256(),
        scores_sha256=sha256_file(path),
        runtime=Runtime(device="host-of-anna", training_seconds=1, scoring_seconds=1),
        **(given | fields),
    )
    return result.write(folder / "results" / place / f"{selection}.json")


def page(folder: Path, **choice) -> str:
    return render(*read_run(folder), **choice)


def words(html: str) -> str:
    """The text of a page, one blank between any two pieces."""
    html = re.sub(r"<style>.*?</style>", "", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


class Outline(HTMLParser):
    """Checks that tags are closed in order; notes tags with their attributes."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of two splits and two conditions, with a second selection."""
    root = tmp_path_factory.mktemp("runs") / "made"
    for split, seed in (("a", 2), ("b", 3)):
        evaluation(root, split, test=scores(seed))
        evaluation(root, split, "no-ir", test=scores(seed + 10))
    evaluation(root, "a", selection="last", validation=scores(7), test=scores(8))
    return root


def test_every_policy_stands_with_its_numbers(folder):
    text = words(page(folder))
    result = read_result(folder / "results/a/full/seed-0/source-val.json")
    for name, its in result.metrics["levels"]["frame"]["policies"].items():
        row = text[text.index("Threshold policies side by side") :]
        row = row[row.index(f" {name} ") :]
        assert re.match(rf" {re.escape(name)}( headline| oracle, never ranked)? {its['threshold']:.4g} ", row)
        for metric in ("hter", "apcer", "bpcer"):
            low, high = (100 * end for end in _ends(its["intervals"][metric]))
            assert f"{100 * its[metric]:.2f} [{low:.2f}, {high:.2f}]" in row[:250]


def _ends(interval: dict) -> tuple[float, float]:
    return interval["low"], interval["high"]


def test_the_table_and_the_ranking_numbers_are_those_of_the_result(folder):
    text = words(page(folder))
    for split in "ab":
        frame = read_result(folder / f"results/{split}/full/seed-0/source-val.json").metrics["levels"]["frame"]
        hter = frame["policies"]["source-eer"]["hter"], *_ends(frame["policies"]["source-eer"]["intervals"]["hter"])
        assert " {} full {:.2f} [{:.2f}, {:.2f}]".format(split, *(100 * value for value in hter)) in text
        assert f"AUC {100 * frame['auc']:.2f} [" in text
        assert re.search(
            rf"TPR at FPR ≤ 10 %( coarse: [a-z0-9 ]*)? {100 * frame['tpr_at_fpr']['10%']['value']:.2f} \[", text
        )
        for attack, rate in frame["policies"]["source-eer"]["apcer_per_attack"].items():
            assert f"{attack} n = {rate['n']}, {rate['units']} units {100 * rate['value']:.2f} [" in text
    assert "mean of 2 full" in text and "mean of 2 no-ir" in text


def test_the_confusion_matrix_counts_the_decisions(folder):
    made, result = scores(2), read_result(folder / "results/a/full/seed-0/source-val.json")
    accepted = made.scores >= result.metrics["levels"]["frame"]["policies"]["source-eer"]["threshold"]
    live = made.labels == 1
    expected = [int((rows & kind).sum()) for kind in (live, ~live) for rows in (accepted, ~accepted)]
    text = words(page(folder))
    found = text[text.index("truth accepted as live rejected all") :]
    numbers = re.match(r".*? bona fide (\d+) \S+ % (\d+) \S+ % \d+ attack (\d+) \S+ % (\d+) \S+ %", found)
    assert list(map(int, numbers.groups())) == expected


def test_thresholds_are_drawn_where_they_fall(folder):
    html = page(folder)
    at = read_result(folder / "results/a/full/seed-0/source-val.json").metrics["levels"]["frame"]["policies"]
    for name, css in (("source-eer", "headline"), ("source-bpcer@1%", "other"), ("test-eer", "oracle")):
        place = 82 + 268 * at[name]["threshold"]  # the axis reaches from 82 to 350
        assert f'class="threshold {css}" d="M{place:.1f} ' in html
    assert f">test-eer (oracle): {at['test-eer']['threshold']:.3g}<" in html
    assert (
        'class="threshold oracle"' in html
        and ".threshold.oracle { stroke: var(--oracle); stroke-width: 1.5; stroke-dasharray" in html
    )


def test_the_video_level_shows_videos(folder):
    text = words(page(folder, level="video"))
    made = scores(2).by_video()
    assert "video (mean score of its frames)" in text
    assert f"{(made.labels == 1).sum()} / {(made.labels == 0).sum()}" in text
    frame = read_result(folder / "results/a/full/seed-0/source-val.json").metrics["levels"]["video"]
    assert f"HTER {100 * frame['policies']['source-eer']['hter']:.2f} APCER" in text


def test_another_selection_is_another_page(folder):
    text = words(page(folder, selection="last"))
    frame = read_result(folder / "results/a/full/seed-0/last.json").metrics["levels"]["frame"]
    assert "selection last" in text and f"HTER {100 * frame['policies']['source-eer']['hter']:.2f} APCER" in text


@pytest.mark.parametrize(
    ("fields", "mark"),
    [
        ({}, "SYNTHETIC DATA"),
        ({"partial": True}, "PARTIAL DATA, never ranked"),
        ({"selection": "oracle"}, "ORACLE: epoch chosen on the test set"),
        ({"fidelity": "reconstruction"}, "RECONSTRUCTION"),
        ({"fidelity": "released"}, "RELEASED"),
    ],
)
def test_marks(tmp_path, fields, mark):
    evaluation(tmp_path, replicates=0, **fields)
    if "selection" in fields:
        evaluation(tmp_path, replicates=0)
    html = page(tmp_path, selection=fields.get("selection"))
    assert re.search(rf'<strong class="mark">{mark}', html)


def test_real_data_are_not_called_synthetic(tmp_path):
    evaluation(tmp_path, synthetic=False, replicates=0)
    assert "SYNTHETIC" not in page(tmp_path)


def test_the_page_holds_no_names_paths_or_hosts(tmp_path):
    evaluation(tmp_path, synthetic=False, sets=("model.weights=/home/anna/clip.pt",))
    html = page(tmp_path)
    for secret in ("secret", "anna", "home", str(tmp_path), tmp_path.name, "host-of"):
        assert secret not in html
    assert "model.weights=…/clip.pt" in html


def test_the_page_needs_nothing_from_elsewhere(folder):
    html = page(folder)
    for outside in ("http:", "https:", "//", "<script", "<link", "@import", "url(", "<img", "src="):
        assert outside not in html


def test_the_bytes_are_the_same_wherever_the_run_lies(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere")
    first = write_report(folder, tmp_path / "one.html")
    second = write_report(tmp_path / "elsewhere")
    assert second == tmp_path / "elsewhere/report.html"
    assert first.read_bytes() == second.read_bytes()


def test_the_page_is_sound_and_accessible(folder):
    outline = Outline(page(folder))
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in outline.tags:
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
        if tag == "a":
            assert attributes["href"].removeprefix("#") in ids
        if tag == "svg" and attributes.get("role") == "img":
            assert all(name in ids for name in attributes["aria-labelledby"].split())
    assert sum(tag == "details" and "open" in attributes for tag, attributes in outline.tags) == 1


def test_attack_names_are_text_and_not_markup(tmp_path):
    evaluation(tmp_path, test=scores(2, kinds=("<b>x</b>", "a & b")), validation=scores(1, kinds=("<b>x</b>",)))
    html = page(tmp_path)
    assert "<b>x" not in html and "&lt;b&gt;x&lt;/b&gt;" in html and "a &amp; b" in html
    Outline(html)


def only(made: Scores, label: int) -> Scores:
    rows = made.labels == label
    names = ("scores", "labels", "units", "videos", "domains", "attacks", "ids")
    columns = {name: getattr(made, name)[rows] for name in names}
    return Scores(**columns, groups={name: column[rows] for name, column in made.groups.items()})


@pytest.mark.parametrize("level", ["frame", "video"])
def test_a_missing_class_is_said_and_nothing_fails(tmp_path, level):
    evaluation(tmp_path, "no-attacks", test=only(scores(2), 0), replicates=10)
    evaluation(tmp_path, "no-live", test=only(scores(2), 1), replicates=10)
    evaluation(tmp_path, "no-threshold", validation=only(scores(1), 1), replicates=10)
    html = page(tmp_path, level=level)
    text = words(html)
    Outline(html)
    assert "Not drawn: there are no bona fide samples" in text
    assert "Not drawn: there are no attacks" in text
    assert "There is no threshold." in text
    assert "validation: undefined: both classes are needed, there are no attacks" in text


@pytest.mark.parametrize(
    "change",
    [
        lambda made: np.full(len(made), 0.5),
        lambda made: 20 * made - 10,
        lambda made: np.where(made > 0.5, 1.0, 0.0),
        lambda made: 1 / (1 + np.exp(-30 * (made - 0.5))),
    ],
    ids=["constant", "logits", "binary", "saturated"],
)
def test_odd_scores_are_drawn(tmp_path, change):
    parts = [replace(made, scores=change(made.scores)) for made in (scores(1), scores(2))]
    evaluation(tmp_path, validation=parts[0], test=parts[1], replicates=10)
    html = page(tmp_path)
    Outline(html)
    assert not re.search(r' (d|x|y|width|height)="[^"]*(nan|inf)', html)


def test_inverted_scores_are_warned_of(tmp_path):
    made = scores(1)
    evaluation(tmp_path, validation=replace(made, scores=1 - made.scores), replicates=0)
    assert "Warning: validation AUC is" in (text := words(page(tmp_path))) and "scores look inverted" in text


def test_unreliable_intervals_are_marked_and_explained(folder):
    html = page(folder)
    assert "]†" in html and '<tr class="unreliable">' in html
    assert "† unreliable intervals , likely too narrow: fewer than 20 effective units: test live" in words(html)


def test_small_groups_of_people_are_named_but_have_no_numbers(folder):
    text = words(page(folder))
    assert re.search(r"race [AB]: not shown: fewer than 20 people", text)


def test_what_may_not_stand_in_the_table_is_left_out(tmp_path):
    evaluation(tmp_path, "a", replicates=0)
    evaluation(tmp_path, "b", replicates=0)
    evaluation(tmp_path, "c", replicates=0, fidelity="released")
    evaluation(tmp_path, "d", replicates=0)
    other = tmp_path / "other"
    evaluation(other, "d", test=scores(9), replicates=0)  # sound, but not what the result was computed from
    file = "scores/d/full/seed-0/source-val.parquet"
    shutil.copy(other / file, tmp_path / file)
    kept, left_out = read_run(tmp_path)
    assert [one.result.evaluation.split for one in kept] == ["a", "b"]
    assert left_out == [
        "d/full/seed-0/source-val: no sound result with the score file it was computed from",
        "c/full/seed-0/source-val: of another method source, protocol, configuration or version of fasbench",
    ]
    assert "2 result(s) in the run's folder are left out" in words(page(tmp_path))


def test_errors_name_the_value_and_what_there_is(folder, tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="It holds these runs"):
        read_run(folder.parent)
    with pytest.raises(ConfigError, match="--level clip: expected frame or video"):
        page(folder, level="clip")
    with pytest.raises(ConfigError, match="Did you mean 'last'\\? Known: last, source-val"):
        page(folder, selection="lst")
    with pytest.raises(ConfigError, match="is a folder"):
        write_report(folder, tmp_path)
    broken = tmp_path / "broken"
    evaluation(broken, replicates=0)
    shutil.rmtree(broken / "scores")
    with pytest.raises(DataError, match="no evaluation can be shown"):
        read_run(broken)


def test_a_run_of_the_runner(tiny_protocol, linear_method, tmp_path):
    (outcome,) = run(request(linear_method, f"{tiny_protocol}/lm-k", tmp_path / "runs"))
    cli._register()
    done = CliRunner().invoke(cli.app, ["report", str(outcome.plan.folder)])
    assert done.exit_code == 0, done.output
    html = (outcome.plan.folder / "report.html").read_text(encoding="utf-8")
    Outline(html)
    assert str(tmp_path) not in html and "SYNTHETIC DATA" in html
    assert len(html) < 2_000_000 / 4 * 3  # three conditions of one split
