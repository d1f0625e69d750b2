"""Oracle selection, --overwrite, degraded conditions, chosen rows and modality dropout, on rendered faces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from quick_runs import Log, request
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

import fasbench.cli as cli
from fasbench import metrics, training
from fasbench.data.conditions import CONDITIONS_VERSION
from fasbench.errors import ConfigError, DataError, FasbenchError
from fasbench.plan import make_plans
from fasbench.protocol import load_protocol
from fasbench.registry import protocols
from fasbench.results import read_result
from fasbench.runner import run
from fasbench.scorefile import read_scores

ROLES = ("train", "validation", "test")


@pytest.fixture
def one_split(tiny_protocol, linear_method, tmp_path):
    return request(linear_method, f"{tiny_protocol}/lm-k", tmp_path / "runs")


def content(results):
    """Everything of the results but the runtime."""
    return [result.model_dump(exclude={"runtime", "content_sha256"}) for result in results]


# --- oracle -----------------------------------------------------------------------------------------------------------


def test_oracle_evaluates_the_epoch_that_is_best_on_test_under_each_condition(one_split, tmp_path):
    (outcome,) = run(replace(one_split, oracle=True))
    chosen = [r for r in outcome.results if r.evaluation.selection == "oracle"]
    assert [r.evaluation.condition for r in chosen] == ["full", "no-depth", "depth-hidden"]
    # The same training stopped after one and two epochs gives the scores of those epochs as `last`.
    for result in chosen:
        condition = result.evaluation.condition
        eers = []
        for epochs in (1, 2, 3):
            shorter = replace(one_split, sets=(*one_split.sets, f"train.epochs={epochs}"), out=tmp_path / f"{epochs}")
            (partial,) = run(shorter)
            path = partial.plan.folder / f"scores/lm-k/{condition}/seed-0/last.parquet"
            test = read_scores(path).test
            eers.append((metrics.eer(test.scores, test.labels).value, -roc_auc_score(test.labels, test.scores), epochs))
        assert result.evaluation.epoch == min(eers)[2]
        assert result.metrics["levels"]["frame"]["policies"]["test-eer"]["hter"] == pytest.approx(min(eers)[0])


def test_oracle_is_asked_for_marked_and_changes_nothing_else(one_split):
    (plain,) = run(one_split)
    assert {r.evaluation.selection for r in plain.results} == {"source-val", "last"}
    (with_oracle,) = run(replace(one_split, oracle=True, out=one_split.out.with_name("other")))
    assert content(with_oracle.results[:6]) == content(plain.results)
    report = (with_oracle.plan.folder / "report.md").read_text()
    assert "## Selection ORACLE (epoch chosen on the test set, never ranked), frame level" in report
    assert "Selection oracle: the epoch with the lowest EER on the test set itself" in report
    assert "ORACLE" not in (plain.plan.folder / "report.md").read_text()


def test_oracle_of_a_training_without_its_epochs_is_refused_with_the_remedy(one_split):
    run(one_split)
    with pytest.raises(FasbenchError, match=r"went without them in epoch\(s\) 1, 2, 3.*--oracle --overwrite always"):
        run(replace(one_split, oracle=True))
    (outcome,) = run(replace(one_split, oracle=True, overwrite="always"))
    assert len(outcome.results) == 9


def test_damaged_or_foreign_notes_of_an_epoch_are_noticed_and_renewed(one_split):
    (before,) = run(replace(one_split, oracle=True))
    (folder,) = (one_split.out / "trainings").iterdir()
    weights = training.read_state(folder).weights
    notes = sorted(folder.glob(f"epochs/*/{weights[1][:16]}.npz"))
    assert len(notes) == 4  # validation and test, full and without depth: two of the conditions share them
    with np.load(notes[0]) as note:
        half = {"scores": np.full_like(note["scores"], 0.5), "sha256": note["sha256"]}
    for damage in ("truncated", "other scores"):
        if damage == "truncated":
            notes[0].write_bytes(notes[0].read_bytes()[:-40])
        else:
            np.savez(notes[0], **half)
        with pytest.raises(FasbenchError, match=r"epoch\(s\) 2\. Train it again"):
            run(replace(one_split, oracle=True))
    (after,) = run(replace(one_split, oracle=True, overwrite="always"))
    assert content(after.results) == content(before.results)


def test_protocols_that_share_a_training_have_their_oracles_from_one_run(one_split, tiny_protocol):
    path = tiny_protocol.with_name("other.yaml")
    path.write_text("include: tiny.yaml\nid: test/tiny/other\nconditions:\n  no-ir: {absent: [ir]}\n")
    plans = make_plans(one_split) + make_plans(replace(one_split, protocol=f"{path}/lm-k"))
    assert len({planned.folder for plan in plans for planned in plan.trainings}) == 1
    (first,) = run(replace(one_split, oracle=True))
    second = replace(one_split, protocol=f"{path}/lm-k", oracle=True)
    with pytest.raises(FasbenchError, match="--oracle --overwrite always"):
        run(second)
    run(replace(second, overwrite="always"))
    (again,) = run(replace(one_split, oracle=True))  # the same weights came out, so the first notes still hold
    assert content(again.results) == content(first.results)


def test_scores_are_fp32_and_do_not_depend_on_oracle_whatever_the_precision(one_split, tmp_path):
    """A method whose score goes through `forward`, trained in bf16."""
    path = tmp_path / "wrapped.py"
    path.write_text(
        "import torch\n"
        "from torch import nn\n"
        "from torch.nn import functional as F\n"
        "from fasbench.method import Method, live_probability\n\n\n"
        "class Wrapped(Method):\n"
        "    def __init__(self, config, sources):\n"
        "        super().__init__(config, sources)\n"
        "        self.layer = nn.Linear(9, 2)\n\n"
        "    def forward(self, inputs):\n"
        "        return self.layer(torch.cat([image.mean((2, 3)) for image in inputs.images()], 1))\n\n"
        "    def loss(self, batch):\n"
        "        return {'total': F.cross_entropy(self(batch.inputs), batch.label)}\n\n"
        "    def score(self, inputs):\n"
        "        logits = self(inputs)\n"
        "        assert logits.dtype == torch.float32 and not torch.is_autocast_enabled('cpu')\n"
        "        return live_probability(logits)\n"
    )
    (tmp_path / "config.yaml").write_text("presets: {paper: {}, tiny: {}}\n")
    wrapped = replace(one_split, method=f"{path}:Wrapped", precision="bf16")
    (plain,) = run(wrapped)
    (oracle,) = run(replace(wrapped, oracle=True, out=tmp_path / "other"))
    assert content(plain.results) == content(oracle.results[:6])


def test_oracle_after_an_interruption_is_that_of_an_uninterrupted_run(one_split, monkeypatch):
    whole = replace(one_split, oracle=True)
    (expected,) = run(whole)
    interrupted = replace(whole, out=whole.out.with_name("interrupted"))
    saves = []

    def stop(*arguments):
        saves.append(arguments)
        if len(saves) == 2:
            raise KeyboardInterrupt
        return save(*arguments)

    save = training._save_state
    monkeypatch.setattr(training, "_save_state", stop)
    with pytest.raises(KeyboardInterrupt):
        run(interrupted)
    monkeypatch.setattr(training, "_save_state", save)
    (found,) = run(interrupted)
    assert content(found.results) == content(expected.results)


def test_the_oracle_table_stands_apart_in_what_is_printed(one_split, monkeypatch, tmp_path):
    cli._register()
    arguments = ["run", "-m", one_split.method, "-p", one_split.protocol, "--out", str(tmp_path / "o"), "--oracle"]
    for setting in one_split.sets:
        arguments += ["--set", setting]
    printed = CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "200"})
    assert printed.exit_code == 0, printed.output
    headline, oracle = printed.output.index("selection source-val"), printed.output.index("selection ORACLE")
    assert headline < oracle


# --- overwrite --------------------------------------------------------------------------------------------------------


def test_always_trains_and_scores_anew_and_comes_to_the_same(one_split):
    first, again = Log(), Log()
    (before,) = run(one_split, first)
    (after,) = run(replace(one_split, overwrite="always"), again)
    assert first.trained == again.trained == [("lm-k", 0)]
    assert len(again.fresh) == 6 and again.kept == []
    assert content(before.results) == content(after.results)


def test_always_trains_what_protocols_share_once(one_split, tiny_protocol):
    log = Log()
    run(replace(one_split, protocol=str(tiny_protocol), overwrite="always", seeds=(0,)), log)
    assert log.trained == [("lm-k", 0), ("kl-m", 0)]


def test_never_keeps_what_is_sound_and_refuses_to_replace_the_rest(one_split):
    (outcome,) = run(one_split)
    never = replace(one_split, overwrite="never")
    log = Log()
    run(never, log)
    assert log.trained == [] and len(log.kept) == 6
    edited = outcome.plan.folder / "results/lm-k/full/seed-0/last.json"
    edited.write_text(edited.read_text().replace('"seed":0', '"seed":1'))
    before = edited.read_bytes()
    with pytest.raises(FasbenchError, match=r"never: these results would be replaced(.|\n)*full/seed-0/last\.json"):
        run(never)
    assert edited.read_bytes() == before
    run(one_split)
    assert read_result(edited).evaluation.seed == 0


def test_a_dry_run_says_what_overwrite_would_do(one_split, tmp_path):
    cli._register()
    run(one_split)
    arguments = ["run", "-m", one_split.method, "-p", one_split.protocol, "--out", str(one_split.out), "--dry-run"]
    for setting in one_split.sets:
        arguments += ["--set", setting]
    shown = CliRunner().invoke(cli.app, [*arguments, "--overwrite", "always"], env={"COLUMNS": "200"}).output
    assert "3 of 3 done, would be discarded" in shown


def test_a_mistyped_overwrite_is_refused():
    from fasbench.cli.run import _parse_overwrite

    with pytest.raises(ConfigError, match="expected only-missing, never or always"):
        _parse_overwrite("sometimes")


# --- degraded conditions ----------------------------------------------------------------------------------------------

DEGRADED = """
include: tiny.yaml
id: test/degraded
conditions:
  full: {}
  blur-5: {degrade: {blur: 5}}
  blur-known: {degrade: {blur: 5}, validation: same}
