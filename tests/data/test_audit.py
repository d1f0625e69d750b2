"""The audit of metadata: every documented defect of the official lists, and planted ones in small tables."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace

import pytest
from audited import protocol_of
from typer.testing import CliRunner

import fasbench.cli as cli
from fasbench.data.audit import Report, audit, audit_tables
from fasbench.data.audit.auditing import SAMPLE, _taken
from fasbench.data.audit.report import KNOWN
from fasbench.data.audit.table import table_of_list
from fasbench.data.lists import ListRow
from fasbench.protocol import load_protocol
from fasbench.registry import protocols

LISTS = os.environ.get("FASBENCH_LISTS")
official = pytest.mark.skipif(not LISTS, reason="FASBENCH_LISTS is not set: the official lists are not at hand")

# --- made-up rows -----------------------------------------------------------------------------------------------------


def list_row(split: str, person: int, label: int, **changes) -> ListRow:
    subject = f"synth-k/{split}-{person}"
    video = f"{subject}-{'live' if label else 'print'}"
    row = ListRow(
        dataset="synth-k",
        split=split,
        id=f"{video}/1",
        label=label,
        attack="live" if label else "print",
        attack_fine="live" if label else "print-flat",
        subject=subject,
        presenter=subject,
        session=None,
        unit=subject,
        video=video,
        frame=1,
        race=None,
        rgb="",
        depth="",
        ir="",
        line=1,
    )
    return replace(row, **changes)


def sound_rows(persons: int = 40) -> list[ListRow]:
    """As many bona fide as attack videos of every person, in three splits that share nobody."""
    splits = ("train", "validation", "test")
    return [list_row(split, person, label) for split in splits for person in range(persons) for label in (0, 1)]


def found(rows: list[ListRow], **changes) -> dict:
    report = audit_tables(protocol_of(**changes), {"synth-k": table_of_list("synth-k", rows)})
    return {finding.id: finding for finding in report.findings}


def test_sound_rows_have_no_findings():
    assert found(sound_rows()) == {}


def test_what_two_splits_share_is_a_leak_unless_the_protocol_permits_it():
    rows = sound_rows()
    rows.append(replace(rows[-1], split="validation"))
    findings = found(rows)
    assert set(findings) == {
        "overlap-id/synth-k/validation+test",
        "overlap-subject/synth-k/validation+test",
        "overlap-video/synth-k/validation+test",
        "incomplete-subjects/synth-k/validation",
    }
    leak = findings["overlap-subject/synth-k/validation+test"]
    assert (leak.severity, leak.count, leak.examples) == ("leak", 1, (rows[-1].subject,))
    assert leak.parts == ("synth-k/validation", "synth-k/test") and leak.affects == ("k-k",) and leak.new
    issue = {"id": "stray", "text": "one row", "permits": {"subject": [rows[-1].subject]}}
    findings = found(rows, known_issues=[issue])
    assert findings["overlap-subject/synth-k/validation+test"].known == "stray"
    assert findings["overlap-video/synth-k/validation+test"].known is None


def test_a_leak_between_parts_of_one_role_concerns_no_split():
    rows = sound_rows()
    rows.append(replace(rows[-1], split="validation"))
    other = {"train": ["synth-k/train"], "validation": ["synth-l/validation"], "test": ["synth-k/test"]}
    sizes = {"synth-k": {"size": "tiny"}, "synth-l": {"size": "tiny"}}
    leak = found(rows, datasets=sizes, splits={"k-k": other})["overlap-subject/synth-k/validation+test"]
    assert leak.affects == () and not leak.new


def test_people_who_present_attacks_in_one_split_and_are_shown_in_another():
    rows = sound_rows()
    first = next(row for row in rows if row.split == "test" and row.label == 0)
    rows[rows.index(first)] = replace(first, presenter="synth-k/train-0")
    findings = found(rows)
    assert findings["presenter-is-subject/synth-k/test+train"].examples == ("synth-k/train-0",)
    assert findings["presenter-overlap/synth-k/train+test"].count == 1
    assert "1 of the 40 test attack videos" in findings["presenter-overlap/synth-k/train+test"].explanation


def test_repeated_rows_are_counted_and_a_protocol_that_drops_them_has_none():
    rows = sound_rows()
    rows += [replace(rows[0], id=f"{rows[0].id}#{number}") for number in (2, 3)]
    (finding,) = found(rows).values()
    assert (finding.id, finding.severity, finding.count) == ("repeated-rows/synth-k/train", "duplicate", 2)
    assert finding.examples == (rows[0].id,)


def test_a_value_with_one_label_only_is_a_shortcut_if_it_is_no_chance():
    rows = [replace(row, session="2" if row.label == 0 and int(row.subject[-1]) < 5 else "1") for row in sound_rows()]
    finding = found(rows)["shortcut/synth-k/session=2"]
    assert finding.severity == "shortcut" and finding.count == 60 and len(finding.parts) == 3
    assert "right for 75.0% of the rows (majority 50.0%)" in finding.explanation
    few = [replace(row, session="2" if row.label == 0 and row.subject.endswith("-7") else "1") for row in sound_rows()]
    assert not any(name.startswith("shortcut") for name in found(few))


def test_a_field_that_leans_to_a_label_is_a_shortcut_too():
    rows = [replace(row, race="A" if (int(row.subject[-1]) < 8) == bool(row.label) else "B") for row in sound_rows()]
    (finding,) = found(rows).values()
    assert finding.id == "shortcut/synth-k/race" and "right for 80.0%" in finding.explanation


def test_classes_that_a_split_lacks():
    rows = sound_rows()
    rows += [
        list_row("test", person, 0, attack="replay", attack_fine="x", id=f"synth-k/x{person}/1") for person in range(40)
    ]
    finding = found(rows)["class-not-in-every-split/synth-k/replay"]
    assert (finding.severity, finding.parts, finding.new) == ("info", ("synth-k/test",), False)


def test_rows_that_every_split_leaves_out_are_not_audited():
    rows = sound_rows()
    rows.append(replace(rows[-2], attack="replay", split="validation"))
    spec = {"test": {"attack": ["live", "print"]}, "validation": {"attack": ["live", "print"]}}
    parts = {name: [f"synth-k/{name}"] for name in ("train", "validation", "test")}
    protocol = protocol_of(splits={"k-k": {**parts, "keep": spec}})
    assert len(_taken(protocol, table_of_list("synth-k", rows))) == len(rows) - 1


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_sample_is_the_same_every_time_and_deep_reads_all(tmp_path, tiny_protocol):
    protocol = load_protocol(tiny_protocol)
    one, other = audit(protocol), audit(protocol)
    assert one == other and one.new == ()
    assert all(audited.pixels == min(audited.rows, SAMPLE) for audited in one.datasets.values())


def command(*arguments: str):
    cli._register()
    return CliRunner().invoke(cli.app, ["data", "audit", *arguments])


def test_the_command_reports_and_exits_0_when_nothing_is_new(tiny_protocol):
    shown = command(str(tiny_protocol))
    assert shown.exit_code == 0 and "0 of them new defects" in shown.output
    (report,) = json.loads(command(str(tiny_protocol), "--json").stdout)
    Report.model_validate(report)


def test_the_table_of_known_issues_names_issues_that_exist():
    issues = {issue.id for path in protocols().values() for issue in load_protocol(path).known_issues}
    assert {name for names in KNOWN.values() for name in names} <= issues


# --- the official lists -----------------------------------------------------------------------------------------------

# What fasbench's documentation of the lists says is wrong with them: finding -> (count, known issue).
DOCUMENTED = {
    "overlap-subject/cefa/validation+test": (1, "cefa-stray-row"),
    "overlap-video/cefa/validation+test": (1, "cefa-stray-row"),
    "overlap-id/cefa/validation+test": (1, "cefa-stray-row"),
    "incomplete-subjects/cefa/validation": (3, "cefa-stray-row"),
    "repeated-rows/cefa/test": (4, "cefa-duplicates"),
    "repeated-rows/surf/train": (20, "surf-duplicates"),
    "repeated-rows/surf/test": (56, "surf-duplicates"),
    "incomplete-subjects/surf/train": (1, "surf-not-the-official-attack-split"),
    "incomplete-subjects/surf/test": (12, "surf-not-the-official-attack-split"),
    "not-as-documented/surf/attacks": (6, "surf-not-the-official-attack-split"),
    "not-as-documented/cefa/race": (1, "cefa-no-east-asia"),
    "class-not-in-every-split/cefa/flexiblemask+rigidmask": (2, "cefa-masks-in-test-only"),
    "shortcut/cefa/frames_in_video=1": (1519, "cefa-masks-in-test-only"),
    "class-not-in-every-split/wmca/papermask": (1, "wmca-paper-masks-in-test-only"),
    "shortcut/wmca/session=04": (486, "wmca-session-4-has-no-bona-fide"),
    "presenter-overlap/wmca/train+validation": (60, "wmca-presenters-in-every-split"),
    "presenter-overlap/wmca/train+test": (62, "wmca-presenters-in-every-split"),
    "presenter-overlap/wmca/validation+test": (61, "wmca-presenters-in-every-split"),
    "presenter-is-subject/wmca/train+test": (23, "wmca-presenters-in-every-split"),
    "presenter-is-subject/wmca/test+train": (24, "wmca-presenters-in-every-split"),
    "unusual-frames/wmca/test+train": (11, "wmca-unmatched-frame-numbers"),
    "species-not-in-every-split/padisi/m50105+m50106+m50110": (12, "padisi-classes-differ-between-splits"),
}


@pytest.fixture(scope="module")
def mmdg(tmp_path_factory) -> Report:
    return audit(load_protocol(protocols()["mmdg/fixed"]), root=tmp_path_factory.mktemp("none"))


@official
def test_every_documented_defect_of_the_official_lists_is_found(mmdg):
    findings = {finding.id: finding for finding in mmdg.findings}
    assert {name: (findings[name].count, findings[name].known) for name in DOCUMENTED} == DOCUMENTED
    (device,) = (finding for name, finding in findings.items() if name.startswith("shortcut/cefa/device="))
    assert device.known == "cefa-device-equals-label"
    assert re.search(r"right for 100\.0% of the rows \(majority 75\.0%\)", device.explanation)
    assert "258 of the 275 test attack videos" in findings["presenter-overlap/wmca/train+test"].explanation
    assert "270 of the 277" in findings["presenter-overlap/wmca/train+validation"].explanation
    assert findings["shortcut/wmca/presented_by=other,support"].severity == "info"


@official
def test_nothing_is_found_that_the_protocol_does_not_document(mmdg):
    """Session 2 of CeFA, outdoors, has attacks only: the cloth prints of 3_2_2 and masks."""
    beyond = {finding.id for finding in mmdg.findings if finding.known is None and finding.severity != "info"}
    assert beyond == set()
    (outdoor,) = (finding for finding in mmdg.findings if finding.id == "shortcut/cefa/session=2")
    assert (outdoor.count, outdoor.known) == (3623, "cefa-outdoor-is-attack")


LICENSED = [name for name in protocols() if not name.startswith("synth/")]


@official
@pytest.mark.parametrize("name", LICENSED)
def test_the_lists_of_no_bundled_protocol_have_an_undocumented_defect(name, tmp_path):
    report = audit(load_protocol(protocols()[name]), root=tmp_path)
    assert {finding.id for finding in report.new} == set()
    assert report.datasets and all(one.metadata == "lists" and one.rows for one in report.datasets.values())


@official
def test_a_leak_matters_only_where_its_parts_have_different_roles(mmdg):
    affects = {finding.id: finding.affects for finding in mmdg.findings}
    assert affects["overlap-id/cefa/validation+test"] == ()
    assert affects["presenter-overlap/wmca/train+validation"] == ("cpw-s", "csw-p", "psw-c")


@official
def test_cleaned_lists_have_neither_duplicates_nor_the_stray_row(tmp_path):
    report = audit(load_protocol(protocols()["mmdg-clean/fixed"]), root=tmp_path)
    kinds = {(finding.kind, finding.dataset) for finding in report.findings}
    assert not any(kind == "repeated-rows" or (kind.startswith("overlap") and name == "cefa") for kind, name in kinds)
