"""Score files: what goes in comes out, and an unsound file is refused with all that is wrong with it."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from fasbench.errors import DataError
from fasbench.metrics import Scores
from fasbench.scorefile import COLUMNS, ScoreFile, ScoreMeta, read_scores

META = ScoreMeta(
    method="erm",
    protocol="synth/fixed",
    version=1,
    split="lmn-k",
    condition="full",
    seed=3,
    selection="source-val",
    epoch=2,
    partial=True,
)
TABLE = {
    "id": ["l/v0/0", "l/v0/1", "l/v1/0", "k/v0/0", "k/v1/0"],
    "unit": ["l/p0", "l/p0", "l/mask", "k/p0", "k/p0"],
    "video": ["l/v0", "l/v0", "l/v1", "k/v0", "k/v1"],
    "domain": ["l", "l", "l", "k", "k"],
    "attack": ["live", "live", "papermask", "live", "print"],
    "label": [1, 1, 0, 1, 0],
    "score": [0.1 + 0.2, 1e-17, 5e-324, 1 / 3, 1 - 2**-53],
    "part": ["validation", "validation", "validation", "test", "test"],
}


def part(name: str) -> Scores:
    rows = [i for i, value in enumerate(TABLE["part"]) if value == name]
    return Scores(**{field: [TABLE[column][i] for i in rows] for column, field in COLUMNS.items()})


FILE = ScoreFile(META, part("validation"), part("test"))


@pytest.fixture
def write(tmp_path: Path):
    """A Parquet or CSV file with TABLE and META, some columns changed (None = left out)."""

    def write(kind: str = "parquet", meta: object = META.model_dump(), **changes: list | None) -> Path:
        table = {name: values for name, values in (TABLE | changes).items() if values is not None}
        path = tmp_path / f"scores.{kind}"
        if kind == "csv":
            with path.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(table)
                writer.writerows(zip(*table.values(), strict=True))
            path.with_suffix(".yaml").write_text(json.dumps(meta))
        else:
            metadata = {b"fasbench": json.dumps(meta).encode()}
            parquet.write_table(pa.table(table).replace_schema_metadata(metadata), path)
        return path

    return write


KINDS = pytest.mark.parametrize("kind", ["parquet", "csv"])


def test_the_table_of_these_tests_is_sound():
    assert sorted(TABLE) == sorted([*COLUMNS, "part"])


@KINDS
def test_what_goes_in_comes_out(tmp_path, kind):
    path = tmp_path / "deep" / f"scores.{kind}"
    FILE.write(path)
    found = read_scores(path)
    assert found.meta == META
    for scores, expected in ((found.validation, FILE.validation), (found.test, FILE.test)):
        for field in COLUMNS.values():
            column = getattr(scores, field)
            assert column.tolist() == getattr(expected, field).tolist()  # scores bit for bit
            assert column.dtype.kind == getattr(expected, field).dtype.kind
    assert found.rows_sha256() == FILE.rows_sha256()


@KINDS
def test_columns_to_slice_by_are_kept(tmp_path, kind):
    validation = replace(FILE.validation, groups={"race": ["A", "A", ""]})
    test = replace(FILE.test, groups={"attack_fine": np.array(["", "a4"])})
    path = tmp_path / f"s.{kind}"
    ScoreFile(META, validation, test).write(path)
    found = read_scores(path)
    assert {name: column.tolist() for name, column in found.validation.groups.items()} == {
        "attack_fine": ["", "", ""],
        "race": ["A", "A", ""],
    }
    assert {name: column.tolist() for name, column in found.test.groups.items()} == {
        "attack_fine": ["", "a4"],
        "race": ["", ""],
    }
    FILE.write(tmp_path / f"plain.{kind}")
    assert read_scores(tmp_path / f"plain.{kind}").test.groups == {}


@KINDS
def test_writing_twice_gives_the_same_bytes(tmp_path, kind):
    for name in ("a", "b"):
        FILE.write(tmp_path / f"{name}.{kind}")
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


@KINDS
def test_a_file_of_another_tool_is_read(write, kind):
    rows = [4, 2, 0, 3, 1]  # parts interleaved, one column more
    table = {name: [values[i] for i in rows] for name, values in TABLE.items()}
    found = read_scores(write(kind, remark=["x"] * 5, **table))
    assert found.rows_sha256() == FILE.rows_sha256()
    assert found.validation.ids.tolist() == ["l/v1/0", "l/v0/0", "l/v0/1"]
    assert found.test.labels.tolist() == [0, 1]


def test_text_that_csv_must_quote_survives(tmp_path):
    ids = ['a,"b"', "c d", "é\u4e2d"]
    scores = replace(FILE.validation, ids=np.array(ids))
    ScoreFile(META, scores, FILE.test).write(tmp_path / "s.csv")
    assert read_scores(tmp_path / "s.csv").validation.ids.tolist() == ids


def test_a_spreadsheet_may_put_a_byte_order_mark_before_a_csv(write):
    path = write("csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_scores(path).rows_sha256() == FILE.rows_sha256()


def test_units_and_videos_may_be_numbers(write):
    found = read_scores(write(unit=[0, 0, 1, 2, 2], video=[0, 0, 1, 2, 3]))
    assert found.validation.units.tolist() == [0, 0, 1]


# --- rows_sha256 ------------------------------------------------------------------------------------------------------


def test_the_hash_of_rows_ignores_their_order_and_scores(write):
    rows = [1, 0, 2, 4, 3]
    table = {name: [values[i] for i in rows] for name, values in TABLE.items()}
    table["score"] = [0.5] * 5
    assert read_scores(write(**table)).rows_sha256() == FILE.rows_sha256()


DIFFERENT_ROWS = {
    "a label": {"label": [1, 1, 0, 1, 1], "attack": ["live", "live", "papermask", "live", "live"]},
    "an id": {"id": ["l/v0/0", "l/v0/2", "l/v1/0", "k/v0/0", "k/v1/0"]},
    "a part": {"part": ["validation", "validation", "test", "test", "test"]},
    "one row less": {name: values[:4] for name, values in TABLE.items()},
}


@pytest.mark.parametrize("changes", DIFFERENT_ROWS.values(), ids=DIFFERENT_ROWS)
def test_the_hash_of_rows_follows(write, changes):
    assert read_scores(write(**changes)).rows_sha256() != FILE.rows_sha256()


# --- unsound files ----------------------------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_scores(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@KINDS
def test_all_missing_columns_are_named(write, kind):
    message = refusal(write(kind, attack=None, part=None))
    assert f"expected the columns {', '.join(COLUMNS)}, part" in message
    assert "column 'attack' is missing" in message and "column 'part' is missing" in message


@KINDS
def test_all_problems_are_reported_together(write, kind):
    message = refusal(
        write(
            kind,
            meta=META.model_dump() | {"epoch": "last", "sede": 1},
            part=["validation", "validation", "validation", "test", "tset"],
            score=[0.1, float("nan"), 0.3, 0.4, 0.5],
            label=[1, 1, 0, 2, 0],
        )
    )
    assert "part 'tset': expected validation or test" in message
    assert "scores: 1 not finite, first at position 1" in message
    assert "labels: 1 neither 1 (bona fide) nor 0 (attack), first at position 0" in message
    assert "epoch: " in message
    assert "sede: unknown key. Did you mean 'seed'?" in message


PROBLEMS = {
    "infinite score": ({"score": [0.1, 0.2, float("inf"), 0.4, 0.5]}, "validation: 1 problem in the scores"),
    "repeated id": ({"id": ["a", "a", "b", "c", "d"]}, "ids: 1 occur more than once, first a"),
    "contradiction": ({"label": [1, 1, 1, 1, 0]}, "labelled 1 (bona fide) but with an attack type"),
    "no test rows": ({"part": ["validation"] * 5}, "test: 1 problem in the scores"),
    "empty id": ({"id": ["", "a", "b", "c", "d"]}, "ids: 1 missing, first at position 0"),
}


@KINDS
@pytest.mark.parametrize(("changes", "problem"), PROBLEMS.values(), ids=PROBLEMS)
def test_unsound_columns_are_refused(write, kind, changes, problem):
    assert problem in refusal(write(kind, **changes))


def test_the_same_id_may_stand_in_both_parts(write):
    assert read_scores(write(id=["a", "b", "c", "a", "b"])).test.ids.tolist() == ["a", "b"]


@KINDS
@pytest.mark.parametrize("meta", [{}, [1], META.model_dump(exclude={"seed"})], ids=["none", "a list", "no seed"])
def test_metadata_are_required(write, kind, meta):
    message = refusal(write(kind, meta=meta))
    assert "seed: Field required" in message or "mapping" in message or "valid dictionary" in message


def test_parquet_without_our_metadata_is_refused(tmp_path):
    path = tmp_path / "scores.parquet"
    parquet.write_table(pa.table(TABLE), path)
    assert "method: Field required" in refusal(path)


@pytest.mark.parametrize("column", ["part", "id", "score"])
def test_parquet_columns_of_lists_are_refused(write, column):
    message = refusal(write(**{column: [[], ["a"], ["a", "b"], None, []]}))
    assert f"column '{column}' holds lists or structures" in message


def test_text_instead_of_numbers_is_refused(write):
    message = refusal(write(score=["0.5"] * 5, label=["1"] * 5))
    assert "scores: <U3 instead of numbers" in message
    assert "labels: <U1 instead of the numbers 1 (bona fide) and 0 (attack)" in message


def test_missing_values_are_refused(write):
    message = refusal(write(unit=[None, "a", "a", "a", "a"], score=[None, 0.1, 0.2, 0.3, 0.4]))
    assert "object instead of numbers" in message or "not finite" in message
    assert "units: 1 missing" in message


@KINDS
def test_repeated_columns_are_refused(tmp_path, write, kind):
    path = write(kind)
    if kind == "csv":
        path.write_text("".join(f"{line},{line.split(',')[0]}\n" for line in path.read_text().splitlines()))
    else:
        table = parquet.read_table(path)
        parquet.write_table(table.append_column("id", table.column("id")), path)
    assert "column 'id' stands more than once" in refusal(path)


@KINDS
@pytest.mark.parametrize(
    "content",
    [b"", b"PAR1 not really", b"\xff\xfe\x00", b"id,unit\n1\n"],
    ids=["empty", "text", "binary", "short row"],
)
def test_what_is_no_score_file_is_refused(tmp_path, kind, content):
    path = tmp_path / f"scores.{kind}"
    path.write_bytes(content)
    path.with_suffix(".yaml").write_text(json.dumps(META.model_dump()))
    assert "not a CSV score file" in refusal(path) if kind == "csv" else "not a Parquet score file" in refusal(path)


@KINDS
def test_a_missing_file_or_a_folder_is_refused(tmp_path, kind):
    refusal(tmp_path / f"nowhere.{kind}")
    (tmp_path / f"folder.{kind}").mkdir()
    refusal(tmp_path / f"folder.{kind}")


@pytest.mark.parametrize(("column", "value"), [("score", "high"), ("label", "live")])
def test_csv_numbers_that_are_none_are_refused(write, column, value):
    assert value in refusal(write("csv", **{column: [value] * 5}))


def test_csv_without_its_sidecar_names_it(write):
    path = write("csv")
    path.with_suffix(".yaml").unlink()
    assert "scores.yaml" in refusal(path)


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path):
    path = tmp_path / "label=1" / "scores.parquet"
    FILE.write(path)
    assert read_scores(path).test.labels.tolist() == [1, 0]