"""


def test_degraded_conditions_share_the_training_and_keep_the_undisturbed_threshold(one_split, tiny_protocol):
    run(one_split)
    path = tiny_protocol.with_name("degraded.yaml")
    path.write_text(DEGRADED)
    log = Log()
    (outcome,) = run(replace(one_split, protocol=f"{path}/lm-k"), log)
    assert log.trained == []
    results = {r.evaluation.condition: r for r in outcome.results if r.evaluation.selection == "last"}
    versions = {name: result.provenance.conditions_version for name, result in results.items()}
    assert versions["full"] is None and versions["blur-5"] == CONDITIONS_VERSION

    def scores(condition):
        return read_scores(outcome.plan.folder / f"scores/lm-k/{condition}/seed-0/last.parquet")

    clean, hidden, known = scores("full"), scores("blur-5"), scores("blur-known")
    np.testing.assert_array_equal(hidden.validation.scores, clean.validation.scores)
    assert not np.array_equal(known.validation.scores, clean.validation.scores)
    np.testing.assert_array_equal(hidden.test.scores, known.test.scores)
    assert not np.array_equal(hidden.test.scores, clean.test.scores)


def test_results_of_another_degradation_version_are_not_kept(one_split, tiny_protocol, monkeypatch):
    path = tiny_protocol.with_name("degraded.yaml")
    path.write_text(DEGRADED)
    run(replace(one_split, protocol=f"{path}/lm-k"))
    for module in ("fasbench.runner", "fasbench.checkpoints"):
        monkeypatch.setattr(f"{module}.CONDITIONS_VERSION", CONDITIONS_VERSION + 1)
    log = Log()
    run(replace(one_split, protocol=f"{path}/lm-k"), log)
    assert {name.rsplit("/", 1)[1] for name in log.fresh} == {"blur-5", "blur-known"}
    assert {name.rsplit("/", 1)[1] for name in log.kept} == {"full", "no-depth", "depth-hidden"}


@pytest.mark.parametrize(
    ("degrade", "text"),
    [
        ("{blurr: 3}", "unknown 'blurr'. Did you mean 'blur'?"),
        ("{blur: 9}", "severity 9 of 'blur': expected a whole number from 1 to 5"),
    ],
)
def test_an_impossible_degradation_is_an_error_of_the_file(tiny_protocol, degrade, text):
    path = tiny_protocol.with_name("degraded.yaml")
    path.write_text(f"include: tiny.yaml\nconditions:\n  bad: {{degrade: {degrade}}}\n")
    with pytest.raises(ConfigError) as error:
        load_protocol(path)
    assert f"degraded.yaml:3: {text}" in str(error.value)


# --- unseen attacks ---------------------------------------------------------------------------------------------------


def unseen(tiny_protocol, attacks):
    path = tiny_protocol.with_name("unseen.yaml")
    path.write_text(f"include: tiny.yaml\nid: test/unseen\nsplits:\n  lm-k: {{unseen: {attacks}}}\n")
    return path


def test_unseen_attacks_are_tested_and_neither_trained_nor_validated(tiny_protocol, linear_method, tmp_path):
    path = unseen(tiny_protocol, "[replay]")
    (plan,) = make_plans(request(linear_method, f"{path}/lm-k/full", tmp_path))
    rows = plan.trainings[0].rows
    assert "replay" not in set(rows.train["attack"]) | set(rows.validation["attack"])
    assert set(rows.test["attack"]) == {"live", "replay"}
    assert len(set(rows.train["attack"])) > 2
    (seen,) = make_plans(request(linear_method, f"{tiny_protocol}/lm-k/full", tmp_path))
    assert plan.trainings[0].key != seen.trainings[0].key


def test_an_unseen_attack_that_is_not_tested_is_refused(tiny_protocol, linear_method, tmp_path):
    path = unseen(tiny_protocol, "[flexiblemask]")  # in synth-n only
    with pytest.raises(DataError, match="test has no rows of the unseen attack 'flexiblemask'"):
        make_plans(request(linear_method, f"{path}/lm-k/full", tmp_path))


def test_a_partial_run_need_not_hold_every_unseen_attack(tiny_protocol, linear_method, tmp_path):
    path = unseen(tiny_protocol, "[print, replay]")
    assert make_plans(request(linear_method, f"{path}/lm-k/full", tmp_path, limit_videos=1))


@pytest.mark.parametrize("attack", ["repaly", "live"])
def test_an_unknown_unseen_attack_is_an_error_of_the_file(tiny_protocol, attack):
    with pytest.raises(ConfigError, match=f"unseen.yaml:4: unknown attack '{attack}'"):
        load_protocol(unseen(tiny_protocol, f"[{attack}]"))


# --- rows chosen by a column ------------------------------------------------------------------------------------------


def keeping(tiny_protocol, keep, rest=""):
    path = tiny_protocol.with_name("keeping.yaml")
    path.write_text(f"include: tiny.yaml\nid: test/keeping\nsplits:\n  lm-k: {{keep: {keep}{rest}}}\n")
    return path


def test_each_role_keeps_the_rows_it_asks_for(tiny_protocol, linear_method, tmp_path):
    both = "{attack: [live, print], attack_fine: [live, print-flat]}"
    keep = f"{{train: {{attack_fine: [live, print-flat, replay]}}, test: {both}}}"
    (plan,) = make_plans(request(linear_method, f"{keeping(tiny_protocol, keep)}/lm-k/full", tmp_path))
    (whole,) = make_plans(request(linear_method, f"{tiny_protocol}/lm-k/full", tmp_path))
    rows, everything = plan.trainings[0].rows, whole.trainings[0].rows
    assert set(rows.train["attack"]) == {"live", "print", "replay"} < set(everything.train["attack"])
    assert set(rows.test["attack"]) == {"live", "print"}
    assert len(rows.test) < np.isin(everything.test["attack"], ("live", "print")).sum()  # and not every print
    assert len(rows.validation) == len(everything.validation)
    assert plan.trainings[0].key != whole.trainings[0].key


def test_what_is_kept_may_have_unseen_attacks_taken_away(tiny_protocol, linear_method, tmp_path):
    keep = "{train: {attack: [live, print, replay]}, test: {attack: [live, print, replay]}}"
    path = keeping(tiny_protocol, keep, ", unseen: [replay]")
    (plan,) = make_plans(request(linear_method, f"{path}/lm-k/full", tmp_path))
    rows = plan.trainings[0].rows
    assert set(rows.train["attack"]) == {"live", "print"} and set(rows.test["attack"]) == {"live", "replay"}


def test_a_value_that_no_row_has_is_refused_with_those_there_are(tiny_protocol, linear_method, tmp_path):
    path = keeping(tiny_protocol, "{test: {race: [AF]}, validation: {attack_fine: [live, print-flatt]}}")
    with pytest.raises(DataError) as error:
        make_plans(request(linear_method, f"{path}/lm-k/full", tmp_path))
    assert "keep: test has no rows with race 'AF'. Found: ''" in str(error.value)
    assert "keep: validation has no rows with attack_fine 'print-flatt'. Found: 'fakehead', " in str(error.value)


def test_a_limited_run_may_lack_one_of_several_unseen_attacks(tiny_protocol, linear_method, tmp_path):
    path = unseen(tiny_protocol, "[print, replay]")
    (plan,) = make_plans(request(linear_method, f"{path}/lm-k/full", tmp_path, limit_videos=1))
    assert len(set(plan.trainings[0].rows.test["attack"])) == 2  # bona fide and one of them


# --- modality dropout -------------------------------------------------------------------------------------------------

DROPOUT = "training: {train: {modality_dropout: {depth: 0.5, ir: 0.5}}}"


def test_a_protocol_s_modality_dropout_is_a_training_of_its_own_and_the_same_again(
    tiny_protocol, linear_method, tmp_path
):
    path = tiny_protocol.with_name("dropping.yaml")
    path.write_text(f"include: tiny.yaml\nid: test/dropping\n{DROPOUT}\n")
    keys, weights = [], []
    for protocol, out in ((tiny_protocol, "a"), (path, "b"), (path, "c")):
        (outcome,) = run(request(linear_method, f"{protocol}/lm-k/full", tmp_path / out))
        result = outcome.results[0]
        keys.append(result.provenance.training_key)
        weights.append(result.provenance.weights_sha256)
        dropped = {} if protocol == tiny_protocol else {"depth": 0.5, "ir": 0.5}
        assert result.provenance.config["train"]["modality_dropout"] == dropped
    assert keys[0] != keys[1] == keys[2]
    assert weights[0] != weights[1] == weights[2]


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("train.modality_dropout.depth=1.5", "train.modality_dropout.depth: "),
        ("train.modality_dropout.depth=-0.1", "train.modality_dropout.depth: "),
        ("train.modality_dropout.thermal=0.5", "train.modality_dropout.thermal"),
    ],
)
def test_a_modality_dropout_that_cannot_be_is_refused(tiny_protocol, linear_method, tmp_path, setting, text):
    with pytest.raises(ConfigError) as error:
        make_plans(request(linear_method, tiny_protocol, tmp_path, sets=(setting,)))
    assert text in str(error.value)


@pytest.mark.parametrize("method", ["erm", "mmdg++"])
def test_bundled_methods_train_with_modalities_missing(tiny_protocol, method, tmp_path):
    few = ("train.epochs=1", "train.steps_per_epoch=2", "train.batch_size=4", "train.modality_dropout.ir=1")
    sets = (*few, "train.modality_dropout.rgb=0.5", "train.modality_dropout.depth=0.5")
    (outcome,) = run(request(method, f"{tiny_protocol}/lm-k/no-depth", tmp_path, sets=sets, preset="tiny"))
    assert outcome.results


# --- the bundled protocols --------------------------------------------------------------------------------------------


def test_the_conditions_of_the_embedded_data():
    conditions = {name: load_protocol(path).conditions for name, path in protocols().items()}
    assert list(conditions["synth/missing"]) == ["no-depth", "no-ir", "rgb-only"]
    assert list(conditions["synth/missing-all"])[3:] == ["no-rgb", "depth-only", "ir-only"]
    degraded = conditions["synth/degraded"]
    assert len(degraded) == 21 and degraded == conditions["mmdg/degraded"]
    for name, condition in degraded.items():
        kind, _, severity = name.rpartition("-")
        assert condition.degrade == {kind: int(severity)} and condition.validation == "full"


def test_protocols_on_the_splits_of_fixed_share_its_trainings():
    """Same parts, same training rules: the same training key (see test_runner)."""
    for family, names in (("synth", ("missing", "missing-all", "degraded")), ("mmdg", ("missing", "degraded"))):
        fixed = load_protocol(protocols()[f"{family}/fixed"])
        for name in names:
            other = load_protocol(protocols()[f"{family}/{name}"])
            assert other.datasets == fixed.datasets and other.training == fixed.training
            assert list(other.splits) == list(fixed.splits)
            for split, parts in fixed.splits.items():
                assert [other.splits[split].parts(role) for role in ROLES] == [parts.parts(role) for role in ROLES]


@pytest.mark.slow  # renders the data of the demo
def test_every_embedded_protocol_opens(linear_method, tmp_path):
    for name in protocols():
        if name.startswith("synth/"):
            assert make_plans(request(linear_method, name, tmp_path))
