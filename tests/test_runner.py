"""The main path on rendered faces: plan, train, score, evaluate, record; what is done is not repeated."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from quick_runs import QUICK, Log, request
from safetensors.torch import load_file

from fasbench import metrics, training
from fasbench.errors import ConfigError, DataError, FasbenchError
from fasbench.metrics import evaluate
from fasbench.plan import make_plans
from fasbench.replicates import unpack
from fasbench.resources import sha256_file
from fasbench.results import read_result
from fasbench.runner import Reporter, run
from fasbench.scorefile import read_scores


@pytest.fixture
def tiny(tiny_protocol, linear_method, tmp_path):
    return request(linear_method, tiny_protocol, tmp_path / "runs")


def test_a_run_writes_scores_results_and_a_report_for_every_split_condition_and_selection(tiny):
    log = Log()
    (outcome,) = run(tiny, log)
    assert log.trained == [("lm-k", 0), ("kl-m", 0)]
    names = [(r.name, r.evaluation.selection) for r in outcome.results]
    assert len(names) == len(set(names)) == 2 * 3 * 2
    for split in ("lm-k", "kl-m"):
        for condition in ("full", "no-depth", "depth-hidden"):
            for selection in ("source-val", "last"):
                place = Path(split) / condition / "seed-0" / selection
                assert (outcome.plan.folder / "scores" / place.with_suffix(".parquet")).is_file()
                assert read_result(outcome.plan.folder / "results" / place.with_suffix(".json"))
    report = (outcome.plan.folder / "report.md").read_text()
    assert "SYNTHETIC DATA" in report and "| mean of 2 |" in report and "oracle, never ranked" in report


def test_the_result_is_what_the_metrics_say_of_the_stored_scores(tiny):
    (outcome,) = run(replace(tiny, protocol=f"{tiny.protocol}/lm-k/full"))
    result = outcome.results[0]
    path = outcome.plan.folder / "scores/lm-k/full/seed-0/source-val.parquet"
    scores = read_scores(path)
    assert result.scores_sha256 == sha256_file(path)
    assert result.metrics == json.loads(json.dumps(evaluate(scores.validation, scores.test)))
    drawn = metrics.bootstrap(scores.validation, scores.test)
    np.testing.assert_allclose(unpack(result.replicates, "frame/auc"), drawn.arrays["frame", "auc"], atol=1e-5)
    assert "attack_fine" in scores.test.groups and "attack_fine" in result.metrics["levels"]["frame"]["slices"]
    assert result.rows_sha256 == scores.rows_sha256()
    assert scores.meta.epoch == result.evaluation.epoch
    assert set(scores.validation.domains) == {"synth-l", "synth-m"} and set(scores.test.domains) == {"synth-k"}


def test_the_headline_threshold_comes_from_validation_alone(tiny):
    (outcome,) = run(replace(tiny, protocol=f"{tiny.protocol}/lm-k/full"))
    scores = read_scores(outcome.plan.folder / "scores/lm-k/full/seed-0/source-val.parquet")
    at = metrics.eer(scores.validation.scores, scores.validation.labels).threshold
    policy = outcome.results[0].metrics["levels"]["frame"]["policies"]["source-eer"]
    accepted = scores.test.scores >= at
    apcer = accepted[scores.test.labels == 0].mean()
    bpcer = (~accepted)[scores.test.labels == 1].mean()
    assert policy["threshold"] == at
    assert policy["hter"] == pytest.approx((apcer + bpcer) / 2)


def test_validation_is_scored_under_the_condition_only_if_the_protocol_says_same(tiny):
    (outcome,) = run(replace(tiny, protocol=f"{tiny.protocol}/lm-k"))

    def scores(condition):
        return read_scores(outcome.plan.folder / f"scores/lm-k/{condition}/seed-0/last.parquet")

    full, same, hidden = scores("full"), scores("no-depth"), scores("depth-hidden")
    np.testing.assert_array_equal(hidden.validation.scores, full.validation.scores)
    assert not np.allclose(same.validation.scores, full.validation.scores)
    np.testing.assert_array_equal(hidden.test.scores, same.test.scores)
    assert not np.allclose(same.test.scores, full.test.scores)


def test_what_is_complete_is_not_repeated_and_what_is_damaged_is(tiny):
    first = run(tiny)[0]
    log = Log()
    second = run(tiny, log)[0]
    assert log.trained == [] and log.fresh == [] and len(log.kept) == 12
    assert second.results == first.results
    (first.plan.folder / "scores/lm-k/full/seed-0/last.parquet").write_bytes(b"damaged")
    shutil.rmtree(first.plan.trainings[1].folder)
    log = Log()
    third = run(tiny, log)[0]
    assert log.trained == [("kl-m", 0)] and log.fresh == ["test/tiny/lm-k/full"]
    assert [r.content_sha256 for r in third.results] == [r.content_sha256 for r in first.results]


def test_conditions_share_a_training_and_protocols_share_it_too(tiny, tiny_protocol):
    run(replace(tiny, protocol=f"{tiny.protocol}/lm-k/full"))
    other = tiny_protocol.with_name("other.yaml")
    other.write_text(tiny_protocol.read_text().replace("id: test/tiny", "id: test/other"))
    log = Log()
    run(replace(tiny, protocol=f"{other}/lm-k/no-depth"), log)
    assert log.trained == [] and log.fresh == ["test/other/lm-k/no-depth"] * 2


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": (1,)},
        {"sets": (*QUICK, "optim.lr=0.01")},
        {"sets": (*QUICK, "augment.flip=0")},
        {"limit_videos": 3},
    ],
)
def test_the_training_key_follows_what_determines_the_training(tiny, change):
    def keys(changed):
        return [planned.key for plan in make_plans(changed) for planned in plan.trainings]

    assert keys(tiny) == keys(tiny)
    assert not set(keys(tiny)) & set(keys(replace(tiny, **change)))


def test_how_scores_are_batched_is_not_part_of_the_training_key(tiny):
    def keys(changed):
        return [planned.key for plan in make_plans(changed) for planned in plan.trainings]

    assert keys(tiny) == keys(replace(tiny, sets=(*QUICK, "train.score_batch_size=7")))


def test_the_method_s_source_is_part_of_the_training_key(tiny, tmp_path):
    def key(text):
        path = tmp_path / "changing_method.py"
        path.write_text(text)
        plans = make_plans(replace(tiny, method=f"{path}:Linear", protocol=f"{tiny.protocol}/lm-k"))
        return plans[0].trainings[0].key

    source = Path(tiny.method.rpartition(":")[0]).read_text()
    assert key(source) != key(source + "\n# changed\n")


def test_two_classes_of_one_file_never_share_a_training(tiny, tmp_path):
    path = tmp_path / "two.py"
    flipped = """

