"""Published numbers: what the files hold, and that wrong ones are found. Expected numbers were checked by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fasbench.errors import DataError
from fasbench.leaderboard.published import COLUMNS, DISPUTED_COLUMNS, Published, load_published, of_methods
from fasbench.registry import find_evaluations
from fasbench.resources import bundled

FOLDER = bundled("leaderboards") / "published"
MMDG, PA_FAS, MMDA = "mmdg_cvpr2024_table1.csv", "pa_fas_aaai2026_tables1-3.csv", "mmda_eccv2026_protocol1.csv"


@pytest.fixture(scope="module")
def rows() -> list[Published]:
    return load_published()


def one(rows: list[Published], **wanted: str) -> Published:
    (found,) = (row for row in rows if all(getattr(row, name) == value for name, value in wanted.items()))
    return found


def printed(rows: list[Published], metric: str, **wanted: str) -> dict[str, str]:
    return {
        row.split if row.condition == "full" else row.condition: row.printed
        for row in rows
        if row.metric == metric and all(getattr(row, name) == value for name, value in wanted.items())
    }


# --- the files --------------------------------------------------------------------------------------------------------


def test_every_row_of_every_file_is_read(rows):
    assert len(rows) == 100 + 360 + 150 + 80 + 30 + 303 + 120 + 141 + 60 + 24
    for path in FOLDER.glob("*.csv"):
        if path.name != "disputed.csv":
            values = [cells["value_percent"] for cells in csv.DictReader(path.open(encoding="utf-8"))]
            assert [row.printed for row in rows if row.file == path.name] == values


def test_protocol_1_of_mmdg_is_what_its_table_1_prints(rows):
    table = {"file": MMDG, "method": "MMDG", "protocol": "mmdg/fixed"}
    assert printed(rows, "HTER", **table) == {
        "cps-w": "12.79",
        "cpw-s": "15.32",
        "csw-p": "18.95",
        "psw-c": "29.93",
        "mean": "19.25",
    }
    assert printed(rows, "AUC", **table) == {
        "cps-w": "93.83",
        "cpw-s": "92.86",
        "csw-p": "88.64",
        "psw-c": "76.52",
        "mean": "87.96",
    }
    row = one(rows, **table, split="cps-w", metric="HTER")
    assert (row.value, row.venue, row.source_year, row.table, row.disputed) == (12.79, "CVPR 2024", 2024, "Table 1", "")


def test_splits_and_conditions_of_mmdg_s_protocols_are_ours(rows):
    for protocol in ("mmdg/fixed", "mmdg/missing", "mmdg/limited"):
        ((ours, pairs),) = [found for found in find_evaluations(protocol) if found[0].id == protocol]
        published = [row for row in rows if row.protocol == protocol]
        assert {row.split for row in published} - {"mean", "mean (ablation)"} == (
            set() if protocol == "mmdg/missing" else set(ours.splits)
        )
        assert {row.condition for row in published} == {condition for _, condition in pairs}


def test_protocols_2_and_3(rows):
    missing = {"file": PA_FAS, "method": "MMDG", "protocol": "mmdg/missing"}
    assert printed(rows, "HTER", **missing) == {"no-depth": "24.89", "no-ir": "23.39", "rgb-only": "25.26"}
    limited = {"file": PA_FAS, "method": "DADM", "protocol": "mmdg/limited"}
    assert printed(rows, "HTER", **limited) == {"cw-ps": "12.61", "ps-cw": "20.40", "mean": "16.50"}


def test_splits_of_one_s_own_are_not_called_the_official_ones(rows):
    (protocol,) = {row.protocol for row in rows if row.file == "mmdgfas_eaai2025_protocol1.csv"}
    assert not protocol.startswith("mmdg/")


def test_modalities_of_wmca_are_the_condition(rows):
    row = one(rows, method="ViT+AMA", protocol="WMCA", condition="RGB+IR+Depth", split="grandtest (seen)")
    assert (row.metric, row.printed) == ("ACER", "0.92")


def test_what_was_not_read_itself_is_secondary(rows):
    assert {row.file for row in rows if row.secondary} == {"dadm_iccv2025_secondary.csv"}


# --- what is disputed -------------------------------------------------------------------------------------------------


def test_no_mean_of_mmdg_s_own_table_is_disputed_and_21_of_mmda_s_are(rows):
    def wrong(file: str) -> list[Published]:
        return [row for row in rows if row.file == file and "of the cells beside it" in row.disputed]

    assert wrong(MMDG) == []
    assert len(wrong(MMDA)) == 21
    assert {row.split for row in wrong(MMDA)} == {"mean"}
    row = one(rows, file=MMDA, method="SSDG", split="mean", metric="HTER")
    assert row.printed == "37.32"
    assert row.disputed == "the mean of the cells beside it is 34.22"  # (26.09 + 28.50 + 41.82 + 40.48) / 4 = 34.2225
    assert one(rows, file=MMDA, method="MMDG", split="mean", metric="HTER").disputed == ""  # 19.24 of 19.2475


def test_reasons_that_people_gave_stand_before_those_of_arithmetic(rows):
    row = one(rows, file=PA_FAS, method="SA-FAS", protocol="mmdg/limited", split="mean", metric="HTER")
    assert row.printed == "61.79"  # 25.20 + 36.59
    assert row.disputed.startswith("printed is the sum of the two HTERs") and row.disputed.endswith("is 30.90")


def test_a_deviation_may_be_of_the_sample_or_of_the_population(tmp_path):
    values = {"grandtest (seen)": "99", "LOO unseen a": "1.00", "LOO unseen b": "3.00"}
    for std, disputed in (("1.00", False), ("1.41", False), ("1.20", True)):  # population, sample, neither
        table = {**values, "LOO unseen mean": "2.00", "LOO unseen std": std}
        write(tmp_path, *(row(protocol="WMCA intra, modality RGB", subprotocol=k, value=v) for k, v in table.items()))
        found = load_published(tmp_path)
        assert [bool(row.disputed) for row in found] == [False, False, False, False, disputed]


# --- errors -----------------------------------------------------------------------------------------------------------


def row(method="M", protocol="P", subprotocol="A->B", metric="HTER", value="1.0", year="2024") -> list[str]:
    return [
        method,
        "CVPR",
        "2024",
        protocol,
        subprotocol,
        metric,
        value,
        "a title",
        year,
        "Table 1",
        "doi",
        "the paper",
    ]


def write(folder: Path, *rows: list[str], name: str = "table.csv", columns: tuple[str, ...] = COLUMNS) -> None:
    with (folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def test_wrong_rows_are_reported_together_with_file_and_line(tmp_path):
    write(tmp_path, row(), row(metric="HTTER", subprotocol="x"), row(value="101"), row(value="n/a", year="soon"), row())
    write(tmp_path, row()[:-1], name="short.csv")
    write(tmp_path, name="other.csv", columns=("method", "value"))
    with pytest.raises(DataError) as caught:
        load_published(tmp_path)
    problems = str(caught.value)
    assert "7 problem(s)" in problems
    assert "other.csv:1: expected the columns method,venue,year," in problems
    assert "short.csv:2: expected 12 cells" in problems
    assert "table.csv:3: metric: unknown 'HTTER'. Did you mean 'HTER'?" in problems
    assert "table.csv:4: value_percent: '101' is no percentage" in problems
    assert "table.csv:5: value_percent: 'n/a' is no percentage" in problems
    assert "table.csv:5: source_year: 'soon' is no year" in problems
    assert "table.csv:6: the number of line 2 again" in problems


def test_a_dispute_about_nothing_is_an_error(tmp_path):
    write(tmp_path, row())
    disputes = (["table.csv", "N", "", "", "", "why"], ["", "M", "", "", "", "why"], ["table.csv", "M", "", "", "", ""])
    write(tmp_path, *disputes, name="disputed.csv", columns=DISPUTED_COLUMNS)
    with pytest.raises(DataError) as caught:
        load_published(tmp_path)
    assert "disputed.csv:2: there is no such number" in str(caught.value)
    assert "disputed.csv:3: needs a file and a reason" in str(caught.value)
    assert "disputed.csv:4: needs a file and a reason" in str(caught.value)


def test_a_name_no_source_prints_is_an_error(rows):
    assert {row.method for row in of_methods(rows, ["AMA", "ViT+AMA"])} == {"AMA", "ViT+AMA"}
    assert of_methods(rows, []) == []
    with pytest.raises(DataError, match=r"no published number of 'VP-FASS'\. Did you mean 'VP-FAS'\?"):
        of_methods(rows, ["VP-FASS"])
