"""The attack taxonomy against the published code tables, written here from the sources and not from the code."""

import csv
import os
from collections import Counter
from pathlib import Path

import pytest

from fasbench.data.synthetic import NAMES
from fasbench.data.taxonomy import COARSE, FAMILIES, TAXONOMY, Attack, family, lookup, parse
from fasbench.errors import DataError

# WMCA: type -> class -> first and last number of each run of instruments (the seven attack lists of Flex-Modal).
WMCA = {
    "live": "0_00-02",
    "glasses": "1_01 1_04-07 1_15 1_16",
    "rigidmask": "1_02 1_13 1_14 2_12-17",
    "fakehead": "2_01-07",
    "papermask": "2_08-11",
    "flexiblemask": "2_18 2_75-99",
    "print": "3_01-04 3_06-09 3_11-14",
    "replay": "3_05 3_10 3_15 4_01-18",
}
WMCA_COUNTS = {
    "live": 3,
    "glasses": 7,
    "rigidmask": 9,
    "fakehead": 7,
    "papermask": 4,
    "flexiblemask": 26,
    "print": 12,
    "replay": 21,
}
# Recordings of the grandtest list.
WMCA_VIDEOS = {
    "live": 347,
    "glasses": 75,
    "rigidmask": 137,
    "fakehead": 122,
    "papermask": 71,
    "flexiblemask": 379,
    "print": 200,
    "replay": 348,
}

OTHERS = {
    "cefa": {
        "1_1_1": "live",
        "3_1_2": "print",  # cloth, indoor
        "3_2_2": "print",  # cloth, outdoor
        "3_1_4": "replay",
        "mask-1": "rigidmask",  # 3-D print
        "mask-2": "flexiblemask",  # silicone
    },
    "padisi": {
        "m000": "live",
        "m501": "glasses",  # partial funny eyes
        "m502": "print",  # paper
        "m503": "fakehead",  # mannequin
        "m504": "rigidmask",  # half mask
        "m505": "rigidmask",  # transparent mask
        "m506": "makeup",
        "m507": "flexiblemask",  # silicone
        "m508": "glasses",  # partial paper glasses
        "m509": "tattoo",
    },
    "surf": {
        "live": "live",
        "01_e_s": "cutprint",
        "02_e_b": "cutprint",
        "03_en_s": "cutprint",
        "04_en_b": "cutprint",
        "05_enm_s": "cutprint",
        "06_enm_b": "cutprint",
    },
}


def spelled_out(ranges: str) -> list[str]:
    """`1_01 1_04-07` as 1_01, 1_04, 1_05, 1_06, 1_07."""
    codes = []
    for text in ranges.split():
        kind, _, numbers = text.partition("_")
        first, _, last = numbers.partition("-")
        codes += [f"{kind}_{number:02d}" for number in range(int(first), int(last or first) + 1)]
    return codes


@pytest.mark.parametrize(
    ("code", "coarse"), [(code, coarse) for coarse, ranges in WMCA.items() for code in spelled_out(ranges)]
)
def test_wmca_code(code, coarse):
    assert lookup("wmca", code) == Attack(coarse, code)


def test_wmca_has_no_other_codes():
    assert Counter(attack.coarse for attack in TAXONOMY["wmca"].values()) == WMCA_COUNTS


@pytest.mark.parametrize("code", ["1_03", "1_08", "2_19", "2_74", "3_16", "4_00", "4_19", "5_01", "0_03"])
def test_codes_wmca_does_not_have_are_refused(code):
    with pytest.raises(DataError, match=f"unknown wmca attack code '{code}'"):
        lookup("wmca", code)


@pytest.mark.parametrize(("dataset", "codes"), OTHERS.items(), ids=OTHERS)
def test_the_codes_of_the_other_data_sets(dataset, codes):
    assert {code: attack.coarse for code, attack in TAXONOMY[dataset].items()} == codes


@pytest.mark.parametrize("dataset", TAXONOMY)
def test_every_data_set_has_one_live_class_and_known_classes_only(dataset):
    attacks = TAXONOMY[dataset].values()
    assert {attack.coarse for attack in attacks} <= set(COARSE)
    assert len({attack.fine for attack in attacks}) == len(attacks)  # the fine class keeps codes apart
    assert any(attack.coarse == "live" for attack in attacks)


def test_every_attack_has_one_family():
    assert sorted(coarse for classes in FAMILIES.values() for coarse in classes) == sorted(set(COARSE) - {"live"})
    assert {family(coarse) for coarse in ("papermask", "rigidmask", "flexiblemask", "fakehead")} == {"mask"}
    assert {family(coarse) for coarse in ("print", "cutprint", "replay")} == {"flat"}
    assert family("live") == family("no such class") == ""


def test_the_embedded_data_sets_use_the_taxonomy():
    assert len(NAMES) == 4
    assert all(attack.fine == code for code, attack in TAXONOMY["synth"].items())


def test_an_unknown_code_gets_the_nearest_one():
    with pytest.raises(
        DataError, match=r"unknown surf attack code '04_en_s'\. Did you mean '0\d_en_[sb]'\? Known: live, "
    ):
        lookup("surf", "04_en_s")


def test_an_unknown_data_set_gets_the_nearest_one():
    with pytest.raises(DataError, match=r"no attack taxonomy for 'wcma'\. Did you mean 'wmca'\? Known: wmca, "):
        lookup("wcma", "1_01")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("print", Attack("print", "print")),
        ("print/laser-a4", Attack("print", "laser-a4")),
        ("other/hologram", Attack("other", "hologram")),
        ("replay/phone/6-inch", Attack("replay", "phone/6-inch")),
        ("live", Attack("live", "live")),
        (" print/laser-a4 ", Attack("print", "laser-a4")),
        ("print/", Attack("print", "print")),
    ],
)
def test_parse_reads_coarse_and_fine(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize("coarse", COARSE)
def test_parse_knows_every_coarse_class(coarse):
    assert parse(coarse).coarse == coarse


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [("pirnt/laser", " Did you mean 'print'?"), ("hologram", ""), ("", ""), ("Print", " Did you mean 'print'?")],
)
def test_parse_of_an_unknown_class_explains(text, suggestion):
    with pytest.raises(DataError) as caught:
        parse(text)
    message = str(caught.value)
    assert message.startswith(f"unknown attack '{text}'.{suggestion} Write one of live, print, ")
    assert "'other/hologram'" in message


def test_the_official_wmca_list_agrees():
    """Its third column names the class that the type_pai at the end of the recording's name must map to."""
    lists = os.environ.get("FASBENCH_LISTS")
    if not lists:
        pytest.skip("FASBENCH_LISTS does not name the folder of the official lists")
    names = {"prints": "print", "bonafide": "live"}
    seen = Counter()
    with (Path(lists) / "wmca-protocols-csv" / "PROTOCOL-grandtest.csv").open(newline="") as file:
        for path, _, kind, *_ in csv.reader(file):
            official = kind.rpartition("/")[2]
            found = lookup("wmca", "_".join(path.split("_")[-2:])).coarse
            assert found == names.get(official, official), path
            seen[found] += 1
    assert seen == WMCA_VIDEOS