class Flipped(Linear):
    def loss(self, batch):
        return {"total": F.cross_entropy(self.logits(batch.inputs), 1 - batch.label)}
"""
    path.write_text(Path(tiny.method.rpartition(":")[0]).read_text() + flipped)
    one = replace(tiny, protocol=f"{tiny.protocol}/lm-k/full")
    log = Log()
    straight, inverse = (run(replace(one, method=f"{path}:{name}"), log)[0] for name in ("Linear", "Flipped"))
    assert log.trained == [("lm-k", 0)] * 2
    assert straight.results[0].provenance.training_key != inverse.results[0].provenance.training_key


def test_layers_that_are_thawed_on_the_way_are_stored_and_restored(tiny, tmp_path):
    path = tmp_path / "staged.py"
    staged = """

class Staged(Linear):
    def __init__(self, config, sources):
        super().__init__(config, sources)
        self.scale = nn.Parameter(torch.ones(()), requires_grad=False)

    def parameter_groups(self):
        return [{"params": list(self.head.parameters())}, {"params": [self.scale], "lr_scale": 100}]

    def on_epoch_start(self, epoch, batches):
        self.scale.requires_grad_(epoch > 0)

    def logits(self, inputs):
        return super().logits(inputs) * self.scale
"""
    path.write_text(Path(tiny.method.rpartition(":")[0]).read_text() + staged)
    (outcome,) = run(replace(tiny, method=f"{path}:Staged", protocol=f"{tiny.protocol}/lm-k/full"))
    weights = load_file(outcome.plan.trainings[0].folder / "weights-3.safetensors")
    assert weights["scale"] != 1
    assert len(outcome.results) == 2


def test_the_report_leaves_out_what_may_not_share_its_table(tiny, tmp_path):
    """Results of another method source, and files that were edited, are not repeated and not shown."""
    path = tmp_path / "changing.py"
    source = Path(tiny.method.rpartition(":")[0]).read_text()
    path.write_text(source)
    own = replace(tiny, method=f"{path}:Linear")
    (before,) = run(replace(own, protocol=f"{tiny.protocol}/lm-k/full"))
    path.write_text(source + "\n# another version\n")
    (after,) = run(replace(own, protocol=f"{tiny.protocol}/kl-m/full"))
    assert after.plan.folder == before.plan.folder
    report = (after.plan.folder / "report.md").read_text()
    assert "| kl-m |" in report and "| lm-k |" not in report and "mean of" not in report
    (after.plan.folder / "results/kl-m/full/seed-0/last.json").write_text("{}")
    run(replace(own, protocol=f"{tiny.protocol}/lm-k/full"))
    report = (after.plan.folder / "report.md").read_text()
    assert "| lm-k | full | 0 | last |" in report and "| kl-m | full | 0 | last |" not in report


def test_results_on_other_data_or_by_another_version_are_left_out_and_counted(tiny, monkeypatch):
    one = replace(tiny, protocol=f"{tiny.protocol}/lm-k/full")
    run(one)
    monkeypatch.setattr("fasbench.versions.SCORING_VERSION", 99)
    (outcome,) = run(replace(one, seeds=(1,)))
    report = (outcome.plan.folder / "report.md").read_text()
    assert "2 result(s) in this folder are left out" in report
    assert "Seeds: 1." in report and "±" not in report
    log = Log()
    run(one, log)  # seed 0 is scored anew, not trained anew
    assert log.trained == [] and len(log.fresh) == 2
    (path,) = (outcome.plan.folder / "scores").rglob("seed-1/last.parquet")
    path.write_bytes(b"")
    run(one)
    assert "1 result(s) in this folder are left out" in (outcome.plan.folder / "report.md").read_text()


def test_missing_files_of_several_data_sets_are_in_one_error(linear_method, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "id: my/own\nversion: 1\ntitle: t\npreset: tiny\ndatasets: {a: {csv: a.csv}, b: {csv: b.csv}}\n"
        "splits:\n  s: {train: [a/train], validation: [a/validation], test: [b/test]}\n"
    )
    with pytest.raises(DataError, match=r"a\.csv: cannot be read(.|\n)*b\.csv: cannot be read"):
        make_plans(request(linear_method, path, tmp_path))


def test_changed_settings_are_named_in_the_report(tiny):
    (outcome,) = run(replace(tiny, protocol=f"{tiny.protocol}/lm-k/full"))
    assert "Preset tiny with train.epochs=3, " in (outcome.plan.folder / "report.md").read_text()


def test_seeds_train_separately_and_the_table_shows_their_spread(tiny):
    (outcome,) = run(replace(tiny, protocol=f"{tiny.protocol}/lm-k/full", seeds=(0, 1)))
    assert {r.evaluation.seed for r in outcome.results} == {0, 1}
    assert " ± " in (outcome.plan.folder / "report.md").read_text()


def test_a_partial_run_says_so_and_has_a_folder_of_its_own(tiny):
    whole = make_plans(tiny)[0]
    (outcome,) = run(replace(tiny, protocol=f"{tiny.protocol}/lm-k/full", limit_videos=2))
    assert all(r.evaluation.partial for r in outcome.results)
    assert outcome.plan.folder != whole.folder
    assert "PARTIAL DATA" in (outcome.plan.folder / "report.md").read_text()
    counts = outcome.results[0].metrics["levels"]["frame"]["counts"]
    assert counts["videos"] == 4  # one data set, two videos of each class


def test_source_val_selects_by_validation_eer_then_auc_cross_entropy_and_time():
    history = [
        {"eer": 0.2, "auc": 0.9, "cross_entropy": 0.5},
        {"eer": 0.1, "auc": 0.90, "cross_entropy": 0.1},
        {"eer": 0.1, "auc": 0.95, "cross_entropy": 0.4},
        {"eer": 0.1, "auc": 0.95, "cross_entropy": 0.3},
        {"eer": 0.1, "auc": 0.95, "cross_entropy": 0.3},
    ]
    state = training.State(epoch=5, history=history, weights=[], files={}, seconds=0.0)
    assert state.best == 3
    assert state.tied() == 4


def test_an_interrupted_training_ends_as_an_uninterrupted_one_bit_for_bit(tiny, tmp_path):
    (whole,) = run(tiny)

    class Stop(Reporter):
        def training_event(self, event):
            if event["event"] == "step" and event["epoch"] == 3:
                raise KeyboardInterrupt

    interrupted = replace(tiny, out=tmp_path / "again")
    with pytest.raises(KeyboardInterrupt):
        run(interrupted, Stop())
    folder = make_plans(interrupted)[0].trainings[0].folder
    assert training.read_state(folder).epoch == 2
    (resumed,) = run(interrupted)
    assert [r.content_sha256 for r in resumed.results] == [r.content_sha256 for r in whole.results]
    assert [r.scores_sha256 for r in resumed.results] == [r.scores_sha256 for r in whole.results]


def test_a_method_s_reason_to_skip_is_reported_and_nothing_is_trained(tiny, tmp_path):
    path = tmp_path / "picky.py"
    path.write_text(
        Path(tiny.method.rpartition(":")[0]).read_text()
        + "\n    @classmethod\n    def skip(cls, protocol):\n        return 'needs thermal images'\n"
    )
    log = Log()
    (outcome,) = run(replace(tiny, method=f"{path}:Linear"), log)
    assert outcome.results == [] and outcome.plan.skipped == "needs thermal images"
    assert log.trained == [] and not (tmp_path / "runs").exists()


def test_a_loss_that_is_not_finite_stops_the_training_with_its_values(tiny):
    with pytest.raises(FasbenchError, match=r"not finite: .* at epoch 1, .*optim\.lr"):
        run(replace(tiny, sets=(*QUICK, "optim.name=sgd", "optim.lr=1e38")))


def test_a_fidelity_the_method_does_not_know_is_refused(tiny):
    with pytest.raises(ConfigError, match=r"knows model\.fidelity intended, not 'released'"):
        run(replace(tiny, sets=(*QUICK, "model.fidelity=released")))


def test_counts_that_differ_from_the_protocol_are_refused(tiny, tiny_protocol):
    text = tiny_protocol.read_text().replace(
        "synth-k: {size: tiny}", "synth-k: {size: tiny, expect: {test: {rows: 4800, live: 1200, attack: 3600}}}"
    )
    tiny_protocol.write_text(text)
    with pytest.raises(FasbenchError, match=r"synth-k/test: rows expected 4800, found 30"):
        run(tiny)
